#!/usr/bin/env bash
# Memory of a gateway and its worker after bursts: of clients that echo large messages and leave, and of
# clients that stop in the midst of one and leave.
#
#   bench/bursts.sh [--quick]
#
# Memory is the resident set of each process, in MB. To compare allocators, build the others into
# folders of their own (--no-default-features is the system's) and name them with BIN.
#
# bench/servers.sh names further settings: BIN, THREADS, GENERATOR_THREADS, OUT.
set -euo pipefail
# shellcheck source=bench/servers.sh
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"

bursts=10 seconds=4
case ${1:-} in
    --quick) bursts=3 seconds=1.5 ;;
    ?*) usage ;;
esac

begin_measuring bursts

# Prints what each process holds.
held() { # WHEN
    local pid each=()
    for pid in ${watched[ours]}; do
        each+=("$(awk '/^VmRSS:/ { printf "%.1f", $2 / 1024 }' "/proc/$pid/status")")
    done
    say "$(printf '%-28s gateway %6s  worker %6s' "$1" "${each[@]}")"
}

# Clients that send 700 kB of a message of 1 MB each, and leave after a second.
unfinished() {
    python3 - "${urls[ours]##*:}" <<'PYTHON'
import socket, sys, time
request = b"".join(line + b"\r\n" for line in (
    b"GET / HTTP/1.1", b"Host: x", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", b""))
frame = b"\x82\xff" + (1_000_000).to_bytes(8, "big") + bytes(4) + bytes(700_000)
clients = []
for _ in range(150):
    client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    client.sendall(request)
    while b"\r\n\r\n" not in client.recv(4096):
        pass
    client.sendall(frame)
    clients.append(client)
time.sleep(1)
PYTHON
}

serve_ours ours
held idle
for burst in $(seq "$bursts"); do
    measure "burst$burst" ours echo --connections 1000 --size 60000 --duration "$seconds"
    held "after burst $burst"
done
sleep 2
held '2 s later'
sleep 8
held '10 s later'
for burst in 1 2; do
    unfinished
    held "after unfinished messages $burst"
    sleep 2
    held '2 s later'
    sleep 8
    held '10 s later'
done
