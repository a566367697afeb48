//! What each message of the page does.

use business_worker::{ClientId, Error, Group, Session};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    messages::{
        FromPage, MAX_CONTENT, MAX_NAME, MAX_ROOM, People, Read, Refusal, RoomId, Text, ToPage,
    },
    place::Place,
    text::{escape, escape_lines, is_longer},
};

/// Why a message was not carried out.
#[derive(Debug)]
enum Failed {
    /// The page asked for what it may not have, and is told so.
    Refused(Refusal),
    /// The cluster could not do it.
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

/// Somebody who is logged in, as the session has it. Its name is escaped already.
#[derive(Debug, Deserialize)]
struct Member {
    client_name: String,
    room_id: RoomId,
}

impl Member {
    fn of(session: &Session) -> Option<Self> {
        serde_json::from_value(Value::Object(session.decode().ok()?)).ok()
    }

    fn group(&self) -> Result<Group, Refusal> {
        self.room_id.group().ok_or(Refusal::NotLoggedIn)
    }
}

/// Does what a message asks for.
pub(super) async fn on_message(place: &impl Place, message: Read) -> Result<(), Error> {
    let done = match message {
        Read::Message(FromPage::Login { client_name, room_id }) => {
            login(place, client_name, room_id).await
        }
        Read::Message(FromPage::Say { to_client_id, to_client_name, content }) => {
            say(place, &to_client_id.0, &to_client_name.0, &content.0).await
        }
        Read::Message(FromPage::Nick { client_name }) => nick(place, client_name).await,
        Read::Message(FromPage::Who) => who(place).await,
        Read::Malformed => Err(Refusal::BadRequest.into()),
        Read::Message(FromPage::Pong) | Read::Unknown => Ok(()),
    };
    match done {
        Ok(()) => Ok(()),
        Err(Failed::Refused(refusal)) => place.tell_me(refusal.message().text()).await,
        Err(Failed::Cluster(error)) => Err(error),
    }
}

/// Says goodbye for a client that is gone.
pub(super) async fn on_close(place: &impl Place) -> Result<(), Error> {
    match Member::of(&place.session()) {
        Some(member) => say_goodbye(place, &member).await,
        None => Ok(()),
    }
}

async fn say_goodbye(place: &impl Place, member: &Member) -> Result<(), Error> {
    let Ok(group) = member.group() else { return Ok(()) };
    let (from_client_id, time) = (place.me(), place.now());
    let from_client_name = &member.client_name;
    let logout = ToPage::Logout { from_client_id, from_client_name, time: &time };
    place.tell_group(group, &[from_client_id], logout.text()).await
}

async fn login(place: &impl Place, name: Text, room_id: RoomId) -> Result<(), Failed> {
    let name = checked_name(name)?;
    let group = room_id.group().filter(|_| !is_longer(&room_id.text(), MAX_ROOM));
    let group = group.ok_or(Refusal::BadRequest)?;
    if let Some(before) = Member::of(&place.session()) {
        if let Ok(left) = before.group() {
            place.leave(left).await?;
        }
        say_goodbye(place, &before).await?;
    }
    let mut changes = Map::new();
    changes.insert("room_id".to_owned(), room_id.as_given());
    changes.insert("client_name".to_owned(), Value::String(name.clone()));
    place.remember(changes).await?;
    // Before asking who is there, so that of two who enter at once at least one sees the other.
    place.join(group.clone()).await?;

    let (me, time) = (place.me(), place.now());
    let (client_name, time) = (name.as_str(), time.as_str());
    let login = |room_id, client_list| {
        ToPage::Login { client_id: me, client_name, time, room_id, client_list }.text()
    };
    place.tell_group(group.clone(), &[me], login(None, None)).await?;
    let mut people = people(place, group).await.unwrap_or_else(|error| {
        // Better in the room with a short list than not in it. Which gateway does not answer is in the
        // log already, and this happens with every login.
        tracing::debug!(client = %me, %error, "cannot tell who is in the room");
        People::default()
    });
    if !people.0.iter().any(|(client, _)| *client == me) {
        people.0.push((me, name.clone()));
    }
    place.tell_me(login(Some(&room_id), Some(&people))).await?;
    Ok(())
}

/// Everyone in a room who has a name.
async fn people(place: &impl Place, group: Group) -> Result<People, Error> {
    let sessions = place.sessions(group).await?.into_iter();
    let named = |(client, session)| Some((client, Member::of(&session)?.client_name));
    Ok(People(sessions.filter_map(named).collect()))
}

async fn say(
    place: &impl Place,
    to_client_id: &str,
    to_client_name: &str,
    content: &str,
) -> Result<(), Failed> {
    let Some(member) = Member::of(&place.session()) else {
        tracing::debug!(client = %place.me(), "says something before it has logged in");
        return Ok(());
    };
    if is_longer(content, MAX_CONTENT) {
        return Err(Refusal::ContentTooLong.into());
    }
    let (me, time, content) = (place.me(), place.now(), escape_lines(content));
    let say = |to: &str, content: &str| {
        let (from_client_name, time) = (member.client_name.as_str(), time.as_str());
        ToPage::Say { from_client_id: me, from_client_name, to_client_id: to, content, time }.text()
    };
    if to_client_id == "all" {
        place.tell_group(member.group()?, &[], say("all", &content)).await?;
        return Ok(());
    }
    let (to, name) = addressee(place, &member, to_client_id, to_client_name).await?;
    let id = to.to_string();
    place.tell(to, say(&id, &format!("<b>对你说: </b>{content}"))).await?;
    place.tell_me(say(&id, &format!("<b>你对{name}说: </b>{content}"))).await?;
    Ok(())
}

/// One who is logged in, by id, or by name in the same room.
async fn addressee(
    place: &impl Place,
    member: &Member,
    id: &str,
    name: &str,
) -> Result<(ClientId, String), Failed> {
    if !id.is_empty() {
        let to: ClientId = id.parse().map_err(|_| Refusal::NoSuchClient)?;
        let session = place.session_of(to).await?.unwrap_or_default();
        let there = Member::of(&session).ok_or(Refusal::NoSuchClient)?;
        return Ok((to, there.client_name));
    }
    if name.is_empty() {
        return Err(Refusal::BadRequest.into());
    }
    let name = escape(name);
    let people = people(place, member.group()?).await?;
    let found = people.0.into_iter().find(|(_, called)| *called == name);
    Ok(found.ok_or(Refusal::NoSuchClient)?)
}

async fn nick(place: &impl Place, name: Text) -> Result<(), Failed> {
    let member = Member::of(&place.session()).ok_or(Refusal::NotLoggedIn)?;
    let (name, group) = (checked_name(name)?, member.group()?);
    let mut changes = Map::new();
    changes.insert("client_name".to_owned(), Value::String(name.clone()));
    place.remember(changes).await?;
    let (client_id, time) = (place.me(), place.now());
    let (client_name, old_name) = (&name, &member.client_name);
    let nick = ToPage::Nick { client_id, client_name, old_name, time: &time };
    place.tell_group(group, &[], nick.text()).await?;
    Ok(())
}

async fn who(place: &impl Place) -> Result<(), Failed> {
    let member = Member::of(&place.session()).ok_or(Refusal::NotLoggedIn)?;
    let people = people(place, member.group()?).await?;
    let who = ToPage::Who { room_id: &member.room_id, client_list: &people };
    place.tell_me(who.text()).await?;
    Ok(())
}

/// A name that may be taken, escaped.
fn checked_name(Text(name): Text) -> Result<String, Refusal> {
    match name.trim() {
        "" => Err(Refusal::BadRequest),
        _ if is_longer(&name, MAX_NAME) => Err(Refusal::NameTooLong),
        _ => Ok(escape(&name)),
    }
}

#[cfg(test)]
mod tests;
