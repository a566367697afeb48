//! Traces: one push, and the time of each of its steps.

use std::time::Duration;

use futures_util::future::join_all;
use protocol::{
    Answer, Query,
    inspect::{MAX_TRACE_WAIT, MAX_TRACED_MESSAGE, Trace, TracedPush},
};
use runtime::clock;

use crate::{
    Cluster, Error,
    inspect::{ClusterTrace, GatewayTrace, TailTarget},
    link::Link,
};

/// Traces of pushes.
impl Cluster {
    /// Sends a push to some clients as a message is, on the gateways that are linked now, and returns the
    /// time of each step once the sockets of all have taken it. After `wait`, at most 30 seconds, the
    /// others are reported as [waiting](protocol::inspect::TracedFate::Waiting): they do not read.
    ///
    /// A gateway traces one push of this cluster at a time, and at most 16 in all: others fail with
    /// [`Error::Busy`], and are not sent.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a message of more than 64 KiB; [`Error::Unreachable`] when the
    /// gateway of the client is not linked; when no gateway is known, as for
    /// [`gateways`](Self::gateways). Otherwise gateways that do not answer are listed in the result.
    pub async fn trace(
        &self,
        target: TailTarget,
        push: TracedPush,
        wait: Duration,
    ) -> Result<ClusterTrace, Error> {
        if let TracedPush::Message { body, .. } = &push
            && MAX_TRACED_MESSAGE < body.len()
        {
            return Err(Error::TooLarge { limit: MAX_TRACED_MESSAGE });
        }
        let directory = self.settled().await;
        if directory.links().next().is_none() && directory.missing().next().is_none() {
            return Err(self.shared.no_gateway());
        }
        let wait = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).min(MAX_TRACE_WAIT);
        let asked = directory.links().filter_map(|link| {
            let trace = Trace { target: target.on(link.gateway())?, push: push.clone(), wait };
            Some(async { (link.gateway(), trace_on(link, trace).await) })
        });
        let mut trace = ClusterTrace::default();
        for (gateway, answer) in join_all(asked).await {
            trace.add(gateway, answer);
        }
        for address in directory.missing() {
            if let Ok(gateway) = address.parse()
                && target.on(gateway).is_some()
            {
                trace.add(gateway, Err(Error::Unreachable { gateway: address.to_string() }));
            }
        }
        if let TailTarget::Client(client) = target
            && trace.gateways.is_empty()
        {
            let first = trace.unanswered.pop().map(|(_, error)| error);
            return Err(first.unwrap_or(Error::Unreachable { gateway: client.gateway.to_string() }));
        }
        trace.gateways.sort_by_key(|trace| trace.gateway);
        Ok(trace)
    }
}

async fn trace_on(link: &Link, trace: Trace) -> Result<GatewayTrace, Error> {
    let wait = Duration::from_millis(trace.wait.into());
    let asked = clock::now();
    let answer = link.ask_within(Query::Trace(Box::new(trace)), wait).await;
    let round_trip = clock::now().saturating_duration_since(asked);
    match answer {
        Ok(Answer::Traced(traced)) => Ok(GatewayTrace::new(link.gateway(), round_trip, *traced)),
        Ok(_) => Err(link.mismatch()),
        Err(Error::Unavailable { gateway }) => Err(Error::Busy { gateway }),
        Err(error) => Err(error),
    }
}
