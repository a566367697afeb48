//! The input that a plan accepts, and its results.

use super::*;
use crate::pusher::ChannelType;

pub(crate) fn example(mode: Mode) -> Plan {
    Plan {
        mode,
        label: String::new(),
        targets: Vec::from([Target::parse("ws://127.0.0.1:7272", "/").unwrap()]),
        protocol: Protocol::Plain,
        pusher: None,
        connections: 10,
        duration: Duration::from_secs(1),
        size: 64,
        window: 1,
        rate: (mode == Mode::Paced).then_some(100.0),
        senders: 1,
        audience: Audience::All,
        groups: 1,
        devices: 10,
        slow: 0,
        prepare: false,
        warm_size: None,
        settle: Duration::ZERO,
        grace: Duration::from_secs(1),
        generators: 1,
        generator: 0,
        threads: 1,
        at_once: 10,
        sources: Vec::new(),
        answer: None,
        binary: false,
        deflate: false,
        json: false,
        report: false,
        processes: Vec::new(),
    }
}

#[test]
fn message_size_below_the_stamp_is_rejected() {
    assert!(Plan { size: stamp::SIZE, ..example(Mode::Echo) }.checked().is_ok());
    assert!(Plan { size: stamp::SIZE - 1, ..example(Mode::Echo) }.checked().is_err());
}

#[test]
fn rate_is_required_in_open_loops_and_rejected_in_idle_modes() {
    assert!(example(Mode::Paced).checked().is_ok());
    assert!(Plan { rate: None, ..example(Mode::Paced) }.checked().is_err());
    assert!(Plan { rate: Some(0.0), ..example(Mode::Echo) }.checked().is_err());
    assert!(Plan { rate: Some(1.0), ..example(Mode::Idle) }.checked().is_err());
}

#[test]
fn answer_is_rejected_outside_of_idle_mode() {
    let answer = || Some("pong".to_owned());
    assert!(Plan { answer: answer(), ..example(Mode::Idle) }.checked().is_ok());
    assert!(Plan { answer: answer(), ..example(Mode::Echo) }.checked().is_err());
}

#[test]
fn more_clients_than_ports_come_from_more_addresses() {
    let many = Plan { connections: 50_000, devices: 1, ..example(Mode::Idle) }.checked().unwrap();
    assert_eq!(many.sources.len(), 3);
    assert_ne!(many.source(0), many.source(1));
    assert_eq!(many.source(0), many.source(3));
    assert_eq!(example(Mode::Idle).checked().unwrap().source(0), None);
}

#[test]
fn every_client_is_looked_after_by_one_thread_of_one_process() {
    let plan = Plan { threads: 3, generators: 2, slow: 1, ..example(Mode::Slow) };
    let mut all = Vec::new();
    for generator in 0..2 {
        let plan = Plan { generator, ..plan.clone() };
        (0..3).for_each(|thread| all.extend(plan.share(thread)));
    }
    all.sort_unstable();
    assert_eq!(all, (0..11).collect::<Vec<_>>());
    assert_eq!(plan.receivers(), 10, "those that do not read are not waited for");
}

#[test]
fn each_audience_is_as_large_as_its_fan_out_counts_on() {
    let fanout = |audience| Plan { audience, ..example(Mode::Fanout) };
    for plan in [
        fanout(Audience::All),
        Plan { groups: 3, ..fanout(Audience::Group) },
        Plan { devices: 2, ..fanout(Audience::Uid) },
    ] {
        for sender in 0..plan.connections {
            assert_eq!(plan.receivers_of(0, sender) as u64, plan.receivers(), "{plan:?}");
            let plan = Plan { generators: 3, ..plan.clone() };
            let of = |generator| plan.receivers_of(generator, sender);
            assert_eq!((0..3).map(of).sum::<usize>() as u64, plan.receivers(), "{plan:?}");
        }
    }
}

#[test]
fn clients_bind_the_uids_that_messages_name() {
    let plan = Plan { audience: Audience::Uid, devices: 2, ..example(Mode::Fanout) };
    assert_eq!(plan.preparation(7), [b"u000003"]);
    let least = stamp::SIZE + 7;
    assert!(Plan { size: least, ..plan.clone() }.checked().is_ok());
    assert!(Plan { size: least - 1, ..plan.clone() }.checked().is_err(), "no room for the uid");
    assert!(Plan { devices: 3, ..plan }.checked().is_err(), "a uid would have fewer devices");
}

