//! Log-ins as a worker handles them: EAP, PAP and CHAP in, verdicts out.

use std::collections::BTreeMap;
use std::sync::Arc;

use homeward_eap::{
    Context, Conversation, Denied, Msk, Origin, PasswordCheck, Reason, Step, packet,
};
use homeward_model::service::Seconds;
use homeward_model::{Entropy, GatewayId, Instant, Login, Mac, Nai, NtHash, Secret, Verifier};
use homeward_radius::LoginRequest;
use homeward_radius::login::{Admitted, Chap, Proof};

use crate::admission::Admission;
use crate::checker::{Checker, Job};
use crate::conversations::{Conversations, Held, State};
use crate::desk::Desk;
use crate::directory::slow_hash;
use crate::eap::Speech;
use crate::password;

mod scene;

pub(crate) use scene::Scene;
use scene::{Standing, find};

/// How log-ins are handled.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The most EAP conversations at a time.
    pub conversations: usize,
    /// Passwords of one gateway that may be checked beside the worker at a time.
    pub checks: usize,
    /// Seconds between interim accounting records.
    pub interim: Seconds,
}

/// What is to be answered.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Ask back.
    Challenge { eap: Vec<u8>, state: State },
    /// Let in.
    Accept(Box<Accept>),
    /// Do not, and why; with EAP-Failure where EAP was spoken.
    Reject { eap: Option<Vec<u8>>, why: Why },
    /// A password is being checked elsewhere, under this number.
    Later(u64),
    /// Nothing is answered; the word for metrics.
    Silence(&'static str),
}

/// Who is let in.
#[derive(Debug)]
pub(crate) struct Accept {
    admission: Admission,
    class: Vec<u8>,
    cui: Option<Vec<u8>>,
    eap: Option<(Vec<u8>, Msk)>,
    interim: Seconds,
    /// How, for the log.
    pub(crate) method: &'static str,
    pub(crate) resumed: bool,
}

impl Accept {
    /// In RADIUS's words.
    pub(crate) fn words(&self) -> Admitted<'_> {
        let Admission { login, allowed, .. } = &self.admission;
        Admitted {
            user_name: login.name.as_str(),
            cui: self.cui.as_deref(),
            allowed: *allowed,
            interim: self.interim,
            class: &self.class,
            eap: self.eap.as_ref().map(|(success, msk)| (&success[..], Some(msk.expose()))),
        }
    }

    pub(crate) fn login(&self) -> &Arc<Login> {
        &self.admission.login
    }

    /// What is answered where somebody else was quicker to spend it.
    pub(crate) fn spent(&self) -> Verdict {
        let identifier = self.eap.as_ref().and_then(|(success, _)| success.get(1));
        let eap = identifier.map(|identifier| packet::failure(*identifier));
        Verdict::Reject { eap, why: Why::Reason(Reason::Denied(Denied::Spent)) }
    }
}

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// What EAP, and with it everything else, knows.
    Reason(Reason),
    /// EAP without a certificate to speak it with.
    NoEap,
    /// A State that is no conversation's: it is over, or was another server's.
    UnknownState,
    /// CHAP for a password that is kept as a hash.
    NotForChap,
    /// Wrong passwords were tried too often; this one was not looked at.
    TooManyTries,
}

impl Why {
    /// The word for metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Reason(reason) => reason.label(),
            Self::NoEap => "no_eap",
            Self::UnknownState => "unknown_state",
            Self::NotForChap => "not_for_chap",
            Self::TooManyTries => "too_many_tries",
        }
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reason(reason) => reason.fmt(f),
            Self::NoEap => f.write_str("EAP needs aaa.eap.certificate and aaa.eap.key"),
            Self::UnknownState => f.write_str("no such conversation: it is over, or another's"),
            Self::TooManyTries => {
                f.write_str("too many wrong passwords: this one was not looked at")
            }
            Self::NotForChap => f.write_str("the password is kept as a hash: CHAP needs it whole"),
        }
    }
}

