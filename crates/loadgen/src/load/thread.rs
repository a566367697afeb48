//! One thread of the generator: its clients from connect to the end.

use std::{rc::Rc, sync::Arc, thread, time::Instant};

use anyhow::Context as _;
use tokio::{
    runtime,
    sync::{Semaphore, mpsc, oneshot, watch},
    task::{JoinSet, LocalSet},
};

use super::{
    clients,
    counters::Counters,
    cycles,
    pacer::{self, Output},
    publisher::{self, Publisher},
    shared::{Local, Phase, Run},
};
use crate::{link::Link, plan::Mode};

/// A report of a thread to the run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ThreadState {
    /// Its clients are connected.
    Ready,
    /// It starts nothing more, and all messages that it sent are counted.
    Drained,
    /// It ended early.
    Failed,
}

/// Runs a thread's share of the clients.
pub(super) fn run(
    run: &Arc<Run>,
    thread: usize,
    phase: watch::Receiver<Phase>,
    states: mpsc::Sender<ThreadState>,
) -> anyhow::Result<Counters> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let local = Rc::new(Local::new(Arc::clone(run), phase));
    let tasks = LocalSet::new();
    let paced = tasks.block_on(&runtime, async {
        let links = connect(&local, thread).await;
        let _ = states.send(ThreadState::Ready).await;
        let (senders, mut cycles) = start(&local, thread, links);
        let begun = local.started().await;
        let pacer = run.plan.rate.is_some().then(|| spawn_pacer(run, senders, begun));
        local.reached(Phase::Draining).await;
        // Clients do not await between the check of `sending` and the count of what they send, so
        // all messages of this thread are counted, except of clients that still connect.
        let paced = match pacer {
            Some(pacer) => Some(pacer.await.context("the pacing thread failed")?),
            None => None,
        };
        let drained = async {
            while cycles.join_next().await.is_some() {}
            let _ = states.send(ThreadState::Drained).await;
            local.reached(Phase::Over).await;
        };
        tokio::select! {
            biased;
            () = drained => {}
            () = local.reached(Phase::Over) => {}
        }
        for _ in 0..cycles.len() {
            run.live.record_failure("a cycle was not finished when the grace was over");
        }
        anyhow::Ok(paced)
    });
    // Ends the clients at once; their measurements are in the counters.
    drop(tasks);
    let mut counters = local.counters.replace(Counters::new(run.plan.duration));
    if let Some(paced) = paced? {
        counters.add(&paced);
    }
    Ok(counters)
}

/// Connects and prepares this thread's clients, some at a time.
async fn connect(local: &Rc<Local>, thread: usize) -> Vec<(usize, Link)> {
    let plan = &local.run.plan;
    if matches!(plan.mode, Mode::Churn | Mode::Storm) {
        return Vec::new();
    }
    let gate = Rc::new(Semaphore::new(plan.at_once));
    let mut connecting = JoinSet::new();
    for index in plan.share(thread) {
        let (local, gate) = (Rc::clone(local), Rc::clone(&gate));
        connecting.spawn_local(async move {
            let _pass = gate.acquire().await.context("the gate is open")?;
            let mut link = cycles::open(&local, index, index).await?;
            clients::prepare(&mut link, &local, index).await?;
            anyhow::Ok((index, link))
        });
    }
    let mut links = Vec::new();
    while let Some(joined) = connecting.join_next().await {
        match joined.map_err(anyhow::Error::from).flatten() {
            Ok(link) => {
                local.run.live.connected.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                links.push(link);
            }
            Err(error) => {
                local.run.live.record_failure(format!("a client could not connect: {error:#}"))
            }
        }
    }
    links.sort_by_key(|(index, _)| *index);
    links
}

/// Starts the tasks of the clients. Collects the clients that send when a pacer triggers them, and
/// returns the tasks of reconnecting clients.
fn start(
    local: &Rc<Local>,
    thread: usize,
    links: Vec<(usize, Link)>,
) -> (Vec<(usize, Output)>, JoinSet<()>) {
    let plan = &local.run.plan;
    let open_loop = plan.rate.is_some();
    let mut senders = start_publishers(local, thread);
    let client_sends = |index| plan.pusher.is_none() && index < plan.senders;
    for (index, link) in links {
        let local = Rc::clone(local);
        let out = Arc::clone(&link.out);
        match plan.mode {
            Mode::Idle => drop(tokio::task::spawn_local(clients::idle(link, local))),
            Mode::Echo | Mode::Paced | Mode::Uid | Mode::Member if open_loop => {
                senders.push((index, Output::Socket(out)));
                tokio::task::spawn_local(clients::receive(link, local, index));
            }
            Mode::Echo | Mode::Paced | Mode::Uid | Mode::Member => {
                tokio::task::spawn_local(clients::echo(link, local, index));
            }
            Mode::Fanout | Mode::Slow if plan.connections <= index => {
                tokio::task::spawn_local(clients::stall(link, local));
            }
            Mode::Fanout | Mode::Slow => {
                if client_sends(index) && open_loop {
                    senders.push((index, Output::Socket(out)));
                } else if client_sends(index) {
                    tokio::task::spawn_local(clients::send_fanout(out, Rc::clone(&local), index));
                }
                tokio::task::spawn_local(clients::receive(link, local, index));
            }
            Mode::Churn | Mode::Storm => {}
        }
    }
    let (gate, mut cycles) = (Rc::new(Semaphore::new(plan.at_once)), JoinSet::new());
    for index in plan.share(thread) {
        let local = Rc::clone(local);
        match plan.mode {
            Mode::Churn => drop(cycles.spawn_local(cycles::churn(local, index))),
            Mode::Storm => drop(cycles.spawn_local(cycles::storm(local, index, Rc::clone(&gate)))),
            _ => {}
        }
    }
    (senders, cycles)
}

/// Starts a thread's publishers, if messages are published. Returns those that a pacer triggers.
fn start_publishers(local: &Rc<Local>, thread: usize) -> Vec<(usize, Output)> {
    let plan = &local.run.plan;
    let mut paced = Vec::new();
    for number in plan.publishers(thread) {
        let Some(publisher) = Publisher::new(local, number) else { continue };
        if plan.rate.is_some() {
            let (due, is_due) = mpsc::channel(publisher::QUEUE);
            tokio::task::spawn_local(publisher.run_open(is_due));
            paced.push((number, Output::Publisher(due)));
        } else {
            tokio::task::spawn_local(publisher.run_closed(number));
        }
    }
    paced
}

fn spawn_pacer(
    run: &Arc<Run>,
    senders: Vec<(usize, Output)>,
    start: Instant,
) -> oneshot::Receiver<Counters> {
    let run = Arc::clone(run);
    let (counters, paced) = oneshot::channel();
    // The receiver is dropped if the run is over.
    thread::spawn(move || drop(counters.send(pacer::pace(&run, &senders, start))));
    paced
}
