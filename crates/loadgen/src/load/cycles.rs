//! Modes whose clients connect and disconnect: churn and storm.

use std::{
    io,
    rc::Rc,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use tokio::{
    sync::Semaphore,
    task::spawn_local,
    time::{sleep_until, timeout},
};

use super::{
    clients,
    publisher::Publisher,
    shared::{Local, nanos},
};
use crate::{account::Stream, frame, link::Link, schedule::Schedule};

/// How long a server may take to finish a close.
const CLOSING: Duration = Duration::from_secs(5);

/// After a failure: so that a server that is down is not tried a million times.
const PAUSE: Duration = Duration::from_millis(10);

/// A client that connects again and again.
struct Client {
    local: Rc<Local>,
    index: usize,
    start: Instant,
    stream: [Stream; 1],
    next: u32,
    /// Where messages are published rather than sent.
    publisher: Option<Publisher>,
}

/// Connects, echoes, closes, until the run is over.
pub(super) async fn churn(local: Rc<Local>, index: usize) {
    let mut client = Client::new(local, index).await;
    let (local, start) = (Rc::clone(&client.local), client.start);
    let run = &local.run;
    let mut n = 0;
    loop {
        let mut due = start.elapsed();
        if let Some(schedule) = run.plan.rate.map(Schedule::new) {
            let (every, end) = (run.plan.connections, run.plan.duration);
            due = schedule.turn(index, every, n);
            if end <= due {
                return;
            }
            sleep_until((start + due).into()).await;
            if !run.is_sending() {
                let skipped = schedule.turns_before(index, every, end) - n;
                run.live.skipped.fetch_add(skipped, Relaxed);
            }
        }
        if !run.is_sending() {
            return;
        }
        // A source for each cycle: closed connections keep their port for a while.
        let source = index + usize::try_from(n).unwrap_or(0);
        n += 1;
        if let Err(error) = client.cycle(source, due).await {
            run.live.record_failure(format!("a cycle failed: {error}"));
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Connects and echoes once. All are due at the start, however many go at the same time.
pub(super) async fn storm(local: Rc<Local>, index: usize, gate: Rc<Semaphore>) {
    let mut client = Client::new(Rc::clone(&local), index).await;
    let Ok(pass) = gate.acquire().await else { return };
    let connecting = async {
        let mut link = open(&local, index, index).await?;
        clients::prepare(&mut link, &local, index).await?;
        local.run.live.connected.fetch_add(1, Relaxed);
        client.echo(&mut link, Duration::ZERO).await?;
        local.run.live.cycles.fetch_add(1, Relaxed);
        Ok::<_, io::Error>(link)
    };
    match connecting.await {
        Ok(link) => {
            drop(pass);
            spawn_local(clients::idle(link, local));
        }
        Err(error) => local.run.live.record_failure(format!("a client could not connect: {error}")),
    }
}

/// Connects, and records the duration.
pub(super) async fn open(local: &Local, index: usize, source: usize) -> io::Result<Link> {
    let plan = &local.run.plan;
    let began = Instant::now();
    let (target, source) = (plan.target(index), plan.source(source));
    let link = Link::connect(target, source, plan.protocol, plan.deflate, &local.input).await?;
    local.counters.borrow_mut().connect.record(0, nanos(began.elapsed()));
    Ok(link)
}

impl Client {
    /// A client that has not connected yet, once the run has begun.
    async fn new(local: Rc<Local>, index: usize) -> Self {
        let start = local.started().await;
        let publisher = Publisher::new(&local, index);
        Self { local, index, start, stream: [Stream::default()], next: 0, publisher }
    }

    async fn cycle(&mut self, source: usize, due: Duration) -> io::Result<()> {
        let local = Rc::clone(&self.local);
        let mut link = open(&local, self.index, source).await?;
        clients::prepare(&mut link, &local, self.index).await?;
        self.echo(&mut link, due).await?;
        let mut close = Vec::new();
        frame::close(&mut close);
        link.out.send(&close)?;
        let closing = async { while link.receive(&local.input, |_, _| {}).await.is_ok() {} };
        timeout(CLOSING, closing).await?;
        local.run.live.cycles.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Sends a message, or has it published, and waits until it is back.
    async fn echo(&mut self, link: &mut Link, due: Duration) -> io::Result<()> {
        let Self { local, index, start, stream, next, publisher } = self;
        let run = &local.run;
        let stamp = run.stamp(*index, *next, due);
        *next += 1;
        run.live.sent.fetch_add(1, Relaxed);
        match publisher {
            Some(publisher) => publisher.publish(&stamp).await?,
            None => {
                let mut message = Vec::new();
                run.template.append(&stamp, &mut message);
                link.out.send(&message)?;
            }
        }
        let mut echoed = false;
        while !echoed {
            link.receive(&local.input, |front, size| {
                echoed |= local.record(stream, *index, (front, size), *start).is_some();
            })
            .await?;
        }
        run.live.delivered.fetch_add(1, Relaxed);
        Ok(())
    }
}
