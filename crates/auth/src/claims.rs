//! The claims of a token, checked against limits and the time.

use protocol::{Group, Session, TokenId, Uid, name::MAX_NAME};
use serde::Deserialize;
use serde_json::{Map, Number, Value};

use crate::{Rejection, Rules, verify::LEEWAY};

/// The most groups that a token may name (`gw.groups`).
pub const MAX_GROUPS: usize = 100;

/// The largest session that a token may have (`gw.session`), as JSON, in bytes.
pub const MAX_SESSION: usize = 4 * 1024;

/// The claims of a valid token, as far as a gateway uses them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The token's user, id and time.
    pub identity: Identity,
    /// Groups that the client joins when it connects (`gw.groups`).
    pub groups: Vec<Group>,
    /// Its session when it connects (`gw.session`); empty if none.
    pub session: Session,
    /// When the connection expires, in seconds since the Unix epoch (`gw.expire_at`, or else
    /// `exp`); `None`: never.
    pub expires_at: Option<u64>,
}

/// The parts of a token that revocations and renewals compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user (`sub`); `None`: anonymous.
    pub uid: Option<Uid>,
    /// The token's id (`jti`).
    pub id: Option<TokenId>,
    /// When it was issued (`iat`), in seconds since the Unix epoch.
    pub issued_at: Option<u64>,
}

/// The claims as JSON has them. Unknown ones are ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct RawClaims {
    sub: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    iat: Option<Value>,
    jti: Option<Value>,
    iss: Option<Value>,
    aud: Option<Value>,
    gw: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
struct RawGateway {
    groups: Option<Vec<String>>,
    session: Option<Map<String, Value>>,
    expire_at: Option<Number>,
}

impl Claims {
    /// Reads and checks the claims of a token at `now`, in seconds since the Unix epoch: the JSON of
    /// its payload, whose signature is not verified here.
    ///
    /// # Errors
    /// When they are not a JSON object, or the rules or limits do not accept them.
    pub fn parse(payload: &[u8], rules: &Rules, now: u64) -> Result<Self, Rejection> {
        let claims: RawClaims =
            serde_json::from_slice(payload).map_err(|_| Rejection::Malformed)?;
        claims.check(rules, now)
    }
}

impl RawClaims {
    /// Checks the claims at `now`, in seconds since the Unix epoch.
    pub(crate) fn check(self, rules: &Rules, now: u64) -> Result<Claims, Rejection> {
        let expires = seconds(self.exp, "exp")?.ok_or(Rejection::Claim("exp"))?;
        let not_before = seconds(self.nbf, "nbf")?;
        let issued_at = seconds(self.iat, "iat")?;
        if expires.saturating_add(LEEWAY) <= now {
            return Err(Rejection::Expired);
        }
        let latest = now.saturating_add(LEEWAY);
        // A time of issue that has not come would make the token survive revocations.
        if not_before.max(issued_at).is_some_and(|time| latest < time) {
            return Err(Rejection::NotYet);
        }
        if latest.saturating_add(rules.max_lifetime) < expires {
            return Err(Rejection::TooLongLived);
        }
        let issuer = text(self.iss, "iss")?;
        if !rules.issuers.is_empty() && !issuer.is_some_and(|it| rules.issuers.contains(&it)) {
            return Err(Rejection::Issuer);
        }
        let audiences = texts(self.aud)?;
        if !rules.audiences.is_empty() && !audiences.iter().any(|it| rules.audiences.contains(it)) {
            return Err(Rejection::Audience);
        }
        let uid = match text(self.sub, "sub")?.filter(|sub| !sub.is_empty()) {
            Some(sub) => Some(Uid::new(sub).map_err(|_| Rejection::Claim("sub"))?),
            None if rules.allow_anonymous => None,
            None => return Err(Rejection::Anonymous),
        };
        let id = text(self.jti, "jti")?.filter(|id| !id.is_empty());
        let id = id.map(TokenId::new).transpose().map_err(|_| Rejection::Claim("jti"))?;
        let gateway = match self.gw {
            None => RawGateway::default(),
            Some(gateway) => serde_json::from_value(gateway).map_err(|_| Rejection::Claim("gw"))?,
        };
        let expires_at = match gateway.expire_at.map(|it| whole(&it)) {
            None => Some(expires),
            Some(None) => return Err(Rejection::Claim("gw.expire_at")),
            Some(Some(0)) => None,
            Some(Some(time)) if time.saturating_add(LEEWAY) <= now => {
                return Err(Rejection::Expired);
            }
            Some(time) => time,
        };
        Ok(Claims {
            identity: Identity { uid, id, issued_at },
            groups: groups(gateway.groups.unwrap_or_default())?,
            session: session(gateway.session.unwrap_or_default())?,
            expires_at,
        })
    }
}

fn groups(names: Vec<String>) -> Result<Vec<Group>, Rejection> {
    if MAX_GROUPS < names.len() {
        return Err(Rejection::Claim("gw.groups"));
    }
    let groups = names.into_iter().map(Group::new).collect::<Result<Vec<_>, _>>();
    groups.map_err(|_| Rejection::Claim("gw.groups"))
}

fn session(object: Map<String, Value>) -> Result<Session, Rejection> {
    let session = Session::encode(&object).map_err(|_| Rejection::Claim("gw.session"))?;
    match session.as_encoded().len() {
        ..=MAX_SESSION => Ok(session),
        _ => Err(Rejection::Claim("gw.session")),
    }
}

/// A time in seconds since the Unix epoch (RFC 7519, 2), without its fraction.
fn seconds(claim: Option<Value>, name: &'static str) -> Result<Option<u64>, Rejection> {
    match claim {
        None => Ok(None),
        Some(Value::Number(number)) => whole(&number).map(Some).ok_or(Rejection::Claim(name)),
        Some(_) => Err(Rejection::Claim(name)),
    }
}

fn whole(number: &Number) -> Option<u64> {
    /// Above, a floating-point number does not have single seconds.
    const MOST: f64 = (1_u64 << 53) as f64;
    let float = || number.as_f64().filter(|it| (0.0..MOST).contains(it)).map(|it| it as u64);
    number.as_u64().or_else(float)
}

fn text(claim: Option<Value>, name: &'static str) -> Result<Option<String>, Rejection> {
    match claim {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= MAX_NAME => Ok(Some(text)),
        Some(_) => Err(Rejection::Claim(name)),
    }
}

/// One audience, or a list of them.
fn texts(claim: Option<Value>) -> Result<Vec<String>, Rejection> {
    match claim {
        Some(Value::Array(items)) => {
            let items = items.into_iter().map(|item| text(Some(item), "aud"));
            Ok(items.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        }
        other => Ok(text(other, "aud")?.into_iter().collect()),
    }
}
