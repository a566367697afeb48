//! The entries `[[pusher.app.webhook]]` of the settings file, as given and as validated.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use hooks::{
    engine::{Delivery, Target},
    url::HookUrl,
};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING},
};
use serde::{Deserialize, Serialize};
use service::settings::Hidden;

use super::payload::{EventKind, WebhookEvent};

/// For how long a request is sent again until it is accepted.
const RETRY: Duration = Duration::from_secs(300);

/// The most seconds that a receiver may take to answer.
const LONGEST_TIMEOUT: u32 = 60;

/// The most requests to a receiver at a time.
const MOST_IN_FLIGHT: usize = 1000;

/// An entry `[[pusher.app.webhook]]`. Serialized, it has no values of headers.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookEntry {
    /// The URL, `http` or `https`.
    url: HookUrl,
    /// The events to send, by name; empty: all.
    #[serde(default)]
    events: Vec<EventKind>,
    /// Only events of channels that begin with this.
    #[serde(default)]
    channel_prefix: String,
    /// Only events of channels that end with this.
    #[serde(default)]
    channel_suffix: String,
    /// Further headers of the requests.
    #[serde(default)]
    headers: BTreeMap<String, Hidden>,
    /// Whether events are collected for up to a second, and sent together.
    #[serde(default)]
    batch: bool,
    /// Seconds within which the receiver has to answer.
    #[serde(default = "timeout")]
    timeout: u32,
    /// The most requests at a time.
    #[serde(default = "max_in_flight")]
    max_in_flight: usize,
    /// A PEM file with the CAs to trust; absent: those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
}

const fn timeout() -> u32 {
    10
}

const fn max_in_flight() -> usize {
    16
}

/// A webhook of an app: validated settings.
#[derive(Clone, Debug)]
pub struct Webhook {
    entry: WebhookEntry,
    headers: HeaderMap,
}

impl TryFrom<WebhookEntry> for Webhook {
    type Error = String;

    /// Names the first invalid key and the fault.
    fn try_from(entry: WebhookEntry) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &entry.headers {
            let fault = |fault: &str| format!("headers: {name:?} {fault}");
            let name: HeaderName = name.parse().map_err(|_| fault("is no name of a header"))?;
            let is_ours = [CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING]
                .contains(&name)
                || name.as_str().starts_with("x-pusher-");
            if is_ours {
                return Err(fault("is set by the suite"));
            }
            let value = HeaderValue::from_str(value.expose());
            let mut value = value.map_err(|_| fault("has a value that no header may have"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        if !(1..=LONGEST_TIMEOUT).contains(&entry.timeout) {
            return Err(format!("timeout: is not one of 1 to {LONGEST_TIMEOUT} seconds"));
        }
        if !(1..=MOST_IN_FLIGHT).contains(&entry.max_in_flight) {
            return Err(format!("max_in_flight: is not one of 1 to {MOST_IN_FLIGHT}"));
        }
        Ok(Self { entry, headers })
    }
}

impl Webhook {
    /// Whether an event is to be sent.
    pub(crate) fn wants(&self, event: &WebhookEvent) -> bool {
        let WebhookEntry { events, channel_prefix, channel_suffix, .. } = &self.entry;
        let channel = event.channel();
        (events.is_empty() || events.contains(&event.kind()))
            && channel.starts_with(channel_prefix)
            && channel.ends_with(channel_suffix)
    }

    /// Whether events are sent together.
    pub(crate) const fn is_batched(&self) -> bool {
        self.entry.batch
    }

    /// The further headers.
    pub(crate) const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Where requests go.
    pub(crate) fn target(&self) -> Target {
        let WebhookEntry { url, ca, max_in_flight, .. } = self.entry.clone();
        Target { ca, max_in_flight, ..Target::new(url) }
    }

    /// How requests are sent: whatever the answer, if it is no 2xx, they are sent again.
    pub(crate) fn delivery(&self) -> Delivery {
        let timeout = Duration::from_secs(self.entry.timeout.into());
        Delivery { timeout, retry: RETRY, retry_refused: true }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Channel;

    /// A webhook of a text of TOML.
    pub(crate) fn webhook(text: &str) -> Result<Webhook, String> {
        let entry: WebhookEntry = toml::from_str(text).map_err(|error| error.to_string())?;
        Webhook::try_from(entry)
    }

    fn with(more: &str) -> Result<Webhook, String> {
        webhook(&format!("url = 'http://127.0.0.1/hook'\n{more}"))
    }

    #[test]
    fn filters_select_events_by_kind_and_channel() {
        let channel = Channel::parse("private-orders-eu").unwrap();
        let occupied = WebhookEvent::occupancy(&channel, true);
        let vacated = WebhookEvent::occupancy(&channel, false);
        for (filters, wants) in [
            ("", (true, true)),
            ("events = ['channel_occupied']", (true, false)),
            ("events = ['channel_occupied', 'channel_vacated']", (true, true)),
            ("channel_prefix = 'private-orders'", (true, true)),
            ("channel_prefix = 'orders'", (false, false)),
            ("channel_suffix = '-eu'", (true, true)),
            ("channel_suffix = '-us'", (false, false)),
            ("events = ['member_added']", (false, false)),
        ] {
            let webhook = with(filters).unwrap();
            assert_eq!((webhook.wants(&occupied), webhook.wants(&vacated)), wants, "{filters}");
        }
    }

    #[test]
    fn invalid_entry_is_named_by_its_key() {
        for (more, fault) in [
            ("events = ['channel_emptied']", "unknown variant `channel_emptied`"),
            ("timeout = 0", "timeout: is not one of 1 to 60 seconds"),
            ("max_in_flight = 1001", "max_in_flight"),
            ("headers = {'a b' = 'c'}", "headers: \"a b\" is no name"),
            ("headers = {'Content-Type' = 'c'}", "headers: \"Content-Type\" is set by the suite"),
            ("headers = {'X-Pusher-Key' = 'c'}", "is set by the suite"),
            ("headers = {'x' = \"a\\nb\"}", "value that no header may have"),
            ("secret = 's'", "unknown field `secret`"),
        ] {
            let error = with(more).unwrap_err();
            assert!(error.contains(fault), "{more}: {error}");
        }
        assert!(webhook("url = 'ftp://a'").unwrap_err().contains("http://"));
    }

    #[test]
    fn values_of_headers_are_shown_nowhere() {
        let text = "url = 'http://a/?token=sesame'\nheaders = {Authorization = 'Bearer sesame'}";
        let entry: WebhookEntry = toml::from_str(text).unwrap();
        let shown = serde_json::to_string(&entry).unwrap();
        let webhook = Webhook::try_from(entry).unwrap();
        for shown in [shown, format!("{webhook:?}")] {
            assert!(!shown.contains("sesame"), "{shown}");
        }
        assert_eq!(webhook.headers()["authorization"], "Bearer sesame");
    }
}
