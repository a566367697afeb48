"""Prints the reports of compare.sh as a table: medians over the rounds, and ratios."""

import json
import os
import pathlib
import statistics
import sys

NAMES = {"ours": "suite", "direct": "direct", "php": "GatewayWorker"}

FAULTS = ("not_sent", "lost", "duplicated", "out_of_order", "broken")


def show(value, unit, reports):
    """A figure, marked where the generator was the limit in one of the rounds."""
    mark = " (*)" if any(report["generator"]["limit"] for report in reports) else ""
    return f"{value:,.{2 if unit else 0}f} {unit}".strip() + mark


def ratio(value, other):
    return f"{value / other:.2f}" if value is not None and other else "-"


def rows(cell, title):
    """The figures that a cell is about: a title, a way to find it, and its unit."""
    if cell == "idle":
        return [(title, lambda report: report["servers"]["bytes_each"] / 1000, "KB")]
    figures = [(title, lambda report: report["servers"]["cpu_us_each"], "µs")]
    about = title.removesuffix(": CPU")
    if cell in ("echo", "churn"):
        figures.append((f"{about}: a second", lambda report: report["per_second"], ""))
    if cell.startswith("paced"):
        for quantile in ("p50", "p99"):
            figures.append(
                (f"{about}: {quantile}", lambda report, q=quantile: report["latency_us"][q], "µs")
            )
    return figures


def main():
    folder, servers = pathlib.Path(sys.argv[1]), sys.argv[2:]
    others = [server for server in servers if server != "ours"]
    machine, faults, lines = None, [], []
    for cell, title in (line.split("|") for line in os.environ["TITLES"].splitlines()):
        reports = {
            server: [json.loads(file.read_text()) for file in folder.glob(f"{cell}.{server}.*.json")]
            for server in servers
        }
        for server, all_of_it in reports.items():
            for report in all_of_it:
                machine = report["machine"]
                messages = report["messages"]
                bad = {fault: messages[fault] for fault in FAULTS if messages[fault]}
                if bad:
                    faults.append(f"{NAMES[server]}, {cell}: {bad}")
        for name, find, unit in rows(cell, title):
            median = {}
            for server, all_of_it in reports.items():
                values = [value for value in map(find, all_of_it) if value is not None]
                if values:
                    median[server] = statistics.median(values)
            shown = [show(median[s], unit, reports[s]) if s in median else "-" for s in servers]
            ratios = [ratio(median.get("ours"), median.get(s)) for s in others]
            lines.append([name, *shown, *ratios])
    head = ["measure", *(NAMES[s] for s in servers), *(f"suite / {NAMES[s]}" for s in others)]
    print(f"\n{machine}\n")
    print("| " + " | ".join(head) + " |")
    print("|---" * len(head) + "|")
    for line in lines:
        print("| " + " | ".join(line) + " |")
    if any("(*)" in cell for line in lines for cell in line):
        print("\n(*) the generator was the limit in one of the rounds")
    for fault in faults:
        print(f"\nnot delivered as it should be: {fault}", end="")
    print()


main()
