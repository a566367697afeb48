//! The webhooks of the settings file: `[[webhook]]`.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use http::HeaderValue;
use protocol::Group;
use runtime::tls::HttpsClient;
use serde::{Deserialize, Serialize};
use service::settings::{Entry, Key, Refused, Table, TableFile};

use crate::{
    engine::{Delivery, Target},
    signature::{Secret, Secrets},
    url::HookUrl,
};

/// The most entries of one file.
pub const MAX_HOOKS: usize = 100;

/// The longest of the times, in seconds: a day.
const LONGEST: u64 = 24 * 60 * 60;

/// The most events of one batch.
const MOST_IN_BATCH: usize = 1_000;

/// The most requests at a time of one entry.
const MOST_IN_FLIGHT: usize = 10_000;

/// The most prefixes of groups of all entries together.
const MOST_GROUPS: usize = 64;

/// The most listener ports, headers or events of one entry.
const MOST_VALUES: usize = 100;

/// An entry `[[webhook]]`: a receiver of events.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    url: HookUrl,
    secret: Secrets,
    #[serde(default = "events")]
    events: Vec<Kind>,
    #[serde(default)]
    ports: Vec<u16>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    envelope: bool,
    #[serde(default = "timeout")]
    timeout: u64,
    #[serde(default = "connect_timeout")]
    connect_timeout: u64,
    #[serde(default = "message_retry")]
    message_retry: u64,
    #[serde(default = "retry")]
    retry: u64,
    #[serde(default = "max_in_flight")]
    max_in_flight: usize,
    #[serde(default = "batch")]
    batch: usize,
    ca: Option<PathBuf>,
    origin: Option<String>,
}

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A client connects; the answer accepts or refuses it.
    Connect,
    /// A client sends a message; the answer has replies and commands.
    Message,
    /// The connection of a client expires; the answer renews it.
    Refresh,
    /// A client is closed.
    Close,
    /// A group has its first client.
    Occupied,
    /// A group has no client any more.
    Vacated,
    /// A uid has its first client.
    Online,
    /// A uid has no client any more.
    Offline,
}

fn events() -> Vec<Kind> {
    Vec::from([Kind::Connect, Kind::Message, Kind::Close])
}

const fn timeout() -> u64 {
    10
}

const fn connect_timeout() -> u64 {
    3
}

const fn message_retry() -> u64 {
    30
}

const fn retry() -> u64 {
    300
}

const fn batch() -> usize {
    1
}

const fn max_in_flight() -> usize {
    256
}

const fn key(
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    meaning: &'static str,
) -> Key {
    Key { name, value, default, meaning }
}

