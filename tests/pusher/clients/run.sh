#!/usr/bin/env bash
# Clients of the protocol against the suite: pusher-js and Laravel Echo in Node and in Chromium, and
# Pysher. Installs them from the registries into the target folder if they are missing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../../lib.sh"

need browser node npm python
release_binaries --quiet
begin pusher-clients

installed=$(target_folder)/pusher-clients
mkdir -p "$installed"
if ! cmp -s "$here/package-lock.json" "$installed/package-lock.json"; then
    cp "$here/package.json" "$here/package-lock.json" "$installed/"
    quietly npm ci --no-audit --no-fund --prefix "$installed"
fi
if [ ! -x "$installed/venv/bin/python" ]; then
    quietly python3 -m venv "$installed/venv"
    quietly "$installed/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
fi
# Modules are found beside the packages that they import.
cp "$here"/*.mjs "$installed/"

export SUITE_BIN=$bin CLIENTS_LOGS=$log_folder PUSHER_DOCUMENT=$root/docs/pusher.md
timeout 600 node --test --test-reporter=spec --test-concurrency=1 "$installed/node.test.mjs" \
    "$installed/reactions.test.mjs" "$installed/chromium.test.mjs"
timeout 180 node "$installed/with-suite.mjs" "$installed/venv/bin/python" "$here/pysher_client.py"
