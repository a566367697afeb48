//! `tail`: messages of clients while they pass, for a limited time.

use std::time::Duration;

use push_suite_cluster::{Cluster, Direction, MessageKind, Tail as Open, TailBatch, TailFrame};
use runtime::clock;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, interval_at, sleep_until, timeout};

use super::{
    Context,
    lag::Lag,
    target::{NamedFlags, Target},
};
use crate::{
    failure::{FAILED, Failure},
    names::Name,
    output::{bytes, utc},
    session::Session,
};

/// The time between two questions whether the client is still connected.
const PAUSE: Duration = Duration::from_secs(1);

/// Bytes of a payload that are shown by default.
const SHOWN: &str = "256";

/// Shows messages.
#[derive(Debug, clap::Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    of: NamedFlags,

    /// Show the beginning of each payload, which may be confidential: 256 bytes by default
    #[arg(long, value_name = "BYTES", num_args = 0..=1, default_missing_value = SHOWN)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_536))]
    show: Option<u32>,

    /// Number of messages after which it ends
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,

    /// Time after which it ends
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
}

/// Why it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Ended {
    Limit,
    Seconds,
    /// The client is not connected any more.
    Gone,
    /// It was not connected at the start.
    Absent,
    /// No gateway is linked any more.
    Unlinked,
}

/// The messages so far.
#[derive(Debug, Default)]
struct Passed {
    messages: u64,
    dropped: u64,
    lag: Lag,
}

impl Tail {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let session = Session::open(&context.settings).await?;
        let cluster = session.cluster();
        let target = self.of.target();
        let mut tail = cluster.tail(target.named()?, self.show.unwrap_or(0)).await?;
        for gateway in tail.unreachable() {
            context.output.progress(&format!(
                "incomplete: gateway {gateway} is not linked: messages of its clients are missing"
            ));
        }
        if self.show.is_none() {
            context.output.progress("payloads are not shown; --show shows them");
        }
        let mut passed = Passed::default();
        let ended = self.follow(context, cluster, &target, &mut tail, &mut passed).await?;
        let Passed { messages, dropped, .. } = passed;
        let whole = tail.unreachable().is_empty();
        let failed = matches!(ended, Ended::Unlinked | Ended::Absent);
        let summary = json!({ "ended": ended, "messages": messages, "dropped": dropped });
        let messages = match messages {
            1 => "1 message".to_owned(),
            messages => format!("{messages} messages"),
        };
        let dropped = match dropped {
            0 => String::new(),
            dropped => format!(", and {dropped} that are missing"),
        };
        context
            .output
            .event(&format!("{}: {messages}{dropped}", self.why(ended, &target)), &summary)?;
        Ok(if failed || !whole { FAILED } else { 0 })
    }

    /// Shows messages until it ends.
    async fn follow(
        &self,
        context: &Context,
        cluster: &Cluster,
        target: &Target,
        tail: &mut Open,
        passed: &mut Passed,
    ) -> Result<Ended, Failure> {
        let end = Instant::now() + Duration::from_secs(self.seconds.into());
        let mut checks = interval_at(Instant::now(), PAUSE);
        let mut is_first = true;
        loop {
            tokio::select! {
                batch = tail.next() => match batch {
                    Some(batch) => {
                        if self.show(context, batch, passed)? {
                            return Ok(Ended::Limit);
                        }
                    }
                    None => return Ok(Ended::Unlinked),
                },
                _ = checks.tick() => if let Target::Client(client) = target
                    && cluster.is_online(*client).await.is_ok_and(|is_online| !is_online)
                {
                    // Its last messages are reported before the second answer.
                    let _ = cluster.is_online(*client).await;
                    while let Ok(Some(batch)) = timeout(Duration::ZERO, tail.next()).await {
                        if self.show(context, batch, passed)? {
                            return Ok(Ended::Limit);
                        }
                    }
                    return Ok(if is_first { Ended::Absent } else { Ended::Gone });
                } else {
                    is_first = false;
                },
                () = sleep_until(end) => return Ok(Ended::Seconds),
            }
        }
    }

    /// Shows a batch. Returns whether the limit is reached.
    fn show(
        &self,
        context: &Context,
        batch: TailBatch,
        passed: &mut Passed,
    ) -> Result<bool, Failure> {
        let gateway = batch.gateway;
        if 0 < batch.dropped {
            passed.dropped += batch.dropped;
            let text = format!(
                "{} messages are missing here: gateway {gateway} has more than can be shown",
                batch.dropped
            );
            let json = json!({ "gateway": gateway, "dropped": batch.dropped });
            context.output.event(&text, &json)?;
        }
        let now = clock::unix_micros();
        if let Some(behind) =
            batch.frames.iter().rev().find_map(|it| passed.lag.of(gateway, it.at, now))
        {
            let text =
                format!("what follows is {}ms old: messages are read too slowly", behind / 1000);
            context.output.event(&text, &json!({ "gateway": gateway, "behind_micros": behind }))?;
        }
        for frame in &batch.frames {
            context.output.event(&self.line(frame), &self.json(frame))?;
            passed.messages += 1;
            if u64::from(self.limit) <= passed.messages {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn line(&self, frame: &TailFrame) -> String {
        let size = bytes(frame.size);
        let (time, client) = (utc(frame.at / 1000), frame.client);
        let (way, kind) = (way(frame.direction), kind(frame.kind));
        let cut = if self.is_cut(frame) { "…" } else { "" };
        let payload = Name::from(&frame.payload[..]).plain();
        let line = format!("{time}  {client}  {way:<3}  {kind:<6}  {size:>9}  {payload}{cut}");
        line.trim_end().to_owned()
    }

    fn json(&self, frame: &TailFrame) -> Value {
        let mut value = json!({
            "at_micros": frame.at,
            "time": utc(frame.at / 1000),
            "gateway": frame.client.gateway,
            "client": frame.client,
            "direction": way(frame.direction),
            "kind": kind(frame.kind),
            "size": frame.size,
        });
        if self.show.is_some() {
            value["payload"] = json!(Name::from(&frame.payload[..]));
            value["cut"] = json!(self.is_cut(frame));
        }
        value
    }

    /// Whether a payload is longer than what is shown of it.
    const fn is_cut(&self, frame: &TailFrame) -> bool {
        self.show.is_some() && (frame.payload.len() as u64) < frame.size
    }

    fn why(&self, ended: Ended, target: &Target) -> String {
        match ended {
            Ended::Limit => format!("ended after --limit {}", self.limit),
            Ended::Seconds => format!("ended after --seconds {}", self.seconds),
            Ended::Gone => format!("ended, since {target} is not connected any more"),
            Ended::Absent => format!("{target} is not connected"),
            Ended::Unlinked => "ended, since no gateway is linked".to_owned(),
        }
    }
}

const fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "in",
        Direction::Out => "out",
    }
}

const fn kind(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Text => "text",
        MessageKind::Binary => "binary",
        MessageKind::Raw => "raw",
    }
}
