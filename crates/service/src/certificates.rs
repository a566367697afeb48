//! The expiry of certificates: a metric, and a warning in time.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};
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

fn warn(certificate: &CertificateFile, now: u64) {
    let CertificateFile { flag, path, not_after } = certificate;
    let file = path.display();
    match not_after.map(|not_after| not_after.checked_sub(now)) {
        None => tracing::warn!(flag, %file, "the expiry of a certificate cannot be read"),
        Some(None) => tracing::error!(flag, %file, "a certificate has expired"),
        Some(Some(left)) if left < DAYS * DAY => {
            let days = left / DAY;
            tracing::warn!(flag, %file, days, "a certificate expires soon");
        }
        Some(Some(_)) => {}
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
