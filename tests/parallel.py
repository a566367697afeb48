#!/usr/bin/env python3
"""Runs `cargo test` of the whole workspace, several test programs at a time.

    python3 tests/parallel.py [--jobs N]

Most end-to-end tests wait for a timeout or for a process, so that three at a time take half of the
time. Tests that measure memory run alone, behind the others. The output of each program is printed
once it has ended, and the last lines add up the tests of all.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

# Tests that measure what a process uses.
ALONE = ["descriptors", "memory_account", "memory_budget", "memory_return", "peer_costs", "php_memory"]

# The longest first, so that none is left at the end.
LONGEST = [
    "gateway_death", "http", "liveness", "extremes", "address_limits", "shutdown", "operator_log",
    "partition", "secrets", "interleavings", "rate_limits", "readiness", "gatewayworker",
]  # fmt: skip

CARGO = ["cargo", "test", "--workspace", "--locked", "--no-fail-fast"]

# Maximum time of a test program in seconds, so that a hang fails, with its name.
LIMIT = 600

RESULT = re.compile(r"^test result: .*?(\d+) passed; (\d+) failed; (\d+) ignored", re.MULTILINE)


def integration_tests():
    """Names of the integration tests of all packages; packages with one of the same name share it."""
    command = ["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    targets = (target for package in metadata["packages"] for target in package["targets"])
    return sorted({target["name"] for target in targets if "test" in target["kind"]})


def run(job):
    """Runs one job. Returns whether it passed, and the counts of its tests."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            [*CARGO, *job], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT
        )
        output, passed = done.stdout, done.returncode == 0
    except subprocess.TimeoutExpired as late:
        output, passed = (late.stdout or b"") + b"\nover %d seconds\n" % LIMIT, False
    text = output.decode(errors="replace")
    took = time.monotonic() - began
    verdict = "passed" if passed else "FAILED"
    sys.stdout.write(f"--- cargo test {' '.join(job)}: {verdict} in {took:.0f} s\n{text}\n")
    sys.stdout.flush()
    counts = [tuple(map(int, counts)) for counts in RESULT.findall(text)]
    return job, passed, [sum(column) for column in zip(*counts)] or [0, 0, 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=3, help="test programs at a time")
    jobs = parser.parse_args().jobs

    if subprocess.run([*CARGO, "--no-run", "--quiet"]).returncode != 0:
        sys.exit("cargo test --no-run: FAILED")
    names = integration_tests()
    unknown = {*ALONE, *LONGEST} - {*names}
    if unknown:
        sys.exit(f"tests/parallel.py names tests that do not exist: {', '.join(sorted(unknown))}")
    order = [*LONGEST, *(name for name in names if name not in LONGEST and name not in ALONE)]
    together = [["--lib"], ["--doc"], ["--bins"], ["--examples"]]
    together[1:1] = [["--test", name] for name in order]

    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(run, together))
    results += [run(["--test", name]) for name in ALONE]

    passed, failed, ignored = (sum(counts[column] for _, _, counts in results) for column in range(3))
    for job, good, _ in results:
        if not good:
            print(f"FAILED: cargo test {' '.join(job)}")
    print(f"cargo test: {len(results)} programs; {passed} passed; {failed} failed; {ignored} ignored")
    sys.exit(any(not good for _, good, _ in results))


if __name__ == "__main__":
    main()
