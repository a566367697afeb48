//! The WebSocket protocol of RFC 6455, server side, without I/O.
//!
//! The library's framing parts under buffers of our own: its connection type keeps a read and a
//! write buffer for as long as the connection lives, and they never shrink; ours exist only while
//! bytes are in flight.

mod decoder;
mod encode;
mod handshake;

pub(crate) use decoder::Decoder;
pub(super) use encode::message_frame;
pub(crate) use encode::{PING, close_frame, come_back_frame, pong_frame};
pub(crate) use handshake::{Refusal, Reply, Terms, judge, not_a_websocket};
