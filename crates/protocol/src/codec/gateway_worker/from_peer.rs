//! What a worker or back end says to a gateway, read from a frame into our own words.
//!
//! What PHP leaves to chance is settled here. A name of `''` or `'0'` is none to PHP, so nothing is
//! bound to it. JSON that is none means "to all" for a broadcast, as it does there, and "to nobody"
//! everywhere else. What could be no key is left out. And whatever asks for something gets a reply,
//! since its sender waits for one.

use std::fmt;

use bytes::Bytes;
use thiserror::Error;

use super::{
    Frame, Opcode, UnknownOpcode,
    body::Body,
    names::{connections, distinct, excluded, groups, keys, keys_in, uids},
    reply::{Reply, Shape, empty_list, zero},
    select,
};
use crate::{
    Command, ConnectionId, Group, InvalidName, Message, MessageKind, Query, Recipients, Session,
    SessionError, Uid,
    php::{self, JsonDecodeError, Key, Value, json_decode},
};

/// What a frame says.
#[derive(Debug)]
pub enum Said {
    /// Who the peer is. Nothing else is taken of a stranger, and no reply is sent.
    Hello(Hello),
    /// Something to do. No reply is sent.
    Command(Command),
    /// Something to ask, and how to reply. Replies go out in the order of their queries.
    Query(Query, Reply),
    /// A query whose reply is known already. It waits for its turn all the same.
    Reply(Bytes),
    /// Nothing to do.
    Ignored(Ignored),
}

/// Who a peer is, and the secret that it shows.
#[derive(Clone, PartialEq, Eq)]
pub enum Hello {
    /// Events come to it. `key` is what its own host calls it, `name:id`; empty if it did not say.
    Worker { key: String, secret: String },
    /// It only commands and asks.
    Client { secret: String },
}

