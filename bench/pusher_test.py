"""Tests of pusher.py on made-up reports."""

import unittest

import made_up
import pusher
import table


class Pusher(made_up.Reports):
    def test_cpu_is_compared_with_each_other_server(self):
        self.keep("fan1.ours.1", cpu_us_each=2.0)
        self.keep("fan1.reverb.1", cpu_us_each=25.0)
        self.keep("fan1.sockudo.1", cpu_us_each=3.0)
        row = self.rows(table.main, ["ours", "reverb", "sockudo"], pusher.CELLS)[
            "event to 1,000 subscribers, 1 publisher: CPU a delivery"
        ]
        self.assertEqual(row[1:6], ["2.00 µs", "25.00 µs", "3.00 µs", "0.08", "0.67"])
        self.assertEqual(row[-1], "**no**")

    def test_growth_is_that_of_the_last_three_quarters(self):
        parts = [{"resident": size * 1_000_000} for size in (10, 40, 40, 40, 50, 44)]
        self.keep("soak.ours.1", parts=parts)
        rows = self.rows(table.main, ["ours"], pusher.CELLS)
        self.assertEqual(rows["memory after a quarter of the churn"][1], "40.00 MB")
        self.assertEqual(rows["memory at its end"][1], "44.00 MB")
        self.assertEqual(rows["growth from the quarter to the end, times"][1:], ["1.10 x", "≤ 1.1", "yes"])


if __name__ == "__main__":
    unittest.main()
