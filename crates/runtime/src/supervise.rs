//! Supervised tasks and threads: a panic in one of them ends the process.
//!
//! A runtime catches the panic of a task and continues without it. A process that lost a task is
//! only half alive: clients stay connected but are not served, while `/livez` still returns 200. So
//! a panic outside of application code ends the process, with [`PANICKED`] as its exit code and a
//! last log line, and a supervisor such as systemd restarts it.
//!
//! Every task and thread of our processes is spawned through this module; an architecture test
//! enforces that. Panics in an application's handlers are caught by the `worker` crate before they
//! get here, and tasks that handlers spawn are not supervised.
//!
//! In another program, which uses one of our libraries but does not call [`end_process_on_panic`], a
//! panic does not end the process: the task ends as it would without supervision.

use std::{
    cell::RefCell,
    panic::{self, PanicHookInfo},
    pin::Pin,
    sync::OnceLock,
    task::{Context, Poll},
    thread,
};

use pin_project_lite::pin_project;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::task::TaskTracker;

use crate::{clock, rate_limit::Throttle, sync::Mutex};

/// The exit code of a process in which something panicked: `EX_SOFTWARE` of `sysexits.h`.
pub const PANICKED: u8 = 70;

/// Ends the process; empty if panics do not end it.
static EXIT: OnceLock<fn(i32) -> !> = OnceLock::new();

thread_local! {
    /// Location and message of the last panic of this thread.
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Logs panics instead of printing them, which could block or panic again; and ends the process on
/// panics of supervised tasks and threads: `exit` is called with [`PANICKED`], and is to write the
/// pending log lines. To be called once logging is set up.
pub fn end_process_on_panic(exit: fn(i32) -> !) {
    let throttle = Mutex::new(Throttle::per_second());
    panic::set_hook(Box::new(move |info| {
        let panic = description(info);
        // A client may be able to make a handler panic any number of times.
        let admitted = throttle.lock().admit(clock::now());
        if let Some(suppressed) = admitted {
            let thread = thread::current();
            let thread = thread.name().unwrap_or("unnamed");
            tracing::error!(thread, panic, suppressed, "panicked");
        }
        // While a thread ends, its local storage may be destroyed already.
        let _ = LAST.try_with(|last| last.replace(panic));
    }));
    // Set before if this is not the first call.
    let _ = EXIT.set(exit);
}

fn description(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("no message");
    let backtrace = std::backtrace::Backtrace::capture();
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    match backtrace.status() {
        std::backtrace::BacktraceStatus::Captured => format!("{place}: {message}\n{backtrace}"),
        _ => format!("{place}: {message}"),
    }
}

/// Runs a part of the process. A panic in it ends the process, unless something inside catches it.
pub fn run<T>(part: impl FnOnce() -> T) -> T {
    let unfinished = Unfinished;
    let result = part();
    std::mem::forget(unfinished);
    result
}

/// Dropped only by unwinding.
struct Unfinished;

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(exit) = EXIT.get() {
            let panic = LAST.try_with(RefCell::take).unwrap_or_default();
            tracing::error!(panic, exit_code = PANICKED, "a task panicked; the process ends");
            exit(PANICKED.into());
        }
    }
}

pin_project! {
    /// A future whose panic ends the process.
    #[derive(Debug)]
    pub struct Supervised<F> {
        #[pin]
        task: F,
    }
}

/// Wraps `task` so that its panic ends the process, wherever it is spawned.
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

/// Spawns a supervised task in a set, which aborts it when the set is dropped.
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

/// [`tokio::task::spawn_blocking`], supervised. The process does not wait for it when it ends.
pub fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    tokio::task::spawn_blocking(move || run(work))
}

#[cfg(test)]
mod tests {
    use super::*;

    // crates/service/tests/panics.rs tests the end of real processes.

    #[test]
    fn panic_outside_main_does_not_end_the_process() {
        let caught = panic::catch_unwind(|| run(|| panic!("on purpose")));
        assert!(caught.is_err());
    }

    #[tokio::test]
    async fn supervised_task_returns_its_output() {
        assert_eq!(spawn(async { 7 }).await.unwrap(), 7);
        assert_eq!(spawn_blocking(|| 7).await.unwrap(), 7);
    }

    #[test]
    fn supervised_task_is_no_larger() {
        let (plain, wrapped) =
            (std::future::pending::<()>(), supervised(std::future::pending::<()>()));
        assert_eq!(size_of_val(&plain), size_of_val(&wrapped));
    }
}
