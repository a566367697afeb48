//! Constructed runs with one defect each: the account must report it, and nothing else.

use protocol::CloseReason;

use super::*;
use crate::message::Kind;

const GATEWAY: u16 = 2_900;
const SENDER: Token = Token { client: 4, attempt: 0 };
const PARTNER: Token = Token { client: 5, attempt: 0 };

/// The observations of a run of two clients, the first of which sends eight messages.
struct Run {
    sender: ConnectionLog,
    partner: ConnectionLog,
    records: Vec<(usize, Record)>,
    losses: Vec<Loss>,
    /// Worker, start and end of each time in which it ran.
    workers: Vec<(usize, u64, u64)>,
    disconnections: Vec<Disconnection>,
    leniency: Leniency,
}

fn client(token: Token) -> Client {
    Client { gateway: GATEWAY, connection: token.client }
}

fn record(token: Token, number: u64, event: RecordedEvent) -> (usize, Record) {
    let at = 1_000_u64.saturating_add(number.saturating_mul(10));
    (0, Record { at, client: client(token), number, marked: false, event })
}

fn connection(token: Token) -> ConnectionLog {
    ConnectionLog {
        joined: Some(1_005),
        end: End::Stayed,
        ended: 9_000,
        ..ConnectionLog::new(token, GATEWAY, 1_000)
    }
}

fn reply(number: u32, kind: Kind) -> Reply {
    Reply { from: SENDER, number, kind, marked: false }
}

fn intact_run() -> Run {
    let (mut sender, mut partner) = (connection(SENDER), connection(PARTNER));
    let mut records = Vec::new();
    for token in [SENDER, PARTNER] {
        records.push(record(token, 1, RecordedEvent::Connect));
        records.push(record(token, 2, RecordedEvent::Open(token.to_u64())));
    }
    for number in 1..=8 {
        sender.sent.push(1_010 + u64::from(number) * 10);
        records.push(record(SENDER, u64::from(number) + 2, RecordedEvent::Message(number)));
        let kind = Kind::of(number);
        if kind != Kind::Echo {
            partner.received.push(reply(number, kind));
        }
        if kind == Kind::Group {
            sender.received.push(reply(number, kind));
        }
        sender.received.push(reply(number, Kind::Echo));
    }
    records.push(record(SENDER, 11, RecordedEvent::Close(CloseReason::Client)));
    records.push(record(PARTNER, 3, RecordedEvent::Close(CloseReason::Client)));
    let (losses, workers, disconnections) = (Vec::new(), Vec::new(), Vec::new());
    Run { sender, partner, records, losses, workers, disconnections, leniency: Leniency::default() }
}

impl Run {
    /// The record of the sender's event with that number.
    fn event(&mut self, number: u64) -> &mut Record {
        let of_event = |record: &Record| record.client == client(SENDER) && record.number == number;
        let found = self.records.iter_mut().find(|(_, record)| of_event(record));
        &mut found.unwrap().1
    }

    fn without(&mut self, number: u64) {
        let removed = *self.event(number);
        self.records.retain(|(_, record)| *record != removed);
    }

    /// Adds the event once more, at another process, at that time.
    fn again(&mut self, number: u64, at: u64, marked: bool) {
        let record = Record { at, marked, ..*self.event(number) };
        self.records.push((1, record));
    }

    fn balance(self) -> Balance {
        let mut account = Account::default();
        account.connection(self.sender);
        account.connection(self.partner);
        account.records(self.records);
        self.losses.into_iter().for_each(|loss| account.loss(loss));
        for (worker, from, to) in self.workers {
            account.worker_up(worker, from);
            account.worker_down(worker, to);
        }
        self.disconnections.into_iter().for_each(|it| account.disconnection(it));
        account.balance(self.leniency)
    }

    fn broken(self) -> Vec<(Rule, u64)> {
        self.balance().broken.iter().map(|(rule, count, _)| (rule, count)).collect()
    }
}

