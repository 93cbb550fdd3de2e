//! FreeRADIUS as a peer: Debian's, with its users in a flat file, which it keeps in memory. Set up
//! to be quick: no logging of requests, nothing in the way but what is measured.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use homeward_daemon::SystemClock;
use homeward_model::Clock;
use tempfile::TempDir;

use crate::world::{LOGIN, Process, SECRET, mac, ssid};
use crate::{eap, load};

pub(crate) struct FreeRadius {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
    pub(crate) name: String,
    _folder: TempDir,
}

/// Modules and the servers' sections for PAP.
const PAP: &str = "authorize {\n files\n pap\n }\n authenticate {\n Auth-Type PAP {\n pap\n }\n }";

/// The server within the tunnel.
const INNER: &str = "server inner {\n authorize {\n mschap\n eap {\n ok = return\n }\n files\n pap\n }\n \
    authenticate {\n Auth-Type PAP {\n pap\n }\n Auth-Type MS-CHAP {\n mschap\n }\n eap\n }\n}\n";

impl FreeRadius {
    /// With so many homes, for look-ups.
    pub(crate) fn start(homes: u32) -> Result<Self> {
        let mut users = String::new();
        for n in 0..homes {
            let name: String = mac(n).octets().iter().map(|o| format!("{o:02x}")).collect();
            writeln!(
                users,
                "{name} Cleartext-Password := \"{}\"\n\tTunnel-Password = \"{}\"\n",
                ssid(n),
                "5c".repeat(32)
            )?;
        }
        Self::run(&users, "", PAP, "", |address| load::run(address, homes, Duration::ZERO).is_ok())
    }

    /// With one log-in, for EAP, with that certificate and key.
    pub(crate) fn start_eap(certificate: &Path, key: &Path) -> Result<Self> {
        let (name, password) = LOGIN;
        let users = format!("{name} Cleartext-Password := \"{password}\"\n");
        let ca = certificate.to_owned();
        let (certificate, key) = (certificate.display(), key.display());
        // The same versions, sizes and methods as ours.
        let eap = format!(
            "mschap {{\n }}\n eap {{\n default_eap_type = peap\n timer_expire = 60\n \
             max_sessions = 16384\n tls-config common {{\n private_key_file = {key}\n \
             certificate_file = {certificate}\n ca_file = {certificate}\n fragment_size = 1024\n \
             tls_min_version = \"1.2\"\n tls_max_version = \"1.2\"\n ecdh_curve = \"\"\n \
             cipher_list = \"DEFAULT\"\n cache {{\n enable = yes\n lifetime = 8\n name = \"eap\"\n \
             max_entries = 1000\n }}\n }}\n ttls {{\n tls = common\n default_eap_type = mschapv2\n \
             virtual_server = inner\n }}\n peap {{\n tls = common\n default_eap_type = mschapv2\n \
             virtual_server = inner\n }}\n mschapv2 {{\n }}\n }}\n"
        );
        let sections = "authorize {\n eap {\n ok = return\n }\n files\n pap\n }\n \
             authenticate {\n Auth-Type PAP {\n pap\n }\n eap\n }";
        Self::run(&users, &eap, sections, INNER, |address| {
            eap::log_in(address, eap::METHODS[0], &ca).is_ok()
        })
    }

    /// Runs it, and waits until it `answers`.
    fn run(
        users: &str,
        modules: &str,
        sections: &str,
        servers: &str,
        answers: impl Fn(SocketAddr) -> bool,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |file: &str| folder.path().join(file);
        // A port that was free a moment ago.
        let address = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        fs::write(at("users"), users)?;
        let here = folder.path().display();
        fs::write(
            at("radiusd.conf"),
            format!(
                "prefix = /usr\nlogdir = {here}\nrun_dir = {here}\nname = freeradius\n\
                 modconfdir = {here}\nlibdir = /usr/lib/freeradius\npidfile = {here}/pid\n\
                 max_requests = 1048576\nmax_request_time = 30\ncleanup_delay = 2\n\
                 hostname_lookups = no\n\
                 log {{\n destination = files\n file = {here}/log\n auth = no\n}}\n\
                 security {{\n max_attributes = 200\n reject_delay = 0\n status_server = yes\n}}\n\
                 thread pool {{\n start_servers = 2\n max_servers = 2\n min_spare_servers = 1\n \
                 max_spare_servers = 2\n max_requests_per_server = 0\n}}\n\
                 client local {{\n ipaddr = 127.0.0.1\n secret = \"{SECRET}\"\n \
                 require_message_authenticator = yes\n}}\n\
                 modules {{\n pap {{\n }}\n files {{\n  usersfile = {here}/users\n }}\n {modules}}}\n\
                 server default {{\n listen {{\n type = auth\n ipaddr = 127.0.0.1\n port = {}\n }}\n \
                 {sections}\n}}\n{servers}",
                address.port()
            ),
        )?;
        fs::write(at("dictionary"), "$INCLUDE /usr/share/freeradius/dictionary\n")?;
        let child = Command::new("freeradius")
            .arg("-f")
            .arg("-d")
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run freeradius; `make bench` installs it")?;
        let mut process = Process(child);
        // It answers when it has read its users.
        let patience = SystemClock.now() + Duration::from_secs(20);
        while !answers(address) {
            if SystemClock.now() > patience || process.0.try_wait()?.is_some() {
                let log = fs::read_to_string(at("log")).unwrap_or_default();
                bail!("FreeRADIUS does not answer: {log}");
            }
        }
        let version = Command::new("freeradius").arg("-v").output()?;
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        let version = version.split_whitespace().skip_while(|w| *w != "Version").nth(1);
        let name = format!("FreeRADIUS {}", version.unwrap_or("?").trim_end_matches(','));
        Ok(Self { address, process, name, _folder: folder })
    }
}
