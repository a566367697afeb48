//! Handles the page's messages.

use push_suite_worker::{ClientId, Close, Error, Group, Session};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    client::ChatClient,
    messages::{
        FromPage, MAX_CONTENT, MAX_NAME, MAX_ROOM, Members, Read, Refusal, RoomId, Text, ToPage,
    },
    text::{escape, escape_lines, is_longer},
};

/// The close code of a kicked client (docs/close-codes.md).
const KICKED: u16 = 4403;

/// Why a message was not handled.
#[derive(Debug)]
enum Failed {
    /// The request was refused; the page receives an error.
    Refused(Refusal),
    /// A cluster operation failed.
    Cluster(Error),
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Cluster(error)
    }
}

/// A logged-in client, as stored in its session. The name is already escaped.
#[derive(Debug, Deserialize)]
struct Member {
    client_name: String,
    room_id: RoomId,
    /// When it entered the room, in milliseconds since 1970.
    #[serde(default)]
    entered: i64,
}

impl Member {
    fn of(session: &Session) -> Option<Self> {
        session.read().ok().flatten()
    }

    fn group(&self) -> Result<Group, Refusal> {
        self.room_id.group().ok_or(Refusal::NotLoggedIn)
    }
}

/// Handles a message.
pub(super) async fn on_message(client: &impl ChatClient, message: Read) -> Result<(), Error> {
    let done = match message {
        Read::Message(FromPage::Login { client_name, room_id }) => {
            login(client, client_name, room_id).await
        }
        Read::Message(FromPage::Say { to_client_id, to_client_name, content }) => {
            say(client, &to_client_id.0, &to_client_name.0, &content.0).await
        }
        Read::Message(FromPage::Nick { client_name }) => nick(client, client_name).await,
        Read::Message(FromPage::Kick { client_id }) => kick(client, &client_id.0).await,
        Read::Message(FromPage::Who) => who(client).await,
        Read::Malformed => Err(Refusal::BadRequest.into()),
        Read::Message(FromPage::Pong) | Read::Unknown => Ok(()),
    };
    match done {
        Ok(()) => Ok(()),
        Err(Failed::Refused(refusal)) => client.send_to_self(refusal.message().text()).await,
        Err(Failed::Cluster(error)) => Err(error),
    }
}

/// Announces the logout of a disconnected client.
pub(super) async fn on_close(client: &impl ChatClient) -> Result<(), Error> {
    match Member::of(&client.session()) {
        Some(member) => announce_logout(client, &member).await,
        None => Ok(()),
    }
}

async fn announce_logout(client: &impl ChatClient, member: &Member) -> Result<(), Error> {
    let Ok(group) = member.group() else { return Ok(()) };
    let (from_client_id, time) = (client.me(), client.now());
    let from_client_name = &member.client_name;
    let logout = ToPage::Logout { from_client_id, from_client_name, time: &time };
    client.send_to_group(group, &[from_client_id], logout.text()).await
}

async fn login(client: &impl ChatClient, name: Text, room_id: RoomId) -> Result<(), Failed> {
    let name = checked_name(name)?;
    let group = room_id.group().filter(|_| !is_longer(&room_id.text(), MAX_ROOM));
    let group = group.ok_or(Refusal::BadRequest)?;
    if let Some(before) = Member::of(&client.session()) {
        if let Ok(left) = before.group() {
            client.leave(left).await?;
        }
        announce_logout(client, &before).await?;
    }
    let mut changes = Map::new();
    changes.insert("room_id".to_owned(), room_id.as_given());
    changes.insert("client_name".to_owned(), Value::String(name.clone()));
    changes.insert("entered".to_owned(), client.milliseconds().into());
    client.update_session(changes).await?;
    // Joins before it queries the members, so that of two concurrent logins at least one sees the
    // other.
    client.join(group.clone()).await?;

    let (me, time) = (client.me(), client.now());
    let (client_name, time) = (name.as_str(), time.as_str());
    let login = |room_id, client_list| {
        ToPage::Login { client_id: me, client_name, time, room_id, client_list }.text()
    };
    client.send_to_group(group.clone(), &[me], login(None, None)).await?;
    let mut members = members(client, group).await.unwrap_or_else(|error| {
        // An incomplete list is better than a failed login. The cluster already logs which gateway
        // does not answer, so this is `debug`: it happens with every login.
        tracing::debug!(client = %me, %error, "cannot list the members of the room");
        Members::default()
    });
    if !members.0.iter().any(|(client, _)| *client == me) {
        members.0.push((me, name.clone()));
    }
    client.send_to_self(login(Some(&room_id), Some(&members))).await?;
    Ok(())
}

