//! The memory of a connection, and its list of pending output.

use super::*;

#[test]
fn negotiated_compression_takes_no_memory() {
    assert_eq!(size_of::<Option<PerMessageDeflate>>(), 1);
    assert_eq!(size_of::<Pending>(), 1, "it made room for that");
}

#[test]
fn idle_connection_has_no_more_memory_than_it_needs() {
    // The size of a socket depends on the features of tokio that a build of several crates has.
    let beside = size_of::<Connection>() - size_of::<tokio::net::TcpStream>();
    assert!(beside <= 432, "{beside} bytes beside its socket");
}

#[test]
fn lists_of_pending_output_are_independent() {
    let mut pending = Pending::default();
    assert!(!pending.is_dirty() && !pending.set_dirty(true) && pending.set_dirty(true));
    assert!(!pending.set_in_fan_out(true) && pending.is_dirty());
    assert!(pending.set_dirty(false) && !pending.is_dirty());
    pending.set_blocked(true);
    assert!(pending.is_blocked() && !pending.is_dirty() && pending.set_in_fan_out(false));
    assert!(pending.is_blocked());
    pending.set_blocked(false);
    assert_eq!(pending, Pending::default());
}
