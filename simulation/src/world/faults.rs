//! Injects faults into processes and links, and reverts them.

use simulated::control::{self, Host};

use super::World;
use crate::{
    plan::{Fault, ProcessId},
    settings::Metrics,
};

impl World {
    pub(super) fn begin(&mut self, number: usize, fault: Fault) {
        control::note("fault", &[number as u64]);
        let until = self.plan.steps[number].until.as_nanos() as u64;
        match fault {
            Fault::Kill(id) | Fault::Vanish(id) => {
                let host = self.host(id);
                let managed = &mut self.processes[host];
                if matches!(fault, Fault::Vanish(_)) && !managed.off {
                    managed.off = true;
                    control::switch_off(host);
                } else {
                    control::end_process(host);
                }
                self.kill(host, until);
            }
            Fault::Drain(id) => {
                let host = self.host(id);
                let managed = &mut self.processes[host];
                managed.away = managed.away.max(until);
                if managed.process.is_some() && !managed.stopping {
                    managed.stopping = true;
                    managed.stop.cancel();
                    if let ProcessId::Gateway(number) = id {
                        self.history.drain_started(number, control::now());
                    }
                    self.lost(id, false);
                }
            }
            Fault::Pause(id) => {
                let host = self.host(id);
                let managed = &mut self.processes[host];
                if managed.process.is_some() {
                    managed.paused += 1;
                    self.paused.insert(number, managed.instance);
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
        let managed = &mut self.processes[host];
        managed.away = managed.away.max(until);
        control::enter(host);
        managed.paused = 0;
        managed.metrics = Metrics::default();
        let (id, stopping) = (managed.id, managed.stopping);
        if managed.process.take().is_some() {
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
                let managed = &mut self.processes[host];
                let same = self.paused.remove(&number) == Some(managed.instance);
                if same && managed.paused != 0 {
                    managed.paused -= 1;
                    if managed.paused == 0
                        && let Some(process) = &mut managed.process
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
        for other in (0..self.processes.len()).filter(|other| *other != host) {
            act(host, other);
            act(other, host);
        }
    }
}
