//! The life of a service process: settings, logging, health, metrics, signals, shutdown.
//!
//! A binary's `main` is one call to [`main`]: settings are read and checked before a port is
//! bound, signals start a drain, `--admin-listen` and systemd report its health, and the exit code
//! its outcome. See [`process`] for the order of events.
//!
//! | I want to… | Look at |
//! |---|---|
//! | add flags that also come from the environment and a file | [`settings`] |
//! | set a condition that keeps the process from being ready | [`health::Health`] |
//! | count something | [`Starting::metrics`] |
//! | measure how long something takes | [`latency::Latency`] |
//! | add the flags of TLS | [`tls_flags`] |
//! | shut down gracefully | [`shutdown`] |

pub mod admin;
pub mod bounded;
pub mod certificates;
mod exposition;
pub mod health;
pub mod latency;
pub mod limits;
pub mod logging;
mod manual;
pub mod process;
pub mod process_figures;
mod process_metrics;
pub mod settings;
pub mod shutdown;
pub mod sighup;
pub mod signals;
pub mod systemd;
pub mod tls_flags;

pub use health::Health;
pub use process::{Running, Starting, main, main_on, main_with_tables};
