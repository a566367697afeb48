//! Which events are given up: rule by rule, and in a small simulation of workers.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};
use protocol::{CloseReason, Message};

use super::*;

fn instance(number: u64) -> InstanceId {
    InstanceId::from_random(number)
}

fn client(id: u32) -> ConnectionId {
    ConnectionId(id)
}

/// A client's message of that number, as a worker had it.
fn message(id: u32, number: u64) -> Entry {
    Entry {
        client: client(id),
        number,
        event: Event::Message(Message::text("hello")),
        context: None,
        redelivered: true,
        edits: 0,
        isolation: Isolation::None,
        reached: Reached::Sent,
    }
}

/// Delivers entries, and returns the clients of those that were not held.
fn deliver(suspects: &mut PoisonDetector, entries: Vec<Entry>) -> Vec<ConnectionId> {
    let mut delivered = Vec::new();
    for entry in entries {
        match suspects.must_wait(entry.client, entry.number) {
            true => suspects.hold(entry, b"hello"),
            false => delivered.push(entry.client),
        }
    }
    delivered
}

/// The clients and the isolation of the next suspects.
fn next(suspects: &mut PoisonDetector) -> Vec<(u32, Isolation)> {
    suspects.next().into_iter().map(|entry| (entry.client.0, entry.isolation)).collect()
}

/// A worker process terminates while it has these events.
fn end(suspects: &mut PoisonDetector, number: u64, entries: Vec<Entry>, now: Instant) {
    suspects.process_ended(&instance(number), &entries, now);
    deliver(suspects, entries);
}

#[test]
fn acked_suspect_is_cleared() {
    let (mut suspects, now) = (PoisonDetector::new(Some(3)), Instant::now());
    end(&mut suspects, 1, vec![message(1, 5), message(1, 6), message(2, 1)], now);
    let given = deliver(&mut suspects, vec![message(1, 5), message(1, 6), message(2, 1)]);
    assert_eq!(given, [client(1), client(1), client(2)], "like any event");
    suspects.ack(client(1), 5);
    suspects.ack(client(2), 1);
    assert!(!suspects.is_empty(), "the next event may be a suspect as well");
    suspects.ack(client(1), 6);
    assert!(suspects.is_empty());
}

#[test]
fn event_behind_an_acked_suspect_becomes_the_suspect() {
    let (mut suspects, now) = (PoisonDetector::new(Some(3)), Instant::now());
    let all = || vec![message(1, 5), message(1, 6), message(1, 7)];
    end(&mut suspects, 1, all(), now);
    suspects.handler_started(client(1), 5, false);
    suspects.ack(client(1), 5);
    suspects.handler_started(client(1), 6, false);
    end(&mut suspects, 2, vec![message(1, 6), message(1, 7)], now);
    assert_eq!(next(&mut suspects), [(1, Isolation::Alone)]);
    suspects.handler_started(client(1), 6, true);
    end(&mut suspects, 3, vec![message(1, 6)], now);
    let (given_up, _) = suspects.give_up(suspects.due(now + CONFIRM_AFTER)[0]).unwrap();
    assert_eq!((given_up.number, given_up.ends), (6, 3));
}

#[test]
fn events_reported_as_a_batch_are_suspects_in_turn() {
    let (mut suspects, now) = (PoisonDetector::new(Some(3)), Instant::now());
    let all = || vec![message(1, 5), message(1, 6), message(1, 7)];
    end(&mut suspects, 1, all(), now);
    for number in 5..=7 {
        suspects.handler_started(client(1), number, false);
    }
    suspects.ack(client(1), 5);
    // Event 6 ends the process; or event 7, before the acknowledgement of event 6 is sent.
    end(&mut suspects, 2, vec![message(1, 6), message(1, 7)], now);
    assert_eq!(next(&mut suspects), [(1, Isolation::Alone)], "the termination counts");
    suspects.handler_started(client(1), 6, true);
    let released = suspects.ack(client(1), 6).entries;
    assert_eq!(released.len(), 1);
    assert!(deliver(&mut suspects, released).is_empty(), "it counts against event 7 as well");
    assert_eq!(next(&mut suspects), [(1, Isolation::Alone)]);
    suspects.handler_started(client(1), 7, true);
    end(&mut suspects, 3, vec![message(1, 7)], now);
    let (given_up, _) = suspects.give_up(suspects.due(now + CONFIRM_AFTER)[0]).unwrap();
    assert_eq!((given_up.number, given_up.ends), (7, 3));
}

