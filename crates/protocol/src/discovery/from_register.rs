//! Messages from a register to its peers.

use std::{collections::HashSet, net::IpAddr};

use bytes::{BufMut, BytesMut};
use serde_json::Value;

use super::{CleanupRecord, Gateway, Takeover};
use crate::{InstanceId, codec::json_lines};

/// A line from a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromRegister {
    /// All registered gateways, each address once. Replaces every earlier list.
    BroadcastAddresses {
        /// The gateways.
        gateways: Vec<Gateway>,
        /// Sent only to Rust workers, and only by a Rust register.
        presence: Option<Presence>,
    },
}

/// Writes the answer to a [`Ping`](super::ToRegister::Ping) that requests one.
pub fn pong(out: &mut BytesMut) {
    json_lines::encode(&serde_json::json!({ "event": "pong" }), out);
}

/// The state that workers share through a register.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// The registered workers.
    pub workers: Vec<InstanceId>,
    /// Recent cleanup records, of all workers.
    pub settled: Vec<CleanupRecord>,
    /// Recent takeovers by standbys.
    pub takeovers: Vec<Takeover>,
    /// The workers that reach every gateway.
    pub complete: Vec<InstanceId>,
}

/// A line that cannot be used. Its text is not kept: a register that refuses a request echoes it,
/// including the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterParseError {
    /// The register could not parse a request, and is about to close the connection.
    #[error("register refused the request as malformed")]
    BadRequest,
    /// Not a JSON object with a known event and its fields.
    #[error("not a register message")]
    Unknown,
}

impl FromRegister {
    /// Parses one line, without its ending. The list of addresses may be an object, since PHP
    /// registers send one if an address was announced twice.
    pub fn parse(line: &[u8]) -> Result<Self, RegisterParseError> {
        if line.starts_with(BAD_REQUEST.as_bytes()) {
            return Err(RegisterParseError::BadRequest);
        }
        let mut line: Value =
            serde_json::from_slice(line).map_err(|_| RegisterParseError::Unknown)?;
        if line.get("event").and_then(Value::as_str) != Some("broadcast_addresses") {
            return Err(RegisterParseError::Unknown);
        }
        let addresses = match line.get_mut("addresses").map(Value::take) {
            Some(Value::Array(list)) => list,
            Some(Value::Object(map)) => map.into_iter().map(|(_, address)| address).collect(),
            Some(_) | None => return Err(RegisterParseError::Unknown),
        };
        let details = match line.get_mut("gateways").map(Value::take) {
            Some(Value::Array(list)) => list,
            Some(_) | None => Vec::new(),
        };
        let mut details: Vec<Gateway> =
            details.into_iter().filter_map(|one| serde_json::from_value(one).ok()).collect();
        let mut seen = HashSet::new();
        let mut gateways = Vec::new();
        for address in addresses {
            let Value::String(address) = address else { continue };
            if seen.insert(address.clone()) {
                let detail = details.iter().position(|one| one.address == address);
                let gateway = detail.map(|at| details.swap_remove(at));
                gateways.push(gateway.unwrap_or_else(|| Gateway::plain(address)));
            }
        }
        let presence = line.get_mut("workers").map(Value::take).map(|workers| Presence {
            workers: list(workers, instance),
            settled: list(field(&mut line, "settled"), settled),
            takeovers: list(field(&mut line, "takeovers"), takeover),
            complete: list(field(&mut line, "complete"), instance),
        });
        Ok(Self::BroadcastAddresses { gateways, presence })
    }

    /// Writes it as a line. If no gateway has details besides its address, these are the bytes of a
    /// PHP register.
    pub fn encode(&self, out: &mut BytesMut) {
        let Self::BroadcastAddresses { gateways, presence } = self;
        let addresses: Vec<&str> = gateways.iter().map(|one| one.address.as_str()).collect();
        let mut fields = serde_json::json!({
            "event": "broadcast_addresses",
            "addresses": addresses,
        });
        let details: Vec<Value> =
            gateways.iter().filter(|one| !one.is_plain()).map(detail).collect();
        if !details.is_empty() {
            fields["gateways"] = details.into();
        }
        if let Some(Presence { workers, settled, takeovers, complete }) = presence {
            fields["workers"] = workers.iter().map(InstanceId::as_str).collect();
            fields["settled"] =
                settled.iter().map(|it| serde_json::json!([it.gateway, it.owner])).collect();
            if !takeovers.is_empty() {
                fields["takeovers"] = takeovers.iter().map(Takeover::to_texts).collect();
            }
            if !complete.is_empty() {
                fields["complete"] = complete.iter().map(InstanceId::as_str).collect();
            }
        }
        json_lines::encode(&fields, out);
    }
}

