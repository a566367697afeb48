//! A handler that closes its client: the next event handled of that client is its close.

mod running;

use std::time::Duration;

use protocol::{CloseFrame, Command, ConnectionId, Event};
use push_suite_worker::{Client, CloseReason, Handshake, Message, Worker};
use running::start_one;
use test_support::fakes::{FakeLink, sent_to};

/// How a client is closed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Close,
    WithCode,
    Destroy,
    ByCluster,
    ByClusterWithCode,
}

/// The handler that closes the client, and whether it waits before.
#[derive(Clone, Copy, Debug)]
struct Closer {
    on: &'static str,
    way: Way,
    waits: bool,
}

impl Closer {
    async fn called(&self, client: &Client, method: &'static str) -> anyhow::Result<()> {
        client.send(method).await?;
        if method != self.on {
            return Ok(());
        }
        if self.waits {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        match self.way {
            Way::Close => client.close(None).await?,
            Way::WithCode => client.close((4001, "bye")).await?,
            Way::Destroy => client.destroy().await?,
            Way::ByCluster => client.cluster().close_client(client.id(), None).await?,
            Way::ByClusterWithCode => {
                client.cluster().close_client(client.id(), (4001, "bye")).await?;
            }
        }
        Ok(())
    }
}

impl Worker for Closer {
    async fn on_connect(&self, client: &Client) -> anyhow::Result<()> {
        self.called(client, "on_connect").await
    }

    async fn on_websocket_connect(&self, client: &Client, _: &Handshake) -> anyhow::Result<()> {
        self.called(client, "on_websocket_connect").await
    }

    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        if let Some(other) = message.as_text().and_then(|text| text.strip_prefix("close ")) {
            let other =
                push_suite_worker::ClientId::new(client.gateway(), ConnectionId(other.parse()?));
            client.cluster().close_client(other, None).await?;
        }
        self.called(client, "on_message").await
    }

    async fn on_close(&self, client: &Client, _: CloseReason) -> anyhow::Result<()> {
        client.send("on_close").await?;
        Ok(())
    }
}

/// Delivers all events of a client but its close.
async fn deliver_events(link: &mut FakeLink, client: u32) {
    link.event(client, Event::Connect).await;
    let handshake = Handshake { target: "/".to_owned(), headers: Vec::new() };
    link.event(client, Event::WebSocketConnect(handshake)).await;
    link.message(client, "1").await;
    link.message(client, "2").await;
}

#[tokio::test]
async fn client_closed_by_its_handler_has_no_further_event_but_its_close() {
    for on in ["on_connect", "on_websocket_connect", "on_message"] {
        for way in [Way::Close, Way::WithCode, Way::Destroy, Way::ByCluster, Way::ByClusterWithCode]
        {
            for waits in [false, true] {
                let closer = Closer { on, way, waits };
                let (_running, _gateway, mut link) = start_one(closer).await;
                deliver_events(&mut link, 1).await;
                link.event(1, Event::Close(CloseReason::Worker)).await;

                let client = ConnectionId(1);
                for method in ["on_connect", "on_websocket_connect", "on_message"] {
                    assert_eq!(link.command().await, sent_to(1, method), "{closer:?}");
                    if method == on {
                        break;
                    }
                }
                let closes = match way {
                    Way::Destroy => Command::Destroy { client },
                    Way::Close | Way::ByCluster => Command::Close { client, farewell: None },
                    Way::WithCode | Way::ByClusterWithCode => {
                        let frame = CloseFrame::new(4001, "bye").unwrap();
                        Command::CloseWith { client, frame, farewell: None }
                    }
                };
                assert_eq!(link.command().await, closes, "{closer:?}");
                assert_eq!(link.command().await, sent_to(1, "on_close"), "{closer:?}");
                link.done(5).await;
                assert_eq!(link.events_done(), 5, "each is acknowledged: {closer:?}");
            }
        }
    }
}

#[tokio::test]
async fn client_closed_by_handler_of_another_has_its_events_handled() {
    let (_running, _gateway, mut link) =
        start_one(Closer { on: "nothing", way: Way::Close, waits: false }).await;
    link.event(2, Event::Connect).await;
    deliver_events(&mut link, 1).await;
    link.message(2, "close 1").await;
    link.message(1, "3").await;
    // Client 2 receives two answers, and closes client 1 between its fourth and fifth event.
    let mut methods = Vec::new();
    while methods.len() < 5 {
        let command = link.command().await;
        let is_first = command.client() == Some(ConnectionId(1));
        if is_first && let Command::SendToClient { message, .. } = command {
            methods.push(message.as_text().unwrap_or_default().to_owned());
        }
    }
    let message = "on_message";
    assert_eq!(methods, ["on_connect", "on_websocket_connect", message, message, message]);
    link.done(7).await;
}
