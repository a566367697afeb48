//! Login: the first message of a client is `{"token": "…"}`, and a client that sends none in time is
//! closed, with a code after which it does not come back by itself (docs/close-codes.md). A user who
//! logs in with too many devices is logged out on the others. Start a register and a gateway, then
//! `cargo run --example login`.

use std::{collections::HashMap, process::ExitCode, time::Duration};

use push_suite_worker::{Client, Handshake, Message, Worker, anyhow, serde_json::json};
use serde::{Deserialize, Serialize};

const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

const MAX_DEVICES: usize = 5;

/// Close code: the client has not logged in, or not correctly.
const UNAUTHORIZED: u16 = 4401;

/// Close code: the user has logged in with another device.
const REPLACED: u16 = 4409;

/// In place of a database: the uid of each token.
struct App {
    tokens: HashMap<&'static str, u64>,
}

#[derive(Deserialize)]
struct Login {
    token: String,
}

/// The session: the gateway stores it, so the next worker has it as well.
#[derive(Serialize, Deserialize)]
struct User {
    uid: u64,
}

impl Worker for App {
    async fn on_websocket_connect(&self, client: &Client, _: &Handshake) -> anyhow::Result<()> {
        let (cluster, id) = (client.cluster().clone(), client.id());
        tokio::spawn(async move {
            tokio::time::sleep(LOGIN_TIMEOUT).await;
            if let Ok(None) = cluster.uid_of_client(id).await {
                // An error or a client that has left needs nothing here.
                let _ = cluster.close_client(id, (UNAUTHORIZED, "log in first")).await;
            }
        });
        Ok(())
    }

    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        if let Some(user) = client.session::<User>()? {
            // To every device of the user, this one included.
            return Ok(client.cluster().send_to_uid(user.uid, message).await?);
        }
        let uid = message.parse_json().ok().and_then(|it: Login| self.tokens.get(&*it.token));
        let Some(&uid) = uid else {
            return Ok(client.close((UNAUTHORIZED, "wrong token")).await?);
        };
        client.set_session(&User { uid }).await?;
        client.bind_uid(uid).await?;
        if MAX_DEVICES < client.cluster().clients_of_uid(uid).await?.len() {
            let (this, close) = (&[client.id()], (REPLACED, "signed in elsewhere"));
            client.cluster().close_uid_except(uid, this, close).await?;
        }
        Ok(client.send(json!({"welcome": uid})).await?)
    }
}

fn main() -> ExitCode {
    push_suite_worker::main(App { tokens: HashMap::from([("ann's", 1), ("bob's", 2)]) })
}
