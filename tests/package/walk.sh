#!/usr/bin/env bash
# Installs the .deb in two bare roots, which are two hosts of a network of their own, runs the suite from
# them as its units state it, injects failures, and follows the runbooks: every command of a walk is taken
# out of its page, and its answer is compared with the one in the page. Needs root.
#
#   bash tests/package/walk.sh ROOT.tar PACKAGE.deb
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../lib.sh"
archive=$1 deb=$2

if [ "${WALK_INSIDE:-}" != 1 ]; then
    if ! unshare --net --mount true 2>/dev/null; then
        say "left out: the walks of the runbooks need a network namespace of their own"
        exit 0
    fi
    WALK_INSIDE=1 exec unshare --net --mount --propagation=private bash "$here/walk.sh" "$@"
fi

# A bare root with the package, as a host with this address.
make_host() { # ADDRESS
    local there=$log_folder/$1
    mkdir -p "$there"
    tar -C "$there" -xf "$archive"
    mount -t proc proc "$there/proc"
    cp "$deb" "$there/tmp/push-suite.deb"
    chroot "$there" dpkg -i /tmp/push-suite.deb >"$log_folder/dpkg" 2>&1 || { cat "$log_folder/dpkg" && fail "the .deb does not install"; }
    rm "$there/tmp/push-suite.deb"
    install -m 0755 "$here/systemctl.sh" "$there/usr/local/bin/systemctl"
    # The addresses in the LAN, as the comments in the settings ask for it.
    sed -i "s/^register_address = .*/register_address = [\"$first:1236\"]/" "$there"/etc/push-suite/*.toml
    sed -i "s/^listen = \"127.0.0.1:1236\"/listen = \"$first:1236\"/" "$there/etc/push-suite/register.toml"
    sed -i "s/^lan_ip = .*/lan_ip = \"$1\"/" "$there/etc/push-suite/gateway-1.toml"
    sed 's/9111/9112/' "$there/etc/push-suite/business-worker-1.toml" >"$there/etc/push-suite/business-worker-2.toml"
    printf 'register_address = ["%s:1236"]\n' "$first" >"$there/etc/push-suite/gwctl.toml"
    hosts+=("$there")
}

# Ends what the units have started.
before_stop() {
    local there file
    for there in "${hosts[@]}"; do
        for file in "$there"/run/units/*.pid; do
            if [ -e "$file" ]; then kill -KILL "$(cat "$file")" 2>/dev/null || true; fi
        done
    done
    if [ -n "${holder:-}" ]; then kill "$holder" 2>/dev/null || true; fi
    # Before the folders are removed.
    umount --lazy "${hosts[@]/%//proc}" "$log_folder/$second/first" 2>/dev/null || true
}

begin walk
first=10.0.0.11 second=10.0.0.12
hosts=() holder=
make_host "$first"
make_host "$second"

# This namespace is that of the first host; the second one has another.
unshare --net sleep 1000 &
holder=$!
until [ "$(readlink "/proc/$holder/ns/net")" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.05; done
ip link set lo up
ip link add wire type veth peer name wire netns "$holder"
ip addr add "$first/24" dev wire
ip link set wire up
nsenter --net="/proc/$holder/ns/net" sh -c "ip link set lo up && ip addr add $second/24 dev wire && ip link set wire up"

# `scp HOST:FILE FILE` of the second host.
cat >"$log_folder/$second/usr/local/bin/scp" <<END
#!/bin/sh
exec cat "/first/\${1#*:}" >"\$2"
END
chmod 0755 "$log_folder/$second/usr/local/bin/scp"
mkdir "$log_folder/$second/first"
mount --bind "$log_folder/$first" "$log_folder/$second/first"

python3 -B -m unittest discover --quiet -s "$here" -p 'runbook_test.py'
python3 -B "$here/walk.py" "$root/docs/runbooks" "$log_folder" "$holder"
