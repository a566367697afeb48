//! The methods for commands and queries. This file routes calls to gateways; the two submodules
//! define their contents.

mod call;
mod commands;
mod inspect;
mod operate;
mod partial;
mod presence;
mod queries;
mod refusals;
mod registers;
mod request;
mod retained;
mod sending;
mod sessions;
mod streams;
mod tail;
mod tokens;
mod trace;

pub(crate) use partial::Partial;
pub use partial::Unanswered;
pub use presence::PresenceCounts;
pub use queries::Filter;
pub use request::report_on;
pub use sending::{Queueing, Sending};
pub use sessions::SessionSwap;

use std::{net::SocketAddr, slice, sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use protocol::{Answer, ClientId, Command, Query, link::ToGateway};
use runtime::clock;

use self::{
    call::Call,
    request::{Request, collect},
    sending::Waits,
};
use crate::{
    Cluster, Error, Report,
    directory::Directory,
    link::{Full, Link, Offer},
    merge::{self, Mismatch},
};

/// A command for which there was no queue space.
struct Blocked {
    link: Arc<Link>,
    message: ToGateway,
    full: Full,
}

impl Cluster {
    /// The link to a client's gateway; `None` if no such gateway exists.
    async fn link_of(&self, client: ClientId) -> Result<Option<Arc<Link>>, Error> {
        let now = self.shared.directory();
        if let Some(link) = now.link(client.gateway) {
            return Ok(Some(Arc::clone(link)));
        }
        let settled = self.settled().await;
        if let Some(link) = settled.link(client.gateway) {
            return Ok(Some(Arc::clone(link)));
        }
        if self.shared.is_closed() || !settled.has_list() {
            return Err(self.shared.no_gateway());
        }
        let gateway = client.gateway.to_string();
        match settled.missing().any(|missing| **missing == *gateway) {
            true => Err(Error::Unreachable { gateway }),
            false => Ok(None),
        }
    }

    /// The link, possibly disconnected, that queues commands for a client's gateway; `None` if no
    /// such gateway exists.
    async fn place_of(&self, client: ClientId) -> Result<Option<Arc<Link>>, Error> {
        match self.shared.directory().place(client.gateway) {
            Some(place) => Ok(Some(Arc::clone(place))),
            None => self.link_of(client).await,
        }
    }

    /// Sends a command to a client's gateway.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the gateway is not linked and no reconnect is awaited.
    pub(crate) async fn command(&self, client: ClientId, command: Command) -> Result<(), Error> {
        let Some(link) = self.place_of(client).await? else {
            return Err(Error::Unreachable { gateway: client.gateway.to_string() });
        };
        let pushed = self.push(&link, &mut ToGateway::Command { seq: 0, command }).await;
        pushed.map_err(|error| self.shared.cause(error))
    }

    /// Sends a call without waiting. Returns the rest of it if it has to wait: for gateways to be
    /// discovered, or for queue space.
    fn try_call<'a>(&'a self, call: Call) -> Result<Option<Waits<'a>>, Error> {
        let directory = self.shared.directory();
        match call {
            Call::Client(client, command) => {
                let Some(link) = directory.place(client.gateway) else {
                    return Ok(Some(Box::pin(self.command(client, command))));
                };
                let mut message = ToGateway::Command { seq: 0, command };
                let offered = self.offer(link, &mut message);
                match offered.map_err(|error| self.shared.cause(error))? {
                    Offer::Queued(_) => Ok(None),
                    Offer::Full(full) => {
                        let link = Arc::clone(link);
                        Ok(Some(Box::pin(async move {
                            link.room(full).await;
                            let pushed = self.push(&link, &mut message).await;
                            pushed.map_err(|error| self.shared.cause(error))
                        })))
                    }
                }
            }
            call if call.is_single() && (directory.is_settled() || self.shared.is_closed()) => {
                let blocked = self.offer_all(&directory, &call)?;
                Ok(match blocked.is_empty() {
                    true => None,
                    false => Some(Box::pin(self.push_all(blocked))),
                })
            }
            call => Ok(Some(Box::pin(async {
                for call in call.split() {
                    let directory = self.settled().await;
                    let blocked = self.offer_all(&directory, &call)?;
                    self.push_all(blocked).await?;
                }
                Ok(())
            }))),
        }
    }

    /// Queues a call for every gateway concerned, and returns the commands for which there was no
    /// queue space: a slow gateway does not delay the others.
    fn offer_all(
        &self,
        directory: &Directory<Arc<Link>>,
        call: &Call,
    ) -> Result<Vec<Blocked>, Error> {
        self.shared.metrics.missed.inc_by(directory.out_of_reach() as u64);
        let mut blocked = Vec::new();
        let mut no_gateway = directory.links().next().is_none();
        for link in directory.links().chain(directory.parked()) {
            let Some(command) = call.on(link.gateway()) else {
                no_gateway = false;
                continue;
            };
            let mut message = ToGateway::Command { seq: 0, command };
            match self.offer(link, &mut message) {
                Ok(Offer::Queued(_)) => no_gateway = false,
                Ok(Offer::Full(full)) => {
                    no_gateway = false;
                    blocked.push(Blocked { link: Arc::clone(link), message, full });
                }
                Err(error) => self.missed(error)?,
            }
        }
        match no_gateway {
            true => Err(self.shared.no_gateway()),
            false => Ok(blocked),
        }
    }

    async fn push_all(&self, blocked: Vec<Blocked>) -> Result<(), Error> {
        for Blocked { link, mut message, full } in blocked {
            link.room(full).await;
            match self.push(&link, &mut message).await {
                Ok(()) => {}
                Err(error) => self.missed(error)?,
            }
        }
        Ok(())
    }

    /// Sends a call, and collects the effects that the gateways report within `time`. The future of
    /// each handler that waits for a report contains this one: it is kept small, with boxes for what
    /// is rare.
    async fn reported(&self, call: Result<Call, Error>, time: Duration) -> Result<Report, Error> {
        let call = match call? {
            Call::Client(client, command) => {
                let link = self.shared.directory().place(client.gateway).cloned();
                let link = match link {
                    Some(link) => link,
                    None => match Box::pin(self.link_of(client)).await? {
                        Some(link) => link,
                        None => {
                            let gateway = client.gateway.to_string();
                            return Err(Error::Unreachable { gateway });
                        }
                    },
                };
                let offered = Request::offer(&link, command, |message| self.offer(&link, message));
                let mut request = offered.map_err(|error| self.shared.cause(error))?;
                if let Some(mut blocked) = request.take_blocked() {
                    let pushed = Box::pin(async {
                        link.room(blocked.1).await;
                        self.push(&link, &mut blocked.0).await
                    });
                    pushed.await.map_err(|error| self.shared.cause(error))?;
                }
                return Ok(collect(slice::from_mut(&mut request), time).await);
            }
            call => call,
        };
        let now = self.shared.directory();
        let directory = match now.is_settled() || self.shared.is_closed() {
            true => now,
            false => Box::pin(self.settled()).await,
        };
        let (mut requests, missing) = match call.is_single() {
            true => self.request_all(&directory, &[call])?,
            false => self.request_all(&directory, &call.split())?,
        };
        for request in &mut requests {
            if let Some(blocked) = request.take_blocked() {
                Box::pin(self.push_blocked(request, blocked)).await?;
            }
        }
        let mut report = collect(&mut requests, time).await;
        missing.into_iter().for_each(|gateway| report.add_unreachable(gateway));
        Ok(report)
    }

    /// Offers the commands of calls to the gateways concerned, of which a slow one does not delay the
    /// others. Returns them, and the gateways concerned that were never linked, or were given
    /// up.
    fn request_all<'a>(
        &self,
        directory: &'a Directory<Arc<Link>>,
        calls: &[Call],
    ) -> Result<(Vec<Request<'a>>, Vec<SocketAddr>), Error> {
        let mut requests = Vec::new();
        for call in calls {
            self.shared.metrics.missed.inc_by(directory.out_of_reach() as u64);
            let mut no_gateway = true;
            for link in directory.links().chain(directory.parked()) {
                no_gateway = false;
                let Some(command) = call.on(link.gateway()) else { continue };
                match Request::offer(link, command, |message| self.offer(link, message)) {
                    Ok(request) => requests.push(request),
                    Err(error) => {
                        self.missed(error)?;
                        requests.push(Request::unsent(link));
                    }
                }
            }
            if no_gateway {
                return Err(self.shared.no_gateway());
            }
        }
        let missing = directory.missing().filter_map(|gateway| gateway.parse().ok());
        let missing = missing.filter(|at| calls.iter().any(|call| call.on(*at).is_some()));
        Ok((requests, missing.collect()))
    }

    /// Sends a command for which there was no queue space.
    async fn push_blocked(
        &self,
        request: &mut Request<'_>,
        mut blocked: Box<(ToGateway, Full)>,
    ) -> Result<(), Error> {
        request.link.room(blocked.1).await;
        if let Err(error) = self.push(request.link, &mut blocked.0).await {
            self.missed(error)?;
            *request = Request::unsent(request.link);
        }
        Ok(())
    }

    /// Treats a gateway lost during a call like one lost before.
    fn missed(&self, error: Error) -> Result<(), Error> {
        match error {
            Error::Unreachable { .. } => {
                self.shared.metrics.missed.inc();
                Ok(())
            }
            error => Err(error),
        }
    }

    /// Sends a command, waiting for queue space.
    async fn push(&self, link: &Link, command: &mut ToGateway) -> Result<(), Error> {
        loop {
            match self.offer(link, command)? {
                Offer::Queued(_) => return Ok(()),
                Offer::Full(full) => link.room(full).await,
            }
        }
    }

    /// Sends a command if there is queue space, and attributes it to the handler.
    fn offer(&self, link: &Link, command: &mut ToGateway) -> Result<Offer<Full>, Error> {
        if let Some(scope) = &self.scope
            && let Some(pushed) = scope.push(link, command)
        {
            return pushed;
        }
        let queued = link.offer_for_session(command)?;
        if let Offer::Queued(number) = queued
            && self.shared.has_events()
        {
            self.shared.unscoped.record(link.session(), number);
        }
        Ok(queued)
    }

    /// Queries a client's gateway; `None` if no such gateway exists.
    async fn ask(
        &self,
        client: ClientId,
        query: Query,
    ) -> Result<Option<(Arc<Link>, Answer)>, Error> {
        self.counted(async {
            let Some(link) = self.link_of(client).await? else { return Ok(None) };
            let answer = link.ask(query).await?;
            Ok(Some((link, answer)))
        })
        .await
    }

    /// Queries every gateway concurrently. A gateway that is not linked makes the whole query fail,
    /// unless it was never linked within the grace period: it may be announced under an unreachable
    /// address, and would make every query fail.
    pub(crate) async fn ask_all(
        &self,
        query: impl Fn(SocketAddr) -> Option<Query>,
    ) -> Result<Vec<merge::From>, Error> {
        if let Some(partial) = &self.partial {
            return self.ask_each(partial, query).await;
        }
        self.counted(async {
            let directory = self.settled().await;
            if let Some(missing) = directory.required().next() {
                return Err(Error::Unreachable { gateway: missing.to_string() });
            }
            if directory.left_out() != 0 {
                self.shared.metrics.partial_queries.inc();
            }
            let asked = directory.links().filter_map(|link| {
                let query = query(link.gateway())?;
                Some(async { Ok((link.gateway(), link.ask(query).await?)) })
            });
            match directory.links().next() {
                Some(_) => try_join_all(asked).await,
                None => Err(self.shared.no_gateway()),
            }
        })
        .await
    }

    async fn counted<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let metrics = &self.shared.metrics;
        metrics.queries.inc();
        let answer = answer.await.map_err(|error| self.shared.cause(error));
        if answer.is_err() {
            metrics.failed_queries.inc();
        }
        answer
    }

    /// The gateways, once a register has sent its list and no first link is in progress; at the
    /// latest after [`SETTLE`](crate::SETTLE), counted from the last new gateway, so that an
    /// address that drops packets does not delay call after call.
    async fn settled(&self) -> Arc<Directory<Arc<Link>>> {
        let now = self.shared.directory();
        if now.is_settled() || self.shared.is_closed() {
            return now;
        }
        drop(now);
        let wait = self.shared.settles_in(clock::now()).unwrap_or(crate::SETTLE);
        // A gateway not linked by then is treated as unreachable.
        let _ = tokio::time::timeout(wait, self.until(Directory::is_settled)).await;
        self.shared.directory()
    }
}

impl From<Mismatch> for Error {
    fn from(Mismatch(gateway): Mismatch) -> Self {
        Self::Mismatch { gateway: gateway.to_string() }
    }
}
