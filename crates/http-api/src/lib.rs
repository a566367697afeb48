//! The push API over HTTP: sends, queries and changes of a cluster, for back ends in any language.
//!
//! [`routes`] makes the paths of an [`Api`], and [`serve`] serves them, with those of others merged
//! into the same router. [`Operation`] is a command of the API as a value, which other parts can
//! execute as well.

mod api;
mod body;
pub mod bytes_text;
mod enter;
mod failure;
mod keys;
pub mod limits;
mod metrics;
mod name;
mod operation;
mod page;
mod query;
pub mod replays;
mod routes;
mod schema;
mod server;

pub use api::Api;
pub use body::read_body;
pub use enter::not_found;
pub use failure::{Code, ErrorBody, ErrorDetails, Failure};
pub use keys::{Caller, Key, Keys, MAX_KEYS, MAX_NAME, Scope};
pub use metrics::Metrics;
pub use name::Name;
pub use operation::{
    Applied, BindUid, Close, CloseUid, Closed, Content, Delivery, Exclusion, Membership, Operation,
    Outcome, RemoveSessionKeys, Removed, Revoke, Send, SetSession, SwapSession, To, UidMembership,
    UnbindUid, Ungroup, Wait, Yes,
};
pub use routes::{document, routes};
pub use server::serve;
