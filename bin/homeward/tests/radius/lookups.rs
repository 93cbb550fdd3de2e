//! Look-ups: a device's MAC and its SSID.

use std::time::Duration;

use homeward_daemon::SystemClock;
use homeward_model::Clock;

use crate::core::{Core, MAC, PASSPHRASE, SECRET, SSID};

#[test]
fn a_known_device_is_accepted_with_its_own_key_in_any_spelling_of_its_mac() {
    let core = Core::start();
    let psk = homeward_dot11::psk(&PASSPHRASE.parse().unwrap(), &SSID.parse().unwrap());
    for mac in [MAC, "02-00-5E-20-00-01", "0200.5e20.0001", "02005e200001"] {
        let answer = core.ask(mac, SSID);
        assert!(answer.contains("Received Access-Accept"), "{answer}");
        assert!(answer.contains(psk.to_hex().as_str()), "{answer}");
        assert!(answer.contains("WISPr-Bandwidth-Max-Down = 50000000"), "{answer}");
    }
}

#[test]
fn a_refusal_tells_the_operator_why() {
    let core = Core::start();
    for (mac, ssid, reason) in [
        ("02:00:5e:20:00:99", SSID, "unknown device"),
        (MAC, "Elm Street 18", "is not this device's"),
    ] {
        let answer = core.ask(mac, ssid);
        assert!(answer.contains("Received Access-Reject"), "{answer}");
        assert!(answer.contains(reason), "{answer}");
        assert!(!answer.contains("Tunnel-Password"), "{answer}");
    }
}

#[test]
fn a_suspension_and_its_end_are_in_force_within_a_second() {
    let core = Core::start();
    for (verb, answer) in [("suspend", "account smith is suspended"), ("resume", "Access-Accept")] {
        core.admin(&["account", verb, "smith"]);
        let taken = core.answers_soon(answer);
        assert!(taken < Duration::from_secs(1), "{verb} took {taken:?}");
    }
}

#[test]
fn a_gateway_that_is_added_is_answered_and_one_that_is_unknown_is_not() {
    let core = Core::start();
    core.admin(&["gateway", "set", "oak", "--address", "127.9.9.9"]);
    let gone = SystemClock.now();
    while core.ask(MAC, SSID).contains("Received") {
        assert!(SystemClock.now().since(gone) < Duration::from_secs(5), "it is still answered");
    }
    let silent = core.ask(MAC, SSID);
    assert!(silent.contains("No reply"), "{silent}");
    core.admin(&["gateway", "set", "oak", "--address", "127.0.0.0/8"]);
    core.answers_soon("Access-Accept");
}

#[test]
fn a_request_without_message_authenticator_or_under_another_secret_gets_no_answer() {
    let core = Core::start();
    let unsigned =
        format!("User-Name = \"{MAC}\", User-Password = \"{SSID}\", NAS-Identifier = \"oak\"\n");
    let silent = core.radclient("auth", &unsigned, SECRET);
    assert!(silent.contains("No reply"), "{silent}");
    let signed = format!("{}, Message-Authenticator = 0x00\n", unsigned.trim());
    let silent = core.radclient("auth", &signed, "another secret of the right length");
    assert!(silent.contains("No reply"), "{silent}");
}

#[test]
fn status_server_is_answered() {
    let core = Core::start();
    let answer = core.radclient("status", "Message-Authenticator = 0x00\n", SECRET);
    assert!(answer.contains("Received Access-Accept"), "{answer}");
}
