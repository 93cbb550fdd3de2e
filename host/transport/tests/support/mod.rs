//! What tests of RADIUS over TLS have in common: certificates, a clock, packets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use homeward_model::{Clock, Instant, UnixTime};
use homeward_transport::radsec::Trust;
use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Longer than anything here takes; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Default)]
pub(crate) struct StillClock(Arc<AtomicU64>);

impl Clock for StillClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn unix(&self) -> UnixTime {
        UnixTime(0)
    }
}

/// An authority, with what it signs.
pub(crate) struct Authority(pub(crate) CertifiedIssuer<'static, KeyPair>);

pub(crate) type Credential = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn trusted(&self) -> Trust {
        Trust { authorities: vec![self.0.der().clone()], revoked: Vec::new() }
    }

    pub(crate) fn sign(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> Credential {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let signed = params.signed_by(&key, &self.0).unwrap();
        (vec![signed.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    pub(crate) fn server(&self) -> Credential {
        self.sign("core.example.net", ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub(crate) fn client(&self, name: &str) -> Credential {
        self.sign(name, ExtendedKeyUsagePurpose::ClientAuth)
    }
}

pub(crate) fn packet(id: u8, length: u8) -> Vec<u8> {
    let mut octets = vec![1, id, 0, length];
    octets.resize(usize::from(length), 5);
    octets
}
