//! Flags of the limits on addresses and clients, and their validation.

use std::time::Duration;

use anyhow::ensure;
use framing::http::AddressRange;
use runtime::token_bucket::Rate;
use serde::Serialize;
use service::settings::{Derived, MAX_WAIT, amount};

use crate::limits::{AddressLimits, ClientLimits, Limits, RatePolicy};

/// Bytes of a message beside its content, so that a full bucket always suffices for one: its frame
/// header, and control frames within it.
const MESSAGE_OVERHEAD: usize = 1024;

/// Limits on addresses and clients.
#[derive(Debug, clap::Args, Serialize)]
pub(super) struct LimitArgs {
    /// Maximum number of open connections per client address; 0 means no limit. IPv6 addresses
    /// count by their first 64 bits. Further ones are refused with 429, or closed
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = amount())]
    pub(super) max_connections_per_address: usize,

    /// Maximum number of connections accepted in a second, and as many at once; 0 means no limit.
    /// Further ones wait to be accepted
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = amount())]
    pub(super) max_handshakes_per_second: usize,

    /// The same per client address. Further ones are refused with 429, or closed
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = amount())]
    pub(super) max_handshakes_per_second_per_address: usize,

    /// Address or range that the limits per address do not apply to, such as that of a monitoring
    /// host (repeatable). They never apply to --trusted-proxy
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "RANGE")]
    pub(super) limit_exempt: Vec<AddressRange>,

    /// Maximum number of messages, pings and pongs per client and second; 0 means no limit
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = amount())]
    pub(super) max_messages_per_second: usize,

    /// Messages that a client may send at once after it was idle; 0 means as many as in one second
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = amount())]
    pub(super) message_burst: usize,

    /// Maximum number of bytes that a client may send per second; 0 means no limit
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = amount())]
    pub(super) max_bytes_per_second: usize,

    /// Bytes that a client may send at once after it was idle; 0 means as many as in one second,
    /// and at least one message of the maximum size
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = amount())]
    pub(super) byte_burst: usize,

    /// Policy for a client that sends faster than --max-messages-per-second or
    /// --max-bytes-per-second: 'pause' reads it no faster than that, 'disconnect' closes it with
    /// 4429
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "POLICY", value_enum, default_value_t)]
    pub(super) rate_policy: RatePolicy,

    /// Time in seconds for a client to answer a close frame and to read its last output, before it
    /// is cut off
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=MAX_WAIT))]
    pub(super) close_timeout: u64,
}

/// A rate in a bucket of `burst`, or of one second's worth but at least `least` if that is 0.
fn rate(per_second: usize, burst: usize, least: usize) -> Option<Rate> {
    let burst = if burst == 0 { per_second.max(least) } else { burst };
    (per_second != 0).then(|| Rate::new(per_second as u64, burst as u64))
}

impl LimitArgs {
    /// The limits, for messages of this maximum size.
    ///
    /// # Errors
    /// Names a flag without effect, or one that would close clients for a single message.
    pub(super) fn limits(&self, max_message_size: usize) -> anyhow::Result<Limits> {
        for (burst, limit, (flag, needed)) in [
            (
                self.message_burst,
                self.max_messages_per_second,
                ("--message-burst", "--max-messages-per-second"),
            ),
            (
                self.byte_burst,
                self.max_bytes_per_second,
                ("--byte-burst", "--max-bytes-per-second"),
            ),
        ] {
            ensure!(burst == 0 || limit != 0, "{flag}: requires {needed}");
        }
        let message = max_message_size.saturating_add(MESSAGE_OVERHEAD);
        let suffices = self.byte_burst == 0 || message <= self.byte_burst;
        ensure!(
            suffices || self.rate_policy == RatePolicy::Pause,
            "--byte-burst: {} closes a client for one message of --max-message-size; at least \
             {message} with --rate-policy disconnect",
            self.byte_burst
        );
        for (index, range) in self.limit_exempt.iter().enumerate() {
            let before = &self.limit_exempt[..index];
            ensure!(!before.contains(range), "--limit-exempt: {range} is given twice");
        }
        let connections = self.max_connections_per_address;
        let of_address = AddressLimits {
            connections: (connections != 0).then_some(connections),
            handshakes: rate(self.max_handshakes_per_second_per_address, 0, 1),
            exempt: self.limit_exempt.clone(),
        };
        ensure!(
            of_address.is_enabled() || of_address.exempt.is_empty(),
            "--limit-exempt: requires --max-connections-per-address or \
             --max-handshakes-per-second-per-address"
        );
        let of_client = ClientLimits {
            messages: rate(self.max_messages_per_second, self.message_burst, 1),
            bytes: rate(self.max_bytes_per_second, self.byte_burst, message),
            policy: self.rate_policy,
        };
        ensure!(
            of_client.is_enabled() || self.rate_policy == RatePolicy::default(),
            "--rate-policy: requires --max-messages-per-second or --max-bytes-per-second"
        );
        let handshakes = rate(self.max_handshakes_per_second, 0, 1);
        Ok(Limits { of_address, handshakes, of_client })
    }

