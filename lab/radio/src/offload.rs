//! A phone that offloads by itself: a SIM and a bearer beside its radio, the product's agent, and
//! an operator whose core has a portal.
//!
//! ```text
//!   root namespace: the core                          bridge inet 10.0.0.1/24
//!     AAA, RadSec 10.0.0.1      the check page 10.0.0.1:80      │
//!     portal 10.91.0.2:443 ── sgi0 ── [ggsn] ═ GTP ═ [sgsn]     │ up1
//!     its bearers :1813 ◄─ homeward-cell-bridge         ┊   ┌───┴──────────────────────┐
//!                                                       ┊   │ cafe: hostapd (802.1X) ──► agent's
//!   ┌────────────────────────┐                          ┊   │ proxy on 127.0.0.1 ──► RadSec to the core
//!   │ phone                  │ wwan0 10.60.0.x ┄┄┄┄┄┄┄┄┄┘   │ br0 10.1.0.1/24, DHCP
//!   │ homeward device        │ wlanN ))) ─────────────── ((( wlan0
//!   │ wpa_supplicant, udhcpc │                              └──────────────────────────┘
//!   └────────────────────────┘
//! ```
//!
//! The DHCP client runs when the supplicant has connected, and the address goes when it has
//! disconnected, as dhcpcd and systemd-networkd have it. Or else NetworkManager runs the phone's
//! Wi-Fi, with a wpa_supplicant and a DHCP client of its own, on a bus of the phone's.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_cell::network::{GATEWAY, SERVICES};
use homeward_cell::{CellularNetwork, CellularPlan, Device, Sim};
use homeward_daemon::control::{Request, ask};
use homeward_model::Rssi;
use homeward_net::wait::{now, pause, wait_for};
use homeward_net::{Namespace, NetworkManager, PrivateBus, Process};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::control::{Control, Event};
use crate::gateway::{AccessPoint, ApConfig, Gateway};
use crate::handoff;
use crate::lab::{CORE, Lab};
use crate::operator::{Agent, Operator, SECRET, private};
use crate::security::{Login, Security};
use crate::station::Station;
use crate::{OUT, RUN};

/// The operator's network.
pub const SSID: &str = "Town";
/// Another's, which the operator's subscribers may use as well.
pub const HARBOUR_SSID: &str = "Harbour";
/// A policy's table of thresholds, with a signal that is over them and one that is under them. They
/// are as far from each other as where a policy names none.
pub const POLICY: &str = "join = -60\nleave = -70\ndwell = 1";
/// See [`POLICY`].
pub const JOIN: Rssi = Rssi(-60);
/// See [`POLICY`].
pub const LEAVE: Rssi = Rssi(-70);
/// See [`POLICY`].
pub const NEAR: Rssi = Rssi(-50);
/// See [`POLICY`].
pub const FAR: Rssi = Rssi(-79);
/// The account that all subscribers of the lab are of.
pub const ACCOUNT: &str = "riders";
/// The name of the portal, of no resolver's.
const PORTAL: &str = "portal.example.net";
/// How long a daemon may take to come up.
const START: Duration = Duration::from_secs(30);
/// Of a phone's routes by Wi-Fi; NetworkManager's, and before a modem's.
const METRIC: u32 = 600;

/// An operator with both networks: a mobile one, and a core with a portal between.
#[derive(Debug)]
pub struct Carrier {
    lab: Lab,
    /// The mobile network.
    pub network: CellularNetwork,
    /// The operator's core.
    pub operator: Operator,
    /// The page that devices check by.
    pub check: CheckPage,
    _bridge: Process,
    portal_ca: PathBuf,
}

