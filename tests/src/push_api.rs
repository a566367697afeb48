//! The push API of a process: its keys, and requests whose answers are checked against its OpenAPI
//! document.

use std::{fs, net::SocketAddr};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{Process, Suite, openapi, ports, process::Signal, with_timeout};

/// The keys, each with its scopes: the text before the hash.
pub const ADMIN: &str = "key-of-admin-4Qz7";
/// Scope `push`.
pub const PUSH: &str = "key-of-push-4Qz7";
/// Scope `read`.
pub const READ: &str = "key-of-read-4Qz7";
/// Scope `manage`.
pub const MANAGE: &str = "key-of-manage-4Qz7";
/// Scopes `push`, `manage` and `read`, of groups with the prefix `room:`.
pub const ROOMS: &str = "key-of-rooms-4Qz7";

/// The settings file with these keys.
pub const KEYS: &str = r#"
[[api.key]]
name = "admin"
sha256 = "2b3014f92c670320a0d86fb4fb2458982b26066b5fe3823c17430cbb3fa26ae2"
scopes = ["admin"]

[[api.key]]
name = "push"
sha256 = "689689eca67eeb8abc4a553d62daf969bbaa1879eac111b8ec8d86cdd3eff0ae"
scopes = ["push"]

[[api.key]]
name = "read"
sha256 = "4fad81d450c90112d2637c3057eec7ae929fb816b77a3565df143d7dcc5817f9"
scopes = ["read"]

[[api.key]]
name = "manage"
sha256 = "ea0e24b96fa903bf2ced59ec89a07f71914effb9c10872215c16feaaa7d1314f"
scopes = ["manage"]

[[api.key]]
name = "rooms"
sha256 = "e24bab1f0f4cce904a935012caf23d5b6068e5641bc474bffd5ee1da9b0f7115"
scopes = ["push", "manage", "read"]
group_prefix = "room:"
"#;

/// A process with `--http-listen`.
#[derive(Debug)]
pub struct PushApi {
    /// The process.
    pub process: Process,
    /// The address of the listener.
    pub addr: SocketAddr,
    settings: TempDir,
    document: Value,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    /// The status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; null if it is empty or not JSON.
    pub body: Value,
}

impl HttpAnswer {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The code of an error.
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }
}

/// A request.
#[derive(Clone, Debug, Default)]
pub struct HttpRequest {
    method: String,
    target: String,
    headers: String,
    body: Vec<u8>,
}

impl HttpRequest {
    /// A request without a key and a body.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), ..Self::default() }
    }

    /// Sets the key.
    pub fn key(self, key: &str) -> Self {
        self.header("Authorization", &format!("Bearer {key}"))
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    /// Sets a body of JSON.
    pub fn json(self, body: &Value) -> Self {
        self.body(body.to_string()).header("Content-Type", "application/json")
    }

    /// Sets a body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it on a connection of its own.
    ///
    /// # Panics
    /// If the connection fails, or the answer is not HTTP.
    pub async fn send(self, addr: SocketAddr) -> HttpAnswer {
        self.try_send(addr).await.expect("an answer")
    }

    /// The same; `None` if the connection fails before the answer is complete.
    pub async fn try_send(self, addr: SocketAddr) -> Option<HttpAnswer> {
        let Self { method, target, headers, body } = self;
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\
             Content-Length: {length}\r\n{headers}\r\n"
        );
        let exchange = async {
            let mut stream = TcpStream::connect(addr).await.ok()?;
            // The answer to a request that is too large comes before its end.
            let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            HttpAnswer::parse(&answer)
        };
        with_timeout("an answer of the push API", exchange).await
    }
}

impl HttpAnswer {
    /// Parses a complete answer.
    pub fn parse(answer: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(answer);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let body = serde_json::from_str(body).unwrap_or_default();
        Some(Self { status, headers, body })
    }
}

impl PushApi {
    /// Starts a process with `--app none`.
    pub async fn start(suite: &Suite) -> Self {
        Self::with_flags(suite, "api", "none", &[]).await
    }

    /// Starts a process with an app beside the API, and more flags.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn with_flags(suite: &Suite, name: &str, app: &str, more: &[&str]) -> Self {
        let settings = TempDir::with_prefix("push-api.").unwrap();
        let file = settings.path().join("settings.toml");
        fs::write(&file, KEYS).unwrap();
        let addr = ports::free();
        let (listen, file) = (addr.to_string(), file.display().to_string());
        let flags = ["--app", app, "--http-listen", &listen, "--config", &file, "--id", name];
        let flags = [&flags, more].concat();
        let mut process = suite.start_process(name, "business-worker", &flags);
        process.ready().await;
        let document = HttpRequest::new("GET", "/v1/openapi.json").send(addr).await.body;
        Self { process, addr, settings, document }
    }

    /// Sends a request with a key, and checks the answer against the document.
    ///
    /// # Panics
    /// If the answer is not one that the document has.
    pub async fn send(&self, request: HttpRequest) -> HttpAnswer {
        let (method, target) = (request.method.clone(), request.target.clone());
        let answer = request.send(self.addr).await;
        openapi::check(&self.document, &method, &target, answer.status, &answer.body)
            .unwrap_or_else(|problem| panic!("{method} {target}: {problem}\n{answer:?}"));
        answer
    }

    /// A request without a body.
    pub async fn call(&self, key: &str, method: &str, target: &str) -> HttpAnswer {
        self.send(HttpRequest::new(method, target).key(key)).await
    }

    /// A request with a body of JSON.
    pub async fn call_with(
        &self,
        key: &str,
        method: &str,
        target: &str,
        body: &Value,
    ) -> HttpAnswer {
        self.send(HttpRequest::new(method, target).key(key).json(body)).await
    }

    /// Sends a message.
    pub async fn push(&self, body: &Value) -> HttpAnswer {
        self.call_with(PUSH, "POST", "/v1/send", body).await
    }

    /// Replaces the settings file, and sends SIGHUP.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn reload(&mut self, settings: &str) {
        fs::write(self.settings.path().join("settings.toml"), settings).unwrap();
        self.process.signal(Signal::Hup);
    }

    /// The OpenAPI document.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Checks that no key is in the log.
    ///
    /// # Panics
    /// If one is.
    pub fn check_log(&self) {
        let log = self.process.log();
        for key in [ADMIN, PUSH, READ, MANAGE, ROOMS] {
            assert!(!log.contains(key), "{key} is in the log");
        }
    }
}
