//! A worker that records each event before it handles it, and answers and forwards messages.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use chaos::{
    journal::{self, Journal},
    message::{Ask, Kind, Reply, Token},
    record::{self, Record, Told},
};
use clap::Parser;
use push_suite_worker::{Client, CloseReason, Config, Handshake, Message, Worker};
use serde::Serialize;
use service::settings::{Common, Effective};

/// The command-line flags.
#[derive(Debug, Parser, Serialize)]
#[command(version, about)]
#[group(skip)]
struct Args {
    /// Folder of the event journals
    #[arg(long, value_name = "DIR")]
    journal: PathBuf,

    #[command(flatten)]
    #[serde(flatten)]
    worker: push_suite_worker::Args,
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        self.worker.as_ref()
    }
}

struct Settings {
    journal: PathBuf,
    config: Config,
}

impl Effective for Settings {}

impl TryFrom<Args> for Settings {
    type Error = anyhow::Error;

    fn try_from(args: Args) -> anyhow::Result<Self> {
        Ok(Self { journal: args.journal, config: args.worker.try_into()? })
    }
}

fn main() -> ExitCode {
    service::main_on::<Args, Settings>(
        |settings| push_suite_worker::runtime(&settings.config),
        async |Settings { journal, config }, starting| {
            let journal = Journal::create(&journal).context("--journal")?;
            push_suite_worker::serve(RecordingWorker(journal), config, starting).await
        },
    )
}

struct RecordingWorker(Journal);

impl RecordingWorker {
    fn record(&self, client: &Client, told: Told) -> anyhow::Result<()> {
        let id = client.id();
        let (gateway, connection) = (id.gateway.port(), id.connection.0);
        let record = Record {
            at: journal::now(),
            client: record::Client { gateway, connection },
            number: client.delivery().number,
            marked: client.redelivered(),
            told,
        };
        self.0.note(&record).context("cannot record an event")
    }
}

impl Worker for RecordingWorker {
    async fn on_connect(&self, client: &Client) -> anyhow::Result<()> {
        self.record(client, Told::Connect)
    }

    async fn on_websocket_connect(
        &self,
        client: &Client,
        handshake: &Handshake,
    ) -> anyhow::Result<()> {
        let token = handshake.query().parse::<u64>().ok();
        self.record(client, token.map_or(Told::Nonsense, Told::Open))?;
        let token = Token::from_u64(token.context("the query is not a token")?);
        client.bind_uid(token.uid()).await?;
        client.join_group(token.group()).await?;
        Ok(())
    }

    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        let ask = Ask::decode(&message.body);
        self.record(client, ask.map_or(Told::Nonsense, |ask| Told::Message(ask.number)))?;
        let Ask { from, number } = ask.context("the message is malformed")?;
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
                let partner = Token { client: from.partner(), life: 0 };
                cluster.send_to_uid(partner.uid(), Message::binary(reply.encode())).await?;
            }
            Kind::Group => {
                cluster.send_to_group(from.group(), Message::binary(reply.encode())).await?;
            }
        }
        let reply = Reply { kind: Kind::Echo, ..reply };
        client.send(Message::binary(reply.encode())).await?;
        Ok(())
    }

    async fn on_close(&self, client: &Client, reason: CloseReason) -> anyhow::Result<()> {
        self.record(client, Told::Close(reason))
    }
}
