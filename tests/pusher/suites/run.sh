#!/usr/bin/env bash
# Test suites of other projects against the suite. No registry has them, so a variable names a folder
# with their sources; what has none is skipped.
#
#   PUSHER_NODE  a clone of pusher/pusher-http-node: its tests that need a server
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../../lib.sh"

if [ -z "${PUSHER_NODE:-}" ]; then say "pusher-http-node: skipped, PUSHER_NODE names no folder"; fi
if [ -z "${PUSHER_NODE:-}" ]; then exit; fi

need node npm
release_binaries --quiet
begin pusher-suites

# Installs packages beside a copy of a suite.
packages() { # NAME PACKAGE...
    local folder=$log_folder/$1 installed
    installed=$(target_folder)/pusher-suites/$1
    shift
    mkdir -p "$installed"
    (cd "$installed" && quietly npm install --no-audit --no-fund --no-save --ignore-scripts "$@")
    ln -s "$installed/node_modules" "$folder/node_modules"
}

if [ -n "${PUSHER_NODE:-}" ]; then
    say "--- pusher-http-node"
    mkdir -p "$log_folder/node"
    cp -r "$PUSHER_NODE/lib" "$PUSHER_NODE/tests" "$PUSHER_NODE/package.json" "$log_folder/node/"
    packages node abort-controller@3.0.0 expect.js@0.3.1 https-proxy-agent@5.0.1 is-base64@1.1.0 mocha@9.2.2 \
        node-fetch@2.7.0 tweetnacl@1.0.3 tweetnacl-util@0.15.1
    claim_port && http=$port
    printf '[[pusher.app]]\nid = "1"\nkey = "app-key"\nsecret = "app-secret"\n' >"$log_folder/worker.toml"
    start_register
    start_gateway gateway --no-web
    start_worker worker --app pusher --http-listen "127.0.0.1:$http" --config "$log_folder/worker.toml"
    all_ready
    (cd "$log_folder/node" && PUSHER_URL=http://app-key:app-secret@127.0.0.1:$http/apps/1 \
        timeout 120 node_modules/.bin/mocha 'tests/remote/**/*.js') || fail "cases of pusher-http-node fail"
fi
