//! A worker inside the test process: reports every call, and executes commands in client messages.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use push_suite_worker::{
    Client, ClientId, CloseReason, Config, Handshake, Message, Process, Worker, serve,
};
use serde_json::{Map, Value};
use service::Starting;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{Suite, answers, eventually, with_timeout};

/// Default grace period for a disconnected gateway.
const GATEWAY_GRACE: Duration = Duration::from_secs(1);

/// A worker inside the test process. Dropping it looks like a crash to gateways.
#[derive(Debug)]
pub struct TestWorker {
    reports: mpsc::Receiver<Report>,
    state: Arc<State>,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

/// The close events of each client: reason, and whether marked as redelivered.
pub type Closes = BTreeMap<ClientId, Vec<(CloseReason, bool)>>;

/// Adds the close events among the workers' pending reports to `closes`. Other reports are dropped.
pub fn take_closes<'a>(workers: impl IntoIterator<Item = &'a mut TestWorker>, closes: &mut Closes) {
    for worker in workers {
        while let Some(report) = worker.try_next_report() {
            if let Call::Close(reason) = report.call {
                closes.entry(report.client).or_default().push((reason, report.redelivered));
            }
        }
    }
}

/// One call of a worker method.
#[derive(Clone, Debug)]
pub struct Report {
    /// The client.
    pub client: ClientId,
    /// The method and its argument.
    pub call: Call,
    /// Number of the event, counted per client.
    pub number: u64,
    /// Whether it was marked as redelivered.
    pub redelivered: bool,
    /// The session of the client at that time.
    pub session: String,
}

/// A worker method and its argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// `on_connect`.
    Connect,
    /// `on_websocket_connect`.
    WebSocketConnect(Handshake),
    /// `on_message`, reported after the command of the message is executed.
    Message(Message),
    /// `on_close`.
    Close(CloseReason),
    /// `on_expiring`.
    Expiring(u64),
}

#[derive(Debug)]
struct State {
    reports: mpsc::Sender<Report>,
    /// Handlers of `wait` messages acquire one each.
    permits: Semaphore,
    waiting: AtomicUsize,
    stopped: AtomicUsize,
    rejects: AtomicBool,
}

impl TestWorker {
    /// Starts a worker and waits until it is linked to every gateway.
    pub async fn start(suite: &Suite, id: &str) -> Self {
        Self::start_with(suite, id, GATEWAY_GRACE).await
    }

    /// The same with this grace period for disconnected gateways.
    pub async fn start_with(suite: &Suite, id: &str, gateway_grace: Duration) -> Self {
        let (sender, reports) = mpsc::channel(10_000);
        let state = Arc::new(State {
            reports: sender,
            permits: Semaphore::new(0),
            waiting: AtomicUsize::new(0),
            stopped: AtomicUsize::new(0),
            rejects: AtomicBool::new(false),
        });
        let registers = suite.register_addrs.iter().map(ToString::to_string);
        let config = Config::new(registers, suite.secret())
            .name("test")
            .id(id)
            .gateway_grace(gateway_grace)
            .threads(1)
            .tls(suite.tls());
        let stop = CancellationToken::new();
        let starting = Starting::new(None, stop.clone(), Duration::from_secs(5));
        let health = starting.health.clone();
        let task = tokio::spawn(serve(CommandWorker(Arc::clone(&state)), config, starting));
        eventually("a worker to be linked", async || health.is_ready().then_some(())).await;
        Self { reports, state, stop, task }
    }

    /// The next call.
    ///
    /// # Panics
    /// After the timeout.
    pub async fn next_report(&mut self) -> Report {
        with_timeout("a call of the worker", self.reports.recv()).await.expect("a report")
    }

    /// The next call, if one was made already.
    pub fn try_next_report(&mut self) -> Option<Report> {
        self.reports.try_recv().ok()
    }

    /// Waits until exactly this many handlers of `wait` messages are blocked.
    pub async fn wait_until_blocked(&self, count: usize) {
        eventually("handlers to block", async || {
            (self.state.waiting.load(Ordering::Relaxed) == count).then_some(())
        })
        .await;
    }

    /// Releases this many handlers of `wait` messages.
    pub fn release(&self, count: usize) {
        self.state.permits.add_permits(count);
    }

    /// Makes it close every new client from now on.
    pub fn reject(&self) {
        self.state.rejects.store(true, Ordering::Relaxed);
    }

    /// Starts a graceful shutdown without waiting for it.
    pub fn request_stop(&self) {
        self.stop.cancel();
    }

