//! What the two ends of a native link send each other.

use bytes::BytesMut;
use protocol::{
    Command, Instance, Secret,
    codec::native::{MAX_FRAME, MAX_STRANGER_FRAME, decode, encode},
    handshake::Transcript,
    link::{LinkMessage, Role, ToGateway, ToPeer},
};

/// Bytes as each end takes them, before and after it knows the other.
pub fn link(bytes: &[u8]) {
    each(bytes, MAX_FRAME, |message: ToGateway| {
        if let ToGateway::Command { command: Command::UpdateSession { changes, .. }, .. } = message
        {
            crate::update(&changes);
        }
    });
    each(bytes, MAX_FRAME, |_: ToPeer| ());
    let secret = Secret::from("s3cret");
    each(bytes, MAX_STRANGER_FRAME, |message| {
        if let ToGateway::Hello { role, nonce, proof } = message {
            assert!(!transcript(nonce, role).verify_peer(&secret, &proof), "it was guessed");
        }
    });
    each(bytes, MAX_STRANGER_FRAME, |message| {
        if let ToPeer::Welcome { proof, taken } = message {
            let role = Role::Client { instance: Instance::from_dice(9) };
            let said = transcript([9; 32], role);
            assert!(!said.verify_gateway(&secret, taken, &proof), "it was guessed");
        }
    });
}

fn transcript(peer_nonce: [u8; 32], role: Role) -> Transcript {
    Transcript {
        gateway_nonce: [7; 32],
        gateway: "127.0.0.1:2900".into(),
        gateway_instance: Instance::from_dice(7),
        peer_nonce,
        role,
    }
}

/// Hands on every message; each is written, and reads back as the same.
fn each<T: LinkMessage + PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    limit: usize,
    mut take: impl FnMut(T),
) {
    let mut buffer = BytesMut::from(bytes);
    let capacity = buffer.capacity();
    while let Ok(Some(message)) = decode::<T>(&mut buffer, limit) {
        let mut again = BytesMut::new();
        encode(&message, &mut again).expect("it was within the limit");
        assert_eq!(decode(&mut again, MAX_FRAME).expect("ours").as_ref(), Some(&message));
        take(message);
    }
    assert!(buffer.capacity() <= capacity, "nothing is reserved");
}
