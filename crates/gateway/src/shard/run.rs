//! The tasks of a shard's thread.

use std::{
    cell::RefCell, future::poll_fn, pin::pin, rc::Rc, sync::Arc, task::Poll, time::Duration,
};

use runtime::{clock, listen::Acceptor, net, supervise::spawn_local};
use tokio::{
    sync::Notify,
    task::yield_now,
    time::{self, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{Accepted, Shard, slot::SlotKey};
use crate::{
    heartbeat::{Heartbeat, WebSocketPing},
    thread_messages::ToShard,
};

/// Interval at which deadlines are checked.
const TICK: Duration = Duration::from_millis(250);

/// Interval at which clients are closed during graceful shutdown.
const DRAIN_TICK: Duration = Duration::from_millis(20);

/// Connections accepted before sockets are polled again.
const ACCEPTS_PER_YIELD: usize = 8;

/// Runs a shard until `over` is cancelled; accepts nothing more after `closing`. Call it within a
/// runtime of its own thread. The shard with the listeners accepts connections for all shards.
pub(crate) async fn run(
    shard: Shard,
    listeners: Vec<Acceptor>,
    closing: CancellationToken,
    over: CancellationToken,
) {
    let heartbeat = shard.settings.heartbeat.as_ref().map(Heartbeat::tick);
    let check = shard.settings.websocket_ping.map(WebSocketPing::every);
    let (limits_rates, resume_timer) = (shard.rates.is_some(), Rc::clone(&shard.resume_timer));
    let shard = Rc::new(RefCell::new(shard));
    for (listener, acceptor) in listeners.into_iter().enumerate() {
        let accepting = accept(Rc::clone(&shard), acceptor, listener);
        let closing = closing.clone();
        spawn_local(async move { closing.run_until_cancelled(accepting).await });
    }
    spawn_local(every(TICK, Rc::clone(&shard), |shard| shard.tick(clock::now())));
    if let Some(heartbeat) = heartbeat {
        spawn_local(every(
            Duration::from_millis(heartbeat),
            Rc::clone(&shard),
            Shard::send_heartbeats,
        ));
    }
    if limits_rates {
        spawn_local(resume_rate_limited(Rc::clone(&shard), resume_timer));
    }
    if let Some(check) = check {
        spawn_local(every(check, Rc::clone(&shard), Shard::start_ping_sweep));
    }
    let draining = Rc::clone(&shard);
    spawn_local(async move {
        closing.cancelled().await;
        every(DRAIN_TICK, draining, |shard| shard.close_due(clock::now())).await;
    });
    let mut arriving = Vec::new();
    let mut arrived = Vec::new();
    let passes = poll_fn(move |cx| {
        if shard.borrow_mut().run_once(cx, &mut arriving, &mut arrived) {
            // Sockets are polled before the next pass.
            let again = pin!(yield_now());
            let _ = again.poll(cx);
        }
        for accepted in arrived.drain(..) {
            admit(&shard, accepted);
        }
        Poll::<()>::Pending
    });
    // A task like the others, so that it runs after those that were ready before it. The runtime's
    // root future would run only after another poll of the kernel, which costs a lone message as
    // much as reading it.
    spawn_local(passes);
    over.cancelled().await;
}

/// Accepts connections, and hands each to the shard of its reserved place.
async fn accept(shard: Rc<RefCell<Shard>>, mut acceptor: Acceptor, listener: usize) {
    for accepted in 1_usize.. {
        if accepted.is_multiple_of(ACCEPTS_PER_YIELD) {
            yield_now().await;
        }
        let (stream, remote) = acceptor.accept().await;
        let excess = shard.borrow().admit_accepted(remote).err();
        if let Some(excess) = excess {
            let accepted = Accepted { stream, remote, listener };
            let answered = shard.borrow_mut().refuse_accepted(accepted, excess);
            follow(&shard, answered);
            continue;
        }
        let mut paused = false;
        let place = loop {
            let place = shard.borrow_mut().place(listener);
            let full = match place {
                Ok(place) => break place,
                Err(full) => full,
            };
            if !paused {
                shard.borrow_mut().record_accept_pause(full);
            }
            paused = true;
            time::sleep(full.retry()).await;
        };
        let gateway = Arc::clone(&shard.borrow().gateway);
        if place == usize::from(shard.borrow().index) {
            admit(&shard, Accepted { stream, remote, listener });
        } else if let Ok(stream) = net::release(stream) {
            gateway.send_to_shard(place, &mut vec![ToShard::Accepted { stream, remote, listener }]);
        } else {
            shard.borrow().return_place(place, listener, remote);
        }
    }
}

fn admit(shard: &Rc<RefCell<Shard>>, accepted: Accepted) {
    let key = shard.borrow_mut().accept(accepted);
    follow(shard, key);
}

/// Starts the task of a connection.
fn follow(shard: &Rc<RefCell<Shard>>, key: Option<SlotKey>) {
    if let Some(key) = key {
        let shard = Rc::clone(shard);
        spawn_local(poll_fn(move |cx| shard.borrow_mut().poll(key, cx)));
    }
}

/// Resumes clients that have sent faster than they may, each at its time.
async fn resume_rate_limited(shard: Rc<RefCell<Shard>>, changed: Rc<Notify>) {
    loop {
        let next = shard.borrow_mut().resume_rate_limited(clock::now());
        let changed = changed.notified();
        match next {
            Some(at) => drop(time::timeout_at(at.into(), changed).await),
            None => changed.await,
        }
    }
}

async fn every(period: Duration, shard: Rc<RefCell<Shard>>, act: impl Fn(&mut Shard)) {
    let mut ticks = time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick of an interval completes immediately.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        act(&mut shard.borrow_mut());
    }
}
