//! The flags of `--handshake-auth jwt`, and the tokens that they describe.

use std::{path::PathBuf, sync::Arc};

use anyhow::ensure;
use auth::Rules;
use clap::Args;
use serde::Serialize;

use crate::{settings::HandshakeAuth, tokens::Tokens};

/// Which tokens `--handshake-auth jwt` accepts.
#[derive(Debug, Args, Serialize)]
pub(super) struct JwtFlags {
    /// File of keys that sign clients' tokens (repeatable): a JSON Web Key Set with public keys and
    /// secrets (HS256, RS256, ES256, EdDSA), or a public key in PEM. Read again on SIGHUP
    #[arg(help_heading = "Tokens")]
    #[arg(long, value_name = "FILE")]
    jwt_keys: Vec<PathBuf>,

    /// Audience that tokens must name in 'aud' (repeatable: one of them) [default: any]
    #[arg(help_heading = "Tokens")]
    #[arg(long, value_name = "NAME")]
    jwt_audience: Vec<String>,

    /// Issuer that tokens must name in 'iss' (repeatable: one of them) [default: any]
    #[arg(help_heading = "Tokens")]
    #[arg(long, value_name = "NAME")]
    jwt_issuer: Vec<String>,

    /// Longest remaining life of a token in seconds: one that expires later is refused
    #[arg(help_heading = "Tokens")]
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    jwt_max_lifetime: u64,

    /// Accept tokens without 'sub'. Their clients have no uid
    #[arg(help_heading = "Tokens")]
    #[arg(long)]
    jwt_allow_anonymous: bool,

    /// Name of a cookie that may carry the token. Requires --allowed-origin
    #[arg(help_heading = "Tokens")]
    #[arg(long, value_name = "NAME")]
    jwt_cookie: Option<String>,

    /// File of revoked tokens and users (JSON). Read again on SIGHUP
    #[arg(help_heading = "Tokens")]
    #[arg(long, value_name = "FILE")]
    jwt_revocations: Option<PathBuf>,
}

impl JwtFlags {
    /// Checks the flags and reads the files; `None` without `--handshake-auth jwt`.
    ///
    /// # Errors
    /// When a flag or a file is invalid; the error names it.
    pub(super) fn read(
        self,
        auth: HandshakeAuth,
        allowed_origins: &[String],
    ) -> anyhow::Result<Option<Arc<Tokens>>> {
        if auth != HandshakeAuth::Jwt {
            for (flag, is_given) in [
                ("--jwt-keys", !self.jwt_keys.is_empty()),
                ("--jwt-audience", !self.jwt_audience.is_empty()),
                ("--jwt-issuer", !self.jwt_issuer.is_empty()),
                ("--jwt-allow-anonymous", self.jwt_allow_anonymous),
                ("--jwt-cookie", self.jwt_cookie.is_some()),
                ("--jwt-revocations", self.jwt_revocations.is_some()),
            ] {
                ensure!(!is_given, "{flag}: requires --handshake-auth jwt");
            }
            return Ok(None);
        }
        ensure!(!self.jwt_keys.is_empty(), "--handshake-auth: jwt requires --jwt-keys");
        for (flag, names) in
            [("--jwt-audience", &self.jwt_audience), ("--jwt-issuer", &self.jwt_issuer)]
        {
            ensure!(names.iter().all(|name| !name.is_empty()), "{flag}: must not be empty");
        }
        if let Some(cookie) = &self.jwt_cookie {
            let is_name =
                |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte);
            ensure!(
                !cookie.is_empty() && cookie.bytes().all(is_name),
                "--jwt-cookie: {cookie:?} is not the name of a cookie"
            );
            ensure!(
                !allowed_origins.is_empty(),
                "--jwt-cookie: requires --allowed-origin, since browsers add cookies to requests of \
                 any page"
            );
        }
        let rules = Rules {
            audiences: self.jwt_audience,
            issuers: self.jwt_issuer,
            max_lifetime: self.jwt_max_lifetime,
            allow_anonymous: self.jwt_allow_anonymous,
        };
        let tokens = Tokens::read(rules, self.jwt_cookie, self.jwt_keys, self.jwt_revocations)?;
        Ok(Some(Arc::new(tokens)))
    }
}
