//! The text form of client ids, for arbitrary addresses and texts.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use proptest::prelude::*;
use push_suite_protocol::{ClientId, ConnectionId};

proptest! {
    #[test]
    fn client_id_round_trips_through_text(ip: IpAddr, port: u16, connection: u32) {
        let id = ClientId::new(SocketAddr::new(ip, port), ConnectionId(connection));
        let text = id.to_string();
        prop_assert_eq!(text.len(), if ip.is_ipv4() { 20 } else { 44 });
        prop_assert!(text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')));
        prop_assert_eq!(text.parse(), Ok(id));
        prop_assert_eq!(text.to_uppercase().parse(), Ok(id));
    }

    #[test]
    fn distinct_client_ids_have_distinct_texts(one: (IpAddr, u16, u32), other: (IpAddr, u16, u32)) {
        let id = |(ip, port, connection)| {
            ClientId::new(SocketAddr::new(ip, port), ConnectionId(connection))
        };
        let (one, other) = (id(one), id(other));
        prop_assert_eq!(one == other, one.to_string() == other.to_string());
    }

    #[test]
    fn hex_text_of_valid_length_is_a_client_id(text in "[0-9a-fA-F]{20}|[0-9a-fA-F]{44}") {
        let id: ClientId = text.parse().unwrap();
        prop_assert_eq!(id.to_string(), text.to_lowercase());
    }

    #[test]
    fn other_text_is_rejected(text in ".{0,60}") {
        let digits = text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let is_id = digits && matches!(text.len(), 20 | 44);
        prop_assert_eq!(text.parse::<ClientId>().is_ok(), is_id);
    }

    /// Texts of a valid length pass more checks than others do.
    #[test]
    fn text_of_valid_length_does_not_panic(text in "[0-9a-fé+_ x-]{9,44}") {
        if let Ok(id) = text.parse::<ClientId>() {
            prop_assert_eq!(id.to_string(), text.to_lowercase());
        }
    }

    #[test]
    fn ipv6_scope_and_flow_labels_are_ignored(bits: u128, port: u16, label: u32) {
        let labelled = SocketAddrV6::new(bits.into(), port, label, label);
        let plain = SocketAddrV6::new(bits.into(), port, 0, 0);
        let id = |gateway: SocketAddrV6| ClientId::new(gateway.into(), ConnectionId(1));
        prop_assert_eq!(id(labelled), id(plain));
    }
}
