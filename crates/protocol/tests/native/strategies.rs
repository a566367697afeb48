//! Random messages of the native protocol, for property tests.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use push_suite_protocol::{
    AccessToken, Answer, CloseCodes, CloseFrame, CloseInfo, CloseKind, CloseReason, Command,
    ConnectionId, Context, Effect, Event, Excluded, Fields, Filter, Grant, Group, Handshake,
    InstanceId, Keep, Message, MessageKind, Query, Recipients, Renewal, Retained, Retention,
    Revocation, Row, Session, Swap, Target, TokenError, TokenId, Uid, UidLimit,
    event::Header,
    link::{Delivery, Refusal, Role, ToGateway, ToPeer},
    name::MAX_NAME,
    standby::{HandedOver, Handover, StandbyClient, WorkerMessage},
};

use crate::{inspect, presence, streams};

pub(crate) fn to_gateway() -> impl Strategy<Value = ToGateway> {
    prop_oneof![
        (role(), any::<[u8; 32]>(), any::<[u8; 32]>())
            .prop_map(|(role, nonce, proof)| ToGateway::Hello { role, nonce, proof }),
        (any::<u64>(), command()).prop_map(|(seq, command)| ToGateway::Command { seq, command }),
        (any::<u64>(), query()).prop_map(|(request, query)| ToGateway::Query { request, query }),
        (any::<u64>(), any::<u64>(), command()).prop_map(|(seq, request, command)| {
            ToGateway::ReportedCommand { seq, request, command }
        }),
        any::<(u16, u64, u64)>().prop_map(|(shard, first, last)| ToGateway::EventAck {
            shard,
            first,
            last
        }),
        Just(ToGateway::Leaving),
        Just(ToGateway::Acknowledge),
        inspect::tails(),
        any::<u64>().prop_map(|token| ToGateway::Ping { token }),
        any::<u64>().prop_map(|token| ToGateway::Pong { token }),
        Just(ToGateway::Fenced),
        any::<(u16, u64)>().prop_map(|(shard, through)| ToGateway::EventStarted { shard, through }),
        any::<(u16, u64, bool)>().prop_map(|(shard, seq, alone)| ToGateway::HandlerStarted {
            shard,
            seq,
            alone
        }),
        (instance(), worker_message()).prop_map(|(to, message)| ToGateway::Relay { to, message }),
        (any::<u64>(), uid()).prop_map(|(check, uid)| ToGateway::UidChecked { check, uid }),
        vec(group(), 0..4).prop_map(|prefixes| ToGateway::Watch { prefixes }),
        vec((prop::sample::select(CloseKind::ALL.to_vec()), 3000..5000_u16), 0..20)
            .prop_map(|codes| ToGateway::CloseCodes { codes: CloseCodes::new(codes).unwrap() }),
    ]
}

pub(crate) fn to_peer() -> impl Strategy<Value = ToPeer> {
    prop_oneof![
        (any::<[u8; 32]>(), any::<String>(), instance()).prop_map(|(nonce, gateway, instance)| {
            ToPeer::Challenge { nonce, gateway, instance }
        }),
        any::<([u8; 32], u64)>().prop_map(|(proof, taken)| ToPeer::Welcome { proof, taken }),
        prop_oneof![Just(Refusal::Secret), Just(Refusal::ShuttingDown), Just(Refusal::Key)]
            .prop_map(ToPeer::Refused),
        delivery().prop_map(ToPeer::Event),
        (any::<u64>(), answer()).prop_map(|(request, answer)| ToPeer::Answer { request, answer }),
        any::<u64>().prop_map(|through| ToPeer::CommandAck { through }),
        any::<u64>().prop_map(|token| ToPeer::Ping { token }),
        any::<u64>().prop_map(|token| ToPeer::Pong { token }),
        (vec(instance(), 0..4), any::<bool>(), vec(standby_client(), 0..4)).prop_map(
            |(holders, confirmed, clients)| ToPeer::Standby { holders, confirmed, clients }
        ),
        clients().prop_map(|clients| ToPeer::ReleaseStandby { clients }),
        delivery().prop_map(ToPeer::IsolatedEvent),
        any::<u64>().prop_map(|clients| ToPeer::Draining { clients }),
        any::<String>().prop_map(|by| ToPeer::Replaced { by }),
        (client(), session())
            .prop_map(|(client, session)| ToPeer::StandbySession { client, session }),
        (instance(), worker_message())
            .prop_map(|(from, message)| ToPeer::Relayed { from, message }),
        (any::<u64>(), uid(), any::<u32>(), keep(), any::<u64>()).prop_map(
            |(check, uid, connections, keep, clock)| {
                ToPeer::CheckUid { check, uid, limit: UidLimit { connections, keep }, clock }
            }
        ),
        presence::reports().prop_map(|report| ToPeer::Presence(Box::new(report))),
        streams::any_gaps(),
        (group(), any::<u16>()).prop_map(|(group, shard)| ToPeer::PresenceLost { group, shard }),
        presence::notifications().prop_map(|notified| ToPeer::PresenceNotified(Box::new(notified))),
        vec((any::<u64>(), effect()), 0..4).prop_map(|effects| ToPeer::Effects { effects }),
    ]
}

