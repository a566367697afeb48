"""What the tables of tails.sh say of made-up reports."""

import made_up
import tails


class Tails(made_up.Reports):
    def test_a_tail_is_spread_over_the_median(self):
        for p999, reached in ((499.0, "yes"), (500.0, "**no**")):
            self.keep("half.ours.1", latency_us=made_up.REPORT["latency_us"] | {"p999": p999})
            self.assertEqual(self.rows(tails.tables, ["ours"])["suite"][-1], reached)

    def test_a_fan_out_holds_up_what_it_adds_to_one_beside(self):
        self.keep("beside.ours.1", latency_us=made_up.REPORT["latency_us"] | {"p999": 2000.0})
        for p999, told in ((7000.0, "5.0 ms at p99.9"), (7100.0, "5.1 ms at p99.9")):
            self.keep("here.ours.1", latency_us=made_up.REPORT["latency_us"] | {"p999": p999})
            text = self.printed(tails.tables, ["ours"])
            self.assertIn(told, text)
            self.assertIn("yes)" if p999 == 7000.0 else "**no**)", text)
