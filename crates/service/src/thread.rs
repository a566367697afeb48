//! Threads, each with a runtime of its own.

use std::{io, thread};

use tokio::runtime::{Builder, LocalOptions};

/// A thread that runs one future to its end, and what that spawns until then.
#[derive(Debug)]
pub struct Thread(thread::JoinHandle<()>);

/// Starts a thread for the future that `serve` makes there, which may keep to that thread.
///
/// # Errors
/// When threads cannot be had.
pub fn spawn<F: Future<Output = ()> + 'static>(
    name: String,
    serve: impl FnOnce() -> F + Send + 'static,
) -> io::Result<Thread> {
    let run = move || match Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
    {
        Ok(runtime) => runtime.block_on(serve()),
        Err(error) => tracing::error!(%error, "a thread could not start"),
    };
    thread::Builder::new().name(name).spawn(run).map(Thread)
}

impl Thread {
    /// Waits until the thread has ended, and does nothing else meanwhile. `false` if it panicked.
    pub async fn join(self) -> bool {
        self.0.join().is_ok()
    }
}
