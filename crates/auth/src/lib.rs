//! Tokens of clients (JSON Web Tokens): where they travel in a handshake, the keys that sign them,
//! what they state, and which are revoked.
//!
//! Values without I/O, clock or log: the caller reads the files and passes the time. The signatures
//! are those of `jsonwebtoken`, with aws-lc.

mod claims;
mod keys;
mod location;
mod rejection;
mod revocations;
mod sign;
mod verify;

pub use claims::{Claims, Identity, MAX_GROUPS, MAX_SESSION};
pub use keys::{InvalidKeys, Keys};
pub use location::{Found, Location, SUBPROTOCOL, take};
pub use rejection::Rejection;
pub use revocations::{Full, MAX_REVOCATIONS, Revocations};
pub use sign::{InvalidSigner, Signer};
pub use verify::{LEEWAY, Rules};
