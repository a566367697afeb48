//! Ports that nobody has.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Mutex,
};

/// A free port of this host, on loopback. Never the same twice.
///
/// It lies below the range from which the kernel takes ports by itself (for port 0, and for
/// every outgoing connection): one from that range would be free now and taken by a neighbour
/// before the process under test, started or restarted, comes to bind it.
///
/// # Panics
/// When there is none.
pub fn free() -> SocketAddr {
    static CLAIMED: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut claimed = CLAIMED.lock().unwrap();
    let dice = RandomState::new();
    let mut candidates = (0..1_000_u64).map(|at| 10_000 + (dice.hash_one(at) % 22_000) as u16);
    // Claimed first: to try a port that somebody was given is to have it in use for a moment.
    let port = candidates
        .find(|port| claimed.insert(*port) && TcpListener::bind(local(*port)).is_ok())
        .expect("some port is free");
    local(port)
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
