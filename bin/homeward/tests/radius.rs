//! The core as a RADIUS server, asked by FreeRADIUS's own client.
//!
//! ```text
//!   radclient ──127.0.0.1──► homeward core ◄──SQLite── homeward admin
//! ```
// So that clippy knows the helpers below for tests too.
#![cfg(test)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use homeward_daemon::SystemClock;
use homeward_model::Clock;
use tempfile::TempDir;

const SECRET: &str = "sixteen characters, and more";
const MAC: &str = "02:00:5e:20:00:01";
const SSID: &str = "Elm Street 17";
const PASSPHRASE: &str = "the phone's own key";

struct Core {
    folder: TempDir,
    process: Child,
    address: String,
}

impl Drop for Core {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Core {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let at = |file: &str| folder.path().join(file);
        let config = format!(
            "[store]\npath = {:?}\nkey_file = {:?}\n[aaa]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n\
             [control]\nsocket = {:?}\n",
            at("core.db"),
            at("core.keys"),
            at("core.sock")
        );
        fs::write(at("core.toml"), config).unwrap();
        for (file, text) in [("secret", SECRET), ("passphrase", PASSPHRASE)] {
            fs::write(at(file), text).unwrap();
            fs::set_permissions(at(file), fs::Permissions::from_mode(0o600)).unwrap();
        }
        admin(&at("core.toml"), &["key", "create"]);
        admin(&at("core.toml"), &["class", "create", "standard", "--bandwidth-down", "50M"]);
        let mut process = homeward()
            .args(["core", "--config"])
            .arg(at("core.toml"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the core ended before it answered").unwrap();
            if let Some((_, address)) = line.split_once("answering look-ups address=") {
                break address.trim().to_owned();
            }
        };
        // Keep reading, or the core would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let this = Self { folder, process, address };
        this.gateway("elm", "02:00:5e:10:00:01", None);
        this.gateway("oak", "02:00:5e:10:00:02", Some("127.0.0.1"));
        this.admin(&["account", "create", "smith", "--class", "standard"]);
        let network =
            ["network", "create", "--account", "smith", "--gateway", "elm", "--ssid", SSID];
        this.admin(&[&network[..], &["--security", "wpa2-psk"]].concat());
        let (network, file) = (format!("smith/{SSID}"), this.file("passphrase"));
        this.admin(&[
            "device",
            "create",
            "--network",
            &network,
            "--mac",
            MAC,
            "--passphrase-file",
            &file,
        ]);
        // The core reads in its own time what `admin` wrote; the device came last.
        this.answers_soon("Received Access-Accept");
        this
    }

    fn gateway(&self, name: &str, mac: &str, address: Option<&str>) {
        let secret = self.file("secret");
        let mut words = vec![
            "gateway",
            "create",
            name,
            "--mac",
            mac,
            "--place",
            "gb/london",
            "--operator",
            "example",
        ];
        words.extend(["--secret-file", &secret]);
        words.extend(address.map(|a| ["--address", a]).into_iter().flatten());
        self.admin(&words);
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn admin(&self, words: &[&str]) {
        admin(&PathBuf::from(self.file("core.toml")), words);
    }

    /// Asks about a MAC and an SSID; what radclient printed.
    fn ask(&self, mac: &str, ssid: &str) -> String {
        self.radclient("auth", &format!(
            "User-Name = \"{mac}\", User-Password = \"{ssid}\", NAS-Identifier = \"oak\", Message-Authenticator = 0x00\n"
        ), SECRET)
    }

    fn radclient(&self, kind: &str, attributes: &str, secret: &str) -> String {
        let mut client = Command::new("radclient")
            .args(["-x", "-r", "1", "-t", "1", &self.address, kind, secret])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("radclient is missing: `make setup` installs freeradius-utils");
        client.stdin.take().unwrap().write_all(attributes.as_bytes()).unwrap();
        let output = client.wait_with_output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Asks until the answer contains `text`; how long that took since it was called.
    fn answers_soon(&self, text: &str) -> Duration {
        let began = SystemClock.now();
        loop {
            let answer = self.ask(MAC, SSID);
            let taken = SystemClock.now().since(began);
            if answer.contains(text) {
                return taken;
            }
            assert!(taken < Duration::from_secs(5), "no {text:?} within 5 s, but {answer}");
        }
    }
}

fn homeward() -> Command {
    Command::new(env!("CARGO_BIN_EXE_homeward"))
}

fn admin(config: &std::path::Path, words: &[&str]) {
    let output = homeward().args(["admin", "--config"]).arg(config).args(words).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "admin {}: {errors}", words.join(" "));
}

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
        ("no mac at all", SSID, "User-Name is not a MAC address"),
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
