//! Log-ins: PAP, CHAP and EAP.

use std::fs;
use std::process::Command;

use homeward_radius::dictionary::standard;
use homeward_radius::{Code, Packet};

use crate::core::{Core, SECRET};
use crate::nas::Nas;

const STATION: &str = "02-00-5E-20-00-07";

/// A log-in that is there, and its password.
pub(crate) struct Made {
    pub(crate) name: &'static str,
    pub(crate) password: String,
}

impl Core {
    /// Makes a log-in of smith's; waits until the core knows it.
    pub(crate) fn login(&self, name: &'static str, more: &[&str]) -> Made {
        let said = self.admin(&[&["login", "create", name, "--account", "smith"], more].concat());
        let made = said.lines().find_map(|l| l.strip_prefix("password, shown this once: "));
        let made = Made { name, password: made.unwrap_or_default().to_owned() };
        self.admin(&["login", "show", name]);
        made
    }

    /// Makes a log-in with a password that a person chose.
    pub(crate) fn persons(&self, name: &'static str, password: &str) -> Made {
        let file = self.secret_file("password", password);
        Made { password: password.to_owned(), ..self.login(name, &["--password-file", &file]) }
    }

    /// Asks to be let in by PAP until the answer contains `text`.
    pub(crate) fn pap_soon(&self, name: &str, password: &str, text: &str) {
        self.soon(text, || self.pap(name, password, ""));
    }

    pub(crate) fn pap(&self, name: &str, password: &str, more: &str) -> String {
        let ask = format!(
            "User-Name = \"{name}\", User-Password = \"{password}\", NAS-Identifier = \"oak\", \
             Calling-Station-Id = \"{STATION}\", {more}Message-Authenticator = 0x00\n"
        );
        self.radclient("auth", &ask, SECRET)
    }

