//! A command that runs while the test goes on, and the lines that it has written.

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    process::{Child, Command},
    sync::{Arc, Mutex},
    thread,
};

use crate::eventually;

/// A running command. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    out: Arc<Mutex<Vec<String>>>,
    err: Arc<Mutex<Vec<String>>>,
}

/// Collects the lines of a stream. The thread ends with the stream.
fn lines(stream: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let collected = Arc::clone(&lines);
    drop(thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            collected.lock().unwrap().push(line);
        }
    }));
    lines
}

impl Running {
    /// Starts a command whose output is piped.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    /// The lines of its standard output so far.
    ///
    /// # Panics
    /// If the thread that reads them has panicked.
    pub fn out(&self) -> Vec<String> {
        self.out.lock().unwrap().clone()
    }

    /// The lines of its standard error so far.
    ///
    /// # Panics
    /// If the thread that reads them has panicked.
    pub fn err(&self) -> Vec<String> {
        self.err.lock().unwrap().clone()
    }

    /// Waits for a line of its standard output that contains a text, and returns it.
    ///
    /// # Panics
    /// After the timeout.
    pub async fn line(&self, text: &str) -> String {
        eventually(format!("a line with {text}"), async || {
            self.out().into_iter().find(|line| line.contains(text))
        })
        .await
    }

    /// Types on its terminal, or writes to its standard input.
    ///
    /// # Panics
    /// If that is closed.
    pub fn write(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).unwrap();
    }

    /// Waits until it exits, and returns its exit code.
    ///
    /// # Panics
    /// After the timeout.
    pub async fn ended(&mut self) -> i32 {
        let child = &mut self.child;
        let status = eventually("a command to end", async || child.try_wait().unwrap()).await;
        status.code().unwrap_or(-1)
    }

    /// Suspends it, or resumes it.
    ///
    /// # Panics
    /// If it has exited.
    pub fn suspend(&mut self, suspended: bool) {
        assert!(self.child.try_wait().unwrap().is_none(), "{self:?}");
        let signal = if suspended { "STOP" } else { "CONT" };
        let command = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
