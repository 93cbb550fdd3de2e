//! `homeward security-module` and `homeward guard`, as their operators use them.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_handoff::Line;
use homeward_keychain::{Device, RootKey};
use homeward_model::{Clock, Entropy, Name};
use serde_json::Value;

use crate::bench::{Bench, Done, command, homeward};
use crate::running::Running;

const PATIENCE: Duration = Duration::from_secs(20);

/// A role's configuration, among these peers.
fn config(bench: &Bench, role: &str, name: &str, peers: &str) -> String {
    let file = |what: &str| bench.path(&format!("{name}.{what}"));
    let verify = if role == "guard" { "[verify]\nlisten = [\"127.0.0.1:0\"]\n" } else { "" };
    let core = format!(
        "[store]\npath = {:?}\nkey_file = {:?}\n[aaa]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n\
         accounting.listen = []\n",
        bench.path("core.db"),
        bench.path("core.keys"),
    );
    // A core has a module as a part of it.
    let (core, within) =
        if role == "core" { (core.as_str(), "security_module.") } else { ("", "") };
    let peers = peers.replace("[[handoff", &format!("[[{within}handoff"));
    let text = format!(
        "{core}[{within}handoff]\nname = {name:?}\nlisten = [\"127.0.0.1:0\"]\ndevices = [\"127.0.0.1:0\"]\n\
         key_file = {:?}\nstate = {:?}\nstate_key_file = {:?}\n{peers}{verify}[control]\nsocket = {:?}\n",
        file("key"),
        file("db"),
        file("db-key"),
        file("sock"),
    );
    bench.file(&format!("{name}.toml"), &text)
}

/// A role that runs, and how to ask it.
struct Role {
    kind: &'static str,
    name: &'static str,
    config: String,
    running: Running,
}

impl Role {
    fn start(bench: &Bench, kind: &'static str, name: &'static str) -> Self {
        let config = config(bench, kind, name, "");
        let running = Running::start(bench, kind, &config);
        Self { kind, name, config, running }
    }

    fn ask(&self, words: &[&str]) -> Done {
        homeward(&[&[self.kind], words, &["--config", &self.config]].concat())
    }

    /// Asks its module.
    fn ask_module(&self, words: &[&str]) -> Done {
        let socket = self.config.replace(".toml", ".sock");
        homeward(&[&["security-module"], words, &["--socket", &socket]].concat())
    }

    fn status(&self) -> Value {
        let mut status = self.ask(&["status", "--json"]).json();
        match self.kind {
            "core" => status["security_module"].take(),
            _ => status,
        }
    }

    /// What the others are told of it.
    fn entry(&self, revoked: bool) -> String {
        let key = match self.kind {
            "core" => self.status()["key"].as_str().unwrap().to_owned(),
            _ => self.ask(&["show-key"]).ok(),
        };
        let at = self.status()["listen"][0].as_str().unwrap().to_owned();
        let (name, key) = (self.name, key.trim());
        format!(
            "[[handoff.peers]]\nname = {name:?}\nkey = {key:?}\naddress = {at:?}\nrevoked = {revoked}\n"
        )
    }

    fn devices_at(&self) -> SocketAddr {
        self.status()["devices_listen"][0].as_str().unwrap().parse().unwrap()
    }
}

/// Tells all of them who the others are.
fn introduce(bench: &Bench, roles: &[&Role], revoked: Option<&str>) {
    let entry = |role: &&Role| role.entry(revoked == Some(role.name));
    let entries: Vec<String> = roles.iter().map(entry).collect();
    for role in roles {
        let others = roles.iter().zip(&entries).filter(|(other, _)| other.name != role.name);
        let others: String = others.map(|(_, entry)| entry.as_str()).collect();
        config(bench, role.kind, role.name, &others);
        role.running.reload();
    }
}

/// Waits until `found` is.
#[track_caller]
fn comes_to<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let began = SystemClock.now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(SystemClock.now().since(began) < PATIENCE, "it does not come to that");
    }
}

fn verified(guard: &Role) -> u16 {
    let at = guard.status()["verify"][0].as_str().unwrap().to_owned();
    let url = format!("http://{at}/verify?flow=call%207");
    let asked = Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", &url])
        .output()
        .unwrap();
    String::from_utf8(asked.stdout).unwrap().parse().unwrap()
}

