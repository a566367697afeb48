//! Webhooks: events of clients as HTTP requests, signed, in order for each client, and retried.
//!
//! | I want to… | Look at |
//! |---|---|
//! | send requests to a receiver, in order and retried | [`engine::Engine`] |
//! | sign a request as Standard Webhooks does | [`signature`] |

pub mod circuit;
pub mod engine;
pub mod lanes;
pub mod schedule;
pub mod signature;
pub mod url;
pub mod verdict;
