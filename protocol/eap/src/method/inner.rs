//! EAP within a tunnel: identity, then EAP-MSCHAPv2 or EAP-GTC. EAP-TTLS and PEAP frame it
//! differently; here it is types and what follows them.

use homeward_model::{NtHash, Secret};
use zeroize::Zeroizing;

use super::{Candidate, Env, Verdict};
use crate::mschapv2::{self, Exchange, PeerPacket, is_hash_of};
use crate::packet::kind;
use crate::{CheckedBy, Claim, Decoy, Directory, Identity, InnerMethod, PasswordCheck, Reason};

/// What to do next within the tunnel.
pub(super) enum Inside<S> {
    /// Ask, with this type and this behind it.
    Ask(u8, Vec<u8>),
    /// Have a password checked.
    Check(PasswordCheck<S>, Candidate<S>),
    /// The inner method is over.
    Done(Verdict<S>),
}

/// An EAP conversation within the tunnel.
pub(super) struct Inner<S> {
    state: State<S>,
    /// The identity, once it was told.
    pub(super) identity: Option<Identity>,
    /// The method, once one was begun.
    pub(super) method: Option<InnerMethod>,
}

enum State<S> {
    Identity,
    Asked {
        subject: Option<S>,
        verifier: CheckedBy,
        /// The methods not tried yet.
        left: Vec<InnerMethod>,
        asked: Asked,
    },
    /// MSCHAPv2's result was told; the peer's answer is due.
    Told(Verdict<S>),
    Over,
}

enum Asked {
    MsChapV2 { id: u8, challenge: [u8; 16] },
    Gtc,
}

impl<S: Clone> Inner<S> {
    pub(super) fn new() -> Self {
        Self { state: State::Identity, identity: None, method: None }
    }

    /// Why the peer is refused, told to it and not confirmed yet.
    pub(super) fn refusal(&self) -> Option<&Reason> {
        match &self.state {
            State::Told(verdict) => verdict.as_ref().err(),
            _ => None,
        }
    }

    /// Handles a response within.
    pub(super) fn handle<D: Directory<Subject = S>>(
        &mut self,
        kind: u8,
        data: &[u8],
        nak: Option<Vec<u8>>,
        env: &mut Env<'_, D>,
    ) -> Inside<S> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Identity if kind == kind::IDENTITY => self.identified(data, env),
            State::Identity => out_of_order("an identity was due"),
            State::Asked { subject, verifier, left, asked } => {
                if let Some(wanted) = nak {
                    let wanted: Vec<_> =
                        left.iter().copied().filter(|m| wanted.contains(&type_of(*m))).collect();
                    return self.ask(subject, verifier, &wanted, env);
                }
                match asked {
                    Asked::MsChapV2 { id, challenge } if kind == kind::MSCHAPV2 => {
                        self.mschapv2(subject, &verifier, (id, &challenge), data, env)
                    }
                    Asked::Gtc if kind == kind::GTC => {
                        let Some(identity) = &self.identity else {
                            return out_of_order("an identity was due");
                        };
                        check(env, identity, subject, &verifier, data, InnerMethod::EapGtc)
                    }
                    _ => out_of_order("another method's response"),
                }
            }
            State::Told(verdict) => match PeerPacket::decode(data) {
                Some(PeerPacket::Success) if kind == kind::MSCHAPV2 => Inside::Done(verdict),
                // Whatever it says to a failure, it failed.
                _ => Inside::Done(verdict.and(Err(Reason::PeerRefused))),
            },
            State::Over => out_of_order("it is over"),
        }
    }

    fn identified<D: Directory<Subject = S>>(
        &mut self,
        data: &[u8],
        env: &mut Env<'_, D>,
    ) -> Inside<S> {
        let identity = match Identity::decode(data) {
            Ok(identity) => identity,
            Err(error) => return Inside::Done(Err(Reason::Identity(error))),
        };
        let (subject, verifier) = look_up(env, &identity);
        self.identity = Some(identity);
        // A slow hash can be checked by GTC only; for a password that is none, too, the peer
        // is led the way that the decoy goes.
        let fits = |method: &InnerMethod| match method {
            InnerMethod::EapMsChapV2 => !matches!(verifier, CheckedBy::Caller),
            InnerMethod::EapGtc => true,
            InnerMethod::Pap | InnerMethod::MsChapV2 => false,
        };
        let methods: Vec<_> = env.context.settings.inner.iter().copied().filter(fits).collect();
        if methods.is_empty() {
            return Inside::Done(Err(Reason::WrongCredentialKind));
        }
        self.ask(subject, verifier, &methods, env)
    }

    /// Proposes the first of `methods`.
    fn ask<D: Directory<Subject = S>>(
        &mut self,
        subject: Option<S>,
        verifier: CheckedBy,
        methods: &[InnerMethod],
        env: &mut Env<'_, D>,
    ) -> Inside<S> {
        let Some((&method, left)) = methods.split_first() else {
            return Inside::Done(Err(Reason::NoCommonInner));
        };
        self.method = Some(method);
        let (asked, data) = if method == InnerMethod::EapGtc {
            (Asked::Gtc, b"Password".to_vec())
        } else {
            let (challenge, [id]) = (env.octets::<16>(), env.octets::<1>());
            let data = mschapv2::challenge(id, &challenge, &env.context.settings.name);
            (Asked::MsChapV2 { id, challenge }, data)
        };
        self.state = State::Asked { subject, verifier, left: left.to_vec(), asked };
        Inside::Ask(type_of(method), data)
    }

    fn mschapv2<D: Directory<Subject = S>>(
        &mut self,
        subject: Option<S>,
        verifier: &CheckedBy,
        (sent, challenge): (u8, &[u8; 16]),
        data: &[u8],
        env: &mut Env<'_, D>,
    ) -> Inside<S> {
        let (Some(PeerPacket::Response { id, peer_challenge, nt_response, name }), Some(identity)) =
            (PeerPacket::decode(data), &self.identity)
        else {
            return out_of_order("an MSCHAPv2 response was due");
        };
        if id != sent {
            return out_of_order("an MSCHAPv2 response to another challenge");
        }
        let exchange = Exchange { challenge, peer_challenge, user: name };
        let candidate = env.candidate(identity, subject, InnerMethod::EapMsChapV2);
        let (verdict, proof) = prove(candidate, verifier, &exchange, nt_response, env.directory);
        let answer = match &verdict {
            Ok(_) => mschapv2::success(id, &proof),
            Err(_) => mschapv2::failure(id, &env.octets()),
        };
        self.state = State::Told(verdict);
        Inside::Ask(kind::MSCHAPV2, answer)
    }
}

