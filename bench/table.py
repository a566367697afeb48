"""Prints the reports of compare.sh as tables.

table.py FOLDER COLUMN...   the first column is the suite's
"""

import dataclasses
import sys
from typing import Callable

import reports


@dataclasses.dataclass(frozen=True)
class Aim:
    """What the suite is to reach: a figure, or a multiple of another column's."""

    bound: float
    of: str | None = None
    least: bool = False

    def __str__(self):
        sign = "≥" if self.least else "≤"
        return f"{sign} {self.bound:g}" + (f" x {reports.NAMES[self.of]}" if self.of else "")

    def reached(self, medians):
        """None where it cannot be told."""
        ours, other = medians.get("ours"), medians.get(self.of) if self.of else 1
        if ours is None or not other:
            return None
        return self.bound <= ours / other if self.least else ours / other <= self.bound


@dataclasses.dataclass(frozen=True)
class Row:
    """A figure of a cell: its title, where a report has it, its unit, and what is aimed at."""

    title: str
    find: Callable
    unit: str
    aims: tuple = ()


def cpu(report):
    return report["servers"]["cpu_us_each"]


def per_second(report):
    return report["per_second"]


def memory(report):
    return report["servers"]["bytes_each"] / 1000


def latency(quantile):
    return lambda report: report["latency_us"][quantile]


def paced(title, p50=(), p99=()):
    return [
        Row(f"{title}: CPU", cpu, "µs"),
        Row(f"{title}: p50", latency("p50"), "µs", p50),
        Row(f"{title}: p99", latency("p99"), "µs", p99),
    ]


CELLS = {
    "idle": [Row("memory per idle client of {connections:,}, one uid and one group each", memory, "KB", (Aim(2.5),))],
    "warm": [Row("the same after one 60 kB echo each and 10 s of quiet", memory, "KB", (Aim(3),))],
    "heartbeat": [
        Row(
            "heartbeat of 55 s, {connections:,} idle clients: CPU per client and second",
            lambda report: report["servers"]["cpu_us_client_second"],
            "µs",
            (Aim(1),),
        ),
        Row("heartbeat: CPU per ping and answer", cpu, "µs"),
        Row(
            "heartbeat: pings per client in that time",
            lambda report: report["messages"]["answered"] / report["connections"],
            "",
        ),
    ],
    "echo": [
        Row("echo, 100 connections, 64 B: CPU", cpu, "µs", (Aim(1.3, "direct"), Aim(0.27, "php"))),
        Row("echo, 100 connections, 64 B: a second", per_second, ""),
    ],
    "echo1000": [
        Row("echo, 1,000 connections, 64 B: CPU", cpu, "µs"),
        Row("echo, 1,000 connections, 64 B: a second", per_second, "", (Aim(3, "php", least=True),)),
    ],
    "echo64k": [Row("echo, 100 connections, 64 KiB: CPU", cpu, "µs", (Aim(0.55, "php"),))],
    "paced500": paced("paced 500/s over 10", p50=(Aim(0.6, "php"),)),
    "paced30k": paced("paced 30,000/s over 200", p50=(Aim(0.45, "php"),), p99=(Aim(0.35, "php"),)),
    "fan1": [Row("fan-out to 1,000, 1 in flight: CPU", cpu, "µs", (Aim(1.2, "direct"),))],
    "fan4": [Row("fan-out to 1,000, 4 in flight: CPU", cpu, "µs", (Aim(1.2, "direct"), Aim(0.28, "php")))],
    "fan16": [Row("fan-out to 1,000, 16 in flight: CPU", cpu, "µs", (Aim(1.2, "direct"), Aim(0.13, "php")))],
    "churn": [
        Row("connect, echo, close: CPU", cpu, "µs", (Aim(1.3, "direct"), Aim(0.35, "php"))),
        Row("connect, echo, close: a second", per_second, ""),
    ],
    "phpworker": [Row("echo by a PHP worker, 100 connections: the gateway's CPU", cpu, "µs", (Aim(0.35, "php"),))],
}


def verdict(aims, medians):
    """Whether all aims are reached, as far as it was measured."""
    reached = [aim.reached(medians) for aim in aims]
    if not aims:
        return "-"
    if False in reached:
        return "**no**"
    return "not measured" if None in reached else "yes"


def line(row, columns, found):
    """A row of the table; None where nothing was measured."""
    medians = {column: reports.median(found[column], row.find) for column in columns}
    medians = {column: value for column, value in medians.items() if value is not None}
    if not medians:
        return None
    connections = next(iter(found[next(iter(medians))]))["connections"]

    def ratio(column):
        if "ours" in medians and medians.get(column):
            return f"{medians['ours'] / medians[column]:.2f}"
        return "-"

    return [
        row.title.format(connections=connections),
        *(reports.show(medians.get(column), row.unit, found[column]) for column in columns),
        *(ratio(column) for column in columns if column != "ours"),
        ", ".join(map(str, row.aims)) or "-",
        verdict(row.aims, medians),
    ]


def shares(found):
    """How the suite's CPU is divided among its processes, per message."""
    names = dict.fromkeys(process["name"] for report in found for process in report["servers"]["processes"])

    def share(name):
        def of(report):
            servers = report["servers"]
            used = sum(process["cpu"] for process in servers["processes"] if process["name"] == name)
            each, total = servers["cpu_us_each"], servers["cpu_seconds"]
            return each * used / total if each and total else None

        return of

    return {name: reports.median(found, share(name)) for name in names}


def main(folder, columns, cells=None):
    others = [column for column in columns if column != "ours"]
    machine, lines, faults, divided = None, [], [], []
    for cell, rows in (cells or CELLS).items():
        found = {column: reports.load(folder, cell, column) for column in columns}
        for column, each in found.items():
            machine = each[0]["machine"] if each else machine
            if bad := reports.faults(each):
                faults.append(f"not delivered as it should be: {reports.NAMES[column]}, {cell}: {bad}")
        lines += filter(None, (line(row, columns, found) for row in rows))
        parts = shares(found["ours"])
        if 1 < len(parts) and None not in parts.values():
            divided.append([cell, ", ".join(f"{name} {value:.2f} µs" for name, value in parts.items())])
    head = ["measure", *(reports.NAMES[column] for column in columns)]
    head += [f"suite / {reports.NAMES[column]}" for column in others] + ["aim", "reached"]
    print(f"\n{machine}\n")
    print(reports.table(head, lines))
    if divided:
        print("\nThe suite's CPU by process:\n")
        print(reports.table(["cell", "CPU per message"], divided))
    for fault in faults:
        print(f"\n{fault}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
