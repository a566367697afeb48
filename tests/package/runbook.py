"""The walks of a runbook: its commands, and the shape of their answers.

A walk is a block of a page behind a comment, `<!-- walk: NAME on HOST -->`. Lines that begin with `$ `
are commands, the following ones their answers; `…` stands for any lines.
"""

import dataclasses
import re

MARK = re.compile(r"^<!-- walk: (\S+) on (\S+) -->$")
CLIENT = re.compile(r"\b[0-9a-f]{20}\b")
# Parts that differ from run to run, in this order.
VARIES = [
    (re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z"), "TIME"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "DIGEST"),
    (CLIENT, "CLIENT"),
    (re.compile(r"\b(\d+\.\d+\.\d+\.\d+):\d{5}\b"), r"\1:PORT"),
    (re.compile(r"\b\d+(?:\.\d+)?(?:µs|ms|[smhd])(?: \d+[smh])?(?!\w)"), "AGE"),
    (re.compile(r"\b\d+(?:\.\d+)? (?:B|KiB|MiB|GiB)(?!\w)"), "SIZE"),
    (re.compile(r"\b\d+ times\b"), "N times"),
    (re.compile(r"\b\d+\.\d+(?![.:\d])"), "RATE"),
    (re.compile(r"(?<= )\d{2,}(?= )"), "NUMBER"),
    (re.compile(r"\s+"), " "),
]


@dataclasses.dataclass(frozen=True)
class Step:
    """A command on a host, and the lines of its answer."""

    host: str
    command: str
    answer: tuple[str, ...]


def walk(page, name):
    """The steps of the walk of that name in a page."""
    steps, block, host = [], None, None
    for line in page.splitlines():
        if found := MARK.match(line):
            host = found[2] if found[1] == name else None
        elif block is not None and line == "```":
            steps += block
            block = host = None
        elif block is not None and line.startswith("$ "):
            block.append(Step(host, line[2:], ()))
        elif block is not None:
            last = block[-1]
            block[-1] = dataclasses.replace(last, answer=(*last.answer, line))
        elif host and line == "```console":
            block = []
    if not steps:
        raise ValueError(f"no walk {name}")
    return steps


def shape(line):
    """A line without what differs from run to run."""
    for pattern, word in VARIES:
        line = pattern.sub(word, line)
    return line.strip()


def matches(expected, actual):
    """Whether an answer has the shape of the expected one."""
    if not expected:
        return not actual
    if expected[0] == "…":
        return any(matches(expected[1:], actual[at:]) for at in range(len(actual) + 1))
    return bool(actual) and shape(expected[0]) == shape(actual[0]) and matches(expected[1:], actual[1:])


def clients(expected, actual):
    """The ids of clients in an answer for those of the expected one, in the order of both."""
    in_order = [list(dict.fromkeys(CLIENT.findall("\n".join(lines)))) for lines in (expected, actual)]
    return dict(zip(*in_order))
