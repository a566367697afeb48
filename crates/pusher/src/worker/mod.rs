//! The worker: one connection from its handshake to its end.

mod authorization;
mod client_event;
mod notices;
mod reload;
mod sign_in;
mod subscribe;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use prometheus_client::registry::Registry;
use protocol::{
    Close, CloseCodes, CloseKind, CloseReason, Group, Handshake, MemberChange, Message,
    MessageKind, Secret,
};
use push_suite_worker::{Client, Cluster, Error, Grant, Notice, Process, Worker};
use runtime::{clock, random, supervise, sync::Mutex};
use service::settings::Current;
use tokio::task::JoinSet;

use crate::{
    App, Apps, SocketIds,
    budget::{Budgets, Weight},
    client_message::{ClientMessage, cut},
    connect::{self, Refused},
    counts::Counts,
    metrics::Metrics,
    names,
    observer::{NoObserver, Observer},
    presence, server_message,
    state::{Opened, State},
};
use authorization::Deadlines;

/// The close code of a kind of data that the protocol does not have.
const UNSUPPORTED_DATA: u16 = 1003;

/// The close code of a connection whose app is removed or disabled.
const DISABLED: Refused = Refused::Disabled;

/// The worker of the Pusher Channels protocol.
pub struct Pusher {
    shared: Arc<Shared>,
    /// Ended with this value.
    tasks: Mutex<JoinSet<()>>,
}

struct Shared {
    apps: Current<Apps>,
    ids: SocketIds,
    budgets: Mutex<Budgets>,
    deadlines: Mutex<Deadlines>,
    counts: Mutex<Counts>,
    /// Set at the start.
    cluster: OnceLock<Cluster>,
    metrics: Metrics,
    observer: Arc<dyn Observer>,
}

impl Pusher {
    /// The worker of these apps, in the cluster with this secret.
    pub fn new(secret: &Secret, apps: Current<Apps>) -> Self {
        Self::with_observer(secret, apps, Arc::new(NoObserver))
    }

    /// The same, with an observer.
    pub fn with_observer(
        secret: &Secret,
        apps: Current<Apps>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let shared = Shared {
            apps,
            ids: SocketIds::new(secret),
            budgets: Mutex::default(),
            deadlines: Mutex::default(),
            counts: Mutex::default(),
            cluster: OnceLock::new(),
            metrics: Metrics::default(),
            observer,
        };
        Self { shared: Arc::new(shared), tasks: Mutex::default() }
    }

    /// Registers the metrics. Their names have no prefix; pass a registry with one.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.shared.metrics.register(registry);
    }
}

/// The codes with which gateways close clients of this protocol: by them, clients connect again at
/// once (4200, 4201), after a second (4100), or not at all.
const CLOSE_CODES: [(CloseKind, u16); 10] = [
    (CloseKind::Shutdown, 4200),
    (CloseKind::PingTimeout, 4201),
    (CloseKind::SlowClient, 4100),
    (CloseKind::NoWorker, 4100),
    (CloseKind::Overload, 4100),
    (CloseKind::RateLimit, 4301),
    (CloseKind::NotAuthenticated, 4009),
    (CloseKind::TokenExpired, 4009),
    (CloseKind::TokenRefused, 4009),
    (CloseKind::UidLimit, 4004),
];

impl Worker for Pusher {
    fn close_codes(&self) -> CloseCodes {
        CloseCodes::new(CLOSE_CODES).expect("codes from 4000 are for applications")
    }

    fn watched_groups(&self) -> Vec<Group> {
        vec![Group::new(names::PREFIX).expect("not empty, and short")]
    }

    fn presence_message(&self, group: &Group, change: &MemberChange) -> Option<Message> {
        presence::message(&self.shared.channel(group)?, change)
    }

    async fn on_presence(&self, notice: &Notice) -> anyhow::Result<()> {
        Ok(self.shared.notice(notice).await?)
    }

