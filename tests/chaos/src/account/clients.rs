//! What workers noted of each client: in order, once, and to the end.

use business_worker::CloseReason;
use rustc_hash::FxHashMap;

use super::{Account, Broken, Counts, Leniency, Rule, Times, Unpromised};
use crate::{
    message::Token,
    record::{Client, Record, Told},
};

/// How often each message of each life was handled, by its number less one.
pub(super) type Handled = FxHashMap<u64, Vec<Times>>;

pub(super) fn check(
    account: &mut Account,
    leniency: Leniency,
    counts: &mut Counts,
    broken: &mut Broken,
) -> Handled {
    let mut handled = Handled::default();
    for (client, mut records) in std::mem::take(&mut account.records) {
        // Stable, so that those of one process stay in their order.
        records.sort_by_key(|(_, record)| record.at);
        let first = records.first().map_or(0, |(_, record)| record.at);
        let last = records.last().map_or(0, |(_, record)| record.at);
        let unpromised = |what| account.is_unpromised(what, client.gateway, first, last);
        let mut disorder = Broken::default();
        let mut walk = Walk { client, leniency, token: None, counts, broken: &mut disorder };
        let closed = walk.order(&records);
        let token = walk.token;
        if !disorder.is_empty() && spoken_for(&records) && unpromised(Unpromised::ToldOnce) {
            counts.closes_twice += 1;
        } else {
            broken.merge(disorder);
        }
        let mut walk = Walk { client, leniency, token, counts, broken };
        walk.meaning(&records);
        walk.messages(&records, &mut handled);
        match closed {
            Some(reason) => *walk.counts.closes.entry(reason).or_default() += 1,
            None if account.forgotten(client.gateway, first) => walk.counts.closes_missing += 1,
            None if unpromised(Unpromised::Told) => walk.counts.closes_missing += 1,
            None => walk.breaks(Rule::EveryEndTold, &records, "no onClose".to_owned()),
        }
        walk.counts.connects += 1;
    }
    handled
}

/// Whether a worker has closed it for its gateway.
fn spoken_for(records: &[(usize, Record)]) -> bool {
    let lost = Told::Close(CloseReason::GatewayLost);
    records.iter().any(|(_, record)| record.told == lost)
}

struct Walk<'a> {
    client: Client,
    leniency: Leniency,
    token: Option<u64>,
    counts: &'a mut Counts,
    broken: &'a mut Broken,
}

impl Walk<'_> {
    /// Whether events come in order, marked when they come again, and end with a close. Returns
    /// the reason of that.
    fn order(&mut self, records: &[(usize, Record)]) -> Option<&'static str> {
        let mut seen = FxHashMap::<u64, Times>::default();
        let (mut highest, mut close) = (0_u64, None::<(u64, CloseReason)>);
        let mut spoken_for = None;
        for (_, record) in records {
            let times = seen.entry(record.number).or_default();
            // A worker that speaks for a lost gateway cannot know what was lost with it.
            let lost = matches!(record.told, Told::Close(CloseReason::GatewayLost));
            if record.marked {
                self.counts.redelivered += 1;
                self.counts.again += u64::from(times.all() != 0);
                times.marked += 1;
            } else {
                times.unmarked += 1;
            }
            // Whoever speaks for a lost gateway whose owner is lost too cannot know whether it has
            // spoken, and says so.
            let perhaps = lost && record.marked;
            if perhaps && self.leniency.overtaken {
                // Nor whether that handles late what it has read already.
                spoken_for = Some(CloseReason::GatewayLost);
                continue;
            }
            self.counts.overtaken += u64::from(spoken_for.is_some());
            if 1 < times.unmarked && !record.marked {
                self.breaks(Rule::MarkedWhenAgain, records, shown(record));
            } else if highest.saturating_add(1) < record.number && !lost {
                let gap = format!("{} behind event {highest}", shown(record));
                self.breaks(Rule::HandledInOrder, records, gap);
            } else if record.number <= highest && !record.marked {
                if self.leniency.overtaken && 0 < times.marked {
                    self.counts.overtaken += 1;
                } else {
                    let back = format!("{} behind event {highest}", shown(record));
                    self.breaks(Rule::HandledInOrder, records, back);
                }
            }
            if let Some((number, _)) = close
                && number < record.number
                && !perhaps
            {
                self.breaks(Rule::EveryEndToldOnce, records, shown(record));
            }
            if let Told::Close(reason) = record.told {
                if close.is_some_and(|(number, _)| record.number < number) {
                    self.breaks(Rule::EveryEndToldOnce, records, shown(record));
                }
                close = close.or(Some((record.number, reason)));
            }
            highest = highest.max(record.number);
        }
        close.map(|(_, why)| why).or(spoken_for).map(CloseReason::name)
    }

    /// Whether each number means what it must.
    fn meaning(&mut self, records: &[(usize, Record)]) {
        for (_, record) in records {
            let sense = match record.told {
                Told::Connect => record.number == 1,
                Told::Open(token) => {
                    let same = self.token.is_none_or(|known| known == token);
                    self.token = Some(token);
                    same && record.number == 2
                }
                Told::Message(number) => record.number == u64::from(number) + 2,
                Told::Close(_) => true,
                Told::Nonsense => false,
            };
            if !sense {
                self.breaks(Rule::NothingMadeUp, records, shown(record));
            }
        }
    }

    /// Notes how often each message was handled.
    fn messages(&mut self, records: &[(usize, Record)], handled: &mut Handled) {
        let Some(token) = self.token else { return };
        let messages = handled.entry(token).or_default();
        for (process, record) in records {
            let Told::Message(number) = record.told else { continue };
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
            records.iter().find_map(|(_, record)| match record.told {
                Told::Open(token) => Some(token),
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
    let told = match record.told {
        Told::Connect => "connect".to_owned(),
        Told::Open(_) => "open".to_owned(),
        Told::Message(_) => String::new(),
        Told::Close(why) => format!("close ({})", why.name()),
        Told::Nonsense => "nonsense".to_owned(),
    };
    format!("{}{told}{}", record.number, if record.marked { "!" } else { "" })
}
