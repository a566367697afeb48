//! Messages and signatures, against the protocol's own examples.

use super::*;

const SOCKET: &str = "1234.1234";

fn pusher(channels: ChannelType) -> Pusher {
    let app = "3:278d425bdf160c739803:7ad3773142a6692b25b8".parse().unwrap();
    let http = Target::parse("ws://127.0.0.1:8080", "/").unwrap();
    Pusher { app, http, channels }
}

fn data(message: &[u8]) -> serde_json::Value {
    serde_json::from_slice::<serde_json::Value>(message).unwrap()["data"].clone()
}

/// The bytes of a message that a decoder keeps.
fn kept(text: &str) -> &[u8] {
    &text.as_bytes()[..text.len().min(crate::frame::FRONT)]
}

#[test]
fn subscription_is_signed_as_its_channel_asks() {
    let public = data(&pusher(ChannelType::Public).subscribe(SOCKET, 0, "a"));
    assert_eq!(public, serde_json::json!({ "channel": "a" }));
    let private = pusher(ChannelType::Private).subscribe(SOCKET, 0, "private-foobar");
    assert_eq!(
        data(&private)["auth"],
        "278d425bdf160c739803:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
    );
    let presence = data(&pusher(ChannelType::Presence).subscribe(SOCKET, 7, "presence-a"));
    let member = presence["channel_data"].as_str().unwrap();
    let signature = sign("7ad3773142a6692b25b8", &format!("{SOCKET}:presence-a:{member}"));
    assert_eq!(presence["auth"], format!("278d425bdf160c739803:{signature}"));
    assert!(member.starts_with(r#"{"user_id":"7","#), "{member}");
}

/// The example of Pusher's documentation of signatures.
#[test]
fn signature_is_that_of_the_documentation() {
    let presence =
        r#"1234.1234:presence-foobar:{"user_id":10,"user_info":{"name":"Mr. Channels"}}"#;
    assert_eq!(
        sign("7ad3773142a6692b25b8", presence),
        "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80"
    );
}

#[test]
fn published_request_is_signed_with_its_body() {
    let stamp = Stamp { run: 1, sender: 2, number: 3, due: 4 };
    let mut request = b"of the one before".to_vec();
    let pusher = pusher(ChannelType::Public);
    pusher.publish("a", &stamp, 64, 1_700_000_000, &mut request);
    let text = String::from_utf8(request).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let line = head.lines().next().unwrap();
    let target = line.strip_prefix("POST ").unwrap().strip_suffix(" HTTP/1.1").unwrap();
    let (query, signature) = target.split_once("&auth_signature=").unwrap();
    let signed = query.replace('?', "\n");
    assert_eq!(signature, sign(&pusher.app.secret, &format!("POST\n{signed}")));
    let md5 = query.split_once("&body_md5=").unwrap().1;
    assert_eq!(md5, hex(&Md5::digest(body)));
    assert!(
        query.starts_with(
            "/apps/3/events?auth_key=278d425bdf160c739803&auth_timestamp=1700000000&auth_version=1.0&"
        ),
        "{query}"
    );
    assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&body["name"], &body["channels"][0]), (&"m".into(), &"a".into()));
    let message = body["data"].as_str().unwrap();
    assert_eq!((message.len(), Stamp::read(message.as_bytes())), (64, Some(stamp)));
}

#[test]
fn event_is_read_in_any_order_of_its_keys() {
    let stamp = Stamp { run: 1, sender: 2, number: 3, due: 4 };
    let message = [b"m".as_slice(), &stamp.text(), &[b'x'; 64]].concat();
    let message = std::str::from_utf8(&message).unwrap();
    for channels in [ChannelType::Public, ChannelType::Private, ChannelType::Presence] {
        let channel = channels.name(12);
        for text in [
            format!(r#"{{"event":"m","channel":"{channel}","data":"{message}"}}"#),
            format!(r#"{{"event":"m","data":"{message}","channel":"{channel}"}}"#),
            format!(r#"{{"channel":"{channel}","event":"m","data":"{message}"}}"#),
        ] {
            let front = kept(&text);
            let ServerMessage::Message(data, 95) = read(front, text.len() as u64) else {
                panic!("{text}");
            };
            assert_eq!(Stamp::read(data), Some(stamp));
        }
    }
}

#[test]
fn socket_id_is_found_in_what_is_kept_of_the_first_message() {
    let id = "2147483647.9007199254740991";
    let text = format!(
        r#"{{"event":"pusher:connection_established","data":"{{\"socket_id\":\"{id}\",\"activity_timeout\":120}}"}}"#
    );
    let front = kept(&text);
    assert_eq!(read(front, text.len() as u64), ServerMessage::Welcome(id.as_bytes()));
}

#[test]
fn other_messages_of_the_protocol_are_told_apart() {
    let read = |text: &'static str| read(text.as_bytes(), text.len() as u64);
    let succeeded =
        r#"{"event":"pusher_internal:subscription_succeeded","channel":"a","data":"{}"}"#;
    assert_eq!(read(succeeded), ServerMessage::Subscribed);
    let pong = br#"{"event":"pusher:pong","data":"{}"}"#;
    assert_eq!(read(r#"{"event":"pusher:ping","data":"{}"}"#), ServerMessage::Request(pong));
    for refused in [
        r#"{"event":"pusher:error","data":{"code":4001,"message":"no"}}"#,
        r#"{"event":"pusher:subscription_error","channel":"a","data":"{}"}"#,
    ] {
        assert_eq!(read(refused), ServerMessage::Refused(refused.as_bytes()));
    }
    let joined = r#"{"event":"pusher_internal:member_added","channel":"a","data":"{}"}"#;
    assert_eq!(read(joined), ServerMessage::Other);
}

#[test]
fn names_of_channels_are_of_one_length() {
    for channels in [ChannelType::Public, ChannelType::Private, ChannelType::Presence] {
        assert_eq!((channels.name(0).len(), channels.name(99_999).len()), (NAME, NAME));
    }
    assert_eq!(ChannelType::Presence.name(5), "presence-bench-000005");
}

#[test]
fn app_has_three_parts() {
    let app: App = "1:key:se:cret".parse().unwrap();
    assert_eq!((app.id.as_str(), app.key.as_str(), app.secret.as_str()), ("1", "key", "se:cret"));
    for text in ["", "1", "1:key", "1:key:", ":key:secret"] {
        assert!(text.parse::<App>().is_err(), "{text}");
    }
}
