//! How closely `GatewayWorker` is followed.

use serde::Serialize;

/// How to behave where we do better than `GatewayWorker` and peers or clients could tell.
///
/// It chooses the defaults of other flags, so that each of them can still be set by itself, and
/// decides what has no flag of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    /// Better, wherever the wire allows it.
    #[default]
    Better,
    /// To the letter.
    Strict,
}
