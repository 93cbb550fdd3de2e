//! An SMSC, a portal's desk, and the messages between them.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use homeward_daemon::{Metrics, Period, SecretSource, Shutdown, SystemClock};
use homeward_model::{
    AccountId, Apn, Coverage, Imsi, Mac, Msisdn, OffloadPolicy, PolicyScope, ServiceTerms, Status,
};
use homeward_offload::wire::sms::{self, SmsAnswer, SmsReply};
use homeward_offload::wire::{CredentialAnswer, CredentialRequest};
use homeward_portal::committer::{Committer, Committing};
use homeward_portal::desk::{Desk, Held, Terms, Whose};
use homeward_portal::figures::Figures;
use homeward_portal::sms::{Config, Reloads, start};
use homeward_store::{MemoryStore, NewAccount, NewClass, NewSubscriber, Store};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(crate) const IMSI: &str = "999700123456789";
pub(crate) const NUMBER: &str = "447700900123";
pub(crate) const PASSWORD: &str = "hush-hus";

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The SMSC: a process that ends with this.
pub(crate) struct Smsc {
    child: Child,
    to: ChildStdin,
    heard: mpsc::UnboundedReceiver<Value>,
    passed: VecDeque<Value>,
    pub(crate) port: u16,
}

impl Drop for Smsc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Smsc {
    /// One at that port; 0: at any.
    pub(crate) async fn start(port: u16) -> Self {
        Self::told(&json!({ "port": port, "system_id": "homeward", "password": PASSWORD })).await
    }

