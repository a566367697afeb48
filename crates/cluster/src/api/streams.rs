//! Streams: publishing, history, and clients that recover.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use protocol::{
    Answer, ClientId, Command, Position, Query, StreamName,
    streaming::{Held, Hold, Release, Released},
};
use store::{Append, Appended, ErrorKind, Limit, Range, Read, Reading, StreamStore};
use tokio::time::sleep;

use super::{call::Call, sending::Sending};
use crate::{
    Cluster, Error,
    error::at_most_targets,
    streams::{
        MOST_RECOVERED, NotRecovered, Published, Recovering, Recovery, Streams, append_key,
        hold_number, metadata, plain,
    },
    targets::{Exclude, most_on_one},
};

/// How long a recovery waits for its gateway before it reads the store again, each time.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(300), Duration::from_secs(1)];

/// Calls about streams. They need [`Config::streams`](crate::Config#structfield.streams).
impl Cluster {
    /// Appends a message to a stream, and sends it to every member of the group, or every client of
    /// the uid. Each of them receives the messages of a stream once and in order, whichever worker
    /// has published them, and also if this process dies before it has sent what it has appended.
    /// In a handler it appends nothing again when the event is redelivered, if the handler makes the
    /// same calls in the same order.
    ///
    /// Without a store the message is sent without a position.
    ///
    /// # Errors
    /// [`Error::Store`] if the store does not take the message: then nothing is sent, unless
    /// [`Streams::delivers_unrecorded`] is set. Without a store those of
    /// [commands](Error#commands). That no gateway is linked is no error with one: gateways ask for
    /// what they have missed.
    pub async fn publish(
        &self,
        stream: impl Into<StreamName>,
        payload: impl Into<Bytes>,
    ) -> Result<Published, Error> {
        self.publish_except(stream, &[], payload).await
    }

    /// The same, except to some clients.
    ///
    /// # Errors
    /// [`Error::TooMany`] for more than 1,000 excluded clients.
    /// Also those of [`publish`](Self::publish).
    pub async fn publish_except(
        &self,
        stream: impl Into<StreamName>,
        exclude: &[ClientId],
        payload: impl Into<Bytes>,
    ) -> Result<Published, Error> {
        let (stream, payload) = (stream.into(), payload.into());
        let metrics = &self.shared.metrics.streams;
        at_most_targets(most_on_one(exclude))?;
        let Some((streams, store)) = self.store() else {
            return self.deliver(stream, exclude, payload).await;
        };
        let renew = self.shared.streams.unrecorded.has(&stream);
        let appended = store.append(Append {
            stream: stream.clone(),
            key: append_key(self.step()),
            payload: payload.clone(),
            metadata: metadata(exclude),
            rule: streams.protocol.rule(&stream),
            renew,
        });
        let Appended { position, repeated } = match appended.await {
            Ok(appended) => appended,
            Err(error) => {
                metrics.failures.inc();
                // It may be in the store: then gateways would send it a second time.
                let is_sure = !error.kind.is_unknown() && error.kind != ErrorKind::Invalid;
                if !streams.delivers_unrecorded || !is_sure {
                    return Err(error.into());
                }
                tracing::debug!(%error, "message delivered without a position");
                self.shared.streams.unrecorded.add(&stream);
                return self.deliver(stream, exclude, payload).await;
            }
        };
        metrics.published.inc();
        if renew {
            self.shared.streams.unrecorded.renewed(&stream);
        }
        let message = streams.protocol.message(&stream, Some(position), &payload);
        let exclude = exclude.to_vec();
        let call = Call::Publish { stream, position, exclude, message };
        if let Err(error) = Sending::new(self, Ok(call)).await {
            tracing::debug!(%error, "gateways ask for a message that was appended");
        }
        Ok(Published { position: Some(position), repeated })
    }

    /// Sends a message of a stream without a position.
    async fn deliver(
        &self,
        stream: StreamName,
        exclude: &[ClientId],
        payload: Bytes,
    ) -> Result<Published, Error> {
        let message = match &self.shared.streams.settings {
            Some(streams) => streams.protocol.message(&stream, None, &payload),
            None => plain(payload),
        };
        let exclude = Exclude::from(exclude);
        let call = match stream {
            StreamName::Group(group) => Call::ToGroups(vec![group], exclude, message),
            StreamName::Uid(uid) => Call::ToUids(vec![uid], exclude, message),
        };
        Sending::new(self, Ok(call)).await?;
        Ok(Published { position: None, repeated: false })
    }

