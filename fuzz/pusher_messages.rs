//! Messages of clients of the Pusher protocol, and the texts within them.

use protocol::Secret;
use pusher::{
    Channel, SocketId, SocketIds,
    client_message::{ClientEvent, ClientMessage, Fault},
};

/// The longest error: it repeats a bounded part of the message.
const LONGEST_FAULT: usize = 1_000;

/// A message, and the input as the name of a channel and as a socket id.
pub fn pusher(bytes: &[u8]) {
    match ClientMessage::parse(bytes) {
        Ok(message) => parsed(&message, bytes),
        Err(fault) => bounded(&fault),
    }
    let text = String::from_utf8_lossy(bytes);
    channel(&text);
    if let Ok(id) = text.parse::<SocketId>() {
        assert_eq!(id.as_str(), text);
        let ids = SocketIds::new(&Secret::default());
        if let Some(client) = ids.decode(&id) {
            let random = id.as_str().rsplit('.').next().and_then(|it| it.parse().ok());
            assert_eq!(ids.decode(&ids.encode(client, random.unwrap_or(0))), Some(client));
        }
    }
}

fn parsed(message: &ClientMessage<'_>, bytes: &[u8]) {
    match message {
        ClientMessage::Ping | ClientMessage::Pong => {}
        ClientMessage::Subscribe(subscribe) => channel(&subscribe.channel),
        ClientMessage::Unsubscribe(unsubscribe) => channel(&unsubscribe.channel),
        ClientMessage::SignIn(sign_in) => assert!(sign_in.auth.len() <= bytes.len()),
        ClientMessage::ClientEvent(ClientEvent { name, channel: named, data }) => {
            assert!(name.starts_with("client-"));
            channel(named);
            // Sent on as it was written, so it has to be JSON of its own.
            let relayed = pusher::server_message::client_event(name, named, data, None);
            assert!(ClientMessage::parse(relayed.as_bytes()).is_ok());
        }
    }
}

fn channel(name: &str) {
    if let Ok(channel) = Channel::parse(name) {
        assert_eq!(channel.name(), name);
        assert!(!channel.takes_client_events() || channel.needs_signature());
        assert!(channel.user().is_none() || !channel.needs_signature());
    }
}

fn bounded(fault: &Fault) {
    assert!(fault.to_string().len() < LONGEST_FAULT);
}
