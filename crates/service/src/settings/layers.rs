//! Environment and file, converted to command-line flags.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgAction, ArgMatches, Command,
    error::{ContextKind, ContextValue},
    parser::ValueSource,
};

use super::{
    refused::Refused,
    tables::{self, Table, TableFile},
};
use runtime::files;

/// The origin of each setting, by id; defaults are not listed.
pub(super) type Origins = BTreeMap<String, String>;

/// The value of one setting from the environment or the file.
struct Given {
    id: String,
    flag: String,
    origin: String,
    typed: Vec<OsString>,
}

/// The settings of all layers.
pub(super) struct Parsed {
    pub(super) matches: ArgMatches,
    pub(super) origins: Origins,
    /// The file, if there is one.
    pub(super) file: Option<PathBuf>,
}

/// Parses the command line together with the layers below it. The file may have these tables, which
/// are read elsewhere.
pub(super) fn parse(
    command: Command,
    argv: Vec<OsString>,
    env: impl Fn(&str) -> Option<OsString>,
    known_tables: &'static [Table],
) -> Result<Parsed, Refused> {
    let command = command.after_help(AFTER_HELP);
    // A required setting may come from a lower layer.
    let lenient = command.clone().mut_args(|arg| arg.required(false));
    let typed = lenient.try_get_matches_from(&argv).map_err(Refused::Flags)?;

    let mut layers: Vec<Given> = Vec::new();
    let settable = || command.get_arguments().filter(|arg| arg.get_long().is_some());
    let is_typed = |arg: &Arg| {
        let source = typed.value_source(arg.get_id().as_str());
        matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    };

    for arg in settable().filter(|arg| !is_typed(arg) && arg.get_id() != "check") {
        let name = variable(arg);
        if let Some(value) = env(&name).filter(|value| !value.is_empty()) {
            layers.push(filled(arg, from_variable(arg, name, value)?)?);
        }
    }

    let config = config_path(&typed, &layers);
    if let Some(path) = &config {
        let mut keys = read(path)?;
        TableFile::take(path.display().to_string(), &mut keys, known_tables)?;
        for (key, value) in keys {
            let file = path.display();
            let known =
                || settable().filter(|arg| !matches!(arg.get_id().as_str(), "config" | "check"));
            let Some(arg) = known().find(|arg| arg.get_id() == key.as_str()) else {
                let mut known: Vec<&str> = known().map(|arg| arg.get_id().as_str()).collect();
                let tables = tables::names(known_tables);
                known.extend(tables.iter().map(String::as_str));
                let hint = hint(&key, &known);
                return Err(Refused::UnknownKey { file: file.to_string(), key, hint });
            };
            if is_typed(arg) || layers.iter().any(|given| given.id == key) {
                continue;
            }
            layers.push(filled(arg, from_key(arg, format!("`{key}` in {file}"), &value)?)?);
        }
    }

    let mut whole: Vec<OsString> = argv.iter().take(1).cloned().collect();
    whole.extend(layers.iter().flat_map(|given| given.typed.iter().cloned()));
    whole.extend(argv.into_iter().skip(1));
    let matches =
        command.clone().try_get_matches_from(whole).map_err(|error| with_origin(error, &layers))?;

    let mut origins: Origins = layers.into_iter().map(|given| (given.id, given.origin)).collect();
    for arg in settable().filter(|arg| is_typed(arg)) {
        let flag = format!("--{}", arg.get_long().unwrap_or_default());
        origins.insert(arg.get_id().to_string(), flag);
    }
    Ok(Parsed { matches, origins, file: config })
}

const AFTER_HELP: &str = "Each flag can also be set in the environment (--some-flag is \
     GW_SOME_FLAG; lists are comma-separated) and in the --config file (key some_flag; lists are \
     arrays). Flags take precedence over the environment, which takes precedence over the file.";

fn variable(arg: &Arg) -> String {
    format!("GW_{}", arg.get_long().unwrap_or_default().replace('-', "_").to_uppercase())
}

