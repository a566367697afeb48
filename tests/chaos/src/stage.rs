//! Where faults happen: each is done in its turn, and mended in time.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    account::{Account, Loss},
    cast::{self, Cast},
    journal,
    network::Network,
    partitions::Partition,
    plan::{Fault, Links, Step, WORKERS, Who},
    proxy::Proxy,
};

/// Where faults happen.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) cast: Cast,
    /// By gateway; `None` is the register's.
    proxies: BTreeMap<Option<usize>, Proxy>,
    /// What it must know of what was done.
    pub(crate) account: Account,
    /// Where everybody has a host.
    network: Option<Network>,
    /// What is to be mended, and when.
    pending: BTreeMap<Instant, Pending>,
}

/// How something is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Start(Who),
    GoOn(Who),
    Join(Partition),
    Plug(Who),
}

impl Pending {
    /// Whose process is down or paused until then.
    const fn away(self) -> Option<Who> {
        match self {
            Self::Start(who) | Self::GoOn(who) => Some(who),
            Self::Join(_) | Self::Plug(_) => None,
        }
    }
}

/// How long what was begun before the last fault was mended goes on.
const MOMENT: Duration = Duration::from_millis(400);

impl Stage {
    pub(crate) fn new(
        cast: Cast,
        proxies: BTreeMap<Option<usize>, Proxy>,
        network: Option<Network>,
    ) -> Self {
        let mut account = Account::default();
        (0..WORKERS).for_each(|worker| account.worker_up(worker, 0));
        Self { cast, proxies, account, network, pending: BTreeMap::new() }
    }

    /// Does everything that is planned, and waits until everybody is back.
    pub(crate) async fn play(&mut self, steps: &[Step]) -> anyhow::Result<()> {
        let began = Instant::now();
        for step in steps {
            self.mend_until(began + step.at).await?;
            self.inflict(step.fault).await?;
        }
        while let Some(last) = self.pending.last_key_value().map(|(at, _)| *at) {
            self.mend_until(last).await?;
        }
        sleep(MOMENT).await;
        Ok(())
    }

    async fn mend_until(&mut self, end: Instant) -> anyhow::Result<()> {
        while let Some(next) = self.pending.first_entry().filter(|next| *next.key() <= end) {
            let (at, pending) = next.remove_entry();
            sleep_until(at).await;
            self.mend(pending)?;
        }
        sleep_until(end).await;
        Ok(())
    }

    fn mend(&mut self, pending: Pending) -> anyhow::Result<()> {
        match pending {
            Pending::Start(who) => {
                if let Some(network) = &mut self.network {
                    network.boot(who)?;
                }
                self.is_back(who);
                self.cast.actor(who).start()
            }
            Pending::GoOn(who) => {
                self.is_back(who);
                self.cast.actor(who).signal("CONT")
            }
            Pending::Join(partition) => self.network()?.join(partition),
            Pending::Plug(who) => self.network()?.plug(who, true),
        }
    }

    fn network(&mut self) -> anyhow::Result<&mut Network> {
        self.network.as_mut().context("nobody has a host")
    }

    async fn inflict(&mut self, fault: Fault) -> anyhow::Result<()> {
        let who = match fault {
            Fault::Kill(who, _)
            | Fault::Vanish(who, _)
            | Fault::Drain(who, _)
            | Fault::Pause(who, _) => Some(who),
            Fault::Cut(..) | Fault::Partition(..) | Fault::Unplug(..) => None,
        };
        // Whoever is down or paused is let come back first.
        let back = self.pending.iter().find(|(_, it)| who.is_some() && it.away() == who);
        if let Some(at) = back.map(|(at, _)| *at) {
            self.mend_until(at).await?;
        }
        match fault {
            Fault::Kill(who, down) => {
                self.lost(who, true);
                self.cast.actor(who).kill()?;
                self.later(down, Pending::Start(who));
            }
            Fault::Vanish(who, down) => {
                self.proxies.values().for_each(|proxy| proxy.hush(down));
                self.lost(who, true);
                if let Some(network) = &mut self.network {
                    network.vanish(who)?;
                }
                self.cast.actor(who).kill()?;
                self.later(down, Pending::Start(who));
            }
            Fault::Drain(who, down) => {
                self.is_up(who).await?;
                self.lost(who, false);
                self.cast.actor(who).signal("TERM")?;
                self.ended(who).await?;
                self.later(down, Pending::Start(who));
            }
            Fault::Pause(who, down) => {
                if let Who::Worker(number) = who {
                    self.account.worker_down(number, journal::now());
                }
                self.cast.actor(who).signal("STOP")?;
                self.later(down, Pending::GoOn(who));
            }
            Fault::Cut(links, cut, time, which) => {
                let key = match links {
                    Links::Register => None,
                    Links::Gateway(number) => Some(number),
                };
                self.proxies[&key].cut(cut, which, time);
            }
            Fault::Partition(partition, time) => {
                self.network()?.part(partition)?;
                self.later(time, Pending::Join(partition));
            }
            Fault::Unplug(who, time) => {
                self.network()?.plug(who, false)?;
                self.later(time, Pending::Plug(who));
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

    fn later(&mut self, down: Duration, pending: Pending) {
        let mut at = Instant::now() + down;
        while self.pending.contains_key(&at) {
            at += Duration::from_nanos(1);
        }
        self.pending.insert(at, pending);
    }

    /// Notes that a worker is there again.
    fn is_back(&mut self, who: Who) {
        if let Who::Worker(number) = who {
            self.account.worker_up(number, journal::now());
        }
    }

    /// Notes what the account must know of somebody's end.
    fn lost(&mut self, who: Who, killed: bool) {
        let at = journal::now();
        match who {
            Who::Gateway(number) => {
                let gateway = self.cast.places.inner_met[number].port();
                self.account.loss(Loss { gateway, at, killed });
            }
            Who::Worker(number) => self.account.worker_down(number, at),
            Who::Register => {}
        }
    }
}
