//! Threads, simulated as tasks of their process.

use std::io;

use tokio::task::{JoinHandle, spawn_local};

/// A simulated thread, which runs one future to completion.
#[derive(Debug)]
pub struct Thread(JoinHandle<()>);

/// Starts a thread that runs the future of `serve`. Must be called by a process.
///
/// # Errors
/// Never; the real function may fail to create a thread.
pub fn spawn<F: Future<Output = ()> + 'static>(
    _name: String,
    serve: impl FnOnce() -> F + Send + 'static,
) -> io::Result<Thread> {
    Ok(Thread(spawn_local(async move { serve().await })))
}

impl Thread {
    /// Waits until the thread has ended. `false` if it panicked.
    pub async fn join(self) -> bool {
        self.0.await.is_ok()
    }
}
