//! The settings of the business-worker process, and its built-in apps.

mod apps;
mod http_settings;
mod listener;
mod pusher_app;
mod run;
mod tables;

pub use apps::{App, Args, Bench, Chat, Echo, Settings};
pub use http_settings::Http;
pub use run::run;
pub use tables::Tables;
