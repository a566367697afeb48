//! What the service manager is told. Nothing happens without one.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::health::Health;

/// We serve (`READY=1`); `status` is what `systemctl status` shows.
pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// We are going down (`STOPPING=1`).
pub fn stopping(status: &str) {
    notify(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// One line for `systemctl status`.
pub fn status(status: &str) {
    notify(&[NotifyState::Status(status)]);
}

/// Pings the watchdog twice in its interval, as long as `health` says that the process turns;
/// ends at once when no watchdog was asked for. Run it on the runtime that does the work: a
/// blocked runtime does not ping.
pub async fn watchdog(health: Health) {
    let Some(interval) = sd_notify::watchdog_enabled() else {
        return;
    };
    every(interval / 2, || {
        let late = health.late();
        if late.is_empty() {
            notify(&[NotifyState::Watchdog]);
        } else {
            tracing::error!(?late, "not turning; the watchdog gets no ping");
        }
    })
    .await;
}

async fn every(pause: Duration, mut act: impl FnMut()) {
    let mut ticks = tokio::time::interval(pause.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        act();
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "service manager not reached");
    }
}
