"""Counts the behaviours in kosoku's index.json and names the cases that are not OK, with the reason.

Exits 1 if a case failed, closed wrongly, is missing, or is less than OK without a reason below.
"""

import json
import sys
from collections import Counter

# Cases 1-7, 9 and 10; fewer would mean that the run broke off.
EXPECTED = 301

# Why these are not OK, and are right all the same.
AT_ONCE = "a violation right behind a message fails the connection before a worker has echoed that"
WHOLE = "bad UTF-8 is found when the frame is whole, not at its first byte"
ANY = "the case has no right answer, it only tells what happens"
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
    """What is wrong with a case; nothing if it is OK, or less for a known reason."""
    if behaviour not in ACCEPTED or close not in ACCEPTED:
        return "FAILED"
    if (behaviour, close) != ("OK", "OK") and case not in REASONS:
        return "no reason is known"
    return None


def main(path):
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
    if len(cases) < EXPECTED:
        print(f"    {EXPECTED} cases were expected")
    return 1 if any(problems.values()) or len(cases) < EXPECTED else 0


sys.exit(main(sys.argv[1]))
