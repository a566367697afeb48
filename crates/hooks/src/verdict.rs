//! The meaning of the status of an answer.

use http::StatusCode;

/// The meaning of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Accepted: 2xx.
    Accepted,
    /// It is to be sent again: 5xx, 408, 425, 429, and a redirect, which is not followed.
    Again,
    /// Rejected: another 4xx.
    Refused,
    /// No further request is to be sent: 410.
    Gone,
}

impl Verdict {
    /// The verdict of a status.
    pub fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            200..=299 => Self::Accepted,
            408 | 425 | 429 => Self::Again,
            410 => Self::Gone,
            400..=499 => Self::Refused,
            _ => Self::Again,
        }
    }
}

/// Whether a status means that the receiver does not work. One that limits the rate works.
pub fn is_failure(status: StatusCode) -> bool {
    !(200..=299).contains(&status.as_u16()) && !status.is_client_error()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdict_follows_from_the_status() {
        for (status, verdict, fails) in [
            (200, Verdict::Accepted, false),
            (204, Verdict::Accepted, false),
            (301, Verdict::Again, true),
            (307, Verdict::Again, true),
            (400, Verdict::Refused, false),
            (404, Verdict::Refused, false),
            (408, Verdict::Again, false),
            (410, Verdict::Gone, false),
            (425, Verdict::Again, false),
            (429, Verdict::Again, false),
            (500, Verdict::Again, true),
            (503, Verdict::Again, true),
            (999, Verdict::Again, true),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!((Verdict::of(status), is_failure(status)), (verdict, fails), "{status}");
        }
    }
}
