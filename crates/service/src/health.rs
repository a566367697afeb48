//! Whether the process can serve, and whether it still turns.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What `/readyz`, `/livez` and the watchdog are told. Cheap to clone; any part of the process
/// may hold one and speak of its own conditions by name.
///
/// *Ready* means that no condition is outstanding. *Alive* means that every [`Pulse`] beats.
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
    /// Ready and alive until told otherwise. A process starts with `starting` outstanding, which
    /// [`Starting::started`](crate::Starting::started) clears.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names a condition that keeps us from serving, with a reason for a human. Said again, the
    /// reason is replaced.
    pub fn set_not_ready(&self, name: impl Into<Name>, reason: impl Into<Cow<'static, str>>) {
        self.lock().missing.insert(name.into(), reason.into());
    }

    /// Takes a condition back. No harm if it was never named.
    pub fn set_ready(&self, name: &str) {
        self.lock().missing.remove(name);
    }

    /// The process is going down; it is not ready from here on.
    pub fn set_draining(&self) {
        self.lock().draining = true;
    }

    /// Whether nothing is outstanding.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = self.lock();
        !state.draining && state.missing.is_empty()
    }

    /// Why we are not ready, one `name: reason` each; empty when ready.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let state = self.lock();
        let draining = state.draining.then(|| "draining: the process is going down".to_owned());
        let missing = state.missing.iter().map(|(name, reason)| format!("{name}: {reason}"));
        draining.into_iter().chain(missing).collect()
    }

    /// A part of the process (a thread, a shard) that promises to beat at least every `within`.
    /// Alive from now on until it is late, or panics; dropping it ends the promise.
    #[must_use]
    pub fn pulse(&self, name: impl Into<Name>, within: Duration) -> Pulse {
        let mut state = self.lock();
        state.last_pulse += 1;
        let id = state.last_pulse;
        state.pulses.insert(id, Beat { name: name.into(), within, last: Instant::now() });
        Pulse { id, within, health: self.clone() }
    }

    /// Parts whose pulse is late; empty when all is well.
    #[must_use]
    pub fn late(&self) -> Vec<String> {
        let state = self.lock();
        let late = state.pulses.values().filter(|beat| beat.within < beat.last.elapsed());
        late.map(|beat| beat.name.clone().into_owned()).collect()
    }

    /// Whether every pulse beats.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.late().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one step, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Proof of life of one part of the process; see [`Health::pulse`].
pub struct Pulse {
    id: u64,
    within: Duration,
    health: Health,
}

impl Pulse {
    /// Still here.
    pub fn beat(&self) {
        if let Some(beat) = self.health.lock().pulses.get_mut(&self.id) {
            beat.last = Instant::now();
        }
    }

    /// Beats for ever, for a part that is a runtime: as long as its timers fire, it turns.
    pub async fn keep_beating(self) {
        loop {
            self.beat();
            tokio::time::sleep(self.within / 4).await;
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        // A part that panicked stays listed and soon counts as dead.
        if !std::thread::panicking() {
            self.health.lock().pulses.remove(&self.id);
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
    fn ready_means_that_nothing_is_outstanding() {
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
    fn a_draining_process_is_not_ready_again() {
        let health = Health::new();
        health.set_draining();
        health.set_ready("draining");
        assert_eq!(health.reasons(), ["draining: the process is going down"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_pulse_is_named() {
        let health = Health::new();
        let pulse = health.pulse("shard 0", Duration::from_secs(2));
        tokio::time::sleep(Duration::from_secs(1)).await;
        pulse.beat();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(health.is_alive());
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(health.late(), ["shard 0"]);
        drop(pulse);
        assert!(health.is_alive(), "a part that ended owes no beat");
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_panicked_counts_as_dead() {
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
    async fn a_runtime_keeps_beating() {
        let health = Health::new();
        let beating = tokio::spawn(health.pulse("main", Duration::from_secs(2)).keep_beating());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(health.is_alive());
        beating.abort();
    }
}
