//! The network in front of a port: can be cut and healed, and says what has passed.

use std::{
    collections::BTreeSet,
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
    cuts: watch::Sender<Cuts>,
    heard: Heard,
}

/// The connections that do not get through.
#[derive(Clone, Debug, Default)]
struct Cuts {
    all: bool,
    /// Connections whose first bytes contain one of these.
    peers: BTreeSet<String>,
}

impl Cuts {
    /// Whether a connection is cut that began with these bytes.
    fn concern(&self, first: &[u8]) -> bool {
        let named = |name: &String| first.windows(name.len()).any(|it| it == name.as_bytes());
        self.all || self.peers.iter().any(named)
    }
}

/// How many bytes a connection may begin with until it is known whose it is.
const FIRST: usize = 1024;

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
        let (cuts, state) = watch::channel(Cuts::default());
        let heard = Heard::default();
        tokio::spawn(accept(listener, to, state, Arc::clone(&heard)));
        Self { cuts, heard }
    }

    /// Breaks every connection, and every one that is tried from now on.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| cuts.all = true);
    }

    /// Breaks every connection that began with bytes that contain this name, and every such one that is
    /// tried from now on. They must not be encrypted.
    pub fn cut_peer(&self, name: &str) {
        self.cuts.send_modify(|cuts| {
            cuts.peers.insert(name.to_owned());
        });
    }

    /// Lets connections be made again.
    pub fn heal(&self) {
        self.cuts.send_replace(Cuts::default());
    }

    /// Whether these bytes have passed, in one piece.
    ///
    /// # Panics
    /// Never, unless a task of it did.
    pub fn has_heard(&self, bytes: &[u8]) -> bool {
        self.heard.lock().unwrap().windows(bytes.len()).any(|piece| piece == bytes)
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, state: watch::Receiver<Cuts>, heard: Heard) {
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

async fn pass_on(near: TcpStream, to: SocketAddr, mut state: watch::Receiver<Cuts>, heard: Heard) {
    if state.borrow().all {
        return;
    }
    let Ok(far) = TcpStream::connect(to).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near, far) = (near.into_split(), far.into_split());
    let first = watch::Sender::new(Vec::new());
    let mut begun = first.subscribe();
    let cut = async {
        while !state.borrow_and_update().concern(&begun.borrow_and_update()) {
            tokio::select! {
                changed = state.changed() => if changed.is_err() { return },
                Ok(()) = begun.changed() => {}
            }
        }
    };
    let there = pass(near.0, far.1, &heard, Some(&first));
    tokio::select! {
        biased;
        () = cut => {}
        _ = async { tokio::join!(there, pass(far.0, near.1, &heard, None)) } => {}
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    heard: &Mutex<Vec<u8>>,
    first: Option<&watch::Sender<Vec<u8>>>,
) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut bytes).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        let bytes = &bytes[..length];
        if let Some(first) = first.filter(|first| first.borrow().len() < FIRST) {
            first.send_modify(|first| first.extend_from_slice(bytes));
            // Bytes of a connection that is cut must not get through before that is found.
            tokio::task::yield_now().await;
        }
        heard.lock().unwrap().extend_from_slice(bytes);
        to.write_all(bytes).await?;
    }
}
