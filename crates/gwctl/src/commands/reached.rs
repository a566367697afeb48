//! The report of a command: the clients that it reached.

use std::collections::BTreeSet;

use push_suite_cluster::Report;
use serde::Serialize;

use crate::{
    failure::FAILED,
    output::{Page, Paint},
};

/// The sum of reports.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Reached {
    /// Connected clients that it applied to.
    matched: u64,
    /// Those on which it took effect.
    pub(crate) reached: u64,
    /// Those whose send queue was full.
    dropped: u64,
    /// Inner addresses of gateways that did not report.
    unreachable: BTreeSet<String>,
}

impl Reached {
    pub(crate) fn add(&mut self, report: Report) {
        self.matched = self.matched.saturating_add(report.matched);
        self.reached = self.reached.saturating_add(report.reached);
        self.dropped = self.dropped.saturating_add(report.dropped);
        self.unreachable.extend(report.unreachable.iter().map(ToString::to_string));
    }

    /// Writes it; `effect` is what happened to the clients that it reached, such as `closed`.
    pub(crate) fn show(&self, effect: &str, page: &mut Page) {
        let Self { matched, reached, dropped, unreachable } = self;
        let paint = match (reached, matched) {
            (0, _) => Paint::Yellow,
            (reached, matched) if reached < matched => Paint::Yellow,
            _ => Paint::Green,
        };
        let of = if reached == matched { String::new() } else { format!(" of {matched}") };
        let clients = if *matched == 1 { "client" } else { "clients" };
        page.painted(paint, format!("{effect} {reached}{of} {clients}"));
        if *matched == 0 && unreachable.is_empty() {
            page.line(
                "  next: no client matches; `gwctl uids`, `gwctl groups` show which there are",
            );
        }
        if *dropped != 0 {
            let line = format!("dropped for {dropped}: they read too slowly");
            page.painted(Paint::Red, line);
            page.line("  next: `gwctl clients --slow` shows them");
        }
        for gateway in unreachable {
            page.painted(Paint::Red, format!("incomplete: gateway {gateway} did not answer"));
            page.line("  next: it takes effect there once the gateway answers again");
        }
    }

    /// The exit code: 1 if gateways did not report, or if it took effect on no client.
    pub(crate) fn code(&self) -> u8 {
        if self.unreachable.is_empty() && self.reached != 0 { 0 } else { FAILED }
    }
}
