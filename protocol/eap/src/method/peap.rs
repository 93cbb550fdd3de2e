//! PEAPv0's second phase: EAP within, its packets without a header
//! (draft-kamath-pppext-peapv0), and at the end a result that both sides confirm ([MS-PEAP]).

use super::inner::{Inner, Inside};
use super::{Candidate, Env, Proven, Verdict};
use crate::keys::Compound;
use crate::packet::{self, Code, HEADER_LEN, Packet, kind};
use crate::tls::Tunnel;
use crate::tlv::{self, PeerResult};
use crate::{CryptoBinding, Directory, Identity, InnerMethod, PasswordCheck, Reason};

/// What to do next within the tunnel.
pub(crate) enum Next<S> {
    /// Say this.
    Say(Vec<u8>),
    /// Have a password checked.
    Check(PasswordCheck<S>, Candidate<S>),
    /// It is over.
    Done(Verdict<S>),
}

/// The second phase.
pub(crate) struct Peap<S> {
    state: State<S>,
    /// The identifier of the last request within.
    id: u8,
    /// The nonce of the crypto-binding, drawn beforehand: a check may have been put off.
    nonce: [u8; 32],
    offered: CryptoBinding,
    pub(crate) identity: Option<Identity>,
    pub(crate) method: Option<InnerMethod>,
}

enum State<S> {
    Eap(Inner<S>),
    /// The result was said; the peer's is due.
    Told(Verdict<S>, Option<Compound>),
    Over,
}

impl<S: Clone> Peap<S> {
    pub(crate) fn new<D: Directory<Subject = S>>(env: &mut Env<'_, D>) -> Self {
        let [id] = env.octets();
        Self {
            state: State::Eap(Inner::new()),
            id,
            nonce: env.octets(),
            offered: env.context.settings.crypto_binding,
            identity: None,
            method: None,
        }
    }

    /// Why the peer is refused, told to it and not confirmed yet.
    pub(crate) fn refusal(&self) -> Option<&Reason> {
        match &self.state {
            State::Eap(inner) => inner.refusal(),
            State::Told(verdict, _) => verdict.as_ref().err(),
            State::Over => None,
        }
    }

    /// Whether the result was told.
    pub(crate) fn has_told(&self) -> bool {
        matches!(self.state, State::Told(..))
    }

    /// The request that the phase begins with.
    pub(crate) fn ask_identity() -> Vec<u8> {
        vec![kind::IDENTITY]
    }

    pub(crate) fn handle<D: Directory<Subject = S>>(
        &mut self,
        plain: &[u8],
        tunnel: &Tunnel,
        env: &mut Env<'_, D>,
    ) -> Next<S> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Eap(mut inner) => {
                let Some((kind, data)) = unframed(plain, self.id) else {
                    return Next::Done(Err(Reason::Inner("it is empty")));
                };
                let packet = Packet { code: Code::Response, identifier: self.id, kind, data };
                let nak = packet.is_nak().then(|| packet.wanted().collect());
                let next = inner.handle(kind, data, nak, env);
                self.identity.clone_from(&inner.identity);
                self.method = inner.method;
                match next {
                    Inside::Ask(kind, data) => {
                        self.state = State::Eap(inner);
                        self.id = self.id.wrapping_add(1);
                        Next::Say([&[kind][..], &data].concat())
                    }
                    Inside::Check(check, candidate) => Next::Check(check, candidate),
                    Inside::Done(verdict) => self.conclude(verdict, tunnel, false),
                }
            }
            State::Told(verdict, keys) => {
                Next::Done(verdict.and_then(|proven| self.confirmed(proven, keys, plain)))
            }
            State::Over => Next::Done(Err(Reason::Inner("it is over"))),
        }
    }

    /// Says the result.
    pub(crate) fn conclude(
        &mut self,
        verdict: Verdict<S>,
        tunnel: &Tunnel,
        resumed: bool,
    ) -> Next<S> {
        let mut said = tlv::result(verdict.is_ok());
        let mut keys = None;
        if let Ok(proven) = &verdict
            && self.offered != CryptoBinding::Off
        {
            let tunnel = match tunnel.msk() {
                Ok(msk) => msk,
                Err(reason) => return Next::Done(Err(reason)),
            };
            // An inner method without keys counts as one whose key is zeros.
            let inner = proven.key.clone().unwrap_or_default();
            let compound = Compound::new(&tunnel, (!resumed).then_some(&inner));
            said.extend(tlv::binding(&compound, &self.nonce));
            keys = Some(compound);
        }
        self.id = self.id.wrapping_add(1);
        self.state = State::Told(verdict, keys);
        // The result is the one message with its header.
        Next::Say(packet::request(self.id, kind::TLV, &said))
    }

    /// Reads the peer's answer to our yes.
    fn confirmed(&self, mut proven: Proven<S>, keys: Option<Compound>, plain: &[u8]) -> Verdict<S> {
        let said = match unframed(plain, self.id) {
            Some((kind::TLV, tlvs)) => PeerResult::decode(tlvs),
            _ => None,
        };
        let said = said.ok_or(Reason::Inner("a result was due"))?;
        if said.success != Some(true) {
            return Err(Reason::PeerRefused);
        }
        match (keys, said.binding) {
            (Some(keys), Some(binding)) => {
                if !tlv::is_bound(&keys, binding) {
                    return Err(Reason::CryptoBinding { missing: false });
                }
                proven.msk = Some(keys.msk());
            }
            _ if self.offered == CryptoBinding::Required => {
                return Err(Reason::CryptoBinding { missing: true });
            }
            _ => {}
        }
        Ok(proven)
    }
}

/// Type and data of what the peer said. Most of it comes without a header; the result comes with
/// one, and some peers give one to everything.
fn unframed(plain: &[u8], id: u8) -> Option<(u8, &[u8])> {
    if let Ok(packet) = Packet::decode(plain)
        && packet.code == Code::Response
        && packet.identifier == id
        && plain.len() == packet.data.len() + HEADER_LEN + 1
    {
        return Some((packet.kind, packet.data));
    }
    plain.split_first().map(|(kind, data)| (*kind, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_with_and_without_its_header() {
        let full = packet::response(7, kind::TLV, &[0x80, 3, 0, 2, 0, 1]);
        assert_eq!(unframed(&full, 7), Some((kind::TLV, &full[5..])));
        assert_eq!(unframed(&[1, b'a'], 7), Some((1, &b"a"[..])));
        // A Notification, which begins like a response's header and is none.
        assert_eq!(unframed(&full, 8), Some((2, &full[1..])));
        assert_eq!(unframed(&[], 7), None);
    }
}
