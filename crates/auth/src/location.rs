//! Where a handshake carries a token, and its removal from there.
//!
//! The request is passed on to workers and its parts may be logged, so a token does not stay in it.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use protocol::{AccessToken, Handshake, Header};

use crate::Rejection;

/// Prefix of the subprotocol that carries a token: `gw.auth.TOKEN`.
pub const SUBPROTOCOL: &str = "gw.auth.";

/// Replaces a token in the request: valid in headers, queries and cookies.
const REDACTED: &str = "redacted";

/// Names of query variables that carry a token.
const QUERY: [&str; 2] = ["token", "access_token"];

/// Where a token was found. A request may repeat it elsewhere; the first of this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    /// `Authorization: Bearer TOKEN`.
    Authorization,
    /// `Sec-WebSocket-Protocol: gw.auth.TOKEN`, beside the real subprotocol.
    Subprotocol,
    /// `?token=TOKEN` or `?access_token=TOKEN`.
    Query,
    /// A cookie.
    Cookie,
}

/// A token and where it was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// The token, not verified.
    pub token: AccessToken,
    /// The first location that has it.
    pub location: Location,
}

/// Takes the token out of a handshake; `None` if it has none. Wherever it was, `redacted` is
/// instead, and the subprotocol is no longer offered. `cookie`: the name of the cookie that carries
/// it, if one may.
///
/// # Errors
/// [`Rejection::Ambiguous`] when there are several that differ, [`Rejection::Malformed`] when one
/// is too long or not text, [`Rejection::Origin`] when it is in a cookie only and the request has
/// no origin. The tokens are removed in these cases too.
pub fn take(handshake: &mut Handshake, cookie: Option<&str>) -> Result<Option<Found>, Rejection> {
    let mut found = Vec::new();
    for header in &mut handshake.headers {
        if header.name.eq_ignore_ascii_case("Authorization") {
            take_bearer(header, &mut found);
        } else if header.name.eq_ignore_ascii_case("Sec-WebSocket-Protocol") {
            take_subprotocol(header, &mut found);
        } else if header.name.eq_ignore_ascii_case("Cookie")
            && let Some(cookie) = cookie
        {
            take_cookie(header, cookie, &mut found);
        }
    }
    handshake.headers.retain(|header| {
        !header.value.is_empty() || !header.name.eq_ignore_ascii_case("Sec-WebSocket-Protocol")
    });
    take_query(&mut handshake.target, &mut found);
    found.sort_by_key(|(location, _)| *location);
    let Some((location, token)) = found.first() else {
        return Ok(None);
    };
    if found.iter().any(|(_, other)| other != token) {
        return Err(Rejection::Ambiguous);
    }
    let text = std::str::from_utf8(token).map_err(|_| Rejection::Malformed)?;
    let token = AccessToken::new(text).map_err(|_| Rejection::Malformed)?;
    if *location == Location::Cookie && handshake.header("Origin").is_none() {
        return Err(Rejection::Origin);
    }
    Ok(Some(Found { token, location: *location }))
}

type Tokens = Vec<(Location, Vec<u8>)>;

fn take_bearer(header: &mut Header, found: &mut Tokens) {
    const SCHEME: &[u8] = b"Bearer ";
    let Some((scheme, token)) = header.value.split_at_checked(SCHEME.len()) else {
        return;
    };
    let token = token.trim_ascii();
    if scheme.eq_ignore_ascii_case(SCHEME) && !token.is_empty() {
        found.push((Location::Authorization, token.to_vec()));
        header.value = format!("Bearer {REDACTED}").into();
    }
}

fn take_subprotocol(header: &mut Header, found: &mut Tokens) {
    let prefix = SUBPROTOCOL.as_bytes();
    let offered = header.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let (tokens, others): (Vec<_>, Vec<_>) = offered.partition(|name| name.starts_with(prefix));
    let tokens = tokens.iter().filter_map(|name| name.strip_prefix(prefix));
    let tokens = tokens.filter(|token| !token.is_empty()).map(<[u8]>::to_vec);
    let before = found.len();
    found.extend(tokens.map(|token| (Location::Subprotocol, token)));
    if before < found.len() {
        header.value = others.join(&b", "[..]);
    }
}

fn take_cookie(header: &mut Header, name: &str, found: &mut Tokens) {
    let before = found.len();
    let cookies = header.value.split(|byte| *byte == b';').map(|cookie| {
        let Some(at) = cookie.iter().position(|byte| *byte == b'=') else {
            return cookie.to_vec();
        };
        let (key, value) = (cookie[..at].trim_ascii(), cookie[at + 1..].trim_ascii());
        let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        let value = unquoted.unwrap_or(value);
        if key != name.as_bytes() || value.is_empty() {
            return cookie.to_vec();
        }
        found.push((Location::Cookie, value.to_vec()));
        [&cookie[..=at], REDACTED.as_bytes()].concat()
    });
    let cookies = cookies.collect::<Vec<_>>().join(&b';');
    if before < found.len() {
        header.value = cookies;
    }
}

fn take_query(target: &mut String, found: &mut Tokens) {
    let Some((path, query)) = target.split_once('?') else {
        return;
    };
    let before = found.len();
    let variables = query.split('&').map(|variable| {
        let Some((name, value)) = variable.split_once('=') else {
            return Cow::Borrowed(variable);
        };
        let key = percent_decoded(name);
        if value.is_empty() || !QUERY.iter().any(|name| name.as_bytes() == key) {
            return Cow::Borrowed(variable);
        }
        found.push((Location::Query, percent_decoded(value)));
        format!("{name}={REDACTED}").into()
    });
    let variables = variables.collect::<Vec<_>>().join("&");
    if before < found.len() {
        *target = format!("{path}?{variables}");
    }
}

/// Without percent-encoding. An invalid encoding stays as it is.
fn percent_decoded(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

#[cfg(test)]
mod tests;