    /// Adds a client to the group of a stream, or binds it to the uid, and sends it what it has
    /// missed since the position that it states. From there on it receives the stream as the other
    /// members do: there is no gap in between, and nothing comes twice.
    ///
    /// If the store does not have everything that was missed, the client has not recovered, and is
    /// sent a message that says so ([`StreamProtocol::joined`](crate::StreamProtocol::joined)) and
    /// nothing else of the past. Without a position it joins at the newest message. Without a store
    /// it joins and has not recovered.
    ///
    /// A position gives no right to read: call it for a client that may join.
    ///
    /// # Errors
    /// [`Error::Offline`] if the client is not connected.
    /// Also those of [queries](Error#queries): the client is then notified that it may have missed
    /// messages, or has recovered.
    pub async fn join_stream(
        &self,
        client: ClientId,
        stream: impl Into<StreamName>,
        after: Option<Position>,
    ) -> Result<Recovery, Error> {
        // Boxed, since the future of each handler that calls it contains this one.
        Box::pin(self.add_to_stream(client, stream.into(), after, true)).await
    }

    /// The same for a client that gets into the group by other means, such as
    /// [`join_presence`](Self::join_presence): right after this call, or before it if nothing was
    /// published meanwhile.
    ///
    /// # Errors
    /// As [`join_stream`](Self::join_stream).
    pub async fn recover(
        &self,
        client: ClientId,
        stream: impl Into<StreamName>,
        after: Option<Position>,
    ) -> Result<Recovery, Error> {
        Box::pin(self.add_to_stream(client, stream.into(), after, false)).await
    }

    async fn add_to_stream(
        &self,
        client: ClientId,
        stream: StreamName,
        after: Option<Position>,
        joins: bool,
    ) -> Result<Recovery, Error> {
        let Some((streams, store)) = self.store() else {
            self.join_plainly(client, stream, joins).await?;
            return Ok(Recovery::not(NotRecovered::Unavailable, None));
        };
        let number = hold_number(self.step());
        let lost = streams.protocol.reset(&stream, None, NotRecovered::Abandoned);
        let query = Query::HoldStream(Box::new(Hold {
            client: client.connection,
            number,
            stream: stream.clone(),
            joins,
            lost: protocol::streaming::Enclosed(lost),
            ordinal: 0,
        }));
        match self.ask(client, query).await? {
            Some((_, Answer::Held(Held::Held))) => {}
            Some((_, Answer::Held(Held::Offline))) | None => {
                return Err(Error::Offline { client });
            }
            Some((_, Answer::Held(Held::Ended { recovered }))) => {
                let reason = (!recovered).then_some(NotRecovered::Abandoned);
                return Ok(Recovery { recovered, reason, count: 0, position: None });
            }
            Some((_, Answer::Held(Held::Refused))) => {
                let reason = NotRecovered::Unavailable;
                let refused = Recovering::failed(streams, &stream, reason, None);
                self.join_plainly(client, stream, joins).await?;
                for message in refused.messages {
                    self.send_to_client(client, message.0).await?;
                }
                return Ok(refused.recovery);
            }
            Some((link, _)) => return Err(link.mismatch()),
        }
        for pause in PAUSES {
            let recovering = self.read_missed(streams, store, client, &stream, after).await;
            match self.release(client, number, &stream, recovering).await? {
                Ok(recovery) => return Ok(recovery),
                // Messages published meanwhile are on their way to the gateway.
                Err(Again) => sleep(pause).await,
            }
        }
        let mut recovering = self.read_missed(streams, store, client, &stream, after).await;
        if recovering.recovery.recovered {
            let position = recovering.recovery.position;
            let reason = NotRecovered::Unavailable;
            match self.release(client, number, &stream, recovering).await? {
                Ok(recovery) => return Ok(recovery),
                Err(Again) => {
                    recovering = Recovering::failed(streams, &stream, reason, position);
                }
            }
        }
        let released = self.release(client, number, &stream, recovering).await?;
        Ok(released.unwrap_or(Recovery::not(NotRecovered::Abandoned, None)))
    }

