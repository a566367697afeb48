//! Which events are given up: rule by rule, and in a small world of workers.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};
use protocol::{CloseReason, Message};

use super::*;

fn life(number: u64) -> Instance {
    Instance::from_dice(number)
}

fn client(id: u32) -> ConnectionId {
    ConnectionId(id)
}

/// The message of that number of a client, as a worker had it.
fn message(id: u32, number: u64) -> Entry {
    Entry {
        client: client(id),
        number,
        event: Event::Message(Message::text("hello")),
        context: None,
        redelivered: true,
        edits: 0,
        care: Care::No,
        reached: Reached::Sent,
    }
}

/// Gives out entries, and says which clients' were not held back.
fn give(suspects: &mut Suspects, entries: Vec<Entry>) -> Vec<ConnectionId> {
    let mut given = Vec::new();
    for entry in entries {
        match suspects.must_wait(entry.client, entry.number) {
            true => suspects.hold(entry, b"hello"),
            false => given.push(entry.client),
        }
    }
    given
}

/// The clients and the care of what is delivered next.
fn next(suspects: &mut Suspects) -> Vec<(u32, Care)> {
    suspects.next().into_iter().map(|entry| (entry.client.0, entry.care)).collect()
}

/// The process of a worker ends while it handles these.
fn end(suspects: &mut Suspects, number: u64, entries: Vec<Entry>, now: Instant) {
    suspects.ended(&life(number), &entries, now);
    give(suspects, entries);
}

#[test]
fn suspect_that_is_done_is_none_any_more() {
    let (mut suspects, now) = (Suspects::new(Some(3)), Instant::now());
    end(&mut suspects, 1, vec![message(1, 5), message(1, 6), message(2, 1)], now);
    let given = give(&mut suspects, vec![message(1, 5), message(1, 6), message(2, 1)]);
    assert_eq!(given, [client(1), client(1), client(2)], "as any event");
    suspects.done(client(1), 5);
    suspects.done(client(2), 1);
    assert!(!suspects.is_empty(), "the next may be one as well");
    suspects.done(client(1), 6);
    assert!(suspects.is_empty());
}

#[test]
fn event_behind_one_that_was_done_and_not_reported_yet_is_the_suspect_then() {
    let (mut suspects, now) = (Suspects::new(Some(3)), Instant::now());
    let all = || vec![message(1, 5), message(1, 6), message(1, 7)];
    end(&mut suspects, 1, all(), now);
    suspects.tried(client(1), 5, false);
    suspects.done(client(1), 5);
    suspects.tried(client(1), 6, false);
    end(&mut suspects, 2, vec![message(1, 6), message(1, 7)], now);
    assert_eq!(next(&mut suspects), [(1, Care::Trial)]);
    suspects.tried(client(1), 6, true);
    end(&mut suspects, 3, vec![message(1, 6)], now);
    let (given_up, _) = suspects.give_up(suspects.due(now + VERDICT)[0]).unwrap();
    assert_eq!((given_up.number, given_up.ends), (6, 3));
}

#[test]
fn event_whose_handler_ends_three_processes_is_given_up_with_what_is_behind_it() {
    let (mut suspects, now) = (Suspects::new(Some(3)), Instant::now());
    let poison = || vec![message(1, 5), message(1, 6)];
    end(&mut suspects, 1, poison(), now);
    suspects.tried(client(1), 5, false);
    end(&mut suspects, 2, poison(), now);
    assert_eq!(next(&mut suspects), [(1, Care::Trial)]);
    assert!(suspects.must_wait(client(1), 7), "behind it");
    suspects.tried(client(1), 5, true);
    end(&mut suspects, 3, vec![message(1, 5)], now);
    assert!(next(&mut suspects).is_empty() && suspects.due(now).is_empty());
    assert_eq!(suspects.due(now + VERDICT), [client(1)]);
    let (given_up, exonerated) = suspects.give_up(client(1)).unwrap();
    assert_eq!((given_up.number, given_up.ends, given_up.kind), (5, 3, "message"));
    assert_eq!(given_up.rest.iter().map(|entry| entry.number).collect::<Vec<_>>(), [6]);
    assert!(exonerated.is_empty() && suspects.is_empty());
    assert_eq!(suspects.bytes(), 0);
}

