//! Events of webhooks, and the bodies that carry them.

use serde::{Deserialize, Serialize};

use crate::channel::Channel;

/// The most events of one body.
pub const MAX_EVENTS: usize = 100;

/// An event of a webhook. Its fields are those of the protocol, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum WebhookEvent {
    /// A channel has its first subscriber.
    ChannelOccupied {
        /// Its name.
        channel: String,
    },
    /// A channel has lost its last subscriber.
    ChannelVacated {
        /// Its name.
        channel: String,
    },
    /// A user has become a member of a presence channel.
    MemberAdded {
        /// Its name.
        channel: String,
        /// The user.
        user_id: String,
    },
    /// A user is no longer a member of a presence channel.
    MemberRemoved {
        /// Its name.
        channel: String,
        /// The user.
        user_id: String,
    },
    /// A client has sent an event.
    ClientEvent {
        /// The name of the channel.
        channel: String,
        /// The name of the event.
        event: String,
        /// Its data: JSON.
        data: String,
        /// The client.
        socket_id: String,
        /// Its user, on presence channels.
        #[serde(skip_serializing_if = "Option::is_none")]
        user_id: Option<String>,
    },
    /// A client has subscribed to a cache channel that has no event.
    CacheMiss {
        /// The name of the channel.
        channel: String,
    },
    /// The number of subscribers has changed.
    SubscriptionCount {
        /// The name of the channel.
        channel: String,
        /// The number.
        subscription_count: u64,
    },
}

/// The kind of an event, as settings name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The first subscriber.
    ChannelOccupied,
    /// No subscriber any longer.
    ChannelVacated,
    /// A new member.
    MemberAdded,
    /// A member less.
    MemberRemoved,
    /// An event of a client.
    ClientEvent,
    /// A cache channel without an event.
    CacheMiss,
    /// The number of subscribers.
    SubscriptionCount,
}

impl WebhookEvent {
    /// The first subscriber of a channel, or none any longer.
    pub fn occupancy(channel: &Channel, is_occupied: bool) -> Self {
        let channel = channel.name().to_owned();
        match is_occupied {
            true => Self::ChannelOccupied { channel },
            false => Self::ChannelVacated { channel },
        }
    }

    /// A user who has become a member of a presence channel, or is none any longer.
    pub fn membership(channel: &Channel, user_id: impl Into<String>, is_member: bool) -> Self {
        let (channel, user_id) = (channel.name().to_owned(), user_id.into());
        match is_member {
            true => Self::MemberAdded { channel, user_id },
            false => Self::MemberRemoved { channel, user_id },
        }
    }

    /// A client has subscribed to a cache channel that has no event.
    pub fn cache_miss(channel: &Channel) -> Self {
        Self::CacheMiss { channel: channel.name().to_owned() }
    }

    /// The number of subscribers of a channel.
    pub fn subscription_count(channel: &Channel, subscription_count: u64) -> Self {
        Self::SubscriptionCount { channel: channel.name().to_owned(), subscription_count }
    }

    /// Its kind.
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::ChannelOccupied { .. } => EventKind::ChannelOccupied,
            Self::ChannelVacated { .. } => EventKind::ChannelVacated,
            Self::MemberAdded { .. } => EventKind::MemberAdded,
            Self::MemberRemoved { .. } => EventKind::MemberRemoved,
            Self::ClientEvent { .. } => EventKind::ClientEvent,
            Self::CacheMiss { .. } => EventKind::CacheMiss,
            Self::SubscriptionCount { .. } => EventKind::SubscriptionCount,
        }
    }

    /// The name of its channel.
    pub fn channel(&self) -> &str {
        match self {
            Self::ChannelOccupied { channel }
            | Self::ChannelVacated { channel }
            | Self::MemberAdded { channel, .. }
            | Self::MemberRemoved { channel, .. }
            | Self::ClientEvent { channel, .. }
            | Self::CacheMiss { channel }
            | Self::SubscriptionCount { channel, .. } => channel,
        }
    }
}

/// The body of a request with these events, made at `time_ms` since 1970.
pub fn body(time_ms: u64, events: &[WebhookEvent]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        time_ms: u64,
        events: &'a [WebhookEvent],
    }
    // Strings and numbers always have JSON.
    serde_json::to_vec(&Body { time_ms, events }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::Key;

    #[test]
    fn body_has_the_fields_of_each_event_in_order() {
        let presence = Channel::parse("presence-a").unwrap();
        let channel = || "private-a".to_owned();
        let client_event = |user_id| WebhookEvent::ClientEvent {
            channel: channel(),
            event: "client-e".to_owned(),
            data: r#"{"a":1}"#.to_owned(),
            socket_id: "1.2".to_owned(),
            user_id,
        };
        let cache = Channel::parse("cache-a").unwrap();
        let events = [
            WebhookEvent::occupancy(&presence, true),
            WebhookEvent::occupancy(&presence, false),
            WebhookEvent::membership(&presence, "7", true),
            WebhookEvent::membership(&presence, "7", false),
            client_event(Some("7".to_owned())),
            client_event(None),
            WebhookEvent::cache_miss(&cache),
            WebhookEvent::subscription_count(&cache, 3),
        ];
        let expected = [
            r#"{"time_ms":12,"events":[{"name":"channel_occupied","channel":"presence-a"},"#,
            r#"{"name":"channel_vacated","channel":"presence-a"},"#,
            r#"{"name":"member_added","channel":"presence-a","user_id":"7"},"#,
            r#"{"name":"member_removed","channel":"presence-a","user_id":"7"},"#,
            r#"{"name":"client_event","channel":"private-a","event":"client-e","#,
            r#""data":"{\"a\":1}","socket_id":"1.2","user_id":"7"},"#,
            r#"{"name":"client_event","channel":"private-a","event":"client-e","#,
            r#""data":"{\"a\":1}","socket_id":"1.2"},"#,
            r#"{"name":"cache_miss","channel":"cache-a"},"#,
            r#"{"name":"subscription_count","channel":"cache-a","subscription_count":3}]}"#,
        ];
        assert_eq!(String::from_utf8(body(12, &events)).unwrap(), expected.concat());
        let mut kinds = events.map(|event| (event.kind(), event.channel().to_owned())).to_vec();
        kinds.dedup();
        assert_eq!(kinds.len(), 7);
    }

    #[test]
    fn signature_of_a_body_is_that_of_the_sdks() {
        let event = WebhookEvent::ChannelOccupied { channel: "c".to_owned() };
        let signature = Key::new("k1", "s1").sign(&[&body(1_327_078_148_132, &[event])]);
        let expected = "d58fa0b07d40fc2057957b033d75833451a5094a3864b74bed3880d630e182ba";
        assert_eq!(signature, expected);
    }
}
