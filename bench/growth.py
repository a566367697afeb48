"""What growth.sh has measured: a table, the same as JSON, and a page with the curves if asked for.

growth.py FOLDER JSON [HTML]
"""

import dataclasses
import json
import pathlib
import sys
from typing import Callable

import plots
import reports

# Maximum rise of a cost along a curve that is to stay flat: larger sets miss the processor's caches.
FLAT = 1.25


def cpu(report):
    return report["servers"]["cpu_us_each"]


def memory(report):
    return report["servers"]["bytes_each"] / 1000


def connecting(report):
    return report["servers"]["connecting_us_each"]


@dataclasses.dataclass(frozen=True)
class Curve:
    """A figure along a curve: what its points are named by, what x counts, and whether the last point
    may cost no more than the first one that counts."""

    cell: str
    title: str
    x: str
    find: Callable = cpu
    unit: str = "µs"
    flat_from: int | None = None


CURVES = [
    Curve("echo", "CPU per echo", "connections", flat_from=0),
    Curve("paced", "CPU per echo at 5,000 a second", "connections", flat_from=0),
    # A small fan-out has the cost of being sent to share among few.
    Curve("fanout", "CPU per delivery of a fan-out", "members of the group", flat_from=1),
    Curve("memory", "memory per client, one uid and one group each", "clients", memory, "KB", flat_from=0),
    Curve("memory", "CPU per client to connect, bind and join", "clients", connecting, flat_from=0),
    Curve("groups-memory", "memory per client", "groups", memory, "KB"),
    Curve("groups-memory", "CPU per client to connect, bind and join, by groups", "groups", connecting),
    Curve("groups-echo", "CPU per echo, by groups", "groups", flat_from=0),
    Curve("gateways-echo", "CPU per echo, by gateways", "gateways"),
    Curve("gateways-fanout", "CPU per delivery of a fan-out to 1,000, by gateways", "gateways"),
    Curve("workers-echo", "CPU per echo, by workers", "workers"),
    Curve("workers-fanout", "CPU per delivery of a fan-out to 1,000, by workers", "workers"),
    Curve("join-leave", "CPU per join or leave", "other members of the group", flat_from=0),
    Curve("join-close", "CPU per connect, bind, join, echo, close", "other members of the group", flat_from=0),
]


def along(folder, cell):
    """The reports of a curve, by where on it they are, ascending."""
    names = {file.name.split(".")[1] for file in pathlib.Path(folder).glob(f"{cell}.*.*.json")}
    # Reports of compare.sh may be in the same folder: their columns are named.
    return {x: reports.load(folder, cell, x) for x in sorted(int(name) for name in names if name.isdigit())}


def points(folder, curve):
    """The points of a curve: x, the median, and whether the generator was the limit."""
    found = along(folder, curve.cell).items()
    medians = [(x, reports.median(each, curve.find), reports.limited(each)) for x, each in found]
    return [{"x": x, "y": y, "generator_limit": limit} for x, y, limit in medians if y is not None]


def growth(curve, measured):
    """The last point over the first, or over the one that counts as the first."""
    start = curve.flat_from or 0
    if len(measured) < start + 2 or not measured[start]["y"]:
        return None
    return measured[-1]["y"] / measured[start]["y"]


def verdict(curve, grown):
    if curve.flat_from is None or grown is None:
        return "-"
    return "yes" if grown <= FLAT else "**no**"


def row(curve, measured):
    def shown(point):
        mark = reports.MARK if point["generator_limit"] else ""
        return f"{point['x']:,}: {point['y']:,.2f} {curve.unit}{mark}"

    grown = growth(curve, measured)
    ratio = "-" if grown is None else f"{grown:.2f}"
    return [curve.title, curve.x, ", ".join(map(shown, measured)), ratio, verdict(curve, grown)]


def main(folder, json_file, html_file=None):
    measured = [(curve, points(folder, curve)) for curve in CURVES]
    measured = [(curve, found) for curve, found in measured if found]
    some = next(pathlib.Path(folder).glob("*.*.*.json"), None)
    machine = json.loads(some.read_text(encoding="utf-8"))["machine"] if some else "nothing was measured"
    head = ["measure", "by", "points", "last / first", f"flat (≤ {FLAT})"]
    print(f"\n{machine}\n")
    print(reports.table(head, [row(curve, found) for curve, found in measured]))
    for cell in dict.fromkeys(curve.cell for curve in CURVES):
        if bad := reports.faults(sum(along(folder, cell).values(), [])):
            print(f"\nnot delivered as it should be: {cell}: {bad}")
    told = [
        {"measure": curve.title, "by": curve.x, "unit": curve.unit, "points": found, "growth": growth(curve, found)}
        for curve, found in measured
    ]
    text = json.dumps({"machine": machine, "curves": told}, indent=1, ensure_ascii=False)
    pathlib.Path(json_file).write_text(text + "\n", encoding="utf-8")
    if html_file:
        drawn = [
            plots.plot(curve.title, curve.unit, curve.x, [(point["x"], point["y"]) for point in found])
            for curve, found in measured
        ]
        pathlib.Path(html_file).write_text(plots.page("Growth", machine, drawn), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
