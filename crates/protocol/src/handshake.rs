//! Mutual authentication of the two ends of a native link.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::{InstanceId, Secret, role::Role};

/// A number used once, 32 random bytes.
pub type Nonce = [u8; 32];

/// An HMAC-SHA256 keyed with the shared secret.
pub type Proof = [u8; 32];

/// The handshake of a native link up to the proofs.
///
/// Each end's proof covers all of it, so it is valid for this pair of processes, in these roles, at
/// this address, and once: a host that relays a handshake between a peer and a gateway other than
/// the one that the peer has dialled obtains a proof which that gateway does not accept. The peer
/// checks the gateway's address against the one that it dialled ([`is_for`](Self::is_for)).
#[derive(Clone, Debug)]
pub struct Transcript {
    /// The gateway's nonce.
    pub gateway_nonce: Nonce,
    /// The inner address that the gateway announces, as text.
    pub gateway: String,
    /// The gateway's instance.
    pub gateway_instance: InstanceId,
    /// The peer's nonce.
    pub peer_nonce: Nonce,
    /// The peer's role, with its key, if it is a worker, and its instance.
    pub role: Role,
}

impl Transcript {
    /// Whether the gateway announces the address that the peer has dialled.
    pub fn is_for(&self, dialled: &str) -> bool {
        let parsed = |text: &str| text.parse::<std::net::SocketAddr>().ok();
        self.gateway == dialled
            || parsed(dialled).is_some_and(|dialled| parsed(&self.gateway) == Some(dialled))
    }

    /// The peer's proof that it has the secret.
    pub fn peer_proof(&self, secret: &Secret) -> Proof {
        self.peer_mac(secret).finalize().into_bytes().into()
    }

    /// Whether this is the peer's proof; in constant time.
    pub fn verify_peer(&self, secret: &Secret, proof: &Proof) -> bool {
        self.peer_mac(secret).verify_slice(proof).is_ok()
    }

    /// The gateway's proof that it has the secret; it covers the contents of its `Welcome`.
    pub fn gateway_proof(&self, secret: &Secret, taken: u64) -> Proof {
        self.gateway_mac(secret, taken).finalize().into_bytes().into()
    }

    /// Whether this is the gateway's proof; in constant time.
    pub fn verify_gateway(&self, secret: &Secret, taken: u64, proof: &Proof) -> bool {
        self.gateway_mac(secret, taken).verify_slice(proof).is_ok()
    }

    fn peer_mac(&self, secret: &Secret) -> Hmac<Sha256> {
        secret.mac(&[b"push-suite link 2, peer", &self.encoded()])
    }

    fn gateway_mac(&self, secret: &Secret, taken: u64) -> Hmac<Sha256> {
        let taken = taken.to_be_bytes();
        secret.mac(&[b"push-suite link 2, gateway", &taken, &self.encoded()])
    }

    /// Each field prefixed with its length, so that no two transcripts have the same encoding.
    fn encoded(&self) -> Vec<u8> {
        let (role, key) = match &self.role {
            Role::Worker { key, .. } => ("worker", key.as_str()),
            Role::Backend { .. } => ("client", ""),
        };
        let fields: [&[u8]; 7] = [
            &self.gateway_nonce,
            self.gateway.as_bytes(),
            self.gateway_instance.as_str().as_bytes(),
            &self.peer_nonce,
            role.as_bytes(),
            key.as_bytes(),
            self.role.instance().as_str().as_bytes(),
        ];
        let mut encoded = Vec::new();
        for field in fields {
            encoded.extend_from_slice(&(field.len() as u64).to_be_bytes());
            encoded.extend_from_slice(field);
        }
        encoded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(number: u64) -> InstanceId {
        InstanceId::from_random(number)
    }

    fn transcript() -> Transcript {
        Transcript {
            gateway_nonce: [1; 32],
            gateway: "10.0.0.1:2900".into(),
            gateway_instance: instance(1),
            peer_nonce: [2; 32],
            role: Role::Worker { key: "Chat:0".into(), instance: instance(2) },
        }
    }

    #[test]
    fn proof_is_bound_to_every_field_of_the_transcript() {
        let (secret, original) = (Secret::from("s3cret"), transcript());
        let (peer, gateway) = (original.peer_proof(&secret), original.gateway_proof(&secret, 7));
        assert!(
            original.verify_peer(&secret, &peer) && original.verify_gateway(&secret, 7, &gateway)
        );
        let worker =
            |key: &str, number| Role::Worker { key: key.into(), instance: instance(number) };
        for other in [
            Transcript { gateway_nonce: [9; 32], ..transcript() },
            Transcript { gateway: "10.0.0.2:2900".into(), ..transcript() },
            Transcript { gateway_instance: instance(9), ..transcript() },
            Transcript { peer_nonce: [9; 32], ..transcript() },
            Transcript { gateway_nonce: [2; 32], peer_nonce: [1; 32], ..transcript() },
            Transcript { role: worker("Chat:1", 2), ..transcript() },
            Transcript { role: worker("Chat:0", 9), ..transcript() },
            Transcript { role: Role::Backend { instance: instance(2) }, ..transcript() },
        ] {
            assert!(!other.verify_peer(&secret, &peer), "{other:?}");
            assert!(!other.verify_gateway(&secret, 7, &gateway), "{other:?}");
        }
        assert!(!original.verify_gateway(&secret, 8, &gateway), "`taken` is covered");
    }

    #[test]
    fn proof_of_one_end_is_not_accepted_from_the_other_nor_for_another_secret() {
        let (secret, original) = (Secret::from("s3cret"), transcript());
        assert!(!original.verify_gateway(&secret, 0, &original.peer_proof(&secret)));
        assert!(!original.verify_peer(&secret, &original.gateway_proof(&secret, 0)));
        assert!(!original.verify_peer(&Secret::from("other"), &original.peer_proof(&secret)));
    }

    #[test]
    fn dialled_address_is_compared_as_an_address() {
        let announcing = |gateway: &str| Transcript { gateway: gateway.into(), ..transcript() };
        assert!(announcing("10.0.0.1:2900").is_for("10.0.0.1:2900"));
        assert!(announcing("[2001:db8::1]:2900").is_for("[2001:db8:0::1]:2900"));
        assert!(announcing("name:2900").is_for("name:2900"));
        for (gateway, dialled) in
            [("10.0.0.1:2900", "10.0.0.2:2900"), ("10.0.0.1:2900", "name:2900"), ("", "")]
        {
            assert_eq!(announcing(gateway).is_for(dialled), gateway == dialled);
        }
    }
}