impl Carrier {
    /// Starts the mobile network, the core and the bridge between them, with the account
    /// [`ACCOUNT`] and a default policy: `wlan` and `terms` are the further lines of its tables.
    ///
    /// # Errors
    /// If a part does not come up.
    pub async fn start(lab: &Lab, wlan: &str, terms: &str) -> Result<Self> {
        let plan = CellularPlan::simple()?;
        let network = CellularNetwork::start(Path::new(OUT), &Namespace::ROOT, plan).await?;
        let folder = Path::new(RUN).join("portal");
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        let made = rcgen::generate_simple_self_signed([PORTAL.to_owned()])?;
        let [certificate, key, secret] =
            ["portal.pem", "portal.key", "bearers.secret"].map(|file| folder.join(file));
        private(&certificate, &made.cert.pem())?;
        private(&key, &made.signing_key.serialize_pem())?;
        private(&secret, SECRET)?;
        let more = format!(
            "[portal]\nlisten = [\"{SERVICES}:443\"]\nrealm = \"wifi.example.net\"\n\
             certificate = \"{}\"\nkey = \"{}\"\n\
             [portal.bearers]\nlisten = \"{SERVICES}:1813\"\n\
             [[portal.bearers.gateways]]\nname = \"ggsn\"\naddress = \"{GATEWAY}\"\n\
             secret = {{ file = \"{}\" }}\n{}",
            certificate.display(),
            key.display(),
            secret.display(),
            handoff::tables(handoff::TOWN, "security_module.")?
        );
        let operator = Operator::start_with(lab, &more).await?;
        // Who has no home network is nowhere at home: such a class is to be good everywhere.
        operator.admin(&["class", "create", "mobile", "--coverage", "everywhere"]).await?;
        operator.admin(&["account", "create", ACCOUNT, "--class", "mobile"]).await?;
        let (ca, name) = operator.eap_server();
        let policy = folder.join("policy.toml");
        fs::write(
            &policy,
            format!(
                "[terms]\n{terms}\n[wlan]\nserver_name = \"{name}\"\nca = \"\"\"{}\"\"\"\n{wlan}\n\
                 [[wlan.networks]]\nssid = \"{SSID}\"\n\
                 [[wlan.networks]]\nssid = \"{HARBOUR_SSID}\"\n",
                fs::read_to_string(&ca)?
            ),
        )?;
        let policy = policy.display().to_string();
        operator.admin(&["policy", "set", "--default", &policy]).await?;
        let to = SocketAddr::from((SERVICES, 1813));
        let bridge = network.report_to(to, SECRET, &["--look-ms", "20"])?;
        let check = CheckPage::start(&Namespace::ROOT, CORE)?;
        Ok(Self {
            lab: lab.clone(),
            network,
            operator,
            check,
            _bridge: bridge,
            portal_ca: certificate,
        })
    }

    /// Makes a SIM known as a subscriber of [`ACCOUNT`].
    ///
    /// # Errors
    /// If `admin` fails.
    pub async fn subscribe(&self, sim: &Sim) -> Result<()> {
        let imsi = sim.imsi.as_str();
        self.operator.admin(&["subscriber", "add", imsi, "--account", ACCOUNT]).await.map(drop)
    }

    /// Puts a gateway on the air with the network [`SSID`], its log-ins asked of the core through
    /// the agent, by RADIUS over TLS.
    ///
    /// # Errors
    /// If hostapd or the agent does not come up.
    pub async fn hotspot(&self, name: &str) -> Result<Hotspot> {
        self.hotspot_of(name, SSID).await
    }

    /// The same with another network.
    ///
    /// # Errors
    /// If hostapd or the agent does not come up.
    pub async fn hotspot_of(&self, name: &str, ssid: &str) -> Result<Hotspot> {
        let mut gateway = self.lab.gateway(name).await?;
        self.operator.enrol(&gateway, "gb/london/n7", "homeward").await?;
        let nobody = Login {
            method: "PEAP",
            phase2: "auth=MSCHAPV2",
            identity: String::new(),
            password: String::new(),
            ca: String::new(),
        };
        let config = ApConfig::new(ssid)
            .security(Security::Enterprise(nobody))
            .line(&format!("nas_identifier={name}"))
            .line("auth_server_addr=127.0.0.1")
            .line("auth_server_port=1812")
            .line(&format!("auth_server_shared_secret={SECRET}"))
            .line("acct_server_addr=127.0.0.1")
            .line("acct_server_port=1813")
            .line(&format!("acct_server_shared_secret={SECRET}"));
        let ap = gateway.access_point(&config).await?;
        let secret = ap.folder().join("proxy.secret");
        private(&secret, SECRET)?;
        let extra = format!(
            "{}[proxy]\nlisten = \"127.0.0.1:1812\"\nsecret = {{ file = \"{}\" }}\n",
            self.operator.channel(&gateway).await?,
            secret.display()
        );
        let agent = self.operator.agent(&mut gateway, &ap, &extra).await?;
        Ok(Hotspot { gateway, ap, agent })
    }

