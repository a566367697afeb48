//! Handshakes that workers decide about: the responses that clients received, compared with the events that
//! workers recorded.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use push_suite_worker::CloseReason;
use simulated::control;
use test_support::{
    account::ConnectionLog,
    message::Token,
    record::{Client, Record, RecordedEvent},
};

thread_local! {
    static ANSWERS: RefCell<Vec<Answer>> = const { RefCell::new(Vec::new()) };
}

/// A response to a handshake.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    token: Token,
    status: u16,
    /// The number of responses.
    responses: usize,
}

const SWITCHING: u16 = 101;
const UNAUTHORIZED: u16 = 401;
const UNAVAILABLE: u16 = 503;

/// Stores the response to a handshake.
pub(crate) fn answered(token: Token, response: &[u8]) {
    let text = String::from_utf8_lossy(response);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    control::note("handshake", &[token.to_u64(), u64::from(status)]);
    let responses = text.matches("HTTP/1.1 ").count();
    ANSWERS.with_borrow_mut(|answers| answers.push(Answer { token, status, responses }));
}

/// Takes all responses.
pub(crate) fn take() -> Vec<Answer> {
    ANSWERS.take()
}

/// The counts of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Handshakes that workers accepted.
    pub accepted: u64,
    /// Those that they refused.
    pub refused: u64,
    /// Those that gateways refused, because no worker answered in time or they were draining.
    pub unanswered: u64,
}

/// The recorded events of one connection.
#[derive(Debug, Default)]
struct Events {
    messages: bool,
    closes: BTreeSet<&'static str>,
}

/// Checks every response, and calls `fails` for what should not be. The account checks that each connection
/// has one close.
pub(crate) fn check(
    answers: &[Answer],
    logs: &[ConnectionLog],
    records: &[(usize, Record)],
    mut fails: impl FnMut(String),
) -> Counts {
    let mut counts = Counts::default();
    let recorded = recorded(records);
    for Answer { token, status, responses } in answers {
        let number = match (*status, token.is_refused()) {
            (SWITCHING, false) => &mut counts.accepted,
            (UNAUTHORIZED, true) => &mut counts.refused,
            (UNAVAILABLE, _) => &mut counts.unanswered,
            _ => {
                fails(format!("the handshake of {token} was answered with {status}"));
                continue;
            }
        };
        *number += 1;
        if *responses != 1 {
            fails(format!("the handshake of {token} had {responses} responses"));
        }
        let events = recorded.get(&token.to_u64());
        if *status != UNAVAILABLE && events.is_none() {
            fails(format!("no worker recorded the handshake of {token}"));
        }
        let Some(Events { messages, closes }) = events.filter(|_| *status != SWITCHING) else {
            continue;
        };
        if *messages {
            fails(format!("{token}, refused with {status}, has sent messages"));
        }
        let reasons = [CloseReason::Handshake.name(), CloseReason::GatewayLost.name()];
        if *status == UNAUTHORIZED && closes.iter().any(|reason| !reasons.contains(reason)) {
            fails(format!("{token}, refused with {status}, was closed for {closes:?}"));
        }
    }
    for (&token, events) in &recorded {
        if Token::from_u64(token).is_refused() && events.messages {
            fails(format!("a message of {} was handled", Token::from_u64(token)));
        }
    }
    let accepted: BTreeSet<_> =
        answers.iter().filter(|it| it.status == SWITCHING).map(|it| it.token).collect();
    for log in logs.iter().filter(|log| !accepted.contains(&log.token)) {
        fails(format!("{} was open without a response", log.token));
    }
    counts
}

/// The events of each connection whose handshake was recorded, by its token.
fn recorded(records: &[(usize, Record)]) -> BTreeMap<u64, Events> {
    let mut tokens = BTreeMap::<Client, u64>::new();
    for (_, record) in records {
        if let RecordedEvent::Open(token) = record.event {
            tokens.insert(record.client, token);
        }
    }
    let mut recorded = BTreeMap::<u64, Events>::new();
    for (_, record) in records {
        let Some(token) = tokens.get(&record.client) else { continue };
        let events = recorded.entry(*token).or_default();
        match record.event {
            RecordedEvent::Message(_) => events.messages = true,
            RecordedEvent::Close(reason) => drop(events.closes.insert(reason.name())),
            RecordedEvent::Connect | RecordedEvent::Open(_) | RecordedEvent::Unexpected => {}
        }
    }
    recorded
}
