//! SIGHUP: reloads files.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};

use runtime::{supervise, tls::Reload};

/// Receives SIGHUP, which no longer ends the process.
#[derive(Debug)]
pub struct SighupListener(Signal);

impl SighupListener {
    /// Installs the handler, on the current runtime.
    ///
    /// # Errors
    /// When the handler cannot be installed.
    pub fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Reloads `files` on every SIGHUP. Invalid files change nothing and are logged.
    ///
    /// They are read on a separate thread, so that a disk that does not respond blocks nothing else.
    /// A SIGHUP during a reload causes one more.
    pub async fn reread(mut self, files: Vec<Arc<dyn Reload>>) {
        let files: Arc<[_]> = files.into();
        while self.0.recv().await.is_some() {
            if files.is_empty() {
                tracing::info!("SIGHUP: nothing to reload");
                continue;
            }
            let files = Arc::clone(&files);
            let all = move || files.iter().for_each(|files| reread(files.as_ref()));
            let mut reading = supervise::spawn_blocking(all);
            if timeout(SLOW, &mut reading).await.is_err() {
                tracing::warn!("SIGHUP: reading files is slow; does the disk respond?");
                // Reloads do not overlap.
                let _ = reading.await;
            }
        }
    }
}

/// A reload that takes longer is logged; it normally takes milliseconds.
const SLOW: Duration = Duration::from_secs(10);

fn reread(files: &dyn Reload) {
    let what = files.what();
    match files.reread() {
        Ok(()) if files.applies_at_once() => tracing::info!(what, "reloaded; applies at once"),
        Ok(()) => tracing::info!(what, "reloaded; applies to new connections"),
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(what, error, "reload failed; keeping the previous version");
        }
    }
}
