//! Roles that run, and what is asked of them.

use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::bench::{Bench, command, homeward};

/// A role that runs, and is killed if the test fails.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    /// Starts a role and waits until it says that it is ready, as a service manager does.
    pub(crate) fn start(bench: &Bench, role: &str, config: &str) -> Self {
        let path = bench.path("notify.sock");
        let notify = UnixDatagram::bind(&path).unwrap();
        notify.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let child = command()
            .args([role, "--config", config, "--log-format", "json"])
            .env("NOTIFY_SOCKET", &path)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut running = Self { child };
        let mut room = [0; 1024];
        loop {
            let Ok(n) = notify.recv(&mut room) else {
                panic!("{role} does not become ready: {}", running.stop());
            };
            if room[..n].starts_with(b"READY=1") {
                std::fs::remove_file(path).unwrap();
                return running;
            }
        }
    }

    /// Has it read its configuration again.
    pub(crate) fn reload(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    }

    /// Stops it in good order, and returns its log.
    pub(crate) fn stop(&mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{log}");
        log
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A configuration of the core in the bench, on a port that the kernel chooses.
pub(crate) fn core_config(bench: &Bench) -> String {
    let text = format!(
        "[store]\npath = {:?}\nkey_file = {:?}\n[aaa]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[control]\nsocket = {:?}\n",
        bench.path("core.db"),
        bench.path("core.keys"),
        bench.path("core.sock"),
    );
    bench.file("core.toml", &text)
}

fn severities(report: &Value) -> Vec<(&str, &str)> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|f| (f["severity"].as_str().unwrap(), f["what"].as_str().unwrap())).collect()
}

#[test]
fn a_running_core_tells_its_status_and_metrics_and_stops_when_asked() {
    let bench = Bench::furnished();
    let config = core_config(&bench);
    let mut core = Running::start(&bench, "core", &config);
    let status = homeward(&["core", "status", "--json", "--config", &config]).json();
    assert_eq!((&status["role"], &status["records"]["gateways"]), (&json!("core"), &json!(1)));
    let text =
        homeward(&["core", "status", "--socket", bench.path("core.sock").to_str().unwrap()]).ok();
    assert!(text.contains("1 accounts, 1 classes, 1 gateways, 1 networks, 0 devices"), "{text}");
    let metrics = homeward(&["core", "metrics", "--config", &config]).ok();
    assert!(metrics.contains("homeward_") && metrics.ends_with("# EOF\n"), "{metrics}");
    let log = core.stop();
    for line in log.lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
}

#[test]
fn a_role_that_does_not_run_is_unavailable() {
    let bench = Bench::new();
    let socket = bench.path("none.sock");
    for words in
        [["core", "status"], ["core", "metrics"], ["gateway", "status"], ["gateway", "reload"]]
    {
        let error = homeward(&[words[0], words[1], "--socket", socket.to_str().unwrap()]).fails(69);
        assert!(error.contains("is listening on"), "{error}");
    }
}

#[test]
fn a_core_without_its_datastore_does_not_start() {
    let bench = Bench::new();
    let config = core_config(&bench);
    assert!(homeward(&["core", "--config", &config]).fails(78).contains("no datastore at"));
    std::fs::remove_file(bench.path("core.keys")).unwrap();
    assert!(homeward(&["core", "--config", &config]).fails(78).contains("no key file at"));
}

#[test]
fn the_doctor_finds_a_sound_core_sound_and_warns_of_radius_beyond_loopback() {
    let bench = Bench::furnished();
    let config = core_config(&bench);
    let text = homeward(&["doctor", "core", "--config", &config]).ok();
    assert!(text.ends_with("all is well\n"), "{text}");
    bench.admin("gateway create far --mac 02:00:00:00:01:02 --place gb/leeds --operator op --address 192.0.2.7").ok();
    let report = homeward(&["doctor", "core", "--config", &config, "--json"]).json();
    let warnings: Vec<_> = severities(&report).into_iter().filter(|(s, _)| *s == "warn").collect();
    assert!(warnings.iter().any(|(_, what)| what.contains("beyond loopback: far")), "{warnings:?}");
    assert_eq!(report["ok"], true);
}

