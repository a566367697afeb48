"""Prints the reports of pusher.sh as tables.

pusher.py FOLDER COLUMN...   the first column is the suite's
"""

import sys

import table
from table import Aim, Row, cpu, latency, memory, per_second

# CPU of one process for the other servers, of gateway and worker for the suite.
TENTH_OF_REVERB, HALF_OF_SOCKUDO = Aim(0.1, "reverb"), Aim(0.5, "sockudo")


def resident(part):
    """Memory of the servers in MB, when so much of a run was over."""

    def find(report):
        parts = report["parts"]
        return parts[min(int(len(parts) * part), len(parts) - 1)]["resident"] / 1e6 if parts else None

    return find


def growth(report):
    """Memory at the end of a run, by that after a quarter of it."""
    start, end = resident(0.25)(report), resident(1)(report)
    return end / start if start else None


def fanout(title):
    aims = (TENTH_OF_REVERB, HALF_OF_SOCKUDO)
    return [Row(f"{title}: CPU a delivery", cpu, "µs", aims), Row(f"{title}: deliveries a second", per_second, "")]


def paced(title):
    return [Row(f"{title}: p50", latency("p50"), "µs"), Row(f"{title}: p99", latency("p99"), "µs")]


CELLS = {
    "idle": [Row("memory of an idle subscriber, of {connections:,}", memory, "KB", (Aim(3),))],
    "fan1": fanout("event to 1,000 subscribers, 1 publisher"),
    "fan4": fanout("event to 1,000 subscribers, 4 publishers"),
    "fan16": fanout("event to 1,000 subscribers, 16 publishers"),
    "publish": [
        Row("event to 1 subscriber, 10 publishers: CPU a publish", cpu, "µs", (HALF_OF_SOCKUDO,)),
        Row("event to 1 subscriber, 10 publishers: publishes a second", per_second, ""),
    ],
    "paced1": paced("100 events a second to 1 subscriber each, publish to receipt"),
    "paced1000": paced("2 events a second to 1,000 subscribers, publish to receipt"),
    "churn": [Row("connect, subscribe, publish, receive, close: CPU", cpu, "µs", (HALF_OF_SOCKUDO,))],
    "soak": [
        Row("churn of presence channels: cycles a second", per_second, ""),
        Row("memory after a quarter of the churn", resident(0.25), "MB"),
        Row("memory at its end", resident(1), "MB"),
        Row("growth from the quarter to the end, times", growth, "x", (Aim(1.1),)),
    ],
}


if __name__ == "__main__":
    table.main(sys.argv[1], sys.argv[2:], CELLS)
