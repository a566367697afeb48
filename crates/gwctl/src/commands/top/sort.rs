//! The order of gateways and clients in `top`, and the keys that choose it. Values.

use std::cmp::Reverse;

use push_suite_cluster::GatewayStatus;
use serde::Serialize;

use super::{super::clients::Client, super::gateways::Rate};
use crate::health::Cluster;

/// By what gateways and clients are ordered, the largest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Sort {
    /// Messages a second: of a client, those that it sends
    #[value(alias = "events")]
    Messages,
    /// Bytes a second of a gateway; bytes of a client's queue and session
    Bytes,
    /// Bytes queued for clients
    Queue,
    /// For how long a worker of a gateway has finished none of its events; for how long events of a
    /// client have waited for a worker
    Lag,
    /// Clients of a gateway; bytes of a client's session
    Session,
    /// Groups
    Groups,
}

impl Sort {
    const ALL: [Self; 6] =
        [Self::Messages, Self::Bytes, Self::Queue, Self::Lag, Self::Session, Self::Groups];

    const fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Bytes => "bytes",
            Self::Queue => "queue",
            Self::Lag => "lag",
            Self::Session => "session",
            Self::Groups => "groups",
        }
    }

    /// The order that a key chooses: the digit of its place.
    pub(super) fn of_key(key: char) -> Option<Self> {
        let place = usize::try_from(key.to_digit(10)?).ok()?;
        Self::ALL.get(place.checked_sub(1)?).copied()
    }

    /// The keys and the current order, in a line.
    pub(super) fn help(self) -> String {
        let keys = (1..).zip(Self::ALL).map(|(digit, sort)| format!("{digit} {}", sort.name()));
        format!("{}  q quit; sorted by {}", keys.collect::<Vec<_>>().join("  "), self.name())
    }

    /// Orders clients.
    pub(super) fn clients(self, clients: &mut [Client]) {
        clients.sort_by_key(|client| {
            Reverse(match self {
                Self::Messages => client.milli_events(),
                Self::Bytes => client.queue_bytes + client.session_bytes,
                Self::Queue => client.queue_bytes,
                Self::Lag => client.waits_millis.unwrap_or(0),
                Self::Session => client.session_bytes,
                Self::Groups => client.group_count,
            })
        });
    }

    /// Orders gateways; those without an answer are the last.
    pub(super) fn gateways(self, cluster: &mut Cluster, rate: impl Fn(&str) -> Rate) {
        cluster.gateways.sort_by_key(|gateway| {
            let rate = rate(&gateway.address);
            Reverse(gateway.status.as_ref().ok().map(|status| match self {
                Self::Messages => milli(rate.messages_in + rate.messages_out),
                Self::Bytes => milli(rate.bytes),
                Self::Queue => status.queue_bytes,
                Self::Lag => lag(status).unwrap_or(0),
                Self::Session => status.clients,
                Self::Groups => status.groups,
            }))
        });
    }
}

/// For how long a worker has finished none of the events of a gateway, in milliseconds: the longest.
pub(super) fn lag(status: &GatewayStatus) -> Option<u64> {
    status.workers().filter_map(|worker| worker.stalled).max()
}

/// In thousandths, to sort by.
fn milli(rate: f64) -> u64 {
    (rate * 1000.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_order_has_the_digit_that_the_line_shows() {
        let line = Sort::Queue.help();
        assert_eq!(
            line,
            "1 messages  2 bytes  3 queue  4 lag  5 session  6 groups  q quit; sorted by queue"
        );
        for (digit, sort) in ('1'..).zip(Sort::ALL) {
            assert_eq!(Sort::of_key(digit), Some(sort));
            assert!(line.contains(&format!("{digit} {}", sort.name())));
        }
        for key in ['0', '7', 'q', '\u{1b}', 'x'] {
            assert_eq!(Sort::of_key(key), None);
        }
    }
}
