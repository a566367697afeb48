//! The thread that writes log lines.

use std::{
    cell::Cell,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::fmt::MakeWriter;

use super::lines::Lines;
use crate::supervise;

/// Where lines are handed over. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Logs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lines: Mutex<Lines>,
    /// There is something to write.
    some: Condvar,
    /// Something was written or lost.
    settled: Condvar,
    dropped: Counter,
}

/// How long to wait when `output` takes nothing for now, which only one that was set to be
/// non-blocking says.
const PAUSE: Duration = Duration::from_millis(20);

impl Logs {
    /// Starts the thread that writes to `output`, for as long as the process lives. It may block on it
    /// without blocking anybody else. `tell` logs that so many lines were dropped.
    pub(super) fn start(
        output: impl Write + Send + 'static,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Shared {
            lines: Mutex::new(Lines::new()),
            some: Condvar::new(),
            settled: Condvar::new(),
            dropped: Counter::default(),
        };
        let logs = Self(Arc::new(shared));
        let writer = logs.clone();
        let run = move || supervise::run(|| writer.write_all(output, tell));
        thread::Builder::new().name("log".to_owned()).spawn(run)?;
        Ok(logs)
    }

    /// How many lines were dropped, or could not be written.
    pub(super) fn dropped(&self) -> &Counter {
        &self.0.dropped
    }

    /// See [`flush`](super::flush).
    pub(super) fn flush(&self, within: Duration) -> bool {
        let end = Instant::now() + within;
        let mut lines = self.lock();
        // Once more, for the line that tells of dropped ones.
        for _ in 0..2 {
            let taken = lines.taken();
            while !lines.is_settled(taken) {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return false;
                }
                let waited = self.0.settled.wait_timeout(lines, left);
                lines = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        true
    }

    fn push(&self, line: &[u8]) {
        let mut lines = self.lock();
        if IS_WRITER.get() {
            lines.push_over(line);
        } else if !lines.push(line) {
            self.0.dropped.inc();
            return;
        }
        drop(lines);
        self.0.some.notify_one();
    }

    fn write_all(&self, mut output: impl Write, tell: impl Fn(u64)) {
        IS_WRITER.set(true);
        let (mut batch, mut torn) = (Vec::new(), false);
        loop {
            let count = self.next(&mut batch);
            let unwritten = write(&mut output, &batch, &mut torn);
            let lost = unwritten.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.0.dropped.inc_by(lost);
            // Told of with the next ones that are written, if these were not.
            let untold = if lost == 0 { self.lock().tell() } else { 0 };
            if 0 < untold {
                // One line for a batch, and before the batch is settled: a flush waits for it too.
                tell(untold);
            }
            self.lock().settle(count, lost);
            self.0.settled.notify_all();
        }
    }

    /// Waits for something to write.
    fn next(&self, batch: &mut Vec<u8>) -> u64 {
        let empty = |lines: &mut Lines| lines.is_empty();
        let lines = self.0.some.wait_while(self.lock(), empty);
        lines.unwrap_or_else(PoisonError::into_inner).swap(batch)
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        // Every change is one step, so a panic elsewhere leaves nothing half done.
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    /// Whether this thread writes lines: its own are not counted against the capacity.
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// Writes a batch, and returns what could not be written, from the beginning of a line. `torn` says
/// whether the last line was cut off in the midst, so that the next one must begin anew.
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
