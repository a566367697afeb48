//! Plots: lines over time, as SVG that needs nothing else.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
/// Left of the axis, and below it.
const MARGIN: (f64, f64) = (64.0, 28.0);
const COLOURS: [&str; 4] = ["#1668a8", "#c8611a", "#a01c3c", "#4a7a1e"];

/// A line of a plot: its name, and its points.
pub(crate) type Line = (&'static str, Vec<(f64, f64)>);

/// A plot of some lines, from zero to the largest value.
pub(crate) fn plot(title: &str, unit: &str, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let (width, height) = (WIDTH - MARGIN.0 - 12.0, HEIGHT - MARGIN.1 - 28.0);
    let end = points().map(|(x, _)| *x).fold(0.0, f64::max).max(1e-9);
    let top = round_up(points().map(|(_, y)| *y).fold(0.0, f64::max));
    let x = |value: f64| MARGIN.0 + value / end * width;
    let y = |value: f64| 28.0 + height - value / top * height;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n\
         <text class=\"title\" x=\"{}\" y=\"16\">{title} ({unit})</text>\n",
        MARGIN.0
    );
    for step in 0..=4 {
        let value = top * f64::from(step) / 4.0;
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{:.1}\" y1=\"{2:.1}\" x2=\"{1:.1}\" y2=\"{2:.1}\"/>\
             <text class=\"y\" x=\"{3:.1}\" y=\"{4:.1}\">{5}</text>",
            MARGIN.0,
            x(end),
            y(value),
            MARGIN.0 - 6.0,
            y(value) + 4.0,
            short(value)
        );
    }
    for step in 0..=4 {
        let value = end * f64::from(step) / 4.0;
        let _ = writeln!(
            svg,
            "<text class=\"x\" x=\"{:.1}\" y=\"{:.1}\">{value:.1} s</text>",
            x(value),
            HEIGHT - 8.0
        );
    }
    for (n, (name, points)) in lines.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let path: Vec<String> = points
            .iter()
            .map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(value.max(0.0))))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\" points=\"{}\"/>\
             <text class=\"name\" fill=\"{colour}\" x=\"{:.1}\" y=\"16\">{name}</text>",
            path.join(" "),
            WIDTH - 60.0 * f64::from(u8::try_from(lines.len() - n).unwrap_or(1))
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// The next of 1, 2, 5, 10, … at or above.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|step| step * power)
        .into_iter()
        .fold(10.0 * power, |least, step| if value <= step { least.min(step) } else { least })
}

fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{:.1}M", value / 1e6),
        1e4.. => format!("{:.0}k", value / 1e3),
        100.0.. => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "exact by construction")]
mod tests {
    use super::*;

    #[test]
    fn axis_ends_at_a_round_figure() {
        for (value, expected) in [(0.0, 1.0), (3.0, 5.0), (10.0, 10.0), (110.0, 200.0)] {
            assert_eq!(round_up(value), expected);
        }
    }

    #[test]
    fn plot_stays_within_its_frame() {
        let svg = plot("t", "u", &[("a", Vec::from([(0.0, 0.0), (1.0, 7.0), (2.0, 10.0)]))]);
        let points = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        for point in points.split(' ') {
            let (x, y) = point.split_once(',').unwrap();
            assert!((0.0..=WIDTH).contains(&x.parse().unwrap()), "{point}");
            assert!((0.0..=HEIGHT).contains(&y.parse().unwrap()), "{point}");
        }
    }

    #[test]
    fn nothing_to_show_is_still_a_plot() {
        let svg = plot("t", "u", &[("a", Vec::new())]);
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"));
    }
}
