//! Socket ids: the names by which the protocol knows clients.
//!
//! A socket id is `A.B`, two decimal numbers. A is the client id, encrypted with a key that is
//! derived from the secret of the cluster: every worker can decode it, and no client learns an inner
//! address from it. B is random, so that a pair never occurs twice: the signatures of this protocol
//! do not expire, and a repeated socket id would make an old one valid again.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use aes::{
    Aes128, Block,
    cipher::{BlockCipherDecrypt, BlockCipherEncrypt},
};
use hmac::{Hmac, KeyInit, Mac};
use protocol::{ClientId, ConnectionId, Secret};
use sha2::Sha256;
use thiserror::Error;

/// Digits of an encrypted block as a number.
const DIGITS: usize = 39;

/// B is below this, so that it is an exact number in `JavaScript` too.
const RANDOM: u64 = 1 << 53;

/// Digits of the largest B.
const RANDOM_DIGITS: usize = 16;

/// A socket id: `A.B`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SocketId(Box<str>);

/// Not a socket id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a socket id is two decimal numbers with a dot between them")]
pub struct InvalidSocketId;

impl SocketId {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SocketId {
    type Err = InvalidSocketId;

    /// Accepts what the client libraries accept, up to the length of the longest one of ours. It
    /// need not be that of a client.
    fn from_str(text: &str) -> Result<Self, InvalidSocketId> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        let (a, b) = text.split_once('.').ok_or(InvalidSocketId)?;
        let fits = a.len() <= 2 * DIGITS && b.len() <= RANDOM_DIGITS;
        match fits && is_number(a) && is_number(b) {
            true => Ok(Self(text.into())),
            false => Err(InvalidSocketId),
        }
    }
}

/// Encodes and decodes socket ids.
#[derive(Clone)]
pub struct SocketIds {
    cipher: Aes128,
}

impl SocketIds {
    /// Of the cluster with this secret.
    pub fn new(secret: &Secret) -> Self {
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.expose());
        let mut mac = mac.expect("HMAC takes keys of any length");
        mac.update(b"push-suite pusher socket id 1");
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self { cipher: Aes128::new(&key.into()) }
    }

    /// The socket id of a client. Only the lower 53 bits of `random` count.
    pub fn encode(&self, client: ClientId, random: u64) -> SocketId {
        let connection = client.connection.0.to_be_bytes();
        let port = client.gateway.port().to_be_bytes();
        let mut first = [0; 16];
        first[..4].copy_from_slice(&connection);
        first[4..6].copy_from_slice(&port);
        let random = random % RANDOM;
        let id = match client.gateway.ip() {
            IpAddr::V4(ip) => {
                first[6..10].copy_from_slice(&ip.octets());
                format!("{:039}.{random}", self.encrypt(first))
            }
            IpAddr::V6(ip) => {
                let ip = ip.octets();
                first[6..].copy_from_slice(&ip[..10]);
                let first = self.encrypt(first);
                let mut second = [0; 16];
                second[..6].copy_from_slice(&ip[10..]);
                let second = self.encrypt((u128::from_be_bytes(second) ^ first).to_be_bytes());
                format!("{first:039}{second:039}.{random}")
            }
        };
        SocketId(id.into())
    }

    /// The client of a socket id; `None` if it is not one that any client of this cluster can have.
    pub fn decode(&self, id: &SocketId) -> Option<ClientId> {
        let (a, _) = id.0.split_once('.')?;
        // Of digits only, so that every index is the boundary of a character.
        let first = a.get(..DIGITS)?.parse::<u128>().ok()?;
        let plain = self.decrypt(first).to_be_bytes();
        let ip = match a.len() {
            DIGITS => {
                let (ip, zeros) = plain[6..].split_first_chunk::<4>()?;
                zeros.iter().all(|byte| *byte == 0).then_some(())?;
                IpAddr::V4(Ipv4Addr::from(*ip))
            }
            len if len == 2 * DIGITS => {
                let second = a.get(DIGITS..)?.parse::<u128>().ok()?;
                let rest = (self.decrypt(second) ^ first).to_be_bytes();
                let (tail, zeros) = rest.split_first_chunk::<6>()?;
                zeros.iter().all(|byte| *byte == 0).then_some(())?;
                let mut ip = [0; 16];
                ip[..10].copy_from_slice(&plain[6..]);
                ip[10..].copy_from_slice(tail);
                IpAddr::V6(Ipv6Addr::from(ip))
            }
            _ => return None,
        };
        let connection = u32::from_be_bytes(*plain.first_chunk()?);
        let port = u16::from_be_bytes([plain[4], plain[5]]);
        Some(ClientId::new(SocketAddr::new(ip, port), ConnectionId(connection)))
    }

    fn encrypt(&self, plain: [u8; 16]) -> u128 {
        let mut block = Block::from(plain);
        self.cipher.encrypt_block(&mut block);
        u128::from_be_bytes(block.into())
    }

    fn decrypt(&self, encrypted: u128) -> u128 {
        let mut block = Block::from(encrypted.to_be_bytes());
        self.cipher.decrypt_block(&mut block);
        u128::from_be_bytes(block.into())
    }
}

