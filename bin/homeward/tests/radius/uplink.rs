//! A gateway's way to the core by TLS: what it gives hostapd to ask, and how it fares.
//!
//! ```text
//!   radclient, eapol_test ──UDP──► homeward gateway ──TLS──► homeward core
//! ```

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use homeward_model::Secret;
use homeward_radius::dictionary::standard;
use homeward_radius::{Builder, Code, Packet, SharedSecret};

use crate::core::{Core, MAC, PASSPHRASE, SECRET, SSID};
use crate::radsec::free_tcp;

/// The gateway elm, which has no radio here; the core is asked through it from then on.
pub(crate) struct Elm {
    process: Child,
    config: String,
}

impl Drop for Elm {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn homeward() -> Command {
    Command::new(env!("CARGO_BIN_EXE_homeward"))
}

/// Two ports, one above the other, that were free a moment ago.
fn two_ports() -> u16 {
    let free = |port| UdpSocket::bind(("127.0.0.1", port));
    loop {
        let port = free(0).unwrap().local_addr().unwrap().port();
        if port < u16::MAX && free(port + 1).is_ok() {
            return port;
        }
    }
}

/// A core that is reached by TLS and lets gateways enrol, and where.
pub(crate) fn core() -> (Core, u16, u16) {
    let (radsec, controller) = (free_tcp(), free_tcp());
    let section = format!(
        "[aaa.radsec]\nlisten = [\"127.0.0.1:{radsec}\"]\n\
         [controller]\nlisten = [\"127.0.0.1:{controller}\"]\n"
    );
    (Core::start_with_files("", &section, &[]), radsec, controller)
}

impl Elm {
    /// Its configuration; `shown` is where it keeps its credential.
    pub(crate) fn config(core: &Core, radsec: u16, controller: u16, shown: &str) -> String {
        let secret = core.file("secret");
        let port = two_ports();
        let text = format!(
            "name = \"elm\"\n[radio]\nhostapd = \"{hostapd}\"\ninterface = \"nosuch0\"\n\
             run_directory = \"{run}\"\n[[core]]\nradsec = \"127.0.0.1:{radsec}\"\n\
             [proxy]\nlisten = \"127.0.0.1:{port}\"\nsecret = {{ file = \"{secret}\" }}\n\
             reconnect = \"500ms\"\n[channel]\ncore = [\"127.0.0.1:{controller}\"]\ndirectory = \"{shown}\"\n\
             [tunnel]\nlisten = [\"127.0.0.1:0\"]\n[disconnect]\nlisten = \"127.0.0.1:0\"\n\
             [control]\nsocket = \"{socket}\"\n",
            hostapd = core.file("hostapd"),
            run = core.file("run"),
            socket = core.file("gateway.sock"),
        );
        let config = core.file("gateway.toml");
        std::fs::write(&config, text).unwrap();
        config
    }

    pub(crate) fn enrolled(core: &Core, config: &str) {
        let said = core.admin(&["gateway", "enrol", "elm", "--json"]);
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        let token = core.secret_file("token", said["token"].as_str().unwrap());
        let output = homeward()
            .args(["gateway", "enrol", "--config", config, "--token-file", &token])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn start(core: &mut Core, config: String) -> Self {
        let process = homeward()
            .args(["gateway", "--config", &config])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(core.file("gateway.log")).unwrap())
            .spawn()
            .unwrap();
        let text = std::fs::read_to_string(&config).unwrap();
        let listen = text.split_once("[proxy]\nlisten = \"").unwrap().1;
        core.address = listen.split_once('"').unwrap().0.to_owned();
        let (host, port) = core.address.rsplit_once(':').unwrap();
        core.accounting = format!("{host}:{}", port.parse::<u16>().unwrap() + 1);
        Self { process, config }
    }