#[test]
fn event_whose_handler_ends_three_processes_is_given_up() {
    let (mut suspects, now) = (PoisonDetector::new(Some(3)), Instant::now());
    let poison = || vec![message(1, 5), message(1, 6)];
    end(&mut suspects, 1, poison(), now);
    suspects.handler_started(client(1), 5, false);
    end(&mut suspects, 2, poison(), now);
    assert_eq!(next(&mut suspects), [(1, Isolation::Alone)]);
    assert!(suspects.must_wait(client(1), 7), "behind it");
    suspects.handler_started(client(1), 5, true);
    end(&mut suspects, 3, vec![message(1, 5)], now);
    assert!(next(&mut suspects).is_empty() && suspects.due(now).is_empty());
    assert_eq!(suspects.due(now + CONFIRM_AFTER), [client(1)]);
    let (given_up, cleared) = suspects.give_up(client(1)).unwrap();
    assert_eq!((given_up.number, given_up.ends, given_up.kind), (5, 3, "message"));
    let rest = given_up.rest.entries.iter().map(|entry| entry.number);
    assert_eq!(rest.collect::<Vec<_>>(), [6]);
    assert!(cleared.is_empty() && suspects.is_empty());
    assert_eq!(suspects.bytes(), 0);
}

#[test]
fn termination_does_not_count_against_an_event_that_was_only_sent() {
    let (mut suspects, now) = (PoisonDetector::new(Some(3)), Instant::now());
    end(&mut suspects, 1, vec![message(1, 5)], now);
    for process in 2..100 {
        end(&mut suspects, process, vec![message(1, 5)], now);
        assert!(!suspects.must_wait(client(1), 5));
    }
    // Nor alone, before its handler has started.
    suspects.handler_started(client(1), 5, false);
    end(&mut suspects, 100, vec![message(1, 5)], now);
    for process in 101..200 {
        assert_eq!(next(&mut suspects), [(1, Isolation::Alone)]);
        end(&mut suspects, process, vec![message(1, 5)], now);
    }
    assert!(suspects.due(now + CONFIRM_AFTER * 2).is_empty());
}

#[test]
fn event_behind_one_that_had_started_is_no_suspect() {
    let (mut suspects, now) = (PoisonDetector::new(Some(2)), Instant::now());
    end(&mut suspects, 1, vec![message(1, 5), message(1, 6)], now);
    next(&mut suspects);
    suspects.handler_started(client(1), 5, false);
    end(&mut suspects, 2, vec![message(1, 5)], now);
    next(&mut suspects);
    let released = suspects.ack(client(1), 5);
    assert_eq!(released.entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [6]);
    assert!(!suspects.must_wait(client(1), 6));
}

#[test]
fn suspects_run_in_a_group_and_alone_once_its_worker_has_ended() {
    let (mut suspects, now) = (PoisonDetector::new(Some(3)), Instant::now());
    let all = || (1..=40).map(|id| message(id, 1)).collect::<Vec<_>>();
    end(&mut suspects, 1, all(), now);
    (1..=40).for_each(|id| suspects.handler_started(client(id), 1, false));
    end(&mut suspects, 2, all(), now);
    let group = next(&mut suspects);
    assert_eq!(group.len(), GROUP);
    assert!(group.iter().all(|(_, isolation)| *isolation == Isolation::Suspect));
    assert!(next(&mut suspects).is_empty(), "one group at a time");
    // All but two are acknowledged.
    for (id, _) in &group[2..] {
        suspects.ack(client(*id), 1);
    }
    suspects.handler_started(client(1), 1, false);
    end(&mut suspects, 3, vec![message(1, 1), message(2, 1)], now);
    assert_eq!(next(&mut suspects), [(1, Isolation::Alone)], "the second had not started");
    suspects.ack(client(1), 1);
    assert_eq!(next(&mut suspects).len(), 9, "and those that had not run yet");
}

#[test]
fn suspect_without_a_worker_is_delivered_once_one_is_linked() {
    let (mut suspects, now) = (PoisonDetector::new(Some(2)), Instant::now());
    end(&mut suspects, 1, vec![message(1, 5), message(1, 6)], now);
    let delivered = suspects.next();
    assert_eq!(delivered.len(), 1);
    // The client's worker is draining, so the suspect was unassigned; now unassigned events are
    // delivered.
    let given = deliver(&mut suspects, vec![message(1, 5)]);
    assert_eq!((given, next(&mut suspects)), (vec![], vec![(1, Isolation::Alone)]));
    let Released { entries, .. } = suspects.ack(client(1), 5);
    assert_eq!(entries.len(), 1, "the event behind it");
}

