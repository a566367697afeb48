//! Queries that the hub answers without shards, and requests of operators.

use protocol::{Answer, Query, inspect::CertificateStatus, link::ToPeer};
use service::logging;

use super::{Hub, scatter_gather::Origin};
use crate::thread_messages::LinkId;

impl Hub {
    /// Answers a query that needs no shard. Returns whether it is one.
    pub(super) fn answer_here(&mut self, from: LinkId, origin: &Origin) -> bool {
        let Origin::Native { request, query } = origin else {
            return false;
        };
        let answer = match query {
            Query::Retained { group } => self.answer_retained(group),
            Query::Drain => self.request_drain(from),
            Query::LogFilter { replacement } => {
                Answer::LogFilter(self.log_filter(from, replacement.as_deref()))
            }
            Query::Settings => {
                let settings = self.gateway.operators.settings.get();
                Answer::Settings(settings.cloned().unwrap_or_default())
            }
            Query::Certificates => Answer::Certificates(self.certificates()),
            _ => return false,
        };
        self.queries += 1;
        self.send(from, &ToPeer::Answer { request: *request, answer });
        true
    }

    fn certificates(&self) -> Vec<CertificateStatus> {
        let files = self.gateway.operators.files.get();
        let certificates = files.into_iter().flatten().filter_map(|files| files.certificate());
        certificates.map(service::certificates::status).collect()
    }

    fn request_drain(&self, from: LinkId) -> Answer {
        let clients = self.gateway.metrics.clients.get().max(0).unsigned_abs();
        if self.undrained.is_none() && !self.gateway.operators.drain.is_cancelled() {
            let remote = self.links.get(&from).map(|link| link.remote);
            tracing::info!(?remote, clients, "a peer asks this gateway to drain");
            self.gateway.operators.drain.cancel();
        }
        Answer::Count(clients)
    }

    fn log_filter(&self, from: LinkId, replacement: Option<&str>) -> Result<String, String> {
        let Some(replacement) = replacement else {
            return Ok(logging::filter());
        };
        let before = logging::set_filter(replacement).map_err(|error| format!("{error:#}"))?;
        let remote = self.links.get(&from).map(|link| link.remote);
        tracing::info!(?remote, before, filter = replacement, "a peer changes the log filter");
        Ok(before)
    }
}
