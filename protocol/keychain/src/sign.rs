//! Signatures (Ed25519, RFC 8032): of networks, and of devices for the time of a session.

use std::fmt;

use homeward_model::Name;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

use crate::codec::Writer;
use crate::message::{SessionKey, Ticket};
use crate::record::Record;

/// What is signed begins with what it is, so that it can be nothing else.
pub(crate) const HOP: &str = "homeward keychain 1 hop record";
pub(crate) const TICKET: &str = "homeward keychain 1 ticket";

/// The octets are no seed of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the seed of an Ed25519 key: 32 octets are needed")]
pub struct NoSeed;

/// Signs hop records for one network.
#[derive(Debug)]
pub struct Signer {
    network: Name,
    pair: Ed25519KeyPair,
}

impl Signer {
    /// With the key of that seed (RFC 8032 5.1.5): 32 random octets.
    ///
    /// # Errors
    /// The library refuses it.
    pub fn new(network: Name, seed: &[u8; 32]) -> Result<Self, NoSeed> {
        Ok(Self { network, pair: pair(seed)? })
    }

    /// Whose it is.
    pub fn network(&self) -> &Name {
        &self.network
    }

    /// The key that others know the network by.
    pub fn public(&self) -> [u8; 32] {
        public(&self.pair)
    }

    pub(crate) fn sign(&self, record: &mut Record) {
        record.by_network = sign(&self.pair, HOP, &record.signed());
    }
}

/// Signs tickets for one session of a device.
pub(crate) struct SessionSigner {
    /// What it was made of, to be kept.
    pub(crate) seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
}

impl fmt::Debug for SessionSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSigner([redacted])")
    }
}

impl SessionSigner {
    pub(crate) fn new(seed: [u8; 32]) -> Result<Self, NoSeed> {
        Ok(Self { pair: pair(&seed)?, seed: Zeroizing::new(seed) })
    }

    pub(crate) fn public(&self) -> SessionKey {
        SessionKey(public(&self.pair))
    }

    pub(crate) fn sign(&self, ticket: &mut Ticket) {
        ticket.signature = sign(&self.pair, TICKET, &ticket.body());
    }
}

fn pair(seed: &[u8; 32]) -> Result<Ed25519KeyPair, NoSeed> {
    Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NoSeed)
}

fn public(pair: &Ed25519KeyPair) -> [u8; 32] {
    pair.public_key().as_ref().first_chunk().copied().unwrap_or_default()
}

fn said(context: &str, octets: &[u8]) -> Vec<u8> {
    let mut out = Writer::default();
    out.text(context).octets(octets);
    out.0
}

fn sign(pair: &Ed25519KeyPair, context: &str, octets: &[u8]) -> [u8; 64] {
    let signature = pair.sign(&said(context, octets));
    signature.as_ref().first_chunk().copied().unwrap_or([0; 64])
}

/// Whether who has that key signed this.
pub(crate) fn verify(key: &[u8; 32], context: &str, octets: &[u8], signature: &[u8; 64]) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(&said(context, octets), signature).is_ok()
}
