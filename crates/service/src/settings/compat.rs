//! The compatibility mode with `GatewayWorker`.

use serde::Serialize;

/// Whether to improve on `GatewayWorker` where peers or clients can observe the difference.
///
/// It sets the defaults of other flags, each of which can still be set individually, and controls
/// behavior that has no flag of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    /// Improved behavior wherever the wire format allows it.
    #[default]
    Default,
    /// Exactly the behavior of `GatewayWorker`.
    Strict,
}
