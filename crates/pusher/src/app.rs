//! Apps: entries of the settings file, as given and as validated.

mod entry;

use std::{collections::HashMap, sync::Arc};

use service::settings::{Refused, TableFile};
use thiserror::Error;

use crate::{signature::Key, webhooks::Webhook};

pub use entry::{AppEntry, KeyEntry};

/// The longest id of an app, and the longest key, in bytes.
const MAX_ID: usize = 64;

/// The shortest and the longest time, in seconds, of silence until a client sends a ping.
const ACTIVITY_TIMEOUT: std::ops::RangeInclusive<u32> = 10..=300;

/// An entry that is no app, or entries that exclude each other.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {fault}")]
pub struct InvalidApp {
    /// Its position among the entries, from 0.
    pub index: usize,
    /// The field.
    pub field: &'static str,
    fault: String,
}

/// An app: validated settings.
#[derive(Clone, Debug)]
pub struct App {
    entry: AppEntry,
    keys: Vec<Key>,
    webhooks: Vec<Webhook>,
}

impl App {
    fn new(entry: AppEntry) -> Result<Self, (&'static str, String)> {
        check_id("id", &entry.id)?;
        let first = (&entry.key, &entry.secret);
        let others = entry.other_keys.iter().map(|other| (&other.key, &other.secret));
        let mut keys = Vec::new();
        for (key, secret) in [first].into_iter().chain(others) {
            check_id("key", key)?;
            let secret = secret.expose();
            if secret.is_empty() {
                return Err(("secret", format!("that of key {key:?} is empty")));
            }
            keys.push(Key::new(key, secret));
        }
        if !ACTIVITY_TIMEOUT.contains(&entry.activity_timeout) {
            let (least, most) = ACTIVITY_TIMEOUT.into_inner();
            return Err(("activity_timeout", format!("is not one of {least} to {most} seconds")));
        }
        within("client_messages_per_second", entry.client_messages_per_second.into(), 1, 10_000)?;
        within("max_event_size", entry.max_event_size as u64, 1, 1 << 20)?;
        within("max_user_info_size", entry.max_user_info_size as u64, 2, 4 << 10)?;
        within("max_channels", entry.max_channels as u64, 1, 1000)?;
        within("authorization_timeout", entry.authorization_timeout.into(), 0, 3600)?;
        if let Some(empty) = entry.allowed_origins.iter().find(|it| it.trim().is_empty()) {
            return Err(("allowed_origins", format!("{empty:?} is no origin")));
        }
        let webhooks = entry.webhooks.iter().cloned().map(Webhook::try_from);
        let webhooks = webhooks.collect::<Result<_, _>>().map_err(|fault| ("webhook", fault))?;
        Ok(Self { entry, keys, webhooks })
    }

    /// The id.
    pub fn id(&self) -> &str {
        &self.entry.id
    }

    /// The keys that are valid. The first one signs what the suite sends.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Whether clients may connect, and back ends publish.
    pub const fn is_enabled(&self) -> bool {
        self.entry.enabled
    }

    /// Whether clients may send client events.
    pub const fn takes_client_events(&self) -> bool {
        self.entry.client_messages
    }

    /// Client events of a client in a second.
    pub const fn client_events_per_second(&self) -> u32 {
        self.entry.client_messages_per_second
    }

    /// Maximum size of the data of an event, in bytes.
    pub const fn max_event_size(&self) -> usize {
        self.entry.max_event_size
    }

    /// Maximum size of the information on a member of a presence channel, in bytes of JSON.
    pub const fn max_user_info_size(&self) -> usize {
        self.entry.max_user_info_size
    }

    /// Maximum number of channels of a client.
    pub const fn max_channels(&self) -> usize {
        self.entry.max_channels
    }

    /// Maximum number of clients; `None`: no limit.
    pub const fn max_connections(&self) -> Option<u64> {
        match self.entry.max_connections {
            0 => None,
            limit => Some(limit),
        }
    }

    /// Requests of the HTTP API in a second, each event of a batch counted; `None`: no limit.
    pub const fn http_requests_per_second(&self) -> Option<u32> {
        match self.entry.http_requests_per_second {
            0 => None,
            limit => Some(limit),
        }
    }

    /// Seconds of silence until a client sends a ping.
    pub const fn activity_timeout(&self) -> u32 {
        self.entry.activity_timeout
    }

    /// Seconds that a client has to be authorized; `None`: no limit.
    pub const fn authorization_timeout(&self) -> Option<u32> {
        match self.entry.authorization_timeout {
            0 => None,
            seconds => Some(seconds),
        }
    }

