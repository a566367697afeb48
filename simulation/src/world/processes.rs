//! Starts and terminates processes.

use std::rc::Rc;

use simulated::control::{self, Host};
use tokio_util::sync::CancellationToken;

use super::{AWAY, World};
use crate::{
    account::Loss,
    clients::{self, Place},
    plan::Who,
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
        let who = self.actors[host].who;
        let gauges = Gauges::default();
        let process = match who {
            Who::Register(_) => Process::start(host, settings::run_register(host, stop.clone())),
            Who::Gateway(number) => {
                let main = settings::run_gateway(plan, number, stop.clone(), Rc::clone(&gauges));
                Process::start(host, main)
            }
            Who::Worker(number) => {
                Process::start(host, settings::run_worker(plan, number, life, stop.clone()))
            }
            Who::Crowd => {
                let hosts = (0..plan.gateways.len()).map(|number| self.host(Who::Gateway(number)));
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
                    let gateway = settings::door(self.host(Who::Gateway(number)));
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
        self.history.started(who, life, control::now());
        if let Who::Worker(number) = who {
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
        let (who, stopping) = (actor.who, actor.stopping);
        self.history.ended(who, control::now());
        match (who, result) {
            (Who::Gateway(number), Ok(())) if stopping => {
                self.account.ended(settings::inner(number), control::now());
            }
            (_, Ok(())) if stopping => {}
            (Who::Gateway(number), Err(error))
                if format!("{error:#}").contains("declared this gateway dead") =>
            {
                if stopping {
                    self.history.broken_off(number, control::now());
                    self.account.ended(settings::inner(number), control::now());
                }
                self.lost(who, true);
            }
            (_, Ok(())) => self.account.blemish(format!("{who} ended unasked")),
            (_, Err(error)) => self.account.blemish(format!("{who}: {error:#}")),
        }
    }

    /// Records a termination in the account.
    pub(super) fn lost(&mut self, who: Who, killed: bool) {
        let at = control::now();
        match who {
            Who::Gateway(number) => {
                self.account.loss(Loss { gateway: settings::inner(number), at, killed });
            }
            Who::Worker(number) => self.account.worker_down(number, at),
            Who::Register(_) | Who::Crowd => {}
        }
    }
}