#[test]
fn event_that_was_only_sent_is_not_blamed() {
    let (mut suspects, now) = (Suspects::new(Some(3)), Instant::now());
    end(&mut suspects, 1, vec![message(1, 5)], now);
    for process in 2..100 {
        end(&mut suspects, process, vec![message(1, 5)], now);
        assert!(!suspects.must_wait(client(1), 5));
    }
    // Nor in a trial that has not begun.
    suspects.tried(client(1), 5, false);
    end(&mut suspects, 100, vec![message(1, 5)], now);
    for process in 101..200 {
        assert_eq!(next(&mut suspects), [(1, Care::Trial)]);
        end(&mut suspects, process, vec![message(1, 5)], now);
    }
    assert!(suspects.due(now + VERDICT * 2).is_empty());
}

#[test]
fn event_behind_one_that_had_started_is_no_suspect() {
    let (mut suspects, now) = (Suspects::new(Some(2)), Instant::now());
    end(&mut suspects, 1, vec![message(1, 5), message(1, 6)], now);
    next(&mut suspects);
    suspects.tried(client(1), 5, false);
    end(&mut suspects, 2, vec![message(1, 5)], now);
    next(&mut suspects);
    let released = suspects.done(client(1), 5);
    assert_eq!(released.entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [6]);
    assert!(!suspects.must_wait(client(1), 6));
}

#[test]
fn several_suspects_run_in_a_group_and_alone_once_that_has_ended_a_process() {
    let (mut suspects, now) = (Suspects::new(Some(3)), Instant::now());
    let all = || (1..=40).map(|id| message(id, 1)).collect::<Vec<_>>();
    end(&mut suspects, 1, all(), now);
    (1..=40).for_each(|id| suspects.tried(client(id), 1, false));
    end(&mut suspects, 2, all(), now);
    let group = next(&mut suspects);
    assert_eq!(group.len(), GROUP);
    assert!(group.iter().all(|(_, care)| *care == Care::Suspect));
    assert!(next(&mut suspects).is_empty(), "one group at a time");
    // All but two are done.
    for (id, _) in &group[2..] {
        suspects.done(client(*id), 1);
    }
    suspects.tried(client(1), 1, false);
    end(&mut suspects, 3, vec![message(1, 1), message(2, 1)], now);
    assert_eq!(next(&mut suspects), [(1, Care::Trial)], "the other had not started");
    suspects.done(client(1), 1);
    assert_eq!(next(&mut suspects).len(), 9, "and those that had not had their turn");
}

#[test]
fn suspect_that_found_no_worker_is_delivered_once_there_is_one() {
    let (mut suspects, now) = (Suspects::new(Some(2)), Instant::now());
    end(&mut suspects, 1, vec![message(1, 5), message(1, 6)], now);
    let delivered = suspects.next();
    assert_eq!(delivered.len(), 1);
    // Its client's worker takes no more, so it has waited with others; now they are given out again.
    let given = give(&mut suspects, vec![message(1, 5)]);
    assert_eq!((given, next(&mut suspects)), (vec![], vec![(1, Care::Trial)]));
    let Released { entries, .. } = suspects.done(client(1), 5);
    assert_eq!(entries.len(), 1, "what came behind it");
}

#[test]
fn worker_that_only_got_the_client_says_nothing_of_its_suspect() {
    let (mut suspects, now) = (Suspects::new(Some(2)), Instant::now());
    end(&mut suspects, 1, vec![message(1, 5)], now);
    suspects.next();
    suspects.tried(client(1), 5, true);
    end(&mut suspects, 2, vec![message(1, 5)], now);
    // It has the number of the event before it.
    let adopt = Entry { event: Event::Adopt, ..message(1, 5) };
    suspects.lost(std::slice::from_ref(&adopt));
    suspects.ended(&life(3), &[adopt], now);
    assert_eq!(suspects.due(now + VERDICT), [client(1)]);
}

#[test]
fn worker_that_comes_back_has_not_ended() {
    let (mut suspects, now) = (Suspects::new(Some(3)), Instant::now());
    let only = || vec![message(1, 5)];
    end(&mut suspects, 1, only(), now);
    suspects.tried(client(1), 5, false);
    end(&mut suspects, 2, only(), now);
    next(&mut suspects);
    suspects.tried(client(1), 5, true);
    end(&mut suspects, 3, only(), now);
    suspects.is_back(&life(9));
    assert_eq!(suspects.due(now + VERDICT), [client(1)], "another one");
    suspects.is_back(&life(3));
    assert!(suspects.due(now + VERDICT).is_empty());
    assert_eq!(next(&mut suspects), [(1, Care::Trial)], "it is tried once more");
}

