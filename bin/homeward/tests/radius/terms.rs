//! What a session is allowed: in the Access-Accept.

use homeward_radius::Code;

use crate::core::{Core, MAC, SECRET, SSID};
use crate::nas::Nas;

/// The VLAN of an answer, as radclient prints it.
const VLAN: [&str; 3] = [
    "Tunnel-Type:0 = VLAN",
    "Tunnel-Medium-Type:0 = IEEE-802",
    "Tunnel-Private-Group-Id:0 = \"30\"",
];

#[test]
fn who_logs_in_is_put_into_the_vlan_of_the_class_of_service_and_who_is_looked_up_is_not() {
    let core = Core::start();
    let phone = core.login("phone@example.net", &[]);
    core.admin(&["class", "set", "standard", "--vlan", "30"]);
    core.pap_soon(phone.name, &phone.password, VLAN[2]);
    let answer = core.pap(phone.name, &phone.password, "");
    for part in VLAN {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    // By EAP too, as wpa_supplicant's own reads it: 64, 65 and 81, untagged.
    let network = format!(
        "eap=PEAP\n identity=\"{}\"\n password=\"{}\"\n phase2=\"auth=MSCHAPV2\"",
        phone.name, phone.password
    );
    let said = core.eapol_succeeds(&network, &[]);
    for part in ["Value: 0000000d", "Value: 00000006", "Value: 3330"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let answer = core.ask(MAC, SSID);
    assert!(
        answer.contains("Received Access-Accept") && !answer.contains("Tunnel-Type"),
        "{answer}"
    );
    core.admin(&["class", "set", "standard", "--vlan", "none"]);
    core.soon("no VLAN", || match core.pap(phone.name, &phone.password, "") {
        answer if answer.contains("Tunnel-") => answer,
        _ => "no VLAN".to_owned(),
    });
}

#[test]
fn what_is_left_of_the_quota_is_told_to_whoever_lets_in() {
    let core = Core::start();
    let phone = core.login("phone@example.net", &[]);
    core.admin(&["class", "set", "standard", "--quota", "10GB/month"]);
    // 10^10 is 2 * 2^32 + 1410065408. FreeRADIUS knows no name for CoovaChilli's own.
    for part in [
        "ChilliSpot-Max-Total-Octets = 1410065408",
        "Attr-26.14559.23 = 0x00000002",
        "Mikrotik-Total-Limit = 1410065408",
        "Mikrotik-Total-Limit-Gigawords = 2",
    ] {
        core.pap_soon(phone.name, &phone.password, part);
    }
    let class = core.pap(phone.name, &phone.password, "");
    let class = class.lines().find_map(|l| l.trim().strip_prefix("Class = ")).unwrap().to_owned();
    let record = format!(
        "Acct-Status-Type = Interim-Update, Acct-Session-Id = \"5F\", NAS-Identifier = \"oak\", \
         Acct-Input-Octets = 5408, Acct-Input-Gigawords = 1, Acct-Output-Octets = 0, Class = {class}\n"
    );
    let answer = core.radclient("acct", &record, SECRET);
    assert!(answer.contains("Received Accounting-Response"), "{answer}");
    let answer = core.pap(phone.name, &phone.password, "");
    for part in [
        "ChilliSpot-Max-Total-Octets = 1410060000",
        "Attr-26.14559.23 = 0x00000001",
        "Mikrotik-Total-Limit = 1410060000",
        "Mikrotik-Total-Limit-Gigawords = 1",
    ] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
}

#[test]
fn a_session_does_not_outlast_its_log_in_whatever_the_class_of_service_says() {
    let core = Core::start();
    let guest = core.login("guest@example.net", &["--expires-in", "1m"]);
    core.admin(&["class", "set", "standard", "--session-timeout", "1h"]);
    core.pap_soon(guest.name, &guest.password, "Session-Timeout = ");
    let answer = core.pap(guest.name, &guest.password, "");
    let seconds = answer.lines().find_map(|l| l.trim().strip_prefix("Session-Timeout = "));
    assert!((1..=60).contains(&seconds.unwrap().parse::<u32>().unwrap()), "{answer}");
    assert!(answer.contains("Termination-Action = RADIUS-Request"), "{answer}");
}

#[test]
fn wireshark_finds_nothing_malformed_in_an_accept_with_all_terms() {
    let core = Core::start();
    let phone = core.login("phone@example.net", &["--expires-in", "1d"]);
    let terms = [
        ["--vlan", "4094"],
        ["--quota", "20GB/month"],
        ["--bandwidth-up", "10M"],
        ["--session-timeout", "1h"],
        ["--idle-timeout", "5m"],
    ];
    core.admin(&[&["class", "set", "standard"], terms.as_flattened()].concat());
    core.pap_soon(phone.name, &phone.password, "4094");
    let mut nas = Nas::new(&core);
    nas.pap(phone.name, &phone.password, Code::AccessAccept);
    let judged = nas.capture.judge(SECRET);
    assert_eq!(judged.complaints, Vec::<String>::new());
    assert_eq!((judged.radius, judged.proven), (2, 1));
}
