//! `token`: makes and verifies tokens of clients.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use auth::{Claims, Keys, LEEWAY, Rules, Signer};
use clap::Subcommand;
use protocol::AccessToken;
use runtime::files;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Context;
use crate::{
    failure::Failure,
    names::{Name, plain},
    output::{Page, Paint, View, age, utc},
};

/// The longest token that is read from standard input, in bytes.
const MAX_TOKEN: u64 = 16 * 1024;

/// Makes and verifies tokens.
#[derive(Debug, clap::Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token, and write it to standard output
    Make(Make),
    /// Verify a token as a gateway does, and show its claims
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
struct Make {
    /// Key to sign with: the JSON Web Key Set of --jwt-keys (its secret for HS256), or a private
    /// key in PEM (RSA, P-256 or Ed25519)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// Id of the key (kid); of a set with several secrets it selects one
    #[arg(long, value_name = "ID")]
    kid: Option<String>,

    /// User (sub); without it, the token is that of an anonymous client
    #[arg(long)]
    uid: Option<String>,

    /// Lifetime of the token
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    expires_in: u64,

    /// Group that the client joins (repeatable)
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,

    /// Session of the client, a JSON object
    #[arg(long, value_name = "JSON")]
    session: Option<String>,

    /// Id of the token (jti), by which it can be revoked
    #[arg(long, value_name = "ID")]
    id: Option<String>,

    /// Audience (aud), as in --jwt-audience
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,

    /// Issuer (iss), as in --jwt-issuer
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,

    /// Further claim (repeatable); VALUE is JSON, or else text
    #[arg(long, value_name = "NAME=VALUE")]
    claim: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// The keys of --jwt-keys (repeatable)
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,

    /// Required audience (repeatable), as --jwt-audience of the gateway
    #[arg(long, value_name = "NAME")]
    audience: Vec<String>,

    /// Required issuer (repeatable), as --jwt-issuer of the gateway
    #[arg(long, value_name = "NAME")]
    issuer: Vec<String>,

    /// How far ahead the token may expire, as --jwt-max-lifetime of the gateway
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    max_lifetime: u64,

    /// Accept a token without a user, as --jwt-allow-anonymous of the gateway
    #[arg(long)]
    allow_anonymous: bool,

    /// The token; `-`, the default, reads it from standard input, where other users do not see it
    #[arg(value_name = "TOKEN", default_value = "-")]
    token: String,
}

#[derive(Debug, Serialize)]
struct Made {
    token: String,
    claims: Value,
}

#[derive(Debug, Serialize)]
struct Verified {
    valid: bool,
    uid: Option<Name>,
    id: Option<String>,
    groups: Vec<Name>,
    /// Bytes of the session.
    session_bytes: usize,
    /// Seconds since the Unix epoch.
    issued_at: Option<u64>,
    /// When the connection expires, in seconds since the Unix epoch; null: never.
    expires_at: Option<u64>,
}

