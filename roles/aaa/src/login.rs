//! Log-ins as a worker handles them: EAP, PAP and CHAP in, verdicts out.

use std::collections::BTreeMap;
use std::sync::Arc;

use homeward_eap::{
    Context, Conversation, Denied, Msk, Origin, PasswordCheck, Reason, Step, packet,
};
use homeward_model::service::Seconds;
use homeward_model::{
    Entropy, GatewayId, Instant, Login, Mac, Nai, NtHash, Secret, UnixTime, Verifier,
};
use homeward_radius::LoginRequest;
use homeward_radius::login::{Admitted, Chap, Proof};

use crate::admission::{Admission, admit};
use crate::checker::{Checker, Desk, Job};
use crate::conversations::{Conversations, State};
use crate::directory::{Here, slow_hash};
use crate::password;
use crate::projection::{Client, Projection};

/// How log-ins are handled.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The most EAP conversations at a time.
    pub conversations: usize,
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
        let Admission { login, terms, at_most, .. } = &self.admission;
        Admitted {
            user_name: login.name.as_str(),
            cui: self.cui.as_deref(),
            terms: *terms,
            at_most: *at_most,
            interim: self.interim,
            class: &self.class,
            eap: self.eap.as_ref().map(|(success, msk)| (&success[..], Some(msk.expose()))),
        }
    }

    pub(crate) fn login(&self) -> &Login {
        &self.admission.login
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
}

impl Why {
    /// The word for metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Reason(reason) => reason.label(),
            Self::NoEap => "no_eap",
            Self::UnknownState => "unknown_state",
            Self::NotForChap => "not_for_chap",
        }
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reason(reason) => reason.fmt(f),
            Self::NoEap => f.write_str("EAP needs aaa.eap.certificate and aaa.eap.key"),
            Self::UnknownState => f.write_str("no such conversation: it is over, or another's"),
            Self::NotForChap => f.write_str("the password is kept as a hash: CHAP needs it whole"),
        }
    }
}

/// A question whose answer waits for a password.
struct Pending {
    station: Option<Mac>,
    wants_cui: bool,
    what: What,
}

enum What {
    Password(Option<Arc<Login>>),
    Eap(State, Box<Conversation<Arc<Login>>>),
}

/// The log-ins of a worker.
pub(crate) struct Logins {
    settings: Settings,
    eap: Option<Arc<Context>>,
    conversations: Conversations,
    checker: Checker,
    desk: Option<Arc<Desk>>,
    pending: BTreeMap<u64, Pending>,
    next: u64,
}

/// What all questions are answered with.
pub(crate) struct Scene<'a> {
    pub(crate) projection: &'a Projection,
    pub(crate) client: &'a Client,
    pub(crate) now: Instant,
    pub(crate) wall: UnixTime,
}

impl Scene<'_> {
    fn admit(&self, login: &Arc<Login>, station: Option<Mac>) -> Result<Admission, Denied> {
        admit(self.projection, &self.client.gateway, login, station, self.wall)
    }
}