/// Why a frame is of no consequence.
#[derive(Debug, Error)]
pub enum Ignored {
    /// A ping. Nobody answers those.
    #[error("a ping")]
    Ping,
    /// No command has this number.
    #[error(transparent)]
    Unknown(#[from] UnknownOpcode),
    /// Only gateways say this.
    #[error("what a gateway says to workers: {0:?}")]
    NotForGateways(Opcode),
    /// The uid or group is none: empty, a lone `0`, or too long.
    #[error("the name is empty, to PHP")]
    EmptyName,
    /// The uid or group is too long.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// No list of names, or none with names.
    #[error("it is for nobody")]
    Nobody,
    /// The body is said to be framed already, and is not even text.
    #[error("an array is framed for no client")]
    Unframed,
    /// The session is too long.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// A frame that ends its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// A peer introduces itself without a secret in it, which is not the same as an empty one.
    #[error("an introduction without a secret")]
    Hello,
    /// The body unfolds to more than a message may have.
    #[error("a body of more than {limit} bytes of JSON")]
    Body { limit: usize },
    /// A question that PHP would read, and that is beyond our limits: an empty reply would be taken for
    /// the answer.
    #[error("a question in JSON: {0}")]
    Question(JsonDecodeError),
}

/// Reads a frame.
///
/// # Errors
/// When the link is to be closed for it.
pub fn read(frame: &Frame) -> Result<Said, Refused> {
    match Opcode::try_from(frame.cmd) {
        Ok(opcode) => understood(opcode, frame),
        Err(unknown) => Ok(Said::Ignored(unknown.into())),
    }
}

fn understood(opcode: Opcode, frame: &Frame) -> Result<Said, Refused> {
    let client = ConnectionId(frame.connection_id);
    let ext = &frame.ext_data;
    Ok(match opcode {
        Opcode::WorkerConnect | Opcode::GatewayClientConnect => Said::Hello(hello(opcode, frame)?),
        Opcode::SendToOne => {
            sending(frame, |message| Some(Command::SendToClient { to: client, message }))?
        }
        Opcode::SendToAll => {
            sending(frame, |message| Some(Command::SendToAll { to: recipients(ext), message }))?
        }
        Opcode::SendToUid => sending(frame, |message| {
            let uids = uids(&keys_in(ext)?);
            (!uids.is_empty()).then_some(Command::SendToUids { uids, message })
        })?,
        Opcode::SendToGroup => sending(frame, |message| {
            let (groups, exclude) = members(ext)?;
            Some(Command::SendToGroups { groups, exclude, message })
        })?,
        Opcode::Kick => {
            let farewell = match Body::of(frame)? {
                Body::Null => None,
                body => Some(body.into_message()),
            };
            Said::Command(Command::Close { client, farewell })
        }
        Opcode::Destroy => Said::Command(Command::Destroy { client }),
        Opcode::BindUid => {
            named(ext, Uid::new, |uid| Said::Command(Command::BindUid { client, uid }))
        }
        // Which uid it names does not matter: whichever the client has is taken away.
        Opcode::UnbindUid => Said::Command(Command::UnbindUid { client }),
        Opcode::JoinGroup => {
            named(ext, Group::new, |group| Said::Command(Command::JoinGroup { client, group }))
        }
        Opcode::LeaveGroup => {
            named(ext, Group::new, |group| Said::Command(Command::LeaveGroup { client, group }))
        }
        Opcode::Ungroup => {
            named(ext, Group::new, |group| Said::Command(Command::Ungroup { group }))
        }
        Opcode::SetSession => {
            session(ext, |session| Command::SetSession { client, edit: 0, session })
        }
        Opcode::UpdateSession => {
            session(ext, |changes| Command::UpdateSession { client, edit: 0, changes })
        }
        Opcode::IsOnline => asking(Query::IsOnline { client }, Shape::Online),
        Opcode::GetSessionByClientId => asking(Query::Session { client }, Shape::Session),
        Opcode::GetAllClientSessions => asking(Query::Sessions { group: None }, Shape::Sessions),
        Opcode::GetClientSessionsByGroup => match Group::new(ext) {
            Ok(group) => asking(Query::Sessions { group: Some(group) }, Shape::Sessions),
            Err(_) => Said::Reply(empty_list()),
        },
        Opcode::GetClientIdByUid => match Uid::new(ext) {
            Ok(uid) => asking(Query::ClientsOfUids { uids: vec![uid] }, Shape::Clients),
            Err(_) => Said::Reply(empty_list()),
        },
        Opcode::BatchGetClientIdByUid => {
            let asked = distinct(asked(ext)?);
            asking(Query::ClientsOfUids { uids: uids(&asked) }, Shape::ClientsOf(asked))
        }
        Opcode::GetClientCountByGroup => match Group::new(ext) {
            Ok(group) => asking(Query::Count { group: Some(group) }, Shape::Count),
            Err(InvalidName::Empty) => asking(Query::Count { group: None }, Shape::Count),
            Err(InvalidName::TooLong(_)) => Said::Reply(zero()),
        },
        Opcode::BatchGetClientCountByGroup => {
            let asked = distinct(asked(ext)?);
            asking(Query::Counts { groups: groups(&asked) }, Shape::Counts(asked))
        }
        Opcode::Select => match select::read(ext)? {
            Some((query, columns)) => asking(query, Shape::Rows(columns)),
            None => Said::Reply(empty_list()),
        },
        Opcode::GetGroupIdList => asking(Query::Groups, Shape::Groups),
        Opcode::Ping => Said::Ignored(Ignored::Ping),
        Opcode::OnConnect | Opcode::OnMessage | Opcode::OnClose | Opcode::OnWebsocketConnect => {
            Said::Ignored(Ignored::NotForGateways(opcode))
        }
    })
}

/// The names that a question lists. What is no JSON to PHP either lists none.
fn asked(text: &Bytes) -> Result<Vec<Key>, Refused> {
    let value = question(text)?;
    Ok(value.as_ref().and_then(Value::as_array).map(keys).unwrap_or_default())
}

/// A question in JSON; `None` where PHP reads none either.
pub(super) fn question(text: &Bytes) -> Result<Option<Value>, Refused> {
    match json_decode(text) {
        Ok(value) => Ok(Some(value)),
        Err(JsonDecodeError::Syntax { .. }) => Ok(None),
        Err(limit @ (JsonDecodeError::TooDeep | JsonDecodeError::TooMany)) => {
            Err(Refused::Question(limit))
        }
    }
}

fn asking(query: Query, shape: Shape) -> Said {
    Said::Query(query, Reply::new(shape))
}

/// A command with the frame's body as its message; `None` of `command` where nobody gets it.
fn sending(
    frame: &Frame,
    command: impl FnOnce(Message) -> Option<Command>,
) -> Result<Said, Refused> {
    let message = match (Body::of(frame)?, frame.body_is_framed()) {
        (Body::Text(body), true) => Message { kind: MessageKind::Raw, body },
        (Body::Null | Body::Json(_), true) => return Ok(Said::Ignored(Ignored::Unframed)),
        (body, false) => body.into_message(),
    };
    Ok(command(message).map_or(Said::Ignored(Ignored::Nobody), Said::Command))
}

/// To whom a broadcast goes: the values of `connections`, or all but the keys of `exclude`.
fn recipients(text: &Bytes) -> Recipients {
    let targets = json_decode(text).unwrap_or(Value::Null);
    let Some(targets) = targets.as_array() else {
        return Recipients::All;
    };
    match targets.get_str("connections") {
        Some(Value::Array(only)) => Recipients::Only(connections(keys(only))),
        Some(Value::Null) | None => match excluded(targets.get_str("exclude")) {
            nobody if nobody.is_empty() => Recipients::All,
            exclude => Recipients::Except(exclude),
        },
        Some(_) => Recipients::Only(Vec::new()),
    }
}

/// The groups that a message goes to, and the clients that do not get it.
fn members(text: &Bytes) -> Option<(Vec<Group>, Vec<ConnectionId>)> {
    let targets = json_decode(text).ok()?;
    let targets = targets.as_array()?;
    let groups = groups(&keys(targets.get_str("group")?.as_array()?));
    (!groups.is_empty()).then(|| (groups, excluded(targets.get_str("exclude"))))
}

/// Something about one name, which PHP takes for none if it is empty or a lone `0`.
fn named<T>(
    name: &Bytes,
    new: impl FnOnce(Bytes) -> Result<T, InvalidName>,
    say: impl FnOnce(T) -> Said,
) -> Said {
    if php::is_empty(name) {
        return Said::Ignored(Ignored::EmptyName);
    }
    new(name.clone()).map_or_else(|error| Said::Ignored(error.into()), say)
}

/// The session is copied out of the buffer that it came in, since it stays.
fn session(text: &Bytes, command: impl FnOnce(Session) -> Command) -> Said {
    match Session::from_php(Bytes::copy_from_slice(text)) {
        Ok(session) => Said::Command(command(session)),
        Err(error) => Said::Ignored(error.into()),
    }
}

fn hello(opcode: Opcode, frame: &Frame) -> Result<Hello, Refused> {
    let Body::Text(body) = Body::of(frame).map_err(|_| Refused::Hello)? else {
        return Err(Refused::Hello);
    };
    let said = json_decode(&body).map_err(|_| Refused::Hello)?;
    let said = said.as_array().ok_or(Refused::Hello)?;
    let secret = match said.get_str("secret_key") {
        Some(Value::Str(secret)) => utf8(secret)?,
        _ => return Err(Refused::Hello),
    };
    if opcode == Opcode::GatewayClientConnect {
        return Ok(Hello::Client { secret });
    }
    let key = match said.get_str("worker_key") {
        None => Key::from(""),
        Some(key) => key.as_key().ok_or(Refused::Hello)?,
    };
    Ok(Hello::Worker { key: utf8(&key.to_text())?, secret })
}

fn utf8(text: &[u8]) -> Result<String, Refused> {
    std::str::from_utf8(text).map(str::to_owned).map_err(|_| Refused::Hello)
}

impl Hello {
    /// The secret that was shown. It is sent in the clear.
    pub fn secret(&self) -> &str {
        match self {
            Self::Worker { secret, .. } | Self::Client { secret } => secret,
        }
    }
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker { key, .. } => write!(f, "Worker({key:?})"),
            Self::Client { .. } => f.write_str("Client"),
        }
    }
}
