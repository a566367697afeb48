//! Checks the observations of clients: closes, answers, and forwarded messages.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::{Account, Broken, ConnectionLog, Counts, End, Leniency, Rule, Times, clients::Handled};
use crate::message::{Kind, Reply, Token};

pub(super) fn check(
    account: &Account,
    handled: &Handled,
    leniency: Leniency,
    counts: &mut Counts,
    broken: &mut Broken,
) {
    let received: BTreeMap<u64, Received> =
        account.connections.iter().map(|(token, log)| (*token, count_received(log))).collect();
    let recipients = Recipients::of(account);
    for (token, log) in &account.connections {
        let mut check = Check { account, handled, leniency, counts, broken, log };
        check.close();
        check.sent();
        check.received(&received[token]);
        check.forwarded(&recipients, &received);
    }
}

/// The close code of a draining gateway. Messages sent before the client received it must be
/// handled.
const GOING_AWAY: u16 = 1001;

/// How often a connection received each message, and when first.
type Received = FxHashMap<(u64, u32, Kind), (u32, u64)>;

fn count_received(log: &ConnectionLog) -> Received {
    let mut received = Received::default();
    for (index, reply) in log.received.iter().enumerate() {
        let at = log.received_at.get(index).copied().unwrap_or_default();
        let reply = (reply.from.to_u64(), reply.number, reply.kind);
        received.entry(reply).or_insert((0, at)).0 += 1;
    }
    received
}

/// The recipients of forwarded messages: connections that stayed to the end, by client and by
/// group.
struct Recipients<'a> {
    clients: FxHashMap<u32, &'a ConnectionLog>,
    groups: FxHashMap<u32, Vec<&'a ConnectionLog>>,
}

impl<'a> Recipients<'a> {
    fn of(account: &'a Account) -> Self {
        let (mut clients, mut groups) = (FxHashMap::default(), FxHashMap::default());
        for log in account.connections.values().filter(|log| log.end == End::Stayed) {
            clients.insert(log.token.client, log);
            let group: &mut Vec<_> = groups.entry(log.token.group_number()).or_default();
            group.push(log);
        }
        Self { clients, groups }
    }

    fn of_message(&self, kind: Kind, from: Token) -> impl Iterator<Item = &'a ConnectionLog> {
        let one = (kind == Kind::Uid).then(|| self.clients.get(&from.partner()).copied()).flatten();
        let many = (kind == Kind::Group).then(|| self.groups.get(&from.group_number())).flatten();
        one.into_iter().chain(many.into_iter().flatten().copied())
    }
}

struct Check<'a> {
    account: &'a Account,
    handled: &'a Handled,
    leniency: Leniency,
    counts: &'a mut Counts,
    broken: &'a mut Broken,
    log: &'a ConnectionLog,
}

