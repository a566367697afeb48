//! A worker within the test: reports what it is told, and does what clients ask of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use business_worker::{
    Client, ClientId, CloseReason, Cluster, Config, Handshake, Message, Worker, serve,
};
use serde_json::{Map, Value};
use service::Starting;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{Suite, eventually, soon};

/// How long it waits for a gateway that is gone.
const GATEWAY_GRACE: Duration = Duration::from_secs(1);

/// A worker that runs within the test. Dropping it is what a crash looks like.
#[derive(Debug)]
pub struct TestWorker {
    reports: mpsc::Receiver<Report>,
    doing: Arc<Doing>,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

/// One call of one method.
#[derive(Clone, Debug)]
pub struct Report {
    /// About whom.
    pub client: ClientId,
    /// What happened.
    pub told: Told,
    /// The event's number among the client's own.
    pub number: u64,
    /// Whether it was marked as redelivered.
    pub redelivered: bool,
    /// The client's session then.
    pub session: String,
}

/// What a method was told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// A connection was accepted.
    Connect,
    /// Its handshake was accepted.
    WebSocketConnect(Handshake),
    /// It sent a message, and what that asks for is done now.
    Message(Message),
    /// It is gone.
    Close(CloseReason),
}

#[derive(Debug)]
struct Doing {
    reports: mpsc::Sender<Report>,
    /// What messages that say `wait` wait for.
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

    /// The same, of one that waits so long for a gateway that is gone.
    pub async fn start_with(suite: &Suite, id: &str, gateway_grace: Duration) -> Self {
        let (sender, reports) = mpsc::channel(10_000);
        let doing = Arc::new(Doing {
            reports: sender,
            permits: Semaphore::new(0),
            waiting: AtomicUsize::new(0),
            stopped: AtomicUsize::new(0),
            rejects: AtomicBool::new(false),
        });
        let config = Config {
            registers: suite.register_addrs.iter().map(ToString::to_string).collect(),
            secret: suite.secret(),
            key: format!("test:{id}"),
            gateway_grace,
            threads: 1,
            handler_retries: 0,
            peer_timeout: Duration::from_secs(30),
            tls: suite.tls(),
        };
        let stop = CancellationToken::new();
        let starting = Starting::new(None, stop.clone(), Duration::from_secs(5));
        let health = starting.health.clone();
        let task = tokio::spawn(serve(Obedient(Arc::clone(&doing)), config, starting));
        eventually("a worker to be linked", async || health.is_ready().then_some(())).await;
        Self { reports, doing, stop, task }
    }

    /// The next call of a method.
    ///
    /// # Panics
    /// When there is none for too long.
    pub async fn told(&mut self) -> Report {
        soon("a worker to be told something", self.reports.recv()).await.expect("a report")
    }

    /// The next call of a method, if there is one already.
    pub fn told_already(&mut self) -> Option<Report> {
        self.reports.try_recv().ok()
    }

    /// Waits until that many messages that say `wait` are being dealt with.
    pub async fn has_waiting(&self, count: usize) {
        eventually("messages to wait", async || {
            (self.doing.waiting.load(Ordering::Relaxed) == count).then_some(())
        })
        .await;
    }

    /// Lets that many messages that say `wait` go on.
    pub fn let_go(&self, count: usize) {
        self.doing.permits.add_permits(count);
    }

    /// Has it close every client that connects from here on.
    pub fn reject(&self) {
        self.doing.rejects.store(true, Ordering::Relaxed);
    }

    /// Asks it to stop; it goes on with what it has.
    pub fn ask_to_stop(&self) {
        self.stop.cancel();
    }

    /// Asks it to stop, waits until it has, and says what it was told that nobody took.
    ///
    /// # Panics
    /// When it did not end well.
    pub async fn stop(mut self) -> Vec<Report> {
        self.ask_to_stop();
        soon("a worker to stop", &mut self.task).await.unwrap().unwrap();
        let stopped = self.doing.stopped.load(Ordering::Relaxed);
        assert_eq!(stopped, 1, "on_worker_stop is called once");
        std::iter::from_fn(|| self.told_already()).collect()
    }
}

impl Drop for TestWorker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Does what messages say: a word, and what it is about.
struct Obedient(Arc<Doing>);

impl Obedient {
    async fn report(&self, client: &Client, told: Told) {
        let session = client.encoded_session();
        let report = Report {
            client: client.id(),
            told,
            number: client.delivery().number,
            redelivered: client.redelivered(),
            session: String::from_utf8_lossy(session.as_encoded()).into_owned(),
        };
        // A test that has heard enough does not take it.
        let _ = self.0.reports.send(report).await;
    }

    /// Waits until the test lets it go on.
    async fn wait(&self) -> anyhow::Result<()> {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        self.0.permits.acquire().await?.forget();
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }
}

/// What a session says of a note.
fn note(text: &str) -> Map<String, Value> {
    Map::from_iter([("note".to_owned(), Value::from(text))])
}

impl Worker for Obedient {
    async fn on_connect(&self, client: &Client) -> anyhow::Result<()> {
        self.report(client, Told::Connect).await;
        if self.0.rejects.load(Ordering::Relaxed) {
            // As one that asks somebody first.
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
        self.report(client, Told::WebSocketConnect(handshake.clone())).await;
        Ok(())
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
            "room" => client.cluster().send_to_group("room", rest).await?,
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
            "panic" => panic!("as asked"),
            "bye" => client.close(Some(rest.into())).await?,
            _ => {}
        }
        self.report(client, Told::Message(message)).await;
        Ok(())
    }

    async fn on_close(&self, client: &Client, reason: CloseReason) -> anyhow::Result<()> {
        self.report(client, Told::Close(reason)).await;
        Ok(())
    }

    async fn on_worker_stop(&self, _cluster: &Cluster) -> anyhow::Result<()> {
        self.0.stopped.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
