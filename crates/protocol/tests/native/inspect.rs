//! Status and details: values for the golden bytes, and random ones.

use std::net::{IpAddr, SocketAddr};

use proptest::{collection::vec, option, prelude::*};
use push_suite_protocol::{
    Answer, ConnectionId, InstanceId, MessageKind, Query,
    inspect::{
        CertificateStatus, ClientDetails, ClientFilter, ClientState, ClosedBy, Closing,
        DetailsPage, Direction, GatewayStatus, History, Inspect, LifecycleEvent, LifecycleKind,
        ListenerKind, ListenerStatus, OpenTail, PeerKind, PeerStatus, ReadPause, TailTarget,
        Tailed, TailedFrame, ThreadStatus, Trace, Traced, TracedClient, TracedFate, TracedPush,
        Traffic,
    },
    link::{ToGateway, ToPeer},
};

use crate::{
    cases::{group, uid},
    strategies,
};

fn addr(port: u16) -> SocketAddr {
    ([10, 0, 0, 1], port).into()
}

pub(crate) fn query() -> Query {
    let filter = ClientFilter {
        clients: Some(vec![ConnectionId(7)]),
        uid: Some(uid("ann")),
        group: Some(group("r")),
        ip: Some([10, 0, 0, 9].into()),
        worker: Some("chat:1".to_owned()),
        queued: Some(300),
        paused: true,
    };
    Query::Inspect(Box::new(Inspect { filter, limit: 1000, after: 70_000 }))
}

pub(crate) fn tail() -> ToGateway {
    let target = TailTarget::Group(group("r"));
    ToGateway::Tail(Box::new(OpenTail { tail: 300, target, payload: 1024 }))
}

pub(crate) fn tailed() -> ToPeer {
    let frame = |direction, payload: &[u8]| TailedFrame {
        at: 1_700_000_000_000_000,
        client: ConnectionId(7),
        direction,
        kind: MessageKind::Binary,
        size: 70_000,
        payload: payload.to_vec(),
    };
    let frames = vec![frame(Direction::In, b"hi"), frame(Direction::Out, b"")];
    ToPeer::Tailed(Tailed { tail: 300, frames, dropped: 2 })
}

fn targets() -> impl Strategy<Value = TailTarget> {
    prop_oneof![
        any::<u32>().prop_map(|client| TailTarget::Client(ConnectionId(client))),
        strategies::uid().prop_map(TailTarget::Uid),
        strategies::group().prop_map(TailTarget::Group),
    ]
}

pub(crate) fn trace() -> Query {
    let push = TracedPush::Message { kind: MessageKind::Binary, body: b"hi".to_vec() };
    Query::Trace(Box::new(Trace { target: TailTarget::Uid(uid("ann")), push, wait: 2000 }))
}

pub(crate) fn trace_ping() -> Query {
    let target = TailTarget::Client(ConnectionId(7));
    Query::Trace(Box::new(Trace { target, push: TracedPush::Ping, wait: 300 }))
}

/// A client of each fate.
pub(crate) fn traced() -> Answer {
    let fates = cases!(TracedFate {
        TracedFate::Written { .. } => "": TracedFate::Written { after: 300 };
        TracedFate::Waiting { .. } => "": TracedFate::Waiting { since: 70_000, left: 300 };
        TracedFate::HeldBack => "": TracedFate::HeldBack;
        TracedFate::Dropped => "": TracedFate::Dropped;
        TracedFate::Closed => "": TracedFate::Closed;
        TracedFate::Unframable => "": TracedFate::Unframable;
    });
    let clients = fates.into_iter().map(|(_, fate)| TracedClient {
        client: ConnectionId(7),
        thread: 2,
        taken: 3,
        queued: 300,
        queue_bytes: 70_000,
        fate,
    });
    let traced = Traced { dispatch: 4, total: 70_000, matched: 300, clients: clients.collect() };
    Answer::Traced(Box::new(traced))
}

pub(crate) fn traces() -> impl Strategy<Value = Query> {
    let kinds = prop_oneof![Just(MessageKind::Text), Just(MessageKind::Binary)];
    let push = prop_oneof![
        Just(TracedPush::Ping),
        (kinds, vec(any::<u8>(), 0..40))
            .prop_map(|(kind, body)| TracedPush::Message { kind, body }),
    ];
    (targets(), push, any::<u32>())
        .prop_map(|(target, push, wait)| Query::Trace(Box::new(Trace { target, push, wait })))
}

