//! Messages from peers to a register.

use std::fmt;

use bytes::BytesMut;
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{CleanupRecord, Gateway, MAX_NAME, Takeover};
use crate::{InstanceId, codec::json_lines, secret::Secret};

/// A line from a gateway or a worker.
#[derive(Clone, Debug)]
pub enum ToRegister {
    /// Registers a gateway.
    GatewayConnect(GatewayConnect),
    /// Subscribes a worker or a back end to the list of gateways.
    WorkerConnect(WorkerConnect),
    /// Heartbeat. A Rust register answers with [`pong`](super::pong) if requested; otherwise there
    /// is no reply.
    Ping {
        /// Whether an answer is requested.
        answer: bool,
    },
    /// The gateway registered on this connection shuts down gracefully. Supported by Rust registers
    /// only.
    GatewayLeave,
    /// Asks for the [peers](super::RefusedPeers) that the register has refused. Supported by Rust
    /// registers only.
    RefusedPeers {
        /// As in [`GatewayConnect`].
        secret_key: Option<Secret>,
    },
}

/// Registration of a gateway.
#[derive(Clone, Debug)]
pub struct GatewayConnect {
    /// The gateway and its address.
    pub gateway: Gateway,
    /// The secret as sent; empty if there was none. `None` for a value that is not a string, which
    /// never matches, even if no secret is configured.
    pub secret_key: Option<Secret>,
}

/// Subscription of a worker or a back end.
#[derive(Clone, Debug, Default)]
pub struct WorkerConnect {
    /// As in [`GatewayConnect`].
    pub secret_key: Option<Secret>,
    /// The gateway addresses that it received last, from any register; empty from PHP peers.
    pub known: Vec<String>,
    /// The worker's instance; `None` for PHP peers and back ends.
    pub instance: Option<InstanceId>,
    /// Its cleanup records.
    pub settled: Vec<CleanupRecord>,
    /// Its records of takeovers.
    pub takeovers: Vec<Takeover>,
    /// Whether it is linked to every gateway that registers list, or was a moment ago.
    pub complete: bool,
    /// Whether it asks what the register is; see [`AboutRegister`](super::AboutRegister).
    pub about: bool,
}

/// A line that is not a valid request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestParseError {
    /// Not a JSON object with an event. GatewayWorker replies to this one before it closes.
    #[error("no event")]
    NotARequest,
    /// An unknown event.
    #[error("unknown event")]
    UnknownEvent,
    /// A gateway without a valid address: a host and a port of at most [`MAX_NAME`] bytes.
    #[error("no usable address")]
    NoAddress,
}

impl ToRegister {
    /// Parses one line, without its ending.
    pub fn parse(line: &[u8]) -> Result<Self, RequestParseError> {
        // Validated as a whole: the parser does not validate the text of fields that it skips.
        let text = str::from_utf8(line).map_err(|_| RequestParseError::NotARequest)?;
        let fields: Fields =
            serde_json::from_str(text).map_err(|_| RequestParseError::NotARequest)?;
        if fields.event.is_empty() {
            return Err(RequestParseError::NotARequest);
        }
        match fields.event.text().as_deref() {
            Some("gateway_connect") => {
                let address = fields.address.name().filter(|address| is_address(address));
                let address = address.ok_or(RequestParseError::NoAddress)?;
                let native = matches!(fields.native, Field::Truth(true));
                let gateway = Gateway { address, native, instance: fields.instance.instance() };
                let secret_key = fields.secret_key.secret();
                Ok(Self::GatewayConnect(GatewayConnect { gateway, secret_key }))
            }
            Some("worker_connect") => {
                let secret_key = fields.secret_key.secret();
                Ok(Self::WorkerConnect(WorkerConnect {
                    secret_key,
                    known: fields.known.texts(),
                    instance: fields.instance.instance(),
                    settled: fields.settled.settled(),
                    takeovers: fields.takeovers.takeovers(),
                    complete: matches!(fields.complete, Field::Truth(true)),
                    about: matches!(fields.about, Field::Truth(true)),
                }))
            }
            Some("gateway_leave") => Ok(Self::GatewayLeave),
            Some("refused_peers") => {
                Ok(Self::RefusedPeers { secret_key: fields.secret_key.secret() })
            }
            Some("ping") => Ok(Self::Ping { answer: matches!(fields.answer, Field::Truth(true)) }),
            Some(_) | None => Err(RequestParseError::UnknownEvent),
        }
    }

    /// Writes it as a line that a PHP register accepts as well.
    pub fn encode(&self, out: &mut BytesMut) {
        let fields = match self {
            Self::GatewayConnect(GatewayConnect { gateway, secret_key }) => {
                let mut fields = serde_json::json!({
                    "event": "gateway_connect",
                    "address": gateway.address,
                    "secret_key": in_clear(secret_key.as_ref()),
                });
                if gateway.native {
                    fields["native"] = true.into();
                }
                if let Some(instance) = &gateway.instance {
                    fields["instance"] = instance.as_str().into();
                }
                fields
            }
            Self::WorkerConnect(connect) => {
                let WorkerConnect {
                    secret_key,
                    known,
                    instance,
                    settled,
                    takeovers,
                    complete,
                    about,
                } = connect;
                let mut fields = serde_json::json!({
                    "event": "worker_connect",
                    "secret_key": in_clear(secret_key.as_ref()),
                });
                if !known.is_empty() {
                    fields["known"] = known.as_slice().into();
                }
                if let Some(instance) = instance {
                    fields["instance"] = instance.as_str().into();
                }
                if !settled.is_empty() {
                    let pairs = settled.iter();
                    fields["settled"] =
                        pairs.map(|it| serde_json::json!([it.gateway, it.owner])).collect();
                }
                if !takeovers.is_empty() {
                    fields["takeovers"] = takeovers.iter().map(Takeover::to_texts).collect();
                }
                if *complete {
                    fields["complete"] = true.into();
                }
                if *about {
                    fields["about"] = true.into();
                }
                fields
            }
            Self::GatewayLeave => serde_json::json!({ "event": "gateway_leave" }),
            Self::RefusedPeers { secret_key } => serde_json::json!({
                "event": "refused_peers",
                "secret_key": in_clear(secret_key.as_ref()),
            }),
            Self::Ping { answer: false } => serde_json::json!({ "event": "ping" }),
            Self::Ping { answer: true } => serde_json::json!({ "event": "ping", "answer": true }),
        };
        json_lines::encode(&fields, out);
    }
}

