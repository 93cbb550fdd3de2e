//! EAP-TTLSv0's second phase (RFC 5281 11): the peer begins, with AVPs.

use super::inner::{Inner, Inside, check, look_up, prove};
use super::{Candidate, Env, Verdict};
use crate::avp::{self, MICROSOFT, Said, code};
use crate::mschapv2::{Exchange, split_proof};
use crate::packet::{self, Packet};
use crate::tls::Tunnel;
use crate::{Directory, Identity, InnerMethod, PasswordCheck, Reason};

/// What to do next within the tunnel.
pub(crate) enum Next<S> {
    /// Say these AVPs.
    Say(Vec<u8>),
    /// Have a password checked.
    Check(PasswordCheck<S>, Candidate<S>),
    /// It is over.
    Done(Verdict<S>),
}

/// The second phase.
pub(crate) struct Ttls<S> {
    state: State<S>,
    pub(crate) identity: Option<Identity>,
    pub(crate) method: Option<InnerMethod>,
}

enum State<S> {
    /// The peer has said nothing yet.
    First,
    /// EAP within; the identifier of the last request.
    Eap(Inner<S>, u8),
    /// MS-CHAP2-Success was said; the peer's acknowledgement is due.
    Told(Verdict<S>),
    Over,
}

impl<S: Clone> Ttls<S> {
    pub(crate) fn new() -> Self {
        Self { state: State::First, identity: None, method: None }
    }

    /// Why the peer is refused, told to it and not confirmed yet.
    pub(crate) fn refusal(&self) -> Option<&Reason> {
        match &self.state {
            State::Eap(inner, _) => inner.refusal(),
            _ => None,
        }
    }

    /// Whether an acknowledgement, rather than AVPs, is what the peer owes.
    pub(crate) fn awaits_acknowledgement(&self) -> bool {
        matches!(self.state, State::Told(_))
    }

    pub(crate) fn handle<D: Directory<Subject = S>>(
        &mut self,
        plain: &[u8],
        tunnel: &Tunnel,
        env: &mut Env<'_, D>,
    ) -> Next<S> {
        match std::mem::replace(&mut self.state, State::Over) {
            // RFC 5281 11.2.4: who believes our proof says so by an empty message.
            State::Told(verdict) if plain.is_empty() => Next::Done(verdict),
            State::Told(_) => Next::Done(Err(Reason::PeerRefused)),
            State::Over => Next::Done(Err(Reason::Inner("it is over"))),
            state => {
                let said = match Said::decode(plain) {
                    Ok(said) => said,
                    Err(error) => return Next::Done(Err(error.into())),
                };
                if let Some((vendor, code)) = said.unknown {
                    return Next::Done(Err(Reason::UnknownAvp { vendor, code }));
                }
                match state {
                    State::Eap(inner, id) => self.eap(inner, id, &said, env),
                    _ => self.first(&said, tunnel, env),
                }
            }
        }
    }

    fn first<D: Directory<Subject = S>>(
        &mut self,
        said: &Said<'_>,
        tunnel: &Tunnel,
        env: &mut Env<'_, D>,
    ) -> Next<S> {
        if !said.eap.is_empty() {
            // The peer begins with a response that nobody asked for (RFC 5281 11.2.1); its
            // identifier is of its own choice.
            let id = said.eap.get(1).copied().unwrap_or_default();
            return self.eap(Inner::new(), id, said, env);
        }
        let identity = match said.user.map(Identity::decode) {
            Some(Ok(identity)) => identity,
            Some(Err(error)) => return Next::Done(Err(Reason::Identity(error))),
            None => return Next::Done(Err(Reason::Inner("there is no User-Name"))),
        };
        self.identity = Some(identity.clone());
        let served = |method| env.context.settings.inner.contains(&method);
        match said {
            Said { password: Some(password), .. } if served(InnerMethod::Pap) => {
                self.method = Some(InnerMethod::Pap);
                let (subject, verifier) = look_up(env, &identity);
                match check(env, &identity, subject, &verifier, password, InnerMethod::Pap) {
                    Inside::Check(check, candidate) => Next::Check(check, candidate),
                    Inside::Done(verdict) => Next::Done(verdict),
                    Inside::Ask(..) => Next::Done(Err(Reason::Inner("PAP asks nothing"))),
                }
            }
            Said { challenge: Some(challenge), response: Some(response), .. }
                if served(InnerMethod::MsChapV2) =>
            {
                self.method = Some(InnerMethod::MsChapV2);
                self.mschapv2(&identity, challenge, response, tunnel, env)
            }
            _ => Next::Done(Err(Reason::NoCommonInner)),
        }
    }

    /// MSCHAPv2 with the tunnel's own challenge (RFC 5281 11.2.4).
    fn mschapv2<D: Directory<Subject = S>>(
        &mut self,
        identity: &Identity,
        challenge: &[u8],
        response: &[u8],
        tunnel: &Tunnel,
        env: &Env<'_, D>,
    ) -> Next<S> {
        let (expected, expected_id) = match tunnel.ttls_challenge() {
            Ok(expected) => expected,
            Err(reason) => return Next::Done(Err(reason)),
        };
        let Some(([id, _], Ok(proof))) =
            response.split_first_chunk::<2>().map(|(head, rest)| (*head, rest.try_into()))
        else {
            return Next::Done(Err(Reason::Inner("MS-CHAP2-Response is not 50 octets long")));
        };
        if challenge != expected || id != expected_id {
            return Next::Done(Err(Reason::ForeignChallenge));
        }
        let Some((peer_challenge, nt_response)) = split_proof(proof) else {
            return Next::Done(Err(Reason::Inner("MS-CHAP2-Response is not 50 octets long")));
        };
        let user = identity.as_str().as_bytes();
        let exchange = Exchange { challenge: &expected, peer_challenge, user };
        let (subject, verifier) = look_up(env, identity);
        let candidate = env.candidate(identity, subject, InnerMethod::MsChapV2);
        let (verdict, proof) = prove(candidate, &verifier, &exchange, nt_response, env.directory);
        if verdict.is_err() {
            return Next::Done(verdict);
        }
        self.state = State::Told(verdict);
        let mut avps = Vec::new();
        let value = [&[id][..], proof.as_bytes()].concat();
        avp::write(&mut avps, code::MS_CHAP2_SUCCESS, MICROSOFT, &value);
        Next::Say(avps)
    }

    fn eap<D: Directory<Subject = S>>(
        &mut self,
        mut inner: Inner<S>,
        id: u8,
        said: &Said<'_>,
        env: &mut Env<'_, D>,
    ) -> Next<S> {
        let packet = match Packet::decode(&said.eap) {
            Ok(packet) if packet.code == packet::Code::Response && packet.identifier == id => {
                packet
            }
            _ => return Next::Done(Err(Reason::Inner("an EAP response was due"))),
        };
        let nak = packet.is_nak().then(|| packet.wanted().collect());
        let next = inner.handle(packet.kind, packet.data, nak, env);
        self.identity.clone_from(&inner.identity);
        self.method = inner.method;
        match next {
            Inside::Ask(kind, data) => {
                let id = id.wrapping_add(1);
                let mut avps = Vec::new();
                avp::write(&mut avps, code::EAP_MESSAGE, 0, &packet::request(id, kind, &data));
                self.state = State::Eap(inner, id);
                Next::Say(avps)
            }
            Inside::Check(check, candidate) => Next::Check(check, candidate),
            Inside::Done(verdict) => Next::Done(verdict),
        }
    }
}
