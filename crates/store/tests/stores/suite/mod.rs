//! The cases that every store runs.

mod model;

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use protocol::{Epoch, Group, Position, StreamName, Uid};
use push_suite_store::{
    Append, Appended, ErrorKind, Item, Key, Limit, MAX_TOPS, Page, Range, Read, Reading, Reason,
    Rule, StreamStore, append::MAX_KEY,
};
use tokio::task::JoinSet;

pub(crate) use self::model::random_requests_are_answered_as_the_memory_answers_them;

pub(crate) type Store = Arc<dyn StreamStore>;

/// Runs all cases with the stores that a function opens, which returns `None` where it cannot.
macro_rules! suite {
    ($open:path) => {
        suite!($open:
            positions_count_from_one
            missed_messages_are_read_at_the_edges
            oldest_messages_beyond_the_size_are_trimmed
            oldest_messages_beyond_the_bytes_are_trimmed
            messages_beyond_the_time_are_trimmed
            same_key_appends_once
            same_key_at_the_same_time_appends_once
            concurrent_appends_have_different_positions
            history_is_read_in_pages_both_ways
            recovery_beyond_the_limit_is_refused
            deleted_stream_continues_its_offsets
            renewed_epoch_refuses_older_positions
            unused_stream_is_empty_and_has_an_epoch
            tops_are_answered_in_the_order_of_the_request
            streams_with_any_bytes_as_names_are_apart
            any_bytes_are_returned_as_they_were_appended
            invalid_requests_are_refused
            history_read_during_appends_has_no_gap
            random_requests_are_answered_as_the_memory_answers_them
        );
    };
    ($open:path: $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            if let Some((store, _guard)) = $open().await {
                $crate::suite::$case(store).await;
            }
        }
    )*};
}

pub(crate) use suite;