#[test]
fn reassignment_alone_does_not_affect_a_suspect() {
    let (mut suspects, now) = (PoisonDetector::new(Some(2)), Instant::now());
    end(&mut suspects, 1, vec![message(1, 5)], now);
    suspects.next();
    suspects.handler_started(client(1), 5, true);
    end(&mut suspects, 2, vec![message(1, 5)], now);
    // It has the number of the event before it.
    let reassigned = Entry { event: Event::Reassigned, ..message(1, 5) };
    suspects.link_lost(std::slice::from_ref(&reassigned));
    suspects.process_ended(&instance(3), &[reassigned], now);
    assert_eq!(suspects.due(now + CONFIRM_AFTER), [client(1)]);
}

#[test]
fn worker_that_reconnects_has_not_ended() {
    let (mut suspects, now) = (PoisonDetector::new(Some(3)), Instant::now());
    let only = || vec![message(1, 5)];
    end(&mut suspects, 1, only(), now);
    suspects.handler_started(client(1), 5, false);
    end(&mut suspects, 2, only(), now);
    next(&mut suspects);
    suspects.handler_started(client(1), 5, true);
    end(&mut suspects, 3, only(), now);
    suspects.reconnected(&instance(9));
    assert_eq!(suspects.due(now + CONFIRM_AFTER), [client(1)], "another instance");
    suspects.reconnected(&instance(3));
    assert!(suspects.due(now + CONFIRM_AFTER).is_empty());
    assert_eq!(next(&mut suspects), [(1, Isolation::Alone)], "it runs alone once more");
}

#[test]
fn events_stay_behind_held_ones_if_the_suspect_is_free_again() {
    let (mut suspects, now) = (PoisonDetector::new(Some(3)), Instant::now());
    end(&mut suspects, 1, vec![message(1, 5)], now);
    suspects.handler_started(client(1), 5, false);
    end(&mut suspects, 2, vec![message(1, 5), message(1, 6)], now);
    assert_eq!(next(&mut suspects), [(1, Isolation::Alone)]);
    suspects.reconnected(&instance(2));
    suspects.link_lost(&[message(1, 5)]);
    let given = deliver(&mut suspects, vec![message(1, 5)]);
    assert_eq!(given, [client(1)], "one end counts against it");
    assert!(deliver(&mut suspects, vec![message(1, 7)]).is_empty(), "event 6 is held");
    assert!(next(&mut suspects).is_empty());
    let released = suspects.ack(client(1), 5).entries;
    assert_eq!(released.iter().map(|entry| entry.number).collect::<Vec<_>>(), [6, 7]);
    assert!(suspects.is_empty() && suspects.bytes() == 0);
}

#[test]
fn ends_that_an_event_explains_count_against_no_other() {
    let (mut suspects, now) = (PoisonDetector::new(Some(3)), Instant::now());
    let both = || vec![message(1, 1), message(2, 1), message(2, 2)];
    end(&mut suspects, 1, both(), now);
    (1..=2).for_each(|id| suspects.handler_started(client(id), 1, false));
    end(&mut suspects, 2, both(), now);
    assert_eq!(next(&mut suspects).len(), 2);
    (1..=2).for_each(|id| suspects.handler_started(client(id), 1, false));
    end(&mut suspects, 3, vec![message(1, 1), message(2, 1)], now);
    assert_eq!(next(&mut suspects), [(1, Isolation::Alone)]);
    suspects.handler_started(client(1), 1, true);
    end(&mut suspects, 4, vec![message(1, 1)], now);
    let (given_up, cleared) = suspects.give_up(client(1)).unwrap();
    assert_eq!(given_up.ends, 4);
    let numbers = |released: &Released| released.entries.iter().map(|it| it.number).collect();
    let numbers: Vec<Vec<u64>> = cleared.iter().map(numbers).collect();
    assert_eq!(numbers, [[1, 2]], "the second needs no isolation any more");
    assert!(suspects.is_empty());
}

