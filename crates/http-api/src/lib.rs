//! The push API over HTTP: sends, queries and changes of a cluster, for back ends in any language.

pub mod bytes_text;
mod failure;
mod keys;
pub mod limits;
mod name;
mod operation;
mod schema;

pub use failure::{Code, ErrorBody, ErrorDetails, Failure};
pub use keys::{Caller, Key, Keys, MAX_KEYS, MAX_NAME, Scope};
pub use name::Name;
pub use operation::{
    Applied, BindUid, Close, CloseUid, Closed, Content, Delivery, Exclusion, Membership, Operation,
    Outcome, RemoveSessionKeys, Removed, Revoke, Send, SetSession, SwapSession, To, UidMembership,
    UnbindUid, Ungroup, Wait, Yes,
};
