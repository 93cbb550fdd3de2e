//! MS-CHAP-V2 (RFC 2759), its keys (RFC 3079) and its packets within EAP
//! (draft-kamath-pppext-eap-mschapv2).
//!
//! MD4, single DES and SHA-1 are what the protocol is made of. It is as good as its tunnel, and
//! is spoken inside TLS only.

use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use homeward_model::NtHash;
use md4::Md4;
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// NtPasswordHash (RFC 2759 8.3): MD4 over the password in UTF-16LE.
pub fn nt_hash(password: &str) -> NtHash {
    // All the room at once: a buffer that grows leaves its old octets behind, unwiped.
    let mut unicode = Zeroizing::new(Vec::with_capacity(password.len() * 2));
    for unit in password.encode_utf16() {
        unicode.extend_from_slice(&unit.to_le_bytes());
    }
    NtHash::new(Md4::digest(unicode.as_slice()).into())
}

/// Whether `hash` is that of `password`, octets as they came. What is no UTF-8 takes as long and
/// is never right.
pub fn is_hash_of(hash: &NtHash, password: &[u8]) -> bool {
    match std::str::from_utf8(password) {
        Ok(password) => nt_hash(password) == *hash,
        Err(_) => {
            let text = Zeroizing::new(String::from_utf8_lossy(password).into_owned());
            let _ = nt_hash(&text) == *hash;
            false
        }
    }
}

/// What both sides of one MS-CHAP-V2 exchange know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange<'a> {
    /// The authenticator's challenge.
    pub challenge: &'a [u8; 16],
    /// The peer's challenge.
    pub peer_challenge: &'a [u8; 16],
    /// The user as the peer names it; a domain in front (`DOMAIN\user`) is no part of the
    /// computation (RFC 2759 4).
    pub user: &'a [u8],
}

impl Exchange<'_> {
    /// ChallengeHash (RFC 2759 8.2).
    fn challenge_hash(&self) -> [u8; 8] {
        let user = self.user.rsplit(|octet| *octet == b'\\').next().unwrap_or(self.user);
        let digest: [u8; 20] = Sha1::new()
            .chain_update(self.peer_challenge)
            .chain_update(self.challenge)
            .chain_update(user)
            .finalize()
            .into();
        let mut hash = [0; 8];
        for (octet, value) in hash.iter_mut().zip(digest) {
            *octet = value;
        }
        hash
    }

    /// GenerateNTResponse (RFC 2759 8.1).
    pub fn nt_response(&self, password: &NtHash) -> [u8; 24] {
        let challenge = self.challenge_hash();
        // ChallengeResponse (RFC 2759 8.5): three DES keys of the hash, padded with zeros.
        let mut padded = Zeroizing::new([0u8; 21]);
        for (octet, value) in padded.iter_mut().zip(password.expose()) {
            *octet = *value;
        }
        let mut response = [0; 24];
        for (block, key) in response.chunks_exact_mut(8).zip(padded.chunks_exact(7)) {
            for (octet, value) in block.iter_mut().zip(des_block(key, challenge)) {
                *octet = value;
            }
        }
        response
    }

    /// Whether the peer knows the password; in constant time.
    pub fn is_right(&self, password: &NtHash, nt_response: &[u8; 24]) -> bool {
        self.nt_response(password).ct_eq(nt_response).into()
    }

    /// GenerateAuthenticatorResponse (RFC 2759 8.7): `S=` and 40 upper-case hex digits.
    pub fn authenticator_response(&self, password: &NtHash, nt_response: &[u8; 24]) -> String {
        let inner: [u8; 20] = Sha1::new()
            .chain_update(hash_hash(password).as_slice())
            .chain_update(nt_response)
            .chain_update(b"Magic server to client signing constant")
            .finalize()
            .into();
        let outer: [u8; 20] = Sha1::new()
            .chain_update(inner)
            .chain_update(self.challenge_hash())
            .chain_update(b"Pad to make it do more than one iteration")
            .finalize()
            .into();
        let mut text = String::with_capacity(42);
        text.push_str("S=");
        push_hex(&mut text, &outer);
        text
    }
}

/// MSK's first 32 octets (RFC 3079 3.3 and 3.4, 128-bit keys): what the authenticator receives
/// with, then what it sends with. The inner session key of PEAP's crypto-binding.
pub fn session_keys(password: &NtHash, nt_response: &[u8; 24]) -> Zeroizing<[u8; 32]> {
    let digest = Zeroizing::new(<[u8; 20]>::from(
        Sha1::new()
            .chain_update(hash_hash(password).as_slice())
            .chain_update(nt_response)
            .chain_update(b"This is the MPPE Master Key")
            .finalize(),
    ));
    let master = digest.first_chunk::<16>().unwrap_or(&[0; 16]);
    let start_key = |direction: &[u8]| {
        Zeroizing::new(<[u8; 20]>::from(
            Sha1::new()
                .chain_update(master)
                .chain_update([0; 40])
                .chain_update(direction)
                .chain_update([0xf2; 40])
                .finalize(),
        ))
    };
    let receive = start_key(
        b"On the client side, this is the send key; on the server side, it is the receive key.",
    );
    let send = start_key(
        b"On the client side, this is the receive key; on the server side, it is the send key.",
    );
    let mut keys = Zeroizing::new([0; 32]);
    for (octet, value) in keys.iter_mut().zip(receive.iter().take(16).chain(send.iter())) {
        *octet = *value;
    }
    keys
}

