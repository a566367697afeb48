//! A process under test: start, signal, restart; killed when dropped.

use std::{
    fs::{self, OpenOptions},
    io::{self, PipeReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use crate::{Conditions, Raw, binaries, eventually, ports};

/// A process of the suite, with everything needed to restart it. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    /// Its name in the test.
    pub name: String,
    /// Address of `/readyz` and `/metrics`.
    pub admin: SocketAddr,
    binary: &'static str,
    args: Vec<String>,
    env: Vec<(String, String)>,
    log: PathBuf,
    conditions: Conditions,
    child: Child,
    /// Read end of its standard error, if that is a full pipe.
    reader: Option<PipeReader>,
}

/// A signal to a process.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// Drain and exit.
    Term,
    /// Suspend.
    Stop,
    /// Resume.
    Cont,
    /// Reload certificates.
    Hup,
    /// Ignored; logs what to use instead.
    Usr1,
    /// The same.
    Usr2,
    /// The same.
    Quit,
}

impl Process {
    /// Starts a binary. Its output goes to a file in `logs`.
    ///
    /// # Panics
    /// If it cannot be started.
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

    /// Waits until it is ready, or only waits for a worker.
    ///
    /// # Panics
    /// If it exits, or after the timeout.
    pub async fn ready(&mut self) {
        let what = format!("{} to be ready", self.name);
        eventually(what, async || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} exited with {status}:\n{}", self.name, self.log());
            }
            let reasons = self.unready_reasons().await?;
            reasons.iter().all(|reason| reason.starts_with("worker: ")).then_some(())
        })
        .await;
    }

    /// The reasons why it is not ready, from `/readyz`; `None` if the page cannot be fetched.
    pub async fn unready_reasons(&self) -> Option<Vec<String>> {
        let answer = Raw::get(self.admin, "/readyz").await?;
        let lines = answer.body.lines().map(str::to_owned);
        Some(if answer.status == 200 { Vec::new() } else { lines.collect() })
    }

    /// Value of a metric, by name and labels as in `/metrics`.
    ///
    /// # Panics
    /// If the page cannot be fetched.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let page = Raw::get(self.admin, "/metrics").await.expect("a page of metrics");
        let line = page.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.trim().parse().ok()
    }

    /// Waits until a metric has this value.
    ///
    /// # Panics
    /// After the timeout, or if the page cannot be fetched.
    pub async fn wait_for_metric(&self, name: &str, value: f64) {
        eventually(format!("{name} of {} to be {value}", self.name), async || {
            (self.metric(name).await? == value).then_some(())
        })
        .await;
    }

    /// Resident memory in bytes.
    ///
    /// # Panics
    /// If it has exited.
    pub fn resident(&self) -> usize {
        self.status("VmRSS:")
    }

    /// Anonymous resident memory in bytes, without mapped files such as the binary.
    ///
    /// # Panics
    /// If it has exited.
    pub fn anonymous(&self) -> usize {
        self.status("RssAnon:")
    }

    fn status(&self, key: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its output since the first start.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The lines of its log that contain this text.
    pub fn log_lines(&self, text: &str) -> Vec<String> {
        self.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    /// Waits for a log line that contains all these words, and returns the first one. Lines are
    /// written shortly after the event that they record.
    ///
    /// # Panics
    /// After the timeout.
    pub async fn wait_for_log(&self, words: &[&str]) -> String {
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
    /// If the process has exited.
    pub fn signal(&mut self, signal: Signal) {
        // The handle of the child supports SIGKILL only. The child is not reaped yet, so its pid is
        // still valid.
        let exited = self.child.try_wait().unwrap();
        assert!(exited.is_none(), "{} has exited: {exited:?}\n{}", self.name, self.log());
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

    /// Whether it is still running.
    ///
    /// # Panics
    /// If its status cannot be read.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it exits.
    ///
    /// # Panics
    /// After the timeout.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        let what = format!("{} to exit", self.name);
        eventually(what, async || self.child.try_wait().unwrap()).await
    }

    /// Suspends it, and waits until all its threads are stopped.
    ///
    /// # Panics
    /// After the timeout.
    pub async fn pause(&mut self) {
        self.signal(Signal::Stop);
        let threads = format!("/proc/{}/task", self.pid());
        eventually("a process to be suspended", async || {
            let mut threads = fs::read_dir(&threads).ok()?.flatten();
            threads.all(|thread| is_stopped(&thread.path())).then_some(())
        })
        .await;
    }

    /// Resumes it.
    pub fn resume(&mut self) {
        self.signal(Signal::Cont);
    }

    /// Sends SIGTERM and waits until it exits.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::Term);
        self.wait_exit().await
    }

    /// Kills it.
    ///
    /// # Panics
    /// If it cannot be reaped.
    pub fn kill(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Kills and restarts it on the same ports, and waits until it is ready.
    pub async fn restart(&mut self) {
        self.respawn();
        self.ready().await;
    }

    /// Kills and restarts it on the same ports.
    pub fn respawn(&mut self) {
        self.kill();
        let started = spawn(self.binary, &self.args, &self.env, &self.log, self.conditions);
        (self.child, self.reader) = started;
    }

    /// Starts to read its full pipe into its log.
    ///
    /// # Panics
    /// If its standard error is not a full pipe.
    pub fn read_log(&mut self) {
        let mut reader = self.reader.take().unwrap();
        let mut log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let reading = thread::spawn(move || io::copy(&mut reader, &mut log));
        // The thread ends with the process.
        drop(reading);
    }

    /// A forbidden line of its output, if any: a panic, or one that contains the secret.
    pub fn log_violation(&self, secret: &str) -> Option<String> {
        forbidden_line(&self.log(), secret).map(|line| format!("{} printed: {line}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a thread is stopped, by its folder in `/proc`.
fn is_stopped(thread: &Path) -> bool {
    let stat = fs::read_to_string(thread.join("stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses and may contain some itself.
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
        .unwrap_or_else(|error| panic!("{binary} cannot be started: {error}"));
    (child, reader)
}

/// The first line that must not be in any log: a panic, or one that contains the secret.
fn forbidden_line<'a>(log: &'a str, secret: &str) -> Option<&'a str> {
    log.lines().find(|line| line.contains("panicked") || line.contains(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_with_secret_or_panic_is_detected() {
        let line = "thread 'main' panicked at src/main.rs:1:1:";
        assert_eq!(forbidden_line(&format!("fine\n{line}\n"), "s3cret"), Some(line));
        assert_eq!(forbidden_line("a key s3cret=\n", "s3cret"), Some("a key s3cret="));
        assert_eq!(forbidden_line("fine\n", "s3cret"), None);
    }
}