fn effect() -> impl Strategy<Value = Effect> {
    any::<(u64, u64, u64)>().prop_map(|(matched, reached, dropped)| Effect {
        matched,
        reached,
        dropped,
    })
}

fn standby_client() -> impl Strategy<Value = StandbyClient> {
    (client(), context()).prop_map(|(client, Context { remote, listener_port, .. })| {
        StandbyClient { client, remote, listener_port }
    })
}

fn worker_message() -> impl Strategy<Value = WorkerMessage> {
    let client = (standby_client(), any::<bool>(), session())
        .prop_map(|(client, confirmed, session)| HandedOver { client, confirmed, session });
    let clients = vec(client, 0..4);
    let handover = (any::<u64>(), context(), instance(), vec(instance(), 0..4), clients);
    prop_oneof![
        handover.prop_map(|(number, context, gateway, holders, clients)| {
            let address = context.remote;
            WorkerMessage::Handover(Handover { number, address, gateway, holders, clients })
        }),
        any::<u64>().prop_map(|number| WorkerMessage::HandoverTaken { number }),
    ]
}

fn role() -> impl Strategy<Value = Role> {
    let worker = (any::<String>(), instance());
    prop_oneof![
        worker.prop_map(|(key, instance)| Role::Worker { key, instance }),
        instance().prop_map(|instance| Role::Backend { instance })
    ]
}

