//! The kinds of keys. One becomes another by derivation (HKDF-SHA-256, RFC 5869) under a label of
//! its own, and by nothing else; what is derived tells nothing of what it is derived from.

use std::fmt;

use homeward_model::Name;
use ring::{hkdf, hmac};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::codec::Writer;
use crate::message::{Digest, MAX_HOPS, SessionId, Tag};

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

/// HKDF(salt, ikm, label, fields): `info` is the context, the label and the fields, each with its length before it.
fn derive(salt: &[u8], from: &[u8], label: &str, fields: &[&[u8]]) -> [u8; LENGTH] {
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
    /// What a device and its operator share. Of it come the keys that networks are given.
    RootKey;
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
    /// What traffic is protected by while the hop lasts, between device, network and server: a
    /// WireGuard pre-shared key.
    TrafficKey;
    /// Pᵢ: what an ePDG of a network demands of a device that came from another, as the IKEv2 PPK
    /// (RFC 8784). It takes the export, and nothing of this network's own.
    PpkKey;
    /// What device and server know while the hop lasts, and from the second hop on no network by
    /// itself: a password of SIP's digest.
    ApplicationKey;
}

impl RootKey {
    /// K(D,N) of that network. `version` grows when the network is to have another.
    pub fn device_key(&self, network: &Name, version: u32) -> DeviceKey {
        let fields = [network.as_str().as_bytes(), &version.to_be_bytes()];
        DeviceKey(derive(&[], &self.0, "enrol", &fields))
    }
}

impl DeviceKey {
    /// Of an answer to a challenge: who knows the key made it.
    pub(crate) fn authorise(&self, transcript: &Digest) -> Tag {
        tag(&derive(&[], &self.0, "authorise", &[]), "authorise", &transcript.0)
    }

    /// The hop key of that challenge and answer. `shared` is what the two shares make (X25519): who
    /// has recorded the messages and steals the key later cannot make it.
    pub(crate) fn hop(&self, nonce: &[u8; 32], shared: &[u8; 32], transcript: &Digest) -> HopKey {
        let mut from = [0; 2 * LENGTH];
        let (key, other) = from.split_at_mut(LENGTH);
        key.copy_from_slice(&self.0);
        other.copy_from_slice(shared);
        let hop = HopKey(derive(nonce, &from, "hop", &[&transcript.0]));
        from.zeroize();
        hop
    }
}

/// The secret half of a share of one hop (X25519, RFC 7748); gone after it.
pub(crate) struct Share(StaticSecret);

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Share([redacted])")
    }
}

impl Share {
    /// Of 32 random octets.
    pub(crate) fn new(random: [u8; LENGTH]) -> Self {
        Self(StaticSecret::from(random))
    }

    /// What the other side is given.
    pub(crate) fn public(&self) -> [u8; LENGTH] {
        PublicKey::from(&self.0).to_bytes()
    }

    /// What both sides make of their halves. `None` if the other side's is one of the few that make
    /// the same of every secret.
    pub(crate) fn with(&self, other: &[u8; LENGTH]) -> Option<Zeroizing<[u8; LENGTH]>> {
        let shared = self.0.diffie_hellman(&PublicKey::from(*other));
        shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()))
    }
}

impl HopKey {
    /// Of a record, for the device: who has the hop key made it.
    pub(crate) fn welcome(&self, record: &[u8]) -> Tag {
        tag(&derive(&[], &self.0, "welcome", &[]), "welcome", record)
    }

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

impl Export {
    /// Pᵢ, of that hop to that network. The export is of one ticket, and so of one session, hop and
    /// network already; that they are named anew says what the key is for.
    pub(crate) fn ppk(&self, session: &SessionId, hop: u16, network: &Name) -> PpkKey {
        let fields = [&session.0[..], &hop.to_be_bytes(), network.as_str().as_bytes()];
        PpkKey(derive(&[], &self.0, "ppk", &fields))
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

    /// A key for traffic, for one `purpose`, such as `wireguard`.
    pub fn traffic(&self, purpose: &str) -> TrafficKey {
        TrafficKey(derive(&[], &self.0, "traffic", &[purpose.as_bytes()]))
    }

    /// A key for an application, for one `purpose`, such as `digest`. `hops` are the keys of all hops
    /// from the first on: each network has its own of them, and none has all.
    pub(crate) fn application<'a>(
        &self,
        hops: impl Iterator<Item = &'a ConfirmKey>,
        purpose: &str,
    ) -> ApplicationKey {
        let mut from: Vec<u8> = Vec::with_capacity(usize::from(MAX_HOPS) * LENGTH);
        hops.for_each(|hop| from.extend_from_slice(&hop.0));
        let key = derive(&self.0, &from, "application", &[purpose.as_bytes()]);
        from.zeroize();
        ApplicationKey(key)
    }
}

impl ApplicationKey {
    /// As a password: 64 hexadecimal digits.
    pub fn password(&self) -> Zeroizing<String> {
        use fmt::Write as _;
        let mut text = Zeroizing::new(String::with_capacity(2 * LENGTH));
        for octet in &self.0 {
            let _ = write!(text, "{octet:02x}");
        }
        text
    }
}

impl ConfirmKey {
    pub(crate) fn prove(&self, octets: &[u8]) -> Tag {
        tag(&self.0, "prove", octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_device_s_key_and_all_that_was_said_still_lacks_the_shared_secret() {
        let (key, said) = (DeviceKey::new([1; 32]), Digest([2; 32]));
        let hop = |shared| *key.hop(&[3; 32], shared, &said).expose();
        assert_ne!(hop(&[4; 32]), hop(&[5; 32]));
        assert_eq!(hop(&[4; 32]), hop(&[4; 32]));
    }

    #[test]
    fn both_halves_make_one_secret_of_which_each_side_knows_its_own_half() {
        let (one, other) = (Share::new([1; 32]), Share::new([2; 32]));
        let (ours, theirs) = (one.with(&other.public()), other.with(&one.public()));
        assert_eq!(ours.as_deref(), theirs.as_deref());
        assert_ne!(ours.as_deref(), one.with(&Share::new([3; 32]).public()).as_deref());
        assert!(ours.is_some() && one.with(&[0; 32]).is_none());
    }

    #[test]
    fn each_session_hop_and_network_has_a_ppk_of_its_own() {
        let (export, session) = (Export::new([1; 32]), SessionId([2; 16]));
        let of = |session, hop, network: &str| {
            *export.ppk(&session, hop, &network.parse().unwrap()).expose()
        };
        let one = of(session, 2, "n1");
        assert_eq!(one, of(session, 2, "n1"));
        for other in [of(SessionId([3; 16]), 2, "n1"), of(session, 3, "n1"), of(session, 2, "n2")] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn each_network_and_each_version_has_a_key_of_its_own() {
        let root = RootKey::new([1; 32]);
        let of =
            |network: &str, version| *root.device_key(&network.parse().unwrap(), version).expose();
        let keys = [of("n1", 1), of("n2", 1), of("n1", 2)];
        assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2]);
    }
}
