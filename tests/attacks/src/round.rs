//! One round: a suite, attackers, probers, and the invariants.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use protocol::{Answer, Fields, Filter, Query};
use suite_tests::{Browser, Raw, Suite, process::Process};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    attack::Attack,
    plan::{Plan, RATE},
    prober::{echo_once, probe},
    rng::Rng,
    target::Target,
    watch::{self, Held},
};

/// Number of clients that peers may manipulate.
const TARGETS: usize = 20;

/// Number of probers per gateway.
const PROBERS: usize = 5;

/// Grace period of processes, in seconds.
const GRACE: u64 = 3;

/// Memory budget of a gateway in bytes.
const BUDGET: usize = 64 << 20;

/// Further bytes that a process may hold: buffers of links, sessions, and freed memory that the
/// allocator retains.
const OVERHEAD: usize = 128 << 20;

/// Bytes that it may hold for peers with the secret that do not read their answers.
const ANSWERS: usize = 256 << 20;

/// Maximum latency of a prober, as a multiple of that on a gateway that is not attacked.
const MAX_SLOWDOWN: u32 = 20;

/// Latencies below this count as equal, given other load on the machine.
const NOISE: Duration = Duration::from_millis(25);

/// Runs a round and returns the violated invariants.
pub(crate) async fn run(plan: Plan, time: Duration) -> Vec<String> {
    let has_secret = plan.has_secret();
    let Plan { threads, slow_client, rate_policy, attackers, stops_under_attack, mut rng } = plan;
    let (grace, budget) = (GRACE.to_string(), BUDGET.to_string());
    let suite = Suite::builder().gateways(2).workers(2).threads(threads).logs("info");
    let suite = suite.gateway_flag("--memory-budget", &budget).gateway_flag("--grace", &grace);
    let suite = suite.gateway_flag("--worker-window", "1048576").worker_flag("--grace", &grace);
    let suite = suite.gateway_flag("--slow-client", slow_client);
    let suite = match rate_policy {
        None => suite,
        Some(policy) => suite
            .gateway_flag("--max-messages-per-second", &RATE.to_string())
            .gateway_flag("--rate-policy", policy),
    };
    let mut suite = suite.start().await;

    let mut targets = Vec::new();
    for _ in 0..TARGETS {
        targets.push(Raw::websocket(suite.gateways[0].clients).await);
    }
    let target = Arc::new(target(&suite).await);
    let stop = CancellationToken::new();
    let [attacked, other] = [(0, has_secret), (1, false)]
        .map(|(at, may_be_closed)| probers(suite.gateways[at].clients, may_be_closed, &stop));
    let mut before = [Held::default(); 5];
    sample(&suite, &mut before).await;

    let mut attacks = attack(&target, &attackers, &mut rng);
    let mut during = [Held::default(); 5];
    let until = Instant::now() + time;
    while Instant::now() < until {
        sample(&suite, &mut during).await;
        sleep(watch::EVERY).await;
    }
    stop.cancel();
    let mut violations = Vec::new();
    let attacked = waits(attacked, "the attacked gateway", &mut violations).await;
    let other = waits(other, "the other gateway", &mut violations).await;
    compare(&attacked, &other, &mut violations);
    let overhead = OVERHEAD + if has_secret { ANSWERS } else { 0 };
    for ((process, before), held) in processes(&suite).zip(before).zip(during) {
        check_memory(process, before, held, overhead, &mut violations);
    }
    if !stops_under_attack {
        attacks.shutdown().await;
        drop(targets);
        // New clients are served.
        let mut newcomer = Browser::open(suite.gateways[0].clients, "/").await;
        violations.extend(echo_once(&mut newcomer, "e after all that").await.err());
        newcomer.close().await;
    }
    stop_all(&mut suite, &mut rng, &mut violations).await;
    attacks.shutdown().await;
    violations
}

async fn target(suite: &Suite) -> Target {
    let mut peer = suite.peer(0).await;
    let query = Query::Select { fields: Fields::default(), filter: Filter::All };
    let Answer::Rows(rows) = peer.query(query).await else { panic!("expected rows") };
    let gateway = &suite.gateways[0];
    Target {
        clients: gateway.clients,
        inner: gateway.inner,
        register: suite.register_addrs[0],
        secret: suite.secret(),
        connections: rows.into_iter().map(|row| row.client).collect(),
    }
}

