#!/usr/bin/env bash
# The demo starts, serves its pages, falls back to other ports, and leaves no processes behind: after
# --once, after Ctrl-C, after SIGTERM, and when one of its processes dies.
set -euo pipefail
# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# Free ports for the demo, so that this test affects nothing else on this machine.
choose_ports() {
    local ports=()
    for _ in 1 2 3 4 5; do
        claim_port
        ports+=("$port")
    done
    export DEMO_REGISTER_PORT=${ports[0]}
    export DEMO_GATEWAY_PORTS="${ports[1]} ${ports[2]}"
    export DEMO_INNER_PORTS="${ports[3]} ${ports[4]}"
}

# Starts a demo in its own process group, as a terminal does. Its processes carry its mark.
run_demo() { # NAME FLAGS...
    local name=$1
    shift
    start "$name" env "DEMO_MARK=$log_folder/$name" "TMPDIR=$log_folder" \
        bash "$root/deploy/demo.sh" "$@"
}

# The ids of the processes of a demo that are still running, including its own.
processes_of() { # NAME [PROGRAM]
    local environment process
    for environment in $(grep -lsz "^DEMO_MARK=$log_folder/$1\$" /proc/[0-9]*/environ); do
        process=${environment%/environ}
        if [ -z "${2:-}" ] || [ "$(basename "$(readlink "$process/exe")")" = "$2" ]; then
            say "${process#/proc/}"
        fi
    done
}

has_output() { grep -q -- "$2" "${process_logs[$1]}"; } # NAME TEXT

wait_until_ready() { # NAME
    local tries
    for ((tries = 0; tries < 600; tries++)); do
        if has_output "$1" '^Logs: '; then return; fi
        alive "$1" || break
        sleep 0.1
    done
    print_log_tail "$1"
    fail "$1 did not become ready"
}

# Waits for a demo to exit; checks its status and that no process of it is left.
expect_end() { # NAME STATUS
    local status=0
    wait_exit "$1" || status=$?
    if [ "$status" != "$2" ]; then
        print_log_tail "$1"
        fail "$1 exited with status $status, not $2"
    fi
    if [ -n "$(processes_of "$1")" ]; then
        ps -fp "$(processes_of "$1" | paste -sd,)" || true
        fail "$1 left processes behind"
    fi
    forget "$1"
}

expect_pages() { # NAME
    local page pages
    pages=$(grep -oE '^ +http://127\.0\.0\.1:[0-9]+/$' "${process_logs[$1]}" | grep -oE '[0-9]+/' | tr -d /)
    [ "$(wc -l <<<"$pages")" = 2 ] || fail "$1 did not print two pages but: $pages"
    for page in $pages; do
        [ "$(http_status "$page" /)" = 200 ] || fail "no page on port $page"
        grep -qi '<html' <<<"$(http_get "$page" /)" || fail "port $page serves no HTML"
    done
}

# A newcomer waits for it, so nothing of the demo is compiled as for a deployment.
expect_demo_profile() { # NAME
    local id program
    for id in $(processes_of "$1" register) $(processes_of "$1" gateway) $(processes_of "$1" business-worker); do
        program=$(readlink "/proc/$id/exe")
        [ "$program" -ef "$bin/$(basename "$program")" ] || fail "the demo runs $program"
    done
    [ -n "${PUSH_SUITE_BIN:-}" ] || [ "$(basename "$bin")" = demo ] || fail "the demo's profile is not built"
}

stays_until_ctrl_c_and_shares_the_machine() {
    run_demo stays
    wait_until_ready stays
    expect_pages stays
    expect_demo_profile stays
    ! has_output stays 'is taken' || fail "the demo considers free ports in use"
    for program in register gateway business-worker; do
        say "    $program: $(processes_of stays "$program" | wc -l) running"
    done
    run_demo beside --once
    expect_end beside 0
    has_output beside 'is taken' || fail "the second demo did not report ports in use"
    kill -INT -- "-${pids[stays]}"
    expect_end stays 0
    has_output stays '^All stopped\.' || fail "the demo did not report that it stopped"
    say "two demos side by side, one stopped by Ctrl-C: clean"
}

ends_on_sigterm() {
    run_demo ends
    wait_until_ready ends
    kill -TERM "${pids[ends]}"
    expect_end ends 0
    say "stopped by SIGTERM: clean"
}

reports_a_killed_process() {
    local gateway
    run_demo incomplete
    wait_until_ready incomplete
    read -r gateway < <(processes_of incomplete gateway)
    kill -KILL "$gateway"
    expect_end incomplete 1
    has_output incomplete '^gateway-[12] exited unexpectedly' || fail "the demo did not report which process died"
    say "a gateway killed: the demo reports it, stops the others, and fails"
}

demo_binaries --quiet
begin demo
choose_ports
stays_until_ctrl_c_and_shares_the_machine
ends_on_sigterm
reports_a_killed_process
