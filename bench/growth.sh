#!/usr/bin/env bash
# Growth of costs with clients, groups, gateways and workers, as curves: every point is measured on a suite
# of its own.
#
#   bench/growth.sh [--quick] [--rounds N] [CURVE...]
#
# CURVE...                only these: echo paced fanout memory groups gateways workers members
# HTML=FILE               writes the curves as one page that needs nothing else
#
# bench/servers.sh names further settings: BIN, THREADS, GENERATOR_THREADS, OUT.
set -euo pipefail
# shellcheck source=bench/servers.sh
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

seconds=3 rounds=3 clients=(1000 5000 15000) group_clients=10000
curves=()
while [ $# -gt 0 ]; do
    case $1 in
        --quick) seconds=1 rounds=1 clients=(200 1000 3000) group_clients=1000 ;;
        --rounds) rounds=${2:?--rounds needs a number}; shift ;;
        -*) usage ;;
        *) curves+=("$1") ;;
    esac
    shift
done
if [ ${#curves[@]} = 0 ]; then
    curves=(echo paced fanout memory groups gateways workers members)
fi

begin_measuring growth
most_connections "${clients[-1]}"
clients[-1]=$most

# Measures a point on a suite that has done nothing else.
point() { # CURVE X MODE FLAGS...
    serve_ours suite
    measure "$1.$2.$round" suite "${@:3}" --duration "$seconds"
    unserve suite
}

# The same while a group has so many members that are quiet, of as many clients as there ever are.
beside_members() { # CURVE X MODE FLAGS...
    serve_ours suite
    start_load members suite "${clients[-1]}" idle --prepare --groups $((clients[-1] / $2)) --at-once 64 \
        --duration 3600
    measure "$1.$2.$round" suite "${@:3}" --duration "$seconds"
    quit load-members
    unserve suite
}

curve() { # CURVE
    local n
    case $1 in
        echo) for n in "${clients[@]}"; do point echo "$n" echo --connections "$n"; done ;;
        paced) for n in "${clients[@]}"; do point paced "$n" paced --rate 5000 --connections "$n"; done ;;
        fanout) for n in 100 "${clients[@]}"; do point fanout "$n" fanout --to group --connections "$n"; done ;;
        memory) for n in "${clients[@]}"; do point memory "$n" idle --prepare --at-once 64 --connections "$n"; done ;;
        groups)
            for n in 1 100 "$group_clients"; do
                point groups-memory "$n" idle --prepare --at-once 64 --connections "$group_clients" --groups "$n"
                point groups-echo "$n" echo --prepare --connections "$group_clients" --groups "$n"
            done
            ;;
        gateways)
            for n in 1 2 3; do
                gateways=$n point gateways-echo "$n" echo --connections 1000
                gateways=$n point gateways-fanout "$n" fanout --to group --connections 1000
            done
            ;;
        workers)
            for n in 1 2 4; do
                workers=$n point workers-echo "$n" echo --connections 1000
                workers=$n point workers-fanout "$n" fanout --to group --connections 1000
            done
            ;;
        members)
            for n in 1 "${clients[@]}"; do
                beside_members join-leave "$n" member --connections 20
                beside_members join-close "$n" churn --prepare --connections 20
            done
            ;;
        *) fail "there is no curve $1" ;;
    esac
}

for round in $(seq "$rounds"); do
    for name in "${curves[@]}"; do curve "$name"; done
done

python3 "$root/bench/growth.py" "$out" "$out/growth.json" ${HTML:+"$HTML"}
