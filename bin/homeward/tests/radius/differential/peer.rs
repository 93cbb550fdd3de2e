//! FreeRADIUS with the same users, in a flat file, and what its operator has to add so that it
//! knows realms without regard to case and MAC addresses in any spelling.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use homeward_daemon::SystemClock;
use homeward_eap::mschapv2::nt_hash;
use homeward_model::Clock;
use tempfile::TempDir;

use super::requests::{Kept, State, User};
use crate::core::SECRET;

pub(crate) struct FreeRadius {
    pub(crate) address: SocketAddr,
    process: Child,
    _folder: TempDir,
}

impl Drop for FreeRadius {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const SECTIONS: &str = r#"
authorize {
  if (&User-Name =~ /^(.+)@([^@]+)$/) {
    update request {
      &User-Name := "%{1}@%{tolower:%{2}}"
    }
  }
  if (&Calling-Station-Id =~ /^([0-9a-f]{2})([-:]?)([0-9a-f]{2})\2([0-9a-f]{2})\2([0-9a-f]{2})\2([0-9a-f]{2})\2([0-9a-f]{2})$/i) {
    update request {
      &Calling-Station-Id := "%{tolower:%{1}-%{3}-%{4}-%{5}-%{6}-%{7}}"
    }
  }
  elsif (&Calling-Station-Id =~ /^([0-9a-f]{2})([0-9a-f]{2})\.([0-9a-f]{2})([0-9a-f]{2})\.([0-9a-f]{2})([0-9a-f]{2})$/i) {
    update request {
      &Calling-Station-Id := "%{tolower:%{1}-%{2}-%{3}-%{4}-%{5}-%{6}}"
    }
  }
  files
  expiration
  chap
  pap
}
authenticate {
  Auth-Type PAP {
    pap
  }
  Auth-Type CHAP {
    chap
  }
}
"#;

impl FreeRadius {
    /// Starts it, and waits until it answers.
    pub(crate) fn start(users: &[User]) -> Self {
        Self::start_with(users, "")
    }

    /// One that answers by TLS as well, on that port, with these files in PEM: its certificate,
    /// its key, and who vouches for clients.
    pub(crate) fn start_with_tls(users: &[User], port: u16, [pem, key, ca]: [&str; 3]) -> Self {
        let listen = format!(
            "listen {{\n type = auth+acct\n proto = tcp\n virtual_server = default\n ipaddr = 127.0.0.1\n \
             port = {port}\n \
             clients = tls\n tls {{\n  certificate_file = {pem}\n  private_key_file = {key}\n  \
             ca_file = {ca}\n  require_client_cert = yes\n  tls_min_version = \"1.2\"\n  \
             tls_max_version = \"1.3\"\n }}\n}}\n\
             clients tls {{\n client us {{\n  ipaddr = 127.0.0.1\n  proto = tls\n  \
             secret = radsec\n }}\n}}\n"
        );
        Self::start_with(users, &listen)
    }

    fn start_with(users: &[User], more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().display();
        // A port that was free a moment ago.
        let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let port = address.port();
        let config = format!(
            "prefix = /usr\nlogdir = {here}\nrun_dir = {here}\nname = freeradius\n\
             libdir = /usr/lib/freeradius\npidfile = {here}/pid\nmax_requests = 65536\n\
             max_request_time = 30\ncleanup_delay = 5\nhostname_lookups = no\n\
             log {{\n destination = files\n file = {here}/log\n}}\n\
             security {{\n max_attributes = 200\n reject_delay = 0\n status_server = yes\n}}\n\
             thread pool {{\n start_servers = 2\n max_servers = 2\n min_spare_servers = 1\n \
             max_spare_servers = 2\n max_requests_per_server = 0\n}}\n\
             client local {{\n ipaddr = 127.0.0.1\n secret = \"{SECRET}\"\n \
             require_message_authenticator = yes\n}}\n\
             modules {{\n pap {{\n }}\n chap {{\n }}\n expr {{\n }}\n expiration {{\n }}\n \
             files {{\n  usersfile = {here}/users\n }}\n}}\ninstantiate {{\n expr\n}}\n\
             server default {{\n listen {{\n type = auth\n ipaddr = 127.0.0.1\n port = {port}\n }}\n\
             {SECTIONS}\n}}\n{more}"
        );
        fs::write(folder.path().join("radiusd.conf"), config).unwrap();
        fs::write(folder.path().join("users"), flat(users)).unwrap();
        let dictionary = "$INCLUDE /usr/share/freeradius/dictionary\n";
        fs::write(folder.path().join("dictionary"), dictionary).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut process = Command::new("freeradius")
            .env("PATH", format!("{path}:/usr/sbin"))
            .arg("-f")
            .arg("-d")
            .arg(folder.path())
            .stdout(fs::File::create(folder.path().join("said")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .expect("freeradius is missing: `make setup` installs it");
        let began = SystemClock.now();
        while !status(port) {
            let log = ["said", "log"].map(|file| fs::read_to_string(folder.path().join(file)));
            assert!(process.try_wait().unwrap().is_none(), "it ended: {log:?}");
            let taken = SystemClock.now().since(began);
            assert!(taken < Duration::from_secs(20), "it does not answer: {log:?}");
        }
        Self { address, process, _folder: folder }
    }
}

/// Whether it answers Status-Server.
fn status(port: u16) -> bool {
    let asked = Command::new("radclient")
        .args(["-r", "1", "-t", "1", &format!("127.0.0.1:{port}"), "status", SECRET])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut client = asked.expect("radclient is missing: `make setup` installs freeradius-utils");
    let question = "Message-Authenticator = 0x00\n";
    std::io::Write::write_all(&mut client.stdin.take().unwrap(), question.as_bytes()).unwrap();
    client.wait().unwrap().success()
}

/// Its users file.
fn flat(users: &[User]) -> String {
    let mut file = String::new();
    for user in users {
        let hash: String =
            nt_hash(&user.password).expose().iter().map(|o| format!("{o:02x}")).collect();
        let kept = match user.kept {
            Kept::Whole => format!("Cleartext-Password := \"{}\"", user.password),
            Kept::Hash | Kept::SlowHash => format!("NT-Password := 0x{hash}"),
        };
        let name = &user.name;
        let line = match &user.state {
            State::Good => format!("{name} {kept}"),
            State::Suspended => format!("{name} Auth-Type := Reject"),
            State::Expired => format!("{name} {kept}, Expiration := \"01 Jan 2020\""),
            State::Bound(mac) => format!("{name} Calling-Station-Id == \"{mac}\", {kept}"),
        };
        writeln!(file, "{line}\n").unwrap();
    }
    file
}
