//! An authority of the operator's own for the certificate that EAP is spoken with: a directory of
//! PEM files, every private one of mode 0600.
//!
//! | file | holds |
//! |---|---|
//! | `ca-N.pem`, `ca-N.key` | the Nth authority and its key |
//! | `server.pem` | the server's certificate and its key, signed by one of them: for both `aaa.eap.certificate` and `aaa.eap.key` |
//! | `trust.pem` | the authorities that devices are to trust |
//!
//! Devices pin the authority, so it has to be another one's before it can be changed: the next is
//! made long before ([`Pki::prepare`]) and given to devices beside the present one; then the server
//! is signed by it ([`Pki::switch`]), and the old one goes ([`Pki::retire`]). A server's certificate
//! alone is renewed at any time ([`Pki::renew`]).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use homeward_channel::random_serial;
use homeward_daemon::{Exit, ExitContext, private};
use homeward_eap::pki_types::CertificateDer;
use homeward_eap::pki_types::pem::PemObject;
use homeward_model::{Entropy, UnixTime};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber, date_time_ymd,
};
use serde::Serialize;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// How long an authority stands: devices keep it for as long as they live.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(20 * 365 * 86_400);

/// How much earlier than now a certificate begins, for clocks that are behind.
const BACKDATED: Duration = Duration::from_secs(86_400);

/// The directory.
#[derive(Debug)]
pub struct Pki(PathBuf);

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// The authorities, the oldest first.
    pub authorities: Vec<Authority>,
    /// The server's certificate.
    pub server: Server,
}

/// An authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Authority {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Since when devices can have it.
    #[serde(serialize_with = "as_text")]
    pub since: UnixTime,
    /// When it ends.
    #[serde(serialize_with = "as_text")]
    pub until: UnixTime,
    /// Whether it has signed the server's certificate.
    pub signs: bool,
}

/// The server's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    /// Its names.
    pub names: Vec<String>,
    /// When it ends.
    #[serde(serialize_with = "as_text")]
    pub until: UnixTime,
}

