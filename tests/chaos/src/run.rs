//! A run from its first process to its account.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tokio::time::{Instant, sleep};

use crate::{
    account::open_ends,
    cast::{Cast, Places, journals},
    crowd::{Crowd, Phase, Place, Progress},
    journal::Journals,
    network::Network,
    plan::{Step, plan},
    proxy::Proxy,
    report::{Facts, kinds, report},
    scenario::{Scenario, Shape},
    stage::Stage,
};

/// What to run.
#[derive(Clone, Debug)]
pub struct Order {
    /// Which faults.
    pub scenario: Scenario,
    /// How many of what.
    pub shape: Shape,
    /// What the plan follows from.
    pub seed: u64,
    /// Where the binaries are.
    pub bin: PathBuf,
}

/// How long nothing may move before a run stops waiting. Nothing is asserted about times; this
/// only ends what would never end.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long nothing may come any more until a run believes that nothing will.
const QUIET: Duration = Duration::from_millis(400);

/// Runs it, with logs and journals in `folder`. Returns the report, and whether it balances.
///
/// # Errors
/// When the suite does not come up, or a process ends by itself.
pub async fn run(order: &Order, folder: &Path) -> anyhow::Result<(String, bool)> {
    let Order { scenario, shape, seed, bin } = order;
    let network = scenario.has_hosts().then(|| Network::make(folder)).transpose()?;
    let places = match network {
        Some(_) => Places::on_hosts(),
        None => Places::choose(scenario.has_proxies()),
    };
    let proxies = proxies(&places).await?;
    let cast = Cast::start(bin, folder, places, network.as_ref())?;
    cast.ready().await?;
    let place = Place {
        gateways: cast.places.clients.clone(),
        inner: cast.places.inner_met.iter().map(std::net::SocketAddr::port).collect(),
        every: Duration::from_secs(1) * shape.clients / shape.rate,
        seed: *seed,
        progress: Progress::default(),
    };
    let crowd = Crowd::start(shape.clients, place);
    let progress = &crowd.place.progress;
    let all = u64::from(shape.clients);
    // Some leave and come back at any time.
    let most = |progress: &Progress| all * 9 / 10 <= progress.joined.load(Ordering::Relaxed);
    ensure!(progress.until(PATIENCE, most).await, "the suite did not come up");

    let mut stage = Stage::new(cast, proxies, network);
    let (began, steps) = (Instant::now(), plan(*scenario, shape, *seed));
    let lines = steps.iter().map(|Step { at, fault }| format!("{at:>8.2?}  {fault}\n"));
    fs::write(folder.join("plan.txt"), lines.collect::<String>())?;
    stage.play(&steps).await?;
    let seconds = began.elapsed().as_secs_f64();
    crowd.turn_to(Phase::Listen);
    let settled = |progress: &Progress| {
        progress.staying.load(Ordering::Relaxed) == progress.settled.load(Ordering::Relaxed)
    };
    sleep(QUIET).await;
    // If it does not settle, the account says what is missing.
    progress.until(PATIENCE, settled).await;
    progress.quiet(QUIET).await;
    crowd.turn_to(Phase::Leave);
    let lives = crowd.left().await;

    let mut journal = Journals::of(&journals(folder));
    ends(&mut journal).await?;
    let Stage { mut cast, mut account, .. } = stage;
    for unwell in cast.end().await? {
        account.blemish(unwell);
    }
    let (records, torn) = journal.finish()?;
    for _ in 0..torn {
        account.blemish("a journal is torn".to_owned());
    }
    account.records(records);
    lives.into_iter().for_each(|life| account.life(life));
    let balance = account.balance(scenario.leniency());
    let facts = Facts { scenario: *scenario, seed: *seed, seconds, faults: kinds(&steps) };
    Ok((report(&facts, &balance), balance.broken.is_empty()))
}

/// Waits until workers were told all ends, or are told no more.
async fn ends(journals: &mut Journals) -> anyhow::Result<()> {
    let mut moved = (Instant::now(), 0);
    loop {
        let records = journals.read().context("cannot read journals")?;
        let (known, ended) = open_ends(records);
        if ended != moved.1 {
            moved = (Instant::now(), ended);
        }
        let patience = if known == ended { QUIET } else { ENDS };
        if patience < moved.0.elapsed() {
            return Ok(());
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// How long to wait for the next end: longer than anybody believes in a lost gateway and, after
/// that, in the worker that was to speak for it.
const ENDS: Duration = Duration::from_secs(15);

async fn proxies(places: &Places) -> anyhow::Result<BTreeMap<Option<usize>, Proxy>> {
    let mut proxies = BTreeMap::new();
    if places.register != places.register_met {
        let register = Proxy::start(places.register_met, places.register).await?;
        proxies.insert(None, register);
        for (number, (met, inner)) in places.inner_met.iter().zip(&places.inner).enumerate() {
            proxies.insert(Some(number), Proxy::start(*met, *inner).await?);
        }
    }
    Ok(proxies)
}
