//! A report as one page that needs nothing else.

use std::fmt::Write as _;

use crate::{
    latency::Summary,
    report::{Part, Report},
    svg::{Line, plot},
    text,
};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1340px;margin:2em auto;\
padding:0 1em;color:#222;background:#fff}h1{font-size:1.3em}table{border-collapse:collapse}\
td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}th:first-child,\
td:first-child{text-align:left}.warn{background:#fff0d8;padding:.5em 1em}\
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:1em}\
svg{width:100%;font:11px system-ui,sans-serif}.title{font-weight:600;font-size:13px}\
.grid{stroke:#ddd}.y{text-anchor:end}.x{text-anchor:middle}";

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let title = escape(&text::title(report));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n<p>{}</p>\n<p>{}</p>\n",
        escape(&report.machine),
        escape(&text::messages(&report.messages))
    );
    for warning in [&report.generator.limit, &report.messages.trouble].into_iter().flatten() {
        let _ = writeln!(page, "<p class=\"warn\">{}</p>", escape(warning));
    }
    page.push_str(&figures(report));
    page.push_str(&times(report));
    page.push_str(&processes(report));
    page.push_str("<div class=\"plots\">\n");
    for plot in plots(report) {
        page.push_str(&plot);
    }
    page.push_str("</div>\n</body></html>\n");
    page
}

fn figures(report: &Report) -> String {
    format!(
        "<table><tr><th>{unit} a second</th><th>CPU per {unit}</th><th>cores</th>\
         <th>bytes a connection</th><th>generator's CPU per {unit}</th></tr>\
         <tr><td>{:.0}</td><td>{}</td><td>{:.2}</td><td>{:.0}</td><td>{}</td></tr></table>\n",
        report.per_second,
        text::micros(report.servers.cpu_us_each),
        report.servers.cores,
        report.servers.bytes_each,
        text::micros(report.generator.cpu_us_each),
        unit = report.unit,
    )
}

fn times(report: &Report) -> String {
    let mut table = String::from(
        "<table><tr><th>µs</th><th>count</th><th>mean</th><th>p50</th><th>p90</th><th>p99</th>\
         <th>p99.9</th><th>max</th></tr>\n",
    );
    for (name, summary) in [
        ("latency", &report.latency_us),
        ("connect", &report.connect_us),
        ("send delay", &report.send_lag_us),
    ] {
        let Summary { count, mean, p50, p90, p99, p999, max, .. } = summary;
        let _ = writeln!(
            table,
            "<tr><td>{name}</td><td>{count}</td><td>{mean:.1}</td><td>{p50:.1}</td>\
             <td>{p90:.1}</td><td>{p99:.1}</td><td>{p999:.1}</td><td>{max:.1}</td></tr>"
        );
    }
    table + "</table>\n"
}

fn processes(report: &Report) -> String {
    let mut table = String::from(
        "<table><tr><th>process</th><th>pid</th><th>CPU s</th><th>memory before</th>\
         <th>connected</th><th>end</th><th>peak</th></tr>\n",
    );
    for process in &report.servers.processes {
        let _ = writeln!(
            table,
            "<tr><td>{}</td><td>{}</td><td>{:.3}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td></tr>",
            escape(&process.name),
            process.pid,
            process.cpu,
            text::bytes(process.resident_before),
            text::bytes(process.resident_start),
            text::bytes(process.resident_end),
            text::bytes(process.resident_peak)
        );
    }
    table + "</table>\n"
}

#[expect(clippy::cast_precision_loss, reason = "points of a plot")]
fn plots(report: &Report) -> [String; 4] {
    let line = |name, value: &dyn Fn(&Part) -> Option<f64>| -> Line {
        (name, report.parts.iter().filter_map(|part| Some((part.at, value(part)?))).collect())
    };
    let latency = |of: fn(&Summary) -> f64| {
        move |part: &Part| part.latency_us.as_ref().filter(|all| 0 < all.count).map(of)
    };
    [
        plot(
            "throughput",
            &format!("{} a second", report.unit),
            &[line("", &|part| Some(part.per_second))],
        ),
        plot(
            "latency",
            "µs",
            &[
                line("p50", &latency(|all| all.p50)),
                line("p99", &latency(|all| all.p99)),
                line("p99.9", &latency(|all| all.p999)),
            ],
        ),
        plot(
            "servers' CPU",
            &format!("µs per {}", report.unit),
            &[line("", &|part| part.cpu_us_each)],
        ),
        plot("servers' memory", "MB", &[line("", &|part| Some(part.resident as f64 / 1e6))]),
    ]
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
