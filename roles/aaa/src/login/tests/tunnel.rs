//! Guesses inside TLS, and that they are counted as all others are.

use homeward_eap::Method;
use homeward_eap::testing::peer::rustls::client::Resumption;
use homeward_eap::testing::peer::rustls::{ClientConfig, RootCertStore, crypto::ring};
use homeward_eap::testing::peer::{Binding, Device, Odd, Peer, Within};

use super::*;
use crate::eap::EapConfig;

const METHODS: [(Method, Within); 6] = [
    (Method::Ttls, Within::Pap),
    (Method::Ttls, Within::MsChapV2),
    (Method::Ttls, Within::EapMsChapV2),
    (Method::Ttls, Within::EapGtc),
    (Method::Peap, Within::EapMsChapV2),
    (Method::Peap, Within::EapGtc),
];

/// Log-ins that EAP is spoken with, and a device that trusts the certificate.
struct World {
    logins: Logins,
    desk: Arc<Desk>,
    device: Peer,
}

impl World {
    fn new(checks: usize) -> Self {
        let made = rcgen::generate_simple_self_signed(["eap.example.net".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: String| {
            std::fs::write(folder.path().join(name), text).unwrap();
            Some(folder.path().join(name))
        };
        let speech = Speech::load(&EapConfig {
            certificate: file("eap.pem", made.cert.pem()),
            key: file("eap.key", made.signing_key.serialize_pem()),
            ..EapConfig::default()
        });
        let (mut logins, desk) = logins(checks, 64);
        logins.eap = Some(speech.unwrap());
        logins.conversations = Conversations::new(100);
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Each log-in is to be one by its password.
        tls.resumption = Resumption::disabled();
        let device = Peer {
            method: Method::Ttls,
            within: Within::Pap,
            outer: "anonymous@example.net".to_owned(),
            identity: NAME.to_owned(),
            domain: "",
            password: "a guess".to_owned(),
            server: "eap.example.net",
            fragment: 240,
            binding: Binding::Answered,
            eager: false,
            repeats: false,
            believes: true,
            odd: Odd::Nothing,
            tls: Arc::new(tls),
        };
        Self { logins, desk, device }
    }

    /// Fred's password by that method.
    fn fred(&self, (method, within): (Method, Within), password: &str) -> Peer {
        Peer { method, within, password: password.to_owned(), ..self.device.clone() }
    }

    /// What becomes of a device that says all that it has to say; of one that falls silent once it
    /// has heard a no inside the tunnel, "silent".
    fn run(&mut self, scene: &Scene<'_>, peer: &Peer, hears: bool) -> &'static str {
        let mut talk = Talking::new(peer);
        loop {
            let verdict = match talk.say(&mut self.logins, scene) {
                Verdict::Later(number) => {
                    let right = answered(&self.desk, number);
                    self.logins.checked(scene, number, right).unwrap()
                }
                verdict => verdict,
            };
            match verdict {
                Verdict::Challenge { eap, state } => talk.hear(&eap, state),
                Verdict::Accept(_) => return "in",
                Verdict::Reject { why, .. } => return why.label(),
                other => panic!("{other:?}"),
            }
            if !hears && talk.device.heard() == Some(false) {
                return "silent";
            }
        }
    }
}

/// A device in the middle of it.
struct Talking<'p> {
    device: Device<'p>,
    next: Vec<u8>,
    state: Option<State>,
}

impl<'p> Talking<'p> {
    fn new(peer: &'p Peer) -> Self {
        let device = Device::new(peer).unwrap();
        Self { next: device.identity(), device, state: None }
    }

    fn hear(&mut self, request: &[u8], state: State) {
        self.next = self.device.answer(request).unwrap();
        self.state = Some(state);
    }

    fn say(&self, logins: &mut Logins, scene: &Scene<'_>) -> Verdict {
        request(logins, scene, |packet| {
            packet.text(standard::USER_NAME, "anonymous@example.net").unwrap();
            for part in self.next.chunks(253) {
                packet.octets(standard::EAP_MESSAGE, part).unwrap();
            }
            if let Some(state) = &self.state {
                packet.octets(standard::STATE, state).unwrap();
            }
        })
    }

    /// Goes on to where its password is to be checked beside the worker.
    fn until_its_password(&mut self, logins: &mut Logins, scene: &Scene<'_>) -> Verdict {
        loop {
            match self.say(logins, scene) {
                Verdict::Challenge { eap, state } => self.hear(&eap, state),
                verdict => return verdict,
            }
        }
    }
}

/// The answer to that check.
fn answered(desk: &Desk, wanted: u64) -> bool {
    let (number, right) = answer(desk);
    assert_eq!(number, wanted);
    right
}

/// Names by whether their passwords take long: those that somebody has, and one that nobody has.
fn names(p: &mut Projection) -> [Vec<String>; 2] {
    let whole = Verifier::Password(Secret::new("made, and kept whole"));
    let name = "whole@example.net".parse().unwrap();
    p.put_login(Login { id: LoginId(30), name, verifier: whole, ..fred() });
    let nobodys = |slow: bool| {
        let mut names = (0..).map(|n| format!("nobody-{n}@example.net"));
        names.find(|name| p.is_slow(&name.parse().unwrap()) == slow).unwrap()
    };
    let fast = ["made-20@example.net", "whole@example.net"].map(str::to_owned);
    [[&fast[..], &[nobodys(false)]].concat(), vec![NAME.to_owned(), nobodys(true)]]
}

#[test]
fn by_every_method_all_names_are_looked_up_and_counted_alike() {
    let mut p = both_kinds();
    let kinds = names(&mut p);
    let mut world = World::new(4);
    let limits = Limits { by_device: 2, ..Config::default().limits() };
    let mut done = |name: &str, by: usize| {
        let tries = Tries::new(limits);
        let scene = Scene { tries: &tries, ..scene(&p, HOME) };
        // Two that may be tried, and two that are too many.
        for _ in 0..4 {
            match by.checked_sub(2).map(|method| METHODS[method]) {
                Some(method) => {
                    let peer = Peer { identity: name.to_owned(), ..world.fred(method, "a guess") };
                    assert_ne!(world.run(&scene, &peer, true), "in");
                }
                None if by == 0 => {
                    if let Verdict::Later(n) = ask_as(&mut world.logins, &scene, name, "a guess") {
                        let right = answered(&world.desk, n);
                        world.logins.checked(&scene, n, right).unwrap();
                    }
                }
                None => {
                    let refused = request(&mut world.logins, &scene, |packet| {
                        packet.text(standard::USER_NAME, name).unwrap();
                        packet.octets(standard::CHAP_PASSWORD, &[7; 17]).unwrap();
                    });
                    assert!(matches!(refused, Verdict::Reject { .. }), "{refused:?}");
                }
            }
        }
        tries.done()
    };
    for names in &kinds {
        for by in 0..METHODS.len() + 2 {
            let of_all: Vec<_> = names.iter().map(|name| (name, done(name, by))).collect();
            let (_, first) = &of_all[0];
            assert!(
                first.contains(&"may") && of_all.iter().all(|(_, done)| done == first),
                "way {by}: {of_all:?}"
            );
        }
    }
}

#[test]
fn guesses_inside_a_tunnel_lock_nobody_out_of_a_password_that_was_made() {
    let mut p = testing::projection();
    p.put_login(Login { verifier: password::machine_made("made"), ..fred() });
    let mut world = World::new(4);
    let tries = Tries::new(Limits { by_device: 1, by_all: 1, ..Config::default().limits() });
    let scene = Scene { tries: &tries, ..scene(&p, HOME) };
    for method in METHODS {
        let guess = world.fred(method, "a guess");
        assert_eq!(world.run(&scene, &guess, true), "wrong_password", "{method:?}");
        let right = world.fred(method, "made");
        assert_eq!(world.run(&scene, &right, true), "in", "{method:?}");
    }
}

#[test]
fn who_falls_silent_at_a_no_inside_the_tunnel_has_tried_once_and_who_hears_it_too() {
    let mut p = testing::projection();
    p.put_login(fred());
    let mut world = World::new(4);
    let method = (Method::Peap, Within::EapGtc);
    let (guess, right) = (world.fred(method, "a guess"), world.fred(method, PASSWORD));
    for (hears, said) in [(false, "silent"), (true, "wrong_password")] {
        let tries = Tries::new(Limits { by_device: 2, ..Config::default().limits() });
        let scene = Scene { tries: &tries, ..scene(&p, HOME) };
        assert_eq!(world.run(&scene, &guess, hears), said);
        assert_eq!(world.run(&scene, &right, true), "in", "one try of two");
        assert_eq!(world.run(&scene, &guess, hears), said);
        assert_eq!(world.run(&scene, &right, true), "too_many_tries");
    }
}

#[test]
fn a_password_that_waited_for_room_is_looked_at_only_if_its_name_may_be_tried_still() {
    let mut p = testing::projection();
    p.put_login(fred());
    let mut world = World::new(1);
    let tries = Tries::new(Limits { by_device: 1, ..Config::default().limits() });
    let scene = Scene { tries: &tries, ..scene(&p, HOME) };
    let method = (Method::Ttls, Within::Pap);
    let peers = [world.fred(method, "a guess"), world.fred(method, PASSWORD)];
    let mut talks = peers.each_ref().map(Talking::new);
    let other = ask_as(&mut world.logins, &scene, "nobody@example.net", "a guess");
    let Verdict::Later(other) = other else { panic!("{other:?}") };
    for talk in &mut talks {
        let verdict = talk.until_its_password(&mut world.logins, &scene);
        assert!(matches!(verdict, Verdict::Silence("passwords-full")), "{verdict:?}");
    }
    let right = answered(&world.desk, other);
    world.logins.checked(&scene, other, right).unwrap();
    for (talk, said) in talks.iter().zip(["wrong_password", "too_many_tries"]) {
        let verdict = talk.say(&mut world.logins, &scene);
        let Verdict::Later(number) = verdict else { panic!("{verdict:?}") };
        let right = answered(&world.desk, number);
        match world.logins.checked(&scene, number, right).unwrap() {
            Verdict::Reject { why, .. } => assert_eq!(why.label(), said),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn many_passwords_at_a_time_are_many_tries_inside_a_tunnel_too() {
    let mut p = testing::projection();
    p.put_login(fred());
    let mut world = World::new(4);
    let tries = Tries::new(Limits { by_device: 1, ..Config::default().limits() });
    let scene = Scene { tries: &tries, ..scene(&p, HOME) };
    let method = (Method::Peap, Within::EapGtc);
    let peers = [world.fred(method, "a guess"), world.fred(method, PASSWORD)];
    let mut talks = peers.each_ref().map(Talking::new);
    let mut numbers = Vec::new();
    for talk in &mut talks {
        let verdict = talk.until_its_password(&mut world.logins, &scene);
        let Verdict::Later(number) = verdict else { panic!("{verdict:?}") };
        numbers.push(number);
    }
    for ((talk, number), said) in
        talks.iter_mut().zip(numbers).zip(["wrong_password", "too_many_tries"])
    {
        let right = answered(&world.desk, number);
        let verdict = world.logins.checked(&scene, number, right).unwrap();
        let Verdict::Challenge { eap, state } = verdict else { panic!("{verdict:?}") };
        talk.hear(&eap, state);
        match talk.say(&mut world.logins, &scene) {
            Verdict::Reject { why, .. } => assert_eq!(why.label(), said),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn who_resumes_is_not_kept_out_by_guesses_at_its_password() {
    let mut p = testing::projection();
    p.put_login(fred());
    let mut world = World::new(4);
    let tries = Tries::new(Limits { by_device: 1, by_all: 1, ..Config::default().limits() });
    let scene = Scene { tries: &tries, ..scene(&p, HOME) };
    let method = (Method::Ttls, Within::Pap);
    let (guess, anew) = (world.fred(method, "a guess"), world.fred(method, PASSWORD));
    let mut tls = ClientConfig::clone(&anew.tls);
    tls.resumption = Resumption::in_memory_sessions(8);
    let device = Peer { tls: Arc::new(tls), ..anew.clone() };
    assert_eq!(world.run(&scene, &device, true), "in");
    assert_eq!(world.run(&scene, &guess, true), "wrong_password");
    assert_eq!(world.run(&scene, &anew, true), "too_many_tries");
    assert_eq!(world.run(&scene, &device, true), "in", "it gives no password");
}
