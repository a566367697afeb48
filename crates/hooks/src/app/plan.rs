//! The webhooks of the settings in effect, each with its receiver.

use std::sync::Arc;

use bytes::Bytes;
use protocol::Group;
use runtime::random;
use tokio::sync::Semaphore;

use crate::{
    cloudevents::BatchHead,
    engine::{Batching, Delivery, Endpoint, Engine, HookRequest, QUEUE},
    settings::{Hook, Hooks, Kind},
    signature::Secret,
};

/// A webhook with its receiver.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) hook: Hook,
    pub(super) secrets: Arc<[Secret]>,
    /// Headers of handshakes that are passed on, in lower case.
    pub(super) headers: Vec<String>,
    endpoint: Endpoint,
    /// How events without a waiting client are put into batches, if they are.
    pub(super) batching: Option<Arc<Batching>>,
    /// Permits of closes that wait.
    pub(super) closes: Semaphore,
}

impl Planned {
    /// The receiver, and how requests are sent to it.
    pub(super) fn endpoint(&self, delivery: Delivery) -> Endpoint {
        self.endpoint.with(delivery)
    }
}

fn batching(hook: &Hook, most: usize) -> Batching {
    let (secrets, origin) =
        (Arc::<[Secret]>::from(hook.secrets()), hook.origin().map(str::to_owned));
    let wrap = move |body: Bytes| {
        let id = format!("batch-{:032x}", random::random::<u128>());
        let head = BatchHead { id, secrets: Arc::clone(&secrets), origin: origin.clone() };
        HookRequest::new(head, body)
    };
    Batching { most, wrap: Box::new(wrap) }
}

/// The webhooks, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Plan(Vec<Planned>);

impl Plan {
    /// Continues the receivers that the engine has.
    pub(super) fn new(hooks: &Hooks, engine: &Engine) -> anyhow::Result<Self> {
        let planned = hooks.iter().map(|hook| {
            Ok(Planned {
                batching: hook.batch().map(|most| Arc::new(batching(hook, most))),
                endpoint: engine.endpoint(&hook.target(), hook.delivery())?,
                secrets: hook.secrets().into(),
                headers: hook.headers(),
                hook: hook.clone(),
                closes: Semaphore::new(QUEUE.count),
            })
        });
        Ok(Self(planned.collect::<anyhow::Result<_>>()?))
    }

    /// Those that receive an event of a client of a listener.
    pub(super) fn all(&self, kind: Kind, port: u16) -> impl Iterator<Item = &Planned> {
        self.0.iter().filter(move |planned| planned.hook.receives(kind, port))
    }

    /// Those that receive an event of a group.
    pub(super) fn of_group(&self, kind: Kind, group: &Group) -> impl Iterator<Item = &Planned> {
        self.0.iter().filter(move |planned| planned.hook.receives_of_group(kind, group))
    }

    /// Those that receive an event of any uid.
    pub(super) fn of_uids(&self, kind: Kind) -> impl Iterator<Item = &Planned> {
        self.0.iter().filter(move |planned| planned.hook.has(kind))
    }

    /// The one that answers an event of a client of a listener.
    pub(super) fn first(&self, kind: Kind, port: u16) -> Option<&Planned> {
        self.all(kind, port).next()
    }
}
