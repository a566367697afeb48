//! One process under test: started, signalled, restarted, and never left behind.

use std::{
    fs::{self, OpenOptions},
    io::{self, PipeReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use crate::{Conditions, Raw, binaries, eventually, ports};

/// A process of the suite, with all that is needed to start it again. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    /// What the test calls it.
    pub name: String,
    /// Where its `/readyz` and `/metrics` are.
    pub admin: SocketAddr,
    binary: &'static str,
    args: Vec<String>,
    env: Vec<(String, String)>,
    log: PathBuf,
    conditions: Conditions,
    child: Child,
    /// Of its standard error, where that stands still.
    reader: Option<PipeReader>,
}

/// What can be said to a process.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// Drain and end.
    Term,
    /// Stop where it is.
    Stop,
    /// Go on.
    Cont,
    /// Read certificates again.
    Hup,
    /// Nothing, but say what to use instead.
    Usr1,
    /// The same.
    Usr2,
    /// The same.
    Quit,
}

impl Process {
    /// Starts a binary. What it prints goes to a file in `logs`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(
        name: &str,
        binary: &'static str,
        args: Vec<String>,
        env: Vec<(String, String)>,
        logs: &Path,
        conditions: Conditions,
    ) -> Self {
        let (admin, log) = (ports::free(), logs.join(format!("{name}.log")));
        let mut args = args;
        args.extend(["--admin-listen".to_owned(), admin.to_string()]);
        let (child, reader) = spawn(binary, &args, &env, &log, conditions);
        Self { name: name.to_owned(), admin, binary, args, env, log, conditions, child, reader }
    }

    /// Waits until it says that it is ready, or lacks nothing but a worker.
    ///
    /// # Panics
    /// When it ends instead, or takes too long.
    pub async fn ready(&mut self) {
        let what = format!("{} to be ready", self.name);
        eventually(what, async || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended with {status}:\n{}", self.name, self.log());
            }
            let lacks = self.lacks().await?;
            lacks.iter().all(|reason| reason.starts_with("worker: ")).then_some(())
        })
        .await;
    }

    /// What it lacks to be ready, as `/readyz` says; `None` if there is no such page.
    pub async fn lacks(&self) -> Option<Vec<String>> {
        let answer = Raw::get(self.admin, "/readyz").await?;
        let lines = answer.body.lines().map(str::to_owned);
        Some(if answer.status == 200 { Vec::new() } else { lines.collect() })
    }

    /// The value of a metric, by its name and labels as `/metrics` shows them.
    ///
    /// # Panics
    /// When there is no such page.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let page = Raw::get(self.admin, "/metrics").await.expect("a page of metrics");
        let line = page.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.trim().parse().ok()
    }

    /// How many bytes of memory it has in use.
    ///
    /// # Panics
    /// When it is gone.
    pub fn resident(&self) -> usize {
        self.status("VmRSS:")
    }

    /// How many of them are its own, and not of files such as its program.
    ///
    /// # Panics
    /// When it is gone.
    pub fn anonymous(&self) -> usize {
        self.status("RssAnon:")
    }

    fn status(&self, key: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has printed, since it was first started.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits for a line of its log that has all these words, and returns the first. Lines come a moment
    /// after what they tell of.
    ///
    /// # Panics
    /// When there is none for too long.
    pub async fn logs(&self, words: &[&str]) -> String {
        eventually(format!("{} to log {words:?}", self.name), async || {
            let log = self.log();
            let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
            line.map(str::to_owned)
        })
        .await
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&mut self, signal: Signal) {
        // Not through the child's handle, which only knows SIGKILL; it is not reaped yet, so the
        // number is still its own.
        let gone = self.child.try_wait().unwrap();
        assert!(gone.is_none(), "{} is gone: {gone:?}\n{}", self.name, self.log());
        let signal = match signal {
            Signal::Term => "TERM",
            Signal::Stop => "STOP",
            Signal::Cont => "CONT",
            Signal::Hup => "HUP",
            Signal::Usr1 => "USR1",
            Signal::Usr2 => "USR2",
            Signal::Quit => "QUIT",
        };
        let command = format!("kill -{signal} {}", self.pid());
        let status = Command::new("sh").args(["-c", &command]).status().unwrap();
        assert!(status.success(), "{command}");
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// When that cannot be known.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn ended(&mut self) -> ExitStatus {
        let what = format!("{} to end", self.name);
        eventually(what, async || self.child.try_wait().unwrap()).await
    }

    /// Stops it where it is, and waits until every thread of it stands still.
    ///
    /// # Panics
    /// When it does not.
    pub async fn pause(&mut self) {
        self.signal(Signal::Stop);
        let threads = format!("/proc/{}/task", self.pid());
        eventually("a process to stand still", async || {
            let mut threads = fs::read_dir(&threads).ok()?.flatten();
            threads.all(|thread| is_stopped(&thread.path())).then_some(())
        })
        .await;
    }

    /// Lets it go on.
    pub fn go_on(&mut self) {
        self.signal(Signal::Cont);
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::Term);
        self.ended().await
    }

    /// Ends it without asking.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Starts it again, on the same ports, and waits until it is ready.
    pub async fn start_again(&mut self) {
        self.respawn();
        self.ready().await;
    }

    /// Starts it again, on the same ports.
    pub fn respawn(&mut self) {
        self.kill();
        let started = spawn(self.binary, &self.args, &self.env, &self.log, self.conditions);
        (self.child, self.reader) = started;
    }

    /// Has what it logs read again, to its log, where nobody read it before.
    ///
    /// # Panics
    /// When it is not of that kind.
    pub fn read_log(&mut self) {
        let mut reader = self.reader.take().unwrap();
        let mut log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let reading = thread::spawn(move || io::copy(&mut reader, &mut log));
        // It ends with the process.
        drop(reading);
    }

    /// What is wrong with what it printed, if anything.
    pub fn blemish(&self, secret: &str) -> Option<String> {
        blemish(&self.log(), secret).map(|line| format!("{} printed: {line}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a thread stands still, by its folder in `/proc`.
fn is_stopped(thread: &Path) -> bool {
    let stat = fs::read_to_string(thread.join("stat")).unwrap_or_default();
    // Behind the name, which is in parentheses and may have any.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

fn spawn(
    binary: &'static str,
    args: &[String],
    env: &[(String, String)],
    log: &Path,
    conditions: Conditions,
) -> (Child, Option<PipeReader>) {
    let output = OpenOptions::new().create(true).append(true).open(log).unwrap();
    let (mut command, reader) =
        conditions.command(&binaries::path(binary), output.try_clone().unwrap());
    let child = command
        .args(args)
        .env_clear()
        .env("RUST_LOG", "debug")
        .env("RUST_BACKTRACE", "1")
        .envs(env.iter().cloned())
        .stdin(Stdio::null())
        .stdout(output)
        .spawn()
        .unwrap_or_else(|error| panic!("{binary} does not start: {error}"));
    (child, reader)
}

/// A line that should not be in any log: of a panic, or with the secret in it.
fn blemish<'a>(log: &'a str, secret: &str) -> Option<&'a str> {
    log.lines().find(|line| line.contains("panicked") || line.contains(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_and_a_panic_are_noticed_in_a_log() {
        let line = "thread 'main' panicked at src/main.rs:1:1:";
        assert_eq!(blemish(&format!("fine\n{line}\n"), "s3cret"), Some(line));
        assert_eq!(blemish("a key s3cret=\n", "s3cret"), Some("a key s3cret="));
        assert_eq!(blemish("fine\n", "s3cret"), None);
    }
}