#[test]
fn suspect_of_a_disconnected_client_has_its_context() {
    let (mut suspects, now) = (PoisonDetector::new(Some(2)), Instant::now());
    let context = protocol::Context {
        remote: "192.0.2.7:4321".parse().unwrap(),
        listener_port: 7272,
        session: protocol::Session::default(),
    };
    let context = Some(Box::new(context));
    let event = Event::Close(CloseReason::Client);
    let close = Entry { event, context: context.clone(), ..message(1, 6) };
    end(&mut suspects, 1, vec![message(1, 5), close], now);
    assert_eq!(suspects.next()[0].context, context);
}

#[test]
fn event_that_never_runs_alone_is_given_up_after_many_more_ends() {
    let (mut suspects, now) = (PoisonDetector::new(Some(3)), Instant::now());
    end(&mut suspects, 0, vec![message(1, 5)], now);
    let mut ends = 1;
    while suspects.due(now + CONFIRM_AFTER).is_empty() {
        next(&mut suspects);
        // It runs for so long that other handlers start meanwhile.
        suspects.handler_started(client(1), 5, true);
        suspects.handler_started(client(1), 5, false);
        end(&mut suspects, ends, vec![message(1, 5)], now);
        ends += 1;
        assert!(ends < 100);
    }
    assert_eq!(ends, 3 * GROUPED_LIMIT_FACTOR as u64);
}

#[test]
fn without_a_limit_no_event_is_a_suspect() {
    let (mut suspects, now) = (PoisonDetector::new(None), Instant::now());
    end(&mut suspects, 1, vec![message(1, 5)], now);
    assert!(suspects.is_empty() && !suspects.must_wait(client(1), 5));
}

/// A simulated worker process: its events, and the clients whose handlers have started.
#[derive(Default)]
struct Process {
    instance: u64,
    has: Vec<Entry>,
    started: BTreeSet<ConnectionId>,
    /// The client whose event must run alone.
    alone: Option<ConnectionId>,
}

const PROCESSES: usize = 3;

struct Simulation {
    suspects: PoisonDetector,
    processes: Vec<Process>,
    poisons: BTreeSet<ConnectionId>,
    now: Instant,
    instances: u64,
    /// Terminations caused by each poison message.
    ends: BTreeMap<ConnectionId, usize>,
    acked: BTreeSet<ConnectionId>,
    given_up: BTreeSet<ConnectionId>,
}

impl Simulation {
    fn new(limit: usize, poisons: impl IntoIterator<Item = ConnectionId>) -> Self {
        Self {
            suspects: PoisonDetector::new(Some(limit)),
            processes: (0..PROCESSES as u64)
                .map(|instance| Process { instance, ..Process::default() })
                .collect(),
            poisons: poisons.into_iter().collect(),
            now: Instant::now(),
            instances: PROCESSES as u64,
            ends: BTreeMap::new(),
            acked: BTreeSet::new(),
            given_up: BTreeSet::new(),
        }
    }

    fn deliver(&mut self, entry: Entry, to: usize) {
        if entry.isolation == Isolation::None && self.suspects.must_wait(entry.client, entry.number)
        {
            return self.suspects.hold(entry, b"");
        }
        let process = &mut self.processes[to];
        process.alone =
            process.alone.or((entry.isolation == Isolation::Alone).then_some(entry.client));
        process.has.push(entry);
    }

    /// Starts an event, unless one runs alone or waits to; returns whether the process ends.
    fn start(&mut self, process: usize, which: usize) -> bool {
        let it = &mut self.processes[process];
        let waiting: Vec<_> =
            it.has.iter().map(|it| it.client).filter(|id| !it.started.contains(id)).collect();
        let alone = it.alone.filter(|id| waiting.contains(id));
        let client = match (it.alone, alone) {
            // Other handlers have to finish first.
            (Some(_), Some(_)) if !it.started.is_empty() => return false,
            (Some(_), Some(alone)) => alone,
            (Some(_), None) => return false,
            (None, _) if waiting.is_empty() => return false,
            (None, _) => waiting[which % waiting.len()],
        };
        it.started.insert(client);
        self.suspects.handler_started(client, 1, it.alone == Some(client));
        self.poisons.contains(&client)
    }

    fn finish(&mut self, process: usize, which: usize) {
        let it = &mut self.processes[process];
        let Some(client) = it.started.iter().nth(which % it.started.len().max(1)).copied() else {
            return;
        };
        it.started.remove(&client);
        it.has.retain(|entry| entry.client != client);
        it.alone = it.alone.filter(|alone| *alone != client);
        self.acked.insert(client);
        for entry in self.suspects.ack(client, 1).entries {
            self.deliver(entry, process);
        }
    }

