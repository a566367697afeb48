//! docs/settings.md has every setting of every binary, and each is settable in each way.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;

use clap::{Arg, ArgAction, Command, CommandFactory, Parser};
use serde::Serialize;
use service::settings::{load_from, load_with_tables};
use suite_tests::settings_table::{
    MARK, commands, key, parse, range, settings, tables, tables_of, variable,
};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md");

/// Values of which each setting without a range or a list of values accepts one.
const SAMPLES: &[&str] = &[
    "7",
    "A: b",
    "warn",
    "127.0.0.1:7",
    "ws://127.0.0.1:7",
    "10.0.0.0/8",
    "a",
    "/a",
    "https://a.example",
    "127.0.0.7",
];

#[test]
fn document_has_the_settings_of_the_code() {
    let document = fs::read_to_string(DOCUMENT).unwrap();
    let (_, found) = document.split_once(MARK).expect("the mark in front of the tables");
    let expected = tables();
    let stale = expected.lines().find(|line| !found.lines().any(|found| found == *line));
    assert!(
        found == expected,
        "docs/settings.md is stale; run `cargo run -p suite-tests --bin settings-doc`: {stale:?}"
    );
}

#[test]
fn every_setting_has_a_meaning_and_a_group() {
    for (binary, command) in commands() {
        for arg in settings(&command) {
            let id = arg.get_id();
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.is_empty() && !help.ends_with('.'), "{binary} {id}: {help:?}");
            assert!(arg.get_help_heading().is_some(), "{binary} {id} has no help_heading");
        }
    }
}

#[test]
fn worker_of_the_library_has_the_settings_of_the_business_worker_but_its_app_and_push_api() {
    let ids = |command: &Command| {
        settings(command).map(|arg| arg.get_id().to_string()).collect::<Vec<_>>()
    };
    let library = ids(&push_suite_worker::Args::command());
    let mut process = ids(&business_worker::Args::command());
    process.retain(|id| !matches!(id.as_str(), "app" | "http_listen" | "http_insecure"));
    assert_eq!(library, process);
}

#[test]
fn every_key_of_a_table_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    let argv = ["binary".to_owned(), format!("--config={}", file.display())];
    for table in tables_of("business-worker") {
        fs::write(&file, format!("[[{}]]\n\"no such key\" = 1\n", table.name)).unwrap();
        let loaded =
            load_with_tables::<business_worker::Args, business_worker::Tables>(&argv, |_| None);
        let error = loaded.unwrap_err().to_string();
        let (_, known) = error.split_once("unknown field `no such key`, expected").unwrap();
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        let documented: Vec<&str> = table.keys.iter().map(|key| key.name).collect();
        assert_eq!(documented, known, "[[{}]]", table.name);
        for key in table.keys.iter().flat_map(|key| [key.value, key.meaning]) {
            assert!(!key.is_empty() && !key.ends_with('.'), "{key:?}");
        }
    }
}

#[test]
fn every_setting_is_settable_by_flag_variable_and_key() {
    settable::<register::Args>();
    settable::<gateway::Args>();
    settable::<business_worker::Args>();
}

fn settable<A: Parser + Serialize>() {
    let command = A::command();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    let none = parse(&command, &[]).unwrap();
    let mut checked = 0;
    for arg in settings(&command) {
        // These are read before the others; tests/tests/settings.rs has their tests.
        let Some(key) = key(arg) else { continue };
        let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
        let value = if is_switch { "true".to_owned() } else { sample(&command, arg) };
        let default = none.get_raw(key).into_iter().flatten().any(|raw| *raw == *value);
        assert!(!default, "{key}: {value} is the default, which proves nothing");
        let (flag, variable) = (format!("--{}", arg.get_long().unwrap()), variable(arg).unwrap());
        let origin = |argv: &[String], env: Option<&str>| {
            let argv = ["binary".to_owned()].into_iter().chain(argv.iter().cloned());
            let loaded =
                load_from::<A>(argv, |name| env.filter(|_| name == variable).map(Into::into));
            let shown = loaded.unwrap_or_else(|error| panic!("{key}: {error}"));
            let shown = shown.sheet().to_toml(&[]);
            let of_key = |line: &&str| line.trim_start_matches("# ").split(' ').next() == Some(key);
            let line = shown.lines().find(of_key).unwrap().to_owned();
            assert!(key == "secret_key" || line.contains(&value), "{key} {value}: {line}");
            line.rsplit_once("  # ").unwrap().1.to_owned()
        };
        let typed = if is_switch { flag.clone() } else { format!("{flag}={value}") };
        assert_eq!(origin(&[typed], None), flag);
        assert_eq!(origin(&[], Some(&value)), variable);
        let written = if value.parse::<i64>().is_ok() || is_switch {
            format!("{key} = {value}\n")
        } else {
            format!("{key} = {value:?}\n")
        };
        fs::write(&file, written).unwrap();
        let config = format!("--config={}", file.display());
        assert_eq!(origin(&[config], None), format!("`{key}` in {}", file.display()));
        checked += 1;
    }
    assert_eq!(checked + 2, settings(&command).count(), "all but --config and --check");
}

/// A value that a setting accepts, and that is not its default.
fn sample(command: &Command, arg: &Arg) -> String {
    let defaults = arg.get_default_values();
    let is_other = |value: &String| !defaults.iter().any(|default| **default == **value);
    let possible = arg.get_possible_values();
    let possible = possible.iter().map(|value| value.get_name().to_owned());
    let (first, last) = range(command, arg).unwrap_or_default();
    let numbers = [last, first].into_iter().flatten().map(|number| number.to_string());
    let samples = SAMPLES.iter().map(|sample| (*sample).to_owned());
    let flag = arg.get_long().unwrap();
    let is_accepted = |value: &String| parse(command, &[&format!("--{flag}={value}")]).is_ok();
    let mut all = possible.chain(numbers).chain(samples).filter(is_other);
    all.find(is_accepted).unwrap_or_else(|| panic!("--{flag}: add a value to SAMPLES"))
}
