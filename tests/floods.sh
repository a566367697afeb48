#!/usr/bin/env bash
# Latency of well-behaved clients while others flood their gateway: the p99 may at most double.
#
#   bash tests/floods.sh [ROUNDS [SECONDS [KIND...]]]
#
# A flood takes CPU from every process of the machine, whatever its target. So the p99 is measured
# in turn while the flood targets the clients' own suite, and while it targets another suite on the
# same machine. The result is the median over all rounds of the first divided by the second. A
# median above two is measured again, up to twice, since other load may have caused it. The p99
# without any flood is printed, too.
set -euo pipefail
# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

rounds=${1:-3} seconds=${2:-1.5}
kinds=("${@:3}")
if [ ${#kinds[@]} = 0 ]; then kinds=(connects handshakes heads messages unread); fi

# Starts a suite with default settings; sets $client_port.
start_suite() { # NAME
    local inner
    start_register "register-$1"
    claim_port
    client_port=$port
    claim_port
    inner=$port
    with_admin_port "gateway-$1" "$bin/gateway" --register-address "$register" \
        --listen "ws://127.0.0.1:$client_port" --lan-port "$inner"
    start_worker "worker-$1" --app bench
}

# Sets $p99 to that of well-behaved clients, in microseconds.
behave() {
    "$bin/bench" paced "ws://127.0.0.1:$ours/" --connections 50 --rate 1000 --duration "$seconds" \
        --grace 10 --quiet --json "$log_folder/report.json" >"$log_folder/report.txt" 2>&1 ||
        fail "well-behaved clients: $(cat "$log_folder/report.txt")"
    p99=$(python3 "$root/tests/floods.py" p99 "$log_folder/report.json") ||
        fail "well-behaved clients: $(cat "$log_folder/report.txt")"
}

# The same while PORT is flooded.
behave_beside() { # KIND PORT
    "$bin/bench" flood "$1" "ws://127.0.0.1:$2/" --duration 60 >"$log_folder/flood.txt" 2>&1 &
    local flood=$!
    sleep 0.5
    behave
    kill "$flood"
    wait "$flood" || true
    # The next measurement starts once the flood has ended.
    sleep 0.5
}

measure() { # KIND: appends a row for each round to its file
    local quiet beside
    for _ in $(seq "$rounds"); do
        behave
        quiet=$p99
        behave_beside "$1" "$other"
        beside=$p99
        behave_beside "$1" "$ours"
        say "$quiet $beside $p99" >>"$log_folder/$1.txt"
    done
}

need python
release_binaries --quiet -p push-suite-loadgen
begin floods
start_suite ours
ours=$client_port
start_suite other
other=$client_port
all_ready
behave
failed=0
for kind in "${kinds[@]}"; do
    for try in 1 2 3; do
        : >"$log_folder/$kind.txt"
        measure "$kind"
        if python3 "$root/tests/floods.py" judge "$kind" "$log_folder/$kind.txt"; then break; fi
        if [ "$try" = 3 ]; then failed=1; fi
    done
done
exit "$failed"
