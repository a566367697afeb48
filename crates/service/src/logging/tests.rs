//! Lines as they are written, by the real formatter, to readers of every kind.

use std::{
    io::{PipeReader, Read as _, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tracing::dispatcher::with_default;

use super::*;

/// What was written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

/// What is written when `log` logs.
fn written(format: Format, is_terminal: bool, log: impl FnOnce()) -> String {
    let written = Written::default();
    let logs = Logs::start(written.clone(), |_| ()).unwrap();
    let filter = EnvFilter::new("trace");
    with_default(&dispatch(format, filter, is_terminal, logs.clone()), log);
    assert!(logs.flush(PATIENCE));
    written.text()
}

/// What a peer might say to forge a line, or to drive a terminal.
const HOSTILE: &str = "\x1b[31mred\r\n2026-01-01T00:00:00Z ERROR gateway: forged\t\u{9b}2J\u{202e}\
     \u{2028}\0\x07\x08\x7f";

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(&'static str);

fn hostile() {
    let error: &(dyn std::error::Error + 'static) = &Said(HOSTILE);
    let _span = tracing::info_span!("span", peer = %HOSTILE, quoted = HOSTILE).entered();
    tracing::info!(address = %HOSTILE, debug = ?HOSTILE, text = HOSTILE, error, "constant");
    tracing::info!("{HOSTILE}");
    tracing::info!(address = %Multiline, "constant");
}

/// Says the dangerous in pieces.
struct Multiline;

impl std::fmt::Display for Multiline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        HOSTILE.chars().try_for_each(|char| std::fmt::Write::write_char(f, char))
    }
}

#[test]
fn a_field_in_text_writes_no_control_character() {
    let text = written(Format::Text, false, hostile);
    assert_eq!(text.lines().count(), 3, "{text}");
    let raw = text.chars().find(|char| char.is_control() && *char != '\n');
    assert_eq!(raw, None, "{text:?}");
    assert!(!text.contains(['\u{202e}', '\u{2028}']), "{text:?}");
    assert!(text.contains(r"address=\u{1b}[31mred\r\n2026-01-01"), "{text}");
}

#[test]
fn a_field_in_text_on_a_terminal_brings_no_escape_sequence() {
    let (hostile, tame) = (written(Format::Text, true, hostile), "\x1b[31mred");
    assert_eq!(hostile.lines().count(), 3, "{hostile:?}");
    assert!(!hostile.contains(tame) && !hostile.contains('\u{9b}'), "{hostile:?}");
    assert!(hostile.contains("\x1b["), "its own colours are there");
}

#[test]
fn a_field_in_json_is_one_line_that_says_the_same() {
    let text = written(Format::Json, false, hostile);
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((text.lines().count(), first["address"].as_str()), (3, Some(HOSTILE)), "{text}");
}

#[test]
fn a_line_in_text_looks_as_the_default_format() {
    let log = || tracing::warn!(peer = 7, name = "a b", reason = %"closed", "link lost");
    let text = written(Format::Text, false, log);
    assert!(text.contains(" WARN "), "{text}");
    assert!(text.ends_with(": link lost peer=7 name=\"a b\" reason=closed\n"), "{text}");
}

/// A pipe that takes a few lines, with nobody who reads it yet; and what writes to it.
fn standing_still() -> (PipeReader, Logs, Arc<Mutex<u64>>) {
    let (reader, writer) = io::pipe().unwrap();
    let told = Arc::new(Mutex::new(0));
    let total = Arc::clone(&told);
    let logs = Logs::start(writer, move |lines| *total.lock().unwrap() += lines).unwrap();
    (reader, logs, told)
}

/// More lines than pipe and queue together take.
fn flood(logs: &Logs) -> usize {
    let line = [&[b'x'; 999][..], b"\n"].concat();
    let lines = 4 * lines::CAPACITY / line.len();
    let mut logs = logs.clone();
    (0..lines).for_each(|_| logs.write_all(&line).unwrap());
    lines
}

#[test]
fn a_reader_that_stands_still_blocks_nobody_and_is_told_how_many_lines_it_missed() {
    let (mut reader, logs, told) = standing_still();
    let lines = flood(&logs);
    let since = Instant::now();
    assert!(!logs.flush(Duration::from_millis(50)), "nobody reads");
    assert!(since.elapsed() < PATIENCE, "a flush is bounded");
    let dropped = logs.dropped().get() as usize;
    assert!(lines / 4 < dropped && dropped < lines, "{dropped} of {lines}");
    // It goes on.
    let mut read = vec![0; (lines - dropped) * 1000];
    reader.read_exact(&mut read).unwrap();
    assert!(read.chunks(1000).all(|line| line.ends_with(b"x\n")));
    assert!(logs.flush(PATIENCE));
    assert_eq!((*told.lock().unwrap(), logs.dropped().get() as usize), (dropped as u64, dropped));
}

#[test]
fn a_reader_that_is_gone_costs_lines_and_nothing_else() {
    let (reader, logs, told) = standing_still();
    drop(reader);
    let lines = flood(&logs);
    assert!(logs.flush(PATIENCE));
    assert_eq!(logs.dropped().get() as usize, lines);
    assert_eq!(*told.lock().unwrap(), 0, "nobody is there to be told");
}

#[test]
fn a_full_disk_costs_lines_and_they_are_told_of_once_there_is_room() {
    let (full, told) = (Arc::new(Mutex::new(Room(3))), Arc::new(Mutex::new(0)));
    let total = Arc::clone(&told);
    let disk = Disk { room: Arc::clone(&full), written: Written::default() };
    let written = disk.written.clone();
    let mut logs = Logs::start(disk, move |lines| *total.lock().unwrap() += lines).unwrap();
    for line in ["first\n", "second\n"] {
        logs.write_all(line.as_bytes()).unwrap();
        assert!(logs.flush(PATIENCE));
    }
    assert_eq!((logs.dropped().get(), *told.lock().unwrap()), (2, 0));
    full.lock().unwrap().0 = 1000;
    logs.write_all(b"third\n").unwrap();
    assert!(logs.flush(PATIENCE));
    assert_eq!((written.text().as_str(), *told.lock().unwrap()), ("fir\nthird\n", 2));
}

/// How many bytes there is room for.
struct Room(usize);

struct Disk {
    room: Arc<Mutex<Room>>,
    written: Written,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut room = self.room.lock().unwrap();
        let some = bytes.len().min(room.0);
        if some == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        room.0 -= some;
        self.written.write(&bytes[..some])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
