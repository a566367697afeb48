#!/usr/bin/env bash
# Runs the Autobahn WebSocket cases 1-7, 9 and 10 through a gateway and an echo worker, with one
# shard and with two. Prints the number of cases per result; fails if a case fails.
#
#   bash tests/conformance.sh [THREADS...]
set -euo pipefail
# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Cases 9.* send messages of up to 16 MiB, to be echoed whole.
largest_message=$((16 * 1024 * 1024))

run_cases() { # THREADS
    local out=$reports/threads-$1 status=0
    rm -rf "$out"
    start_register
    start_gateway gateway --threads "$1" --max-message-size "$largest_message" \
        --send-to-client-buffer-size $((4 * largest_message))
    start_worker worker --app echo
    all_ready
    VENV=$(target_folder)/kosoku-venv bash "$root/tests/conformance/kosoku.sh" \
        "127.0.0.1:$client_port" "$out" >"$log_folder/kosoku-$1.log" 2>&1 || status=$?
    if [ ! -f "$out/index.json" ]; then
        without_hosts <"$log_folder/kosoku-$1.log" | tail -n 20
        fail "kosoku exited with status $status without a report"
    fi
    say "--threads $1:"
    python3 "$root/tests/conformance/count.py" "$out/index.json" || failed=1
    stop_all || failed=1
}

need python
release_binaries --quiet
begin conformance
reports=$(target_folder)/conformance
failed=0
if [ $# = 0 ]; then set -- 1 2; fi
for threads in "$@"; do run_cases "$threads"; done
say "The reports are in $reports."
exit "$failed"
