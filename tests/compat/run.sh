#!/usr/bin/env bash
# PHP programs on our register and gateway.
#
#   bash tests/compat/run.sh          scripts of our own, which speak as PHP does
#   bash tests/compat/run.sh long     the same, with 100,000 tries at losing the order
#
# With GATEWAYWORKER_PHP=DIR (composer's vendor folder, or plain checkouts side by side) it also
# runs the original there and compares what the same scenario does on both.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../lib.sh"

tries=5000
if [ "${1:-}" = long ]; then tries=100000; fi
failed=0

check() { # WHAT COMMAND...
    local what=$1
    shift
    say "--- $what"
    "$@" || { say "$what: FAILED" && failed=1; }
}

# A register and a gateway, and a script against them.
script() { # SCRIPT SECRET THREADS ARGUMENTS...
    local script=$1 secret=$2 threads=$3 status=0
    shift 3
    claim_port
    register=127.0.0.1:$port
    start register "$bin/register" --listen "$register" --startup-grace 0 --secret-key "$secret"
    start_gateway gateway --no-web --threads "$threads" --secret-key "$secret"
    php "$here/$script.php" "$register" "$secret" "$client_port" "$@" || status=1
    stop_all || status=1
    return "$status"
}

# The values that PHP makes and reads, against PHP itself.
values() {
    if [ -f "$root/crates/protocol/tests/php.rs" ] || [ -d "$root/crates/protocol/tests/php" ]; then
        (cd "$root" && REQUIRE_PHP=1 cargo test --quiet --locked -p protocol --test php)
    fi
}

need php
release_binaries --quiet
begin compat
check "values" values
for secret in '' 'a secret'; do
    for threads in 1 2; do
        check "wire, secret '$secret', $threads threads" script wire "$secret" "$threads"
    done
done
for threads in 1 2; do check "order, $threads threads" script order '' "$threads" "$tries"; done
if [ -n "${GATEWAYWORKER_PHP:-}" ]; then
    # shellcheck source=tests/compat/original.sh
    source "$here/original.sh"
    check "transcripts" transcripts
fi
exit "$failed"
