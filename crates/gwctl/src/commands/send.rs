//! `send`: a message, with the report of the clients that it reached.

use std::{
    ffi::OsString,
    io::{self, Read as _},
    os::unix::ffi::OsStringExt as _,
    time::{Duration, Instant},
};

use push_suite_cluster::{ClientId, Message, Recipients};
use serde::Serialize;

use super::{
    Context,
    reached::Reached,
    target::{Target, TargetFlags},
};
use crate::{
    failure::Failure,
    output::{Page, View, age, bytes},
    session::Session,
};

/// The largest message read from standard input, in bytes: that of a frame between processes.
const MAX_MESSAGE: u64 = 16 * 1024 * 1024;

/// Sends a message.
#[derive(Debug, clap::Args)]
pub(crate) struct Send {
    #[command(flatten)]
    to: TargetFlags,

    /// Client that does not receive it (repeatable)
    #[arg(long, value_name = "ID")]
    except: Vec<ClientId>,

    /// Check that the message is JSON
    #[arg(long)]
    json: bool,

    /// Send a binary message
    #[arg(long, conflicts_with = "json")]
    binary: bool,

    /// The message; `-` reads it from standard input
    #[arg(value_name = "TEXT")]
    message: OsString,
}

#[derive(Debug, Serialize)]
struct Sent {
    to: Target,
    bytes: usize,
    #[serde(flatten)]
    reached: Reached,
    /// The time until all gateways had reported, in microseconds.
    micros: u64,
}

impl Send {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let target = self.to.target();
        let message = self.message()?;
        let bytes = message.body.len();
        let session = Session::open(&context.settings).await?;
        let cluster = session.cluster();
        let except = &self.except;
        let sending = match target.clone() {
            Target::Client(client) if except.contains(&client) => {
                return Err(Failure::usage("--except names the only client"));
            }
            Target::Client(client) => cluster.send_to_client(client, message),
            Target::Uid(uid) => cluster.send_to_uids_except([uid], except, message),
            Target::Group(group) => cluster.send_to_groups([group], except, message),
            Target::All if except.is_empty() => cluster.send_to_all(Recipients::All, message),
            Target::All => cluster.send_to_all(Recipients::Except(except.clone()), message),
        };
        let started = Instant::now();
        let report = sending.report_within(session.time).await?;
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut reached = Reached::default();
        reached.add(report);
        context.output.show(&Sent { to: target, bytes, reached, micros })
    }

    fn message(&self) -> Result<Message, Failure> {
        let mut body = self.message.clone().into_vec();
        if body == b"-" {
            body.clear();
            let read = io::stdin().lock().take(MAX_MESSAGE + 1).read_to_end(&mut body);
            read.map_err(|error| Failure::new(format!("standard input: {error}")))?;
            if MAX_MESSAGE < body.len() as u64 {
                return Err(Failure::usage(format!("a message of over {MAX_MESSAGE} bytes")));
            }
        }
        if self.binary {
            return Ok(Message::binary(body));
        }
        if self.json
            && let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&body)
        {
            return Err(Failure::usage(format!("the message is not JSON: {error}"))
                .next("quote it for the shell, as in '{\"type\": \"notice\"}'"));
        }
        let text = String::from_utf8(body);
        text.map(Message::text).map_err(|_| {
            Failure::usage("a text message is UTF-8").next("send it with --binary as it is")
        })
    }
}

impl View for Sent {
    fn show(&self, page: &mut Page) {
        self.reached.show("sent to", page);
        if page.wide {
            page.fields(&[
                ("size", bytes(self.bytes as u64)),
                ("reported after", age(Duration::from_micros(self.micros))),
            ]);
        }
    }

    fn code(&self) -> u8 {
        self.reached.code()
    }
}
