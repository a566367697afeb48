//! Tasks and threads whose panic does not go unnoticed.
//!
//! A runtime catches the panic of a task and goes on without it. In our processes a task that is gone
//! is a process that is half dead: clients stay connected and nobody hears them, while `/livez` says
//! that all is well. So a panic outside of an application's own code ends the process, with
//! [`PANICKED`] as its exit code and a last line, and a supervisor such as systemd starts it again.
//!
//! Everything that our processes spawn is spawned here; a test of the whole holds that. What an
//! application's handlers do is caught by `business-worker` before it comes here, and what they spawn
//! is theirs.
//!
//! In a program of somebody else's, which uses one of our libraries but not [`main`](crate::main),
//! nothing is ended: a task ends with its panic as it would without this.

use std::{
    cell::RefCell,
    panic::{self, PanicHookInfo},
    pin::Pin,
    process,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    thread,
};

use pin_project_lite::pin_project;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::task::TaskTracker;

use crate::{clock, logging, rate_limit::Throttle};

/// The exit code of a process in which something panicked: `EX_SOFTWARE` of `sysexits.h`.
pub const PANICKED: u8 = 70;

/// Whether panics end the process. Set once, at the start of one of our own.
static ENDS: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Where the last panic of this thread came from, and what it said.
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Has panics logged rather than printed, which could block or panic again; and has those of
/// supervised tasks and threads end the process. To be called once logging is set up.
pub(crate) fn end_process_on_panic() {
    let throttle = Mutex::new(Throttle::per_second());
    panic::set_hook(Box::new(move |info| {
        let panic = description(info);
        // A client may make a handler panic as often as it likes.
        let admitted = throttle.lock().unwrap_or_else(PoisonError::into_inner).admit(clock::now());
        if let Some(suppressed) = admitted {
            let thread = thread::current();
            let thread = thread.name().unwrap_or("unnamed");
            tracing::error!(thread, panic, suppressed, "panicked");
        }
        // At the end of a thread there may be none any more.
        let _ = LAST.try_with(|last| last.replace(panic));
    }));
    ENDS.store(true, Ordering::Relaxed);
}

fn description(info: &PanicHookInfo<'_>) -> String {
    let said = info.payload_as_str().unwrap_or("no words");
    let backtrace = std::backtrace::Backtrace::capture();
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    match backtrace.status() {
        std::backtrace::BacktraceStatus::Captured => format!("{place}: {said}\n{backtrace}"),
        _ => format!("{place}: {said}"),
    }
}

/// Runs a part of the process. A panic in it ends the process, unless something inside catches it.
pub fn run<T>(part: impl FnOnce() -> T) -> T {
    let unfinished = Unfinished;
    let result = part();
    std::mem::forget(unfinished);
    result
}

/// Dropped by a panic alone.
struct Unfinished;

impl Drop for Unfinished {
    fn drop(&mut self) {
        if ENDS.load(Ordering::Relaxed) {
            let panic = LAST.try_with(RefCell::take).unwrap_or_default();
            tracing::error!(panic, exit_code = PANICKED, "a task panicked; the process ends");
            exit(PANICKED.into());
        }
    }
}

/// Ends the process once its log lines are written, which may take [`logging::FLUSH`].
pub(crate) fn exit(code: i32) -> ! {
    logging::flush(logging::FLUSH);
    process::exit(code)
}

pin_project! {
    /// A future whose panic ends the process.
    #[derive(Debug)]
    pub struct Supervised<F> {
        #[pin]
        task: F,
    }
}

/// Has a panic of `task` end the process, wherever it is spawned.
pub const fn supervised<F: Future>(task: F) -> Supervised<F> {
    Supervised { task }
}

impl<F: Future> Future for Supervised<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let task = self.project().task;
        run(|| task.poll(cx))
    }
}

/// [`tokio::spawn`], supervised.
pub fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(supervised(task))
}

/// [`tokio::task::spawn_local`], supervised.
pub fn spawn_local<T: 'static>(task: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    tokio::task::spawn_local(supervised(task))
}

/// Spawns a supervised task in a set, which ends it when the set is dropped.
pub fn spawn_in<T: Send + 'static>(
    tasks: &mut JoinSet<T>,
    task: impl Future<Output = T> + Send + 'static,
) {
    tasks.spawn(supervised(task));
}

/// Spawns a supervised task that `tasks` waits for.
pub fn spawn_tracked<T: Send + 'static>(
    tasks: &TaskTracker,
    task: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    tasks.spawn(supervised(task))
}

/// [`tokio::task::spawn_blocking`], supervised. It is not waited for at the end of the process.
pub fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    tokio::task::spawn_blocking(move || run(work))
}

#[cfg(test)]
mod tests {
    use super::*;

    // What ends a process is tried on real ones, in tests/panics.rs.

    #[test]
    fn a_panic_in_a_foreign_process_is_its_own() {
        let caught = panic::catch_unwind(|| run(|| panic!("on purpose")));
        assert!(caught.is_err());
    }

    #[tokio::test]
    async fn a_supervised_task_returns_what_it_returns() {
        assert_eq!(spawn(async { 7 }).await.unwrap(), 7);
        assert_eq!(spawn_blocking(|| 7).await.unwrap(), 7);
    }

    #[test]
    fn supervision_costs_a_task_no_memory() {
        let (plain, watched) =
            (std::future::pending::<()>(), supervised(std::future::pending::<()>()));
        assert_eq!(size_of_val(&plain), size_of_val(&watched));
    }
}
