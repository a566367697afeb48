//! Queries whose answer is what the reachable gateways know.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::join_all;
use protocol::{Answer, Query};
use runtime::sync::Mutex;
use tokio::time::timeout;

use crate::{Cluster, Error, link::Link, merge};

/// The gateways that have not answered queries of one handle, see [`Cluster::partial`]. Clones
/// share the list.
#[derive(Clone)]
pub struct Unanswered(Arc<Partial>);

/// The time for an answer, and what was not answered within it.
pub(crate) struct Partial {
    time: Duration,
    missed: Mutex<Vec<(String, Error)>>,
}

impl Partial {
    /// Notes a gateway, once.
    fn miss(&self, gateway: String, error: Error) {
        let mut missed = self.missed.lock();
        if !missed.iter().any(|(known, _)| *known == gateway) {
            missed.push((gateway, error));
        }
    }
}

impl Unanswered {
    /// The inner address of each gateway without an answer, and why there is none: those of every
    /// query since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<(String, Error)> {
        std::mem::take(&mut *self.0.missed.lock())
    }
}

impl Cluster {
    /// A handle whose queries to all gateways do not fail because of a gateway that is not linked,
    /// or does not answer within `time` (at most five seconds): they return what the others know,
    /// and name it in [`Unanswered`]. It is for views of the cluster, which matter most when
    /// a gateway is missing; a program that decides by the answer uses the handle that fails.
    ///
    /// Queries about one client are no different: without its gateway they have no answer.
    #[must_use]
    pub fn partial(&self, time: Duration) -> (Self, Unanswered) {
        let partial = Arc::new(Partial { time, missed: Mutex::default() });
        let unanswered = Unanswered(Arc::clone(&partial));
        (Self { partial: Some(partial), ..self.clone() }, unanswered)
    }

    /// Queries a gateway, within the time of this handle if it has one.
    ///
    /// # Errors
    /// Those of [`Link::ask`].
    pub(super) async fn ask_link(&self, link: &Link, query: Query) -> Result<Answer, Error> {
        let Some(partial) = &self.partial else { return link.ask(query).await };
        let late = |_| Error::Timeout { gateway: link.gateway().to_string() };
        timeout(partial.time, link.ask(query)).await.map_err(late).flatten()
    }

    /// Queries every gateway concurrently, and returns the answers that there are.
    ///
    /// # Errors
    /// When no gateway is known at all.
    pub(super) async fn ask_each(
        &self,
        partial: &Partial,
        query: impl Fn(SocketAddr) -> Option<Query>,
    ) -> Result<Vec<merge::From>, Error> {
        self.counted(async {
            let directory = self.settled().await;
            let mut missing = directory.missing().peekable();
            if missing.peek().is_none() && directory.links().next().is_none() {
                return Err(self.shared.no_gateway());
            }
            for gateway in missing {
                let gateway = gateway.to_string();
                let error = self.shared.cause(Error::Unreachable { gateway: gateway.clone() });
                partial.miss(gateway, error);
            }
            let asked = directory.links().filter_map(|link| {
                let query = query(link.gateway())?;
                Some(async move {
                    match self.ask_link(link, query).await {
                        Ok(answer) => Some((link.gateway(), answer)),
                        Err(error) => {
                            partial.miss(link.gateway().to_string(), error);
                            None
                        }
                    }
                })
            });
            Ok(join_all(asked).await.into_iter().flatten().collect())
        })
        .await
    }
}

impl fmt::Debug for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unanswered").field(&*self.0.missed.lock()).finish()
    }
}