impl fmt::Debug for SocketIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketIds").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids() -> SocketIds {
        SocketIds::new(&"secret".into())
    }

    fn client(gateway: &str, connection: u32) -> ClientId {
        ClientId::new(gateway.parse().unwrap(), ConnectionId(connection))
    }

    #[test]
    fn socket_id_decodes_to_its_client_at_every_worker() {
        for client in [client("10.1.2.3:2900", 7), client("[2001:db8::1:2]:65535", u32::MAX)] {
            let id = ids().encode(client, u64::MAX);
            assert!(id.as_str().ends_with(".9007199254740991"), "{id}");
            let parsed: SocketId = id.as_str().parse().unwrap();
            assert_eq!(ids().decode(&parsed), Some(client));
            let other = SocketIds::new(&"another".into());
            assert_eq!(other.decode(&parsed), None, "another cluster");
        }
    }

    #[test]
    fn socket_id_shows_neither_address_nor_neighbours() {
        let (one, two) = (client("10.1.2.3:2900", 7), client("10.1.2.3:2900", 8));
        let (one, two) = (ids().encode(one, 1), ids().encode(two, 1));
        assert_ne!(one.as_str()[..8], two.as_str()[..8]);
        let (one, two) = (client("[::1]:2900", 7), client("[::1]:2900", 8));
        let (one, two) = (ids().encode(one, 1), ids().encode(two, 1));
        assert_ne!(one.as_str()[..8], two.as_str()[..8]);
        assert_ne!(one.as_str()[39..47], two.as_str()[39..47]);
    }

    #[test]
    fn hostile_socket_id_is_refused_or_of_no_client() {
        for text in [
            "", ".", "1", "1.", ".1", "1.2.3", "-1.2", "1,2", " 1.2", "1.2 ", "1.٣", "1e3.1",
            "0x1.1",
        ] {
            assert_eq!(text.parse::<SocketId>(), Err(InvalidSocketId), "{text:?}");
        }
        for text in ["9".repeat(79) + ".1", "1.".to_owned() + &"9".repeat(17)] {
            assert_eq!(text.parse::<SocketId>(), Err(InvalidSocketId), "{text:?}");
        }
        for text in ["1234.1234".to_owned(), "9".repeat(39) + ".1", "9".repeat(78) + ".1"] {
            assert_eq!(ids().decode(&text.parse().unwrap()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn socket_ids_round_trip(ip: IpAddr, port: u16, connection: u32, random: u64) {
            let client = ClientId::new(SocketAddr::new(ip, port), ConnectionId(connection));
            let id = ids().encode(client, random);
            prop_assert_eq!(id.as_str().parse::<SocketId>(), Ok(id.clone()));
            prop_assert_eq!(ids().decode(&id), Some(client));
        }

        #[test]
        fn random_numbers_decode_to_no_client(a: u128, b in 0..RANDOM) {
            let id: SocketId = format!("{a:039}.{b}").parse().unwrap();
            prop_assert_eq!(ids().decode(&id), None);
        }

        #[test]
        fn random_text_is_no_panic(text: String) {
            if let Ok(id) = text.parse::<SocketId>() {
                ids().decode(&id);
            }
        }
    }
}
