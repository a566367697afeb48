#!/usr/bin/env bash
# Measures the suite's Pusher app, and Laravel Reverb and Sockudo where they are given, in one run,
# interleaved: CPU of events published by HTTP, their latency, memory of subscribers, and memory over a
# churn of clients. Prints medians and ratios.
#
#   bench/pusher.sh [--quick] [--rounds N] [--soak SECONDS] [CELL...]
#
# CELL...                 only these rows: idle fan1 fan4 fan16 publish paced1 paced1000 churn soak
# --soak SECONDS          duration of the churn whose memory is observed (default 60; an hour: 3600)
#
# bench/servers.sh names further settings: BIN, THREADS, GENERATOR_THREADS, OUT, REVERB_PHP, REVERB_FLAGS,
# SOCKUDO.
set -euo pipefail
# shellcheck source=bench/servers.sh
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

seconds=4 rounds=3 idle=10000 soak=60
cells=()
while [ $# -gt 0 ]; do
    case $1 in
        --quick) seconds=1 rounds=1 idle=1000 soak=10 ;;
        --rounds) rounds=${2:?--rounds needs a number}; shift ;;
        --soak) soak=${2:?--soak needs a number}; shift ;;
        -*) usage ;;
        *) cells+=("$1") ;;
    esac
    shift
done
if [ ${#cells[@]} = 0 ]; then cells=(idle fan1 fan4 fan16 publish paced1 paced1000 churn soak); fi

begin_measuring pusher
most_connections "$idle"
idle=$most

columns=(ours)
if [ -n "${REVERB_PHP:-}" ]; then columns+=(reverb); fi
if [ -n "${SOCKUDO:-}" ]; then columns+=(sockudo); fi
serve() { # COLUMN NAME
    case $1 in
        ours) serve_suite "$2" ;;
        *) "serve_$1" "$2" ;;
    esac
}
for column in "${columns[@]}"; do serve "$column" "$column"; done
subscribers=$idle
if [[ " ${columns[*]} " == *" reverb "* ]]; then
    loop=$(sed -n 's/^event loop .*\\//p' "$log_folder/reverb-reverb..log")
    say "Reverb: $(php -r 'echo "PHP ", PHP_VERSION;'), $loop"
    # It cannot hold more than select's descriptors.
    if [ "$loop" = StreamSelectLoop ]; then subscribers=900; fi
fi

# Memory is that of servers that have done nothing else.
on_fresh_server() { # CELL COLUMN ROUND MODE FLAGS...
    serve "$2" fresh
    measure "$1.$2.$3" fresh "${@:4}"
    unserve fresh
}

cell() { # CELL COLUMN ROUND
    local load=(measure "$1.$2.$3" "$2") time=(--duration "$seconds")
    case $1 in
        idle) on_fresh_server "$@" idle --prepare --connections "$subscribers" --at-once 64 "${time[@]}" ;;
        fan1) "${load[@]}" fanout --connections 1000 "${time[@]}" ;;
        fan4) "${load[@]}" fanout --connections 1000 --senders 4 "${time[@]}" ;;
        fan16) "${load[@]}" fanout --connections 1000 --senders 16 "${time[@]}" ;;
        publish) "${load[@]}" fanout --connections 10 --groups 10 --senders 10 "${time[@]}" ;;
        paced1) "${load[@]}" fanout --connections 10 --groups 10 --senders 10 --rate 100 "${time[@]}" ;;
        paced1000) "${load[@]}" fanout --connections 1000 --rate 2 --duration $((seconds * 2)) ;;
        churn) "${load[@]}" churn --connections 20 "${time[@]}" ;;
        soak)
            # One is long enough.
            if [ "$3" != 1 ]; then return; fi
            on_fresh_server "$@" churn --connections 50 --prepare --channel-type presence --duration "$soak"
            ;;
        *) fail "there is no cell $1" ;;
    esac
}

for round in $(seq "$rounds"); do
    for cell in "${cells[@]}"; do
        for column in "${columns[@]}"; do cell "$cell" "$column" "$round"; done
    done
done

python3 "$root/bench/pusher.py" "$out" "${columns[@]}"
