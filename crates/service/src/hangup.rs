//! SIGHUP: files are read again.

use std::{io, sync::Arc};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::tls::Reread;

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
    pub async fn reread(mut self, files: Vec<Arc<dyn Reread>>) {
        while self.0.recv().await.is_some() {
            if files.is_empty() {
                tracing::info!("SIGHUP: there is nothing to read again");
            }
            files.iter().for_each(|files| reread(files.as_ref()));
        }
    }
}

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
