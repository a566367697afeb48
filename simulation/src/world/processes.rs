//! Starts and terminates processes.

use std::{rc::Rc, sync::Arc};

use simulated::control::{self, Host};
use test_support::{account::Loss, clients::Environment};
use tokio_util::sync::CancellationToken;

use super::{AWAY, World};
use crate::{
    clients::{self, LIMITS, Simulated},
    crowd, members,
    plan::ProcessId,
    poison,
    process::Process,
    settings::{self, Metrics},
};

impl World {
    pub(super) fn start(&mut self, host: Host) {
        self.instances += 1;
        let instance = self.instances;
        let (plan, stop) = (Rc::clone(&self.plan), CancellationToken::new());
        control::enter(host);
        control::note("start", &[host as u64, instance as u64]);
        let id = self.processes[host].id;
        let metrics = Metrics::default();
        let process = match id {
            ProcessId::Register(_) => {
                Process::start(host, settings::run_register(host, stop.clone()))
            }
            ProcessId::Gateway(number) => {
                let main = settings::run_gateway(plan, number, stop.clone(), Rc::clone(&metrics));
                Process::start(host, main)
            }
            ProcessId::Worker(number) => {
                Process::start(host, settings::run_worker(plan, number, instance, stop.clone()))
            }
            ProcessId::Clients => {
                let hosts =
                    (0..plan.gateways.len()).map(|number| self.host(ProcessId::Gateway(number)));
                let environment = Environment {
                    transport: Simulated {
                        early: plan.handshakes,
                        compression: plan.compression.is_some(),
                    },
                    gateways: hosts.map(settings::client_address).collect(),
                    inner: (0..plan.gateways.len()).map(settings::inner).collect(),
                    every: plan.every,
                    limits: LIMITS,
                    progress: Arc::clone(&self.progress),
                };
                let (count, seed, phase) = (plan.clients, self.seed, self.phase.subscribe());
                let poison = plan.poison.map(|(after, number)| {
                    let gateway = settings::client_address(self.host(ProcessId::Gateway(number)));
                    (gateway, after, self.phase.subscribe(), Rc::clone(&self.poison_outcome))
                });
                let gateways = environment.gateways.clone();
                let members = if plan.uid_limit.is_some() { crowd::MEMBERS } else { 0 };
                let crowd = (self.phase.subscribe(), Rc::clone(&self.crowd));
                let watching = if plan.members { members::CLIENTS } else { 0 };
                let watched = (self.phase.subscribe(), Rc::clone(&self.members));
                Process::start(host, async move {
                    for member in 0..members {
                        let (gateways, (phase, crowd)) = (gateways.clone(), crowd.clone());
                        tokio::task::spawn_local(async move {
                            crowd::run(member, &gateways, phase, &crowd).await;
                        });
                    }
                    for number in 0..watching {
                        let (gateways, (phase, members)) = (gateways.clone(), watched.clone());
                        tokio::task::spawn_local(async move {
                            members::run(number, &gateways, phase, &members).await;
                        });
                    }
                    if let Some((gateway, after, phase, outcome)) = poison {
                        tokio::task::spawn_local(async move {
                            poison::run(gateway, after, phase, &outcome).await;
                        });
                    }
                    clients::run(count, seed, environment, phase).await;
                    std::future::pending().await
                })
            }
        };
        let process = process.expect("a runtime without I/O needs nothing");
        let managed = &mut self.processes[host];
        managed.process = Some(process);
        self.history.started(id, instance, control::now());
        if let ProcessId::Worker(number) = id {
            self.account.worker_up(number, control::now());
        }
        (managed.instance, managed.stop, managed.metrics) = (instance, stop, metrics);
        (managed.paused, managed.stopping) = (0, false);
    }

    /// A process terminated by itself.
    pub(super) fn ended(&mut self, host: Host, result: anyhow::Result<()>) {
        let managed = &mut self.processes[host];
        control::end_process(host);
        control::enter(host);
        managed.process = None;
        managed.metrics = Metrics::default();
        managed.away = managed.away.max(control::now() + AWAY);
        let (id, stopping) = (managed.id, managed.stopping);
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
            (_, Ok(())) => self.account.failure(format!("{id} exited unexpectedly")),
            (_, Err(error)) => self.account.failure(format!("{id}: {error:#}")),
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
