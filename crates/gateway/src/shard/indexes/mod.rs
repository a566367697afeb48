//! The indexes of a shard: its clients by connection id, uid and group, and their sessions.
//!
//! Values: nothing here refers to connections.

mod directory;
mod memberships;
mod roster;
mod stored_session;
mod token_holders;

pub(super) use self::{
    directory::{Client, Directory},
    token_holders::{Expiry, TokenHolders},
};
