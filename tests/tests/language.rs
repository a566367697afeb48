//! The field's terms: names and phrases that were replaced stay out of the tree.

use std::{fs, path::PathBuf, process::Command};

/// Names that were replaced, as whole words.
const RETIRED_NAMES: &[&str] = &[
    "Adopt",
    "Asker",
    "Begun",
    "Convicted",
    "Departed",
    "Door",
    "Estate",
    "Estates",
    "Forsaken",
    "Gathering",
    "Goodbye",
    "Hangups",
    "InHand",
    "Incomprehensible",
    "Leases",
    "Ledger",
    "OutQueue",
    "Outlet",
    "Pushes",
    "Sight",
    "Standstill",
    "Strangers",
    "Unclaimed",
    "Unusable",
    "WrittenOff",
    "limbo",
    "on_behalf_of",
    "owes_nothing",
    "written_off",
];

/// Phrases that were replaced.
const RETIRED_PHRASES: &[&str] = &[
    "how many-th",
    "left alone",
    "takes us for",
    "taken for dead",
    "taken for gone",
    "taken for over",
    "took it for dead",
    "told so",
    "whoever",
    "Whoever",
    "witness",
];

/// Words with which no sentence of a Rust comment begins.
const OPENINGS: &[&str] = &["Who", "Whom", "What", "Nobody", "Somebody", "Everybody"];

fn files() -> Vec<PathBuf> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let list = Command::new("git").args(["ls-files"]).current_dir(&root).output();
    let list = list.expect("git lists the files of the project");
    let list = String::from_utf8(list.stdout).expect("names in UTF-8");
    let is_text = |name: &&str| {
        [".rs", ".md", ".sh", ".toml", ".service"].iter().any(|end| name.ends_with(end))
    };
    let is_this = |name: &&str| name.ends_with("tests/language.rs");
    let names = list.lines().filter(is_text).filter(|name| !is_this(name));
    names.map(|name| root.join(name)).filter(|path| path.exists()).collect()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Whether a line has a name as a whole word.
fn has_name(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + name.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Whether a sentence of a comment begins with a word.
fn opens_with(line: &str, word: &str) -> bool {
    let Some((_, comment)) = line.split_once("//") else { return false };
    let comment = comment.trim_start_matches(['/', '!']).trim_start();
    let begins =
        |text: &str| text.strip_prefix(word).is_some_and(|rest| !rest.starts_with(is_word));
    comment.split(". ").any(begins)
}

#[test]
fn retired_words_stay_out_of_the_tree() {
    let mut found = Vec::new();
    for path in files() {
        let text = fs::read_to_string(&path).expect("a text file");
        for (number, line) in text.lines().enumerate() {
            let names = RETIRED_NAMES.iter().filter(|name| has_name(line, name));
            let phrases = RETIRED_PHRASES.iter().filter(|phrase| line.contains(**phrase));
            let openings = OPENINGS.iter().filter(|word| opens_with(line, word));
            for word in names.chain(phrases).chain(openings) {
                found.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "use the field's terms (docs/glossary.md):\n{}", found.join("\n"));
}