    /// Shuts down gracefully; returns the calls that were not read yet.
    ///
    /// # Panics
    /// If it fails.
    pub async fn stop(mut self) -> Vec<Report> {
        self.request_stop();
        with_timeout("a worker to stop", &mut self.task).await.unwrap().unwrap();
        let stopped = self.state.stopped.load(Ordering::Relaxed);
        assert_eq!(stopped, 1, "on_worker_stop is called once");
        std::iter::from_fn(|| self.try_next_report()).collect()
    }
}

impl Drop for TestWorker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Executes messages as commands: a word and its argument.
struct CommandWorker(Arc<State>);

impl CommandWorker {
    async fn report(&self, client: &Client, call: Call) {
        let session = client.encoded_session();
        let report = Report {
            client: client.id(),
            call,
            number: client.delivery().number,
            redelivered: client.redelivered(),
            session: String::from_utf8_lossy(session.as_encoded()).into_owned(),
        };
        // Fails if the test no longer reads calls.
        let _ = self.0.reports.send(report).await;
    }

    /// Blocks until the test calls [`TestWorker::release`].
    async fn wait(&self) -> anyhow::Result<()> {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        self.0.permits.acquire().await?.forget();
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A session change that sets the note.
fn note(text: &str) -> Map<String, Value> {
    Map::from_iter([("note".to_owned(), Value::from(text))])
}

impl Worker for CommandWorker {
    async fn on_connect(&self, client: &Client) -> anyhow::Result<()> {
        self.report(client, Call::Connect).await;
        if self.0.rejects.load(Ordering::Relaxed) {
            // Like a handler that queries a database first.
            tokio::time::sleep(Duration::from_millis(5)).await;
            client.close(None).await?;
        }
        Ok(())
    }

    async fn on_websocket_connect(
        &self,
        client: &Client,
        handshake: &Handshake,
    ) -> anyhow::Result<()> {
        self.report(client, Call::WebSocketConnect(handshake.clone())).await;
        answers::answer(client, handshake, self.wait()).await
    }

    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        let text = message.as_text().unwrap_or_default().to_owned();
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        match word {
            "echo" => client.send(rest).await?,
            "wait" => {
                self.wait().await?;
                client.send(rest).await?;
            }
            "join" => client.join_group(rest).await?,
            "bind" => {
                client.bind_uid(rest).await?;
                client.send(rest).await?;
            }
            "room" => client.cluster().send_to_group("room", rest).await?,
            "report" => {
                let report = client.send(rest).report().await?;
                client.send(report.to_string()).await?;
            }
            "forget" => client.remove_session_keys(rest.split(' ')).await?,
            // Replaces the session if the handler's copy of it is the gateway's.
            "swap" => {
                let seen = client.encoded_session();
                let swapped = client.compare_and_set_session(&seen, &note(rest)).await?;
                client.send(if swapped.is_replaced() { "replaced" } else { "other" }).await?;
            }
            // The same after waiting, until it succeeds.
            "increment" => {
                self.wait().await?;
                loop {
                    let seen = client.encoded_session();
                    let mut next = seen.decode()?;
                    let count = next.get("count").and_then(Value::as_u64).unwrap_or(0);
                    next.insert("count".to_owned(), (count + 1).into());
                    if client.compare_and_set_session(&seen, &next).await?.is_replaced() {
                        break;
                    }
                }
            }
            "count" => {
                let count = client.cluster().group_count(rest).await?;
                client.send(count.to_string()).await?;
            }
            "remember" => client.update_session(&note(rest)).await?,
            "remember-later" => {
                self.wait().await?;
                client.update_session(&note(rest)).await?;
            }
            "remember-of" => {
                let (other, text) = rest.split_once(' ').unwrap_or((rest, ""));
                client.cluster().update_session(other.parse()?, &note(text)).await?;
            }
            "panic" => panic!("on request"),
            "renew" => {
                let renewal = client.renew_token(rest).await?;
                client.send(format!("{renewal:?}")).await?;
            }
            "bye" => client.close(rest).await?,
            _ => {}
        }
        self.report(client, Call::Message(message)).await;
        Ok(())
    }

    async fn on_close(&self, client: &Client, reason: CloseReason) -> anyhow::Result<()> {
        self.report(client, Call::Close(reason)).await;
        Ok(())
    }

    async fn on_expiring(&self, client: &Client, expires_at: u64) -> anyhow::Result<()> {
        self.report(client, Call::Expiring(expires_at)).await;
        Ok(())
    }

    async fn on_worker_stop(&self, _process: &Process) -> anyhow::Result<()> {
        self.0.stopped.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
