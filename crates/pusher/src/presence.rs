//! Presence channels: their members as messages show them.
//!
//! The data of a message is a string that contains JSON. A gateway inserts members into it byte by
//! byte, so what is inserted is escaped already.

use protocol::{
    InvalidPresence, Member, MemberChange, MemberId, Message, MessageKind, Part, Snapshot,
};

use crate::{Channel, server_message::string, state::NamedMember};

/// JSON as the inside of a JSON string.
fn escaped(json: &str) -> String {
    let quoted = string(json);
    quoted[1..quoted.len() - 1].to_owned()
}

/// A member as gateways keep it: listed as `\"id\"`, detailed as `\"id\":info`.
///
/// # Errors
/// If the information on it is too long.
pub(crate) fn member(named: &NamedMember) -> Result<Member, InvalidPresence> {
    let listed = escaped(&string(named.id.as_str()));
    let detailed = format!("{listed}:{}", escaped(&named.info));
    Member::new(MemberId::new(named.id.as_str())?, listed, detailed)
}

/// The message that a new subscriber receives.
///
/// # Errors
/// Never: the name of a channel is bounded.
pub(crate) fn snapshot(channel: &Channel) -> Result<Snapshot, InvalidPresence> {
    let head = format!(
        r#"{{"event":"pusher_internal:subscription_succeeded","channel":{},"data":"{{\"presence\":{{\"count\":"#,
        string(channel.name())
    );
    let bytes = |text: &'static str| Part::Bytes(text.into());
    let parts = vec![
        Part::Bytes(head.into()),
        Part::Count,
        bytes(r#",\"ids\":["#),
        Part::Ids,
        bytes(r#"],\"hash\":{"#),
        Part::Entries,
        bytes(r#"}}}"}"#),
    ];
    Snapshot::new(MessageKind::Text, parts)
}

/// The message that the other subscribers of a presence channel receive.
pub(crate) fn message(channel: &Channel, change: &MemberChange) -> Option<Message> {
    let channel = string(channel.name());
    let text = match change {
        MemberChange::Added(member) => {
            let listed = std::str::from_utf8(member.listed()).ok()?;
            let detailed = std::str::from_utf8(member.detailed()).ok()?;
            let info = detailed.strip_prefix(listed)?.strip_prefix(':')?;
            format!(
                r#"{{"event":"pusher_internal:member_added","channel":{channel},"data":"{{\"user_id\":{listed},\"user_info\":{info}}}"}}"#
            )
        }
        MemberChange::Removed(id) => {
            let id = escaped(&string(id.as_str()?));
            format!(
                r#"{{"event":"pusher_internal:member_removed","channel":{channel},"data":"{{\"user_id\":{id}}}"}}"#
            )
        }
    };
    Some(Message::text(text))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::server_message;

    fn named(data: &str) -> NamedMember {
        NamedMember::parse(data, 1024).unwrap()
    }

    fn composed(members: &[Member]) -> String {
        let channel = Channel::parse("presence-a").unwrap();
        let message = snapshot(&channel).unwrap().compose(members.iter());
        message.as_text().unwrap().to_owned()
    }

    #[test]
    fn new_subscriber_receives_all_members() {
        let ann = member(&named(r#"{"user_id":10,"user_info":{"name":"Ann \"A\" é"}}"#)).unwrap();
        let bob = member(&named(r#"{"user_id":"b\"o\\b"}"#)).unwrap();
        let message = composed(std::slice::from_ref(&ann));
        let expected = r#"{"event":"pusher_internal:subscription_succeeded","channel":"presence-a","data":"{\"presence\":{\"count\":1,\"ids\":[\"10\"],\"hash\":{\"10\":{\"name\":\"Ann \\\"A\\\" é\"}}}}"}"#;
        assert_eq!(message, expected);
        let message: Value = serde_json::from_str(&composed(&[ann, bob])).unwrap();
        let data: Value = serde_json::from_str(message["data"].as_str().unwrap()).unwrap();
        let presence = &data["presence"];
        assert_eq!(presence["ids"], serde_json::json!(["10", "b\"o\\b"]));
        assert_eq!(presence["count"], 2);
        assert_eq!(presence["hash"]["10"]["name"], "Ann \"A\" é");
        assert_eq!(presence["hash"]["b\"o\\b"], Value::Null);
        assert!(composed(&[]).contains(r#"\"count\":0,\"ids\":[],\"hash\":{}"#));
    }

    #[test]
    fn change_of_a_member_is_the_message_of_the_protocol() {
        let channel = Channel::parse("presence-a").unwrap();
        for data in [
            r#"{"user_id":"7","user_info":{ "n":"\"\\\u0007", "f":1.0 }}"#,
            r#"{"user_id":"a\"b","user_info":null}"#,
            r#"{"user_id":"é"}"#,
        ] {
            let named = named(data);
            let member = member(&named).unwrap();
            let id = member.id().clone();
            let added = message(&channel, &MemberChange::Added(Box::new(member))).unwrap();
            let expected =
                server_message::member_added("presence-a", named.id.as_str(), &named.info);
            assert_eq!(added, Message::text(expected));
            let removed = message(&channel, &MemberChange::Removed(id)).unwrap();
            let expected = server_message::member_removed("presence-a", named.id.as_str());
            assert_eq!(removed, Message::text(expected));
        }
    }

    #[test]
    fn largest_member_is_one() {
        let info = format!("[\"{}\"]", "\\\\".repeat(2046));
        let id = "\\\"".repeat(64);
        let data = format!(r#"{{"user_id":{},"user_info":{info}}}"#, string(&id));
        let named = NamedMember::parse(&data, 4096).unwrap();
        assert!(member(&named).is_ok());
    }
}