const KEYS: &[Key] = &[
    key("url", "URL", None, "Receiver of the events, with `http://` or `https://`"),
    key(
        "secret",
        "`whsec_` and base64 of 24 to 64 bytes; or a list of them, at most 5",
        None,
        "Keys of the signatures (Standard Webhooks), one of each: several while one replaces \
         another",
    ),
    key(
        "events",
        "list of `connect`, `message`, `close`, `refresh`, `occupied`, `vacated`, `online`, `offline`",
        Some("`connect`, `message`, `close`"),
        "Kinds of events that the URL receives; `online` and `offline` from the next start on. \
         `connect`, `message` and `refresh` go to the first \
         entry that has them, the others to every one",
    ),
    key(
        "ports",
        "list of ports",
        Some("all"),
        "Listeners of the gateways whose clients this entry is for",
    ),
    key(
        "groups",
        "list of prefixes, at most 64",
        Some("none"),
        "Beginnings of the names of groups whose `occupied` and `vacated` the URL receives. A \
         change takes effect with the next start",
    ),
    key(
        "headers",
        "list of names",
        Some("none"),
        "Headers of the handshake that `gw.connect` contains, such as `cookie`",
    ),
    key(
        "envelope",
        "`true` or `false`",
        Some("`false`"),
        "`gw.message` as JSON with client, uid, session and message, in place of the message \
         itself",
    ),
    key("timeout", "SECONDS, 1 to 86400", Some("`10`"), "Time limit of a request"),
    key(
        "connect_timeout",
        "SECONDS, 1 to 86400",
        Some("`3`"),
        "Time limit of `gw.connect` with its retries; keep it below `--handshake-auth-timeout`",
    ),
    key(
        "message_retry",
        "SECONDS, 0 to 86400",
        Some("`30`"),
        "For how long `gw.message` is sent again; then its client is closed with 4503",
    ),
    key(
        "retry",
        "SECONDS, 0 to 86400",
        Some("`300`"),
        "For how long every other event is sent again; then it is dropped",
    ),
    key("max_in_flight", "N, 1 to 10000", Some("`256`"), "Maximum requests at a time"),
    key(
        "batch",
        "N, 1 to 1000",
        Some("`1`"),
        "Maximum events in one request, of those that no client waits for (`close`, `occupied`, \
         `vacated`, `online`, `offline`). With more than 1 they are sent as batches, and an answer \
         to them has no effect",
    ),
    key(
        "ca",
        "FILE",
        Some("those of the system"),
        "Certificates of the CAs that are trusted for `https://`, PEM",
    ),
    key(
        "origin",
        "text",
        Some("not set"),
        "Sent as `WebHook-Request-Origin`, and before the first event the URL must allow it in \
         an OPTIONS request",
    ),
];

impl Entry for Hook {
    const TABLE: Table = Table {
        name: "webhook",
        meaning: "A receiver of events (`--app webhook`). At most 100",
        keys: KEYS,
    };

    fn check(&self) -> Result<(), String> {
        if self.events.is_empty() {
            return Err("`events` is empty".to_owned());
        }
        for (name, count) in [
            ("events", self.events.len()),
            ("ports", self.ports.len()),
            ("headers", self.headers.len()),
        ] {
            if MOST_VALUES < count {
                return Err(format!("`{name}` has more than {MOST_VALUES} values"));
            }
        }
        for (name, seconds, least) in [
            ("timeout", self.timeout, 1),
            ("connect_timeout", self.connect_timeout, 1),
            ("message_retry", self.message_retry, 0),
            ("retry", self.retry, 0),
        ] {
            if !(least..=LONGEST).contains(&seconds) {
                return Err(format!("`{name}` must be {least} to {LONGEST} seconds"));
            }
        }
        if !(1..=MOST_IN_FLIGHT).contains(&self.max_in_flight) {
            return Err(format!("`max_in_flight` must be 1 to {MOST_IN_FLIGHT}"));
        }
        if !(1..=MOST_IN_BATCH).contains(&self.batch) {
            return Err(format!("`batch` must be 1 to {MOST_IN_BATCH}"));
        }
        let wants = |kind| self.events.contains(&kind);
        if (wants(Kind::Occupied) || wants(Kind::Vacated)) == self.groups.is_empty() {
            return Err("`groups` and the events `occupied`, `vacated` belong together".to_owned());
        }
        if MOST_GROUPS < self.groups.len() {
            return Err(format!("`groups` has more than {MOST_GROUPS} values"));
        }
        if !self.groups.iter().all(|prefix| Group::new(prefix).is_ok()) {
            return Err("`groups` contains an empty or too long prefix".to_owned());
        }
        if self.ports.contains(&0) {
            return Err("`ports` contains 0".to_owned());
        }
        let is_name = |name: &String| http::HeaderName::try_from(name).is_ok();
        if !self.headers.iter().all(is_name) {
            return Err("`headers` contains something that is no name of a header".to_owned());
        }
        let origin = self.origin.as_ref().map(|origin| HeaderValue::from_str(origin));
        if origin.is_some_and(|origin| origin.is_err()) {
            return Err("`origin` has a control character".to_owned());
        }
        if self.url.is_tls() {
            HttpsClient::new(self.ca.as_deref()).map_err(|error| format!("`ca`: {error:#}"))?;
        } else if self.ca.is_some() {
            return Err("`ca` is for a `url` with https://".to_owned());
        }
        Ok(())
    }
}

