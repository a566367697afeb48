//! The worker script of a run: it records every event before it handles it, and answers and
//! forwards messages.

use std::{
    future::{Future, ready},
    time::Duration,
};

use anyhow::Context as _;
use push_suite_worker::{
    Client, CloseReason, Exclude, Grant, Group, Handshake, MemberChange, Message, Notice, Report,
    Sending, Worker,
};

use crate::{
    message::{Kind, Reply, Request, Token},
    presence,
    record::{self, Record, RecordedEvent},
};

/// The clock and the journal of a run.
pub trait Recorder: Send + Sync + 'static {
    /// The time of the run, in nanoseconds.
    fn now(&self) -> u64;

    /// Stores a record so that it outlives the process.
    ///
    /// # Errors
    /// When it cannot be stored.
    fn record(&self, record: Record) -> anyhow::Result<()>;

    /// Called with each message between its record and its answer.
    fn before_answer(&self, _request: Request) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// Whether the worker decides about handshakes, at gateways with `--handshake-auth worker`.
    fn decides_handshakes(&self) -> bool {
        false
    }

    /// Whether the worker watches the group of [`presence`].
    fn watches(&self) -> bool {
        false
    }

    /// Stores a notice about that group. It counts as handled when this returns.
    ///
    /// # Errors
    /// When it cannot be stored.
    fn noticed(&self, _notice: &Notice) -> anyhow::Result<()> {
        Ok(())
    }

    /// Number of zeros behind each reply, so that it is worth compressing.
    fn padding(&self) -> usize {
        0
    }

    /// How long to wait for a report on forwarding this message; `None` asks for none.
    fn report_within(&self, _request: Request) -> Option<Duration> {
        None
    }

    /// Stores such a report.
    fn reported(&self, _reported: Reported) {}
}

/// The report on a forwarded message. Times are nanoseconds of the clock of the run.
#[derive(Clone, Debug)]
pub struct Reported {
    /// The message.
    pub request: Request,
    /// Its recipients.
    pub kind: Kind,
    /// When it was forwarded.
    pub from: u64,
    /// When the report was complete.
    pub to: u64,
    /// The report.
    pub report: Report,
}

/// A worker that records events.
#[derive(Debug)]
pub struct RecordingWorker<R>(pub R);

impl<R: Recorder> RecordingWorker<R> {
    fn record(&self, client: &Client, event: RecordedEvent) -> anyhow::Result<()> {
        let id = client.id();
        let (gateway, connection) = (id.gateway.port(), id.connection.0);
        let record = Record {
            at: self.0.now(),
            client: record::Client { gateway, connection },
            number: client.delivery().number,
            marked: client.redelivered(),
            event,
        };
        self.0.record(record).context("cannot record an event")
    }

    fn message(&self, reply: Reply) -> Message {
        let mut bytes = reply.encode();
        bytes.resize(bytes.len() + self.0.padding(), 0);
        Message::binary(bytes)
    }

    async fn forward(
        &self,
        request: Request,
        kind: Kind,
        sending: Sending<'_>,
    ) -> anyhow::Result<()> {
        let Some(time) = self.0.report_within(request) else { return Ok(sending.await?) };
        let from = self.0.now();
        let report = sending.report_within(time).await?;
        self.0.reported(Reported { request, kind, from, to: self.0.now(), report });
        Ok(())
    }
}

/// Accepts or refuses the handshake of a client. Some handlers wait, so that faults affect some
/// handshakes in flight.
async fn decide(client: &Client, token: Token) -> anyhow::Result<()> {
    tokio::time::sleep(Duration::from_millis(u64::from(token.client % 8 * 40))).await;
    if token.is_refused() {
        client.refuse((401, "sign in first")).await?;
    } else {
        let grant = Grant::new().with_uid(token.uid())?.with_group(token.group())?;
        client.accept(grant).await?;
    }
    Ok(())
}

impl<R: Recorder> Worker for RecordingWorker<R> {
    async fn on_connect(&self, client: &Client) -> anyhow::Result<()> {
        self.record(client, RecordedEvent::Connect)
    }

    async fn on_websocket_connect(
        &self,
        client: &Client,
        handshake: &Handshake,
    ) -> anyhow::Result<()> {
        let token = handshake.query().parse::<u64>().ok();
        self.record(client, token.map_or(RecordedEvent::Unexpected, RecordedEvent::Open))?;
        let token = Token::from_u64(token.context("the query is not a token")?);
        if self.0.decides_handshakes() {
            decide(client, token).await?;
            return presence::join(client, token).await;
        }
        client.bind_uid(token.uid()).await?;
        // To the same effect: all clients of a uid are in its group.
        match token.client % 2 {
            0 => client.join_group(token.group()).await?,
            _ => client.cluster().join_group_by_uid(token.uid(), token.group()).await?,
        }
        presence::join(client, token).await
    }

    fn watched_groups(&self) -> Vec<Group> {
        if self.0.watches() { presence::prefixes() } else { Vec::new() }
    }

    fn presence_message(&self, _group: &Group, change: &MemberChange) -> Option<Message> {
        Some(presence::message(change))
    }

    async fn on_presence(&self, notice: &Notice) -> anyhow::Result<()> {
        self.0.noticed(notice)
    }

    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        let request = Request::decode(&message.body);
        let event = request.map(|request| RecordedEvent::Message(request.number));
        self.record(client, event.unwrap_or(RecordedEvent::Unexpected))?;
        let request = request.context("the message is malformed")?;
        self.0.before_answer(request).await;
        let Request { from, number } = request;
        // Some handlers wait, so that later events of the client queue, and every fault affects
        // some events in flight.
        if number.is_multiple_of(4) {
            tokio::time::sleep(Duration::from_millis(u64::from(number * 7 % 32))).await;
        }
        let kind = Kind::of(number);
        let reply = Reply { from, number, kind, marked: client.redelivered() };
        let cluster = client.cluster();
        match kind {
            Kind::Echo => {}
            Kind::Uid => {
                let partner = Token { client: from.partner(), attempt: 0 };
                let message = self.message(reply);
                let sender = [client.id()];
                let sending = match number % 16 {
                    3 => cluster.send_to_uid(partner.uid(), message),
                    // The sender is no client of its partner.
                    _ => cluster.send_to_uids_except([partner.uid()], &sender, message),
                };
                self.forward(request, kind, sending).await?;
            }
            Kind::Group => {
                let message = self.message(reply);
                let sending = match number % 32 {
                    7 => cluster.send_to_group(from.group(), message),
                    // No client has this uid.
                    _ => {
                        let exclude = Exclude::uids(["nobody"])?;
                        cluster.send_to_groups([from.group()], exclude, message)
                    }
                };
                self.forward(request, kind, sending).await?;
            }
        }
        let reply = Reply { kind: Kind::Echo, ..reply };
        client.send(self.message(reply)).await?;
        Ok(())
    }

    async fn on_close(&self, client: &Client, reason: CloseReason) -> anyhow::Result<()> {
        self.record(client, RecordedEvent::Close(reason))
    }
}
