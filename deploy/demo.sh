#!/usr/bin/env bash
# Runs the whole suite on this machine: a register, two gateways, two business workers with the
# chat.
#
#   bash deploy/demo.sh          runs until Ctrl-C
#   bash deploy/demo.sh --once   stops as soon as everything is ready
#
# Ports are DEMO_REGISTER_PORT (1236), DEMO_GATEWAY_PORTS ("7272 7273") and DEMO_INNER_PORTS
# ("2900 2901"); if one is taken, a free port is used and printed. Everything listens on loopback.
set -euo pipefail
# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

once=false
case ${1:-} in
    '') ;;
    --once) once=true ;;
    *) fail "usage: bash deploy/demo.sh [--once]" ;;
esac

# Sets $port, and prints a note if it is not the preferred one.
prefer_port() { # WHAT PORT
    claim_port "$2"
    if [ "$port" != "$2" ]; then say "Port $2 is taken; $1 uses $port."; fi
}

start_register() {
    prefer_port "the register" "${DEMO_REGISTER_PORT:-1236}"
    register=127.0.0.1:$port
    claim_port
    start register "$bin/register" --listen "$register" --admin-listen "127.0.0.1:$port"
    admin_ports[register]=$port
}

# Sets $client_ports to the ports of both gateways for clients: the page of each knows the other.
choose_client_ports() { # PORT...
    local number=0 preferred
    for preferred in "$@"; do
        number=$((number + 1))
        prefer_port "gateway-$number, for clients," "$preferred"
        client_ports+=("$port")
    done
}

start_gateway() { # NAME CLIENT_PORT OTHER_CLIENT_PORT INNER_PORT
    local inner
    prefer_port "$1, for workers," "$4"
    inner=$port
    claim_port
    start "$1" "$bin/gateway" --register-address "$register" --listen "ws://127.0.0.1:$2" \
        --lan-ip 127.0.0.1 --lan-port "$inner" --admin-listen "127.0.0.1:$port" \
        --web-failover "ws://127.0.0.1:$3"
    admin_ports[$1]=$port
    pages+=("http://127.0.0.1:$2/")
}

start_worker() { # NAME
    claim_port
    start "$1" "$bin/business-worker" --register-address "$register" --app chat \
        --admin-listen "127.0.0.1:$port"
    admin_ports[$1]=$port
}

start_all() {
    local gateways inners number
    read -r -a gateways <<<"${DEMO_GATEWAY_PORTS:-7272 7273}"
    read -r -a inners <<<"${DEMO_INNER_PORTS:-2900 2901}"
    start_register
    choose_client_ports "${gateways[@]}"
    start_gateway gateway-1 "${client_ports[0]}" "${client_ports[1]}" "${inners[0]}"
    start_gateway gateway-2 "${client_ports[1]}" "${client_ports[0]}" "${inners[1]}"
    for number in 1 2; do start_worker "worker-$number"; done
    for name in "${started[@]}"; do wait_ready "$name" "${admin_ports[$name]}"; done
}

show() {
    local name
    say ""
    say "Ready. Open the chat, in two tabs or on both gateways:"
    for name in "${pages[@]}"; do say "    $name"; done
    say ""
    say "Health and metrics (/livez, /readyz, /metrics):"
    for name in "${started[@]}"; do say "    http://127.0.0.1:${admin_ports[$name]}/metrics    $name"; done
    say "Look inside:"
    say "    $bin/gwctl --register-address $register status"
    say "Logs: $log_folder"
    if ! $once; then say "Ctrl-C stops everything."; fi
}

# Waits for the unexpected exit of a process.
watch() {
    local name
    wait -n "${pids[@]}" || true
    for name in "${started[@]}"; do
        if ! alive "$name"; then
            say "$name exited unexpectedly."
            print_log_tail "$name"
        fi
    done
    exit 1
}

finish() {
    local status=$?
    # A second Ctrl-C is passed on to the processes, which then exit at once.
    trap 'kill -TERM "${pids[@]}" 2>/dev/null || true' INT TERM HUP
    if [ "${#started[@]}" != 0 ]; then
        say ""
        say "Stopping."
        stop_all || status=1
    fi
    if [ "$status" = 0 ]; then say "All stopped."; else say "Logs: $log_folder"; fi
    exit "$status"
}

declare -A admin_ports=()
pages=() client_ports=()
say "Building (the first time takes a minute or two) …"
demo_binaries
log_folder=$(mktemp -d "${TMPDIR:-/tmp}/push-suite-demo.XXXXXX")
trap 'exit 0' INT TERM HUP
trap finish EXIT
start_all
show
if $once; then exit 0; fi
watch
