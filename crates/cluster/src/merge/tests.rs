//! Merging loses nothing, duplicates nothing, and keeps the order of the gateways.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use protocol::Retention;

use super::*;

fn gateway(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn client(port: u16, connection: u32) -> ClientId {
    ClientId::new(gateway(port), ConnectionId(connection))
}

fn group(name: &str) -> Group {
    Group::new(name).unwrap()
}

fn uid(name: &str) -> Uid {
    Uid::new(name).unwrap()
}

fn from(answers: impl IntoIterator<Item = Answer>) -> Vec<From> {
    answers.into_iter().enumerate().map(|(at, answer)| (gateway(at as u16), answer)).collect()
}

#[test]
fn clients_of_a_uid_are_in_the_order_of_gateways() {
    let answers = from([
        Answer::Clients(vec![
            (uid("a"), vec![ConnectionId(9), ConnectionId(2)]),
            (uid("b"), vec![]),
        ]),
        Answer::Clients(vec![(uid("a"), vec![ConnectionId(1)]), (uid("b"), vec![])]),
    ]);
    let merged = clients(answers).unwrap();
    let expected = vec![client(0, 9), client(0, 2), client(1, 1)];
    assert_eq!(merged, [(uid("a"), expected), (uid("b"), vec![])]);
}

#[test]
fn group_on_two_gateways_is_listed_once() {
    let answers = from([
        Answer::Groups(vec![group("x"), group("y")]),
        Answer::Groups(vec![group("z"), group("x")]),
    ]);
    assert_eq!(groups(answers).unwrap(), [group("x"), group("y"), group("z")]);
}

#[test]
fn gateway_with_a_mismatched_answer_is_named_in_the_error() {
    let answers = from([Answer::Count(1), Answer::Online(true)]);
    assert_eq!(count(answers), Err(Mismatch(gateway(1))));
}

#[test]
fn uids_of_a_group_are_listed_once_and_rows_without_uid_are_skipped() {
    let row = |id, uid: Option<&str>, groups: &[&str]| Row {
        client: client(0, id),
        uid: uid.map(|uid| Uid::new(uid).unwrap()),
        groups: groups.iter().map(|name| group(name)).collect(),
        session: None,
    };
    let rows = || {
        vec![
            row(1, None, &["x"]),
            row(2, Some("u"), &["x", "y"]),
            row(3, Some("u"), &["x"]),
            row(4, Some("v"), &[]),
        ]
    };
    assert_eq!(
        by_group(rows(), |row| row.uid.clone()),
        [(group("x"), vec![uid("u")]), (group("y"), vec![uid("u")])],
    );
    let clients = by_group(rows(), |row| Some(row.client));
    assert_eq!(clients[0].1, [client(0, 1), client(0, 2), client(0, 3)]);
}

#[test]
fn uid_of_several_gateways_is_listed_once() {
    let (u, v, w) = (uid("u"), uid("v"), uid("w"));
    let answers =
        from([Answer::Uids(vec![u.clone(), v.clone()]), Answer::Uids(vec![w.clone(), u.clone()])]);
    assert_eq!(uids(answers).unwrap(), [u, v, w]);
    assert_eq!(uids(from([Answer::Uids(vec![]), Answer::Count(1)])), Err(Mismatch(gateway(1))));
}

#[test]
fn numbers_are_summed_place_by_place() {
    let numbers_of =
        |all: &[&[u64]]| numbers(from(all.iter().map(|it| Answer::Numbers(it.to_vec()))));
    assert_eq!(numbers_of(&[&[1, 0, 7], &[2, 0, u64::MAX]]).unwrap(), [3, 0, u64::MAX]);
    assert!(numbers_of(&[]).unwrap().is_empty());
    assert_eq!(numbers_of(&[&[1], &[1, 2]]), Err(Mismatch(gateway(1))));
    assert_eq!(numbers(from([Answer::Count(1)])), Err(Mismatch(gateway(0))));
}

proptest! {
    #[test]
    fn counts_sum_up(counted in prop::collection::vec(
        prop::collection::vec(("[a-d]", 0..1000_u64), 0..5), 0..4,
    )) {
        let mut expected = BTreeMap::<Group, u64>::new();
        for (name, count) in counted.iter().flatten() {
            *expected.entry(group(name)).or_default() += count;
        }
        let answers = counted.iter().map(|counts| {
            Answer::Counts(counts.iter().map(|(name, count)| (group(name), *count)).collect())
        });
        let merged = counts(from(answers)).unwrap();
        prop_assert_eq!(merged.len(), expected.len(), "each group once");
        prop_assert_eq!(merged.into_iter().collect::<BTreeMap<_, _>>(), expected);
    }

    #[test]
    fn sessions_keep_gateway_and_order(ids in prop::collection::vec(
        prop::collection::vec(1..100_u32, 0..6), 0..4,
    )) {
        let answers = ids.iter().map(|ids| {
            Answer::Sessions(ids.iter().map(|id| (ConnectionId(*id), Session::default())).collect())
        });
        let merged = sessions(from(answers)).unwrap().into_iter();
        let merged: Vec<_> = merged.map(|(id, _)| id).collect();
        let expected: Vec<_> = ids
            .iter()
            .enumerate()
            .flat_map(|(at, ids)| ids.iter().map(move |id| client(at as u16, *id)))
            .collect();
        prop_assert_eq!(merged, expected);
    }
}

#[test]
fn newest_retained_message_wins() {
    let retained = |text: &str, age| Retained {
        message: text.into(),
        retention: Retention::new(Duration::from_secs(age), Duration::from_secs(60)),
    };
    let none = || Answer::Retained(None);
    assert_eq!(super::retained(from([none(), none()])), Ok(None));
    let all = [Some(retained("old", 20)), Some(retained("new", 10)), None];
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
        let answers = order.map(|at: usize| Answer::Retained(all[at].clone()));
        assert_eq!(super::retained(from(answers)), Ok(Some(retained("new", 10))));
    }
    let wrong = from([none(), Answer::Count(1)]);
    assert_eq!(super::retained(wrong), Err(Mismatch(gateway(1))));
}
