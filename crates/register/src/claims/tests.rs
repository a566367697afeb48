//! Gateways with the same inner address, in all orders of events.

use proptest::prelude::*;

use super::*;

const ADDRESS: &str = "10.0.0.1:2900";
const SECOND: Duration = Duration::from_secs(1);

fn gateway(instance: &str) -> Gateway {
    let instance = InstanceId::new(instance).ok();
    Gateway { native: true, instance, ..Gateway::plain(ADDRESS.to_owned()) }
}

fn from(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], port))
}

/// Gateway `a` of host 1 holds the address; gateway `b` of the given host announces it as well.
fn two(host: u8, now: Instant) -> Claims {
    let mut claims = Claims::default();
    assert_eq!(claims.announce(1, from(1, 1), &gateway("a"), now), Decision::Accept);
    let second = claims.announce(2, from(host, 2), &gateway("b"), now);
    assert_eq!(second, Decision::Wait { holder: 1 });
    assert!(claims.note_activity(2).is_empty());
    claims
}

#[test]
fn second_gateway_is_refused_once_first_is_active_and_then_immediately() {
    for host in [1, 2] {
        let now = Instant::now();
        let mut claims = two(host, now);
        assert_eq!(claims.note_activity(1), [Refusal { peer: 2, holder: from(1, 1) }]);
        assert!(claims.due(now + PROBE_TIMEOUT).is_empty());
        let again = claims.announce(3, from(host, 3), &gateway("b"), now);
        assert_eq!(again, Decision::Refuse { holder: from(1, 1) });
        assert!(claims.remove(1).is_empty());
        let later = claims.announce(4, from(host, 4), &gateway("b"), now);
        assert_eq!(later, Decision::Accept);
    }
}

#[test]
fn second_gateway_is_admitted_once_connection_of_first_ends() {
    for host in [1, 2] {
        let mut claims = two(host, Instant::now());
        assert_eq!(claims.remove(1), [2]);
        assert!(claims.note_activity(2).is_empty());
    }
}

#[test]
fn second_gateway_on_another_host_is_admitted_if_first_is_silent() {
    let now = Instant::now();
    let mut claims = two(2, now);
    assert!(claims.due(now + PROBE_TIMEOUT - SECOND).is_empty());
    assert_eq!(claims.due(now + PROBE_TIMEOUT), [2]);
    assert!(claims.note_activity(1).is_empty(), "it has lost the address");
    assert_eq!(claims.note_activity(2), [Refusal { peer: 1, holder: from(2, 2) }]);
}

#[test]
fn second_gateway_on_same_host_is_admitted_sooner_and_refused_if_both_live() {
    let now = Instant::now();
    let mut claims = two(1, now);
    assert!(claims.due(now + SAME_HOST_DELAY / 2).is_empty());
    assert_eq!(claims.due(now + SAME_HOST_DELAY), [2]);
    assert!(claims.due(now + SAME_HOST_DELAY).is_empty(), "once");
    assert_eq!(claims.note_activity(1), [Refusal { peer: 2, holder: from(1, 1) }]);

    let mut claims = two(1, now);
    assert_eq!(claims.due(now + SAME_HOST_DELAY), [2]);
    assert!(claims.due(now + PROBE_TIMEOUT).is_empty(), "already admitted");
    assert_eq!(claims.note_activity(2), [Refusal { peer: 1, holder: from(1, 2) }]);
}

#[test]
fn single_gateway_is_admitted_of_several_waiting() {
    let now = Instant::now();
    for is_silent in [false, true] {
        let mut claims = two(2, now);
        claims.announce(3, from(3, 3), &gateway("c"), now + SECOND);
        let admitted = if is_silent { claims.due(now + PROBE_TIMEOUT) } else { claims.remove(1) };
        assert_eq!(admitted, [2]);
        assert!(claims.note_activity(2).contains(&Refusal { peer: 3, holder: from(2, 2) }));
    }
}

#[test]
fn gateways_without_instance_are_all_admitted() {
    let (mut claims, now) = (Claims::default(), Instant::now());
    let plain = Gateway::plain(ADDRESS.to_owned());
    for (peer, gateway) in [(1, gateway("a")), (2, plain.clone()), (3, plain)] {
        let peer_from = from(peer as u8, 1);
        assert_eq!(claims.announce(peer, peer_from, &gateway, now), Decision::Accept);
    }
    assert!(claims.note_activity(1).is_empty());
}

#[test]
fn gateway_announced_on_two_connections_is_not_in_conflict() {
    let (mut claims, now) = (Claims::default(), Instant::now());
    for peer in [1, 2] {
        assert_eq!(claims.announce(peer, from(1, 1), &gateway("a"), now), Decision::Accept);
    }
    assert!(claims.note_activity(1).is_empty());
    // The same applies to a waiting gateway.
    let mut claims = two(2, now);
    claims.announce(3, from(2, 3), &gateway("b"), now);
    assert_eq!(claims.remove(1), [2, 3]);
    assert!(claims.note_activity(2).is_empty());
}

#[test]
fn refused_instances_are_bounded() {
    let (mut claims, now) = (Claims::default(), Instant::now());
    claims.announce(0, from(1, 1), &gateway("first"), now);
    for peer in 1..1000 {
        claims.announce(peer, from(2, 2), &gateway(&peer.to_string()), now);
        assert_eq!(claims.note_activity(0).len(), 1);
    }
    assert_eq!((claims.refused.len(), claims.claims.len()), (MAX_REFUSED, 1));
}

proptest! {
    /// Each claimed address has exactly one holder, in any sequence of events.
    #[test]
    fn address_has_one_holder(
        steps in prop::collection::vec((0_u8..4, 1_u64..7, 0_u8..3, 0_u8..3, 0_u64..40), 1..60),
    ) {
        let (mut claims, mut now) = (Claims::default(), Instant::now());
        for (step, peer, instance, host, seconds) in steps {
            now += SECOND * u32::try_from(seconds).unwrap();
            match step {
                0 => {
                    // A connection announces a single address.
                    claims.remove(peer);
                    claims.announce(peer, from(host, 1), &gateway(&instance.to_string()), now);
                }
                1 => drop(claims.note_activity(peer)),
                2 => drop(claims.remove(peer)),
                _ => drop(claims.due(now)),
            }
            let held = claims.claims.iter().filter(|it| it.stage == Stage::Held);
            let mut holders: Vec<_> = held.map(|it| it.instance.as_str()).collect();
            holders.dedup();
            prop_assert_eq!(holders.len(), usize::from(!claims.claims.is_empty()), "{:?}", claims);
        }
    }
}
