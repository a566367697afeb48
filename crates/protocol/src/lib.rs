//! The messages that the processes exchange, and their wire formats.
//!
//! Pure: no I/O, no clock, no log, no randomness of its own. The message types (ids, events,
//! commands, queries and their answers) are independent of the wire formats; the modules of
//! [`codec`] are independent of sockets. The inner port supports two protocols, the native one and
//! GatewayWorker's; both map to the same message types.
//!
//! In reading order:

pub mod bounded;
pub mod id;
pub mod instance;
pub mod name;

pub mod php;

pub mod close;
pub mod close_codes;
pub mod message;
pub mod retained;
pub mod session;

pub mod command;
pub mod event;
pub mod query;

pub mod discovery;
pub mod grant;
pub mod handshake;
pub mod inspect;
pub mod link;
pub mod presence;
pub mod rendezvous;
mod role;
pub mod secret;
pub mod standby;
pub mod stream;
pub mod streaming;
pub mod token;
pub mod uid_limit;
pub mod watched_uid;

pub mod codec;

pub use close::{Close, CloseFrame, InvalidClose};
pub use close_codes::{CloseCodes, CloseKind};
pub use command::{Command, Excluded, Recipients, Target};
pub use event::{CloseInfo, CloseReason, Context, Event, Handshake, Header};
pub use grant::{Grant, InvalidAnswer, Refusal};
pub use id::{ClientId, ConnectionId, InvalidClientId};
pub use instance::{InstanceId, InvalidInstance};
pub use message::{Message, MessageKind};
pub use name::{Group, InvalidName, TokenId, Uid};
pub use presence::{
    InvalidPresence, LocalMember, Member, MemberChange, MemberId, Part, PresenceAnswer,
    PresenceNotified, PresenceReport, Snapshot,
};
pub use query::{Answer, Effect, Fields, Filter, Query, Row, Swap};
pub use retained::{Retained, Retention};
pub use secret::Secret;
pub use session::{Form, Session, SessionError};
pub use stream::{Epoch, InvalidStream, Position, StreamName};
pub use token::{AccessToken, InvalidToken, Renewal, Revocation, TokenError};
pub use uid_limit::{Binding, Keep, UidLimit};
