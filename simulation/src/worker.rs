//! A worker that records every event before it handles it, then does what clients expect.

use std::time::Duration;

use anyhow::Context as _;
use push_suite_worker::{Client, CloseReason, Handshake, Message, Worker};
use simulated::control;

use crate::{
    journal,
    message::{Ask, Kind, Reply, Token},
    poison,
    record::{self, Record, Told},
};

/// One instance of a worker.
#[derive(Debug)]
pub(crate) struct RecordingWorker {
    pub(crate) life: usize,
}

impl RecordingWorker {
    fn note(&self, client: &Client, told: Told) {
        if poison::has_crashed(self.life) {
            return;
        }
        let id = client.id();
        let (gateway, connection) = (id.gateway.port(), id.connection.0);
        let record = Record {
            at: control::now(),
            client: record::Client { gateway, connection },
            number: client.delivery().number,
            marked: client.redelivered(),
            told,
        };
        journal::note(self.life, record);
    }
}

impl Worker for RecordingWorker {
    async fn on_connect(&self, client: &Client) -> anyhow::Result<()> {
        self.note(client, Told::Connect);
        Ok(())
    }

    async fn on_websocket_connect(
        &self,
        client: &Client,
        handshake: &Handshake,
    ) -> anyhow::Result<()> {
        let token = handshake.query().parse::<u64>().ok();
        self.note(client, token.map_or(Told::Nonsense, Told::Open));
        let token = Token::from_u64(token.context("the query is not a token")?);
        client.bind_uid(token.uid()).await?;
        client.join_group(token.group()).await?;
        Ok(())
    }

    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        let ask = Ask::decode(&message.body);
        self.note(client, ask.map_or(Told::Nonsense, |ask| Told::Message(ask.number)));
        let ask = ask.context("the message is malformed")?;
        if poison::is_poison(ask) {
            poison::crash(self.life).await;
        }
        let Ask { from, number } = ask;
        // Some wait, so that events of the same client queue behind them and every crash hits events in
        // flight.
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
        self.note(client, Told::Close(reason));
        Ok(())
    }
}
