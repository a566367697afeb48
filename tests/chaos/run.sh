#!/usr/bin/env bash
# Real processes are killed, paused and cut off under load, and every message is accounted for.
#
#   bash tests/chaos/run.sh                          every scenario in its short form
#   bash tests/chaos/run.sh long                     every scenario in its long form, for figures
#   bash tests/chaos/run.sh [long] workers --seed 7  one, with the faults of a seed
#
# `partitions` needs network namespaces, which root may make, and others on some systems. Where they
# may not be made it is left out, unless it is named.
#
# Ends with 1 if an account does not balance. docs/guarantees.md says what is held against a run.
set -euo pipefail
# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

form=short folder=debug profile=dev
if [ "${1:-}" = long ]; then
    shift
    # Figures are those of what is deployed.
    form=long folder=release profile=release
    ulimit -n "$(ulimit -Hn)"
fi
toolchain
# Others do without partitions if it is not there.
if [ "$(id -u)" = 0 ]; then need ip; fi
cd "$root"
cargo build --quiet --locked --profile "$profile" --bins \
    -p register -p gateway -p business-worker -p chaos
exec "$(target_folder)/$folder/chaos" --form "$form" "$@"
