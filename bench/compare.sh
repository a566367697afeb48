#!/usr/bin/env bash
# Measures the suite, the direct server, and GatewayWorker and Socket.IO where they are asked for, in
# one run, interleaved, and prints CPU per message, latency and memory, their ratios, and whether what
# is aimed at was reached, as medians.
#
#   bench/compare.sh [--quick] [--rounds N] [CELL...]
#
# CELL...                 only these rows: idle warm heartbeat echo echo1000 echo64k paced500 paced30k
#                         fan1 fan4 fan16 churn phpworker; --quick leaves out the heartbeat
# SOCKETIO=1              Socket.IO as well; needs node and npm
#
# bench/servers.sh names further settings: BIN, THREADS, GENERATOR_THREADS, OUT, GATEWAYWORKER_PHP.
set -euo pipefail
# shellcheck source=bench/servers.sh
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

seconds=2.5 rounds=3 idle=10000 quick=
cells=()
while [ $# -gt 0 ]; do
    case $1 in
        --quick) seconds=1 rounds=1 idle=2000 quick=1 ;;
        --rounds) rounds=${2:?--rounds needs a number}; shift ;;
        -*) usage ;;
        *) cells+=("$1") ;;
    esac
    shift
done
if [ ${#cells[@]} = 0 ]; then
    cells=(idle warm heartbeat echo echo1000 echo64k paced500 paced30k fan1 fan4 fan16 churn phpworker)
    if [ -n "$quick" ]; then unset 'cells[2]'; fi
fi

begin_measuring compare
most_connections "$idle"
idle=$most

# --- the servers ------------------------------------------------------------------------------

columns=(ours direct)
if php_is_given; then
    columns+=(php)
    loop=Select
    if php_is_large; then loop=Event; fi
    say "GatewayWorker: $(php -r 'echo "PHP ", PHP_VERSION;'), Workerman's event loop $loop"
    if [ $loop = Select ]; then
        say "  (PHP's event extension is missing: this loop is slower, and takes about 1,000 connections)"
    fi
fi
if [ -n "${SOCKETIO:-}" ]; then
    has node && has npm || fail "SOCKETIO needs node and npm"
    columns+=(socketio)
fi
for column in "${columns[@]}"; do "serve_$column" "$column"; done
if php_is_given; then
    # The gateways alone, with the same worker behind both.
    serve_mixed mixed
    urls[php-gateway]=${urls[php]}
    watched[php-gateway]=$(php_process php Gateway)
fi

# --- the cells --------------------------------------------------------------------------------

fan=(fanout --connections 1000 --window)
quiet=(idle --connections "$idle" --at-once 64)
# A client that answers is pinged every one and a half intervals: once in the time that is measured.
ping=55 pinged=82.5

# The figures of these are of processes that have done nothing else: what was freed is used again.
on_fresh_servers() { # CELL COLUMN ROUND MODE FLAGS...
    # What the select loop cannot hold would only be noise.
    if [ "$2" = php ] && [ "$loop" = Select ]; then return; fi
    local settings=()
    case $1-$2 in
        heartbeat-ours) settings=(--websocket-ping 0 --ping-interval "$ping" --ping-not-response-limit 1 --ping-data '{"type":"ping"}') ;;
        heartbeat-php) settings=(PING_INTERVAL="$ping") ;;
        heartbeat-*) return ;;
    esac
    "serve_$2" fresh "${settings[@]}"
    measure "$1.$2.$3" fresh "${@:4}"
    unserve fresh
}

cell() { # CELL COLUMN ROUND
    local load=(measure "$1.$2.$3" "$2") time=(--duration "$seconds")
    case $1 in
        idle) on_fresh_servers "$@" "${quiet[@]}" --prepare "${time[@]}" ;;
        warm) on_fresh_servers "$@" "${quiet[@]}" --prepare --warm-size 60000 --settle 10 "${time[@]}" ;;
        heartbeat) on_fresh_servers "$@" "${quiet[@]}" --answer '{"type":"pong"}' --duration "$pinged" ;;
        echo) "${load[@]}" echo --connections 100 "${time[@]}" ;;
        echo1000) "${load[@]}" echo --connections 1000 "${time[@]}" ;;
        echo64k) "${load[@]}" echo --connections 100 --size 65536 "${time[@]}" ;;
        paced500) "${load[@]}" paced --connections 10 --rate 500 "${time[@]}" ;;
        paced30k) "${load[@]}" paced --connections 200 --rate 30000 "${time[@]}" ;;
        fan1) "${load[@]}" "${fan[@]}" 1 "${time[@]}" ;;
        fan4) "${load[@]}" "${fan[@]}" 4 "${time[@]}" ;;
        fan16) "${load[@]}" "${fan[@]}" 16 "${time[@]}" ;;
        churn) "${load[@]}" churn --connections 20 "${time[@]}" ;;
        phpworker)
            case $2 in
                ours) if php_is_given; then measure "$1.$2.$3" mixed echo "${time[@]}"; fi ;;
                php) measure "$1.$2.$3" php-gateway echo "${time[@]}" ;;
            esac
            ;;
        *) fail "there is no cell $1" ;;
    esac
}

for round in $(seq "$rounds"); do
    for cell in "${cells[@]}"; do
        # A heartbeat takes minutes, and one is as many pings as there are clients.
        if [ "$cell" = heartbeat ] && [ "$round" != 1 ]; then continue; fi
        for column in "${columns[@]}"; do cell "$cell" "$column" "$round"; done
    done
done

python3 "$root/bench/table.py" "$out" "${columns[@]}"
