# Runs the same scenario on the original and on this suite. Sourced by run.sh.
# shellcheck shell=bash disable=SC2154 # for what run.sh sets

php_role() { # NAME ROLE SETTING...
    local name=$1 role=$2
    shift 2
    start "$name" env FOLDER="$log_folder" NAME="$name" ROLE="$role" REGISTER="$register" SECRET="$secret" "$@" \
        php "$here/original/run.php" start
}

# Waits until this many gateways are listed.
listed() { # COUNT
    php -r 'require $argv[1]; gateways($argv[2], $argv[3], (int) $argv[4]);' \
        "$here/lib.php" "$register" "$secret" "$1"
}

scenario() { # STACK
    local stack=$1 events=$log_folder/$1.events n=0 name
    local -a client=() inner=() way=(--startup-grace 0) gateway_way=(--no-web)
    : >"$events"
    if [ "$stack" = strict ]; then way=(--compat strict) gateway_way=(--compat strict); fi
    claim_port && register=127.0.0.1:$port
    for name in A B; do
        claim_port && client+=("$port")
        claim_port && inner+=("$port")
    done
    case $stack in
        original*) php_role "register-$stack" register ;;
        *) start "register-$stack" "$bin/register" --listen "$register" "${way[@]}" --secret-key "$secret" ;;
    esac
    for name in A B; do
        case $stack-$name in
            original* | mixed*-A) php_role "gateway-$name-$stack" gateway CLIENT_PORT="${client[n]}" INNER_PORT="${inner[n]}" ;;
            *)
                start "gateway-$name-$stack" "$bin/gateway" "${gateway_way[@]}" --threads 2 --connections-per-thread 1 --secret-key "$secret" \
                    --register-address "$register" --listen "ws://127.0.0.1:${client[n]}" --lan-port "${inner[n]}"
                ;;
        esac
        n=$((n + 1))
        listed "$n"
    done
    # With a secret, each query of the worker uses its own connection.
    php_role "worker-$stack" worker EVENTS="$events" PERSISTENT="$([ -z "$secret" ] && echo 1 || echo 0)"
    sleep 2
    timeout 120 php "$here/original/scenario.php" "$register" "$secret" "${client[@]}" "$events" "$log_folder/$stack.txt"
    timeout 60 php "$here/original/letter.php" "${client[1]}" "${pids[worker-$stack]}" "$log_folder/$stack.txt"
}

# Compares the original with this suite, with this suite in strict mode, and with a cluster of our
# register, one gateway of each kind and a PHP worker.
transcripts() {
    local secret status=0
    for secret in '' 'a secret'; do
        same ours || status=1
        same strict || status=1
    done
    same mixed || status=1
    return "$status"
}

# Timers of the PHP worker may fire between two steps on either side: only repeated differences count.
same() { # STACK
    local try
    for try in 1 2; do
        say "$1, with ${secret:-no secret}, try $try:"
        if scenario "original" && scenario "$1" && stop_all &&
            php "$here/original/compare.php" "$log_folder/original.txt" "$log_folder/$1.txt" "$1"; then
            return
        fi
        stop_all || true
    done
    return 1
}
