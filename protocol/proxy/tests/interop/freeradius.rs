//! FreeRADIUS, as Debian has it, in a folder of its own.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use homeward_daemon::SystemClock;
use homeward_model::Clock;
use homeward_radius::{Builder, Code, Packet};
use tempfile::TempDir;

use crate::driver::{free_addresses, shared};

/// What a home server knows, and what it says of them. It names itself in Reply-Message.
const USERS: &str = "fred@example.org Cleartext-Password := \"correct horse\"\n\
    \tReply-Message = \"NAME\",\n\
    \tSession-Timeout = 86400,\n\
    \tTunnel-Type:1 = VLAN,\n\
    \tTunnel-Private-Group-Id:1 = \"42\",\n\
    \tTunnel-Password:1 = \"a passphrase of more than sixteen octets\"\n\n";

/// Methods of authentication.
const SECTIONS: &str = "authorize {\n chap\n mschap\n eap {\n ok = return\n }\n files\n pap\n }\n \
    authenticate {\n Auth-Type PAP {\n pap\n }\n Auth-Type CHAP {\n chap\n }\n \
    Auth-Type MS-CHAP {\n mschap\n }\n eap\n }\n accounting {\n ok\n }\n";

/// The server within the tunnel.
const INNER: &str = "server inner {\n authorize {\n mschap\n eap {\n ok = return\n }\n files\n pap\n }\n \
    authenticate {\n Auth-Type PAP {\n pap\n }\n Auth-Type MS-CHAP {\n mschap\n }\n eap\n }\n}\n";

pub(crate) struct FreeRadius {
    folder: TempDir,
    secret: String,
    process: Option<Child>,
    probe: UdpSocket,
    pub(crate) access: SocketAddr,
    pub(crate) accounting: SocketAddr,
}

impl Drop for FreeRadius {
    fn drop(&mut self) {
        self.kill();
    }
}

impl FreeRadius {
    /// A home server of example.org.
    pub(crate) fn home(name: &str, secret: &str) -> Self {
        let this = Self::new(secret);
        let (at, here) = (|file: &str| this.folder.path().join(file), this.here());
        let made = rcgen::generate_simple_self_signed(["radius.example.org".to_owned()]).unwrap();
        fs::write(at("ca.pem"), made.cert.pem()).unwrap();
        fs::write(at("key.pem"), made.signing_key.serialize_pem()).unwrap();
        fs::write(at("users"), USERS.replace("NAME", name)).unwrap();
        let eap = format!(
            "eap {{\n default_eap_type = peap\n timer_expire = 60\n max_sessions = 4096\n \
             tls-config common {{\n private_key_file = {here}/key.pem\n \
             certificate_file = {here}/ca.pem\n ca_file = {here}/ca.pem\n fragment_size = 1024\n \
             tls_min_version = \"1.2\"\n tls_max_version = \"1.2\"\n ecdh_curve = \"\"\n \
             cipher_list = \"DEFAULT\"\n }}\n ttls {{\n tls = common\n default_eap_type = mschapv2\n \
             virtual_server = inner\n }}\n peap {{\n tls = common\n default_eap_type = mschapv2\n \
             virtual_server = inner\n }}\n mschapv2 {{\n }}\n }}\n"
        );
        let modules = format!(
            "chap {{\n }}\n mschap {{\n }}\n files {{\n usersfile = {here}/users\n }}\n {eap}"
        );
        this.configured(&modules, SECTIONS, INNER)
    }

    /// A visited network's, that sends example.org to `us`.
    pub(crate) fn visited(secret: &str, us: SocketAddr, our_secret: &str) -> Self {
        let more = format!(
            "home_server us {{\n type = auth\n ipaddr = 127.0.0.1\n port = {}\n \
             secret = \"{our_secret}\"\n response_window = 10\n require_message_authenticator = yes\n \
             status_check = status-server\n}}\n\
             home_server_pool us {{\n type = fail-over\n home_server = us\n}}\n\
             realm example.org {{\n auth_pool = us\n nostrip\n}}\n",
            us.port()
        );
        let modules = "realm suffix {\n format = suffix\n delimiter = \"@\"\n }\n";
        Self::new(secret).configured(modules, "authorize {\n suffix\n }\n", &more)
    }

    fn new(secret: &str) -> Self {
        // Bound before the others are chosen, or it might be one of them and talk to itself.
        let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
        probe.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let [access, accounting] = free_addresses();
        let folder = tempfile::tempdir().unwrap();
        Self { folder, secret: secret.to_owned(), process: None, probe, access, accounting }
    }

