"""What the tables of compare.sh say of made-up reports."""

import made_up
import table


class Table(made_up.Reports):
    def echo(self, ours, direct, php):
        for column, each in (("ours", ours), ("direct", direct), ("php", php)):
            self.keep(f"echo.{column}.1", cpu_us_each=each)
        return self.rows(table.main, ["ours", "direct", "php"])["echo, 100 connections, 64 B: CPU"]

    def test_an_aim_is_reached_at_its_bound_and_missed_above_it(self):
        self.assertEqual(self.echo(13.0, 10.0, 50.0)[-1], "yes")
        self.assertEqual(self.echo(13.1, 10.0, 50.0)[-1], "**no**")
        self.assertEqual(self.echo(13.0, 10.0, 48.0)[-1], "**no**", "both count")

    def test_ratios_and_aims_stand_in_their_row(self):
        row = self.echo(12.0, 10.0, 60.0)
        self.assertEqual(row[1:4], ["12.00 µs", "10.00 µs", "60.00 µs"])
        self.assertEqual(row[4:], ["1.20", "0.20", "≤ 1.3 x direct, ≤ 0.27 x GatewayWorker", "yes"])

    def test_more_is_better_where_messages_are_counted(self):
        for php, reached in ((300.0, "yes"), (400.0, "**no**")):
            self.keep("echo1000.ours.1", per_second=1000.0)
            self.keep("echo1000.php.1", per_second=php)
            rows = self.rows(table.main, ["ours", "direct", "php"])
            self.assertEqual(rows["echo, 1,000 connections, 64 B: a second"][-1], reached)

    def test_what_was_not_measured_is_neither_reached_nor_missed(self):
        self.keep("echo64k.ours.1")
        rows = self.rows(table.main, ["ours", "direct"])
        self.assertEqual(rows["echo, 100 connections, 64 KiB: CPU"][-1], "not measured")
        self.assertNotIn("connect, echo, close: CPU", rows)

    def test_medians_are_over_rounds_and_one_limited_round_marks_them(self):
        for number, (each, limit) in enumerate([(1.0, None), (9.0, "busy"), (2.0, None)]):
            self.keep(f"fan1.ours.{number}", cpu_us_each=each, limit=limit)
        text = self.printed(table.main, ["ours", "direct"])
        self.assertIn("| 2.00 µs (*) |", text)
        self.assertIn("(*) the generator was the limit", text)

    def test_the_suites_cpu_is_divided_among_its_processes(self):
        self.keep("echo.ours.1")
        self.assertIn("| echo | gateway 7.50 µs, business-worker 2.50 µs |", self.printed(table.main, ["ours"]))

    def test_what_was_lost_is_said(self):
        self.keep("echo.ours.1", lost=3)
        self.assertIn("suite, echo: {'lost': 3}", self.printed(table.main, ["ours"]))

    def test_memory_has_an_aim_of_its_own(self):
        for bytes_each, reached in ((2500.0, "yes"), (2501.0, "**no**")):
            self.keep("idle.ours.1", bytes_each=bytes_each, connections=10000)
            rows = self.rows(table.main, ["ours"])
            self.assertEqual(rows["memory per idle client of 10,000, one uid and one group each"][-1], reached)
