//! Which server answers, so that offsets of an epoch come from one memory only.

/// Identifies one memory of one server process: a server that was restarted, promoted, or filled from
/// another one has another identity, and may lack what the earlier one had acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity(String);

/// The server is no primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replica;

impl Identity {
    /// Of a server that does not tell.
    pub(super) fn unknown() -> Self {
        Self("unknown".to_owned())
    }

    /// From the answers to `INFO server` and `INFO replication`.
    pub(super) fn of(server: &[u8], replication: &[u8]) -> Result<Self, Replica> {
        if field(replication, "role").is_some_and(|role| role != "master") {
            return Err(Replica);
        }
        let part = |info, name| {
            let value = field(info, name).unwrap_or_default();
            value.chars().take(16).collect::<String>()
        };
        let (run, replication) = (part(server, "run_id"), part(replication, "master_replid"));
        match run.is_empty() && replication.is_empty() {
            true => Ok(Self::unknown()),
            false => Ok(Self(format!("{run}-{replication}"))),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

fn field(info: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(info);
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned);
    text.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &[u8] = b"# Server\r\nredis_version:7.0.15\r\nrun_id:0123456789abcdef0123\r\n";
    const PRIMARY: &[u8] =
        b"# Replication\r\nrole:master\r\nmaster_replid:fedcba98765432100000\r\n";

    #[test]
    fn identity_changes_with_the_process_and_its_history() {
        let identity = Identity::of(SERVER, PRIMARY).unwrap();
        assert_eq!(identity.as_str(), "0123456789abcdef-fedcba9876543210");
        let promoted = Identity::of(SERVER, b"role:master\r\nmaster_replid:1\r\n").unwrap();
        let restarted = Identity::of(b"run_id:2\r\n", PRIMARY).unwrap();
        assert!(identity != promoted && identity != restarted && promoted != restarted);
    }

    #[test]
    fn replica_is_refused_and_silence_is_unknown() {
        assert_eq!(Identity::of(SERVER, b"role:slave\r\nmaster_replid:1\r\n"), Err(Replica));
        assert_eq!(Identity::of(b"", b"\xff\r\n:"), Ok(Identity::unknown()));
    }
}
