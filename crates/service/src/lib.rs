//! Infrastructure shared by all binaries: settings, logging, health, shutdown, TLS.
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
//! | listen, and never stop accepting | [`listen`], on [`net`] |
//! | use a connection with or without TLS | [`tls`], [`stream`] |
//! | read the clock, get random numbers, start a thread | [`clock`], [`dice`], [`thread`] |
//! | wait before trying again | [`backoff::Backoff`] |
//! | log what a peer can cause, once a second | [`rate_limit::Throttle`] |
//! | log an outage of a peer at growing intervals | [`outage::Outage`] |
//! | shut down gracefully | [`shutdown`] |

pub mod admin;
pub mod backoff;
pub mod clock;
#[cfg(not(simulation))]
pub mod dice;
pub mod files;
pub mod health;
pub mod limits;
pub mod listen;
pub mod liveness;
pub mod logging;
#[cfg(not(simulation))]
pub mod net;
pub mod outage;
pub mod process;
pub mod rate_limit;
pub mod settings;
pub mod shutdown;
pub mod sighup;
pub mod signals;
pub mod stream;
pub mod supervise;
pub mod sync;
pub mod systemd;
#[cfg(not(simulation))]
pub mod thread;
pub mod tls;

#[cfg(simulation)]
pub use simulated::{dice, net, thread};

pub use health::Health;
pub use process::{Running, Starting, main, main_on};
