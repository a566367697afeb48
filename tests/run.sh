#!/usr/bin/env bash
# Runs all tests in stages; a failed stage does not stop the following ones.
#
#   bash tests/run.sh             all stages
#   bash tests/run.sh quick       format, clippy, cargo test and the loom models only
#   bash tests/run.sh STAGE...    only these stages
#
# The last line counts the stages: "N passed, N failed". The log of each is in target/test-logs.
set -euo pipefail
self=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/run.sh
# shellcheck source=tests/lib.sh
source "$(dirname "$self")/lib.sh"

# Time limit of a stage in seconds, so that a hang fails.
limit=1500

stage_setup() {
    need
    toolchain
    node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' ||
        fail "Node 20 or newer is needed for the browser tests; this is $(node --version)"
    quietly cargo fetch --quiet --locked
    quietly cargo fetch --quiet --locked --manifest-path fuzz/Cargo.toml
    quietly cargo fetch --quiet --locked --manifest-path loom/Cargo.toml
    quietly cargo fetch --quiet --locked --manifest-path simulation/Cargo.toml
    quietly npm ci --prefix tests/browser
    say "All tools are installed: $(rustc --version), $(python3 --version), Node $(node --version)."
}

stage_lint() {
    style
    RUSTDOCFLAGS='-D warnings' check "cargo doc" cargo doc --quiet --workspace --no-deps --locked
    check "third-party notices" python3 deploy/notices.py --check
    if has shellcheck; then
        check shellcheck shellcheck -x -S warning .ci/run bench/*.sh deploy/*.sh fuzz/*.sh simulation/*.sh tests/*.sh tests/*/*.sh
    fi
    if cargo deny --version >/dev/null 2>&1; then
        check "cargo deny" cargo deny --log-level error --offline check bans licenses sources
    fi
    [ "$failed" = 0 ]
}

stage_style() {
    style
    [ "$failed" = 0 ]
}

style() {
    check "cargo fmt" cargo fmt --all --check
    check "cargo clippy" cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
}

# Runs one check of a stage; a failure does not stop the others.
check() { # WHAT COMMAND...
    local what=$1
    shift
    if "$@"; then
        say "$what: clean"
    else
        say "$what: FAILED"
        failed=1
    fi
}

stage_test() {
    # Without redis-server, tests of the store say that they left it out.
    need python redis
    check "tables of bench" python3 -B -m unittest discover --quiet -s bench -p '*_test.py'
    # `cargo test --workspace`, several test programs at a time.
    check "cargo test" python3 -B tests/parallel.py
    # The tests of client and peer connections again, over TLS.
    check "over TLS" env SUITE_TLS=1 cargo test -p suite-tests --locked --no-fail-fast \
        --test http --test limits --test backpressure --test shutdown --test workers
    # A separate target folder: changed flags would rebuild everything each time.
    check loom env RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR="$(target_folder)/loom" \
        cargo test --quiet --release --locked --manifest-path loom/Cargo.toml
    [ "$failed" = 0 ]
}

# The short form; see simulation/run.sh for the long one.
stage_simulation() {
    check "cargo fmt" cargo fmt --manifest-path simulation/Cargo.toml --package simulation \
        --package simulated --check
    check "seeds are reproducible" bash simulation/run.sh test
    check simulation bash simulation/run.sh
    [ "$failed" = 0 ]
}

stage_build() {
    release_binaries --quiet
    ls -l "$bin/register" "$bin/gateway" "$bin/business-worker"
}

stage_conformance() { bash tests/conformance.sh; }

stage_browser() { bash tests/browser/run.sh; }

stage_pusher() { bash tests/pusher/run.sh; }

stage_deploy() {
    local script
    for script in systemd boot nginx haproxy demo; do
        say "--- $script"
        check "$script" bash "tests/deploy/$script.sh"
    done
    [ "$failed" = 0 ]
}

# A few seconds per decoder; see fuzz/run.sh for more.
stage_fuzz() {
    need python compiler
    check "cargo fmt" cargo fmt --manifest-path fuzz/Cargo.toml --check
    check fuzz env CARGO_TARGET_DIR="$(target_folder)/fuzz" bash fuzz/run.sh 3
    [ "$failed" = 0 ]
}

