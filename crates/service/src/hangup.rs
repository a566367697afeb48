//! SIGHUP: files are read again.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};

use crate::{supervise, tls::Reread};

/// SIGHUP, which ends nothing once there is this.
#[derive(Debug)]
pub struct Hangups(Signal);

impl Hangups {
    /// Listens to it, on the current runtime.
    ///
    /// # Errors
    /// When it cannot be listened to.
    pub fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Has `files` read again whenever it comes. What is of no use then changes nothing, and is told.
    ///
    /// They are read on a thread of their own, so that a disk that does not answer holds up nothing
    /// else. What comes meanwhile has them read once more.
    pub async fn reread(mut self, files: Vec<Arc<dyn Reread>>) {
        let files: Arc<[_]> = files.into();
        while self.0.recv().await.is_some() {
            if files.is_empty() {
                tracing::info!("SIGHUP: there is nothing to read again");
                continue;
            }
            let files = Arc::clone(&files);
            let all = move || files.iter().for_each(|files| reread(files.as_ref()));
            let mut reading = supervise::spawn_blocking(all);
            if timeout(SLOW, &mut reading).await.is_err() {
                tracing::warn!("SIGHUP: reading files takes long; a disk that does not answer?");
                // Not begun again before.
                let _ = reading.await;
            }
        }
    }
}

/// Reading takes milliseconds.
const SLOW: Duration = Duration::from_secs(10);

fn reread(files: &dyn Reread) {
    let what = files.what();
    match files.reread() {
        Ok(()) => tracing::info!(what, "read again; new connections go by it"),
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(what, error, "cannot be read again; what was read before stays");
        }
    }
}
