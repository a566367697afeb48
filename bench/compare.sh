#!/usr/bin/env bash
# Measures the suite, the direct server, and GatewayWorker where its sources are given, in one
# run, interleaved, and prints CPU per message and ratios as medians.
#
#   bench/compare.sh [--quick] [--rounds N]
#
# GATEWAYWORKER_PHP=DIR   a folder with checkouts named GatewayWorker, workerman and coroutine
# BIN=DIR                 release binaries (default: built into target/release)
# THREADS=N               --threads of the gateway (default: its own)
# OUT=DIR                 keeps every report as JSON there
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
seconds=2.5 rounds=2 idle=10000
while [ $# -gt 0 ]; do
    case $1 in
        --quick) seconds=1 rounds=1 idle=2000 ;;
        --rounds) rounds=${2:?--rounds needs a number}; shift ;;
        *) sed -n '2,11p' "$0" | cut -c3- >&2; exit 2 ;;
    esac
    shift
done

if [ -z "${BIN:-}" ]; then
    (cd "$root" && cargo build --release -p bench -p register -p gateway -p business-worker)
    BIN=$(cd "$root" && realpath "${CARGO_TARGET_DIR:-target}")/release
fi
ulimit -n "$(ulimit -Hn)"
files=$(ulimit -n)
if [ "$files" != unlimited ] && [ "$files" -lt $((idle + 500)) ]; then
    idle=$((files - 500))
    echo "only $files open files are allowed: idle memory is measured with $idle connections"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/push-suite-compare.XXXXXX")
out=${OUT:-$work/out}
mkdir -p "$out"
own=()
php_master=
end() {
    trap '' EXIT
    for pid in "${own[@]}" $php_master; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in "${own[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM

waits_for() { # PORT: until something listens there
    for _ in $(seq 100); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        sleep 0.1
    done
    echo "nothing listens on port $1" >&2
    exit 1
}

# --- the servers, each on ports of its own -------------------------------------------------
declare -A url pids
base=${PORT:-27400}

"$BIN/bench" direct --listen "127.0.0.1:$base" --write-buffer-size 16384 >/dev/null &
own+=($!)
pids[direct]=$! url[direct]=ws://127.0.0.1:$base/

"$BIN/register" --listen 127.0.0.1:$((base + 1)) >"$work/register.log" 2>&1 &
own+=($!)
waits_for $((base + 1))
"$BIN/gateway" --listen ws://127.0.0.1:$((base + 2)) --lan-port $((base + 3)) \
    --register-address 127.0.0.1:$((base + 1)) ${THREADS:+--threads "$THREADS"} \
    >"$work/gateway.log" 2>&1 &
own+=($!)
gateway=$!
"$BIN/business-worker" --register-address 127.0.0.1:$((base + 1)) --app bench \
    >"$work/worker.log" 2>&1 &
own+=($!)
pids[ours]="$gateway $!" url[ours]=ws://127.0.0.1:$((base + 2))/
waits_for $((base + 2))

servers=(ours direct)
if [ -n "${GATEWAYWORKER_PHP:-}" ]; then
    mkdir "$work/php"
    cat >"$work/php/start.php" <<PHP
<?php
\$root = getenv('GATEWAYWORKER_PHP');
spl_autoload_register(function (string \$class) use (\$root): void {
    // Both share the prefix, so the first that has the file wins.
    foreach ([['GatewayWorker\\\\', 'GatewayWorker/src/'], ['Workerman\\\\', 'workerman/src/'],
              ['Workerman\\\\Coroutine\\\\', 'coroutine/src/'], ['Workerman\\\\', 'coroutine/src/']] as [\$prefix, \$folder]) {
        \$file = "\$root/\$folder" . str_replace('\\\\', '/', substr(\$class, strlen(\$prefix))) . '.php';
        if (str_starts_with(\$class, \$prefix) && is_file(\$file)) { require_once \$file; return; }
    }
});
use GatewayWorker\\{BusinessWorker, Gateway, Register};
use GatewayWorker\\Lib\\Gateway as Clients;
use Workerman\\Worker;
class Events {
    public static function onMessage(\$client, \$message) {
        switch (\$message[0] ?? '') {
            case 'e': Clients::sendToClient(\$client, \$message); break;
            case 'a': Clients::sendToAll(\$message); break;
            case 'j': Clients::joinGroup(\$client, substr(\$message, 1)); Clients::sendToClient(\$client, \$message); break;
            case 'g': Clients::sendToGroup('room', \$message); break;
            case 'u': Clients::bindUid(\$client, substr(\$message, 1)); Clients::sendToClient(\$client, \$message); break;
        }
    }
}
new Register('text://127.0.0.1:$((base + 5))');
\$gateway = new Gateway('websocket://127.0.0.1:$((base + 6))');
\$gateway->name = 'Gateway';
\$gateway->lanIp = '127.0.0.1';
\$gateway->startPort = $((base + 7));
\$gateway->registerAddress = '127.0.0.1:$((base + 5))';
\$worker = new BusinessWorker();
\$worker->name = 'BusinessWorker';
\$worker->registerAddress = '127.0.0.1:$((base + 5))';
Worker::\$pidFile = '$work/php/pid';
Worker::\$logFile = '$work/php/log';
Worker::\$statusFile = '$work/php/status';
Worker::runAll();
PHP
    GATEWAYWORKER_PHP=$(realpath "$GATEWAYWORKER_PHP") php "$work/php/start.php" start \
        >"$work/php/out" 2>&1 &
    own+=($!)
    php_master=$!
    waits_for $((base + 6))
    sleep 2
    # All its processes but the master and the register, which carry no messages.
    php_pids=
    read -ra children <"/proc/$php_master/task/$php_master/children" || true
    for child in "${children[@]}"; do
        title=$(tr "\0" " " <"/proc/$child/cmdline" 2>/dev/null || true)
        case $title in *Register*) ;; *) php_pids+=" $child" ;; esac
    done
    pids[php]=$php_pids url[php]=ws://127.0.0.1:$((base + 6))/
    servers+=(php)
    loop=Select
    php -m | grep -qix event && loop=Event
    echo "GatewayWorker: $(php -r 'echo "PHP ", PHP_VERSION;'), Workerman's event loop $loop"
    if [ $loop = Select ]; then
        echo "  (PHP's event extension is missing: this loop is slower, and takes about 1,000 connections)"
    fi
