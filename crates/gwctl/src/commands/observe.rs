//! Asks the cluster for its state.

use std::time::{SystemTime, UNIX_EPOCH};

use push_suite_cluster::workers;

use super::Context;
use crate::{
    failure::{Failure, advice},
    health::{Cluster, Gateway, refused},
    output::Gap,
    session::Session,
};

/// The state of the cluster.
///
/// # Errors
/// When no gateway is known.
pub(crate) async fn observe(context: &Context, session: &Session) -> Result<Cluster, Failure> {
    cluster(context.settings.registers.len(), session).await
}

/// The same, with the number of registers in the settings.
///
/// # Errors
/// When no gateway is known.
pub(crate) async fn cluster(registers: usize, session: &Session) -> Result<Cluster, Failure> {
    let (reports, refusals) =
        tokio::join!(session.partial().gateways(), session.cluster().refusals());
    let reports = reports?;
    let workers = workers(&reports);
    let gateways = reports.into_iter().map(|report| {
        let gateway = report.address.clone();
        let status = report.status.map_err(|error| Gap {
            gateway,
            problem: error.to_string(),
            next: advice(&error).unwrap_or_default(),
        });
        Gateway { address: report.address, status }
    });
    Ok(Cluster {
        registers,
        links: session.cluster().status(),
        gateways: gateways.collect(),
        workers,
        refused: refused(&refusals),
        now: now(),
    })
}

/// The local time, in milliseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
