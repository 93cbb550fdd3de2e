//! FreeRADIUS as a peer: Debian's, with its users in a flat file, which it keeps in memory, or in
//! PostgreSQL. Set up to be quick: no logging of requests, no more threads than help, nothing in
//! the way but what is measured.

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

use crate::eap_load::EapLoad;
use crate::load::{self, Ask};
use crate::population::{Population, login, password};
use crate::postgres::Postgres;
use crate::world::{Process, SECRET, scratch};

pub(crate) struct FreeRadius {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
    pub(crate) name: String,
    _folder: TempDir,
}

/// The server's sections for PAP, with users from that module.
fn pap(users: &str) -> String {
    format!(
        "authorize {{\n {users}\n pap\n }}\n authenticate {{\n Auth-Type PAP {{\n pap\n }}\n }}"
    )
}

/// What every log-in is answered with, as ours are: what accounting needs.
pub(crate) const REPLY: [(&str, &str); 2] =
    [("Acct-Interim-Interval", "300"), ("Class", "0x686c3a313a3432")];

/// Log-ins as a flat file.
fn users(population: Population) -> Result<String> {
    let mut users = String::new();
    let reply = REPLY.map(|(name, value)| format!("{name} = {value}")).join(", ");
    for n in 0..population.logins {
        let (name, password) = (login(n), password(n));
        writeln!(users, "{name} Cleartext-Password := \"{password}\"\n\t{reply}\n")?;
    }
    Ok(users)
}

/// The server within the tunnel.
const INNER: &str = "server inner {\n authorize {\n mschap\n eap {\n ok = return\n }\n files\n pap\n }\n \
    authenticate {\n Auth-Type PAP {\n pap\n }\n Auth-Type MS-CHAP {\n mschap\n }\n eap\n }\n}\n";

impl FreeRadius {
    /// With a population's devices, for look-ups.
    pub(crate) fn start(population: Population) -> Result<Self> {
        let mut users = String::new();
        for n in 0..population.homes * population.devices {
            let (mac, ssid) = population.device(n);
            let name: String = mac.octets().iter().map(|o| format!("{o:02x}")).collect();
            writeln!(
                users,
                "{name} Cleartext-Password := \"{ssid}\"\n\tTunnel-Password = \"{}\"\n",
                "5c".repeat(32)
            )?;
        }
        let setup = Setup { users, sections: pap("files"), ..Setup::default() };
        setup.run(answers(Ask::LookUps(population)))
    }

    /// With a population's log-ins.
    pub(crate) fn start_pap(population: Population) -> Result<Self> {
        let setup = Setup { users: users(population)?, sections: pap("files"), ..Setup::default() };
        setup.run(answers(Ask::LogIns(population)))
    }

    /// With a population's log-ins in that database.
    pub(crate) fn start_sql(population: Population, database: &Postgres) -> Result<Self> {
        let modules = format!(
            "sql {{\n dialect = \"postgresql\"\n driver = \"rlm_sql_postgresql\"\n \
             radius_db = \"{}\"\n sql_user_name = \"%{{User-Name}}\"\n read_groups = no\n \
             read_profiles = no\n read_clients = no\n delete_stale_sessions = no\n \
             authcheck_table = \"radcheck\"\n authreply_table = \"radreply\"\n \
             authorize_check_query = \"SELECT id, UserName, Attribute, Value, Op FROM radcheck \
             WHERE Username = '%{{SQL-User-Name}}' ORDER BY id\"\n \
             authorize_reply_query = \"SELECT id, UserName, Attribute, Value, Op FROM radreply \
             WHERE Username = '%{{SQL-User-Name}}' ORDER BY id\"\n \
             pool {{\n start = {SQL_THREADS}\n min = {SQL_THREADS}\n max = {SQL_THREADS}\n \
             spare = 0\n uses = 0\n lifetime = 0\n idle_timeout = 0\n }}\n }}\n",
            database.connection()
        );
        // A thread waits while the database works.
        let setup = Setup {
            modules,
            sections: pap("sql"),
            threads: SQL_THREADS,
            name: "+ PostgreSQL",
            ..Setup::default()
        };
        setup.run(answers(Ask::LogIns(population)))
    }

    /// Keeping accounting records in that database, by the queries that Debian has for it.
    pub(crate) fn start_accounting(population: Population, database: &Postgres) -> Result<Self> {
        let modules = format!(
            "sql {{\n dialect = \"postgresql\"\n driver = \"rlm_sql_postgresql\"\n \
             radius_db = \"{}\"\n acct_table1 = \"radacct\"\n acct_table2 = \"radacct\"\n \
             client_table = \"nas\"\n authcheck_table = \"radcheck\"\n \
             authreply_table = \"radreply\"\n groupcheck_table = \"radgroupcheck\"\n \
             groupreply_table = \"radgroupreply\"\n usergroup_table = \"radusergroup\"\n \
             postauth_table = \"radpostauth\"\n group_attribute = \"SQL-Group\"\n \
             read_groups = no\n read_profiles = no\n read_clients = no\n \
             delete_stale_sessions = no\n \
             pool {{\n start = {SQL_THREADS}\n min = {SQL_THREADS}\n max = {SQL_THREADS}\n \
             spare = 0\n uses = 0\n lifetime = 0\n idle_timeout = 0\n }}\n \
             $INCLUDE {QUERIES}/queries.conf\n }}\n expr {{\n }}\n",
            database.connection()
        );
        let sections = "preacct {\n update request {\n Acct-Unique-Session-Id := \
             \"%{md5:%{NAS-Identifier},%{Acct-Session-Id}}\"\n }\n }\n accounting {\n sql\n }";
        let setup = Setup {
            modules,
            sections: sections.to_owned(),
            threads: SQL_THREADS,
            name: "+ PostgreSQL",
            kind: "acct",
            ..Setup::default()
        };
        setup.run(answers(Ask::Records(population)))
    }