impl Logins {
    pub(crate) fn new(settings: Settings, eap: Option<Arc<Context>>, checker: Checker) -> Self {
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
        let Pending { station, wants_cui, what } = self.pending.remove(&number)?;
        Some(match what {
            What::Password(login) => {
                self.decided(scene, login.as_ref(), right, station, wants_cui, "pap")
            }
            What::Eap(state, mut conversation) => {
                let step = conversation.checked(right);
                self.step(scene, step, state, conversation, station, wants_cui)
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
        let Some(context) = &self.eap else { return failure(Why::NoEap) };
        let client = scene.client.gateway.id;
        let (state, mut conversation) = match request.state {
            Some(state) => match self.conversations.take(client, state) {
                Some(found) => found,
                None => return failure(Why::UnknownState),
            },
            None => {
                if let Err(full) = self.conversations.room(client) {
                    return Verdict::Silence(full.label());
                }
                let origin = Origin {
                    station: request.station,
                    framed_mtu: request.framed_mtu.map(u32::from),
                    wall: scene.wall,
                };
                let begun = Box::new(Conversation::new(context, origin, scene.now));
                let state = self.conversations.begin(client, begun, scene.now, entropy);
                match self.conversations.take(client, &state) {
                    Some(found) => found,
                    None => return failure(Why::UnknownState),
                }
            }
        };
        let here = Here { projection: scene.projection, gateway: &scene.client.gateway };
        let step = conversation.handle(response, &here, scene.now, entropy);
        self.step(scene, step, state, conversation, request.station, request.wants_cui)
    }

    fn step(
        &mut self,
        scene: &Scene<'_>,
        step: Step<Arc<Login>>,
        state: State,
        conversation: Box<Conversation<Arc<Login>>>,
        station: Option<Mac>,
        wants_cui: bool,
    ) -> Verdict {
        let client = scene.client.gateway.id;
        match step {
            Step::Challenge(eap) => {
                self.conversations.put_back(client, state, conversation);
                Verdict::Challenge { eap, state }
            }
            Step::Check(check) => {
                let PasswordCheck { password, .. } = &check;
                let (hash, password) = (slow_hash(&check), password.clone());
                let what = What::Eap(state, conversation);
                self.defer(hash, password, Pending { station, wants_cui, what })
            }
            Step::Accept(accepted) => match scene.admit(&accepted.subject, station) {
                Ok(admission) => {
                    let eap = Some((accepted.packet, accepted.msk));
                    let method = accepted.method.label();
                    self.accept(admission, eap, wants_cui, method, accepted.resumed)
                }
                Err(denied) => Verdict::Reject {
                    eap: accepted.packet.get(1).map(|identifier| packet::failure(*identifier)),
                    why: Why::Reason(Reason::Denied(denied)),
                },
            },
            Step::Reject(rejected) => {
                Verdict::Reject { eap: Some(rejected.packet), why: Why::Reason(rejected.reason) }
            }
            Step::Ignore(ignored) => {
                tracing::debug!(%ignored, "EAP response ignored");
                self.conversations.put_back(client, state, conversation);
                Verdict::Silence("eap-ignored")
            }
        }
    }

    fn password(
        &mut self,
        scene: &Scene<'_>,
        request: &LoginRequest<'_>,
        password: &[u8],
    ) -> Verdict {
        let login = find(scene.projection, request.user_name);
        let right = match login.map(|login| &login.verifier) {
            Some(verifier) => password::is_right(verifier, password),
            None if scene.projection.is_mostly_slow() => None,
            // As much work as for a name that somebody has.
            None => {
                let _ = password::is_right(&nobodys(), password);
                Some(false)
            }
        };
        let login = login.cloned();
        let Some(right) = right else {
            let hash = match login.as_ref().map(|login| &login.verifier) {
                Some(Verifier::Argon2id(hash)) => Some(hash.clone()),
                _ => None,
            };
            let (station, wants_cui) = (request.station, request.wants_cui);
            let pending = Pending { station, wants_cui, what: What::Password(login) };
            return self.defer(hash, Secret::new(password), pending);
        };
        self.decided(scene, login.as_ref(), right, request.station, request.wants_cui, "pap")
    }

    fn chap(&self, scene: &Scene<'_>, request: &LoginRequest<'_>, chap: &Chap<'_>) -> Verdict {
        let login = find(scene.projection, request.user_name);
        let right = match login.map(|login| &login.verifier) {
            Some(Verifier::Password(password)) => chap.is_of(password.expose()),
            Some(_) => return Verdict::Reject { eap: None, why: Why::NotForChap },
            // As much work as for a name that somebody has, and never right.
            None => {
                let _ = chap.is_of(b"nobody's");
                false
            }
        };
        self.decided(scene, login, right, request.station, request.wants_cui, "chap")
    }

    fn decided(
        &self,
        scene: &Scene<'_>,
        login: Option<&Arc<Login>>,
        right: bool,
        station: Option<Mac>,
        wants_cui: bool,
        method: &'static str,
    ) -> Verdict {
        let outcome = match login {
            None => Err(Reason::UnknownIdentity),
            Some(_) if !right => Err(Reason::WrongPassword),
            Some(login) => scene.admit(login, station).map_err(Reason::Denied),
        };
        match outcome {
            Ok(admission) => self.accept(admission, None, wants_cui, method, false),
            Err(reason) => Verdict::Reject { eap: None, why: Why::Reason(reason) },
        }
    }

    fn accept(
        &self,
        admission: Admission,
        eap: Option<(Vec<u8>, Msk)>,
        wants_cui: bool,
        method: &'static str,
        resumed: bool,
    ) -> Verdict {
        Verdict::Accept(Box::new(Accept {
            class: admission.class(),
            cui: wants_cui.then(|| admission.chargeable()),
            interim: self.settings.interim,
            admission,
            eap,
            method,
            resumed,
        }))
    }

    /// Has a password checked beside the worker.
    fn defer(&mut self, hash: Option<Secret>, password: Secret, pending: Pending) -> Verdict {
        let Some(desk) = &self.desk else { return Verdict::Silence("no-desk") };
        let number = self.next;
        let desk = Arc::clone(desk);
        if !self.checker.check(Job { number, hash, password, desk }) {
            return Verdict::Silence("passwords-full");
        }
        self.next += 1;
        self.pending.insert(number, pending);
        Verdict::Later(number)
    }
}

fn find<'p>(projection: &'p Projection, name: &str) -> Option<&'p Arc<Login>> {
    projection.login(&name.parse::<Nai>().ok()?)
}

/// What the password of a name that nobody has is held against.
fn nobodys() -> Verifier {
    Verifier::NtHash(NtHash::new([0; 16]))
}
