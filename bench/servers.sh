# Shared by the scripts that measure: the servers, each started, waited for and stopped by name, and
# one run of the load generator against one of them.
#
# BIN=DIR                 release binaries (default: built into target/release)
# THREADS=N               --threads of the gateway (default: its own)
# GENERATOR_THREADS=N     --threads of the load generator (default: 1)
# OUT=DIR                 keeps every report as JSON there
# GATEWAYWORKER_PHP=DIR   GatewayWorker: composer's vendor folder, or checkouts named GatewayWorker,
#                         workerman and coroutine
# REVERB_PHP=DIR          Laravel Reverb: checkouts of it and of what it needs (docs/performance.md)
# REVERB_FLAGS="FLAG..."  flags of php for it, such as -d extension=uv.so
# SOCKUDO=FILE            the program of Sockudo
# shellcheck shell=bash

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../tests/lib.sh"

# Of each server that is up: where clients connect to, the processes that carry messages (first the
# one that holds clients), and flags that the load generator needs for it.
declare -A urls=() watched=() protocol=()

worker_flags=(--app bench)

# Prints what a script says of itself at its top.
usage() {
    sed -n '2,/^[^#]/{/^#/p}' "$0" | cut -c3- >&2
    exit 2
}

# Builds what is missing, makes the folder of the reports, and allows as many files as there may be.
begin_measuring() { # NAME
    PUSH_SUITE_BIN=${BIN:-${PUSH_SUITE_BIN:-}} release_binaries --quiet -p push-suite-loadgen
    begin "$1"
    out=${OUT:-$log_folder/out}
    mkdir -p "$out"
    ulimit -n "$(ulimit -Hn)"
}

# Sets $most to the connections that the limit of files allows, at most so many.
most_connections() { # WANTED
    most=$1
    local files
    files=$(ulimit -n)
    if [ "$files" != unlimited ] && [ "$files" -lt $((most + 500)) ]; then
        most=$((files - 500))
        say "only $files open files are allowed: $most connections rather than $1"
    fi
}

# --- the servers ------------------------------------------------------------------------------

# Our register, gateways and workers: one gateway and one worker, unless $gateways and $workers say
# otherwise.
serve_ours() { # NAME GATEWAY-FLAGS...
    start_suite "$@"
    all_ready
    admin_ports=()
}

start_suite() {
    local name=$1 inner n
    shift
    claim_port
    register=127.0.0.1:$port
    # It has no gateways to wait for.
    with_admin_port "register-$name." "$bin/register" --listen "$register" --startup-grace 0
    urls[$name]='' watched[$name]=''
    for n in $(seq "${gateways:-1}"); do
        claim_port
        client_port=$port
        claim_port
        inner=$port
        with_admin_port "gateway-$name.$n" "$bin/gateway" --register-address "$register" \
            --listen "ws://127.0.0.1:$client_port" --lan-port "$inner" ${THREADS:+--threads "$THREADS"} "$@"
        urls[$name]+=" ws://127.0.0.1:$client_port"
        watched[$name]+=" ${pids[gateway-$name.$n]}"
    done
    for n in $(seq "${workers:-1}"); do
        start_worker "worker-$name.$n" "${worker_flags[@]}"
        watched[$name]+=" ${pids[worker-$name.$n]}"
    done
}

# One process that answers by itself. Its frames may wait for each other.
serve_direct() { # NAME
    claim_port
    start "direct-$1." "$bin/bench" direct --listen "127.0.0.1:$port" --write-buffer-size 16384
    until_open "$port"
    urls[$1]=ws://127.0.0.1:$port watched[$1]=${pids[direct-$1.]}
}

# GatewayWorker: one gateway and one worker.
serve_php() { # NAME SETTING=VALUE...
    local name=$1 inner
    shift
    claim_port
    inner=$port
    claim_port
    client_port=$port
    claim_port
    start_php "$name" 'register gateway worker' REGISTER="127.0.0.1:$port" CLIENT_PORT="$client_port" \
        INNER_PORT="$inner" "$@"
    until_open "$client_port"
    # Until the gateway and the worker have found each other.
    sleep 2
    urls[$name]=ws://127.0.0.1:$client_port
    watched[$name]="$(php_process "$name" Gateway) $(php_process "$name" BusinessWorker)"
}

# Our register and gateway, with GatewayWorker's worker. The gateway alone is watched.
serve_mixed() { # NAME
    workers=0 start_suite "$1"
    start_php "$1" worker REGISTER="$register"
    all_ready
    admin_ports=()
}

start_php() { # NAME ROLES SETTING=VALUE...
    local folder=$log_folder/php-$1
    mkdir -p "$folder"
    start "php-$1." env ROLES="$2" FOLDER="$folder" "${@:3}" php "$root/bench/php/start.php" start
}

# Prints the process of GatewayWorker with this name.
php_process() { # SERVER NAME
    local child children title master=${pids[php-$1.]}
    read -ra children <"/proc/$master/task/$master/children" || true
    for child in "${children[@]}"; do
        title=$(tr '\0' ' ' <"/proc/$child/cmdline")
        if [[ $title == *" $2 "* ]]; then say "$child"; fi
    done
}

# Whether GatewayWorker is there, and can hold as many clients as the others.
php_is_given() { [ -n "${GATEWAYWORKER_PHP:-}" ]; }
# Not grep -q: it would end before php has said everything, which counts as a failure.
php_is_large() { php -m | grep -ix event >/dev/null; }

