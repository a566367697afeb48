//! The filter of log lines, and its changes while the process runs.

use std::{env::VarError, path::PathBuf};

use anyhow::Context as _;
use runtime::{sync::Mutex, tls::Reload};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Registry, filter::Targets, reload};

use crate::settings::{self, Derived};

/// The variable that takes precedence over `--log-level`.
const RUST_LOG: &str = "RUST_LOG";

/// The filter of a process, and the rules that it was made of.
#[derive(Debug)]
pub(super) struct Filter {
    handle: reload::Handle<Targets, Registry>,
    rules: Mutex<String>,
}

impl Filter {
    pub(super) fn new(handle: reload::Handle<Targets, Registry>, rules: String) -> Self {
        Self { handle, rules: Mutex::new(rules) }
    }

    pub(super) fn rules(&self) -> String {
        self.rules.lock().clone()
    }

    /// Replaces the filter; returns the previous rules.
    pub(super) fn set(&self, rules: &str) -> anyhow::Result<String> {
        let filter = parse(rules)?;
        let mut current = self.rules.lock();
        self.handle.reload(filter).context("the log filter cannot be replaced")?;
        Ok(std::mem::replace(&mut *current, rules.to_owned()))
    }
}

/// Checks the filter in effect with this level from the settings.
///
/// # Errors
/// When `RUST_LOG` is set, and is no valid filter.
pub(crate) fn check(level: &str) -> anyhow::Result<()> {
    in_effect(level).map(drop)
}

/// `RUST_LOG`, or else `level`, which is valid.
pub(super) fn in_effect(level: &str) -> anyhow::Result<String> {
    match std::env::var(RUST_LOG) {
        Err(VarError::NotUnicode(_)) => anyhow::bail!("RUST_LOG is not UTF-8"),
        Ok(rules) if !rules.trim().is_empty() => {
            parse(&rules).with_context(|| format!("RUST_LOG is `{rules}`"))?;
            Ok(rules)
        }
        _ => Ok(level.to_owned()),
    }
}

/// A note for `--check`, if `RUST_LOG` takes precedence.
pub(crate) fn overridden() -> Option<Derived> {
    let rules = std::env::var(RUST_LOG).ok().filter(|rules| !rules.trim().is_empty())?;
    Some(Derived::note("log_level", format!("RUST_LOG is `{rules}`, and takes precedence")))
}

/// Parses `LEVEL` and `MODULE=LEVEL`, with commas between them.
pub(crate) fn parse(rules: &str) -> anyhow::Result<Targets> {
    let list: Vec<_> = rules.split(',').map(str::trim).filter(|rule| !rule.is_empty()).collect();
    if list.is_empty() {
        return Ok(Targets::new().with_default(LevelFilter::INFO));
    }
    // The lines of this suite are in no span, so such a rule would match nothing.
    anyhow::ensure!(!rules.contains('['), "spans cannot be filtered");
    // Alone, a misspelled level would be the name of a module, and all others would log nothing.
    let is_level = |rule: &str| rule.contains('=') || rule.parse::<LevelFilter>().is_ok();
    if let Some(rule) = list.iter().find(|rule| !is_level(rule)) {
        anyhow::bail!("`{rule}` is neither a level nor MODULE=LEVEL");
    }
    list.join(",").parse().context("not a log filter")
}

/// The log level of the settings, which SIGHUP puts into effect again.
#[derive(Debug)]
pub struct LogLevel {
    file: PathBuf,
    /// Set if a flag, or a variable, takes precedence over the file.
    fixed: Option<String>,
}

impl LogLevel {
    /// The level of a settings file, unless it is `fixed`.
    pub(crate) const fn new(file: PathBuf, fixed: Option<String>) -> Self {
        Self { file, fixed }
    }

    fn read(&self) -> anyhow::Result<String> {
        let level = match &self.fixed {
            Some(level) => level.clone(),
            None => settings::log_level_of(&self.file)?,
        };
        in_effect(&level)
    }
}

impl Reload for LogLevel {
    fn what(&self) -> &'static str {
        "log level"
    }

    fn applies_at_once(&self) -> bool {
        true
    }

    fn reread(&self) -> anyhow::Result<()> {
        let level = self.read()?;
        let previous = super::set_filter(&level)?;
        if previous != level {
            tracing::info!(from = previous, to = level, "log level changed");
        }
        Ok(())
    }
}
