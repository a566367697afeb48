//! Lines written by the real formatter to fast, blocked and failing outputs.

use std::{
    io::{PipeReader, Read as _, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tracing::{Level, dispatcher::with_default};

use super::*;

/// Collects everything written.
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

const TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the output of `log`.
fn written(format: Format, is_terminal: bool, log: impl FnOnce()) -> String {
    let written = Written::default();
    let logs = Logs::start(written.clone(), |_| ()).unwrap();
    let (filter, _) = reload::Layer::new(parse("trace").unwrap());
    with_default(&dispatch(format, filter, is_terminal, logs.clone()), log);
    assert!(logs.flush(TIMEOUT));
    written.text()
}

/// Text of a peer that tries to forge a line or inject terminal sequences.
const HOSTILE: &str = "\x1b[31mred\r\n2026-01-01T00:00:00Z ERROR gateway: forged\t\u{9b}2J\u{202e}\
     \u{2028}\0\x07\x08\x7f";

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct HostileError(&'static str);

fn hostile() {
    let error: &(dyn std::error::Error + 'static) = &HostileError(HOSTILE);
    let _span = tracing::info_span!("span", peer = %HOSTILE, quoted = HOSTILE).entered();
    tracing::info!(address = %HOSTILE, debug = ?HOSTILE, text = HOSTILE, error, "constant");
    tracing::info!("{HOSTILE}");
    tracing::info!(address = %Chunked, "constant");
}

/// Displays the hostile text character by character.
struct Chunked;

impl std::fmt::Display for Chunked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        HOSTILE.chars().try_for_each(|char| std::fmt::Write::write_char(f, char))
    }
}

#[test]
fn text_field_contains_no_control_character() {
    let text = written(Format::Text, false, hostile);
    assert_eq!(text.lines().count(), 3, "{text}");
    let raw = text.chars().find(|char| char.is_control() && *char != '\n');
    assert_eq!(raw, None, "{text:?}");
    assert!(!text.contains(['\u{202e}', '\u{2028}']), "{text:?}");
    assert!(text.contains(r"address=\u{1b}[31mred\r\n2026-01-01"), "{text}");
}

#[test]
fn text_field_on_a_terminal_contains_no_escape_sequence() {
    let (hostile, tame) = (written(Format::Text, true, hostile), "\x1b[31mred");
    assert_eq!(hostile.lines().count(), 3, "{hostile:?}");
    assert!(!hostile.contains(tame) && !hostile.contains('\u{9b}'), "{hostile:?}");
    assert!(hostile.contains("\x1b["), "the formatter's own colours remain");
}

#[test]
fn json_field_is_one_line_with_the_original_value() {
    let text = written(Format::Json, false, hostile);
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((text.lines().count(), first["address"].as_str()), (3, Some(HOSTILE)), "{text}");
}

#[test]
fn text_line_has_the_default_format() {
    let log = || tracing::warn!(peer = 7, name = "a b", reason = %"closed", "link lost");
    let text = written(Format::Text, false, log);
    assert!(text.contains(" WARN "), "{text}");
    assert!(text.ends_with(": link lost peer=7 name=\"a b\" reason=closed\n"), "{text}");
}

/// A pipe that is not read yet, and the logs that write to it.
fn blocked_pipe() -> (PipeReader, Logs, Arc<Mutex<u64>>) {
    let (reader, writer) = io::pipe().unwrap();
    let reported = Arc::new(Mutex::new(0));
    let total = Arc::clone(&reported);
    let logs = Logs::start(writer, move |lines| *total.lock().unwrap() += lines).unwrap();
    (reader, logs, reported)
}

/// Logs more lines than the pipe and the queue hold together.
fn flood(logs: &Logs) -> usize {
    let line = [&[b'x'; 999][..], b"\n"].concat();
    let lines = 4 * lines::CAPACITY / line.len();
    let mut logs = logs.clone();
    (0..lines).for_each(|_| logs.write_all(&line).unwrap());
    lines
}

#[test]
fn blocked_reader_never_blocks_logging_and_receives_the_number_of_dropped_lines() {
    let (mut reader, logs, reported) = blocked_pipe();
    let lines = flood(&logs);
    let since = Instant::now();
    assert!(!logs.flush(Duration::from_millis(50)), "the pipe is not read");
    assert!(since.elapsed() < TIMEOUT, "a flush is bounded");
    let dropped = logs.dropped().get() as usize;
    assert!(lines / 4 < dropped && dropped < lines, "{dropped} of {lines}");
    // Reading resumes.
    let mut read = vec![0; (lines - dropped) * 1000];
    reader.read_exact(&mut read).unwrap();
    assert!(read.chunks(1000).all(|line| line.ends_with(b"x\n")));
    assert!(logs.flush(TIMEOUT));
    assert_eq!(
        (*reported.lock().unwrap(), logs.dropped().get() as usize),
        (dropped as u64, dropped)
    );
}

#[test]
fn closed_reader_costs_only_lines() {
    let (reader, logs, reported) = blocked_pipe();
    drop(reader);
    let lines = flood(&logs);
    assert!(logs.flush(TIMEOUT));
    assert_eq!(logs.dropped().get() as usize, lines);
    assert_eq!(*reported.lock().unwrap(), 0, "there is no reader to report to");
}

#[test]
fn full_disk_drops_lines_and_reports_them_once_there_is_room() {
    let (full, reported) = (Arc::new(Mutex::new(Room(3))), Arc::new(Mutex::new(0)));
    let total = Arc::clone(&reported);
    let disk = Disk { room: Arc::clone(&full), written: Written::default() };
    let written = disk.written.clone();
    let mut logs = Logs::start(disk, move |lines| *total.lock().unwrap() += lines).unwrap();
    for line in ["first\n", "second\n"] {
        logs.write_all(line.as_bytes()).unwrap();
        assert!(logs.flush(TIMEOUT));
    }
    assert_eq!((logs.dropped().get(), *reported.lock().unwrap()), (2, 0));
    full.lock().unwrap().0 = 1000;
    logs.write_all(b"third\n").unwrap();
    assert!(logs.flush(TIMEOUT));
    assert_eq!((written.text().as_str(), *reported.lock().unwrap()), ("fir\nthird\n", 2));
}

/// The number of bytes that fit.
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

#[test]
fn filter_is_a_list_of_levels_with_info_as_its_default() {
    let logs = |rules, target, level| parse(rules).unwrap().would_enable(target, &level);
    for rules in ["", ",", " "] {
        assert!(logs(rules, "gateway::hub", Level::INFO), "{rules:?}");
        assert!(!logs(rules, "gateway::hub", Level::DEBUG), "{rules:?}");
    }
    let rules = "info, gateway::hub=DEBUG,client=off,";
    assert!(logs(rules, "gateway::hub::peer", Level::DEBUG));
    assert!(!logs(rules, "gateway::shard", Level::DEBUG));
    assert!(!logs(rules, "client::link", Level::ERROR));
    for rules in ["a=b=c", "gateway=loud", "gateway[peer]=debug", "debg", "info,gateway"] {
        parse(rules).unwrap_err();
    }
}

#[test]
fn filter_is_replaced_while_in_use_and_an_invalid_one_is_not() {
    let written = Written::default();
    let logs = Logs::start(written.clone(), |_| ()).unwrap();
    let (layer, handle) = reload::Layer::new(parse("info").unwrap());
    let filter = Filter::new(handle, "info".to_owned());
    with_default(&dispatch(Format::Text, layer, false, logs.clone()), || {
        let log = |text| tracing::debug!(text, "line");
        log("one");
        assert_eq!(filter.set("debug").unwrap(), "info");
        log("two");
        filter.set("loud").unwrap_err();
        assert_eq!(filter.rules(), "debug");
        log("three");
        assert_eq!(filter.set("warn").unwrap(), "debug");
        log("four");
    });
    assert!(logs.flush(TIMEOUT));
    let text = written.text();
    let shows = ["one", "two", "three", "four"].map(|line| text.contains(line));
    assert_eq!(shows, [false, true, true, false], "{text}");
}
