#!/usr/bin/env bash
# Kills, pauses and isolates real processes under load, and accounts for every message.
#
#   bash tests/chaos/run.sh                          every scenario in its short form
#   bash tests/chaos/run.sh long                     every scenario in its long form, for figures
#   bash tests/chaos/run.sh [long] workers --seed 7  one scenario, with the faults of a seed
#
# `partitions` needs network namespaces, which root may create, and on some systems any user. Without
# the permission it is skipped; if it is named, it fails.
#
# Exits with 1 if an account does not balance. docs/guarantees.md describes the checks.
set -euo pipefail
# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

form=short folder=debug profile=dev
if [ "${1:-}" = long ]; then
    shift
    # Figures are measured with the profile that is deployed.
    form=long folder=release profile=release
    ulimit -n "$(ulimit -Hn)"
fi
toolchain
# Only `partitions` needs it; other users skip that scenario if it is missing.
if [ "$(id -u)" = 0 ]; then need ip; fi
cd "$root"
cargo build --quiet --locked --profile "$profile" --bins \
    -p push-suite-register -p push-suite-gateway -p push-suite-business-worker -p chaos
exec "$(target_folder)/$folder/chaos" --form "$form" "$@"
