//! Notifications to the service manager; no-ops without one.

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

/// Notifies that the process serves (`READY=1`); `status` appears in `systemctl status`.
pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)], READY);
}

/// Notifies that the process is shutting down (`STOPPING=1`).
pub fn stopping(status: &str) {
    notify(&[NotifyState::Stopping, NotifyState::Status(status)], None);
}

/// Sets the line that `systemctl status` shows.
pub fn status(status: &str) {
    notify(&[NotifyState::Status(status)], None);
}

/// Pings the watchdog twice per interval while `health` reports no late part; returns at once if
/// no watchdog is configured. Run it on the runtime that does the work: a blocked runtime does not
/// ping.
pub async fn watchdog(health: Health) {
    let Some(interval) = sd_notify::watchdog_enabled() else {
        return;
    };
    every(interval / 2, || {
        let late = health.late();
        if late.is_empty() {
            notify(&[NotifyState::Watchdog], None);
        } else {
            tracing::error!(?late, "event loop stalled; watchdog ping withheld");
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

/// How long `READY=1` may wait for room in the service manager's queue. Nothing is served yet at
/// that time.
const READY: Option<Duration> = Some(Duration::from_secs(5));

/// Notifies the service manager, waiting for at most `wait`: one that is stalled must delay neither
/// serving nor shutdown.
fn notify(states: &[NotifyState<'_>], wait: Option<Duration>) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let message: String = states.iter().map(|state| format!("{state}\n")).collect();
    if let Err(error) = send(&socket, message.as_bytes(), wait) {
        tracing::debug!(%error, "cannot notify the service manager");
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
    fn stalled_service_manager_does_not_block() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let send = |wait| send(path.as_os_str(), b"WATCHDOG=1\n", wait);
        send(READY).unwrap();
        let mut received = [0; 64];
        assert_eq!(manager.recv(&mut received).unwrap(), 11);
        let full = (0..1_000_000).find_map(|_| send(None).err()).unwrap();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let full = send(Some(Duration::from_millis(1))).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn service_manager_with_an_abstract_name_is_notified() {
        let name = format!("push-suite-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        send(OsStr::new(&format!("@{name}")), b"READY=1\n", READY).unwrap();
        assert_eq!(manager.recv(&mut [0; 64]).unwrap(), 8);
    }
}
