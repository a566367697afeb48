//! What a register says to its peers.

use std::{collections::HashSet, net::IpAddr};

use bytes::{BufMut, BytesMut};
use serde_json::Value;

use super::Gateway;
use crate::codec::json_lines;

/// A line from a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromRegister {
    /// All gateways there are, each address once. Replaces whatever was said before.
    BroadcastAddresses(Vec<Gateway>),
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
        Ok(Self::BroadcastAddresses(gateways))
    }

    /// Writes it as a line. Without a gateway that says more than its address, these are the
    /// bytes of a PHP register.
    pub fn encode(&self, out: &mut BytesMut) {
        let Self::BroadcastAddresses(gateways) = self;
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
        json_lines::encode(&fields, out);
    }
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
        FromRegister::parse(text.as_bytes()).map(|FromRegister::BroadcastAddresses(list)| list)
    }

    fn line(gateways: Vec<Gateway>) -> String {
        let mut out = BytesMut::new();
        FromRegister::BroadcastAddresses(gateways).encode(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn plain(address: &str) -> Gateway {
        Gateway::plain(address.to_owned())
    }

    fn native(address: &str, instance: &str) -> Gateway {
        Gateway { native: true, instance: Some(instance.to_owned()), ..plain(address) }
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
                ".{0,20}", (any::<bool>(), prop::option::of(".{0,10}")), 0..8,
            ),
        ) {
            let sent: Vec<Gateway> = sent
                .into_iter()
                .map(|(address, (native, instance))| Gateway { address, native, instance })
                .collect();
            prop_assert_eq!(parse(line(sent.clone()).trim_end_matches('\n')).unwrap(), sent);
        }

        #[test]
        fn no_line_panics(line in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = FromRegister::parse(&line);
        }
    }
}
