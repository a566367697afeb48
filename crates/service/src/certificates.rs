//! The expiry of certificates: a metric, a warning in time, and what operators are told of it.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};
use protocol::inspect::CertificateStatus;
use runtime::{
    clock,
    tls::{CertificateFile, Reload},
};
use tokio::time::sleep;

/// Warnings begin this many days before a certificate expires.
const DAYS: u64 = 14;

/// Certificates are checked at the start and then once in this time.
const INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

const DAY: u64 = 24 * 60 * 60;

/// Files of which some have a certificate.
#[derive(Clone, Debug)]
pub(crate) struct Certificates(Arc<[Arc<dyn Reload>]>);

impl Certificates {
    /// Those among the files that are reloaded; `None` if there is none.
    pub(crate) fn of(files: &[Arc<dyn Reload>]) -> Option<Self> {
        let files: Arc<[_]> =
            files.iter().filter(|files| files.certificate().is_some()).cloned().collect();
        (!files.is_empty()).then_some(Self(files))
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    /// Warns every day of those that expire soon or have expired.
    pub(crate) async fn watch(self) {
        loop {
            for certificate in self.each() {
                warn(&certificate, clock::unix_seconds());
            }
            sleep(INTERVAL).await;
        }
    }

    fn each(&self) -> impl Iterator<Item = CertificateFile> {
        self.0.iter().filter_map(|files| files.certificate())
    }
}

/// How long a certificate is still valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// The expiry cannot be read.
    Unknown,
    /// It has expired.
    Over,
    /// It expires after so many whole days, which is soon: in less than two weeks.
    Ends {
        /// The days.
        days: u64,
    },
    /// Longer than that.
    Long,
}

impl Validity {
    /// Of a certificate that ceases to be valid at `not_after`. Both times are in seconds since the Unix
    /// epoch.
    pub const fn of(not_after: Option<u64>, now: u64) -> Self {
        let Some(not_after) = not_after else { return Self::Unknown };
        match not_after.saturating_sub(now) {
            0 => Self::Over,
            left if left < DAYS * DAY => Self::Ends { days: left / DAY },
            _ => Self::Long,
        }
    }
}

/// A certificate as operators see it.
pub fn status(certificate: CertificateFile) -> CertificateStatus {
    let CertificateFile { flag, path, not_after } = certificate;
    CertificateStatus { flag: flag.to_owned(), file: path.display().to_string(), not_after }
}

fn warn(certificate: &CertificateFile, now: u64) {
    let CertificateFile { flag, path, not_after } = certificate;
    let file = path.display();
    match Validity::of(*not_after, now) {
        Validity::Unknown => {
            tracing::warn!(flag, %file, "the expiry of a certificate cannot be read");
        }
        Validity::Over => tracing::error!(flag, %file, "a certificate has expired"),
        Validity::Ends { days } => {
            tracing::warn!(flag, %file, days, "a certificate expires soon");
        }
        Validity::Long => {}
    }
}

impl Collector for Certificates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let name = "pushsuite_certificate_expiry_timestamp_seconds";
        let help = "End of the validity of a certificate, in seconds since the epoch";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for CertificateFile { flag, path, not_after } in self.each() {
            let Some(not_after) = not_after.and_then(|at| i64::try_from(at).ok()) else { continue };
            let path = path.display().to_string();
            let labels = [("flag", flag), ("file", path.as_str())];
            ConstGauge::new(not_after).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