    fn says(&self, words: &[&str]) -> String {
        let output = homeward().args(words).args(["--config", &self.config]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn lives(core: &Core) -> bool {
    let question = "Message-Authenticator = 0x00\n";
    core.radclient("status", question, SECRET).contains("Received Access-Accept")
}

#[test]
fn an_enrolled_gateway_asks_and_tells_the_core_by_tls_and_hands_hostapd_what_it_answers() {
    let (mut core, radsec, controller) = core();
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    let config = Elm::config(&core, radsec, controller, &core.file("elm"));
    Elm::enrolled(&core, &config);
    let elm = Elm::start(&mut core, config);
    core.answers_soon("Received Access-Accept");
    let psk = homeward_dot11::psk(&PASSPHRASE.parse().unwrap(), &SSID.parse().unwrap());
    let answer = core.ask(MAC, SSID);
    assert!(answer.contains(psk.to_hex().as_str()), "the key is hidden anew: {answer}");
    let answer = core.ask("02:00:5e:20:00:09", SSID);
    assert!(answer.contains("Received Access-Reject"), "{answer}");
    let answer = core.pap(phone.name, &phone.password, "Proxy-State = 0x0102, ");
    assert!(answer.contains("Received Access-Accept"), "{answer}");
    assert_eq!(answer.matches("Proxy-State").count(), 2, "nothing of ours: {answer}");
    core.eapol_comes_in(&phone, "@example.net");
    let record = "Acct-Status-Type = Stop, Acct-Session-Id = \"one\", NAS-Identifier = \"elm\", \
                  User-Name = \"phone@example.net\", Acct-Input-Octets = 100\n";
    let answer = core.radclient("acct", record, SECRET);
    assert!(answer.contains("Received Accounting-Response"), "{answer}");
    assert!(lives(&core));
    let status = elm.says(&["gateway", "status", "--json"]);
    assert!(status.contains("RADIUS/1.1"), "{status}");
    let doctor = elm.says(&["doctor", "gateway"]);
    assert!(doctor.contains(&format!("the core 127.0.0.1:{radsec} answers, by TLS")), "{doctor}");
}

#[test]
fn while_the_core_is_away_a_gateways_requests_are_not_answered_rather_than_refused() {
    let (mut core, radsec, controller) = core();
    let config = Elm::config(&core, radsec, controller, &core.file("elm"));
    Elm::enrolled(&core, &config);
    core.is_killed();
    let elm = Elm::start(&mut core, config);
    let silent = |core: &Core| {
        let answer = core.ask(MAC, SSID);
        assert!(answer.contains("No reply from server"), "{answer}");
    };
    core.soon("not connected", || elm.says(&["gateway", "status", "--json"]));
    silent(&core);
    assert!(!lives(&core), "who asks whether the core lives is not told that it does");
    core.comes_back_behind();
    core.answers_soon("Received Access-Accept");
    core.soon("Received Access-Accept", || {
        core.radclient("status", "Message-Authenticator = 0x00\n", SECRET)
    });
    core.is_killed();
    silent(&core);
}

#[test]
fn a_gateway_that_stops_waits_for_what_the_core_has_not_acknowledged_yet() {
    let (mut core, radsec, controller) = core();
    let config = Elm::config(&core, radsec, controller, &core.file("elm"));
    Elm::enrolled(&core, &config);
    let mut elm = Elm::start(&mut core, config);
    core.answers_soon("Received Access-Accept");
    // A core that is held up takes what has come when it goes on.
    core.is_held(true);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let secret = SharedSecret::new(&Secret::new(SECRET)).unwrap();
    let mut record = Vec::new();
    let mut packet = Builder::request(&mut record, &secret, Code::AccountingRequest, 7, [0; 16]);
    packet.integer(standard::ACCT_STATUS_TYPE, 2).unwrap();
    packet.text(standard::ACCT_SESSION_ID, "one").unwrap();
    packet.text(standard::NAS_IDENTIFIER, "elm").unwrap();
    packet.finish();
    socket.send_to(&record, &core.accounting).unwrap();
    let pid = elm.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    core.soon("stopping", || std::fs::read_to_string(core.file("gateway.log")).unwrap());
    core.is_held(false);
    let mut answer = [0; 4096];
    let len = socket.recv(&mut answer).expect("an answer");
    assert_eq!(Packet::decode(&answer[..len]).unwrap().code(), Code::AccountingResponse);
    assert!(elm.process.wait().unwrap().success());
}

#[test]
fn a_gateway_that_is_not_enrolled_says_so_and_asks_once_it_is() {
    let (mut core, radsec, controller) = core();
    let config = Elm::config(&core, radsec, controller, &core.file("elm"));
    let elm = Elm::start(&mut core, config.clone());
    core.soon("has no credential yet", || elm.says(&["gateway", "status", "--json"]));
    let doctor = elm.says(&["doctor", "gateway"]);
    assert!(doctor.contains("has no credential yet"), "{doctor}");
    Elm::enrolled(&core, &config);
    core.answers_soon("Received Access-Accept");
    // Thrown out, it is not served.
    core.admin(&["gateway", "revoke", "elm"]);
    core.is_killed();
    core.comes_back_behind();
    core.soon("does it know this certificate?", || elm.says(&["gateway", "status", "--json"]));
}
