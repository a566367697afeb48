//! `--app bench`: executes the commands of a load generator; the first byte of a message selects
//! one. Upper case waits for the report of the message that it sends.

use push_suite_worker::{Client, Group, Message, Recipients, Report, Uid, Worker, anyhow};

/// Executes the commands of a load generator.
#[derive(Debug)]
pub struct Bench;

/// The group that `g` sends to.
const ROOM: &str = "room";

impl Worker for Bench {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        match message.body.split_first() {
            Some((b'e', _)) => client.send(message).await?,
            Some((b'E', _)) => complete(client.send(message).report().await?)?,
            Some((b'A', _)) => {
                let sending = client.cluster().send_to_all(Recipients::All, message);
                complete(sending.report().await?)?;
            }
            Some((b'G', _)) => {
                complete(client.cluster().send_to_group(ROOM, message).report().await?)?;
            }
            Some((b'T', rest)) => {
                let uid = Uid::new(name(rest))?;
                complete(client.cluster().send_to_uid(uid, message).report().await?)?;
            }
            Some((b'a', _)) => client.cluster().send_to_all(Recipients::All, message).await?,
            Some((b'j', group)) => {
                client.join_group(Group::new(group)?).await?;
                client.send(message).await?;
            }
            Some((b'g', _)) => client.cluster().send_to_group(ROOM, message).await?,
            Some((b'+', rest)) => {
                client.join_group(Group::new(name(rest))?).await?;
                client.send(message).await?;
            }
            Some((b'-', rest)) => {
                client.leave_group(Group::new(name(rest))?).await?;
                client.send(message).await?;
            }
            Some((b't', rest)) => {
                let uid = Uid::new(name(rest))?;
                client.cluster().send_to_uid(uid, message).await?;
            }
            Some((b'u', uid)) => {
                client.bind_uid(Uid::new(uid)?).await?;
                client.send(message).await?;
            }
            _ => tracing::debug!(client = %client.id(), "unknown command"),
        }
        Ok(())
    }
}

/// Rejects a report that lacks a client, which a measurement must not do.
fn complete(report: Report) -> anyhow::Result<()> {
    anyhow::ensure!(report.is_complete() && report.reached == report.matched, "{report}");
    Ok(())
}

/// The target of a message: the bytes after its last `@`.
fn name(rest: &[u8]) -> &[u8] {
    rest.rsplit(|byte| *byte == b'@').next().unwrap_or_default()
}
