"""Pages of runbooks: which commands they have, and which answers have the same shape."""

import unittest

import runbook

PAGE = """# A page

```console
$ not a walk
```

<!-- walk: first on 10.0.0.11 -->
```console
$ gwctl status
critical: x
…
$ gwctl check
```

<!-- walk: second on 10.0.0.11 -->
```console
$ true
```

<!-- walk: first on 10.0.0.12 -->
```console
$ date
```
"""


class RunbookTest(unittest.TestCase):
    def test_walk_has_the_steps_of_its_name_in_order(self):
        steps = [(it.host, it.command, it.answer) for it in runbook.walk(PAGE, "first")]
        expected = [
            ("10.0.0.11", "gwctl status", ("critical: x", "…")),
            ("10.0.0.11", "gwctl check", ()),
            ("10.0.0.12", "date", ()),
        ]
        self.assertEqual(steps, expected)
        with self.assertRaises(ValueError):
            runbook.walk(PAGE, "third")

    def test_what_differs_from_run_to_run_has_the_same_shape(self):
        for one, other in [
            ("for 8.8s it has", "for 12.1s it has"),
            ("up 4m  3 clients", "up 1h 2m   3 clients"),
            ("0 B  1.2 MiB", "200 B  4 KiB"),
            ("(14 times, the last 400ms ago)", "(3 times, the last 1.2s ago)"),
            ("7f0000018085fdc061f0  ann", "7f0000018085fdc061f1  ann"),
            ("10.0.0.9:40112", "10.0.0.9:33333"),
            ("2026-11-29T18:29:45.003Z  x", "2027-01-01T00:00:00.123Z  x"),
            ("0.0 in", "12.5 in"),
        ]:
            self.assertEqual(runbook.shape(one), runbook.shape(other))

    def test_what_matters_is_compared(self):
        for one, other in [
            ("critical: x", "warning: x"),
            ("10.0.0.11:2900", "10.0.0.12:2900"),
            ("2 clients wait", "1 client waits"),
            ("business-worker@1", "business-worker@2"),
            ("4403 kicked", "1013 send queue full"),
        ]:
            self.assertNotEqual(runbook.shape(one), runbook.shape(other))

    def test_ellipsis_stands_for_any_lines(self):
        self.assertTrue(runbook.matches(["a", "…", "d"], ["a", "b", "c", "d"]))
        self.assertTrue(runbook.matches(["a", "…"], ["a"]))
        self.assertFalse(runbook.matches(["a", "…", "d"], ["a", "b"]))
        self.assertFalse(runbook.matches(["a"], ["a", "b"]))
        self.assertFalse(runbook.matches([], ["a"]))

    def test_clients_of_the_page_are_those_of_the_answer(self):
        known, found = "7f0000018085fdc061f0", "0a00000b1b54000000a1"
        self.assertEqual(runbook.clients([f"{known} x", known], [f"{found} y", found]), {known: found})


if __name__ == "__main__":
    unittest.main()
