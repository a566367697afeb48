//! Times for people.

use std::time::Duration;

use jiff::Timestamp;

/// A duration, in its two largest units: `3d 4h`, `12.3s`, `450ms`.
pub(crate) fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let two = |large: u64, unit: char, small: u64, rest: char| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit} {small}{rest}"),
    };
    match seconds {
        0 if duration < Duration::from_millis(1) => format!("{}µs", duration.as_micros()),
        0 => format!("{}ms", duration.as_millis()),
        1..=59 => format!("{:.1}s", duration.as_secs_f64()),
        60..=3_599 => two(seconds / 60, 'm', seconds % 60, 's'),
        3_600..=86_399 => two(seconds / 3_600, 'h', seconds % 3_600 / 60, 'm'),
        _ => two(seconds / 86_400, 'd', seconds % 86_400 / 3_600, 'h'),
    }
}

/// A time in milliseconds since the Unix epoch, as `2026-11-29T17:04:40.123Z`.
pub(crate) fn utc(millis: u64) -> String {
    let time = i64::try_from(millis).ok().and_then(|it| Timestamp::from_millisecond(it).ok());
    time.map_or_else(|| format!("{millis} ms"), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_shown_in_its_two_largest_units() {
        for (millis, expected) in [
            (0, "0µs"),
            (450, "450ms"),
            (12_345, "12.3s"),
            (60_000, "1m"),
            (61_000, "1m 1s"),
            (3_600_000 * 5 + 60_000, "5h 1m"),
            (86_400_000 * 3 + 3_600_000 * 4, "3d 4h"),
        ] {
            assert_eq!(age(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn time_is_shown_in_utc() {
        assert_eq!(utc(1_800_000_000_123), "2027-01-15T08:00:00.123Z");
        assert_eq!(utc(u64::MAX), format!("{} ms", u64::MAX));
    }
}
