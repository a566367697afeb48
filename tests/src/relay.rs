//! The network in front of a port: can be cut and healed, and says what has passed.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};

/// Passes on what comes to one port to another, and back, unless it is cut. Ends when it is dropped.
#[derive(Debug)]
pub struct Relay {
    whole: watch::Sender<bool>,
    heard: Heard,
}

/// All that has passed, in both directions and over all connections, in the order in which it did.
type Heard = Arc<Mutex<Vec<u8>>>;

impl Relay {
    /// Listens at `at` on behalf of whoever listens at `to`.
    ///
    /// # Panics
    /// When it cannot listen there.
    pub fn start(at: SocketAddr, to: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind(at).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let (whole, state) = watch::channel(true);
        let heard = Heard::default();
        tokio::spawn(accept(listener, to, state, Arc::clone(&heard)));
        Self { whole, heard }
    }

    /// Breaks every connection, and every one that is tried from now on.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Lets connections be made again.
    pub fn heal(&self) {
        self.whole.send_replace(true);
    }

    /// Whether these bytes have passed, in one piece.
    ///
    /// # Panics
    /// Never, unless a task of it did.
    pub fn has_heard(&self, bytes: &[u8]) -> bool {
        self.heard.lock().unwrap().windows(bytes.len()).any(|piece| piece == bytes)
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, state: watch::Receiver<bool>, heard: Heard) {
    let mut ended = state.clone();
    let accept = async {
        loop {
            let Ok((near, _)) = listener.accept().await else {
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            tokio::spawn(pass_on(near, to, state.clone(), Arc::clone(&heard)));
        }
    };
    tokio::select! {
        () = accept => {}
        // Never so: the wait ends with the relay.
        _ = ended.wait_for(|_| false) => {}
    }
}

async fn pass_on(near: TcpStream, to: SocketAddr, mut state: watch::Receiver<bool>, heard: Heard) {
    if !*state.borrow() {
        return;
    }
    let Ok(far) = TcpStream::connect(to).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near, far) = (near.into_split(), far.into_split());
    tokio::select! {
        _ = async { tokio::join!(pass(near.0, far.1, &heard), pass(far.0, near.1, &heard)) } => {}
        _ = state.wait_for(|whole| !whole) => {}
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    heard: &Mutex<Vec<u8>>,
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