stage_compat() { bash tests/compat/run.sh; }

stage_hooks() { bash tests/hooks/run.sh; }

# The push API against its OpenAPI document.
stage_http() {
    check "programs in other languages" bash tests/http/languages.sh
    check "generated requests" bash tests/http/run.sh
    [ "$failed" = 0 ]
}

# The documentation: links, translations, the commands of the quick start.
stage_site() { bash tests/site/run.sh; }

# Alerts, board and runbooks with a real Prometheus.
stage_monitoring() { bash tests/monitoring/run.sh; }

# The packages, each used as its reader would.
stage_package() { bash tests/package/run.sh; }

stage_chaos() { bash tests/chaos/run.sh; }

# The short form; see tests/attacks/run.sh for the long one.
stage_attacks() {
    # Bounds on memory and time must hold for release builds.
    check "bounds, release" env SUITE_PROFILE=release cargo test -p suite-tests --locked --no-fail-fast \
        --test memory_budget --test memory_account --test memory_return --test peer_costs --test php_limits \
        --test descriptors
    check attacks bash tests/attacks/run.sh
    [ "$failed" = 0 ]
}

# --- running them -----------------------------------------------------------------------------

run_stage() { # NAME
    local began=$SECONDS log=$logs/$1.log status=0
    say ""
    say "=== $1 ==="
    : >"$log"
    timeout --kill-after=30 "$limit" bash "$self" --inside "$1" >"$log" 2>&1 </dev/null &
    running=$!
    tail -n +1 -f -s 0.2 --pid="$running" "$log" || true
    wait "$running" || status=$?
    running=
    case $status in
        0) verdict="passed" && passed=$((passed + 1)) ;;
        124 | 137) verdict="FAILED: over $limit seconds" ;;
        *) verdict="FAILED: status $status" ;;
    esac
    if [ "$status" != 0 ]; then
        failed=$((failed + 1))
        failed_stages+=("$1")
    fi
    lines+=("$(printf '%-12s %5d s   %s' "$1" $((SECONDS - began)) "$verdict")")
}

show_summary() {
    local stage
    for stage in "${failed_stages[@]}"; do
        say ""
        say "=== failed stage: $stage; end of its log ==="
        tail -n 60 "$logs/$stage.log"
    done
    say ""
    say "=== summary ==="
    printf '%s\n' "${lines[@]}"
    printf '%-12s %5d s\n' total "$SECONDS"
    say "$passed passed, $failed failed"
}

all_stages() {
    stages=(setup lint test simulation fuzz chaos build attacks conformance browser pusher hooks http site deploy monitoring
        package)
    if [ -f tests/compat/run.sh ]; then
        stages+=(compat)
    else
        say "Skipped: compat, since tests/compat/run.sh does not exist."
    fi
}

cd "$root"
failed=0
case ${1:-all} in
    --inside)
        "stage_$2"
        exit
        ;;
    all) all_stages ;;
    quick) stages=(style test) ;;
    *) stages=("$@") ;;
esac
for stage in "${stages[@]}"; do
    declare -F "stage_$stage" >/dev/null || fail "unknown stage $stage"
done

# No colors, progress bars or update notices in logs; the setup stage has fetched everything.
export CARGO_TERM_COLOR=never CARGO_TERM_PROGRESS_WHEN=never
export npm_config_prefer_offline=true npm_config_update_notifier=false npm_config_fund=false \
    npm_config_audit=false
# Backtraces are mostly third-party paths; a failed test reports its location without them.
export RUST_BACKTRACE=0
# A single build does not benefit from incremental compilation.
if [ -n "${CI:-}" ]; then export CARGO_INCREMENTAL=0; fi
logs=$(target_folder)/test-logs
mkdir -p "$logs"
passed=0 failed_stages=() running='' lines=()
trap 'kill -TERM $running 2>/dev/null || true; exit 130' INT TERM HUP
for stage in "${stages[@]}"; do run_stage "$stage"; done
show_summary
[ "$failed" = 0 ]