/// The members of a room that have a name.
async fn members(client: &impl ChatClient, group: Group) -> Result<Members, Error> {
    let sessions = client.sessions(group).await?.into_iter();
    let named = |(client, session)| Some((client, Member::of(&session)?.client_name));
    Ok(Members(sessions.filter_map(named).collect()))
}

async fn say(
    client: &impl ChatClient,
    to_client_id: &str,
    to_client_name: &str,
    content: &str,
) -> Result<(), Failed> {
    let Some(member) = Member::of(&client.session()) else {
        tracing::debug!(client = %client.me(), "message before login");
        return Ok(());
    };
    if is_longer(content, MAX_CONTENT) {
        return Err(Refusal::ContentTooLong.into());
    }
    let (me, time, content) = (client.me(), client.now(), escape_lines(content));
    let say = |to: &str, content: &str| {
        let (from_client_name, time) = (member.client_name.as_str(), time.as_str());
        ToPage::Say { from_client_id: me, from_client_name, to_client_id: to, content, time }.text()
    };
    if to_client_id == "all" {
        client.send_to_group(member.group()?, &[], say("all", &content)).await?;
        return Ok(());
    }
    let (to, name) = recipient(client, &member, to_client_id, to_client_name).await?;
    let id = to.to_string();
    client.send_to(to, say(&id, &format!("<b>对你说: </b>{content}"))).await?;
    client.send_to_self(say(&id, &format!("<b>你对{name}说: </b>{content}"))).await?;
    Ok(())
}

/// Finds a logged-in client by id, or by name in the same room.
async fn recipient(
    client: &impl ChatClient,
    member: &Member,
    id: &str,
    name: &str,
) -> Result<(ClientId, String), Failed> {
    if !id.is_empty() {
        let to: ClientId = id.parse().map_err(|_| Refusal::NoSuchClient)?;
        let session = client.session_of(to).await?.unwrap_or_default();
        let member = Member::of(&session).ok_or(Refusal::NoSuchClient)?;
        return Ok((to, member.client_name));
    }
    if name.is_empty() {
        return Err(Refusal::BadRequest.into());
    }
    let name = escape(name);
    let members = members(client, member.group()?).await?;
    let found = members.0.into_iter().find(|(_, member)| *member == name);
    Ok(found.ok_or(Refusal::NoSuchClient)?)
}

async fn nick(client: &impl ChatClient, name: Text) -> Result<(), Failed> {
    let member = Member::of(&client.session()).ok_or(Refusal::NotLoggedIn)?;
    let (name, group) = (checked_name(name)?, member.group()?);
    let mut changes = Map::new();
    changes.insert("client_name".to_owned(), Value::String(name.clone()));
    client.update_session(changes).await?;
    let (client_id, time) = (client.me(), client.now());
    let (client_name, old_name) = (&name, &member.client_name);
    let nick = ToPage::Nick { client_id, client_name, old_name, time: &time };
    client.send_to_group(group, &[], nick.text()).await?;
    Ok(())
}

/// Closes a member of the same room, with a code after which its page does not reconnect. Allowed
/// for the oldest member of the room only.
async fn kick(client: &impl ChatClient, id: &str) -> Result<(), Failed> {
    let member = Member::of(&client.session()).ok_or(Refusal::NotLoggedIn)?;
    let kicked: ClientId = id.parse().map_err(|_| Refusal::NoSuchClient)?;
    let sessions = client.sessions(member.group()?).await?;
    if !sessions.iter().any(|(client, _)| *client == kicked) {
        return Err(Refusal::NoSuchClient.into());
    }
    let entered = |(client, session): &(_, Session)| Some((Member::of(session)?.entered, *client));
    let first = sessions.iter().filter_map(entered).min();
    if first.is_none_or(|(_, first)| first != client.me()) {
        return Err(Refusal::NotAllowed.into());
    }
    let close = Close::new(KICKED, "kicked").map_err(Error::from)?;
    client.close(kicked, close).await?;
    Ok(())
}

async fn who(client: &impl ChatClient) -> Result<(), Failed> {
    let member = Member::of(&client.session()).ok_or(Refusal::NotLoggedIn)?;
    let members = members(client, member.group()?).await?;
    let who = ToPage::Who { room_id: &member.room_id, client_list: &members };
    client.send_to_self(who.text()).await?;
    Ok(())
}

/// Validates and escapes a name.
fn checked_name(Text(name): Text) -> Result<String, Refusal> {
    match name.trim() {
        "" => Err(Refusal::BadRequest),
        _ if is_longer(&name, MAX_NAME) => Err(Refusal::NameTooLong),
        _ => Ok(escape(&name)),
    }
}

#[cfg(test)]
mod tests;