pub(crate) fn traced_steps() -> impl Strategy<Value = Answer> {
    let fate = prop_oneof![
        any::<u64>().prop_map(|after| TracedFate::Written { after }),
        any::<(u64, u64)>().prop_map(|(since, left)| TracedFate::Waiting { since, left }),
        Just(TracedFate::HeldBack),
        Just(TracedFate::Dropped),
        Just(TracedFate::Closed),
        Just(TracedFate::Unframable),
    ];
    let client = (any::<(u32, u16, u64, u64, u64)>(), fate).prop_map(
        |((client, thread, taken, queued, queue_bytes), fate)| {
            let client = ConnectionId(client);
            TracedClient { client, thread, taken, queued, queue_bytes, fate }
        },
    );
    (any::<(u64, u64, u64)>(), vec(client, 0..4)).prop_map(
        |((dispatch, total, matched), clients)| {
            Answer::Traced(Box::new(Traced { dispatch, total, matched, clients }))
        },
    )
}

pub(crate) fn certificates() -> Answer {
    let certificate = |not_after| CertificateStatus {
        flag: "--tls-cert".to_owned(),
        file: "/a.pem".to_owned(),
        not_after,
    };
    Answer::Certificates(vec![certificate(Some(1_700_000_000)), certificate(None)])
}

pub(crate) fn any_certificates() -> impl Strategy<Value = Answer> {
    let certificate = any::<(String, String, Option<u64>)>()
        .prop_map(|(flag, file, not_after)| CertificateStatus { flag, file, not_after });
    vec(certificate, 0..4).prop_map(Answer::Certificates)
}

pub(crate) fn tails() -> impl Strategy<Value = ToGateway> {
    prop_oneof![
        (any::<u64>(), targets(), any::<u32>()).prop_map(|(tail, target, payload)| {
            ToGateway::Tail(Box::new(OpenTail { tail, target, payload }))
        }),
        any::<u64>().prop_map(|tail| ToGateway::EndTail { tail }),
    ]
}

pub(crate) fn history() -> Query {
    Query::History(Box::new(History {
        client: Some(ConnectionId(7)),
        uid: Some(uid("ann")),
        ip: Some([10, 0, 0, 9].into()),
        since: 1_700_000_000_000,
        after: 300,
        limit: 1000,
    }))
}

/// One event of each kind.
pub(crate) fn events() -> Vec<LifecycleEvent> {
    let (remote, listener, worker) = (addr(5000), addr(7272), "10.0.0.9:chat:1".to_owned());
    let closed = |by| Closing {
        remote,
        uid: Some(uid("ann")),
        code: Some(1013),
        reason: "slow".to_owned(),
        cause: "send queue full".to_owned(),
        by,
        age: 70_000,
        queue_bytes: 300,
        events: 3,
    };
    let peer = ClosedBy::Peer { worker: Some(worker.clone()) };
    let kinds = cases!(LifecycleKind {
        LifecycleKind::Connected { .. } => "": LifecycleKind::Connected { remote, listener };
        LifecycleKind::Refused { .. } =>
            "": LifecycleKind::Refused { remote, listener, reason: "origin".to_owned() };
        LifecycleKind::Bound { .. } => "": LifecycleKind::Bound { uid: uid("ann") };
        LifecycleKind::JoinRefused { .. } => "": LifecycleKind::JoinRefused { group: group("r") };
        LifecycleKind::Assigned { .. } =>
            "": LifecycleKind::Assigned { worker: worker.clone(), again: true };
        LifecycleKind::WorkerLinked { .. } =>
            "": LifecycleKind::WorkerLinked { worker: worker.clone() };
        LifecycleKind::WorkerLost { .. } =>
            "": LifecycleKind::WorkerLost { worker, clients: 300 };
        LifecycleKind::Unassigned => "": LifecycleKind::Unassigned;
        LifecycleKind::Slow { .. } => "": LifecycleKind::Slow { queue_bytes: 300 };
        LifecycleKind::Paused { .. } => "": LifecycleKind::Paused { reason: ReadPause::RateLimit };
        LifecycleKind::Closed(_) =>
            "": LifecycleKind::Closed(Box::new(closed(ClosedBy::Client))),
            "": LifecycleKind::Closed(Box::new(closed(ClosedBy::Gateway))),
            "": LifecycleKind::Closed(Box::new(closed(peer)));
        LifecycleKind::Draining { .. } => "": LifecycleKind::Draining { clients: 2 };
    });
    let event = |(number, (_, kind))| {
        let client = Some(ConnectionId(7));
        LifecycleEvent { number, at: 1_700_000_000_000, client, kind }
    };
    (300..).zip(kinds).map(event).collect()
}

