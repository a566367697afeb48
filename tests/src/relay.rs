//! A TCP relay in front of a port: simulates partitions and records the relayed bytes.

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

/// Relays connections from one port to another unless partitioned. Stops when dropped.
#[derive(Debug)]
pub struct Relay {
    cuts: watch::Sender<Cuts>,
    relayed: Relayed,
}

/// The connections that are cut.
#[derive(Clone, Debug, Default)]
struct Cuts {
    all: bool,
    /// Connections whose first bytes contain one of these.
    peers: BTreeSet<String>,
}

impl Cuts {
    /// Whether a connection that began with these bytes is cut.
    fn apply_to(&self, first: &[u8]) -> bool {
        let named = |name: &String| first.windows(name.len()).any(|it| it == name.as_bytes());
        self.all || self.peers.iter().any(named)
    }
}

/// Number of leading bytes of a connection in which the peer's name is searched.
const FIRST: usize = 1024;

/// All relayed bytes, of both directions and all connections, in the order of arrival.
type Relayed = Arc<Mutex<Vec<u8>>>;

impl Relay {
    /// Listens at `at` and relays to `to`.
    ///
    /// # Panics
    /// If it cannot listen.
    pub fn start(at: SocketAddr, to: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind(at).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let (cuts, state) = watch::channel(Cuts::default());
        let relayed = Relayed::default();
        tokio::spawn(accept(listener, to, state, Arc::clone(&relayed)));
        Self { cuts, relayed }
    }

    /// Closes every connection, and every new one until [`Self::heal`].
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| cuts.all = true);
    }

    /// Closes every connection whose first bytes contain this name, and every such new one until
    /// [`Self::heal`]. Requires unencrypted connections.
    pub fn cut_peer(&self, name: &str) {
        self.cuts.send_modify(|cuts| {
            cuts.peers.insert(name.to_owned());
        });
    }

    /// Accepts connections again.
    pub fn heal(&self) {
        self.cuts.send_replace(Cuts::default());
    }

    /// Whether this byte sequence was relayed.
    ///
    /// # Panics
    /// Only if a task of the relay has panicked.
    pub fn has_relayed(&self, bytes: &[u8]) -> bool {
        self.relayed.lock().unwrap().windows(bytes.len()).any(|piece| piece == bytes)
    }
}

async fn accept(
    listener: TcpListener,
    to: SocketAddr,
    state: watch::Receiver<Cuts>,
    relayed: Relayed,
) {
    let mut ended = state.clone();
    let accept = async {
        loop {
            let Ok((near, _)) = listener.accept().await else {
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            tokio::spawn(pass_on(near, to, state.clone(), Arc::clone(&relayed)));
        }
    };
    tokio::select! {
        () = accept => {}
        // The condition is never true: the wait ends when the relay is dropped.
        _ = ended.wait_for(|_| false) => {}
    }
}

async fn pass_on(
    near: TcpStream,
    to: SocketAddr,
    mut state: watch::Receiver<Cuts>,
    relayed: Relayed,
) {
    if state.borrow().all {
        return;
    }
    let Ok(far) = TcpStream::connect(to).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near, far) = (near.into_split(), far.into_split());
    let first = watch::Sender::new(Vec::new());
    let mut begun = first.subscribe();
    let cut = async {
        while !state.borrow_and_update().apply_to(&begun.borrow_and_update()) {
            tokio::select! {
                changed = state.changed() => if changed.is_err() { return },
                Ok(()) = begun.changed() => {}
            }
        }
    };
    let forward = pass(near.0, far.1, &relayed, Some(&first));
    tokio::select! {
        biased;
        () = cut => {}
        _ = async { tokio::join!(forward, pass(far.0, near.1, &relayed, None)) } => {}
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    relayed: &Mutex<Vec<u8>>,
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
            // Lets the cut take effect first: no byte of a connection that is cut may be relayed.
            tokio::task::yield_now().await;
        }
        relayed.lock().unwrap().extend_from_slice(bytes);
        to.write_all(bytes).await?;
    }
}
