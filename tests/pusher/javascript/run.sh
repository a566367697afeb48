#!/usr/bin/env bash
# The client of web/client: alone, against a server whose network breaks at every byte, and, as the
# package that npm makes of it, against the suite in Node and in Chromium.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../../lib.sh"
# shellcheck source=tests/pusher/install.sh
source "$here/../install.sh"

need browser node npm
release_binaries --quiet
begin pusher-javascript

# Node has a WebSocket since version 22; before, only with a flag.
if ! node -e 'process.exit(typeof WebSocket === "function" ? 0 : 1)'; then
    export NODE_OPTIONS=--experimental-websocket
fi
node --test --test-reporter=spec "$here"/unit/*.test.mjs
timeout 300 node --test --test-reporter=spec "$here/recovery.test.mjs"

install_clients
# The commands of the document make the package, and install it.
mkdir "$log_folder/application"
(
    cd "$log_folder/application"
    echo '{ "private": true }' >package.json
    node "$root/tests/document.mjs" "$root/docs/javascript.md" Install --commands |
        sed "s# \./web/client# '$root/web/client'#" >install.sh
    quietly bash -euo pipefail install.sh
)
rm -rf "$installed/node_modules/push-suite-client"
cp -R "$log_folder/application/node_modules/push-suite-client" "$installed/node_modules/"
node "$installed/node_modules/typescript/bin/tsc" --project "$here/types"
mkdir -p "$installed/javascript"
cp "$here"/*.mjs "$installed/javascript/"

export SUITE_BIN=$bin CLIENTS_LOGS=$log_folder JAVASCRIPT_DOCUMENT=$root/docs/javascript.md
# Beside the others, the tokens take half a minute to expire.
timeout 300 node --test --test-reporter=spec --test-concurrency=2 \
    "$installed"/javascript/{tokens,suite,chromium,document}.test.mjs