impl Token {
    pub(crate) fn run(self, context: &Context) -> Result<u8, Failure> {
        match self.action {
            Action::Make(make) => context.output.show(&make.make(now())?),
            Action::Verify(verify) => context.output.show(&verify.verify(now())?),
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = files::read(path, files::LIMIT);
    read.map_err(|error| Failure::usage(format!("--key {}: {error}", path.display())))
}

impl Make {
    fn make(self, now: u64) -> Result<Made, Failure> {
        let invalid = |error| {
            let file = self.key.display();
            Failure::usage(format!("--key {file}: {error}")).next("docs/tokens.md lists the keys")
        };
        let signer = Signer::parse(&read(&self.key)?, self.kid.as_deref()).map_err(invalid)?;
        let claims = Value::Object(self.claims(now)?);
        let token = signer.sign(&claims).map_err(invalid)?;
        Ok(Made { token, claims })
    }

    fn claims(&self, now: u64) -> Result<Map<String, Value>, Failure> {
        let mut claims = Map::new();
        let texts =
            [("sub", &self.uid), ("jti", &self.id), ("aud", &self.audience), ("iss", &self.issuer)];
        for (name, text) in texts {
            if let Some(text) = text {
                claims.insert(name.to_owned(), json!(text));
            }
        }
        claims.insert("iat".to_owned(), json!(now));
        claims.insert("exp".to_owned(), json!(now.saturating_add(self.expires_in)));
        let mut gateway = Map::new();
        if !self.group.is_empty() {
            gateway.insert("groups".to_owned(), json!(self.group));
        }
        if let Some(session) = &self.session {
            let session: Map<String, Value> = serde_json::from_str(session)
                .map_err(|error| Failure::usage(format!("--session is no JSON object: {error}")))?;
            gateway.insert("session".to_owned(), Value::Object(session));
        }
        if !gateway.is_empty() {
            claims.insert("gw".to_owned(), Value::Object(gateway));
        }
        for claim in &self.claim {
            let Some((name, value)) = claim.split_once('=') else {
                return Err(Failure::usage(format!("--claim {claim}: not NAME=VALUE")));
            };
            let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
            claims.insert(name.to_owned(), value);
        }
        Ok(claims)
    }
}

impl Verify {
    fn verify(self, now: u64) -> Result<Verified, Failure> {
        let mut keys = Keys::default();
        for file in &self.key {
            let invalid = |error| Failure::usage(format!("--key {}: {error}", file.display()));
            let more = Keys::parse(&read(file)?).map_err(invalid)?;
            keys = keys.and(more).map_err(invalid)?;
        }
        let token = AccessToken::new(self.token()?.trim())
            .map_err(|error| Failure::usage(error.to_string()))?;
        let rules = Rules {
            audiences: self.audience,
            issuers: self.issuer,
            max_lifetime: self.max_lifetime,
            allow_anonymous: self.allow_anonymous,
        };
        let refused = |rejection| {
            Failure::new(format!("a gateway refuses this token: {rejection}"))
                .next(format!("clocks may differ by {LEEWAY} s; docs/tokens.md lists the claims"))
        };
        let claims = rules.verify(&keys, &token, now).map_err(refused)?;
        let Claims { identity, groups, session, expires_at } = claims;
        Ok(Verified {
            valid: true,
            uid: identity.uid.as_ref().map(Name::from),
            id: identity.id.map(|id| id.to_string()),
            groups: groups.iter().map(Name::from).collect(),
            session_bytes: session.as_encoded().len(),
            issued_at: identity.issued_at,
            expires_at,
        })
    }

    fn token(&self) -> Result<String, Failure> {
        if self.token != "-" {
            return Ok(self.token.clone());
        }
        let mut token = String::new();
        let read = io::stdin().lock().take(MAX_TOKEN).read_to_string(&mut token);
        read.map_err(|error| Failure::new(format!("standard input: {error}")))?;
        Ok(token)
    }
}

impl View for Made {
    fn show(&self, page: &mut Page) {
        page.line(&self.token);
    }
}

impl View for Verified {
    fn show(&self, page: &mut Page) {
        page.painted(Paint::Green, "valid");
        let time = |seconds: u64| utc(seconds.saturating_mul(1000));
        let groups: Vec<String> = self.groups.iter().map(Name::plain).collect();
        let expires = self.expires_at.map_or_else(
            || "never".to_owned(),
            |at| {
                let left = Duration::from_secs(at.saturating_sub(now()));
                format!("{}, in {}", time(at), age(left))
            },
        );
        page.fields(&[
            ("uid", self.uid.as_ref().map_or_else(|| "none".to_owned(), Name::plain)),
            ("id", self.id.as_deref().map(plain).unwrap_or_default()),
            ("groups", groups.join(", ")),
            ("session", format!("{} bytes", self.session_bytes)),
            ("issued", self.issued_at.map(time).unwrap_or_default()),
            ("expires", expires),
        ]);
    }
}
