#!/usr/bin/env bash
# Boots a real systemd in a container made of this host's /usr and runs the units there: they become
# ready, their hardening does not break them, and they restart after a crash and a hang. Needs root,
# systemd-nspawn, and a host that allows containers; otherwise prints that and skips the check.
set -euo pipefail
# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

install_below() {
    DESTDIR=$there PUSH_SUITE_BIN=$bin bash "$root/deploy/install.sh" >/dev/null
    mkdir -p "$there/check" "$there/units"
    cp "$root/deploy/lib.sh" "$there/check/lib.sh"
    cp "$root/tests/deploy/boot-inside.sh" "$there/check/"
    cp "$there"/usr/local/lib/systemd/system/*.service "$there/units"
    cat >"$there/units/check.target" <<'UNIT'
[Unit]
Requires=basic.target
Wants=check.service systemd-journald.service
UNIT
    cat >"$there/units/check.service" <<'UNIT'
[Unit]
After=basic.target
[Service]
Type=oneshot
ExecStart=/bin/bash /check/boot-inside.sh
ExecStopPost=/bin/systemctl --no-block exit
StandardOutput=file:/check/output
StandardError=file:/check/output
UNIT
}

# The container shares only /usr with the host, and leaves nothing behind.
in_container() { # COMMAND...
    timeout --kill-after=10 180 systemd-nspawn --quiet --directory=/ --volatile=yes \
        --machine="push-suite-$$" --register=no --keep-unit --private-network --console=pipe \
        --link-journal=no --overlay-ro="/usr/local:$there/usr/local:/usr/local" \
        --bind-ro="$there/units:/etc/systemd/system" --bind="$there/etc/push-suite:/etc/push-suite" \
        --bind="$there/check:/check" "$@" </dev/null
}

left_out() {
    say "left out: $*"
    exit 0
}

if [ "$(id -u)" != 0 ]; then left_out "booting the units needs root"; fi
if ! has systemd-nspawn; then left_out "booting the units needs systemd-nspawn (systemd-container)"; fi
release_binaries --quiet
begin boot
there=$log_folder/root
install_below
if ! in_container /bin/true >"$log_folder/probe" 2>&1; then
    left_out "this host allows no container: $(tail -n 1 "$log_folder/probe")"
fi
in_container /lib/systemd/systemd --unit=check.target --show-status=no >"$log_folder/boot" 2>&1 || true
cat "$there/check/output" 2>/dev/null || cat "$log_folder/boot"
[ -e "$there/check/passed" ] || fail "a check of the units failed"