    /// Makes a phone: out of everybody's reach, its supplicant without a network, its agent
    /// running. It has no bearer yet: its modem is `wwan0`, with `sim` in it. `limits` are the lines
    /// of its agent's table of that name, and further tables.
    ///
    /// # Errors
    /// If a part does not come up.
    pub async fn phone(&self, name: &str, sim: &Sim, limits: &str) -> Result<Phone> {
        let mut station = self.station(name)?;
        station.run_supplicant().await?;
        let by = By::Supplicant { _dhcp: KeptAddress::start(&station).await? };
        self.equip(station, by, sim, limits).await
    }

    /// Makes a phone whose Wi-Fi NetworkManager runs, as [`phone`](Self::phone).
    ///
    /// # Errors
    /// If a part does not come up.
    pub async fn managed_phone(&self, name: &str, sim: &Sim, limits: &str) -> Result<Phone> {
        let station = self.station(name)?;
        let folder = private_folder(&format!("{name}-manager"))?;
        let (logs, place) = (Path::new(OUT), station.namespace());
        let bus = PrivateBus::start(logs, place, &folder).await?;
        let interface = station.radio().interface();
        let manager = NetworkManager::start(logs, place, &bus, &folder, &[&interface]).await?;
        self.equip(station, By::Manager { bus, _manager: Box::new(manager) }, sim, limits).await
    }

    fn station(&self, name: &str) -> Result<Station> {
        let station = self.lab.station(name)?;
        station.out_of_reach()?;
        station.namespace().ip("link set lo up")?;
        Ok(station)
    }

    async fn equip(&self, station: Station, by: By, sim: &Sim, limits: &str) -> Result<Phone> {
        let name = station.name();
        let folder = private_folder(&format!("{name}-device"))?;
        let bus = match &by {
            By::Supplicant { .. } => String::new(),
            By::Manager { bus, .. } => format!("bus = \"{}\"\n", bus.address()),
        };
        let at = |file: &str| folder.join(file).display().to_string();
        let text = format!(
            "[portal]\nurl = \"https://{PORTAL}/offload/v1/credentials\"\n\
             addresses = [\"{SERVICES}:443\"]\nca = \"{}\"\n\
             [check]\nurl = \"http://{CORE}/generate_204\"\n\
             [wlan]\ninterface = \"{}\"\nsupplicant = \"{}\"\nrun_directory = \"{}\"\n{bus}\
             [modem]\nimsi = \"{}\"\ninterface = \"wwan0\"\n\
             [state]\ndirectory = \"{}\"\nkey_file = \"{}\"\n\
             [control]\nsocket = \"{}\"\n[log]\nfilter = \"debug\"\n[limits]\n{limits}\n",
            self.portal_ca.display(),
            station.radio().interface(),
            station.supplicant_folder().display(),
            at("run"),
            sim.imsi.as_str(),
            at("state"),
            at("state/device.keys"),
            at("device.sock"),
        );
        let config = folder.join("device.toml");
        fs::write(&config, text)?;
        let config = config.display().to_string();
        let arguments = ["device", "--config", &config];
        let mut device =
            self.lab.homeward(&format!("{name}-device"), &arguments, station.namespace())?;
        device.says("device is running", START).await?;
        let socket = folder.join("device.sock");
        Ok(Phone { station, device, socket, _by: by })
    }
}

/// An access point of the operator's, behind a gateway with an agent.
#[derive(Debug)]
pub struct Hotspot {
    /// The gateway.
    pub gateway: Gateway,
    /// Its hostapd.
    pub ap: AccessPoint,
    /// Its agent.
    pub agent: Agent,
}

/// A phone with an agent.
#[derive(Debug)]
pub struct Phone {
    /// Its radio and supplicant.
    pub station: Station,
    /// Its agent, `homeward device`.
    pub device: Process,
    /// Its agent's status socket.
    pub socket: PathBuf,
    _by: By,
}