    async fn read_missed(
        &self,
        streams: &Streams,
        store: &Arc<dyn StreamStore>,
        client: ClientId,
        stream: &StreamName,
        after: Option<Position>,
    ) -> Recovering {
        let Limit { items, bytes } = streams.most_recovered;
        let limit = Limit { items: items.min(MOST_RECOVERED), bytes };
        let range = after.map_or(Range::Top, Range::Missed);
        match store.read(Read { stream: stream.clone(), range, limit }).await {
            Ok(reading) if after.is_some() && self.shared.streams.unrecorded.has(stream) => {
                let top = Some(reading.top());
                Recovering::failed(streams, stream, NotRecovered::Unavailable, top)
            }
            Ok(reading) => Recovering::read(streams, client, stream, reading),
            Err(error) => {
                self.shared.metrics.streams.failures.inc();
                tracing::debug!(%error, "client not recovered");
                Recovering::failed(streams, stream, NotRecovered::Unavailable, None)
            }
        }
    }

    async fn release(
        &self,
        client: ClientId,
        number: u64,
        stream: &StreamName,
        recovering: Recovering,
    ) -> Result<Result<Recovery, Again>, Error> {
        let Recovering { recovery, messages } = recovering;
        let query = Query::ReleaseStream(Box::new(Release {
            client: client.connection,
            number,
            stream: stream.clone(),
            top: recovery.position,
            recovered: recovery.recovered,
            messages,
        }));
        let metrics = &self.shared.metrics.streams;
        match self.ask(client, query).await? {
            Some((_, Answer::Released(Released::Done))) => {
                match recovery.recovered {
                    true => metrics.recovered.inc(),
                    false => metrics.not_recovered.inc(),
                };
                Ok(Ok(recovery))
            }
            Some((_, Answer::Released(Released::Again))) => Ok(Err(Again)),
            Some((_, Answer::Released(Released::Ended))) => {
                metrics.not_recovered.inc();
                Ok(Ok(Recovery::not(NotRecovered::Abandoned, None)))
            }
            Some((link, _)) => Err(link.mismatch()),
            None => Err(Error::Offline { client }),
        }
    }

    async fn join_plainly(
        &self,
        client: ClientId,
        stream: StreamName,
        joins: bool,
    ) -> Result<(), Error> {
        let id = client.connection;
        match stream {
            _ if !joins => Ok(()),
            StreamName::Group(group) => {
                self.command(client, Command::JoinGroup { client: id, group }).await
            }
            StreamName::Uid(uid) => {
                self.command(client, Command::BindUid { client: id, uid }).await
            }
        }
    }

    /// Reads a page of a stream, forwards or backwards; or refuses to, if that is not what was asked
    /// for.
    ///
    /// # Errors
    /// [`Error::NoStore`], [`Error::Store`].
    pub async fn stream_history(
        &self,
        stream: impl Into<StreamName>,
        range: Range,
        limit: Limit,
    ) -> Result<Reading, Error> {
        let (_, store) = self.store().ok_or(Error::NoStore)?;
        Ok(store.read(Read { stream: stream.into(), range, limit }).await?)
    }

    /// Removes all messages of a stream from the store, and returns its newest position, behind which
    /// it goes on.
    ///
    /// # Errors
    /// [`Error::NoStore`], [`Error::Store`].
    pub async fn delete_stream(&self, stream: impl Into<StreamName>) -> Result<Position, Error> {
        let (_, store) = self.store().ok_or(Error::NoStore)?;
        Ok(store.delete(stream.into()).await?)
    }

    fn store(&self) -> Option<(&Streams, &Arc<dyn StreamStore>)> {
        let streams = self.shared.streams.settings.as_ref()?;
        Some((streams, streams.store.as_ref()?))
    }

    fn step(&self) -> Option<crate::streams::Step<'_>> {
        self.scope.as_ref()?.step()
    }
}

/// The hold goes on: the store is to be read again.
struct Again;
