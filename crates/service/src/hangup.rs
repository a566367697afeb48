//! SIGHUP: files are read again.

use std::{future::Future, io, sync::Arc};

use tokio::signal::unix::{SignalKind, signal};

use crate::tls::Reread;

/// From here on SIGHUP ends nothing; run what is returned to have `files` read again whenever it
/// comes. What is of no use then changes nothing, and is told.
///
/// # Errors
/// When the signal cannot be listened to.
pub fn on_hangup(files: Vec<Arc<dyn Reread>>) -> io::Result<impl Future<Output = ()>> {
    let mut hangups = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangups.recv().await.is_some() {
            if files.is_empty() {
                tracing::info!("SIGHUP: there is nothing to read again");
            }
            files.iter().for_each(|files| reread(files.as_ref()));
        }
    })
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
