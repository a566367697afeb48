//! Two gateways with one inner address, in every order of what may happen.

use proptest::prelude::*;

use super::*;

const ADDRESS: &str = "10.0.0.1:2900";
const SECOND: Duration = Duration::from_secs(1);

fn gateway(instance: &str) -> Gateway {
    let instance = Instance::new(instance).ok();
    Gateway { native: true, instance, ..Gateway::plain(ADDRESS.to_owned()) }
}

fn from(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], port))
}

/// Gateway `a` of host 1 is there; gateway `b` of that host announces the same address.
fn two(host: u8, now: Instant) -> Claims {
    let mut claims = Claims::default();
    assert_eq!(claims.announce(1, from(1, 1), &gateway("a"), now), Decision::Accept);
    let second = claims.announce(2, from(host, 2), &gateway("b"), now);
    assert_eq!(second, Decision::Wait { holder: 1 });
    assert!(claims.hear(2).is_empty());
    claims
}

#[test]
fn second_gateway_is_refused_once_the_first_speaks_and_then_at_once() {
    for host in [1, 2] {
        let now = Instant::now();
        let mut claims = two(host, now);
        assert_eq!(claims.hear(1), [Refusal { peer: 2, holder: from(1, 1) }]);
        assert!(claims.due(now + PROBE).is_empty());
        let again = claims.announce(3, from(host, 3), &gateway("b"), now);
        assert_eq!(again, Decision::Refuse { holder: from(1, 1) });
        assert!(claims.leave(1).is_empty());
        let later = claims.announce(4, from(host, 4), &gateway("b"), now);
        assert_eq!(later, Decision::Accept);
    }
}

#[test]
fn second_gateway_is_let_in_once_the_connection_of_the_first_ends() {
    for host in [1, 2] {
        let mut claims = two(host, Instant::now());
        assert_eq!(claims.leave(1), [2]);
        assert!(claims.hear(2).is_empty());
    }
}

#[test]
fn second_gateway_of_another_host_is_let_in_where_the_first_is_silent() {
    let now = Instant::now();
    let mut claims = two(2, now);
    assert!(claims.due(now + PROBE - SECOND).is_empty());
    assert_eq!(claims.due(now + PROBE), [2]);
    assert!(claims.hear(1).is_empty(), "it has lost the address");
    assert_eq!(claims.hear(2), [Refusal { peer: 1, holder: from(2, 2) }]);
}

#[test]
fn second_gateway_of_the_same_host_is_let_in_sooner_and_still_refused_where_both_live() {
    let now = Instant::now();
    let mut claims = two(1, now);
    assert!(claims.due(now + SAME_HOST / 2).is_empty());
    assert_eq!(claims.due(now + SAME_HOST), [2]);
    assert!(claims.due(now + SAME_HOST).is_empty(), "once");
    assert_eq!(claims.hear(1), [Refusal { peer: 2, holder: from(1, 1) }]);

    let mut claims = two(1, now);
    assert_eq!(claims.due(now + SAME_HOST), [2]);
    assert!(claims.due(now + PROBE).is_empty(), "it is in already");
    assert_eq!(claims.hear(2), [Refusal { peer: 1, holder: from(1, 2) }]);
}

#[test]
fn of_several_that_wait_one_is_let_in() {
    let now = Instant::now();
    for is_silent in [false, true] {
        let mut claims = two(2, now);
        claims.announce(3, from(3, 3), &gateway("c"), now + SECOND);
        let let_in = if is_silent { claims.due(now + PROBE) } else { claims.leave(1) };
        assert_eq!(let_in, [2]);
        assert!(claims.hear(2).contains(&Refusal { peer: 3, holder: from(2, 2) }));
    }
}

#[test]
fn gateways_without_an_instance_are_all_let_in() {
    let (mut claims, now) = (Claims::default(), Instant::now());
    let plain = Gateway::plain(ADDRESS.to_owned());
    for (peer, gateway) in [(1, gateway("a")), (2, plain.clone()), (3, plain)] {
        let peer_from = from(peer as u8, 1);
        assert_eq!(claims.announce(peer, peer_from, &gateway, now), Decision::Accept);
    }
    assert!(claims.hear(1).is_empty());
}

#[test]
fn gateway_that_announces_itself_on_two_connections_is_one() {
    let (mut claims, now) = (Claims::default(), Instant::now());
    for peer in [1, 2] {
        assert_eq!(claims.announce(peer, from(1, 1), &gateway("a"), now), Decision::Accept);
    }
    assert!(claims.hear(1).is_empty());
    // The same of one that waits.
    let mut claims = two(2, now);
    claims.announce(3, from(2, 3), &gateway("b"), now);
    assert_eq!(claims.leave(1), [2, 3]);
    assert!(claims.hear(2).is_empty());
}

#[test]
fn what_is_remembered_of_refused_gateways_is_bounded() {
    let (mut claims, now) = (Claims::default(), Instant::now());
    claims.announce(0, from(1, 1), &gateway("first"), now);
    for peer in 1..1000 {
        claims.announce(peer, from(2, 2), &gateway(&peer.to_string()), now);
        assert_eq!(claims.hear(0).len(), 1);
    }
    assert_eq!((claims.refused.len(), claims.claims.len()), (REMEMBERED, 1));
}

proptest! {
    /// Whatever happens, each address has one holder at the most, and one where anything claims it.
    #[test]
    fn address_has_one_holder(
        steps in prop::collection::vec((0_u8..4, 1_u64..7, 0_u8..3, 0_u8..3, 0_u64..40), 1..60),
    ) {
        let (mut claims, mut now) = (Claims::default(), Instant::now());
        for (what, peer, instance, host, seconds) in steps {
            now += SECOND * u32::try_from(seconds).unwrap();
            match what {
                0 => {
                    // A connection announces one address for as long as it lives.
                    claims.leave(peer);
                    claims.announce(peer, from(host, 1), &gateway(&instance.to_string()), now);
                }
                1 => drop(claims.hear(peer)),
                2 => drop(claims.leave(peer)),
                _ => drop(claims.due(now)),
            }
            let held = claims.claims.iter().filter(|it| it.stage == Stage::Held);
            let mut holders: Vec<_> = held.map(|it| it.instance.as_str()).collect();
            holders.dedup();
            prop_assert_eq!(holders.len(), usize::from(!claims.claims.is_empty()), "{:?}", claims);
        }
    }
}
