# Shared by the shell tests: the helpers of deploy/lib.sh, packages, and a suite to test against.
# shellcheck shell=bash

# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../deploy/lib.sh"

# What the user has set for a suite of their own is not for the tests.
# shellcheck disable=SC2086 # a list of names
unset ${!GW_@}

# Makes a temporary folder for logs and files, and stops what was started when the script ends.
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

# A script may define its own.
before_stop() { :; }

declare -A admin_ports=()

# Starts a register on a free port; sets $register to its address.
start_register() { # [NAME]
    claim_port
    register=127.0.0.1:$port
    with_admin_port "${1:-register}" "$bin/register" --listen "$register"
}

# Starts a gateway on free ports; sets $client_port to the one for clients.
start_gateway() { # NAME FLAGS...
    local name=$1 inner
    shift
    claim_port
    client_port=$port
    claim_port
    inner=$port
    # A few clients are to be on all threads.
    with_admin_port "$name" "$bin/gateway" --register-address "$register" --connections-per-thread 1 \
        --listen "ws://127.0.0.1:$client_port" --lan-ip 127.0.0.1 --lan-port "$inner" "$@"
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

# Waits for all that were started so far. A gateway is ready once it has a worker.
all_ready() {
    local name
    for name in "${!admin_ports[@]}"; do wait_ready "$name" "${admin_ports[$name]}"; done
}

# --- packages ---------------------------------------------------------------------------------

# Each thing that the tests need, how to see that it is there, and the Debian package that has it.
# Prints the packages of what is missing among those named, or among all.
missing_packages() { # [THING...]
    local thing
    for thing in "${@:-all}"; do
        case $thing in
            all) missing_packages browser fonts haproxy nginx node npm openssl php python systemd linker compiler ip ;;
            browser) has chromium || has chromium-browser || say chromium ;;
            fonts) chinese_font || say fontconfig fonts-noto-cjk ;;
            haproxy) has haproxy || say haproxy ;;
            nginx) has nginx || say nginx ;;
            node) has node || say nodejs ;;
            npm) has npm || say npm ;;
            openssl) has openssl || say openssl ;;
            php) has php || say php-cli ;;
            python) python3 -c 'import ensurepip, ssl, venv' 2>/dev/null || say python3 python3-venv ;;
            systemd) has systemd-analyze || say systemd ;;
            ip) has ip || say iproute2 ;;
            linker)
                has cc || say gcc libc6-dev
                has make || say make
                ;;
            compiler) has c++ || say g++ ;;
            *) fail "missing_packages: what is $thing?" ;;
        esac
    done
}

chinese_font() { has fc-list && [ -n "$(fc-list :lang=zh)" ]; }

# nginx and haproxy live in /usr/sbin, which users other than root need not have in their PATH.
has() { PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null; }

# Installs what is missing among the things named, or among all; does nothing if nothing is.
need() { # [THING...]
    local packages
    read -r -d '' -a packages < <(missing_packages "$@" && printf '\0')
    if [ "${#packages[@]}" = 0 ]; then return; fi
    say "Installing: ${packages[*]}"
    has apt-get || fail "install these, or what your system calls them: ${packages[*]}"
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

# Runs a command that speaks to a package source. Its output is shown if it fails, without the
# addresses of that source.
quietly() {
    local output
    if ! output=$("$@" 2>&1 </dev/null); then
        without_hosts <<<"$output" | tail -n 30
        fail "failed: $*"
    fi
}

without_hosts() { sed -E 's#(https?|git|ssh)://[^/ ]+#\1://…#g'; }
