//! Webhooks of apps: events of channels and clients, as signed requests to receivers.
//!
//! Each receiver has its own queue, which is bounded; events of one channel are sent in order, and
//! each is sent again until it is accepted, for five minutes.

mod batch;
mod entry;
pub mod payload;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use hooks::engine::{Endpoint, Engine, HookRequest, OrderKey, Target};
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use runtime::{clock, supervise, sync::Mutex};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::entry::{Webhook, WebhookEntry};
use self::{
    batch::{Added, Batches, LONGEST_WAIT},
    payload::WebhookEvent,
};
use crate::{
    App, Apps, Channel,
    observer::{ChannelChange, Observer, SentClientEvent},
    signature::Key,
};

const KEY: HeaderName = HeaderName::from_static("x-pusher-key");
const SIGNATURE: HeaderName = HeaderName::from_static("x-pusher-signature");

/// Batches of one webhook that are collected side by side: channels share them.
const LANES: u64 = 16;

/// The time within which an event for a cache channel without one is not sent again.
const CACHE_MISS: Duration = Duration::from_secs(5);

/// The most channels whose cache misses are remembered.
const MOST_CACHE_MISSES: usize = 10_000;

/// Sends the events of apps to their webhooks. Cheap to clone.
#[derive(Clone)]
pub struct Webhooks {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    /// The endpoints of the receivers in use: an engine forgets one that nothing holds.
    endpoints: Mutex<HashMap<(Target, Duration), Endpoint>>,
    batches: Mutex<Batches<Place>>,
    /// When a cache miss of a channel was sent, by app and channel.
    cache_misses: Mutex<HashMap<(String, String), Instant>>,
    collectors: TaskTracker,
    stop: CancellationToken,
}

/// The webhook of an app, by its position, and the lane of a channel.
type Place = (String, usize, u64);

/// The way of the events of one place.
#[derive(Clone)]
struct Route {
    endpoint: Endpoint,
    /// The key that signs.
    key: Key,
    headers: HeaderMap,
    order: OrderKey,
}

