//! Queries of operators: what a gateway holds, and what it knows of its clients.
//!
//! They are answered from what the gateway keeps anyway: a client has no memory for them.

mod certificate;
mod client;
mod gateway;
mod history;
mod tail;
mod trace;

pub use self::{
    certificate::CertificateStatus,
    client::{
        ClientDetails, ClientFilter, ClientState, DetailsPage, Inspect, MAX_GROUPS, MAX_PAGE,
        MAX_PAGE_BYTES, ReadPause,
    },
    gateway::{
        GatewayStatus, ListenerKind, ListenerStatus, PeerKind, PeerStatus, ThreadStatus, Traffic,
    },
    history::{ClosedBy, Closing, History, LifecycleEvent, LifecycleKind, MAX_EVENTS},
    tail::{Direction, MAX_TAILED_PAYLOAD, MAX_TAILS, OpenTail, TailTarget, Tailed, TailedFrame},
    trace::{
        MAX_TRACE_WAIT, MAX_TRACED, MAX_TRACED_MESSAGE, Trace, Traced, TracedClient, TracedFate,
        TracedPush,
    },
};

#[cfg(test)]
mod tests;