    /// wpa_supplicant's own EAP, with this network block; what it printed.
    pub(crate) fn eapol(&self, network: &str, more: &[&str]) -> String {
        let config = self.file("eapol.conf");
        let network = format!(
            "network={{\n key_mgmt=WPA-EAP\n ca_cert=\"{}\"\n {network}\n}}\n",
            self.file("ca.pem")
        );
        fs::write(&config, network).unwrap();
        let (host, port) = self.address.split_once(':').unwrap();
        let output = Command::new("eapol_test")
            .args(["-c", &config, "-a", host, "-p", port, "-s", SECRET, "-t", "10"])
            .args(["-M", "02:00:5e:20:00:07"])
            .args(more)
            .output()
            .expect("eapol_test is missing: `make setup` installs eapoltest");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    #[track_caller]
    pub(crate) fn eapol_succeeds(&self, network: &str, more: &[&str]) -> String {
        let said = self.eapol(network, more);
        let end = said.lines().rev().take(4).collect::<Vec<_>>();
        assert!(end.contains(&"SUCCESS"), "{network}: {said}");
        // The keys that the server gave the access point are those that the station has.
        assert!(said.contains("mismatch: 0"), "{network}: {said}");
        said
    }

    /// A device comes in with a name and a password, by the methods that most have; the name is
    /// shown inside the tunnel only, and `outer` outside.
    #[track_caller]
    pub(crate) fn eapol_comes_in(&self, login: &Made, outer: &str) {
        for (method, phase2) in [("TTLS", "auth=PAP"), ("PEAP", "auth=MSCHAPV2")] {
            let network = format!(
                "eap={method}\n identity=\"{}\"\n anonymous_identity=\"{outer}\"\n \
                 password=\"{}\"\n phase2=\"{phase2}\"",
                login.name, login.password
            );
            self.eapol_succeeds(&network, &[]);
        }
    }

    #[track_caller]
    pub(crate) fn eapol_fails(&self, network: &str) {
        let said = self.eapol(network, &[]);
        assert!(said.lines().rev().take(4).any(|line| line == "FAILURE"), "{network}: {said}");
    }
}

fn block(method: &str, name: &str, password: &str, phase2: &str, tls13: bool) -> String {
    let tls13 = if tls13 { "phase1=\"tls_disable_tlsv1_3=0\"" } else { "" };
    format!(
        "eap={method}\n identity=\"{name}\"\n anonymous_identity=\"anonymous@example.net\"\n \
         password=\"{password}\"\n phase2=\"{phase2}\"\n {tls13}"
    )
}

/// Every way in which a password may be proven inside TLS.
const METHODS: [(&str, &str); 5] = [
    ("TTLS", "auth=PAP"),
    ("TTLS", "auth=MSCHAPV2"),
    ("TTLS", "autheap=MSCHAPV2"),
    ("TTLS", "autheap=GTC"),
    ("PEAP", "auth=MSCHAPV2"),
];

#[test]
fn a_name_and_its_password_are_let_in_on_the_terms_of_the_class_of_service() {
    let core = Core::start();
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    let answer = core.pap(phone.name, &phone.password, "Chargeable-User-Identity = 0x00, ");
    for part in [
        "User-Name = \"phone@example.net\"",
        "WISPr-Bandwidth-Max-Down = 50000000",
        "Acct-Interim-Interval = 300",
        "Chargeable-User-Identity = ",
        "Class = ",
    ] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    // Realms know no case, users do.
    let answer = core.pap("phone@EXAMPLE.net", &phone.password, "");
    assert!(answer.contains("Received Access-Accept"), "{answer}");
    let answer = core.pap("Phone@example.net", &phone.password, "");
    assert!(answer.contains("Received Access-Reject"), "{answer}");
}

#[test]
fn a_refusal_says_nothing_whatever_the_reason() {
    let core = Core::start();
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    let bound = core.login("bound", &["--mac", "02:00:5e:20:00:08"]);
    let old = core.login("old", &["--expires-in", "0s"]);
    core.login("suspended", &[]);
    core.admin(&["login", "suspend", "suspended"]);
    let last = core.login("last", &[]);
    core.pap_soon(last.name, &last.password, "Received Access-Accept");
    let mut lengths = std::collections::BTreeSet::new();
    for (name, password) in [
        ("phone@example.net", "wrong"),
        ("nobody@example.net", "wrong"),
        ("nobody at all", "wrong"),
        (bound.name, &bound.password),
        (old.name, &old.password),
        ("suspended", "whatever"),
    ] {
        let answer = core.pap(name, password, "");
        let (_, answer) = answer.split_once("Received Access-Reject").expect("a reject");
        let length = answer.split_once("length ").expect("a length").1;
        lengths.insert(length.split_whitespace().next().unwrap().to_owned());
        assert!(!answer.contains("Reply-Message"), "{name}: {answer}");
    }
    assert_eq!(lengths.len(), 1, "all alike: {lengths:?}");
}

#[test]
fn a_persons_password_is_checked_by_its_slow_hash() {
    let core = Core::start();
    let fred = core.persons("fred@example.net", "correct horse battery");
    core.pap_soon(fred.name, &fred.password, "Received Access-Accept");
    let answer = core.pap(fred.name, "incorrect horse", "");
    assert!(answer.contains("Received Access-Reject"), "{answer}");
    core.eapol_succeeds(&block("TTLS", fred.name, &fred.password, "auth=PAP", false), &[]);
    core.eapol_fails(&block("TTLS", fred.name, "incorrect horse", "auth=PAP", false));
    // What MSCHAPv2 needs is not kept.
    core.eapol_fails(&block("PEAP", fred.name, &fred.password, "auth=MSCHAPV2", false));
}

#[test]
fn chap_is_held_against_a_password_that_was_kept_for_it_only() {
    let core = Core::start();
    let nas = core.login("portal", &["--chap"]);
    core.pap_soon(nas.name, &nas.password, "Received Access-Accept");
    let chap = |name: &str, password: &str| {
        let ask = format!(
            "User-Name = \"{name}\", CHAP-Password = \"{password}\", NAS-Identifier = \"oak\", \
             Message-Authenticator = 0x00\n"
        );
        core.radclient("auth", &ask, SECRET)
    };
    let answer = chap(nas.name, &nas.password);
    assert!(answer.contains("Received Access-Accept"), "{answer}");
    let answer = chap(nas.name, "wrong");
    assert!(answer.contains("Received Access-Reject"), "{answer}");
    let phone = core.login("phone", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    let answer = chap(phone.name, &phone.password);
    assert!(answer.contains("Received Access-Reject"), "{answer}");
}

#[test]
fn eap_lets_in_by_every_method_and_version_of_tls_with_the_same_keys_at_both_ends() {
    let core = Core::start();
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    for (method, phase2) in METHODS {
        for tls13 in [false, true] {
            let network = block(method, phone.name, &phone.password, phase2, tls13);
            core.eapol_succeeds(&network, &[]);
        }
    }
}

#[test]
fn who_was_let_in_once_resumes_without_a_password() {
    let core = Core::start();
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    for (method, phase2) in [METHODS[0], METHODS[4]] {
        for tls13 in [false, true] {
            let network = block(method, phone.name, &phone.password, phase2, tls13);
            core.eapol_succeeds(&network, &["-r", "2"]);
        }
    }
    let metrics = core.status("metrics");
    assert!(metrics.contains("resumed=\"1\""), "{metrics}");
}

#[test]
fn a_log_in_for_one_log_on_lets_in_one_of_all_who_try() {
    let core = Core::start();
    let guest = core.login("guest@example.net", &["--once"]);
    let other = core.login("other@example.net", &["--once"]);
    let last = core.login("last@example.net", &[]);
    core.pap_soon(last.name, &last.password, "Received Access-Accept");
    // A wrong password spends nothing.
    let answer = core.pap(guest.name, "a guess", "");
    assert!(answer.contains("Received Access-Reject"), "{answer}");
    let many = (0..12).map(|n| {
        format!(
            "User-Name = \"{}\", User-Password = \"{}\", NAS-Identifier = \"oak\", \
             NAS-Port = {n}, Message-Authenticator = 0x00\n\n",
            guest.name, guest.password
        )
    });
    let answers = core.radclient("auth", &many.collect::<String>(), SECRET);
    let count = |what: &str| answers.matches(what).count();
    assert_eq!(count("Received Access-Accept"), 1, "{answers}");
    assert_eq!(count("Received Access-Reject"), 11, "{answers}");
    let metrics = core.status("metrics");
    assert!(metrics.contains("login_rejections_total{reason=\"spent\"} 11"), "{metrics}");

    // By EAP, and not by a TLS session that is resumed either.
    let (method, phase2) = METHODS[4];
    let network = block(method, other.name, &other.password, phase2, false);
    core.eapol_succeeds(&network, &[]);
    core.eapol_fails(&network);
    let shown = core.admin(&["login", "show", other.name]);
    assert!(shown.contains("spent"), "{shown}");
}

#[test]
fn who_is_in_by_a_log_in_for_one_log_on_stays_in() {
    let core = Core::start();
    let guest = core.login("guest@example.net", &["--once"]);
    let last = core.login("last@example.net", &[]);
    core.pap_soon(last.name, &last.password, "Received Access-Accept");
    let out = || {
        let metrics = core.status("metrics");
        let out = metrics.lines().find_map(|l| l.strip_prefix("homeward_aaa_grants_out "));
        out.unwrap().parse::<u32>().unwrap()
    };
    let before = out();
    let answer = core.pap(guest.name, &guest.password, "");
    assert!(answer.contains("Received Access-Accept"), "{answer}");
    // The core has seen the record spent once it has seen a later one.
    let later = core.login("later@example.net", &[]);
    core.pap_soon(later.name, &later.password, "Received Access-Accept");
    assert_eq!(out(), before + 2);
}

#[test]
fn eap_refuses_a_wrong_password_an_unknown_name_and_what_was_suspended() {
    let core = Core::start();
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    for (method, phase2) in METHODS {
        core.eapol_fails(&block(method, phone.name, "wrong", phase2, false));
        core.eapol_fails(&block(method, "nobody@example.net", "wrong", phase2, true));
    }
    core.admin(&["login", "suspend", phone.name]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Reject");
    core.eapol_fails(&block("PEAP", phone.name, &phone.password, "auth=MSCHAPV2", false));
}

#[test]
fn eap_crosses_access_points_that_pass_on_small_packets_only() {
    let core = Core::start();
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    for mtu in [200, 500, 1400] {
        let network = block("PEAP", phone.name, &phone.password, "auth=MSCHAPV2", false);
        let network = format!("{network}\n fragment_size={mtu}");
        let framed = format!("12:d:{mtu}");
        core.eapol_succeeds(&network, &["-N", &framed]);
    }
}

#[test]
fn a_device_that_does_not_trust_the_certificate_is_said_to_in_the_figures() {
    let core = Core::start();
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    let other = core.secret_file("other.pem", &crate::core::certificate().0);
    let network = block("PEAP", phone.name, &phone.password, "auth=MSCHAPV2", false);
    core.eapol_fails(&format!("{network}\n ca_cert=\"{other}\""));
    let metrics = core.status("metrics");
    let line =
        metrics.lines().find(|line| line.contains("login_rejections_total{reason=\"tls_alert"));
    assert!(line.is_some(), "{metrics}");
}

#[test]
fn guesses_inside_a_tunnel_are_counted_and_the_right_password_then_has_to_wait() {
    let core = Core::start_with("wrong_tries = 2\n");
    let fred = core.persons("fred@example.net", "the right one");
    // Made after fred, so that the core knows him too: to ask for him before would be a guess.
    let later = core.login("later@example.net", &[]);
    core.pap_soon(later.name, &later.password, "Received Access-Accept");
    for _ in 0..2 {
        core.eapol_fails(&block("TTLS", fred.name, "a guess", "auth=PAP", false));
    }
    core.eapol_fails(&block("TTLS", fred.name, &fred.password, "auth=PAP", false));
    let metrics = core.status("metrics");
    assert!(metrics.contains("login_rejections_total{reason=\"too_many_tries\"} 1"), "{metrics}");
    // Another device is not concerned.
    core.eapol_succeeds(
        &block("TTLS", fred.name, &fred.password, "auth=PAP", false),
        &["-M", "02:00:5e:20:00:08"],
    );
}

#[test]
fn a_new_certificate_is_taken_by_sighup_and_a_bad_one_changes_nothing() {
    let core = Core::start();
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    let network = block("TTLS", phone.name, &phone.password, "auth=PAP", false);
    core.eapol_succeeds(&network, &[]);
    let (certificate, key) = crate::core::certificate();
    core.secret_file("eap.key", "no key at all");
    core.reloads("EAP goes on with the certificates that it has");
    core.eapol_succeeds(&network, &[]);
    core.secret_file("eap.key", &key);
    core.secret_file("ca.pem", &certificate);
    core.eapol_fails(&network);
    core.reloads("EAP's certificates are reloaded");
    core.eapol_succeeds(&network, &[]);
}

#[test]
fn a_device_that_says_again_who_it_is_begins_anew_whatever_it_had_begun() {
    let core = Core::start();
    let mut nas = Nas::new(&core);
    let mut ask = |eap: &[u8], state: Option<&[u8]>| {
        let answer = nas.ask(Code::AccessRequest, |packet| {
            packet.text(standard::USER_NAME, "phone@example.net").unwrap();
            packet.encoded(standard::EAP_MESSAGE, eap).unwrap();
            if let Some(state) = state {
                packet.octets(standard::STATE, state).unwrap();
            }
        });
        let answer = Packet::decode(&answer).unwrap();
        let find = |kind| answer.find(kind).map(<[u8]>::to_vec);
        (answer.code(), find(standard::EAP_MESSAGE).unwrap(), find(standard::STATE))
    };
    // As attributes: type and length ahead. Identity, with one EAP identifier and another.
    let identity = |id: u8| [&[79, 24, 2, id, 0, 22, 1][..], b"phone@example.net"].concat();
    let (code, first, state) = ask(&identity(1), None);
    assert_eq!((code, first[4] != 1), (Code::AccessChallenge, true), "a method is proposed");
    // The same again: so is the answer.
    let (_, again, same) = ask(&identity(1), state.as_deref());
    assert_eq!((&again, &same), (&first, &state));
    // Another, in the middle of it, and one with the identifier that a response is due with.
    let mut state = state;
    for id in [first[1].wrapping_add(7), first[1]] {
        let (code, proposed, anew) = ask(&identity(id), state.as_deref());
        assert_eq!((code, proposed[4]), (Code::AccessChallenge, first[4]));
        assert_ne!(anew, state);
        // What it had begun is no more.
        assert_eq!(ask(&[79, 8, 2, first[1], 0, 6, 3, 0], state.as_deref()).0, Code::AccessReject);
        state = anew;
    }
    // EAP-Start is answered by the question who it is.
    let (code, question, anew) = ask(&[79, 2], state.as_deref());
    assert_eq!((code, question[4], anew != state), (Code::AccessChallenge, 1, true));
    let (code, proposed, _) = ask(&identity(question[1]), anew.as_deref());
    assert_eq!((code, proposed[4]), (Code::AccessChallenge, first[4]));
    // What begins nothing and is not due is still not answered: the NAS or the device repeats.
    let dropped = core.status("metrics");
    assert!(!dropped.contains("reason=\"eap-ignored\""), "{dropped}");
}