    async fn on_worker_start(&self, process: &Process) -> anyhow::Result<()> {
        let mut tasks = self.tasks.lock();
        let (shared, cluster) = (Arc::clone(&self.shared), process.cluster().clone());
        supervise::spawn_in(&mut tasks, reload::follow(shared.apps.clone(), cluster.clone()));
        // An earlier one is the same.
        let _ = shared.cluster.set(cluster.clone());
        let counts = notices::send_counts(Arc::clone(&shared), cluster.clone());
        supervise::spawn_in(&mut tasks, counts);
        supervise::spawn_in(&mut tasks, authorization::enforce(shared, cluster));
        Ok(())
    }

    async fn on_websocket_connect(
        &self,
        client: &Client,
        handshake: &Handshake,
    ) -> anyhow::Result<()> {
        // A refusal is a close code behind the response: clients do not see an HTTP status.
        match client.accept(Grant::new()).await {
            Ok(()) | Err(Error::NoHandshake) => {}
            Err(error) => return Err(error.into()),
        }
        let error_events = connect::expects_error_event(handshake);
        match self.shared.admit(client, handshake).await? {
            Ok(app) => self.shared.open(client, &app, error_events).await,
            Err(refused) => self.shared.refuse(client, refused, error_events).await,
        }
    }

    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        let shared = &*self.shared;
        let Some(state) = State::read(&client.encoded_session()) else {
            // Of a listener without handshakes.
            return shared.refuse(client, Refused::Path, false).await;
        };
        let error_events = state.opened.error_events;
        if message.kind != MessageKind::Text {
            let close = (UNSUPPORTED_DATA, "Binary messages are not part of the protocol");
            return Ok(client.close(close).await?);
        }
        let app =
            shared.apps.get().by_id(&state.opened.app).filter(|app| app.is_enabled()).cloned();
        let Some(app) = app else { return shared.refuse(client, DISABLED, error_events).await };
        if state.is_overdue(clock::unix_seconds()) {
            return shared.refuse(client, Refused::Unauthorized, error_events).await;
        }
        let connection = Connection { shared, client, app: &app, state };
        match ClientMessage::parse(&message.body) {
            Ok(ClientMessage::Ping) => Ok(client.send(server_message::pong()).await?),
            Ok(ClientMessage::Pong) => Ok(()),
            Ok(ClientMessage::Subscribe(subscribe)) => connection.subscribe(subscribe).await,
            Ok(ClientMessage::Unsubscribe(it)) => connection.unsubscribe(&it.channel).await,
            Ok(ClientMessage::SignIn(sign_in)) => connection.sign_in(sign_in).await,
            Ok(ClientMessage::ClientEvent(event)) => connection.client_event(event).await,
            Err(fault) => connection.fault(Weight::Malformed, &fault.to_string()).await,
        }
    }

    async fn on_close(&self, client: &Client, _: CloseReason) -> anyhow::Result<()> {
        self.shared.budgets.lock().remove(client.id());
        Ok(())
    }

    async fn on_worker_stop(&self, _: &Process) -> anyhow::Result<()> {
        self.tasks.lock().abort_all();
        Ok(())
    }
}

impl Shared {
    /// The app that a client asks for, if it may connect.
    async fn admit(
        &self,
        client: &Client,
        handshake: &Handshake,
    ) -> Result<Result<Arc<App>, Refused>, Error> {
        let request = match connect::request(handshake) {
            Ok(request) => request,
            Err(refused) => return Ok(Err(refused)),
        };
        let apps = self.apps.get();
        let Some(app) = apps.by_key(request.key) else { return Ok(Err(Refused::UnknownKey)) };
        if !app.is_enabled() {
            return Ok(Err(Refused::Disabled));
        }
        if !app.allows_origin(request.origin) {
            return Ok(Err(Refused::Origin));
        }
        // An event that is redelivered: the client may be counted already.
        let is_counted = State::read(&client.encoded_session()).is_some();
        if let Some(most) = app.max_connections()
            && !is_counted
            && self.has(most, app, client.cluster()).await?
        {
            return Ok(Err(Refused::OverQuota));
        }
        self.metrics.established(request.client);
        Ok(Ok(Arc::clone(app)))
    }

