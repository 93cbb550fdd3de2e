//! `check-config`, and the configurations that are shipped.

use std::path::Path;

use crate::bench::{Bench, homeward};

#[test]
fn the_shipped_configurations_are_sound() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
    for role in ["core", "gateway", "device", "security-module", "guard"] {
        let file = packaging.join(format!("{role}.toml"));
        assert_eq!(homeward(&["check-config", role, file.to_str().unwrap()]).ok(), "ok\n");
    }
}

#[test]
fn a_wrong_configuration_is_named_by_file_line_column_and_key() {
    let bench = Bench::new();
    let mut errors = String::new();
    for (role, text) in [
        ("core", "[aaa]\nlisten = [\"localhost\"]\n"),
        ("core", "[store]\npath = \"/x\"\nkeyfile = \"/y\"\n"),
        ("core", "[aaa]\nlisten = []\n"),
        ("gateway", "name = \"gw-17\"\n"),
        ("gateway", "name = \"gw 17\"\n"),
        (
            "gateway",
            "name = \"gw-17\"\n[radio]\nhostapd = \"/run/hostapd\"\ninterface = \"vap0\"\n\
             [[core]]\naddress = \"127.0.0.1:1812\"\nsecret = { file = \"/x\" }\n",
        ),
        (
            "gateway",
            "name = \"gw-17\"\n[[core]]\naddress = \"127.0.0.1:1812\"\nsecret = \"hunter2\"\n",
        ),
        (
            "device",
            "[portal]\nurl = \"http://portal.example.net/\"\n[check]\nurl = \"http://a/\"\n",
        ),
        ("device", "[check]\nurl = \"http://check.example.net/generate_204\"\n"),
        ("security-module", "[handoff]\nname = \"n1.example\"\n"),
        ("security-module", &handoff("[[handoff.peers]]\nname = \"n2\"\nkey = \"ab\"\n")),
        ("security-module", &handoff(&peer("n1.example", "a:1", "11"))),
        ("security-module", &handoff(&peer("n2.example", "7443", "11"))),
        ("security-module", &handoff(&(peer("n2", "a:1", "11") + &peer("n3", "a:1", "11")))),
        ("security-module", &handoff("[policy]\nlifetime = \"1s\"\n")),
        ("guard", &handoff("[policy]\nfirst = []\n")),
        ("guard", &handoff("[policy]\nfirst = [\"n7.example\"]\n")),
        ("guard", &handoff("[policy]\nhops = 65\n")),
    ] {
        let file = bench.file(&format!("{role}.toml"), text);
        let error = homeward(&["check-config", role, &file]).fails(78);
        errors.push_str(&error.replace(&file, &format!("{role}.toml")));
        assert!(!error.contains("hunter2"), "{error}");
    }
    insta::assert_snapshot!(errors);
}

#[test]
fn a_gateway_that_reaches_its_core_by_tls_needs_what_goes_with_that() {
    let bench = Bench::new();
    let errors: Vec<String> = [
        "[proxy]\nlisten = \"127.0.0.1:1812\"\n",
        "[channel]\ncore = [\"core.example.net:4719\"]\n[accounting]\nport = 1813\n",
        "[channel]\ncore = [\"core.example.net:4719\"]\n[proxy]\nlisten = \"127.0.0.1:65535\"\n",
        "[channel]\ncore = [\"core.example.net:4719\"]\n[proxy]\nlisten = \"0.0.0.0:1812\"\n",
    ]
    .map(|more| {
        let text = format!(
            "name = \"gw-17\"\n[radio]\nhostapd = \"/run/hostapd/wlan0\"\ninterface = \"wlan0\"\n\
             [[core]]\nradsec = \"core.example.net:2083\"\n{more}"
        );
        let file = bench.file("gateway.toml", &text);
        homeward(&["check-config", "gateway", &file]).fails(78).replace(&file, "gateway.toml")
    })
    .to_vec();
    insta::assert_snapshot!(errors.concat());
}

#[test]
fn a_role_does_not_start_on_a_wrong_configuration() {
    let bench = Bench::new();
    let file = bench.file("core.toml", "[aaa]\nlisten = []\n");
    for role in ["core", "gateway", "device", "security-module", "guard"] {
        let error = homeward(&[role, "--config", &file]).fails(78);
        assert!(error.starts_with("error: ") && error.contains("core.toml:"), "{error}");
        let error = homeward(&[role, "--config", "/nonexistent/role.toml"]).fails(78);
        assert!(error.contains("/nonexistent/role.toml"), "{error}");
    }
}

#[test]
fn a_sound_configuration_is_said_in_json_too() {
    let bench = Bench::new();
    let file = bench.file("core.toml", "");
    let checked = homeward(&["check-config", "core", &file, "--json"]).json();
    assert_eq!((&checked["ok"], &checked["role"]), (&true.into(), &"core".into()));
}

/// A module's or a guard's, with more.
fn handoff(more: &str) -> String {
    format!(
        "[handoff]\nname = \"n1.example\"\nkey_file = \"/x\"\nstate = \"/y\"\nstate_key_file = \"/z\"\n{more}"
    )
}

fn peer(name: &str, address: &str, key: &str) -> String {
    let key = key.repeat(32);
    format!("[[handoff.peers]]\nname = {name:?}\nkey = {key:?}\naddress = {address:?}\n")
}