/// Shows a line. The output of print macros is captured, and not shown for a passing test.
pub(crate) fn say(text: &str) {
    io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn group(name: impl AsRef<[u8]>) -> StreamName {
    StreamName::Group(Group::new(name).unwrap())
}

pub(crate) fn rule(size: u32, ttl: Duration, bytes: u64) -> Rule {
    Rule::new(size, ttl, bytes).unwrap()
}

pub(crate) fn wide() -> Rule {
    rule(100_000, DAY, 1 << 30)
}

pub(crate) fn message(stream: &StreamName, number: u64) -> Append {
    let key = Key::new(format!("key-{number}")).unwrap();
    Append::new(stream.clone(), key, format!("message {number}"), wide())
}

pub(crate) async fn append(store: &Store, append: Append) -> Position {
    let Appended { position, repeated } = store.append(append).await.unwrap();
    assert!(!repeated);
    position
}

/// Appends messages with the numbers 1 to `count`, and returns the epoch.
pub(crate) async fn fill(store: &Store, stream: &StreamName, count: u64, rule: Rule) -> Epoch {
    let mut epoch = None;
    for number in 1..=count {
        let position = append(store, Append { rule, ..message(stream, number) }).await;
        assert_eq!(position.offset, number);
        assert_eq!(*epoch.get_or_insert(position.epoch), position.epoch);
    }
    epoch.unwrap()
}

pub(crate) async fn read_up_to(
    store: &Store,
    stream: &StreamName,
    range: Range,
    limit: Limit,
) -> Reading {
    store.read(Read { stream: stream.clone(), range, limit }).await.unwrap()
}

pub(crate) async fn read(store: &Store, stream: &StreamName, range: Range) -> Reading {
    let limit = Limit { items: 10_000, bytes: 1 << 24 };
    read_up_to(store, stream, range, limit).await
}

#[track_caller]
pub(crate) fn page(reading: Reading) -> Page {
    match reading {
        Reading::Page(page) => page,
        Reading::Refused(refused) => panic!("{refused:?}"),
    }
}

#[track_caller]
pub(crate) fn reason(reading: Reading) -> Reason {
    match reading {
        Reading::Refused(refused) => refused.reason,
        Reading::Page(page) => panic!("{page:?}"),
    }
}

pub(crate) fn offsets(page: &Page) -> Vec<u64> {
    page.items.iter().map(|item| item.offset).collect()
}

pub(crate) fn check(item: &Item) {
    assert_eq!(item.payload, format!("message {}", item.offset));
}

pub(crate) async fn positions_count_from_one(store: Store) {
    let stream = group("room");
    let epoch = fill(&store, &stream, 5, wide()).await;
    let page = page(read(&store, &stream, Range::Missed(Position::start(epoch))).await);
    assert_eq!(offsets(&page), [1, 2, 3, 4, 5]);
    page.items.iter().for_each(check);
    assert_eq!((page.first, page.top, page.more), (1, Position::new(epoch, 5), false));
    assert!(page.items.is_sorted_by_key(|item| item.appended_ms));
    assert!(1_700_000_000_000 < page.items[0].appended_ms, "milliseconds since 1970");
}

pub(crate) async fn missed_messages_are_read_at_the_edges(store: Store) {
    let stream = group("room");
    let epoch = fill(&store, &stream, 9, rule(5, DAY, 1 << 20)).await;
    let missed = async |offset| {
        let range = Range::Missed(Position::new(epoch, offset));
        read(&store, &stream, range).await
    };
    assert_eq!(reason(missed(0).await), Reason::Trimmed);
    assert_eq!(reason(missed(3).await), Reason::Trimmed);
    assert_eq!(offsets(&page(missed(4).await)), [5, 6, 7, 8, 9]);
    assert_eq!(offsets(&page(missed(5).await)), [6, 7, 8, 9]);
    assert_eq!(offsets(&page(missed(9).await)), [0; 0]);
    assert_eq!(reason(missed(10).await), Reason::Ahead);
    assert_eq!(reason(missed(u64::MAX).await), Reason::Ahead);
    let other = Position::new(Epoch::from_bits(!epoch.to_bits()), 9);
    let refused = read(&store, &stream, Range::Missed(other)).await;
    assert_eq!(refused.top(), Position::new(epoch, 9));
    assert_eq!(reason(refused), Reason::Epoch);
}

pub(crate) async fn oldest_messages_beyond_the_size_are_trimmed(store: Store) {
    let stream = group("room");
    fill(&store, &stream, 20, rule(3, DAY, 1 << 20)).await;
    let kept = page(read(&store, &stream, Range::Oldest).await);
    assert_eq!((offsets(&kept), kept.first), (vec![18, 19, 20], 18));
    let smaller = Append { rule: rule(1, DAY, 1 << 20), ..message(&stream, 21) };
    append(&store, smaller).await;
    assert_eq!(offsets(&page(read(&store, &stream, Range::Newest).await)), [21]);
}

pub(crate) async fn oldest_messages_beyond_the_bytes_are_trimmed(store: Store) {
    let stream = group("room");
    let rule = rule(1000, DAY, 100);
    for number in 1..=20 {
        let (payload, metadata) = (vec![b'x'; 20].into(), vec![b'y'; 5].into());
        append(&store, Append { payload, metadata, rule, ..message(&stream, number) }).await;
    }
    assert_eq!(offsets(&page(read(&store, &stream, Range::Oldest).await)), [17, 18, 19, 20]);
    let large = Append { payload: vec![0; 101].into(), rule, ..message(&stream, 21) };
    append(&store, large).await;
    assert_eq!(offsets(&page(read(&store, &stream, Range::Oldest).await)), [21]);
    append(&store, Append { rule, ..message(&stream, 22) }).await;
    assert_eq!(offsets(&page(read(&store, &stream, Range::Oldest).await)), [22]);
}

pub(crate) async fn messages_beyond_the_time_are_trimmed(store: Store) {
    let stream = group("room");
    let ttl = Duration::from_millis(300);
    let started = std::time::Instant::now();
    let first = append(&store, Append { rule: rule(100, ttl, 1000), ..message(&stream, 1) }).await;
    let start = Position::start(first.epoch);
    loop {
        match read(&store, &stream, Range::Missed(start)).await {
            Reading::Page(page) => assert_eq!(offsets(&page), [1]),
            Reading::Refused(refused) => {
                assert_eq!((refused.reason, refused.first), (Reason::Trimmed, 2));
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The clock of a store has milliseconds.
    assert!(ttl <= started.elapsed() + Duration::from_millis(2));
    assert_eq!(offsets(&page(read(&store, &stream, Range::Missed(first)).await)), [0; 0]);
    let second = append(&store, message(&stream, 2)).await;
    assert_eq!(second, first.next(), "the epoch continues");
    assert_eq!(offsets(&page(read(&store, &stream, Range::Missed(first)).await)), [2]);
}

pub(crate) async fn same_key_appends_once(store: Store) {
    let stream = group("room");
    let epoch = fill(&store, &stream, 3, rule(2, DAY, 1 << 20)).await;
    for number in 1..=3 {
        let Appended { position, repeated } = store.append(message(&stream, number)).await.unwrap();
        assert_eq!((position, repeated), (Position::new(epoch, number), true));
    }
    let top = page(read(&store, &stream, Range::Top).await).top;
    assert_eq!(top, Position::new(epoch, 3));
    let other = group("other room");
    assert_eq!(append(&store, message(&other, 1)).await.offset, 1, "keys are those of a stream");
    let long = Append { key: Key::new(vec![0xff; MAX_KEY]).unwrap(), ..message(&other, 2) };
    assert_eq!(append(&store, long.clone()).await.offset, 2);
    assert!(store.append(long).await.unwrap().repeated);
}

pub(crate) async fn same_key_at_the_same_time_appends_once(store: Store) {
    let stream = group("room");
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let (store, append) = (Arc::clone(&store), message(&stream, 1));
        tasks.spawn(async move { store.append(append).await.unwrap() });
    }
    let all = tasks.join_all().await;
    assert_eq!(all.iter().filter(|appended| !appended.repeated).count(), 1);
    assert!(all.iter().all(|appended| appended.position == all[0].position));
    assert_eq!(page(read(&store, &stream, Range::Top).await).top.offset, 1);
}

pub(crate) async fn concurrent_appends_have_different_positions(store: Store) {
    let mut tasks = JoinSet::new();
    for number in 1..=300 {
        let (store, append) = (Arc::clone(&store), message(&group("room"), number));
        tasks.spawn(async move { store.append(append).await.unwrap().position });
    }
    let positions = tasks.join_all().await;
    let offsets: BTreeSet<u64> = positions.iter().map(|position| position.offset).collect();
    assert!(offsets.into_iter().eq(1..=300));
    assert!(positions.iter().all(|position| position.epoch == positions[0].epoch));
}

pub(crate) async fn history_is_read_in_pages_both_ways(store: Store) {
    let stream = group("room");
    let epoch = fill(&store, &stream, 10, rule(8, DAY, 1 << 20)).await;
    let limit = Limit { items: 3, bytes: 1 << 20 };
    let mut range = Range::Oldest;
    let mut forwards = Vec::new();
    loop {
        let page = page(read_up_to(&store, &stream, range, limit).await);
        forwards.push(offsets(&page));
        if !page.more {
            break;
        }
        range = Range::After(Position::new(epoch, page.items.last().unwrap().offset));
    }
    assert_eq!(forwards, [vec![3, 4, 5], vec![6, 7, 8], vec![9, 10]]);
    let mut range = Range::Newest;
    let mut backwards = Vec::new();
    loop {
        let page = page(read_up_to(&store, &stream, range, limit).await);
        page.items.iter().for_each(check);
        backwards.push(offsets(&page));
        if !page.more {
            break;
        }
        range = Range::Before(Position::new(epoch, page.items[0].offset));
    }
    assert_eq!(backwards, [vec![8, 9, 10], vec![5, 6, 7], vec![3, 4]]);
    let few_bytes = Limit { items: 300, bytes: 25 };
    let two = page(read_up_to(&store, &stream, Range::Oldest, few_bytes).await);
    assert_eq!((offsets(&two), two.more), (vec![3, 4], true));
}

pub(crate) async fn recovery_beyond_the_limit_is_refused(store: Store) {
    let stream = group("room");
    let epoch = fill(&store, &stream, 10, wide()).await;
    let missed = async |offset, items, bytes| {
        let range = Range::Missed(Position::new(epoch, offset));
        read_up_to(&store, &stream, range, Limit { items, bytes }).await
    };
    assert_eq!(offsets(&page(missed(5, 5, 1000).await)), [6, 7, 8, 9, 10]);
    assert_eq!(reason(missed(4, 5, 1000).await), Reason::Limit);
    let weight = "message 9".len() as u64 + "message 10".len() as u64;
    assert_eq!(offsets(&page(missed(8, 5, weight).await)), [9, 10]);
    assert_eq!(reason(missed(8, 5, weight - 1).await), Reason::Limit);
}

pub(crate) async fn deleted_stream_continues_its_offsets(store: Store) {
    let stream = group("room");
    let epoch = fill(&store, &stream, 3, wide()).await;
    assert_eq!(store.delete(stream.clone()).await.unwrap(), Position::new(epoch, 3));
    let behind = Range::Missed(Position::new(epoch, 2));
    assert_eq!(reason(read(&store, &stream, behind).await), Reason::Trimmed);
    let at_top = Range::Missed(Position::new(epoch, 3));
    assert_eq!(offsets(&page(read(&store, &stream, at_top).await)), [0; 0]);
    assert!(store.append(message(&stream, 3)).await.unwrap().repeated, "keys are remembered");
    assert_eq!(append(&store, message(&stream, 4)).await, Position::new(epoch, 4));
    assert_eq!(offsets(&page(read(&store, &stream, at_top).await)), [4]);
    let unused = store.delete(group("unused")).await.unwrap();
    assert_eq!(unused.offset, 0);
}

pub(crate) async fn renewed_epoch_refuses_older_positions(store: Store) {
    let stream = group("room");
    let epoch = fill(&store, &stream, 3, wide()).await;
    let renewing = Append { renew: true, ..message(&stream, 4) };
    let renewed = append(&store, renewing.clone()).await;
    assert_ne!(renewed.epoch, epoch);
    assert_eq!(renewed.offset, 4);
    let again = store.append(renewing).await.unwrap();
    assert_eq!(again, Appended { position: renewed, repeated: true });
    let old = Range::Missed(Position::new(epoch, 3));
    assert_eq!(reason(read(&store, &stream, old).await), Reason::Epoch);
    assert_eq!(append(&store, message(&stream, 5)).await, renewed.next());
    assert_eq!(offsets(&page(read(&store, &stream, Range::Newest).await)), [1, 2, 3, 4, 5]);
}

pub(crate) async fn unused_stream_is_empty_and_has_an_epoch(store: Store) {
    let stream = group("room");
    let empty = page(read(&store, &stream, Range::Newest).await);
    assert_eq!((offsets(&empty), empty.first, empty.top.offset), (vec![], 1, 0));
    assert_eq!(append(&store, message(&stream, 1)).await, empty.top.next(), "nothing was missed");
    let missed = page(read(&store, &stream, Range::Missed(empty.top)).await);
    assert_eq!(offsets(&missed), [1]);
    let of_another = Range::Missed(Position::new(empty.top.epoch, 1));
    let refused = reason(read(&store, &group("other"), of_another).await);
    assert!(matches!(refused, Reason::Ahead | Reason::Epoch), "{refused:?}");
}

pub(crate) async fn tops_are_answered_in_the_order_of_the_request(store: Store) {
    let (one, three) = (group("one"), group("three"));
    fill(&store, &one, 1, wide()).await;
    let epoch = fill(&store, &three, 3, wide()).await;
    let tops = vec![three.clone(), group("none"), one, three];
    let tops = store.tops(tops).await.unwrap();
    let offsets: Vec<u64> = tops.iter().map(|top| top.offset).collect();
    assert_eq!(offsets, [3, 0, 1, 3]);
    assert_eq!(tops[0].epoch, epoch);
    assert_eq!(tops[1], page(read(&store, &group("none"), Range::Top).await).top);
    assert!(store.tops(Vec::new()).await.unwrap().is_empty());
}

pub(crate) async fn streams_with_any_bytes_as_names_are_apart(store: Store) {
    let longest = vec![0xff; protocol::name::MAX_NAME];
    let names: [&[u8]; 12] = [
        b"a", b"a}", b"{a}", b"}:m", b"a}:x", b"a:0", b"*", b"\0", b"\r\n", b"\xff", b"'; --",
        &longest,
    ];
    let group_and_uid =
        |name: &&[u8]| [group(name), StreamName::Uid(Uid::new(name).unwrap())].into_iter();
    let streams: Vec<StreamName> = names.iter().flat_map(group_and_uid).collect();
    for (number, stream) in (1..).zip(&streams) {
        for _ in 0..2 {
            let key = Key::new(format!("a}}:{number}")).unwrap();
            let append = Append::new(stream.clone(), key, number.to_string(), wide());
            assert_eq!(store.append(append).await.unwrap().position.offset, 1, "{stream:?}");
        }
    }
    for (number, stream) in (1..).zip(&streams) {
        let page = page(read(&store, stream, Range::Oldest).await);
        let payloads: Vec<&Bytes> = page.items.iter().map(|item| &item.payload).collect();
        assert_eq!(payloads, [&number.to_string()], "{stream:?}");
    }
}

pub(crate) async fn any_bytes_are_returned_as_they_were_appended(store: Store) {
    let stream = group("room");
    let all: Vec<u8> = (0..=255).collect();
    let messages = [(vec![], vec![]), (all.clone(), vec![0; 1]), (vec![b'$'; 300_000], all)];
    for (number, (payload, metadata)) in (1..).zip(messages.clone()) {
        let (payload, metadata) = (payload.into(), metadata.into());
        append(&store, Append { payload, metadata, ..message(&stream, number) }).await;
    }
    let page = page(read(&store, &stream, Range::Oldest).await);
    for (item, (payload, metadata)) in page.items.iter().zip(messages) {
        assert!(item.payload == payload && item.metadata == metadata, "{}", item.offset);
    }
    assert_eq!(page.items.len(), 3);
}

pub(crate) async fn invalid_requests_are_refused(store: Store) {
    let stream = group("room");
    let payload = Bytes::from(vec![0; push_suite_store::append::MAX_MESSAGE + 1]);
    let error = store.append(Append { payload, ..message(&stream, 1) }).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    let error = store.tops(vec![stream.clone(); MAX_TOPS + 1]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    let tops = store.tops(vec![stream.clone(); MAX_TOPS]).await.unwrap();
    assert_eq!(tops.len(), MAX_TOPS);
    assert_eq!(append(&store, message(&stream, 1)).await.offset, 1, "the store goes on");
}

pub(crate) async fn history_read_during_appends_has_no_gap(store: Store) {
    let stream = group("room");
    let start = page(read(&store, &stream, Range::Top).await).top;
    let writer = {
        let (store, stream) = (Arc::clone(&store), stream.clone());
        tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            for number in 1..=500 {
                let (store, append) = (Arc::clone(&store), message(&stream, number));
                tasks.spawn(async move { store.append(append).await.unwrap() });
                if number % 16 == 0 {
                    tasks.join_next().await;
                }
            }
            tasks.join_all().await;
        })
    };
    let (mut seen, mut payloads) = (start, BTreeSet::new());
    while seen.offset < 500 {
        let page = page(read(&store, &stream, Range::Missed(seen)).await);
        for item in &page.items {
            assert_eq!(item.offset, seen.offset + 1);
            assert!(payloads.insert(item.payload.clone()), "twice: {item:?}");
            seen = seen.next();
        }
        assert_eq!(page.top, seen);
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert_eq!(payloads.len(), 500);
}
