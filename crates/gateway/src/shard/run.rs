//! A shard's thread: what waits on its behalf.

use std::{cell::RefCell, future::poll_fn, rc::Rc, task::Poll, time::Duration};

use service::{clock, listen::Acceptor};
use tokio::{
    task::spawn_local,
    time::{self, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::Shard;
use crate::settings::Door;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(250);

/// How often clients are closed while the gateway goes down.
const CLOSE: Duration = Duration::from_millis(20);

/// How long to wait when nobody can be let in.
const FULL: Duration = Duration::from_millis(100);

/// Runs a shard until `over`; accepts nothing more after `closing`. Call it within a runtime of its
/// own thread.
pub(crate) async fn run(
    shard: Shard,
    doors: Vec<(Acceptor, Door)>,
    closing: CancellationToken,
    over: CancellationToken,
) {
    let beat = shard.settings.heartbeat.as_ref().map(super::Heartbeat::tick);
    let shard = Rc::new(RefCell::new(shard));
    for (acceptor, door) in doors {
        let accepting = accept(Rc::clone(&shard), acceptor, Rc::new(door));
        let closing = closing.clone();
        spawn_local(async move { closing.run_until_cancelled(accepting).await });
    }
    spawn_local(every(TICK, Rc::clone(&shard), |shard| shard.tick(clock::now())));
    if let Some(beat) = beat {
        spawn_local(every(Duration::from_millis(beat), Rc::clone(&shard), Shard::beat));
    }
    let draining = Rc::clone(&shard);
    spawn_local(async move {
        closing.cancelled().await;
        every(CLOSE, draining, |shard| shard.close_due(clock::now())).await;
    });
    let mut told = Vec::new();
    let turns = poll_fn(|cx| {
        shard.borrow_mut().turn(cx, &mut told);
        Poll::<()>::Pending
    });
    over.run_until_cancelled(turns).await;
}

async fn accept(shard: Rc<RefCell<Shard>>, mut acceptor: Acceptor, door: Rc<Door>) {
    loop {
        let (stream, _) = acceptor.accept().await;
        while shard.borrow().is_full() {
            time::sleep(FULL).await;
        }
        let key = shard.borrow_mut().accept(stream, Rc::clone(&door));
        if let Some(key) = key {
            let shard = Rc::clone(&shard);
            spawn_local(poll_fn(move |cx| shard.borrow_mut().poll(key, cx)));
        }
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