impl Check<'_> {
    fn close(&mut self) {
        let log = self.log;
        self.counts.connections += u64::from(log.end != End::Refused);
        let End::Closed(code) = log.end else { return };
        self.counts.closed += 1;
        if !self.account.lost(log.gateway, log.began, log.ended) {
            let sent = log.sent.len();
            self.broken.add(Rule::NoClientClosed, || {
                format!("{}: closed by {} with {code:?}, {sent} sent", log.token, log.gateway)
            });
        }
    }

    /// Checks that sent messages were handled.
    fn sent(&mut self) {
        let log = self.log;
        let known = self.handled.get(&log.token.to_u64());
        let messages = known.map_or(&[][..], Vec::as_slice);
        let handled = messages.iter().filter(|times| 0 < times.all()).count();
        self.counts.sent += log.sent.len() as u64;
        self.counts.handled += handled as u64;
        if messages.len() > log.sent.len() {
            self.breaks(Rule::NothingUnexpected, || format!("{} handled", messages.len()));
        }
        let missing = log.sent.len().saturating_sub(handled);
        let counts = matches!(log.end, End::Stayed | End::Left | End::Closed(Some(GOING_AWAY)));
        if !counts || self.account.died_with(log) {
            self.counts.unhandled += missing as u64;
            return;
        }
        if known.is_none() {
            self.breaks(Rule::NothingLost, || "no event was recorded".to_owned());
        }
        for at in 0..log.sent.len() {
            if times(messages, at).all() == 0 {
                self.breaks(Rule::NothingLost, || format!("message {} of {:?}", at + 1, log.end));
            }
        }
    }

    /// Checks that each received message was handled as often, and in order, and that each sent
    /// message was answered.
    fn received(&mut self, received: &Received) {
        let log = self.log;
        for (&(from, number, kind), (count, _)) in received {
            let from = Token::from_u64(from);
            let messages = self.handled.get(&from.to_u64()).map_or(&[][..], Vec::as_slice);
            let times = times(messages, number.wrapping_sub(1) as usize).all();
            let for_us = match kind {
                Kind::Echo => from == log.token,
                Kind::Uid => Kind::of(number) == kind && from.partner() == log.token.client,
                Kind::Group => {
                    Kind::of(number) == kind && from.group_number() == log.token.group_number()
                }
            };
            if !for_us || times < *count {
                self.breaks(Rule::NothingUnexpected, || {
                    format!("received {number} of {from} ({kind:?}) {count} times, handled {times}")
                });
            }
        }
        for _ in 0..log.unexpected {
            self.breaks(Rule::NothingUnexpected, || "received a malformed message".to_owned());
        }
        self.in_order();
        if log.end != End::Stayed {
            return;
        }
        for number in 1..=log.sent.len() as u32 {
            if !received.contains_key(&(log.token.to_u64(), number, Kind::Echo)) {
                self.breaks(Rule::EverythingAnswered, || format!("message {number}"));
            }
        }
    }

    fn in_order(&mut self) {
        let mut last = FxHashMap::<Token, u32>::default();
        for &Reply { from, number, kind, marked } in &self.log.received {
            match kind {
                Kind::Echo => self.counts.answers += 1,
                Kind::Uid | Kind::Group => self.counts.forwarded += 1,
            }
            let last = last.entry(from).or_default();
            if number < *last && !marked && !self.may_be_repeated(from, number) {
                let last = *last;
                self.breaks(Rule::ReceivedInOrder, || {
                    format!("{number} of {from} ({kind:?}) after {last}")
                });
            }
            *last = number.max(*last);
        }
    }

    /// Whether two workers may have handled a message at the same time.
    fn may_be_repeated(&self, from: Token, number: u32) -> bool {
        let messages = self.handled.get(&from.to_u64()).map_or(&[][..], Vec::as_slice);
        self.leniency.overtaken && 0 < times(messages, number.wrapping_sub(1) as usize).marked
    }

    /// Checks that messages were forwarded to all recipients.
    fn forwarded(&mut self, recipients: &Recipients<'_>, received: &BTreeMap<u64, Received>) {
        let (token, log) = (self.log.token, self.log);
        // If the gateway of the sender is lost, messages in flight are not redelivered.
        if !matches!(log.end, End::Stayed | End::Left) || self.account.died_with(log) {
            return;
        }
        for (number, sent) in (1_u32..).zip(&log.sent) {
            let kind = Kind::of(number);
            for recipient in recipients.of_message(kind, token) {
                let joined = recipient.joined.is_some_and(|joined| joined < *sent);
                let theirs = &received[&recipient.token.to_u64()];
                if !joined {
                    continue;
                }
                if let Some((_, at)) = theirs.get(&(token.to_u64(), number, kind)) {
                    self.in_time(*sent, *at, number, recipient);
                    continue;
                }
                let messages = self.handled.get(&token.to_u64()).map_or(&[][..], Vec::as_slice);
                if self
                    .account
                    .was_disconnected(times(messages, number as usize - 1), recipient.gateway)
                {
                    self.counts.not_forwarded += 1;
                    continue;
                }
                self.breaks(Rule::EverythingForwarded, || {
                    format!(
                        "message {number} to {} on {} ({kind:?})",
                        recipient.token, recipient.gateway
                    )
                });
            }
        }
    }

    /// Checks that a message was forwarded within the limit.
    fn in_time(&mut self, sent: u64, received: u64, number: u32, by: &ConnectionLog) {
        let took = received.saturating_sub(sent);
        if self.leniency.in_time.is_some_and(|most| most < took) {
            self.breaks(Rule::ForwardedInTime, || {
                format!("message {number} to {} after {} ms", by.token, took / 1_000_000)
            });
        }
    }

    fn breaks(&mut self, rule: Rule, what: impl FnOnce() -> String) {
        let log = self.log;
        self.broken.add(rule, || format!("{} on {}: {}", log.token, log.gateway, what()));
    }
}

fn times(messages: &[Times], at: usize) -> Times {
    messages.get(at).copied().unwrap_or_default()
}
