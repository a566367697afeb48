//! A run from its first process to its account.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    account::{Account, Loss, open_ends},
    cast::{self, Cast, Places, journals},
    crowd::{Crowd, Phase, Place, Progress},
    journal::{self, Journals},
    plan::{Cut, Fault, Links, Step, VANISHED, Who, plan},
    proxy::Proxy,
    report::{Facts, report},
    scenario::{Scenario, Shape},
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
    let places = Places::choose(scenario.has_proxies());
    let proxies = proxies(&places).await?;
    let cast = Cast::start(bin, folder, places)?;
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

    let mut stage = Stage { cast, proxies, account: Account::default(), pending: BTreeMap::new() };
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

/// Where faults happen.
struct Stage {
    cast: Cast,
    /// By gateway; `None` is the register's.
    proxies: BTreeMap<Option<usize>, Proxy>,
    account: Account,
    /// Who is to be started again or go on, and when.
    pending: BTreeMap<Instant, (Who, Pending)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Start,
    GoOn,
}

impl Stage {
    /// Does everything that is planned, and waits until everybody is back.
    async fn play(&mut self, steps: &[Step]) -> anyhow::Result<()> {
        let began = Instant::now();
        for step in steps {
            self.mend_until(began + step.at).await?;
            self.inflict(step.fault).await?;
        }
        while let Some(last) = self.pending.last_key_value().map(|(at, _)| *at) {
            self.mend_until(last).await?;
        }
        // What was begun before the last of it goes on for a moment.
        sleep(QUIET).await;
        Ok(())
    }

    async fn mend_until(&mut self, end: Instant) -> anyhow::Result<()> {
        while let Some(next) = self.pending.first_entry().filter(|next| *next.key() <= end) {
            let (at, (who, pending)) = next.remove_entry();
            sleep_until(at).await;
            let actor = self.cast.actor(who);
            match pending {
                Pending::Start => actor.start()?,
                Pending::GoOn => actor.signal("CONT")?,
            }
        }
        sleep_until(end).await;
        Ok(())
    }

    async fn inflict(&mut self, fault: Fault) -> anyhow::Result<()> {
        let who = match fault {
            Fault::Kill(who, _)
            | Fault::Vanish(who)
            | Fault::Drain(who, _)
            | Fault::Pause(who, _) => Some(who),
            Fault::Cut(..) => None,
        };
        // Whoever is down or paused is let come back first.
        let back = self.pending.iter().find(|(_, (other, _))| Some(*other) == who);
        if let Some(at) = back.map(|(at, _)| *at) {
            self.mend_until(at).await?;
        }
        match fault {
            Fault::Kill(who, down) => {
                self.lost(who, true);
                self.cast.actor(who).kill()?;
                self.later(down, who, Pending::Start);
            }
            Fault::Vanish(who) => {
                self.proxies.values().for_each(|proxy| proxy.hush(VANISHED));
                self.lost(who, true);
                self.cast.actor(who).kill()?;
                self.later(VANISHED, who, Pending::Start);
            }
            Fault::Drain(who, down) => {
                self.is_up(who).await?;
                self.lost(who, false);
                self.cast.actor(who).signal("TERM")?;
                self.ended(who).await?;
                self.later(down, who, Pending::Start);
            }
            Fault::Pause(who, down) => {
                self.cast.actor(who).signal("STOP")?;
                self.later(down, who, Pending::GoOn);
            }
            Fault::Cut(links, cut, time, which) => {
                let key = match links {
                    Links::Register => None,
                    Links::Gateway(number) => Some(number),
                };
                self.proxies[&key].cut(cut, which, time);
            }
        }
        Ok(())
    }

    /// Waits until a process can be asked to end: one that has just been started does not listen
    /// to that yet.
    async fn is_up(&mut self, who: Who) -> anyhow::Result<()> {
        let deadline = Instant::now() + cast::PATIENCE;
        while !self.cast.actor(who).is_up().await {
            ensure!(Instant::now() < deadline, "{who} does not come up");
            self.mend_until(Instant::now() + cast::SOON).await?;
        }
        Ok(())
    }

    /// Waits for the end of a process that was asked to. Others come back meanwhile.
    async fn ended(&mut self, who: Who) -> anyhow::Result<()> {
        let deadline = Instant::now() + cast::PATIENCE;
        let status = loop {
            match self.cast.actor(who).has_ended()? {
                None if Instant::now() < deadline => {
                    self.mend_until(Instant::now() + cast::SOON).await?;
                }
                status => break status,
            }
        };
        if let Who::Gateway(number) = who {
            let gateway = self.cast.places.inner_met[number].port();
            self.account.ended(gateway, journal::now());
        }
        let actor = self.cast.actor(who);
        if let Some(unwell) = actor.unwell(status) {
            actor.kill()?;
            self.account.blemish(unwell);
        }
        Ok(())
    }

    fn later(&mut self, down: Duration, who: Who, pending: Pending) {
        let mut at = Instant::now() + down;
        while self.pending.contains_key(&at) {
            at += Duration::from_nanos(1);
        }
        self.pending.insert(at, (who, pending));
    }

    /// Notes what the account must know of somebody's end.
    fn lost(&mut self, who: Who, killed: bool) {
        let at = journal::now();
        match who {
            Who::Gateway(number) => {
                let gateway = self.cast.places.inner_met[number].port();
                self.account.loss(Loss { gateway, at, killed });
            }
            Who::Worker(number) => self.account.death(number, at),
            Who::Register => {}
        }
    }
}

fn kinds(steps: &[Step]) -> Vec<(&'static str, usize)> {
    let mut kinds = BTreeMap::new();
    for step in steps {
        let kind = match step.fault {
            Fault::Kill(Who::Worker(_), _) => "workers killed",
            Fault::Kill(Who::Gateway(_), _) => "gateways killed",
            Fault::Kill(Who::Register, _) => "registers killed",
            Fault::Vanish(_) => "workers vanished",
            Fault::Drain(Who::Gateway(_), _) => "gateways drained",
            Fault::Drain(..) => "workers drained",
            Fault::Pause(..) => "pauses",
            Fault::Cut(_, Cut::Stall, ..) => "links stalled",
            Fault::Cut(_, Cut::Drop, ..) => "links dropped",
            Fault::Cut(_, Cut::Reset, ..) => "links reset",
            Fault::Cut(..) => "links half closed",
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds.into_iter().collect()
}