fn broken_by(change: impl FnOnce(&mut Run)) -> Vec<(Rule, u64)> {
    let mut run = intact_run();
    change(&mut run);
    run.broken()
}

#[test]
fn run_without_defects_balances() {
    let Balance { counts, broken } = intact_run().balance();
    assert!(broken.is_empty(), "{broken:?}");
    assert_eq!((counts.connections, counts.sent, counts.handled), (2, 8, 8));
    assert_eq!((counts.answers, counts.forwarded), (8, 3));
    assert_eq!((counts.connects, counts.closes["client"]), (2, 2));
}

#[test]
fn lost_event_is_reported() {
    let lost = broken_by(|run| run.without(10));
    let expected = [
        (Rule::NothingLost, 1),
        // The close follows a gap.
        (Rule::HandledInOrder, 1),
        (Rule::NothingUnexpected, 1),
    ];
    assert_eq!(lost, expected);
}

#[test]
fn repeated_event_without_mark_is_reported() {
    assert_eq!(broken_by(|run| run.again(10, 1_101, true)), []);
    assert_eq!(broken_by(|run| run.again(10, 1_101, false)), [(Rule::RepeatsMarked, 1)]);
}

#[test]
fn events_out_of_order_are_reported() {
    let swapped = broken_by(|run| {
        run.event(4).at = 1_055;
    });
    // A gap before the event, and then a step back.
    assert_eq!(swapped, [(Rule::HandledInOrder, 2)]);
    let ahead = broken_by(|run| run.again(9, 1_055, true));
    assert_eq!(ahead.len(), 1, "a marked event must not skip later ones: {ahead:?}");
}

#[test]
fn late_event_is_tolerated_only_with_leniency() {
    let overtaken = |leniency: Leniency| {
        broken_by(|run| {
            run.leniency = leniency;
            // The new worker handles it, marked, and the next one, before the old worker does.
            run.again(4, 1_035, true);
            run.event(4).at = 1_065;
        })
    };
    assert_eq!(overtaken(Leniency { overtaken: true, ..Leniency::default() }), []);
    assert_eq!(overtaken(Leniency::default()), [(Rule::HandledInOrder, 1)]);
}

#[test]
fn missing_and_surplus_answers_are_reported() {
    let missing = broken_by(|run| {
        run.sender.received.retain(|it| *it != reply(5, Kind::Echo));
    });
    assert_eq!(missing, [(Rule::EverythingAnswered, 1)]);
    let twice = broken_by(|run| run.sender.received.push(reply(8, Kind::Echo)));
    assert_eq!(twice, [(Rule::NothingUnexpected, 1)]);
    let foreign = broken_by(|run| run.partner.received.push(reply(8, Kind::Echo)));
    assert_eq!(foreign, [(Rule::NothingUnexpected, 1)]);
}

#[test]
fn answers_out_of_order_are_reported_unless_marked() {
    let swapped = broken_by(|run| run.sender.received.swap(0, 1));
    assert_eq!(swapped, [(Rule::ReceivedInOrder, 1)]);
    let marked = broken_by(|run| {
        run.again(4, 1_101, true);
        run.sender.received.push(Reply { marked: true, ..reply(2, Kind::Echo) });
    });
    assert_eq!(marked, []);
}

#[test]
fn message_not_forwarded_is_reported_for_joined_recipients() {
    let missing = |joined: bool| {
        broken_by(|run| {
            run.partner.received.clear();
            run.partner.joined = joined.then_some(1_005);
        })
    };
    assert_eq!(missing(true), [(Rule::EverythingForwarded, 2)]);
    assert_eq!(missing(false), []);
}

