//! A report as text.

use std::fmt::Write as _;

use crate::{
    latency::Summary,
    report::{Messages, Report},
};

/// The report, for a terminal.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(report, &mut text);
    text
}

fn write(report: &Report, text: &mut String) -> std::fmt::Result {
    writeln!(text, "{}", title(report))?;
    writeln!(text, "  machine     {}", report.machine)?;
    writeln!(text, "  messages    {}", messages(&report.messages))?;
    if let Some(trouble) = &report.messages.trouble {
        writeln!(text, "  first fault {trouble}")?;
    }
    writeln!(text, "  rate        {:.0} {} a second", report.per_second, plural(report.unit))?;
    if 0.0 < report.bytes_each {
        writeln!(text, "  received    {:.1} bytes per {}", report.bytes_each, report.unit)?;
    }
    for (name, summary) in [
        ("latency", &report.latency_us),
        ("connect", &report.connect_us),
        ("send delay", &report.send_lag_us),
    ] {
        if 0 < summary.count {
            writeln!(text, "  {name:<11} {}", times(summary))?;
        }
    }
    let servers = &report.servers;
    for process in &servers.processes {
        writeln!(
            text,
            "  {:<15} {:>8} {:8.3} s CPU, memory {} -> {} -> {} (peak {})",
            process.name,
            process.pid,
            process.cpu,
            bytes(process.resident_before),
            bytes(process.resident_start),
            bytes(process.resident_end),
            bytes(process.resident_peak)
        )?;
    }
    if !servers.processes.is_empty() {
        writeln!(
            text,
            "  servers     {} CPU per {}, {:.2} cores; per connection {:.1} µs to connect, \
             {:.2} µs a second, {:.2} KB",
            micros(servers.cpu_us_each),
            report.unit,
            servers.cores,
            servers.connecting_us_each,
            servers.cpu_us_client_second,
            servers.bytes_each / 1000.0
        )?;
    }
    let own = &report.generator;
    writeln!(
        text,
        "  generator   {} CPU per {}, {:.2} cores, {}",
        micros(own.cpu_us_each),
        report.unit,
        own.cores,
        bytes(own.resident_peak)
    )?;
    match &own.limit {
        Some(limit) => writeln!(text, "  WARNING     the generator is the limit: {limit}"),
        None => Ok(()),
    }
}

/// The parameters of the run, in one line.
pub(crate) fn title(report: &Report) -> String {
    let mut title = format!("{:?}", report.mode).to_lowercase();
    if !report.label.is_empty() {
        title = format!("{}: {title}", report.label);
    }
    let _ = write!(
        title,
        ", {} connections to {}, {} bytes, {:.1} s",
        report.connections, report.server, report.size, report.seconds
    );
    match report.rate {
        Some(rate) => title + &format!(", {rate} a second (open loop)"),
        None => title + &format!(", {} in flight each (closed loop)", report.window),
    }
}

/// The outcome of the messages, in one line.
pub(crate) fn messages(messages: &Messages) -> String {
    let account = &messages.account;
    let mut line = format!(
        "{} sent, {} of {} delivered, {} lost, {} duplicated, {} out of order",
        messages.sent,
        account.delivered,
        messages.expected,
        messages.lost,
        account.duplicated,
        account.out_of_order
    );
    for (count, what) in [
        (account.damaged, "of another length"),
        (account.foreign, "not ours"),
        (messages.not_sent, "due and not sent"),
        (messages.answered, "answered"),
        (messages.broken, "connections broken"),
        (messages.slow_closed, "slow readers closed"),
    ] {
        if 0 < count {
            let _ = write!(line, ", {count} {what}");
        }
    }
    line
}

/// Percentiles in a line.
pub(crate) fn times(summary: &Summary) -> String {
    format!(
        "p50 {:.1}, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1} µs",
        summary.p50, summary.p90, summary.p99, summary.p999, summary.max
    )
}

pub(crate) fn micros(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2} µs"))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn bytes(count: u64) -> String {
    format!("{:.1} MB", count as f64 / 1e6)
}

fn plural(unit: &str) -> &str {
    match unit {
        "cycle" => "cycles",
        "answer" => "answers",
        _ => "deliveries",
    }
}
