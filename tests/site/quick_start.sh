#!/usr/bin/env bash
# docs/quick-start.md as it is written, with other ports: a client of the chat receives what the
# document pushes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../lib.sh"
document=$root/docs/quick-start.md

need node openssl
release_binaries --quiet
begin quick-start
cd "$log_folder"

claim_port && register_port=$port
claim_port && inner_port=$port
claim_port && clients=$port
claim_port && api=$port
on_free_ports="s#127\.0\.0\.1:7272#127.0.0.1:$clients#; s#127\.0\.0\.1:7373#127.0.0.1:$api#"

commands() { # SECTION
    node "$root/tests/document.mjs" "$document" "$1" --commands | sed "$on_free_ports"
}

# Makes the key and the settings; `eval`, since later commands use the variable.
eval "$(commands "Three processes" | sed '/^register/,$d')"
start_documented "$register_port" "$inner_port" < <(commands "Three processes" | sed -n '/^register/,$p')

start page node "$here/page.mjs" "$clients"
log=${process_logs[page]}
wait_for() { # TEXT
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        if grep -qF -- "$1" "$log"; then return; fi
        sleep 0.1
    done
    print_log_tail page
    fail "the page has not received $1"
}
wait_for '"client_list"'
commands "Push with one request" >push.sh
bash -euo pipefail push.sh >answers 2>&1 || { cat answers && fail "the commands of the document fail"; }
wait_for 'hello from curl'
# The answer is the one that the document shows.
grep -qF '{"delivered":1,"matched":1,"dropped":0,"unreachable":[]}' answers || { cat answers && fail "the answer is another"; }
grep -qF '"lobby"' answers || { cat answers && fail "the list has no client of the lobby"; }
say "the quick start: clean"
