//! The Wi-Fi side: access points that ask AAA, by radclient and eapol_test, and one that is told
//! what to do with its sessions, by pyrad.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde_json::Value;

use crate::cell::{Given, mac};
use crate::core::{SECRET, World, soon};

pub(crate) const COA_REQUEST: u64 = 43;
pub(crate) const DISCONNECT_REQUEST: u64 = 40;

/// A NAS that is told what to do with its sessions, and does it.
pub(crate) struct Das {
    process: Child,
    pub(crate) port: u16,
    requests: Mutex<Receiver<Value>>,
}

impl Drop for Das {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Das {
    pub(crate) fn start(secret: &str) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let script = here.join("tests/radius/pyrad");
        let mut process = Command::new(here.join("../../target/tools/python/bin/python"))
            .arg(script.join("das.py"))
            .arg(script.join("das.dictionary"))
            .args([secret, "take"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("pyrad is missing: `make python` installs it");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next().expect("a port").unwrap().parse().unwrap();
        let (said, requests) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = lines.map_while(Result::ok);
            let values = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
            values.for_each(|value| drop(said.send(value)));
        });
        Self { process, port, requests: Mutex::new(requests) }
    }

    /// The next request: its code, and of which session it is.
    #[track_caller]
    pub(crate) fn told(&self) -> (u64, String, Value) {
        let requests = self.requests.lock().unwrap();
        let said = requests.recv_timeout(Duration::from_secs(15)).expect("a request");
        let attributes = &said["attributes"];
        let session = attributes["Acct-Session-Id"][0].as_str().unwrap_or_default().to_owned();
        (said["code"].as_u64().unwrap(), session, attributes.clone())
    }

    /// The next request ends that session.
    #[track_caller]
    pub(crate) fn is_told_to_end(&self, session: &str) {
        let (code, which, whole) = self.told();
        assert_eq!((code, &*which), (DISCONNECT_REQUEST, session), "{whole}");
    }
}

impl World {
    /// Asks by PAP for the device `n`; what radclient printed.
    pub(crate) fn pap(&self, given: &Given, n: u8, more: &str) -> String {
        let ask = format!(
            "User-Name = \"{}\", User-Password = \"{}\", NAS-Identifier = \"oak\", \
             Calling-Station-Id = \"{}\", {more}Message-Authenticator = 0x00\n",
            given.name,
            given.password,
            mac(n).to_uppercase().replace(':', "-")
        );
        let mut child = Command::new("radclient")
            .args(["-x", "-r", "1", "-t", "2", self.aaa(), "auth", SECRET])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("radclient is missing: `make setup` installs freeradius-utils");
        child.stdin.take().unwrap().write_all(ask.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Whether device `n` is let in by PAP.
    #[track_caller]
    pub(crate) fn lets_in(&self, given: &Given, n: u8) -> bool {
        accepted(&self.pap(given, n, ""))
    }

    /// Waits until device `n` is let in by PAP; how long that took.
    #[track_caller]
    pub(crate) fn lets_in_soon(&self, given: &Given, n: u8) -> Duration {
        soon("an Access-Accept", || self.lets_in(given, n))
    }

    /// Waits until device `n` is refused.
    #[track_caller]
    pub(crate) fn refuses_soon(&self, given: &Given, n: u8) -> Duration {
        soon("an Access-Reject", || !self.lets_in(given, n))
    }

    /// Lets device `n` in as that session; the answer.
    #[track_caller]
    pub(crate) fn begins_session(&self, given: &Given, n: u8, session: &str) -> String {
        let said = self.pap(given, n, &format!("Acct-Session-Id = \"{session}\", "));
        assert!(accepted(&said), "{said}");
        said
    }

    /// Device `n` logs on by 802.1X with wpa_supplicant's own EAP; whether it came in, and all that
    /// it printed.
    pub(crate) fn logs_on(&self, given: &Given, n: u8, eap: &str) -> (bool, String) {
        let phase2 = if eap == "TTLS" { "auth=PAP" } else { "auth=MSCHAPV2" };
        let config = self.write(
            &format!("eapol-{n}.conf"),
            &format!(
                "network={{\n key_mgmt=WPA-EAP\n eap={eap}\n identity=\"{}\"\n \
                 anonymous_identity=\"anonymous@wlan.example.net\"\n password=\"{}\"\n \
                 phase2=\"{phase2}\"\n ca_cert=\"{}\"\n \
                 domain_suffix_match=\"aaa.example.net\"\n}}\n",
                given.name,
                given.password,
                self.file("ca.pem")
            ),
        );
        let (host, port) = self.aaa().split_once(':').unwrap();
        let output = Command::new("eapol_test")
            .args(["-c", &config, "-a", host, "-p", port, "-s", SECRET, "-t", "10"])
            .args(["-M", &mac(n)])
            .output()
            .expect("eapol_test is missing: `make setup` installs eapoltest");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let end: Vec<&str> = said.lines().rev().take(4).collect();
        let came_in = end.contains(&"SUCCESS");
        assert!(came_in || end.contains(&"FAILURE"), "{said}");
        // The keys that the server gave the access point are those that the station has.
        assert!(!came_in || said.contains("mismatch: 0"), "{said}");
        (came_in, said)
    }
}

/// Whether radclient was answered with an Access-Accept; it must have been answered.
#[track_caller]
pub(crate) fn accepted(said: &str) -> bool {
    let accepted = said.contains("Received Access-Accept");
    assert!(accepted || said.contains("Received Access-Reject"), "{said}");
    accepted
}
