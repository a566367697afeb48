//! The thread that writes log lines.

use std::{
    cell::Cell,
    io::{self, Write},
    sync::{Arc, Condvar, PoisonError},
    thread,
    time::{Duration, Instant},
};

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::fmt::MakeWriter;

use super::lines::Lines;
use runtime::{supervise, sync::Mutex};

/// Accepts log lines from any thread. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Logs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lines: Mutex<Lines>,
    /// Notified when a line is queued.
    queued: Condvar,
    /// Notified when a batch was written or lost.
    completed: Condvar,
    dropped: Counter,
}

/// How long to wait when `output` would block, which happens only if it is non-blocking.
const PAUSE: Duration = Duration::from_millis(20);

impl Logs {
    /// Starts the thread that writes to `output` until the process ends. A write may block without
    /// blocking other threads. `report` logs the number of lines dropped.
    pub(super) fn start(
        output: impl Write + Send + 'static,
        report: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Shared {
            lines: Mutex::new(Lines::new()),
            queued: Condvar::new(),
            completed: Condvar::new(),
            dropped: Counter::default(),
        };
        let logs = Self(Arc::new(shared));
        let writer = logs.clone();
        let run = move || supervise::run(|| writer.write_all(output, report));
        thread::Builder::new().name("log".to_owned()).spawn(run)?;
        Ok(logs)
    }

    /// The number of lines that were dropped or could not be written.
    pub(super) fn dropped(&self) -> &Counter {
        &self.0.dropped
    }

    /// See [`flush`](super::flush).
    pub(super) fn flush(&self, within: Duration) -> bool {
        let end = Instant::now() + within;
        let mut lines = self.0.lines.lock();
        // Twice, for the line that reports dropped ones.
        for _ in 0..2 {
            let accepted = lines.accepted();
            while !lines.is_complete(accepted) {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return false;
                }
                let waited = self.0.completed.wait_timeout(lines, left);
                lines = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        true
    }

    fn push(&self, line: &[u8]) {
        let mut lines = self.0.lines.lock();
        if IS_WRITER.get() {
            lines.push_unbounded(line);
        } else if !lines.push(line) {
            self.0.dropped.inc();
            return;
        }
        drop(lines);
        self.0.queued.notify_one();
    }

    fn write_all(&self, mut output: impl Write, report: impl Fn(u64)) {
        IS_WRITER.set(true);
        let (mut batch, mut torn) = (Vec::new(), false);
        loop {
            let count = self.next(&mut batch);
            let unwritten = write(&mut output, &batch, &mut torn);
            let lost = unwritten.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.0.dropped.inc_by(lost);
            // Reported only after a batch that could be written.
            let unreported = if lost == 0 { self.0.lines.lock().take_unreported() } else { 0 };
            if 0 < unreported {
                // One line per batch, before the batch is completed: a flush waits for it too.
                report(unreported);
            }
            self.0.lines.lock().complete(count, lost);
            self.0.completed.notify_all();
        }
    }

    /// Waits for the next batch.
    fn next(&self, batch: &mut Vec<u8>) -> u64 {
        let empty = |lines: &mut Lines| lines.is_empty();
        let lines = self.0.queued.wait_while(self.0.lines.lock(), empty);
        lines.unwrap_or_else(PoisonError::into_inner).swap(batch)
    }
}

thread_local! {
    /// Whether this is the writer thread, whose own lines are not limited by the capacity.
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// Writes a batch, and returns the part that could not be written, from the beginning of a line.
/// `torn` is whether the last line was written in part, so that a line break must precede the next.
fn write<'a>(output: &mut impl Write, batch: &'a [u8], torn: &mut bool) -> &'a [u8] {
    if *torn && !matches!(write_some(output, b"\n"), Ok(1)) {
        return batch;
    }
    *torn = false;
    let mut written = 0;
    while written < batch.len() {
        match write_some(output, &batch[written..]) {
            Ok(0) | Err(_) => {
                let line = batch[..written].iter().rposition(|byte| *byte == b'\n');
                let line = line.map_or(0, |end| end + 1);
                *torn = line < written;
                return &batch[line..];
            }
            Ok(some) => written += some,
        }
    }
    &[]
}

fn write_some(output: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match output.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::park_timeout(PAUSE),
            done => return done,
        }
    }
}

impl MakeWriter<'_> for Logs {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Each call is one line.
impl Write for Logs {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
