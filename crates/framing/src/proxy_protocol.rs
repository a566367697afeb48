//! The PROXY protocol, versions 1 and 2: the header in which a proxy names the client of a
//! connection (HAProxy's `doc/proxy-protocol.txt`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// Maximum size of a header in bytes. Version 1 allows 107, and version 2 extensions (TLV) of up to
/// 64 KiB, of which proxies use a few hundred.
pub const MAX_HEADER: usize = 4096;

/// Maximum size of a version 1 header in bytes, with its line end.
const MAX_LINE: usize = 107;

const PREFIX: &[u8] = b"PROXY ";

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of a version 2 header before the addresses.
const FIXED: usize = 16;

/// The source of a connection, as its proxy states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The client's address.
    Client(SocketAddr),
    /// The proxy itself (a health check), or an address of a family that is not IP: the address of
    /// the connection applies.
    Connection,
}

/// A connection that does not begin with a valid header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidHeader {
    /// The first bytes are of neither version.
    #[error("no PROXY header")]
    Missing,
    /// A line of version 1 that is malformed or too long.
    #[error("malformed PROXY line")]
    Line,
    /// A version, command or length of version 2 that is not defined.
    #[error("malformed binary PROXY header")]
    Binary,
    /// A version 2 header over [`MAX_HEADER`] bytes.
    #[error("PROXY header of {0} bytes exceeds the limit of {MAX_HEADER} bytes")]
    TooLong(usize),
}

/// Parses the header at the start of a connection. Returns the source and the length of the header
/// in bytes, or `None` if it is incomplete.
///
/// # Errors
/// When the bytes are no valid header. The connection must be closed then: the protocol forbids
/// guessing whether a header is present.
pub fn parse(bytes: &[u8]) -> Result<Option<(Source, usize)>, InvalidHeader> {
    if is_start_of(bytes, SIGNATURE) {
        return binary(bytes);
    }
    if is_start_of(bytes, PREFIX) {
        return line(bytes);
    }
    Err(InvalidHeader::Missing)
}

/// Whether `bytes` begin with `expected`, as far as there are any.
fn is_start_of(bytes: &[u8], expected: &[u8]) -> bool {
    let common = bytes.len().min(expected.len());
    bytes[..common] == expected[..common]
}

fn line(bytes: &[u8]) -> Result<Option<(Source, usize)>, InvalidHeader> {
    let searched = &bytes[..bytes.len().min(MAX_LINE)];
    let Some(end) = searched.windows(2).position(|pair| pair == b"\r\n") else {
        return if searched.len() == MAX_LINE { Err(InvalidHeader::Line) } else { Ok(None) };
    };
    let text = std::str::from_utf8(&bytes[PREFIX.len().min(end)..end]);
    let source = source_of_line(text.map_err(|_| InvalidHeader::Line)?);
    Ok(Some((source.ok_or(InvalidHeader::Line)?, end + 2)))
}

fn source_of_line(text: &str) -> Option<Source> {
    let mut words = text.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(Source::Connection);
    }
    let (source, destination) = (words.next()?, words.next()?);
    let (source, _): (IpAddr, IpAddr) = match family {
        "TCP4" => (ip::<Ipv4Addr>(source)?, ip::<Ipv4Addr>(destination)?),
        "TCP6" => (ip::<Ipv6Addr>(source)?, ip::<Ipv6Addr>(destination)?),
        _ => return None,
    };
    let (port, _) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then(|| client(source, port))
}

fn ip<A: std::str::FromStr + Into<IpAddr>>(text: &str) -> Option<IpAddr> {
    text.parse::<A>().ok().map(Into::into)
}

/// A port as the protocol writes it: digits, without leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_canonical = text == "0" || text.starts_with(|first| matches!(first, '1'..='9'));
    is_canonical.then(|| text.parse().ok()).flatten()
}

fn client(ip: IpAddr, port: u16) -> Source {
    Source::Client(SocketAddr::new(ip.to_canonical(), port))
}

fn binary(bytes: &[u8]) -> Result<Option<(Source, usize)>, InvalidHeader> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(None);
    };
    let [.., version_and_command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if MAX_HEADER < FIXED + length {
        return Err(InvalidHeader::TooLong(FIXED + length));
    }
    let is_local = match version_and_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(InvalidHeader::Binary),
    };
    let Some(addresses) = rest.get(..length) else {
        return Ok(None);
    };
    let source = match family {
        _ if is_local => Some(Source::Connection),
        0x11 => tcp4(addresses),
        0x21 => tcp6(addresses),
        // Unspecified, UDP or a Unix socket.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Some(Source::Connection),
        _ => None,
    };
    Ok(Some((source.ok_or(InvalidHeader::Binary)?, FIXED + length)))
}

/// Source and destination address, source and destination port; extensions follow.
fn tcp4(addresses: &[u8]) -> Option<Source> {
    let (source, rest) = addresses.split_first_chunk::<4>()?;
    Some(client(Ipv4Addr::from_octets(*source).into(), source_port::<4>(rest)?))
}

fn tcp6(addresses: &[u8]) -> Option<Source> {
    let (source, rest) = addresses.split_first_chunk::<16>()?;
    Some(client(Ipv6Addr::from_octets(*source).into(), source_port::<16>(rest)?))
}

/// The source port, behind a destination address of `N` bytes and before a destination port.
fn source_port<const N: usize>(rest: &[u8]) -> Option<u16> {
    let ports = rest.get(N..N + 4)?;
    Some(u16::from_be_bytes([ports[0], ports[1]]))
}

#[cfg(test)]
mod tests;
