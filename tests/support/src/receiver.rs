//! An HTTP server that records its requests and answers by a script: for webhooks.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

/// A request, as it was received.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Its number, from 0.
    pub number: usize,
    /// The number of its connection, from 0.
    pub connection: usize,
}

impl Received {
    /// A header; empty if absent.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map_or("", |(_, value)| value)
    }
}

/// How a request is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// With a status, headers as lines, and a body.
    Answer(u16, String, Vec<u8>),
    /// After a time.
    After(Duration, Box<Self>),
    /// Never; the connection stays open.
    Hang,
    /// With these bytes, and the end of the connection.
    Bytes(Vec<u8>),
    /// With the head of an answer, and then a byte in each interval, for ever.
    Drip(Duration),
}

impl Reply {
    /// An answer without a body.
    pub fn status(status: u16) -> Self {
        Self::Answer(status, String::new(), Vec::new())
    }

    /// 200 with JSON.
    pub fn json(text: impl Into<String>) -> Self {
        let head = "content-type: application/json\r\n".to_owned();
        Self::Answer(200, head, text.into().into_bytes())
    }
}

type Script = dyn Fn(&Received) -> Reply + Send + Sync;

/// The server. Its connections end when it is dropped.
pub struct Receiver {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    script: Mutex<Arc<Script>>,
    received: Mutex<Vec<Received>>,
    connections: Mutex<Vec<JoinHandle<()>>>,
}

impl Receiver {
    /// Starts on a free port of loopback.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_on(([127, 0, 0, 1], 0).into(), script).await
    }

    /// Starts on an address.
    ///
    /// # Panics
    /// When it cannot be bound.
    pub async fn start_on(
        addr: SocketAddr,
        script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(addr).await.expect("the address can be bound");
        let addr = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            script: Mutex::new(Arc::new(script)),
            received: Mutex::default(),
            connections: Mutex::default(),
        });
        let accepts = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            for number in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let shared = Arc::clone(&accepts);
                let task = tokio::spawn(async move {
                    // It ends when the client closes it, or with a request that is none.
                    let _ = shared.serve(stream, number).await;
                });
                lock(&accepts.connections).push(task);
            }
        });
        Self { addr, shared, accepting }
    }

    /// Its address.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its URL.
    pub fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.addr)
    }

    /// Answers by another script from now on.
    pub fn answer(&self, script: impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        *lock(&self.shared.script) = Arc::new(script);
    }

    /// The requests so far.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// Waits until it has received this many requests, and returns all of them.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        loop {
            let received = self.received();
            if count <= received.len() {
                return received;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
        lock(&self.shared.connections).iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    async fn serve(&self, stream: TcpStream, connection: usize) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        loop {
            let Some(mut request) = read(&mut stream).await? else { return Ok(()) };
            let script = Arc::clone(&lock(&self.script));
            let reply = {
                let mut received = lock(&self.received);
                (request.number, request.connection) = (received.len(), connection);
                received.push(request.clone());
                drop(received);
                script(&request)
            };
            if !write(&mut stream, reply).await? {
                return Ok(());
            }
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<Received>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let mut request = Received {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        ..Received::default()
    };
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.split_once(':') else { break };
        request.headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = request.header("content-length").parse().unwrap_or_default();
    request.body = vec![0; length];
    stream.read_exact(&mut request.body).await?;
    Ok(Some(request))
}

/// Whether the connection can be used again.
async fn write(stream: &mut BufReader<TcpStream>, mut reply: Reply) -> std::io::Result<bool> {
    while let Reply::After(time, then) = reply {
        sleep(time).await;
        reply = *then;
    }
    match reply {
        Reply::Answer(status, head, body) => {
            let length = if status == 204 {
                String::new()
            } else {
                format!("content-length: {}\r\n", body.len())
            };
            let head = format!("HTTP/1.1 {status} x\r\n{length}{head}\r\n");
            stream.write_all(&[head.as_bytes(), &body].concat()).await?;
            Ok(true)
        }
        Reply::Bytes(bytes) => {
            stream.write_all(&bytes).await?;
            Ok(false)
        }
        Reply::Drip(every) => {
            stream.write_all(b"HTTP/1.1 200 x\r\ncontent-length: 1000000\r\n\r\n").await?;
            loop {
                sleep(every).await;
                stream.write_all(b" ").await?;
            }
        }
        Reply::Hang | Reply::After(..) => {
            // Until the client closes the connection.
            stream.read_u8().await?;
            Ok(false)
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
