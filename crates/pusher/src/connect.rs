//! The request that a connection begins with: app key, protocol number, client library.

use protocol::Handshake;

use crate::client_message::cut;

/// The protocol numbers that are spoken.
const PROTOCOLS: std::ops::RangeInclusive<u32> = 4..=7;

/// The protocol number of a client that names none.
const LATEST: u32 = 7;

/// Up to this one, clients expect the code of a close as an event before it as well.
const LAST_WITH_ERROR_EVENTS: u32 = 5;

/// A connection that asks for an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    /// The key of the app.
    pub key: &'a str,
    /// The name of the client library, at most 64 bytes; empty if it names none.
    pub client: &'a str,
    /// The origin of the page, if it is a browser.
    pub origin: Option<&'a str>,
}

/// Why a connection is closed, and with which code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Refused {
    /// No app has this key.
    UnknownKey,
    /// The app is disabled.
    Disabled,
    /// The app has as many clients as it may have.
    OverQuota,
    /// The path is not `/app/` and a key.
    Path,
    /// The protocol number is no number.
    Version,
    /// The protocol number is not one of 4 to 7.
    Protocol,
    /// The origin of the page is not allowed.
    Origin,
    /// The client was neither signed in nor subscribed to a channel that needs a signature in time.
    Unauthorized,
    /// The client has sent too much that is not of this protocol.
    Faults,
}

impl Refused {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::UnknownKey,
        Self::Disabled,
        Self::OverQuota,
        Self::Path,
        Self::Version,
        Self::Protocol,
        Self::Origin,
        Self::Unauthorized,
        Self::Faults,
    ];

    /// The close code, which says whether clients come back.
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::UnknownKey => 4001,
            Self::Disabled => 4003,
            Self::OverQuota => 4004,
            Self::Path => 4005,
            Self::Version => 4006,
            Self::Protocol => 4007,
            Self::Origin | Self::Unauthorized => 4009,
            Self::Faults => 4100,
        }
    }

    /// The reason.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::UnknownKey => "No app has this key",
            Self::Disabled => "The app is disabled",
            Self::OverQuota => "The app is over its connection quota",
            Self::Path => "Path not found: it is /app/ and the key of an app",
            Self::Version => "The protocol is not a number",
            Self::Protocol => "Unsupported protocol: supported are 4 to 7",
            Self::Origin => "The origin is not allowed",
            Self::Unauthorized => "Connection not authorized within timeout",
            Self::Faults => "Too many invalid messages",
        }
    }
}

/// The protocol number of a connection: as the client names it, the latest if it names none.
///
/// # Errors
/// If it is not one that is spoken.
pub(crate) fn protocol(handshake: &Handshake) -> Result<u32, Refused> {
    let Some(number) = parameter(handshake, "protocol") else { return Ok(LATEST) };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    match number.parse() {
        _ if !is_number => Err(Refused::Version),
        Ok(number) if PROTOCOLS.contains(&number) => Ok(number),
        _ => Err(Refused::Protocol),
    }
}

/// Whether clients of a protocol number expect the code of a close as an event before it as well.
/// Those that name no valid number may be older than this protocol.
pub(crate) fn expects_error_event(handshake: &Handshake) -> bool {
    parameter(handshake, "protocol")
        .and_then(|number| number.parse::<u32>().ok())
        .is_some_and(|number| number <= LAST_WITH_ERROR_EVENTS)
}

/// Reads the request: the path ends with `/app/` and a key, whatever is before it.
///
/// # Errors
/// If it has another path, or another protocol.
pub(crate) fn request(handshake: &Handshake) -> Result<Request<'_>, Refused> {
    let key = handshake.path().rsplit_once("/app/").map(|(_, key)| key);
    let key = key.filter(|key| !key.is_empty() && !key.contains('/')).ok_or(Refused::Path)?;
    protocol(handshake)?;
    let client = parameter(handshake, "client").unwrap_or_default();
    Ok(Request { key, client: cut(client, 64), origin: handshake.header("Origin") })
}

/// The first parameter of a name in the query.
fn parameter<'a>(handshake: &'a Handshake, name: &str) -> Option<&'a str> {
    let pairs = handshake.query().split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, it)| it)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake(target: &str) -> Handshake {
        Handshake { target: target.to_owned(), headers: Vec::new() }
    }

    #[test]
    fn path_ends_with_the_key_behind_any_prefix() {
        for target in
            ["/app/k1?protocol=7&client=js", "/ws/app/k1?client=js", "/app/app/k1?client=js"]
        {
            let handshake = handshake(target);
            let expected = Request { key: "k1", client: "js", origin: None };
            assert_eq!(request(&handshake), Ok(expected), "{target}");
        }
        for target in
            ["/", "/app", "/app/", "/app/k1/x", "/apps/k1", "/xapp/k1", "app/k1", "/?/app/k1"]
        {
            assert_eq!(request(&handshake(target)), Err(Refused::Path), "{target}");
        }
    }

    #[test]
    fn protocol_is_checked() {
        for (query, expected) in [
            ("", Ok(7)),
            ("?client=js", Ok(7)),
            ("?protocol=4", Ok(4)),
            ("?a&b=&protocol=7", Ok(7)),
            ("?protocol=3", Err(Refused::Protocol)),
            ("?protocol=8", Err(Refused::Protocol)),
            ("?protocol=99999999999", Err(Refused::Protocol)),
            ("?protocol=", Err(Refused::Version)),
            ("?protocol=seven", Err(Refused::Version)),
            ("?protocol=-7", Err(Refused::Version)),
            ("?protocol=%37", Err(Refused::Version)),
        ] {
            let handshake = handshake(&format!("/app/k{query}"));
            assert_eq!(protocol(&handshake), expected, "{query}");
            assert_eq!(request(&handshake).is_ok(), expected.is_ok(), "{query}");
        }
    }

    #[test]
    fn error_event_precedes_a_close_up_to_protocol_five() {
        for (query, expected) in
            [("?protocol=3", true), ("?protocol=5", true), ("?protocol=6", false), ("", false)]
        {
            assert_eq!(expects_error_event(&handshake(&format!("/app/k{query}"))), expected);
        }
    }

    #[test]
    fn name_of_the_client_is_bounded() {
        let handshake = handshake(&format!("/app/k?client={}", "é".repeat(100)));
        assert_eq!(request(&handshake).unwrap().client.len(), 64);
    }
}
