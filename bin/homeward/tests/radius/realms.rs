//! Realms of partners: FreeRADIUS as a partner's home server, and a core of ours as one.

use std::net::UdpSocket;

use crate::core::{Core, SECRET};
use crate::differential::peer::FreeRadius;
use crate::differential::requests::{Kept, State, User};

/// A core whose partner has these servers for example.org. Debian's FreeRADIUS does not sign its
/// answers.
fn visited(servers: &[(String, Option<&String>)], more: &str) -> Core {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("partner.secret");
    std::fs::write(&secret, SECRET).unwrap();
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).unwrap();
    let servers: String = servers
        .iter()
        .map(|(address, accounting)| {
            let accounting = accounting.map(|a| format!("accounting = \"{a}\"\n"));
            format!(
                "[[aaa.partner.server]]\naddress = \"{address}\"\nsecret = {{ file = {secret:?} }}\n\
                 response_window = \"500ms\"\ndead_after = \"1s\"\nrequire_message_authenticator = false\n{}",
                accounting.unwrap_or_default()
            )
        })
        .collect();
    let accounting = servers.contains("accounting");
    Core::start_with(&format!(
        "[aaa.realms]\nlocal = [\"example.net\"]\noperator = \"example.net\"\n\
         [[aaa.partner]]\nname = \"partner\"\nrealms = [\"example.org\"]\n\
         accounting = {accounting}\n{more}{servers}"
    ))
}

pub(crate) fn fred() -> User {
    let (kept, state) = (Kept::Whole, State::Good);
    User { name: "fred@example.org", password: "the partner's".into(), kept, state }
}

/// A port on loopback where nobody is.
fn nobody() -> String {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn a_partners_freeradius_decides_on_its_subscribers_and_we_on_ours() {
    let partner = FreeRadius::start(&[fred()]);
    let core = visited(&[(partner.address.to_string(), None)], "");
    let answer = core.pap("fred@example.org", "the partner's", "Proxy-State = 0x0102, ");
    assert!(answer.contains("Received Access-Accept"), "{answer}");
    assert!(answer.contains("Proxy-State = 0x0102"), "the NAS's own comes back: {answer}");
    assert_eq!(answer.matches("Proxy-State").count(), 2, "and nothing of ours: {answer}");
    let answer = core.pap("fred@EXAMPLE.ORG", "a guess", "");
    assert!(answer.contains("Received Access-Reject"), "{answer}");
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    for (name, why) in [("ann@example.com", "unknown realm"), ("ann@", "malformed user name")] {
        let answer = core.pap(name, "a password", "");
        assert!(answer.contains("Received Access-Reject") && answer.contains(why), "{answer}");
    }
    // This partner is not told of usage: our ledger is enough.
    let record = "Acct-Status-Type = Stop, Acct-Session-Id = \"5F-1\", NAS-Identifier = \"oak\", \
                  User-Name = \"fred@example.org\"\n";
    let answer = core.radclient("acct", record, SECRET);
    assert!(answer.contains("Received Accounting-Response"), "{answer}");
    let metrics = core.status("metrics");
    for (outcome, count) in [("answered", 2), ("unroutable", 1), ("malformed-name", 1)] {
        let line = format!("relayed_total{{outcome=\"{outcome}\"}} {count}");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
}

#[test]
fn a_partners_server_that_does_not_answer_is_passed_over_and_none_at_all_is_a_rejection() {
    let partner = FreeRadius::start(&[fred()]);
    let core = visited(&[(nobody(), None), (partner.address.to_string(), None)], "");
    let ask = || core.pap("fred@example.org", "the partner's", "");
    let answer = ask();
    assert!(answer.contains("Received Access-Accept"), "{answer}");
    let metrics = core.status("metrics");
    assert!(metrics.contains("relayed_total{outcome=\"failed-over\"} 1"), "{metrics}");
    drop(partner);
    core.soon("the home network does not answer", ask);
}

#[test]
fn a_subscriber_of_a_partner_logs_in_by_eap_and_both_of_us_account_for_it() {
    let home = Core::start();
    let phone = home.login("phone@example.org", &[]);
    home.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    let core = visited(&[(home.address.clone(), Some(&home.accounting))], "");
    std::fs::copy(home.file("ca.pem"), core.file("ca.pem")).unwrap();
    let network = format!(
        "eap=PEAP\n identity=\"phone@example.org\"\n anonymous_identity=\"@example.org\"\n \
         password=\"{}\"\n phase2=\"auth=MSCHAPV2\"",
        phone.password
    );
    // The keys of the air are hidden anew on each hop, and are the same at both ends.
    core.eapol_succeeds(&network, &[]);
    let answer = core.pap(phone.name, &phone.password, "");
    assert!(answer.contains("Received Access-Accept"), "{answer}");
    let class = answer.lines().find_map(|l| l.trim().strip_prefix("Class = ")).unwrap();
    let record = format!(
        "Acct-Status-Type = Stop, Acct-Session-Id = \"5F-1\", NAS-Identifier = \"oak\", \
         User-Name = \"phone@example.org\", Class = {class}, Acct-Input-Octets = 100\n"
    );
    let answer = core.radclient("acct", &record, SECRET);
    assert!(answer.contains("Received Accounting-Response"), "{answer}");
    let usage = home.admin(&["usage", "login", "phone@example.org", "--json"]);
    assert!(usage.contains("\"input\": 100"), "{usage}");
    let ours = core.admin(&["usage", "export"]);
    assert!(ours.contains("\"user_name\":\"phone@example.org\""), "{ours}");
}

#[test]
fn a_partners_record_is_not_answered_while_the_partner_has_not_got_it() {
    let core = visited(&[(nobody(), Some(&nobody()))], "");
    let record = "Acct-Status-Type = Stop, Acct-Session-Id = \"5F-1\", NAS-Identifier = \"oak\", \
                  User-Name = \"phone@example.org\"\n";
    let answer = core.radclient("acct", record, SECRET);
    assert!(answer.contains("No reply"), "{answer}");
    let ours = core.admin(&["usage", "export"]);
    assert!(ours.contains("5F-1"), "and it is in our ledger: {ours}");
}
