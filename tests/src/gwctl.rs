//! The command line of operators, run against a suite.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::{Running, Suite, binaries};

/// Runs `gwctl` with the settings of a suite.
#[derive(Clone, Debug)]
pub struct Gwctl {
    env: Vec<(String, String)>,
}

/// A command that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Gwctl {
    /// With the registers, the secret and the certificates of a suite.
    pub fn of(suite: &Suite) -> Self {
        let registers: Vec<String> = suite.register_addrs.iter().map(ToString::to_string).collect();
        let env = suite.env().into_iter().filter(|(name, _)| name != "RUST_LOG");
        let gwctl = Self { env: env.collect() };
        gwctl.with("GW_REGISTER_ADDRESS", &registers.join(","))
    }

    /// Without any settings.
    pub fn bare() -> Self {
        Self { env: Vec::new() }
    }

    /// With a variable of the environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// If it panics.
    pub async fn run(&self, args: &[&str]) -> Ran {
        self.run_with_input(args, "").await
    }

    /// The same with this standard input.
    ///
    /// # Panics
    /// If it panics.
    pub async fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        let (mut command, input) = (self.command(args), input.to_owned());
        // Another thread waits: peers in the test go on.
        let ended = spawn_blocking(move || {
            let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
            // A command that reads no input may have ended.
            let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
            child.wait_with_output().unwrap()
        });
        let output = ended.await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        assert!(!err.contains("panicked"), "gwctl {args:?}: {err}");
        Ran { code: output.status.code().unwrap_or(-1), out, err }
    }

    /// Runs a command that succeeds, and returns its output.
    ///
    /// # Panics
    /// If it fails.
    pub async fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args).await;
        assert_eq!(ran.code, 0, "gwctl {args:?}: {}{}", ran.out, ran.err);
        ran.out
    }

    /// The result of a command as JSON, and its exit code.
    ///
    /// # Panics
    /// If its output is not JSON.
    pub async fn json(&self, args: &[&str]) -> (Value, i32) {
        let ran = self.run(&[args, &["-o", "json"]].concat()).await;
        let value = serde_json::from_str(&ran.out);
        (value.unwrap_or_else(|error| panic!("gwctl {args:?}: {error}: {ran:?}")), ran.code)
    }

    /// Starts a command that runs while the test goes on.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(&self, args: &[&str]) -> Running {
        Running::start(self.command(args))
    }

    /// Starts a command on a terminal of its own.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn in_terminal(&self, args: &[&str]) -> Running {
        let command = self.command(args);
        let words = args.iter().fold("\"$GWCTL\"".to_owned(), |all, arg| all + " " + arg);
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &words, "/dev/null"]).env_clear();
        script.envs(self.env.iter().cloned()).env("GWCTL", command.get_program());
        script.env("TERM", "xterm").env("SHELL", "/bin/sh");
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::start(script)
    }

    /// A command that is not started, with pipes for its output.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binaries::path("gwctl"));
        command.args(args).env_clear().envs(self.env.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}
