#!/usr/bin/env bash
# Tests the chat page in a real Chromium, against the chat at CHAT_URL or the binaries in
# SUITE_BIN (default: target/release, else target/debug).
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v chromium >/dev/null || ! grep -q . < <(fc-list :lang=zh); then
  as_root=$([ "$(id -u)" = 0 ] || echo sudo)
  $as_root apt-get update -q
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends chromium fontconfig fonts-noto-cjk
fi

npm ci --no-audit --no-fund
node --test --test-reporter=spec unit/*.test.mjs
exec node --test --test-reporter=spec --test-concurrency=1 ./*.test.mjs
