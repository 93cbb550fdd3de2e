//! Partners' servers that are reached by TLS.
//!
//! ```text
//!   radclient, eapol_test ──UDP──► homeward core ──TLS──► FreeRADIUS, or another homeward core
//! ```

use crate::core::{Core, SECRET};
use crate::differential::peer::FreeRadius;
use crate::radsec::{Certificates, free_tcp};
use crate::realms::fred;

/// A core that shows the proxy's certificate to its partner's servers at these ports, which show
/// one of that name.
fn visited(certificates: &Certificates, ports: &[u16], name: &str) -> Core {
    let servers: String = ports
        .iter()
        .map(|port| {
            format!(
                "[[aaa.partner.server]]\nradsec = \"localhost:{port}\"\n\
                 response_window = \"500ms\"\ndead_after = \"1s\"\ncheck_interval = \"1s\"\n\
                 answers_to_alive = 1\n\
                 [aaa.partner.server.tls]\nname = \"{name}\"\nca = \"FOLDER/radsec-ca.pem\"\n\
                 certificate = \"FOLDER/proxy.pem\"\nkey = \"FOLDER/proxy.key\"\n\
                 connections = 1\n"
            )
        })
        .collect();
    let section = format!(
        "[aaa.realms]\nlocal = [\"example.net\"]\nreconnect = \"500ms\"\n\
         [[aaa.partner]]\nname = \"partner\"\nrealms = [\"example.org\"]\n{servers}"
    );
    Core::start_with_files("", &section, &files(certificates))
}

fn files(certificates: &Certificates) -> Vec<(&str, &str)> {
    certificates.files.iter().map(|(file, pem)| (file.as_str(), pem.as_str())).collect()
}

/// A partner that is a core of ours, at that port.
fn home(certificates: &Certificates, port: u16) -> Core {
    let section = format!(
        "[aaa.radsec]\nlisten = [\"127.0.0.1:{port}\"]\ncertificate = \"FOLDER/radsec.pem\"\n\
         key = \"FOLDER/radsec.key\"\nclient_ca = \"FOLDER/radsec-ca.pem\"\n\
         [aaa.radsec.peers]\n\"proxy.example.net\" = \"oak\"\n"
    );
    Core::start_with_files("", &section, &files(certificates))
}

#[test]
fn a_partners_freeradius_answers_by_tls_and_is_connected_to_again_when_it_comes_back() {
    let certificates = Certificates::make();
    let port = free_tcp();
    let core = visited(&certificates, &[port], "other.example.net");
    let paths = ["other.pem", "other.key", "radsec-ca.pem"].map(|file| core.file(file));
    let paths = [&paths[0][..], &paths[1], &paths[2]];
    let ask = || core.pap("fred@example.org", "the partner's", "");
    core.soon("the home network does not answer", ask);
    for _ in 0..2 {
        let partner = FreeRadius::start_with_tls(&[fred()], port, paths);
        core.soon("Received Access-Accept", ask);
        let answer = core.pap("fred@example.org", "a guess", "");
        assert!(answer.contains("Received Access-Reject"), "{answer}");
        let status = core.status("status");
        assert!(status.contains("alive"), "{status}");
        drop(partner);
        core.soon("the home network does not answer", ask);
    }
}

#[test]
fn by_tls_a_partners_subscriber_has_the_same_keys_at_both_ends_and_both_of_us_account_for_it() {
    let certificates = Certificates::make();
    let port = free_tcp();
    let home = home(&certificates, port);
    let phone = home.login("phone@example.org", &[]);
    home.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    let core = visited(&certificates, &[port], "core.example.net");
    core.soon("Received Access-Accept", || core.pap(phone.name, &phone.password, ""));
    std::fs::copy(home.file("ca.pem"), core.file("ca.pem")).unwrap();
    core.eapol_comes_in(&phone, "@example.org");
    let answer = core.pap(phone.name, &phone.password, "");
    let class = answer.lines().find_map(|l| l.trim().strip_prefix("Class = ")).unwrap();
    let record = format!(
        "Acct-Status-Type = Stop, Acct-Session-Id = \"5F-1\", NAS-Identifier = \"oak\", \
         User-Name = \"phone@example.org\", Class = {class}, Acct-Input-Octets = 100\n"
    );
    let answer = core.radclient("acct", &record, SECRET);
    assert!(answer.contains("Received Accounting-Response"), "{answer}");
    let usage = home.admin(&["usage", "login", "phone@example.org", "--json"]);
    assert!(usage.contains("\"input\": 100"), "{usage}");
}

#[test]
fn a_server_that_shows_another_name_or_is_away_is_passed_over() {
    let certificates = Certificates::make();
    let (impostor, right) = (free_tcp(), free_tcp());
    // Of the same authority, but not who is meant.
    let files = visited(&certificates, &[free_tcp()], "other.example.net");
    let path = |file: &str| files.file(file);
    let (pem, key, ca) = (path("radsec.pem"), path("radsec.key"), path("radsec-ca.pem"));
    let _impostor = FreeRadius::start_with_tls(&[fred()], impostor, [&pem, &key, &ca]);
    let (pem, key) = (path("other.pem"), path("other.key"));
    let _right = FreeRadius::start_with_tls(&[], right, [&pem, &key, &ca]);
    let core = visited(&certificates, &[impostor, free_tcp(), right], "other.example.net");
    // Only the right one does not know fred.
    core.soon("Received Access-Reject", || core.pap("fred@example.org", "the partner's", ""));
    core.soon("relayed_total{outcome=\"answered\"} 1", || {
        core.pap("fred@example.org", "the partner's", "");
        core.status("metrics")
    });
    let status = core.status("status");
    for why in [
        format!("localhost:{impostor} not connected: TLS failed"),
        format!("localhost:{right} alive"),
    ] {
        assert!(status.contains(&why), "{why}: {status}");
    }
}