    /// Whether the number of subscribers of a channel is sent to them.
    pub const fn sends_subscription_count(&self) -> bool {
        self.entry.subscription_count
    }

    /// Whether a user that is terminated also loses the clients that are members of presence
    /// channels as that user.
    pub const fn terminates_presence_users(&self) -> bool {
        self.entry.terminate_presence_users
    }

    /// Whether uids of this app's clients are without the id of the app.
    pub const fn shares_uids(&self) -> bool {
        self.entry.shared_uids
    }

    /// The webhooks.
    pub fn webhooks(&self) -> &[Webhook] {
        &self.webhooks
    }

    /// Whether a page of this origin may connect. A client without an origin is no browser, and may.
    pub fn allows_origin(&self, origin: Option<&str>) -> bool {
        let allowed = &self.entry.allowed_origins;
        let Some(origin) = origin.filter(|_| !allowed.is_empty()) else { return true };
        let host = origin.split_once("://").map_or(origin, |(_, host)| host);
        let name = host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |it| it.0);
        allowed.iter().any(|allowed| match allowed.strip_prefix("*.") {
            _ if allowed == "*" => true,
            Some(parent) => {
                let rest = strip_suffix_ignoring_case(name, parent);
                rest.is_some_and(|rest| 1 < rest.len() && rest.ends_with('.'))
            }
            None => [origin, host, name].iter().any(|it| it.eq_ignore_ascii_case(allowed)),
        })
    }
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn strip_suffix_ignoring_case<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let at = text.len().checked_sub(suffix.len())?;
    let (rest, end) = text.split_at_checked(at)?;
    end.eq_ignore_ascii_case(suffix).then_some(rest)
}

fn check_id(field: &'static str, id: &str) -> Result<(), (&'static str, String)> {
    let is_plain = id.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_'));
    match id.len() {
        0 => Err((field, "is empty".to_owned())),
        long if MAX_ID < long => Err((field, format!("is longer than {MAX_ID} bytes"))),
        _ if !is_plain => {
            Err((field, format!("{id:?} has other characters than letters, digits, - and _")))
        }
        _ => Ok(()),
    }
}

fn within(
    field: &'static str,
    value: u64,
    least: u64,
    most: u64,
) -> Result<(), (&'static str, String)> {
    match (least..=most).contains(&value) {
        true => Ok(()),
        false => Err((field, format!("{value} is not one of {least} to {most}"))),
    }
}

/// All apps.
#[derive(Clone, Debug, Default)]
pub struct Apps {
    by_id: HashMap<String, Arc<App>>,
    by_key: HashMap<String, Arc<App>>,
}

impl Apps {
    /// Validates entries.
    ///
    /// # Errors
    /// The first fault: an entry that is invalid, or has an id or a key of an earlier one.
    pub fn new(entries: impl IntoIterator<Item = AppEntry>) -> Result<Self, InvalidApp> {
        let mut apps = Self::default();
        for (index, entry) in entries.into_iter().enumerate() {
            let fault = |(field, fault)| InvalidApp { index, field, fault };
            let app = Arc::new(App::new(entry).map_err(fault)?);
            for key in app.keys() {
                if apps.by_key.insert(key.key().to_owned(), Arc::clone(&app)).is_some() {
                    return Err(fault(("key", format!("{:?} is given twice", key.key()))));
                }
            }
            if apps.by_id.insert(app.id().to_owned(), Arc::clone(&app)).is_some() {
                return Err(fault(("id", format!("{:?} is given twice", app.id()))));
            }
        }
        Ok(apps)
    }

    /// Reads the entries of a settings file.
    ///
    /// # Errors
    /// Names the first invalid entry.
    pub fn read(file: &mut TableFile) -> Result<Self, Refused> {
        let entries = file.entries::<AppEntry>()?;
        Self::new(entries).map_err(|InvalidApp { index, field, fault }| {
            file.refuse::<AppEntry>(index, &format!("`{field}`: {fault}"))
        })
    }

    /// The app with this id.
    pub fn by_id(&self, id: &str) -> Option<&Arc<App>> {
        self.by_id.get(id)
    }

    /// The app with this key.
    pub fn by_key(&self, key: &str) -> Option<&Arc<App>> {
        self.by_key.get(key)
    }

    /// All of them, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<App>> {
        self.by_id.values()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

#[cfg(test)]
pub(crate) mod tests;
