//! The authority of `homeward admin pki`, as devices see it from the first to the next.

use std::fs;

use crate::core::Core;
use crate::logins::Made;

impl Core {
    /// `homeward admin pki`; then the core has what it made.
    fn pki(&self, words: &[&str]) {
        let directory = self.file("eap");
        self.admin(&[&["pki"], words, &["--directory", &directory]].concat());
        let server = fs::read_to_string(format!("{directory}/server.pem")).unwrap();
        for file in ["ca.pem", "eap.key"] {
            self.secret_file(file, &server);
        }
        self.reloads("EAP's certificates are reloaded");
    }

    /// A device that trusts the authorities in that file.
    fn device(&self, login: &Made, trust: &str) -> String {
        format!(
            "eap=TTLS\n identity=\"{}\"\n anonymous_identity=\"@example.net\"\n password=\"{}\"\n \
             phase2=\"auth=PAP\"\n domain_match=\"eap.example.net\"\n ca_cert=\"{trust}\"",
            login.name, login.password
        )
    }
}

#[test]
fn devices_that_were_given_the_next_authority_in_time_notice_nothing_of_the_change() {
    let core = Core::start();
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    core.pki(&["create", "--name", "Example Wi-Fi", "--server", "eap.example.net"]);
    let (trust, first) = (core.file("eap/trust.pem"), core.file("first.pem"));
    fs::copy(&trust, &first).unwrap();
    core.eapol_succeeds(&core.device(&phone, &first), &[]);
    core.pki(&["renew"]);
    core.eapol_succeeds(&core.device(&phone, &first), &[]);
    core.pki(&["prepare", "--name", "Example Wi-Fi"]);
    let both = core.file("both.pem");
    fs::copy(&trust, &both).unwrap();
    core.eapol_succeeds(&core.device(&phone, &first), &[]);
    core.eapol_succeeds(&core.device(&phone, &both), &[]);
    core.pki(&["switch", "--overlap", "0s"]);
    core.eapol_fails(&core.device(&phone, &first));
    core.eapol_succeeds(&core.device(&phone, &both), &[]);
    core.pki(&["retire"]);
    core.eapol_succeeds(&core.device(&phone, &trust), &[]);
    let shown = core.admin(&["pki", "show", "--directory", &core.file("eap")]);
    assert!(shown.contains("Example Wi-Fi 2") && !shown.contains("Example Wi-Fi 1"), "{shown}");
}