fn config_path(typed: &ArgMatches, layers: &[Given]) -> Option<PathBuf> {
    if let Ok(Some(path)) = typed.try_get_one::<PathBuf>("config") {
        return Some(path.clone());
    }
    let given = layers.iter().find(|given| given.id == "config")?;
    let typed = given.typed.first()?.to_str()?;
    typed.split_once('=').map(|(_, path)| PathBuf::from(path))
}

pub(super) fn read(path: &Path) -> Result<toml::Table, Refused> {
    let file = path.display().to_string();
    let text = files::read_to_string(path, files::LIMIT)
        .map_err(|error| Refused::Unreadable { file: file.clone(), error })?;
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        Refused::Syntax { file, line, problem: error.message().to_owned() }
    })
}

fn hint(key: &str, known: &[&str]) -> String {
    let meant = key.to_lowercase().replace('-', "_");
    if known.contains(&meant.as_str()) {
        format!("did you mean `{meant}`?")
    } else {
        format!("known are {}", known.join(", "))
    }
}

/// Rejects an empty list for a setting with a default: clap would silently use the default.
fn filled(arg: &Arg, given: Given) -> Result<Given, Refused> {
    let is_list = matches!(arg.get_action(), ArgAction::Append);
    match is_list && given.typed.is_empty() && !arg.get_default_values().is_empty() {
        true => Err(Refused::Shape { origin: given.origin, problem: "is an empty list" }),
        false => Ok(given),
    }
}

fn from_variable(arg: &Arg, name: String, value: OsString) -> Result<Given, Refused> {
    let Ok(text) = value.into_string() else {
        return Err(Refused::Shape { origin: name, problem: "not UTF-8" });
    };
    match arg.get_action() {
        ArgAction::SetTrue => match text.to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(given(arg, name, Values::Switch(true))),
            "false" | "0" | "no" | "off" => Ok(given(arg, name, Values::Switch(false))),
            _ => Err(Refused::Shape { origin: name, problem: "must be true or false" }),
        },
        ArgAction::Append => {
            let parts = text.split(',').map(|part| part.trim().to_owned());
            let parts = parts.filter(|part| !part.is_empty()).collect();
            Ok(given(arg, name, Values::Each(parts)))
        }
        _ => Ok(given(arg, name, Values::Each(vec![text]))),
    }
}

fn from_key(arg: &Arg, origin: String, value: &toml::Value) -> Result<Given, Refused> {
    let values = match (arg.get_action(), value) {
        (ArgAction::SetTrue, toml::Value::Boolean(on)) => Ok(Values::Switch(*on)),
        (ArgAction::SetTrue, _) => Err("must be true or false"),
        (ArgAction::Append, toml::Value::Array(items)) => items
            .iter()
            .map(scalar)
            .collect::<Option<_>>()
            .map(Values::Each)
            .ok_or("must be a list of plain values"),
        (_, toml::Value::Array(_)) => Err("takes one value, not a list"),
        (_, value) => {
            scalar(value).map(|text| Values::Each(vec![text])).ok_or("must be a plain value")
        }
    };
    match values {
        Ok(values) => Ok(given(arg, origin, values)),
        Err(problem) => Err(Refused::Shape { origin, problem }),
    }
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(on) => Some(on.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

enum Values {
    Switch(bool),
    Each(Vec<String>),
}

fn given(arg: &Arg, origin: String, values: Values) -> Given {
    let flag = format!("--{}", arg.get_long().unwrap_or_default());
    let typed = match values {
        Values::Switch(true) => vec![OsString::from(&flag)],
        Values::Switch(false) => Vec::new(),
        Values::Each(texts) => {
            texts.into_iter().map(|text| format!("{flag}={text}").into()).collect()
        }
    };
    Given { id: arg.get_id().to_string(), flag, origin, typed }
}

/// Attributes a rejected value to the layer that it came from.
fn with_origin(error: clap::Error, layers: &[Given]) -> Refused {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return Refused::Flags(error);
    };
    // Shown as `--grace <SECONDS>`.
    let flag = argument.split([' ', '=']).next().unwrap_or_default();
    match layers.iter().find(|given| given.flag == flag) {
        Some(given) => Refused::Value { origin: given.origin.clone(), error },
        None => Refused::Flags(error),
    }
}
