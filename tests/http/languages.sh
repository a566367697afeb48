#!/usr/bin/env bash
# The programs of docs/push-api.md in other languages, as they are written, against a running suite: a
# client receives the message of each.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../lib.sh"

need node openssl php python
release_binaries --quiet
begin languages

node "$here/../document.mjs" "$root/docs/push-api.md" "Other languages" "$log_folder/programs"
programs=$log_folder/programs

start_register
start_gateway gateway --no-web
claim_port
export API=http://127.0.0.1:$port
KEY=$(openssl rand -hex 32)
export KEY
cat >"$log_folder/api.toml" <<END
[[api.key]]
name = "languages"
sha256 = "$(printf %s "$KEY" | sha256sum | cut -d ' ' -f 1)"
scopes = ["push"]
END
start_worker worker --app echo --http-listen "127.0.0.1:$port" --config "$log_folder/api.toml"
all_ready
start receiver node "$here/receiver.mjs" "$client_port"

received() { grep -qF -- "$1" "${process_logs[receiver]}"; } # TEXT

# Waits until the client has a line.
expect() { # TEXT
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        if received "$1"; then return; fi
        sleep 0.1
    done
    print_log_tail receiver
    fail "the client has not received $1"
}

# Runs a program, and expects its message.
try() { # LANGUAGE COMMAND...
    local language=$1
    shift
    timeout 120 "$@" >"$log_folder/$language.out" 2>&1 || { cat "$log_folder/$language.out" && fail "$language: failed"; }
    expect "\"from\":\"$language\""
    # Without the right key nothing is sent, and the program says so.
    if KEY=wrong timeout 120 "$@" >"$log_folder/$language.out" 2>&1; then fail "$language: a wrong key is no error"; fi
    say "$language: ok"
}

expect open
try Python python3 "$programs/push.py"
try Node node "$programs/push.mjs"
try PHP php "$programs/news.php"
if has go; then
    try Go env GOCACHE="$log_folder/go" HOME="$log_folder" go run "$programs/push.go"
else
    say "Go: skipped, not installed"
fi
