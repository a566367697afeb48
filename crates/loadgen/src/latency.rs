//! Latency histograms, for the run and for each part of it.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Values from 100 ns to 10 minutes, to three digits.
fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 600_000_000_000, 3).expect("constant bounds that are valid")
}

/// Latencies of a run, by when they were counted.
#[derive(Debug)]
pub(crate) struct Series {
    part: Duration,
    parts: Vec<Option<Box<Histogram<u64>>>>,
}

impl Series {
    /// A series for a run, in parts of equal length; later values count to the last part.
    pub(crate) fn new(parts: usize, duration: Duration) -> Self {
        let count = u32::try_from(parts).unwrap_or(u32::MAX).max(1);
        let part = (duration / count).max(Duration::from_nanos(1));
        Self { part, parts: (0..parts.max(1)).map(|_| None).collect() }
    }

    /// Counts a latency; both in nanoseconds of the run.
    pub(crate) fn record(&mut self, now: u64, latency: u64) {
        let part = usize::try_from(u128::from(now) / self.part.as_nanos()).unwrap_or(usize::MAX);
        let last = self.parts.len() - 1;
        let histogram = self.parts[part.min(last)].get_or_insert_with(|| Box::new(empty()));
        histogram.saturating_record(latency);
    }

    /// Adds the series of another thread.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.parts.iter_mut().zip(&other.parts) {
            if let Some(theirs) = theirs {
                let mine = mine.get_or_insert_with(|| Box::new(empty()));
                // Bounds are equal, so this cannot fail.
                let _ = mine.add(&**theirs);
            }
        }
    }

    /// All of it as values and how often they were counted, for each part: nothing is lost.
    pub(crate) fn counts(&self) -> Counts {
        let recorded = |histogram: &Histogram<u64>| {
            let values = histogram.iter_recorded();
            values.map(|value| (value.value_iterated_to(), value.count_at_value())).collect()
        };
        self.parts.iter().map(|part| part.as_deref().map(recorded).unwrap_or_default()).collect()
    }

    /// Adds the exported series of another process, with the same parts.
    pub(crate) fn add_counts(&mut self, counts: &Counts) {
        for (part, counts) in self.parts.iter_mut().zip(counts) {
            for (value, count) in counts {
                let histogram = part.get_or_insert_with(|| Box::new(empty()));
                histogram.saturating_record_n(*value, *count);
            }
        }
    }

    /// All parts together.
    pub(crate) fn summary(&self) -> Summary {
        let mut all = empty();
        for part in self.parts.iter().flatten() {
            let _ = all.add(&**part);
        }
        Summary::of(&all)
    }

    /// Each part, with the time it began at.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Duration, Summary)> {
        self.parts.iter().enumerate().filter_map(|(n, part)| {
            let start = self.part * u32::try_from(n).ok()?;
            Some((start, Summary::of(part.as_deref()?)))
        })
    }
}

/// A series that can be written down.
pub(crate) type Counts = Vec<Vec<(u64, u64)>>;

/// A distribution of times, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    pub(crate) min: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Summary {
    fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| micros(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            mean: histogram.mean() / 1000.0,
            min: micros(histogram.min()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: micros(histogram.max()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "three digits are kept")]
fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_a_thousandth() {
        let mut series = Series::new(4, Duration::from_secs(1));
        for n in 1..=1000_u64 {
            series.record(n * 1_000_000, n * 1000);
        }
        let summary = series.summary();
        assert_eq!(summary.count, 1000);
        for (value, expected) in [(summary.p50, 500.0), (summary.p99, 990.0), (summary.max, 1e3)] {
            assert!((value - expected).abs() <= expected / 500.0, "{value} is not {expected}");
        }
    }

    #[test]
    fn late_values_count_to_the_last_part() {
        let mut series = Series::new(2, Duration::from_secs(1));
        series.record(0, 1000);
        series.record(9_000_000_000, 5000);
        let counts: Vec<_> = series.parts().map(|(start, part)| (start, part.count)).collect();
        assert_eq!(counts, [(Duration::ZERO, 1), (Duration::from_millis(500), 1)]);
    }

    #[test]
    fn threads_add_up() {
        let (mut one, mut two) = (Series::new(2, SECOND), Series::new(2, SECOND));
        one.record(0, 1000);
        two.record(0, 3000);
        one.add(&two);
        assert_eq!(one.summary().count, 2);
        assert_eq!(Series::new(2, SECOND).summary(), Summary::default());
    }

    #[test]
    fn processes_add_up_as_threads_do() {
        let (mut one, mut two, mut all) =
            (Series::new(3, SECOND), Series::new(3, SECOND), Series::new(3, SECOND));
        for n in 0..1000_u64 {
            let (now, latency) = (n * 1_000_000, n * n * 7919);
            [&mut one, &mut two][(n % 2) as usize].record(now, latency);
            all.record(now, latency);
        }
        let mut merged = Series::new(3, SECOND);
        merged.add_counts(&one.counts());
        merged.add_counts(&two.counts());
        assert_eq!(merged.summary(), all.summary());
        assert!(merged.parts().eq(all.parts()));
    }

    const SECOND: Duration = Duration::from_secs(1);
}
