//! The field's terms: names and phrases that were replaced stay out of the tree.

use std::{fs, path::PathBuf, process::Command};

use suite_tests::imports::has_word;

/// Names that were replaced, as whole words.
const RETIRED_NAMES: &[&str] = &[
    "Adopt",
    "Asker",
    "Begun",
    "Convicted",
    "Crew",
    "Departed",
    "Dialect",
    "Dice",
    "Door",
    "Estate",
    "Estates",
    "Flights",
    "Forsaken",
    "Gathering",
    "Goodbye",
    "Hangups",
    "InHand",
    "Incomprehensible",
    "Leases",
    "Ledger",
    "MarkedWhenAgain",
    "News",
    "NoBlemish",
    "NobodyClosed",
    "Nonsense",
    "NothingMadeUp",
    "OutQueue",
    "Outlet",
    "PassedOnInTime",
    "Pushes",
    "Seat",
    "Sight",
    "Standstill",
    "Strangers",
    "Told",
    "Unclaimed",
    "Unpromised",
    "Unusable",
    "WrittenOff",
    "blemish",
    "heard_at",
    "limbo",
    "on_behalf_of",
    "owes_nothing",
    "passed_on",
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

/// Words with which no name of a test begins: it names its subject.
const NAME_OPENINGS: &[&str] =
    &["who", "whoever", "what", "one", "nobody", "somebody", "everybody", "those", "it"];

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
            let names = RETIRED_NAMES.iter().filter(|name| has_word(line, name));
            let phrases = RETIRED_PHRASES.iter().filter(|phrase| line.contains(**phrase));
            let openings = OPENINGS.iter().filter(|word| opens_with(line, word));
            for word in names.chain(phrases).chain(openings) {
                found.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "use the field's terms (docs/glossary.md):\n{}", found.join("\n"));
}

/// The name of the function that a line declares, if it is that of a test: a condition or an
/// outcome follows the subject.
fn test_name(line: &str) -> Option<&str> {
    let declaration = line.trim_start();
    let declaration = declaration.strip_prefix("async ").unwrap_or(declaration);
    let name = declaration.strip_prefix("fn ")?.split('(').next()?;
    (2 < name.split('_').count()).then_some(name)
}

#[test]
fn test_names_begin_with_their_subject() {
    let mut found = Vec::new();
    for path in files() {
        let text = fs::read_to_string(&path).expect("a text file");
        for name in text.lines().filter_map(test_name) {
            let first = name.split('_').next().unwrap_or_default();
            if NAME_OPENINGS.contains(&first) {
                found.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "name the subject first:\n{}", found.join("\n"));
    assert_eq!(test_name("    async fn one_two_three(threads: usize) {"), Some("one_two_three"));
    assert_eq!(test_name("    fn what(&self) -> &str {"), None);
}
