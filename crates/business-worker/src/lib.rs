//! The settings of the business-worker process, and its built-in apps.

mod apps;

pub use apps::{App, Args, Bench, Chat, Echo, Settings};