#[test]
fn members_of_the_group_that_is_spoken_to_are_every_nth() {
    let plan = Plan { groups: 4, prepare: true, ..example(Mode::Idle) };
    assert_eq!(plan.preparation(4), [b"jroom".to_vec(), b"uclient-4".to_vec()]);
    assert_eq!(plan.preparation(5)[0], b"jroom-1");
}

#[test]
fn operation_with_a_report_is_upper_case() {
    let plan = Plan { report: true, ..example(Mode::Echo) };
    let mut frame = Vec::new();
    let stamp = stamp::Stamp { run: 0, sender: 0, number: 0, due: 0 };
    plan.template().append(&stamp, &mut frame);
    let unmasked = |at: usize| frame[6 + at] ^ frame[2 + at % 4];
    assert_eq!(unmasked(0), b'E');
    assert!(Plan { report: true, ..example(Mode::Idle) }.checked().is_err());
}

fn pusher(mode: Mode) -> Plan {
    let pusher = Pusher {
        app: "1:key:secret".parse().unwrap(),
        http: Target::parse_http("http://127.0.0.1:8080").unwrap(),
        channels: ChannelType::Public,
    };
    Plan { protocol: Protocol::Pusher, pusher: Some(pusher), ..example(mode) }
}

#[test]
fn publishers_take_turns_among_the_channels_and_reach_all_subscribers() {
    let plan = Plan { groups: 5, senders: 12, threads: 2, generators: 2, ..pusher(Mode::Fanout) };
    let plan = plan.checked().unwrap();
    assert_eq!(plan.receivers(), 2);
    let of = plan.pusher.clone().unwrap();
    for sender in 0..plan.senders {
        let channel = plan.target_channel(&of, sender);
        let here = |generator: &usize| {
            let clients = (0..10).filter(|client| client % 2 == *generator);
            clients.filter(|client| plan.channels(&of, *client).contains(&channel)).count()
        };
        for generator in 0..2 {
            assert_eq!(plan.receivers_of(generator, sender), here(&generator), "{sender}");
        }
    }
    let mut publishers: Vec<_> = (0..2).flat_map(|thread| plan.publishers(thread)).collect();
    let other = Plan { generator: 1, ..plan };
    publishers.extend((0..2).flat_map(|thread| other.publishers(thread)));
    publishers.sort_unstable();
    assert_eq!(publishers, (0..12).collect::<Vec<_>>());
    assert_eq!(pusher(Mode::Idle).publishers(0).count(), 0);
}

#[test]
fn each_client_of_a_churn_publishes_to_a_channel_of_its_own() {
    let plan = Plan { groups: 2, prepare: true, ..pusher(Mode::Churn) }.checked().unwrap();
    let of = plan.pusher.clone().unwrap();
    assert_eq!(plan.target_channel(&of, 3), of.channels.name(5));
    assert_eq!(plan.channels(&of, 3), [of.channels.name(5), of.channels.name(1)]);
    let idle = Plan { prepare: true, ..pusher(Mode::Idle) };
    assert_eq!(idle.channels(&of, 3), [of.channels.name(0)]);
    assert!(pusher(Mode::Idle).channels(&of, 3).is_empty());
}

#[test]
fn flags_without_a_meaning_in_the_pusher_protocol_are_rejected() {
    assert!(pusher(Mode::Fanout).checked().is_ok());
    for mode in [Mode::Echo, Mode::Uid, Mode::Member, Mode::Storm] {
        assert!(pusher(mode).checked().is_err(), "{mode:?}");
    }
    for plan in [
        Plan { binary: true, ..pusher(Mode::Fanout) },
        Plan { json: true, ..pusher(Mode::Fanout) },
        Plan { report: true, ..pusher(Mode::Fanout) },
        Plan { warm_size: Some(100), ..pusher(Mode::Idle) },
        Plan { groups: 3, ..pusher(Mode::Fanout) },
        Plan { senders: MOST_PUBLISHERS + 1, ..pusher(Mode::Fanout) },
    ] {
        assert!(plan.checked().is_err());
    }
    assert!(Plan { senders: 11, ..example(Mode::Fanout) }.checked().is_err());
}
