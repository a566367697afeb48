//! The report of a call: what it did to which clients.

use std::{fmt, net::SocketAddr};

use protocol::Effect;
use serde::Serialize;

/// The effect of a call, see [`Sending::report`](crate::Sending::report).
///
/// A client counts once for each time that the call applies to it: twice for a message to two
/// groups that it is in, since it receives it twice. `matched` minus `reached` minus `dropped` is
/// the number of clients on which the call had no effect: those that are closing, that a group
/// limit keeps from joining, or that are not in the group to leave or have no uid to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Connected clients that the call applied to.
    pub matched: u64,
    /// Those on which it took effect: the message was queued for the client, which says nothing of
    /// whether the client has read it; the close has begun; the group is joined or was left; the
    /// gateway has the change of the session. Part of a session is changed when that is next read:
    /// a change that does not fit into it, because it would be too long, is only logged there.
    pub reached: u64,
    /// Those that were too slow: their send queue was full, so that the message was dropped, or the
    /// client closed (`--slow-client`). Also those of a `frame://` listener whose layout has no
    /// frame for the message.
    pub dropped: u64,
    /// The inner addresses of the gateways that did not answer, whose clients are not counted. The
    /// call is not lost there: it takes effect once, unless the gateway is not reached any more.
    pub unreachable: Vec<SocketAddr>,
}

impl Report {
    /// Whether every gateway has answered.
    pub const fn is_complete(&self) -> bool {
        self.unreachable.is_empty()
    }

    /// Adds the effect on the clients of a gateway.
    pub(crate) fn add(&mut self, effect: Effect) {
        let Effect { matched, reached, dropped } = effect;
        self.matched = self.matched.saturating_add(matched);
        self.reached = self.reached.saturating_add(reached);
        self.dropped = self.dropped.saturating_add(dropped);
    }

    /// Adds a gateway that did not answer, once.
    pub(crate) fn add_unreachable(&mut self, gateway: SocketAddr) {
        if !self.unreachable.contains(&gateway) {
            self.unreachable.push(gateway);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { matched, reached, dropped, unreachable } = self;
        write!(f, "{matched} matched, {reached} reached, {dropped} dropped")?;
        for (at, gateway) in unreachable.iter().enumerate() {
            f.write_str(if at == 0 { "; no answer from " } else { ", " })?;
            gateway.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_is_shown_and_serialized_with_the_gateways_that_did_not_answer() {
        let mut report = Report::default();
        report.add(Effect { matched: 3, reached: 1, dropped: 1 });
        report.add(Effect { matched: 1, reached: 1, dropped: u64::MAX });
        assert!(report.is_complete());
        assert_eq!(report.to_string(), format!("4 matched, 2 reached, {} dropped", u64::MAX));
        report.dropped = 1;
        for gateway in ["10.0.0.1:2900", "[2001:db8::1]:2900", "10.0.0.1:2900"] {
            report.add_unreachable(gateway.parse().unwrap());
        }
        assert!(!report.is_complete());
        let shown = "4 matched, 2 reached, 1 dropped; \
                     no answer from 10.0.0.1:2900, [2001:db8::1]:2900";
        assert_eq!(report.to_string(), shown);
        let json = serde_json::to_value(&report).unwrap();
        let unreachable = ["10.0.0.1:2900", "[2001:db8::1]:2900"];
        assert_eq!(
            json,
            serde_json::json!({
                "matched": 4, "reached": 2, "dropped": 1, "unreachable": unreachable
            })
        );
    }
}
