//! What peers say to a register.

use std::fmt;

use bytes::BytesMut;
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{Gateway, MAX_NAME, Settled, Takeover};
use crate::{Instance, codec::json_lines, secret::Secret};

/// A line from a gateway or a worker.
#[derive(Clone, Debug)]
pub enum ToRegister {
    /// A gateway is here.
    GatewayConnect(GatewayConnect),
    /// A worker, or any other that uses gateways, asks where they are and wants to be told.
    WorkerConnect(WorkerConnect),
    /// Still here. A register of ours answers with [`pong`](super::pong) if it is asked to; nothing
    /// comes back otherwise.
    Ping {
        /// Whether to answer.
        answer: bool,
    },
    /// The gateway that announced itself on this connection goes down in order. Only registers of ours
    /// understand it.
    GatewayLeave,
}

/// "Here I am", from a gateway.
#[derive(Clone, Debug)]
pub struct GatewayConnect {
    /// Who it is and where.
    pub gateway: Gateway,
    /// The secret as given; empty if there was none. `None` for something that is no text, which
    /// is never right, not even where there is no secret.
    pub secret_key: Option<Secret>,
}

/// "Who is there?", from a worker.
#[derive(Clone, Debug)]
pub struct WorkerConnect {
    /// As in [`GatewayConnect`].
    pub secret_key: Option<Secret>,
    /// The addresses it was last told, by any register; empty from PHP peers.
    pub known: Vec<String>,
    /// Which life of a worker this is; `None` for PHP peers and those who only push.
    pub instance: Option<Instance>,
    /// What it knows to be settled.
    pub settled: Vec<Settled>,
    /// Takeovers that it knows of.
    pub takeovers: Vec<Takeover>,
    /// Whether it is linked to every gateway that registers name, or was a moment ago.
    pub complete: bool,
}

/// A line that asks for nothing we can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Not a JSON object with an event. The reference answers this one before it closes.
    #[error("no event")]
    NotARequest,
    /// An event we do not know.
    #[error("unknown event")]
    UnknownEvent,
    /// A gateway that does not say where it is, as a host and a port of at most [`MAX_NAME`] bytes.
    #[error("no usable address")]
    NoAddress,
}

impl ToRegister {
    /// Reads one line, without its ending.
    pub fn parse(line: &[u8]) -> Result<Self, Unusable> {
        // Checked whole: the parser does not look into the text of fields that it skips.
        let text = str::from_utf8(line).map_err(|_| Unusable::NotARequest)?;
        let fields: Fields = serde_json::from_str(text).map_err(|_| Unusable::NotARequest)?;
        if fields.event.is_empty() {
            return Err(Unusable::NotARequest);
        }
        match fields.event.text().as_deref() {
            Some("gateway_connect") => {
                let address = fields.address.name().filter(|address| is_address(address));
                let address = address.ok_or(Unusable::NoAddress)?;
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
                }))
            }
            Some("gateway_leave") => Ok(Self::GatewayLeave),
            Some("ping") => Ok(Self::Ping { answer: matches!(fields.answer, Field::Truth(true)) }),
            Some(_) | None => Err(Unusable::UnknownEvent),
        }
    }

    /// Writes it as a line that a PHP register understands as well.
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
            Self::WorkerConnect(asks) => {
                let WorkerConnect { secret_key, known, instance, settled, takeovers, complete } =
                    asks;
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
                fields
            }
            Self::GatewayLeave => serde_json::json!({ "event": "gateway_leave" }),
            Self::Ping { answer: false } => serde_json::json!({ "event": "ping" }),
            Self::Ping { answer: true } => serde_json::json!({ "event": "ping", "answer": true }),
        };
        json_lines::encode(&fields, out);
    }
}

/// Whether an address is `host:port`, in characters that are safe in everybody's log: every worker is told
/// of it, and warns of it if it cannot be reached.
fn is_address(address: &str) -> bool {
    let parts = address.rsplit_once(':');
    parts.is_some_and(|(host, port)| {
        let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
        is_port && !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic())
    })
}

/// The protocol sends the secret as it is.
fn in_clear(secret: Option<&Secret>) -> String {
    let bytes = secret.map(Secret::expose).unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

/// The fields we know. As in PHP, the last of several with one name counts.
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
    answer: Field,
}

/// As much of a field's value as matters.
#[derive(Default)]
enum Field {
    /// Not there, or null.
    #[default]
    Absent,
    Text(String),
    List(Vec<Self>),
    /// Anything else, and whether PHP would take it for true.
    Truth(bool),
}

impl Field {
    /// What PHP's `empty` says of it.
    fn is_empty(&self) -> bool {
        match self {
            Self::Absent => true,
            Self::Text(text) => matches!(text.as_str(), "" | "0"),
            Self::List(items) => items.is_empty(),
            Self::Truth(truth) => !truth,
        }
    }

    /// A name of sensible length.
    fn name(self) -> Option<String> {
        self.text().filter(|text| !text.is_empty() && text.len() <= MAX_NAME)
    }

    fn instance(self) -> Option<Instance> {
        self.text().and_then(|text| Instance::new(text).ok())
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

    fn settled(self) -> Vec<Settled> {
        let pair = |item: Self| {
            let Self::List(pair) = item else { return None };
            let [gateway, owner] = <[Self; 2]>::try_from(pair).ok()?;
            Some(Settled { gateway: gateway.instance()?, owner: owner.instance()? })
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
