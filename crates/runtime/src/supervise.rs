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
    task::{Context, Poll, ready},
    thread,
};

use pin_project_lite::pin_project;
use tokio::{
    runtime::Handle,
    task::{JoinHandle, JoinSet},
};
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

/// Runs `task` as a part of the task that awaits it, and to its end in any case: if that one drops it
/// before, what is left becomes a task of its own. Cheaper than a task from the start, which another
/// thread may run, and which then wakes the one that awaits it.
///
/// It starts when it is polled for the first time. Dropped outside of a runtime, it ends there.
pub fn to_its_end<F: Future<Output: Send> + Send + 'static>(task: F) -> ToItsEnd<F> {
    ToItsEnd { left: Some(Box::pin(supervised(task))), has_started: false }
}

/// See [`to_its_end`].
#[derive(Debug)]
pub struct ToItsEnd<F: Future<Output: Send> + Send + 'static> {
    /// Boxed, so that it can be moved to a task of its own. `None` once it has ended.
    left: Option<Pin<Box<Supervised<F>>>>,
    has_started: bool,
}

impl<F: Future<Output: Send> + Send + 'static> Future for ToItsEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.has_started = true;
        // Polled again after its end, it never ends.
        let Some(left) = &mut self.left else { return Poll::Pending };
        let output = ready!(left.as_mut().poll(cx));
        self.left = None;
        Poll::Ready(output)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for ToItsEnd<F> {
    fn drop(&mut self) {
        if let Some(left) = self.left.take()
            && self.has_started
            && let Ok(runtime) = Handle::try_current()
        {
            drop(runtime.spawn(left));
        }
    }
}

/// [`tokio::task::spawn_blocking`], supervised. The process does not wait for it when it ends.
pub fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    tokio::task::spawn_blocking(move || run(work))
}

#[cfg(test)]
mod tests {
    use tokio::{
        sync::oneshot,
        task::{id, yield_now},
    };

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

    #[tokio::test]
    async fn task_to_its_end_is_a_part_of_the_one_that_awaits_it() {
        let awaiting = spawn(async {
            let inside = to_its_end(async {
                yield_now().await;
                id()
            });
            (inside.await, id())
        });
        let (inside, outside) = awaiting.await.unwrap();
        assert_eq!(inside, outside);
    }

    #[tokio::test]
    async fn task_to_its_end_continues_when_it_is_not_awaited_any_more() {
        let (end, ended) = oneshot::channel::<()>();
        let (result, results) = oneshot::channel();
        let awaiting = spawn(to_its_end(async move {
            ended.await.unwrap();
            result.send(7).unwrap();
        }));
        yield_now().await;
        awaiting.abort();
        assert!(awaiting.await.unwrap_err().is_cancelled());
        end.send(()).unwrap();
        assert_eq!(results.await, Ok(7));
    }

    #[tokio::test]
    async fn task_that_was_never_awaited_does_not_start() {
        let (result, results) = oneshot::channel();
        drop(to_its_end(async move { result.send(7) }));
        assert!(results.await.is_err());
    }

    #[test]
    fn task_to_its_end_ends_without_a_runtime() {
        let (_end, ended) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut task = Box::pin(to_its_end(ended));
        runtime.block_on(std::future::poll_fn(|cx| {
            assert!(task.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        }));
        drop(runtime);
        drop(task);
    }

    #[test]
    fn supervised_task_is_no_larger() {
        let (plain, wrapped) =
            (std::future::pending::<()>(), supervised(std::future::pending::<()>()));
        assert_eq!(size_of_val(&plain), size_of_val(&wrapped));
    }
}