#[test]
fn message_not_forwarded_is_exempt_if_its_last_worker_could_not_reach_the_gateway() {
    let exempt = |process: usize, gateway: u16, to: u64| {
        let mut run = intact_run();
        run.partner.received.clear();
        // Another worker handled message 3, event 5, at 1,050 before.
        run.again(5, 1_055, true);
        run.disconnections.push(Disconnection { process, gateway, from: 1_051, to });
        let Balance { counts, broken } = run.balance();
        let broken = broken.iter().find(|(rule, ..)| *rule == Rule::EverythingForwarded);
        (counts.not_forwarded, broken.map_or(0, |(_, count, _)| count))
    };
    assert_eq!(exempt(1, GATEWAY, 1_055), (1, 1), "another worker handled message 7");
    assert_eq!(exempt(1, GATEWAY, 1_054), (0, 2));
    assert_eq!(exempt(1, GATEWAY + 1, 2_000), (0, 2));
    assert_eq!(
        exempt(0, GATEWAY, 2_000),
        (1, 1),
        "message 7, not the one that another worker handled later"
    );
}

#[test]
fn late_forwarding_is_reported_only_with_a_limit() {
    let late = |in_time: Option<u64>| {
        broken_by(|run| {
            run.leniency.in_time = in_time;
            // Message 3 is for the partner, and message 7 for the group.
            run.partner.received_at = vec![1_040 + 500, 1_080 + 501];
        })
    };
    assert_eq!(late(None), []);
    assert_eq!(late(Some(501)), []);
    assert_eq!(late(Some(500)), [(Rule::ForwardedInTime, 1)]);
    assert_eq!(late(Some(499)), [(Rule::ForwardedInTime, 2)]);
}

#[test]
fn client_closed_without_loss_of_its_gateway_is_reported() {
    let closed = |losses: Vec<Loss>| {
        broken_by(|run| {
            run.sender.end = End::Closed(Some(1013));
            run.losses = losses;
        })
    };
    assert_eq!(closed(vec![]), [(Rule::NoClientClosed, 1)]);
    assert_eq!(closed(vec![Loss { gateway: GATEWAY, at: 8_000, killed: true }]), []);
    assert_eq!(
        closed(vec![Loss { gateway: GATEWAY, at: 500, killed: true }]),
        [(Rule::NoClientClosed, 1)]
    );
    assert_eq!(
        closed(vec![Loss { gateway: 1, at: 8_000, killed: true }]),
        [(Rule::NoClientClosed, 1)]
    );
}

#[test]
fn draining_gateway_may_still_accept_a_client() {
    let mut account = Account::default();
    account.loss(Loss { gateway: 1, at: 100, killed: false });
    account.ended(1, 200);
    assert!(account.lost(1, 150, 180) && account.lost(1, 50, 120));
    assert!(!account.lost(1, 201, 300), "its next instance");
    assert!(!account.lost(2, 150, 180));
}

#[test]
fn unhandled_messages_are_reported_for_drained_but_not_for_killed_gateways() {
    let lost = |code: Option<u16>| {
        broken_by(|run| {
            run.sender.end = End::Closed(code);
            run.losses = vec![Loss { gateway: GATEWAY, at: 8_000, killed: true }];
            run.sender.sent.push(7_999);
        })
    };
    assert_eq!(lost(Some(1001)), [(Rule::NothingLost, 1)]);
    assert_eq!(lost(None), []);
}

#[test]
fn messages_of_departed_client_may_be_lost_with_a_killed_gateway() {
    let lost = |end: End, killed: bool| {
        broken_by(|run| {
            run.sender.end = end;
            run.sender.sent.push(8_999);
            run.losses = vec![Loss { gateway: GATEWAY, at: 9_500, killed }];
        })
    };
    assert_eq!(lost(End::Left, true), []);
    assert_eq!(lost(End::Left, false), [(Rule::NothingLost, 1)]);
    assert!(lost(End::Stayed, true).contains(&(Rule::NothingLost, 1)));
}

