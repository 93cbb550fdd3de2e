//! A TLS-based method from its start to its result: fragments, handshake, what comes after.

use homeward_model::{Instant, UnixTime};

use super::peap::{self, Peap};
use super::ttls::{self, Ttls};
use super::{Candidate, Env, Out, Proven, Verdict};
use crate::fragment::{self, Assembly, FragmentError, Outgoing, TlsPacket};
use crate::reason::Stage;
use crate::session::Binding;
use crate::tls::Tunnel;
use crate::{Claim, Context, Directory, Identity, InnerMethod, Method, Msk, Reason, TlsVersion};

/// RFC 9190 2.5: one octet of zero says that nothing but EAP-Success follows.
const COMMITMENT: [u8; 1] = [0];

/// A method under way.
pub(crate) struct Flow<S> {
    method: Method,
    tunnel: Tunnel,
    assembly: Assembly,
    outgoing: Outgoing,
    /// The most octets behind the type.
    room: usize,
    phase: Phase<S>,
    /// Whether the peer has answered in this method.
    begun: bool,
    /// The identity within, as far as it is known; not proven.
    pub(crate) identity: Option<Identity>,
    /// The method within.
    pub(crate) inner: Option<InnerMethod>,
}

enum Phase<S> {
    Handshake,
    /// PEAP over TLS 1.2: our Finished is on its way; the peer's acknowledgement is due.
    PeapDue,
    Ttls(Ttls<S>),
    Peap(Peap<S>),
    /// A password is being checked elsewhere.
    Checking(Candidate<S>, Option<Peap<S>>),
    /// The last was said; it is over when the peer has acknowledged it.
    Finishing(Verdict<S>),
    Over,
}

impl<S: Clone> Flow<S> {
    pub(crate) fn new(
        context: &Context,
        method: Method,
        room: usize,
        now: Instant,
        wall: UnixTime,
    ) -> Result<Self, Reason> {
        Ok(Self {
            method,
            tunnel: Tunnel::new(context, method, now, wall)?,
            assembly: Assembly::new(context.settings.max_message),
            outgoing: Outgoing::new(Vec::new(), room),
            room,
            phase: Phase::Handshake,
            begun: false,
            identity: None,
            inner: None,
        })
    }

    pub(crate) fn method(&self) -> Method {
        self.method
    }

    /// Whether the peer has answered in this method: then a Nak comes too late.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Why the peer is refused, told to it and not confirmed yet.
    pub(crate) fn refusal(&self) -> Option<&Reason> {
        match &self.phase {
            Phase::Finishing(verdict) => verdict.as_ref().err(),
            Phase::Ttls(inner) => inner.refusal(),
            Phase::Peap(inner) => inner.refusal(),
            _ => None,
        }
    }

    /// How far it has come.
    pub(crate) fn stage(&self) -> Stage {
        match &self.phase {
            Phase::Handshake if !self.begun => Stage::Method,
            Phase::Handshake => Stage::Handshake,
            Phase::Finishing(_) | Phase::Over => Stage::Result,
            Phase::Peap(inner) if inner.has_told() => Stage::Result,
            Phase::Ttls(inner) if inner.awaits_acknowledgement() => Stage::Result,
            Phase::Ttls(_) | Phase::Peap(_) | Phase::PeapDue | Phase::Checking(..) => Stage::Inner,
        }
    }

    pub(crate) fn version(&self) -> Option<TlsVersion> {
        self.tunnel.established().then(|| self.tunnel.version())
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.tunnel.is_resumed()
    }

    /// Handles what follows the type of a response.
    pub(crate) fn handle<D: Directory<Subject = S>>(
        &mut self,
        data: &[u8],
        env: &mut Env<'_, D>,
    ) -> Out<S> {
        self.begun = true;
        let out = self.receive(data, env);
        out.unwrap_or_else(|reason| Out::Done(Err(reason)))
    }

