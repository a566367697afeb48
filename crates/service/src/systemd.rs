//! What the service manager is told. Nothing happens without one.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use sd_notify::NotifyState;

use crate::health::Health;

/// We serve (`READY=1`); `status` is what `systemctl status` shows.
pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)], READY);
}

/// We are going down (`STOPPING=1`).
pub fn stopping(status: &str) {
    notify(&[NotifyState::Stopping, NotifyState::Status(status)], None);
}

/// One line for `systemctl status`.
pub fn status(status: &str) {
    notify(&[NotifyState::Status(status)], None);
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
            notify(&[NotifyState::Watchdog], None);
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

/// How long to wait for room in the service manager's queue with what it waits for itself. Nothing is
/// served yet then.
const READY: Option<Duration> = Some(Duration::from_secs(5));

/// Tells the service manager, and waits for it no longer than that: one that stands still must not
/// hold up what we serve, or our end.
fn notify(states: &[NotifyState<'_>], wait: Option<Duration>) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let message: String = states.iter().map(|state| format!("{state}\n")).collect();
    if let Err(error) = send(&socket, message.as_bytes(), wait) {
        tracing::debug!(%error, "service manager not reached");
    }
}

fn send(path: &OsStr, message: &[u8], wait: Option<Duration>) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    match wait {
        Some(_) => socket.set_write_timeout(wait)?,
        None => socket.set_nonblocking(true)?,
    }
    let manager = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    socket.send_to_addr(message, &manager).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_manager_that_stands_still_holds_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let send = |wait| send(path.as_os_str(), b"WATCHDOG=1\n", wait);
        send(READY).unwrap();
        let mut heard = [0; 64];
        assert_eq!(manager.recv(&mut heard).unwrap(), 11);
        let full = (0..1_000_000).find_map(|_| send(None).err()).unwrap();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let full = send(Some(Duration::from_millis(1))).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_service_manager_with_an_abstract_name_is_reached() {
        let name = format!("push-suite-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        send(OsStr::new(&format!("@{name}")), b"READY=1\n", READY).unwrap();
        assert_eq!(manager.recv(&mut [0; 64]).unwrap(), 8);
    }
}
