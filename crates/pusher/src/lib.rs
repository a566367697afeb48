//! The Pusher Channels protocol, version 7: a worker, its HTTP API and its webhooks.
//!
//! | I want to… | Look at |
//! |---|---|
//! | know the kinds of channels, and their names | [`channel`] |
//! | sign, or check a signature | [`signature`] |
//! | add a setting of an app | [`app`] |
//! | turn a socket id into a client, or back | [`socket_id`] |
//! | know the groups and uids of an app's clients | [`names`] |
//! | publish an event | [`trigger()`] |
//! | serve the HTTP API | [`http`] |
//! | follow one connection | [`Pusher`], in `worker/` |

#![warn(missing_docs, clippy::missing_errors_doc)]

pub mod app;
mod budget;
pub mod channel;
pub mod client_message;
mod connect;
mod counts;
pub mod http;
mod metrics;
pub mod names;
pub mod observer;
mod presence;
pub mod server_message;
pub mod signature;
pub mod socket_id;
mod state;
mod trigger;
pub mod user;
pub mod webhooks;
mod worker;

pub use app::{App, AppEntry, Apps};
pub use channel::Channel;
pub use socket_id::{SocketId, SocketIds};
pub use trigger::{CACHED_FOR, Triggered, trigger};
pub use user::UserId;
pub use worker::Pusher;