fi
sleep 1

# --- the cells ------------------------------------------------------------------------------
# name | figure | mode and flags
fan=(--connections 1000 --size 64)
cell_names=(idle echo echo64k paced500 paced30k fan1 fan4 fan16 churn)
declare -A flags=(
    [echo]="echo --connections 100" [echo64k]="echo --connections 100 --size 65536"
    [paced500]="paced --connections 10 --rate 500" [paced30k]="paced --connections 200 --rate 30000"
    [fan1]="fanout ${fan[*]} --window 1" [fan4]="fanout ${fan[*]} --window 4"
    [fan16]="fanout ${fan[*]} --window 16" [churn]="churn --connections 20"
    [idle]="idle --connections $idle --at-once 64 --prepare"
)
declare -A title=(
    [echo]="echo, 100 connections, 64 B: CPU" [echo64k]="echo, 100 connections, 64 KiB: CPU"
    [paced500]="paced 500/s over 10: CPU" [paced30k]="paced 30,000/s over 200: CPU"
    [fan1]="fan-out to 1,000, 1 in flight: CPU" [fan4]="fan-out to 1,000, 4 in flight: CPU"
    [fan16]="fan-out to 1,000, 16 in flight: CPU" [churn]="connect, echo, close: CPU"
    [idle]="memory per idle client at $idle, one uid and one group each"
)

cell() { # SERVER CELL ROUND
    local file=$out/$2.$1.$3.json watch=()
    for pid in ${pids[$1]}; do watch+=(--process "$pid"); done
    # shellcheck disable=SC2086 # flags are words
    set -- "$1" "$2" ${flags[$2]}
    local server=$1 name=$2 mode=$3
    shift 3
    if ! "$BIN/bench" "$mode" "${url[$server]}" "$@" --duration $seconds --quiet --label "$server" \
        "${watch[@]}" --json "$file" >"$work/text" 2>&1; then
        echo "$server, $name: $(tail -n 1 "$work/text")"
        return
    fi
    grep -E 'WARNING|first fault' "$work/text" | sed "s/^ */$server, $name: /" || true
}

for round in $(seq "$rounds"); do
    for name in "${cell_names[@]}"; do
        # Memory is what clients add to fresh processes; later it comes out of what was freed.
        if [ "$name" = idle ] && [ "$round" != 1 ]; then continue; fi
        for server in "${servers[@]}"; do
            # What the select loop cannot hold would only be noise.
            if [ "$server" = php ] && [ "${loop:-}" = Select ] && [ "$name" = idle ]; then
                continue
            fi
            cell "$server" "$name" "$round"
        done
    done
done

# --- the table ------------------------------------------------------------------------------
TITLES=$(for name in "${cell_names[@]}"; do echo "$name|${title[$name]}"; done) \
    python3 "$root/bench/table.py" "$out" "${servers[@]}"
