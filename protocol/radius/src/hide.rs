//! Hidden values: User-Password (RFC 2865 5.2), Tunnel-Password (RFC 2868 3.5), MS-MPPE keys
//! (RFC 2548 2.4.2).
//!
//! All three are a chain of MD5 pads: the first over the secret and the Request Authenticator
//! (and the salt), each next one over the secret and the hidden block before it.

use std::fmt;
use std::ops::Deref;

use homeward_model::Secret;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::auth::SharedSecret;
use crate::packet::Authenticator;

/// The most octets of a User-Password (RFC 2865 5.2).
pub const MAX_PASSWORD_LEN: usize = 128;

/// The most octets behind a salt: 253 less tag and salt, in whole blocks, less the length octet.
pub const MAX_SALTED_LEN: usize = 239;

/// A value that does not open: the shared secrets differ, or it was never hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnhideError {
    /// A hidden User-Password that is not 16 to 128 octets in blocks of 16.
    #[error("a hidden User-Password has 16 to 128 octets in blocks of 16, not {0}")]
    PasswordLength(usize),
    /// A salted value that is not a salt and blocks of 16.
    #[error("a salted value has a salt of 2 octets and blocks of 16, not {0} octets")]
    SaltedLength(usize),
    /// A salt without its high bit (RFC 2868 3.5).
    #[error("the salt's high bit is not set")]
    Salt,
    /// An opened length octet that says more than there is.
    #[error("the value does not open: the shared secrets differ")]
    Opened,
}

/// A User-Password in the clear; wiped when dropped.
pub struct Password {
    octets: [u8; MAX_PASSWORD_LEN],
    len: usize,
}

impl Deref for Password {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        // Behind it there are zeros.
        self.octets.get_mut(..self.len).unwrap_or_default().zeroize();
    }
}

/// The first pads over a User-Password, where they were computed together with others'
/// ([`prepare`](crate::prepare)). Who has them and the packet has the password, so they are wiped
/// when dropped.
#[derive(Default, Zeroize, ZeroizeOnDrop)]
pub struct Pads(pub(crate) [Option<[u8; 16]>; Pads::MOST]);

impl Pads {
    /// Most passwords have no more blocks.
    pub(crate) const MOST: usize = 2;

    /// What a User-Password is opened with, by the secret that the pads were computed with.
    pub fn with<'s>(&'s self, secret: &'s SharedSecret) -> Opener<'s> {
        Opener { secret, pads: &self.0 }
    }
}

impl fmt::Debug for Pads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What a User-Password is opened with: the secret, and the first pads where they are known.
#[derive(Clone, Copy)]
pub struct Opener<'s> {
    pub(crate) secret: &'s SharedSecret,
    pads: &'s [Option<[u8; 16]>],
}

impl<'s> From<&'s SharedSecret> for Opener<'s> {
    fn from(secret: &'s SharedSecret) -> Self {
        Self { secret, pads: &[] }
    }
}

/// Opens a User-Password; the padding NULs at its end are taken off. On RADIUS/1.1 it is not hidden
/// (RFC 9765 5.1.1).
///
/// # Errors
/// [`UnhideError::PasswordLength`]. A wrong secret is not noticed: the octets are then noise.
pub fn open_password<'s>(
    opener: impl Into<Opener<'s>>,
    authenticator: &Authenticator,
    hidden: &[u8],
) -> Result<Password, UnhideError> {
    let Opener { secret, pads } = opener.into();
    let mut password = Password { octets: [0; MAX_PASSWORD_LEN], len: 0 };
    match password.octets.get_mut(..hidden.len()) {
        Some(room) if !room.is_empty() && secret.is_transport() => {
            room.copy_from_slice(hidden);
            password.len = room.len();
            Ok(password)
        }
        Some(room) if !room.is_empty() && room.len().is_multiple_of(16) => {
            room.copy_from_slice(hidden);
            open_chain(secret, [authenticator, &[]], pads, room);
            password.len = room.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
            Ok(password)
        }
        _ => Err(UnhideError::PasswordLength(hidden.len())),
    }
}

