//! `homeward device`, on a machine without modem, supplicant and portal.

use std::time::Duration;

use homeward_daemon::SystemClock;
use homeward_model::Clock;
use serde_json::{Value, json};

use crate::bench::{Bench, homeward};
use crate::running::Running;

/// A configuration whose parts are all away, and routes left alone.
fn config(bench: &Bench, more: &str) -> String {
    let text = format!(
        "[portal]\nurl = \"https://portal.example.net/x\"\n\
         [check]\nurl = \"http://check.example.net/\"\n\
         [wlan]\ninterface = \"nosuch0\"\nsupplicant = {:?}\nrun_directory = {:?}\n\
         [modem]\nimsi = \"999700123456789\"\ninterface = \"nosuch1\"\n\
         [steer]\nenabled = false\n\
         [state]\ndirectory = {:?}\nkey_file = {:?}\n\
         [control]\nsocket = {:?}\n{more}",
        bench.path("wpa"),
        bench.path("run"),
        bench.path("state"),
        bench.path("state/device.keys"),
        bench.path("device.sock"),
    );
    bench.file("device.toml", &text)
}

fn causes(config: &str) -> Vec<String> {
    let why = homeward(&["device", "why", "--json", "--config", config]).json();
    let causes = why["causes"].as_array().unwrap().iter();
    causes.map(|cause| cause["cause"].as_str().unwrap().to_owned()).collect()
}

/// Waits until it says that these are the causes: what it says of its modem comes after its start.
#[track_caller]
fn comes_to(config: &str, expected: &[&str]) {
    let began = SystemClock.now();
    loop {
        let found = causes(config);
        if found == expected {
            return;
        }
        let waited = SystemClock.now().since(began);
        assert!(waited < Duration::from_secs(20), "{found:?}, not {expected:?}");
    }
}

#[test]
fn a_device_says_what_keeps_it_from_wi_fi_and_what_is_switched_outlasts_it() {
    let bench = Bench::new();
    let config = config(&bench, "");
    let mut device = Running::start(&bench, "device", &config);
    comes_to(&config, &["no-supplicant", "no-bearer"]);
    let text = homeward(&["device", "off", "--config", &config]).ok();
    assert_eq!(text, "offload        off\nmetered Wi-Fi  off\n");
    homeward(&["device", "metered", "yes", "--config", &config]).ok();
    comes_to(&config, &["switched-off", "no-supplicant", "no-bearer"]);
    let log = device.stop();
    assert!(!log.contains("999700123456789"), "{log}");

    let mut device = Running::start(&bench, "device", &config);
    let status = homeward(&["device", "status", "--json", "--config", &config]).json();
    assert_eq!(status["machine"]["switches"], json!({"offload": false, "metered": true}));
    assert_eq!(status["machine"]["state"], "off");
    assert!(!status.to_string().contains("999700123456789"), "{status}");
    homeward(&["device", "on", "--config", &config]).ok();
    comes_to(&config, &["no-supplicant", "no-bearer"]);
    let metrics = homeward(&["device", "metrics", "--config", &config]).ok();
    assert!(metrics.contains("\nhomeward_device_supplicant_up 0\n"), "{metrics}");
    device.stop();
}

