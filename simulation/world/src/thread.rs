//! Threads that are tasks of their process.

use std::io;

use tokio::task::{JoinHandle, spawn_local};

/// What runs one future to its end.
#[derive(Debug)]
pub struct Thread(JoinHandle<()>);

/// Starts one for the future that `serve` makes. Call it within a process.
///
/// # Errors
/// Never; threads may not be had.
pub fn spawn<F: Future<Output = ()> + 'static>(
    _name: String,
    serve: impl FnOnce() -> F + Send + 'static,
) -> io::Result<Thread> {
    Ok(Thread(spawn_local(async move { serve().await })))
}

impl Thread {
    /// Waits until it has ended. `false` if it panicked.
    pub async fn join(self) -> bool {
        self.0.await.is_ok()
    }
}
