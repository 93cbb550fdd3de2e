//! RADIUS Class: what an accounting record is recognised by, as the session that was let in.
//!
//! A NAS returns it with every record (RFC 2865 5.25). It names the user and is signed for the
//! RADIUS client that it was given to, so that nobody can have others charged: neither by making
//! one up, nor by one that was given to another gateway.
//!
//! ```text
//! hw:device:17:9f86d081884c7d659a2feaa0c55ad015
//!    kind   number, and 16 octets of HMAC-SHA-256 over client, kind and number
//! ```

use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use homeward_ledger::User;
use homeward_model::{DeviceId, GatewayId, LoginId};
use ring::hmac;

/// What the keys are derived for.
pub const PURPOSE: &str = "homeward radius class 1";

/// Octets of the tag.
const TAG: usize = 16;

/// Octets of a Class, at most.
const LEN: usize = "hw:device:-9223372036854775808:".len() + 2 * TAG;

/// Makes Classes, and knows them again.
#[derive(Debug)]
pub struct Signer {
    keys: Vec<hmac::Key>,
}

impl Signer {
    /// One that signs with the first key, and knows what was signed with any.
    pub fn new<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Self {
        let keys = keys.into_iter().map(|k| hmac::Key::new(hmac::HMAC_SHA256, k.as_ref()));
        Self { keys: keys.collect() }
    }

    /// The Class of a session of `user` at that client.
    pub fn sign(&self, client: GatewayId, user: User) -> Vec<u8> {
        let (kind, number) = user.parts();
        let tag = self.keys.first().map(|key| tag(key, client, user)).unwrap_or_default();
        let mut class = String::with_capacity(LEN);
        // Writing to a string does not fail.
        let _ = write!(class, "hw:{kind}:{number}:");
        HEXLOWER.encode_append(&tag, &mut class);
        class.into_bytes()
    }

    /// Whose session it is, if that client was given this Class.
    pub fn verify(&self, client: GatewayId, class: &[u8]) -> Option<User> {
        let mut parts = std::str::from_utf8(class).ok()?.split(':');
        let (name, kind, number) = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
        let signed = HEXLOWER.decode(parts.next()?.as_bytes()).ok()?;
        let user = match kind {
            "device" => User::Device(DeviceId(number)),
            "login" => User::Login(LoginId(number)),
            _ => return None,
        };
        let is_signed = self.keys.iter().any(|key| {
            bool::from(subtle::ConstantTimeEq::ct_eq(&signed[..], &tag(key, client, user)[..]))
        });
        (name == "hw" && parts.next().is_none() && is_signed).then_some(user)
    }
}

fn tag(key: &hmac::Key, client: GatewayId, user: User) -> [u8; TAG] {
    let (kind, number) = user.parts();
    let mut of = hmac::Context::with_key(key);
    of.update(&client.0.to_be_bytes());
    of.update(&number.to_be_bytes());
    of.update(kind.as_bytes());
    of.sign().as_ref().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: GatewayId = GatewayId(1);

    #[test]
    fn a_class_is_known_again_at_the_client_it_was_given_to() {
        let signer = Signer::new([[1; 32]]);
        for user in [User::Device(DeviceId(17)), User::Login(LoginId(17)), User::Login(LoginId(-1))]
        {
            let class = signer.sign(ONE, user);
            assert_eq!(signer.verify(ONE, &class), Some(user));
            assert_eq!(signer.verify(GatewayId(2), &class), None, "another's");
            let newer = Signer::new([[2; 32], [1; 32]]);
            assert_eq!(newer.verify(ONE, &class), Some(user), "signed before a new key came");
            assert_eq!(Signer::new([[2; 32]]).verify(ONE, &class), None);
        }
    }

    #[test]
    fn a_class_that_was_tampered_with_is_nobodys() {
        let signer = Signer::new([[1; 32]]);
        let class = signer.sign(ONE, User::Device(DeviceId(17)));
        for at in 0..class.len() {
            for bit in 0..8 {
                let mut other = class.clone();
                other[at] ^= 1 << bit;
                assert_eq!(signer.verify(ONE, &other), None, "{other:?}");
            }
            assert_eq!(signer.verify(ONE, &class[..at]), None);
        }
        assert_eq!(signer.verify(ONE, &[&class[..], b":"].concat()), None);
        assert_eq!(signer.verify(ONE, b"hw:device:17:"), None);
        assert_eq!(signer.verify(ONE, b"hw:login:17"), None);
    }
}
