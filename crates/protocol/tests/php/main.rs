//! Our idea of PHP against PHP itself, thousands of times by chance. Without `php` on the path the
//! tests are skipped with a notice; `REQUIRE_PHP=1` makes them fail instead.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test may")]

mod peer;
mod strategies;

use std::{cell::RefCell, fmt::Debug};

use bytes::Bytes;
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use protocol::php::{
    Array, Document, Key, Value, array_replace_recursive, json_decode, json_encode, parse_str,
    query_of, serialize, unserialize,
};

use crate::{
    peer::Php,
    strategies::{garbage, json, query, scalar, target, value},
};

/// Lets PHP and us do the same `cases` times, or `PHP_TIMES` as often.
fn check<S: Strategy>(
    cases: u32,
    strategy: S,
    test: impl Fn(&mut Php, S::Value) -> Result<(), TestCaseError>,
) where
    S::Value: Debug,
{
    let Some(php) = Php::start() else {
        return;
    };
    let php = RefCell::new(php);
    let times = std::env::var("PHP_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    let cases = cases.saturating_mul(times);
    let config =
        Config { cases, max_global_rejects: cases, failure_persistence: None, ..Config::default() };
    // The same values each time, so that a change is judged by what it changed; the long form looks
    // further, at others each time.
    let mut runner = match times {
        1 => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
        _ => TestRunner::new(config),
    };
    runner.run(&strategy, |value| test(&mut php.borrow_mut(), value)).unwrap();
}

fn written(document: &Document) -> Vec<u8> {
    let mut text = Vec::new();
    serialize(document, usize::MAX, &mut text).unwrap();
    text
}

fn read(text: &[u8]) -> Option<Document> {
    unserialize(&Bytes::copy_from_slice(text)).ok()
}

/// Bytes as text, for messages and comparisons that a person reads.
fn shown(text: impl AsRef<[u8]>) -> String {
    text.as_ref().escape_ascii().to_string()
}

#[test]
fn php_reads_what_we_serialize_and_would_have_written_the_same() {
    check(5000, value(), |php, value| {
        let text = written(&value.into());
        let same = php.ask("serialize", &[&text]);
        prop_assert_eq!(same.map(shown), Some(shown(text)));
        Ok(())
    });
}

#[test]
fn we_read_what_php_serializes_and_would_have_written_the_same() {
    check(5000, any::<u32>(), |php, seed| {
        let text = php.ask("random", &[seed.to_string().as_bytes()]).unwrap();
        let document = read(&text).ok_or_else(|| TestCaseError::fail(shown(&text)))?;
        prop_assert_eq!(shown(written(&document)), shown(text));
        Ok(())
    });
}

#[test]
fn we_refuse_what_php_refuses_and_read_the_rest_alike() {
    check(10_000, garbage(), |php, text| {
        let theirs = php.ask("serialize", &[&text]);
        let ours = read(&text).map(|document| written(&document));
        // What an equal key has replaced, PHP lets nobody name. Its own texts have no equal keys.
        let names = text.windows(2).any(|at| at == b"R:" || at == b"r:");
        let read = ours.as_ref().or(theirs.as_ref());
        let fewer = read.is_some_and(|read| read.get(..4) != text.get(..4));
        prop_assume!(!(names && fewer));
        prop_assert_eq!(ours.map(shown), theirs.map(shown), "{}", shown(&text));
        Ok(())
    });
}

#[test]
fn json_of_our_values_is_phps() {
    check(5000, value(), |php, value| {
        let document = Document::from(value);
        let theirs = php.ask("json_encode", &[&written(&document)]);
        let ours = json_encode(&document, usize::MAX).ok();
        prop_assert_eq!(ours.map(shown), theirs.map(shown));
        Ok(())
    });
}

#[test]
fn json_of_phps_values_is_phps() {
    check(3000, any::<u32>(), |php, seed| {
        let text = php.ask("random_array", &[seed.to_string().as_bytes()]).unwrap();
        let theirs = php.ask("json_encode", &[&text]);
        let ours = json_encode(&read(&text).unwrap(), usize::MAX).ok();
        prop_assert_eq!(ours.map(shown), theirs.map(shown), "{}", shown(&text));
        Ok(())
    });
}

#[test]
fn json_is_read_as_php_reads_it() {
    check(10_000, json(), |php, text| {
        let theirs = php.ask("json_decode", &[&text]);
        let ours = json_decode(&Bytes::from(text.clone())).ok();
        let ours = ours.map(|value| written(&value.into()));
        prop_assert_eq!(ours.map(shown), theirs.map(shown), "{}", shown(&text));
        Ok(())
    });
}

#[test]
fn query_strings_are_read_as_php_reads_them() {
    check(10_000, query(), |php, text| {
        let theirs = php.ask("parse_str", &[&text]).unwrap();
        let ours = written(&Value::Array(parse_str(&text)).into());
        prop_assert_eq!(shown(ours), shown(theirs), "{}", shown(&text));
        Ok(())
    });
}

#[test]
fn a_target_has_the_query_that_php_finds() {
    check(10_000, target(), |php, text| {
        let theirs = php.ask("query_of", &[text.as_bytes()]).unwrap();
        prop_assert_eq!(shown(query_of(&text)), shown(theirs), "{}", text);
        Ok(())
    });
}

#[test]
fn our_values_merge_as_in_php() {
    let array = || {
        value().prop_filter_map("an array", |value| match value {
            Value::Array(array) => Some(array),
            _ => None,
        })
    };
    check(5000, (array(), array()), |php, (old, new)| {
        let [old, new] = [old, new].map(|it: Array| Document::from(Value::Array(it)));
        let theirs = php.ask("replace", &[&written(&old), &written(&new)]).unwrap();
        let ours = array_replace_recursive(old, new).unwrap();
        prop_assert_eq!(shown(written(&ours)), shown(theirs));
        Ok(())
    });
}

#[test]
fn phps_values_merge_as_in_php_references_and_all() {
    check(10_000, any::<(u32, u32)>(), |php, (old, new)| {
        let mut random = |seed: u32| php.ask("random_array", &[seed.to_string().as_bytes()]);
        let (old, new) = (random(old).unwrap(), random(new).unwrap());
        let theirs = php.ask("replace", &[&old, &new]).unwrap();
        let ours = array_replace_recursive(read(&old).unwrap(), read(&new).unwrap()).unwrap();
        prop_assert_eq!(
            shown(written(&ours)),
            shown(theirs),
            "{} and {}",
            shown(&old),
            shown(&new)
        );
        Ok(())
    });
}

#[test]
fn scalars_are_the_keys_and_texts_that_php_makes_of_them() {
    check(5000, scalar(), |php, scalar| {
        let text = written(&scalar.clone().into());
        let key = php.ask("key", &[&text]).unwrap();
        prop_assert_eq!(shown(scalar.as_key().unwrap().to_text()), shown(key));
        let empty = php.ask("empty", &[&text]).unwrap();
        prop_assert_eq!(scalar.is_empty(), empty == b"1");
        if let Value::Str(text) = scalar {
            let kind = php.ask("kind", &[&text]).unwrap();
            let int = matches!(Key::from_text(text), Key::Int(_));
            prop_assert_eq!(int, kind == b"integer");
        }
        Ok(())
    });
}
