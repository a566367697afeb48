#!/usr/bin/env bash
# Compatibility of register and gateway with PHP programs.
#
#   bash tests/compat/run.sh          scripts that implement the PHP protocol
#   bash tests/compat/run.sh long     the same, with 100,000 attempts to break the order
#   bash tests/compat/run.sh ... order    only the checks whose names begin with this
#
# With GATEWAYWORKER_PHP=DIR (composer's vendor folder, or plain checkouts side by side) it also runs
# the original: compares the results of the same scenario on both, combines workers, gateways and
# registers of both kinds, and performs the migration of the guide with live clients.
# See apps.sh for the applications.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../lib.sh"

tries=5000
if [ "${1:-}" = long ]; then
    tries=100000
    shift
fi
wanted=${1:-}
failed=0

check() { # WHAT COMMAND...
    local what=$1
    shift
    if [[ $what != "$wanted"* ]]; then return; fi
    say "--- $what"
    "$@" || { say "$what: FAILED" && failed=1; }
}

# Runs a script against a register and a gateway.
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

# Control: the same script must detect lost order behind a relay that delays connections.
order_lost() {
    local status=0
    claim_port && register=127.0.0.1:$port
    start register "$bin/register" --listen "$register" --startup-grace 0
    start_gateway gateway --no-web --threads 2
    php -r 'require $argv[1]; echo gateways($argv[2], "")[0];' "$here/lib.php" "$register" >"$log_folder/upstream"
    claim_port
    start relay php "$here/relay.php" "127.0.0.1:$port" "$log_folder/upstream" 7
    until_open "$port"
    timeout 120 php "$here/order.php" "$register" '' "$client_port" 501 "127.0.0.1:$port" || status=1
    # The relay has no graceful stop.
    kill -KILL "${pids[relay]}" && { wait "${pids[relay]}" 2>/dev/null || true; } && forget relay
    stop_all || status=1
    return "$status"
}

# Compares the codec of PHP values with PHP itself.
values() {
    if [ -f "$root/crates/protocol/tests/php.rs" ] || [ -d "$root/crates/protocol/tests/php" ]; then
        (cd "$root" && REQUIRE_PHP=1 cargo test --quiet --locked -p push-suite-protocol --test php)
    fi
}

# Runs a script that starts and kills processes itself.
orchestrated() { # SCRIPT ARGUMENTS...
    local folder status=0
    folder=$(mktemp -d "$log_folder/XXXXXX")
    BIN=$bin MEMORY=$memory FOLDER=$folder timeout 300 php "$here/$1" "${@:2}" || status=1
    return "$status"
}

# Sets $memory to the worker of crates/worker/examples for the session tests: a debug build
# with all packages as for `cargo test`, since that usually exists.
worker_example() {
    memory=$bin/examples/compat
    if [ -n "${PUSH_SUITE_BIN:-}" ] && [ -x "$memory" ]; then return; fi
    (cd "$root" && cargo build --workspace --locked --quiet --example compat)
    memory=$(target_folder)/debug/examples/compat
}

need php
release_binaries --quiet
worker_example
begin compat
check "values" values
for secret in '' 'a secret'; do
    for threads in 1 2; do
        check "wire, secret '$secret', $threads threads" script wire "$secret" "$threads"
    done
done
for threads in 1 2; do check "order, $threads threads" script order '' "$threads" "$tries"; done
for threads in 1 2; do check "order, busy, $threads threads" script order '' "$threads" "$tries" busy; done
check "order lost on purpose" order_lost
check "both kinds" orchestrated both/both.php like-php
if [ -n "${GATEWAYWORKER_PHP:-}" ]; then
    check "both kinds, original" orchestrated both/both.php php
    check "migration" orchestrated migrate/walk.php
    # shellcheck source=tests/compat/original.sh
    source "$here/original.sh"
    check "transcripts" transcripts
fi
exit "$failed"
