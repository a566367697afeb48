//! Misbehaving clients and connections, for a given time. Their effect on other clients is measured
//! by another run at the same time. Counts operations, without an account of messages.

use std::{
    cell::Cell,
    io::{self, Write as _},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    runtime,
    task::{LocalSet, spawn_local},
    time::sleep,
};

use crate::{frame, link, target::Target};

/// The pause after a refusal, which bounds the rate of attempts at a full server.
const PAUSE: Duration = Duration::from_millis(10);

/// The send buffer of each connection, in bytes.
const SENDING: u32 = 64 * 1024;

/// Bytes of the echo that a client without reads requests at a time.
const ASKED: usize = 1024;

/// Flags of `bench flood`.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Kind of misbehavior.
    #[arg(value_enum)]
    kind: Kind,
    /// The server: `ws://HOST:PORT/PATH`.
    url: String,
    /// Concurrent connections; each reconnects when the server closes it.
    #[arg(short, long, default_value_t = 1000)]
    connections: usize,
    /// Duration in seconds.
    #[arg(short, long, default_value_t = 5.0)]
    duration: f64,
    /// Size in bytes of each incomplete request head, and of each large message.
    #[arg(long, value_name = "BYTES")]
    size: Option<usize>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Kind {
    /// Connect and close without sending anything, repeatedly.
    Connects,
    /// Open a WebSocket and abort, repeatedly.
    Handshakes,
    /// Start a request with a long header, and never complete it.
    Heads,
    /// Send messages of 1 MiB that get no answer.
    Messages,
    /// Request echoes and never read them.
    Unread,
}

/// Counts of operations.
#[derive(Debug, Default)]
struct Count {
    connected: Cell<u64>,
    refused: Cell<u64>,
    bytes: Cell<u64>,
}

impl Count {
    fn add(count: &Cell<u64>, more: u64) {
        count.set(count.get() + more);
    }
}

/// Misbehaves for the duration.
pub(crate) fn run(settings: &Settings) -> anyhow::Result<()> {
    let target = Rc::new(Target::parse(&settings.url, "/")?);
    let duration =
        Duration::try_from_secs_f64(settings.duration).context("--duration is no duration")?;
    ensure!(0 < settings.connections, "--connections must be at least 1");
    let (kind, bytes) = (settings.kind, Rc::new(settings.kind.bytes(settings.size)));
    let count = Rc::new(Count::default());
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, async {
        for _ in 0..settings.connections {
            let (target, bytes, count) = (Rc::clone(&target), Rc::clone(&bytes), Rc::clone(&count));
            spawn_local(async move {
                loop {
                    if kind.once(&target, &bytes, &count).await.is_err() {
                        Count::add(&count.refused, 1);
                        sleep(PAUSE).await;
                    }
                }
            });
        }
        sleep(duration).await;
    });
    drop(tasks);
    let Count { connected, refused, bytes } = &*count;
    let (connected, refused, mib) = (connected.get(), refused.get(), bytes.get() >> 20);
    writeln!(io::stdout(), "{connected} connected, {refused} refused or cut off, {mib} MiB sent")?;
    Ok(())
}

impl Kind {
    /// The data that each connection sends, repeatedly in some modes.
    fn bytes(self, size: Option<usize>) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Connects | Self::Handshakes => {}
            Self::Heads => {
                bytes.extend_from_slice(b"GET / HTTP/1.1\r\nX: ");
                bytes.resize(size.unwrap_or(15_000).max(bytes.len()), b'x');
            }
            // No application of the suite answers this first byte.
            Self::Messages => frame::text(&vec![b'.'; size.unwrap_or(1024 * 1024)], &mut bytes),
            Self::Unread => frame::text(&vec![b'e'; size.unwrap_or(ASKED)], &mut bytes),
        }
        bytes
    }

    /// Misbehaves on one connection. An error means that the server closed or refused it.
    async fn once(self, target: &Target, bytes: &[u8], count: &Count) -> io::Result<()> {
        let socket = match target.addr {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // Thousands that may not send would fill this host's kernel, which is not the server's
        // fault.
        socket.set_send_buffer_size(SENDING)?;
        let mut stream = socket.connect(target.addr).await?;
        Count::add(&count.connected, 1);
        // An abort leaves no port in TIME_WAIT.
        stream.set_zero_linger()?;
        match self {
            Self::Connects => return Ok(()),
            Self::Handshakes => return link::handshake(&mut stream, target, "").await.map(drop),
            Self::Heads => {
                send(&mut stream, bytes, count).await?;
                stream.read_u8().await?;
            }
            Self::Messages | Self::Unread => {
                link::handshake(&mut stream, target, "").await?;
                loop {
                    send(&mut stream, bytes, count).await?;
                }
            }
        }
        Ok(())
    }
}

async fn send(stream: &mut TcpStream, bytes: &[u8], count: &Count) -> io::Result<()> {
    stream.write_all(bytes).await?;
    Count::add(&count.bytes, bytes.len() as u64);
    Ok(())
}
