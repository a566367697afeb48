//! Client ids as text: what they promise for every address and every text.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use proptest::prelude::*;
use protocol::{ClientId, ConnectionId};

proptest! {
    #[test]
    fn every_id_reads_back_from_its_text(ip: IpAddr, port: u16, connection: u32) {
        let id = ClientId::new(SocketAddr::new(ip, port), ConnectionId(connection));
        let text = id.to_string();
        prop_assert_eq!(text.len(), if ip.is_ipv4() { 20 } else { 44 });
        prop_assert!(text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')));
        prop_assert_eq!(text.parse(), Ok(id));
        prop_assert_eq!(text.to_uppercase().parse(), Ok(id));
    }

    #[test]
    fn two_ids_never_share_a_text(one: (IpAddr, u16, u32), other: (IpAddr, u16, u32)) {
        let id = |(ip, port, connection)| {
            ClientId::new(SocketAddr::new(ip, port), ConnectionId(connection))
        };
        let (one, other) = (id(one), id(other));
        prop_assert_eq!(one == other, one.to_string() == other.to_string());
    }

    #[test]
    fn digits_of_the_right_number_are_an_id(text in "[0-9a-fA-F]{20}|[0-9a-fA-F]{44}") {
        let id: ClientId = text.parse().unwrap();
        prop_assert_eq!(id.to_string(), text.to_lowercase());
    }

    #[test]
    fn no_other_text_is_one(text in ".{0,60}") {
        let digits = text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let is_id = digits && matches!(text.len(), 20 | 44);
        prop_assert_eq!(text.parse::<ClientId>().is_ok(), is_id);
    }

    /// Texts of the right length reach further than others do.
    #[test]
    fn no_text_of_the_right_length_ends_the_process(text in "[0-9a-fé+_ x-]{9,44}") {
        if let Ok(id) = text.parse::<ClientId>() {
            prop_assert_eq!(id.to_string(), text.to_lowercase());
        }
    }

    #[test]
    fn labels_that_the_text_does_not_carry_do_not_count(bits: u128, port: u16, label: u32) {
        let labelled = SocketAddrV6::new(bits.into(), port, label, label);
        let plain = SocketAddrV6::new(bits.into(), port, 0, 0);
        let id = |gateway: SocketAddrV6| ClientId::new(gateway.into(), ConnectionId(1));
        prop_assert_eq!(id(labelled), id(plain));
    }
}
