//! Messages of a native link, in both directions.

use bytes::BytesMut;
use protocol::{
    Command, InstanceId, Query, Secret,
    codec::native::{MAX_FRAME, MAX_UNAUTHENTICATED_FRAME, decode, encode},
    handshake::Transcript,
    link::{LinkMessage, Role, ToGateway, ToPeer},
};

/// Bytes as decoded by each end of a link, before and after authentication.
pub fn link(bytes: &[u8]) {
    each(bytes, MAX_FRAME, |message: ToGateway| match message {
        ToGateway::Command { command: Command::UpdateSession { changes, .. }, .. } => {
            crate::update(&changes);
        }
        ToGateway::Command { command: Command::RemoveSessionKeys { keys, .. }, .. } => {
            crate::remove(&keys);
        }
        ToGateway::Query { query: Query::SwapSession { expected, new, .. }, .. } => {
            assert_eq!(expected.equals(&new), new.equals(&expected));
        }
        _ => {}
    });
    each(bytes, MAX_FRAME, |_: ToPeer| ());
    let secret = Secret::from("s3cret");
    each(bytes, MAX_UNAUTHENTICATED_FRAME, |message| {
        if let ToGateway::Hello { role, nonce, proof } = message {
            assert!(
                !transcript(nonce, role).verify_peer(&secret, &proof),
                "random bytes authenticate"
            );
        }
    });
    each(bytes, MAX_UNAUTHENTICATED_FRAME, |message| {
        if let ToPeer::Welcome { proof, taken } = message {
            let role = Role::Backend { instance: InstanceId::from_random(9) };
            let transcript = transcript([9; 32], role);
            assert!(
                !transcript.verify_gateway(&secret, taken, &proof),
                "random bytes authenticate"
            );
        }
    });
}

fn transcript(peer_nonce: [u8; 32], role: Role) -> Transcript {
    Transcript {
        gateway_nonce: [7; 32],
        gateway: "127.0.0.1:2900".into(),
        gateway_instance: InstanceId::from_random(7),
        peer_nonce,
        role,
    }
}

/// Passes on every message, after checking that encoding and decoding it again yields the same.
fn each<T: LinkMessage + PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    limit: usize,
    mut take: impl FnMut(T),
) {
    let mut buffer = BytesMut::from(bytes);
    let capacity = buffer.capacity();
    while let Ok(Some(message)) = decode::<T>(&mut buffer, limit) {
        let mut again = BytesMut::new();
        encode(&message, &mut again).expect("a decoded frame is within the limit");
        assert_eq!(
            decode(&mut again, MAX_FRAME).expect("an encoded frame can be decoded").as_ref(),
            Some(&message)
        );
        take(message);
    }
    assert!(buffer.capacity() <= capacity, "no memory is reserved");
}
