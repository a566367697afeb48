#!/usr/bin/env bash
# Fuzzes each target for as many seconds: bash fuzz/run.sh [SECONDS] [TARGET...]
#
#   bash fuzz/run.sh              20 seconds each; tests/run.sh has 3 each, the short form
#   bash fuzz/run.sh 3600         an hour each, the long form
#   bash fuzz/run.sh 60 frame     a minute for one
#
# Corpora are made of the recorded frames, grow in fuzz/corpus, and are kept. What ends a target is
# written to fuzz/crashes; `fuzz/target/…/release/TARGET FILE` does it again. Works on the stable
# toolchain; needs a C++ compiler.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
seconds=${1:-20}
shift || true
[ $# -gt 0 ] || set -- frame php_value json parse_str register_lines native_link \
    http_head websocket text_and_frame

triple=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$here/target}
# What cargo-fuzz would set, without a sanitizer: there is no unsafe code of ours to look into.
export RUSTFLAGS='--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Ccodegen-units=1'
cargo build --quiet --release --locked --target "$triple" --manifest-path "$here/Cargo.toml"
python3 "$here/seeds.py" "$here/corpus"
mkdir -p "$here/crashes"

failed=()
for target in "$@"; do
    log=$(mktemp)
    # Four megabytes of stack are a thread's two, for code that takes twice as much of it.
    if (ulimit -s 4096 && "$CARGO_TARGET_DIR/$triple/release/$target" "$here/corpus/$target" \
        -max_total_time="$seconds" -max_len=20000 -timeout=5 -rss_limit_mb=1024 \
        -malloc_limit_mb=256 -artifact_prefix="$here/crashes/$target-" -print_final_stats=1) \
        >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
        echo "$target: $runs inputs in $seconds s, at most $peak MB, none of them ended it"
    else
        tail -n 40 "$log"
        echo "$target: FAILED"
        failed+=("$target")
    fi
    rm -f "$log"
done
[ ${#failed[@]} = 0 ]
