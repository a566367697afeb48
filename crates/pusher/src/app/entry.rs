//! The entries `[[pusher.app]]` of the settings file.

use serde::{Deserialize, Serialize};
use service::settings::{Entry, Hidden, Key, Table};

use super::App;
use crate::webhooks::WebhookEntry;

/// An entry `[[pusher.app]]` of the settings file. Serialized, it has no secrets.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AppEntry {
    /// The id: letters, digits, `-` and `_`, at most 64. Paths of the HTTP API have it.
    pub(super) id: String,
    /// The key: the same characters. Clients connect with it.
    pub(super) key: String,
    /// The secret of the key.
    pub(super) secret: Hidden,
    /// Further keys that are valid, for rotation.
    #[serde(default)]
    pub(super) other_keys: Vec<KeyEntry>,
    /// Whether clients may connect, and back ends publish.
    #[serde(default = "yes")]
    pub(super) enabled: bool,
    /// Whether clients may send client events.
    #[serde(default)]
    pub(super) client_messages: bool,
    /// Client events of a client in a second.
    #[serde(default = "client_messages_per_second")]
    pub(super) client_messages_per_second: u32,
    /// Maximum size of the data of an event, in bytes.
    #[serde(default = "max_event_size")]
    pub(super) max_event_size: usize,
    /// Maximum size of the information on a member of a presence channel, in bytes.
    #[serde(default = "max_user_info_size")]
    pub(super) max_user_info_size: usize,
    /// Maximum number of channels of a client.
    #[serde(default = "max_channels")]
    pub(super) max_channels: usize,
    /// Maximum number of clients; 0: no limit.
    #[serde(default)]
    pub(super) max_connections: u64,
    /// Requests of the HTTP API in a second, each event of a batch counted; 0: no limit.
    #[serde(default)]
    pub(super) http_requests_per_second: u32,
    /// Origins whose pages may connect, such as `https://example.com` or `*.example.com`; empty:
    /// all.
    #[serde(default)]
    pub(super) allowed_origins: Vec<String>,
    /// Seconds of silence until a client sends a ping, 10 to 300.
    #[serde(default = "activity_timeout")]
    pub(super) activity_timeout: u32,
    /// Seconds that a client has to sign in or to subscribe to a channel that needs a signature; 0:
    /// no limit.
    #[serde(default)]
    pub(super) authorization_timeout: u32,
    /// Whether the number of subscribers of a channel is sent to them.
    #[serde(default)]
    pub(super) subscription_count: bool,
    /// Whether a user that is terminated also loses the clients that are members of presence
    /// channels as that user.
    #[serde(default = "yes")]
    pub(super) terminate_presence_users: bool,
    /// Whether a client that is signed in has the id of its user as uid, without the id of the app.
    #[serde(default)]
    pub(super) shared_uids: bool,
    /// Webhooks.
    #[serde(default, rename = "webhook")]
    pub(super) webhooks: Vec<WebhookEntry>,
}

/// A further key of an app.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    pub(super) key: String,
    pub(super) secret: Hidden,
}

const fn yes() -> bool {
    true
}

const fn client_messages_per_second() -> u32 {
    10
}

const fn max_event_size() -> usize {
    10_240
}

const fn max_user_info_size() -> usize {
    1024
}

const fn max_channels() -> usize {
    100
}

const fn activity_timeout() -> u32 {
    120
}

impl Entry for AppEntry {
    const TABLE: Table = Table {
        name: "pusher.app",
        meaning: "An app of `--app pusher`: see [pusher.md](pusher.md)",
        keys: &[
            key("id", "text, at most 64 letters, digits, `-`, `_`", "Id of the app, unique"),
            key("key", "as `id`", "Key with which clients connect, unique over all apps"),
            key("secret", "text", "Secret of the key, which signs subscriptions and requests"),
            optional(
                "other_keys",
                "list of tables with `key` and `secret`",
                "none",
                "Further keys that are valid, to replace one without an interruption",
            ),
            optional("enabled", "boolean", "true", "Whether clients may connect"),
            optional(
                "client_messages",
                "boolean",
                "false",
                "Whether clients may send client events on private and presence channels",
            ),
            optional(
                "client_messages_per_second",
                "number, 1 to 10000",
                "10",
                "Client events of one client in a second",
            ),
            optional(
                "max_event_size",
                "BYTES, 1 to 1048576",
                "10240",
                "Maximum size of the data of an event",
            ),
            optional(
                "max_user_info_size",
                "BYTES, 2 to 4096",
                "1024",
                "Maximum size of the `user_info` of a user, as JSON",
            ),
            optional(
                "max_channels",
                "number, 1 to 1000",
                "100",
                "Maximum number of channels of one client",
            ),
            optional(
                "max_connections",
                "number",
                "0",
                "Maximum number of clients; 0: no limit. Clients that connect at the same time, \
                 or while a gateway cannot be reached, may exceed it",
            ),
            optional(
                "http_requests_per_second",
                "number",
                "0",
                "Requests of the HTTP API in a second, each event of a batch counted; 0: no limit",
            ),
            optional(
                "allowed_origins",
                "list of origins, hosts or `*.` and a domain",
                "all",
                "Origins whose pages may connect",
            ),
            optional(
                "activity_timeout",
                "SECONDS, 10 to 300",
                "120",
                "Silence after which a client sends a ping",
            ),
            optional(
                "authorization_timeout",
                "SECONDS, 0 to 3600",
                "0",
                "Time within which a client has to sign in or to subscribe to a channel that \
                 needs a signature; 0: no limit",
            ),
            optional(
                "subscription_count",
                "boolean",
                "false",
                "Whether subscribers receive the number of subscribers of their channel",
            ),
            optional(
                "terminate_presence_users",
                "boolean",
                "true",
                "Whether a user that is terminated also loses the clients that are members of \
                 presence channels as that user",
            ),
            optional(
                "shared_uids",
                "boolean",
                "false",
                "Whether the uid of a client that is signed in is the id of its user, without \
                 `pusher:` and the id of the app before it",
            ),
            optional(
                "webhook",
                "tables `[[pusher.app.webhook]]`",
                "none",
                "Webhooks: see [pusher.md](pusher.md#webhooks)",
            ),
        ],
    };

    fn check(&self) -> Result<(), String> {
        let checked = App::new(self.clone());
        checked.map(drop).map_err(|(field, fault)| format!("`{field}`: {fault}"))
    }
}

const fn key(name: &'static str, value: &'static str, meaning: &'static str) -> Key {
    Key { name, value, default: None, meaning }
}

const fn optional(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key { name, value, default: Some(default), meaning }
}
