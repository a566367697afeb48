//! Filters of clients, and the names of what is shown.

use std::collections::HashSet;

use super::*;

#[test]
fn worker_is_selected_by_its_whole_key_or_by_name_and_id() {
    let selects = |wanted: Option<&str>, key: Option<&str>| {
        let worker = wanted.map(str::to_owned);
        ClientFilter { worker, ..ClientFilter::default() }.selects_worker(key)
    };
    let key = Some("10.0.0.1:chat:1");
    assert!(selects(None, key) && selects(None, None));
    assert!(selects(Some("10.0.0.1:chat:1"), key) && selects(Some("chat:1"), key));
    for other in ["hat:1", "chat:2", "chat", "0.0.1:chat:1x", "10.0.0.1:chat:11"] {
        assert!(!selects(Some(other), key), "{other}");
    }
    assert!(!selects(Some("chat:1"), None), "it has no worker");
}

#[test]
fn each_pause_has_a_name_of_its_own() {
    let names: HashSet<_> = ReadPause::ALL.iter().map(|pause| pause.name()).collect();
    assert_eq!(names.len(), ReadPause::ALL.len());
    for (at, pause) in ReadPause::ALL.into_iter().enumerate() {
        assert_eq!(pause as usize, at, "it is listed at its position");
    }
}

#[test]
fn filter_weighs_its_names() {
    assert_eq!(ClientFilter::default().weight(), 0);
    let filter = ClientFilter {
        clients: Some(vec![crate::ConnectionId(1); 10]),
        uid: Some("ann".try_into().unwrap()),
        worker: Some("chat:1".to_owned()),
        ..ClientFilter::default()
    };
    assert!(40 + 3 + 6 <= filter.weight());
}
