//! The effect of each signal.
//!
//! | signal | effect |
//! |---|---|
//! | SIGTERM, SIGINT | drain; a second one ends the process at once ([`shutdown`](crate::shutdown)) |
//! | SIGHUP | files are reloaded ([`sighup`](crate::sighup)) |
//! | SIGXFSZ | none, and a log line: a log file has reached `ulimit -f`, which would end the process |
//! | SIGUSR1, SIGUSR2, SIGQUIT | none, and a log line that says what to use instead. Workerman's processes reload, show their status and end at them; SIGUSR2 is reserved for upgrades |

use std::{io, time::Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use runtime::rate_limit::Throttle;

/// A signal that ends the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) number: i32,
    pub(crate) name: &'static str,
}

/// Signals that end the process, and those that do not although they would by default.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    user1: Ignored,
    user2: Ignored,
    quit: Ignored,
    /// Comes with a write beyond the largest size that a file may have.
    file_size: Ignored,
}

#[derive(Debug)]
struct Ignored {
    signal: Signal,
    name: &'static str,
    instead: &'static str,
    lines: Throttle,
}

impl Signals {
    /// Listens to them, on the current runtime.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user1: Ignored::new(
                SignalKind::user_defined1(),
                "SIGUSR1",
                "SIGHUP reloads files; for new code, restart the process with SIGTERM",
            )?,
            user2: Ignored::new(
                SignalKind::user_defined2(),
                "SIGUSR2",
                "--admin-listen shows the status; SIGUSR2 is reserved for upgrades",
            )?,
            quit: Ignored::new(SignalKind::quit(), "SIGQUIT", "SIGTERM drains, then ends")?,
            file_size: Ignored::new(
                SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()),
                "SIGXFSZ",
                "a log file is as large as `ulimit -f` allows",
            )?,
        })
    }

    /// The next one that ends the process. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Ending {
        loop {
            tokio::select! {
                biased;
                _ = self.terminate.recv() => {
                    let number = SignalKind::terminate().as_raw_value();
                    return Ending { number, name: "SIGTERM" };
                }
                _ = self.interrupt.recv() => {
                    let number = SignalKind::interrupt().as_raw_value();
                    return Ending { number, name: "SIGINT" };
                }
                _ = self.user1.signal.recv() => self.user1.mention(),
                _ = self.user2.signal.recv() => self.user2.mention(),
                _ = self.quit.signal.recv() => self.quit.mention(),
                _ = self.file_size.signal.recv() => self.file_size.mention(),
            }
        }
    }
}

impl Ignored {
    fn new(kind: SignalKind, name: &'static str, instead: &'static str) -> io::Result<Self> {
        Ok(Self { signal: signal(kind)?, name, instead, lines: Throttle::per_second() })
    }

    fn mention(&mut self) {
        if let Some(suppressed) = self.lines.admit(Instant::now()) {
            let Self { name: signal, instead, .. } = self;
            tracing::warn!(signal, instead, suppressed, "signal ignored");
        }
    }
}