/// Who runs a phone's Wi-Fi.
#[derive(Debug)]
enum By {
    Supplicant { _dhcp: KeptAddress },
    Manager { bus: PrivateBus, _manager: Box<NetworkManager> },
}

/// A folder that nobody else can enter.
fn private_folder(name: &str) -> Result<PathBuf> {
    let folder = Path::new(RUN).join(name);
    fs::create_dir_all(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
    Ok(folder)
}

impl Phone {
    /// What a mobile network attaches.
    ///
    /// # Errors
    /// Never.
    pub fn modem(&self) -> Result<Device> {
        let imei = "3569380356438001".parse()?;
        Ok(Device::in_namespace(self.station.name(), imei, self.station.namespace().clone()))
    }

    /// Asks the agent.
    ///
    /// # Errors
    /// If it does not answer, or refuses.
    pub async fn ask(&self, request: &Request) -> Result<Value> {
        Ok(ask(&self.socket, request).await?)
    }

    /// Waits until the agent's machine is as `check` wants it; returns it.
    ///
    /// # Errors
    /// If `limit` is over first, with the last status and why it is not on Wi-Fi.
    pub async fn machine_where(
        &self,
        what: &str,
        limit: Duration,
        check: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut last = Value::Null;
        let waited = wait_for(what, limit, async || {
            // It may be restarting.
            let status = self.ask(&Request::new("status")).await.unwrap_or_default();
            last = status["machine"].clone();
            Ok(check(&last).then(|| last.clone()))
        })
        .await;
        match waited {
            Ok(machine) => Ok(machine),
            Err(error) => {
                let why = self.ask(&Request::new("why")).await.unwrap_or_default();
                Err(error).with_context(|| format!("the last was {last:#}, and why {why:#}"))
            }
        }
    }

    /// Waits until the machine is in that state.
    ///
    /// # Errors
    /// As [`machine_where`](Self::machine_where).
    pub async fn is(&self, state: &str, limit: Duration) -> Result<Value> {
        self.machine_where(&format!("a device that is {state}"), limit, |m| m["state"] == state)
            .await
    }

    /// The user name of the credentials in hand; empty without any.
    ///
    /// # Errors
    /// If the agent does not answer.
    pub async fn username(&self) -> Result<String> {
        let status = self.ask(&Request::new("status")).await?;
        Ok(username(&status["machine"]))
    }

    /// Waits until it holds credentials of another name than `before`, not spent; returns it.
    ///
    /// # Errors
    /// As [`machine_where`](Self::machine_where).
    pub async fn other_credentials(&self, before: &str, limit: Duration) -> Result<String> {
        let other = |m: &Value| !["", before].contains(&username(m).as_str());
        let machine = self.machine_where("credentials of another name", limit, other).await?;
        Ok(username(&machine))
    }

    /// What keeps it from Wi-Fi, in the machine's words: `weak`, `nothing-heard`, …
    ///
    /// # Errors
    /// If the agent does not answer.
    pub async fn causes(&self) -> Result<Vec<String>> {
        let why = self.ask(&Request::new("why")).await?;
        let causes = why["causes"].as_array().into_iter().flatten();
        Ok(causes.filter_map(|cause| cause["cause"].as_str()).map(str::to_owned).collect())
    }
}

fn username(machine: &Value) -> String {
    machine["credentials"]["username"].as_str().unwrap_or_default().to_owned()
}

/// Gets an address whenever the supplicant has connected, and drops it when it has disconnected;
/// until dropped.
#[derive(Debug)]
struct KeptAddress(Option<oneshot::Sender<()>>);

impl KeptAddress {
    async fn start(station: &Station) -> Result<Self> {
        let client = AddressKeeper {
            name: station.name().to_owned(),
            namespace: station.namespace().clone(),
            interface: station.radio().interface(),
            socket: station.supplicant_folder().join(station.radio().interface()),
        };
        let (stop, stopped) = oneshot::channel();
        let (up_tx, up) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("dhcp".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    // It was dropped.
                    _ = stopped => {}
                    () = client.run(up_tx) => {}
                }
            });
        })?;
        up.await.context("the DHCP client does not hear the supplicant")?;
        Ok(Self(Some(stop)))
    }
}

impl Drop for KeptAddress {
    fn drop(&mut self) {
        self.0.take();
    }
}