/// What a question says of who asks.
#[derive(Debug, Clone, Copy)]
struct Asker {
    station: Option<Mac>,
    wants_cui: bool,
}

/// A question whose answer waits for a password.
struct Pending {
    client: GatewayId,
    asker: Asker,
    /// The name that is tried, counted as a wrong try until it is known to be none.
    tried: Option<String>,
    what: What,
}

enum What {
    Password { name: String, standing: Standing, login: Option<Arc<Login>> },
    Eap(Talk),
}

/// A conversation that is gone on with.
struct Talk {
    state: State,
    conversation: Box<Conversation<Arc<Login>>>,
    /// How its name stood when its password came, if that is checked beside the worker.
    standing: Option<Standing>,
    /// Why it is refused, once the peer was told and the try was counted.
    refused: Option<Why>,
    /// Whether it began with this message.
    first: bool,
}

/// The log-ins of a worker.
pub(crate) struct Logins {
    settings: Settings,
    eap: Option<Speech>,
    conversations: Conversations,
    checker: Checker,
    desk: Option<Arc<Desk>>,
    pending: BTreeMap<u64, Pending>,
    next: u64,
}

impl Logins {
    pub(crate) fn new(settings: Settings, eap: Option<Speech>, checker: Checker) -> Self {
        Self {
            conversations: Conversations::new(settings.conversations),
            settings,
            eap,
            checker,
            desk: None,
            pending: BTreeMap::new(),
            next: 0,
        }
    }

    /// Where the answers of slow checks come to.
    pub(crate) fn at(&mut self, desk: Arc<Desk>) {
        self.desk = Some(desk);
    }

