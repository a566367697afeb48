//! Login before the WebSocket opens: a gateway with `--handshake-auth worker` waits for the answer of
//! `on_websocket_connect`, and a client without a valid token gets 401. Start a register and such a
//! gateway, then `cargo run --example handshake`.

use std::{collections::HashMap, process::ExitCode};

use push_suite_worker::{Client, Grant, Handshake, Message, Refusal, Worker, anyhow};
use serde::{Deserialize, Serialize};

/// In place of a database: the uid of each token.
struct App {
    tokens: HashMap<&'static str, u64>,
}

/// The session: the gateway stores it, so the next worker has it as well.
#[derive(Serialize, Deserialize)]
struct User {
    uid: u64,
}

impl App {
    /// The user of a request: by `Authorization: Bearer`, or in browsers, whose scripts cannot set
    /// headers, by a second subprotocol `auth.TOKEN`.
    fn user(&self, handshake: &Handshake) -> Option<User> {
        let bearer = || handshake.header("Authorization")?.strip_prefix("Bearer ");
        let offered = || {
            let mut names = handshake.header("Sec-WebSocket-Protocol")?.split(',');
            names.find_map(|name| name.trim().strip_prefix("auth."))
        };
        let uid = *self.tokens.get(bearer().or_else(offered)?)?;
        Some(User { uid })
    }
}

impl Worker for App {
    async fn on_websocket_connect(
        &self,
        client: &Client,
        handshake: &Handshake,
    ) -> anyhow::Result<()> {
        let Some(user) = self.user(handshake) else {
            let refusal = Refusal::new(401, "sign in first")?;
            let refusal = refusal.with_header("WWW-Authenticate", "Bearer")?;
            return Ok(client.refuse(refusal).await?);
        };
        let grant = Grant::new().with_uid(user.uid)?.with_group("lobby")?.with_session(&user)?;
        // Never the token: a response is logged by proxies.
        let offers = handshake.header("Sec-WebSocket-Protocol").unwrap_or_default();
        let grant = match offers.split(',').any(|name| name.trim() == "lobby.v1") {
            true => grant.with_subprotocol("lobby.v1")?,
            false => grant,
        };
        Ok(client.accept(grant).await?)
    }

    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        // Only clients that were accepted send messages.
        let User { uid } = client.session()?.ok_or_else(|| anyhow::anyhow!("no session"))?;
        let text = format!("{uid}: {}", message.as_text().unwrap_or_default());
        Ok(client.cluster().send_to_group("lobby", text).await?)
    }
}

fn main() -> ExitCode {
    push_suite_worker::main(App { tokens: HashMap::from([("ann's", 1), ("bob's", 2)]) })
}

#[cfg(test)]
mod tests {
    use push_suite_worker::{Header, testing::TestCluster};

    use super::*;

    fn request(name: &str, value: &str) -> Handshake {
        let header = Header { name: name.to_owned(), value: value.into() };
        Handshake { target: "/".to_owned(), headers: vec![header] }
    }

    #[tokio::test]
    async fn token_decides() -> anyhow::Result<()> {
        let (app, cluster) = (App { tokens: HashMap::from([("ann's", 1)]) }, TestCluster::start());
        let handshake = request("Authorization", "Bearer ann's");
        let ann = cluster.client_with_handshake(&handshake);
        app.on_websocket_connect(&ann, &handshake).await?;
        assert_eq!(cluster.uid(ann.id()), Some(1.into()));
        let handshake = request("Sec-WebSocket-Protocol", "lobby.v1, auth.guess");
        let eve = cluster.client_with_handshake(&handshake);
        app.on_websocket_connect(&eve, &handshake).await?;
        assert_eq!(cluster.refusal(eve.id()).map(|it| it.status()), Some(401));
        Ok(())
    }
}
