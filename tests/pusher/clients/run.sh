#!/usr/bin/env bash
# Clients of the protocol against the suite: pusher-js and Laravel Echo in Node and in Chromium, and
# Pysher. Installs them from the registries into the target folder if they are missing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../../lib.sh"
# shellcheck source=tests/pusher/install.sh
source "$here/../install.sh"

need browser node npm python
release_binaries --quiet
begin pusher-clients

install_clients
if [ ! -x "$installed/venv/bin/python" ]; then
    quietly python3 -m venv "$installed/venv"
    quietly "$installed/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
fi

export SUITE_BIN=$bin CLIENTS_LOGS=$log_folder PUSHER_DOCUMENT=$root/docs/pusher.md
timeout 600 node --test --test-reporter=spec --test-concurrency=1 "$installed/node.test.mjs" \
    "$installed/reactions.test.mjs" "$installed/chromium.test.mjs"
timeout 180 node "$installed/with-suite.mjs" "$installed/venv/bin/python" "$here/pysher_client.py"
