//! Tables from artificial files: errors, the printed form, and reloading.

use std::{fs, sync::Arc};

use clap::Parser;
use serde::Deserialize;
use tempfile::TempDir;

use super::*;
use crate::settings::{Common, Current, Hidden, Loaded, Reloadable, load_with_tables};

#[derive(Debug, Parser, Serialize)]
#[command(name = "sample")]
struct Args {
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Hook {
    url: String,
    secret: Hidden,
    #[serde(default)]
    limit: Option<u8>,
    #[serde(default)]
    others: Vec<Inner>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    key: Hidden,
}

impl Entry for Hook {
    const TABLE: Table = Table { name: "hooks.hook", meaning: "A hook", keys: &[] };

    fn check(&self) -> Result<(), String> {
        match self.url.is_empty() {
            true => Err("`url` is empty".to_owned()),
            false => Ok(()),
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    name: String,
}

impl Entry for Plain {
    const TABLE: Table = Table { name: "plain", meaning: "A plain entry", keys: &[] };
}

#[derive(Debug)]
struct All {
    hooks: Arc<Vec<Hook>>,
    plain: Vec<Plain>,
}

impl Tables for All {
    const KNOWN: &'static [Table] = &[Hook::TABLE, Plain::TABLE];

    fn read(file: &mut TableFile) -> Result<Self, Refused> {
        let (hooks, plain) = (file.entries::<Hook>()?, file.entries::<Plain>()?);
        if let Some(at) = (1..plain.len()).find(|at| plain[*at].name == plain[*at - 1].name) {
            return Err(file.refuse::<Plain>(at, "`name` is that of an earlier entry"));
        }
        Ok(Self { hooks: Arc::new(hooks), plain })
    }
}

const VALID: &str = r#"
grace = 4

[[plain]]
name = "one"

[[hooks.hook]]
url = "http://a"
secret = "hunter2"

[[hooks.hook]]
url = "http://b"
secret = "hunter2"
limit = 7
others = [{ key = "hunter2" }]
"#;

fn load(text: &str) -> Result<(TempDir, Loaded<Args, All>), Refused> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    fs::write(&path, text).unwrap();
    let argv = ["sample".to_owned(), format!("--config={}", path.display())];
    Ok((folder, load_with_tables(argv, |_| None)?))
}

fn refusal(text: &str) -> String {
    let error = load(text).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
    error
}

fn hooks(tables: &Reloadable<All>) -> Current<Vec<Hook>> {
    tables.part(|all| Arc::clone(&all.hooks))
}

#[test]
fn tables_are_read_beside_plain_keys() {
    let (_folder, loaded) = load(VALID).unwrap();
    assert_eq!(loaded.args.common.grace, 4);
    let hooks = hooks(&loaded.tables).get();
    assert_eq!(hooks.len(), 2);
    assert_eq!((hooks[1].url.as_str(), hooks[1].limit), ("http://b", Some(7)));
    assert!(hooks[0].secret.to_secret().matches(b"hunter2"));
    assert_eq!(loaded.tables.get().plain[0].name, "one");
    assert!(load("").unwrap().1.tables.get().plain.is_empty());
}

#[test]
fn invalid_entry_is_named_by_file_table_number_and_key_without_its_value() {
    let hook = |rest: &str| format!("[[hooks.hook]]\nurl = \"u\"\nsecret = \"s\"\n{rest}");
    let second = |entry: &str| format!("{}\n[[hooks.hook]]\n{entry}", hook(""));
    let cases = [
        (second("url = \"u\""), "number 2: missing field `secret`"),
        (hook("colour = \"hunter2\""), "number 1: unknown field `colour`, expected one of"),
        (hook("limit = 300"), "number 1: `limit`: invalid value"),
        (hook("limit = \"hunter2\""), "number 1: `limit`: invalid type: string, expected u8"),
        (hook("others = [{ key = 3 }]"), "number 1: `others.key`: invalid type"),
        (second("url = \"\"\nsecret = \"hunter2\""), "number 2: `url` is empty"),
    ];
    for (text, expected) in cases {
        let error = refusal(&text);
        assert!(
            error.starts_with("--config /") && error.contains("settings.toml: [[hooks.hook]] ")
        );
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let twice = "[[plain]]\nname = \"a\"\n[[plain]]\nname = \"a\"";
    assert!(refusal(twice).ends_with("[[plain]] number 2: `name` is that of an earlier entry"));
}

#[test]
fn table_of_another_shape_or_name_is_refused() {
    for text in ["[plain]\nname = \"a\"", "plain = 3", "plain = [3]"] {
        let error = refusal(text);
        let expected = "`plain` must be an array of tables: begin each with [[plain]]";
        assert!(error.ends_with(expected), "{error}");
    }
    assert!(refusal("[hooks.hook]\nurl = \"a\"").contains("begin each with [[hooks.hook]]"));
    let error = refusal("[[hooks.hok]]\nurl = \"a\"");
    assert!(error.contains("unknown key `hooks.hok`; known are [[hooks.hook]]"), "{error}");
    for text in ["hooks = 3", "[other]\na = 1"] {
        let error = refusal(text);
        assert!(error.contains("unknown key") && error.contains("[[plain]]"), "{error}");
    }
}

#[test]
fn printed_tables_show_no_secret_and_read_back() {
    let (_folder, loaded) = load(VALID).unwrap();
    let text = loaded.sheet().to_toml(&[]);
    assert!(!text.contains("hunter2") && !text.contains('\0'), "{text}");
    let first = text.split("[[hooks.hook]]\n").nth(1).unwrap();
    let lines =
        ["url = \"http://a\"", "# secret is set, not shown", "# limit is not set", "others = []"];
    for line in lines {
        assert!(first.lines().any(|shown| shown == line), "{line}: {text}");
    }
    assert!(text.contains("# others = [{ key = \"not shown\" }]\n"), "{text}");
    assert!(text.contains("[[plain]]\nname = \"one\"\n"), "{text}");
    let again = text.replace("# secret is set, not shown", "secret = \"s\"");
    let (_folder, again) = load(&again).unwrap();
    assert_eq!(again.tables.get().hooks.len(), 2);
    assert_eq!(again.args.common.grace, 4);
    assert!(!format!("{:?}", loaded.tables).contains("hunter2"));
}

#[tokio::test]
async fn reload_replaces_all_tables_or_none() {
    let (folder, loaded) = load(VALID).unwrap();
    let path = folder.path().join("settings.toml");
    let (mut hooks, files) = (hooks(&loaded.tables), loaded.tables.files().unwrap());
    let before = hooks.get();
    // The hooks are valid, the second table is not.
    let half = "[[hooks.hook]]\nurl = \"http://c\"\nsecret = \"s\"\n[[plain]]\nnome = \"a\"";
    fs::write(&path, half).unwrap();
    let error = files.reread().unwrap_err().to_string();
    assert!(error.contains("[[plain]] number 1: unknown field `nome`"), "{error}");
    assert_eq!((hooks.get(), loaded.tables.get().plain.len()), (Arc::clone(&before), 1));
    fs::write(&path, "not toml").unwrap();
    files.reread().unwrap_err();
    fs::remove_file(&path).unwrap();
    files.reread().unwrap_err();
    assert_eq!(hooks.get(), before);

    fs::write(&path, "[[hooks.hook]]\nurl = \"http://c\"\nsecret = \"s\"").unwrap();
    files.reread().unwrap();
    hooks.changed().await;
    assert_eq!(hooks.get()[0].url, "http://c");
    assert!(loaded.tables.get().plain.is_empty());
    assert_eq!(before[0].url, "http://a", "work in progress keeps its version");
}

#[test]
fn tables_that_do_not_meet_a_requirement_are_refused_at_the_start_and_at_a_reload() {
    let (folder, loaded) = load(VALID).unwrap();
    let path = folder.path().join("settings.toml");
    // As a process does: the handle for SIGHUP is older than the requirements.
    let files = loaded.tables.files().unwrap();
    let at_least = |count: usize| {
        move |all: &All| {
            anyhow::ensure!(count <= all.hooks.len(), "fewer than {count} hooks");
            Ok(())
        }
    };
    let error = loaded.tables.require(at_least(3)).unwrap_err();
    assert_eq!(error.to_string(), "fewer than 3 hooks");
    loaded.tables.require(at_least(1)).unwrap();
    let clone = loaded.tables.clone();
    clone.require(at_least(2)).unwrap();

    let hook = "[[hooks.hook]]\nurl = \"http://c\"\nsecret = \"s\"\n";
    for (text, expected) in [("", "fewer than 1 hooks"), (hook, "fewer than 2 hooks")] {
        fs::write(&path, text).unwrap();
        assert_eq!(files.reread().unwrap_err().to_string(), expected);
        assert_eq!(clone.get().hooks[0].url, "http://a");
    }
    fs::write(&path, hook.repeat(2)).unwrap();
    files.reread().unwrap();
    assert_eq!(clone.get().hooks[0].url, "http://c");
}

#[test]
fn nothing_is_reloaded_without_file_or_tables() {
    let none = load_with_tables::<Args, All>(["sample"], |_| None).unwrap();
    assert!(none.tables.files().is_none());
    assert_eq!(Current::fixed(3).get(), Arc::new(3));
}
