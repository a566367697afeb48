#!/usr/bin/env bash
# The site of deploy/haproxy in a real HAProxy, with a generated certificate, in front of two
# gateways and an echo worker: the page over https, WebSockets over wss, the address of their clients,
# health checks of three kinds that reach no worker, and one gateway down. A third gateway is behind
# PROXY headers of both versions.
set -euo pipefail
# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
PATH=$PATH:/usr/sbin:/sbin

# The site of deploy/ with this test's ports and certificate, and ten checks per second; plus
# backends that check the gateway without pages in every supported way.
write_settings() {
    cat >"$log_folder/haproxy.cfg" <<CONF
global
    log stderr format raw local0 notice
    stats socket $log_folder/haproxy.sock level admin
CONF
    sed -E -e "s#127.0.0.1:7272#127.0.0.1:$first#; s#127.0.0.1:7273#127.0.0.1:$second#" \
        -e "s#bind :80\$#bind 127.0.0.1:$http#; s#bind :443 #bind 127.0.0.1:$https,[::1]:$https #" \
        -e "s#/etc/haproxy/push-suite.pem#$log_folder/both.pem#; s#inter 2s#inter 100ms#" \
        "$root/deploy/haproxy/push-suite.cfg" >>"$log_folder/haproxy.cfg"
    cat >>"$log_folder/haproxy.cfg" <<CONF

backend options from push_suite
    option httpchk
    server no-web 127.0.0.1:$second check inter 100ms
backend get from push_suite
    option httpchk GET /healthz
    server no-web 127.0.0.1:$second check inter 100ms
backend connect from push_suite
    server no-web 127.0.0.1:$second check inter 100ms

listen proxy_v1 from push_suite
    bind 127.0.0.1:$in_v1,[::1]:$in_v1 ssl crt $log_folder/both.pem
    mode tcp
    server gateway-3 127.0.0.1:$third send-proxy check-send-proxy check inter 100ms
listen proxy_v2 from push_suite
    bind 127.0.0.1:$in_v2,[::1]:$in_v2 ssl crt $log_folder/both.pem
    option httpchk
    server gateway-3 127.0.0.1:$third send-proxy-v2 check-send-proxy check inter 100ms
CONF
}

# State and number of failed checks of every server, one per line: backend,server,UP,0
servers() {
    python3 - "$log_folder/haproxy.sock" <<'PY'
import csv, socket, sys

control = socket.socket(socket.AF_UNIX)
control.connect(sys.argv[1])
control.sendall(b"show stat\n")
text = control.makefile().read().removeprefix("# ")
for row in csv.DictReader(text.splitlines()):
    if row["svname"] not in ("FRONTEND", "BACKEND"):
        print(",".join(row[name] for name in ("pxname", "svname", "status", "chkfail")))
PY
}

start_haproxy() {
    cat "$log_folder/cert.pem" "$log_folder/key.pem" >"$log_folder/both.pem"
    haproxy -c -q -f "$log_folder/haproxy.cfg"
    start haproxy haproxy -db -f "$log_folder/haproxy.cfg"
    until_open "$https"
}

page_over_https() {
    local answer
    answer=$(printf 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' |
        timeout 10 openssl s_client -quiet -verify_return_error -CAfile "$log_folder/cert.pem" \
            -servername localhost -connect "127.0.0.1:$https" 2>/dev/null | tr -d '\r')
    # The other gateway serves no pages.
    grep -qE '^HTTP/1.1 (200|400)' <<<"$answer" || fail "https answers: $(head -n 1 <<<"$answer")"
    grep -qi '^strict-transport-security:' <<<"$answer" || fail "strict-transport-security is missing"
    grep -qi '^location: https://127.0.0.1' < <(http_get "$http" / | tr -d '\r') ||
        fail "plain http is not redirected to https"
    say "a page over https; http redirected"
}

websocket() { python3 "$root/tests/deploy/wss.py" "$https" "$log_folder/cert.pem"; }

websockets_pass() {
    local count
    for count in 1 2 3 4; do websocket || fail "no echo through wss (connection $count)"; done
    say "four WebSockets through wss: text and binary echoed"
}

# The sum of a gateway's metric over its labels.
metric() { # GATEWAY NAME
    http_get "${admin_ports[$1]}" /metrics | tr -d '\r' |
        awk -v name="$2" 'index($1, name) == 1 { sum += $2 } END { print sum + 0 }'
}

checks_pass_and_are_no_clients() {
    local before after gateway checks=40 had deadline=$((SECONDS + 120))
    for gateway in gateway-1 gateway-2 gateway-3; do
        before=$(metric "$gateway" pushsuite_gateway_connections_total)
        had=$(metric "$gateway" pushsuite_gateway_events_total)
        until after=$(metric "$gateway" pushsuite_gateway_connections_total) && [ $((after - before)) -ge "$checks" ]; do
            [ "$SECONDS" -lt "$deadline" ] || fail "$gateway is not checked"
            sleep 0.1
        done
        [ "$(metric "$gateway" pushsuite_gateway_events_total)" = "$had" ] || fail "workers received events of checks of $gateway"
        [ "$(metric "$gateway" pushsuite_gateway_handshakes_refused_total)" = 0 ] || fail "checks count as refused at $gateway"
    done
    if servers | grep -v ',UP,0$'; then fail "a check failed"; fi
    say "OPTIONS /, GET /healthz and bare connections: all up, and no worker received events of them"
}

client_address() { python3 "$root/tests/deploy/client_address.py" "$@" || fail "workers do not see the address of a client"; }

workers_see_the_client() {
    local address
    for address in 127.0.0.9 ::1; do
        client_address "$address" "$https" "$log_folder/cert.pem" "$first_inner" "$second_inner"
        client_address "$address" "$in_v1" "$log_folder/cert.pem" "$third_inner"
        client_address "$address" "$in_v2" "$log_folder/cert.pem" "$third_inner"
    done
    say "workers see the address of a client, from a header and both versions of PROXY headers"
}

one_gateway_is_enough() {
    local count tries states
    stop gateway-1
    for ((tries = 0; tries < 100; tries++)); do
        states=$(servers)
        if grep -q '^push_suite,gateway-1,DOWN' <<<"$states"; then break; fi
        sleep 0.1
    done
    grep -q '^push_suite,gateway-1,DOWN' <<<"$states" || fail "a stopped gateway is not marked down"
    for count in 1 2 3; do websocket || fail "with one gateway down, connection $count fails"; done
    say "one gateway stopped: marked down, clients get the other"
}

need haproxy openssl python
release_binaries --quiet
begin haproxy
start_register
start_gateway gateway-1 --trusted-proxy 127.0.0.1
first=$client_port
first_inner=$inner_port
start_gateway gateway-2 --no-web --trusted-proxy 127.0.0.1
second=$client_port
second_inner=$inner_port
start_gateway gateway-3 --proxy-protocol --trusted-proxy 127.0.0.1
third=$client_port
third_inner=$inner_port
start_worker worker --app echo
all_ready
claim_port
http=$port
claim_port
https=$port
claim_port
in_v1=$port
claim_port
in_v2=$port
make_certificate
write_settings
start_haproxy
checks_pass_and_are_no_clients
page_over_https
websockets_pass
workers_see_the_client
one_gateway_is_enough
# HAProxy has no graceful stop with exit code 0.
kill -KILL "${pids[haproxy]}" && { wait "${pids[haproxy]}" 2>/dev/null || true; } && forget haproxy