# Socket.IO as npm has it, put into target/ by npm the first time.
serve_socketio() { # NAME
    local folder
    folder=$(target_folder)/socketio
    mkdir -p "$folder"
    cp "$root"/bench/socketio/* "$folder"
    if ! [ -d "$folder/node_modules/socket.io" ]; then
        quietly npm ci --no-audit --no-fund --prefix "$folder"
    fi
    claim_port
    start "socketio-$1." env PORT="$port" node "$folder/server.mjs"
    until_open "$port"
    urls[$1]=ws://127.0.0.1:$port watched[$1]=${pids[socketio-$1.]} protocol[$1]='--protocol socketio'
}

# --- servers of the Pusher protocol ---

# All have this app.
pusher_app=1:app-key:app-secret

# Our suite with the Pusher app. Its HTTP API is in the worker.
serve_suite() { # NAME
    claim_port
    local http=$port worker_flags=(--app pusher --config "$log_folder/app.toml" --http-listen "127.0.0.1:$port")
    printf '[[pusher.app]]\nid = "1"\nkey = "app-key"\nsecret = "app-secret"\n' >"$log_folder/app.toml"
    serve_ours "$1"
    protocol[$1]="--protocol pusher --http-url http://127.0.0.1:$http --pusher-app $pusher_app"
}

# Reverb: one process, with Laravel but without an application around it.
serve_reverb() { # NAME
    claim_port
    # shellcheck disable=SC2086 # words
    start "reverb-$1." env PORT="$port" APP="$pusher_app" php ${REVERB_FLAGS:-} "$root/bench/reverb/start.php"
    until_open "$port"
    one_pusher_server "$1" "reverb-$1."
}

# Sockudo: one process, with its defaults but for limits of rates.
serve_sockudo() { # NAME
    claim_port
    start "sockudo-$1." "$SOCKUDO" --config "$(sockudo_settings "$port")"
    until_open "$port"
    one_pusher_server "$1" "sockudo-$1."
}

# Writes the settings of Sockudo for a port, and prints the file.
sockudo_settings() { # PORT
    local file=$log_folder/sockudo-$1.json
    cat >"$file" <<JSON
{"host": "127.0.0.1", "port": $1, "rate_limiter": {"enabled": false}, "metrics": {"enabled": false},
 "app_manager": {"array": {"apps": [{"id": "1", "key": "app-key", "secret": "app-secret", "enabled": true,
   "policy": {"limits": {"max_connections": 100000, "max_client_events_per_second": 1000}}}]}}}
JSON
    say "$file"
}

# Notes a server that is one process, with its HTTP API on the port of its clients.
one_pusher_server() { # NAME PROCESS
    urls[$1]=ws://127.0.0.1:$port watched[$1]=${pids[$2]}
    protocol[$1]="--protocol pusher --pusher-app $pusher_app"
}

# Stops a server, whatever kind it is.
unserve() { # NAME
    local prefix
    for prefix in direct reverb sockudo; do quit "$prefix-$1."; done
    for prefix in gateway worker php register socketio; do stop "$prefix-$1." || true; done
    unset "urls[$1]" "watched[$1]" "protocol[$1]"
}

# Ends a process that knows no orderly end, if it runs.
quit() { # NAME
    if [ -z "${pids[$1]:-}" ]; then return; fi
    kill "${pids[$1]}" 2>/dev/null || true
    wait "${pids[$1]}" 2>/dev/null || true
    forget "$1"
}

before_stop() {
    local name
    for name in "${started[@]}"; do
        case $name in load* | direct* | reverb* | sockudo*) quit "$name" ;; esac
    done
}

# --- the load ---------------------------------------------------------------------------------

# Measures a server once, and keeps the report. A measurement that is not possible is skipped, with a message.
measure() { # REPORT SERVER MODE FLAGS...
    local report=$1 server=$2
    load_flags "${@:2}"
    if ! "$bin/bench" "${load[@]}" --json "$out/$report.json" >"$log_folder/load.txt" 2>&1; then
        say "$report: $(tail -n 1 "$log_folder/load.txt")"
        return
    fi
    grep -E 'WARNING|first fault' "$log_folder/load.txt" | sed "s/^ */$report: /" || true
}

# Sets $load to the arguments of such a run.
load_flags() { # SERVER MODE FLAGS...
    local server=$1 mode=$2 pid
    # shellcheck disable=SC2206 # words
    load=("$mode" ${urls[$server]} ${protocol[$server]:-} "${@:3}" --quiet --label "$server"
        --threads "${GENERATOR_THREADS:-1}")
    for pid in ${watched[$server]}; do load+=(--process "$pid"); done
}

# Starts a load that goes on beside others, and waits until its clients are there.
start_load() { # NAME SERVER CONNECTIONS MODE FLAGS...
    local holder files
    load_flags "$2" "${@:4}" --connections "$3"
    start "load-$1" "$bin/bench" "${load[@]}"
    read -r holder _ <<<"${watched[$2]}"
    files=()
    while [ ${#files[@]} -lt "$3" ]; do
        alive "load-$1" || fail "$1: $(tail -n 1 "$log_folder/load-$1.log")"
        sleep 0.2
        files=("/proc/$holder/fd/"*)
    done
    # The last ones join their group.
    sleep 1
}

end_load() { # NAME
    wait "${pids[load-$1]}" || fail "$1: $(tail -n 1 "$log_folder/load-$1.log")"
    forget "load-$1"
}
