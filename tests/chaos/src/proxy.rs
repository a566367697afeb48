//! A TCP proxy between processes of the suite, that can do to connections what networks do.

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
    /// Until when the end of whoever connects is kept from the other end.
    hush: watch::Sender<Option<Instant>>,
}

/// A connection, as the proxy's owner holds it.
#[derive(Debug)]
struct Handle {
    orders: watch::Sender<Order>,
    gone: CancellationToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Flow,
    Stall,
    End(Cut, Duration),
}

impl Proxy {
    /// Listens at `at` for connections to `target`.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub async fn start(at: SocketAddr, target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(at).await?;
        let proxy = Self { handles: Arc::default(), hush: watch::Sender::new(None) };
        let connections = Arc::clone(&proxy.handles);
        let hush = proxy.hush.subscribe();
        tokio::spawn(async move {
            loop {
                // Out of file descriptors, say: there will be some again.
                let Ok((near, _)) = listener.accept().await else {
                    sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let (orders, mut ordered) = watch::channel(Order::Flow);
                let gone = CancellationToken::new();
                let handle = Handle { orders, gone: gone.clone() };
                let mut all = connections.lock().unwrap_or_else(PoisonError::into_inner);
                all.retain(|handle| !handle.gone.is_cancelled());
                all.push(handle);
                drop(all);
                let hush = hush.clone();
                tokio::spawn(async move {
                    if let Ok(far) = TcpStream::connect(target).await {
                        connection(near, far, &mut ordered, hush).await;
                    }
                    gone.cancel();
                });
            }
        });
        Ok(proxy)
    }

    /// For a while, whoever connects and ends does so without a sign, as a host that loses power.
    pub fn hush(&self, time: Duration) {
        self.hush.send_replace(Some(Instant::now() + time));
    }

    /// Does it to the connections that there are, for a while.
    pub fn cut(&self, cut: Cut, which: Which, time: Duration) {
        let order = if cut == Cut::Stall { Order::Stall } else { Order::End(cut, time) };
        let all = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let alive: Vec<&Handle> = all.iter().filter(|handle| !handle.gone.is_cancelled()).collect();
        for (at, handle) in alive.iter().enumerate() {
            if which == Which::All || which == Which::One(at + which.rounds(alive.len())) {
                handle.orders.send_replace(order);
                if order == Order::Stall {
                    let orders = handle.orders.clone();
                    tokio::spawn(async move {
                        sleep(time).await;
                        orders.send_if_modified(|now| {
                            let stalled = *now == Order::Stall;
                            if stalled {
                                *now = Order::Flow;
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
    /// How far a place is beyond `count`, in whole rounds.
    fn rounds(self, count: usize) -> usize {
        match self {
            Self::One(at) if count != 0 => at / count * count,
            _ => 0,
        }
    }
}

/// Passes bytes both ways until one end or the owner ends it.
async fn connection(
    near: TcpStream,
    far: TcpStream,
    ordered: &mut watch::Receiver<Order>,
    hush: watch::Receiver<Option<Instant>>,
) {
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let (there, back) = (ordered.clone(), ordered.clone());
    let mut up = Flow { from: near_in, to: far_out, ordered: there, hush: Some(hush) };
    let mut down = Flow { from: far_in, to: near_out, ordered: back, hush: None };
    let ended = ordered.wait_for(|order| matches!(order, Order::End(..)));
    let order = tokio::select! {
        ended = ended => ended.map_or(Order::Flow, |order| *order),
        // One direction may end before the other.
        _ = async { tokio::join!(up.run(), down.run()) } => return,
    };
    let Order::End(cut, time) = order else { return };
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
    ordered: watch::Receiver<Order>,
    hush: Option<watch::Receiver<Option<Instant>>>,
}

impl Flow {
    /// Until the end of what comes, which is passed on as well.
    async fn run(&mut self) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = self.from.read(&mut buffer).await.unwrap_or(0);
            // While nothing gets through, nothing more is read than this.
            if self.ordered.wait_for(|order| *order != Order::Stall).await.is_err() {
                return;
            }
            let hush = self.hush.as_ref().and_then(|hush| *hush.borrow());
            if let (0, Some(until)) = (read, hush) {
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
    async fn bytes_get_through_and_not_while_it_stalls() {
        let (proxy, mut near, mut far) = pair().await;
        near.write_all(b"a").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'a');
        proxy.cut(Cut::Stall, Which::All, Duration::from_secs(1));
        far.write_all(b"b").await.unwrap();
        assert!(timeout(A_WHILE, near.read_u8()).await.is_err());
        assert_eq!(near.read_u8().await.unwrap(), b'b');
    }

    #[tokio::test]
    async fn both_ends_see_the_end_or_an_error() {
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
    async fn one_end_may_not_know_for_a_while() {
        let (proxy, mut near, mut far) = pair().await;
        proxy.cut(Cut::FarEndGone, Which::All, Duration::from_secs(1));
        far.read(&mut [0; 1]).await.unwrap_err();
        assert!(timeout(A_WHILE, near.read_u8()).await.is_err());
        assert_eq!(near.read(&mut [0; 1]).await.unwrap(), 0);
    }
    #[tokio::test]
    async fn an_end_may_be_kept_from_the_other() {
        let (proxy, near, mut far) = pair().await;
        proxy.hush(Duration::from_secs(1));
        drop(near);
        assert!(timeout(A_WHILE, far.read_u8()).await.is_err());
        assert_eq!(far.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
