//! Threads, each with its own runtime.

use std::{io, sync::mpsc, thread};

use tokio::runtime::{Builder, LocalOptions};

use crate::supervise;

/// A thread that runs one future to its end, and what that spawns until then.
#[derive(Debug)]
pub struct Thread(thread::JoinHandle<()>);

/// Starts a thread for the future that `serve` makes there, which may keep to that thread. A panic in
/// it ends the process; see [`supervise`].
///
/// # Errors
/// When a thread, or what its runtime needs of the system, cannot be had.
pub fn spawn<F: Future<Output = ()> + 'static>(
    name: String,
    serve: impl FnOnce() -> F + Send + 'static,
) -> io::Result<Thread> {
    let (started, outcome) = mpsc::sync_channel(1);
    let run = move || {
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => {
                let _ = started.send(Ok(()));
                supervise::run(|| runtime.block_on(serve()));
            }
            Err(error) => drop(started.send(Err(error))),
        }
    };
    let thread = thread::Builder::new().name(name).spawn(run)?;
    let ended = |_| io::Error::other("the thread ended before its runtime started");
    outcome.recv().map_err(ended)??;
    Ok(Thread(thread))
}

impl Thread {
    /// Waits until the thread has ended; `false` if it panicked. Blocks the calling thread, so only
    /// for the end of a process. Async for the simulation, whose threads are tasks.
    pub async fn join(self) -> bool {
        self.0.join().is_ok()
    }
}
