//! Differential tests against PHP itself, with thousands of random inputs. Without `php` on the
//! path the tests are skipped with a notice; `REQUIRE_PHP=1` makes them fail instead.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test may")]

mod peer;
mod strategies;

use std::{cell::RefCell, fmt::Debug};

use bytes::Bytes;
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use push_suite_protocol::php::{
    Array, Document, Key, Value, array_replace_recursive, json_decode, json_encode, parse_str,
    query_of, serialize, unserialize,
};

use crate::{
    peer::Php,
    strategies::{garbage, json, query, scalar, target, value},
};

/// Runs `cases` comparisons with PHP, multiplied by `PHP_TIMES` if that is set.
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
    // Deterministic by default, so that a failure is caused by a change of the code; long runs use
    // new random values each time.
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

/// Bytes as readable text, for messages and comparisons.
fn shown(text: impl AsRef<[u8]>) -> String {
    text.as_ref().escape_ascii().to_string()
}

#[test]
fn serialized_value_is_read_and_reproduced_by_php() {
    check(5000, value(), |php, value| {
        let text = written(&value.into());
        let reproduced = php.run("serialize", &[&text]);
        prop_assert_eq!(reproduced.map(shown), Some(shown(text)));
        Ok(())
    });
}

#[test]
fn php_serialized_value_is_read_and_reproduced() {
    check(5000, any::<u32>(), |php, seed| {
        let text = php.run("random", &[seed.to_string().as_bytes()]).unwrap();
        let document = read(&text).ok_or_else(|| TestCaseError::fail(shown(&text)))?;
        prop_assert_eq!(shown(written(&document)), shown(text));
        Ok(())
    });
}

#[test]
fn garbage_is_refused_or_read_as_by_php() {
    check(10_000, garbage(), |php, text| {
        let expected = php.run("serialize", &[&text]);
        let actual = read(&text).map(|document| written(&document));
        // PHP refuses references to a value that an equal key has replaced. Its own texts have no
        // equal keys.
        let has_references = text.windows(2).any(|at| at == b"R:" || at == b"r:");
        let read = actual.as_ref().or(expected.as_ref());
        let fewer = read.is_some_and(|read| read.get(..4) != text.get(..4));
        prop_assume!(!(has_references && fewer));
        prop_assert_eq!(actual.map(shown), expected.map(shown), "{}", shown(&text));
        Ok(())
    });
}

#[test]
fn json_of_random_value_is_that_of_php() {
    check(5000, value(), |php, value| {
        let document = Document::from(value);
        let expected = php.run("json_encode", &[&written(&document)]);
        let actual = json_encode(&document, usize::MAX).ok();
        prop_assert_eq!(actual.map(shown), expected.map(shown));
        Ok(())
    });
}

#[test]
fn json_of_php_value_is_that_of_php() {
    check(3000, any::<u32>(), |php, seed| {
        let text = php.run("random_array", &[seed.to_string().as_bytes()]).unwrap();
        let expected = php.run("json_encode", &[&text]);
        let actual = json_encode(&read(&text).unwrap(), usize::MAX).ok();
        prop_assert_eq!(actual.map(shown), expected.map(shown), "{}", shown(&text));
        Ok(())
    });
}

#[test]
fn json_is_decoded_as_by_php() {
    check(10_000, json(), |php, text| {
        let expected = php.run("json_decode", &[&text]);
        let actual = json_decode(&Bytes::from(text.clone())).ok();
        let actual = actual.map(|value| written(&value.into()));
        prop_assert_eq!(actual.map(shown), expected.map(shown), "{}", shown(&text));
        Ok(())
    });
}

#[test]
fn query_string_is_parsed_as_by_php() {
    check(10_000, query(), |php, text| {
        let expected = php.run("parse_str", &[&text]).unwrap();
        let actual = written(&Value::Array(parse_str(&text)).into());
        prop_assert_eq!(shown(actual), shown(expected), "{}", shown(&text));
        Ok(())
    });
}

#[test]
fn query_of_target_is_that_of_php() {
    check(10_000, target(), |php, text| {
        let expected = php.run("query_of", &[text.as_bytes()]).unwrap();
        prop_assert_eq!(shown(query_of(&text)), shown(expected), "{}", text);
        Ok(())
    });
}

#[test]
fn random_arrays_merge_as_in_php() {
    let array = || {
        value().prop_filter_map("an array", |value| match value {
            Value::Array(array) => Some(array),
            _ => None,
        })
    };
    check(5000, (array(), array()), |php, (old, new)| {
        let [old, new] = [old, new].map(|it: Array| Document::from(Value::Array(it)));
        let expected = php.run("replace", &[&written(&old), &written(&new)]).unwrap();
        let actual = array_replace_recursive(old, new).unwrap();
        prop_assert_eq!(shown(written(&actual)), shown(expected));
        Ok(())
    });
}

#[test]
fn php_arrays_with_references_merge_as_in_php() {
    check(10_000, any::<(u32, u32)>(), |php, (old, new)| {
        let mut random = |seed: u32| php.run("random_array", &[seed.to_string().as_bytes()]);
        let (old, new) = (random(old).unwrap(), random(new).unwrap());
        let expected = php.run("replace", &[&old, &new]).unwrap();
        let actual = array_replace_recursive(read(&old).unwrap(), read(&new).unwrap()).unwrap();
        prop_assert_eq!(
            shown(written(&actual)),
            shown(expected),
            "{} and {}",
            shown(&old),
            shown(&new)
        );
        Ok(())
    });
}

#[test]
fn scalar_is_cast_to_key_and_emptiness_as_by_php() {
    check(5000, scalar(), |php, scalar| {
        let text = written(&scalar.clone().into());
        let key = php.run("key", &[&text]).unwrap();
        prop_assert_eq!(shown(scalar.as_key().unwrap().to_text()), shown(key));
        let empty = php.run("empty", &[&text]).unwrap();
        prop_assert_eq!(scalar.is_empty(), empty == b"1");
        if let Value::Str(text) = scalar {
            let kind = php.run("kind", &[&text]).unwrap();
            let int = matches!(Key::from_text(text), Key::Int(_));
            prop_assert_eq!(int, kind == b"integer");
        }
        Ok(())
    });
}
