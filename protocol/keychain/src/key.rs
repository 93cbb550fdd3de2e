//! The kinds of keys. One becomes another by derivation (HKDF-SHA-256, RFC 5869) under a label of
//! its own, and by nothing else; what is derived tells nothing of what it is derived from.

use std::fmt;

use homeward_model::Name;
use ring::{hkdf, hmac};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::codec::Writer;
use crate::message::{Challenge, Digest, Tag};

/// Octets of every key.
pub const LENGTH: usize = 32;

/// What every derivation begins with.
const CONTEXT: &str = "homeward keychain 1";

struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        LENGTH
    }
}

/// `info` is the context, the label and the fields, each with its length before it.
fn derive(salt: &[u8], from: &[u8; LENGTH], label: &str, fields: &[&[u8]]) -> [u8; LENGTH] {
    let mut info = Writer::default();
    info.text(CONTEXT).text(label);
    for field in fields {
        info.u64(field.len() as u64).octets(field);
    }
    let mut key = [0; LENGTH];
    let info = [info.0.as_slice()];
    let filled = hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(from)
        .expand(&info, Length)
        .and_then(|okm| okm.fill(&mut key));
    debug_assert!(filled.is_ok(), "32 octets are less than 255 blocks");
    key
}

fn tag(key: &[u8; LENGTH], label: &str, octets: &[u8]) -> Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    let mut head = Writer::default();
    head.text(CONTEXT).text(label);
    context.update(&head.0);
    context.update(octets);
    Tag(context.sign().as_ref().first_chunk().copied().unwrap_or_default())
}

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident;)+) => { $(
        $(#[$doc])*
        #[derive(Clone, Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; LENGTH]);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "([redacted])"))
            }
        }

        impl $name {
            /// From its octets: as it came from a vault or a peer.
            pub const fn new(octets: [u8; LENGTH]) -> Self {
                Self(octets)
            }

            /// Its octets, for a vault or a peer that is entitled to them.
            pub const fn expose(&self) -> &[u8; LENGTH] {
                &self.0
            }
        }
    )+ };
}

keys! {
    /// K(D,N): what a device and one network's module share from enrolment on. It never travels.
    DeviceKey;
    /// Hᵢ: fresh for each hop. It never leaves the device and the module.
    HopKey;
    /// Xᵢ: what of a hop key goes into the chain of one server.
    HopShare;
    /// Iᵢ: stands for all hops so far. Gone when the next takes its place.
    ChainKey;
    /// Eᵢ₋₁: what of a chain key goes to the next network; good for one hop.
    Export;
    /// Kcᵢ: proves a hop to the end of the session.
    ConfirmKey;
    /// What traffic is protected by while the hop lasts: a WireGuard pre-shared key, an IKEv2 PPK
    /// (RFC 8784), a secret of SIP's digest.
    TrafficKey;
}

impl DeviceKey {
    /// Of an answer to a challenge: who knows the key made it.
    pub(crate) fn authorise(&self, transcript: &Digest) -> Tag {
        tag(&self.0, "authorise", &transcript.0)
    }

    /// The hop key of that challenge and answer.
    pub(crate) fn hop(&self, challenge: &Challenge, transcript: &Digest) -> HopKey {
        HopKey(derive(&challenge.nonce, &self.0, "hop", &[&transcript.0]))
    }
}

impl HopKey {
    pub(crate) fn share(&self, server: &Name) -> HopShare {
        HopShare(derive(&[], &self.0, "share", &[server.as_str().as_bytes()]))
    }
}

/// What a hop is integrated with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Before<'a> {
    /// It is the first.
    Nothing,
    /// The key of the one before.
    Export(&'a Export),
    /// The one before could not be reached: the chain begins anew, and says so.
    Broken,
}

impl HopShare {
    /// Iᵢ. `record` is the hash of the hop's record, and through it of all before.
    pub(crate) fn integrate(&self, before: Before<'_>, record: &Digest) -> ChainKey {
        let (salt, label) = match before {
            Before::Nothing => (&[][..], "first"),
            Before::Export(export) => (&export.0[..], "integrate"),
            Before::Broken => (&[][..], "broken"),
        };
        ChainKey(derive(salt, &self.0, label, &[&record.0]))
    }
}

impl ChainKey {
    /// Of a ticket.
    pub(crate) fn ticket(&self, octets: &[u8]) -> Tag {
        tag(&derive(&[], &self.0, "ticket", &[]), "ticket", octets)
    }

    /// Eᵢ₋₁, for who that ticket is for.
    pub(crate) fn export(&self, ticket: &[u8]) -> Export {
        Export(derive(&[], &self.0, "export", &[ticket]))
    }

    /// Kcᵢ.
    pub fn confirm(&self) -> ConfirmKey {
        ConfirmKey(derive(&[], &self.0, "confirm", &[]))
    }

    /// A key for traffic, for one `purpose`, such as `wireguard` or `sip`.
    pub fn traffic(&self, purpose: &str) -> TrafficKey {
        TrafficKey(derive(&[], &self.0, "traffic", &[purpose.as_bytes()]))
    }
}

impl ConfirmKey {
    pub(crate) fn prove(&self, octets: &[u8]) -> Tag {
        tag(&self.0, "prove", octets)
    }
}
