//! The projection, as EAP conversations ask it.

use std::sync::Arc;

use homeward_eap::mschapv2::nt_hash;
use homeward_eap::{Attempt, CheckedBy, Claim, Decoy, Denied, Directory, Identity, Method};
use homeward_model::{Gateway, Login, Nai, Secret, Verifier};
use ring::digest::{Context, SHA256};

use crate::admission::admit;
use crate::decision::Known;

/// What is known, seen by a gateway.
pub(crate) struct Here<'p> {
    pub(crate) known: Known<'p>,
    pub(crate) gateway: &'p Gateway,
}

impl Here<'_> {
    fn login(&self, identity: &Identity) -> Option<&Arc<Login>> {
        self.known.records.login(&identity.as_str().parse::<Nai>().ok()?)
    }
}

impl Directory for Here<'_> {
    type Subject = Arc<Login>;

    /// A slow hash is checked against the password itself, which TTLS carries best. Who is
    /// anonymous outside claims no name, and is to be told nothing of one.
    fn propose(&self, outer: &Identity) -> Option<Method> {
        let name = outer.as_str().parse::<Nai>().ok()?;
        let is_anonymous = name.user().eq_ignore_ascii_case("anonymous");
        (!is_anonymous && self.known.records.is_slow(&name)).then_some(Method::Ttls)
    }

    fn find(&self, claim: &Claim<'_>) -> Option<Arc<Login>> {
        let login = self.login(claim.identity());
        if !login.is_some_and(|login| matches!(login.verifier, Verifier::Password(_))) {
            // One that is kept whole is hashed each time: as much work for all others.
            std::hint::black_box(nt_hash(std::hint::black_box(NOBODYS)));
        }
        login.cloned()
    }

    fn checked_by(&self, login: &Arc<Login>) -> CheckedBy {
        match &login.verifier {
            Verifier::NtHash(hash) => CheckedBy::NtHash(hash.clone()),
            // What is no UTF-8 was never made by us.
            Verifier::Password(password) => match std::str::from_utf8(password.expose()) {
                Ok(password) => CheckedBy::NtHash(nt_hash(password)),
                Err(_) => CheckedBy::Nothing,
            },
            Verifier::Argon2id(_) => CheckedBy::Caller,
        }
    }

    fn decoy(&self, identity: &Identity) -> Decoy {
        let name = identity.as_str().parse::<Nai>();
        let is_slow = name.is_ok_and(|name| self.known.records.is_slow(&name));
        if is_slow { Decoy::Caller } else { Decoy::NtHash }
    }

    fn stamp(&self, login: &Arc<Login>) -> [u8; 16] {
        let (kind, octets) = match &login.verifier {
            Verifier::NtHash(hash) => (0u8, &hash.expose()[..]),
            Verifier::Argon2id(hash) => (1, hash.expose()),
            Verifier::Password(password) => (2, password.expose()),
        };
        let mut digest = Context::new(&SHA256);
        digest.update(&login.id.0.to_be_bytes());
        digest.update(&[kind]);
        digest.update(octets);
        digest.finish().as_ref().first_chunk().copied().unwrap_or_default()
    }

    fn may(&self, login: &Arc<Login>, attempt: &Attempt) -> Result<(), Denied> {
        let Attempt { station, wall, .. } = *attempt;
        admit(&Known { now: wall, ..self.known }, self.gateway, login, station).map(|_| ())
    }
}

/// As long as the passwords that are made.
const NOBODYS: &str = "nobody's and never compared with";

/// The hash that a deferred check is held against; `None` where nobody has the name.
pub(crate) fn slow_hash(login: Option<&Arc<Login>>) -> Option<Secret> {
    match login.map(|login| &login.verifier) {
        Some(Verifier::Argon2id(hash)) => Some(hash.clone()),
        _ => None,
    }
}