fn field(line: &mut Value, name: &str) -> Value {
    line.get_mut(name).map(Value::take).unwrap_or_default()
}

/// The valid items of a list; empty if the value is not a list.
fn list<T>(value: Value, read: impl Fn(Value) -> Option<T>) -> Vec<T> {
    match value {
        Value::Array(items) => items.into_iter().filter_map(read).collect(),
        _ => Vec::new(),
    }
}

fn instance(value: Value) -> Option<InstanceId> {
    value.as_str().and_then(|text| InstanceId::new(text).ok())
}

fn settled(value: Value) -> Option<CleanupRecord> {
    let [gateway, owner] = <[Value; 2]>::try_from(list(value, Some)).ok()?;
    Some(CleanupRecord { gateway: instance(gateway)?, owner: instance(owner)? })
}

fn takeover(value: Value) -> Option<Takeover> {
    let texts = list(value, |item| Some(item.as_str().map(str::to_owned)));
    Takeover::from_texts(&texts.into_iter().collect::<Option<Vec<_>>>()?)
}

fn detail(gateway: &Gateway) -> Value {
    let mut fields = serde_json::json!({ "address": gateway.address, "native": gateway.native });
    if let Some(instance) = &gateway.instance {
        fields["instance"] = instance.as_str().into();
    }
    fields
}

/// Writes the reply to a line that is not a request, in GatewayWorker's wording. `line` is echoed
/// byte by byte.
pub fn bad_request(from: IpAddr, line: &[u8], out: &mut BytesMut) {
    out.put_slice(BAD_REQUEST.as_bytes());
    out.put_slice(format!("IP:{from}, Request Buffer:").as_bytes());
    out.put_slice(line);
    out.put_slice(b"). See http://doc2.workerman.net/register-auth-timeout.html\n");
}

