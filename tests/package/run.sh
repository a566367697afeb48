#!/usr/bin/env bash
# Builds the packages, and uses each as its reader would: the .deb in a bare root of Debian, with the
# failures of the runbooks, the .rpm with rpm, the static programs in an empty folder, the image without an
# engine, the manifests against their schemas. Needs root for the roots; without it, says what is left out.
#
#   bash tests/package/run.sh        static programs of the profile demo, and everything from one build
#   bash tests/package/run.sh long   static programs as released, and all programs built twice
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../lib.sh"
PATH=$PATH:/usr/sbin:/sbin

need packaging python linker
release_binaries --quiet
begin package
packages=$(target_folder)/packages
# lintian wants an address that is not local.
export DEBEMAIL=packages@push-suite.org DEBFULLNAME="push-suite developers" PUSH_SUITE_BIN=$bin
if [ "${1:-}" != long ]; then export PUSH_SUITE_STATIC_PROFILE=demo; fi
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")

build_all() {
    rm -rf "$packages"
    bash "$root/deploy/package/build.sh" >"$log_folder/build" 2>&1 || { cat "$log_folder/build" >&2 && fail "the packages do not build"; }
    sed 's#.*/#built #' "$log_folder/build"
}

# The digest of everything that was built.
digests() { (cd "$packages" && find . -type f | LC_ALL=C sort | xargs sha256sum); }

same_twice() {
    digests >"$log_folder/first"
    build_all >/dev/null
    digests >"$log_folder/second"
    diff "$log_folder/first" "$log_folder/second" || fail "the same binaries make other packages"
    say "the same binaries make the same packages"
}

# The programs of two builds in two folders are the same.
programs_twice() {
    local folder name
    for folder in one another; do
        git clone --quiet "$root" "$log_folder/$folder"
        (cd "$log_folder/$folder" && RUSTFLAGS="--remap-path-prefix=$PWD=/push-suite --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" \
            CARGO_TARGET_DIR=$PWD/target cargo build --quiet --release --locked \
            -p push-suite-register -p push-suite-gateway -p push-suite-business-worker -p push-suite-gwctl)
    done
    for name in register gateway business-worker gwctl; do
        cmp "$log_folder/one/target/release/$name" "$log_folder/another/target/release/$name" || fail "$name differs"
    done
    say "two builds of the programs are the same"
}

