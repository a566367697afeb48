//! The commands of `gwctl` in documents and in its own advice exist, with the flags that they have
//! there, and each runbook begins with some of them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The files below a folder of the project with this ending.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The words of a command in a shell: quotes group, and a comment or a pipe ends it.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in command.chars() {
        match (character, quote) {
            (end, Some(begun)) if end == begun => quote = None,
            ('\'' | '"', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            ('#' | '|' | '>' | ';', None) => break,
            (' ', None) => words.extend(word.take()),
            (other, _) => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

/// A command of `gwctl` behind a prompt and variables; `None` for another command.
fn command(line: &str) -> Option<Vec<String>> {
    let line = line.trim_start().strip_prefix("$ ").unwrap_or(line);
    let mut words = words(line);
    let at = words.iter().position(|word| word == "gwctl")?;
    let is_before = |word: &String| word.contains('=') || word == "sudo";
    words[..at].iter().all(is_before).then(|| words.split_off(at))
}

/// The commands in blocks of code, whole.
fn in_blocks(document: &str) -> Vec<Vec<String>> {
    let mut in_block = false;
    let mut found = Vec::new();
    for line in document.lines() {
        if line.starts_with("```") {
            in_block = line.starts_with("```sh") || line.starts_with("```console");
        } else if in_block {
            found.extend(command(line));
        }
    }
    found
}

/// The commands between backticks, which may have placeholders.
fn in_text(text: &str) -> Vec<Vec<String>> {
    text.split('`').skip(1).step_by(2).filter(|it| !it.contains('\n')).filter_map(command).collect()
}

/// The first unknown name of a command, whose values may be placeholders.
fn unknown_name(words: &[String]) -> Option<String> {
    let mut command = gwctl::command();
    command.build();
    let mut at = &command;
    for word in &words[1..] {
        if let Some(flag) = word.strip_prefix("--") {
            let flag = flag.split('=').next().unwrap_or(flag);
            if !at.get_arguments().any(|it| it.get_long() == Some(flag)) {
                return Some(format!("no flag --{flag}"));
            }
        } else if at.has_subcommands()
            && word.chars().all(|it| it.is_ascii_lowercase() || it == '-')
        {
            match at.find_subcommand(word) {
                Some(found) => at = found,
                None => return Some(format!("no command {word}")),
            }
        }
    }
    None
}

#[test]
fn commands_in_blocks_are_valid_with_their_values() {
    let mut checked = 0;
    let documents = [files("docs", "md"), vec![root().join("README.md")]].concat();
    for file in documents {
        for words in in_blocks(&fs::read_to_string(&file).unwrap()) {
            let parsed = gwctl::command().try_get_matches_from(&words);
            if let Err(error) = parsed {
                panic!("{}: {words:?}: {error}", file.display());
            }
            checked += 1;
        }
    }
    assert!(40 < checked, "{checked}");
}

#[test]
fn commands_in_text_and_in_advice_exist() {
    let mut checked = 0;
    let sources = [files("docs", "md"), files("crates/gwctl/src", "rs")].concat();
    for file in sources {
        for words in in_text(&fs::read_to_string(&file).unwrap()) {
            let unknown = unknown_name(&words);
            assert_eq!(unknown, None, "{}: {words:?}", file.display());
            checked += 1;
        }
    }
    assert!(40 < checked, "{checked}");
    for wrong in ["gwctl stats", "gwctl clients --slwo", "gwctl token create"] {
        assert!(unknown_name(&words(wrong)).is_some(), "{wrong}");
    }
}

#[test]
fn each_runbook_begins_with_gwctl() {
    for file in files("docs/runbooks", "md") {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if name == "index" {
            continue;
        }
        let page = fs::read_to_string(&file).unwrap();
        let block = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
        assert!(2 <= block.lines().count(), "{name}");
        for line in block.lines() {
            assert!(line.starts_with("gwctl "), "{name}: {line}");
        }
    }
}
