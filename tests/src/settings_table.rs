//! The tables of docs/settings.md, from the flags of the binaries.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory as _};
use service::settings::{MAX_AMOUNT, Table, Tables as _};

/// The line in front of the tables in docs/settings.md.
pub const MARK: &str =
    "<!-- The rest is generated: cargo run -p suite-tests --bin settings-doc -->\n";

/// The heading of flags that have none.
const OTHER: &str = "Other";

/// The headings that come last.
const LAST: [&str; 2] = ["TLS", "Process"];

/// Values that lie outside of the range of any number.
const BEYOND: [&str; 2] = ["9223372036854775807", "-9223372036854775808"];

/// The binaries with settings, each with the command that reads its flags.
pub fn commands() -> [(&'static str, Command); 3] {
    [
        ("register", register::Args::command()),
        ("gateway", gateway::Args::command()),
        ("business-worker", business_worker::Args::command()),
    ]
}

/// The arrays of tables that the settings file of a binary may have.
pub fn tables_of(binary: &str) -> &'static [Table] {
    match binary {
        "business-worker" => business_worker::Tables::KNOWN,
        _ => &[],
    }
}

/// The settings of a command: all flags but `--help` and `--version`.
pub fn settings(command: &Command) -> impl Iterator<Item = &Arg> {
    let is_setting = |arg: &&Arg| {
        arg.get_long().is_some() && !matches!(arg.get_id().as_str(), "help" | "version")
    };
    command.get_arguments().filter(is_setting)
}

/// The environment variable of a setting; `None` for `--check`.
pub fn variable(arg: &Arg) -> Option<String> {
    let name = arg.get_id().as_str().to_uppercase();
    (arg.get_id() != "check").then(|| format!("GW_{name}"))
}

/// The key of a setting in the file of `--config`; `None` where a file cannot set it.
pub fn key(arg: &Arg) -> Option<&str> {
    Some(arg.get_id().as_str()).filter(|id| !matches!(*id, "check" | "config"))
}

/// The first and the last number that a setting accepts, if its parser has a range. An end that is
/// that of the type is `None`.
pub fn range(command: &Command, arg: &Arg) -> Option<(Option<u64>, Option<u64>)> {
    let refused = BEYOND.iter().find_map(|beyond| {
        let error = parse(command, &[&format!("--{}={beyond}", name(arg))]).err()?.to_string();
        let (_, range) = error.split_once(" is not in ")?;
        range.lines().next().map(str::to_owned)
    })?;
    let (first, last) = refused.split_once("..")?;
    let end = |text: &str| text.parse::<u64>().ok().filter(|end| *end < i64::MAX as u64);
    Some((end(first), end(last.trim_start_matches('='))))
}

/// Parses flags, without the name of the program.
///
/// # Errors
/// If a flag is unknown, or its value is refused.
pub fn parse(command: &Command, flags: &[&str]) -> Result<ArgMatches, clap::Error> {
    let name = [command.get_name()];
    command.clone().try_get_matches_from(name.iter().chain(flags))
}

/// The tables of all binaries, as docs/settings.md has them.
///
/// # Panics
/// If a binary does not start without flags.
pub fn tables() -> String {
    let mut text = String::new();
    for (binary, command) in commands() {
        let command = command.mut_args(|arg| arg.required(false));
        let _ = writeln!(text, "\n## {binary}");
        for group in groups(&command) {
            let _ = writeln!(text, "\n### {binary}: {group}\n");
            let strict = has_strict(&command);
            let default = if strict { "default; with `--compat strict`" } else { "default" };
            let _ = writeln!(text, "| flag, variable, key | value | {default} | meaning |");
            text.push_str("|---|---|---|---|\n");
            for arg in settings(&command).filter(|arg| heading(arg) == group) {
                text.push_str(&row(&command, arg));
            }
        }
        for Table { name, meaning, keys } in tables_of(binary) {
            let _ = writeln!(text, "\n### {binary}: `[[{name}]]`\n\n{}.\n", wrapped(meaning));
            text.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
            for key in *keys {
                let default = key.default.unwrap_or("mandatory");
                let cells = [key.value, default, key.meaning].map(|cell| cell.replace('|', "\\|"));
                let _ = writeln!(text, "| `{}` | {} |", key.name, cells.join(" | "));
            }
        }
    }
    text
}

