//! Asks before a command that destroys something.

use std::io::{self, IsTerminal as _, Write as _};

use crate::failure::Failure;

/// Asks on the terminal whether to go on.
///
/// # Errors
/// When the answer is not yes, or there is no terminal to ask on.
pub(crate) fn confirm(question: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(format!("{question}: not confirmed, nothing was done"))
            .next("add --yes to do it without a question, or --dry-run to see what it would do"));
    }
    let mut out = io::stderr();
    let _ = write!(out, "{question}? [y/N] ");
    let _ = out.flush();
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Failure::new("not confirmed, nothing was done")),
    }
}
