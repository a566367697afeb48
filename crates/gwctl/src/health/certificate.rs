//! Judges the certificates that processes use.

use push_suite_cluster::CertificateStatus;

use service::certificates::Validity;

use super::{Finding, Severity, Topic};
use crate::output::utc;

/// Finds out whether a certificate of a process expires soon or has expired. `now` is in seconds since
/// the Unix epoch.
pub(crate) fn judge(of: &str, certificate: &CertificateStatus, now: u64) -> Option<Finding> {
    let CertificateStatus { flag, file, not_after } = certificate;
    let finding = |severity, problem: String| Finding {
        severity,
        topic: Topic::Certificates,
        problem,
        next: format!(
            "write a new certificate to {file} with its key, then reload the process (SIGHUP, or \
             `systemctl reload`): connections stay open"
        ),
    };
    let date = utc(not_after.unwrap_or_default().saturating_mul(1000));
    match Validity::of(*not_after, now) {
        Validity::Unknown => {
            let problem = format!("the expiry of {flag} {file} of {of} cannot be read");
            Some(finding(Severity::Warning, problem))
        }
        Validity::Over => {
            let problem = format!("{flag} {file} of {of} has expired: it was valid until {date}");
            Some(finding(Severity::Critical, problem))
        }
        Validity::Ends { days } => {
            let problem = format!("{flag} {file} of {of} expires in {days} days, on {date}");
            Some(finding(Severity::Warning, problem))
        }
        Validity::Long => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_is_worth_a_warning_two_weeks_before_it_expires() {
        let (now, two_weeks) = (1_800_000_000, 14 * 24 * 60 * 60);
        let judged = |not_after| {
            let (flag, file) = ("--tls-cert".to_owned(), "a.pem".to_owned());
            judge("gateway g", &CertificateStatus { flag, file, not_after }, now)
        };
        assert_eq!(judged(Some(now + two_weeks)), None);
        let soon = judged(Some(now + two_weeks - 1)).unwrap();
        assert_eq!(soon.severity, Severity::Warning);
        let expected =
            "--tls-cert a.pem of gateway g expires in 13 days, on 2027-01-29T07:59:59.000Z";
        assert_eq!(soon.problem, expected);
        for expired in [now, now - 1, 0] {
            assert_eq!(judged(Some(expired)).unwrap().severity, Severity::Critical);
        }
        assert_eq!(judged(None).unwrap().severity, Severity::Warning);
        assert!(judged(Some(u64::MAX)).is_none());
    }
}
