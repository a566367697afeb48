//! Metrics of this worker's clients.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::{channel::Kind, connect::Refused};

/// Client libraries with a label of their own.
const CLIENTS: [(&str, &str); 7] = [
    ("js", "js"),
    ("pusher-websocket-java", "java"),
    ("pusher-websocket-swift", "swift"),
    ("PusherSwift", "swift"),
    ("pusher-dotnet-client", "dotnet"),
    ("PythonPusherClient", "pysher"),
    ("Pysher", "pysher"),
];

/// The label of any other.
const OTHER: &str = "other";

/// Counters.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    connections: Family<ClientLabel, Counter>,
    closed: Family<CodeLabel, Counter>,
    subscriptions: Family<KindLabel, Counter>,
    refused_subscriptions: Family<KindLabel, Counter>,
    pub(crate) client_events: Counter,
    pub(crate) limited_client_events: Counter,
    pub(crate) faults: Counter,
    pub(crate) sign_ins: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClientLabel {
    client: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

const KINDS: [(Kind, &str); 5] = [
    (Kind::Public, "public"),
    (Kind::Private, "private"),
    (Kind::Encrypted, "encrypted"),
    (Kind::Presence, "presence"),
    (Kind::User, "user"),
];

/// The label of a channel that has no kind, since its name is invalid.
const INVALID: &str = "invalid";

fn label(kind: Option<Kind>) -> KindLabel {
    let found = KINDS.iter().find(|(known, _)| Some(*known) == kind);
    KindLabel { kind: found.map_or(INVALID, |(_, label)| label) }
}

impl Metrics {
    /// Registers the counters. Their names have no prefix; pass a registry with one.
    pub(crate) fn register(&self, registry: &mut Registry) {
        // Exported from the start, at zero.
        for client in CLIENTS.iter().map(|(_, label)| *label).chain([OTHER]) {
            drop(self.connections.get_or_create(&ClientLabel { client }));
        }
        for refused in Refused::ALL {
            drop(self.closed.get_or_create(&CodeLabel { code: refused.code().into() }));
        }
        for kind in KINDS.iter().map(|(kind, _)| Some(*kind)) {
            drop(self.subscriptions.get_or_create(&label(kind)));
            drop(self.refused_subscriptions.get_or_create(&label(kind)));
        }
        drop(self.refused_subscriptions.get_or_create(&label(None)));
        registry.register(
            "connections",
            "Established connections, by client library",
            self.connections.clone(),
        );
        registry.register(
            "closed",
            "Connections refused or closed, by close code",
            self.closed.clone(),
        );
        registry.register("subscriptions", "Subscriptions", self.subscriptions.clone());
        registry.register(
            "refused_subscriptions",
            "Subscriptions refused",
            self.refused_subscriptions.clone(),
        );
        registry.register("client_events", "Client events sent on", self.client_events.clone());
        registry.register(
            "limited_client_events",
            "Client events refused for their rate or size",
            self.limited_client_events.clone(),
        );
        registry.register("faults", "Messages refused with an error", self.faults.clone());
        registry.register("sign_ins", "Connections signed in", self.sign_ins.clone());
    }

    pub(crate) fn established(&self, client: &str) {
        let known = CLIENTS.iter().find(|(name, _)| *name == client);
        let client = known.map_or(OTHER, |(_, label)| label);
        self.connections.get_or_create(&ClientLabel { client }).inc();
    }

    pub(crate) fn closed(&self, refused: Refused) {
        self.closed.get_or_create(&CodeLabel { code: refused.code().into() }).inc();
    }

    pub(crate) fn subscribed(&self, kind: Kind) {
        self.subscriptions.get_or_create(&label(Some(kind))).inc();
    }

    pub(crate) fn refused_subscription(&self, kind: Option<Kind>) {
        self.refused_subscriptions.get_or_create(&label(kind)).inc();
    }
}