    /// A process terminates; another takes its place.
    fn end(&mut self, process: usize) {
        self.instances += 1;
        let new = Process { instance: self.instances, ..Process::default() };
        let old = std::mem::replace(&mut self.processes[process], new);
        let over = old.started.iter().find(|id| self.poisons.contains(id));
        if let Some(over) = over {
            *self.ends.entry(*over).or_default() += 1;
        }
        let has: Vec<_> =
            old.has.into_iter().map(|it| Entry { isolation: Isolation::None, ..it }).collect();
        self.suspects.process_ended(&instance(old.instance), &has, self.now);
        for (at, entry) in has.into_iter().enumerate() {
            self.deliver(entry, at % self.processes.len());
        }
    }

    fn step(&mut self, to: usize) {
        for entry in self.suspects.next() {
            self.deliver(entry, to % self.processes.len());
        }
        self.now += CONFIRM_AFTER / 4;
        for client in self.suspects.due(self.now) {
            let (_, cleared) = self.suspects.give_up(client).unwrap();
            self.given_up.insert(client);
            for entry in cleared.into_iter().flat_map(|released| released.entries) {
                self.deliver(entry, to % self.processes.len());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_poison_is_given_up_and_no_other_event_is(
        limit in 2_usize..5,
        poisons in prop::collection::btree_set(1_u32..60, 1..4),
        steps in vec((0_u8..8, any::<usize>(), any::<usize>()), 0..600),
    ) {
        let mut simulation = Simulation::new(limit, poisons.iter().map(|id| client(*id)));
        let mut fresh = (1..=60).map(|id| message(id, 1));
        // Random steps first, then fixed ones until all events are resolved.
        let rest = (0..).map(|at: usize| ([0, 1, 1, 2, 2, 2, 3][at % 7], at / 7, at / 3));
        for (at, (what, which, of)) in steps.into_iter().chain(rest).enumerate() {
            prop_assert!(at < 20_000, "not resolved");
            let process = of % PROCESSES;
            match what {
                0 => if let Some(entry) = fresh.next() { simulation.deliver(entry, which % PROCESSES) },
                1 | 4 => if simulation.start(process, which) { simulation.end(process) },
                2 | 5 | 6 => simulation.finish(process, which),
                _ => simulation.step(which),
            }
            if simulation.acked.len() + simulation.given_up.len() == 60 {
                break;
            }
        }
        prop_assert_eq!(&simulation.given_up, &simulation.poisons);
        // The first termination, one for each further time but the last in which it may be in
        // flight with others, one in a group, one alone; and again for terminations that another
        // was found to explain.
        for (client, ends) in &simulation.ends {
            let most = (limit + 1) * poisons.len();
            prop_assert!(*ends <= most, "{client}: {ends} ends at a limit of {limit}");
        }
        prop_assert!(simulation.suspects.is_empty() && simulation.suspects.bytes() == 0);
    }

    #[test]
    fn processes_that_end_for_other_reasons_have_no_event_given_up(
        steps in vec((0_u8..7, any::<usize>(), any::<usize>()), 0..600),
    ) {
        // No process terminates while an event runs alone, which is why isolation works.
        let mut simulation = Simulation::new(3, []);
        let mut fresh = (1..=60).map(|id| message(id, 1));
        let rest = (0..).map(|at: usize| ([0, 1, 1, 2, 2, 2, 3][at % 7], at / 7, at / 3));
        let all = steps.len();
        for (at, (what, which, of)) in steps.into_iter().chain(rest).enumerate() {
            prop_assert!(at < 20_000, "not resolved");
            let process = of % PROCESSES;
            let runs_alone =
                simulation.processes[process].alone.is_some_and(|it| {
                    simulation.processes[process].started.contains(&it)
                });
            match what {
                0 => if let Some(entry) = fresh.next() { simulation.deliver(entry, which % PROCESSES) },
                1 | 4 => drop(simulation.start(process, which)),
                2 | 5 => simulation.finish(process, which),
                6 if at < all && !runs_alone => simulation.end(process),
                _ => simulation.step(which),
            }
            if simulation.acked.len() == 60 {
                break;
            }
        }
        prop_assert!(simulation.given_up.is_empty());
        prop_assert_eq!(simulation.acked.len(), 60);
    }
}