fn instance() -> impl Strategy<Value = InstanceId> {
    any::<u64>().prop_map(InstanceId::from_random)
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        (client(), message()).prop_map(|(to, message)| Command::SendToClient { to, message }),
        (recipients(), message()).prop_map(|(to, message)| Command::SendToAll { to, message }),
        (vec(uid(), 0..4), message())
            .prop_map(|(uids, message)| Command::SendToUids { uids, message }),
        (vec(group(), 0..4), clients(), message()).prop_map(|(groups, exclude, message)| {
            Command::SendToGroups { groups, exclude, message }
        }),
        (client(), option::of(message()))
            .prop_map(|(client, farewell)| Command::Close { client, farewell }),
        client().prop_map(|client| Command::Destroy { client }),
        (client(), uid()).prop_map(|(client, uid)| Command::BindUid { client, uid }),
        client().prop_map(|client| Command::UnbindUid { client }),
        (client(), group()).prop_map(|(client, group)| Command::JoinGroup { client, group }),
        (client(), group()).prop_map(|(client, group)| Command::LeaveGroup { client, group }),
        group().prop_map(|group| Command::Ungroup { group }),
        (client(), any::<u64>(), session())
            .prop_map(|(client, edit, session)| Command::SetSession { client, edit, session }),
        (client(), any::<u64>(), vec(any::<String>(), 0..4))
            .prop_map(|(client, edit, keys)| Command::RemoveSessionKeys { client, edit, keys }),
        (client(), any::<u64>(), session())
            .prop_map(|(client, edit, changes)| Command::UpdateSession { client, edit, changes }),
        (client(), close_frame(), option::of(message())).prop_map(|(client, frame, farewell)| {
            Command::CloseWith { client, frame, farewell }
        }),
        (uid(), clients(), close_frame(), option::of(message())).prop_map(
            |(uid, exclude, frame, farewell)| Command::CloseUid { uid, exclude, frame, farewell }
        ),
        (uid(), group()).prop_map(|(uid, group)| Command::JoinGroupByUid { uid, group }),
        (uid(), group()).prop_map(|(uid, group)| Command::LeaveGroupByUid { uid, group }),
        (target(), clients(), vec(uid(), 0..4), message()).prop_map(
            |(to, clients, uids, message)| {
                Command::SendExcept { to, exclude: Excluded { clients, uids }, message }
            }
        ),
        (group(), clients(), vec(uid(), 0..4), retention(), message()).prop_map(
            |(group, clients, uids, retention, message)| {
                let exclude = Excluded { clients, uids };
                Command::SendAndRetain { group, exclude, retention, message }
            }
        ),
        (client(), group(), option::of(retention()), message()).prop_map(
            |(client, group, found, message)| Command::SendRetained {
                client,
                group,
                found,
                message
            }
        ),
        (client(), any::<Option<u64>>())
            .prop_map(|(client, expires_at)| Command::SetExpiry { client, expires_at }),
        (client(), any::<u64>(), grant())
            .prop_map(|(client, edit, grant)| Command::AcceptHandshake { client, edit, grant }),
        (client(), 400..600_u16, vec(any::<u8>(), 0..40)).prop_map(|(client, status, body)| {
            let refusal = push_suite_protocol::Refusal::new(status, body)
                .unwrap()
                .with_header("X-A", "b")
                .unwrap();
            Command::RefuseHandshake { client, refusal: refusal.into() }
        }),
        (client(), any::<u64>(), keep()).prop_map(|(client, since, keep)| Command::CloseBinding {
            client,
            since,
            keep
        }),
        presence::commands(),
        streams::commands(),
    ]
}

fn retention() -> impl Strategy<Value = Retention> {
    any::<(u32, u32)>().prop_map(|(age, left)| {
        let millis = |millis: u32| Duration::from_millis(millis.into());
        Retention::new(millis(age), millis(left))
    })
}

fn grant() -> impl Strategy<Value = Box<Grant>> {
    (uid(), vec(group(), 0..4), option::of(session()), "[a-z.]{1,9}", "[ -~]{0,20}").prop_map(
        |(uid, groups, session, name, value)| {
            let mut grant = Grant::new().with_uid(uid).unwrap().with_subprotocol(name).unwrap();
            for group in groups {
                grant = grant.with_group(group).unwrap();
            }
            let grant = match session {
                Some(session) => grant.with_encoded_session(session),
                None => grant,
            };
            grant.with_header("X-Value", value).unwrap().into()
        },
    )
}

fn keep() -> impl Strategy<Value = Keep> {
    prop_oneof![Just(Keep::Oldest), Just(Keep::Newest)]
}

fn close_frame() -> impl Strategy<Value = CloseFrame> {
    (prop_oneof![Just(1000), 3000..5000_u16], "\\PC{0,30}")
        .prop_map(|(code, reason)| CloseFrame::new(code, reason).unwrap())
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        Just(Target::All),
        vec(uid(), 0..4).prop_map(Target::Uids),
        vec(group(), 0..4).prop_map(Target::Groups),
    ]
}

fn recipients() -> impl Strategy<Value = Recipients> {
    prop_oneof![
        Just(Recipients::All),
        clients().prop_map(Recipients::Only),
        clients().prop_map(Recipients::Except),
    ]
}

