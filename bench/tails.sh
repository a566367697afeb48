#!/usr/bin/env bash
# How long the slowest wait: at half of what a server can take, and while others are sent much at once.
#
#   bench/tails.sh [--quick] [--rounds N]
#
# 1. A closed loop finds what the server can do; then half as many messages a second are paced, and
#    p99.9 is compared with p50.
# 2. 50 clients echo 1,000 messages a second: alone, while a group of 5,000 is sent 1 KiB four times
#    a second by another server of the same kind beside theirs, and by their own. The fan-out takes
#    CPU from every process of the machine, whichever server sends; the last less the one before is what it
#    holds up.
#
# The direct server is beside ours for what the machine itself does. bench/servers.sh names settings:
# BIN, THREADS, GENERATOR_THREADS, OUT, GATEWAYWORKER_PHP.
set -euo pipefail
# shellcheck source=bench/servers.sh
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

seconds=10 rounds=3 members=5000
while [ $# -gt 0 ]; do
    case $1 in
        --quick) seconds=2 rounds=1 members=1000 ;;
        --rounds) rounds=${2:?--rounds needs a number}; shift ;;
        *) usage ;;
    esac
    shift
done

begin_measuring tails
columns=(ours direct)
if php_is_given && php_is_large; then columns+=(php); fi
for column in "${columns[@]}"; do
    "serve_$column" "$column"
    "serve_$column" "beside-$column"
done

half_of_capacity() { # COLUMN ROUND
    local rate
    measure "capacity.$1.$2" "$1" echo --connections 200 --duration 3
    rate=$(python3 "$root/bench/tails.py" half "$out/capacity.$1.$2.json")
    measure "half.$1.$2" "$1" paced --connections 200 --rate "$rate" --duration "$seconds"
}

echoes() { # CELL COLUMN ROUND
    measure "$1.$2.$3" "$2" paced --connections 50 --rate 1000 --duration "$seconds"
}

# The same while a server sends much at once.
echoes_beside() { # CELL COLUMN ROUND SERVER
    start_load "$4" "$4" "$members" fanout --to group --rate 4 --size 1024 \
        --duration $((seconds + 3)) --grace 10 --json "$out/fanout-$1.$2.$3.json"
    echoes "$1" "$2" "$3"
    end_load "$4"
}

for round in $(seq "$rounds"); do
    for column in "${columns[@]}"; do half_of_capacity "$column" "$round"; done
    for column in "${columns[@]}"; do
        echoes alone "$column" "$round"
        echoes_beside beside "$column" "$round" "beside-$column"
        echoes_beside here "$column" "$round" "$column"
    done
done

python3 "$root/bench/tails.py" tables "$out" "${columns[@]}"
