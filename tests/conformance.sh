#!/usr/bin/env bash
# Runs the Autobahn WebSocket cases 1-7, 9 and 10 through a gateway and an echo worker, with one
# shard and with two; and cases 12 and 13, with compression. Prints the number of cases per result;
# fails if a case fails.
#
#   bash tests/conformance.sh [THREADS...]
#   DEFLATE=all bash tests/conformance.sh [THREADS...]      every size of 12 and 13, which takes longer
set -euo pipefail
# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Cases 9.* send messages of up to 16 MiB, to be echoed whole.
largest_message=$((16 * 1024 * 1024))

# Of cases 12.* and 13.*, those with messages of 16 to 8,192 bytes, and fragments of 256.
deflate=()
for group in 12.{1..5} 13.{1..7}; do
    for size in 1 2 3 4 5 6 11; do deflate+=(-i "$group.$size"); done
done
if [ "${DEFLATE:-}" = all ]; then deflate=(-i '12.*' -i '13.*'); fi

run_cases() { # NAME EXPECTED CASES... -- GATEWAY-FLAGS...
    local name=$1 expected=$2 out=$reports/$1 status=0 cases=()
    shift 2
    while [ "$1" != -- ]; do
        cases+=("$1")
        shift
    done
    shift
    rm -rf "$out"
    start_register
    start_gateway gateway "$@" --max-message-size "$largest_message" \
        --send-to-client-buffer-size $((4 * largest_message))
    start_worker worker --app echo
    all_ready
    VENV=$(target_folder)/kosoku-venv bash "$root/tests/conformance/kosoku.sh" \
        "127.0.0.1:$client_port" "$out" "${cases[@]}" >"$log_folder/kosoku-$name.log" 2>&1 || status=$?
    if [ ! -f "$out/index.json" ]; then
        without_hosts <"$log_folder/kosoku-$name.log" | tail -n 20
        fail "kosoku exited with status $status without a report"
    fi
    say "$name:"
    python3 "$root/tests/conformance/count.py" "$out/index.json" "$expected" || failed=1
    stop_all || failed=1
}

need python
release_binaries --quiet
begin conformance
reports=$(target_folder)/conformance
failed=0
if [ $# = 0 ]; then set -- 1 2; fi
for threads in "$@"; do
    run_cases "threads-$threads" 301 -x '12.*' -x '13.*' -- --threads "$threads"
    run_cases "deflate-$threads" "$([ "${DEFLATE:-}" = all ] && echo 216 || echo 84)" "${deflate[@]}" -- \
        --threads "$threads" --compression all --compression-min-size 0
done
say "The reports are in $reports."
exit "$failed"
