//! Memory that sessions and bodies of a PHP peer can occupy, regardless of the references in them.
//! The only test in its process, so that the peak is its own.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;

use bytes::Bytes;
use push_suite_protocol::{
    php::{json_encode, unserialize},
    session::{MAX_PHP_SESSION, Session},
};

const KIB: usize = 1024;

/// Memory that decoding, converting or merging a session may take: this multiple of its own size,
/// plus this multiple of the largest session, for expanded references.
const OWN_SIZE: usize = 32;
const LARGEST: usize = 6;

#[test]
fn session_with_references_costs_a_small_multiple_of_the_largest_session() {
    let mut shapes = shapes();
    // Smallest first: freed memory counts towards the peak until it is reused.
    shapes.sort_by_key(|(_, text)| text.len());
    let (entering, unrelated) = (update_of_each(1000), Bytes::from("a:1:{s:3:\"new\";i:1;}"));
    let start = status("VmRSS:");
    for (name, text) in shapes {
        assert!(text.len() <= MAX_PHP_SESSION, "{name}: {}", text.len());
        let allowed = OWN_SIZE * text.len() + LARGEST * MAX_PHP_SESSION;
        let session = Session::from_php(text.clone()).unwrap();
        let merge = |changes: &Bytes| {
            drop(session.clone().merge(&Session::from_php(changes.clone()).unwrap()));
        };
        let mut other = Session::from_php(unrelated.clone()).unwrap();
        let steps: [(&str, &mut dyn FnMut()); 6] = [
            ("decode", &mut || drop(session.decode())),
            ("merge into it", &mut || merge(&unrelated)),
            ("merge it", &mut || drop(other.merge(&session))),
            ("merge it with itself", &mut || merge(&text)),
            ("merge into its shared arrays", &mut || merge(&entering)),
            ("write as JSON", &mut || json(&text, MAX_PHP_SESSION)),
        ];
        for (step, run) in steps {
            run();
            let grown = status("VmHWM:").saturating_sub(start);
            assert!(grown <= allowed, "{step}: {name}: {} KiB", grown / KIB);
        }
    }
}

fn json(text: &Bytes, limit: usize) {
    if let Ok(document) = unserialize(text) {
        drop(json_encode(&document, limit));
    }
}

/// Worst-case sessions, small and large ones.
fn shapes() -> Vec<(String, Bytes)> {
    let mut shapes = Vec::new();
    for (size, refs) in [(100 * KIB, 2_000), (1200 * KIB, 100_000)] {
        shapes
            .push((format!("a string of {size} bytes, {refs} times"), shared(&string(size), refs)));
    }
    for (size, refs) in [(4_000, 4_000), (80_000, 80_000)] {
        let numbers = array((0..size).map(|at| format!("i:{at};i:0;")));
        shapes.push((format!("an array of {size} numbers, {refs} times"), shared(&numbers, refs)));
        let unreadable =
            array((0..size).map(|at| format!("s:9:\"\u{1}{at:08}\";N;"))).replace('\u{1}', "\0");
        // Names of private properties, which JSON omits.
        let object = unreadable.replacen("a:", "O:1:\"A\":", 1);
        let refs = refs / 4;
        shapes.push((format!("an object of {size} private values, {refs} times"), {
            shared_by(&object, refs, 'r')
        }));
    }
    let doubled = (0..60).fold("a:0:{}".to_owned(), |inner, _| format!("a:1:{{i:0;{inner}}}"));
    shapes.push(("nested arrays".to_owned(), shared(&doubled, 2_000)));
    shapes.push(("an array that doubles 50 times".to_owned(), doubling(50)));
    shapes.push(("an array that contains itself".to_owned(), shared("R:1;", 10_000)));
    for size in [8_000, 100_000] {
        let numbers = array((0..size).map(|at| format!("i:{};N;", at + 1)));
        shapes.push((format!("{size} numbered nulls"), numbers.into()));
    }
    shapes
}

/// `a:…` with the value under 0, and references to it under all other keys.
fn shared(value: &str, refs: usize) -> Bytes {
    shared_by(value, refs, 'R')
}

fn shared_by(value: &str, refs: usize, by: char) -> Bytes {
    let rest = (1..=refs).map(|at| format!("i:{at};{by}:2;"));
    array([format!("i:0;{value}")].into_iter().chain(rest)).into()
}

/// Arrays that each refer to the one before them twice.
fn doubling(times: usize) -> Bytes {
    // The first has number 2; a null follows each further one.
    let first = "i:0;a:1:{i:0;N;}".to_owned();
    let next = |at: usize| {
        let before = 2 * at;
        format!("i:{at};a:3:{{i:0;R:{before};i:1;R:{before};i:2;N;}}")
    };
    array([first].into_iter().chain((1..=times).map(next))).into()
}

/// An update that merges into each of so many arrays.
fn update_of_each(arrays: usize) -> Bytes {
    array((0..arrays).map(|at| format!("i:{at};a:1:{{i:0;i:1;}}"))).into()
}

fn string(length: usize) -> String {
    format!("s:{length}:\"{}\";", "x".repeat(length))
}

fn array(entries: impl Iterator<Item = String>) -> String {
    let entries: Vec<_> = entries.collect();
    format!("a:{}:{{{}}}", entries.len(), entries.concat())
}

fn status(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    let kib: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib * KIB
}
