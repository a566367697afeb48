//! One value for each variant in the native protocol, under the name of its golden bytes.

use std::{fmt::Debug, time::Duration};

use crate::{
    close_reasons::close_reasons,
    handshake_answers, presence,
    queries::{answers, effects, filters, queries},
    recipients::{kinds, recipients, targets},
    streams,
};
use bytes::Bytes;
use push_suite_protocol::{
    Answer, CloseCodes, CloseFrame, CloseInfo, CloseKind, CloseReason, Command, ConnectionId,
    Context, Event, Excluded, Fields, Form, Group, Handshake, InstanceId, Keep, Message,
    MessageKind, Query, Recipients, Retention, Session, Target, Uid, UidLimit,
    event::Header,
    link::{Delivery, Refusal, Role, ToGateway, ToPeer},
    standby::{HandedOver, Handover, StandbyClient, WorkerMessage},
};

/// All messages of a peer, by name.
pub(crate) fn to_gateway() -> Vec<(String, ToGateway)> {
    let mut all = named("to-gateway", own_to_gateway(), |message| message);
    all.extend(named("role", roles(), |role| ToGateway::Hello {
        role,
        nonce: [0x11; 32],
        proof: [0x22; 32],
    }));
    all.extend(named("command", commands(), |command| ToGateway::Command { seq: 1, command }));
    all.extend(named("recipients", recipients(), |to| ToGateway::Command {
        seq: 2,
        command: Command::SendToAll { to, message: Message::text("hi") },
    }));
    all.extend(named("target", targets(), |to| ToGateway::Command {
        seq: 2,
        command: Command::SendExcept {
            to,
            exclude: Excluded::default(),
            message: Message::text("hi"),
        },
    }));
    all.extend(named("message-kind", kinds(), |kind| ToGateway::Command {
        seq: 3,
        command: Command::SendToClient {
            to: ConnectionId(7),
            message: Message { kind, ..Message::text("hi") },
        },
    }));
    let uncompressed = vec![("text", MessageKind::Text), ("binary", MessageKind::Binary)];
    all.extend(named("uncompressed", uncompressed, |kind| {
        let message = Message { kind, ..Message::text("hi").uncompressed() };
        let to = ConnectionId(7);
        ToGateway::Command { seq: 3, command: Command::SendToClient { to, message } }
    }));
    all.extend(named("session", sessions(), |form| {
        let session = match form {
            Form::Json => session(r#"{"a":1}"#),
            Form::Php => Session::from_php(Bytes::from_static(b"a:0:{}")).unwrap(),
        };
        ToGateway::Command {
            seq: 4,
            command: Command::SetSession { client: ConnectionId(7), edit: 300, session },
        }
    }));
    all.extend(named("query", queries(), |query| ToGateway::Query { request: 1, query }));
    all.extend(named("worker-message", worker_messages(), |message| ToGateway::Relay {
        to: instance(),
        message,
    }));
    all.extend(named("filter", filters(), |filter| ToGateway::Query {
        request: 2,
        query: Query::Select { fields: Fields::default(), filter },
    }));
    all
}

/// All messages of a gateway, by name.
pub(crate) fn to_peer() -> Vec<(String, ToPeer)> {
    let mut all = named("to-peer", own_to_peer(), |message| message);
    all.extend(named("refusal", refusals(), ToPeer::Refused));
    all.extend(named("event", events(), |event| ToPeer::Event(delivery(event))));
    all.extend(named("close-reason", close_reasons(), |reason| {
        ToPeer::Event(delivery(Event::Close(reason)))
    }));
    all.extend(named("answer", answers(), |answer| ToPeer::Answer { request: 1, answer }));
    all
}

fn named<T: Debug, M>(
    family: &str,
    cases: Vec<(&str, T)>,
    wrap: impl Fn(T) -> M,
) -> Vec<(String, M)> {
    cases.into_iter().map(|(name, value)| (format!("{family}/{name}"), wrap(value))).collect()
}

fn own_to_gateway() -> Vec<(&'static str, ToGateway)> {
    cases!(ToGateway {
        ToGateway::Hello { .. } => "hello": ToGateway::Hello {
            role: Role::Backend { instance: instance() },
            nonce: std::array::from_fn(|at| at as u8),
            proof: std::array::from_fn(|at| 0x80 + at as u8),
        };
        ToGateway::Command { .. } => "command": ToGateway::Command {
            seq: 0x0102_0304_0506_0708,
            command: Command::Destroy { client: ConnectionId(1) },
        };
        ToGateway::Query { .. } => "query": ToGateway::Query {
            request: u64::MAX,
            query: Query::Groups,
        };
        ToGateway::EventAck { .. } => "done": ToGateway::EventAck { shard: 3, first: 250, last: 251 };
        ToGateway::Leaving => "leaving": ToGateway::Leaving;
        ToGateway::Ping { .. } => "ping": ToGateway::Ping { token: 9 };
        ToGateway::Pong { .. } => "pong": ToGateway::Pong { token: 9 };
        ToGateway::Fenced => "written-off": ToGateway::Fenced;
        ToGateway::EventStarted { .. } => "begun": ToGateway::EventStarted { shard: 2, through: 40 };
        ToGateway::HandlerStarted { .. } => "trying": ToGateway::HandlerStarted { shard: 2, seq: 40, alone: true };
        ToGateway::ReportedCommand { .. } => "reported-command": ToGateway::ReportedCommand {
            seq: 300,
            request: 9,
            command: Command::SendToClient { to: ConnectionId(7), message: Message::text("hi") },
        };
        ToGateway::Relay { .. } => "relay": ToGateway::Relay {
            to: instance(),
            message: WorkerMessage::HandoverTaken { number: 300 },
        };
        ToGateway::UidChecked { .. } =>
            "uid-checked": ToGateway::UidChecked { check: 300, uid: uid("ann") };
        ToGateway::Watch { .. } =>
            "watch": ToGateway::Watch { prefixes: vec![group("presence-"), group("r")] },
            "watch-no-more": ToGateway::Watch { prefixes: vec![] };
        ToGateway::Tail(_) => "tail": crate::inspect::tail();
        ToGateway::EndTail { .. } => "end-tail": ToGateway::EndTail { tail: 300 };
        ToGateway::ServeStreams { .. } => "serve-streams": ToGateway::ServeStreams { serves: true };
        ToGateway::Acknowledge => "acknowledge": ToGateway::Acknowledge;
        ToGateway::CloseCodes { .. } =>
            "close-codes": ToGateway::CloseCodes {
                codes: CloseCodes::new(CloseKind::ALL.map(|kind| (kind, 4000 + kind as u16))).unwrap(),
            },
            "no-close-codes": ToGateway::CloseCodes { codes: CloseCodes::default() };
    })
}

fn instance() -> InstanceId {
    InstanceId::from_random(0x0123_4567_89ab_cdef)
}

fn roles() -> Vec<(&'static str, Role)> {
    cases!(Role {
        Role::Worker { .. } => "worker": Role::Worker {
            key: "BusinessWorker:1".into(),
            instance: instance(),
        };
        Role::Backend { .. } => "client": Role::Backend { instance: instance() };
    })
}

fn commands() -> Vec<(&'static str, Command)> {
    let client = ConnectionId(7);
    cases!(Command {
        Command::SendToClient { .. } => "send-to-client": Command::SendToClient {
            to: client,
            message: Message::text("héllo"),
        };
        Command::SendToAll { .. } => "send-to-all": Command::SendToAll {
            to: Recipients::All,
            message: Message::binary(vec![0, 1, 254, 255]),
        };
        Command::SendToUids { .. } => "send-to-uids": Command::SendToUids {
            uids: vec![uid("ann"), uid("bob"), uid("ann")],
            message: Message::text("hi"),
        };
        Command::SendToGroups { .. } => "send-to-groups": Command::SendToGroups {
            groups: vec![group("r"), group("房间")],
            exclude: vec![client, ConnectionId(u32::MAX)],
            message: Message::text("hi"),
        };
        Command::Close { .. } =>
            "close": Command::Close { client, farewell: None },
            "close-with-farewell": Command::Close {
                client,
                farewell: Some(Message::text("bye")),
            },
            "close-with-empty-farewell": Command::Close {
                client,
                farewell: Some(Message::text("")),
            };
        Command::Destroy { .. } => "destroy": Command::Destroy { client };
        Command::BindUid { .. } => "bind-uid": Command::BindUid { client, uid: uid("ann") };
        Command::UnbindUid { .. } => "unbind-uid": Command::UnbindUid { client };
        Command::JoinGroup { .. } => "join-group": Command::JoinGroup { client, group: group("r") };
        Command::LeaveGroup { .. } =>
            "leave-group": Command::LeaveGroup { client, group: group("r") };
        Command::Ungroup { .. } => "ungroup": Command::Ungroup { group: group("r") };
        Command::SetSession { .. } =>
            "set-session": Command::SetSession { client, edit: 1, session: session(r#"{"a":1}"#) },
            "set-session-to-none": Command::SetSession { client, edit: 0, session: Session::default() };
        Command::UpdateSession { .. } =>
            "update-session": Command::UpdateSession { client, edit: 2, changes: session(r#"{"b":[2]}"#) };
        Command::CloseWith { .. } =>
            "close-with": Command::CloseWith {
                client,
                frame: CloseFrame::new(4403, "no entry").unwrap(),
                farewell: None,
            },
            "close-with-code-and-farewell": Command::CloseWith {
                client,
                frame: CloseFrame::new(3000, "").unwrap(),
                farewell: Some(Message::text("bye")),
            };
        Command::CloseUid { .. } => "close-uid": Command::CloseUid {
            uid: uid("ann"),
            exclude: vec![client],
            frame: CloseFrame::new(4001, "再见").unwrap(),
            farewell: Some(Message::text("bye")),
        };
        Command::JoinGroupByUid { .. } => "join-group-by-uid": Command::JoinGroupByUid {
            uid: uid("ann"),
            group: group("r"),
        };
        Command::LeaveGroupByUid { .. } => "leave-group-by-uid": Command::LeaveGroupByUid {
            uid: uid("ann"),
            group: group("r"),
        };
        Command::SendExcept { .. } => "send-except": Command::SendExcept {
            to: Target::All,
            exclude: Excluded { clients: vec![client], uids: vec![uid("ann"), uid("bob")] },
            message: Message::text("hi"),
        };
        Command::AcceptHandshake { .. } =>
            "accept-handshake": Command::AcceptHandshake { client, edit: 0, grant: Box::default() },
            "accept-handshake-with-all": Command::AcceptHandshake { client, edit: 3, grant: handshake_answers::grant() };
        Command::RefuseHandshake { .. } => "refuse-handshake": Command::RefuseHandshake {
            client,
            refusal: handshake_answers::refusal(),
        };
        Command::RemoveSessionKeys { .. } => "remove-session-keys": Command::RemoveSessionKeys {
            client,
            edit: 300,
            keys: vec!["a".into(), String::new()],
        };
        Command::CloseBinding { .. } => "close-binding": Command::CloseBinding {
            client,
            since: 0x0102_0304_0506_0708,
            keep: Keep::Oldest,
        };
        Command::JoinPresence { .. } => "join-presence": Command::JoinPresence {
            client,
            group: group("r"),
            member: Box::new(presence::member()),
            snapshot: Box::new(presence::snapshot()),
        };
        Command::PresenceTaken { .. } => "presence-taken": Command::PresenceTaken {
            shard: 2,
            group: group("r"),
            number: 300,
        };
        Command::PresenceView { .. } => "presence-view": Command::PresenceView {
            shard: 2,
            group: group("r"),
            first: true,
            last: false,
            members: vec![presence::member()],
        };
        Command::SetMember { .. } =>
            "set-member": Command::SetMember {
                group: group("r"),
                change: presence::added(),
                message: Some(Message::text("hi")),
            },
            "set-member-removed": Command::SetMember {
                group: group("r"),
                change: presence::removed(),
                message: None,
            };
        Command::SendAndRetain { .. } => "send-and-retain": Command::SendAndRetain {
            group: group("r"),
            exclude: Excluded { clients: vec![client], uids: vec![uid("ann")] },
            retention: Retention::new(Duration::ZERO, Duration::from_secs(1800)),
            message: Message::text("hi"),
        };
        Command::SendRetained { .. } =>
            "send-retained": Command::SendRetained {
                client,
                group: group("r"),
                found: None,
                message: Message::text("none"),
            },
            "send-retained-or-found": Command::SendRetained {
                client,
                group: group("r"),
                found: Some(Retention::new(Duration::from_secs(300), Duration::from_secs(1500))),
                message: Message::text("hi"),
            };
        Command::SetExpiry { .. } =>
            "set-expiry": Command::SetExpiry { client, expires_at: Some(1_700_000_000) },
            "set-expiry-never": Command::SetExpiry { client, expires_at: None };
        Command::PresenceSettled { .. } => "presence-settled": Command::PresenceSettled {
            shard: 2,
            group: group("r"),
            number: 300,
        };
        Command::PresenceNotified { .. } => "presence-notified": presence::notified_command();
        Command::Publish { .. } =>
            "publish": streams::publish(None),
            "publish-to-shard": streams::publish(Some(2));
        Command::StreamRead { .. } => "stream-read": streams::read();
        Command::ResetStream { .. } => "reset-stream": streams::reset();
    })
}

fn sessions() -> Vec<(&'static str, Form)> {
    cases!(Form {
        Form::Json => "json": Form::Json;
        Form::Php => "php": Form::Php;
    })
}

fn own_to_peer() -> Vec<(&'static str, ToPeer)> {
    cases!(ToPeer {
        ToPeer::Challenge { .. } => "challenge": ToPeer::Challenge {
            nonce: std::array::from_fn(|at| at as u8),
            gateway: "[2001:db8::1]:2900".into(),
            instance: instance(),
        };
        ToPeer::Welcome { .. } => "welcome": ToPeer::Welcome {
            proof: [0x33; 32],
            taken: 0x0102_0304_0506_0708,
        };
        ToPeer::Refused(_) => "refused": ToPeer::Refused(Refusal::Secret);
        ToPeer::Event(_) =>
            "event": ToPeer::Event(Delivery {
                client: ConnectionId(0x0102_0304),
                shard: 0x0506,
                seq: 0x0708_090a_0b0c_0d0e,
                number: 300,
                redelivered: true,
                edits: 301,
                context: Some(Box::new(Context {
                    remote: "10.1.2.3:40000".parse().unwrap(),
                    listener_port: 7272,
                    session: session(r#"{"a":1}"#),
                })),
                event: Event::Connect,
            }),
            "event-of-ipv6-client": ToPeer::Event(Delivery {
                context: Some(Box::new(Context {
                    remote: "[2001:db8::2]:40000".parse().unwrap(),
                    listener_port: 7272,
                    session: Session::default(),
                })),
                ..delivery(Event::Connect)
            });
        ToPeer::Answer { .. } => "answer": ToPeer::Answer {
            request: u64::MAX,
            answer: Answer::Online(false),
        };
        ToPeer::CommandAck { .. } => "command-ack": ToPeer::CommandAck { through: 65_536 };
        ToPeer::Ping { .. } => "ping": ToPeer::Ping { token: 9 };
        ToPeer::Pong { .. } => "pong": ToPeer::Pong { token: 9 };
        ToPeer::Standby { .. } => "standby": ToPeer::Standby {
            holders: vec![instance(), other_instance()],
            confirmed: true,
            clients: vec![standby_client()],
        };
        ToPeer::ReleaseStandby { .. } => "release": ToPeer::ReleaseStandby {
            clients: vec![ConnectionId(7), ConnectionId(300)],
        };
        ToPeer::IsolatedEvent(_) => "isolated-event": ToPeer::IsolatedEvent(delivery(Event::Message(Message::text("hi"))));
        ToPeer::Draining { .. } => "draining": ToPeer::Draining { clients: 300 };
        ToPeer::Replaced { .. } => "replaced": ToPeer::Replaced { by: "10.1.2.3:40000".into() };
        ToPeer::StandbySession { .. } => "standby-session": ToPeer::StandbySession {
            client: ConnectionId(7),
            session: session(r#"{"a":1}"#),
        };
        ToPeer::Relayed { .. } => "relayed": ToPeer::Relayed {
            from: instance(),
            message: WorkerMessage::HandoverTaken { number: 300 },
        };
        ToPeer::CheckUid { .. } => "check-uid": ToPeer::CheckUid {
            check: 300,
            uid: uid("ann"),
            limit: UidLimit { connections: 3, keep: Keep::Newest },
            clock: 0x0102_0304_0506_0708,
        };
        ToPeer::Presence(_) =>
            "presence": ToPeer::Presence(Box::new(presence::report())),
            "presence-in-full": ToPeer::Presence(Box::new(presence::full_report()));
        ToPeer::Tailed(_) => "tailed": crate::inspect::tailed();
        ToPeer::PresenceLost { .. } =>
            "presence-lost": ToPeer::PresenceLost { group: group("r"), shard: 2 };
        ToPeer::PresenceNotified(_) =>
            "presence-notified": ToPeer::PresenceNotified(Box::new(presence::notified()));
        ToPeer::Effects { .. } => "effects": effects();
        ToPeer::StreamGaps { .. } => "stream-gaps": streams::gaps();
    })
}

fn other_instance() -> InstanceId {
    InstanceId::new("fedcba9876543210").unwrap()
}

fn standby_client() -> StandbyClient {
    StandbyClient {
        client: ConnectionId(7),
        remote: "10.1.2.3:40000".parse().unwrap(),
        listener_port: 7272,
    }
}

fn worker_messages() -> Vec<(&'static str, WorkerMessage)> {
    cases!(WorkerMessage {
        WorkerMessage::Handover(_) => "handover": WorkerMessage::Handover(Handover {
            number: 300,
            address: "10.1.2.3:2900".parse().unwrap(),
            gateway: instance(),
            holders: vec![instance(), other_instance()],
            clients: vec![HandedOver {
                client: standby_client(),
                confirmed: false,
                session: session(r#"{"a":1}"#),
            }],
        });
        WorkerMessage::HandoverTaken { .. } =>
            "handover-taken": WorkerMessage::HandoverTaken { number: 300 };
    })
}

fn refusals() -> Vec<(&'static str, Refusal)> {
    cases!(Refusal {
        Refusal::Secret => "secret": Refusal::Secret;
        Refusal::ShuttingDown => "shutting-down": Refusal::ShuttingDown;
        Refusal::Key => "key": Refusal::Key;
    })
}

fn events() -> Vec<(&'static str, Event)> {
    cases!(Event {
        Event::Connect => "connect": Event::Connect;
        Event::WebSocketConnect(_) => "websocket-connect": Event::WebSocketConnect(Handshake {
            target: "/chat?room=1".into(),
            headers: vec![
                Header { name: "Host".into(), value: b"example.org".to_vec() },
                Header { name: "X-Bytes".into(), value: vec![0xff] },
            ],
        });
        Event::Message(_) =>
            "message": Event::Message(Message::text("hi")),
            "empty-message": Event::Message(Message::text(""));
        Event::Close(_) => "close": Event::Close(CloseReason::Client);
        Event::Reassigned => "adopt": Event::Reassigned;
        Event::WebSocketRequest(_) => "websocket-request": Event::WebSocketRequest(Handshake {
            target: "/".into(),
            headers: vec![Header { name: "Host".into(), value: b"example.org".to_vec() }],
        });
        Event::Closed(_) =>
            "closed": Event::Closed(
                CloseInfo::new(CloseReason::Client, 1500).with_frame(Some(4001), "away"),
            ),
            "closed-without-frame": Event::Closed(CloseInfo::new(CloseReason::Timeout, 300_000));
        Event::Expiring { .. } => "expiring": Event::Expiring { expires_at: 1_700_000_000 };
    })
}

fn delivery(event: Event) -> Delivery {
    Delivery {
        client: ConnectionId(7),
        shard: 0,
        seq: 1,
        number: 1,
        redelivered: false,
        edits: 0,
        context: None,
        event,
    }
}

pub(crate) fn uid(name: &str) -> Uid {
    Uid::new(name).unwrap()
}

pub(crate) fn group(name: &str) -> Group {
    Group::new(name).unwrap()
}

pub(crate) fn session(text: &'static str) -> Session {
    Session::from_encoded(Bytes::from_static(text.as_bytes())).unwrap()
}
