//! Webhooks: events of clients as HTTP requests, signed, in order for each client, and retried.
//!
//! | I want to… | Look at |
//! |---|---|
//! | send requests to a receiver, in order and retried | [`engine::Engine`] |
//! | sign a request as Standard Webhooks does | [`signature`] |
//! | see the headers of events, their bodies, and the answers | [`cloudevents`], [`bodies`], [`answer`] |
//! | follow an event of a client | [`Webhook`], the app |

pub mod answer;
mod app;
pub mod bodies;
pub mod circuit;
mod client_state;
pub mod cloudevents;
pub mod engine;
pub mod lanes;
pub mod schedule;
pub mod settings;
pub mod signature;
pub mod url;
pub mod verdict;

pub use app::{REFUSED, UNAVAILABLE, Webhook};
pub use settings::{Hook, Hooks};