#[test]
fn an_operator_enrols_a_device_and_sees_where_it_was_and_ends_it() {
    let bench = Bench::furnished();
    let n1 = Role::start(&bench, "security-module", "n1.example");
    let n2 = Role::start(&bench, "core", "n2.example");
    let guard = Role::start(&bench, "guard", "sip.example");
    introduce(&bench, &[&n1, &n2, &guard], None);
    let root_file = bench.path("d1.root");
    let root_file = root_file.to_str().unwrap();
    homeward(&["security-module", "new-root", root_file]).ok();
    let again = homeward(&["security-module", "new-root", root_file]).fails(65);
    assert!(again.contains("there already"), "{again}");
    for module in [&n1, &n2] {
        let network = module.name;
        let derive = ["security-module", "derive", "--root", root_file, "--network", network];
        let key = homeward(&derive).ok();
        // By standard input, as the help has it.
        let mut enrol = command();
        let socket = module.config.replace(".toml", ".sock");
        enrol.args(["security-module", "enrol", "d1@example.net", "--socket", &socket]);
        enrol.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut enrolling = enrol.spawn().unwrap();
        enrolling.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
        let done = Done::of(&["enrol"], enrolling.wait_with_output().unwrap()).ok();
        assert_eq!(done, "d1@example.net is enrolled\n");
        assert_eq!(module.status()["enrolled"], 1);
    }
    let wrong = bench.file("wrong.key", "hunter2");
    let error = n1.ask(&["enrol", "d1@example.net", "--key-file", &wrong]).code;
    assert_ne!(error, 0);

    let digits = std::fs::read_to_string(root_file).unwrap();
    let octet = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap();
    let root = RootKey::new(std::array::from_fn(octet));
    let mut entropy = SystemEntropy::new();
    let server: Name = "sip.example".parse().unwrap();
    let mut device = Device::new(entropy.octets(), server, true).unwrap();
    let flow = "call 7".parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for module in [&n1, &n2] {
            let who = "d1@example.net".parse().unwrap();
            let key = root.device_key(&module.name.parse().unwrap(), 1);
            let mut line = Line::call(module.devices_at(), PATIENCE).await.unwrap();
            line.hop(&mut device, &who, &key, false, &mut entropy).await.unwrap();
        }
        let mut line = Line::call(guard.devices_at(), PATIENCE).await.unwrap();
        line.open(&mut device, &flow).await.unwrap();
    });
    assert_eq!(verified(&guard), 200);
    let session = device.session().to_string();
    let trace = guard.ask(&["trace", &session]).ok();
    let hop = |n: usize| trace.lines().nth(n + 1).unwrap().to_owned();
    assert!(hop(1).starts_with("1    n1.example"), "{trace}");
    assert!(hop(2).contains("n1.example") && hop(2).contains("integrated"), "{trace}");
    assert!(trace.contains("admitted: call 7, until"), "{trace}");
    let own = device.application("wireguard").unwrap();
    let key = guard.ask(&["key", &session, "wireguard"]).ok();
    assert_eq!(key, format!("{}\n", *own.password()));
    let key = guard.ask(&["key", &session, "wireguard", "--base64"]).ok();
    assert_eq!(key.trim(), data_encoding::BASE64.encode(own.expose()));
    let none = guard.ask(&["key", "00000000000000000000000000000000", "wireguard"]);
    assert!(none.code != 0 && none.stderr.contains("proven nothing"), "{}", none.stderr);
    let visits = n1.ask(&["visits"]).ok();
    assert!(visits.contains(&session) && visits.contains("n2.example"), "{visits}");
    let none = guard.ask(&["trace", "00000000000000000000000000000000"]);
    assert_ne!(none.code, 0);
    let metrics = guard.ask(&["metrics"]).ok();
    assert!(metrics.contains("guard_proofs_total{outcome=\"admitted\"} 1"), "{metrics}");
    let doctor = ["doctor", "guard", "--config", &guard.config, "--json"];
    let report = homeward(&doctor).json();
    assert_eq!(report["ok"], true, "{report}");
    let text = n2.ask(&["status"]).ok();
    assert!(text.contains("Security module") && text.contains("n2.example"), "{text}");
    let doctor = homeward(&["doctor", "core", "--config", &n2.config]);
    assert!(doctor.stdout.contains("sip.example"), "its module too: {}", doctor.stdout);

    // Kept, the trace says the same without the guard; altered, it does not.
    let kept = guard.ask(&["trace", "--json"]).ok();
    let evidence = bench.file("evidence.json", &kept);
    let check = |file: &str| guard.ask(&["check-trace", file]);
    let said = check(&evidence).ok();
    assert!(
        said.contains(&format!("session {session}: signed by the device and by each")),
        "{said}"
    );
    assert!(said.contains("went through n1.example, n2.example"), "{said}");
    let mut other: Value = serde_json::from_str(&kept).unwrap();
    let hops = other["sessions"][0]["hops"].as_array_mut().unwrap();
    hops.remove(0);
    let done = check(&bench.file("other.json", &other.to_string()));
    assert_eq!(done.code, 65);
    assert!(done.stdout.contains("NOT WHOLE: hop 1"), "{}", done.stdout);
    check(&bench.file("none.json", "[]")).fails(65);

    // One of its networks is broken into: what went through it ends.
    introduce(&bench, &[&n1, &n2, &guard], Some("n1.example"));
    comes_to(|| (verified(&guard) == 403).then_some(()));
    let trace = guard.ask(&["trace", &session]).ok();
    assert!(trace.contains("revoked"), "{trace}");
    let said = check(&evidence).ok();
    assert!(said.contains("n1.example is revoked now"), "{said}");
    let visits = n2.ask_module(&["visits"]).ok();
    assert!(visits.contains(&session), "{visits}");
    n2.ask_module(&["forget", "d1@example.net"]).ok();
    assert_eq!(n2.status()["enrolled"], 0);
    for mut role in [n1, n2, guard] {
        let log = role.running.stop();
        assert!(!log.contains("d1@example.net"), "nobody is named: {log}");
    }
}
