# Shared by the shell tests: helpers of deploy/lib.sh, package installation, and a suite to test.
# shellcheck shell=bash

# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../deploy/lib.sh"

# The user's settings must not affect the tests.
# shellcheck disable=SC2086 # a list of names
unset ${!GW_@}

# Creates a temporary folder for logs and files; stops all started processes when the script exits.
# The folder is kept if the script fails.
begin() { # NAME
    log_folder=$(mktemp -d "${TMPDIR:-/tmp}/push-suite-$1.XXXXXX")
    trap 'exit 130' INT TERM HUP
    trap end EXIT
}

end() {
    local status=$?
    trap '' INT TERM HUP
    before_stop || status=1
    stop_all || status=1
    if [ "$status" = 0 ]; then rm -rf "$log_folder"; else say "Logs are kept in $log_folder"; fi
    exit "$status"
}

# A script may override this.
before_stop() { :; }

declare -A admin_ports=()

# Starts a register on a free port; sets $register to its address.
start_register() { # [NAME]
    claim_port
    register=127.0.0.1:$port
    with_admin_port "${1:-register}" "$bin/register" --listen "$register"
}

# Starts a gateway on free ports; sets $client_port to that of its client listener, and $inner_port to
# that of its inner listener.
start_gateway() { # NAME FLAGS...
    local name=$1
    shift
    claim_port
    client_port=$port
    claim_port
    inner_port=$port
    # So that a few clients are enough to use all threads.
    with_admin_port "$name" "$bin/gateway" --register-address "$register" --connections-per-thread 1 \
        --listen "ws://127.0.0.1:$client_port" --lan-ip 127.0.0.1 --lan-port "$inner_port" "$@"
}

# Starts a business worker.
start_worker() { # NAME FLAGS...
    local name=$1
    shift
    with_admin_port "$name" "$bin/business-worker" --register-address "$register" "$@"
}

with_admin_port() { # NAME COMMAND...
    claim_port
    admin_ports[$1]=$port
    start "$@" --admin-listen "127.0.0.1:$port"
}

# Starts the processes that a document starts, one a line on standard input, such as `register &`; a
# register listens on the first port, a gateway has the second as its inner one.
start_documented() { # REGISTER_PORT INNER_PORT
    local program line words number=0
    while read -r program line; do
        number=$((number + 1))
        read -r -a words <<<"${line%&}"
        if [ "$program" = register ]; then words+=(--listen "127.0.0.1:$1"); fi
        with_admin_port "$program" env GW_REGISTER_ADDRESS="127.0.0.1:$1" GW_LAN_PORT="$2" \
            "$bin/$program" "${words[@]}"
    done
    [ "$number" = 3 ] || fail "the document starts $number processes"
    all_ready
}

# Waits until all started processes are ready. A gateway needs a worker for that.
all_ready() {
    local name
    for name in "${!admin_ports[@]}"; do wait_ready "$name" "${admin_ports[$name]}"; done
}

# Makes a certificate for localhost and its key: cert.pem and key.pem in the log folder.
make_certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -keyout "$log_folder/key.pem" -out "$log_folder/cert.pem" 2>/dev/null
}

# --- packages ---------------------------------------------------------------------------------

# Prints the Debian packages of missing tools, among those named or among all.
missing_packages() { # [THING...]
    local thing
    for thing in "${@:-all}"; do
        case $thing in
            all) missing_packages browser curl fonts haproxy laravel nginx node npm openssl php prometheus python redis systemd linker compiler ip ;;
            browser) has chromium || has chromium-browser || say chromium ;;
            fonts) chinese_font || say fontconfig fonts-noto-cjk ;;
            haproxy) has haproxy || say haproxy ;;
            laravel)
                has php || say php-cli
                [ -e /usr/share/php/Illuminate/autoload.php ] || say php-laravel-framework
                php_has pdo_sqlite || say php-sqlite3
                ;;
            nginx) has nginx || say nginx ;;
            node) has node || say nodejs ;;
            npm) has npm || say npm ;;
            openssl) has openssl || say openssl ;;
            curl) has curl || say curl ;;
            prometheus) has prometheus && has promtool || say prometheus ;;
            packaging)
                has dpkg-deb || say dpkg-dev
                has lintian || say lintian
                has mmdebstrap || say mmdebstrap
                has rpmbuild || say rpm
                has musl-gcc || say musl-tools
                has skopeo || say skopeo
                has umoci || say umoci
                ;;
            php) has php || say php-cli ;;
            pusher-php)
                [ -e /usr/share/php/GuzzleHttp/autoload.php ] || say php-guzzlehttp-guzzle
                php_has curl || say php-curl
                has phpunit || say phpunit
                ;;
            redis) has redis-server || say redis-server ;;
            python) python3 -c 'import ensurepip, ssl, venv' 2>/dev/null || say python3 python3-venv ;;
            systemd) has systemd-analyze || say systemd ;;
            ip) has ip || say iproute2 ;;
            linker)
                has cc || say gcc libc6-dev
                has make || say make
                ;;
            compiler) has c++ || say g++ ;;
            *) fail "missing_packages: unknown tool $thing" ;;
        esac
    done
}

php_has() { php -r 'exit(extension_loaded($argv[1]) ? 0 : 1);' "$1" 2>/dev/null; } # EXTENSION

chinese_font() { has fc-list && [ -n "$(fc-list :lang=zh)" ]; }

# nginx and haproxy are in /usr/sbin, which may not be in the PATH of users other than root.
has() { PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null; }

# Installs missing tools, among those named or among all.
need() { # [THING...]
    local packages
    read -r -d '' -a packages < <(missing_packages "$@" && printf '\0')
    if [ "${#packages[@]}" = 0 ]; then return; fi
    say "Installing: ${packages[*]}"
    has apt-get || fail "install these packages, or their equivalents on your system: ${packages[*]}"
    quietly as_root apt-get update -qq
    # RUNLEVEL=1 keeps Debian from starting the services that it installs.
    quietly as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${packages[@]}"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif has sudo; then
        sudo -n "$@"
    else
        fail "root or sudo is needed for: $*"
    fi
}

# Runs a command that uses a package source. Its output is shown if it fails, without the addresses
# of that source.
quietly() {
    local output
    if ! output=$("$@" 2>&1 </dev/null); then
        without_hosts <<<"$output" | tail -n 30
        fail "failed: $*"
    fi
}

without_hosts() { sed -E 's#(https?|git|ssh)://[^/ ]+#\1://…#g'; }