const BAD_REQUEST: &str = "Bad request for Register service. Request info(";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Vec<Gateway>, RegisterParseError> {
        let parsed = FromRegister::parse(text.as_bytes());
        parsed.map(|FromRegister::BroadcastAddresses { gateways, .. }| gateways)
    }

    fn line(gateways: Vec<Gateway>) -> String {
        let mut out = BytesMut::new();
        FromRegister::BroadcastAddresses { gateways, presence: None }.encode(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn plain(address: &str) -> Gateway {
        Gateway::plain(address.to_owned())
    }

    fn native(address: &str, instance: &str) -> Gateway {
        Gateway {
            native: true,
            instance: Some(InstanceId::new(instance).unwrap()),
            ..plain(address)
        }
    }

    #[test]
    fn php_list_is_accepted_as_array_and_as_object() {
        let list = parse(r#"{"event":"broadcast_addresses","addresses":["b:2","a:1"]}"#);
        assert_eq!(list.unwrap(), [plain("b:2"), plain("a:1")]);
        let list = parse(r#"{"event":"broadcast_addresses","addresses":{"0":"b:2","2":"a:1"}}"#);
        assert_eq!(list.unwrap(), [plain("b:2"), plain("a:1")]);
        let list = parse(r#"{"event":"broadcast_addresses","addresses":[]}"#);
        assert_eq!(list.unwrap(), []);
    }

    #[test]
    fn gateway_details_without_an_address_are_ignored() {
        let list = parse(
            r#"{"event":"broadcast_addresses","addresses":["a:1",5,"b:2","a:1"],
                "gateways":[{"address":"c:3","native":true},7,{"native":true},
                            {"address":"b:2","native":true,"instance":"9f","more":1}]}"#,
        );
        assert_eq!(list.unwrap(), [plain("a:1"), native("b:2", "9f")]);
    }

    #[test]
    fn garbage_is_distinguished_from_a_refusal() {
        for text in
            ["", "x", "[]", "{}", r#"{"event":"other"}"#, r#"{"event":"broadcast_addresses"}"#]
        {
            assert_eq!(parse(text), Err(RegisterParseError::Unknown), "{text}");
        }
        let mut answer = BytesMut::new();
        bad_request(IpAddr::from([127, 0, 0, 1]), b"hello", &mut answer);
        assert_eq!(FromRegister::parse(&answer), Err(RegisterParseError::BadRequest));
    }

    /// These lines are a promise to deployed peers. Add cases; never edit one.
    #[test]
    fn golden_lines() {
        let event = "{\"event\":\"broadcast_addresses\",\"addresses\":";
        assert_eq!(line(vec![]), format!("{event}[]}}\n"));
        assert_eq!(line(vec![plain("b:2"), plain("a:1")]), format!("{event}[\"b:2\",\"a:1\"]}}\n"));
        assert_eq!(
            line(vec![plain("b:2"), native("a:1", "9f")]),
            format!(
                "{event}[\"b:2\",\"a:1\"],\"gateways\":[{{\"address\":\"a:1\",\"native\":true,\
                 \"instance\":\"9f\"}}]}}\n"
            ),
        );
    }

    #[test]
    fn presence_round_trips() {
        let name = |text: &str| InstanceId::new(text).unwrap();
        let settled = vec![CleanupRecord { gateway: name("8e"), owner: name("3c") }];
        let workers = vec![name("3c"), name("4d")];
        let (takeovers, complete) = (vec![], vec![]);
        let presence = Some(Presence { workers, settled, takeovers, complete });
        let message = FromRegister::BroadcastAddresses { gateways: vec![plain("a:1")], presence };
        let mut out = BytesMut::new();
        message.encode(&mut out);
        let expected = "{\"event\":\"broadcast_addresses\",\"addresses\":[\"a:1\"],\
                        \"workers\":[\"3c\",\"4d\"],\"settled\":[[\"8e\",\"3c\"]]}\n";
        assert_eq!(str::from_utf8(&out).unwrap(), expected);
        assert_eq!(FromRegister::parse(out.trim_ascii_end()), Ok(message));
    }

    #[test]
    fn takeovers_and_complete_workers_round_trip() {
        let name = |text: &str| InstanceId::new(text).unwrap();
        let takeover = Takeover {
            gateway: name("8e"),
            by: name("4d"),
            digest: 0x1f,
            holders: vec![name("3c"), name("4d"), name("5e")],
        };
        let presence = Some(Presence {
            workers: vec![name("4d")],
            takeovers: vec![takeover],
            complete: vec![name("4d")],
            ..Presence::default()
        });
        let message = FromRegister::BroadcastAddresses { gateways: vec![plain("a:1")], presence };
        let mut out = BytesMut::new();
        message.encode(&mut out);
        let expected = "{\"event\":\"broadcast_addresses\",\"addresses\":[\"a:1\"],\
                        \"workers\":[\"4d\"],\"settled\":[],\"takeovers\":[[\"8e\",\"4d\",\
                        \"000000000000001f\",\"3c\",\"4d\",\"5e\"]],\"complete\":[\"4d\"]}\n";
        assert_eq!(str::from_utf8(&out).unwrap(), expected);
        assert_eq!(FromRegister::parse(out.trim_ascii_end()), Ok(message));
    }

    #[test]
    fn invalid_presence_entries_are_skipped() {
        let line = br#"{"event":"broadcast_addresses","addresses":[],"workers":["3c",5,""],
            "settled":[["8e"],["8e","3c"],["8e","3c",1],7,["",""]],"complete":[1,"3c"],
            "takeovers":[["8e","4d","x","3c","4d"],["8e","4d","1","3c"],["8e","4d","1","3c",4],7]}"#;
        let Ok(FromRegister::BroadcastAddresses { presence: Some(presence), .. }) =
            FromRegister::parse(line)
        else {
            panic!("the line has presence");
        };
        let name = |text: &str| InstanceId::new(text).unwrap();
        assert_eq!(presence.workers, [name("3c")]);
        assert_eq!(presence.settled, [CleanupRecord { gateway: name("8e"), owner: name("3c") }]);
        assert_eq!((presence.takeovers, presence.complete), (vec![], vec![name("3c")]));
    }

    #[test]
    fn reply_to_a_bad_request_echoes_it() {
        let mut answer = BytesMut::new();
        bad_request(IpAddr::from([127, 0, 0, 1]), b"h\xffi", &mut answer);
        assert_eq!(
            answer,
            b"Bad request for Register service. Request info(IP:127.0.0.1, Request Buffer:h\xffi). \
              See http://doc2.workerman.net/register-auth-timeout.html\n"[..]
        );
    }

    proptest! {
        #[test]
        fn encoded_line_round_trips(
            sent in prop::collection::hash_map(
                ".{0,20}", (any::<bool>(), prop::option::of("[0-9a-f]{1,10}")), 0..8,
            ),
        ) {
            let sent: Vec<Gateway> = sent
                .into_iter()
                .map(|(address, (native, instance))| {
                    let instance = instance.map(|text| InstanceId::new(text).unwrap());
                    Gateway { address, native, instance }
                })
                .collect();
            prop_assert_eq!(parse(line(sent.clone()).trim_end_matches('\n')).unwrap(), sent);
        }

        #[test]
        fn arbitrary_line_does_not_panic(line in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = FromRegister::parse(&line);
        }
    }
}