#[test]
fn a_device_says_where_its_hand_offs_stand_and_gives_no_key_before_there_is_one() {
    let bench = Bench::new();
    let root = bench.path("device.root");
    homeward(&["security-module", "new-root", root.to_str().unwrap()]).ok();
    let handoff = format!(
        "[handoff]\nname = \"d1@example.net\"\nroot_file = {root:?}\n\
         [[handoff.networks]]\nname = \"lte.example\"\nmodule = \"192.0.2.1:7710\"\ncellular = true\n\
         [[handoff.servers]]\nname = \"sip.example\"\nguard = \"192.0.2.1:7711\"\nflows = [\"call 7\"]\n"
    );
    let path = config(&bench, &handoff);
    let mut device = Running::start(&bench, "device", &path);
    let ask = |words: &[&str]| homeward(&[&["device"], words, &["--config", &path]].concat());
    ask(&["flow", "open", "sip.example", "call 8"]).ok();
    let status = ask(&["status", "--json"]).json();
    let session = &status["handoff"][0];
    assert_eq!((&session["hops"], &session["there"]), (&json!(0), &json!(false)));
    let flows: Vec<&str> =
        session["flows"].as_array().unwrap().iter().map(|f| f["flow"].as_str().unwrap()).collect();
    assert_eq!(flows, ["call 7", "call 8"]);
    let text = ask(&["status"]).ok();
    assert!(text.contains("Hand-offs\n") && text.contains("call 8"), "{text}");
    let error = ask(&["key", "sip.example", "sip"]).fails(66);
    assert!(error.contains("no key yet"), "{error}");
    let error = ask(&["key", "other.example", "sip"]).fails(66);
    assert!(error.contains("no server of [[handoff.servers]]"), "{error}");
    assert_eq!(
        ask(&["flow", "close", "sip.example", "call 8"]).ok(),
        "it is kept admitted no longer\n"
    );
    device.stop();

    let without = config(&bench, "");
    let mut device = Running::start(&bench, "device", &without);
    let error = ask(&["key", "sip.example", "sip"]).fails(2);
    assert!(error.contains("no [handoff]"), "{error}");
    device.stop();
    // Others can read the root key.
    std::fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let path = config(&bench, &handoff);
    let error = homeward(&["device", "--config", &path]).fails(78);
    assert!(error.contains("handoff.root_file") && error.contains("chmod 600"), "{error}");
    let doctor = homeward(&["doctor", "device", "--config", &path, "--json"]);
    assert!(doctor.stdout.contains("handoff.root_file"), "{}", doctor.stdout);
}

#[test]
fn a_reload_takes_the_portal_and_names_what_waits_for_a_restart() {
    let bench = Bench::new();
    let path = config(&bench, "");
    let mut device = Running::start(&bench, "device", &path);
    let text = std::fs::read_to_string(&path).unwrap();
    let changed = text.replace("portal.example.net", "portal.example.org");
    bench.file("device.toml", &changed.replace("nosuch1", "nosuch2"));
    let said = homeward(&["device", "reload", "--config", &path]).ok();
    let restart = "takes effect with a restart only: modem.interface\n";
    assert_eq!(said, format!("configuration reloaded\n{restart}"));
    let status = homeward(&["device", "status", "--json", "--config", &path]).json();
    assert_eq!(status["portal"], "https://portal.example.org/x");

    bench.file("device.toml", &changed.replace("https://", "ftp://"));
    let socket = bench.path("device.sock");
    let error = homeward(&["device", "reload", "--socket", socket.to_str().unwrap()]).fails(1);
    assert!(error.contains("portal.url"), "{error}");
    let status =
        homeward(&["device", "status", "--json", "--socket", socket.to_str().unwrap()]).json();
    assert_eq!(status["portal"], "https://portal.example.org/x");
    bench.file("device.toml", &text);
    device.stop();
}

#[test]
fn the_doctor_names_each_part_that_a_device_lacks() {
    let bench = Bench::new();
    let config = config(&bench, "");
    let done = homeward(&["doctor", "device", "--config", &config, "--json"]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    let report: Value = serde_json::from_str(&done.stdout).unwrap();
    let found = report["findings"].as_array().unwrap();
    let failed: Vec<&str> = found
        .iter()
        .filter(|f| f["severity"] == "fail")
        .map(|f| f["what"].as_str().unwrap())
        .collect();
    for part in ["no interface nosuch0", "no supplicant on"] {
        assert!(failed.iter().any(|what| what.contains(part)), "{part}: {failed:?}");
    }
    assert!(found.iter().all(|f| f["severity"] == "ok" || f["repair"].is_string()), "{report}");
}