/// Whether an address is `host:port`, in characters that are safe in logs: it is sent to every
/// worker, which logs it if it cannot be reached.
fn is_address(address: &str) -> bool {
    let parts = address.rsplit_once(':');
    parts.is_some_and(|(host, port)| {
        let is_port = !port.starts_with('+') && port.parse::<u16>().is_ok_and(|port| port != 0);
        is_port && !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic())
    })
}

/// The protocol sends the secret in the clear.
fn in_clear(secret: Option<&Secret>) -> String {
    let bytes = secret.map(Secret::expose).unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

/// The supported fields. As in PHP, the last of several with the same name counts.
#[derive(Default)]
struct Fields {
    event: Field,
    secret_key: Field,
    address: Field,
    native: Field,
    instance: Field,
    known: Field,
    settled: Field,
    takeovers: Field,
    complete: Field,
    about: Field,
    answer: Field,
}

/// The relevant part of a field's value.
#[derive(Default)]
enum Field {
    /// Missing, or null.
    #[default]
    Absent,
    Text(String),
    List(Vec<Self>),
    /// Any other value, and whether PHP treats it as true.
    Truth(bool),
}

impl Field {
    /// Whether PHP's `empty` is true for it.
    fn is_empty(&self) -> bool {
        match self {
            Self::Absent => true,
            Self::Text(text) => matches!(text.as_str(), "" | "0"),
            Self::List(items) => items.is_empty(),
            Self::Truth(truth) => !truth,
        }
    }

    /// A non-empty string of at most [`MAX_NAME`] bytes.
    fn name(self) -> Option<String> {
        self.text().filter(|text| !text.is_empty() && text.len() <= MAX_NAME)
    }

    fn instance(self) -> Option<InstanceId> {
        self.text().and_then(|text| InstanceId::new(text).ok())
    }

    fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Absent | Self::List(_) | Self::Truth(_) => None,
        }
    }

    fn secret(self) -> Option<Secret> {
        match self {
            Self::Absent => Some(Secret::default()),
            Self::Text(text) => Some(Secret::from(text)),
            Self::List(_) | Self::Truth(_) => None,
        }
    }

    fn settled(self) -> Vec<CleanupRecord> {
        let pair = |item: Self| {
            let Self::List(pair) = item else { return None };
            let [gateway, owner] = <[Self; 2]>::try_from(pair).ok()?;
            Some(CleanupRecord { gateway: gateway.instance()?, owner: owner.instance()? })
        };
        match self {
            Self::List(items) => items.into_iter().filter_map(pair).collect(),
            Self::Absent | Self::Text(_) | Self::Truth(_) => Vec::new(),
        }
    }

    fn takeovers(self) -> Vec<Takeover> {
        let takeover = |item: Self| match item {
            Self::List(texts) => {
                let texts: Option<Vec<_>> = texts.into_iter().map(Self::text).collect();
                Takeover::from_texts(&texts?)
            }
            Self::Absent | Self::Text(_) | Self::Truth(_) => None,
        };
        match self {
            Self::List(items) => items.into_iter().filter_map(takeover).collect(),
            Self::Absent | Self::Text(_) | Self::Truth(_) => Vec::new(),
        }
    }

    fn texts(self) -> Vec<String> {
        match self {
            Self::List(items) => items.into_iter().filter_map(Self::text).collect(),
            Self::Absent | Self::Text(_) | Self::Truth(_) => Vec::new(),
        }
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
                let mut fields = Fields::default();
                while let Some(key) = map.next_key::<String>()? {
                    let field = match key.as_str() {
                        "event" => &mut fields.event,
                        "secret_key" => &mut fields.secret_key,
                        "address" => &mut fields.address,
                        "native" => &mut fields.native,
                        "instance" => &mut fields.instance,
                        "known" => &mut fields.known,
                        "settled" => &mut fields.settled,
                        "takeovers" => &mut fields.takeovers,
                        "complete" => &mut fields.complete,
                        "about" => &mut fields.about,
                        "answer" => &mut fields.answer,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *field = map.next_value()?;
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Field;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Field, E> {
                Ok(Field::Absent)
            }

            fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Field, E> {
                Ok(Field::Truth(truth))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Field, E> {
                Ok(Field::Truth(number != 0))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Field, E> {
                Ok(Field::Truth(number != 0))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Field, E> {
                Ok(Field::Truth(number != 0.0))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Field, E> {
                Ok(Field::Text(text.to_owned()))
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Field, S::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Field::List(items))
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Field, M::Error> {
                let mut truth = false;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    truth = true;
                }
                Ok(Field::Truth(truth))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests;
