//! Messages from a worker or back end to a gateway, decoded from frames.
//!
//! Input that PHP does not validate is handled as follows. PHP treats a name of `''` or `'0'` as no
//! name, so nothing is bound to it. Invalid JSON means all clients for a broadcast, as in
//! GatewayWorker, and no client everywhere else. Values that cannot be a key are skipped. And every
//! query is replied to, since its sender waits for the reply.

use std::fmt;

use bytes::Bytes;
use thiserror::Error;

use super::{
    Frame, Opcode, UnknownOpcode,
    body::Body,
    invalid_request::{InvalidRequest, parse_query},
    names::{connections, distinct, excluded, groups, keys, keys_in, uids},
    reply::{Reply, Shape, empty_list, zero},
    select,
};
use crate::{
    Command, ConnectionId, Group, InvalidName, Message, Query, Recipients, Session, SessionError,
    Uid,
    php::{self, Key, Value, json_decode},
};

/// The content of a frame.
#[derive(Debug)]
pub enum PeerMessage {
    /// The handshake. Nothing else is accepted from an unauthenticated peer, and no reply is sent.
    Hello(Hello),
    /// A command. No reply is sent.
    Command(Command),
    /// A query, and how to encode its reply. Replies are sent in the order of their queries.
    Query(Query, Reply),
    /// The fixed reply to a query that needs no lookup. It is sent in order like any other.
    Reply(Bytes),
    /// A frame without effect.
    Ignored(Ignored),
}

/// The role of a peer, and the secret that it presents.
#[derive(Clone, PartialEq, Eq)]
pub enum Hello {
    /// Receives events. `key` is its name on its own host, `name:id`; empty if it sent none.
    Worker { key: String, secret: String },
    /// A back end: sends commands and queries only.
    Backend { secret: String },
}

