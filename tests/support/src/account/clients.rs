//! Checks the records of workers for each client: in order, once, and ended by a close.

use protocol::CloseReason;
use rustc_hash::FxHashMap;

use super::{Account, Broken, Counts, Guarantee, Leniency, Rule, Times};
use crate::{
    message::Token,
    record::{Client, Record, RecordedEvent},
};

/// The handler calls for each message of each connection, by its number minus one.
pub(super) type Handled = FxHashMap<u64, Vec<Times>>;

pub(super) fn check(
    account: &mut Account,
    leniency: Leniency,
    counts: &mut Counts,
    broken: &mut Broken,
) -> Handled {
    let mut handled = Handled::default();
    for (client, mut records) in std::mem::take(&mut account.records) {
        // A stable sort keeps the order of the records of one process.
        records.sort_by_key(|(_, record)| record.at);
        let first = records.first().map_or(0, |(_, record)| record.at);
        let last = records.last().map_or(0, |(_, record)| record.at);
        let exempt = |guarantee| account.is_exempt(guarantee, client.gateway, first, last);
        let mut disorder = Broken::default();
        let mut walk = Walk { client, leniency, token: None, counts, broken: &mut disorder };
        let closed = walk.order(&records);
        let token = walk.token;
        if !disorder.is_empty()
            && closed_for_gateway(&records)
            && exempt(Guarantee::CloseDeliveredOnce)
        {
            counts.closes_twice += 1;
        } else {
            broken.merge(disorder);
        }
        let mut walk = Walk { client, leniency, token, counts, broken };
        walk.meaning(&records);
        walk.messages(&records, &mut handled);
        match closed {
            Some(reason) => *walk.counts.closes.entry(reason).or_default() += 1,
            None if account.lacked_replica(client.gateway, first) => {
                walk.counts.closes_missing += 1
            }
            None if exempt(Guarantee::CloseDelivered) => walk.counts.closes_missing += 1,
            None => walk.breaks(Rule::EveryCloseDelivered, &records, "no onClose".to_owned()),
        }
        walk.counts.connects += 1;
    }
    handled
}

/// Whether a worker has closed the client on behalf of its dead gateway.
fn closed_for_gateway(records: &[(usize, Record)]) -> bool {
    let lost = RecordedEvent::Close(CloseReason::GatewayLost);
    records.iter().any(|(_, record)| record.event == lost)
}

struct Walk<'a> {
    client: Client,
    leniency: Leniency,
    token: Option<u64>,
    counts: &'a mut Counts,
    broken: &'a mut Broken,
}

impl Walk<'_> {
    /// Checks that events are in order, marked when repeated, and ended by a close. Returns the
    /// reason of the close.
    fn order(&mut self, records: &[(usize, Record)]) -> Option<&'static str> {
        let mut seen = FxHashMap::<u64, Times>::default();
        let (mut highest, mut close) = (0_u64, None::<(u64, CloseReason)>);
        let mut closed_for_gateway = None;
        for (_, record) in records {
            let times = seen.entry(record.number).or_default();
            // A worker that closes a client of a dead gateway does not know the lost events.
            let lost = matches!(record.event, RecordedEvent::Close(CloseReason::GatewayLost));
            if record.marked {
                self.counts.redelivered += 1;
                self.counts.again += u64::from(times.all() != 0);
                times.marked += 1;
            } else {
                times.unmarked += 1;
            }
            // If the owner of the client is dead as well, its standby does not know whether the
            // owner has closed the client, and marks the close.
            let perhaps = lost && record.marked;
            if perhaps && self.leniency.overtaken {
                // Nor does it know whether the owner still handles events that it has read.
                closed_for_gateway = Some(CloseReason::GatewayLost);
                continue;
            }
            self.counts.overtaken += u64::from(closed_for_gateway.is_some());
            if 1 < times.unmarked && !record.marked {
                self.breaks(Rule::RepeatsMarked, records, shown(record));
            } else if highest.saturating_add(1) < record.number && !lost {
                let gap = format!("{} after event {highest}", shown(record));
                self.breaks(Rule::HandledInOrder, records, gap);
            } else if record.number <= highest && !record.marked {
                if self.leniency.overtaken && 0 < times.marked {
                    self.counts.overtaken += 1;
                } else {
                    let back = format!("{} after event {highest}", shown(record));
                    self.breaks(Rule::HandledInOrder, records, back);
                }
            }
            if let Some((number, _)) = close
                && number < record.number
                && !perhaps
            {
                self.breaks(Rule::EveryCloseDeliveredOnce, records, shown(record));
            }
            if let RecordedEvent::Close(reason) = record.event {
                if close.is_some_and(|(number, _)| record.number < number) {
                    self.breaks(Rule::EveryCloseDeliveredOnce, records, shown(record));
                }
                close = close.or(Some((record.number, reason)));
            }
            highest = highest.max(record.number);
        }
        close.map(|(_, why)| why).or(closed_for_gateway).map(CloseReason::name)
    }

    /// Checks that each event has the expected sequence number.
    fn meaning(&mut self, records: &[(usize, Record)]) {
        for (_, record) in records {
            let expected = match record.event {
                RecordedEvent::Connect => record.number == 1,
                RecordedEvent::Open(token) => {
                    let same = self.token.is_none_or(|known| known == token);
                    self.token = Some(token);
                    same && record.number == 2
                }
                RecordedEvent::Message(number) => record.number == u64::from(number) + 2,
                RecordedEvent::Close(_) => true,
                RecordedEvent::Unexpected => false,
            };
            if !expected {
                self.breaks(Rule::NothingUnexpected, records, shown(record));
            }
        }
    }

    /// Counts the handler calls for each message.
    fn messages(&mut self, records: &[(usize, Record)], handled: &mut Handled) {
        let Some(token) = self.token else { return };
        let messages = handled.entry(token).or_default();
        for (process, record) in records {
            let RecordedEvent::Message(number) = record.event else { continue };
            let at = number.saturating_sub(1) as usize;
            if messages.len() <= at {
                messages.resize(at + 1, Times::default());
            }
            messages[at].last = Some((*process, record.at));
            match record.marked {
                true => messages[at].marked += 1,
                false => messages[at].unmarked += 1,
            }
        }
    }

    fn breaks(&mut self, rule: Rule, records: &[(usize, Record)], what: String) {
        let (client, token) = (self.client, self.token);
        let token = token.or_else(|| {
            records.iter().find_map(|(_, record)| match record.event {
                RecordedEvent::Open(token) => Some(token),
                _ => None,
            })
        });
        self.broken.add(rule, || {
            let token = token.map_or_else(String::new, |it| format!(" {}", Token::from_u64(it)));
            let last: Vec<String> = records
                .iter()
                .rev()
                .take(6)
                .rev()
                .map(|(process, record)| format!("{}@{process}", shown(record)))
                .collect();
            let Client { gateway, connection } = client;
            format!("{gateway}:{connection}{token}: {what}; last: {}", last.join(", "))
        });
    }
}

fn shown(record: &Record) -> String {
    let event = match record.event {
        RecordedEvent::Connect => "connect".to_owned(),
        RecordedEvent::Open(_) => "open".to_owned(),
        RecordedEvent::Message(_) => String::new(),
        RecordedEvent::Close(why) => format!("close ({})", why.name()),
        RecordedEvent::Unexpected => "unexpected".to_owned(),
    };
    format!("{}{event}{}", record.number, if record.marked { "!" } else { "" })
}
