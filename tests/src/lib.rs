//! Test harness: a suite of real processes on free ports, and the clients and peers to drive it.
//!
//! In reading order:
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub mod streams;
pub mod suite;

mod answers;
pub mod browser;
pub mod peer;
pub mod php;
pub mod raw;
pub mod worker;

pub mod binaries;
pub mod conditions;
pub mod deflate;
pub mod gwctl;
pub mod imports;
pub mod names;
pub mod net;
pub mod openapi;
pub mod pki;
pub mod ports;
pub mod process;
pub mod pure_files;
pub mod push_api;
pub mod pusher_client;
pub mod pusher_http;
pub mod relay;
pub mod running;
pub mod scene;
pub mod settings_table;
pub mod stderr;
pub mod tokens;
pub mod wait;
pub mod watcher;
pub mod webhooks;

pub use browser::{Browser, Received};
pub use conditions::Conditions;
pub use gwctl::{Gwctl, Ran};
pub use peer::Peer;
pub use php::Php;
pub use pki::Ca;
pub use process::Process;
pub use push_api::{HttpAnswer, HttpRequest, PushApi};
pub use pusher_client::{PusherClient, PusherSettings};
pub use raw::{Answer, Raw};
pub use relay::Relay;
pub use running::Running;
pub use scene::Scene;
pub use stderr::Stderr;
pub use suite::Suite;
pub use tokens::Issuer;
pub use wait::{TIMEOUT, eventually, with_timeout};
pub use worker::{Call, Closes, Report, TestWorker, take_closes};

/// Turns functions that take a number of threads into tests that run on gateways with one shard and
/// with three.
///
/// ```ignore
/// on_one_and_three_threads!(group_message_reaches_every_member);
///
/// async fn group_message_reaches_every_member(threads: usize) { /* … */ }
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
