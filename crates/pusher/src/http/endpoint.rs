//! The endpoints of the HTTP API: methods and paths.

use super::{query::percent_decoded, request_signature::behind_prefix};

/// A request, by its method and path. Names of channels and ids of users are decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Publishes one event.
    Events,
    /// Publishes several.
    BatchEvents,
    /// Publishes one event to the channel of the path: deprecated.
    ChannelEvents(String),
    /// Lists occupied channels.
    Channels,
    /// The state of one channel.
    Channel(String),
    /// Lists the users of a presence channel.
    Users(String),
    /// Closes the connections of a user.
    Terminate(String),
    /// Counts the connections of an app.
    Connections,
}

/// The request of an app, or of none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Whether the process serves.
    Up,
    /// The app of the path; `None` if the key of the query names it.
    App(Option<String>, Endpoint),
}

/// A request for which there is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoEndpoint {
    #[error("There is no such path")]
    Path,
    #[error("The path takes {0} requests only")]
    Method(&'static str),
}

impl Target {
    /// Reads the method and the path, percent-encoded and with or without a prefix, of a request.
    ///
    /// # Errors
    /// If there is no such endpoint.
    pub(crate) fn parse(method: &str, path: &str) -> Result<Self, NoEndpoint> {
        let path = behind_prefix(path).unwrap_or(path);
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let named = |segment: &str| -> Result<String, NoEndpoint> {
            let decoded = String::from_utf8(percent_decoded(segment).into_owned());
            decoded.ok().filter(|name| !name.is_empty()).ok_or(NoEndpoint::Path)
        };
        let of_app = |id: &str, endpoint| Ok(Self::App(Some(named(id)?), endpoint));
        let (needed, target) = match segments[..] {
            ["up"] => ("GET", Ok(Self::Up)),
            ["apps", id, "events"] => ("POST", of_app(id, Endpoint::Events)),
            ["apps", id, "batch_events"] => ("POST", of_app(id, Endpoint::BatchEvents)),
            ["apps", id, "channels"] => ("GET", of_app(id, Endpoint::Channels)),
            ["apps", id, "connections"] => ("GET", of_app(id, Endpoint::Connections)),
            ["apps", id, "channels", channel] => {
                ("GET", of_app(id, Endpoint::Channel(named(channel)?)))
            }
            ["apps", id, "channels", channel, "users"] => {
                ("GET", of_app(id, Endpoint::Users(named(channel)?)))
            }
            ["apps", id, "channels", channel, "events"] => {
                ("POST", of_app(id, Endpoint::ChannelEvents(named(channel)?)))
            }
            ["apps", id, "users", user, "terminate_connections"] => {
                ("POST", of_app(id, Endpoint::Terminate(named(user)?)))
            }
            // Python's SDK omits the app.
            ["users", user, "terminate_connections"] => {
                ("POST", Ok(Self::App(None, Endpoint::Terminate(named(user)?))))
            }
            _ => return Err(NoEndpoint::Path),
        };
        match method == needed || method == "HEAD" && needed == "GET" {
            true => target,
            false => Err(NoEndpoint::Method(needed)),
        }
    }
}

impl Endpoint {
    /// The name in metrics, of which there are few.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::BatchEvents => "batch_events",
            Self::ChannelEvents(_) => "channel_events",
            Self::Channels => "channels",
            Self::Channel(_) => "channel",
            Self::Users(_) => "users",
            Self::Terminate(_) => "terminate_connections",
            Self::Connections => "connections",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_app(endpoint: Endpoint) -> Result<Target, NoEndpoint> {
        Ok(Target::App(Some("1".to_owned()), endpoint))
    }

    #[test]
    fn every_endpoint_has_its_method_and_path() {
        let name = || "a@b".to_owned();
        for (method, path, endpoint) in [
            ("POST", "/apps/1/events", Endpoint::Events),
            ("POST", "/apps/1/batch_events", Endpoint::BatchEvents),
            ("GET", "/apps/1/channels", Endpoint::Channels),
            ("HEAD", "/apps/1/channels", Endpoint::Channels),
            ("GET", "/apps/1/connections", Endpoint::Connections),
            ("GET", "/apps/1/channels/a@b", Endpoint::Channel(name())),
            ("GET", "/apps/1/channels/a%40b", Endpoint::Channel(name())),
            ("GET", "/apps/1/channels/a@b/users", Endpoint::Users(name())),
            ("POST", "/apps/1/channels/a@b/events", Endpoint::ChannelEvents(name())),
            ("POST", "/apps/1/users/a%40b/terminate_connections", Endpoint::Terminate(name())),
        ] {
            assert_eq!(Target::parse(method, path), of_app(endpoint.clone()), "{path}");
            let prefixed = format!("/push/v{path}");
            assert_eq!(Target::parse(method, &prefixed), of_app(endpoint), "{prefixed}");
        }
        assert_eq!(Target::parse("GET", "/up"), Ok(Target::Up));
        let terminate = Target::App(None, Endpoint::Terminate("7".to_owned()));
        assert_eq!(Target::parse("POST", "/users/7/terminate_connections"), Ok(terminate));
    }

    #[test]
    fn other_method_or_path_is_refused() {
        for (method, path) in [
            ("GET", "/apps/1/events"),
            ("PUT", "/apps/1/events"),
            ("GET", "/apps/1/users/7/terminate_connections"),
        ] {
            assert_eq!(Target::parse(method, path), Err(NoEndpoint::Method("POST")), "{path}");
        }
        assert_eq!(Target::parse("POST", "/apps/1/channels"), Err(NoEndpoint::Method("GET")));
        for path in [
            "",
            "/",
            "apps",
            "/apps",
            "/apps/",
            "/apps/1",
            "/apps//events",
            "/apps/1/events/",
            "/apps/1/channels/",
            "/apps/1/channels/%ff",
            "/apps/1/channels/a/b/c",
            "/upp",
            "/apps/1/users/7",
            "/users//terminate_connections",
            "//up",
        ] {
            assert_eq!(Target::parse("POST", path), Err(NoEndpoint::Path), "{path}");
        }
    }
}