    fn receive<D: Directory<Subject = S>>(
        &mut self,
        data: &[u8],
        env: &mut Env<'_, D>,
    ) -> Result<Out<S>, Reason> {
        let packet = TlsPacket::decode(data)?;
        if self.outgoing.has_more() {
            return if packet.is_acknowledgement() {
                Ok(Out::Send(self.outgoing.next()))
            } else {
                Err(FragmentError::OutOfTurn.into())
            };
        }
        let acknowledged = packet.is_acknowledgement() && !self.assembly.is_open();
        let message = if acknowledged {
            Vec::new()
        } else {
            match self.assembly.push(&packet)? {
                Some(message) => message,
                None => return Ok(Out::Send(fragment::acknowledgement())),
            }
        };
        let plain = match (self.tunnel.feed(&message), &self.phase) {
            (_, Phase::Finishing(Err(_))) => Vec::new().into(),
            (Ok(plain), _) => plain,
            (Err(reason), _) => return Ok(self.refuse(reason)),
        };
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Handshake if self.tunnel.established() => self.established(&plain, env),
            Phase::Handshake if acknowledged => {
                Err(Reason::Handshake("the peer sent nothing where TLS was due".to_owned()))
            }
            Phase::Handshake => {
                self.phase = Phase::Handshake;
                Ok(self.flush())
            }
            Phase::PeapDue => {
                self.tunnel.say(&Peap::<S>::ask_identity())?;
                self.phase = Phase::Peap(Peap::new(env));
                Ok(self.flush())
            }
            Phase::Ttls(inner) => self.ttls(inner, &plain, env),
            Phase::Peap(inner) => self.peap(inner, &plain, env),
            Phase::Finishing(verdict) => Ok(Out::Done(verdict)),
            Phase::Checking(..) | Phase::Over => Err(Reason::Inner("nothing was due")),
        }
    }

    /// The password was checked.
    pub(crate) fn checked<D: Directory<Subject = S>>(
        &mut self,
        right: bool,
        directory: &D,
    ) -> Out<S> {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Checking(candidate, peap) => {
                let verdict = candidate.judge(right, None, directory);
                match peap {
                    None => Out::Done(verdict),
                    Some(mut peap) => {
                        let next = peap.conclude(verdict, &self.tunnel, false);
                        let out = self.peap_next(peap, next);
                        out.unwrap_or_else(|reason| Out::Done(Err(reason)))
                    }
                }
            }
            _ => Out::Done(Err(Reason::Internal("no password was to be checked".to_owned()))),
        }
    }

    /// The keys, and from now on the session can be resumed.
    pub(crate) fn finish(&self, proven: &Proven<S>) -> Result<Msk, Reason> {
        let msk = match &proven.msk {
            Some(msk) => msk.clone(),
            None => self.tunnel.msk()?,
        };
        let gate = self.tunnel.gate();
        let resumed = self.tunnel.binding();
        gate.commit(Binding {
            method: self.method,
            identity: proven.identity.clone(),
            inner: proven.inner,
            stamp: proven.stamp,
            // Resuming does not make a session live longer.
            expires: resumed.map_or_else(|| gate.expiry(), |binding| binding.expires),
        });
        Ok(msk)
    }

    /// The handshake is over; `plain` came along with its end.
    fn established<D: Directory<Subject = S>>(
        &mut self,
        plain: &[u8],
        env: &mut Env<'_, D>,
    ) -> Result<Out<S>, Reason> {
        let resumed = self.tunnel.is_resumed();
        match self.method {
            Method::Tls => {
                let verdict = self.certificate(env);
                self.commit(verdict)
            }
            Method::Ttls if resumed => {
                let verdict = self.resume(env);
                self.commit(verdict)
            }
            Method::Ttls => {
                let inner = Ttls::new();
                if plain.is_empty() {
                    self.phase = Phase::Ttls(inner);
                    Ok(self.flush())
                } else {
                    self.ttls(inner, plain, env)
                }
            }
            Method::Peap if resumed => {
                let verdict = self.resume(env);
                let mut inner = Peap::new(env);
                let next = inner.conclude(verdict, &self.tunnel, true);
                self.peap_next(inner, next)
            }
            Method::Peap if self.tunnel.version() == TlsVersion::Tls12 => {
                self.phase = Phase::PeapDue;
                Ok(self.flush())
            }
            Method::Peap => {
                self.tunnel.say(&Peap::<S>::ask_identity())?;
                self.phase = Phase::Peap(Peap::new(env));
                Ok(self.flush())
            }
        }
    }

    /// The end of what has no second phase. A yes is committed to in TLS 1.3, along with the
    /// tickets (RFC 9190 2.1.2, 2.5); a no needs no more TLS.
    fn commit(&mut self, verdict: Verdict<S>) -> Result<Out<S>, Reason> {
        if verdict.is_ok() {
            if self.tunnel.version() == TlsVersion::Tls13 {
                self.tunnel.say(&COMMITMENT)?;
            }
            let out = self.tunnel.output();
            if !out.is_empty() {
                self.phase = Phase::Finishing(verdict);
                return Ok(self.send(out));
            }
        }
        Ok(Out::Done(verdict))
    }

    /// Authorises a certificate, full or resumed.
    fn certificate<D: Directory<Subject = S>>(&mut self, env: &Env<'_, D>) -> Verdict<S> {
        let binding = self.tunnel.binding();
        let result = self.certificate_of(binding.as_deref(), env);
        if result.is_err() {
            self.tunnel.gate().forget_offered();
        }
        result
    }

    fn certificate_of<D: Directory<Subject = S>>(
        &mut self,
        binding: Option<&Binding>,
        env: &Env<'_, D>,
    ) -> Verdict<S> {
        let (certificate, names) = self.tunnel.certificate()?;
        self.identity = names.first().cloned();
        let certificate = certificate.as_slice();
        let found = names.into_iter().find_map(|identity| {
            let claim = Claim::Certificate { identity: &identity, outer: env.outer, certificate };
            env.directory.find(&claim).map(|subject| (identity, subject))
        });
        let (identity, subject) = found.ok_or(Reason::UnknownIdentity)?;
        self.identity = Some(identity.clone());
        self.admit(subject, identity, None, binding, env)
    }

    /// Authorises who resumes a session.
    fn resume<D: Directory<Subject = S>>(&mut self, env: &Env<'_, D>) -> Verdict<S> {
        let Some(binding) = self.tunnel.binding() else {
            return Err(Reason::Internal("a resumed session that is bound to nobody".to_owned()));
        };
        let identity = binding.identity.clone();
        self.identity = Some(identity.clone());
        self.inner = binding.inner;
        let claim = Claim::Password { identity: &identity, outer: env.outer };
        let subject = env.directory.find(&claim).ok_or(Reason::UnknownIdentity);
        let verdict = subject.and_then(|subject| {
            self.admit(subject, identity.clone(), binding.inner, Some(&binding), env)
        });
        if verdict.is_err() {
            self.tunnel.gate().forget_offered();
        }
        verdict
    }

    /// Whether a subject that was proven, now or when the session began, may come in.
    fn admit<D: Directory<Subject = S>>(
        &self,
        subject: S,
        identity: Identity,
        inner: Option<InnerMethod>,
        binding: Option<&Binding>,
        env: &Env<'_, D>,
    ) -> Verdict<S> {
        let stamp = env.directory.stamp(&subject);
        if let Some(binding) = binding
            && (binding.stamp != stamp || binding.identity != identity)
        {
            return Err(Reason::CredentialChanged);
        }
        let attempt = env.attempt(inner, binding.is_some());
        env.directory.may(&subject, &attempt).map_err(Reason::Denied)?;
        Ok(Proven { subject, identity, inner, stamp, key: None, msk: None })
    }

    fn ttls<D: Directory<Subject = S>>(
        &mut self,
        mut inner: Ttls<S>,
        plain: &[u8],
        env: &mut Env<'_, D>,
    ) -> Result<Out<S>, Reason> {
        if plain.is_empty() && !inner.awaits_acknowledgement() {
            // An acknowledgement of tickets, say; the peer's AVPs come next.
            self.phase = Phase::Ttls(inner);
            return Ok(self.flush());
        }
        let next = inner.handle(plain, &self.tunnel, env);
        self.identity.clone_from(&inner.identity);
        self.inner = inner.method;
        match next {
            ttls::Next::Say(avps) => {
                self.tunnel.say(&avps)?;
                self.phase = Phase::Ttls(inner);
                Ok(self.flush())
            }
            ttls::Next::Check(check, candidate) => {
                self.phase = Phase::Checking(candidate, None);
                Ok(Out::Check(check))
            }
            ttls::Next::Done(verdict) => Ok(Out::Done(verdict)),
        }
    }

    fn peap<D: Directory<Subject = S>>(
        &mut self,
        mut inner: Peap<S>,
        plain: &[u8],
        env: &mut Env<'_, D>,
    ) -> Result<Out<S>, Reason> {
        if plain.is_empty() {
            // An acknowledgement of tickets, say; the peer's answer comes next.
            self.phase = Phase::Peap(inner);
            return Ok(self.flush());
        }
        let next = inner.handle(plain, &self.tunnel, env);
        self.identity = inner.identity.clone().or(self.identity.take());
        self.inner = inner.method.or(self.inner);
        self.peap_next(inner, next)
    }

    fn peap_next(&mut self, inner: Peap<S>, next: peap::Next<S>) -> Result<Out<S>, Reason> {
        match next {
            peap::Next::Say(message) => {
                self.tunnel.say(&message)?;
                self.phase = Phase::Peap(inner);
                Ok(self.flush())
            }
            peap::Next::Check(check, candidate) => {
                self.phase = Phase::Checking(candidate, Some(inner));
                Ok(Out::Check(check))
            }
            peap::Next::Done(verdict) => Ok(Out::Done(verdict)),
        }
    }

    /// TLS failed: the peer gets the alert, if there is one, and then EAP-Failure.
    fn refuse(&mut self, reason: Reason) -> Out<S> {
        let alert = self.tunnel.output();
        if alert.is_empty() || matches!(reason, Reason::Alert { .. }) {
            return Out::Done(Err(reason));
        }
        self.phase = Phase::Finishing(Err(reason));
        self.send(alert)
    }

    /// Sends what TLS has to say, or an empty request if it has nothing.
    fn flush(&mut self) -> Out<S> {
        let out = self.tunnel.output();
        self.send(out)
    }

    fn send(&mut self, message: Vec<u8>) -> Out<S> {
        self.outgoing = Outgoing::new(message, self.room);
        Out::Send(self.outgoing.next())
    }
}
