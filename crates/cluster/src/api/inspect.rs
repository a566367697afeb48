//! Queries of operators. A gateway that does not answer is named, and does not hide the others.

use futures_util::future::join_all;
use protocol::{
    Answer, ClientId, Query,
    inspect::{ClientDetails, Inspect, MAX_PAGE},
};

use crate::{
    Cluster, Error,
    error::at_most_targets,
    inspect::{
        ClientFilter, ClientPage, ClusterHistory, GatewayReport, HistoryFilter, InspectedClient,
        PageStart, WorkerReport, workers,
    },
    targets,
};

/// Status of gateways and workers, and details of clients.
impl Cluster {
    /// The status of each known gateway, ordered by address. One that is not linked, or does not
    /// answer within five seconds, is listed with the error.
    ///
    /// # Errors
    /// When no gateway is known: [`Error::NoGateway`], [`Error::NoRegister`],
    /// [`Error::WrongSecret`]; [`Error::Closed`] if the cluster is closed.
    pub async fn gateways(&self) -> Result<Vec<GatewayReport>, Error> {
        let directory = self.settled().await;
        let asked = join_all(directory.links().map(async |link| {
            let status = match self.ask_link(link, Query::Gateway).await {
                Ok(Answer::Gateway(status)) => Ok(*status),
                Ok(_) => Err(link.mismatch()),
                Err(error) => Err(error),
            };
            GatewayReport::new(link.gateway().to_string(), status)
        }));
        let mut reports = asked.await;
        reports.extend(directory.missing().map(|address| {
            let gateway = address.to_string();
            GatewayReport::new(gateway.clone(), Err(Error::Unreachable { gateway }))
        }));
        if reports.is_empty() {
            return Err(self.shared.no_gateway());
        }
        reports.sort_by_cached_key(|report| sort_key(&report.address));
        Ok(reports)
    }

    /// The workers that any gateway reports, ordered by key. A gateway that does not answer
    /// contributes none; see [`gateways`](Self::gateways), from whose result
    /// [`workers`] computes the same.
    ///
    /// # Errors
    /// Those of [`gateways`](Self::gateways).
    pub async fn workers(&self) -> Result<Vec<WorkerReport>, Error> {
        Ok(workers(&self.gateways().await?))
    }

    /// A page of at most `limit` clients that match a filter, with their details; no more than
    /// 1,000 whatever `limit` is. `from` is the start of the page: `None` for the first one, then
    /// [`ClientPage::next`]. A page may have fewer clients, also none, and not be the last.
    ///
    /// Clients that connect or close between two pages may be in neither; a client is never in two.
    ///
    /// # Errors
    /// [`Error::TooMany`] for a filter with more than 10,000 clients of one gateway. Otherwise when
    /// no gateway is known, as for [`gateways`](Self::gateways): gateways that do not answer are
    /// listed in the page.
    pub async fn inspect(
        &self,
        filter: &ClientFilter,
        limit: u32,
        from: Option<PageStart>,
    ) -> Result<ClientPage, Error> {
        if let Some(clients) = &filter.clients {
            at_most_targets(targets::most_on_one(clients))?;
        }
        let directory = self.settled().await;
        let mut links: Vec<_> = directory.links().collect();
        if links.is_empty() && directory.missing().next().is_none() {
            return Err(self.shared.no_gateway());
        }
        let mut page = ClientPage::default();
        if from.is_none() {
            for gateway in directory.missing() {
                let concerned = gateway.parse().is_ok_and(|gateway| filter.on(gateway).is_some());
                if concerned {
                    let gateway = gateway.to_string();
                    page.unanswered.push((gateway.clone(), Error::Unreachable { gateway }));
                }
            }
        }
        links.sort_by_key(|link| link.gateway());
        links.retain(|link| from.is_none_or(|from| from.gateway <= link.gateway()));
        let mut room = limit.clamp(1, MAX_PAGE);
        for link in links {
            let gateway = link.gateway();
            let Some(filter) = filter.on(gateway) else { continue };
            let after = from.filter(|from| from.gateway == gateway).map_or(0, |from| from.after);
            if room == 0 {
                page.next = Some(PageStart { gateway, after });
                break;
            }
            let inspect = Inspect { filter, limit: room, after };
            match self.ask_link(link, Query::Inspect(Box::new(inspect))).await {
                Ok(Answer::Details(details)) => {
                    room = room.saturating_sub(details.clients.len() as u32);
                    let clients = details.clients.into_iter();
                    page.clients.extend(clients.map(|it| InspectedClient::new(gateway, it)));
                    if let Some(after) = details.next {
                        page.next = Some(PageStart { gateway, after });
                        break;
                    }
                }
                Ok(_) => page.unanswered.push((gateway.to_string(), link.mismatch())),
                Err(error) => page.unanswered.push((gateway.to_string(), error)),
            }
        }
        Ok(page)
    }

    /// The last lifecycle events that match a filter, oldest first. Each gateway keeps some
    /// thousand of them (`--event-ring`), so the events of a client that has closed are known for a
    /// while.
    ///
    /// # Errors
    /// When no gateway is known, as for [`gateways`](Self::gateways): gateways that do not answer
    /// are listed in the result.
    pub async fn history(&self, filter: &HistoryFilter) -> Result<ClusterHistory, Error> {
        let directory = self.settled().await;
        if directory.links().next().is_none() && directory.missing().next().is_none() {
            return Err(self.shared.no_gateway());
        }
        let asked = directory.links().filter_map(|link| {
            let history = filter.on(link.gateway())?;
            Some(async move {
                let answer = match self.ask_link(link, Query::History(Box::new(history))).await {
                    Ok(Answer::History(events)) => Ok(events),
                    Ok(_) => Err(link.mismatch()),
                    Err(error) => Err(error),
                };
                (link.gateway(), answer)
            })
        });
        let mut history = ClusterHistory::default();
        for (gateway, answer) in join_all(asked).await {
            history.add(gateway, answer);
        }
        for address in directory.missing() {
            if let Ok(gateway) = address.parse()
                && filter.on(gateway).is_some()
            {
                let error = Error::Unreachable { gateway: address.to_string() };
                history.add(gateway, Err(error));
            }
        }
        history.finish(filter.limit);
        Ok(history)
    }

    /// The details of a client; `None` when it is not connected.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn inspect_client(&self, client: ClientId) -> Result<Option<ClientDetails>, Error> {
        let filter = ClientFilter { clients: Some(vec![client]), ..ClientFilter::default() };
        let Some(filter) = filter.on(client.gateway) else { return Ok(None) };
        let query = Query::Inspect(Box::new(Inspect { filter, limit: 1, after: 0 }));
        match self.ask(client, query).await? {
            None => Ok(None),
            Some((_, Answer::Details(page))) => Ok(page.clients.into_iter().next()),
            Some((link, _)) => Err(link.mismatch()),
        }
    }
}

/// Addresses in the order of their numbers; names behind them.
fn sort_key(address: &str) -> (Option<std::net::SocketAddr>, String) {
    (address.parse().ok(), address.to_owned())
}
