"""Follows the runbooks on two hosts whose failures it injects.

    walk.py RUNBOOKS HOSTS PID

HOSTS has a root for each host, by its address; PID is a process in the network of the second one.
"""

import json
import pathlib
import subprocess
import sys
import time

import runbook
from websocket import Client, Receiver

FIRST, SECOND = "10.0.0.11", "10.0.0.12"
PATH = "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# How long a command is repeated until its answer is that of the page.
PATIENCE = 45

runbooks, hosts, holder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
differences = []


def run(host, command, stdin=None):
    """The output of a command on a host."""
    inside = ["chroot", hosts / host, "/usr/bin/env", "-i", PATH, "bash", "-c", command]
    if host == SECOND:
        inside = ["nsenter", f"--net=/proc/{holder}/ns/net", *inside]
    ended = subprocess.run(
        inside, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
    )
    return ended.stdout


def units(action, *names, host=FIRST):
    if said := run(host, f"systemctl {action} {' '.join(names)}"):
        sys.exit(f"systemctl {action} {names}: {said}")


def gwctl(command):
    """The answer of gwctl as JSON; without clients while it reaches no gateway."""
    answer = run(FIRST, f"gwctl {command} -o json")
    return json.loads(answer) if answer.startswith("{") else {"clients": []}


def until(what, look):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.2)
    return sys.exit(f"not so in time: {what}\n{run(FIRST, 'gwctl status')}")


def until_well():
    until("a healthy cluster", lambda: gwctl("status").get("findings") == [])


def until_found(finding):
    until(finding, lambda: run(FIRST, "gwctl status").startswith(finding))


def clients_of(worker):
    return [it["client"] for it in gwctl(f"clients --worker {FIRST}:BusinessWorker:{worker}")["clients"]]


def follow(page, name):
    """Runs the commands of a walk, each until its answer has the shape of the one in the page."""
    known = {}
    for step in runbook.walk((runbooks / f"{page}.md").read_text(), name):
        command = step.command
        for expected, actual in known.items():
            command = command.replace(expected, actual)
        # A change is made once.
        repeats = command.startswith("gwctl") and "--yes" not in command
        deadline = time.monotonic() + (PATIENCE if repeats else 0)
        while True:
            answer = run(step.host, command).splitlines()
            if same := runbook.matches(step.answer, answer):
                break
            if deadline <= time.monotonic():
                break
            time.sleep(0.3)
        print(f"{step.host}$ {command}", *answer, sep="\n", flush=True)
        if not same:
            differences.append("\n".join([f"{page}, {name}: $ {command}", *step.answer, "--- but", *answer]))
        known |= runbook.clients(step.answer, answer)


def gateway_with_another_secret():
    """The package of the second host has made a secret of its own."""
    units("start", "gateway@1", host=SECOND)
    follow("PushSuitePeersRefused", "secret")
    until_well()


def worker_that_is_stopped():
    clients = [Client("127.0.0.1", 7272) for _ in range(4)]
    for at, client in enumerate(clients):
        client.send(json.dumps({"type": "login", "client_name": f"c{at}", "room_id": "1"}))
    until("two clients of the worker", lambda: len(clients_of(2)) == 2 and len(clients_of(1)) == 2)
    units("kill -s STOP", "business-worker@2")
    for at, client in enumerate(clients):
        client.send(json.dumps({"type": "say", "to_client_id": "all", "content": f"hello {at}"}))
    until_found("critical: worker")
    # Red on a terminal.
    if not run(FIRST, "gwctl status --color always").startswith("\x1b[31mcritical"):
        sys.exit("the finding is not red")
    follow("PushSuiteWorkerStalled", "stopped")
    for client in clients:
        until("all messages, and no client closed", lambda it=client: it.texts.count("hello") == 4 and it.is_open)
    for client in clients:
        client.close()
    until("no client", lambda: gwctl("status")["clients"] == 0)


def worker_whose_handlers_hang():
    """Each worker has a back end of its own, of which the second one accepts and does not answer."""
    receivers = [Receiver(9001, answers=True), Receiver(9002, answers=False)]
    for number in (1, 2):
        file = hosts / FIRST / f"etc/push-suite/business-worker-{number}.toml"
        hook = f'[[webhook]]\nurl = "http://127.0.0.1:900{number}/"\nevents = ["message"]\ntimeout = 60\n'
        secret = 'secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="\n'
        file.write_text(file.read_text() + '\napp = "webhook"\n\n' + hook + secret)
    units("restart", "business-worker@1", "business-worker@2")
    until_well()
    clients = [Client("127.0.0.1", 7272) for _ in range(2)]
    until("a client of each worker", lambda: len(clients_of(1)) == 1 and len(clients_of(2)) == 1)
    for client in clients:
        client.send("order")
    until_found("critical: worker")
    follow("PushSuiteWorkerStalled", "hangs")
    until("both messages at the back end that answers", lambda: receivers[0].requests == 2)
    for client in clients:
        if not client.is_open:
            sys.exit("a client was closed")
        client.close()
    until_well()


def client_that_does_not_read():
    units("stop", "business-worker@2")
    slow = Client("127.0.0.1", 7272, reads=False)
    client = until("the client", lambda: [it["client"] for it in gwctl("clients")["clients"]])[0]
    # More than the system buffers, and less than the queue of a client holds.
    send = f"gwctl send --client {client} -"
    until("a queue", lambda: run(FIRST, send, "x" * 250_000) and gwctl("clients --slow")["clients"])
    follow("PushSuiteSlowClients", "slow")
    slow.close()
    until_well()


units("start", "register", "gateway@1", "business-worker@1", "business-worker@2")
until_well()
for scene in (
    gateway_with_another_secret,
    worker_that_is_stopped,
    worker_whose_handlers_hang,
    client_that_does_not_read,
):
    print(f"--- {scene.__name__}", flush=True)
    scene()
units("stop", "business-worker@1", "business-worker@2", "gateway@1", "register")
units("stop", "gateway@1", host=SECOND)
if differences:
    sys.exit("\n\n".join(["answers that are not those of the page:", *differences]))
print("the runbooks lead from each failure to a healthy cluster")