#[test]
fn missing_repeated_or_early_close_is_reported() {
    assert_eq!(broken_by(|run| run.without(11)), [(Rule::EveryCloseDelivered, 1)]);
    assert_eq!(broken_by(|run| run.again(11, 1_200, true)), []);
    let twice = broken_by(|run| {
        run.records.push(record(SENDER, 12, RecordedEvent::Close(CloseReason::GatewayLost)));
    });
    assert_eq!(twice, [(Rule::EveryCloseDeliveredOnce, 1)]);
    let after = broken_by(|run| {
        run.sender.sent.push(0);
        run.sender.received.push(reply(9, Kind::Echo));
        run.event(11).number = 10;
        run.records.push(record(SENDER, 11, RecordedEvent::Message(9)));
    });
    assert!(after.contains(&(Rule::EveryCloseDeliveredOnce, 1)), "{after:?}");
}

#[test]
fn close_may_be_missing_only_if_fewer_than_two_workers_ran_when_the_gateway_died() {
    const DIED: u64 = 100_000_000_000;
    const LATER: u64 = DIED + CLOSED;
    let missing = |workers: &[(usize, u64, u64)], gateway: u16| {
        broken_by(|run| {
            run.without(11);
            run.sender.end = End::Closed(None);
            run.losses = vec![Loss { gateway, at: DIED, killed: true }];
            run.workers = workers.to_vec();
            run.records.iter_mut().for_each(|(_, record)| record.at += DIED - 10_000);
            run.sender.ended += DIED;
        })
    };
    let missed = [(Rule::EveryCloseDelivered, 1)];
    for workers in [
        &[][..],
        &[(1, 0, u64::MAX)],
        &[(1, 0, u64::MAX), (2, 0, DIED + 1)],
        &[(1, 0, DIED), (2, 0, DIED), (3, 0, u64::MAX)],
        // The third was not ready when the second died.
        &[(1, 0, DIED), (2, 0, DIED + READY), (3, 0, u64::MAX), (1, DIED + 1, u64::MAX)],
    ] {
        assert_eq!(missing(workers, GATEWAY), [], "{workers:?}");
        assert!(missing(workers, 1).contains(&missed[0]), "{workers:?}");
    }
    for workers in [
        &[(1, 0, u64::MAX), (2, 0, u64::MAX)][..],
        &[(1, 0, u64::MAX), (2, 0, LATER + 1)],
        // One after the other, with two left each time.
        &[(1, 0, DIED), (2, 0, DIED + READY), (3, 0, u64::MAX), (1, DIED, u64::MAX)],
    ] {
        assert_eq!(missing(workers, GATEWAY), missed, "{workers:?}");
    }
}

#[test]
fn close_for_a_dead_gateway_may_be_repeated_with_a_mark() {
    let again = |marked: bool| {
        broken_by(|run| {
            let lost = RecordedEvent::Close(CloseReason::GatewayLost);
            let (_, record) = record(SENDER, u64::MAX, lost);
            run.records.push((1, Record { at: 2_000, marked, ..record }));
        })
    };
    assert_eq!(again(true), []);
    assert_eq!(again(false), [(Rule::EveryCloseDeliveredOnce, 1)]);
}

#[test]
fn events_after_a_marked_close_for_the_gateway_are_tolerated_with_leniency() {
    let closed = |leniency: Leniency, marked: bool| {
        broken_by(|run| {
            run.leniency = leniency;
            let lost = RecordedEvent::Close(CloseReason::GatewayLost);
            let (_, record) = record(SENDER, u64::MAX, lost);
            run.records.push((2, Record { at: 1, marked, ..record }));
        })
    };
    let lenient = Leniency { overtaken: true, ..Leniency::default() };
    assert_eq!(closed(lenient, true), []);
    assert_ne!(closed(lenient, false), []);
    assert_ne!(closed(Leniency::default(), true), []);
}

#[test]
fn client_without_recorded_events_is_reported_lost() {
    let lost = broken_by(|run| {
        run.records.retain(|(_, record)| record.client != client(PARTNER));
    });
    assert_eq!(lost, [(Rule::NothingLost, 1)]);
}

#[test]
fn blemish_does_not_balance() {
    let mut account = Account::default();
    account.failure("worker-1 printed: panicked at".to_owned());
    assert!(!account.balance(Leniency::default()).broken.is_empty());
}