    fn here(&self) -> String {
        self.folder.path().display().to_string()
    }

    fn configured(mut self, modules: &str, sections: &str, more: &str) -> Self {
        let (here, secret) = (self.here(), &self.secret);
        let listen = |kind: &str, at: SocketAddr| {
            format!("listen {{\n type = {kind}\n ipaddr = 127.0.0.1\n port = {}\n }}\n", at.port())
        };
        let config = format!(
            "prefix = /usr\nlogdir = {here}\nrun_dir = {here}\nname = freeradius\n\
             modconfdir = {here}\nlibdir = /usr/lib/freeradius\npidfile = {here}/pid\n\
             max_request_time = 30\ncleanup_delay = 5\nhostname_lookups = no\nproxy_requests = yes\n\
             log {{\n destination = files\n file = {here}/log\n auth = no\n}}\n\
             security {{\n max_attributes = 200\n reject_delay = 0\n status_server = yes\n}}\n\
             thread pool {{\n start_servers = 1\n max_servers = 2\n min_spare_servers = 1\n \
             max_spare_servers = 1\n max_requests_per_server = 0\n}}\n\
             client local {{\n ipaddr = 127.0.0.1\n secret = \"{secret}\"\n \
             require_message_authenticator = yes\n}}\n\
             modules {{\n always ok {{\n rcode = ok\n }}\n pap {{\n }}\n {modules}}}\n\
             server default {{\n {}{}{sections}\n}}\n{more}",
            listen("auth", self.access),
            listen("acct", self.accounting),
        );
        let at = |file: &str| self.folder.path().join(file);
        fs::write(at("radiusd.conf"), config).unwrap();
        fs::write(at("dictionary"), "$INCLUDE /usr/share/freeradius/dictionary\n").unwrap();
        self.start();
        self
    }

    /// Starts it, and waits until it answers.
    pub(crate) fn start(&mut self) {
        let child = Command::new("freeradius")
            .args(["-f", "-d", &self.here()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("freeradius is missing: `make setup` installs it");
        self.process = Some(child);
        let patience = SystemClock.now() + Duration::from_secs(30);
        while !self.answers() {
            let gone = self.process.as_mut().is_none_or(|p| p.try_wait().unwrap().is_some());
            if gone || SystemClock.now() > patience {
                let log = fs::read_to_string(self.folder.path().join("log"));
                panic!("FreeRADIUS does not answer: {log:?}");
            }
        }
    }

    /// Ends it without a chance to say good-bye.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Both fail only if it is gone already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Stops it where it is, or lets it go on.
    pub(crate) fn signal(&self, signal: &str) {
        let process = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    }

    /// Where its certificate is.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Whether it answers a Status-Server within a tenth of a second.
    fn answers(&self) -> bool {
        let (mut octets, secret) = (Vec::new(), shared(&self.secret));
        let asked = [1; 16];
        Builder::request(&mut octets, &secret, Code::StatusServer, 1, asked).finish();
        self.probe.send_to(&octets, self.access).unwrap();
        let mut room = [0; 4096];
        // An unconnected socket hears no refusals: this waits either way.
        let Ok(octets) = self.probe.recv(&mut room) else { return false };
        let answer = Packet::decode(&room[..octets]);
        answer.is_ok_and(|answer| secret.verify_answer(&answer, &asked).is_ok())
    }
}

/// A radius client's question, and all that it printed.
pub(crate) fn radclient(at: SocketAddr, kind: &str, secret: &str, attributes: &str) -> String {
    let mut child = Command::new("radclient")
        .args(["-x", "-r", "3", "-t", "5", &at.to_string(), kind, secret])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("radclient is missing: `make setup` installs freeradius-utils");
    writeln!(child.stdin.take().unwrap(), "{attributes}").unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// A station's log-in by EAP, and all that it printed.
pub(crate) fn eapol(at: SocketAddr, secret: &str, ca: &std::path::Path, network: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("eapol.conf");
    let network =
        format!("network={{\n key_mgmt=WPA-EAP\n ca_cert=\"{}\"\n {network}\n}}\n", ca.display());
    fs::write(&config, network).unwrap();
    let output = Command::new("eapol_test")
        .args(["-c", &config.display().to_string()])
        .args(["-a", &at.ip().to_string(), "-p", &at.port().to_string(), "-s", secret])
        .args(["-t", "20", "-M", "02:00:5e:20:00:07"])
        .output()
        .expect("eapol_test is missing: `make setup` installs eapoltest");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}
