//! Keys from artificial settings files.

use std::{fs, sync::Arc};

use clap::Parser;
use service::settings::{Common, Tables, load_with_tables};

use super::*;

#[derive(Debug, Parser, Serialize)]
struct Args {
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
}

#[derive(Debug)]
struct Only(Arc<Keys>);

impl Tables for Only {
    const KNOWN: &'static [Table] = &[Key::TABLE];

    fn read(file: &mut TableFile) -> Result<Self, Refused> {
        Ok(Self(Arc::new(Keys::read(file)?)))
    }
}

fn keys(text: &str) -> Result<Arc<Keys>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    fs::write(&path, text).unwrap();
    let argv = ["x".to_owned(), format!("--config={}", path.display())];
    let loaded = load_with_tables::<Args, Only>(argv, |_| None);
    Ok(Arc::clone(&loaded.map_err(|error| error.to_string())?.tables.get().0))
}

/// SHA-256 of `hunter2`.
const HUNTER2: &str = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";

fn entry(name: &str, sha256: &str, rest: &str) -> String {
    format!("[[api.key]]\nname = {name:?}\nsha256 = {sha256:?}\n{rest}\n")
}

#[test]
fn key_is_found_by_its_hash_with_its_rights() {
    let other = "0".repeat(64);
    let text = entry("first", &other, "scopes = [\"admin\"]")
        + &entry("second", &HUNTER2.to_uppercase(), "scopes = [\"push\"]\ngroup_prefix = \"a:\"");
    let keys = keys(&text).unwrap();
    let caller = keys.find(b"hunter2").unwrap();
    assert_eq!((caller.name.as_str(), caller.group_prefix()), ("second", Some("a:")));
    assert!(caller.has(Scope::Push) && !caller.has(Scope::Read) && !caller.has(Scope::Admin));
    for wrong in [&b""[..], b"hunter", b"hunter2 ", HUNTER2.as_bytes()] {
        assert_eq!(keys.find(wrong), None);
    }
    let admin = Caller::unrestricted();
    assert!([Scope::Push, Scope::Manage, Scope::Read].iter().all(|scope| admin.has(*scope)));
}

#[test]
fn invalid_key_is_refused_by_number_and_field() {
    let cases = [
        (entry("", HUNTER2, "scopes = [\"push\"]"), "`name` must have 1 to 100 bytes"),
        (entry("a", &HUNTER2[1..], "scopes = [\"push\"]"), "`sha256` must have 64"),
        (entry("a", &HUNTER2.replace('f', "ä"), "scopes = [\"push\"]"), "`sha256` must have 64"),
        (entry("a", HUNTER2, "scopes = []"), "`scopes` is empty"),
        (entry("a", HUNTER2, "scopes = [\"root\"]"), "unknown variant `root`"),
        (entry("a", HUNTER2, ""), "missing field `scopes`"),
        (
            entry("a", HUNTER2, "scopes = [\"push\"]\ngroup_prefix = \"\""),
            "`group_prefix` is empty",
        ),
        (entry("a", HUNTER2, "scopes = [\"push\"]\nprefix = \"x\""), "unknown field `prefix`"),
    ];
    for (text, expected) in cases {
        let error = keys(&text).unwrap_err();
        assert!(error.contains("[[api.key]] number 1: ") && error.contains(expected), "{error}");
        assert!(!error.contains(HUNTER2), "{error}");
    }
    let one = entry("a", HUNTER2, "scopes = [\"push\"]");
    let error = keys(&(one.clone() + &one)).unwrap_err();
    assert!(error.contains("number 2: `name` is that of an earlier key"), "{error}");
    let error = keys(&(one.clone() + &one.replace("\"a\"", "\"b\""))).unwrap_err();
    assert!(error.contains("number 2: `sha256` is that of an earlier key"), "{error}");
}