#[test]
fn the_doctor_misses_a_default_policy_where_there_are_subscribers() {
    let bench = Bench::furnished();
    let config = core_config(&bench);
    bench.admin("subscriber add 999700123456789 --account smith").ok();
    bench.admin("login create fred@example.net --account smith").ok();
    let report = homeward(&["doctor", "core", "--config", &config, "--json"]).json();
    let found = severities(&report);
    assert!(found.iter().any(|(s, what)| *s == "ok" && what.contains("1 log-in(s) open")));
    assert!(found.iter().any(|(s, what)| *s == "warn" && what.contains("no default policy")));
    let policy = "[wlan]\nserver_name = \"aaa.example.net\"\n[[wlan.networks]]\nssid = \"a\"\n";
    let file = bench.file("policy.toml", policy);
    bench.admin(&format!("policy set --default {file}")).ok();
    let text = homeward(&["doctor", "core", "--config", &config]).ok();
    assert!(text.ends_with("all is well\n"), "{text}");
}

#[test]
fn the_doctor_finds_cursor_files_for_want_of_which_nothing_is_deleted() {
    let bench = Bench::furnished();
    let config = std::fs::read_to_string(core_config(&bench)).unwrap();
    let cursor = bench.path("billing.cursor");
    let config = format!("{config}[aaa.accounting]\nexports = [{cursor:?}]\n");
    let config = bench.file("core.toml", &config);
    let cursor = cursor.display();
    let doctor = || {
        let done = homeward(&["doctor", "core", "--config", &config, "--json"]);
        let report: Value = serde_json::from_str(&done.stdout).unwrap();
        let about = |f: &&Value| f["what"].as_str().unwrap().contains("billing.cursor");
        let found: Vec<_> = report["findings"].as_array().unwrap().iter().filter(about).collect();
        assert_eq!(found.len(), 1, "{report}");
        let say = |key| found[0][key].as_str().unwrap_or_default().to_owned();
        (done.code, say("severity"), say("what"), say("repair"))
    };
    let (code, severity, what, repair) = doctor();
    assert_eq!((code, &*severity), (0, "warn"), "{what}");
    assert_eq!(
        what,
        format!("the cursor file {cursor} is not there: no session is deleted until it is")
    );
    assert!(repair.contains(&format!("--cursor-file {cursor} ")), "{repair}");

    bench.file("billing.cursor", "7\n");
    let (code, severity, what, _) = doctor();
    assert_eq!((code, &*severity), (0, "ok"), "{what}: there is no ledger yet");
    bench.file("billing.cursor", "seven\n");
    let (code, severity, what, _) = doctor();
    assert_eq!((code, &*severity), (1, "fail"));
    assert_eq!(what, format!("no session is deleted: {cursor} has no cursor in it"));

    // With a ledger, it cannot be further than that has told.
    Running::start(&bench, "core", &config).stop();
    bench.file("billing.cursor", "7\n");
    let (code, _, what, repair) = doctor();
    assert!(code == 1 && what.contains("is at 7, and the ledger has told only up to 0"), "{what}");
    assert!(repair.starts_with(&format!("`rm {cursor}`, then ")), "{repair}");
    bench.file("billing.cursor", "0\n");
    assert_eq!(doctor().1, "ok");

    std::fs::remove_file(bench.path("billing.cursor")).unwrap();
    std::fs::create_dir(bench.path("billing.cursor")).unwrap();
    let (code, _, what, repair) = doctor();
    assert!(code == 1 && what.contains("cannot be read: Is a directory"), "{what}");
    assert!(repair.starts_with(&format!("mend {cursor}, or remove it")), "{repair}");
}

/// Root reads everything; the core that runs as somebody else does not.
#[test]
fn the_doctor_that_is_root_finds_a_cursor_file_that_the_cores_user_cannot_read() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let bench = Bench::furnished();
    let config = std::fs::read_to_string(core_config(&bench)).unwrap();
    let cursor = bench.file("billing.cursor", "0\n");
    let config = format!("{config}[aaa.accounting]\nexports = [{cursor:?}]\n");
    let config = bench.file("core.toml", &config);
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(bench.path(""), everybody).unwrap();
    let give =
        |path: &std::path::Path| std::os::unix::fs::chown(path, Some(4_000_000), None).unwrap();
    give(&bench.path("core.db"));
    let done = homeward(&["doctor", "core", "--config", &config]);
    assert_eq!(done.code, 1);
    let text = done.stdout;
    let why = format!(
        "the core's user 4000000 cannot read the cursor file {cursor}: {cursor} is root's, mode 0600"
    );
    assert!(text.contains(&why), "{text}");
    assert!(text.contains(&format!("-> `chown 4000000 {cursor}`")), "{text}");
    give(cursor.as_ref());
    homeward(&["doctor", "core", "--config", &config]).ok();
}

