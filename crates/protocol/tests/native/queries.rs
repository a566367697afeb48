//! One value for each variant of queries and their answers, under the name of its golden bytes.

use std::time::Duration;

use push_suite_protocol::{
    Answer, ConnectionId, Effect, Fields, Filter, Message, Query, Renewal, Retained, Retention,
    Row, Session, Swap,
    inspect::DetailsPage,
    link::ToPeer,
    streaming::{Held, Released},
};

use crate::{
    cases::{group, session, uid},
    inspect, presence, streams, tokens,
};

pub(crate) fn queries() -> Vec<(&'static str, Query)> {
    let client = ConnectionId(7);
    cases!(Query {
        Query::IsOnline { .. } => "is-online": Query::IsOnline { client };
        Query::Session { .. } => "session": Query::Session { client };
        Query::Sessions { .. } =>
            "sessions": Query::Sessions { group: None },
            "sessions-of-group": Query::Sessions { group: Some(group("r")) };
        Query::ClientsOfUids { .. } =>
            "clients-of-uids": Query::ClientsOfUids { uids: vec![uid("ann"), uid("bob")] };
        Query::Count { .. } =>
            "count": Query::Count { group: None },
            "count-of-group": Query::Count { group: Some(group("r")) };
        Query::Counts { .. } => "counts": Query::Counts { groups: vec![group("r"), group("s")] };
        Query::Groups => "groups": Query::Groups;
        Query::Select { .. } => "select": Query::Select {
            fields: Fields { uid: true, groups: false, session: true },
            filter: Filter::All,
        };
        Query::Online { .. } => "online": Query::Online { clients: vec![client, ConnectionId(300)] };
        Query::CountsOfUids { .. } =>
            "counts-of-uids": Query::CountsOfUids { uids: vec![uid("ann"), uid("bob")] };
        Query::CountsOfAllGroups => "counts-of-all-groups": Query::CountsOfAllGroups;
        Query::UidCount { .. } =>
            "uid-count": Query::UidCount { group: None },
            "uid-count-of-group": Query::UidCount { group: Some(group("r")) };
        Query::Uids { .. } =>
            "uids": Query::Uids { group: None },
            "uids-of-group": Query::Uids { group: Some(group("r")) };
        Query::SwapSession { .. } => "swap-session": Query::SwapSession {
            client,
            edit: 300,
            expected: Session::default(),
            new: session(r#"{"a":1}"#),
        };
        Query::RenewToken { .. } => "renew-token": tokens::renew(client);
        Query::Revoke(_) => "revoke": tokens::revoke(uid("ann"));
        Query::Bindings { .. } => "bindings": Query::Bindings { uid: uid("ann"), clock: 300 };
        Query::Retained { .. } => "retained": Query::Retained { group: group("r") };
        Query::Gateway => "gateway": Query::Gateway;
        Query::Inspect(_) =>
            "inspect": Query::Inspect(Box::default()),
            "inspect-filtered": inspect::query();
        Query::History(_) => "history": inspect::history();
        Query::Drain => "drain": Query::Drain;
        Query::LogFilter { .. } =>
            "log-filter": Query::LogFilter { replacement: None },
            "log-filter-set": Query::LogFilter { replacement: Some("debug".to_owned()) };
        Query::Settings => "settings": Query::Settings;
        Query::Trace(_) =>
            "trace": inspect::trace(),
            "trace-ping": inspect::trace_ping();
        Query::Certificates => "certificates": Query::Certificates;
        Query::HoldStream(_) => "hold-stream": streams::hold();
        Query::ReleaseStream(_) => "release-stream": streams::release();
        Query::Presence { .. } =>
            "presence": Query::Presence { group: group("r"), members: None },
            "presence-of-members": Query::Presence {
                group: group("r"),
                members: Some(vec![presence::id()]),
            };
    })
}

pub(crate) fn filters() -> Vec<(&'static str, Filter)> {
    cases!(Filter {
        Filter::All => "all": Filter::All;
        Filter::Any { .. } => "any": Filter::Any {
            groups: vec![group("r")],
            uids: vec![uid("ann")],
            clients: vec![ConnectionId(7)],
        };
    })
}

pub(crate) fn answers() -> Vec<(&'static str, Answer)> {
    let client = ConnectionId(7);
    let mut all = cases!(Answer {
        Answer::Online(_) => "online": Answer::Online(true);
        Answer::Session(_) =>
            "session": Answer::Session(Some(session(r#"{"a":1}"#))),
            "session-of-nobody": Answer::Session(None);
        Answer::Sessions(_) => "sessions": Answer::Sessions(vec![
            (client, session(r#"{"a":1}"#)),
            (ConnectionId(8), Session::default()),
        ]);
        Answer::Clients(_) => "clients": Answer::Clients(vec![
            (uid("ann"), vec![client, ConnectionId(251)]),
            (uid("bob"), vec![]),
        ]);
        Answer::Count(_) => "count": Answer::Count(70_000);
        Answer::Counts(_) => "counts": Answer::Counts(vec![(group("r"), 2), (group("s"), 0)]);
        Answer::Groups(_) => "groups": Answer::Groups(vec![group("r"), group("s")]);
        Answer::Rows(_) => "rows": Answer::Rows(vec![
            Row {
                client,
                uid: Some(uid("ann")),
                groups: vec![group("r")],
                session: Some(session(r#"{"a":1}"#)),
                joined: false,
            },
            Row { client: ConnectionId(8), uid: None, groups: vec![], session: None, joined: false },
        ]);
        Answer::Unavailable => "unavailable": Answer::Unavailable;
        Answer::Effect(_) => "effect": Answer::Effect(Effect {
            matched: 70_000,
            reached: 300,
            dropped: 2,
        });
        Answer::Numbers(_) => "numbers": Answer::Numbers(vec![0, 1, 300]);
        Answer::Uids(_) => "uids": Answer::Uids(vec![uid("ann"), uid("bob")]);
        Answer::Swap(_) =>
            "swap-offline": Answer::Swap(Swap::Offline),
            "swap-done": Answer::Swap(Swap::Done),
            "swap-other": Answer::Swap(Swap::Other(session(r#"{"a":1}"#)));
        Answer::Renewal(_) =>
            "token-renewed": Answer::Renewal(Renewal::Renewed { expires_at: Some(70_000) });
        Answer::RevocationsFull => "revocations-full": Answer::RevocationsFull;
        Answer::Bindings(_) =>
            "bindings": Answer::Bindings(vec![(client, 300), (ConnectionId(8), u64::MAX)]);
        Answer::Retained(_) =>
            "retained": Answer::Retained(Some(Retained {
                message: Message::text("hi"),
                retention: Retention::new(Duration::from_secs(300), Duration::from_secs(1500)),
            })),
            "retained-none": Answer::Retained(None);
        Answer::Presence(_) => "presence": Answer::Presence(presence::answer());
        Answer::LogFilter(_) =>
            "log-filter": Answer::LogFilter(Ok("info".to_owned())),
            "log-filter-invalid": Answer::LogFilter(Err("no".to_owned()));
        Answer::Settings(_) => "settings": Answer::Settings("threads = 1\n".to_owned());
        Answer::Traced(_) => "traced": inspect::traced();
        Answer::Certificates(_) => "certificates": inspect::certificates();
        Answer::Held(_) =>
            "held-offline": Answer::Held(Held::Offline),
            "held": Answer::Held(Held::Held),
            "held-refused": Answer::Held(Held::Refused),
            "held-ended": Answer::Held(Held::Ended { recovered: true });
        Answer::Released(_) =>
            "released": Answer::Released(Released::Done),
            "released-again": Answer::Released(Released::Again),
            "released-ended": Answer::Released(Released::Ended);
        Answer::History(_) =>
            "history": Answer::History(inspect::events()),
            "history-none": Answer::History(vec![]);
        Answer::Gateway(_) => "gateway": Answer::Gateway(Box::new(inspect::status()));
        Answer::Details(_) =>
            "details": Answer::Details(inspect::page()),
            "details-none": Answer::Details(DetailsPage::default());
    });
    all.extend(tokens::renewals());
    all
}

/// The effects of commands.
pub(crate) fn effects() -> ToPeer {
    let one = Effect { matched: 3, reached: 1, dropped: 2 };
    ToPeer::Effects { effects: vec![(300, one), (0x0102_0304_0506_0708, Effect::default())] }
}
