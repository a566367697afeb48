#!/usr/bin/env bash
# Fuzzes each target for a number of seconds: bash fuzz/run.sh [SECONDS] [TARGET...]
#
#   bash fuzz/run.sh              20 seconds per target (tests/run.sh runs 3 seconds)
#   bash fuzz/run.sh 3600         an hour per target
#   bash fuzz/run.sh 60 frame     a minute for one target
#
# Corpora start from recorded frames, and are kept and extended in fuzz/corpus. Crashing inputs are
# written to fuzz/crashes; `fuzz/target/…/release/TARGET FILE` reproduces a crash. Works on the stable
# toolchain; needs a C++ compiler.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
seconds=${1:-20}
shift || true
[ $# -gt 0 ] || set -- frame php_value json parse_str register_lines native_link \
    http_head websocket deflate text_and_frame device_frames proxy_header forwarded token pusher \
    pusher_http hook_answer push_api redis_answer

triple=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$here/target}
# The flags of cargo-fuzz without a sanitizer, since the workspace has no unsafe code.
export RUSTFLAGS='--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Ccodegen-units=1'
cargo build --quiet --release --locked --target "$triple" --manifest-path "$here/Cargo.toml"
python3 "$here/seeds.py" "$here/corpus"
mkdir -p "$here/crashes"

failed=()
for target in "$@"; do
    log=$(mktemp)
    # A 4 MB stack stands for the 2 MB of a thread, since instrumented code uses twice as much.
    if (ulimit -s 4096 && "$CARGO_TARGET_DIR/$triple/release/$target" "$here/corpus/$target" \
        -max_total_time="$seconds" -max_len=20000 -timeout=5 -rss_limit_mb=1024 \
        -malloc_limit_mb=256 -artifact_prefix="$here/crashes/$target-" -print_final_stats=1) \
        >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
        echo "$target: $runs inputs in $seconds s, at most $peak MB, no crash"
    else
        tail -n 40 "$log"
        echo "$target: FAILED"
        failed+=("$target")
    fi
    rm -f "$log"
done
[ ${#failed[@]} = 0 ]
