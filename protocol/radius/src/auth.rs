//! Authenticators: who vouches for a packet.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use homeward_model::Secret;
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use crate::AuthError;
use crate::dictionary::standard::MESSAGE_AUTHENTICATOR;
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
        Ok(Self(Protection::Md5(Arc::new(Keyed { octets: secret.clone(), prefix, hmac }))))
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
        let digest = request.code().authenticator_is_digest();
        let over = if digest { &[0; 16] } else { request.authenticator() };
        if digest && !self.digest_is_right(request, over) {
            return Err(AuthError::RequestAuthenticator);
        }
        self.verify_message_authenticator(request, over)
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
        md5.update(self.keyed().map_or(&[][..], |keyed| keyed.octets.expose()));
        md5.finalize().into()
    }

    /// The same over a packet in the making, which has that authenticator already.
    pub(crate) fn seal(&self, packet: &[u8]) -> Authenticator {
        let mut md5 = Md5::new_with_prefix(packet);
        md5.update(self.keyed().map_or(&[][..], |keyed| keyed.octets.expose()));
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
        let mut found = packet.offsets(MESSAGE_AUTHENTICATOR);
        let Some((at, value)) = found.next() else { return Ok(Signature::Absent) };
        if found.next().is_some() {
            return Err(AuthError::RepeatedMessageAuthenticator);
        }
        let right = self.message_authenticator(packet.as_bytes(), authenticator, at);
        if bool::from(right.as_slice().ct_eq(value)) {
            Ok(Signature::Present)
        } else {
            Err(AuthError::MessageAuthenticator)
        }
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
