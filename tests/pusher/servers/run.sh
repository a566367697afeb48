#!/usr/bin/env bash
# Server SDKs of the protocol against the suite: npm's and PyPI's `pusher`, and a stand-in for PHP's.
# Installs them from the registries into the target folder if they are missing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../../lib.sh"

need node npm php python
release_binaries --quiet
begin pusher-servers

installed=$(target_folder)/pusher-servers
if [ ! -d "$installed/node_modules/pusher" ]; then
    mkdir -p "$installed"
    cp "$here/package.json" "$here/package-lock.json" "$installed/"
    quietly npm ci --no-audit --no-fund --prefix "$installed"
fi
if [ ! -x "$installed/venv/bin/python" ]; then
    quietly python3 -m venv "$installed/venv"
    quietly "$installed/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
fi
# Modules are found beside the packages that they import.
cp "$here"/*.mjs "$installed/"

export PUSHER_KEY=app-key PUSHER_SECRET=app-secret SUBSCRIBER=$installed WEBHOOKS=$log_folder/webhooks
export PUSHER_DOCUMENT=$root/docs/pusher.md
claim_port && hook_port=$port
claim_port && export PUSHER_HTTP_PORT=$port
cat >"$log_folder/worker.toml" <<TOML
[[pusher.app]]
id = "1"
key = "$PUSHER_KEY"
secret = "$PUSHER_SECRET"
client_messages = true

[[pusher.app.webhook]]
url = "http://127.0.0.1:$hook_port/hook"
events = ["cache_miss"]
TOML

: >"$WEBHOOKS"
start receiver node "$installed/receiver.mjs" "$hook_port" "$WEBHOOKS"
until_open "$hook_port"
start_register
start_gateway gateway --no-web --threads 2
export PUSHER_WS_PORT=$client_port
start_worker worker --app pusher --http-listen "127.0.0.1:$PUSHER_HTTP_PORT" --config "$log_folder/worker.toml"
all_ready

say "--- npm"
timeout 120 node --test --test-reporter=spec "$installed/node.test.mjs"
say "--- PyPI"
timeout 120 "$installed/venv/bin/python" "$here/python_sdk.py"
say "--- PHP"
timeout 120 php "$here/php_sdk.php"
