//! A TCP proxy between processes of the suite that injects network faults.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::plan::{Cut, Which};

/// A proxy in front of one port.
#[derive(Clone, Debug)]
pub struct Proxy {
    handles: Arc<Mutex<Vec<Handle>>>,
    /// Until when the end of the connecting side is hidden from the accepting side.
    hide_end: watch::Sender<Option<Instant>>,
}

/// The control of one connection.
#[derive(Debug)]
struct Handle {
    control: watch::Sender<State>,
    closed: CancellationToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Flow,
    Stall,
    End(Cut, Duration),
}

impl Proxy {
    /// Listens on `at` and forwards connections to `target`.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub async fn start(at: SocketAddr, target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(at).await?;
        let proxy = Self { handles: Arc::default(), hide_end: watch::Sender::new(None) };
        let connections = Arc::clone(&proxy.handles);
        let hide_end = proxy.hide_end.subscribe();
        tokio::spawn(async move {
            loop {
                // Transient errors, such as a lack of file descriptors.
                let Ok((near, _)) = listener.accept().await else {
                    sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let (control, mut state) = watch::channel(State::Flow);
                let closed = CancellationToken::new();
                let handle = Handle { control, closed: closed.clone() };
                let mut all = connections.lock().unwrap_or_else(PoisonError::into_inner);
                all.retain(|handle| !handle.closed.is_cancelled());
                all.push(handle);
                drop(all);
                let hide_end = hide_end.clone();
                tokio::spawn(async move {
                    if let Ok(far) = TcpStream::connect(target).await {
                        connection(near, far, &mut state, hide_end).await;
                    }
                    closed.cancel();
                });
            }
        });
        Ok(proxy)
    }

    /// For that time, hides the end of the connecting side, as if its host had lost power.
    pub fn hide_end(&self, time: Duration) {
        self.hide_end.send_replace(Some(Instant::now() + time));
    }

    /// Applies a fault to open connections, for that time.
    pub fn cut(&self, cut: Cut, which: Which, time: Duration) {
        let state = if cut == Cut::Stall { State::Stall } else { State::End(cut, time) };
        let all = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let alive: Vec<&Handle> =
            all.iter().filter(|handle| !handle.closed.is_cancelled()).collect();
        for (at, handle) in alive.iter().enumerate() {
            if which == Which::All || which == Which::One(at + which.rounds(alive.len())) {
                handle.control.send_replace(state);
                if state == State::Stall {
                    let control = handle.control.clone();
                    tokio::spawn(async move {
                        sleep(time).await;
                        control.send_if_modified(|now| {
                            let stalled = *now == State::Stall;
                            if stalled {
                                *now = State::Flow;
                            }
                            stalled
                        });
                    });
                }
            }
        }
    }
}

impl Which {
    /// The largest multiple of `count` up to the index.
    fn rounds(self, count: usize) -> usize {
        match self {
            Self::One(at) if count != 0 => at / count * count,
            _ => 0,
        }
    }
}

/// Forwards bytes in both directions until one end or the control ends it.
async fn connection(
    near: TcpStream,
    far: TcpStream,
    state: &mut watch::Receiver<State>,
    hide_end: watch::Receiver<Option<Instant>>,
) {
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let (up_state, down_state) = (state.clone(), state.clone());
    let mut up = Flow { from: near_in, to: far_out, state: up_state, hide_end: Some(hide_end) };
    let mut down = Flow { from: far_in, to: near_out, state: down_state, hide_end: None };
    let ended = state.wait_for(|state| matches!(state, State::End(..)));
    let state = tokio::select! {
        ended = ended => ended.map_or(State::Flow, |state| *state),
        // One direction may end before the other.
        _ = async { tokio::join!(up.run(), down.run()) } => return,
    };
    let State::End(cut, time) = state else { return };
    let (Ok(near), Ok(far)) = (up.from.reunite(down.to), down.from.reunite(up.to)) else { return };
    match cut {
        Cut::Drop | Cut::Stall => {}
        Cut::Reset => {
            reset(near);
            reset(far);
        }
        Cut::NearEndGone => {
            reset(near);
            sleep(time).await;
            drop(far);
        }
        Cut::FarEndGone => {
            reset(far);
            sleep(time).await;
            drop(near);
        }
    }
}

fn reset(stream: TcpStream) {
    let _ = stream.set_zero_linger();
}

struct Flow {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    state: watch::Receiver<State>,
    hide_end: Option<watch::Receiver<Option<Instant>>>,
}

impl Flow {
    /// Forwards bytes until the end of the input, which is forwarded as well.
    async fn run(&mut self) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = self.from.read(&mut buffer).await.unwrap_or(0);
            // While the connection is stalled, no more than this buffer is read.
            if self.state.wait_for(|state| *state != State::Stall).await.is_err() {
                return;
            }
            let hide_end = self.hide_end.as_ref().and_then(|hide_end| *hide_end.borrow());
            if let (0, Some(until)) = (read, hide_end) {
                sleep_until(until).await;
            }
            if read == 0 || self.to.write_all(&buffer[..read]).await.is_err() {
                let _ = self.to.shutdown().await;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    async fn pair() -> (Proxy, TcpStream, TcpStream) {
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = suite_tests::ports::free();
        let proxy = Proxy::start(at, target.local_addr().unwrap()).await.unwrap();
        let near = TcpStream::connect(at).await.unwrap();
        (proxy, near, target.accept().await.unwrap().0)
    }

    const A_WHILE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn stalled_connection_forwards_bytes_after_the_stall() {
        let (proxy, mut near, mut far) = pair().await;
        near.write_all(b"a").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'a');
        proxy.cut(Cut::Stall, Which::All, Duration::from_secs(1));
        far.write_all(b"b").await.unwrap();
        assert!(timeout(A_WHILE, near.read_u8()).await.is_err());
        assert_eq!(near.read_u8().await.unwrap(), b'b');
    }

    #[tokio::test]
    async fn drop_closes_and_reset_resets_both_ends() {
        let (proxy, mut near, mut far) = pair().await;
        proxy.cut(Cut::Drop, Which::One(7), A_WHILE);
        assert_eq!(near.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(far.read(&mut [0; 1]).await.unwrap(), 0);
        let (proxy, mut near, mut far) = pair().await;
        proxy.cut(Cut::Reset, Which::All, A_WHILE);
        near.read(&mut [0; 1]).await.unwrap_err();
        far.read(&mut [0; 1]).await.unwrap_err();
    }

    #[tokio::test]
    async fn half_closed_connection_hides_the_end_from_one_side() {
        let (proxy, mut near, mut far) = pair().await;
        proxy.cut(Cut::FarEndGone, Which::All, Duration::from_secs(1));
        far.read(&mut [0; 1]).await.unwrap_err();
        assert!(timeout(A_WHILE, near.read_u8()).await.is_err());
        assert_eq!(near.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn end_of_the_connecting_side_is_hidden_for_a_while() {
        let (proxy, near, mut far) = pair().await;
        proxy.hide_end(Duration::from_secs(1));
        drop(near);
        assert!(timeout(A_WHILE, far.read_u8()).await.is_err());
        assert_eq!(far.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
