//! The methods: what happens within one conversation once a method was proposed.

mod flow;
mod inner;
pub(crate) mod peap;
pub(crate) mod ttls;

pub(crate) use flow::Flow;

use homeward_model::{Entropy, Mac, UnixTime};
use zeroize::Zeroizing;

use crate::{
    Attempt, Context, Directory, Identity, InnerMethod, Method, Msk, PasswordCheck, Reason,
};

/// What a method needs from outside while it handles a message.
pub(crate) struct Env<'e, D> {
    pub(crate) context: &'e Context,
    pub(crate) directory: &'e D,
    pub(crate) entropy: &'e mut dyn Entropy,
    pub(crate) outer: &'e Identity,
    pub(crate) station: Option<Mac>,
    pub(crate) wall: UnixTime,
    pub(crate) method: Method,
}

impl<D: Directory> Env<'_, D> {
    fn octets<const N: usize>(&mut self) -> [u8; N] {
        let mut room = [0; N];
        self.entropy.fill(&mut room);
        room
    }

    fn attempt(&self, inner: Option<InnerMethod>, resumed: bool) -> Attempt {
        Attempt { station: self.station, method: self.method, inner, resumed, wall: self.wall }
    }

    /// Whose password is to be checked.
    fn candidate(
        &self,
        identity: &Identity,
        subject: Option<D::Subject>,
        inner: InnerMethod,
    ) -> Candidate<D::Subject> {
        let attempt = self.attempt(Some(inner), false);
        Candidate { identity: identity.clone(), subject, attempt }
    }
}

/// Who proved who it is, and may come in.
pub(crate) struct Proven<S> {
    pub(crate) subject: S,
    pub(crate) identity: Identity,
    pub(crate) inner: Option<InnerMethod>,
    pub(crate) stamp: [u8; 16],
    /// The inner method's session key, for PEAP's crypto-binding.
    pub(crate) key: Option<Zeroizing<[u8; 32]>>,
    /// The MSK, where a crypto-binding makes one of its own.
    pub(crate) msk: Option<Msk>,
}

/// What came out.
pub(crate) type Verdict<S> = Result<Proven<S>, Reason>;

/// Whose password is being checked.
pub(crate) struct Candidate<S> {
    identity: Identity,
    subject: Option<S>,
    attempt: Attempt,
}

impl<S> Candidate<S> {
    /// The verdict, once it is known whether the password is right. The directory is asked about
    /// who proved who it is and nobody else: a wrong password is to cost what a name costs that
    /// nobody has.
    fn judge<D: Directory<Subject = S>>(
        self,
        right: bool,
        key: Option<Zeroizing<[u8; 32]>>,
        directory: &D,
    ) -> Verdict<S> {
        let Self { identity, subject, attempt } = self;
        let subject = subject.ok_or(Reason::UnknownIdentity)?;
        if !right {
            return Err(Reason::WrongPassword);
        }
        directory.may(&subject, &attempt).map_err(Reason::Denied)?;
        let stamp = directory.stamp(&subject);
        Ok(Proven { subject, identity, inner: attempt.inner, stamp, key, msk: None })
    }
}

/// What a method does next.
pub(crate) enum Out<S> {
    /// Send a request with this behind the type.
    Send(Vec<u8>),
    /// Have a password checked.
    Check(PasswordCheck<S>),
    /// It is over.
    Done(Verdict<S>),
}
