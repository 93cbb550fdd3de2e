//! The core, asked by pyrad: a client that is none of FreeRADIUS's, and whose checks are its own.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::core::{Core, MAC, PASSPHRASE, SECRET, SSID};

/// Answers, by the question's name.
struct Answers(BTreeMap<String, Value>);

impl Answers {
    /// Code and attributes; `Null` where nobody answered.
    fn code(&self, name: &str) -> &Value {
        &self.0.get(name).unwrap_or_else(|| panic!("{name} was not asked"))["code"]
    }

    fn attribute(&self, name: &str, attribute: &str) -> &Value {
        &self.0[name]["attributes"][attribute]
    }
}

const ACCEPT: u8 = 2;
const REJECT: u8 = 3;
const RECORDED: u8 = 5;

fn ask(question: &Value) -> Answers {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = here.join("tests/radius/pyrad");
    let mut client = Command::new(here.join("../../target/tools/python/bin/python"))
        .arg(script.join("client.py"))
        .arg(script.join("dictionary"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("pyrad is missing: `make python` installs it");
    client.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let answers = said.lines().map(|line| {
        let answer: Value = serde_json::from_str(line).unwrap();
        (answer["name"].as_str().unwrap().to_owned(), answer)
    });
    Answers(answers.collect())
}

fn port(address: &str) -> u16 {
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn pyrad_is_answered_what_it_may_ask_and_nothing_else() {
    let core = Core::start();
    let phone = core.login("phone@example.net", &[]);
    let portal = core.login("portal", &["--chap"]);
    core.pap_soon(portal.name, &portal.password, "Received Access-Accept");
    let answers = ask(&json!({
        "auth": port(&core.address),
        "acct": port(&core.accounting),
        "secret": SECRET,
        "name": phone.name,
        "password": phone.password,
        "chap_name": portal.name,
        "chap_password": portal.password,
        "mac": MAC,
        "ssid": SSID,
    }));
    for (name, code) in [
        ("pap", Some(ACCEPT)),
        ("pap wrong", Some(REJECT)),
        ("pap nobody", Some(REJECT)),
        ("pap unsigned", None),
        ("pap by a stranger", None),
        ("chap", Some(ACCEPT)),
        ("chap wrong", Some(REJECT)),
        ("chap challenged", Some(ACCEPT)),
        ("chap wrong challenged", Some(REJECT)),
        ("look-up", Some(ACCEPT)),
        ("everything", Some(ACCEPT)),
        ("status", Some(ACCEPT)),
        ("status by a stranger", None),
        ("accounting at the wrong port", None),
        ("auth at the wrong port", None),
        ("coa", None),
        ("an answer", None),
        ("on", Some(RECORDED)),
        ("start", Some(RECORDED)),
        ("interim", Some(RECORDED)),
        ("stop", Some(RECORDED)),
        ("stop again", Some(RECORDED)),
        ("accounting by a stranger", None),
    ] {
        assert_eq!(answers.code(name), &json!(code), "{name}");
    }
    // What was granted comes out of the packet as it went in.
    assert_eq!(answers.attribute("pap", "User-Name"), &json!([phone.name]));
    assert_eq!(answers.attribute("pap", "Acct-Interim-Interval"), &json!([300]));
    assert_eq!(answers.attribute("pap", "WISPr-Bandwidth-Max-Down"), &json!([50_000_000]));
    for attribute in ["Class", "Chargeable-User-Identity", "Message-Authenticator"] {
        assert_eq!(answers.attribute("pap", attribute).as_array().unwrap().len(), 1, "{attribute}");
    }
    assert_eq!(answers.attribute("pap wrong", "Class"), &Value::Null);
    let psk = homeward_dot11::psk(&PASSPHRASE.parse().unwrap(), &SSID.parse().unwrap());
    let key = answers.attribute("look-up", "Tunnel-Password").to_string();
    assert!(key.contains(psk.to_hex().as_str()), "{key}");
    // Proxy-State comes back as it was, in order (RFC 2865 5.33).
    let states: Vec<String> = (0u8..12).map(|n| format!("{n:02x}").repeat(250)).collect();
    assert_eq!(answers.attribute("everything", "Proxy-State"), &json!(states));
}