/// Upper-case hex digits, as RFC 2759 wants them.
fn push_hex(text: &mut String, octets: &[u8]) {
    for octet in octets {
        for nibble in [octet >> 4, octet & 15] {
            let digit = char::from_digit(u32::from(nibble), 16).unwrap_or('0');
            text.push(digit.to_ascii_uppercase());
        }
    }
}

/// HashNtPasswordHash (RFC 2759 8.4).
fn hash_hash(password: &NtHash) -> Zeroizing<[u8; 16]> {
    Zeroizing::new(Md4::digest(password.expose()).into())
}

/// DesEncrypt (RFC 2759 8.6): 56 bits of key, spread over eight octets with room for parity.
fn des_block(key: &[u8], clear: [u8; 8]) -> [u8; 8] {
    let bits = key.iter().fold(0u64, |bits, octet| bits << 8 | u64::from(*octet));
    let mut spread = Zeroizing::new([0u8; 8]);
    for (octet, shift) in spread.iter_mut().zip([49u32, 42, 35, 28, 21, 14, 7, 0]) {
        *octet = u8::try_from(bits >> shift & 0x7f).unwrap_or_default() << 1;
    }
    let mut block = clear.into();
    Des::new((&*spread).into()).encrypt_block(&mut block);
    block.into()
}

/// Operation codes within EAP-MSCHAPv2.
pub(crate) mod op {
    pub(crate) const CHALLENGE: u8 = 1;
    pub(crate) const RESPONSE: u8 = 2;
    pub(crate) const SUCCESS: u8 = 3;
    pub(crate) const FAILURE: u8 = 4;
}

/// A peer's EAP-MSCHAPv2 packet: what follows the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerPacket<'a> {
    /// The answer to a challenge.
    Response {
        /// The identifier of the challenge.
        id: u8,
        /// The peer's challenge.
        peer_challenge: &'a [u8; 16],
        /// The proof.
        nt_response: &'a [u8; 24],
        /// The user, perhaps with a domain in front.
        name: &'a [u8],
    },
    /// The peer is content with our proof.
    Success,
    /// The peer has seen that it failed.
    Failure,
}

impl<'a> PeerPacket<'a> {
    /// Reads a packet; `None` if it is none.
    pub fn decode(data: &'a [u8]) -> Option<Self> {
        let (&code, rest) = data.split_first()?;
        match code {
            op::RESPONSE => {
                let (&[id, _, _, 49], rest) = rest.split_first_chunk::<4>()? else { return None };
                let (proof, name) = rest.split_first_chunk::<49>()?;
                let (peer_challenge, nt_response) = split_proof(proof.first_chunk()?)?;
                Some(Self::Response { id, peer_challenge, nt_response, name })
            }
            op::SUCCESS => Some(Self::Success),
            op::FAILURE => Some(Self::Failure),
            _ => None,
        }
    }
}

/// A response's peer challenge and NT response: 16 octets, 8 reserved ones, 24 octets (RFC 2759
/// 4, RFC 2548 2.3.2).
pub(crate) fn split_proof(proof: &[u8; 48]) -> Option<(&[u8; 16], &[u8; 24])> {
    Some((proof.first_chunk()?, proof.last_chunk()?))
}

/// Challenge: what follows the type.
pub(crate) fn challenge(id: u8, challenge: &[u8; 16], name: &str) -> Vec<u8> {
    let name = name.as_bytes();
    let name = name.get(..64).unwrap_or(name);
    let mut value = vec![16];
    value.extend(challenge);
    value.extend(name);
    framed(op::CHALLENGE, id, &value)
}

/// Success-Request with the authenticator's proof.
pub(crate) fn success(id: u8, proof: &str) -> Vec<u8> {
    framed(op::SUCCESS, id, format!("{proof} M=OK").as_bytes())
}

/// Failure-Request: authentication failed, no retry (RFC 2759 6). The challenge in it is for a
/// retry and never used.
pub(crate) fn failure(id: u8, challenge: &[u8; 16]) -> Vec<u8> {
    let mut text = "E=691 R=0 C=".to_owned();
    push_hex(&mut text, challenge);
    text.push_str(" V=3 M=FAILED");
    framed(op::FAILURE, id, text.as_bytes())
}

