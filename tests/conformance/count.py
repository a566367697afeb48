"""Counts the results in index.json of kosoku and lists the cases that are not OK, with the reason.

usage: count.py INDEX CASES

Exits with 1 if a case failed, closed wrongly, is missing (there are fewer than CASES: the run was
aborted), or is below OK without a reason below.
"""

import json
import sys
from collections import Counter

# Why these cases are not OK although the behavior is correct.
AT_ONCE = "a violation right after a message closes the connection before a worker has echoed the message"
WHOLE = "invalid UTF-8 is detected once the frame is complete, not at its first byte"
ANY = "the case is informational, it has no expected result"
REASONS = {
    **dict.fromkeys(["3.2", "3.3", "3.4", "5.15"], AT_ONCE),
    **dict.fromkeys(["4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5"], AT_ONCE),
    **dict.fromkeys(["6.4.3", "6.4.4"], WHOLE),
    **dict.fromkeys(["7.1.6", "7.13.1", "7.13.2"], ANY),
}
ACCEPTED = ("OK", "NON-STRICT", "INFORMATIONAL")


def in_order(case):
    return [int(part) for part in case.split(".")]


def problem(case, behaviour, close):
    """The problem of a case; `None` if it is OK, or below OK for a known reason."""
    if behaviour not in ACCEPTED or close not in ACCEPTED:
        return "FAILED"
    if (behaviour, close) != ("OK", "OK") and case not in REASONS:
        return "no known reason"
    return None


def main(path, expected):
    with open(path, encoding="utf-8") as file:
        agents = json.load(file)
    cases = {
        case: (entry["behavior"], entry["behaviorClose"])
        for agent in agents.values()
        for case, entry in agent.items()
    }
    counts = Counter(behaviour for behaviour, _ in cases.values())
    named = dict.fromkeys([*ACCEPTED, "FAILED", *counts])
    print(f"    {len(cases)} cases: " + ", ".join(f"{counts[name]} {name}" for name in named))
    problems = {case: problem(case, *result) for case, result in cases.items()}
    for case in sorted(cases, key=in_order):
        behaviour, close = cases[case]
        if (behaviour, close) != ("OK", "OK"):
            print(f"    {case}: {behaviour}, close {close}: {problems[case] or REASONS[case]}")
    if len(cases) < expected:
        print(f"    {expected} cases expected")
    return 1 if any(problems.values()) or len(cases) < expected else 0


sys.exit(main(sys.argv[1], int(sys.argv[2])))
