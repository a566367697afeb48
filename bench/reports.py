"""Reports of bench as the scripts here keep them, a file CELL.COLUMN.ROUND.json each, and what they
all do with them: medians over the rounds, marks, tables."""

import json
import pathlib
import statistics

NAMES = {"ours": "suite", "direct": "direct", "php": "GatewayWorker", "socketio": "Socket.IO", "reverb": "Reverb", "sockudo": "Sockudo"}

FAULTS = ("not_sent", "lost", "duplicated", "out_of_order", "damaged", "broken")

MARK = " (*)"


def load(folder, cell, column):
    """The reports of all rounds."""
    files = sorted(pathlib.Path(folder).glob(f"{cell}.{column}.*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def median(reports, find):
    """The median of a figure over the rounds; None where it was not measured."""
    values = [value for value in map(find, reports) if value is not None]
    return statistics.median(values) if values else None


def limited(reports):
    """Whether the generator was the limit in one of the rounds."""
    return any(report["generator"]["limit"] for report in reports)


def show(value, unit, reports=()):
    """A figure, marked where the generator was the limit in one of the rounds."""
    if value is None:
        return "-"
    return f"{value:,.{2 if unit else 0}f} {unit}".strip() + (MARK if limited(reports) else "")


def faults(reports):
    """What was not delivered as it should be, in all rounds together."""
    sums = {fault: sum(report["messages"][fault] for report in reports) for fault in FAULTS}
    return {fault: count for fault, count in sums.items() if count}


def table(head, rows):
    """A table in Markdown, with the mark explained where it is used."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    if any(MARK in field for row in rows for field in row):
        lines += ["", f"{MARK.strip()} the generator was the limit in one of the rounds"]
    return "\n".join(lines)
