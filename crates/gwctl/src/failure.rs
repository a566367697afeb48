//! Why a command failed, and what to do next.

use std::fmt;

use push_suite_cluster::Error;

/// The exit code of a command that failed, or whose answer is incomplete.
pub(crate) const FAILED: u8 = 1;

/// The exit code of invalid usage.
pub(crate) const USAGE: u8 = 2;

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    problem: String,
    next: Option<String>,
    pub(crate) code: u8,
}

impl Failure {
    /// A failure without advice.
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), next: None, code: FAILED }
    }

    /// Invalid usage, where the flags alone are not enough to find it.
    pub(crate) fn usage(problem: impl Into<String>) -> Self {
        Self { code: USAGE, ..Self::new(problem) }
    }

    /// Adds what to do next.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.problem)?;
        match &self.next {
            Some(next) => writeln!(f, "  next: {next}"),
            None => Ok(()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let next = advice(&error);
        let failure = Self::new(error.to_string());
        match next {
            Some(next) => failure.next(next),
            None => failure,
        }
    }
}

/// The next step after an error of the cluster.
pub(crate) fn advice(error: &Error) -> Option<String> {
    let next = match error {
        Error::NoRegister { .. } => {
            "start the register, or name another with --register-address (GW_REGISTER_ADDRESS); \
             `gwctl check connection` tries each"
        }
        Error::WrongSecret { .. } => {
            "set GW_SECRET_KEY to the secret of the cluster (GW_SECRET_KEY in \
             /etc/push-suite/secret.env of its hosts); if the cluster uses TLS between its \
             processes, set --inner-tls-cert, --inner-tls-key and --inner-tls-ca as well"
        }
        Error::NoGateway => {
            "no gateway can be reached: check that gateways run with the same --register-address, \
             and that their --lan-ip and --lan-port can be reached from this host; \
             `gwctl check connection` names each"
        }
        Error::Unreachable { gateway } => {
            return Some(format!(
                "check that the gateway runs, and that {gateway} can be reached from this host"
            ));
        }
        Error::Timeout { gateway } | Error::Busy { gateway } => {
            return Some(format!(
                "the process at {gateway} is stopped or overloaded: look at its CPU and its log"
            ));
        }
        Error::Unavailable { gateway } => {
            return Some(format!(
                "{gateway} is shutting down, or the answer is too large: ask for less"
            ));
        }
        Error::Mismatch { gateway } => {
            return Some(format!("{gateway} is of another version: `gwctl gateways` shows them"));
        }
        Error::ClientId(_) => "`gwctl clients` lists the ids of clients",
        Error::LogFilter { .. } => "such as `debug`, or `info,gateway::shard=debug`",
        Error::Close(_) => "`gwctl explain` lists the close codes",
        Error::Name(_) => "a uid or group has 1 to 1,024 bytes",
        _ => return None,
    };
    Some(next.to_owned())
}
