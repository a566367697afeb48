#!/usr/bin/env bash
# The part of boot.sh that runs inside the container, under systemd.
set -euo pipefail
# shellcheck source=deploy/lib.sh
source /check/lib.sh

units=(register gateway@1 business-worker@1)
declare -A admin=([register]=9100 [gateway@1]=9101 [business-worker@1]=9111)

give_up() {
    say "$*"
    journalctl --no-pager --lines 60 --unit "register*" --unit "gateway@*" --unit "business-worker@*" || true
    exit 1
}

property() { systemctl show --value --property "$2" "$1"; } # UNIT NAME

ready_soon() { # UNIT
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        if [ "$(http_status "${admin[$1]}" /readyz)" = 200 ]; then return; fi
        sleep 0.1
    done
    give_up "$1 does not become ready: $(http_get "${admin[$1]}" /readyz | tail -n 1)"
}

all_start() {
    local unit
    for unit in "${units[@]}"; do systemctl start "$unit" || give_up "$unit does not start"; done
    for unit in "${units[@]}"; do
        ready_soon "$unit"
        say "$unit: ready, \"$(property "$unit" StatusText)\""
    done
}

# Checks the hardening of the unit from inside the process.
all_are_confined() {
    local unit status
    for unit in "${units[@]}"; do
        status=/proc/$(property "$unit" MainPID)/status
        grep -qP '^Uid:\t(?!0\t)' "$status" || give_up "$unit runs as root"
        grep -qP '^CapBnd:\t0+$' "$status" || give_up "$unit keeps capabilities"
        grep -qP '^Seccomp:\t2$' "$status" || give_up "$unit has no system call filter"
        grep -qP '^NoNewPrivs:\t1$' "$status" || give_up "$unit may gain privileges"
    done
    say "all run without root, capabilities, or system calls that they do not need"
}

# Without certificates, a reload has no effect.
survive_a_reload() {
    local unit before
    for unit in "${units[@]}"; do
        before=$(property "$unit" MainPID)
        systemctl reload "$unit" || give_up "$unit cannot be reloaded"
        sleep 0.5
        [ "$(property "$unit" MainPID)" = "$before" ] || give_up "$unit does not survive a reload"
        ready_soon "$unit"
    done
    say "all survive a reload"
}

# A drop-in shortens the gateway's watchdog, since the test waits for it.
shorten_watchdog() {
    mkdir -p /run/systemd/system/gateway@.service.d
    printf '[Service]\nWatchdogSec=2\n' >/run/systemd/system/gateway@.service.d/watchdog.conf
    systemctl daemon-reload
    systemctl restart gateway@1
}

comes_back_after() { # UNIT SIGNAL
    local before tries
    before=$(property "$1" NRestarts)
    kill "-$2" "$(property "$1" MainPID)"
    for ((tries = 0; tries < 200; tries++)); do
        if [ "$(property "$1" NRestarts)" != "$before" ] && [ "$(property "$1" ActiveState)" = active ]; then
            ready_soon "$1"
            say "$1: back after SIG$2"
            return
        fi
        sleep 0.1
    done
    give_up "$1 does not come back after SIG$2"
}

bad_settings_are_told() {
    systemctl stop gateway@1
    cp /etc/push-suite/gateway-1.toml /etc/push-suite/gateway-2.toml
    echo 'pinginterval = 1' >>/etc/push-suite/gateway-2.toml
    if systemctl start gateway@2 2>/dev/null; then give_up "gateway@2 starts with an unknown key"; fi
    journalctl --sync
    grep -q pinginterval < <(journalctl --no-pager --unit gateway@2) ||
        give_up "the journal does not name the unknown key"
    systemctl stop gateway@2
    systemctl start gateway@1
    ready_soon gateway@1
    say "gateway@2: refused, with the name of the unknown key in the journal"
}

all_stop() {
    local unit
    for unit in business-worker@1 gateway@1 register; do
        systemctl stop "$unit"
        [ "$(property "$unit" Result)" = success ] || give_up "$unit stops with $(property "$unit" Result)"
        [ "$(property "$unit" ExecMainStatus)" = 0 ] || give_up "$unit exits with $(property "$unit" ExecMainStatus)"
        say "$unit: stopped, exit code 0"
    done
}

no_call_was_refused() {
    ! journalctl --no-pager | grep -E 'SIGSYS|seccomp|Operation not permitted' ||
        give_up "the hardening got in the way"
}

all_start
all_are_confined
survive_a_reload
comes_back_after register KILL
comes_back_after business-worker@1 KILL
shorten_watchdog
comes_back_after gateway@1 STOP
bad_settings_are_told
all_stop
no_call_was_refused
touch /check/passed
