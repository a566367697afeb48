#!/usr/bin/env bash
# Receivers of webhooks made of the libraries of others: the npm and PyPI packages standardwebhooks
# and cloudevents, and PHP.
#
#   bash tests/hooks/run.sh
#
# Installs what is missing: the packages into target/hooks-node and target/hooks-venv.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../lib.sh"
cd "$here/../.."

need php node npm python
node=$PWD/target/hooks-node venv=$PWD/target/hooks-venv
if [ ! -d "$node/node_modules/cloudevents" ]; then
    mkdir -p "$node"
    quietly npm install --prefix "$node" --no-audit --no-fund --no-save standardwebhooks@1.1.1 cloudevents@10.0.0
fi
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import cloudevents, standardwebhooks' 2>/dev/null; then
    python3 -m venv "$venv"
    quietly "$venv/bin/pip" install -q standardwebhooks==1.1.0 cloudevents==2.2.0
fi
SUITE_PHP=1 SUITE_HOOKS_NODE=$node SUITE_HOOKS_PYTHON=$venv/bin/python \
    cargo test --quiet --locked -p suite-tests --test webhook_php --test webhook_receivers
