//! The worker of the tests with PHP peers (tests/compat): it reads and writes sessions, which PHP
//! workers in the same cluster read and write as `$_SESSION`. Messages of a client:
//!
//! - `set {"a":1}`, `update {"b":2}` and `session` edit and read the session.
//! - `join GROUP`, `bind UID`, `group GROUP TEXT`, `uid UID TEXT` and `all TEXT` join a group, bind
//!   a uid, and send to a group, to a uid, and to all clients.
//! - `who` is answered with the worker's process id and the client's id.
//! - `n NUMBER TEXT` is answered with `n NUMBER`, without the text.
//! - Any other message is echoed.

use std::process::ExitCode;

use anyhow::Context;
use push_suite_worker::{Client, Message, Recipients, Worker};

type Object = serde_json::Map<String, serde_json::Value>;

struct Sessions;

impl Worker for Sessions {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        let text = String::from_utf8_lossy(&message.body);
        let (verb, rest) = text.split_once(' ').unwrap_or((&text, ""));
        let (name, words) = rest.split_once(' ').unwrap_or((rest, ""));
        let answer = match verb {
            "set" => {
                let session: Object =
                    serde_json::from_str(rest).context("set requires a JSON object")?;
                client.set_session(&session).await?;
                "done".to_owned()
            }
            "update" => {
                let changes: Object =
                    serde_json::from_str(rest).context("update requires a JSON object")?;
                client.update_session(&changes).await?;
                "done".to_owned()
            }
            // An edit is visible at once, here and to the worker that handles the next event.
            "session" => serde_json::to_string(&client.session::<Object>()?.unwrap_or_default())?,
            "join" => {
                client.join_group(rest).await?;
                "done".to_owned()
            }
            "bind" => {
                client.bind_uid(rest).await?;
                "done".to_owned()
            }
            "all" => return Ok(client.cluster().send_to_all(Recipients::All, rest).await?),
            "group" => return Ok(client.cluster().send_to_group(name, words).await?),
            "uid" => return Ok(client.cluster().send_to_uid(name, words).await?),
            "who" => format!("rust {} {}", std::process::id(), client.id()),
            "n" => format!("n {name}"),
            _ => text.into_owned(),
        };
        client.send(answer).await?;
        Ok(())
    }
}

fn main() -> ExitCode {
    push_suite_worker::main(Sessions)
}
