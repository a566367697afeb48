//! Readiness and liveness of the process.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use runtime::sync::Mutex;

/// The source of `/readyz`, `/livez` and the watchdog. Cheap to clone; any part of the process
/// may hold one and set its own named conditions.
///
/// *Ready* means that no condition is outstanding. *Alive* means that no [`Pulse`] is late.
#[derive(Clone, Debug, Default)]
pub struct Health {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    draining: bool,
    missing: BTreeMap<Name, Cow<'static, str>>,
    pulses: BTreeMap<u64, Beat>,
    last_pulse: u64,
}

#[derive(Debug)]
struct Beat {
    name: Name,
    within: Duration,
    last: Instant,
}

type Name = Cow<'static, str>;

impl Health {
    /// Initially ready and alive. A process starts with `starting` outstanding, which
    /// [`Starting::started`](crate::Starting::started) clears.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a condition that keeps the process from being ready, with a human-readable reason.
    /// Replaces an earlier reason.
    pub fn set_not_ready(&self, name: impl Into<Name>, reason: impl Into<Cow<'static, str>>) {
        self.state.lock().missing.insert(name.into(), reason.into());
    }

    /// Clears a condition. No effect if it is not set.
    pub fn set_ready(&self, name: &str) {
        self.state.lock().missing.remove(name);
    }

    /// The process is shutting down; it will not be ready again.
    pub fn set_draining(&self) {
        self.state.lock().draining = true;
    }

    /// Whether no condition is outstanding and the process is not draining.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = self.state.lock();
        !state.draining && state.missing.is_empty()
    }

    /// The reasons for not being ready, each as `name: reason`; empty when ready.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let state = self.state.lock();
        let draining = state.draining.then(|| "draining: the process is shutting down".to_owned());
        let missing = state.missing.iter().map(|(name, reason)| format!("{name}: {reason}"));
        draining.into_iter().chain(missing).collect()
    }

    /// Registers a part of the process (a thread, a shard) that must beat at least every `within`.
    /// It is alive until it is late or panics; dropping the pulse unregisters it.
    #[must_use]
    pub fn pulse(&self, name: impl Into<Name>, within: Duration) -> Pulse {
        let mut state = self.state.lock();
        state.last_pulse += 1;
        let id = state.last_pulse;
        state.pulses.insert(id, Beat { name: name.into(), within, last: Instant::now() });
        Pulse { id, within, health: self.clone() }
    }

    /// The names of parts whose pulse is late; empty if none is.
    #[must_use]
    pub fn late(&self) -> Vec<String> {
        let state = self.state.lock();
        let late = state.pulses.values().filter(|beat| beat.within < beat.last.elapsed());
        late.map(|beat| beat.name.clone().into_owned()).collect()
    }

    /// Whether no pulse is late.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.late().is_empty()
    }
}

/// The liveness of one part of the process; see [`Health::pulse`].
pub struct Pulse {
    id: u64,
    within: Duration,
    health: Health,
}

impl Pulse {
    /// Reports that the part is alive.
    pub fn beat(&self) {
        if let Some(beat) = self.health.state.lock().pulses.get_mut(&self.id) {
            beat.last = Instant::now();
        }
    }

    /// Beats forever, for a part that is a runtime: it is alive as long as its timers fire.
    pub async fn keep_beating(self) {
        loop {
            self.beat();
            tokio::time::sleep(self.within / 4).await;
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        // A part that panicked stays registered and is soon late.
        if !std::thread::panicking() {
            self.health.state.lock().pulses.remove(&self.id);
        }
    }
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulse").field("id", &self.id).field("within", &self.within).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_is_ready_when_no_condition_is_outstanding() {
        let health = Health::new();
        assert!(health.is_ready());
        health.set_not_ready("register", "none reached");
        health.set_not_ready("gateways", "none linked");
        assert_eq!(health.reasons(), ["gateways: none linked", "register: none reached"]);
        health.set_ready("register");
        assert!(!health.is_ready());
        health.set_ready("gateways");
        health.set_ready("never named");
        assert!(health.is_ready());
    }

    #[test]
    fn draining_process_stays_not_ready() {
        let health = Health::new();
        health.set_draining();
        health.set_ready("draining");
        assert_eq!(health.reasons(), ["draining: the process is shutting down"]);
    }

    #[tokio::test(start_paused = true)]
    async fn late_pulse_is_reported_by_name() {
        let health = Health::new();
        let pulse = health.pulse("shard 0", Duration::from_secs(2));
        tokio::time::sleep(Duration::from_secs(1)).await;
        pulse.beat();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(health.is_alive());
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(health.late(), ["shard 0"]);
        drop(pulse);
        assert!(health.is_alive(), "a part that ended is not late");
    }

    #[tokio::test(start_paused = true)]
    async fn part_that_panicked_is_late() {
        let health = Health::new();
        let pulse = health.pulse("shard 0", Duration::from_secs(2));
        let part = std::thread::spawn(move || {
            let _pulse = pulse;
            panic!("on purpose");
        });
        assert!(part.join().is_err());
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!health.is_alive());
    }

    #[tokio::test(start_paused = true)]
    async fn runtime_keeps_beating() {
        let health = Health::new();
        let beating = tokio::spawn(health.pulse("main", Duration::from_secs(2)).keep_beating());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(health.is_alive());
        beating.abort();
    }
}
