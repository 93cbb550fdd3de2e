//! A core with two gateways, a subscriber and a device.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use homeward_daemon::SystemClock;
use homeward_model::Clock;
use tempfile::TempDir;

pub(crate) const SECRET: &str = "sixteen characters, and more";
pub(crate) const MAC: &str = "02:00:5e:20:00:01";
pub(crate) const SSID: &str = "Elm Street 17";
pub(crate) const PASSPHRASE: &str = "the phone's own key";

pub(crate) struct Core {
    folder: TempDir,
    process: Child,
    /// Where it answers.
    pub(crate) address: String,
    /// Where it takes accounting records.
    pub(crate) accounting: String,
    /// The rest of what it logs.
    lines: Lines,
}

type Lines = Mutex<Receiver<String>>;

impl Drop for Core {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Core {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// One with more of `[aaa]`.
    pub(crate) fn start_with(aaa: &str) -> Self {
        Self::start_with_files(aaa, "", &[])
    }

    /// One with more of `[aaa]` and `[aaa.eap]`, where `FOLDER` stands for its folder, and more
    /// files in that.
    pub(crate) fn start_with_files(aaa: &str, eap: &str, more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let at = |file: &str| folder.path().join(file);
        let config = format!(
            "[store]\npath = {:?}\nkey_file = {:?}\n[aaa]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n{aaa}\
             [aaa.eap]\ncertificate = {:?}\nkey = {:?}\n{}\n\
             [control]\nsocket = {:?}\n",
            at("core.db"),
            at("core.keys"),
            at("ca.pem"),
            at("eap.key"),
            eap.replace("FOLDER", &folder.path().display().to_string()),
            at("core.sock")
        );
        let (certificate, key) = certificate();
        fs::write(at("core.toml"), config).unwrap();
        let files = [
            ("secret", SECRET),
            ("passphrase", PASSPHRASE),
            ("ca.pem", &certificate),
            ("eap.key", &key),
        ];
        for (file, text) in files.iter().chain(more) {
            fs::write(at(file), text).unwrap();
            fs::set_permissions(at(file), fs::Permissions::from_mode(0o600)).unwrap();
        }
        admin(&at("core.toml"), &["key", "create"]);
        admin(&at("core.toml"), &["class", "create", "standard", "--bandwidth-down", "50M"]);
        let (process, address, accounting, lines) = run(&at("core.toml"));
        let this = Self { folder, process, address, accounting, lines };
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

    /// Ends it at once, as a power cut would, and starts it again.
    pub(crate) fn is_killed_and_comes_back(&mut self) {
        self.is_killed();
        self.comes_back();
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn is_killed(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again.
    pub(crate) fn comes_back(&mut self) {
        let config = self.folder.path().join("core.toml");
        (self.process, self.address, self.accounting, self.lines) = run(&config);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Stops it in its tracks, or lets it go on.
    pub(crate) fn is_held(&self, held: bool) {
        let (signal, pid) = (if held { "-STOP" } else { "-CONT" }, self.pid().to_string());
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Starts it again, behind what it is asked through.
    pub(crate) fn comes_back_behind(&mut self) {
        (self.process, _, _, self.lines) = run(&self.folder.path().join("core.toml"));
    }

    /// Has it reload; waits until it says so in these words.
    pub(crate) fn reloads(&self, says: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
        let lines = self.lines.lock().unwrap();
        while !lines.recv_timeout(Duration::from_secs(5)).expect("a line").contains(says) {}
    }

    /// What it has logged since this was asked last.
    pub(crate) fn said(&self) -> String {
        self.lines.lock().unwrap().try_iter().collect::<Vec<_>>().join("\n")
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

    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Runs `homeward admin`; what it printed.
    pub(crate) fn admin(&self, words: &[&str]) -> String {
        admin(&PathBuf::from(self.file("core.toml")), words)
    }

    /// Asks about a MAC and an SSID; what radclient printed.
    pub(crate) fn ask(&self, mac: &str, ssid: &str) -> String {
        self.radclient("auth", &format!(
            "User-Name = \"{mac}\", User-Password = \"{ssid}\", NAS-Identifier = \"oak\", Message-Authenticator = 0x00\n"
        ), SECRET)
    }

    pub(crate) fn radclient(&self, kind: &str, attributes: &str, secret: &str) -> String {
        let address = if kind == "acct" { &self.accounting } else { &self.address };
        let mut client = Command::new("radclient")
            .args(["-x", "-r", "1", "-t", "1", address, kind, secret])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("radclient is missing: `make setup` installs freeradius-utils");
        client.stdin.take().unwrap().write_all(attributes.as_bytes()).unwrap();
        let output = client.wait_with_output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// A file that others may not read; its path.
    pub(crate) fn secret_file(&self, name: &str, text: &str) -> String {
        let path = self.file(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// What `homeward core` says of the running one.
    pub(crate) fn status(&self, what: &str) -> String {
        let output = homeward()
            .args(["core", what, "--config"])
            .arg(self.file("core.toml"))
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Asks for the device until the answer contains `text`; how long that took.
    pub(crate) fn answers_soon(&self, text: &str) -> Duration {
        self.soon(text, || self.ask(MAC, SSID))
    }

    /// Asks until the answer contains `text`; how long that took since it was called.
    pub(crate) fn soon(&self, text: &str, ask: impl Fn() -> String) -> Duration {
        let began = SystemClock.now();
        loop {
            let answer = ask();
            let taken = SystemClock.now().since(began);
            if answer.contains(text) {
                return taken;
            }
            assert!(taken < Duration::from_secs(5), "no {text:?} within 5 s, but {answer}");
        }
    }
}

/// Runs a core; where it answers, and where it takes records.
fn run(config: &std::path::Path) -> (Child, String, String, Lines) {
    let mut process =
        homeward().args(["core", "--config"]).arg(config).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let mut says = |what: &str| {
        let found = lines
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| line.split_once(what).map(|(_, address)| address.trim().to_owned()));
        found.expect("the core ended before it answered")
    };
    let address = says("answering look-ups address=");
    let accounting = says("answering accounting records address=");
    // Keep reading, or the core would stop at a full pipe.
    let (kept, said) = mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|l| drop(kept.send(l))));
    (process, address, accounting, Mutex::new(said))
}

fn homeward() -> Command {
    Command::new(env!("CARGO_BIN_EXE_homeward"))
}

fn admin(config: &std::path::Path, words: &[&str]) -> String {
    let output = homeward().args(["admin", "--config"]).arg(config).args(words).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "admin {}: {errors}", words.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A certificate that vouches for itself, and its key, in PEM.
pub(crate) fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["eap.example.net".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}
