#!/usr/bin/env bash
# A real Prometheus with the rules of deploy/prometheus scrapes a suite: its metrics follow the
# conventions, all names in rules, board and documents exist, the commands of the runbooks work, and
# the alerts for a stopped and for a missing worker fire.
set -euo pipefail
# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

rules=$root/deploy/prometheus/alerts.yml

check_rules() {
    promtool check rules "$rules" >"$log_folder/rules" 2>&1 || fail "$(cat "$log_folder/rules")"
    promtool check config "$root/deploy/prometheus/prometheus.yml" >"$log_folder/config" 2>&1 ||
        fail "$(cat "$log_folder/config")"
    promtool test rules "$root/tests/monitoring/alerts_test.yml" >"$log_folder/cases" 2>&1 ||
        fail "$(sort -u "$log_folder/cases" | head -n 40)"
    say "alerts.yml: valid, and each alert fires at its values only"
}

# One process of each kind: TLS, so that a certificate has an expiry, and all HTTP interfaces.
start_suite() {
    make_certificate
    start_register
    claim_port
    tls=$port
    start_gateway gateway --listen "wss://127.0.0.1:$tls" --threads 2 --peer-timeout 4 --max-connections-per-uid 9 \
        --tls-cert "$log_folder/cert.pem" --tls-key "$log_folder/key.pem"
    claim_port
    receiver=$port
    cat >"$log_folder/webhook.toml" <<CONF
[[webhook]]
url = "http://127.0.0.1:$receiver/"
secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
events = ["connect", "message", "close"]
CONF
    cat >"$log_folder/pusher.toml" <<CONF
[[pusher.app]]
id = "1"
key = "key"
secret = "secret"
CONF
    claim_port
    http=$port
    start_worker webhook --app webhook --config "$log_folder/webhook.toml" --id webhook --peer-timeout 4
    start_worker pusher --app pusher --config "$log_folder/pusher.toml" --id pusher --http-listen "127.0.0.1:$http"
    all_ready
}

# A request of each HTTP interface, so that the families with labels have one.
request_each() {
    curl -s -o /dev/null "http://127.0.0.1:$http/v1/health"
    curl -s -o /dev/null "http://127.0.0.1:$http/apps/1/channels"
}

# Prints the page of a process in the format of which promtool knows the conventions.
metrics() { curl -s "http://127.0.0.1:${admin_ports[$1]}/metrics"; } # NAME

check_metrics() {
    local name
    for name in "${!admin_ports[@]}"; do
        metrics "$name" >"$log_folder/$name.metrics"
        promtool check metrics <"$log_folder/$name.metrics" >"$log_folder/lint" 2>&1 ||
            fail "$name: $(cat "$log_folder/lint")"
        say "$name: $(grep -c '^# TYPE' "$log_folder/$name.metrics") families follow the conventions"
    done
    python3 "$root/tests/monitoring/names.py" "$root" "$log_folder"/*.metrics
}

# Whether a command of gwctl shows something; that the cluster has findings, such as the certificate
# of this test, is no failure.
gwctl_works() { # COMMAND
    local status=0
    GW_REGISTER_ADDRESS=$register PATH=$bin:$PATH bash -c "$1" >"$log_folder/gwctl" 2>&1 || status=$?
    case $status:$1 in
        0:* | 1:*) ;;
        2:"gwctl check"*) ;;
        *) return 1 ;;
    esac
    [ -s "$log_folder/gwctl" ] && ! grep -q '^error' "$log_folder/gwctl"
}

# The commands of the runbooks, with the ports of this suite.
check_runbooks() {
    local line count=0
    while read -r line; do
        case $line in
            curl*)
                line=${line//:9100/:${admin_ports[register]}}
                line=${line//:9101/:${admin_ports[gateway]}}
                line=${line//:9111/:${admin_ports[webhook]}}
                [ -n "$(bash -c "set -o pipefail; $line")" ] || fail "no output: $line"
                ;;
            gwctl*) gwctl_works "$line" || fail "failed: $line: $(cat "$log_folder/gwctl")" ;;
            *) bash -n <<<"$line" ;;
        esac
        count=$((count + 1))
    done < <(awk '/^```sh/ {on = 1; next} /^```/ {on = 0} on' "$root"/docs/runbooks/*.md | sort -u)
    say "runbooks: $count commands"
}

# Prometheus with the shipped rules and configuration, but short times and the ports of this suite.
start_prometheus() {
    claim_port
    prometheus=$port
    sed -E 's/for: .*/for: 1s/' "$rules" >"$log_folder/alerts.yml"
    local targets
    targets=$(printf '          - 127.0.0.1:%s\n' "${admin_ports[@]}")
    sed -E 's/(interval): 15s/\1: 1s/; /- 127/d' "$root/deploy/prometheus/prometheus.yml" \
        >"$log_folder/prometheus.yml"
    printf '%s\n' "$targets" >>"$log_folder/prometheus.yml"
    start prometheus prometheus --config.file "$log_folder/prometheus.yml" \
        --storage.tsdb.path "$log_folder/data" --web.listen-address "127.0.0.1:$prometheus" \
        --log.level warn
    until_open "$prometheus"
}

ask() { # PATH ARGUMENT...
    local path=$1
    shift
    curl -s -G "http://127.0.0.1:$prometheus/api/v1/$path" "$@"
}

# Waits until an expression has a value, for at most 60 seconds.
until_value() { # EXPRESSION
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        if grep -q '"value"' < <(ask query --data-urlencode "query=$1"); then return; fi
        sleep 0.2
    done
    fail "no value: $1
$(ask alerts | head -c 2000)"
}

until_fires() { # ALERT
    until_value "ALERTS{alertname=\"$1\",alertstate=\"firing\"}"
    say "$1 fires"
}

check_board() {
    python3 "$root/tests/monitoring/board.py" "$root/deploy/grafana/push-suite.json" \
        "http://127.0.0.1:$prometheus"
}

need prometheus curl openssl python
begin monitoring
release_binaries --quiet
check_rules
start_suite
request_each
check_metrics
check_runbooks
start_prometheus
until_value 'count(up{job="push-suite"} == 1) == 4'
until_value 'rate(pushsuite_gateway_clients_closed_total[1m])'
say "Prometheus scrapes 4 processes"
check_board
# The certificate of this test is valid for two days.
until_fires PushSuiteCertificateExpires
if grep -q PushSuite < <(ask query --data-urlencode 'query=ALERTS{alertname!="PushSuiteCertificateExpires"}'); then
    fail "an alert without a cause: $(ask alerts)"
fi

kill -STOP "${pids[webhook]}"
until_fires PushSuiteWorkerStalled
kill -CONT "${pids[webhook]}"
until_value 'absent(ALERTS{alertname="PushSuiteWorkerStalled"})'
say "PushSuiteWorkerStalled ends"
stop webhook
stop pusher
until_fires PushSuiteGatewayWithoutWorker
until_fires PushSuiteDown
