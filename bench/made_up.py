"""Made-up reports, for the tests of what is printed of them."""

import contextlib
import copy
import io
import json
import pathlib
import tempfile
import unittest

import reports

REPORT = {
    "machine": "a machine",
    "connections": 100,
    "seconds": 2.0,
    "rate": 500,
    "per_second": 1000.0,
    "parts": [],
    "latency_us": {"p50": 100.0, "p99": 300.0, "p999": 400.0, "max": 900.0},
    "messages": {fault: 0 for fault in reports.FAULTS} | {"answered": 0},
    "servers": {
        "cpu_us_each": 10.0,
        "cpu_seconds": 1.0,
        "cpu_us_client_second": 1.0,
        "bytes_each": 2000.0,
        "connecting_us_each": 50.0,
        "processes": [{"name": "gateway", "cpu": 0.75}, {"name": "business-worker", "cpu": 0.25}],
    },
    "generator": {"limit": None},
}


class Reports(unittest.TestCase):
    """A test with a folder of reports."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def keep(self, name, **changes):
        """Keeps a report that differs in these figures, wherever they are in it."""
        report = copy.deepcopy(REPORT)
        for key, value in changes.items():
            holder = next(part for part in (report, *report.values()) if isinstance(part, dict) and key in part)
            holder[key] = value
        pathlib.Path(self.folder, f"{name}.json").write_text(json.dumps(report), encoding="utf-8")

    def printed(self, main, *arguments):
        with contextlib.redirect_stdout(io.StringIO()) as text:
            main(self.folder, *arguments)
        return text.getvalue()

    def rows(self, main, *arguments):
        """The fields of each line of the tables, by the first."""
        lines = [line.strip("| ").split(" | ") for line in self.printed(main, *arguments).splitlines()]
        return {fields[0]: fields for fields in lines if 1 < len(fields)}
