//! Slow passwords, and too many of them.

use std::num::NonZeroUsize;
use std::sync::LazyLock;
use std::time::Duration;

use homeward_daemon::SystemEntropy;
use homeward_eap::{Decoy, Directory as _, Identity};
use homeward_model::{GatewayId, LoginId, Status, UnixTime};
use homeward_radius::dictionary::standard;
use homeward_radius::{Builder, Code, Packet};

use super::*;
use crate::class::Signer;
use crate::config::Config;
use crate::decision::Known;
use crate::desk::Done;
use crate::projection::Projection;
use crate::testing::{self, GATEWAY, HOME};
use crate::tries::{Limits, Tries};
use crate::usage::Usage;

mod tunnel;

static NOTHING_USED: LazyLock<Usage> = LazyLock::new(Usage::default);
static TRIES: LazyLock<Tries> = LazyLock::new(|| Tries::new(Config::default().limits()));
static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::new([[1; 32]]));

const NAME: &str = "fred@example.net";
const PASSWORD: &str = "correct horse";

/// A log-in with a password that a person chose.
fn fred() -> Login {
    let verifier = password::of_a_person(PASSWORD.as_bytes(), &mut SystemEntropy::new());
    let (id, name) = (LoginId(7), NAME.parse().unwrap());
    Login { id, name, verifier: verifier.unwrap(), ..testing::login() }
}

fn logins(checks: usize, queue: usize) -> (Logins, Arc<Desk>) {
    let settings = Settings { conversations: 8, checks, interim: Seconds(300) };
    let checker = Checker::start(NonZeroUsize::MIN, queue).unwrap();
    let mut logins = Logins::new(settings, None, checker);
    let desk = Arc::new(Desk::new(homeward_transport::Waker::unheard().unwrap()));
    logins.at(Arc::clone(&desk));
    (logins, desk)
}

/// Asks by PAP, at that gateway.
fn ask(logins: &mut Logins, p: &Projection, gateway: GatewayId, password: &str) -> Verdict {
    ask_under(logins, &scene(p, gateway), password)
}

fn ask_under(logins: &mut Logins, scene: &Scene<'_>, password: &str) -> Verdict {
    ask_as(logins, scene, NAME, password)
}

fn ask_as(logins: &mut Logins, scene: &Scene<'_>, name: &str, password: &str) -> Verdict {
    request(logins, scene, |packet| {
        packet.text(standard::USER_NAME, name).unwrap();
        packet.user_password(password.as_bytes()).unwrap();
    })
}

/// What comes of a question that says that.
fn request(logins: &mut Logins, scene: &Scene<'_>, says: impl FnOnce(&mut Builder<'_>)) -> Verdict {
    let client = scene.client;
    let mut out = Vec::new();
    let mut packet = Builder::request(&mut out, &client.secret, Code::AccessRequest, 1, [7; 16]);
    says(&mut packet);
    packet.finish();
    let packet = Packet::decode(&out).unwrap();
    let request = LoginRequest::decode(&packet, &client.secret).unwrap();
    logins.handle(scene, &request, &mut SystemEntropy::new())
}

fn scene(p: &Projection, gateway: GatewayId) -> Scene<'_> {
    let client = p.client(gateway).unwrap();
    let (usage, signer, tries) = (&*NOTHING_USED, &*SIGNER, &*TRIES);
    let known = Known { records: p, usage, now: UnixTime(0) };
    Scene { known, signer, tries, client, now: Instant::ORIGIN }
}

