//! Somebody who listens in: a relay that keeps all that passes.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A relay in front of a port. What it keeps, it keeps in the order in which it passed, over both
/// directions and all connections.
#[derive(Debug)]
pub struct Relay {
    heard: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Passes on what comes to `from` to `to`, and back.
    ///
    /// # Panics
    /// When it cannot listen there.
    pub async fn start(from: SocketAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(from).await.unwrap();
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let ours = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if let Ok(far) = TcpStream::connect(to).await {
                    let (near, far) = (near.into_split(), far.into_split());
                    tokio::spawn(pass(near.0, far.1, Arc::clone(&ours)));
                    tokio::spawn(pass(far.0, near.1, Arc::clone(&ours)));
                }
            }
        });
        Self { heard, task }
    }

    /// Whether these bytes have passed, in one piece.
    ///
    /// # Panics
    /// Never, unless a task of it did.
    pub fn has_heard(&self, bytes: &[u8]) -> bool {
        self.heard.lock().unwrap().windows(bytes.len()).any(|piece| piece == bytes)
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    heard: Arc<Mutex<Vec<u8>>>,
) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut bytes).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        heard.lock().unwrap().extend_from_slice(&bytes[..length]);
        to.write_all(&bytes[..length]).await?;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}
