#!/usr/bin/env bash
# Cost of reports: CPU per delivery of messages whose sender waits for a report, and of the same messages
# without, in turn on one suite.
#
#   bench/reported.sh [--quick] [--rounds N]
#
# bench/servers.sh names further settings: BIN, THREADS, GENERATOR_THREADS, OUT.
set -euo pipefail
# shellcheck source=bench/servers.sh
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

seconds=4 rounds=3
while [ $# -gt 0 ]; do
    case $1 in
        --quick) seconds=1 rounds=1 ;;
        --rounds) rounds=${2:?--rounds needs a number}; shift ;;
        *) usage ;;
    esac
    shift
done

begin_measuring reported
serve_ours ours
for round in $(seq "$rounds"); do
    for column in without with; do
        flags=(--duration "$seconds")
        if [ "$column" = with ]; then flags+=(--report); fi
        measure "echo.$column.$round" ours echo --connections 100 "${flags[@]}"
        for receivers in 10 100 1000; do
            # One message of each sender in flight, since a handler that waits delays the next one.
            measure "fanout$receivers.$column.$round" ours fanout --to group --senders 10 --window 1 \
                --connections "$receivers" "${flags[@]}"
        done
    done
done
unserve ours

python3 "$root/bench/reported.py" "$out"