    /// With log-ins for EAP, with that certificate and key. It keeps sessions that can be resumed
    /// in files only, here in memory: that is not free, so it does where they are `resumed` only.
    pub(crate) fn start_eap(
        population: Population,
        (certificate, key): (&Path, &Path),
        resumed: bool,
        load: &EapLoad,
    ) -> Result<Self> {
        let (certificate, key) = (certificate.display(), key.display());
        let enable = if resumed { "yes" } else { "no" };
        // The same versions, sizes and methods as ours.
        let modules = format!(
            "mschap {{\n }}\n eap {{\n default_eap_type = peap\n timer_expire = 60\n \
             max_sessions = 16384\n tls-config common {{\n private_key_file = {key}\n \
             certificate_file = {certificate}\n ca_file = {certificate}\n fragment_size = 1024\n \
             tls_min_version = \"1.2\"\n tls_max_version = \"1.3\"\n ecdh_curve = \"\"\n \
             cipher_list = \"DEFAULT\"\n cache {{\n enable = {enable}\n lifetime = 8\n name = \"eap\"\n \
             persist_dir = \"{FOLDER}\"\n }}\n }}\n ttls {{\n tls = common\n default_eap_type = mschapv2\n \
             virtual_server = inner\n }}\n peap {{\n tls = common\n default_eap_type = mschapv2\n \
             virtual_server = inner\n }}\n mschapv2 {{\n }}\n }}\n"
        );
        let sections = "authorize {\n eap {\n ok = return\n }\n files\n pap\n }\n \
             authenticate {\n Auth-Type PAP {\n pap\n }\n eap\n }";
        let setup = Setup {
            users: users(population)?,
            modules,
            sections: sections.to_owned(),
            servers: INNER,
            ..Setup::default()
        };
        setup.run(|address| load.warm_up(address).is_ok())
    }
}

/// Where Debian has its tables and queries for PostgreSQL.
pub(crate) const QUERIES: &str = "/etc/freeradius/3.0/mods-config/sql/main/postgresql";

/// Stands for the server's folder.
const FOLDER: &str = "@FOLDER@";

/// Threads where each waits for a database.
const SQL_THREADS: usize = 16;

/// Whether a server answers.
fn answers(ask: Ask) -> impl Fn(SocketAddr) -> bool {
    move |address| load::run(address, ask, Duration::ZERO).is_ok()
}

/// How it is set up.
struct Setup {
    users: String,
    modules: String,
    sections: String,
    servers: &'static str,
    threads: usize,
    /// What it listens for: `auth` or `acct`.
    kind: &'static str,
    /// What it is called besides FreeRADIUS.
    name: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        let (users, modules, sections) = Default::default();
        Self { users, modules, sections, servers: "", threads: 2, kind: "auth", name: "" }
    }
}

impl Setup {
    /// Runs it, and waits until it `answers`.
    fn run(&self, answers: impl Fn(SocketAddr) -> bool) -> Result<FreeRadius> {
        let Self { users, modules, sections, servers, threads, kind, name } = self;
        let folder = scratch()?;
        let at = |file: &str| folder.path().join(file);
        // A port that was free a moment ago.
        let address = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        fs::write(at("users"), users)?;
        let here = folder.path().display();
        let modules = modules.replace(FOLDER, &here.to_string());
        fs::write(
            at("radiusd.conf"),
            format!(
                "prefix = /usr\nlogdir = {here}\nrun_dir = {here}\nname = freeradius\n\
                 modconfdir = {here}\nlibdir = /usr/lib/freeradius\npidfile = {here}/pid\n\
                 max_requests = 1048576\nmax_request_time = 30\ncleanup_delay = 2\n\
                 hostname_lookups = no\n\
                 log {{\n destination = files\n file = {here}/log\n auth = no\n}}\n\
                 security {{\n max_attributes = 200\n reject_delay = 0\n status_server = yes\n}}\n\
                 thread pool {{\n start_servers = {threads}\n max_servers = {threads}\n \
                 min_spare_servers = 1\n max_spare_servers = {threads}\n max_requests_per_server = 0\n}}\n\
                 client local {{\n ipaddr = 127.0.0.1\n secret = \"{SECRET}\"\n \
                 require_message_authenticator = yes\n}}\n\
                 modules {{\n pap {{\n }}\n files {{\n  usersfile = {here}/users\n }}\n {modules}}}\n\
                 server default {{\n listen {{\n type = {kind}\n ipaddr = 127.0.0.1\n port = {}\n }}\n \
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
        let version = version.unwrap_or("?").trim_end_matches(',');
        let name = format!("FreeRADIUS {version} {name}").trim().to_owned();
        Ok(FreeRadius { address, process, name, _folder: folder })
    }
}
