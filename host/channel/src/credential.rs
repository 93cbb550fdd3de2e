//! A gateway's credential: its key, its certificate, and the authorities that it believes.
//!
//! On disk it is one file, `gateway.pem`, mode 0600 in a directory that nobody else can write to,
//! and replaced whole: PKCS#8 key, certificate, authorities, in that order.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use homeward_daemon::private;
use homeward_model::{Secret, UnixTime};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::authority;
use crate::certificate::{self, Presented};
use crate::error::Error;

/// The credential's file in the gateway's directory.
pub const FILE: &str = "gateway.pem";

/// Larger files are no credential.
const MAX_FILE: u64 = 64 * 1024;

/// More authorities than a roll-over has.
pub(crate) const MAX_AUTHORITIES: usize = 4;

/// A gateway's credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub(crate) key: Secret,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    name: String,
    facts: Presented,
}

impl Credential {
    /// A credential out of its parts; they must belong together.
    pub(crate) fn new(
        key: Secret,
        certificate: CertificateDer<'static>,
        authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Self, String> {
        let facts = Presented::read(&certificate).map_err(|e| format!("its certificate: {e}"))?;
        let pair = authority::key_pair(key.expose()).map_err(|e| e.to_string())?;
        let public = certificate::public_key_of(&certificate).unwrap_or_default();
        if public != rcgen::PublicKeyData::subject_public_key_info(&pair) {
            return Err("its certificate is of another key".to_owned());
        }
        if authorities.is_empty() || authorities.len() > MAX_AUTHORITIES {
            return Err(format!("it names {} authorities", authorities.len()));
        }
        let name = certificate::common_name_of(&certificate).unwrap_or_default();
        Ok(Self { key, certificate, authorities, name, facts })
    }

    /// The credential in a gateway's directory; `None` if it has none.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::Damaged`].
    pub fn load(directory: &Path) -> Result<Option<Self>, Error> {
        let path = directory.join(FILE);
        let text = match read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Read { path, source }),
        };
        Self::from_pem(&text).map(Some).map_err(|reason| Error::Damaged { path, reason })
    }

    /// Puts the credential into a gateway's directory, in place of one that is there, all or
    /// nothing. A missing directory is made, mode 0700.
    ///
    /// # Errors
    ///
    /// [`Error::Private`], naming directory or file.
    pub fn save(&self, directory: &Path) -> Result<PathBuf, Error> {
        private::directory(directory)?;
        let path = directory.join(FILE);
        private::write(&path, self.to_pem().as_bytes())?;
        Ok(path)
    }

    /// The gateway's name in the datastore when it was last enrolled or renewed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its certificate says.
    pub fn facts(&self) -> Presented {
        self.facts
    }

    /// The authorities that sign for the core it was enrolled with.
    pub fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    /// What is shown to a core: the certificate, and its key.
    pub fn to_show(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = PrivatePkcs8KeyDer::from(self.key.expose().to_vec());
        (vec![self.certificate.clone()], PrivateKeyDer::Pkcs8(key))
    }

    /// When it is to be renewed: once two thirds of its life are over, and up to a tenth of it
    /// later, so that gateways that were enrolled together do not all come at once. For one
    /// certificate it is always the same moment.
    pub fn renew_at(&self) -> UnixTime {
        let life = self.facts.not_after.0.saturating_sub(self.facts.not_before.0).max(0);
        let [a, b, ..] = self.facts.serial.0.last_chunk::<2>().copied().unwrap_or_default();
        let share = i64::from(u16::from_be_bytes([a, b]));
        let jitter = life / 10 / i64::from(u16::MAX) * share;
        UnixTime(self.facts.not_before.0.saturating_add(life / 3 * 2).saturating_add(jitter))
    }

    /// How long it is good for, from `now`.
    pub fn remaining(&self, now: UnixTime) -> Duration {
        Duration::from_millis(u64::try_from(self.facts.not_after.0 - now.0).unwrap_or(0))
    }

    fn from_pem(text: &[u8]) -> Result<Self, String> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(text).map_err(|e| format!("its key: {e}"))?;
        let key = Secret::new(key.secret_pkcs8_der());
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
        let mut certificates =
            certificates.map_err(|e| format!("its certificates: {e}"))?.into_iter();
        let certificate = certificates.next().ok_or("it has no certificate")?;
        Self::new(key, certificate, certificates.collect())
    }

    fn to_pem(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(8192));
        push_pem(&mut text, "PRIVATE KEY", self.key.expose());
        for certificate in std::iter::once(&self.certificate).chain(&self.authorities) {
            push_pem(&mut text, "CERTIFICATE", certificate);
        }
        text
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    use io::Read;
    let mut text = Zeroizing::new(Vec::with_capacity(8192));
    fs::File::open(path)?.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(text)
}

/// RFC 7468.
fn push_pem(text: &mut String, label: &str, der: &[u8]) {
    let body = Zeroizing::new(data_encoding::BASE64.encode(der));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, later) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = later;
    }
    text.push_str(&format!("-----END {label}-----\n"));
}
