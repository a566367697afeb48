# Shared by demo.sh and the tests: free ports, processes with logs, readiness, orderly stops.
# Source it after `set -euo pipefail`. Needs bash 4.4 and nothing else.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# What the functions below answer with, or go by.
bin=        # release_binaries: the folder of the binaries
port=       # claim_port: the port to use
log_folder= # start: where to put the logs

say() { printf '%s\n' "$*"; }

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# --- binaries ---------------------------------------------------------------------------------

# Sets $bin to the folder of the release binaries, building what is missing or out of date.
# PUSH_SUITE_BIN names a folder of ready-made ones instead. Arguments go to cargo.
release_binaries() {
    if [ -n "${PUSH_SUITE_BIN:-}" ]; then
        bin=$(cd "$PUSH_SUITE_BIN" && pwd)
        return
    fi
    toolchain
    (cd "$root" && cargo build --release --locked "$@" -p register -p gateway -p business-worker)
    # shellcheck disable=SC2034 # for who sources this
    bin=$(target_folder)/release
}

toolchain() {
    command -v cargo >/dev/null ||
        fail "cargo is missing: install Rust with rustup, as https://rustup.rs says"
    (cd "$root" && cargo --version >/dev/null) ||
        fail "cargo does not run here: 'rustup toolchain install' in $root fetches the pinned toolchain"
    command -v cc >/dev/null ||
        fail "a C linker is missing: install gcc, for instance with 'apt install build-essential'"
    command -v make >/dev/null ||
        fail "make is missing: install it, for instance with 'apt install build-essential'"
}

target_folder() {
    local folder=${CARGO_TARGET_DIR:-$root/target}
    case $folder in
        /*) say "$folder" ;;
        *) say "$PWD/$folder" ;;
    esac
}

# --- ports ------------------------------------------------------------------------------------

claimed_ports=' '

# Whether something listens there, on the loopback interface.
is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; } # PORT

# Waits until something does.
until_open() { # PORT
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        if is_open "$1"; then return; fi
        sleep 0.1
    done
    fail "nothing listens on port $1"
}

port_taken() {
    case $claimed_ports in *" $1 "*) return 0 ;; esac
    is_open "$1"
}

# Sets $port to the wanted port, or to a free one below the kernel's own range if that is taken
# or none was wanted. No port is handed out twice.
claim_port() {
    port=${1:-}
    while [ -z "$port" ] || port_taken "$port"; do
        port=$((20000 + RANDOM % 12000))
    done
    claimed_ports+="$port "
}

# --- a little HTTP ----------------------------------------------------------------------------

# Prints the whole answer to GET PATH on a loopback port; nothing if there is none.
http_get() { # PORT PATH
    (
        exec 3<>"/dev/tcp/127.0.0.1/$1" &&
            printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n' "$2" "$1" >&3 &&
            timeout 5 cat <&3
    ) 2>/dev/null || true
}

http_status() { # PORT PATH
    local answer
    answer=$(http_get "$1" "$2" | head -n 1 | tr -d '\r')
    [[ $answer =~ ^HTTP/1\.[01]\ ([0-9]{3}) ]] && say "${BASH_REMATCH[1]}"
}

# --- processes --------------------------------------------------------------------------------

# What runs: name -> pid, log. The order of starting is kept in $started.
declare -A pids=() process_logs=()
started=()

# Starts a process under a name. It gets a process group of its own, so that Ctrl-C reaches this
# script alone and the processes stop in order.
start() { # NAME COMMAND...
    local name=$1 log=$log_folder/$1.log
    shift
    : >"$log"
    set -m
    "$@" </dev/null >"$log" 2>&1 &
    pids[$name]=$!
    set +m
    process_logs[$name]=$log
    started+=("$name")
}

alive() { kill -0 "${pids[$1]}" 2>/dev/null; }

last_words() { # NAME
    say "--- the last lines of ${process_logs[$1]}:"
    tail -n 20 "${process_logs[$1]}"
}

# Waits until /readyz on a loopback port says 200; fails if the process ends or takes too long.
wait_ready() { # NAME ADMIN_PORT
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        if [ "$(http_status "$2" /readyz)" = 200 ]; then return; fi
        if ! alive "$1"; then
            last_words "$1"
            fail "$1 ended before it was ready"
        fi
        sleep 0.1
    done
    last_words "$1"
    fail "$1 was not ready within 30 seconds"
}

# Stops the processes whose names begin so, all at once, and waits for them. Returns 1 if one did
# not end by itself or did not end well.
stop() { # PREFIX
    local name names=() status clean=0
    for name in "${started[@]}"; do
        if [[ $name == "$1"* ]]; then names+=("$name"); fi
    done
    for name in "${names[@]}"; do kill -TERM "${pids[$name]}" 2>/dev/null || true; done
    for name in "${names[@]}"; do
        end_of "$name" && status=0 || status=$?
        if [ "$status" != 0 ]; then
            say "$name ended with status $status"
            last_words "$name"
            clean=1
        fi
        forget "$name"
    done
    return "$clean"
}

# Waits for a process that was told to stop, at most 20 seconds; its status is the result.
end_of() { # NAME
    local pid=${pids[$1]} tries
    for ((tries = 0; tries < 200; tries++)); do
        if ! kill -0 "$pid" 2>/dev/null; then break; fi
        sleep 0.1
    done
    if kill -0 "$pid" 2>/dev/null; then
        say "$1 did not stop within 20 seconds: killed"
        kill -KILL "$pid" 2>/dev/null || true
    fi
    wait "$pid" 2>/dev/null
}

forget() { # NAME
    local name left=()
    for name in "${started[@]}"; do
        if [ "$name" != "$1" ]; then left+=("$name"); fi
    done
    started=("${left[@]}")
    unset "pids[$1]"
}

# Stops everything: workers, then gateways, then the register, then the rest.
stop_all() {
    local clean=0 prefix
    # A gateway tells workers of its last clients.
    for prefix in gateway worker register ''; do
        stop "$prefix" || clean=1
    done
    return "$clean"
}
