//! Workers with `--app pusher`, and signed requests to their HTTP API.

use std::{
    io,
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use md5::{Digest as _, Md5};
use pusher::signature::Key;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use crate::{
    Browser, Process, Suite, ports,
    pusher_client::{PusherClient, PusherSettings},
    with_timeout,
};

/// Two gateways, and workers with the app `1`, each with the HTTP API.
#[derive(Debug)]
pub struct PusherSuite {
    /// The workers.
    pub workers: Vec<Process>,
    /// The addresses of their HTTP APIs.
    pub http: Vec<SocketAddr>,
    /// The gateways.
    pub suite: Suite,
    /// The settings file of the workers.
    pub settings: PusherSettings,
}

impl PusherSuite {
    /// Starts so many workers. `more` are further settings of the app, and further apps.
    ///
    /// # Panics
    /// When a process does not start.
    pub async fn start(threads: usize, workers: usize, more: &str) -> Self {
        let settings = PusherSettings::new(more);
        let suite = Suite::builder().threads(threads).start().await;
        let mut started = Self { workers: Vec::new(), http: Vec::new(), suite, settings };
        for number in 1..=workers {
            let addr = ports::free();
            let (id, listen) = (number.to_string(), addr.to_string());
            let config = started.settings.path().display().to_string();
            let flags =
                ["--app", "pusher", "--id", &id, "--config", &config, "--http-listen", &listen];
            let name = format!("pusher-{number}");
            let worker = started.suite.start_process(&name, "business-worker", &flags);
            started.workers.push(worker);
            started.http.push(addr);
        }
        for worker in &mut started.workers {
            worker.ready().await;
        }
        started
    }

    /// A client that is subscribed to channels, and its socket id. `@ann` signs it in as `ann`; a
    /// member of a presence channel is the user behind `as`: `presence-a as 7`.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn subscriber(&self, gateway: usize, channels: &[&str]) -> (Browser, String) {
        let mut client = PusherClient::connect(self.suite.gateways[gateway].clients).await;
        for channel in channels {
            match (channel.strip_prefix('@'), channel.split_once(" as ")) {
                (Some(user), _) => client.sign_in(&json!({"id": user}).to_string()).await,
                (None, Some((channel, user))) => {
                    client.join(channel, &json!({"user_id": user}).to_string()).await;
                }
                (None, None) => client.subscribed(channel).await,
            }
        }
        (client.browser, client.socket_id)
    }

    /// A connection to the HTTP API of a worker.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn api(&self, worker: usize) -> PusherApi {
        PusherApi::connect(self.http[worker]).await.unwrap()
    }
}

/// Waits for the next event with a name; others before it are dropped.
///
/// # Panics
/// When the connection closes.
pub async fn event(browser: &mut Browser, name: &str) -> Value {
    loop {
        let text = browser.receive_text().await;
        let message: Value = serde_json::from_str(&text).unwrap();
        if message["event"] == name {
            return message;
        }
    }
}

/// A keep-alive connection to the HTTP API, and the app with which it signs.
#[derive(Debug)]
pub struct PusherApi {
    stream: BufReader<TcpStream>,
    /// The id of the app.
    pub app: &'static str,
    /// The key that signs.
    pub key: Key,
    /// Added to the time of requests, in seconds.
    pub clock_offset: i64,
}

impl PusherApi {
    /// Connects.
    ///
    /// # Errors
    /// When nothing listens there.
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = BufReader::new(TcpStream::connect(addr).await?);
        Ok(Self { stream, app: "1", key: Key::new("k1", "s1"), clock_offset: 0 })
    }

    /// A signed request as bytes. `path` is behind that of the app unless it begins with `/`; it may
    /// have a query.
    ///
    /// # Panics
    /// When the clock is before 1970.
    #[must_use]
    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let path = match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("/apps/{}/{path}", self.app),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let time = now.saturating_add_signed(self.clock_offset);
        let mut pairs: Vec<String> =
            query.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
        pairs.extend([
            format!("auth_key={}", self.key.key()),
            format!("auth_timestamp={time}"),
            "auth_version=1.0".to_owned(),
        ]);
        if !body.is_empty() {
            let digest = Md5::digest(body);
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            pairs.push(format!("body_md5={hex}"));
        }
        pairs.sort();
        let query = pairs.join("&");
        let signature = self.key.sign(&[format!("{method}\n{path}\n{query}").as_bytes()]);
        let path = path.replace('#', "%23");
        let head = format!(
            "{method} {path}?{query}&auth_signature={signature} HTTP/1.1\r\nHost: test\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    }

    /// Sends a signed request, and returns status and body.
    ///
    /// # Errors
    /// When the connection ends before the answer.
    pub async fn try_send(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> io::Result<(u16, String)> {
        let request = self.request(method, path, body);
        self.stream.write_all(&request).await?;
        self.answer().await.map(|(status, _, body)| (status, body))
    }

    /// The same.
    ///
    /// # Panics
    /// When the connection ends before the answer.
    pub async fn get(&mut self, path: &str) -> (u16, String) {
        with_timeout(path, self.try_send("GET", path, b"")).await.unwrap()
    }

    /// The same, with a body.
    ///
    /// # Panics
    /// When the connection ends before the answer.
    pub async fn post(&mut self, path: &str, body: &Value) -> (u16, String) {
        let body = body.to_string();
        with_timeout(path, self.try_send("POST", path, body.as_bytes())).await.unwrap()
    }

    /// Writes bytes: requests whose answers are read later.
    ///
    /// # Panics
    /// When the connection is closed.
    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next answer: status, head and body.
    ///
    /// # Errors
    /// When the connection ends before it.
    pub async fn answer(&mut self) -> io::Result<(u16, String, String)> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let head = head.to_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok((status.unwrap_or(0), head, String::from_utf8_lossy(&body).into_owned()))
    }
}