#[test]
fn ends_that_an_event_explains_count_against_no_other() {
    let (mut suspects, now) = (Suspects::new(Some(3)), Instant::now());
    let both = || vec![message(1, 1), message(2, 1), message(2, 2)];
    end(&mut suspects, 1, both(), now);
    (1..=2).for_each(|id| suspects.tried(client(id), 1, false));
    end(&mut suspects, 2, both(), now);
    assert_eq!(next(&mut suspects).len(), 2);
    (1..=2).for_each(|id| suspects.tried(client(id), 1, false));
    end(&mut suspects, 3, vec![message(1, 1), message(2, 1)], now);
    assert_eq!(next(&mut suspects), [(1, Care::Trial)]);
    suspects.tried(client(1), 1, true);
    end(&mut suspects, 4, vec![message(1, 1)], now);
    let (given_up, exonerated) = suspects.give_up(client(1)).unwrap();
    assert_eq!(given_up.ends, 4);
    let numbers = |released: &Released| released.entries.iter().map(|it| it.number).collect();
    let numbers: Vec<Vec<u64>> = exonerated.iter().map(numbers).collect();
    assert_eq!(numbers, [[1, 2]], "the other needs no care any more");
    assert!(suspects.is_empty());
}

#[test]
fn suspect_of_a_client_that_is_gone_brings_what_a_worker_must_know() {
    let (mut suspects, now) = (Suspects::new(Some(2)), Instant::now());
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
    let (mut suspects, now) = (Suspects::new(Some(3)), Instant::now());
    end(&mut suspects, 0, vec![message(1, 5)], now);
    let mut ends = 1;
    while suspects.due(now + VERDICT).is_empty() {
        next(&mut suspects);
        // It runs for so long that others start again.
        suspects.tried(client(1), 5, true);
        suspects.tried(client(1), 5, false);
        end(&mut suspects, ends, vec![message(1, 5)], now);
        ends += 1;
        assert!(ends < 100);
    }
    assert_eq!(ends, 3 * PATIENCE as u64);
}

#[test]
fn nothing_is_noted_where_nothing_is_given_up() {
    let (mut suspects, now) = (Suspects::new(None), Instant::now());
    end(&mut suspects, 1, vec![message(1, 5)], now);
    assert!(suspects.is_empty() && !suspects.must_wait(client(1), 5));
}

/// A worker process of a small world: what it has, and what of that has started.
#[derive(Default)]
struct Process {
    life: u64,
    has: Vec<Entry>,
    started: BTreeSet<ConnectionId>,
    /// Which of it must run alone.
    trial: Option<ConnectionId>,
}

struct World {
    suspects: Suspects,
    processes: Vec<Process>,
    poisons: BTreeSet<ConnectionId>,
    now: Instant,
    lives: u64,
    /// How many processes have ended over each poison.
    ends: BTreeMap<ConnectionId, usize>,
    done: BTreeSet<ConnectionId>,
    given_up: BTreeSet<ConnectionId>,
}

impl World {
    fn give(&mut self, entry: Entry, to: usize) {
        if entry.care == Care::No && self.suspects.must_wait(entry.client, entry.number) {
            return self.suspects.hold(entry, b"");
        }
        let process = &mut self.processes[to];
        process.trial = process.trial.or((entry.care == Care::Trial).then_some(entry.client));
        process.has.push(entry);
    }

    /// Starts an event that is there, unless one runs alone or waits to; says whether the process ends.
    fn start(&mut self, process: usize, which: usize) -> bool {
        let it = &mut self.processes[process];
        let waiting: Vec<_> =
            it.has.iter().map(|it| it.client).filter(|id| !it.started.contains(id)).collect();
        let alone = it.trial.filter(|id| waiting.contains(id));
        let client = match (it.trial, alone) {
            // Others are waited for.
            (Some(_), Some(_)) if !it.started.is_empty() => return false,
            (Some(_), Some(alone)) => alone,
            (Some(_), None) => return false,
            (None, _) if waiting.is_empty() => return false,
            (None, _) => waiting[which % waiting.len()],
        };
        it.started.insert(client);
        self.suspects.tried(client, 1, it.trial == Some(client));
        self.poisons.contains(&client)
    }

    fn finish(&mut self, process: usize, which: usize) {
        let it = &mut self.processes[process];
        let Some(client) = it.started.iter().nth(which % it.started.len().max(1)).copied() else {
            return;
        };
        it.started.remove(&client);
        it.has.retain(|entry| entry.client != client);
        it.trial = it.trial.filter(|trial| *trial != client);
        self.done.insert(client);
        for entry in self.suspects.done(client, 1).entries {
            self.give(entry, process);
        }
    }