pub(crate) fn details() -> ClientDetails {
    ClientDetails {
        client: ConnectionId(7),
        remote: addr(5000),
        proxy: Some(addr(6000)),
        listener: addr(7272),
        kind: ListenerKind::WebSocket,
        tls: true,
        compression: false,
        connected_at: 1_700_000_000_000,
        age: 300,
        uid: Some(uid("ann")),
        groups: vec![group("r"), group("s")],
        group_count: 2,
        session_bytes: 7,
        queue_bytes: 300,
        blocked: true,
        events: 3,
        silent: Some(5000),
        worker: Some("10.0.0.9:chat:1".to_owned()),
        waits: None,
        pauses: ReadPause::ALL.to_vec(),
        state: ClientState::Open,
    }
}

pub(crate) fn page() -> DetailsPage {
    DetailsPage { clients: vec![details()], next: Some(70_000) }
}

pub(crate) fn status() -> GatewayStatus {
    GatewayStatus {
        version: "0.1.0".to_owned(),
        commit: Some("abc".to_owned()),
        instance: InstanceId::from_random(1),
        address: addr(2900),
        listeners: vec![ListenerStatus {
            address: addr(7272),
            kind: ListenerKind::Frame,
            tls: true,
        }],
        now: 1_700_000_000_000,
        uptime: 300,
        draining: false,
        not_ready: vec!["worker: no worker is linked".to_owned()],
        threads: vec![ThreadStatus { clients: 2, pressed: true, ..ThreadStatus::default() }],
        clients: 2,
        groups: 3,
        uids: 4,
        names_exact: true,
        connections: 5,
        max_connections: 6,
        handshakes: 7,
        slow_clients: 8,
        paused_clients: 9,
        queue_bytes: 10,
        client_bytes: 11,
        client_bytes_limit: Some(12),
        unassigned_bytes: 13,
        in_flight_bytes: 14,
        traffic: Traffic { messages_in: 15, bytes_out: 16, accepted: 17, ..Traffic::default() },
        closed: vec![("slow".to_owned(), 18)],
        retained: 19,
        retained_bytes: 20,
        resident_bytes: Some(21),
        descriptors: Some(22),
        descriptor_limit: None,
        peers: vec![PeerStatus {
            worker: Some("10.0.0.9:chat:1".to_owned()),
            instance: Some(InstanceId::from_random(2)),
            kind: PeerKind::Native,
            remote: addr(5001),
            linked: 23,
            silent: 24,
            late: true,
            leaving: false,
            clients: 25,
            in_flight: 26,
            in_flight_bytes: 27,
            window_bytes: 28,
            stalled: Some(29),
            queue_bytes: 30,
            unanswered: 31,
        }],
    }
}

pub(crate) fn queries() -> impl Strategy<Value = Query> {
    let names = (option::of(strategies::uid()), option::of(strategies::group()));
    let history = (option::of(strategies::uid()), any::<(Option<IpAddr>, u64, u64, u32)>());
    let history = history.prop_map(|(uid, (ip, since, after, limit))| {
        Query::History(Box::new(History { client: None, uid, ip, since, after, limit }))
    });
    let clients = option::of(vec(any::<u32>().prop_map(ConnectionId), 0..4));
    let filters = any::<(Option<IpAddr>, Option<String>, Option<u64>, bool, u32, u64)>();
    let inspect = (clients, names, filters).prop_map(
        |(clients, (uid, group), (ip, worker, queued, paused, limit, after))| {
            let filter = ClientFilter { clients, uid, group, ip, worker, queued, paused };
            Query::Inspect(Box::new(Inspect { filter, limit, after }))
        },
    );
    prop_oneof![history, inspect]
}

pub(crate) fn answers() -> impl Strategy<Value = Answer> {
    let pauses = vec(prop::sample::select(ReadPause::ALL.to_vec()), 0..4);
    let clients = (any::<(u32, u64, Option<u64>, bool)>(), option::of(strategies::uid()), pauses)
        .prop_map(|((client, queue_bytes, silent, tls), uid, pauses)| {
            let client = ConnectionId(client);
            ClientDetails { client, queue_bytes, silent, tls, uid, pauses, ..details() }
        });
    prop_oneof![
        vec(prop::sample::select(events()), 0..4).prop_map(Answer::History),
        (vec(clients, 0..4), any::<Option<u64>>())
            .prop_map(|(clients, next)| Answer::Details(DetailsPage { clients, next })),
        any::<(String, Vec<String>, u64, Option<u64>)>().prop_map(
            |(version, not_ready, clients, resident_bytes)| {
                let status =
                    GatewayStatus { version, not_ready, clients, resident_bytes, ..status() };
                Answer::Gateway(Box::new(status))
            }
        ),
    ]
}
