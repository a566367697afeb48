//! A worker that remembers: each client has a session, which survives this process and which PHP
//! workers beside it read and write as `$_SESSION`.
//!
//! Start a register and a gateway, then `cargo run --example memory`. A client says `set {"a":1}`,
//! `update {"b":2}` or `session`; also `join GROUP`, `bind UID`, `group GROUP TEXT`, `uid UID TEXT`,
//! `all TEXT`, `who` and `n NUMBER TEXT`, to which only the number is answered. Anything else comes back.

use std::process::ExitCode;

use anyhow::Context;
use business_worker::{Client, Message, Recipients, Worker};

struct Memory;

impl Worker for Memory {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        let text = String::from_utf8_lossy(&message.body);
        let (verb, rest) = text.split_once(' ').unwrap_or((&text, ""));
        let (name, words) = rest.split_once(' ').unwrap_or((rest, ""));
        let answer = match verb {
            "set" => {
                let session = serde_json::from_str(rest).context("set wants a JSON object")?;
                client.set_session(&session).await?;
                "done".to_owned()
            }
            "update" => {
                let changes = serde_json::from_str(rest).context("update wants a JSON object")?;
                client.update_session(&changes).await?;
                "done".to_owned()
            }
            // What was set is read at once, here and by whichever worker has the next event.
            "session" => serde_json::to_string(&client.session()?)?,
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
    business_worker::main(Memory)
}
