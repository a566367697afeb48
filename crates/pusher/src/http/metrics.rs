//! Metrics of the HTTP API. Every label has few values: none is made of what a request says.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use service::latency::Latency;

use super::endpoint::Endpoint;

/// The SDKs that name themselves so in `X-Pusher-Library`.
const LIBRARIES: [&str; 8] = [
    "pusher-http-php",
    "pusher-http-node",
    "pusher-http-python",
    "pusher-http-ruby",
    "pusher-http-go",
    "pusher-http-dotnet",
    "pusher-http-java",
    "pusher-http-swift",
];

/// Counters of requests and of what they publish.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    requests: Family<Request, Counter>,
    libraries: Family<Library, Counter>,
    published: Counter,
    took: Latency,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    endpoint: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Library {
    library: &'static str,
}

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "requests",
            "Requests of the HTTP API, by endpoint and status",
            self.requests.clone(),
        );
        registry.register(
            "requests_by_library",
            "Requests of the HTTP API, by the SDK that sent them",
            self.libraries.clone(),
        );
        registry.register(
            "request_duration_seconds",
            "Time to the answer of a request of the HTTP API",
            self.took.clone(),
        );
        registry.register(
            "published",
            "Events that were published by HTTP, for each of their channels",
            self.published.clone(),
        );
    }

    pub(super) fn count(
        &self,
        endpoint: Option<&Endpoint>,
        headers: &HeaderMap,
        status: StatusCode,
        took: Duration,
    ) {
        self.took.record(took);
        let endpoint = endpoint.map_or("none", Endpoint::name);
        let status = status.as_u16();
        self.requests.get_or_create(&Request { endpoint, status }).inc();
        self.libraries.get_or_create(&Library { library: library(headers) }).inc();
    }

    pub(super) fn published(&self, channels: usize) {
        self.published.inc_by(channels as u64);
    }
}

fn library(headers: &HeaderMap) -> &'static str {
    let Some(stated) = headers.get("x-pusher-library") else { return "none" };
    let stated = stated.to_str().unwrap_or_default();
    let name = stated.split([' ', '/']).next().unwrap_or_default();
    LIBRARIES.into_iter().find(|library| *library == name).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn library_is_one_of_a_fixed_list() {
        let of = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert("X-Pusher-Library", value.parse().unwrap());
            }
            library(&headers)
        };
        assert_eq!(of(None), "none");
        assert_eq!(of(Some("pusher-http-php 7.2.6")), "pusher-http-php");
        assert_eq!(of(Some("pusher-http-node/5.3.4")), "pusher-http-node");
        assert_eq!(of(Some("pusher-http-php2 1")), "other");
        assert_eq!(of(Some("x\"} 1")), "other");
    }
}
