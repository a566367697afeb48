//! Answers of a test worker to handshakes, as their query asks for.

use push_suite_worker::{Client, Grant, Handshake, Refusal, anyhow};
use serde_json::json;

/// Answers a handshake whose query is the name of an answer; any other query is left unanswered.
///
/// # Errors
/// Those of the answer, or as the query asks for.
///
/// # Panics
/// If the query asks for it.
pub(crate) async fn answer(
    client: &Client,
    handshake: &Handshake,
    wait: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    match handshake.query() {
        "accept" => client.accept(grant()?).await?,
        "refuse" => {
            let refusal = Refusal::new(401, "sign in first")?;
            client.refuse(refusal.with_header("WWW-Authenticate", "Bearer")?).await?;
        }
        "forbid" => client.refuse((403, "not you")).await?,
        "twice" => {
            client.accept(grant()?).await?;
            client.refuse((401, "no")).await?;
            client.accept(Grant::new()).await?;
        }
        "wait" => {
            wait.await?;
            client.accept(grant()?).await?;
        }
        "send" => {
            client.send("before").await?;
            client.accept(grant()?).await?;
            client.cluster().send_to_uid("ann", "uid").await?;
            client.cluster().send_to_group("lobby", "group").await?;
        }
        "close" => client.close("bye").await?,
        "other-subprotocol" => client.accept(Grant::new().with_subprotocol("v9")?).await?,
        "fail" => anyhow::bail!("on request"),
        "panic" => panic!("on request"),
        _ => {}
    }
    Ok(())
}

fn grant() -> anyhow::Result<Grant> {
    let grant = Grant::new().with_uid("ann")?.with_group("lobby")?.with_subprotocol("v2")?;
    Ok(grant.with_session(&json!({"note": "granted"}))?.with_header("X-Granted", "yes")?)
}
