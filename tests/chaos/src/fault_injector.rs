//! Injects the faults of a plan, and ends each after its duration.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, ensure};
use test_support::account::{Account, Loss};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    journal,
    network::Network,
    partitions::Partition,
    plan::{Fault, Links, Process, Step, WORKERS},
    processes::{self, Processes},
    proxy::Proxy,
};

/// Injects faults.
#[derive(Debug)]
pub(crate) struct FaultInjector {
    pub(crate) processes: Processes,
    /// By gateway; `None` is the proxy of the register.
    proxies: BTreeMap<Option<usize>, Proxy>,
    /// The account, which records the faults that its exemptions depend on.
    pub(crate) account: Account,
    /// The network, if each process has a host.
    network: Option<Network>,
    /// Recoveries, by their time.
    pending: BTreeMap<Instant, Recovery>,
}

/// The end of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recovery {
    Start(Process),
    Continue(Process),
    Heal(Partition),
    Plug(Process),
}

impl Recovery {
    /// The process that is down or paused until then.
    const fn unavailable(self) -> Option<Process> {
        match self {
            Self::Start(process) | Self::Continue(process) => Some(process),
            Self::Heal(_) | Self::Plug(_) => None,
        }
    }
}

/// The time for which operations from before the last recovery may continue.
const MOMENT: Duration = Duration::from_millis(400);

impl FaultInjector {
    pub(crate) fn new(
        processes: Processes,
        proxies: BTreeMap<Option<usize>, Proxy>,
        network: Option<Network>,
    ) -> Self {
        let mut account = Account::default();
        (0..WORKERS).for_each(|worker| account.worker_up(worker, 0));
        Self { processes, proxies, account, network, pending: BTreeMap::new() }
    }

    /// Injects all planned faults, and waits until all have ended.
    pub(crate) async fn run(&mut self, steps: &[Step]) -> anyhow::Result<()> {
        let began = Instant::now();
        for step in steps {
            self.recover_until(began + step.at).await?;
            self.inject(step.fault).await?;
        }
        while let Some(last) = self.pending.last_key_value().map(|(at, _)| *at) {
            self.recover_until(last).await?;
        }
        sleep(MOMENT).await;
        Ok(())
    }

    async fn recover_until(&mut self, end: Instant) -> anyhow::Result<()> {
        while let Some(next) = self.pending.first_entry().filter(|next| *next.key() <= end) {
            let (at, recovery) = next.remove_entry();
            sleep_until(at).await;
            self.recover(recovery)?;
        }
        sleep_until(end).await;
        Ok(())
    }

    fn recover(&mut self, recovery: Recovery) -> anyhow::Result<()> {
        match recovery {
            Recovery::Start(process) => {
                if let Some(network) = &mut self.network {
                    network.boot(process)?;
                }
                self.record_start(process);
                self.processes.get(process).start()
            }
            Recovery::Continue(process) => {
                self.record_start(process);
                self.processes.get(process).signal("CONT")
            }
            Recovery::Heal(partition) => self.network()?.heal(partition),
            Recovery::Plug(process) => self.network()?.plug(process, true),
        }
    }

    fn network(&mut self) -> anyhow::Result<&mut Network> {
        self.network.as_mut().context("the scenario has no hosts")
    }

    async fn inject(&mut self, fault: Fault) -> anyhow::Result<()> {
        let process = match fault {
            Fault::Kill(process, _)
            | Fault::Vanish(process, _)
            | Fault::Drain(process, _)
            | Fault::Pause(process, _) => Some(process),
            Fault::Cut(..) | Fault::Partition(..) | Fault::Unplug(..) => None,
        };
        // A process that is down or paused recovers first.
        let back =
            self.pending.iter().find(|(_, it)| process.is_some() && it.unavailable() == process);
        if let Some(at) = back.map(|(at, _)| *at) {
            self.recover_until(at).await?;
        }
        match fault {
            Fault::Kill(process, down) => {
                self.record_loss(process, true);
                self.processes.get(process).kill()?;
                self.schedule(down, Recovery::Start(process));
            }
            Fault::Vanish(process, down) => {
                self.proxies.values().for_each(|proxy| proxy.hide_end(down));
                self.record_loss(process, true);
                if let Some(network) = &mut self.network {
                    network.vanish(process)?;
                }
                self.processes.get(process).kill()?;
                self.schedule(down, Recovery::Start(process));
            }
            Fault::Drain(process, down) => {
                self.wait_until_up(process).await?;
                self.record_loss(process, false);
                self.processes.get(process).signal("TERM")?;
                self.wait_for_exit(process).await?;
                self.schedule(down, Recovery::Start(process));
            }
            Fault::Pause(process, down) => {
                if let Process::Worker(number) = process {
                    self.account.worker_down(number, journal::now());
                }
                self.processes.get(process).signal("STOP")?;
                self.schedule(down, Recovery::Continue(process));
            }
            Fault::Cut(links, cut, time, which) => {
                let key = match links {
                    Links::Register => None,
                    Links::Gateway(number) => Some(number),
                };
                self.proxies[&key].cut(cut, which, time);
            }
            Fault::Partition(partition, time) => {
                self.network()?.partition(partition)?;
                self.schedule(time, Recovery::Heal(partition));
            }
            Fault::Unplug(process, time) => {
                self.network()?.plug(process, false)?;
                self.schedule(time, Recovery::Plug(process));
            }
        }
        Ok(())
    }

    /// Waits until a process handles SIGTERM, which it does not do right after its start.
    async fn wait_until_up(&mut self, process: Process) -> anyhow::Result<()> {
        let deadline = Instant::now() + processes::PATIENCE;
        while !self.processes.get(process).is_up().await {
            ensure!(Instant::now() < deadline, "{process} does not start up");
            self.recover_until(Instant::now() + processes::SOON).await?;
        }
        Ok(())
    }

    /// Waits until a draining process has exited. Other processes recover meanwhile.
    async fn wait_for_exit(&mut self, process: Process) -> anyhow::Result<()> {
        let deadline = Instant::now() + processes::PATIENCE;
        let status = loop {
            match self.processes.get(process).try_wait()? {
                None if Instant::now() < deadline => {
                    self.recover_until(Instant::now() + processes::SOON).await?;
                }
                status => break status,
            }
        };
        if let Process::Gateway(number) = process {
            let gateway = self.processes.addresses.inner_proxied[number].port();
            self.account.ended(gateway, journal::now());
        }
        let process = self.processes.get(process);
        if let Some(failure) = process.exit_failure(status) {
            process.kill()?;
            self.account.failure(failure);
        }
        Ok(())
    }

    fn schedule(&mut self, down: Duration, recovery: Recovery) {
        let mut at = Instant::now() + down;
        while self.pending.contains_key(&at) {
            at += Duration::from_nanos(1);
        }
        self.pending.insert(at, recovery);
    }

    /// Records that a worker runs again.
    fn record_start(&mut self, process: Process) {
        if let Process::Worker(number) = process {
            self.account.worker_up(number, journal::now());
        }
    }

    /// Records the end of a process in the account.
    fn record_loss(&mut self, process: Process, killed: bool) {
        let at = journal::now();
        match process {
            Process::Gateway(number) => {
                let gateway = self.processes.addresses.inner_proxied[number].port();
                self.account.loss(Loss { gateway, at, killed });
            }
            Process::Worker(number) => self.account.worker_down(number, at),
            Process::Register => {}
        }
    }
}
