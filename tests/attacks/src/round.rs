//! A round: a suite, attackers, probers, and what must hold.

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
    dice::Dice,
    plan::Plan,
    prober::{echo_once, probe},
    target::Target,
    watch::{self, Held},
};

/// How many clients peers may do something with.
const CROWD: usize = 20;

/// Probers of each gateway.
const PROBERS: usize = 5;

/// How long processes may take to drain, in seconds.
const GRACE: u64 = 3;

/// Bytes that clients may make a gateway hold.
const BUDGET: usize = 64 << 20;

/// What a process may hold besides: buffers of links, sessions, and what the allocator keeps.
const BESIDES: usize = 128 << 20;

/// What it may hold for all peers with the secret that do not read their answers.
const ANSWERS: usize = 256 << 20;

/// How many times as long as on a gateway which is not attacked a prober may wait.
const SLOWER: u32 = 20;

/// What counts as no wait at all, on a machine with other things to do.
const NOTHING: Duration = Duration::from_millis(25);

/// Runs a round, and says what did not hold.
pub(crate) async fn run(plan: Plan, time: Duration) -> Vec<String> {
    let knows_the_secret = plan.knows_the_secret();
    let Plan { threads, slow_client, attackers, ends_under_attack, mut dice } = plan;
    let (grace, budget) = (GRACE.to_string(), BUDGET.to_string());
    let suite = Suite::builder().gateways(2).workers(2).threads(threads).logs("info");
    let suite = suite.gateway_flag("--memory-budget", &budget).gateway_flag("--grace", &grace);
    let suite = suite.gateway_flag("--worker-window", "1048576").worker_flag("--grace", &grace);
    let mut suite = suite.gateway_flag("--slow-client", slow_client).start().await;

    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        crowd.push(Raw::websocket(suite.gateways[0].clients).await);
    }
    let target = Arc::new(target(&suite).await);
    let stop = CancellationToken::new();
    let [attacked, other] = [(0, knows_the_secret), (1, false)]
        .map(|(at, may_be_closed)| probers(suite.gateways[at].clients, may_be_closed, &stop));
    let mut before = [Held::default(); 5];
    look(&suite, &mut before).await;

    let mut attacks = attack(&target, &attackers, &mut dice);
    let mut during = [Held::default(); 5];
    let until = Instant::now() + time;
    while Instant::now() < until {
        look(&suite, &mut during).await;
        sleep(watch::EVERY).await;
    }
    stop.cancel();
    let mut violations = Vec::new();
    let attacked = waits(attacked, "the attacked gateway", &mut violations).await;
    let other = waits(other, "the other gateway", &mut violations).await;
    compare(&attacked, &other, &mut violations);
    let besides = BESIDES + if knows_the_secret { ANSWERS } else { 0 };
    for ((process, before), held) in processes(&suite).zip(before).zip(during) {
        check_memory(process, before, held, besides, &mut violations);
    }
    if !ends_under_attack {
        attacks.shutdown().await;
        drop(crowd);
        // All that it took is given back, and newcomers are served.
        let mut newcomer = Browser::open(suite.gateways[0].clients, "/").await;
        violations.extend(echo_once(&mut newcomer, "e after all that").await.err());
        newcomer.close().await;
    }
    end(&mut suite, &mut dice, &mut violations).await;
    attacks.shutdown().await;
    violations
}

async fn target(suite: &Suite) -> Target {
    let mut peer = suite.peer(0).await;
    let query = Query::Select { fields: Fields::default(), filter: Filter::All };
    let Answer::Rows(rows) = peer.ask(query).await else { panic!("rows were asked for") };
    let gateway = &suite.gateways[0];
    Target {
        clients: gateway.clients,
        inner: gateway.inner,
        register: suite.register_addrs[0],
        secret: suite.secret(),
        crowd: rows.into_iter().map(|row| row.client).collect(),
    }
}

type Probers = JoinSet<Result<Vec<Duration>, String>>;

fn probers(gateway: SocketAddr, may_be_closed: bool, stop: &CancellationToken) -> Probers {
    (0..PROBERS).map(|_| probe(gateway, may_be_closed, stop.clone())).collect()
}

/// Starts the attackers: each lives again and again.
fn attack(target: &Arc<Target>, attackers: &[(Attack, usize)], dice: &mut Dice) -> JoinSet<()> {
    let mut attacks = JoinSet::new();
    for (kind, count) in attackers {
        for _ in 0..*count {
            let (kind, target, mut dice) = (*kind, Arc::clone(target), dice.fork());
            attacks.spawn(async move {
                loop {
                    kind.once(&target, &mut dice).await;
                    sleep(dice.pause(100)).await;
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

async fn look(suite: &Suite, held: &mut [Held; 5]) {
    for (process, held) in processes(suite).zip(held) {
        held.look(process).await;
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
    let most = SLOWER * NOTHING.max(*other_longest);
    if most < *longest {
        violations
            .push(format!("a prober waited {longest:?}, on the other gateway {other_longest:?}"));
    }
}

fn check_memory(
    process: &Process,
    before: Held,
    held: Held,
    besides: usize,
    violations: &mut Vec<String>,
) {
    const MIB: usize = 1 << 20;
    let grown = held.resident.saturating_sub(before.resident);
    let name = &process.name;
    println!(
        "  {name}: grown by {} MiB, of which {} MiB are accounted for",
        grown / MIB,
        held.account / MIB
    );
    let most = held.account * 3 / 2 + besides;
    if most < grown {
        violations.push(format!(
            "{name} has grown by {} MiB, more than {} MiB",
            grown / MIB,
            most / MIB
        ));
    }
}

/// Ends every process in a random order. Each must end within its grace, whatever is going on.
async fn end(suite: &mut Suite, dice: &mut Dice, violations: &mut Vec<String>) {
    let gateways = suite.gateways.iter_mut().map(|gateway| &mut **gateway);
    let mut all: Vec<_> =
        suite.registers.iter_mut().chain(gateways).chain(&mut suite.workers).collect();
    while !all.is_empty() {
        let process = all.swap_remove(dice.below(all.len()));
        if !process.is_running() {
            violations.push(format!("{} has ended:\n{}", process.name, process.log()));
            continue;
        }
        let began = Instant::now();
        let status = process.stop().await;
        let took = began.elapsed();
        if status.code() != Some(0) {
            violations.push(format!("{} ended with {status}", process.name));
        }
        if Duration::from_secs(2 * GRACE) < took {
            violations
                .push(format!("{} took {took:?} to end, with a grace of {GRACE} s", process.name));
        }
    }
}