    /// How long a closing connection may take.
    pub(super) const fn close_timeout(&self) -> Duration {
        Duration::from_secs(self.close_timeout)
    }

    /// Effective values of bursts that were not given.
    pub(super) fn derived(&self, limits: &Limits) -> Vec<Derived> {
        let ClientLimits { messages, bytes, .. } = limits.of_client;
        let bursts = [
            ("message_burst", self.message_burst, messages),
            ("byte_burst", self.byte_burst, bytes),
        ];
        let missing = bursts.into_iter().filter(|(_, given, _)| *given == 0);
        let effective = missing.filter_map(|(key, _, rate)| {
            rate.map(|rate| Derived::note(key, format!("in effect: {}", rate.burst())))
        });
        effective.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::config, *};

    fn limits(flags: &[&str]) -> Limits {
        config(flags).unwrap().settings.limits
    }

    #[test]
    fn limits_are_off_by_default_and_in_strict_mode() {
        for flags in [&[][..], &["--compat=strict"]] {
            assert_eq!(limits(flags), Limits::default(), "{flags:?}");
            assert_eq!(config(flags).unwrap().settings.close_timeout, Duration::from_secs(5));
        }
    }

    #[test]
    fn bursts_are_one_second_and_one_message_unless_given() {
        let of_client = limits(&["--max-messages-per-second=50", "--max-bytes-per-second=1000"]);
        let ClientLimits { messages, bytes, policy } = of_client.of_client;
        assert_eq!(messages, Some(Rate::new(50, 50)));
        assert_eq!(bytes, Some(Rate::new(1000, 1024 * 1024 + 1024)));
        assert_eq!(policy, RatePolicy::Pause);
        let flags = ["--max-bytes-per-second=9", "--byte-burst=7", "--limit-exempt=::1"];
        let all = [&flags[..2], &["--max-messages-per-second=3", "--message-burst=1"]].concat();
        let ClientLimits { messages, bytes, .. } = limits(&all).of_client;
        assert_eq!((messages, bytes), (Some(Rate::new(3, 1)), Some(Rate::new(9, 7))));
        let of_address =
            limits(&[flags[2], "--max-handshakes-per-second-per-address=2"]).of_address;
        assert_eq!(of_address.handshakes, Some(Rate::new(2, 2)));
        assert!(!of_address.apply_to("::1".parse().unwrap()));
        assert!(of_address.apply_to("::2".parse().unwrap()));
    }

    #[test]
    fn flags_without_effect_and_harmful_ones_are_refused_by_name() {
        for (flags, name) in [
            (&["--message-burst=1"][..], "--message-burst"),
            (&["--byte-burst=1"], "--byte-burst"),
            (&["--limit-exempt=::1"], "--limit-exempt"),
            (&["--limit-exempt=10.0.0.1/8"], "--limit-exempt"),
            (
                &["--max-connections-per-address=1", "--limit-exempt=::1", "--limit-exempt=::1"],
                "--limit-exempt",
            ),
            (&["--rate-policy=disconnect"], "--rate-policy"),
            (&["--rate-policy=drop"], "--rate-policy"),
            (
                &["--max-bytes-per-second=9", "--byte-burst=9", "--rate-policy=disconnect"],
                "--byte-burst",
            ),
            (&["--close-timeout=0"], "--close-timeout"),
            (&["--websocket-pong-timeout=0"], "--websocket-pong-timeout"),
            (&["--websocket-pong-timeout=1", "--websocket-ping=0"], "--websocket-pong-timeout"),
            (&["--websocket-pong-timeout=1", "--compat=strict"], "--websocket-pong-timeout"),
        ] {
            let error = config(flags).expect_err(&format!("{flags:?}"));
            assert!(error.contains(name), "{flags:?}: {error}");
        }
    }
}
