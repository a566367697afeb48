#!/bin/bash
# Stands in for systemctl in a bare root without systemd: starts, stops and signals processes as their
# units state it, with the environment, the checks and a user without rights, but without the sandbox.
# A unit is started once its process answers /livez.
set -euo pipefail

state=/run/units
logs=/var/log/units
mkdir -p "$state" "$logs"

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# Selects a unit: its file, the part behind its @, and where its process is known.
select_unit() { # UNIT
    unit=${1%.service}
    id=''
    file=/usr/lib/systemd/system/$unit.service
    if [[ $unit == *@* ]]; then
        id=${unit#*@}
        file=/usr/lib/systemd/system/${unit%%@*}@.service
    fi
    [ -f "$file" ] || fail "Unit $unit.service not found."
    pid_file=$state/$unit.pid
}

value_of() { sed -n "s/^$1=//p" "$file" | sed "s/%i/$id/g"; } # KEY

# Whether the process of the unit runs; a process that nothing has waited for is none.
runs() {
    local pid
    pid=$(cat "$pid_file" 2>/dev/null) && [[ $(cut -d ' ' -f 3 "/proc/$pid/stat" 2>/dev/null) == [^Z] ]]
}

until_alive() {
    local settings port tries
    settings=$(value_of ExecStart | sed -n 's/.*--config \([^ ]*\).*/\1/p')
    port=$(sed -n 's/^admin_listen = ".*:\([0-9]*\)"/\1/p' "$settings")
    for ((tries = 0; tries < 300; tries++)); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
        runs || break
        sleep 0.1
    done
    tail -n 20 "$logs/$unit" >&2
    fail "Job for $unit.service failed."
}

start() {
    if runs; then return; fi
    local environment=() line check words
    while read -r line; do environment+=("$line"); done < <(value_of Environment && cat "$(value_of EnvironmentFile)")
    # As DynamicUser: no right to anything but what the unit passes.
    as_unit=(setpriv --reuid=61184 --regid=61184 --clear-groups --no-new-privs env -i "${environment[@]}")
    check=$(value_of ExecStartPre)
    read -ra words <<<"$check"
    "${as_unit[@]}" "${words[@]}" >/dev/null 2>>"$logs/$unit" || fail "Job for $unit.service failed: $check"
    read -ra words <<<"$(value_of ExecStart)"
    setsid "${as_unit[@]}" "${words[@]}" >>"$logs/$unit" 2>&1 </dev/null &
    echo "$!" >"$pid_file"
    until_alive
}

stop() {
    local tries
    if ! runs; then return; fi
    kill -TERM "$(cat "$pid_file")"
    # As systemd does, so that a stopped process ends, too.
    kill -CONT "$(cat "$pid_file")"
    for ((tries = 0; tries < 200; tries++)); do
        if ! runs; then break; fi
        sleep 0.1
    done
    if runs; then kill -KILL "$(cat "$pid_file")"; fi
    rm -f "$pid_file"
}

action=$1
shift
signal=TERM
if [ "$action" = kill ] && [ "$1" = -s ]; then signal=$2 && shift 2; fi
for name in "$@"; do
    select_unit "$name"
    case $action in
        start) start ;;
        stop) stop ;;
        restart) stop && start ;;
        reload) kill -HUP "$(cat "$pid_file")" ;;
        kill) kill -s "$signal" "$(cat "$pid_file")" ;;
        *) fail "Unknown command verb $action." ;;
    esac
done
