#!/usr/bin/env bash
# docs/laravel.md in practice: an application of its files on Debian's Laravel, the commands of its
# text, and two browsers. Two variables name folders of what no registry of these tests has:
#
#   PUSHER_PHP  a clone of pusher/pusher-http-php: that library is used instead of a stand-in, and its
#               own tests run too
#   LARAVEL     a folder as composer makes it (vendor), with laravel/framework 11: the same application
#               runs on that too
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
source "$here/../../lib.sh"
PATH=$PATH:/usr/sbin:/sbin
document=$root/docs/laravel.md

need browser laravel nginx node npm openssl
if [ -n "${LARAVEL:-}" ]; then
    LARAVEL=$(cd "$LARAVEL" && pwd) || exit 1
    export LARAVEL
fi
if [ -n "${PUSHER_PHP:-}" ]; then
    PUSHER_PHP=$(cd "$PUSHER_PHP" && pwd) || exit 1
    export PUSHER_PHP
    need pusher-php
fi
release_binaries --quiet
begin laravel

installed=$(target_folder)/pusher-laravel
mkdir -p "$installed"
if ! cmp -s "$here/package-lock.json" "$installed/package-lock.json"; then
    cp "$here/package.json" "$here/package-lock.json" "$installed/"
    quietly npm ci --no-audit --no-fund --prefix "$installed"
fi
# Modules are found beside the packages that they import.
cp "$here/chat.test.mjs" "$here/subscriber.mjs" "$installed/"

# Sets the ports, and `on_free_ports` to a program for sed that puts them into what the document says.
choose_ports() {
    claim_port && register_port=$port
    claim_port && inner_port=$port
    claim_port && clients=$port
    claim_port && http=$port
    claim_port && https=$port
    on_free_ports="s#(127\.0\.0\.1:|=)7272#\1$clients#; s#(127\.0\.0\.1:|=)8080#\1$http#
        s#_PORT=443#_PORT=$https#; s#listen 443 ssl#listen 127.0.0.1:$https ssl#
        s#push\.example\.com#localhost#; s#/etc/ssl/push-suite/fullchain#$log_folder/cert#
        s#/etc/ssl/push-suite/privkey#$log_folder/key#; s#pusher\.toml#$log_folder/five-minutes/pusher.toml#"
}

commands() { # SECTION
    node "$root/tests/document.mjs" "$document" "$1" --commands | sed -E "$on_free_ports"
}

# Makes an application: the skeleton of a version of Laravel, and over it the files of each section.
application() { # NAME VERSION SECTION...
    local folder=$log_folder/$1 version=$2 section
    shift 2
    mkdir -p "$folder"/storage/{cache,framework/{cache/data,sessions,views},logs,sessions,views} \
        "$folder"/bootstrap/cache "$folder/database"
    cp -r "$here/skeleton/." "$here/skeleton-$version/." "$folder/"
    ln -s "$installed/node_modules" "$folder/public/node_modules"
    for section in "$@"; do
        node "$root/tests/document.mjs" "$document" "$section" "$folder"
    done
    if [ "$version" = 11 ]; then
        # The framework's own connections do.
        rm -f "$folder/config/broadcasting.php"
        # The last of several lines of a variable counts.
        cat "$folder/.env" >>"$folder/defaults.env"
        mv "$folder/defaults.env" "$folder/.env"
    fi
    find "$folder" -maxdepth 1 -type f -exec sed -Ei "$on_free_ports" {} +
}

start_nginx() {
    make_certificate
    mkdir -p "$log_folder/nginx"
    node "$root/tests/document.mjs" "$document" nginx "$log_folder/nginx" >/dev/null
    sed -Ei "$on_free_ports" "$log_folder/nginx/nginx.conf"
    cat >"$log_folder/nginx/main.conf" <<CONF
daemon off;
worker_processes 1;
pid $log_folder/nginx/pid;
events { worker_connections 256; }
http {
    access_log $log_folder/nginx/access.log;
    client_body_temp_path $log_folder/nginx/body;
    proxy_temp_path $log_folder/nginx/proxy;
    fastcgi_temp_path $log_folder/nginx/fastcgi;
    uwsgi_temp_path $log_folder/nginx/uwsgi;
    scgi_temp_path $log_folder/nginx/scgi;
    include $log_folder/nginx/nginx.conf;
}
CONF
    start nginx nginx -p "$log_folder/nginx" -e "$log_folder/nginx/error.log" -c "$log_folder/nginx/main.conf"
    until_open "$https"
}

# PHP that trusts the certificate of this test.
php_flags=(-d "openssl.cafile=$log_folder/cert.pem" -d "curl.cainfo=$log_folder/cert.pem" -d display_errors=stderr
    -d error_reporting=E_ALL\&~E_DEPRECATED)

# Serves an application, and uses it.
try() { # NAME
    local folder=$log_folder/$1
    say "--- $1"
    claim_port
    # PHP's server has no graceful end, and its workers do not end with it: all of its group are ended.
    start "application-$1" env PHP_CLI_SERVER_WORKERS=4 \
        bash -c 'trap "trap : TERM; kill 0; exit 0" TERM; "$@" & wait' _ php "${php_flags[@]}" -S "127.0.0.1:$port" -t "$folder/public" "$folder/public/index.php"
    until_open "$port"
    if ! APPLICATION=http://127.0.0.1:$port timeout 300 node --test --test-reporter=spec "$installed/chat.test.mjs"; then
        print_log_tail "application-$1"
        grep -hs 'local\.' "$folder"/storage/*.log "$folder"/storage/logs/*.log | tail -n 5 || true
        fail "the application $1 does not work"
    fi
}

# Makes and uses an application with a queue worker.
try_queue() { # NAME VERSION DATABASE
    local folder=$log_folder/$1
    application "$1" "$2" "Laravel in five minutes" "Queue workers"
    php "${php_flags[@]}" "$here/jobs_table.php" "$folder/$3"
    QUEUE_WORKER="$(cd "$folder" && commands "Queue workers" | sed "s#php artisan#php $folder/artisan#")" \
        try "$1"
}

choose_ports
export PUSHER_STAND_IN=$here/../php/Pusher.php
application five-minutes 8 "Laravel in five minutes"
# The commands of the first step, with addresses of this test in their environment.
start_documented "$register_port" "$inner_port" < <(commands "Laravel in five minutes")
try five-minutes
try_queue queue 8 storage/jobs.sqlite
application soketi 8 "Laravel in five minutes" "From soketi"
try soketi
start_nginx
application reverb 8 "Laravel in five minutes" "From Reverb"
try reverb
for request in 'GET /app/app-key' 'POST /apps/1/events'; do
    grep -q "\"$request" "$log_folder/nginx/access.log" || fail "nginx has not seen $request"
done

application pusher 8 "Laravel in five minutes" "From Pusher"
try pusher

if [ -n "${LARAVEL:-}" ]; then
    application five-minutes-11 11 "Laravel in five minutes"
    try five-minutes-11
    try_queue queue-11 11 database/database.sqlite
    application reverb-11 11 "Laravel in five minutes" "From Reverb"
    try reverb-11
else
    say "Laravel 11: skipped, LARAVEL names no folder"
fi

if [ -n "${PUSHER_PHP:-}" ]; then
    say "--- the tests of pusher-http-php"
    bash "$here/sdk.sh" "$http" "$clients" "$log_folder/sdk" "$installed/subscriber.mjs"
else
    say "pusher-http-php: skipped, PUSHER_PHP names no folder"
fi
