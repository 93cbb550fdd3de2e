//! Packet gateways account for their sessions, in radclient's words; what the portal knows of it.
#![cfg(test)]

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use homeward_bearer::Bearer;
use homeward_daemon::{Metrics, SecretSource, Shutdown, SystemClock};
use homeward_model::{Clock, Secret};
use homeward_portal::bearers::config::Gateway;
use homeward_portal::bearers::{Bearers, Config, Reloads, Started, start};
use homeward_portal::desk::Whose;
use homeward_radius::dictionary::standard;
use homeward_radius::{Builder, Code, Packet, SharedSecret};
use homeward_store::{BearerChange, Bearers as Kept, MemoryStore, StoredBearer};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

const SECRET: &str = "xyzzy5461-of-the-ggsn";

/// A datastore whose disk can be full.
struct Disk {
    store: MemoryStore,
    full: AtomicBool,
}

#[async_trait]
impl Kept for Disk {
    async fn apply_bearers(&self, changes: &[BearerChange]) -> homeward_store::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(homeward_store::Error::Database("no space left".into()));
        }
        self.store.apply_bearers(changes).await
    }

    async fn bearers(&self) -> homeward_store::Result<Vec<StoredBearer>> {
        self.store.bearers().await
    }
}

struct World {
    folder: TempDir,
    disk: Arc<Disk>,
    config: Config,
    running: Running,
}

struct Running {
    bearers: Bearers,
    listening: SocketAddr,
    status: Box<dyn Fn() -> Value + Send + Sync>,
    shutdown: Shutdown,
    reloads: Reloads,
    work: JoinHandle<anyhow::Result<()>>,
    metrics: Metrics,
}

async fn run(config: &Config, disk: &Arc<Disk>) -> Running {
    let (shutdown, mut metrics) = (Shutdown::new(), Metrics::new("core", "0"));
    let address = config.listen.unwrap();
    let started =
        start(config, address, disk.clone(), &mut metrics, shutdown.clone()).await.unwrap();
    let status = Box::new(started.status());
    let Started { bearers, listening, reloads, work } = started;
    let work = tokio::spawn(work);
    Running { bearers, listening, status, shutdown, reloads, work, metrics }
}

impl World {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, SECRET).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let gateway = Gateway {
            name: "ggsn-1".parse().unwrap(),
            address: "127.0.0.1".to_owned().try_into().unwrap(),
            secret: SecretSource::File(file),
            apns: vec!["internet".parse().unwrap()],
            imsi_in_user_name: false,
        };
        let config = Config {
            listen: Some("127.0.0.1:0".parse().unwrap()),
            gateways: vec![gateway],
            ..Config::default()
        };
        let disk = Arc::new(Disk {
            store: MemoryStore::new(Arc::new(SystemClock)),
            full: AtomicBool::new(false),
        });
        let running = run(&config, &disk).await;
        Self { folder, disk, config, running }
    }

    /// What radclient says of an answer.
    fn radclient(&self, attributes: &str) -> String {
        radclient(self.running.listening, SECRET, attributes)
    }

    fn accounted(&self, attributes: &str) {
        let said = self.radclient(attributes);
        assert!(said.contains("Received Accounting-Response"), "{said}");
    }

    fn unanswered(&self, attributes: &str) {
        let said = self.radclient(attributes);
        assert!(!said.contains("Received Accounting-Response"), "{said}");
    }

    fn find(&self, address: &str) -> Option<Bearer> {
        self.running.bearers.find(address.parse().unwrap(), None)
    }

    async fn stored(&self) -> usize {
        self.disk.bearers().await.unwrap().len()
    }

    async fn restart(&mut self) {
        let next = run(&self.config, &self.disk).await;
        let before = std::mem::replace(&mut self.running, next);
        before.shutdown.trigger();
        before.work.await.unwrap().unwrap();
    }
}

