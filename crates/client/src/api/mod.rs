//! One method for each command and each query; how calls reach gateways is here, what they say
//! is in the two files below.

mod commands;
mod queries;

pub use queries::Filter;

use std::{net::SocketAddr, sync::Arc};

use futures_util::future::try_join_all;
use protocol::{Answer, ClientId, Command, Query, link::ToGateway};
use service::clock;

use crate::{
    Cluster, Error,
    directory::Directory,
    link::{Crowded, Link},
    merge::{self, Mismatch},
};

impl Cluster {
    /// The link to a client's gateway; `None` if there is no such gateway.
    async fn link_of(&self, client: ClientId) -> Result<Option<Arc<Link>>, Error> {
        let now = self.shared.directory();
        if let Some(link) = now.link(client.gateway) {
            return Ok(Some(Arc::clone(link)));
        }
        let settled = self.settled().await;
        if let Some(link) = settled.link(client.gateway) {
            return Ok(Some(Arc::clone(link)));
        }
        let gateway = client.gateway.to_string();
        match settled.missing().any(|missing| **missing == *gateway) {
            true => Err(Error::Unreachable { gateway }),
            false => Ok(None),
        }
    }

    /// Where commands for a client's gateway go; `None` if there is no such gateway.
    async fn place_of(&self, client: ClientId) -> Result<Option<Arc<Link>>, Error> {
        match self.shared.directory().place(client.gateway) {
            Some(place) => Ok(Some(Arc::clone(place))),
            None => self.link_of(client).await,
        }
    }

    /// Sends a command to a client's gateway.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when that is not linked, and is not waited for either.
    pub async fn command(&self, client: ClientId, command: Command) -> Result<(), Error> {
        let Some(link) = self.place_of(client).await? else {
            return Err(Error::Unreachable { gateway: client.gateway.to_string() });
        };
        self.push(&link, &mut ToGateway::Command { seq: 0, command }).await
    }

    /// Sends to every gateway for which there is a command. A gateway that is slow to take it
    /// does not hold up the others.
    async fn command_all(
        &self,
        command: impl Fn(SocketAddr) -> Option<Command>,
    ) -> Result<(), Error> {
        let directory = self.settled().await;
        self.shared.metrics.missed.inc_by(directory.out_of_reach() as u64);
        let mut crowded = Vec::new();
        let mut nowhere = directory.links().next().is_none();
        for link in directory.links().chain(directory.parked()) {
            let Some(command) = command(link.gateway()) else {
                nowhere = false;
                continue;
            };
            let mut message = ToGateway::Command { seq: 0, command };
            match self.offer(link, &mut message) {
                Ok(Ok(())) => nowhere = false,
                Ok(Err(full)) => crowded.push((link, message, full)),
                Err(error) => self.missed(error)?,
            }
        }
        if nowhere && crowded.is_empty() {
            return Err(Error::NoGateway);
        }
        for (link, mut message, full) in crowded {
            link.room(full).await;
            match self.push(link, &mut message).await {
                Ok(()) => {}
                Err(error) => self.missed(error)?,
            }
        }
        Ok(())
    }

    /// A gateway that is lost in the middle of a call is like one that was lost before.
    fn missed(&self, error: Error) -> Result<(), Error> {
        match error {
            Error::Unreachable { .. } => {
                self.shared.metrics.missed.inc();
                Ok(())
            }
            error => Err(error),
        }
    }

    /// Sends a command, and waits while there is no room.
    async fn push(&self, link: &Link, command: &mut ToGateway) -> Result<(), Error> {
        loop {
            match self.offer(link, command)? {
                Ok(()) => return Ok(()),
                Err(full) => link.room(full).await,
            }
        }
    }

    /// Sends a command if there is room, and notes on whose behalf.
    fn offer(&self, link: &Link, command: &mut ToGateway) -> Result<Result<(), Crowded>, Error> {
        if let Some(pushes) = &self.pushes
            && let Some(pushed) = pushes.push(link, command)
        {
            return pushed;
        }
        let queued = link.carry(command)?;
        if let Ok(number) = queued
            && self.shared.has_events()
        {
            self.shared.unclaimed.record(link.line(), number);
        }
        Ok(queued.map(drop))
    }

    /// Asks a client's gateway; `None` if there is no such gateway.
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

    /// Asks every gateway at once. One that cannot be asked makes the whole answer wrong, unless it was
    /// never linked within the grace: it may be announced under an address that leads nowhere, and would make
    /// every question fail.
    async fn ask_all(
        &self,
        query: impl Fn(SocketAddr) -> Option<Query>,
    ) -> Result<Vec<merge::From>, Error> {
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
                None => Err(Error::NoGateway),
            }
        })
        .await
    }

    async fn counted<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let metrics = &self.shared.metrics;
        metrics.queries.inc();
        let answer = answer.await;
        if answer.is_err() {
            metrics.failed_queries.inc();
        }
        answer
    }

    /// The gateways, once a register has spoken and none of them is being linked for the first
    /// time; but not later than [`SETTLE`](crate::SETTLE), which runs from when the last of them became known,
    /// so that one whose address swallows connections does not hold up call after call.
    async fn settled(&self) -> Arc<Directory<Arc<Link>>> {
        let now = self.shared.directory();
        if now.is_settled() {
            return now;
        }
        drop(now);
        let wait = self.shared.settles_in(clock::now()).unwrap_or(crate::SETTLE);
        // Whoever is not linked by then is as good as gone.
        let _ = tokio::time::timeout(wait, self.until(Directory::is_settled)).await;
        self.shared.directory()
    }
}

impl From<Mismatch> for Error {
    fn from(Mismatch(gateway): Mismatch) -> Self {
        Self::Mismatch { gateway: gateway.to_string() }
    }
}
