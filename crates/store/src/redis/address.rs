//! The address of a Redis server.

use std::{fmt, path::PathBuf, str::FromStr};

use percent_encoding::percent_decode_str;
use thiserror::Error;

/// `redis://[user:password@]host[:port][/database]`; `rediss://` for TLS, with `?ca=FILE` for a CA of
/// its own. Percent-encoded characters are decoded. `Display` and `Debug` leave out the password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAddress {
    pub(super) is_tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: u32,
    pub(super) ca: Option<PathBuf>,
}

/// Not the address of a Redis server. Shows nothing of it, since it may have a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the address of Redis is redis://[user:password@]host[:port][/database], or rediss:// for TLS"
)]
pub struct InvalidRedisAddress;

impl FromStr for RedisAddress {
    type Err = InvalidRedisAddress;

    fn from_str(text: &str) -> Result<Self, InvalidRedisAddress> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidRedisAddress)?;
        let is_tls = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return Err(InvalidRedisAddress),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let ca = match query.split_once('=') {
            None if query.is_empty() => None,
            Some(("ca", file)) if is_tls && !file.is_empty() => Some(decoded(file)?.into()),
            _ => return Err(InvalidRedisAddress),
        };
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let database = match database {
            "" => 0,
            number => digits(number)?,
        };
        let (login, server) = match authority.rsplit_once('@') {
            Some((login, server)) => (Some(login), server),
            None => (None, authority),
        };
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, "")))
        {
            Some((user, password)) => {
                let given = |text: &str| (!text.is_empty()).then(|| decoded(text)).transpose();
                (given(user)?, given(password)?)
            }
            None => (None, None),
        };
        if login.is_some() && password.is_none() {
            return Err(InvalidRedisAddress);
        }
        let (host, port) = host_and_port(server)?;
        Ok(Self { is_tls, host, port, user, password, database, ca })
    }
}

fn decoded(text: &str) -> Result<String, InvalidRedisAddress> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| InvalidRedisAddress)?;
    Ok(decoded.into_owned())
}

fn digits<N: FromStr>(text: &str) -> Result<N, InvalidRedisAddress> {
    let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok()).flatten();
    number.ok_or(InvalidRedisAddress)
}

fn host_and_port(server: &str) -> Result<(String, u16), InvalidRedisAddress> {
    let (host, rest) = match server.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or(InvalidRedisAddress)?,
        None => server.split_at(server.find(':').unwrap_or(server.len())),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => digits(port)?,
        None if rest.is_empty() => 6379,
        None => return Err(InvalidRedisAddress),
    };
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte);
    match !host.is_empty() && port != 0 && host.bytes().all(is_valid) {
        true => Ok((host.to_owned(), port)),
        false => Err(InvalidRedisAddress),
    }
}

impl RedisAddress {
    /// Host and port, to connect to.
    pub(super) fn server(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "rediss" } else { "redis" };
        write!(f, "{scheme}://{}", self.server())?;
        match self.database {
            0 => Ok(()),
            database => write!(f, "/{database}"),
        }
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisAddress({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_has_its_parts() {
        let plain: RedisAddress = "redis://cache".parse().unwrap();
        assert_eq!(
            (plain.server().as_str(), plain.database, plain.is_tls),
            ("cache:6379", 0, false)
        );
        let text = "rediss://app:p%40ss%3Aw%2Frd@10.0.0.1:6380/2?ca=/etc/ca.pem";
        let full: RedisAddress = text.parse().unwrap();
        assert_eq!(full.user.as_deref(), Some("app"));
        assert_eq!(full.password.as_deref(), Some("p@ss:w/rd"));
        assert_eq!((full.server().as_str(), full.database), ("10.0.0.1:6380", 2));
        assert_eq!(full.ca, Some("/etc/ca.pem".into()));
        let password: RedisAddress = "redis://:secret@[::1]:7000/15".parse().unwrap();
        assert_eq!((password.user.as_ref(), password.password.as_deref()), (None, Some("secret")));
        assert_eq!(password.server(), "[::1]:7000");
    }

    #[test]
    fn password_is_not_shown() {
        let address: RedisAddress = "redis://app:secret@cache:6380/2".parse().unwrap();
        for shown in [address.to_string(), format!("{address:?}")] {
            assert!(shown.contains("redis://cache:6380/2") && !shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn invalid_addresses_are_refused_without_showing_them() {
        for text in [
            "",
            "redis",
            "redis:",
            "redis:cache",
            "redis://",
            "redis://:6379",
            "redis://a b",
            "redis://cache:",
            "redis://cache:0",
            "redis://cache:65536",
            "redis://cache:+1",
            "redis://cache/one",
            "redis://cache/1/2",
            "redis://user@cache",
            "redis://@cache",
            "redis://cache?ca=/ca.pem",
            "rediss://cache?cert=/ca.pem",
            "rediss://cache?ca=",
            "redis://[::1",
            "redis://:%ff@cache",
            "http://cache",
            "redis://ca\r\nche",
        ] {
            let error = text.parse::<RedisAddress>().unwrap_err();
            assert!(error.to_string().contains("redis://[user:password@]host"), "{text}");
        }
    }
}
