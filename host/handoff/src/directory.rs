//! Who is who: the modules and servers that this one deals with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use homeward_keychain::Standing;
use homeward_keychain::record;
use homeward_model::Name;
use serde::Deserialize;

/// A module or server, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// What it is called: the network's name, or the server's.
    pub name: Name,
    /// Its public key (Ed25519), 64 hexadecimal digits, as `show-key` prints it.
    pub key: PublicKey,
    /// Where it answers: `HOST:PORT`. Without, it is believed but not asked.
    #[serde(default)]
    pub address: Option<String>,
    /// Whether its module is trusted no more. It stays in the list, so that what goes through it is
    /// refused by that name.
    #[serde(default)]
    pub revoked: bool,
    /// Whether it may enrol devices with this module, and give those that are enrolled another key:
    /// a core with a portal. It is trusted with who is who among the devices of this network.
    #[serde(default)]
    pub enrols: bool,
}

/// A public key (Ed25519, RFC 8032).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct PublicKey(pub [u8; 32]);

impl TryFrom<String> for PublicKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let octets = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        let key = octets.and_then(|octets| <[u8; 32]>::try_from(octets).ok());
        key.map(Self)
            .ok_or_else(|| format!("{text:?} is no public key: give 64 hexadecimal digits"))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A list of peers that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// One name, two entries.
    #[error("{0} is in the list of peers twice")]
    Twice(Name),
    /// One key, two names.
    #[error("{0} and {1} have one key: who is who is told by keys")]
    SameKey(Name, Name),
}

/// All peers, as they stand.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    peers: BTreeMap<Name, Peer>,
    names: BTreeMap<PublicKey, Name>,
    epoch: u64,
}

impl Directory {
    /// Of a list. `epoch` grows with each revocation: what networks vouch for that had not heard of
    /// it is refused.
    ///
    /// # Errors
    /// Two entries say different things.
    pub fn new(peers: impl IntoIterator<Item = Peer>, epoch: u64) -> Result<Self, DirectoryError> {
        let mut directory = Self { epoch, ..Self::default() };
        for peer in peers {
            if let Some(other) = directory.names.insert(peer.key, peer.name.clone())
                && other != peer.name
            {
                return Err(DirectoryError::SameKey(other, peer.name));
            }
            let name = peer.name.clone();
            if directory.peers.insert(name.clone(), peer).is_some() {
                return Err(DirectoryError::Twice(name));
            }
        }
        Ok(directory)
    }

    /// The peer of that name.
    pub fn peer(&self, name: &Name) -> Option<&Peer> {
        self.peers.get(name)
    }

    /// All of them, by name.
    pub fn peers(&self) -> impl ExactSizeIterator<Item = &Peer> {
        self.peers.values()
    }

    /// Whether that peer may enrol devices.
    pub fn may_enrol(&self, name: &Name) -> bool {
        self.peers.get(name).is_some_and(|peer| peer.enrols && !peer.revoked)
    }

    /// Who has that key, and is trusted.
    pub fn who(&self, key: &PublicKey) -> Option<&Name> {
        let name = self.names.get(key)?;
        self.peers.get(name).filter(|peer| !peer.revoked).map(|peer| &peer.name)
    }
}

impl record::Directory for Directory {
    fn standing(&self, network: &Name, key: &[u8; 32]) -> Standing {
        match self.peers.get(network) {
            Some(peer) if peer.key.0 != *key => Standing::Unknown,
            Some(peer) if peer.revoked => Standing::Revoked,
            Some(_) => Standing::Good,
            None => Standing::Unknown,
        }
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }
}

/// The directory of a running role: it is replaced while others read it. Clones are one and the same.
#[derive(Debug, Clone)]
pub struct Book(Arc<RwLock<Arc<Directory>>>);

impl Book {
    /// With that in it.
    pub fn new(directory: Directory) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(directory))))
    }

    /// As it is now.
    pub fn now(&self) -> Arc<Directory> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another takes its place.
    pub fn replace(&self, directory: Directory) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(directory);
    }
}
