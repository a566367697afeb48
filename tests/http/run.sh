#!/usr/bin/env bash
# Requests generated from the OpenAPI document of the push API, against a running suite.
#
#   bash tests/http/run.sh          for a minute, the same requests each time
#   bash tests/http/run.sh 600      for ten, others each time
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../lib.sh"

seconds=${1:-60}
seed=()
if [ $# = 0 ]; then seed=(--seed 1); fi
version=4.32.5
need python
venv=$(target_folder)/schemathesis-venv
if ! "$venv/bin/python" -c "import importlib.metadata as m; assert m.version('schemathesis') == '$version'" 2>/dev/null; then
    say "Installing schemathesis $version into $venv"
    python3 -m venv "$venv"
    quietly "$venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi

begin http
release_binaries --quiet
start_register
start_gateway gateway --no-web
claim_port
api=http://127.0.0.1:$port
key=$(openssl rand -hex 32)
cat >"$log_folder/api.toml" <<END
[[api.key]]
name = "schemathesis"
sha256 = "$(printf %s "$key" | sha256sum | cut -d ' ' -f 1)"
scopes = ["admin"]
END
start_worker worker --app echo --http-listen "127.0.0.1:$port" --config "$log_folder/api.toml"
all_ready

# Every answer is one of the document, and none is an error of the server; a key is needed. One worker,
# since Python 3.11 fails now and then when two threads parse programs, which the generator does.
status=0
(cd "$log_folder" && timeout --foreground $((seconds + 120)) "$venv/bin/schemathesis" \
    --config-file "$here/schemathesis.toml" run "$api/v1/openapi.json" --exclude-checks positive_data_acceptance,unsupported_method \
    --header "Authorization: Bearer $key" --max-time "$seconds" --workers 1 --no-color "${seed[@]}") || status=$?
[ "$status" = 0 ] || fail "schemathesis: status $status"
wait_ready worker "${admin_ports[worker]}"
say "The push API agrees with its document."
