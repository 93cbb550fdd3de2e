//! A core with a portal, in a namespace where every address of 10.45.0.0/16 is at hand.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use homeward_daemon::SystemClock;
use homeward_model::Clock;
use homeward_net::lab;
use serde_json::Value;
use tempfile::TempDir;

use crate::nas::Das;

/// What packet gateway and NAS share with the core.
pub(crate) const SECRET: &str = "sixteen characters, and more";

/// How long what has to happen may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct World {
    folder: TempDir,
    running: Running,
    /// The NAS that is told what to do with its sessions.
    pub(crate) das: Das,
}

/// A core that runs.
struct Running {
    process: Child,
    /// Where it answers log-ins.
    aaa: String,
    /// Where packet gateways account.
    bearers: String,
    /// Where devices ask.
    portal: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs `body` with a core whose devices may ask as often as they like.
#[track_caller]
pub(crate) fn portal(body: impl FnOnce(&mut World) + Send) {
    portal_with("requests_per_minute = 0\n", "", body);
}

/// Runs `body` with a core that has more of `[portal]` and of the default policy's `[terms]`.
#[track_caller]
pub(crate) fn portal_with(settings: &str, terms: &str, body: impl FnOnce(&mut World) + Send) {
    lab(|lab| async move {
        let here = lab.namespace("all")?;
        here.ip("addr add 10.64.0.1/32 dev lo\naddr add 10.45.0.1/16 dev lo\n\
             route add local fd00:45::/32 dev lo")?;
        // IPv6 has an address within a prefix that is local as a whole used only with this.
        here.sysctl("net.ipv6.ip_nonlocal_bind", "1")?;
        // All that the body starts is in the namespace, for its thread is.
        here.enter(|| {
            let folder = folder();
            let file = |name: &str| folder.path().join(name);
            let more = format!(
                "listen = [\"10.64.0.1:0\", \"[fd00:45::1]:0\"]\ncertificate = {:?}\nkey = {:?}\n{settings}",
                file("ca.pem"),
                file("tls.key")
            );
            body(&mut World::start(folder, &more, terms));
            Ok(())
        })
    });
}

/// A folder of ours alone.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    folder
}

impl World {
    /// A core with that of `[portal]` and of the default policy's `[terms]`.
    pub(crate) fn start(folder: TempDir, settings: &str, terms: &str) -> Self {
        let das = Das::start(SECRET);
        let at = |file: &str| folder.path().join(file);
        let config = format!(
            "[store]\npath = {:?}\nkey_file = {:?}\n\
             [aaa]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\ndisconnect_port = {}\n\
             [aaa.eap]\ncertificate = {:?}\nkey = {:?}\n\
             [portal]\nrealm = \"wlan.example.net\"\n{settings}\
             [portal.upkeep]\nevery = \"1s\"\n\
             [portal.bearers]\nlisten = \"127.0.0.1:0\"\n\
             [[portal.bearers.gateways]]\nname = \"ggsn-1\"\naddress = \"127.0.0.1\"\n\
             secret = {{ file = {:?} }}\napns = [\"internet\"]\n\
             [control]\nsocket = {:?}\n",
            at("core.db"),
            at("core.keys"),
            das.port,
            at("ca.pem"),
            at("tls.key"),
            at("secret"),
            at("core.sock"),
        );
        let policy = format!(
            "[terms]\n{terms}[wlan]\nserver_name = \"aaa.example.net\"\n[[wlan.networks]]\nssid = \"Town\"\n"
        );
        let (certificate, key) = certificate();
        for (file, text) in [
            ("core.toml", &*config),
            ("policy.toml", &*policy),
            ("secret", SECRET),
            ("ca.pem", &*certificate),
            ("tls.key", &*key),
        ] {
            write(&at(file), text);
        }
        let config = at("core.toml");
        admin(&config, &["key", "create"]);
        admin(&config, &["class", "create", "standard", "--coverage", "everywhere"]);
        admin(&config, &["account", "create", "mobile", "--class", "standard"]);
        let nas =
            ["gateway", "create", "oak", "--mac", "02:00:5e:10:00:02", "--operator", "example"];
        let secret = at("secret").display().to_string();
        let more = ["--place", "gb/london", "--secret-file", &secret, "--address", "127.0.0.1"];
        admin(&config, &[&nas[..], &more[..]].concat());
        admin(&config, &["policy", "set", "--default", &at("policy.toml").display().to_string()]);
        for n in 1..=2 {
            let imsi = crate::cell::imsi(n);
            admin(&config, &["subscriber", "add", &imsi, "--account", "mobile"]);
        }
        let running = Running::start(&config);
        Self { folder, running, das }
    }