type Probers = JoinSet<Result<Vec<Duration>, String>>;

fn probers(gateway: SocketAddr, may_be_closed: bool, stop: &CancellationToken) -> Probers {
    (0..PROBERS).map(|_| probe(gateway, may_be_closed, stop.clone())).collect()
}

/// Starts the attackers; each repeats its attack.
fn attack(target: &Arc<Target>, attackers: &[(Attack, usize)], rng: &mut Rng) -> JoinSet<()> {
    let mut attacks = JoinSet::new();
    for (kind, count) in attackers {
        for _ in 0..*count {
            let (kind, target, mut rng) = (*kind, Arc::clone(target), rng.fork());
            attacks.spawn(async move {
                loop {
                    kind.run_once(&target, &mut rng).await;
                    sleep(rng.pause(100)).await;
                }
            });
        }
    }
    attacks
}

fn processes(suite: &Suite) -> impl Iterator<Item = &Process> {
    let gateways = suite.gateways.iter().map(|gateway| &**gateway);
    gateways.chain(&suite.registers).chain(&suite.workers)
}

async fn sample(suite: &Suite, held: &mut [Held; 5]) {
    for (process, held) in processes(suite).zip(held) {
        held.sample(process).await;
    }
}

async fn waits(mut probers: Probers, of: &str, violations: &mut Vec<String>) -> Vec<Duration> {
    let mut all = Vec::new();
    while let Some(waits) = probers.join_next().await {
        match waits {
            Ok(Ok(waits)) => all.extend(waits),
            Ok(Err(error)) => violations.push(format!("{of}: {error}")),
            Err(error) => violations.push(format!("{of}: {error}")),
        }
    }
    all.sort_unstable();
    all
}

fn compare(attacked: &[Duration], other: &[Duration], violations: &mut Vec<String>) {
    let (Some(longest), Some(other_longest)) = (attacked.last(), other.last()) else {
        violations.push("probers had no echo".to_owned());
        return;
    };
    let median = |waits: &[Duration]| waits[waits.len() / 2];
    println!(
        "  echoes: attacked {} (median {:?}, longest {longest:?}), other {} (median {:?}, longest {other_longest:?})",
        attacked.len(),
        median(attacked),
        other.len(),
        median(other),
    );
    let most = MAX_SLOWDOWN * NOISE.max(*other_longest);
    if most < *longest {
        violations
            .push(format!("a prober waited {longest:?}, on the other gateway {other_longest:?}"));
    }
}

fn check_memory(
    process: &Process,
    before: Held,
    held: Held,
    overhead: usize,
    violations: &mut Vec<String>,
) {
    const MIB: usize = 1 << 20;
    let grown = held.resident.saturating_sub(before.resident);
    let name = &process.name;
    println!("  {name}: grown by {} MiB, {} MiB accounted for", grown / MIB, held.account / MIB);
    let most = held.account * 3 / 2 + overhead;
    if most < grown {
        violations.push(format!(
            "{name} has grown by {} MiB, more than {} MiB",
            grown / MIB,
            most / MIB
        ));
    }
}

/// Stops every process in a random order. Each must exit within twice its grace period.
async fn stop_all(suite: &mut Suite, rng: &mut Rng, violations: &mut Vec<String>) {
    let gateways = suite.gateways.iter_mut().map(|gateway| &mut **gateway);
    let mut all: Vec<_> =
        suite.registers.iter_mut().chain(gateways).chain(&mut suite.workers).collect();
    while !all.is_empty() {
        let process = all.swap_remove(rng.below(all.len()));
        if !process.is_running() {
            violations.push(format!("{} has exited:\n{}", process.name, process.log()));
            continue;
        }
        let began = Instant::now();
        let status = process.stop().await;
        let took = began.elapsed();
        if status.code() != Some(0) {
            violations.push(format!("{} exited with {status}", process.name));
        }
        if Duration::from_secs(2 * GRACE) < took {
            violations.push(format!(
                "{} took {took:?} to exit, with a grace period of {GRACE} s",
                process.name
            ));
        }
    }
}
