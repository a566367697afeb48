# Shared by demo.sh and the tests: free ports, processes with logs, readiness, graceful shutdown.
# Source it after `set -euo pipefail`. Needs only bash 4.4.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Results and parameters of the functions below.
bin=        # release_binaries, demo_binaries: the folder of the binaries
port=       # claim_port: the port to use
log_folder= # start: where to put the logs

say() { printf '%s\n' "$*"; }

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# --- binaries ---------------------------------------------------------------------------------

# Each builds what is missing and sets $bin to the folder of the binaries. PUSH_SUITE_BIN names a
# folder with existing binaries instead. Arguments are passed to cargo.

# The binaries to deploy and to measure.
release_binaries() {
    if given_binaries; then return; fi
    toolchain
    build release "$@"
}

# Binaries to try the suite with, compiled in a fifth of the time. Without default features: jemalloc
# returns memory after a burst, and takes a while to compile.
demo_binaries() {
    if given_binaries; then return; fi
    compilers
    build demo --no-default-features "$@"
}

given_binaries() {
    [ -n "${PUSH_SUITE_BIN:-}" ] || return 1
    bin=$(cd "$PUSH_SUITE_BIN" && pwd) || exit 1
}

build() { # PROFILE FLAGS...
    local profile=$1
    shift
    (cd "$root" &&
        cargo build --profile "$profile" --locked "$@" -p push-suite-register \
            -p push-suite-gateway -p push-suite-business-worker -p push-suite-gwctl)
    # shellcheck disable=SC2034 # for scripts that source this
    bin=$(target_folder)/$profile
}

# Whether everything can be built here.
toolchain() {
    compilers
    command -v make >/dev/null ||
        fail "make is missing: install it, for example with 'apt install build-essential'"
}

# Whether what needs no make can be built here.
compilers() {
    command -v cargo >/dev/null ||
        fail "cargo is missing: install Rust with rustup, see https://rustup.rs"
    (cd "$root" && cargo --version >/dev/null) ||
        fail "cargo does not run here: 'rustup toolchain install' in $root fetches the pinned toolchain"
    command -v cc >/dev/null ||
        fail "a C compiler is missing: install gcc, for example with 'apt install build-essential'"
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

# Whether the port is open on the loopback interface.
is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; } # PORT

# Waits until the port is open, for at most 10 seconds.
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

# Sets $port to the requested port, or to a free one below the kernel's ephemeral range if that is
# taken or none was requested. No port is returned twice.
claim_port() {
    port=${1:-}
    while [ -z "$port" ] || port_taken "$port"; do
        port=$((20000 + RANDOM % 12000))
    done
    claimed_ports+="$port "
}

# --- HTTP -------------------------------------------------------------------------------------

# Prints the whole response to GET PATH on a loopback port; nothing if that fails.
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

# Running processes: name -> pid, log. $started has the names in start order.
declare -A pids=() process_logs=()
started=()

# Starts a named process in a process group of its own, so that Ctrl-C reaches only this script,
# which stops the processes in order.
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

print_log_tail() { # NAME
    say "--- the last lines of ${process_logs[$1]}:"
    tail -n 20 "${process_logs[$1]}"
}

# Waits until /readyz on a loopback port returns 200; fails if the process exits first, or after 30
# seconds.
wait_ready() { # NAME ADMIN_PORT
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        if [ "$(http_status "$2" /readyz)" = 200 ]; then return; fi
        if ! alive "$1"; then
            print_log_tail "$1"
            fail "$1 exited before it was ready"
        fi
        sleep 0.1
    done
    print_log_tail "$1"
    fail "$1 was not ready within 30 seconds"
}

# Stops all processes with that name prefix at once, and waits for them. Returns 1 if one had to be
# killed, or did not exit with 0.
stop() { # PREFIX
    local name names=() status clean=0
    for name in "${started[@]}"; do
        if [[ $name == "$1"* ]]; then names+=("$name"); fi
    done
    for name in "${names[@]}"; do kill -TERM "${pids[$name]}" 2>/dev/null || true; done
    for name in "${names[@]}"; do
        wait_exit "$name" && status=0 || status=$?
        if [ "$status" != 0 ]; then
            say "$name exited with status $status"
            print_log_tail "$name"
            clean=1
        fi
        forget "$name"
    done
    return "$clean"
}

# Waits for the exit of a process after SIGTERM, and kills it after 20 seconds. Returns its status.
wait_exit() { # NAME
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

# Stops everything: gateways, then workers, then the register, then the rest.
stop_all() {
    local clean=0 prefix
    # A draining gateway sends workers the closes of its clients.
    for prefix in gateway worker register ''; do
        stop "$prefix" || clean=1
    done
    return "$clean"
}
