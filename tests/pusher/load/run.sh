#!/usr/bin/env bash
# The load generator's Pusher protocol against the suite, for a moment each: every published event must
# reach every subscriber once, on each type of channel, and the memory of subscribers stays small.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=bench/servers.sh
source "$here/../../../bench/servers.sh"

begin_measuring pusher-load
serve_suite suite

# Runs a mode; a message that is lost, twice or out of order is a failure.
load() { # MODE FLAGS...
    load_flags suite "$@" --strict --grace 20 --json "$out/report.json"
    "$bin/bench" "${load[@]}" >"$log_folder/load.txt" || fail "$* failed: $(cat "$log_folder/load.txt")"
    say "$*: $(sed -n 's/^ *messages *//p' "$log_folder/load.txt")"
}

# Prints a figure of the last report: the names that lead to it.
figure() { # NAME...
    python3 -c 'import functools, json, sys; print(int(functools.reduce(lambda at, name: at[name], sys.argv[2:],
        json.load(open(sys.argv[1])))))' "$out/report.json" "$@"
}

load idle --connections 2000 --prepare --duration 1
each=$(figure servers bytes_each)
# The aim is 3,000; this is a machine with other work, and few clients share what a process needs.
[ "$each" -lt 6000 ] || fail "an idle subscriber costs $each bytes"
for type in public private presence; do
    load fanout --connections 100 --channel-type "$type" --duration 1
    sent=$(figure messages sent)
    [ 0 -lt "$sent" ] || fail "nothing was published"
    [ "$(figure messages delivered)" = $((sent * 100)) ] || fail "not every subscriber received every event"
done
load fanout --connections 20 --groups 10 --senders 10 --duration 1
load fanout --connections 100 --rate 50 --senders 5 --size 5000 --duration 1
load churn --connections 10 --prepare --channel-type presence --duration 1
