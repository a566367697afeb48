//! A shard's thread: what waits on its behalf.

use std::{
    cell::RefCell, future::poll_fn, pin::pin, rc::Rc, sync::Arc, task::Poll, time::Duration,
};

use service::{clock, listen::Acceptor, net, supervise::spawn_local};
use tokio::{
    task::yield_now,
    time::{self, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{Arrival, Shard};
use crate::exchange::ToShard;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(250);

/// How often clients are closed while the gateway goes down.
const CLOSE: Duration = Duration::from_millis(20);

/// How many connections are let in before those that are there are heard.
const ARRIVALS: usize = 8;

/// How long to wait when nobody can be let in.
const FULL: Duration = Duration::from_millis(100);

/// Runs a shard until `over`; accepts nothing more after `closing`. Call it within a runtime of its
/// own thread. Whoever has the doors lets connections in for all shards.
pub(crate) async fn run(
    shard: Shard,
    doors: Vec<Acceptor>,
    closing: CancellationToken,
    over: CancellationToken,
) {
    let beat = shard.settings.heartbeat.as_ref().map(super::Heartbeat::tick);
    let look = shard.settings.websocket_ping.map(super::WebSocketPing::every);
    let shard = Rc::new(RefCell::new(shard));
    for (door, acceptor) in doors.into_iter().enumerate() {
        let accepting = accept(Rc::clone(&shard), acceptor, door);
        let closing = closing.clone();
        spawn_local(async move { closing.run_until_cancelled(accepting).await });
    }
    spawn_local(every(TICK, Rc::clone(&shard), |shard| shard.tick(clock::now())));
    if let Some(beat) = beat {
        spawn_local(every(Duration::from_millis(beat), Rc::clone(&shard), Shard::beat));
    }
    if let Some(look) = look {
        spawn_local(every(look, Rc::clone(&shard), Shard::look));
    }
    let draining = Rc::clone(&shard);
    spawn_local(async move {
        closing.cancelled().await;
        every(CLOSE, draining, |shard| shard.close_due(clock::now())).await;
    });
    let mut told = Vec::new();
    let mut arrived = Vec::new();
    let turns = poll_fn(move |cx| {
        if shard.borrow_mut().turn(cx, &mut told, &mut arrived) {
            // Sockets are looked at before it is called again.
            let again = pin!(yield_now());
            let _ = again.poll(cx);
        }
        for arrival in arrived.drain(..) {
            admit(&shard, arrival);
        }
        Poll::<()>::Pending
    });
    // A task like the others, so that it runs behind those that were ready before it. The runtime's
    // root would have to wait until the runtime has asked the kernel once more what is ready, which
    // costs a lone message as much as reading it.
    spawn_local(turns);
    over.cancelled().await;
}

/// Lets connections in, each to the shard where its place is.
async fn accept(shard: Rc<RefCell<Shard>>, mut acceptor: Acceptor, door: usize) {
    for arrivals in 1_usize.. {
        if arrivals.is_multiple_of(ARRIVALS) {
            yield_now().await;
        }
        let (stream, remote) = acceptor.accept().await;
        let mut pauses = false;
        let place = loop {
            let place = shard.borrow().place(door);
            match place {
                Ok(place) => break place,
                Err(full) if !pauses => shard.borrow_mut().accepting_pauses(full),
                Err(_) => {}
            }
            pauses = true;
            time::sleep(FULL).await;
        };
        let host = Arc::clone(&shard.borrow().host);
        if place == usize::from(shard.borrow().index) {
            admit(&shard, Arrival { stream, remote, door });
        } else if let Ok(stream) = net::release(stream) {
            host.tell(place, &mut vec![ToShard::Accepted { stream, remote, door }]);
        } else {
            shard.borrow().give_back(place, door);
        }
    }
}

fn admit(shard: &Rc<RefCell<Shard>>, arrival: Arrival) {
    let key = shard.borrow_mut().accept(arrival);
    if let Some(key) = key {
        let shard = Rc::clone(shard);
        spawn_local(poll_fn(move |cx| shard.borrow_mut().poll(key, cx)));
    }
}

async fn every(period: Duration, shard: Rc<RefCell<Shard>>, act: impl Fn(&mut Shard)) {
    let mut ticks = time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick of an interval comes at once.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        act(&mut shard.borrow_mut());
    }
}
