#!/usr/bin/env bash
# Simulates the whole suite under faults, once for each seed.
#
#   bash simulation/run.sh                    the short form
#   bash simulation/run.sh long [SEEDS]       the long form, 5,000 seeds by default
#   bash simulation/run.sh --seed 7           one seed again, with its plan
#   bash simulation/run.sh --seed 7 --trace   every step of it
#   bash simulation/run.sh test               checks that a seed repeats its run, to the last byte
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# A folder of its own, since other flags would rebuild everything each time.
target=${CARGO_TARGET_DIR:-$PWD/../target}
export CARGO_TARGET_DIR=$target/simulation
export RUSTFLAGS='--cfg simulation --cfg tokio_unstable'

case ${1:-short} in
    test) exec cargo test --quiet --locked --workspace ;;
    short) set -- --seeds 150 ;;
    long) set -- --seeds "${2:-5000}" ;;
esac
exec cargo run --quiet --locked -- "$@"
