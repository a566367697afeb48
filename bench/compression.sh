#!/usr/bin/env bash
# What compression costs and saves: a fan-out of JSON to 1,000 clients, with permessage-deflate and
# without, on two suites in one run, in turn. Prints CPU and bytes per delivery, and their ratios, as
# medians over the rounds.
#
#   bench/compression.sh [--quick] [--rounds N] [SIZE...]
#
# SIZE...                 bytes of a message (default: 256 1024 4096)
# LEVEL=N                 --compression-level of the gateway (default: its own)
#
# bench/servers.sh names further settings: BIN, THREADS, GENERATOR_THREADS, OUT.
set -euo pipefail
# shellcheck source=bench/servers.sh
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

seconds=3 rounds=5 clients=1000
sizes=()
while [ $# -gt 0 ]; do
    case $1 in
        --quick) seconds=1 rounds=1 ;;
        --rounds) rounds=${2:?--rounds needs a number}; shift ;;
        -*) usage ;;
        *) sizes+=("$1") ;;
    esac
    shift
done
if [ ${#sizes[@]} = 0 ]; then sizes=(256 1024 4096); fi

begin_measuring compression
serve_ours plain
serve_ours deflate --compression fan-out ${LEVEL:+--compression-level "$LEVEL"}
for round in $(seq "$rounds"); do
    for size in "${sizes[@]}"; do
        fan_out=(fanout --connections "$clients" --size "$size" --json-content --duration "$seconds")
        measure "plain.$size.$round" plain "${fan_out[@]}"
        measure "deflate.$size.$round" deflate "${fan_out[@]}" --deflate
    done
done

python3 - "$out" "${sizes[@]}" <<'P'
import json, pathlib, statistics, sys

def median(server, size, figure):
    reports = pathlib.Path(sys.argv[1]).glob(f"{server}.{size}.*.json")
    return statistics.median(figure(json.loads(report.read_text())) for report in reports)

print("  bytes   CPU plain   deflate   ratio   received plain   deflate   ratio")
for size in sys.argv[2:]:
    row = []
    for figure in (lambda report: report["servers"]["cpu_us_each"], lambda report: report["bytes_each"]):
        plain, deflate = (median(server, size, figure) for server in ("plain", "deflate"))
        row += [plain, deflate, deflate / plain]
    print("{:>7} {:8.2f} µs {:6.2f} µs {:7.2f} {:16.0f} {:9.0f} {:7.2f}".format(size, *row))
P
