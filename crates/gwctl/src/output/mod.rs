//! Shows views: values that a command returns, as text for people or as JSON for programs.

mod bytes;
mod style;
mod table;
mod time;

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
};

use serde::Serialize;

pub(crate) use bytes::bytes;
pub(crate) use style::{Paint, Style};
pub(crate) use table::{Align, Cell, Table};
pub(crate) use time::{age, utc};

use crate::{
    args::{Color, Format},
    failure::{FAILED, Failure},
};

/// The result of a command.
pub(crate) trait View: Serialize {
    /// Writes it for people.
    fn show(&self, page: &mut Page);

    /// The exit code.
    fn code(&self) -> u8 {
        0
    }
}

/// Text for people, while it is written.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) style: Style,
    /// Whether columns of `-o wide` are shown.
    pub(crate) wide: bool,
    text: String,
}

impl Page {
    /// Adds a line.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str(line.as_ref());
        self.text.push('\n');
    }

    /// Adds a line in a color.
    pub(crate) fn painted(&mut self, paint: Paint, line: impl AsRef<str>) {
        let line = self.style.paint(paint, line.as_ref());
        self.line(line);
    }

    /// Adds a table; nothing but a line if it has no rows.
    pub(crate) fn table(&mut self, table: &Table, empty: &str) {
        match table.is_empty() {
            true => self.painted(Paint::Dim, empty),
            false => self.text.push_str(&table.render(self.style, self.wide)),
        }
    }

    /// Adds lines of a name and a value each, aligned.
    pub(crate) fn fields(&mut self, fields: &[(&str, String)]) {
        let shown = || fields.iter().filter(|(_, value)| !value.is_empty());
        let width = shown().map(|(name, _)| table::width(name)).max().unwrap_or(0);
        for (name, value) in shown() {
            let space = " ".repeat(width - table::width(name) + 2);
            let name = self.style.paint(Paint::Dim, name);
            self.line(format!("{name}{space}{value}"));
        }
    }

    /// Names the gateways that did not answer.
    pub(crate) fn gaps(&mut self, gaps: &[Gap]) {
        for Gap { problem, next, .. } in gaps {
            self.painted(Paint::Red, format!("incomplete: {problem}"));
            if !next.is_empty() {
                self.line(format!("  next: {next}"));
            }
        }
    }
}

/// A gateway without an answer.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Gap {
    /// Its inner address.
    pub(crate) gateway: String,
    /// The error, which names it.
    pub(crate) problem: String,
    /// The next step, or empty.
    pub(crate) next: String,
}

/// The exit code of an answer with gaps.
pub(crate) const fn code_of(gaps: &[Gap]) -> u8 {
    if gaps.is_empty() { 0 } else { FAILED }
}

/// Where and how results are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) format: Format,
    style: Style,
    is_terminal: bool,
}

impl Output {
    pub(crate) fn new(format: Format, color: Color) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colored = match color {
            Color::Auto => is_terminal && !plain,
            Color::Always => true,
            Color::Never => false,
        };
        Self { format, style: Style { colored }, is_terminal }
    }

    /// Shows a result, and returns its exit code.
    ///
    /// # Errors
    /// When standard output cannot be written. A closed pipe, such as that of `head`, is none.
    pub(crate) fn show(&self, view: &impl View) -> Result<u8, Failure> {
        self.write(&self.text_of(view, true)?)?;
        Ok(view.code())
    }

    /// Shows one of several results: on a terminal it replaces the one before, and as JSON it is one
    /// line.
    ///
    /// # Errors
    /// As [`show`](Self::show).
    pub(crate) fn show_next(&self, view: &impl View) -> Result<u8, Failure> {
        let text = self.text_of(view, false)?;
        let clear = if self.is_terminal && self.format != Format::Json { CLEAR } else { "" };
        self.write(&format!("{clear}{text}"))?;
        Ok(view.code())
    }

    /// Shows one event of a stream: a line, as text or as JSON.
    ///
    /// # Errors
    /// As [`show`](Self::show).
    pub(crate) fn event(&self, text: &str, json: &serde_json::Value) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.write(&format!("{json}\n")),
            Format::Table | Format::Wide => self.write(&format!("{text}\n")),
        }
    }

    /// Shows how far a command is, on standard error.
    pub(crate) fn progress(&self, text: &str) {
        let _ = writeln!(io::stderr(), "{text}");
    }

    fn text_of(&self, view: &impl View, alone: bool) -> Result<String, Failure> {
        if self.format == Format::Json {
            let json = match alone {
                true => serde_json::to_string_pretty(view),
                false => serde_json::to_string(view),
            };
            let json = json.map_err(|error| Failure::new(format!("not shown as JSON: {error}")))?;
            return Ok(json + "\n");
        }
        let wide = self.format == Format::Wide;
        let mut page = Page { style: self.style, wide, text: String::new() };
        view.show(&mut page);
        Ok(page.text)
    }

    /// Writes text to standard output.
    ///
    /// # Errors
    /// When that fails otherwise than by a closed pipe.
    pub(crate) fn write(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(format!("standard output cannot be written: {error}")))
            }
            _ => Ok(()),
        }
    }
}

/// Clears the screen of a terminal, and moves the cursor to its beginning.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";
