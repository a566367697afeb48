//! What our processes say to each other, and how it looks as bytes.
//!
//! Pure: no I/O, no clock, no log, no randomness of its own. The vocabulary (ids, events, commands,
//! queries and their answers) knows nothing of bytes; the modules of [`codec`] know nothing of
//! sockets. Two languages are spoken on the inner port, and this one vocabulary is behind both.
//!
//! In reading order:

pub mod bounded;
pub mod id;
pub mod instance;
pub mod name;

pub mod php;

pub mod message;
pub mod session;

pub mod command;
pub mod event;
pub mod query;

pub mod discovery;
pub mod handshake;
pub mod link;
pub mod secret;
pub mod standby;

pub mod codec;

pub use command::{Command, Recipients};
pub use event::{CloseReason, Context, Event, Handshake};
pub use id::{ClientId, ConnectionId, InvalidClientId};
pub use instance::{Instance, InvalidInstance};
pub use message::{Message, MessageKind};
pub use name::{Group, InvalidName, Uid};
pub use query::{Answer, Fields, Filter, Query, Row};
pub use secret::Secret;
pub use session::{Form, Session, SessionError};
