//! Single keys of a terminal, without a line break and without an echo.

use std::io::{self, IsTerminal as _, Read as _};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use tokio::{sync::mpsc, task::spawn_blocking};

/// The byte of Ctrl-C while it does not end the process.
const INTERRUPT: u8 = 3;

/// Ctrl-D.
const END: u8 = 4;

/// Keys that wait to be read; further ones are lost.
const WAITING: usize = 16;

/// The keys of the terminal, which is in its usual state again once this is dropped.
pub(crate) struct Keys {
    before: Termios,
    keys: mpsc::Receiver<u8>,
}

impl Keys {
    /// Takes over the keyboard; `None` if standard input or output is no terminal.
    pub(crate) fn open() -> Option<Self> {
        let input = io::stdin();
        if !input.is_terminal() || !io::stdout().is_terminal() {
            return None;
        }
        let before = tcgetattr(&input).ok()?;
        let mut single = before.clone();
        // Ctrl-C arrives as a key, so that the terminal can be restored.
        single.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        single.special_codes[SpecialCodeIndex::VMIN] = 1;
        single.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&input, OptionalActions::Now, &single).ok()?;
        let (sender, keys) = mpsc::channel(WAITING);
        // The thread waits for a key until the process ends.
        drop(spawn_blocking(move || {
            let mut key = [0];
            while let Ok(1) = io::stdin().read(&mut key) {
                if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(key[0]) {
                    break;
                }
            }
        }));
        Some(Self { before, keys })
    }

    /// The next key as a character; `None` for Ctrl-C, Ctrl-D, and when the terminal is closed.
    pub(crate) async fn next(&mut self) -> Option<char> {
        match self.keys.recv().await {
            None | Some(INTERRUPT | END) => None,
            Some(key) => Some(char::from(key)),
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
