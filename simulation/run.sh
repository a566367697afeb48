#!/usr/bin/env bash
# Simulates the whole suite under faults, once for each seed.
#
#   bash simulation/run.sh                    the short form
#   bash simulation/run.sh long [SEEDS]       the long form: 5,000 seeds unless said
#   bash simulation/run.sh --seed 7           one seed again, and what was planned for it
#   bash simulation/run.sh --seed 7 --trace   every step of it
#   bash simulation/run.sh test               that a seed brings the same again, to the last byte
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Others' flags would have everything built anew each time, hence a folder of its own.
target=${CARGO_TARGET_DIR:-$PWD/../target}
export CARGO_TARGET_DIR=$target/simulation
export RUSTFLAGS='--cfg simulation --cfg tokio_unstable'

case ${1:-short} in
    test) exec cargo test --quiet --locked --workspace ;;
    short) set -- --seeds 150 ;;
    long) set -- --seeds "${2:-5000}" ;;
esac
exec cargo run --quiet --locked -- "$@"
