//! Checks the observations of clients: closes, answers, and forwarded messages.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::{Account, Broken, Counts, End, Leniency, Life, Rule, Times, clients::Handled};
use crate::message::{Kind, Reply, Token};

pub(super) fn check(
    account: &Account,
    handled: &Handled,
    leniency: Leniency,
    counts: &mut Counts,
    broken: &mut Broken,
) {
    let received: BTreeMap<u64, Received> =
        account.lives.iter().map(|(token, life)| (*token, count_received(life))).collect();
    let recipients = Recipients::of(account);
    for (token, life) in &account.lives {
        let mut check = Check { account, handled, leniency, counts, broken, life };
        check.end();
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

fn count_received(life: &Life) -> Received {
    let mut received = Received::default();
    for (place, reply) in life.heard.iter().enumerate() {
        let at = life.heard_at.get(place).copied().unwrap_or_default();
        let reply = (reply.from.to_u64(), reply.number, reply.kind);
        received.entry(reply).or_insert((0, at)).0 += 1;
    }
    received
}

/// The recipients of forwarded messages: connections that stayed to the end, by client and by
/// group.
struct Recipients<'a> {
    clients: FxHashMap<u32, &'a Life>,
    groups: FxHashMap<u32, Vec<&'a Life>>,
}

impl<'a> Recipients<'a> {
    fn of(account: &'a Account) -> Self {
        let (mut clients, mut groups) = (FxHashMap::default(), FxHashMap::default());
        for life in account.lives.values().filter(|life| life.end == End::Stayed) {
            clients.insert(life.token.client, life);
            let group: &mut Vec<_> = groups.entry(life.token.group_number()).or_default();
            group.push(life);
        }
        Self { clients, groups }
    }

    fn of_message(&self, kind: Kind, from: Token) -> impl Iterator<Item = &'a Life> {
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
    life: &'a Life,
}

impl Check<'_> {
    fn end(&mut self) {
        let life = self.life;
        self.counts.connections += u64::from(life.end != End::Refused);
        let End::Closed(code) = life.end else { return };
        self.counts.closed += 1;
        if !self.account.lost(life.gateway, life.began, life.ended) {
            let sent = life.sent.len();
            self.broken.add(Rule::NobodyClosed, || {
                format!("{}: closed by {} with {code:?}, {sent} sent", life.token, life.gateway)
            });
        }
    }

    /// Checks that sent messages were handled.
    fn sent(&mut self) {
        let life = self.life;
        let known = self.handled.get(&life.token.to_u64());
        let messages = known.map_or(&[][..], Vec::as_slice);
        let handled = messages.iter().filter(|times| 0 < times.all()).count();
        self.counts.sent += life.sent.len() as u64;
        self.counts.handled += handled as u64;
        if messages.len() > life.sent.len() {
            self.breaks(Rule::NothingMadeUp, || format!("{} handled", messages.len()));
        }
        let missing = life.sent.len().saturating_sub(handled);
        let counts = matches!(life.end, End::Stayed | End::Left | End::Closed(Some(GOING_AWAY)));
        if !counts || self.account.died_with(life) {
            self.counts.gone += missing as u64;
            return;
        }
        if known.is_none() {
            self.breaks(Rule::NothingLost, || "no event was recorded".to_owned());
        }
        for at in 0..life.sent.len() {
            if times(messages, at).all() == 0 {
                self.breaks(Rule::NothingLost, || format!("message {} of {:?}", at + 1, life.end));
            }
        }
    }

    /// Checks that each received message was handled as often, and in order, and that each sent
    /// message was answered.
    fn received(&mut self, received: &Received) {
        let life = self.life;
        for (&(from, number, kind), (count, _)) in received {
            let from = Token::from_u64(from);
            let messages = self.handled.get(&from.to_u64()).map_or(&[][..], Vec::as_slice);
            let times = times(messages, number.wrapping_sub(1) as usize).all();
            let for_us = match kind {
                Kind::Echo => from == life.token,
                Kind::Uid => Kind::of(number) == kind && from.partner() == life.token.client,
                Kind::Group => {
                    Kind::of(number) == kind && from.group_number() == life.token.group_number()
                }
            };
            if !for_us || times < *count {
                self.breaks(Rule::NothingMadeUp, || {
                    format!("received {number} of {from} ({kind:?}) {count} times, handled {times}")
                });
            }
        }
        for _ in 0..life.nonsense {
            self.breaks(Rule::NothingMadeUp, || "received a malformed message".to_owned());
        }
        self.in_order();
        if life.end != End::Stayed {
            return;
        }
        for number in 1..=life.sent.len() as u32 {
            if !received.contains_key(&(life.token.to_u64(), number, Kind::Echo)) {
                self.breaks(Rule::EverythingAnswered, || format!("message {number}"));
            }
        }
    }

    fn in_order(&mut self) {
        let mut last = FxHashMap::<Token, u32>::default();
        for &Reply { from, number, kind, marked } in &self.life.heard {
            match kind {
                Kind::Echo => self.counts.answers += 1,
                Kind::Uid | Kind::Group => self.counts.passed_on += 1,
            }
            let last = last.entry(from).or_default();
            if number < *last && !marked && !self.may_be_repeated(from, number) {
                let last = *last;
                self.breaks(Rule::HeardInOrder, || {
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
        let (token, life) = (self.life.token, self.life);
        // If the gateway of the sender is lost, messages in flight are not redelivered.
        if !matches!(life.end, End::Stayed | End::Left) || self.account.died_with(life) {
            return;
        }
        for (number, sent) in (1_u32..).zip(&life.sent) {
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
                if self.account.were_apart(times(messages, number as usize - 1), recipient.gateway)
                {
                    self.counts.not_passed_on += 1;
                    continue;
                }
                self.breaks(Rule::EverythingPassedOn, || {
                    format!(
                        "message {number} to {} on {} ({kind:?})",
                        recipient.token, recipient.gateway
                    )
                });
            }
        }
    }

    /// Checks that a message was forwarded within the limit.
    fn in_time(&mut self, sent: u64, received: u64, number: u32, by: &Life) {
        let took = received.saturating_sub(sent);
        if self.leniency.in_time.is_some_and(|most| most < took) {
            self.breaks(Rule::PassedOnInTime, || {
                format!("message {number} to {} after {} ms", by.token, took / 1_000_000)
            });
        }
    }

    fn breaks(&mut self, rule: Rule, what: impl FnOnce() -> String) {
        let life = self.life;
        self.broken.add(rule, || format!("{} on {}: {}", life.token, life.gateway, what()));
    }
}

fn times(messages: &[Times], at: usize) -> Times {
    messages.get(at).copied().unwrap_or_default()
}
