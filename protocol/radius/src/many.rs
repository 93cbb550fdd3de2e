//! Requests verified, and answers signed, many at a time ([`crate::lanes`]).

use crate::DecodeError;
use crate::auth::{Right, SharedSecret};
use crate::builder::put;
use crate::dictionary::standard::{MESSAGE_AUTHENTICATOR, USER_PASSWORD};
use crate::hide::Pads;
use crate::lanes::{self, LANES, Message};
use crate::packet::{HEADER_LEN, Packet};

/// For how many it takes less time than one after the other.
const WORTHWHILE: usize = 3;

/// Octets of an authenticator.
const LEN: usize = 16;

/// A datagram, read, with the secret that it is to be held against.
#[derive(Debug)]
pub struct Opened<'d, 's> {
    pub(crate) packet: Result<Packet<'d>, DecodeError>,
    pub(crate) secret: &'s SharedSecret,
    /// What its authenticators should be, if that was computed already.
    pub(crate) right: Option<Right>,
    /// What its password is hidden with, as far as that was.
    pub(crate) pads: Pads,
}

impl<'d, 's> Opened<'d, 's> {
    /// Reads one.
    pub fn new(secret: &'s SharedSecret, datagram: &'d [u8]) -> Self {
        Self { packet: Packet::decode(datagram), secret, right: None, pads: Pads::default() }
    }

    /// What its Message-Authenticator is to be over, if it has one (RFC 3579 3.2).
    fn to_be_signed(&self) -> Option<Message<'d>> {
        let packet = self.packet.as_ref().ok()?;
        let (at, _) = packet.offsets(MESSAGE_AUTHENTICATOR).next()?;
        let octets = packet.as_bytes();
        let (before, after) = (octets.get(..at)?, octets.get(at + LEN..)?);
        let [inner, _] = self.secret.padded();
        let zeros = &[0; LEN];
        Some(if packet.code().authenticator_is_digest() {
            let (head, between) = (before.get(..4)?, before.get(HEADER_LEN..)?);
            Message::after(inner, [head, Right::over(packet), between, zeros, after])
        } else {
            Message::after(inner, [before, zeros, after, &[], &[]])
        })
    }

    /// What the `n`th pad over its User-Password is the digest of (RFC 2865 5.2): the secret, and
    /// its authenticator or the hidden block before.
    fn to_be_padded<'m>(&self, n: usize) -> Option<Message<'m>>
    where
        'd: 'm,
        's: 'm,
    {
        let packet = self.packet.as_ref().ok().filter(|_| !self.secret.is_transport())?;
        let (hidden, _) = packet.find(USER_PASSWORD)?.as_chunks::<LEN>();
        let before = match n.checked_sub(1) {
            Some(before) => hidden.get(before).filter(|_| n < hidden.len())?,
            None => hidden.first().map(|_| packet.authenticator())?,
        };
        Some(Message::new([self.secret.octets(), before, &[], &[], &[]]))
    }

    /// What its authenticator is to be over, if that is a digest (RFC 2866 3).
    fn to_be_digested<'m>(&self) -> Option<Message<'m>>
    where
        'd: 'm,
        's: 'm,
    {
        let packet = self.packet.as_ref().ok()?;
        let (octets, over) = (packet.as_bytes(), Right::over(packet));
        let parts = [octets.get(..4)?, over, octets.get(HEADER_LEN..)?, self.secret.octets(), &[]];
        packet.code().authenticator_is_digest().then(|| Message::new(parts))
    }
}

/// Computes what the authenticators of all these should be, so that
/// [`Server::handle_opened`](crate::Server::handle_opened) has only to compare, and what opens
/// their passwords.
pub fn prepare(all: &mut [Opened<'_, '_>]) {
    for some in all.chunks_mut(LANES).filter(|some| some.len() >= WORTHWHILE) {
        let right = digests(&each(some, Opened::to_be_digested));
        let signatures =
            signatures(&each(some, |opened| Some((opened.to_be_signed()?, opened.secret))));
        for ((opened, digest), signed) in some.iter_mut().zip(right).zip(signatures) {
            opened.right = Some(Right { digest, signed });
        }
        let pads: [_; Pads::MOST] =
            std::array::from_fn(|n| digests(&each(some, |opened| opened.to_be_padded(n))));
        for (lane, opened) in some.iter_mut().enumerate() {
            opened.pads = Pads(pads.each_ref().map(|pads| pads.get(lane).copied().flatten()));
        }
    }
}

/// An answer in the making: all there but its signatures, with the request's authenticator in the
/// place of its own and zeros in that of its Message-Authenticator.
pub(crate) struct Unsigned<'a> {
    pub(crate) packet: &'a mut [u8],
    pub(crate) secret: &'a SharedSecret,
    /// Whether it has a Message-Authenticator, ahead of all other attributes.
    pub(crate) is_signed: bool,
}

impl Unsigned<'_> {
    fn sign(&mut self, signature: &[u8; LEN]) {
        put(self.packet, HEADER_LEN + 2, signature);
    }

    fn seal(&mut self, digest: &[u8; LEN]) {
        put(self.packet, 4, digest);
    }
}

/// Signs answers (RFC 3579 3.2), and then seals them (RFC 2865 3).
pub(crate) fn sign_all(answers: &mut [Unsigned<'_>]) {
    for some in answers.chunks_mut(LANES) {
        if some.len() < WORTHWHILE {
            for answer in some {
                if answer.is_signed {
                    answer.sign(&answer.secret.sign(answer.packet));
                }
                answer.seal(&answer.secret.seal(answer.packet));
            }
            continue;
        }
        let signatures = signatures(&each(some, |answer| {
            let [inner, _] = answer.secret.padded();
            let message = Message::after(inner, [&*answer.packet, &[], &[], &[], &[]]);
            answer.is_signed.then_some((message, answer.secret))
        }));
        for (answer, signature) in some.iter_mut().zip(&signatures) {
            if let Some(signature) = signature {
                answer.sign(signature);
            }
        }
        let digests = digests(&each(some, |answer| {
            Some(Message::new([&*answer.packet, answer.secret.octets(), &[], &[], &[]]))
        }));
        for (answer, digest) in some.iter_mut().zip(digests.iter().flatten()) {
            answer.seal(digest);
        }
    }
}

/// What `of` says of each, in its lane.
fn each<'a, T, O>(some: &'a [T], of: impl Fn(&'a T) -> Option<O>) -> [Option<O>; LANES] {
    let mut some = some.iter();
    std::array::from_fn(|_| some.next().and_then(&of))
}

/// The digests of those that there are.
fn digests(messages: &[Option<Message<'_>>; LANES]) -> [Option<[u8; LEN]>; LANES] {
    if messages.iter().all(Option::is_none) {
        return [None; LANES];
    }
    let digests = lanes::digest(&messages.map(|message| message.unwrap_or(Message::EMPTY)));
    let mut there = messages.iter().map(Option::is_some);
    digests.map(|digest| there.next().unwrap_or_default().then_some(digest))
}

/// HMAC-MD5 (RFC 2104) of messages that begin with the inner key, under secrets.
fn signatures(
    messages: &[Option<(Message<'_>, &SharedSecret)>; LANES],
) -> [Option<[u8; LEN]>; LANES] {
    let inner = digests(&messages.map(|message| message.map(|(message, _)| message)));
    let mut secrets = messages.iter();
    digests(&inner.each_ref().map(|inner| {
        let (_, secret) = secrets.next().and_then(Option::as_ref)?;
        let [_, outer] = secret.padded();
        Some(Message::after(outer, [inner.as_ref()?, &[], &[], &[], &[]]))
    }))
}