fn out_of_order<S>(what: &'static str) -> Inside<S> {
    Inside::Done(Err(Reason::Inner(what)))
}

fn type_of(method: InnerMethod) -> u8 {
    match method {
        InnerMethod::EapGtc => kind::GTC,
        _ => kind::MSCHAPV2,
    }
}

/// Finds who is claimed, and how its password is checked; of nobody's, how the decoy's is.
pub(super) fn look_up<D: Directory>(
    env: &Env<'_, D>,
    identity: &Identity,
) -> (Option<D::Subject>, CheckedBy) {
    let subject = env.directory.find(&Claim::Password { identity, outer: env.outer });
    let verifier = match (&subject, env.directory.decoy(identity)) {
        (Some(subject), _) => env.directory.checked_by(subject),
        (None, Decoy::NtHash) => CheckedBy::NtHash(nobody()),
        (None, Decoy::Caller) => CheckedBy::Caller,
    };
    (subject, verifier)
}

/// Checks a password that came as such: PAP and GTC.
pub(super) fn check<D: Directory>(
    env: &Env<'_, D>,
    identity: &Identity,
    subject: Option<D::Subject>,
    verifier: &CheckedBy,
    password: &[u8],
    method: InnerMethod,
) -> Inside<D::Subject> {
    let candidate = env.candidate(identity, subject.clone(), method);
    match verifier {
        CheckedBy::NtHash(hash) => {
            let right = is_hash_of(hash, password);
            Inside::Done(candidate.judge(right, None, env.directory))
        }
        CheckedBy::Caller => {
            Inside::Check(PasswordCheck { subject, password: Secret::new(password) }, candidate)
        }
        CheckedBy::Nothing => {
            is_hash_of(&nobody(), password);
            Inside::Done(candidate.judge(false, None, env.directory).map_err(kind_of))
        }
    }
}

/// Checks an MSCHAPv2 response; the second is our own proof. All of it is computed whatever
/// came out, so that it takes as long.
pub(super) fn prove<D: Directory>(
    candidate: Candidate<D::Subject>,
    verifier: &CheckedBy,
    exchange: &Exchange<'_>,
    nt_response: &[u8; 24],
    directory: &D,
) -> (Verdict<D::Subject>, String) {
    let (hash, known) = match verifier {
        CheckedBy::NtHash(hash) => (hash.clone(), true),
        CheckedBy::Caller | CheckedBy::Nothing => (nobody(), false),
    };
    let right = exchange.is_right(&hash, nt_response) && known;
    let proof = exchange.authenticator_response(&hash, nt_response);
    let key: Zeroizing<[u8; 32]> = mschapv2::session_keys(&hash, nt_response);
    let verdict = candidate.judge(right, Some(key), directory);
    (if known { verdict } else { verdict.map_err(kind_of) }, proof)
}

/// A wrong password that could not have been right.
fn kind_of(reason: Reason) -> Reason {
    match reason {
        Reason::WrongPassword => Reason::WrongCredentialKind,
        other => other,
    }
}

/// The hash of no password that is ever accepted: it is compared with for appearance's sake.
fn nobody() -> NtHash {
    NtHash::new([0; 16])
}