/// Operation code, identifier, length over all of it, value.
fn framed(code: u8, id: u8, value: &[u8]) -> Vec<u8> {
    let mut packet = vec![code, id];
    packet.extend(u16::try_from(value.len() + 4).unwrap_or(u16::MAX).to_be_bytes());
    packet.extend(value);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2759 9.2: user, password and challenges.
    const CHALLENGE: [u8; 16] = [
        0x5b, 0x5d, 0x7c, 0x7d, 0x7b, 0x3f, 0x2f, 0x3e, 0x3c, 0x2c, 0x60, 0x21, 0x32, 0x26, 0x26,
        0x28,
    ];
    const PEER_CHALLENGE: [u8; 16] = [
        0x21, 0x40, 0x23, 0x24, 0x25, 0x5e, 0x26, 0x2a, 0x28, 0x29, 0x5f, 0x2b, 0x3a, 0x33, 0x7c,
        0x7e,
    ];
    const NT_RESPONSE: [u8; 24] = [
        0x82, 0x30, 0x9e, 0xcd, 0x8d, 0x70, 0x8b, 0x5e, 0xa0, 0x8f, 0xaa, 0x39, 0x81, 0xcd, 0x83,
        0x54, 0x42, 0x33, 0x11, 0x4a, 0x3d, 0x85, 0xd6, 0xdf,
    ];

    fn exchange(user: &[u8]) -> Exchange<'_> {
        Exchange { challenge: &CHALLENGE, peer_challenge: &PEER_CHALLENGE, user }
    }

    #[test]
    fn the_vectors_of_rfc_2759_9_2_come_out() {
        let hash = nt_hash("clientPass");
        assert_eq!(
            hash.expose(),
            &[
                0x44, 0xeb, 0xba, 0x8d, 0x53, 0x12, 0xb8, 0xd6, 0x11, 0x47, 0x44, 0x11, 0xf5, 0x69,
                0x89, 0xae
            ]
        );
        assert_eq!(
            exchange(b"User").challenge_hash(),
            [0xd0, 0x2e, 0x43, 0x86, 0xbc, 0xe9, 0x12, 0x26]
        );
        assert_eq!(
            *hash_hash(&hash),
            [
                0x41, 0xc0, 0x0c, 0x58, 0x4b, 0xd2, 0xd9, 0x1c, 0x40, 0x17, 0xa2, 0xa1, 0x2f, 0xa5,
                0x9f, 0x3f
            ]
        );
        assert_eq!(exchange(b"User").nt_response(&hash), NT_RESPONSE);
        assert_eq!(
            exchange(b"User").authenticator_response(&hash, &NT_RESPONSE),
            "S=407A5589115FD0D6209F510FE9C04566932CDA56"
        );
    }

    #[test]
    fn the_keys_of_rfc_3079_3_5_3_come_out() {
        let keys = session_keys(&nt_hash("clientPass"), &NT_RESPONSE);
        // The RFC gives the key that the server sends with.
        assert_eq!(
            keys[16..],
            [
                0x8b, 0x7c, 0xdc, 0x14, 0x9b, 0x99, 0x3a, 0x1b, 0xa1, 0x18, 0xcb, 0x15, 0x3f, 0x56,
                0xdc, 0xcb
            ]
        );
    }

    #[test]
    fn a_domain_in_front_of_the_user_is_left_out() {
        let hash = nt_hash("clientPass");
        assert!(exchange(b"DOMAIN\\User").is_right(&hash, &NT_RESPONSE));
        assert!(!exchange(b"user").is_right(&hash, &NT_RESPONSE));
    }

    #[test]
    fn another_password_is_wrong() {
        assert!(!exchange(b"User").is_right(&nt_hash("clientpass"), &NT_RESPONSE));
        assert!(is_hash_of(&nt_hash("gr\u{fc}n"), "gr\u{fc}n".as_bytes()));
        assert!(!is_hash_of(&nt_hash("gr\u{fffd}n"), b"gr\xfcn"), "no UTF-8 is never right");
    }

    #[test]
    fn a_response_is_read_and_a_cut_one_is_none() {
        let mut data = vec![op::RESPONSE, 9, 0, 59, 49];
        data.extend(PEER_CHALLENGE);
        data.extend([0; 8]);
        data.extend(NT_RESPONSE);
        data.push(0);
        data.extend(b"User");
        assert_eq!(
            PeerPacket::decode(&data),
            Some(PeerPacket::Response {
                id: 9,
                peer_challenge: &PEER_CHALLENGE,
                nt_response: &NT_RESPONSE,
                name: b"User",
            })
        );
        assert_eq!(PeerPacket::decode(&data[..50]), None);
        assert_eq!(PeerPacket::decode(&[op::SUCCESS]), Some(PeerPacket::Success));
    }
}
