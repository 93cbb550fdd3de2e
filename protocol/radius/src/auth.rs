//! Authenticators: who vouches for a packet.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use homeward_model::Secret;
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::AuthError;
use crate::dictionary::standard::MESSAGE_AUTHENTICATOR;
use crate::lanes::{self, State};
use crate::packet::{Authenticator, HEADER_LEN, Packet};

/// The octets that RFC 2865 3 prefers a shared secret to have at least.
pub const RECOMMENDED_SECRET_LEN: usize = 16;

/// The secret of RADIUS over TLS before RADIUS/1.1, the same for everybody (RFC 6614 2.3): there
/// the connection keeps secrets and vouches for who sent what.
pub const RADSEC_SECRET: &str = "radsec";

/// What protects packets to and from one peer. Usually a secret shared with it, with the digest
/// states that begin with it computed once, so that signing and hiding cost only the blocks of the
/// packet. On RADIUS/1.1 it is the connection ([`Self::transport`]). Cheap to clone.
#[derive(Clone)]
pub struct SharedSecret(Protection);

#[derive(Clone)]
enum Protection {
    Md5(Arc<Keyed>),
    Transport,
}

struct Keyed {
    octets: Secret,
    /// MD5 that has read the secret.
    prefix: Md5,
    /// HMAC-MD5 that has read its padded keys.
    hmac: Hmac<Md5>,
    /// The same, for several at a time: the inner digest's state, and the outer's.
    padded: Zeroizing<[State; 2]>,
}

/// A shared secret of no octets: RFC 2865 3 forbids it, for anyone could forge packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a RADIUS secret cannot be empty: use at least {RECOMMENDED_SECRET_LEN} random characters")]
pub struct EmptySecret;

/// Whether a packet that was found authentic has a Message-Authenticator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// It has one, and it is right.
    Present,
    /// It has none.
    Absent,
}

impl SharedSecret {
    /// Prepares a secret.
    ///
    /// # Errors
    /// If it is empty.
    pub fn new(secret: &Secret) -> Result<Self, EmptySecret> {
        let octets = secret.expose();
        if octets.is_empty() {
            return Err(EmptySecret);
        }
        let hmac = Hmac::new_from_slice(octets).map_err(|_| EmptySecret)?;
        let prefix = Md5::new_with_prefix(octets);
        // RFC 2104 2: of a key longer than a block, its digest.
        let hashed = Zeroizing::new(<[u8; 16]>::from(Md5::digest(octets)));
        let key = if octets.len() > lanes::BLOCK { &hashed[..] } else { octets };
        let padded = Zeroizing::new([lanes::keyed(key, 0x36), lanes::keyed(key, 0x5c)]);
        let octets = secret.clone();
        Ok(Self(Protection::Md5(Arc::new(Keyed { octets, prefix, hmac, padded }))))
    }

    /// No secret: the packets are RADIUS/1.1's (RFC 9765), on a TLS connection that agreed to it.
    /// They have a Token in the place of authenticators, and nothing in them is signed or hidden.
    pub const fn transport() -> Self {
        Self(Protection::Transport)
    }

    /// Whether the packets are RADIUS/1.1's.
    pub const fn is_transport(&self) -> bool {
        matches!(self.0, Protection::Transport)
    }

    /// Whether the secret is shorter than RFC 2865 3 prefers; worth a warning to the operator.
    pub fn is_short(&self) -> bool {
        self.keyed().is_some_and(|keyed| keyed.octets.expose().len() < RECOMMENDED_SECRET_LEN)
    }

    /// Checks a request: its Message-Authenticator where there is one (RFC 3579 3.2), and its
    /// Request Authenticator where that is a digest (RFC 2866 3, RFC 5176 2.3). The random one of
    /// Access-Request and Status-Server vouches for nothing, so see to [`Signature`]. For a packet
    /// of RADIUS/1.1 the connection vouches; a Message-Authenticator in it counts for nothing (RFC
    /// 9765 5.2).
    ///
    /// # Errors
    /// If either is wrong.
    pub fn verify_request(&self, request: &Packet<'_>) -> Result<Signature, AuthError> {
        if self.is_transport() {
            return Ok(Signature::Present);
        }
        let over = Right::over(request);
        let digest = request.code().authenticator_is_digest();
        let digest = digest.then(|| self.packet_digest(request.as_bytes(), over));
        let signed = request.offsets(MESSAGE_AUTHENTICATOR).next();
        let signed = signed.map(|(at, _)| self.message_authenticator(request.as_bytes(), over, at));
        self.verify_against(request, &Right { digest, signed })
    }

    /// The same where it is known what they should be.
    pub(crate) fn verify_against(
        &self,
        request: &Packet<'_>,
        right: &Right,
    ) -> Result<Signature, AuthError> {
        if self.is_transport() {
            return Ok(Signature::Present);
        }
        if request.code().authenticator_is_digest() {
            let is_right = |right: Authenticator| right.ct_eq(request.authenticator()).into();
            if !right.digest.is_some_and(is_right) {
                return Err(AuthError::RequestAuthenticator);
            }
        }
        check_message_authenticator(request, |_| right.signed)
    }

