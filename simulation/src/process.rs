//! A process: a runtime with its own clock on its own host.

use std::{cell::RefCell, rc::Rc, time::Duration};

use simulated::{
    control::{self, Host},
    random,
};
use tokio::{
    runtime::{Builder, LocalOptions, LocalRuntime, RngSeed},
    time::{self, Instant},
};

/// One instance of a process.
pub(crate) struct Process {
    host: Host,
    runtime: LocalRuntime,
    /// Its clock against the time of the run, in nanoseconds since the beginning.
    began: (u64, Instant),
    /// The time up to which it has run.
    pub(crate) now: u64,
    ended: Rc<RefCell<Option<anyhow::Result<()>>>>,
}

impl Process {
    /// Starts a process that runs `main`.
    ///
    /// # Errors
    /// When no runtime can be created.
    pub(crate) fn start(
        host: Host,
        main: impl Future<Output = anyhow::Result<()>> + 'static,
    ) -> std::io::Result<Self> {
        let chance = RngSeed::from_bytes(&random::random::<u64>().to_le_bytes());
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .rng_seed(chance)
            .build_local(LocalOptions::default())?;
        let ended = Rc::new(RefCell::new(None));
        let now = control::now();
        let began = (now, runtime.block_on(async { Instant::now() }));
        let outcome = Rc::clone(&ended);
        let guarded = async move {
            let result = match tokio::task::spawn_local(main).await {
                Ok(result) => result,
                Err(error) => Err(error.into()),
            };
            *outcome.borrow_mut() = Some(result);
        };
        drop(runtime.spawn_local(guarded));
        Ok(Self { host, runtime, began, now, ended })
    }

    /// Runs it until that time.
    pub(crate) fn run(&mut self, until: u64) {
        control::enter(self.host);
        self.now = until;
        let (beginning, instant) = self.began;
        let until = instant + Duration::from_nanos(until - beginning);
        self.runtime.block_on(async { time::sleep_until(until).await });
    }

    /// Advances its clock without running it.
    pub(crate) fn miss(&mut self, until: u64) {
        control::enter(self.host);
        let missed = Duration::from_nanos(until - self.now);
        self.now = until;
        self.runtime.block_on(time::advance(missed));
    }

    /// Its result, if it terminated by itself.
    pub(crate) fn ended(&self) -> Option<anyhow::Result<()>> {
        self.ended.borrow_mut().take()
    }
}
