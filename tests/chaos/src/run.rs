//! A run, from the start of its processes to its account.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use test_support::{
    account::count_closed_clients,
    clients::{Environment, Phase, Progress},
};
use tokio::time::{Instant, sleep};

use crate::{
    clients::{Clients, LIMITS, Tcp},
    fault_injector::FaultInjector,
    journal::Journals,
    members::Members,
    network::Network,
    notices,
    plan::{Step, plan},
    processes::{Addresses, Processes, journals},
    proxy::Proxy,
    report::{Facts, kinds, report},
    scenario::{Scenario, Shape},
};

/// The parameters of a run.
#[derive(Clone, Debug)]
pub struct RunConfig {
    /// The kind of faults.
    pub scenario: Scenario,
    /// The size.
    pub shape: Shape,
    /// The seed of the plan.
    pub seed: u64,
    /// The folder of the binaries.
    pub bin: PathBuf,
}

/// The time without progress after which a run stops waiting. It bounds a run that hangs; no
/// latency is asserted.
const PATIENCE: Duration = Duration::from_secs(20);

/// The time without events after which nothing is in flight any more.
const QUIET: Duration = Duration::from_millis(400);

/// Performs a run, with logs and journals in `folder`. Returns the report, and whether the account
/// balances.
///
/// # Errors
/// When the suite does not become ready, or a process exits unexpectedly.
pub async fn run(config: &RunConfig, folder: &Path) -> anyhow::Result<(String, bool)> {
    let RunConfig { scenario, shape, seed, bin } = config;
    let network = scenario.has_hosts().then(|| Network::create(folder)).transpose()?;
    let addresses = match network {
        Some(_) => Addresses::on_hosts(),
        None => Addresses::choose(scenario.has_proxies()),
    };
    let proxies = proxies(&addresses).await?;
    let processes = Processes::start(bin, folder, addresses, network.as_ref())?;
    processes.ready().await?;
    let environment = Environment {
        transport: Tcp,
        gateways: processes.addresses.clients.clone(),
        inner: processes.addresses.inner_proxied.iter().map(std::net::SocketAddr::port).collect(),
        every: Duration::from_secs(1) * shape.clients / shape.rate,
        limits: LIMITS,
        progress: Arc::default(),
    };
    let members = Members::start(&environment.gateways, notices::folder(&journals(folder)));
    let clients = Clients::start(shape.clients, *seed, environment);
    let all = u64::from(shape.clients);
    // Some clients close and reconnect at any time.
    let most = |progress: &Progress| all * 9 / 10 <= progress.joined.load(Ordering::Relaxed);
    ensure!(clients.until(PATIENCE, most).await, "the suite did not become ready");

    let mut injector = FaultInjector::new(processes, proxies, network);
    let (began, steps) = (Instant::now(), plan(*scenario, shape, *seed));
    let lines = steps.iter().map(|Step { at, fault }| format!("{at:>8.2?}  {fault}\n"));
    fs::write(folder.join("plan.txt"), lines.collect::<String>())?;
    injector.run(&steps).await?;
    let seconds = began.elapsed().as_secs_f64();
    clients.set_phase(Phase::Listen);
    let settled = |progress: &Progress| {
        progress.staying.load(Ordering::Relaxed) == progress.settled.load(Ordering::Relaxed)
    };
    // If they do not link, the account reports what did not arrive.
    injector.processes.linked().await;
    sleep(QUIET).await;
    // If clients do not settle, the account reports the missing answers.
    clients.until(PATIENCE, settled).await;
    clients.quiet(QUIET).await;
    let (observed, failures) = members.finish().await?;
    clients.set_phase(Phase::Leave);
    let connections = clients.join().await;

    let mut journal = Journals::of(&journals(folder));
    wait_for_closes(&mut journal).await?;
    let FaultInjector { mut processes, mut account, .. } = injector;
    for failure in processes.stop().await? {
        account.failure(failure);
    }
    let (records, torn) = journal.finish()?;
    failures.into_iter().for_each(|failure| account.failure(failure));
    for _ in 0..torn {
        account.failure("a journal is incomplete".to_owned());
    }
    account.records(records);
    connections.into_iter().for_each(|log| account.connection(log));
    let balance = account.balance(scenario.leniency());
    let faults = kinds(&steps);
    let facts = Facts { scenario: *scenario, seed: *seed, seconds, faults, observed };
    Ok((report(&facts, &balance), balance.broken.is_empty()))
}

/// Waits until every client with a record has a recorded close, or until no more closes are
/// recorded.
async fn wait_for_closes(journals: &mut Journals) -> anyhow::Result<()> {
    let mut last = (Instant::now(), 0);
    loop {
        let records = journals.read().context("cannot read journals")?;
        let (known, ended) = count_closed_clients(records);
        if ended != last.1 {
            last = (Instant::now(), ended);
        }
        let patience = if known == ended { QUIET } else { CLOSE_TIMEOUT };
        if patience < last.0.elapsed() {
            return Ok(());
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// How long to wait for the next close: longer than the grace period of a dead gateway plus the
/// timeout of the worker that had to close its clients.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(15);

async fn proxies(addresses: &Addresses) -> anyhow::Result<BTreeMap<Option<usize>, Proxy>> {
    let mut proxies = BTreeMap::new();
    if addresses.register != addresses.register_proxied {
        let register = Proxy::start(addresses.register_proxied, addresses.register).await?;
        proxies.insert(None, register);
        for (number, (proxied, inner)) in
            addresses.inner_proxied.iter().zip(&addresses.inner).enumerate()
        {
            proxies.insert(Some(number), Proxy::start(*proxied, *inner).await?);
        }
    }
    Ok(proxies)
}
