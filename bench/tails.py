"""What tails.sh has measured.

tails.py half REPORT.json          half of the messages a second of a report
tails.py tables FOLDER COLUMN...   the tables
"""

import json
import sys

import reports

# p99.9 over p50, and milliseconds that a fan-out may hold up others for.
MOST_SPREAD = 5
MOST_HELD_UP = 5

QUANTILES = {"p50": "p50", "p99": "p99", "p999": "p99.9", "max": "max"}


def latencies(each):
    """Medians of the percentiles over the rounds, in microseconds."""
    return {key: reports.median(each, lambda report, key=key: report["latency_us"][key]) for key in QUANTILES}


def verdict(reached):
    return "yes" if reached else "**no**"


def half_row(folder, column):
    """A server at half of its capacity; None if it was not measured."""
    each, capacity = (reports.load(folder, cell, column) for cell in ("half", "capacity"))
    if not each:
        return None
    spread = reports.median(each, lambda report: report["latency_us"]["p999"] / report["latency_us"]["p50"])
    return [
        reports.NAMES[column],
        reports.show(reports.median(capacity, lambda report: report["per_second"]), "", capacity),
        reports.show(reports.median(each, lambda report: report["rate"]), "", each),
        *(reports.show(value, "µs", each) for value in latencies(each).values()),
        f"{spread:.1f}",
        verdict(spread < MOST_SPREAD) if column == "ours" else "-",
    ]


def beside_rows(folder, column):
    """Echoes alone, with a fan-out beside, and with it at the same server."""
    rows = []
    for cell, title in (("alone", "alone"), ("beside", "fan-out beside"), ("here", "fan-out here")):
        if each := reports.load(folder, cell, column):
            shown = [reports.show(value, "µs", each) for value in latencies(each).values()]
            rows.append([reports.NAMES[column], title, *shown])
    return rows


def held_up(folder, column):
    """By how many milliseconds a fan-out at the same server is worse than one beside, at p99 and at
    p99.9; None if that was not measured."""
    rounds = zip(*(reports.load(folder, cell, column) for cell in ("here", "beside")))
    pairs = [(here["latency_us"], beside["latency_us"]) for here, beside in rounds]
    if not pairs:
        return None
    return [
        reports.median(pairs, lambda pair, key=key: (pair[0][key] - pair[1][key]) / 1000)
        for key in ("p99", "p999")
    ]


def fanout(folder, column):
    """What the fan-out itself took: until all had it, as p50 and the longest."""
    each = reports.load(folder, "fanout-here", column)
    return [reports.median(each, lambda report, key=key: report["latency_us"][key]) for key in ("p50", "max")]


def tables(folder, columns):
    head = ["server", "can do, a second", "paced, a second", *QUANTILES.values(), "p99.9 / p50", f"< {MOST_SPREAD}"]
    print("\nPaced at half of what each can do:\n")
    print(reports.table(head, list(filter(None, (half_row(folder, column) for column in columns)))))
    print("\n1,000 echoes a second, while a group is sent much at once:\n")
    print(
        reports.table(
            ["server", "echoes", *QUANTILES.values()],
            [row for column in columns for row in beside_rows(folder, column)],
        )
    )
    print()
    for column in columns:
        if held := held_up(folder, column):
            half, longest = fanout(folder, column)
            line = (
                f"{reports.NAMES[column]}: the fan-out holds up others by {held[0]:.1f} ms at p99 and"
                f" {held[1]:.1f} ms at p99.9; half of its receivers have it after {(half or 0) / 1000:.1f} ms,"
                f" the last after {(longest or 0) / 1000:.1f} ms"
            )
            if column == "ours":
                line += f" (at most {MOST_HELD_UP} ms at p99.9: {verdict(held[1] <= MOST_HELD_UP)})"
            print(line)
    every = ("half", "alone", "beside", "here", "fanout-beside", "fanout-here")
    for column in columns:
        for cell in every:
            if bad := reports.faults(reports.load(folder, cell, column)):
                print(f"\nnot delivered as it should be: {reports.NAMES[column]}, {cell}: {bad}")


if __name__ == "__main__":
    if sys.argv[1] == "half":
        with open(sys.argv[2], encoding="utf-8") as file:
            print(int(json.load(file)["per_second"] / 2))
    else:
        tables(sys.argv[2], sys.argv[3:])
