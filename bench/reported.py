"""The table of bench/reported.sh: CPU per delivery with and without reports."""

import sys

import reports

ROWS = {
    "echo": "send to one client",
    "fanout10": "send to a group of 10, per delivery",
    "fanout100": "send to a group of 100, per delivery",
    "fanout1000": "send to a group of 1,000, per delivery",
}


def cpu(report):
    """Microseconds of CPU of all servers per delivery."""
    return report["servers"]["cpu_us_each"]


def rows(folder):
    """A row for each kind of message that was measured."""
    for cell, name in ROWS.items():
        both = [reports.load(folder, cell, column) for column in ("without", "with")]
        figures = [reports.median(column, cpu) for column in both]
        if None in figures:
            continue
        plain, reported = figures
        shown = [reports.show(figure, "µs", column) for figure, column in zip(figures, both)]
        yield [name, *shown, f"{reported / plain:.2f}"]


if __name__ == "__main__":
    HEAD = ["", "without", "with a report", "ratio"]
    print(reports.table(HEAD, list(rows(sys.argv[1]))))