fn radclient(to: SocketAddr, secret: &str, attributes: &str) -> String {
    let mut child = Command::new("radclient")
        .args(["-x", "-r", "1", "-t", "1", &to.to_string(), "acct", secret])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("radclient is missing: `make setup` installs freeradius-utils");
    child.stdin.take().unwrap().write_all(attributes.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn report(status: &str, session: &str, phone: u8, more: &str) -> String {
    let now = SystemClock.unix().seconds();
    format!(
        "Acct-Status-Type = {status}\nAcct-Session-Id = \"{session}\"\nEvent-Timestamp = {now}\n\
         NAS-IP-Address = 127.0.0.1\nCalled-Station-Id = \"internet\"\n\
         Calling-Station-Id = \"44770090000{phone}\"\n3GPP-IMSI = \"99970000000000{phone}\"\n\
         3GPP-IMEISV = \"3569380356438001\"\n{more}\n"
    )
}

const A: &str = "Framed-IP-Address = 10.1.0.7";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_accounts_for_is_known_and_stored_and_ends_with_its_stop() {
    let w = World::new().await;
    let both = format!("{A}\nFramed-IPv6-Prefix = 2001:db8:0:1::/64");
    w.accounted(&report("Start", "s1", 1, &both));
    let bearer = w.find("10.1.0.7").unwrap();
    assert_eq!(bearer.imsi.as_str(), "999700000000001");
    assert_eq!(bearer.imei.unwrap().as_str(), "3569380356438001");
    assert_eq!(w.find("2001:db8:0:1::9").unwrap().session, "s1");
    let number = "447700900001".parse().unwrap();
    assert!(w.running.bearers.with_msisdn(&number).is_some());
    assert_eq!(w.running.bearers.of_number(number).unwrap().imsi, bearer.imsi);
    let (address, apn): (IpAddr, _) = ("10.1.0.7".parse().unwrap(), "ims".parse().unwrap());
    assert!(w.running.bearers.at(address, None).is_some());
    assert_eq!(w.running.bearers.at(address, Some(&apn)), None);
    assert_eq!(w.stored().await, 2);
    w.accounted(&report("Stop", "s1", 1, &both));
    assert_eq!((w.find("10.1.0.7"), w.stored().await), (None, 0));
    let text = w.running.metrics.text();
    for line in [
        "portal_bearers_live 0",
        "portal_bearers_reports_total{kind=\"start\",news=\"began\"} 1",
        "portal_bearers_reports_total{kind=\"stop\",news=\"ended\"} 1",
    ] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
    assert_eq!((w.running.status)()["reports"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_ours_forgets_nothing_and_one_of_the_gateways_all_that_is_its() {
    let mut w = World::new().await;
    w.accounted(&report("Start", "s1", 1, A));
    w.restart().await;
    assert_eq!(w.find("10.1.0.7").unwrap().session, "s1");
    w.accounted("Acct-Status-Type = Accounting-On\nNAS-IP-Address = 127.0.0.1\n");
    assert_eq!((w.find("10.1.0.7"), w.stored().await), (None, 0));
    // One that is configured no more has nobody's address.
    w.accounted(&report("Start", "s2", 2, A));
    w.config.gateways[0].name = "ggsn-2".parse().unwrap();
    w.restart().await;
    assert_eq!((w.find("10.1.0.7"), w.stored().await), (None, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_is_not_answered_and_is_stored_when_it_comes_again() {
    let mut w = World::new().await;
    w.accounted(&report("Start", "s1", 1, A));
    w.disk.full.store(true, Ordering::SeqCst);
    let stop = report("Stop", "s1", 1, A);
    w.unanswered(&stop);
    assert_eq!(w.find("10.1.0.7"), None, "it is true nevertheless");
    assert_eq!(w.stored().await, 1);
    w.disk.full.store(false, Ordering::SeqCst);
    // It changes nothing any more; that it was not stored is known.
    w.accounted(&stop);
    assert_eq!(w.stored().await, 0);
    w.restart().await;
    assert_eq!(w.find("10.1.0.7"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_stored_is_looked_at_when_the_same_datagram_comes_again() {
    let w = World::new().await;
    w.accounted(&report("Start", "s1", 1, A));
    let secret = SharedSecret::new(&Secret::new(SECRET)).unwrap();
    let mut on = Vec::new();
    let mut packet = Builder::request(&mut on, &secret, Code::AccountingRequest, 7, [0; 16]);
    packet.integer(standard::ACCT_STATUS_TYPE, 7).unwrap();
    packet.ipv4(standard::NAS_IP_ADDRESS, std::net::Ipv4Addr::LOCALHOST).unwrap();
    packet.finish();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    w.disk.full.store(true, Ordering::SeqCst);
    socket.send_to(&on, w.running.listening).unwrap();
    while !w.running.metrics.text().contains("portal_bearers_not_stored_total 1") {
        tokio::task::yield_now().await;
    }
    w.disk.full.store(false, Ordering::SeqCst);
    socket.send_to(&on, w.running.listening).unwrap();
    let mut answer = [0; 4096];
    let len = socket.recv(&mut answer).expect("an answer");
    assert_eq!(Packet::decode(&answer[..len]).unwrap().code(), Code::AccountingResponse);
    assert_eq!(w.stored().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_gateways_whose_addresses_overlap_the_narrower_one_is_heard() {
    let mut w = World::new().await;
    let mut wide = w.config.gateways[0].clone();
    wide.name = "all-of-them".parse().unwrap();
    wide.address = "127.0.0.0/8".to_owned().try_into().unwrap();
    w.config.gateways.insert(0, wide);
    w.restart().await;
    w.accounted(&report("Start", "s1", 1, A));
    assert_eq!(w.find("10.1.0.7").unwrap().gateway.as_str(), "ggsn-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_forgers_are_not_heard() {
    let w = World::new().await;
    let start = report("Start", "s1", 1, A);
    let said = radclient(w.running.listening, "another secret of theirs", &start);
    assert!(!said.contains("Received Accounting-Response"), "{said}");
    let text = w.running.metrics.text();
    let line = "portal_bearers_dropped_total{reason=\"bad-request-authenticator\"}";
    assert!(text.contains(line), "{text}");
    // The same by another source address.
    let elsewhere = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
    elsewhere.send_to(&[4; 40], w.running.listening).unwrap();
    let line = "portal_bearers_dropped_total{reason=\"unknown-client\"} 1";
    // What comes after it is answered after it was taken.
    w.accounted(&report("Stop", "s0", 1, A));
    assert!(w.running.metrics.text().contains(line), "{}", w.running.metrics.text());
    assert_eq!(w.find("10.1.0.7"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_no_interest_is_answered_and_what_is_wrong_is_not() {
    let w = World::new().await;
    let other = report("Start", "s1", 1, A).replace("\"internet\"", "\"ims\"");
    w.accounted(&other);
    assert_eq!(w.find("10.1.0.7"), None);
    w.unanswered(&report("Start", "s2", 1, A).replace("999700000000001", "not an IMSI"));
    assert_eq!((w.running.status)()["refused"].as_u64(), Some(2));
    assert!(w.folder.path().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_silent_for_too_long_while_nobody_listened_is_nobodys() {
    let mut w = World::new().await;
    w.accounted(&report("Start", "s1", 1, A));
    w.accounted(&report("Start", "s2", 2, "Framed-IP-Address = 10.1.0.8"));
    {
        let mut old = w.disk.bearers().await.unwrap().remove(0);
        old.seen.0 -= 7_200_000;
        w.disk.apply_bearers(&[BearerChange::Put(old)]).await.unwrap();
    }
    w.restart().await;
    // Until its time has come, which it has: the worker finds it at its next look.
    while w.stored().await != 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(w.find("10.1.0.7"), None);
    assert!(w.find("10.1.0.8").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_and_their_secrets_are_reloaded_and_one_that_goes_takes_its_bearers_with_it() {
    let mut w = World::new().await;
    w.accounted(&report("Start", "s1", 1, A));
    let file = w.folder.path().join("secret");
    std::fs::write(&file, "another secret of ours").unwrap();
    w.running.reloads.reload(&w.config).unwrap();
    w.unanswered(&report("Stop", "s1", 1, A));
    assert!(w.find("10.1.0.7").is_some(), "what stands, stands");
    let stop = report("Stop", "s0", 1, A);
    let said = radclient(w.running.listening, "another secret of ours", &stop);
    assert!(said.contains("Received Accounting-Response"), "{said}");

    // What cannot be read changes nothing.
    std::fs::remove_file(&file).unwrap();
    w.config.gateways[0].name = "ggsn-2".parse().unwrap();
    let error = format!("{:#}", w.running.reloads.reload(&w.config).unwrap_err());
    assert!(error.contains("the secret of packet gateway ggsn-2"), "{error}");
    assert!(w.find("10.1.0.7").is_some());
    std::fs::write(&file, SECRET).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    w.running.reloads.reload(&w.config).unwrap();
    assert_eq!(w.find("10.1.0.7"), None);
    while w.stored().await != 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((w.running.status)()["live"], 0);
    w.accounted(&report("Start", "s1", 1, A));
    assert_eq!(w.find("10.1.0.7").unwrap().gateway.as_str(), "ggsn-2");
    // The work ends as it would without.
    w.restart().await;
}
