//! The baseline: a single-process server on tokio-tungstenite that answers directly, without a
//! worker. It implements the first-byte protocol of `business-worker --app bench`.

mod room;

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    runtime,
    task::{LocalSet, spawn_local},
};
use tokio_tungstenite::{
    WebSocketStream, accept_async_with_config,
    tungstenite::{Error, Message, protocol::WebSocketConfig},
};

use crate::target::socket_addr;
use room::{Mailbox, Room};

/// The group that `g` sends to.
const ROOM: &[u8] = b"room";

/// Flags of `bench direct`.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Listen address, printed when clients can connect.
    #[arg(long, default_value = "127.0.0.1:7373", value_parser = socket_addr)]
    listen: SocketAddr,
    /// Handling of messages.
    #[arg(long, value_enum, default_value_t = App::Bench)]
    app: App,
    /// Size of the write buffer in bytes; 0 writes each frame separately.
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    write_buffer_size: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum App {
    /// Echo every message to its sender.
    Echo,
    /// The first byte selects the operation, as with `business-worker --app bench`.
    Bench,
}

/// Serves until it is killed.
pub(crate) fn serve(settings: &Settings) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = listen(settings.listen)
            .with_context(|| format!("cannot listen on {}", settings.listen))?;
        writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
        let room = Rc::new(Room::default());
        let config = WebSocketConfig::default()
            .read_buffer_size(4 * 1024)
            .write_buffer_size(settings.write_buffer_size);
        for id in 0_u64.. {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (room, app) = (Rc::clone(&room), settings.app);
                    spawn_local(async move {
                        // The reason of a disconnect does not matter.
                        let _ = client(stream, config, id, app, &room).await;
                        room.remove(id);
                    });
                }
                // Transient, such as a lack of file descriptors.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        Ok(())
    })
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(4096)
}

async fn client(
    stream: TcpStream,
    config: WebSocketConfig,
    id: u64,
    app: App,
    room: &Room,
) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let mut socket = accept_async_with_config(stream, Some(config)).await?;
    let mailbox = Rc::new(Mailbox::default());
    room.add(id, &mailbox);
    loop {
        tokio::select! {
            message = socket.next() => {
                let Some(message) = message else { return Ok(()) };
                let mut message = Some(message?);
                // Answers all messages that were read in one write, if the buffer is large enough.
                while let Some(received) = message {
                    answer(&mut socket, received, id, app, room).await?;
                    message = socket.next().now_or_never().flatten().transpose()?;
                }
            }
            () = mailbox.filled() => {}
        }
        loop {
            let Some(message) = mailbox.pop() else { break };
            socket.feed(message).await?;
        }
        socket.flush().await?;
    }
}

async fn answer(
    socket: &mut WebSocketStream<TcpStream>,
    message: Message,
    id: u64,
    app: App,
    room: &Room,
) -> Result<(), Error> {
    let body: &[u8] = match &message {
        Message::Text(text) => text.as_bytes(),
        Message::Binary(bytes) => bytes,
        _ => return Ok(()),
    };
    let Some((op, rest)) = body.split_first() else { return Ok(()) };
    // The recipient, for operations with one.
    let token = || body.rsplit(|byte| *byte == b'@').next().unwrap_or_default();
    match op {
        _ if app == App::Echo => {}
        b'e' => {}
        b'j' => room.join(id, rest),
        b'+' => room.join(id, token()),
        b'-' => room.leave(id, token()),
        b'u' => room.bind(id, rest),
        b'a' => {
            room.to_all(&message);
            return Ok(());
        }
        b'g' => {
            room.to_group(ROOM, &message);
            return Ok(());
        }
        b't' => {
            room.to_uid(token(), &message);
            return Ok(());
        }
        _ => return Ok(()),
    }
    socket.feed(message).await
}
