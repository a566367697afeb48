#!/usr/bin/env bash
# The nginx site of deploy/nginx in a real nginx, with a generated certificate, in front of two
# gateways and an echo worker: the page over https, WebSockets over wss, the address of their clients,
# a reload with an open connection, and one gateway down.
set -euo pipefail
# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
PATH=$PATH:/usr/sbin:/sbin

# The site of deploy/ with this test's ports, name and certificate, in a minimal nginx
# configuration.
write_settings() {
    sed -E -e "s#127.0.0.1:7272#127.0.0.1:$first#; s#127.0.0.1:7273#127.0.0.1:$second#" \
        -e "s#listen 80;#listen 127.0.0.1:$http;#; s#listen 443 ssl;#listen 127.0.0.1:$https ssl;#" \
        -e "s#listen \[::\]:443 ssl;#listen [::1]:$https ssl;#; /listen \[::\]:80/d" -e 's#chat\.example\.com#localhost#' \
        -e "s#/etc/ssl/push-suite/fullchain.pem#$log_folder/cert.pem#" \
        -e "s#/etc/ssl/push-suite/privkey.pem#$log_folder/key.pem#" \
        "$root/deploy/nginx/push-suite.conf" >"$log_folder/site.conf"
    cat >"$log_folder/nginx.conf" <<CONF
daemon off;
worker_processes 1;
pid $log_folder/nginx.pid;
error_log $log_folder/nginx-error.log;
events { worker_connections 256; }
http {
    access_log $log_folder/nginx-access.log;
    client_body_temp_path $log_folder/body;
    proxy_temp_path $log_folder/proxy;
    fastcgi_temp_path $log_folder/fastcgi;
    uwsgi_temp_path $log_folder/uwsgi;
    scgi_temp_path $log_folder/scgi;
    include $log_folder/site.conf;
}
CONF
}

run_nginx() { nginx -p "$log_folder" -e "$log_folder/nginx-error.log" -c "$log_folder/nginx.conf" "$@"; }

start_nginx() {
    local tries
    run_nginx -t -q
    start nginx nginx -p "$log_folder" -e "$log_folder/nginx-error.log" -c "$log_folder/nginx.conf"
    for ((tries = 0; tries < 100; tries++)); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$https") 2>/dev/null; then return; fi
        sleep 0.1
    done
    cat "$log_folder/nginx-error.log"
    fail "nginx does not respond"
}

# The response to GET / over TLS, headers and body.
page() {
    printf 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' |
        timeout 10 openssl s_client -quiet -verify_return_error -CAfile "$log_folder/cert.pem" \
            -servername localhost -connect "127.0.0.1:$https" 2>/dev/null
}

page_over_https() {
    local answer name
    answer=$(page | tr -d '\r')
    grep -q '^HTTP/1.1 200' <<<"$answer" || fail "https does not answer 200: $(head -n 1 <<<"$answer")"
    grep -qi '<html' <<<"$answer" || fail "https serves no HTML"
    for name in content-security-policy strict-transport-security x-content-type-options; do
        [ "$(grep -ci "^$name:" <<<"$answer")" = 1 ] || fail "$name is not present exactly once"
    done
    grep -q "^Location: https://127.0.0.1/" < <(http_get "$http" / | tr -d '\r') ||
        fail "plain http is not redirected to https"
    say "the page over https, its headers once each; http redirected"
}

websocket() { python3 "$root/tests/deploy/wss.py" "$https" "$log_folder/cert.pem" "$@"; }

websockets_pass() {
    local count
    for count in 1 2 3 4; do websocket || fail "no echo through wss (connection $count)"; done
    say "four WebSockets through wss: text and binary echoed"
    websocket nginx -p "$log_folder" -e "$log_folder/nginx-error.log" \
        -c "$log_folder/nginx.conf" -s reload || fail "a reload of nginx closed an open WebSocket"
    say "a reload of nginx with an open WebSocket: it stays open"
}

workers_see_the_client() {
    local address
    for address in 127.0.0.9 ::1; do
        python3 "$root/tests/deploy/client_address.py" "$address" "$https" "$log_folder/cert.pem" \
            "$first_inner" "$second_inner" || fail "workers do not see the address of a client"
    done
    say "workers of both gateways see the address of a client, not one that it claims"
}

one_gateway_is_enough() {
    local count
    stop gateway-1
    for count in 1 2 3; do websocket || fail "with one gateway down, connection $count fails"; done
    say "one gateway stopped: clients get the other"
}

need nginx openssl python
release_binaries --quiet
begin nginx
start_register
start_gateway gateway-1 --trusted-proxy 127.0.0.1
first=$client_port
first_inner=$inner_port
start_gateway gateway-2 --trusted-proxy 127.0.0.1
second=$client_port
second_inner=$inner_port
start_worker worker --app echo
all_ready
claim_port
http=$port
claim_port
https=$port
make_certificate
write_settings
start_nginx
page_over_https
websockets_pass
workers_see_the_client
one_gateway_is_enough
