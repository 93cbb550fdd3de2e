//! What a session is allowed: in the Access-Accept.

use homeward_radius::Code;

use crate::core::{Core, MAC, SSID};
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
    let judged = nas.capture.judge(crate::core::SECRET);
    assert_eq!(judged.complaints, Vec::<String>::new());
    assert_eq!((judged.radius, judged.proven), (2, 1));
}