    /// A process ends; another takes its place.
    fn end(&mut self, process: usize) {
        self.lives += 1;
        let new = Process { life: self.lives, ..Process::default() };
        let old = std::mem::replace(&mut self.processes[process], new);
        let over = old.started.iter().find(|id| self.poisons.contains(id));
        if let Some(over) = over {
            *self.ends.entry(*over).or_default() += 1;
        }
        let has: Vec<_> = old.has.into_iter().map(|it| Entry { care: Care::No, ..it }).collect();
        self.suspects.ended(&life(old.life), &has, self.now);
        for (at, entry) in has.into_iter().enumerate() {
            self.give(entry, at % self.processes.len());
        }
    }

    fn turn(&mut self, to: usize) {
        for entry in self.suspects.next() {
            self.give(entry, to % self.processes.len());
        }
        self.now += VERDICT / 4;
        for client in self.suspects.due(self.now) {
            let (_, exonerated) = self.suspects.give_up(client).unwrap();
            self.given_up.insert(client);
            for entry in exonerated.into_iter().flat_map(|released| released.entries) {
                self.give(entry, to % self.processes.len());
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
        const PROCESSES: usize = 3;
        let mut world = World {
            suspects: Suspects::new(Some(limit)),
            processes: (0..PROCESSES as u64).map(|life| Process { life, ..Process::default() }).collect(),
            poisons: poisons.iter().map(|id| client(*id)).collect(),
            now: Instant::now(),
            lives: PROCESSES as u64,
            ends: BTreeMap::new(),
            done: BTreeSet::new(),
            given_up: BTreeSet::new(),
        };
        let mut fresh = (1..=60).map(|id| message(id, 1));
        // By chance at first, then until all is over.
        let rest = (0..).map(|at: usize| ([0, 1, 1, 2, 2, 2, 3][at % 7], at / 7, at / 3));
        for (at, (what, which, of)) in steps.into_iter().chain(rest).enumerate() {
            prop_assert!(at < 20_000, "it does not come to an end");
            let process = of % PROCESSES;
            match what {
                0 => if let Some(entry) = fresh.next() { world.give(entry, which % PROCESSES) },
                1 | 4 => if world.start(process, which) { world.end(process) },
                2 | 5 | 6 => world.finish(process, which),
                _ => world.turn(which),
            }
            if world.done.len() + world.given_up.len() == 60 {
                break;
            }
        }
        prop_assert_eq!(&world.given_up, &world.poisons);
        // The first end, one for each further time but the last in which it may be among others, one in
        // a group, one alone; and again for ends that another was found to explain.
        for (client, ends) in &world.ends {
            let most = (limit + 1) * poisons.len();
            prop_assert!(*ends <= most, "{client}: {ends} ends at a limit of {limit}");
        }
        prop_assert!(world.suspects.is_empty() && world.suspects.bytes() == 0);
    }

    #[test]
    fn processes_that_end_for_other_reasons_have_no_event_given_up(
        steps in vec((0_u8..7, any::<usize>(), any::<usize>()), 0..600),
    ) {
        // Whatever ends, it is not while an event runs alone: that is what running alone is for.
        const PROCESSES: usize = 3;
        let mut world = World {
            suspects: Suspects::new(Some(3)),
            processes: (0..PROCESSES as u64).map(|life| Process { life, ..Process::default() }).collect(),
            poisons: BTreeSet::new(),
            now: Instant::now(),
            lives: PROCESSES as u64,
            ends: BTreeMap::new(),
            done: BTreeSet::new(),
            given_up: BTreeSet::new(),
        };
        let mut fresh = (1..=60).map(|id| message(id, 1));
        let rest = (0..).map(|at: usize| ([0, 1, 1, 2, 2, 2, 3][at % 7], at / 7, at / 3));
        let all = steps.len();
        for (at, (what, which, of)) in steps.into_iter().chain(rest).enumerate() {
            prop_assert!(at < 20_000, "it does not come to an end");
            let process = of % PROCESSES;
            let runs_alone =
                world.processes[process].trial.is_some_and(|it| world.processes[process].started.contains(&it));
            match what {
                0 => if let Some(entry) = fresh.next() { world.give(entry, which % PROCESSES) },
                1 | 4 => drop(world.start(process, which)),
                2 | 5 => world.finish(process, which),
                6 if at < all && !runs_alone => world.end(process),
                _ => world.turn(which),
            }
            if world.done.len() == 60 {
                break;
            }
        }
        prop_assert!(world.given_up.is_empty());
        prop_assert_eq!(world.done.len(), 60);
    }
}