#[test]
fn the_doctor_names_what_keeps_a_core_from_running() {
    let bench = Bench::furnished();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = std::fs::read_to_string(core_config(&bench)).unwrap();
    let config = bench.file("core.toml", &config.replace("127.0.0.1:0", &address));
    bench.file("core.keys", "not a key file\n");
    let done = homeward(&["doctor", "core", "--config", &config, "--json"]);
    assert_eq!(done.code, 1);
    let report: Value = serde_json::from_str(&done.stdout).unwrap();
    let failures: Vec<_> = severities(&report).into_iter().filter(|(s, _)| *s == "fail").collect();
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert!(
        failures.iter().any(|(_, what)| what.contains("line 1 is no part of a key file")),
        "{failures:?}"
    );
    assert!(failures.iter().any(|(_, what)| what.contains(&address)), "{failures:?}");
}

/// A gateway's configuration in the bench, for a machine without a radio.
pub(crate) fn gateway_config(bench: &Bench, core: &str) -> String {
    let directory = bench.path("");
    let directory = directory.to_str().unwrap().trim_end_matches('/');
    bench.file(
        "gateway.toml",
        &format!(
            "name = \"gw-1\"\n[radio]\nhostapd = \"{directory}/hostapd\"\ninterface = \"nosuch0\"\n\
             run_directory = \"{directory}/run\"\n[[core]]\naddress = \"{core}\"\n\
             secret = {{ file = \"{directory}/gw-1.secret\" }}\n[disconnect]\nlisten = \"127.0.0.1:0\"\n\
             [control]\nsocket = \"{directory}/gateway.sock\"\n"
        ),
    )
}

#[test]
fn the_doctor_of_a_gateway_hears_from_the_core_if_the_secret_is_right() {
    let bench = Bench::furnished();
    bench.admin("gateway set gw-1 --new-secret --secret-out %/gw-1.secret").ok();
    let config = core_config(&bench);
    let _core = Running::start(&bench, "core", &config);
    let status = homeward(&["core", "status", "--json", "--config", &config]).json();
    let address = status["listen"][0].as_str().unwrap();
    let gateway = gateway_config(&bench, address);
    let doctor = || homeward(&["doctor", "gateway", "--config", &gateway]).stdout;
    let report = doctor();
    assert!(report.contains(&format!("ok    gateway  the core {address} answers\n")), "{report}");
    bench.file("gw-1.secret", "another secret of good length");
    let report = doctor();
    assert!(report.contains(&format!("FAIL  gateway  the core {address}: no answer")), "{report}");
}

#[test]
fn a_gateway_without_hostapd_runs_and_says_so() {
    let bench = Bench::new();
    bench.file("gw-1.secret", "a secret of a good length");
    let config = gateway_config(&bench, "127.0.0.1:9");
    let mut gateway = Running::start(&bench, "gateway", &config);
    let status = homeward(&["gateway", "status", "--json", "--config", &config]).json();
    assert_eq!(
        (&status["role"], &status["radio"]["hostapd_ready"]),
        (&json!("gateway"), &json!(false))
    );
    let text = homeward(&["gateway", "status", "--config", &config]).ok();
    assert!(text.contains("hostapd    away\n"), "{text}");
    let reload = || homeward(&["gateway", "reload", "--config", &config]);
    assert_eq!(reload().ok(), "configuration reloaded\n");
    let text = std::fs::read_to_string(&config).unwrap();
    let change = "[channel]\ncore = [\"core.example:4719\"]\n[tunnel]\nlisten = [\"[::]:1702\"]\n\
                  [roam]\nmax_vaps = 3\n";
    bench.file("gateway.toml", &format!("{text}{change}"));
    for _ in 0..2 {
        let said = reload().ok();
        assert!(said.ends_with("a restart only: channel.core, tunnel.listen\n"), "{said}");
    }
    bench.file("gateway.toml", &format!("{text}[owner]\nuplink = \"nosuch1\"\nup = \"5M\"\n"));
    let failed = reload();
    assert_eq!(failed.code, 1);
    assert!(
        failed.stdout.contains("could not take effect: owner.uplink: nosuch1"),
        "{}",
        failed.stdout
    );
    bench.file("gateway.toml", "name = 1\n");
    let socket = bench.path("gateway.sock");
    let wrong = homeward(&["gateway", "reload", "--socket", socket.to_str().unwrap()]);
    assert!(wrong.fails(1).contains("gateway.toml"));
    bench.file("gateway.toml", &text);
    assert!(
        homeward(&["gateway", "metrics", "--config", &config])
            .ok()
            .contains("homeward_gateway_lookup_seconds")
    );
    let done = homeward(&["doctor", "gateway", "--config", &config]);
    assert_eq!(done.code, 1);
    assert!(done.stdout.contains("nosuch0") && done.stdout.contains("-> "), "{}", done.stdout);
    gateway.stop();
}
