//! The WebSocket protocol of RFC 6455, server side, without I/O.
//!
//! Uses the frame header code of `tungstenite`, but not its connection type, which keeps a read and
//! a write buffer that never shrink for the lifetime of the connection. Buffers here exist only
//! while bytes are in flight.

mod decoder;
mod deflate;
mod encode;
mod extension;
mod handshake;
mod upgrade;

pub use decoder::Decoder;
pub(super) use decoder::Rules;
pub use deflate::{Deflater, Inflated, Inflater};
pub use encode::{close_frame, close_frame_with, ping_frame, pong_frame, retry_after_frame};
pub(super) use encode::{deflated_frame, message_frame};
pub use extension::PerMessageDeflate;
pub use handshake::{HandshakePolicy, Refusal, Reply, evaluate, not_a_websocket};
pub use upgrade::{Upgrade, refused};