impl Hook {
    /// Whether it receives these events of clients of a listener.
    pub(crate) fn receives(&self, kind: Kind, port: u16) -> bool {
        self.events.contains(&kind) && (self.ports.is_empty() || self.ports.contains(&port))
    }

    /// Whether it receives these events of a group.
    pub(crate) fn receives_of_group(&self, kind: Kind, group: &Group) -> bool {
        let has_prefix = |prefix: &String| group.as_bytes().starts_with(prefix.as_bytes());
        self.events.contains(&kind) && self.groups.iter().any(has_prefix)
    }

    /// Whether it receives these events, of whichever client, group or uid.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.events.contains(&kind)
    }

    /// The receiver.
    pub(crate) fn target(&self) -> Target {
        Target {
            url: self.url.clone(),
            ca: self.ca.clone(),
            max_in_flight: self.max_in_flight,
            origin: self.origin.clone(),
        }
    }

    /// How its events are sent.
    pub(crate) const fn delivery(&self) -> Delivery {
        Delivery {
            timeout: Duration::from_secs(self.timeout),
            retry: Duration::from_secs(self.retry),
            retry_refused: false,
        }
    }

    /// How messages are sent.
    pub(crate) const fn message_delivery(&self) -> Delivery {
        Delivery { retry: Duration::from_secs(self.message_retry), ..self.delivery() }
    }

    /// The most events of a batch, if there are batches.
    pub(crate) fn batch(&self) -> Option<usize> {
        Some(self.batch).filter(|most| 1 < *most)
    }

    /// The time limit of `gw.connect`.
    pub(crate) const fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout)
    }

    /// The keys of the signatures.
    pub(crate) fn secrets(&self) -> &[Secret] {
        self.secret.as_slice()
    }

    /// The headers that are passed on, in lower case.
    pub(crate) fn headers(&self) -> Vec<String> {
        self.headers.iter().map(|name| name.to_ascii_lowercase()).collect()
    }

    /// Whether messages are sent as JSON.
    pub(crate) const fn has_envelope(&self) -> bool {
        self.envelope
    }

    pub(crate) fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }
}

/// The webhooks of the settings file.
#[derive(Clone, Debug, Default)]
pub struct Hooks(Vec<Hook>);

impl Hooks {
    /// Reads the entries of the file.
    ///
    /// # Errors
    /// Names the entry that is invalid, or too much.
    pub fn read(file: &mut TableFile) -> Result<Self, Refused> {
        let hooks: Vec<Hook> = file.entries()?;
        if MAX_HOOKS < hooks.len() {
            let problem = format!("there are more than {MAX_HOOKS} entries");
            return Err(file.refuse::<Hook>(MAX_HOOKS, &problem));
        }
        let hooks = Self(hooks);
        // One is for the uids.
        if MOST_GROUPS < hooks.groups().len() + usize::from(hooks.watches_uids()) {
            let problem = format!("`groups` of all entries are more than {MOST_GROUPS}");
            return Err(file.refuse::<Hook>(hooks.0.len() - 1, &problem));
        }
        Ok(hooks)
    }

    /// The prefixes of the groups of all of them, each once.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let all = self.0.iter().flat_map(|hook| &hook.groups);
        let groups: BTreeSet<_> = all.filter_map(|prefix| Group::new(prefix).ok()).collect();
        groups.into_iter().collect()
    }

    /// Whether any of them receives when uids have clients.
    pub(crate) fn watches_uids(&self) -> bool {
        self.0.iter().any(|hook| hook.has(Kind::Online) || hook.has(Kind::Offline))
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Hook> {
        self.0.iter()
    }
}

