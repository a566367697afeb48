//! The two text formats of `/metrics`.

use std::fmt::Write as _;

/// A text format for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exposition {
    /// OpenMetrics 1.0, which Prometheus asks for.
    OpenMetrics,
    /// The older format of Prometheus, for every other client: `curl`, promtool, agents.
    Prometheus,
}

impl Exposition {
    /// The format for a request with these `Accept` headers.
    pub(crate) fn accepted<'a>(mut accept: impl Iterator<Item = &'a str>) -> Self {
        match accept.any(|value| value.contains("application/openmetrics-text")) {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Converts a page of OpenMetrics to this format.
    pub(crate) fn convert(self, page: String) -> String {
        match self {
            Self::OpenMetrics => page,
            Self::Prometheus => to_prometheus(&page),
        }
    }
}

/// Samples are the same in both. In the older format, families of counters and of information have
/// the names of their samples, and there is neither a unit nor an end.
fn to_prometheus(page: &str) -> String {
    let (mut text, mut help) = (String::with_capacity(page.len()), None);
    for line in page.lines() {
        // Writing to a string cannot fail.
        let _ = match line.strip_prefix("# ").unwrap_or_default().split_once(' ') {
            Some(("HELP", rest)) => {
                help = rest.split_once(' ');
                Ok(())
            }
            Some(("TYPE", rest)) => {
                let (name, kind) = rest.split_once(' ').unwrap_or((rest, "unknown"));
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    other => ("", other),
                };
                let help = help.take().filter(|(named, _)| *named == name);
                if let Some((_, help)) = help {
                    let _ = writeln!(text, "# HELP {name}{suffix} {help}");
                }
                writeln!(text, "# TYPE {name}{suffix} {kind}")
            }
            Some(_) => Ok(()),
            None if line.starts_with('#') => Ok(()),
            None => writeln!(text, "{line}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use prometheus_client::{
        encoding::text,
        metrics::{counter::Counter, gauge::Gauge, info::Info},
        registry::{Registry, Unit},
    };

    use super::*;

    #[test]
    fn open_metrics_is_served_to_those_that_accept_it() {
        let accepted = |value| Exposition::accepted([value].into_iter());
        let scraper = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        assert_eq!(accepted(scraper), Exposition::OpenMetrics);
        assert_eq!(accepted("*/*"), Exposition::Prometheus);
        assert_eq!(Exposition::accepted([].into_iter()), Exposition::Prometheus);
    }

    #[test]
    fn families_of_the_older_format_have_the_names_of_their_samples() {
        let mut registry = Registry::default();
        registry.register("events", "Events", Counter::<u64>::default());
        registry.register("clients", "Clients", Gauge::<i64>::default());
        registry.register_with_unit("used", "Memory", Unit::Bytes, Gauge::<i64>::default());
        registry.register("build", "This build", Info::new([("version", "1")]));
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        assert_eq!(Exposition::OpenMetrics.convert(page.clone()), page);
        let expected = "# HELP events_total Events.\n# TYPE events_total counter\nevents_total 0\n\
            # HELP clients Clients.\n# TYPE clients gauge\nclients 0\n\
            # HELP used_bytes Memory.\n# TYPE used_bytes gauge\nused_bytes 0\n\
            # HELP build_info This build.\n# TYPE build_info gauge\nbuild_info{version=\"1\"} 1\n";
        assert_eq!(Exposition::Prometheus.convert(page), expected);
    }
}
