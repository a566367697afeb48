//! Checks of invalid settings and combinations that several processes share.

use std::net::SocketAddr;

use anyhow::{bail, ensure};
use clap::builder::RangedU64ValueParser;

use super::{Address, Host};

/// The longest wait that a setting may request, in seconds: a year. More overflows clocks.
pub const MAX_WAIT: u64 = 365 * 86_400;

/// The longest idle time that a setting may allow a peer, in seconds: the kernel's maximum for TCP
/// keepalive.
pub const MAX_SILENCE: u64 = 32_767;

/// The largest amount that a setting may have, in bytes or any other unit: far more than any
/// machine has, and small enough that sums of amounts do not overflow.
pub const MAX_AMOUNT: u64 = 1 << 50;

/// For `#[arg(value_parser)]` on an amount.
#[must_use]
pub fn amount() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(..=MAX_AMOUNT)
}

/// Addresses that this process binds, each with the flag it came from.
pub type Bound = (&'static str, SocketAddr);

/// Rejects addresses that conflict with each other. One flag may have both `0.0.0.0` and `[::]`
/// with the same port: `[::]` is then bound for IPv6 only.
///
/// # Errors
/// Names the two addresses.
pub fn check_bound(bound: &[Bound]) -> anyhow::Result<()> {
    for (index, (flag, addr)) in bound.iter().enumerate() {
        let conflict = bound[..index].iter().find(|(other_flag, other)| {
            let split = flag == other_flag && addr.is_ipv4() != other.is_ipv4();
            !split && overlaps(*addr, *other)
        });
        match conflict {
            None => {}
            Some((other_flag, other)) if addr != other => {
                bail!("{flag} {addr} overlaps: {other_flag} {other}")
            }
            Some((other_flag, _)) if flag == other_flag => bail!("{flag}: {addr} is given twice"),
            Some((other_flag, other)) => {
                bail!("{flag} {addr} is given twice: {other_flag} {other}")
            }
        }
    }
    Ok(())
}

/// Whether at most one of the two can be bound.
fn overlaps(one: SocketAddr, other: SocketAddr) -> bool {
    if one.port() != other.port() || one.port() == 0 {
        return false;
    }
    let (one, other) = (one.ip().to_canonical(), other.ip().to_canonical());
    let covers = |wide: std::net::IpAddr, narrow: std::net::IpAddr| {
        // An unspecified IPv6 address takes IPv4 as well.
        wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4())
    };
    one == other || covers(one, other) || covers(other, one)
}

/// Checks `--register-address`.
///
/// # Errors
/// When the list is empty, or an address is a duplicate, has port 0, or is one of this process.
pub fn check_registers(registers: &[Address], own: &[Bound]) -> anyhow::Result<()> {
    const FLAG: &str = "--register-address";
    ensure!(!registers.is_empty(), "{FLAG} is empty");
    for (index, register) in registers.iter().enumerate() {
        ensure!(
            register.port != 0,
            "{FLAG}: {register} has port 0, which no register can listen on"
        );
        ensure!(!registers[..index].contains(register), "{FLAG}: {register} is given twice");
        let is_own = |addr: &SocketAddr| {
            let own = addr.ip().to_canonical();
            let reaches_own = match &register.host {
                Host::Ip(ip) => ip.to_canonical() == own,
                Host::Name(_) => own.is_loopback() && register.host.is_loopback(),
            };
            let same_host = reaches_own || (own.is_unspecified() && register.host.is_loopback());
            same_host && addr.port() == register.port
        };
        if let Some((flag, _)) = own.iter().find(|(_, addr)| is_own(addr)) {
            bail!("{FLAG}: {register} is this process itself, see {flag}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn conflicting_addresses_are_rejected_by_name() {
        for (one, other) in [
            (("--listen", "127.0.0.1:1"), ("--listen", "127.0.0.1:1")),
            (("--listen", "0.0.0.0:1"), ("--listen", "127.0.0.1:1")),
            (("--listen", "[::1]:1"), ("--listen", "[::]:1")),
            (("--listen", "0.0.0.0:1"), ("--lan-port", "127.0.0.1:1")),
            (("--listen", "127.0.0.1:1"), ("--admin-listen", "[::]:1")),
            (("--listen", "127.0.0.1:1"), ("--admin-listen", "[::ffff:127.0.0.1]:1")),
        ] {
            let error = check_bound(&[(one.0, addr(one.1)), (other.0, addr(other.1))]).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(one.0) && error.contains(other.0), "{error}");
            assert!(error.contains(other.1), "{error}");
        }
    }

    #[test]
    fn compatible_addresses_are_accepted() {
        for (one, other) in [
            ("127.0.0.1:1", "127.0.0.1:2"),
            ("127.0.0.1:1", "127.0.0.2:1"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("0.0.0.0:1", "[::]:1"),
            ("[::]:1", "127.0.0.1:1"),
            ("[::1]:1", "127.0.0.1:1"),
        ] {
            check_bound(&[("--listen", addr(one)), ("--listen", addr(other))]).unwrap();
        }
    }

    #[test]
    fn invalid_register_addresses_are_rejected() {
        let own = [("--lan-port", addr("127.0.0.1:2900")), ("--listen", addr("0.0.0.0:7272"))];
        for (registers, why) in [
            (&[][..], "empty"),
            (&["127.0.0.1:1", "127.0.0.1:1"], "twice"),
            (&["register:1", "register:1"], "twice"),
            (&["127.0.0.1:0"], "port 0"),
            (&["127.0.0.1:2900"], "--lan-port"),
            (&["localhost:2900"], "--lan-port"),
            (&["127.0.0.1:7272"], "--listen"),
        ] {
            let registers: Vec<Address> = registers.iter().map(|it| it.parse().unwrap()).collect();
            let error = check_registers(&registers, &own).unwrap_err().to_string();
            assert!(error.contains("--register-address") && error.contains(why), "{error}");
        }
        let registers = ["127.0.0.1:1236", "10.0.0.1:2900", "register:2900"];
        let registers = registers.map(|it| it.parse().unwrap());
        check_registers(&registers, &own).unwrap();
    }
}