fn query() -> impl Strategy<Value = Query> {
    prop_oneof![
        client().prop_map(|client| Query::IsOnline { client }),
        (client(), "[a-z.]{1,20}").prop_map(|(client, token)| {
            Query::RenewToken { client, token: AccessToken::new(token).unwrap() }
        }),
        revocation().prop_map(Query::Revoke),
        client().prop_map(|client| Query::Session { client }),
        option::of(group()).prop_map(|group| Query::Sessions { group }),
        vec(uid(), 0..4).prop_map(|uids| Query::ClientsOfUids { uids }),
        option::of(group()).prop_map(|group| Query::Count { group }),
        vec(group(), 0..4).prop_map(|groups| Query::Counts { groups }),
        Just(Query::Groups),
        (any::<(bool, bool, bool)>(), filter()).prop_map(|((uid, groups, session), filter)| {
            Query::Select { fields: Fields { uid, groups, session }, filter }
        }),
        clients().prop_map(|clients| Query::Online { clients }),
        vec(uid(), 0..4).prop_map(|uids| Query::CountsOfUids { uids }),
        Just(Query::CountsOfAllGroups),
        option::of(group()).prop_map(|group| Query::UidCount { group }),
        option::of(group()).prop_map(|group| Query::Uids { group }),
        (client(), any::<u64>(), session(), session()).prop_map(|(client, edit, expected, new)| {
            Query::SwapSession { client, edit, expected, new }
        }),
        group().prop_map(|group| Query::Retained { group }),
        Just(Query::Gateway),
        Just(Query::Drain),
        Just(Query::Settings),
        Just(Query::Certificates),
        inspect::traces(),
        any::<Option<String>>().prop_map(|replacement| Query::LogFilter { replacement }),
        inspect::queries(),
        (uid(), any::<u64>()).prop_map(|(uid, clock)| Query::Bindings { uid, clock }),
        presence::queries(),
        streams::queries(),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    prop_oneof![
        Just(Filter::All),
        (vec(group(), 0..3), vec(uid(), 0..3), clients())
            .prop_map(|(groups, uids, clients)| Filter::Any { groups, uids, clients }),
    ]
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let numbers = any::<(u16, u64, u64, bool, u64)>();
    (client(), numbers, option::of(context()), event()).prop_map(
        |(client, (shard, seq, number, redelivered, edits), context, event)| Delivery {
            client,
            shard,
            seq,
            number,
            redelivered,
            edits,
            context: context.map(Box::new),
            event,
        },
    )
}

fn context() -> impl Strategy<Value = Context> {
    (any::<(IpAddr, u16, u16)>(), session()).prop_map(|((ip, port, own), session)| Context {
        remote: SocketAddr::new(ip, port),
        listener_port: own,
        session,
    })
}

fn event() -> impl Strategy<Value = Event> {
    let header =
        (any::<String>(), vec(any::<u8>(), 0..40)).prop_map(|(name, value)| Header { name, value });
    prop_oneof![
        Just(Event::Connect),
        (any::<String>(), vec(header, 0..4)).prop_map(|(target, headers)| {
            Event::WebSocketConnect(Handshake { target, headers })
        }),
        message().prop_map(Event::Message),
        close_reason().prop_map(Event::Close),
        Just(Event::Reassigned),
        any::<String>().prop_map(|target| {
            Event::WebSocketRequest(Handshake { target, headers: Vec::new() })
        }),
        (close_reason(), any::<Option<u16>>(), ".{0,30}", any::<u64>()).prop_map(
            |(reason, code, text, connected)| {
                Event::Closed(CloseInfo::new(reason, connected).with_frame(code, &text))
            }
        ),
        any::<u64>().prop_map(|expires_at| Event::Expiring { expires_at }),
    ]
}

fn close_reason() -> impl Strategy<Value = CloseReason> {
    prop_oneof![
        Just(CloseReason::Client),
        Just(CloseReason::Worker),
        Just(CloseReason::Timeout),
        Just(CloseReason::Slow),
        Just(CloseReason::Protocol),
        Just(CloseReason::Handshake),
        Just(CloseReason::NoWorker),
        Just(CloseReason::Shutdown),
        Just(CloseReason::GatewayLost),
        Just(CloseReason::Undeliverable),
        Just(CloseReason::RateLimit),
        Just(CloseReason::UidLimit),
        Just(CloseReason::Unauthenticated),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let row = (client(), option::of(uid()), vec(group(), 0..3), option::of(session())).prop_map(
        |(client, uid, groups, session)| Row { client, uid, groups, session, joined: false },
    );
    prop_oneof![
        any::<bool>().prop_map(Answer::Online),
        option::of(session()).prop_map(Answer::Session),
        vec((client(), session()), 0..4).prop_map(Answer::Sessions),
        vec((uid(), clients()), 0..4).prop_map(Answer::Clients),
        any::<u64>().prop_map(Answer::Count),
        vec((group(), any::<u64>()), 0..4).prop_map(Answer::Counts),
        vec(group(), 0..4).prop_map(Answer::Groups),
        vec(row, 0..4).prop_map(Answer::Rows),
        Just(Answer::Unavailable),
        effect().prop_map(Answer::Effect),
        vec(any::<u64>(), 0..4).prop_map(Answer::Numbers),
        vec(uid(), 0..4).prop_map(Answer::Uids),
        prop_oneof![Just(Swap::Offline), Just(Swap::Done), session().prop_map(Swap::Other),]
            .prop_map(Answer::Swap),
        renewal().prop_map(Answer::Renewal),
        Just(Answer::RevocationsFull),
        vec((client(), any::<u64>()), 0..4).prop_map(Answer::Bindings),
        option::of((message(), retention())).prop_map(|found| {
            Answer::Retained(found.map(|(message, retention)| Retained { message, retention }))
        }),
        presence::answers().prop_map(Answer::Presence),
        streams::answers(),
        inspect::answers(),
        any::<Result<String, String>>().prop_map(Answer::LogFilter),
        any::<String>().prop_map(Answer::Settings),
        inspect::traced_steps(),
        inspect::any_certificates(),
    ]
}

pub(crate) fn message() -> impl Strategy<Value = Message> {
    let kind =
        prop_oneof![Just(MessageKind::Text), Just(MessageKind::Binary), Just(MessageKind::Raw)];
    (kind, vec(any::<u8>(), 0..300), any::<bool>()).prop_map(|(kind, body, uncompressed)| Message {
        kind,
        body: Bytes::from(body),
        uncompressed: uncompressed && kind != MessageKind::Raw,
    })
}

/// Includes numbers at the boundaries of the variable-length encoding.
fn client() -> impl Strategy<Value = ConnectionId> {
    let edges = [0, 1, 250, 251, 65_535, 65_536, u32::MAX];
    prop_oneof![any::<u32>(), prop::sample::select(edges.to_vec())].prop_map(ConnectionId)
}

fn clients() -> impl Strategy<Value = Vec<ConnectionId>> {
    vec(client(), 0..6)
}

pub(crate) fn uid() -> impl Strategy<Value = Uid> {
    name().prop_map(|name| Uid::new(name).unwrap())
}

pub(crate) fn group() -> impl Strategy<Value = Group> {
    name().prop_map(|name| Group::new(name).unwrap())
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![8 => vec(any::<u8>(), 1..20), 1 => vec(any::<u8>(), MAX_NAME)]
}

fn session() -> impl Strategy<Value = Session> {
    let json = vec(any::<u8>(), 0..60).prop_map(|it| Session::from_encoded(it.into()).unwrap());
    let php = vec(any::<u8>(), 0..60).prop_map(|it| Session::from_php(it.into()).unwrap());
    prop_oneof![json, php]
}

fn renewal() -> impl Strategy<Value = Renewal> {
    prop_oneof![
        option::of(any::<u64>()).prop_map(|expires_at| Renewal::Renewed { expires_at }),
        Just(Renewal::Refused(TokenError::Expired)),
        Just(Renewal::OtherUser),
    ]
}

fn revocation() -> impl Strategy<Value = Revocation> {
    let ids = vec("[a-z]{1,9}".prop_map(|id| TokenId::new(id).unwrap()), 0..4);
    let before = option::of(any::<u64>());
    (ids, vec(uid(), 0..4), any::<bool>(), before, any::<u32>(), any::<bool>()).prop_map(
        |(ids, uids, all, issued_before, ttl, disconnect)| Revocation {
            ids,
            uids,
            all,
            issued_before,
            ttl,
            disconnect,
        },
    )
}
