//! What makes a process of ours a good citizen, so that no binary writes it twice.
//!
//! A binary's `main` is one call to [`main`]: settings are read and checked before a port is
//! bound, signals drain, `--admin-listen` and systemd know how it fares, and the exit code says
//! how it went. See [`process`] for the order of events.
//!
//! | I want to… | Look at |
//! |---|---|
//! | add flags that also come from the environment and a file | [`settings`] |
//! | say that something is missing before we can serve | [`health::Health`] |
//! | count something | [`Starting::metrics`] |
//! | listen, and never stop accepting | [`listen`], on [`net`] |
//! | speak TLS, or not, with the same calls | [`tls`], [`stream`] |
//! | know the time, roll dice, start a thread | [`clock`], [`dice`], [`thread`] |
//! | wait before trying again | [`backoff::Backoff`] |
//! | log what a peer can cause, once a second | [`rate_limit::Throttle`] |
//! | log that a peer stays away, now and then | [`outage::Outage`] |
//! | stop in order | [`shutdown`] |

pub mod admin;
pub mod backoff;
pub mod clock;
#[cfg(not(simulation))]
pub mod dice;
pub mod files;
pub mod hangup;
pub mod health;
pub mod limits;
pub mod listen;
pub mod logging;
#[cfg(not(simulation))]
pub mod net;
pub mod outage;
pub mod process;
pub mod rate_limit;
pub mod settings;
pub mod shutdown;
pub mod signals;
pub mod stream;
pub mod supervise;
pub mod systemd;
#[cfg(not(simulation))]
pub mod thread;
pub mod tls;

#[cfg(simulation)]
pub use simulated::{dice, net, thread};

pub use health::Health;
pub use process::{Running, Starting, main, main_on};
