//! A trace of all events of a world, in order: a digest, and readable lines on request.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// A trace.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hasher: DefaultHasher,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// Creates an empty trace; `lines` selects whether it keeps lines.
    pub(crate) fn new(lines: bool) -> Self {
        // Its keys are fixed, unlike those of `RandomState`.
        Self { hasher: DefaultHasher::new(), lines: lines.then(Vec::new) }
    }

    /// Adds an event: its name, numbers and bytes.
    pub(crate) fn note(&mut self, now: u64, what: &str, numbers: &[u64], bytes: &[u8]) {
        let mut content = DefaultHasher::new();
        content.write(bytes);
        let content = content.finish();
        (now, what, numbers, content).hash(&mut self.hasher);
        if let Some(lines) = &mut self.lines {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            let content = if bytes.is_empty() {
                String::new()
            } else {
                format!(" {} bytes {content:016x}", bytes.len())
            };
            let (seconds, micros) = (now / 1_000_000_000, now / 1_000 % 1_000_000);
            lines.push(format!("{seconds}.{micros:06} {what} {}{content}", numbers.join(" ")));
        }
    }

    /// The digest of all events so far.
    pub(crate) fn digest(&self) -> u64 {
        self.hasher.finish()
    }

    /// The lines, if they were kept.
    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        self.lines.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
