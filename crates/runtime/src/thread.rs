//! Threads, each with its own runtime.

use std::{io, sync::mpsc, thread};

use tokio::runtime::{Builder, EnterGuard, Handle, LocalOptions};
use tokio_util::sync::{CancellationToken, DropGuard};

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

/// A thread that runs the tasks that are spawned while it is [entered](Self::enter), and those that
/// they spawn. They wake each other without a system call, and what several of them write to one
/// connection leaves together. Dropped, it ends, with its tasks.
#[derive(Debug)]
pub struct TaskThread {
    runtime: Handle,
    _stop: DropGuard,
}

impl TaskThread {
    /// Starts a thread.
    ///
    /// # Errors
    /// When a thread, or what its runtime needs of the system, cannot be had.
    pub fn start(name: &str) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let run = move || supervise::run(|| runtime.block_on(stopped.cancelled()));
        thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { runtime: handle, _stop: stop.drop_guard() })
    }

    /// Until the guard is dropped, what the calling thread spawns, binds and connects is this
    /// thread's.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }
}

impl Thread {
    /// Waits until the thread has ended; `false` if it panicked. Blocks the calling thread, so only
    /// for the end of a process. Async for the simulation, whose threads are tasks.
    pub async fn join(self) -> bool {
        self.0.join().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn tasks_of_a_thread_run_there_until_it_is_dropped() {
        let thread = TaskThread::start("tasks").unwrap();
        let entered = thread.enter();
        let name = || thread::current().name().map(str::to_owned);
        let first = supervise::spawn(async move {
            let inner = supervise::spawn(async move { name() });
            (name(), inner.await.unwrap())
        });
        let (_held, endless) = oneshot::channel::<()>();
        let second = supervise::spawn(endless);
        drop(entered);
        assert_eq!(first.await.unwrap(), (Some("tasks".into()), Some("tasks".into())));
        assert_ne!(supervise::spawn(async move { name() }).await.unwrap(), Some("tasks".into()));
        drop(thread);
        assert!(second.await.unwrap_err().is_cancelled());
    }
}
