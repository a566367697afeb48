#!/usr/bin/env bash
# Builds packages of the suite into target/packages, from release binaries.
#
#   bash deploy/package/build.sh              all of them
#   bash deploy/package/build.sh FORMAT...    deb, rpm, static, image, sbom
#
# deb     push-suite_VERSION_ARCH.deb, and push-suite-dbgsym with the debug symbols
# rpm     push-suite-VERSION-1.ARCH.rpm (needs rpmbuild)
# static  push-suite-VERSION-ARCH-static.tar.gz: programs that need no library (musl)
# image   push-suite-VERSION.oci: an OCI image layout with these programs
# sbom    push-suite-VERSION.cdx.json: the software in the programs (CycloneDX)
#
# PUSH_SUITE_BIN and PUSH_SUITE_STATIC_BIN name folders with existing binaries. The same binaries make
# the same packages: times are that of the last commit, or SOURCE_DATE_EPOCH.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/lib.sh
source "$here/../lib.sh"

programs=(register gateway business-worker gwctl)
# PUSH_SUITE_VERSION is for the test of an upgrade.
version=${PUSH_SUITE_VERSION:-$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")}
: "${SOURCE_DATE_EPOCH:=$(git -C "$root" log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH
packages=$(target_folder)/packages
# As Debian's tools name the one that builds a package.
maintainer="${DEBFULLNAME:-push-suite developers} <${DEBEMAIL:-push-suite@localhost}>"

main() {
    if [ "$#" = 0 ]; then set -- deb rpm static image sbom; fi
    mkdir -p "$packages"
    work=$(mktemp -d "${TMPDIR:-/tmp}/push-suite-package.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    umask 022
    local format
    for format in "$@"; do
        declare -F "make_$format" >/dev/null || fail "unknown format $format"
        "make_$format"
    done
}

# --- the files of an installation ---------------------------------------------------------------

# Fills a folder with the files of an installation below /usr and /etc; sets $symbols to a folder with
# the debug symbols.
stage() { # FOLDER
    if [ -n "${symbols:-}" ]; then cp -a "$work/tree" "$1" && return; fi
    release_binaries --quiet
    symbols=$work/symbols
    local tree=$work/tree name
    install -d "$tree/usr/lib/push-suite/bin" "$tree/usr/lib/systemd/system" "$tree/usr/lib/sysusers.d" \
        "$tree/usr/share/doc/push-suite" "$tree/etc/push-suite"
    for name in "${programs[@]}"; do stage_program "$name" "$tree/usr/lib/push-suite/bin"; done
    for name in "$root"/deploy/systemd/*.service; do
        sed -e 's#/usr/local/lib/push-suite#/usr/lib/push-suite#' -e 's#/usr/local/share/doc#/usr/share/doc#' \
            "$name" >"$tree/usr/lib/systemd/system/$(basename "$name")"
    done
    install -m 0644 "$here/push-suite.sysusers" "$tree/usr/lib/sysusers.d/push-suite.conf"
    install -m 0644 "$root"/deploy/settings/*.toml "$tree/etc/push-suite/"
    install -m 0644 "$root"/docs/{running,gwctl,own-worker,close-codes,guarantees,security,settings,limits}.md \
        "$root/THIRD-PARTY.txt" "$tree/usr/share/doc/push-suite/"
    stage_command "$tree"
    cp -a "$tree" "$1"
}

# gwctl in the path of operators, and completions and manual pages of all programs.
stage_command() { # TREE
    local share=$1/usr/share name
    install -d "$1/usr/bin" "$share"/man/man{1,8} "$share/bash-completion/completions" \
        "$share/zsh/vendor-completions" "$share/fish/vendor_completions.d"
    ln -s ../lib/push-suite/bin/gwctl "$1/usr/bin/gwctl"
    "$bin/gwctl" man "$share/man/man1"
    for name in register gateway business-worker; do "$bin/$name" man "$share/man/man8"; done
    gzip -9n "$share"/man/man{1,8}/*
    for name in "${programs[@]}"; do
        "$bin/$name" completions bash >"$share/bash-completion/completions/$name"
        "$bin/$name" completions zsh >"$share/zsh/vendor-completions/_$name"
        "$bin/$name" completions fish >"$share/fish/vendor_completions.d/$name.fish"
    done
}

# Installs a program without its symbols, which a debugger finds by the build id.
stage_program() { # NAME FOLDER
    local id place
    id=$(readelf --notes "$bin/$1" | sed -n 's/.*Build ID: //p')
    [ -n "$id" ] || fail "$1 has no build id"
    place=$symbols/usr/lib/debug/.build-id/${id:0:2}
    install -d "$place"
    objcopy --only-keep-debug --compress-debug-sections "$bin/$1" "$place/${id:2}.debug"
    chmod 0644 "$place/${id:2}.debug"
    strip --strip-unneeded --remove-section=.comment -o "$2/$1" "$bin/$1"
    chmod 0755 "$2/$1"
}

# Gives every file the one time.
settle() { # FOLDER
    find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}

# --- formats ------------------------------------------------------------------------------------

make_deb() {
    local tree=$work/deb arch
    command -v dpkg-deb >/dev/null || fail "dpkg-deb is missing"
    arch=$(dpkg --print-architecture)
    stage "$tree"
    # Debian compresses all but small files of documentation.
    install -m 0644 "$here/deb/copyright" "$tree/usr/share/doc/push-suite/copyright"
    changelog | gzip -9n >"$tree/usr/share/doc/push-suite/changelog.gz"
    gzip -9n "$tree/usr/share/doc/push-suite/THIRD-PARTY.txt" "$tree"/usr/share/doc/push-suite/*.md
    install -d "$tree/usr/share/lintian/overrides" "$tree/DEBIAN"
    install -m 0644 "$here/deb/lintian-overrides" "$tree/usr/share/lintian/overrides/push-suite"
    (cd "$tree" && find etc -type f | sort | sed 's#^#/#') >"$tree/DEBIAN/conffiles"
    install -m 0755 "$here"/deb/{postinst,prerm,postrm} "$tree/DEBIAN/"
    finish_deb push-suite "$tree" "$arch" -Zxz

    tree=$work/dbgsym
    mkdir -p "$tree/DEBIAN" "$tree/usr/share/doc"
    cp -a "$symbols/usr" "$tree/"
    ln -s push-suite "$tree/usr/share/doc/push-suite-dbgsym"
    # The symbols are compressed already.
    finish_deb push-suite-dbgsym "$tree" "$arch" -Zgzip -z1
}

finish_deb() { # NAME FOLDER ARCH COMPRESSION...
    local name=$1 tree=$2 arch=$3 size file=$packages/${1}_${version}_$3.deb
    shift 3
    size=$(du --apparent-size -sk "$tree/usr" | cut -f1)
    sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$size/" -e "s/@MAINTAINER@/$maintainer/" \
        "$here/deb/$name.control" >"$tree/DEBIAN/control"
    (cd "$tree" && find usr -type f | LC_ALL=C sort | xargs md5sum) >"$tree/DEBIAN/md5sums"
    settle "$tree"
    dpkg-deb --root-owner-group "$@" --build "$tree" "$file" >/dev/null
    say "$file"
}

# The changes, in Debian's form: the whole list is in the project.
changelog() {
    printf 'push-suite (%s) unstable; urgency=medium\n\n  * See https://keepachangelog.com for the form of CHANGELOG.md,\n    which lists the changes of each version.\n\n -- %s  %s\n' \
        "$version" "$maintainer" "$(date --utc --date="@$SOURCE_DATE_EPOCH" -R)"
}

make_rpm() {
    command -v rpmbuild >/dev/null || fail "rpmbuild is missing: install rpm or rpm-build"
    local tree=$work/rpm
    stage "$tree"
    install -m 0644 "$root/LICENSE" "$tree/usr/share/doc/push-suite/LICENSE"
    settle "$tree"
    rpmbuild -bb --quiet --define "_topdir $work/rpmbuild" --define "staged $tree" \
        --define "suite_version $version" --define "_rpmdir $packages" --define '_build_id_links none' \
        --define 'use_source_date_epoch_as_buildtime 1' --define 'clamp_mtime_to_source_date_epoch 1' \
        --define '_buildhost localhost' --define '_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' \
        "$here/push-suite.spec"
    say "$packages/push-suite-$version-1.$(uname -m).rpm"
}

# Builds the programs for musl; sets $static to their folder.
static_binaries() {
    if [ -n "${PUSH_SUITE_STATIC_BIN:-}" ]; then
        static=$(cd "$PUSH_SUITE_STATIC_BIN" && pwd) || exit 1
        return
    fi
    local target profile=${PUSH_SUITE_STATIC_PROFILE:-release} flags=()
    target=$(uname -m)-unknown-linux-musl
    command -v musl-gcc >/dev/null || fail "musl-gcc is missing: install musl-tools"
    grep -qx "$target" < <(rustup target list --installed) || (cd "$root" && rustup target add "$target" >/dev/null)
    if [ "$profile" != release ]; then flags=(--no-default-features); fi
    (cd "$root" && cargo build --quiet --locked --profile "$profile" --target "$target" "${flags[@]}" \
        -p push-suite-register -p push-suite-gateway -p push-suite-business-worker -p push-suite-gwctl)
    static=$(target_folder)/$target/$profile
}

# Fills a folder with static programs.
stage_static() { # FOLDER
    local name
    static_binaries
    install -d "$1"
    for name in "${programs[@]}"; do
        strip --strip-all -o "$1/$name" "$static/$name"
        chmod 0755 "$1/$name"
    done
}

make_static() {
    local name tree
    name=push-suite-$version-$(uname -m)-static
    tree=$work/static/$name
    stage_static "$tree/bin"
    install -d "$tree/settings" "$tree/systemd"
    install -m 0644 "$root"/deploy/settings/*.toml "$tree/settings/"
    install -m 0644 "$root"/deploy/systemd/*.service "$tree/systemd/"
    install -m 0644 "$root"/{LICENSE,THIRD-PARTY.txt,README.md} "$tree/"
    settle "$tree"
    tar --directory="$work/static" --sort=name --owner=0 --group=0 --numeric-owner --format=ustar -c "$name" |
        gzip -9n >"$packages/$name.tar.gz"
    say "$packages/$name.tar.gz"
}

make_image() {
    local tree=$work/image
    stage_static "$tree/bin"
    install -d "$tree/etc/push-suite" "$tree/licenses"
    install -m 0644 "$root"/{LICENSE,THIRD-PARTY.txt} "$tree/licenses/"
    printf 'push-suite:x:65532:65532::/:/sbin/nologin\n' >"$tree/etc/passwd"
    printf 'push-suite:x:65532:\n' >"$tree/etc/group"
    python3 -B "$here/image.py" "$tree" "$packages/push-suite-$version.oci" "$version"
    say "$packages/push-suite-$version.oci"
}

make_sbom() {
    python3 -B "$here/sbom.py" "$version" >"$packages/push-suite-$version.cdx.json"
    say "$packages/push-suite-$version.cdx.json"
}

main "$@"