deb_is_clean() {
    lintian --allow-root --fail-on error,warning "$packages"/*.deb || fail "lintian complains"
    say "lintian: clean"
}

bare_root() {
    local archive
    archive=$(target_folder)/bare-root.tar
    bare=$log_folder/bare
    mkdir -p "$bare"
    if [ ! -f "$archive" ]; then
        quietly mmdebstrap --quiet --variant=minbase --format=tar bookworm "$archive.new"
        mv "$archive.new" "$archive"
    fi
    tar -C "$bare" -xf "$archive"
}

inside() { chroot "$bare" /usr/bin/env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"; } # COMMAND...

# A systemctl that says that units are active, and logs what it is asked for.
fake_systemd() {
    mkdir -p "$bare/run/systemd/system"
    cat >"$bare/usr/local/bin/systemctl" <<'END'
#!/bin/sh
echo "begin $*" >>/systemctl.log
case "$*" in
    *list-units*register*) echo 'register.service loaded active running' ;;
    *list-units*business-worker*) printf 'business-worker@%s.service loaded active running\n' 1 2 ;;
    *list-units*gateway*) echo 'gateway@1.service loaded active running' ;;
    *restart*) sleep 0.2 ;;
esac
echo "end $*" >>/systemctl.log
END
    chmod 0755 "$bare/usr/local/bin/systemctl"
}

deb_installs_upgrades_and_goes() {
    local old=$log_folder/old deb before name
    deb=push-suite_${version}_$(dpkg --print-architecture).deb
    mkdir -p "$old"
    (CARGO_TARGET_DIR=$old PUSH_SUITE_VERSION=0.0.9 bash "$root/deploy/package/build.sh" deb >/dev/null)
    cp "$packages"/*.deb "$old"/packages/push-suite_0.0.9_*.deb "$bare/tmp/"
    (cd "$bare" && find . -path ./run -prune -o -path ./var -prune -o -path ./tmp -prune -o -path ./etc -prune -o -type f -print | sort) >"$log_folder/files.before"

    inside sh -c 'dpkg -i /tmp/push-suite_0.0.9_*.deb' >"$log_folder/dpkg" 2>&1 || { cat "$log_folder/dpkg" && fail "the .deb does not install"; }
    [ "$(stat -c %a "$bare/etc/push-suite/secret.env")" = 640 ] || fail "secret.env has other permissions"
    grep -qE '^GW_SECRET_KEY=[0-9a-f]{64}$' "$bare/etc/push-suite/secret.env" || fail "there is no secret"
    inside sh -c '. /etc/push-suite/secret.env && export GW_SECRET_KEY &&
        for name in register gateway-1 business-worker-1; do
            /usr/lib/push-suite/bin/${name%-1} --config /etc/push-suite/$name.toml --check >/dev/null || exit 1
        done' || fail "the installed settings are refused"
    inside gwctl --version >/dev/null || fail "gwctl is not in the path"
    [ -e "$bare/usr/share/man/man1/gwctl.1.gz" ] || fail "gwctl has no manual page"
    for name in register gateway business-worker gwctl; do
        inside bash -c "source /usr/share/bash-completion/completions/$name && complete -p $name" >/dev/null ||
            fail "$name has no completion"
    done
    for name in register gateway business-worker; do
        zgrep -qF 'admin\-listen' "$bare/usr/share/man/man8/push-suite-$name.8.gz" || fail "$name has no manual page"
    done
    echo '# edited' >>"$bare/etc/push-suite/gateway-1.toml"
    before=$(cat "$bare/etc/push-suite/secret.env")

    fake_systemd
    inside dpkg -i "/tmp/$deb" >"$log_folder/dpkg" 2>&1 || { cat "$log_folder/dpkg" && fail "the .deb does not upgrade"; }
    [ "$(cat "$bare/etc/push-suite/secret.env")" = "$before" ] || fail "the upgrade changed the secret"
    grep -q '# edited' "$bare/etc/push-suite/gateway-1.toml" || fail "the upgrade changed the settings"
    # One after the other: each restart ends before the next begins, and no gateway is restarted.
    grep restart "$bare/systemctl.log" | sed 's/ .*restart/ restart/' >"$log_folder/restarts"
    diff "$log_folder/restarts" - <<'END' || fail "the upgrade restarts other things, or in another order"
begin restart register.service
end restart register.service
begin restart business-worker@1.service
end restart business-worker@1.service
begin restart business-worker@2.service
end restart business-worker@2.service
END
    grep -q "gateway@1.service runs the old program" "$log_folder/dpkg" || fail "the upgrade does not name the gateway"
    rm -r "$bare/run/systemd" "$bare/usr/local/bin/systemctl" "$bare/systemctl.log"

    inside dpkg -r push-suite >"$log_folder/dpkg" 2>&1 || { cat "$log_folder/dpkg" && fail "the .deb cannot be removed"; }
    [ -e "$bare/etc/push-suite/secret.env" ] || fail "a removal takes the secret"
    inside dpkg -P push-suite >"$log_folder/dpkg" 2>&1 || { cat "$log_folder/dpkg" && fail "the .deb cannot be purged"; }
    [ ! -e "$bare/etc/push-suite" ] || fail "a purge leaves $(ls "$bare/etc/push-suite")"
    (cd "$bare" && find . -path ./run -prune -o -path ./var -prune -o -path ./tmp -prune -o -path ./etc -prune -o -type f -print | sort) >"$log_folder/files.after"
    diff "$log_folder/files.before" "$log_folder/files.after" || fail "the package leaves files"
    say ".deb: installed, upgraded (workers one after the other), removed and purged in a bare root"
}

symbols_are_found() {
    local folder=$log_folder/symbols id address place
    mkdir -p "$folder"
    for file in "$packages"/*.deb; do dpkg-deb -x "$file" "$folder"; done
    id=$(readelf --notes "$folder/usr/lib/push-suite/bin/gateway" | sed -n 's/.*Build ID: //p')
    place=$folder/usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug
    address=$(nm --demangle "$place" | awk '$3 == "gateway::main" && !found++ { print $1 }')
    [[ $(addr2line --exe="$place" "$address") == *crates/gateway/src/main.rs:* ]] || fail "the symbols are not those of the program"
    say "push-suite-dbgsym: the symbols of the programs, by their build ids"
}

rpm_is_readable() {
    local rpm=("$packages"/push-suite-*.rpm) there=$log_folder/rpm
    rpm --query --package --list "${rpm[0]}" >"$log_folder/rpm.list"
    for name in /usr/lib/push-suite/bin/{register,gateway,business-worker,gwctl} /usr/bin/gwctl /usr/share/man/man1/gwctl.1.gz /usr/share/man/man8/push-suite-gateway.8.gz /usr/lib/systemd/system/gateway@.service /etc/push-suite/register.toml; do
        grep -qx "$name" "$log_folder/rpm.list" || fail "the .rpm lacks $name"
    done
    grep -qx /etc/push-suite/gateway-1.toml < <(rpm --query --package --configfiles "${rpm[0]}") || fail "settings are no configuration files"
    mkdir -p "$there"
    rpm --root "$there" --dbpath /var/lib/rpm --install --nodeps --noscripts "${rpm[0]}" || fail "the .rpm does not install"
    "$there/usr/lib/push-suite/bin/gateway" --version
    rpm --root "$there" --dbpath /var/lib/rpm --erase --nodeps --noscripts push-suite || fail "the .rpm cannot be erased"
    [ ! -e "$there/usr/lib/push-suite" ] || fail "the .rpm leaves files"
    say ".rpm: read, installed and erased below a folder"
}

# Starts the three programs with a command before each, and waits until all are ready.
try_suite() { # NAME COMMAND...
    local what=$1 register_port inner clients
    shift
    claim_port && register_port=$port
    claim_port && inner=$port
    claim_port && clients=$port
    admin_ports=()
    with_admin_port "register-$what" "$@" register --listen "127.0.0.1:$register_port"
    with_admin_port "gateway-$what" "$@" gateway --register-address "127.0.0.1:$register_port" \
        --listen "ws://127.0.0.1:$clients" --lan-port "$inner"
    with_admin_port "worker-$what" "$@" business-worker --register-address "127.0.0.1:$register_port" --app chat
    all_ready
    [[ $(http_get "$clients" /) == *"<title>chat</title>"* ]] || fail "$what: the gateway serves no page"
    stop_all || fail "$what: a program did not end well"
}

static_needs_nothing() {
    local there=$log_folder/empty name
    mkdir -p "$there"
    tar -C "$log_folder" -xzf "$packages"/push-suite-*-static.tar.gz
    for name in register gateway business-worker gwctl; do
        cp "$log_folder"/push-suite-*-static/bin/$name "$there/"
        if grep -q NEEDED < <(readelf --dynamic "$there/$name"); then fail "$name needs libraries"; fi
        if grep -q INTERP < <(readelf --program-headers "$there/$name"); then fail "$name needs an interpreter"; fi
    done
    cat >"$log_folder/in-empty" <<'END'
#!/bin/sh
there=$1 program=$2
shift 2
exec chroot "$there" "/$program" "$@"
END
    chmod 0755 "$log_folder/in-empty"
    try_suite static "$log_folder/in-empty" "$there"
    say "static programs: no library, and run in an empty folder"
}

image_runs() {
    local layout=$packages/push-suite-$version.oci there=$log_folder/image
    skopeo inspect --config "oci:$layout:$version" >"$log_folder/config"
    python3 - "$log_folder/config" <<'END' || fail "the image has other settings"
import json, sys
config = json.load(open(sys.argv[1]))
assert config["config"]["User"] == "65532:65532", config
assert config["config"]["StopSignal"] == "SIGTERM", config
assert len(config["rootfs"]["diff_ids"]) == 1
END
    grep -q '"org.opencontainers.image.licenses": "MIT"' < <(skopeo inspect "oci:$layout:$version") || fail "the image has no labels"
    quietly umoci unpack --image "$layout:$version" "$there"
    cat >"$log_folder/in-image" <<'END'
#!/bin/sh
# A program of the image: a user without rights, and a file system that cannot be written.
set -e
there=$1 program=$2
shift 2
mount --bind "$there" "$there"
mount -o remount,ro,bind "$there"
if touch "$there/written" 2>/dev/null; then echo "the file system can be written" >&2 && exit 1; fi
exec chroot --userspec=65532:65532 "$there" "/bin/$program" "$@"
END
    chmod 0755 "$log_folder/in-image"
    try_suite image unshare --mount "$log_folder/in-image" "$there/rootfs"
    say "image: read by skopeo, unpacked by umoci, run without rights and without writing"
}

build_all
same_twice
if [ "${1:-}" = long ]; then programs_twice; fi
deb_is_clean
symbols_are_found
rpm_is_readable
if [ "$(id -u)" = 0 ]; then
    bare_root
    deb_installs_upgrades_and_goes
    bash "$here/walk.sh" "$(target_folder)/bare-root.tar" "$packages/push-suite_${version}_$(dpkg --print-architecture).deb"
    static_needs_nothing
    image_runs
else
    say "left out: the bare root, the empty folder and the image need root"
fi
bash "$here/manifests.sh"
say "packages: clean"