/// Why a frame has no effect.
#[derive(Debug, Error)]
pub enum Ignored {
    /// A ping. Pings are not answered.
    #[error("a ping")]
    Ping,
    /// No command has this number.
    #[error(transparent)]
    Unknown(#[from] UnknownOpcode),
    /// A message that only gateways send.
    #[error("a message from a gateway to a worker: {0:?}")]
    NotForGateways(Opcode),
    /// The uid or group is empty to PHP: no bytes, or a lone `0`.
    #[error("the name is empty to PHP")]
    EmptyName,
    /// The uid or group is too long.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// Not a list of names, or an empty one.
    #[error("it has no recipients")]
    NoRecipients,
    /// The body is flagged as framed, but is not text.
    #[error("the body is flagged as framed, but is not text")]
    Unframed,
    /// The session is too long.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// Reads a frame.
///
/// # Errors
/// When the link is to be closed for it.
pub fn read(frame: &Frame) -> Result<PeerMessage, InvalidRequest> {
    match Opcode::try_from(frame.cmd) {
        Ok(opcode) => parse(opcode, frame),
        Err(unknown) => Ok(PeerMessage::Ignored(unknown.into())),
    }
}

fn parse(opcode: Opcode, frame: &Frame) -> Result<PeerMessage, InvalidRequest> {
    let client = ConnectionId(frame.connection_id);
    let ext = &frame.ext_data;
    Ok(match opcode {
        Opcode::WorkerConnect | Opcode::GatewayClientConnect => {
            PeerMessage::Hello(hello(opcode, frame)?)
        }
        Opcode::SendToOne => {
            send_command(frame, |message| Some(Command::SendToClient { to: client, message }))?
        }
        Opcode::SendToAll => send_command(frame, |message| {
            Some(Command::SendToAll { to: recipients(ext), message })
        })?,
        Opcode::SendToUid => send_command(frame, |message| {
            let uids = uids(&keys_in(ext)?);
            (!uids.is_empty()).then_some(Command::SendToUids { uids, message })
        })?,
        Opcode::SendToGroup => send_command(frame, |message| {
            let (groups, exclude) = members(ext)?;
            Some(Command::SendToGroups { groups, exclude, message })
        })?,
        Opcode::Kick => {
            let farewell = match Body::of(frame)? {
                Body::Null => None,
                body => Some(body.into_message()),
            };
            PeerMessage::Command(Command::Close { client, farewell })
        }
        Opcode::Destroy => PeerMessage::Command(Command::Destroy { client }),
        Opcode::BindUid => {
            named(ext, Uid::new, |uid| PeerMessage::Command(Command::BindUid { client, uid }))
        }
        // The uid in the frame is not relevant: the client's own is removed.
        Opcode::UnbindUid => PeerMessage::Command(Command::UnbindUid { client }),
        Opcode::JoinGroup => named(ext, Group::new, |group| {
            PeerMessage::Command(Command::JoinGroup { client, group })
        }),
        Opcode::LeaveGroup => named(ext, Group::new, |group| {
            PeerMessage::Command(Command::LeaveGroup { client, group })
        }),
        Opcode::Ungroup => {
            named(ext, Group::new, |group| PeerMessage::Command(Command::Ungroup { group }))
        }
        Opcode::SetSession => {
            session(ext, |session| Command::SetSession { client, edit: 0, session })
        }
        Opcode::UpdateSession => {
            session(ext, |changes| Command::UpdateSession { client, edit: 0, changes })
        }
        Opcode::IsOnline => query_message(Query::IsOnline { client }, Shape::Online),
        Opcode::GetSessionByClientId => query_message(Query::Session { client }, Shape::Session),
        Opcode::GetAllClientSessions => {
            query_message(Query::Sessions { group: None }, Shape::Sessions)
        }
        Opcode::GetClientSessionsByGroup => match Group::new(ext) {
            Ok(group) => query_message(Query::Sessions { group: Some(group) }, Shape::Sessions),
            Err(_) => PeerMessage::Reply(empty_list()),
        },
        Opcode::GetClientIdByUid => match Uid::new(ext) {
            Ok(uid) => query_message(Query::ClientsOfUids { uids: vec![uid] }, Shape::Clients),
            Err(_) => PeerMessage::Reply(empty_list()),
        },
        Opcode::BatchGetClientIdByUid => {
            let names = distinct(listed(ext)?);
            query_message(Query::ClientsOfUids { uids: uids(&names) }, Shape::ClientsOf(names))
        }
        Opcode::GetClientCountByGroup => match Group::new(ext) {
            Ok(group) => query_message(Query::Count { group: Some(group) }, Shape::Count),
            Err(InvalidName::Empty) => query_message(Query::Count { group: None }, Shape::Count),
            Err(InvalidName::TooLong(_)) => PeerMessage::Reply(zero()),
        },
        Opcode::BatchGetClientCountByGroup => {
            let names = distinct(listed(ext)?);
            query_message(Query::Counts { groups: groups(&names) }, Shape::Counts(names))
        }
        Opcode::Select => match select::read(ext)? {
            Some((query, columns)) => query_message(query, Shape::Rows(columns)),
            None => PeerMessage::Reply(empty_list()),
        },
        Opcode::GetGroupIdList => query_message(Query::Groups, Shape::Groups),
        Opcode::Ping => PeerMessage::Ignored(Ignored::Ping),
        Opcode::OnConnect | Opcode::OnMessage | Opcode::OnClose | Opcode::OnWebsocketConnect => {
            PeerMessage::Ignored(Ignored::NotForGateways(opcode))
        }
    })
}

/// The names that a query lists; none if PHP cannot read the JSON either.
fn listed(text: &Bytes) -> Result<Vec<Key>, InvalidRequest> {
    let value = parse_query(text)?;
    Ok(value.as_ref().and_then(Value::as_array).map(keys).unwrap_or_default())
}

fn query_message(query: Query, shape: Shape) -> PeerMessage {
    PeerMessage::Query(query, Reply::new(shape))
}

/// A command with the frame's body as its message; `command` returns `None` if it has no
/// recipients.
fn send_command(
    frame: &Frame,
    command: impl FnOnce(Message) -> Option<Command>,
) -> Result<PeerMessage, InvalidRequest> {
    let message = match (Body::of(frame)?, frame.body_is_framed()) {
        (Body::Text(body), true) => Message::raw(body),
        (Body::Null | Body::Json(_), true) => return Ok(PeerMessage::Ignored(Ignored::Unframed)),
        (body, false) => body.into_message(),
    };
    Ok(command(message).map_or(PeerMessage::Ignored(Ignored::NoRecipients), PeerMessage::Command))
}

/// The recipients of a broadcast: the values of `connections`, or all but the keys of `exclude`.
fn recipients(text: &Bytes) -> Recipients {
    let targets = json_decode(text).unwrap_or(Value::Null);
    let Some(targets) = targets.as_array() else {
        return Recipients::All;
    };
    match targets.get_str("connections") {
        Some(Value::Array(only)) => Recipients::Only(connections(keys(only))),
        Some(Value::Null) | None => match excluded(targets.get_str("exclude")) {
            none if none.is_empty() => Recipients::All,
            exclude => Recipients::Except(exclude),
        },
        Some(_) => Recipients::Only(Vec::new()),
    }
}

/// The groups that receive a message, and the clients that do not.
fn members(text: &Bytes) -> Option<(Vec<Group>, Vec<ConnectionId>)> {
    let targets = json_decode(text).ok()?;
    let targets = targets.as_array()?;
    let groups = groups(&keys(targets.get_str("group")?.as_array()?));
    (!groups.is_empty()).then(|| (groups, excluded(targets.get_str("exclude"))))
}

/// A message about one name, which PHP treats as empty if it has no bytes or is a lone `0`.
fn named<T>(
    name: &Bytes,
    new: impl FnOnce(Bytes) -> Result<T, InvalidName>,
    message: impl FnOnce(T) -> PeerMessage,
) -> PeerMessage {
    if php::is_empty(name) {
        return PeerMessage::Ignored(Ignored::EmptyName);
    }
    new(name.clone()).map_or_else(|error| PeerMessage::Ignored(error.into()), message)
}

/// The session is copied, since it outlives the read buffer.
fn session(text: &Bytes, command: impl FnOnce(Session) -> Command) -> PeerMessage {
    match Session::from_php(Bytes::copy_from_slice(text)) {
        Ok(session) => PeerMessage::Command(command(session)),
        Err(error) => PeerMessage::Ignored(error.into()),
    }
}

fn hello(opcode: Opcode, frame: &Frame) -> Result<Hello, InvalidRequest> {
    let Body::Text(body) = Body::of(frame).map_err(|_| InvalidRequest::Hello)? else {
        return Err(InvalidRequest::Hello);
    };
    let fields = json_decode(&body).map_err(|_| InvalidRequest::Hello)?;
    let fields = fields.as_array().ok_or(InvalidRequest::Hello)?;
    let secret = match fields.get_str("secret_key") {
        Some(Value::Str(secret)) => utf8(secret)?,
        _ => return Err(InvalidRequest::Hello),
    };
    if opcode == Opcode::GatewayClientConnect {
        return Ok(Hello::Backend { secret });
    }
    let key = match fields.get_str("worker_key") {
        None => Key::from(""),
        Some(key) => key.as_key().ok_or(InvalidRequest::Hello)?,
    };
    Ok(Hello::Worker { key: utf8(&key.to_text())?, secret })
}

fn utf8(text: &[u8]) -> Result<String, InvalidRequest> {
    std::str::from_utf8(text).map(str::to_owned).map_err(|_| InvalidRequest::Hello)
}

impl Hello {
    /// The secret that was presented. It is sent in the clear.
    pub fn secret(&self) -> &str {
        match self {
            Self::Worker { secret, .. } | Self::Backend { secret } => secret,
        }
    }
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker { key, .. } => write!(f, "Worker({key:?})"),
            Self::Backend { .. } => f.write_str("Backend"),
        }
    }
}