/// A paragraph in lines of at most 99 columns, so that a period fits in.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("never empty");
        match line.is_empty() {
            true => line.push_str(word),
            false if line.len() + word.len() < 99 => *line += &format!(" {word}"),
            false => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

fn name(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_default()
}

fn heading(arg: &Arg) -> &str {
    arg.get_help_heading().unwrap_or(OTHER)
}

/// The headings of a command, in the order of their first flags.
fn groups(command: &Command) -> Vec<&str> {
    let mut groups: Vec<&str> = Vec::new();
    for arg in settings(command) {
        if !groups.contains(&heading(arg)) {
            groups.push(heading(arg));
        }
    }
    let rank = |group: &&str| LAST.iter().position(|last| last == group).map_or(0, |at| at + 1);
    groups.sort_by_key(rank);
    groups
}

fn has_strict(command: &Command) -> bool {
    settings(command).any(|arg| arg.get_id() == "compat")
}

fn row(command: &Command, arg: &Arg) -> String {
    let names = [Some(format!("--{}", name(arg))), variable(arg), key(arg).map(str::to_owned)];
    let names: Vec<_> = names.iter().flatten().map(|name| format!("`{name}`")).collect();
    let (meaning, stated) = help(arg);
    let default = in_effect(command, arg, &[]).or(stated.clone());
    let default = default.unwrap_or_else(|| "not set".to_owned());
    let strict = has_strict(command).then(|| in_effect(command, arg, &["--compat=strict"]));
    let strict = strict.map(|strict| strict.or(stated).unwrap_or_else(|| "not set".to_owned()));
    let default = match strict.filter(|strict| *strict != default) {
        Some(strict) if arg.get_id() != "compat" => format!("{default}; {strict}"),
        _ => default,
    };
    let cells = [names.join("<br>"), value(command, arg), default, meaning];
    let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
    format!("| {} |\n", cells.join(" | "))
}

/// The values that a setting accepts.
fn value(command: &Command, arg: &Arg) -> String {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return "switch".to_owned();
    }
    let names = arg.get_value_names().unwrap_or_default();
    let name = names.first().map(|name| name.as_str()).unwrap_or_default();
    let possible = arg.get_possible_values();
    let values: Vec<_> = possible.iter().map(|value| format!("`{}`", value.get_name())).collect();
    let range = match range(command, arg) {
        Some((first, Some(MAX_AMOUNT))) => format!(", {} to 2^50", first.unwrap_or_default()),
        Some((first, Some(last))) => format!(", {} to {last}", first.unwrap_or_default()),
        Some((Some(first), None)) => format!(", at least {first}"),
        Some((None, None)) | None => String::new(),
    };
    let repeatable = match arg.get_action() {
        ArgAction::Append => ", repeatable",
        _ => "",
    };
    match values.is_empty() {
        true => format!("{name}{range}{repeatable}"),
        false => format!("{}{repeatable}", values.join(", ")),
    }
}

/// The value of a setting with these flags, if it has one.
fn in_effect(command: &Command, arg: &Arg, flags: &[&str]) -> Option<String> {
    let matches = parse(command, flags).expect("the defaults are valid");
    let values: Vec<_> = matches.get_raw(arg.get_id().as_str())?.collect();
    let values: Vec<_> = values.iter().map(|value| value.to_string_lossy()).collect();
    Some(match (&values[..], arg.get_action()) {
        ([value], ArgAction::SetTrue) => if value == "true" { "on" } else { "off" }.to_owned(),
        ([value], _) if value.is_empty() => "empty".to_owned(),
        (values, _) => values.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", "),
    })
}

/// The meaning of a setting, and the default that its help states.
fn help(arg: &Arg) -> (String, Option<String>) {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string);
    let help = help.unwrap_or_default().replace(" (repeatable)", "");
    let help = help.split(' ').map(as_code).collect::<Vec<_>>().join(" ");
    match help.split_once(" [default: ") {
        Some((meaning, default)) => {
            (meaning.to_owned(), Some(default.trim_end_matches(']').to_owned()))
        }
        None => (help, None),
    }
}

/// A word of a help text, as code if it is a flag, a variable or a URL.
fn as_code(word: &str) -> String {
    let plain = word.trim_matches(|end| "()[],.;:'".contains(end));
    let plain = if plain.is_empty() { word } else { plain };
    let is_code = plain.contains("--")
        || plain.starts_with("GW_")
        || plain.starts_with('?')
        || plain.contains("://")
        || plain.contains(['*', '<']);
    match is_code {
        true => word.replacen(plain, &format!("`{plain}`"), 1),
        false => word.to_owned(),
    }
}
