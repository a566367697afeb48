//! Messages from a gateway to a worker: events, and pings.

use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;

use super::{BODY_IS_SCALAR, Frame, HEADER, MAX_FRAME, Opcode, TooLarge, handshake};
use crate::{ConnectionId, Event, Session};

/// The client of an event, and how it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The inner address that the gateway announces: the one in its client ids.
    pub gateway: SocketAddr,
    /// The client's address.
    pub remote: SocketAddr,
    /// The client.
    pub connection: ConnectionId,
    /// The port of the listener that accepted it.
    pub listener_port: u16,
}

/// Appends an event, with the client's session in PHP's form. The protocol cannot express the close
/// reason, which is omitted, nor [`Event::Reassigned`] and
/// [`Event::Expiring`], for which nothing is appended.
///
/// # Errors
/// When session and event together are longer than a worker accepts; `out` is unchanged then.
pub fn event(
    origin: &Origin,
    session: &Session,
    event: &Event,
    out: &mut BytesMut,
) -> Result<(), TooLarge> {
    let handshake;
    let (opcode, flag, body): (_, _, &[u8]) = match event {
        Event::Connect => (Opcode::OnConnect, BODY_IS_SCALAR, b""),
        Event::WebSocketConnect(request) | Event::WebSocketRequest(request) => {
            handshake = handshake::body(request, canonical(origin.remote), origin.listener_port);
            (Opcode::OnWebsocketConnect, 0, &handshake)
        }
        Event::Message(message) => (Opcode::OnMessage, BODY_IS_SCALAR, &message.body),
        Event::Close(_) | Event::Closed(_) => (Opcode::OnClose, BODY_IS_SCALAR, b""),
        // Nothing is lost: a PHP worker receives all client data with each event.
        // Its application cannot renew a connection.
        Event::Reassigned | Event::Expiring { .. } => return Ok(()),
    };
    let header = Frame {
        cmd: opcode.into(),
        local_ip: ipv4(origin.gateway),
        local_port: origin.gateway.port(),
        client_ip: ipv4(origin.remote),
        client_port: origin.remote.port(),
        connection_id: origin.connection.0,
        flag,
        gateway_port: origin.listener_port,
        ..Frame::default()
    };
    header.encode_parts(&session.to_php(), body, out)
}

/// Appends a ping. Workers expect pings from gateways on other hosts, and never answer; a back end
/// would read one as a reply.
pub fn ping(out: &mut BytesMut) {
    let ping = Frame { cmd: Opcode::Ping.into(), flag: BODY_IS_SCALAR, ..Frame::default() };
    ping.encode(out).expect("a header alone is no longer than a frame may be");
}

/// The longest message, in bytes, that fits in a frame with this session.
pub fn room(session: &Session) -> usize {
    MAX_FRAME - HEADER - session.to_php().len().min(MAX_FRAME - HEADER)
}

/// The address as a number; 0 for IPv6, which the header cannot hold.
fn ipv4(address: SocketAddr) -> u32 {
    match canonical(address).ip() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(_) => 0,
    }
}

/// Converts IPv4-mapped IPv6, which dual-stack listeners report, to IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
