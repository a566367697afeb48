#!/usr/bin/env bash
# Real processes are attacked in random ways, and others must not notice much of it.
#
#   bash tests/attacks/run.sh                               eight rounds of four seconds
#   bash tests/attacks/run.sh --rounds 300 --seconds 10     the long form
#   bash tests/attacks/run.sh --seed 7 --rounds 1           one again
#   bash tests/attacks/run.sh --only tiny,php-frames        these attackers, and no others
#
# Ends with 1 if something that must hold does not; tests/attacks/src/round.rs says what that is.
set -euo pipefail
# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

toolchain
cd "$root"
# Memory and time are those of what is deployed.
cargo build --quiet --locked --release --bins -p register -p gateway -p business-worker -p attacks
exec "$(target_folder)/release/attacks" "$@"