fn as_text<S: serde::Serializer>(time: &UnixTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

/// What an authority is signed with.
struct Signer {
    number: u32,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    /// The one in that directory.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// The file of that name.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes the first authority, called `name`, and a certificate for a server with those names.
    ///
    /// # Errors
    ///
    /// If there is one already, or the directory is open to others.
    pub fn create(
        &self,
        name: &str,
        servers: &[String],
        lifetime: Duration,
        now: UnixTime,
        entropy: &mut impl Entropy,
    ) -> anyhow::Result<Overview> {
        private::directory(&self.0)?;
        if !self.numbers()?.is_empty() {
            let there = anyhow!("{} has an authority already", self.0.display());
            return Err(there).exit(Exit::CannotCreate);
        }
        self.make(1, name, now, entropy)?;
        self.sign(&self.signer(1)?, servers, lifetime, now, entropy)?;
        self.write_trust(1)?;
        self.overview()
    }

    /// Makes a new certificate for the server, for other names if there are any.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or written.
    pub fn renew(
        &self,
        servers: &[String],
        lifetime: Duration,
        now: UnixTime,
        entropy: &mut impl Entropy,
    ) -> anyhow::Result<Overview> {
        let overview = self.overview()?;
        let present = present(&overview)?.number;
        let servers = if servers.is_empty() { &overview.server.names } else { servers };
        self.sign(&self.signer(present)?, servers, lifetime, now, entropy)?;
        self.overview()
    }

    /// Makes the next authority, for devices to have before it signs anything.
    ///
    /// # Errors
    ///
    /// If there is a next one already.
    pub fn prepare(
        &self,
        name: &str,
        now: UnixTime,
        entropy: &mut impl Entropy,
    ) -> anyhow::Result<Overview> {
        let overview = self.overview()?;
        let present = present(&overview)?.number;
        if let Some(next) = overview.authorities.iter().find(|ca| ca.number > present) {
            let there = anyhow!("authority {} is prepared since {}", next.number, next.since);
            return Err(there).exit(Exit::CannotCreate);
        }
        self.make(present.saturating_add(1), name, now, entropy)?;
        self.write_trust(1)?;
        self.overview()
    }

    /// Has the next authority sign the server's certificate, once it has been there for `overlap`.
    ///
    /// # Errors
    ///
    /// If there is none, or devices cannot all have it yet.
    pub fn switch(
        &self,
        overlap: Duration,
        lifetime: Duration,
        now: UnixTime,
        entropy: &mut impl Entropy,
    ) -> anyhow::Result<Overview> {
        let overview = self.overview()?;
        let present = present(&overview)?.number;
        let Some(next) = overview.authorities.iter().find(|ca| ca.number > present) else {
            let none = anyhow!("there is no next authority; `homeward admin pki prepare` makes it");
            return Err(none).exit(Exit::NoInput);
        };
        let there = Duration::from_millis(u64::try_from(now.0 - next.since.0).unwrap_or(0));
        if there < overlap {
            let early = anyhow!(
                "devices can have authority {} since {} only, and a server signed by it is refused \
                 by all that have not: wait until it has been there for {} days, or give --overlap",
                next.number,
                next.since,
                overlap.as_secs() / 86_400
            );
            return Err(early).exit(Exit::Temporary);
        }
        self.sign(&self.signer(next.number)?, &overview.server.names, lifetime, now, entropy)?;
        self.overview()
    }

    /// Takes the authorities before the present one away.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub fn retire(&self) -> anyhow::Result<Overview> {
        let overview = self.overview()?;
        let present = present(&overview)?.number;
        let old: Vec<u32> =
            overview.authorities.iter().map(|ca| ca.number).filter(|n| *n < present).collect();
        if old.is_empty() {
            let none = anyhow!("authority {present} signs, and there is none before it");
            return Err(none).exit(Exit::NoInput);
        }
        self.write_trust(present)?;
        for number in old {
            for kind in ["key", "pem"] {
                let path = self.file(&format!("ca-{number}.{kind}"));
                fs::remove_file(&path)
                    .with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        self.overview()
    }

    /// What is there.
    ///
    /// # Errors
    ///
    /// If there is nothing, or a file cannot be read.
    pub fn overview(&self) -> anyhow::Result<Overview> {
        let numbers = self.numbers()?;
        if numbers.is_empty() {
            let none = anyhow!(
                "no authority in {}; `homeward admin pki create` makes one",
                self.0.display()
            );
            return Err(none).exit(Exit::NoInput);
        }
        let server = self.certificate("server.pem")?;
        let (_, leaf) = X509Certificate::from_der(&server).context("server.pem")?;
        let mut authorities = Vec::new();
        for number in numbers {
            let der = self.certificate(&format!("ca-{number}.pem"))?;
            let (_, ca) = X509Certificate::from_der(&der).context("an authority's certificate")?;
            authorities.push(Authority {
                number,
                name: common_name(&ca),
                since: UnixTime(millis(ca.validity().not_before.timestamp()) + backdated()),
                until: UnixTime(millis(ca.validity().not_after.timestamp())),
                signs: leaf.verify_signature(Some(ca.public_key())).is_ok(),
            });
        }
        let names = leaf.subject_alternative_name().ok().flatten();
        let names = names.into_iter().flat_map(|names| &names.value.general_names);
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        let until = UnixTime(millis(leaf.validity().not_after.timestamp()));
        Ok(Overview { authorities, server: Server { names: names.collect(), until } })
    }

    /// The numbers of the authorities, in order.
    fn numbers(&self) -> anyhow::Result<Vec<u32>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("cannot read {}", self.0.display()))?,
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|n| n.strip_prefix("ca-")?.strip_suffix(".pem"));
            numbers.extend(number.and_then(|number| number.parse::<u32>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn certificate(&self, name: &str) -> anyhow::Result<CertificateDer<'static>> {
        let path = self.file(name);
        CertificateDer::from_pem_file(&path)
            .with_context(|| format!("no certificate in {}", path.display()))
            .exit(Exit::Config)
    }

    fn signer(&self, number: u32) -> anyhow::Result<Signer> {
        let read = |kind: &str| {
            let path = self.file(&format!("ca-{number}.{kind}"));
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let key = KeyPair::from_pem(&zeroize::Zeroizing::new(read("key")?));
        let key = key.with_context(|| format!("no key in ca-{number}.key")).exit(Exit::Config)?;
        let issuer = Issuer::from_ca_cert_pem(&read("pem")?, key);
        let issuer = issuer.with_context(|| format!("ca-{number}.pem")).exit(Exit::Config)?;
        Ok(Signer { number, issuer })
    }

    /// Makes an authority.
    fn make(
        &self,
        number: u32,
        name: &str,
        now: UnixTime,
        entropy: &mut impl Entropy,
    ) -> anyhow::Result<()> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        // Each has a name of its own: supplicants look for an issuer by its name.
        params.distinguished_name = named(&format!("{name} {number}"));
        params.serial_number = Some(SerialNumber::from(random_serial(entropy).0.to_vec()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, now, AUTHORITY_LIFETIME);
        let certificate = params.self_signed(&key)?;
        let pem = zeroize::Zeroizing::new(key.serialize_pem());
        private::write(&self.file(&format!("ca-{number}.key")), pem.as_bytes())?;
        private::write(&self.file(&format!("ca-{number}.pem")), certificate.pem().as_bytes())?;
        Ok(())
    }

    /// Makes the server's certificate, and its key with it: one file, so that one is never without
    /// the other.
    fn sign(
        &self,
        signer: &Signer,
        servers: &[String],
        lifetime: Duration,
        now: UnixTime,
        entropy: &mut impl Entropy,
    ) -> anyhow::Result<()> {
        let Some(first) = servers.first() else { bail!("a server has a name") };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let params = CertificateParams::new(servers.to_vec());
        let mut params = params.context("a server's name is a DNS name").exit(Exit::Usage)?;
        params.distinguished_name = named(first);
        params.serial_number = Some(SerialNumber::from(random_serial(entropy).0.to_vec()));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now, lifetime);
        let certificate = params
            .signed_by(&key, &signer.issuer)
            .with_context(|| format!("authority {} cannot sign", signer.number))?;
        let pem = zeroize::Zeroizing::new(key.serialize_pem());
        let both = zeroize::Zeroizing::new(format!("{}{}", certificate.pem(), *pem));
        Ok(private::write(&self.file("server.pem"), both.as_bytes())?)
    }

    /// Writes the authorities from that one on for devices.
    fn write_trust(&self, from: u32) -> anyhow::Result<()> {
        let mut trust = String::new();
        for number in self.numbers()?.into_iter().filter(|number| *number >= from) {
            trust.push_str(&fs::read_to_string(self.file(&format!("ca-{number}.pem")))?);
        }
        Ok(private::write(&self.file("trust.pem"), trust.as_bytes())?)
    }
}

/// The authority that has signed the server's certificate.
fn present(overview: &Overview) -> anyhow::Result<&Authority> {
    let none = || anyhow!("server.pem is signed by no authority that is here");
    overview.authorities.iter().rfind(|ca| ca.signs).ok_or_else(none).exit(Exit::Config)
}

fn common_name(certificate: &X509Certificate<'_>) -> String {
    let name = certificate.subject().iter_common_name().next();
    name.and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned()
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// From a day before `now`, in whole seconds.
fn set_validity(params: &mut CertificateParams, now: UnixTime, lifetime: Duration) {
    let now = Duration::from_secs(u64::try_from(now.seconds()).unwrap_or(0));
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + now.saturating_add(lifetime);
}

fn millis(seconds: i64) -> i64 {
    seconds.saturating_mul(1000)
}

fn backdated() -> i64 {
    i64::try_from(BACKDATED.as_millis()).unwrap_or(0)
}

/// The default directory.
pub fn default_directory() -> &'static Path {
    Path::new("/etc/homeward/eap")
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeward_daemon::SystemEntropy;
    use std::os::unix::fs::PermissionsExt;

    const DAY: i64 = 86_400_000;
    const NOW: UnixTime = UnixTime(1_800_000_000_000);
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    const OVERLAP: Duration = Duration::from_secs(90 * 86_400);

    fn pki() -> (tempfile::TempDir, Pki) {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::at(folder.path().join("eap"));
        let names = ["eap.example.net".to_owned()];
        let made = pki.create("Example Wi-Fi", &names, YEAR, NOW, &mut SystemEntropy::new());
        made.unwrap();
        (folder, pki)
    }

    fn signs(overview: &Overview) -> Vec<(u32, bool)> {
        overview.authorities.iter().map(|ca| (ca.number, ca.signs)).collect()
    }

    fn trusted(pki: &Pki) -> usize {
        CertificateDer::pem_file_iter(pki.file("trust.pem")).unwrap().count()
    }

    #[test]
    fn an_authority_is_made_once_and_its_files_are_the_owners_alone() {
        let (_folder, pki) = pki();
        let overview = pki.overview().unwrap();
        assert_eq!(signs(&overview), [(1, true)]);
        assert_eq!(overview.authorities[0].name, "Example Wi-Fi 1");
        assert_eq!(overview.authorities[0].since, NOW);
        assert_eq!(overview.server.names, ["eap.example.net"]);
        for entry in fs::read_dir(pki.file("")).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let again = pki.create("Other", &["a".to_owned()], YEAR, NOW, &mut SystemEntropy::new());
        assert!(again.unwrap_err().to_string().contains("has an authority already"));
    }

    #[test]
    fn a_renewed_certificate_has_the_same_names_another_key_and_the_same_authority() {
        let (_folder, pki) = pki();
        let before = fs::read(pki.file("server.pem")).unwrap();
        let later = UnixTime(NOW.0 + 100 * DAY);
        let overview = pki.renew(&[], YEAR, later, &mut SystemEntropy::new()).unwrap();
        assert_eq!((signs(&overview), trusted(&pki)), (vec![(1, true)], 1));
        assert_eq!(overview.server.names, ["eap.example.net"]);
        assert_eq!(overview.server.until, UnixTime(later.0 + 365 * DAY));
        assert_ne!(fs::read(pki.file("server.pem")).unwrap(), before);
        let other = ["b.example.net".to_owned()];
        let overview = pki.renew(&other, YEAR, later, &mut SystemEntropy::new()).unwrap();
        assert_eq!(overview.server.names, other);
    }

    #[test]
    fn the_next_authority_is_trusted_before_it_signs_and_the_old_one_after_it_has_signed() {
        let (_folder, pki) = pki();
        let entropy = &mut SystemEntropy::new();
        assert!(pki.switch(OVERLAP, YEAR, NOW, entropy).is_err(), "there is no next one");
        assert!(pki.retire().is_err(), "there is no old one");
        let overview = pki.prepare("Example Wi-Fi", NOW, entropy).unwrap();
        assert_eq!((signs(&overview), trusted(&pki)), (vec![(1, true), (2, false)], 2));
        assert!(pki.prepare("Example Wi-Fi", NOW, entropy).is_err(), "there is one");
        let early = UnixTime(NOW.0 + 90 * DAY - 1);
        let error = pki.switch(OVERLAP, YEAR, early, entropy).unwrap_err();
        assert!(error.to_string().contains("90 days"), "{error}");
        let overview = pki.switch(OVERLAP, YEAR, UnixTime(early.0 + 1), entropy).unwrap();
        assert_eq!((signs(&overview), trusted(&pki)), (vec![(1, false), (2, true)], 2));
        let overview = pki.retire().unwrap();
        assert_eq!((signs(&overview), trusted(&pki)), (vec![(2, true)], 1));
        assert!(!pki.file("ca-1.key").exists());
        let overview = pki.prepare("Example Wi-Fi", early, entropy).unwrap();
        assert_eq!(signs(&overview), [(2, true), (3, false)]);
    }
}
