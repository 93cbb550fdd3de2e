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

use crate::admission::{Admission, admit};
use crate::checker::{Checker, Job};
use crate::class::Signer;
use crate::conversations::{Conversations, Held, State};
use crate::decision::Known;
use crate::desk::Desk;
use crate::directory::{Here, slow_hash};
use crate::password;
use crate::projection::{Client, Projection};

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

    pub(crate) fn login(&self) -> &Arc<Login> {
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
    client: GatewayId,
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
    desk: Option<Arc<Desk<bool>>>,
    pending: BTreeMap<u64, Pending>,
    next: u64,
}

/// What all questions are answered with.
pub(crate) struct Scene<'a> {
    pub(crate) known: Known<'a>,
    pub(crate) signer: &'a Signer,
    pub(crate) client: &'a Client,
    pub(crate) now: Instant,
}

impl Scene<'_> {
    /// Whether a log-in that was proven is let in: as its record is now, for it may have changed
    /// while the password was being checked.
    fn admit(&self, login: &Arc<Login>, station: Option<Mac>) -> Result<Admission, Denied> {
        let now = self.known.records.login(&login.name);
        let now = now.filter(|now| now.id == login.id && now.verifier == login.verifier);
        let login = now.ok_or(Denied::Suspended)?;
        admit(&self.known, &self.client.gateway, login, station)
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
    pub(crate) fn at(&mut self, desk: Arc<Desk<bool>>) {
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
        let Pending { station, wants_cui, what, .. } = self.pending.remove(&number)?;
        Some(match what {
            What::Password(login) => {
                self.decided(scene, login.as_ref(), right, station, wants_cui, "pap")
            }
            What::Eap(state, mut conversation) => {
                let step = conversation.checked(right);
                self.step(scene, step, state, conversation, station, wants_cui, false)
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
        let (station, wants_cui) = (request.station, request.wants_cui);
        let (state, mut conversation) = match request.state {
            Some(state) => match self.conversations.take(client, state) {
                Some((state, Held { conversation, unchecked: None })) => (state, conversation),
                // There was no room before; the message is the same.
                Some((state, Held { conversation, unchecked: Some((hash, password)) })) => {
                    let what = What::Eap(state, conversation);
                    return self.defer(
                        hash,
                        password,
                        Pending { client, station, wants_cui, what },
                    );
                }
                None if self.is_pending(state) => return Verdict::Silence("password-is-checked"),
                None => return failure(Why::UnknownState),
            },
            None => {
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
                (state, begun)
            }
        };
        let here = Here { known: scene.known, gateway: &scene.client.gateway };
        let step = conversation.handle(response, &here, scene.now, entropy);
        let first = request.state.is_none();
        self.step(scene, step, state, conversation, station, wants_cui, first)
    }

    #[expect(clippy::too_many_arguments, reason = "for two callers")]
    fn step(
        &mut self,
        scene: &Scene<'_>,
        step: Step<Arc<Login>>,
        state: State,
        conversation: Box<Conversation<Arc<Login>>>,
        station: Option<Mac>,
        wants_cui: bool,
        first: bool,
    ) -> Verdict {
        let client = scene.client.gateway.id;
        match step {
            Step::Challenge(eap) => {
                self.conversations.keep(client, state, conversation);
                Verdict::Challenge { eap, state }
            }
            Step::Check(PasswordCheck { subject, password }) => {
                let hash = slow_hash(subject.as_ref());
                let what = What::Eap(state, conversation);
                self.defer(hash, password, Pending { client, station, wants_cui, what })
            }
            Step::Accept(accepted) => match scene.admit(&accepted.subject, station) {
                Ok(admission) => {
                    let eap = Some((accepted.packet, accepted.msk));
                    let method = accepted.method.label();
                    self.accept(scene, admission, eap, wants_cui, method, accepted.resumed)
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
                // Of the first message nobody was told the State: the next begins anew.
                if !first {
                    self.conversations.keep(client, state, conversation);
                }
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
        let login = find(scene.known.records, request.user_name);
        let right = match login.map(|login| &login.verifier) {
            Some(verifier) => password::is_right(verifier, password),
            None if scene.known.records.is_mostly_slow() => None,
            // As much work as for a name that somebody has.
            None => {
                let _ = password::is_right(&nobodys(), password);
                Some(false)
            }
        };
        let login = login.cloned();
        let Some(right) = right else {
            let hash = slow_hash(login.as_ref());
            let (station, wants_cui) = (request.station, request.wants_cui);
            let (client, what) = (scene.client.gateway.id, What::Password(login));
            let pending = Pending { client, station, wants_cui, what };
            return self.defer(hash, Secret::new(password), pending);
        };
        self.decided(scene, login.as_ref(), right, request.station, request.wants_cui, "pap")
    }

    fn chap(&self, scene: &Scene<'_>, request: &LoginRequest<'_>, chap: &Chap<'_>) -> Verdict {
        let login = find(scene.known.records, request.user_name);
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
            Ok(admission) => self.accept(scene, admission, None, wants_cui, method, false),
            Err(reason) => Verdict::Reject { eap: None, why: Why::Reason(reason) },
        }
    }

    fn accept(
        &self,
        scene: &Scene<'_>,
        admission: Admission,
        eap: Option<(Vec<u8>, Msk)>,
        wants_cui: bool,
        method: &'static str,
        resumed: bool,
    ) -> Verdict {
        Verdict::Accept(Box::new(Accept {
            class: scene.signer.sign(scene.client.gateway.id, admission.user()),
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
        let Some(desk) = self.desk.clone() else { return Verdict::Silence("no-desk") };
        let number = self.next;
        let mine = self.pending.values().filter(|other| other.client == pending.client).count();
        let job = Job { number, hash: hash.clone(), password: password.clone(), desk };
        if mine < self.settings.checks && self.checker.check(job) {
            self.next += 1;
            self.pending.insert(number, pending);
            return Verdict::Later(number);
        }
        // The NAS asks again, and a conversation goes on where it is.
        if let What::Eap(state, conversation) = pending.what {
            let unchecked = Some((hash, password));
            self.conversations.keep(pending.client, state, Held { conversation, unchecked });
        }
        Verdict::Silence("passwords-full")
    }

    /// Whether the password of the conversation with that State is being checked.
    fn is_pending(&self, state: &[u8]) -> bool {
        self.pending.values().any(|p| matches!(&p.what, What::Eap(own, _) if own == state))
    }
}

fn find<'p>(projection: &'p Projection, name: &str) -> Option<&'p Arc<Login>> {
    projection.login(&name.parse::<Nai>().ok()?)
}

/// What the password of a name that nobody has is held against.
fn nobodys() -> Verifier {
    Verifier::NtHash(NtHash::new([0; 16]))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::LazyLock;

    use homeward_daemon::SystemEntropy;
    use homeward_model::{GatewayId, LoginId, Status, UnixTime};
    use homeward_radius::dictionary::standard;
    use homeward_radius::{Builder, Code, Packet};

    use super::*;
    use crate::testing::{self, GATEWAY, HOME};
    use crate::usage::Usage;

    static NOTHING_USED: LazyLock<Usage> = LazyLock::new(Usage::default);
    static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::new([[1; 32]]));

    const NAME: &str = "fred@example.net";
    const PASSWORD: &str = "correct horse";

    /// A log-in with a password that a person chose.
    fn fred() -> Login {
        let verifier = password::of_a_person(PASSWORD.as_bytes(), &mut SystemEntropy::new());
        let (id, name) = (LoginId(7), NAME.parse().unwrap());
        Login { id, name, verifier: verifier.unwrap(), ..testing::login() }
    }

    fn logins(checks: usize, queue: usize) -> (Logins, Arc<Desk<bool>>) {
        let settings = Settings { conversations: 8, checks, interim: Seconds(300) };
        let checker = Checker::start(NonZeroUsize::MIN, queue).unwrap();
        let mut logins = Logins::new(settings, None, checker);
        let desk = Arc::new(Desk::new(homeward_transport::Waker::unheard().unwrap()));
        logins.at(Arc::clone(&desk));
        (logins, desk)
    }

    /// Asks by PAP, at that gateway.
    fn ask(logins: &mut Logins, p: &Projection, gateway: GatewayId, password: &str) -> Verdict {
        let client = p.client(gateway).unwrap();
        let mut out = Vec::new();
        let mut packet =
            Builder::request(&mut out, &client.secret, Code::AccessRequest, 1, [7; 16]);
        packet.text(standard::USER_NAME, NAME).unwrap();
        packet.user_password(password.as_bytes()).unwrap();
        packet.finish();
        let packet = Packet::decode(&out).unwrap();
        let request = LoginRequest::decode(&packet, &client.secret).unwrap();
        logins.handle(&scene(p, gateway), &request, &mut SystemEntropy::new())
    }

    fn scene(p: &Projection, gateway: GatewayId) -> Scene<'_> {
        let client = p.client(gateway).unwrap();
        let (usage, signer) = (&*NOTHING_USED, &*SIGNER);
        let known = Known { records: p, usage, now: UnixTime(0) };
        Scene { known, signer, client, now: Instant::ORIGIN }
    }

    /// Waits for the answer of a check.
    fn answer(desk: &Desk<bool>) -> (u64, bool) {
        loop {
            if let Some(answer) = desk.take().pop() {
                return answer;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_slow_password_is_checked_elsewhere_and_then_lets_in_or_not() {
        let mut p = testing::projection();
        p.put_login(fred());
        let (mut logins, desk) = logins(4, 4);
        for (password, right) in [(PASSWORD, true), ("incorrect", false)] {
            let Verdict::Later(number) = ask(&mut logins, &p, HOME, password) else { panic!() };
            assert_eq!(answer(&desk), (number, right));
            let verdict = logins.checked(&scene(&p, HOME), number, right).unwrap();
            assert_eq!(matches!(verdict, Verdict::Accept(_)), right, "{verdict:?}");
            assert!(logins.checked(&scene(&p, HOME), number, right).is_none(), "answered once");
        }
    }

    #[test]
    fn one_gateway_leaves_room_for_the_slow_passwords_of_others() {
        let mut p = testing::projection();
        p.put_login(fred());
        let (mut logins, desk) = logins(1, 64);
        let Verdict::Later(number) = ask(&mut logins, &p, HOME, PASSWORD) else { panic!() };
        assert!(matches!(ask(&mut logins, &p, HOME, PASSWORD), Verdict::Silence("passwords-full")));
        assert!(matches!(ask(&mut logins, &p, GATEWAY, PASSWORD), Verdict::Later(_)));
        assert_eq!(answer(&desk).0, number);
        logins.checked(&scene(&p, HOME), number, true);
        assert!(matches!(ask(&mut logins, &p, HOME, PASSWORD), Verdict::Later(_)));
    }

    #[test]
    fn what_changed_while_a_password_was_checked_counts() {
        let changes: [fn(&mut Projection); 3] = [
            |p| p.put_login(Login { status: Status::Suspended, ..fred() }),
            // Another salt: another password, as far as anybody can tell.
            |p| p.put_login(fred()),
            |p| p.remove_login(LoginId(7)),
        ];
        for change in changes {
            let mut p = testing::projection();
            p.put_login(fred());
            let (mut logins, desk) = logins(4, 4);
            let Verdict::Later(number) = ask(&mut logins, &p, HOME, PASSWORD) else { panic!() };
            assert_eq!(answer(&desk), (number, true));
            change(&mut p);
            let verdict = logins.checked(&scene(&p, HOME), number, true).unwrap();
            assert!(matches!(verdict, Verdict::Reject { .. }), "{verdict:?}");
        }
    }
}
