//! The harness: a suite of real processes on free ports, and those who speak to it.
//!
//! In reading order:
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub mod suite;

pub mod browser;
pub mod peer;
pub mod php;
pub mod raw;
pub mod worker;

pub mod binaries;
pub mod conditions;
pub mod net;
pub mod pki;
pub mod ports;
pub mod process;
pub mod relay;
pub mod stderr;
pub mod wait;

pub use browser::{Browser, Heard};
pub use conditions::Conditions;
pub use peer::Peer;
pub use php::Php;
pub use pki::Ca;
pub use process::Process;
pub use raw::{Answer, Raw};
pub use relay::Relay;
pub use stderr::Stderr;
pub use suite::Suite;
pub use wait::{PATIENCE, eventually, soon};
pub use worker::{Report, TestWorker, Told};

/// Makes tests of functions that take a number of threads: each runs on gateways of one shard and
/// on gateways of three.
///
/// ```ignore
/// on_one_and_three_threads!(a_room_hears_what_is_said_in_it);
///
/// async fn a_room_hears_what_is_said_in_it(threads: usize) { /* … */ }
/// ```
#[macro_export]
macro_rules! on_one_and_three_threads {
    ($($name:ident),+ $(,)?) => {
        mod on_one_thread {
            $(#[tokio::test] async fn $name() { super::$name(1).await })+
        }
        mod on_three_threads {
            $(#[tokio::test] async fn $name() { super::$name(3).await })+
        }
    };
}
