//! Members of rooms, each once however many tabs it has open: a client joins with
//! `{"room": "…", "user": "…"}`, receives the list of members, and then each change of it. Start a
//! register and a gateway, then `cargo run --example presence`.

use std::process::ExitCode;

use push_suite_worker::{
    Client, Group, Member, MemberChange, MemberId, Message, MessageKind, Notice, Part, Snapshot,
    Worker, anyhow, serde_json::json,
};
use serde::Deserialize;

struct Rooms;

#[derive(Deserialize)]
struct Join {
    room: String,
    user: String,
}

impl Worker for Rooms {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        let Join { room, user } = message.parse_json()?;
        let member = Member::new(MemberId::new(&user)?, json!(user).to_string(), "")?;
        // The gateway inserts the ids of all members when it adds the client.
        let list = vec![Part::Bytes("{\"members\":[".into()), Part::Ids, Part::Bytes("]}".into())];
        let list = Snapshot::new(MessageKind::Text, list)?;
        Ok(client.join_presence(format!("room:{room}"), member, list).await?)
    }

    fn watched_groups(&self) -> Vec<Group> {
        Group::new("room:").into_iter().collect()
    }

    fn presence_message(&self, _: &Group, change: &MemberChange) -> Option<Message> {
        Some(Message::from(match change {
            MemberChange::Added(member) => json!({"joined": member.id().as_str()}),
            MemberChange::Removed(id) => json!({"left": id.as_str()}),
        }))
    }

    async fn on_presence(&self, Notice { group, kind, .. }: &Notice) -> anyhow::Result<()> {
        tracing::info!(%group, ?kind, "room changed");
        Ok(())
    }
}

fn main() -> ExitCode {
    push_suite_worker::main(Rooms)
}
