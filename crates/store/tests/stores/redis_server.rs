//! Real servers for the tests of `RedisStore`, and a relay whose target changes.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use push_suite_store::{RedisStore, StoreError};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::suite::{Store, say};

/// A server, with a folder of its own. It is killed when dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    folder: TempDir,
    pub(crate) options: Vec<String>,
    process: Child,
}

impl Server {
    /// Starts a server; `None` if the program is not installed.
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        // Another process may take the port before the server does.
        for _ in 0..10 {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let folder = TempDir::new().unwrap();
            let process = match spawn(port, &folder, &options) {
                Ok(process) => process,
                Err(error) => {
                    say(&format!("left out, for want of redis-server: {error}"));
                    return None;
                }
            };
            let mut server = Self { port, folder, options: options.clone(), process };
            if server.is_up() {
                return Some(server);
            }
        }
        panic!("redis-server does not start");
    }

    /// Ends the process.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again, on the same port and in the same folder.
    pub(crate) fn restart(&mut self) {
        assert!(self.try_restart());
    }

    /// The same; `false` if it refuses its options.
    pub(crate) fn try_restart(&mut self) -> bool {
        self.kill();
        self.process = spawn(self.port, &self.folder, &self.options).unwrap();
        self.is_up()
    }

    fn is_up(&mut self) -> bool {
        for _ in 0..1000 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return true;
            }
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        false
    }

    /// Sends a command, and returns the answer up to its first line.
    pub(crate) fn command(&self, command: &str) -> String {
        let mut tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        tcp.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        while !answer.ends_with(b"\r\n") {
            let count = tcp.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "{command}");
            answer.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) async fn store(&self) -> Store {
        connect(&self.url()).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(port: u16, folder: &TempDir, options: &[String]) -> std::io::Result<Child> {
    let mut server = Command::new("redis-server");
    server.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    server.args(["--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0"]);
    server.arg("--dir").arg(folder.path()).args(options);
    server.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

pub(crate) async fn connect(url: &str) -> Result<Store, StoreError> {
    let store = RedisStore::connect(url.parse().unwrap()).await?;
    Ok(Arc::new(store))
}

/// Passes connections on to a server that can be exchanged, as an address of a failover does.
pub(crate) struct Relay {
    pub(crate) port: u16,
    target: Arc<Mutex<u16>>,
    connections: Arc<Mutex<Vec<JoinHandle<()>>>>,
    accept: JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let target = Arc::new(Mutex::new(port));
        let connections: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let (to, all) = (Arc::clone(&target), Arc::clone(&connections));
        let accept = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let server = SocketAddr::from((Ipv4Addr::LOCALHOST, *to.lock().unwrap()));
                let pass = tokio::spawn(async move {
                    if let Ok(mut server) = tokio::net::TcpStream::connect(server).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
                all.lock().unwrap().push(pass);
            }
        });
        Self { port: own, target, connections, accept }
    }

    /// Ends all connections; further ones go to another server.
    pub(crate) fn switch(&self, port: u16) {
        *self.target.lock().unwrap() = port;
        self.connections.lock().unwrap().drain(..).for_each(|connection| connection.abort());
    }

    pub(crate) async fn store(&self) -> Store {
        connect(&format!("redis://127.0.0.1:{}", self.port)).await.unwrap()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accept.abort();
        self.connections.lock().unwrap().drain(..).for_each(|connection| connection.abort());
    }
}