    /// Forgets conversations that nobody went on with; whose they were, and why that may be.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<(GatewayId, Reason)> {
        self.conversations.expire(now)
    }

    /// Handles a question.
    pub(crate) fn handle(
        &mut self,
        scene: &Scene<'_>,
        request: &LoginRequest<'_>,
        entropy: &mut impl Entropy,
    ) -> Verdict {
        if request.state.is_none() && !scene.tries.may_begin(scene.client.gateway.id, scene.now) {
            return Verdict::Silence("client-rate");
        }
        match &request.proof {
            Proof::Eap(response) => self.eap(scene, request, response, entropy),
            Proof::Password(password) => self.password(scene, request, password),
            Proof::Chap(chap) => self.chap(scene, request, chap),
        }
    }

    /// Goes on with a question whose password was checked; `None` if there is none.
    pub(crate) fn checked(
        &mut self,
        scene: &Scene<'_>,
        number: u64,
        right: bool,
    ) -> Option<Verdict> {
        let Pending { asker, tried, what, .. } = self.pending.remove(&number)?;
        if let Some(name) = tried {
            scene.tries.take_back(&name, asker.station, scene.now);
        }
        Some(match what {
            What::Password { name, standing, login } => {
                let proven = proven(login.as_ref(), right)
                    .and_then(|login| scene.as_now(login).map_err(Reason::Denied));
                self.decided(scene, (&name, standing), asker, proven, "pap")
            }
            What::Eap(mut talk) => {
                let step = talk.conversation.checked(right, &scene.here());
                self.step(scene, step, talk, asker)
            }
        })
    }

    fn eap(
        &mut self,
        scene: &Scene<'_>,
        request: &LoginRequest<'_>,
        response: &[u8],
        entropy: &mut impl Entropy,
    ) -> Verdict {
        let identifier = response.get(1).copied().unwrap_or_default();
        let failure = |why| Verdict::Reject { eap: Some(packet::failure(identifier)), why };
        let Some(context) = self.eap.as_ref().and_then(Speech::now) else {
            return failure(Why::NoEap);
        };
        let client = scene.client.gateway.id;
        let asker = Asker { station: request.station, wants_cui: request.wants_cui };
        let Some(state) = request.state else {
            return self.begin(scene, request, &context, response, entropy);
        };
        let held = self.conversations.take(client, state);
        // Who says who it is begins: over again if need be, for what it began is given up.
        let begins = response.is_empty() || is_identity(response);
        match held {
            Some((state, Held { mut conversation, unchecked: None, refused })) => {
                let step = conversation.handle(response, &scene.here(), scene.now, entropy);
                if !(begins && matches!(step, Step::Ignore(_))) {
                    let talk = Talk::held(state, conversation, refused);
                    return self.step(scene, step, talk, asker);
                }
            }
            // There was no room before; the message is the same.
            Some((state, Held { conversation, unchecked: Some(unchecked), refused }))
                if !begins =>
            {
                let talk = Talk::held(state, conversation, refused);
                return self.check(scene, talk, unchecked, asker);
            }
            Some(_) => {}
            None if !self.is_pending(state) => return failure(Why::UnknownState),
            None if !begins => return Verdict::Silence("password-is-checked"),
            None => {}
        }
        tracing::debug!("a device begins anew and gives up what it began");
        if !scene.tries.may_begin(client, scene.now) {
            return Verdict::Silence("client-rate");
        }
        self.begin(scene, request, &context, response, entropy)
    }

    /// Begins a conversation.
    fn begin(
        &mut self,
        scene: &Scene<'_>,
        request: &LoginRequest<'_>,
        context: &Arc<Context>,
        response: &[u8],
        entropy: &mut impl Entropy,
    ) -> Verdict {
        let client = scene.client.gateway.id;
        if let Err(full) = self.conversations.room(client) {
            return Verdict::Silence(full.label());
        }
        let origin = Origin {
            station: request.station,
            framed_mtu: request.framed_mtu.map(u32::from),
            wall: scene.known.now,
        };
        let mut begun = Box::new(Conversation::new(context, origin, scene.now));
        let state: State = entropy.octets();
        // EAP-Start (RFC 3579 2.1).
        if response.is_empty() {
            let eap = begun.ask_identity(entropy);
            self.conversations.keep(client, state, begun);
            return Verdict::Challenge { eap, state };
        }
        let asker = Asker { station: request.station, wants_cui: request.wants_cui };
        let step = begun.handle(response, &scene.here(), scene.now, entropy);
        let talk = Talk { first: true, ..Talk::held(state, begun, None) };
        self.step(scene, step, talk, asker)
    }

    fn step(
        &mut self,
        scene: &Scene<'_>,
        step: Step<Arc<Login>>,
        mut talk: Talk,
        asker: Asker,
    ) -> Verdict {
        let client = scene.client.gateway.id;
        match step {
            Step::Challenge(eap) => {
                // Counted now: who was told may never say that it heard.
                if let (None, Some(reason)) = (&talk.refused, talk.conversation.refusal()) {
                    let tried = (talk.conversation.claimed(), talk.standing);
                    talk.refused = Some(scene.refused(tried, asker.station, reason.clone()));
                }
                let state = talk.state;
                self.conversations.keep(client, state, talk);
                Verdict::Challenge { eap, state }
            }
            Step::Check(PasswordCheck { subject, password }) => {
                let hash = slow_hash(subject.as_ref());
                self.check(scene, talk, (hash, password), asker)
            }
            Step::Accept(accepted) => match scene
                .as_now(&accepted.subject)
                .and_then(|login| scene.admit(login, asker.station))
            {
                Ok(admission) => {
                    let eap = Some((accepted.packet, accepted.msk));
                    let method = accepted.method.label();
                    self.accept(scene, admission, eap, asker, method, accepted.resumed)
                }
                Err(denied) => Verdict::Reject {
                    eap: accepted.packet.get(1).map(|identifier| packet::failure(*identifier)),
                    why: Why::Reason(Reason::Denied(denied)),
                },
            },
            Step::Reject(rejected) => {
                let (tried, reason) =
                    ((rejected.identity.as_ref(), talk.standing), rejected.reason);
                let why = talk.refused;
                let why = why.unwrap_or_else(|| scene.refused(tried, asker.station, reason));
                Verdict::Reject { eap: Some(rejected.packet), why }
            }
            Step::Ignore(ignored) => {
                tracing::debug!(%ignored, "EAP response ignored");
                // Of the first message nobody was told the State: the next begins anew.
                if !talk.first {
                    self.conversations.keep(client, talk.state, talk);
                }
                Verdict::Silence("eap-ignored")
            }
        }
    }

    /// Has the password of a conversation checked; against nobody's, if it may not be looked at.
    fn check(
        &mut self,
        scene: &Scene<'_>,
        mut talk: Talk,
        (hash, password): (Option<Secret>, Secret),
        asker: Asker,
    ) -> Verdict {
        let client = scene.client.gateway.id;
        let tried = talk.conversation.claimed().map(|identity| identity.as_str().to_owned());
        // Asked each time: while there was no room for it, its name may have been tried too often.
        talk.standing = tried
            .as_deref()
            .map(|name| scene.standing(find(scene.known.records, name), name, asker.station));
        let may = talk.standing.is_some_and(|standing| standing.may);
        let pending = Pending { client, asker, tried, what: What::Eap(talk) };
        self.defer(scene, hash.filter(|_| may), password, pending)
    }

    fn password(
        &mut self,
        scene: &Scene<'_>,
        request: &LoginRequest<'_>,
        password: &[u8],
    ) -> Verdict {
        let asker = Asker { station: request.station, wants_cui: request.wants_cui };
        let name = request.user_name;
        // A name that may not be tried is one that nobody has.
        let login = find(scene.known.records, name);
        let standing = scene.standing(login, name, asker.station);
        let name_of = name.parse::<Nai>().ok();
        let is_slow = name_of.as_ref().is_some_and(|name| scene.known.records.is_slow(name));
        let login = login.filter(|_| standing.may);
        let right = match login.map(|login| &login.verifier) {
            Some(verifier) => password::is_right(verifier, password),
            None if is_slow => None,
            // As much work as for a name that somebody has, and as much memory to read.
            None => {
                let other = name_of.and_then(|name| scene.known.records.stand_in(&name));
                let read = other.and_then(|login| password::is_right(&login.verifier, password));
                if read.is_none() {
                    let _ = password::is_right(&nobodys(), password);
                }
                Some(false)
            }
        };
        let Some(right) = right else {
            let hash = slow_hash(login);
            let what = What::Password { name: name.to_owned(), standing, login: login.cloned() };
            let (client, tried) = (scene.client.gateway.id, Some(name.to_owned()));
            let pending = Pending { client, asker, tried, what };
            return self.defer(scene, hash, Secret::new(password), pending);
        };
        self.decided(scene, (name, standing), asker, proven(login, right), "pap")
    }

    fn chap(&self, scene: &Scene<'_>, request: &LoginRequest<'_>, chap: &Chap<'_>) -> Verdict {
        let asker = Asker { station: request.station, wants_cui: request.wants_cui };
        let name = request.user_name;
        // A name that may not be tried is one that nobody has.
        let login = find(scene.known.records, name);
        let standing = scene.standing(login, name, asker.station);
        let login = login.filter(|_| standing.may);
        let right = match login.map(|login| &login.verifier) {
            Some(Verifier::Password(password)) => chap.is_of(password.expose()),
            // As much work as for one that is kept whole, and never right.
            Some(_) => {
                let _ = chap.is_of(b"nobody's");
                scene.wrong(name, standing, asker.station, Reason::WrongCredentialKind);
                return Verdict::Reject { eap: None, why: Why::NotForChap };
            }
            None => {
                let _ = chap.is_of(b"nobody's");
                false
            }
        };
        self.decided(scene, (name, standing), asker, proven(login, right), "chap")
    }

    fn decided(
        &self,
        scene: &Scene<'_>,
        (name, standing): (&str, Standing),
        asker: Asker,
        proven: Result<&Arc<Login>, Reason>,
        method: &'static str,
    ) -> Verdict {
        let admitted =
            proven.and_then(|login| scene.admit(login, asker.station).map_err(Reason::Denied));
        match admitted {
            Ok(admission) => self.accept(scene, admission, None, asker, method, false),
            Err(reason) => {
                let why = scene.wrong(name, standing, asker.station, reason);
                Verdict::Reject { eap: None, why }
            }
        }
    }

    fn accept(
        &self,
        scene: &Scene<'_>,
        admission: Admission,
        eap: Option<(Vec<u8>, Msk)>,
        asker: Asker,
        method: &'static str,
        resumed: bool,
    ) -> Verdict {
        Verdict::Accept(Box::new(Accept {
            class: scene.signer.sign(scene.client.gateway.id, admission.user()),
            cui: asker.wants_cui.then(|| admission.chargeable()),
            interim: self.settings.interim,
            admission,
            eap,
            method,
            resumed,
        }))
    }

    /// Has a password checked beside the worker.
    fn defer(
        &mut self,
        scene: &Scene<'_>,
        hash: Option<Secret>,
        password: Secret,
        pending: Pending,
    ) -> Verdict {
        let Some(desk) = self.desk.clone() else { return Verdict::Silence("no-desk") };
        let number = self.next;
        let mine = self.pending.values().filter(|other| other.client == pending.client).count();
        let job = Job { number, hash: hash.clone(), password: password.clone(), desk };
        if mine < self.settings.checks && self.checker.check(job) {
            self.next += 1;
            // Counted now: many at a time are many.
            if let Some(name) = &pending.tried {
                scene.tries.wrong(name, pending.asker.station, scene.now);
            }
            self.pending.insert(number, pending);
            return Verdict::Later(number);
        }
        // The NAS asks again, and a conversation goes on where it is.
        if let What::Eap(Talk { state, conversation, refused, .. }) = pending.what {
            let unchecked = Some((hash, password));
            let held = Held { conversation, unchecked, refused };
            self.conversations.keep(pending.client, state, held);
        }
        Verdict::Silence("passwords-full")
    }

    /// Gives up a question whose password was checked: whoever asked is gone.
    pub(crate) fn forget(&mut self, number: u64) {
        self.pending.remove(&number);
    }

    /// Whether the password of the conversation with that State is being checked.
    fn is_pending(&self, state: &[u8]) -> bool {
        self.pending.values().any(|p| matches!(&p.what, What::Eap(talk) if talk.state == state))
    }
}

/// A log-in whose password is right, or why there is none.
fn proven(login: Option<&Arc<Login>>, right: bool) -> Result<&Arc<Login>, Reason> {
    match login {
        None => Err(Reason::UnknownIdentity),
        Some(_) if !right => Err(Reason::WrongPassword),
        Some(login) => Ok(login),
    }
}

/// Whether it is an EAP-Response that says who somebody is.
fn is_identity(response: &[u8]) -> bool {
    let packet = packet::Packet::decode(response);
    packet.is_ok_and(|p| p.code == packet::Code::Response && p.kind == packet::kind::IDENTITY)
}

/// What the password of a name that nobody has is held against.
fn nobodys() -> Verifier {
    Verifier::NtHash(NtHash::new([0; 16]))
}

impl Talk {
    /// One that was held between two of its messages.
    fn held(
        state: State,
        conversation: Box<Conversation<Arc<Login>>>,
        refused: Option<Why>,
    ) -> Self {
        Self { state, conversation, standing: None, refused, first: false }
    }
}

impl From<Talk> for Held {
    fn from(talk: Talk) -> Self {
        Self { conversation: talk.conversation, unchecked: None, refused: talk.refused }
    }
}

#[cfg(test)]
mod tests;