struct AddressKeeper {
    name: String,
    namespace: Namespace,
    interface: String,
    socket: PathBuf,
}

impl AddressKeeper {
    async fn run(self, up: oneshot::Sender<()>) {
        let Ok(control) = Control::connect(&self.socket).await else { return };
        // Who started it waits for this.
        up.send(()).ok();
        let folder = Path::new(RUN).join(&self.name);
        let mut since = now();
        loop {
            let event = control.event(since, "CTRL-EVENT-", Duration::from_secs(3600)).await;
            let Ok(event) = event else { return };
            since = event.at + Duration::from_nanos(1);
            // What it says of what is over, or was undone while a lease was asked for, is no news.
            if control.events_since(since, "CTRL-EVENT-").iter().any(is_turn) {
                continue;
            }
            if event.text().starts_with("CTRL-EVENT-DISCONNECTED") {
                self.namespace.ip(&format!("addr flush dev {} scope global", self.interface)).ok();
            } else if event.text().starts_with("CTRL-EVENT-CONNECTED") {
                let lease = homeward_net::dhcp::lease_at(
                    METRIC,
                    Path::new(OUT),
                    &folder,
                    &self.name,
                    &self.namespace,
                    &self.interface,
                    Duration::from_secs(20),
                );
                // Who goes out of reach meanwhile gets none; the next connection asks again.
                lease.await.ok();
            }
        }
    }
}

/// Whether the station has connected, or disconnected.
fn is_turn(event: &Event) -> bool {
    let turns = ["CTRL-EVENT-CONNECTED", "CTRL-EVENT-DISCONNECTED"];
    turns.iter().any(|turn| event.text().starts_with(turn))
}

/// How a [`CheckPage`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 204, as the Internet's does.
    NoContent,
    /// A redirect to somewhere else, as a captive portal does.
    Redirect,
    /// The connection ends without a word.
    Nothing,
}

const ANSWERS: [Answer; 3] = [Answer::NoContent, Answer::Redirect, Answer::Nothing];

/// The page by which devices see whether the Internet is reached, on port 80 of one address; until
/// dropped.
#[derive(Debug)]
pub struct CheckPage {
    answer: Arc<AtomicU8>,
    stop: Arc<AtomicBool>,
}

impl CheckPage {
    /// Serves the page; it answers 204 until told otherwise.
    ///
    /// # Errors
    /// If the address is not there, or its port 80 is taken.
    pub fn start(namespace: &Namespace, address: Ipv4Addr) -> Result<Self> {
        let listener = namespace.enter(|| {
            TcpListener::bind((address, 80)).with_context(|| format!("bind {address}:80"))
        })?;
        listener.set_nonblocking(true)?;
        let page = Self { answer: Arc::default(), stop: Arc::default() };
        let (answer, stop) = (Arc::clone(&page.answer), Arc::clone(&page.stop));
        std::thread::Builder::new().name("check-page".into()).spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let number = usize::from(answer.load(Ordering::Relaxed));
                        // Who goes away before the answer is there has no use for it.
                        serve(stream, ANSWERS.get(number).copied()).ok();
                    }
                    Err(_) => pause(Duration::from_millis(2)),
                }
            }
        })?;
        Ok(page)
    }

    /// Answers like that from now on.
    pub fn answers(&self, answer: Answer) {
        let number = ANSWERS.iter().position(|a| *a == answer).unwrap_or_default();
        self.answer.store(u8::try_from(number).unwrap_or_default(), Ordering::Relaxed);
    }
}

impl Drop for CheckPage {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn serve(mut stream: TcpStream, answer: Option<Answer>) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut head: Vec<u8> = Vec::new();
    let mut room = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 8192 {
        match stream.read(&mut room)? {
            0 => return Ok(()),
            count => head.extend(room.iter().take(count)),
        }
    }
    match answer {
        Some(Answer::NoContent) | None => {
            stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        }
        Some(Answer::Redirect) => stream.write_all(
            b"HTTP/1.1 302 Found\r\nLocation: http://pay.example.com/\r\n\
              Content-Length: 0\r\nConnection: close\r\n\r\n",
        ),
        Some(Answer::Nothing) => Ok(()),
    }
}
