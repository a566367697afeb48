"""Evaluates the measurements of floods.sh.

floods.py p99 REPORT.json      prints the p99 of a report of bench, in microseconds; fails if a
                               message was lost or a client closed
floods.py judge KIND ROWS.txt  prints the medians of rows of three: the p99 without a flood, with a
                               flood of another suite, and with a flood of the same gateway; fails
                               if the third is more than twice the second
"""

import json
import statistics
import sys

MOST = 2


def p99(path):
    report = json.load(open(path, encoding="utf-8"))
    messages = report["messages"]
    faults = ("lost", "duplicated", "out_of_order", "damaged", "foreign", "broken")
    if any(messages[fault] for fault in faults):
        sys.exit(f"messages were lost or damaged: {messages}")
    print(report["latency_us"]["p99"])


def judge(kind, path):
    rows = [[float(figure) for figure in line.split()] for line in open(path, encoding="utf-8")]
    quiet, beside, here = (statistics.median(column) for column in zip(*rows))
    ratio = statistics.median(row[2] / row[1] for row in rows)
    print(
        f"{kind:10}  p99 {quiet:9.0f} us quiet, {beside:9.0f} us with another suite flooded,"
        f" {here:9.0f} us with this one flooded: {ratio:.2f}"
    )
    if ratio > MOST:
        sys.exit(1)


if sys.argv[1] == "p99":
    p99(sys.argv[2])
else:
    judge(sys.argv[2], sys.argv[3])
