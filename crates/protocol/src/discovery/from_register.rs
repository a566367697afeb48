//! What a register says to its peers.

use std::{collections::HashSet, net::IpAddr};

use bytes::{BufMut, BytesMut};
use serde_json::Value;

use super::{Gateway, Settled, Takeover};
use crate::{Instance, codec::json_lines};

/// A line from a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromRegister {
    /// All gateways there are, each address once. Replaces whatever was said before.
    BroadcastAddresses {
        /// The gateways.
        gateways: Vec<Gateway>,
        /// What only workers of ours are told, and only by a register of ours.
        presence: Option<Presence>,
    },
}

/// Answers a [`Ping`](super::ToRegister::Ping) that asks for it.
pub fn pong(out: &mut BytesMut) {
    json_lines::encode(&serde_json::json!({ "event": "pong" }), out);
}

/// What workers know of each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// The workers that are there.
    pub workers: Vec<Instance>,
    /// What has been settled lately, by anybody.
    pub settled: Vec<Settled>,
    /// What standbys have closed lately.
    pub takeovers: Vec<Takeover>,
    /// Which of the workers reach every gateway.
    pub complete: Vec<Instance>,
}

/// A line that tells us nothing. What it said is not kept: a register that refuses a request
/// repeats it, with the secret in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Incomprehensible {
    /// The register did not understand us, and is about to close.
    #[error("register calls this a bad request")]
    BadRequest,
    /// Not a JSON object with a known event and what belongs to it.
    #[error("not a line of a register")]
    Unknown,
}

impl FromRegister {
    /// Reads one line, without its ending. A list of addresses may be an object, since PHP
    /// registers send one where an address was announced twice.
    pub fn parse(line: &[u8]) -> Result<Self, Incomprehensible> {
        if line.starts_with(BAD_REQUEST.as_bytes()) {
            return Err(Incomprehensible::BadRequest);
        }
        let mut line: Value =
            serde_json::from_slice(line).map_err(|_| Incomprehensible::Unknown)?;
        if line.get("event").and_then(Value::as_str) != Some("broadcast_addresses") {
            return Err(Incomprehensible::Unknown);
        }
        let addresses = match line.get_mut("addresses").map(Value::take) {
            Some(Value::Array(list)) => list,
            Some(Value::Object(map)) => map.into_iter().map(|(_, address)| address).collect(),
            Some(_) | None => return Err(Incomprehensible::Unknown),
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

    /// Writes it as a line. Without a gateway that says more than its address, these are the
    /// bytes of a PHP register.
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
            fields["workers"] = workers.iter().map(Instance::as_str).collect();
            fields["settled"] =
                settled.iter().map(|it| serde_json::json!([it.gateway, it.owner])).collect();
            if !takeovers.is_empty() {
                fields["takeovers"] = takeovers.iter().map(Takeover::to_texts).collect();
            }
            if !complete.is_empty() {
                fields["complete"] = complete.iter().map(Instance::as_str).collect();
            }
        }
        json_lines::encode(&fields, out);
    }
}

fn field(line: &mut Value, name: &str) -> Value {
    line.get_mut(name).map(Value::take).unwrap_or_default()
}

/// The usable items of a list, or none if it is not one.
fn list<T>(value: Value, read: impl Fn(Value) -> Option<T>) -> Vec<T> {
    match value {
        Value::Array(items) => items.into_iter().filter_map(read).collect(),
        _ => Vec::new(),
    }
}

fn instance(value: Value) -> Option<Instance> {
    value.as_str().and_then(|text| Instance::new(text).ok())
}

