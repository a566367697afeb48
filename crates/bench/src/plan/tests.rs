//! What a plan accepts, and what it works out.

use super::*;

pub(crate) fn example(mode: Mode) -> Plan {
    Plan {
        mode,
        label: String::new(),
        target: Target::parse("ws://127.0.0.1:7272").unwrap(),
        connections: 10,
        duration: Duration::from_secs(1),
        size: 64,
        window: 1,
        rate: (mode == Mode::Paced).then_some(100.0),
        senders: 1,
        audience: Audience::All,
        slow: 0,
        prepare: false,
        warm_size: None,
        settle: Duration::ZERO,
        grace: Duration::from_secs(1),
        threads: 1,
        at_once: 10,
        sources: Vec::new(),
        binary: false,
        processes: Vec::new(),
    }
}

#[test]
fn a_message_must_have_room_for_its_number() {
    assert!(Plan { size: stamp::SIZE, ..example(Mode::Echo) }.checked().is_ok());
    assert!(Plan { size: stamp::SIZE - 1, ..example(Mode::Echo) }.checked().is_err());
}

#[test]
fn an_open_loop_has_a_rate_and_quiet_modes_have_none() {
    assert!(example(Mode::Paced).checked().is_ok());
    assert!(Plan { rate: None, ..example(Mode::Paced) }.checked().is_err());
    assert!(Plan { rate: Some(0.0), ..example(Mode::Echo) }.checked().is_err());
    assert!(Plan { rate: Some(1.0), ..example(Mode::Idle) }.checked().is_err());
}

#[test]
fn more_clients_than_ports_come_from_more_addresses() {
    let many = Plan { connections: 50_000, ..example(Mode::Idle) }.checked().unwrap();
    assert_eq!(many.sources.len(), 3);
    assert_ne!(many.source(0), many.source(1));
    assert_eq!(many.source(0), many.source(3));
    assert_eq!(example(Mode::Idle).checked().unwrap().source(0), None);
}

#[test]
fn every_client_is_looked_after_by_one_thread() {
    let plan = Plan { threads: 3, slow: 1, ..example(Mode::Slow) };
    let mut all: Vec<usize> = (0..3).flat_map(|thread| plan.share(thread)).collect();
    all.sort_unstable();
    assert_eq!(all, (0..11).collect::<Vec<_>>());
    assert_eq!(plan.receivers(), 10, "those that do not read are not waited for");
}

#[test]
fn a_schedule_does_not_drift() {
    let schedule = Schedule::new(30_000.0);
    assert_eq!(schedule.due(0), Duration::ZERO);
    assert_eq!(schedule.due(30_000), Duration::from_secs(1));
    assert_eq!(schedule.due(30_000 * 3600), Duration::from_secs(3600));
    assert_eq!(schedule.due_before(Duration::from_secs(2)), 60_000);
    assert_eq!(Schedule::new(3.0).due_before(Duration::from_millis(400)), 2);
}

#[test]
fn urls_may_leave_out_port_and_path() {
    let target = Target::parse("ws://127.0.0.1/chat?x=1").unwrap();
    assert_eq!((target.addr.port(), target.path.as_str()), (80, "/chat?x=1"));
    assert_eq!(Target::parse("ws://[::1]:9").unwrap().addr.port(), 9);
    assert!(Target::parse("http://127.0.0.1").is_err());
}
