//! The cluster's secret: compared in constant time, never printed, and on native links never sent.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A number used once, 32 random bytes.
pub type Nonce = [u8; 32];

/// What only somebody who knows the secret can say.
pub type Proof = [u8; 32];

/// The cluster's secret. Empty where there is none.
#[derive(Clone, Default)]
pub struct Secret(Box<[u8]>);

/// Which end of a link proves itself. Each end's proof is of no use to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prover {
    /// The end that listens.
    Gateway,
    /// The end that connects.
    Peer,
}

impl Secret {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret itself, for the protocols that send it in the clear.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether `guess` is the secret. Takes the same time wherever the two differ; hashing both
    /// sides hides the length as well.
    pub fn matches(&self, guess: &[u8]) -> bool {
        const KEY: &[u8] = b"compare";
        let ours = mac(KEY, &[&self.0]).finalize().into_bytes();
        mac(KEY, &[guess]).verify(&ours).is_ok()
    }

    /// Proves knowledge of the secret for this pair of nonces only.
    pub fn prove(&self, prover: Prover, gateway: &Nonce, peer: &Nonce) -> Proof {
        self.mac_of(prover, gateway, peer).finalize().into_bytes().into()
    }

    /// Checks a proof of the other end, in constant time.
    pub fn verify(&self, prover: Prover, gateway: &Nonce, peer: &Nonce, proof: &Proof) -> bool {
        self.mac_of(prover, gateway, peer).verify_slice(proof).is_ok()
    }

    fn mac_of(&self, prover: Prover, gateway: &Nonce, peer: &Nonce) -> Hmac<Sha256> {
        let label: &[u8] = match prover {
            Prover::Gateway => b"native link 1, gateway",
            Prover::Peer => b"native link 1, peer",
        };
        mac(&self.0, &[label, gateway, peer])
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret.into_bytes().into())
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Self(secret.as_bytes().into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_matches() {
        let secret = Secret::from("s3cret");
        assert!(secret.matches(b"s3cret"));
        assert!(!secret.matches(b"s3cres"));
        assert!(!secret.matches(b""));
        assert!(Secret::default().matches(b""));
    }

    #[test]
    fn a_proof_holds_for_one_end_one_pair_of_nonces_and_one_secret() {
        let (secret, gateway, peer) = (Secret::from("s3cret"), [1; 32], [2; 32]);
        let proof = secret.prove(Prover::Peer, &gateway, &peer);
        assert!(secret.verify(Prover::Peer, &gateway, &peer, &proof));
        assert!(!secret.verify(Prover::Gateway, &gateway, &peer, &proof));
        assert!(!secret.verify(Prover::Peer, &peer, &gateway, &proof));
        assert!(!Secret::from("other").verify(Prover::Peer, &gateway, &peer, &proof));
    }

    #[test]
    fn it_never_prints() {
        assert_eq!(format!("{:?}", Secret::from("s3cret")), "Secret(..)");
    }
}