/// A Tunnel-Password, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelPassword {
    /// The tag: 1 to 31, or 0 where it is unused (RFC 2868 3.5).
    pub tag: u8,
    /// The password.
    pub password: Secret,
}

/// Opens a Tunnel-Password out of an answer, with the *request's* authenticator. On RADIUS/1.1 it
/// is text behind a tag, like other attributes of tunnels (RFC 9765 5.1.3).
///
/// # Errors
/// If its form is wrong or the secret is another one.
pub fn open_tunnel_password(
    secret: &SharedSecret,
    authenticator: &Authenticator,
    value: &[u8],
) -> Result<TunnelPassword, UnhideError> {
    let (tag, salted) = value.split_first().ok_or(UnhideError::SaltedLength(0))?;
    if secret.is_transport() {
        // What is no tag begins the text (RFC 2868 3.3).
        let (tag, password) = if *tag > 0x1f { (0, value) } else { (*tag, salted) };
        return Ok(TunnelPassword { tag, password: Secret::new(password) });
    }
    let password = open_salted(secret, authenticator, salted)?;
    Ok(TunnelPassword { tag: if *tag > 0x1f { 0 } else { *tag }, password })
}

/// Opens a salted value out of an answer (MS-MPPE-Send-Key, MS-MPPE-Recv-Key), with the
/// *request's* authenticator. On RADIUS/1.1 it is the value (RFC 9765 5.1.4).
///
/// # Errors
/// If its form is wrong or the secret is another one.
pub fn open_salted(
    secret: &SharedSecret,
    authenticator: &Authenticator,
    salted: &[u8],
) -> Result<Secret, UnhideError> {
    if secret.is_transport() {
        return Ok(Secret::new(salted));
    }
    let wrong = UnhideError::SaltedLength(salted.len());
    let (salt, hidden) = salted.split_first_chunk::<2>().ok_or(wrong)?;
    let [high, _] = salt;
    if hidden.is_empty() || !hidden.len().is_multiple_of(16) {
        return Err(wrong);
    }
    if high & 0x80 == 0 {
        return Err(UnhideError::Salt);
    }
    let mut open = zeroize::Zeroizing::new(hidden.to_vec());
    open_chain(secret, [authenticator, salt], &[], &mut open);
    let (len, rest) = open.split_first().ok_or(wrong)?;
    let value = rest.get(..usize::from(*len)).ok_or(UnhideError::Opened)?;
    Ok(Secret::new(value))
}

/// Hides `data`, whole blocks of 16, where it lies.
pub(crate) fn hide_chain(secret: &SharedSecret, first: [&[u8]; 2], data: &mut [u8]) {
    let mut before: Option<[u8; 16]> = None;
    for block in data.as_chunks_mut().0 {
        let pad = before.map_or_else(|| secret.pad(first), |before| secret.pad([&before, &[]]));
        xor(block, &pad);
        before = Some(*block);
    }
}

/// Opens whole blocks of 16 where they lie; `known` are the first pads, where they are.
fn open_chain(
    secret: &SharedSecret,
    first: [&[u8]; 2],
    known: &[Option<[u8; 16]>],
    data: &mut [u8],
) {
    let mut before: Option<[u8; 16]> = None;
    let known = known.iter().copied().chain(std::iter::repeat(None));
    for (block, known) in data.as_chunks_mut().0.iter_mut().zip(known) {
        let pad = known.unwrap_or_else(|| match before {
            Some(before) => secret.pad([&before, &[]]),
            None => secret.pad(first),
        });
        before = Some(*block);
        xor(block, &pad);
    }
}

fn xor(block: &mut [u8; 16], pad: &[u8; 16]) {
    for (octet, mask) in block.iter_mut().zip(pad) {
        *octet ^= mask;
    }
}
