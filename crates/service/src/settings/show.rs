//! The settings in effect, as the file one would write to have them.

use std::fmt::Write as _;

use clap::CommandFactory;
use serde::Serialize;

use super::Loaded;

/// Stands for a secret that is set. No value can be this: a command line has no NUL.
pub(super) const REDACTED: &str = "\0redacted";

impl<A: CommandFactory + Serialize> Loaded<A> {
    /// All settings as TOML, each with where it came from. Secrets and what is not set are
    /// comments, so this can be used as a `--config` file that says the same.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let values = serde_json::to_value(&self.args).unwrap_or_default();
        let mut text = String::new();
        for arg in A::command().get_arguments() {
            let id = arg.get_id().as_str();
            if matches!(id, "config" | "check" | "help" | "version") {
                continue;
            }
            let origin = self.origins.get(id).map_or("default", String::as_str);
            // Writing to a string cannot fail.
            let _ = match values.get(id).and_then(shown) {
                Some(Shown::Value(value)) => writeln!(text, "{id} = {value}  # {origin}"),
                Some(Shown::Secret) => writeln!(text, "# {id} is set, not shown  # {origin}"),
                None => writeln!(text, "# {id} is not set"),
            };
        }
        text
    }
}

enum Shown {
    Value(toml::Value),
    Secret,
}

/// `None` for what is not there.
fn shown(value: &serde_json::Value) -> Option<Shown> {
    if value.as_str() == Some(REDACTED) {
        return Some(Shown::Secret);
    }
    match value {
        serde_json::Value::Null => None,
        value => toml::Value::try_from(value).ok().map(Shown::Value),
    }
}