    /// One with these files.
    pub(crate) async fn with_tls(certificate: &Path, key: &Path) -> Self {
        let (cert, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
        let told = json!({
            "port": 0, "system_id": "homeward", "password": PASSWORD, "cert": cert, "key": key,
        });
        Self::told(&told).await
    }

    async fn told(told: &Value) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let modules = here.join("../../target/tools/node/node_modules");
        assert!(modules.join("smpp").exists(), "smpp is missing: `make node` installs it");
        let mut child = Command::new("node")
            .arg(here.join("tests/sms/smsc.js"))
            .arg(told.to_string())
            .env("NODE_PATH", modules)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = child.stdin.take().unwrap();
        let from = BufReader::new(child.stdout.take().unwrap());
        let (says, heard) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in from.lines() {
                let Ok(line) = line else { return };
                if says.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut smsc = Self { child, to, heard, passed: VecDeque::new(), port: 0 };
        smsc.port = smsc.next("listening").await["port"].as_u64().unwrap().try_into().unwrap();
        smsc
    }

    /// The next thing of that kind that happened; what happened before it is for later.
    pub(crate) async fn next(&mut self, is: &str) -> Value {
        if let Some(at) = self.passed.iter().position(|said| said["is"] == is) {
            return self.passed.remove(at).unwrap();
        }
        loop {
            let said = tokio::time::timeout(PATIENCE, self.heard.recv()).await;
            let said = said.unwrap_or_else(|_| panic!("no {is:?}; {:?}", self.passed));
            let said = said.unwrap_or_else(|| panic!("the SMSC ended; {:?}", self.passed));
            if said["is"] == is {
                return said;
            }
            self.passed.push_back(said);
        }
    }

    /// Whether something of that kind has happened by now.
    pub(crate) fn has_been(&mut self, is: &str) -> bool {
        while let Ok(said) = self.heard.try_recv() {
            self.passed.push_back(said);
        }
        self.passed.iter().any(|said| said["is"] == is)
    }

    pub(crate) fn order(&mut self, order: Value) {
        writeln!(self.to, "{order}").unwrap();
    }

    /// Delivers a text of that number's, as a whole.
    pub(crate) fn deliver(&mut self, from: &str, text: &str) {
        self.order(json!({ "do": "deliver", "from": from, "text": text }));
    }

    /// With what status the next message was taken.
    pub(crate) async fn delivered(&mut self) -> (String, u64) {
        let said = self.next("delivered").await;
        (said["text"].as_str().unwrap().to_owned(), said["status"].as_u64().unwrap())
    }

    /// The segments of an answer.
    pub(crate) async fn segments(&mut self) -> Vec<Value> {
        let mut all = vec![self.next("submitted").await];
        let total = match all[0]["udh"].as_array().unwrap().as_slice() {
            [] => 1,
            // Element 0 of length 3: reference, total, number.
            [element] => {
                assert_eq!((&element[0], &element[1]), (&json!(0), &json!(3)));
                element[3].as_u64().unwrap()
            }
            other => panic!("{other:?}"),
        };
        while (all.len() as u64) < total {
            all.push(self.next("submitted").await);
        }
        all
    }

    /// The text of an answer, as the SMSC reads it.
    pub(crate) async fn text(&mut self) -> String {
        let segments = self.segments().await;
        segments.iter().map(|segment| segment["text"].as_str().unwrap()).collect()
    }

    /// The credentials of an answer.
    pub(crate) async fn credentials(&mut self) -> CredentialAnswer {
        let text = self.text().await;
        match sms::decode_reply(&text) {
            Ok(SmsReply::Credentials(said)) => {
                let SmsAnswer { answer, .. } = *said;
                answer
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

/// Whose a number is.
#[derive(Default)]
pub(crate) struct Numbers(Mutex<Vec<(Msisdn, Held)>>);

impl Whose for Numbers {
    fn at(&self, _: std::net::IpAddr, _: Option<&Apn>) -> Option<Held> {
        panic!("messages come from no address");
    }

    fn of_number(&self, number: Msisdn) -> Option<Held> {
        let all = self.0.lock().unwrap();
        all.iter().find(|(other, _)| *other == number).map(|(_, held)| held.clone())
    }
}

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) account: AccountId,
    pub(crate) numbers: Arc<Numbers>,
    pub(crate) config: Config,
    pub(crate) figures: Figures,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
    pub(crate) reloads: Reloads,
    pub(crate) running: JoinHandle<()>,
    status: Box<dyn Fn() -> Value + Send + Sync>,
    /// What issues, until it is let go.
    issuing: Option<Committing>,
}

impl World {
    /// A portal that is bound to that SMSC, and has a subscriber of [`IMSI`] and [`NUMBER`].
    pub(crate) async fn new(smsc: &mut Smsc) -> Self {
        let world = Self::with(smsc.port, |_| {}).await;
        smsc.next("bound").await;
        world
    }

    pub(crate) async fn with(port: u16, change: impl FnOnce(&mut Config)) -> Self {
        let mut world = Self::held(port, change).await;
        world.issue();
        world
    }

    /// One that issues nothing until it is told.
    pub(crate) async fn held(port: u16, change: impl FnOnce(&mut Config)) -> Self {
        let folder = TempDir::new().unwrap();
        let mut config = Config {
            smsc: Some(format!("127.0.0.1:{port}")),
            system_id: "homeward".to_owned(),
            password: Some(SecretSource::File(secret(folder.path(), PASSWORD))),
            address: Some("4444".to_owned()),
            pause: Period(Duration::from_millis(50)),
            ..Config::default()
        };
        change(&mut config);
        config.check().unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
        let (coverage, terms) = (Coverage::default(), ServiceTerms::default());
        let class = NewClass { name: "gold".parse().unwrap(), coverage, terms, retention: None };
        let class = store.create_class(&class).await.unwrap().id;
        let (name, status) = ("smith".parse().unwrap(), Status::Active);
        let account = store.create_account(&NewAccount { name, class, status }).await.unwrap().id;
        let mut metrics = Metrics::new("core", "1");
        let figures = Figures::new(&mut metrics);
        let (committer, committing) = Committer::new();
        let terms = Terms {
            realm: "wlan.example.net".parse().unwrap(),
            settings: homeward_offload::issuing::Settings::default(),
            unknown_subscribers: None,
            handoff: None,
        };
        let numbers = Arc::new(Numbers::default());
        let whose: Arc<dyn Whose> = Arc::clone(&numbers) as _;
        let desk = Desk::new(terms, Arc::clone(&store), whose, committer, figures.clone());
        let desk = Arc::new(desk.await.unwrap());
        let shutdown = Shutdown::new();
        let started =
            start(&config, desk, figures.clone(), &mut metrics, shutdown.clone()).unwrap();
        let status = Box::new(started.status());
        let reloads = started.reloads.clone();
        let running = tokio::spawn(started.work);
        let issuing = Some(committing);
        let world = Self {
            folder,
            store,
            account,
            numbers,
            config,
            figures,
            metrics,
            shutdown,
            reloads,
            running,
            status,
            issuing,
        };
        world.policy(|_| {}).await;
        world.subscriber(IMSI, Some(NUMBER)).await;
        world
    }

    /// From now on credentials are issued.
    pub(crate) fn issue(&mut self) {
        let committing = self.issuing.take().unwrap();
        tokio::spawn(committing.run(Arc::clone(&self.store)));
    }

    /// From now on none can be.
    pub(crate) fn fail(&mut self) {
        self.issuing = None;
    }

    pub(crate) async fn subscriber(&self, imsi: &str, number: Option<&str>) {
        let new = NewSubscriber {
            imsi: imsi.parse().unwrap(),
            msisdn: number.map(|number| number.parse().unwrap()),
            account: self.account,
            label: String::new(),
            status: Status::Active,
        };
        self.store.create_subscriber(&new).await.unwrap();
    }

    /// That number has a live bearer of that SIM's.
    pub(crate) fn live(&self, number: &str, imsi: &str) {
        let held = Held { imsi: imsi.parse().unwrap(), imei: None };
        self.numbers.0.lock().unwrap().push((number.parse().unwrap(), held));
    }

    /// Sets the default policy, changed in that way.
    pub(crate) async fn policy(&self, change: impl FnOnce(&mut OffloadPolicy)) {
        let text = r#"{"wlan":{"networks":[{"ssid":"Town"}],"server_name":"aaa.example.net"}}"#;
        let mut policy: OffloadPolicy = serde_json::from_str(text).unwrap();
        change(&mut policy);
        self.store.set_policy(PolicyScope::Default, &policy).await.unwrap();
    }

    pub(crate) fn status(&self) -> Value {
        (self.status)()
    }

    /// How often that was the outcome at the desk, or before it.
    pub(crate) fn answered(&self, outcome: &str) -> u64 {
        self.figures.status()[outcome].as_u64().unwrap_or(0)
    }

    /// Waits until the status is like that.
    pub(crate) async fn until(&self, is: impl Fn(&Value) -> bool) {
        let waiting = async {
            while !is(&self.status()) {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("{}", self.status()));
    }
}

/// A file with a secret that nobody else may read.
pub(crate) fn secret(folder: &Path, text: &str) -> PathBuf {
    let file = folder.join("password");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

pub(crate) fn request(imsi: &str, last: u8) -> CredentialRequest {
    let imsi: Imsi = imsi.parse().unwrap();
    let mac = Mac::new([2, 0, 0x5e, 0x10, 0, last]);
    CredentialRequest { imsi, imei: None, mac, previous: None, handoff: false }
}

/// A request as a message.
pub(crate) fn text(imsi: &str, last: u8) -> String {
    sms::encode_request(&request(imsi, last)).to_string()
}
