//! Rooms with presence: a client joins a room with `{"room": "…", "name": "…"}`, learns which others
//! are there, and hears of those who come and leave. Any other message goes to the room. Start a
//! register and a gateway, then `cargo run --example rooms`.

use std::process::ExitCode;

use push_suite_worker::{Client, CloseReason, Message, Worker, anyhow, serde_json::json};
use serde::{Deserialize, Serialize};

struct Rooms;

/// The first message, and the session from then on.
#[derive(Serialize, Deserialize)]
struct Member {
    room: String,
    name: String,
}

impl Rooms {
    async fn enter(client: &Client, member: Member) -> anyhow::Result<()> {
        let (cluster, room) = (client.cluster(), &member.room);
        client.set_session(&member).await?;
        client.join_group(room).await?;
        // Sessions of the whole room with one query, on whichever gateways its members are.
        let mut present = Vec::new();
        for (id, session) in cluster.group_sessions(room).await? {
            if let Some(Member { name, .. }) = session.read()? {
                present.push(json!({"id": id, "name": name}));
            }
        }
        client.send(json!({"present": present})).await?;
        let entered = json!({"entered": member.name, "id": client.id()});
        Ok(cluster.send_to_groups([room], &[client.id()], entered).await?)
    }
}

impl Worker for Rooms {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        let Some(member) = client.session::<Member>()? else {
            return match message.parse_json() {
                Ok(member) => Self::enter(client, member).await,
                Err(error) => Ok(client.send(json!({"error": error.to_string()})).await?),
            };
        };
        let said = json!({"from": member.name, "id": client.id(), "text": message.as_text()});
        Ok(client.cluster().send_to_group(member.room, said).await?)
    }

    async fn on_close(&self, client: &Client, _: CloseReason) -> anyhow::Result<()> {
        // It has left all groups by now, but its session can still be read.
        if let Some(Member { room, name }) = client.session()? {
            let left = json!({"left": name, "id": client.id()});
            client.cluster().send_to_group(room, left).await?;
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    push_suite_worker::main(Rooms)
}
