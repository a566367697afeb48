//! Random requests to a store and to the one in memory, whose answers must be the same.

use push_suite_store::MemoryStore;

use super::*;

/// Numbers that follow from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        // The multiplier and increment of Knuth's MMIX.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// The same position in both stores.
type Both = [Position; 2];

fn random_append(random: &mut Random, stream: &StreamName) -> Append {
    let key = Key::new(format!("{}", random.below(400))).unwrap();
    let rule = match random.below(40) {
        0 => rule(3, DAY, 100),
        1 => rule(50, DAY, 40),
        _ => rule(20, DAY, 200),
    };
    let payload = vec![b'p'; random.below(20) as usize];
    let metadata = vec![b'm'; random.below(4) as usize].into();
    let renew = random.below(50) == 0;
    Append { metadata, renew, ..Append::new(stream.clone(), key, payload, rule) }
}

fn random_range(random: &mut Random, known: &[Both]) -> [Range; 2] {
    let [ours, theirs] = known[random.below(known.len() as u64) as usize];
    let change = random.below(6);
    let near = |position: Position| {
        let offset = (position.offset + change).saturating_sub(3);
        Position { offset, ..position }
    };
    let range: fn(Position) -> Range = match random.below(6) {
        0 => |_| Range::Top,
        1 => Range::After,
        2 => |_| Range::Oldest,
        3 => Range::Before,
        4 => |_| Range::Newest,
        _ => Range::Missed,
    };
    [range(near(ours)), range(near(theirs))]
}

/// An answer without epochs and times, which differ.
fn comparable(mut reading: Reading) -> Reading {
    match &mut reading {
        Reading::Refused(refused) => refused.top.epoch = Epoch::from_bits(0),
        Reading::Page(page) => {
            page.top.epoch = Epoch::from_bits(0);
            page.items.iter_mut().for_each(|item| item.appended_ms = 0);
        }
    }
    reading
}

pub(crate) async fn random_requests_are_answered_as_the_memory_answers_them(store: Store) {
    let memory: Store = Arc::new(MemoryStore::new());
    let seed = 7;
    let mut random = Random(seed);
    let streams = [group("one"), group("two"), StreamName::Uid(1.into())];
    let mut known: Vec<Vec<Both>> = Vec::new();
    for stream in &streams {
        let tops = [&memory, &store].map(|store| store.tops(vec![stream.clone()]));
        let [ours, theirs] = tops;
        known.push(vec![[ours.await.unwrap()[0], theirs.await.unwrap()[0]]]);
    }
    for step in 0..3000 {
        let which = random.below(3) as usize;
        let (stream, known) = (&streams[which], &mut known[which]);
        match random.below(20) {
            0..=8 => {
                let append = random_append(&mut random, stream);
                let ours = memory.append(append.clone()).await.unwrap();
                let theirs = store.append(append).await.unwrap();
                assert_eq!(
                    (ours.position.offset, ours.repeated),
                    (theirs.position.offset, theirs.repeated),
                    "step {step}"
                );
                let same = |[a, b]: &&Both| {
                    a.epoch == ours.position.epoch || b.epoch == theirs.position.epoch
                };
                for [a, b] in known.iter().filter(same) {
                    assert_eq!(a.epoch, ours.position.epoch, "step {step}: renewed");
                    assert_eq!(b.epoch, theirs.position.epoch, "step {step}: renewed");
                }
                known.push([ours.position, theirs.position]);
            }
            9 if random.below(10) == 0 => {
                let ours = memory.delete(stream.clone()).await.unwrap();
                let theirs = store.delete(stream.clone()).await.unwrap();
                assert_eq!(ours.offset, theirs.offset, "step {step}");
            }
            _ => {
                let items = 1 + random.below(25) as u32;
                let limit = Limit { items, bytes: random.below(250) };
                let [ours, theirs] = random_range(&mut random, known);
                let ours = comparable(read_up_to(&memory, stream, ours, limit).await);
                let theirs = comparable(read_up_to(&store, stream, theirs, limit).await);
                assert_eq!(ours, theirs, "step {step}: {limit:?}");
            }
        }
    }
}
