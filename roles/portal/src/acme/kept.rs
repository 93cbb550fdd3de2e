//! What outlives a restart: the account, and the certificate with its key. Files of ours alone.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use homeward_daemon::private;
use homeward_model::UnixTime;
use instant_acme::AccountCredentials;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use super::config::canonical;
use super::schedule::Validity;
use homeward_http::provider;

/// What is said before the key in the file, which PEM allows (RFC 7468, section 2): who issued it.
const ISSUED_BY: &str = "Issued by ";

/// A certificate, and whose word it is.
pub(super) struct Certificate {
    /// The directory of the server that issued it.
    pub(super) directory: String,
    /// What it is for.
    pub(super) names: BTreeSet<String>,
    /// How long it is good.
    pub(super) validity: Validity,
    pem: Zeroizing<String>,
    shown: CertifiedKey,
}

impl Certificate {
    /// From what an ACME server at `directory` issued, and the key that this was issued for.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn new(directory: &str, key: &str, chain: &str) -> anyhow::Result<Self> {
        let pem = format!("{ISSUED_BY}{directory}\n{key}\n{chain}");
        Self::from_pem(Zeroizing::new(pem))
    }

    fn from_pem(pem: Zeroizing<String>) -> anyhow::Result<Self> {
        let directory = pem.lines().next().and_then(|line| line.strip_prefix(ISSUED_BY));
        let directory = directory.unwrap_or_default().to_owned();
        let chain =
            CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).context("no private key")?;
        let first = chain.first().context("no certificate")?;
        let (names, validity) = read(first)?;
        let shown = CertifiedKey::from_der(chain, key, &provider())
            .context("the certificate cannot be used with its key")?;
        Ok(Self { directory, names, validity, pem, shown })
    }

    /// As clients are shown it.
    pub(super) fn shown(&self) -> CertifiedKey {
        self.shown.clone()
    }
}

/// Names and life of a certificate.
fn read(der: &CertificateDer<'_>) -> anyhow::Result<(BTreeSet<String>, Validity)> {
    let (_, certificate) =
        X509Certificate::from_der(der).context("no certificate that is known")?;
    let moment = |seconds: i64| UnixTime(seconds.saturating_mul(1000));
    let life = certificate.validity();
    let validity = Validity {
        from: moment(life.not_before.timestamp()),
        until: moment(life.not_after.timestamp()),
    };
    let mut names = BTreeSet::new();
    let extension = certificate.subject_alternative_name().context("no names that are known")?;
    for name in extension.into_iter().flat_map(|found| &found.value.general_names) {
        match name {
            GeneralName::DNSName(name) => names.extend([canonical(name)]),
            GeneralName::IPAddress(octets) => {
                let four = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
                let six = || <[u8; 16]>::try_from(*octets).map(IpAddr::from);
                names.extend(four.or_else(|_| six()).ok().map(|address| address.to_string()));
            }
            _ => {}
        }
    }
    Ok((names, validity))
}

/// The account, and with whom it is.
#[derive(Serialize, Deserialize)]
struct Account<T> {
    directory: String,
    credentials: T,
}

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    folder: PathBuf,
}

impl Kept {
    /// That folder, made if it is not there.
    ///
    /// # Errors
    ///
    /// It cannot be made, or others may write to it.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        private::directory(folder).context("portal.acme.folder")?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The folder, as it is.
    pub(super) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn account_file(&self) -> PathBuf {
        self.folder.join("account.json")
    }

    /// The file of certificate and key.
    pub(super) fn certificate_file(&self) -> PathBuf {
        self.folder.join("certificate.pem")
    }

    /// The account with that server, if there is one.
    pub(super) fn account(&self, directory: &str) -> anyhow::Result<Option<AccountCredentials>> {
        let path = self.account_file();
        let Some(text) = found(&path)? else { return Ok(None) };
        let account = serde_json::from_str::<Account<AccountCredentials>>(&text);
        let account = account.with_context(|| {
            format!("{} is no account: move it away, and a new one is made", path.display())
        })?;
        Ok(Some(account.credentials).filter(|_| account.directory == directory))
    }

    /// Keeps the account.
    pub(super) fn keep_account(
        &self,
        directory: &str,
        credentials: &AccountCredentials,
    ) -> anyhow::Result<()> {
        let account = Account { directory: directory.to_owned(), credentials };
        let text = Zeroizing::new(serde_json::to_vec(&account)?);
        Ok(private::write(&self.account_file(), &text)?)
    }

    /// The server does not know the account any more.
    pub(super) fn forget_account(&self) -> io::Result<()> {
        fs::remove_file(self.account_file())
    }

    /// The certificate, if there is one.
    pub(super) fn certificate(&self) -> anyhow::Result<Option<Certificate>> {
        let path = self.certificate_file();
        let Some(pem) = found(&path)? else { return Ok(None) };
        let certificate = Certificate::from_pem(pem);
        certificate.map(Some).with_context(|| format!("what is kept in {}", path.display()))
    }

    /// Keeps the certificate in place of the one before.
    pub(super) fn keep_certificate(&self, certificate: &Certificate) -> anyhow::Result<()> {
        Ok(private::write(&self.certificate_file(), certificate.pem.as_bytes())?)
    }
}

/// What is in the file; `None`: it is not there.
fn found(path: &Path) -> anyhow::Result<Option<Zeroizing<String>>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    const DIRECTORY: &str = "https://acme.example.net/directory";

    fn made(names: &[&str]) -> (String, String) {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.signing_key.serialize_pem(), made.cert.pem())
    }

    #[test]
    fn a_certificate_is_found_again_as_it_was_kept_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::open(&folder.path().join("acme")).unwrap();
        assert!(kept.certificate().unwrap().is_none());
        let (key, chain) = made(&["Portal.example.net", "192.0.2.1", "2001:db8::1"]);
        let certificate = Certificate::new(DIRECTORY, &key, &chain).unwrap();
        kept.keep_certificate(&certificate).unwrap();
        let found = kept.certificate().unwrap().unwrap();
        let names = ["192.0.2.1", "2001:db8::1", "portal.example.net"].map(str::to_owned);
        assert_eq!((found.names, found.directory.as_str()), (names.into(), DIRECTORY));
        assert_eq!(found.validity, certificate.validity);
        assert_eq!(found.shown.cert, certificate.shown.cert);
        let mode = fs::metadata(kept.certificate_file()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_certificate_for_another_key_is_not_taken() {
        let ((key, _), (_, chain)) = (made(&["a.example.net"]), made(&["a.example.net"]));
        assert!(Certificate::new(DIRECTORY, &key, &chain).is_err());
    }

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::open(folder.path()).unwrap();
        fs::write(kept.certificate_file(), "nothing of the kind").unwrap();
        let error = format!("{:#}", kept.certificate().err().unwrap());
        assert!(error.contains("certificate.pem"), "{error}");
        fs::write(kept.account_file(), "{}").unwrap();
        let error = format!("{:#}", kept.account(DIRECTORY).err().unwrap());
        assert!(error.contains("account.json is no account: move it away"), "{error}");
    }
}
