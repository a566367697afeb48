//! Starts and terminates processes.

use std::rc::Rc;

use simulated::control::{self, Host};
use tokio_util::sync::CancellationToken;

use super::{AWAY, World};
use crate::{
    account::Loss,
    clients::{self, Place},
    plan::ProcessId,
    poison,
    process::Process,
    settings::{self, Gauges},
};

impl World {
    pub(super) fn start(&mut self, host: Host) {
        self.lives += 1;
        let life = self.lives;
        let (plan, stop) = (Rc::clone(&self.plan), CancellationToken::new());
        control::enter(host);
        control::note("start", &[host as u64, life as u64]);
        let id = self.actors[host].id;
        let gauges = Gauges::default();
        let process = match id {
            ProcessId::Register(_) => {
                Process::start(host, settings::run_register(host, stop.clone()))
            }
            ProcessId::Gateway(number) => {
                let main = settings::run_gateway(plan, number, stop.clone(), Rc::clone(&gauges));
                Process::start(host, main)
            }
            ProcessId::Worker(number) => {
                Process::start(host, settings::run_worker(plan, number, life, stop.clone()))
            }
            ProcessId::Clients => {
                let hosts =
                    (0..plan.gateways.len()).map(|number| self.host(ProcessId::Gateway(number)));
                let place = Place {
                    gateways: hosts.map(settings::door).collect(),
                    inner: (0..plan.gateways.len()).map(settings::inner).collect(),
                    clients: plan.clients,
                    every: plan.every,
                    seed: self.seed,
                    phase: self.phase.subscribe(),
                    progress: Rc::clone(&self.progress),
                };
                let poison = plan.poison.map(|(after, number)| {
                    let gateway = settings::door(self.host(ProcessId::Gateway(number)));
                    (gateway, after, self.phase.subscribe(), Rc::clone(&self.fate))
                });
                Process::start(host, async {
                    if let Some((gateway, after, phase, fate)) = poison {
                        tokio::task::spawn_local(async move {
                            poison::run(gateway, after, phase, &fate).await;
                        });
                    }
                    clients::run(place).await;
                    std::future::pending().await
                })
            }
        };
        let process = process.expect("a runtime without I/O needs nothing");
        let actor = &mut self.actors[host];
        actor.process = Some(process);
        self.history.started(id, life, control::now());
        if let ProcessId::Worker(number) = id {
            self.account.worker_up(number, control::now());
        }
        (actor.life, actor.stop, actor.gauges) = (life, stop, gauges);
        (actor.paused, actor.stopping) = (0, false);
    }

    /// A process terminated by itself.
    pub(super) fn ended(&mut self, host: Host, result: anyhow::Result<()>) {
        let actor = &mut self.actors[host];
        control::end_process(host);
        control::enter(host);
        actor.process = None;
        actor.gauges = Gauges::default();
        actor.away = actor.away.max(control::now() + AWAY);
        let (id, stopping) = (actor.id, actor.stopping);
        self.history.ended(id, control::now());
        match (id, result) {
            (ProcessId::Gateway(number), Ok(())) if stopping => {
                self.account.ended(settings::inner(number), control::now());
            }
            (_, Ok(())) if stopping => {}
            (ProcessId::Gateway(number), Err(error))
                if format!("{error:#}").contains("declared this gateway dead") =>
            {
                if stopping {
                    self.history.broken_off(number, control::now());
                    self.account.ended(settings::inner(number), control::now());
                }
                self.lost(id, true);
            }
            (_, Ok(())) => self.account.blemish(format!("{id} exited unexpectedly")),
            (_, Err(error)) => self.account.blemish(format!("{id}: {error:#}")),
        }
    }

    /// Records a termination in the account.
    pub(super) fn lost(&mut self, id: ProcessId, killed: bool) {
        let at = control::now();
        match id {
            ProcessId::Gateway(number) => {
                self.account.loss(Loss { gateway: settings::inner(number), at, killed });
            }
            ProcessId::Worker(number) => self.account.worker_down(number, at),
            ProcessId::Register(_) | ProcessId::Clients => {}
        }
    }
}