    pub(crate) fn aaa(&self) -> &str {
        &self.running.aaa
    }

    pub(crate) fn bearers(&self) -> &str {
        &self.running.bearers
    }

    /// Where devices ask, by IPv4.
    pub(crate) fn portal(&self) -> &str {
        &self.running.portal
    }

    pub(crate) fn folder(&self) -> &TempDir {
        &self.folder
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Writes a file that nobody else may read; its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        write(&self.folder.path().join(name), text);
        self.file(name)
    }

    /// Runs `homeward admin`; what it printed.
    pub(crate) fn admin(&self, words: &[&str]) -> String {
        admin(&PathBuf::from(self.file("core.toml")), words)
    }

    /// Runs `homeward admin … --json`.
    pub(crate) fn admin_json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.admin(&[words, &["--json"]].concat())).unwrap()
    }

    /// The core rereads its configuration.
    pub(crate) fn reloads(&self) {
        let pid = self.running.process.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    }

    /// What `homeward` prints for those words, with this core's configuration.
    pub(crate) fn says(&self, words: &[&str]) -> String {
        let mut command = homeward();
        command.args(words).args(["--config", &self.file("core.toml")]);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    /// What `homeward core status` says, once there is somebody to ask: the portal is open before
    /// the status socket is.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let mut said = None;
        soon("a core that says how it is", || {
            let mut command = homeward();
            command.args(["core", "status", "--json", "--config", &self.file("core.toml")]);
            said = serde_json::from_slice(&command.output().unwrap().stdout).ok();
            said.is_some()
        });
        said.unwrap()
    }

    /// How often the portal has come to that.
    pub(crate) fn counted(&self, outcome: &str) -> u64 {
        self.status()["portal"]["answered"][outcome].as_u64().unwrap_or(0)
    }

    /// Ends the core in good order, and starts it again.
    pub(crate) fn stops_and_starts_again(&mut self) {
        let pid = self.running.process.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        assert!(self.running.process.wait().unwrap().success(), "it did not end in good order");
        self.running = Running::start(&PathBuf::from(self.file("core.toml")));
    }

    /// Ends it at once, as a power cut would, and starts it again.
    pub(crate) fn is_killed_and_comes_back(&mut self) {
        self.running.process.kill().unwrap();
        self.running.process.wait().unwrap();
        self.running = Running::start(&PathBuf::from(self.file("core.toml")));
    }
}

/// Waits until `look` says so; how long that took.
#[track_caller]
pub(crate) fn soon(what: &str, mut look: impl FnMut() -> bool) -> Duration {
    let began = SystemClock.now();
    loop {
        let done = look();
        let taken = SystemClock.now().since(began);
        if done {
            return taken;
        }
        assert!(taken < PATIENCE, "{what}: not within {PATIENCE:?}");
    }
}

impl Running {
    fn start(config: &Path) -> Self {
        let mut command = homeward();
        let command = command.args(["core", "--config"]).arg(config).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let mut says = |what: &str| {
            let found = lines.by_ref().map_while(Result::ok).find_map(|line| {
                let found = line.split_once(what).map(|(_, address)| address.trim().to_owned());
                said.push(line);
                found
            });
            found.unwrap_or_else(|| panic!("no {what:?}: {said:#?}"))
        };
        let aaa = says("answering look-ups address=");
        let bearers = says("hearing packet gateways address=");
        let portal = says("portal open address=");
        // Keep reading, or the core would stop at a full pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { process, aaa, bearers, portal }
    }
}

fn homeward() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_homeward"));
    command.env_remove("HOMEWARD_LOG").env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM");
    command
}

#[track_caller]
fn admin(config: &Path, words: &[&str]) -> String {
    let output = homeward().args(["admin", "--config"]).arg(config).args(words).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "admin {}: {errors}", words.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A certificate that vouches for itself, of AAA and of the portal, and its key, in PEM.
fn certificate() -> (String, String) {
    let names = ["aaa.example.net", "10.64.0.1", "fd00:45::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}