/// Waits for the answer of a check.
fn answer(desk: &Desk) -> (u64, bool) {
    loop {
        let mut done = desk.take();
        if let Some((number, Done::Checked(right))) = done.pop() {
            done.into_iter().for_each(|(number, done)| desk.put(number, done));
            return (number, right);
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

/// What comes of a password, however long it takes.
fn outcome(logins: &mut Logins, desk: &Desk, scene: &Scene<'_>, password: &str) -> &'static str {
    let verdict = match ask_under(logins, scene, password) {
        Verdict::Later(_) => {
            let (number, right) = answer(desk);
            logins.checked(scene, number, right).unwrap()
        }
        verdict => verdict,
    };
    match verdict {
        Verdict::Accept(_) => "in",
        Verdict::Reject { why, .. } => why.label(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_tries_too_many_passwords_is_refused_whatever_it_tries_next() {
    let mut p = testing::projection();
    p.put_login(fred());
    let (mut logins, desk) = logins(4, 4);
    let limits = Limits { by_device: 2, ..Config::default().limits() };
    let (tries, fresh) = (Tries::new(limits), Tries::new(limits));
    let scene_of = |p, tries| Scene { tries, ..scene(p, HOME) };
    let mut verdict =
        |p, tries, password| outcome(&mut logins, &desk, &scene_of(p, tries), password);
    assert_eq!(verdict(&p, &tries, PASSWORD), "in");
    for _ in 0..2 {
        assert_eq!(verdict(&p, &tries, "a guess"), "wrong_password");
    }
    assert_eq!(verdict(&p, &tries, "a guess"), "too_many_tries");
    assert_eq!(verdict(&p, &tries, PASSWORD), "too_many_tries");
    let mut nobody = testing::projection();
    nobody.remove_login(LoginId(7));
    let seen = [(); 3].map(|()| verdict(&nobody, &fresh, PASSWORD));
    assert_eq!(seen, ["unknown_identity", "unknown_identity", "too_many_tries"]);
    // What was not looked at was no try: half a minute later there is one.
    let later = Instant::ORIGIN + Duration::from_secs(31);
    let scene = Scene { now: later, ..scene_of(&p, &tries) };
    assert_eq!(outcome(&mut logins, &desk, &scene, PASSWORD), "in");
}

#[test]
fn many_passwords_at_a_time_are_many_tries() {
    let mut p = testing::projection();
    p.put_login(fred());
    let (mut logins, desk) = logins(4, 4);
    let tries = Tries::new(Limits { by_device: 2, ..Config::default().limits() });
    let scene = Scene { tries: &tries, ..scene(&p, HOME) };
    for password in ["a guess", "another", PASSWORD] {
        assert!(matches!(ask_under(&mut logins, &scene, password), Verdict::Later(_)));
    }
    let mut answers: Vec<_> = (0..3).map(|_| answer(&desk)).collect();
    answers.sort_unstable();
    let seen: Vec<_> = answers
        .into_iter()
        .map(|(number, right)| match logins.checked(&scene, number, right).unwrap() {
            Verdict::Reject { why, .. } => why.label(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(seen, ["wrong_password", "wrong_password", "too_many_tries"]);
}

#[test]
fn nobody_is_locked_out_by_guesses_at_a_password_that_was_made() {
    let mut p = testing::projection();
    p.put_login(Login { verifier: password::machine_made("made"), ..fred() });
    let (mut logins, desk) = logins(4, 4);
    let tries = Tries::new(Limits { by_device: 2, by_all: 2, ..Config::default().limits() });
    let scene = Scene { tries: &tries, ..scene(&p, HOME) };
    for _ in 0..5 {
        assert_eq!(outcome(&mut logins, &desk, &scene, "a guess"), "wrong_password");
    }
    assert_eq!(outcome(&mut logins, &desk, &scene, "made"), "in");
    // They are counted all the same: as much work as for a name that nobody has.
    assert!(!tries.may(NAME, None, Instant::ORIGIN));
}

#[test]
fn a_nas_that_begins_too_many_log_ins_is_not_answered_for_a_while() {
    let mut p = testing::projection();
    p.put_login(Login { verifier: password::machine_made("made"), ..fred() });
    let (mut logins, _desk) = logins(4, 4);
    let tries = Tries::new(Limits { logins: 1, ..Config::default().limits() });
    let scene = Scene { tries: &tries, ..scene(&p, HOME) };
    for _ in 0..10 {
        assert!(matches!(ask_under(&mut logins, &scene, "made"), Verdict::Accept(_)));
    }
    assert!(matches!(ask_under(&mut logins, &scene, "made"), Verdict::Silence("client-rate")));
}

/// Fred's password was chosen by a person, three were made by machines.
fn both_kinds() -> Projection {
    let mut p = testing::projection();
    p.put_login(fred());
    for n in 20..23 {
        let verifier = password::machine_made("made");
        let name = format!("made-{n}@example.net").parse().unwrap();
        p.put_login(Login { id: LoginId(n), name, verifier, ..fred() });
    }
    p
}

#[test]
fn names_that_nobody_has_are_of_either_kind_and_the_same_by_every_method() {
    let p = both_kinds();
    let (mut logins, desk) = logins(100, 100);
    let scene = scene(&p, HOME);
    let here = scene.here();
    let (mut slow, mut fast) = (0, 0);
    for n in 0..64 {
        let name = format!("nobody-{n}@example.net");
        let identity = Identity::decode(name.as_bytes()).unwrap();
        for _ in 0..2 {
            let by_eap = matches!(here.decoy(&identity), Decoy::Caller);
            assert_eq!(by_eap, here.propose(&identity).is_some(), "{name}");
            match ask_as(&mut logins, &scene, &name, "a guess") {
                Verdict::Later(number) => {
                    assert!(by_eap, "{name}");
                    let right = answer(&desk).1;
                    let verdict = logins.checked(&scene, number, right).unwrap();
                    assert!(matches!(verdict, Verdict::Reject { .. }));
                    slow += 1;
                }
                Verdict::Reject { .. } => {
                    assert!(!by_eap, "{name}");
                    fast += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(slow > 0 && fast > slow, "{slow} and {fast}");
    for outer in ["anonymous@example.net", "Anonymous", "@example.net"] {
        let outer = Identity::decode(outer.as_bytes()).unwrap();
        assert_eq!(here.propose(&outer), None, "who claims no name is told nothing of one");
    }
}

#[test]
fn a_slow_name_that_may_not_be_tried_stays_slow() {
    let (mut logins, desk) = logins(100, 100);
    let limits = Limits { by_device: 1, by_all: 1, ..Config::default().limits() };
    // Whatever the key would make of the name, if nobody had it.
    for name in 0..8 {
        let name = format!("fred-{name}@example.net");
        let mut p = both_kinds();
        p.put_login(Login { name: name.parse().unwrap(), ..fred() });
        let tries = Tries::new(limits);
        let scene = Scene { tries: &tries, ..scene(&p, HOME) };
        for why in ["wrong_password", "too_many_tries", "too_many_tries"] {
            let verdict = ask_as(&mut logins, &scene, &name, "a guess");
            let Verdict::Later(number) = verdict else { panic!("{name}: {verdict:?}") };
            let right = answer(&desk).1;
            match logins.checked(&scene, number, right).unwrap() {
                Verdict::Reject { why: said, .. } => assert_eq!(said.label(), why),
                other => panic!("{other:?}"),
            }
        }
        let here = scene.here();
        let identity = Identity::decode(name.as_bytes()).unwrap();
        assert!(matches!(here.decoy(&identity), Decoy::Caller), "{name}");
    }
}
