//! Injects faults into processes and links, and reverts them.

use simulated::control::{self, Host};

use super::World;
use crate::{
    plan::{Fault, ProcessId},
    settings::Gauges,
};

impl World {
    pub(super) fn begin(&mut self, number: usize, fault: Fault) {
        control::note("fault", &[number as u64]);
        let until = self.plan.steps[number].until.as_nanos() as u64;
        match fault {
            Fault::Kill(id) | Fault::Vanish(id) => {
                let host = self.host(id);
                let actor = &mut self.actors[host];
                if matches!(fault, Fault::Vanish(_)) && !actor.off {
                    actor.off = true;
                    control::switch_off(host);
                } else {
                    control::end_process(host);
                }
                self.kill(host, until);
            }
            Fault::Drain(id) => {
                let host = self.host(id);
                let actor = &mut self.actors[host];
                actor.away = actor.away.max(until);
                if actor.process.is_some() && !actor.stopping {
                    actor.stopping = true;
                    actor.stop.cancel();
                    if let ProcessId::Gateway(number) = id {
                        self.history.drain_started(number, control::now());
                    }
                    self.lost(id, false);
                }
            }
            Fault::Pause(id) => {
                let host = self.host(id);
                let actor = &mut self.actors[host];
                if actor.process.is_some() {
                    actor.paused += 1;
                    self.paused.insert(number, actor.life);
                }
            }
            Fault::Block(from, to) => control::block(self.host(from), self.host(to)),
            Fault::Isolate(id) => self.isolate(id, control::block),
            Fault::SlowDown(from, to, by) => {
                let by = by.as_nanos() as u64;
                control::slow_down(self.host(from), self.host(to), by);
            }
            Fault::Cut(one, other, ends) => control::cut(self.host(one), self.host(other), ends),
        }
    }

    /// Kills a process; it restarts at that time at the earliest.
    pub(super) fn kill(&mut self, host: Host, until: u64) {
        let actor = &mut self.actors[host];
        actor.away = actor.away.max(until);
        control::enter(host);
        actor.paused = 0;
        actor.gauges = Gauges::default();
        let (id, stopping) = (actor.id, actor.stopping);
        if actor.process.take().is_some() {
            if let (ProcessId::Gateway(number), true) = (id, stopping) {
                self.history.broken_off(number, control::now());
            }
            self.history.ended(id, control::now());
            self.lost(id, true);
        }
        // Connections that it opened after its own crash, if any.
        control::end_process(host);
    }

    pub(super) fn end(&mut self, number: usize, fault: Fault) {
        control::note("over", &[number as u64]);
        match fault {
            Fault::Pause(id) => {
                let host = self.host(id);
                let actor = &mut self.actors[host];
                let same = self.paused.remove(&number) == Some(actor.life);
                if same && actor.paused != 0 {
                    actor.paused -= 1;
                    if actor.paused == 0
                        && let Some(process) = &mut actor.process
                    {
                        process.miss(control::now());
                    }
                }
            }
            Fault::Block(from, to) => control::unblock(self.host(from), self.host(to)),
            Fault::Isolate(id) => self.isolate(id, control::unblock),
            Fault::SlowDown(from, to, _) => {
                control::slow_down(self.host(from), self.host(to), 0);
            }
            // Terminated processes restart when they are due.
            Fault::Kill(_) | Fault::Vanish(_) | Fault::Drain(_) | Fault::Cut(..) => {}
        }
    }

    fn isolate(&self, id: ProcessId, act: fn(Host, Host)) {
        let host = self.host(id);
        for other in (0..self.actors.len()).filter(|other| *other != host) {
            act(host, other);
            act(other, host);
        }
    }
}
