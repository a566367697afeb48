#!/usr/bin/env bash
# Two unmodified applications of GatewayWorker's author, with only register and gateway replaced.
#
#   GATEWAYWORKER_PHP=DIR WORKERMAN_CHAT=DIR TODPOLE=DIR bash tests/compat/apps.sh
#
# Each folder is a checkout of the application. It runs on the original and on this suite, with its
# own start files, ports and pages: the same scripted clients, whose transcripts are compared, and
# the same steps in a browser. It runs in a separate network namespace, so that the ports are free.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../lib.sh"

[ -n "${GATEWAYWORKER_PHP:-}" ] || fail "GATEWAYWORKER_PHP is not set"
if [ "${1:-}" != --inside ]; then
    need php browser fonts node npm
    release_binaries --quiet
    [ -d "$here/../browser/node_modules/playwright-core" ] || quietly npm ci --prefix "$here/../browser"
    if [ "$(id -u)" = 0 ]; then namespace=(unshare --net); else namespace=(unshare --net --map-root-user); fi
    PUSH_SUITE_BIN=$bin exec "${namespace[@]}" bash "${BASH_SOURCE[0]}" --inside
fi
ip link set lo up
release_binaries
begin apps
failed=0

# The application in its own folder, with the files that composer would install.
installed() { # NAME SOURCE
    app=$log_folder/$1
    mkdir -p "$app/vendor"
    cp -r "$2/." "$app/"
    cat >"$app/vendor/autoload.php" <<'PHP'
<?php
require_once getenv('LOAD');
spl_autoload_register(function (string $class): void {
    if ($class === 'Events') {
        require glob(dirname(__DIR__) . '/Applications/*/Events.php')[0];
    }
});
$name = basename($_SERVER['argv'][0], '.php');
Workerman\Worker::$pidFile = getenv('FOLDER') . "/$name.pid";
Workerman\Worker::$logFile = getenv('FOLDER') . "/$name.workerman.log";
PHP
}

app_role() { # STACK FILE
    start "$2-$1" env FOLDER="$log_folder" LOAD="$here/original/load.php" php "$(echo "$app"/Applications/*/"$2.php")" start
}

# One application on one stack: transcript, then the pages.
run() { # NAME STACK REGISTER CLIENTS INNER WEB
    local name=$1 stack=$2 register=127.0.0.1:$3 status=0
    if [ "$stack" = original ]; then
        app_role "$stack" start_register
        until_open "$3"
        app_role "$stack" start_gateway
    else
        start "register-$stack" "$bin/register" --listen "$register"
        # As in start_gateway.php.
        start "gateway-$stack" "$bin/gateway" --no-web --register-address "$register" --listen "ws://0.0.0.0:$4" \
            --lan-port "$5" --ping-interval 10 --ping-data '{"type":"ping"}'
    fi
    app_role "$stack" start_businessworker
    app_role "$stack" start_web
    until_open "$4"
    until_open "$6"
    sleep 4
    timeout 120 php "$here/apps/$name.php" "$4" >"$log_folder/$name-$stack.txt" || status=1
    timeout 120 node "$here/apps/$name.mjs" "http://127.0.0.1:$6/" "$stack" || status=1
    stop_all || status=1
    return "$status"
}

application() { # NAME SOURCE PORTS...
    local name=$1 stack
    say "--- $name"
    installed "$name" "$2"
    for stack in original ours; do
        run "$name" "$stack" "${@:3}" || { say "$name on $stack: FAILED" && failed=1; }
    done
    php "$here/original/compare.php" "$log_folder/$name-original.txt" "$log_folder/$name-ours.txt" ours || failed=1
}

if [ -n "${WORKERMAN_CHAT:-}" ]; then application chat "$WORKERMAN_CHAT" 1236 7272 2300 55151; fi
if [ -n "${TODPOLE:-}" ]; then application todpole "$TODPOLE" 1237 8282 2700 8383; fi
exit "$failed"
