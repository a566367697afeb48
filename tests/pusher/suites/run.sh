#!/usr/bin/env bash
# Test suites of other projects against the suite. No registry has them, so two variables name folders
# with their sources; what has none is skipped.
#
#   PUSHER_NODE  a clone of pusher/pusher-http-node: its tests that need a server
#   SOKETI       a clone of soketi/soketi, branch 1.x: its tests, with the suite in place of its server
#
# The cases that fail have to be those that docs/pusher.md lists, with their reasons.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../../lib.sh"

if [ -z "${PUSHER_NODE:-}" ]; then say "pusher-http-node: skipped, PUSHER_NODE names no folder"; fi
if [ -z "${SOKETI:-}" ]; then say "soketi: skipped, SOKETI names no folder"; fi
if [ -z "${PUSHER_NODE:-}${SOKETI:-}" ]; then exit; fi

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

if [ -n "${SOKETI:-}" ]; then
    say "--- soketi: about a quarter of an hour"
    mkdir -p "$log_folder/soketi/logs"
    cp -r "$SOKETI/src" "$SOKETI/tests" "$SOKETI/package.json" "$SOKETI/tsconfig.json" "$log_folder/soketi/"
    cp "$here/soketi/server.ts" "$log_folder/soketi/src/"
    node "$here/soketi/replace.mjs" "$log_folder/soketi/tests"
    cp "$here/soketi/jest.config.js" "$here/soketi/none.js" "$log_folder/soketi/"
    packages soketi @types/jest@26.0.24 @types/node@18.19.0 async@3.2.4 axios@0.27.2 body-parser@1.20.2 colors@1.4.0 \
        express@4.18.2 jest@26.6.3 jest-circus@26.6.3 pusher@5.1.3 pusher-js@7.6.0 tcp-port-used@1.0.2 \
        ts-jest@26.5.6 typescript@4.9.5 uuid@8.3.2
    # A process for each file: cases that begin one have failed behind another file.
    for file in "$log_folder"/soketi/tests/*.test.ts; do
        case $file in *-adapter.test.ts) continue ;; esac
        (cd "$log_folder/soketi" && RETRY_TIMES=0 SUITE_BIN=$bin SUITE_LOGS=$PWD/logs timeout 600 node_modules/.bin/jest \
            --forceExit --json --outputFile="$file.json" --runTestsByPath "tests/$(basename "$file")") || true
    done
    node "$here/report.mjs" "$root/docs/pusher.md" "Cases of soketi" "$log_folder"/soketi/tests/*.json
fi