impl From<Vec<Hook>> for Hooks {
    fn from(hooks: Vec<Hook>) -> Self {
        Self(hooks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF";

    fn read(keys: &str) -> Result<Hook, String> {
        let text = format!("url = \"http://127.0.0.1:9000/hook\"\n{keys}");
        let hook: Hook = toml::from_str(&text).map_err(|error| error.to_string())?;
        hook.check().map(|()| hook)
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let hook = read(&format!("secret = \"{SECRET}\"")).unwrap();
        for kind in [Kind::Connect, Kind::Message, Kind::Close] {
            assert!(hook.receives(kind, 7272));
        }
        let seconds = Duration::from_secs;
        assert_eq!((hook.delivery().timeout, hook.delivery().retry), (seconds(10), seconds(300)));
        assert_eq!(
            (hook.connect_timeout(), hook.message_delivery().retry),
            (seconds(3), seconds(30))
        );
        assert_eq!((hook.target().max_in_flight, hook.secrets().len()), (256, 1));
        let documented: Vec<_> = KEYS.iter().map(|key| key.name.to_owned()).collect();
        let serde_json::Value::Object(shown) = serde_json::to_value(&hook).unwrap() else {
            panic!()
        };
        let mut shown: Vec<_> = shown.into_iter().map(|(name, _)| name).collect();
        let mut sorted = documented;
        sorted.sort();
        shown.sort();
        assert_eq!(shown, sorted);
    }

    #[test]
    fn entry_is_for_its_events_and_ports() {
        let hook = read(&format!("secret = [\"{SECRET}\"]\nevents = [\"close\"]\nports = [7272]"));
        let hook = hook.unwrap();
        assert!(hook.receives(Kind::Close, 7272));
        assert!(!hook.receives(Kind::Close, 7273) && !hook.receives(Kind::Message, 7272));
    }

    #[test]
    fn wrong_keys_are_named_and_no_secret_is_shown() {
        let secret = format!("secret = \"{SECRET}\"\n");
        for (keys, named) in [
            ("", "secret"),
            ("secret = \"whsec_\"", "24 to 64 bytes"),
            ("secret = \"plain\"", "whsec_"),
            ("secret = []", "secret"),
            (&*format!("{secret}evnets = []"), "evnets"),
            (&format!("{secret}events = []"), "`events`"),
            (&format!("{secret}events = [\"renew\"]"), "renew"),
            (&format!("{secret}ports = [0]"), "`ports`"),
            (&format!("{secret}headers = [\"a b\"]"), "`headers`"),
            (&format!("{secret}groups = [\"a\"]"), "`groups`"),
            (&format!("{secret}events = [\"vacated\"]"), "`groups`"),
            (&format!("{secret}events = [\"vacated\"]\ngroups = [\"\"]"), "`groups`"),
            (&format!("{secret}timeout = 0"), "`timeout`"),
            (&format!("{secret}retry = 86401"), "`retry`"),
            (&format!("{secret}max_in_flight = 0"), "`max_in_flight`"),
            (&format!("{secret}batch = 0"), "`batch`"),
            (&format!("{secret}batch = 1001"), "`batch`"),
            (&format!("{secret}ca = \"x.pem\""), "`ca`"),
            (&format!("{secret}origin = \"a\\nb\""), "`origin`"),
        ] {
            let error = read(keys).unwrap_err();
            assert!(error.contains(named), "{keys}: {error}");
        }
        let hook = read(&secret).unwrap();
        let shown = format!("{hook:?} {}", serde_json::to_string(&hook).unwrap());
        assert!(!shown.contains("BQUF"), "{shown}");
    }

    #[test]
    fn ca_of_https_is_read_with_the_settings() {
        let text = format!("url = \"https://h/\"\nsecret = \"{SECRET}\"\nca = \"/missing.pem\"");
        let error = toml::from_str::<Hook>(&text).unwrap().check().unwrap_err();
        assert!(error.contains("/missing.pem"), "{error}");
    }
}