fn settled(value: Value) -> Option<Settled> {
    let [gateway, owner] = <[Value; 2]>::try_from(list(value, Some)).ok()?;
    Some(Settled { gateway: instance(gateway)?, owner: instance(owner)? })
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

/// Writes the answer to a line that is no request, as the reference words it. `line` is repeated
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

    fn parse(text: &str) -> Result<Vec<Gateway>, Incomprehensible> {
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
        Gateway { native: true, instance: Some(Instance::new(instance).unwrap()), ..plain(address) }
    }

    #[test]
    fn both_forms_of_a_php_list_are_understood() {
        let list = parse(r#"{"event":"broadcast_addresses","addresses":["b:2","a:1"]}"#);
        assert_eq!(list.unwrap(), [plain("b:2"), plain("a:1")]);
        let list = parse(r#"{"event":"broadcast_addresses","addresses":{"0":"b:2","2":"a:1"}}"#);
        assert_eq!(list.unwrap(), [plain("b:2"), plain("a:1")]);
        let list = parse(r#"{"event":"broadcast_addresses","addresses":[]}"#);
        assert_eq!(list.unwrap(), []);
    }

    #[test]
    fn the_addresses_are_the_truth_and_the_gateways_add_to_it() {
        let list = parse(
            r#"{"event":"broadcast_addresses","addresses":["a:1",5,"b:2","a:1"],
                "gateways":[{"address":"c:3","native":true},7,{"native":true},
                            {"address":"b:2","native":true,"instance":"9f","more":1}]}"#,
        );
        assert_eq!(list.unwrap(), [plain("a:1"), native("b:2", "9f")]);
    }

    #[test]
    fn nonsense_is_told_apart_from_a_refusal() {
        for text in
            ["", "x", "[]", "{}", r#"{"event":"other"}"#, r#"{"event":"broadcast_addresses"}"#]
        {
            assert_eq!(parse(text), Err(Incomprehensible::Unknown), "{text}");
        }
        let mut answer = BytesMut::new();
        bad_request(IpAddr::from([127, 0, 0, 1]), b"hello", &mut answer);
        assert_eq!(FromRegister::parse(&answer), Err(Incomprehensible::BadRequest));
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
    fn what_workers_are_told_of_each_other_reads_back() {
        let name = |text: &str| Instance::new(text).unwrap();
        let settled = vec![Settled { gateway: name("8e"), owner: name("3c") }];
        let workers = vec![name("3c"), name("4d")];
        let (takeovers, complete) = (vec![], vec![]);
        let presence = Some(Presence { workers, settled, takeovers, complete });
        let said = FromRegister::BroadcastAddresses { gateways: vec![plain("a:1")], presence };
        let mut out = BytesMut::new();
        said.encode(&mut out);
        let expected = "{\"event\":\"broadcast_addresses\",\"addresses\":[\"a:1\"],\
                        \"workers\":[\"3c\",\"4d\"],\"settled\":[[\"8e\",\"3c\"]]}\n";
        assert_eq!(str::from_utf8(&out).unwrap(), expected);
        assert_eq!(FromRegister::parse(out.trim_ascii_end()), Ok(said));
    }

    #[test]
    fn takeovers_and_complete_workers_read_back() {
        let name = |text: &str| Instance::new(text).unwrap();
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
        let said = FromRegister::BroadcastAddresses { gateways: vec![plain("a:1")], presence };
        let mut out = BytesMut::new();
        said.encode(&mut out);
        let expected = "{\"event\":\"broadcast_addresses\",\"addresses\":[\"a:1\"],\
                        \"workers\":[\"4d\"],\"settled\":[],\"takeovers\":[[\"8e\",\"4d\",\
                        \"000000000000001f\",\"3c\",\"4d\",\"5e\"]],\"complete\":[\"4d\"]}\n";
        assert_eq!(str::from_utf8(&out).unwrap(), expected);
        assert_eq!(FromRegister::parse(out.trim_ascii_end()), Ok(said));
    }

    #[test]
    fn what_makes_no_sense_of_workers_is_left_out() {
        let line = br#"{"event":"broadcast_addresses","addresses":[],"workers":["3c",5,""],
            "settled":[["8e"],["8e","3c"],["8e","3c",1],7,["",""]],"complete":[1,"3c"],
            "takeovers":[["8e","4d","x","3c","4d"],["8e","4d","1","3c"],["8e","4d","1","3c",4],7]}"#;
        let Ok(FromRegister::BroadcastAddresses { presence: Some(presence), .. }) =
            FromRegister::parse(line)
        else {
            panic!("it says who is there");
        };
        let name = |text: &str| Instance::new(text).unwrap();
        assert_eq!(presence.workers, [name("3c")]);
        assert_eq!(presence.settled, [Settled { gateway: name("8e"), owner: name("3c") }]);
        assert_eq!((presence.takeovers, presence.complete), (vec![], vec![name("3c")]));
    }

    #[test]
    fn the_answer_to_a_bad_request_repeats_it() {
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
        fn what_is_written_reads_back(
            sent in prop::collection::hash_map(
                ".{0,20}", (any::<bool>(), prop::option::of("[0-9a-f]{1,10}")), 0..8,
            ),
        ) {
            let sent: Vec<Gateway> = sent
                .into_iter()
                .map(|(address, (native, instance))| {
                    let instance = instance.map(|text| Instance::new(text).unwrap());
                    Gateway { address, native, instance }
                })
                .collect();
            prop_assert_eq!(parse(line(sent.clone()).trim_end_matches('\n')).unwrap(), sent);
        }

        #[test]
        fn no_line_panics(line in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = FromRegister::parse(&line);
        }
    }
}