    /// Checks an answer to a request with that Request Authenticator: its Response Authenticator
    /// (RFC 2865 3) and its Message-Authenticator where there is one (RFC 3579 3.2). On RADIUS/1.1,
    /// that it has the request's Token (RFC 9765 4.2).
    ///
    /// # Errors
    /// If either is wrong.
    pub fn verify_answer(
        &self,
        answer: &Packet<'_>,
        request: &Authenticator,
    ) -> Result<Signature, AuthError> {
        if self.is_transport() {
            return match answer.authenticator().first_chunk::<4>() == request.first_chunk() {
                true => Ok(Signature::Present),
                false => Err(AuthError::ResponseAuthenticator),
            };
        }
        if !self.digest_is_right(answer, request) {
            return Err(AuthError::ResponseAuthenticator);
        }
        self.verify_message_authenticator(answer, request)
    }

    /// HMAC-MD5 over a packet, with `authenticator` in the Authenticator field and zeros in the
    /// 16 octets at `at`, where the Message-Authenticator's value is (RFC 3579 3.2).
    pub(crate) fn message_authenticator(
        &self,
        packet: &[u8],
        authenticator: &Authenticator,
        at: usize,
    ) -> [u8; 16] {
        let Some(keyed) = self.keyed() else { return [0; 16] };
        let mut mac = keyed.hmac.clone();
        mac.update(packet.get(..4).unwrap_or_default());
        mac.update(authenticator);
        mac.update(packet.get(HEADER_LEN..at).unwrap_or_default());
        mac.update(&[0; 16]);
        mac.update(packet.get(at + 16..).unwrap_or_default());
        mac.finalize().into_bytes().into()
    }

    /// The same over a packet in the making, which has that authenticator and those zeros already:
    /// whole blocks are digested where they lie.
    pub(crate) fn sign(&self, packet: &[u8]) -> [u8; 16] {
        let Some(keyed) = self.keyed() else { return [0; 16] };
        let mut mac = keyed.hmac.clone();
        mac.update(packet);
        mac.finalize().into_bytes().into()
    }

    /// MD5(Code + Identifier + Length + `authenticator` + attributes + secret): the Response
    /// Authenticator of RFC 2865 3 and, with zeros, the Request Authenticator of RFC 2866 3.
    pub(crate) fn packet_digest(
        &self,
        packet: &[u8],
        authenticator: &Authenticator,
    ) -> Authenticator {
        let mut md5 = Md5::new();
        md5.update(packet.get(..4).unwrap_or_default());
        md5.update(authenticator);
        md5.update(packet.get(HEADER_LEN..).unwrap_or_default());
        md5.update(self.octets());
        md5.finalize().into()
    }

    /// The same over a packet in the making, which has that authenticator already.
    pub(crate) fn seal(&self, packet: &[u8]) -> Authenticator {
        let mut md5 = Md5::new_with_prefix(packet);
        md5.update(self.octets());
        md5.finalize().into()
    }

    /// MD5(secret + `parts`): one pad of the chains that hide passwords.
    pub(crate) fn pad(&self, parts: [&[u8]; 2]) -> [u8; 16] {
        let mut md5 = self.keyed().map_or_else(Md5::new, |keyed| keyed.prefix.clone());
        for part in parts {
            md5.update(part);
        }
        md5.finalize().into()
    }

    /// The octets, where there are any.
    pub(crate) fn octets(&self) -> &[u8] {
        self.keyed().map_or(&[][..], |keyed| keyed.octets.expose())
    }

    /// What HMAC's inner and outer digest begin with.
    pub(crate) fn padded(&self) -> [State; 2] {
        self.keyed().map_or([lanes::START; 2], |keyed| *keyed.padded)
    }

    fn keyed(&self) -> Option<&Keyed> {
        match &self.0 {
            Protection::Md5(keyed) => Some(keyed),
            Protection::Transport => None,
        }
    }

    fn digest_is_right(&self, packet: &Packet<'_>, over: &Authenticator) -> bool {
        let right = self.packet_digest(packet.as_bytes(), over);
        right.ct_eq(packet.authenticator()).into()
    }

    fn verify_message_authenticator(
        &self,
        packet: &Packet<'_>,
        authenticator: &Authenticator,
    ) -> Result<Signature, AuthError> {
        let right = |at| Some(self.message_authenticator(packet.as_bytes(), authenticator, at));
        check_message_authenticator(packet, right)
    }
}

/// What the authenticators of a request should be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Right {
    /// The Request Authenticator, where it is a digest.
    pub(crate) digest: Option<Authenticator>,
    /// The Message-Authenticator, where there is one.
    pub(crate) signed: Option<[u8; 16]>,
}

impl Right {
    /// What both are computed with in the place of the Request Authenticator.
    pub(crate) fn over<'p>(request: &Packet<'p>) -> &'p Authenticator {
        if request.code().authenticator_is_digest() { &[0; 16] } else { request.authenticator() }
    }
}

fn check_message_authenticator(
    packet: &Packet<'_>,
    right: impl FnOnce(usize) -> Option<[u8; 16]>,
) -> Result<Signature, AuthError> {
    let mut found = packet.offsets(MESSAGE_AUTHENTICATOR);
    let Some((at, value)) = found.next() else { return Ok(Signature::Absent) };
    if found.next().is_some() {
        return Err(AuthError::RepeatedMessageAuthenticator);
    }
    match right(at) {
        Some(right) if right.as_slice().ct_eq(value).into() => Ok(Signature::Present),
        _ => Err(AuthError::MessageAuthenticator),
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