impl Webhooks {
    /// Sends with an engine.
    pub fn new(engine: Engine) -> Self {
        let shared = Shared {
            engine,
            endpoints: Mutex::default(),
            batches: Mutex::default(),
            cache_misses: Mutex::default(),
            collectors: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Queues an event for every webhook of the app that wants it. A full queue drops it, which
    /// the engine counts. To be called within a runtime.
    pub fn send(&self, app: &App, event: &WebhookEvent) {
        let wanting = app.webhooks().iter().enumerate().filter(|(_, webhook)| webhook.wants(event));
        for (index, webhook) in wanting {
            let Some(key) = app.keys().first() else { continue };
            let Some(endpoint) = self.endpoint(webhook) else { continue };
            let channel = event.channel();
            let place = (app.id().to_owned(), index, lane(channel));
            let order = match webhook.is_batched() {
                true => format!("{}:{index}:{}", app.id(), place.2),
                false => format!("{}:{index}:{channel}", app.id()),
            };
            let (order, headers) = (OrderKey::new(order), webhook.headers().clone());
            let route = Route { endpoint, key: key.clone(), headers, order };
            match webhook.is_batched() {
                true => self.collect(place, event.clone(), route),
                false => route.post(std::slice::from_ref(event)),
            }
        }
    }

    /// Sends a cache miss, unless one of the same channel was sent less than five seconds ago.
    pub fn send_cache_miss(&self, app: &App, channel: &Channel) {
        if app.webhooks().is_empty() {
            return;
        }
        let now = clock::now();
        let is_recent = |sent: &Instant| now.saturating_duration_since(*sent) < CACHE_MISS;
        let name = (app.id().to_owned(), channel.name().to_owned());
        let mut misses = self.shared.cache_misses.lock();
        if misses.get(&name).is_some_and(is_recent) {
            return;
        }
        if MOST_CACHE_MISSES <= misses.len() {
            misses.retain(|_, sent| is_recent(sent));
        }
        // If so many are recent, this one may be sent again.
        if misses.len() < MOST_CACHE_MISSES {
            misses.insert(name, now);
        }
        drop(misses);
        self.send(app, &WebhookEvent::cache_miss(channel));
    }

    /// Forgets receivers that no app has any longer, and sends again to those that have answered
    /// 410. To be called when the apps have been read again.
    pub fn reload(&self, apps: &Apps) {
        let used: HashSet<Target> =
            apps.iter().flat_map(|app| app.webhooks()).map(Webhook::target).collect();
        self.shared.endpoints.lock().retain(|(target, _), _| used.contains(target));
        self.shared.engine.switch_on();
    }

    /// Queues the events that are being collected, and waits until every event is accepted or given
    /// up, for at most `time`. Later events are no longer collected, but sent alone.
    pub async fn close(&self, time: Duration) {
        let Shared { engine, collectors, stop, .. } = &*self.shared;
        stop.cancel();
        let finished = async {
            collectors.close();
            collectors.wait().await;
            engine.flush().await;
        };
        // The engine counts those that remain.
        let _ = tokio::time::timeout(time, finished).await;
    }

    fn endpoint(&self, webhook: &Webhook) -> Option<Endpoint> {
        let (target, delivery) = (webhook.target(), webhook.delivery());
        let place = (target, delivery.timeout);
        let mut endpoints = self.shared.endpoints.lock();
        if let Some(endpoint) = endpoints.get(&place) {
            return Some(endpoint.clone());
        }
        match self.shared.engine.endpoint(&place.0, delivery) {
            Ok(endpoint) => {
                endpoints.insert(place, endpoint.clone());
                Some(endpoint)
            }
            Err(error) => {
                tracing::error!(url = %place.0.url, %error, "no events are sent to this webhook");
                None
            }
        }
    }

    /// Adds an event to the batch of its place.
    fn collect(&self, place: Place, event: WebhookEvent, route: Route) {
        let added = self.shared.batches.lock().add(place.clone(), event, clock::now());
        match added {
            Added::Waits => {}
            Added::Full(events) => route.post(&events),
            Added::First => {
                let shared = Arc::clone(&self.shared);
                let task = async move {
                    tokio::select! {
                        () = tokio::time::sleep(LONGEST_WAIT) => {}
                        () = shared.stop.cancelled() => {}
                    }
                    let is_stopped = shared.stop.is_cancelled();
                    // In the order of the batches: no other is made of the place meanwhile.
                    let mut batches = shared.batches.lock();
                    let events = match is_stopped {
                        true => batches.take(&place),
                        false => batches.take_due(&place, clock::now()),
                    };
                    if let Some(events) = events {
                        route.post(&events);
                    }
                };
                drop(supervise::spawn_tracked(&self.shared.collectors, task));
            }
        }
    }
}

impl Observer for Webhooks {
    fn client_event(&self, sent: SentClientEvent<'_>) {
        let SentClientEvent { app, channel, name, data, socket_id, user } = sent;
        if app.webhooks().is_empty() {
            return;
        }
        // A text is sent as it is, anything else as JSON.
        let text = serde_json::from_str(data).unwrap_or_else(|_| data.to_owned());
        let event = WebhookEvent::ClientEvent {
            channel: channel.name().to_owned(),
            event: name.to_owned(),
            data: text,
            socket_id: socket_id.to_string(),
            user_id: user.map(ToString::to_string),
        };
        self.send(app, &event);
    }

    fn channel_changed(&self, app: &App, channel: &Channel, change: ChannelChange<'_>) {
        // As in lists of channels, those of users are left out.
        if app.webhooks().is_empty() || channel.user().is_some() {
            return;
        }
        let event = match change {
            ChannelChange::Occupied => WebhookEvent::occupancy(channel, true),
            ChannelChange::Vacated => WebhookEvent::occupancy(channel, false),
            ChannelChange::MemberAdded(id) => WebhookEvent::membership(channel, id, true),
            ChannelChange::MemberRemoved(id) => WebhookEvent::membership(channel, id, false),
            ChannelChange::SubscriptionCount(count) => {
                WebhookEvent::subscription_count(channel, count)
            }
        };
        self.send(app, &event);
    }

    fn cache_miss(&self, app: &App, channel: &Channel) {
        self.send_cache_miss(app, channel);
    }
}

impl Route {
    fn post(&self, events: &[WebhookEvent]) {
        let body = payload::body(clock::unix_millis(), events);
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let signature = self.key.sign(&[&body]);
        for (name, value) in [(KEY, self.key.key()), (SIGNATURE, &signature[..])] {
            // Keys are letters and digits, and signatures hexadecimal digits.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        // The engine counts what it drops.
        let _ = self.endpoint.post(&self.order, HookRequest::new(headers, body));
    }
}

/// The lane of a channel, the same in every process.
fn lane(channel: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    channel.hash(&mut hasher);
    hasher.finish() % LANES
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").field("engine", &self.shared.engine).finish_non_exhaustive()
    }
}
