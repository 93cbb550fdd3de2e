//! A module's or server's own name and key.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use homeward_keychain::Signer;
use homeward_model::{Entropy, Name};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::directory::PublicKey;
use crate::key_file::{self, KeyFileError};

/// What an Ed25519 key in PKCS#8 begins with (RFC 8410 7); the seed follows.
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// What an Ed25519 public key in DER begins with (RFC 8410 4); the key follows.
pub(crate) const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// Who this is.
#[derive(Clone)]
pub struct Identity {
    signer: Arc<Signer>,
    pub(crate) certified: Arc<CertifiedKey>,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Its file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The library refuses the key.
    #[error("the key cannot be used: {0}")]
    Key(String),
}

impl Identity {
    /// With the key of that seed, 32 random octets.
    ///
    /// # Errors
    /// The library refuses it.
    pub fn new(name: Name, seed: &[u8; 32]) -> Result<Self, IdentityError> {
        let refused = |error: &dyn fmt::Display| IdentityError::Key(error.to_string());
        let signer = Signer::new(name, seed).map_err(|e| refused(&e))?;
        let der = Zeroizing::new([&PKCS8[..], seed].concat());
        let der = PrivatePkcs8KeyDer::from(der.as_slice());
        let key = rustls::crypto::ring::sign::any_eddsa_type(&der).map_err(|e| refused(&e))?;
        let public = CertificateDer::from([&SPKI[..], &signer.public()].concat());
        let certified = CertifiedKey::new(vec![public], key);
        Ok(Self { signer: Arc::new(signer), certified: Arc::new(certified) })
    }

    /// With the key in a file, which is made where there is none.
    ///
    /// # Errors
    /// The file cannot be read or made, is none, or may be read by others.
    pub fn load(
        name: Name,
        path: &Path,
        entropy: &mut impl Entropy,
    ) -> Result<Self, IdentityError> {
        let seed = key_file::load_or_make(path, entropy)?;
        Self::new(name, &seed)
    }

    /// What it is called.
    pub fn name(&self) -> &Name {
        self.signer.network()
    }

    /// What others know it by.
    pub fn key(&self) -> PublicKey {
        PublicKey(self.signer.public())
    }

    /// What signs for it.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}, {})", self.name(), self.key())
    }
}