    /// Whether an app has that many clients. False if they cannot be counted at present: a gateway
    /// that is not reachable is no reason to refuse the clients of others.
    async fn has(&self, most: u64, app: &App, cluster: &Cluster) -> Result<bool, Error> {
        match cluster.group_count(names::app_group(app)).await {
            Ok(count) => Ok(most <= count),
            Err(error) if error.is_retryable() => {
                tracing::debug!(app = app.id(), %error, "clients not counted: one is admitted");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Establishes a connection.
    async fn open(&self, client: &Client, app: &App, error_events: bool) -> anyhow::Result<()> {
        // An event that is redelivered: the client may have its socket id already.
        let before = State::read(&client.encoded_session()).map(|state| state.opened);
        let opened = match before {
            Some(opened) => opened,
            None => {
                let timeout = app.authorization_timeout().map(u64::from);
                let deadline = timeout.map(|seconds| clock::unix_seconds().saturating_add(seconds));
                let random = random::random::<u64>() % (1 << 53);
                Opened { app: app.id().to_owned(), random, deadline, error_events }
            }
        };
        if let Some(seconds) = app.authorization_timeout() {
            self.deadlines.lock().add(client.id(), clock::now(), seconds);
        }
        client.set_session(&opened).await?;
        client.join_group(names::app_group(app)).await?;
        let socket_id = self.ids.encode(client.id(), opened.random);
        let timeout = app.activity_timeout();
        let established = server_message::connection_established(socket_id.as_str(), timeout);
        Ok(client.send(established).await?)
    }

    /// Closes a connection with a code of the protocol.
    async fn refuse(
        &self,
        client: &Client,
        refused: Refused,
        error_events: bool,
    ) -> anyhow::Result<()> {
        self.metrics.closed(refused);
        Ok(client.close(refused.close(error_events)?).await?)
    }
}

/// A connection, at one of its messages.
struct Connection<'a> {
    shared: &'a Shared,
    client: &'a Client,
    app: &'a App,
    state: State,
}

impl Connection<'_> {
    /// Answers a message that is refused. A client with too many of them is closed.
    async fn fault(&self, weight: Weight, text: &str) -> anyhow::Result<()> {
        match self.may_err(weight) {
            true => Ok(self.client.send(server_message::error(None, text)).await?),
            false => self.close(Refused::Faults).await,
        }
    }

    /// Counts a message that is refused; false if it was one too many.
    fn may_err(&self, weight: Weight) -> bool {
        self.shared.metrics.faults.inc();
        self.shared.budgets.lock().take_fault(self.client.id(), weight, clock::now())
    }

    async fn close(&self, refused: Refused) -> anyhow::Result<()> {
        self.shared.refuse(self.client, refused, self.state.opened.error_events).await
    }

    fn socket_id(&self) -> crate::SocketId {
        self.state.socket_id(&self.shared.ids, self.client.id())
    }

    /// The error of a signature that is missing or wrong. `text` is what it should be of.
    fn invalid_signature(text: &[&[u8]], auth: &str) -> String {
        let text = String::from_utf8_lossy(&text.concat()).into_owned();
        let signature = auth.split_once(':').map_or(auth, |(_, signature)| signature);
        format!(
            "Invalid signature: Expected HMAC SHA256 hex digest of {}, but got {}",
            cut(&text, 512),
            cut(signature, 128)
        )
    }
}

impl Refused {
    /// The close; with the code as an event before it for clients that expect that.
    fn close(self, error_events: bool) -> Result<Close, protocol::InvalidClose> {
        let close = Close::new(self.code(), self.reason())?;
        Ok(match error_events {
            true => {
                close.with_last_message(server_message::error(Some(self.code()), self.reason()))
            }
            false => close,
        })
    }
}

impl fmt::Debug for Pusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pusher").field("apps", &self.shared.apps).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
