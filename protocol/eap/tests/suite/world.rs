//! Certificates, subscribers and settings that the scenarios share.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use homeward_eap::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use homeward_eap::*;
use homeward_model::{Entropy, Instant, Mac, UnixTime};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};

/// 2026-07-01, when the scenarios play.
pub(crate) const WALL: UnixTime = UnixTime(1_782_864_000_000);

pub(crate) const ALICE: &str = "alice@example.org";
pub(crate) const PASSWORD: &str = "correct horse";
pub(crate) const STATION: Mac = Mac::new([2, 0, 0x5e, 0x10, 0, 1]);

/// Entropy that is none: a counter through a mixer.
pub(crate) struct Counted(pub u64);

impl Entropy for Counted {
    fn fill(&mut self, room: &mut [u8]) {
        for octet in room {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888);
            *octet = self.0.to_be_bytes()[0];
        }
    }
}

pub(crate) fn after(seconds: u64) -> Instant {
    Instant::ORIGIN + Duration::from_secs(seconds)
}

/// A certificate with its key.
pub(crate) struct Certified {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: Vec<u8>,
}

impl Certified {
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.clone().into())
    }
}

/// An issuer of certificates.
pub(crate) struct Authority {
    pub(crate) root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        // Its signatures are all of one length, so that lengths of messages can be compared.
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages =
            vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let root = params.self_signed(&key).unwrap().der().clone();
        Self { root, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Certified {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        params.extended_key_usages.push(usage);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Certified { certificate, key: key.serialize_der() }
    }

    /// A list that revokes the certificate with this serial number.
    pub(crate) fn revoke(&self, serial: u64) -> CertificateRevocationListDer<'static> {
        let revoked = rcgen::RevokedCertParams {
            serial_number: serial.into(),
            revocation_time: rcgen::date_time_ymd(2026, 6, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 6, 1),
            next_update: rcgen::date_time_ymd(2030, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().der().clone()
    }

    pub(crate) fn server(&self) -> Certified {
        let params = CertificateParams::new(vec!["radius.example.org".to_owned()]).unwrap();
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client's certificate, good from and until these years.
    pub(crate) fn client(&self, name: &str, from: i32, until: i32) -> Certified {
        self.client_named(vec![SanType::Rfc822Name(name.try_into().unwrap())], "", from, until)
    }

    /// A client's certificate with these alternative names and this common one. Its serial
    /// number is the first year that it is good in.
    pub(crate) fn client_named(
        &self,
        names: Vec<SanType>,
        common: &str,
        from: i32,
        until: i32,
    ) -> Certified {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.subject_alt_names = names;
        params.distinguished_name.push(rcgen::DnType::CommonName, common);
        params.serial_number = Some(u64::try_from(from).unwrap().into());
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }
}

/// One subscriber.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) password: String,
    /// Whether the password's hash is one that takes long.
    pub(crate) slow: bool,
    pub(crate) denied: Option<Denied>,
    pub(crate) mac: Option<Mac>,
    pub(crate) stamp: u8,
}

impl Default for User {
    fn default() -> Self {
        Self { password: PASSWORD.to_owned(), slow: false, denied: None, mac: None, stamp: 0 }
    }
}

/// The subscribers, and what was asked about them.
pub(crate) struct People {
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) proposed: Option<Method>,
    pub(crate) decoy: Decoy,
    pub(crate) attempts: RefCell<Vec<Attempt>>,
    /// What else was asked, in order.
    pub(crate) asked: RefCell<Vec<&'static str>>,
}

impl People {
    pub(crate) fn new() -> Self {
        let users = BTreeMap::from([(ALICE.to_owned(), User::default())]);
        let (attempts, asked) = (RefCell::default(), RefCell::default());
        Self { users, proposed: None, decoy: Decoy::NtHash, attempts, asked }
    }

    pub(crate) fn alice(&mut self) -> &mut User {
        self.users.get_mut(ALICE).unwrap()
    }
}

impl Directory for People {
    type Subject = String;

    fn propose(&self, _: &Identity) -> Option<Method> {
        self.proposed
    }

    fn find(&self, claim: &Claim<'_>) -> Option<String> {
        self.asked.borrow_mut().push("find");
        let name = claim.identity().as_str();
        self.users.contains_key(name).then(|| name.to_owned())
    }

    fn checked_by(&self, subject: &String) -> CheckedBy {
        let user = &self.users[subject];
        if user.slow {
            CheckedBy::Caller
        } else {
            CheckedBy::NtHash(mschapv2::nt_hash(&user.password))
        }
    }

    fn decoy(&self, _: &Identity) -> Decoy {
        self.asked.borrow_mut().push("decoy");
        self.decoy
    }

    fn stamp(&self, subject: &String) -> [u8; 16] {
        self.asked.borrow_mut().push("stamp");
        [self.users[subject].stamp; 16]
    }

    fn may(&self, subject: &String, attempt: &Attempt) -> Result<(), Denied> {
        self.attempts.borrow_mut().push(*attempt);
        self.asked.borrow_mut().push("may");
        let user = &self.users[subject];
        if let Some(denied) = user.denied {
            return Err(denied);
        }
        match (user.mac, attempt.station) {
            (Some(_), None) => Err(Denied::NoStation),
            (Some(bound), Some(station)) if bound != station => Err(Denied::WrongStation),
            _ => Ok(()),
        }
    }
}

/// The server's side of the world.
pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) server: Certified,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) people: People,
    pub(crate) revoked: Vec<CertificateRevocationListDer<'static>>,
}

impl World {
    pub(crate) fn new() -> Self {
        let authority = Authority::new("Test CA");
        let server = authority.server();
        let sessions = Arc::new(Sessions::new(SessionSettings::default()));
        Self { authority, server, sessions, people: People::new(), revoked: Vec::new() }
    }

    pub(crate) fn context(&self, settings: Settings) -> Arc<Context> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerCredential {
            chain: vec![self.server.certificate.clone(), self.authority.root.clone()],
            key: self.server.key(),
        };
        let trust =
            ClientTrust { roots: vec![self.authority.root.clone()], revoked: self.revoked.clone() };
        let sessions = Arc::clone(&self.sessions);
        Arc::new(Context::new(settings, &provider, server, Some(trust), sessions).unwrap())
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin { station: Some(STATION), framed_mtu: Some(1400), wall: WALL }
    }
}
