"""What the table and the curves of growth.sh say of made-up reports."""

import json
import pathlib

import growth
import made_up
import plots


class Growth(made_up.Reports):
    def test_what_was_lost_is_said(self):
        self.keep("memory.1000.1", broken=2, cpu_us_each=None)
        self.assertIn("memory: {'broken': 2}", self.printed(growth.main, f"{self.folder}/growth"))

    def test_a_curve_is_in_order_and_flat_or_not(self):
        for x, each in ((15000, 12.5), (1000, 10.0), (5000, 30.0)):
            self.keep(f"echo.{x}.1", cpu_us_each=each)
        row = self.rows(growth.main, f"{self.folder}/growth")["CPU per echo"]
        self.assertEqual(row[2], "1,000: 10.00 µs, 5,000: 30.00 µs, 15,000: 12.50 µs")
        self.assertEqual(row[3:], ["1.25", "yes"])
        self.keep("echo.15000.1", cpu_us_each=12.6)
        self.assertEqual(self.rows(growth.main, f"{self.folder}/growth")["CPU per echo"][-1], "**no**")

    def test_curves_are_kept_as_json_and_drawn(self):
        for x in (100, 1000, 15000):
            self.keep(f"fanout.{x}.1", cpu_us_each=x / 1000)
        files = [f"{self.folder}/growth", f"{self.folder}/page"]
        self.printed(growth.main, *files)
        told, page = (pathlib.Path(file).read_text(encoding="utf-8") for file in files)
        curve = json.loads(told)["curves"][0]
        self.assertEqual([point["x"] for point in curve["points"]], [100, 1000, 15000])
        self.assertEqual(curve["growth"], 15.0, "the smallest group is not what it grows from")
        self.assertIn("<svg", page)

    def test_a_plot_stays_within_its_frame(self):
        drawn = plots.plot("t", "u", "x", [(0, 0.0), (1, 7.0), (2, 10.0)])
        for point in drawn.split('points="')[1].split('"')[0].split(" "):
            x, y = map(float, point.split(","))
            self.assertTrue(0 <= x <= plots.WIDTH and 0 <= y <= plots.HEIGHT, point)

    def test_figures_below_a_plot_do_not_cover_each_other(self):
        drawn = plots.plot("t", "u", "x", [(100, 1.0), (200, 1.0), (15000, 1.0)])
        self.assertIn(">100<", drawn)
        self.assertNotIn(">200<", drawn)
        self.assertIn(">15,000<", drawn)
