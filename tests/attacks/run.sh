#!/usr/bin/env bash
# Attacks real processes with random hostile input; other clients must hardly be affected.
#
#   bash tests/attacks/run.sh                               eight rounds of four seconds
#   bash tests/attacks/run.sh --rounds 300 --seconds 10     the long form
#   bash tests/attacks/run.sh --seed 7 --rounds 1           repeat one round
#   bash tests/attacks/run.sh --only tiny,php-frames        only these attackers
#
# Exits with 1 if an invariant of tests/attacks/src/round.rs is violated.
set -euo pipefail
# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

toolchain
cd "$root"
# Bounds on memory and time must hold for release builds.
cargo build --quiet --locked --release --bins -p push-suite-register -p push-suite-gateway \
    -p push-suite-business-worker -p attacks
exec "$(target_folder)/release/attacks" "$@"
