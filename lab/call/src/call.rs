//! A phone in a call, from network to network.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_cell::network::SERVICES;
use homeward_cell::{CellularNetwork, CellularPlan, Device, Sim, Ue};
use homeward_device::handoff::Notice;
use homeward_model::Instant;
use homeward_net::wait::{elapse, now, wait_for};
use homeward_net::{Lab, Namespace, Process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::agent::Agent;
use crate::media::{Ear, Gap, PORT, Packet, clock_ms, gap};
use crate::roles::{Aaa, Kind, Party, Roles, WHO};
use crate::sip::{self, Doing};
use crate::strongswan::{Epdg, Strongswan, certificate, vici};
use crate::{Folders, PATIENCE, text, write};

/// The mobile network.
pub const LTE: &str = "lte.example";
/// The operator's Wi-Fi, behind its ePDG.
pub const TOWN: &str = "town.example";
/// Somebody else's Wi-Fi, behind that one's.
pub const HARBOUR: &str = "harbour.example";
/// The service.
pub const SIP: &str = "sip.example";
/// Where the guard asks and is asked, the edge listens, and who is called is.
const GUARD_PORT: u16 = 7082;
const VERIFY_PORT: u16 = 7090;
const EDGE: (Ipv4Addr, u16) = (SERVICES, 5060);
const CALLED: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 91, 0, 9), 5060);
/// What is behind the tunnels.
const BEHIND: &str = "10.91.0.0/24";
/// What the packet gateway gives.
const POOL: &str = "10.60.0.0/24";
/// The phone's, the first of them.
const PHONE: &str = "10.60.0.2-10.60.0.2";
/// How the call is called.
const CALL: &str = "call@a";
/// From when the call is well until it is well again, on the other way.
const SETTLED: Duration = Duration::from_millis(600);
/// The longest that a call may take, in seconds.
const LONGEST: u32 = 300;

/// A Wi-Fi network behind an ePDG, and the phone's cable to it.
#[derive(Debug, Clone, Copy)]
struct Wifi {
    network: &'static str,
    /// The certificate's.
    epdg: &'static str,
    interface: &'static str,
    number: u8,
}

const WIFI: [Wifi; 2] = [
    Wifi { network: TOWN, epdg: "epdg.town.example", interface: "w1", number: 1 },
    Wifi { network: HARBOUR, epdg: "epdg.harbour.example", interface: "w2", number: 2 },
];

impl Wifi {
    fn name(self) -> &'static str {
        self.network.split('.').next().unwrap_or(self.network)
    }

    /// The phone's address at its access point.
    fn phone(self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number, 0, 2)
    }

    /// Its access point's.
    fn access(self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number, 0, 1)
    }

    /// Its ePDG's.
    fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 92, self.number, 1)
    }

    /// Its module's, in the namespace of the services.
    fn services(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 92, self.number, 2)
    }
}

/// A move from network to network in a call.
#[derive(Debug, Clone)]
pub struct Moved {
    /// To where.
    pub to: &'static str,
    /// When the phone was told to go there.
    pub began: Instant,
    /// How long after that the tunnel was up, in ms; none is needed on LTE.
    pub tunnel_ms: Option<f64>,
    /// How long after that the guard had admitted it by the new chain, in ms.
    pub proven_ms: f64,
    /// How long after that it had registered, and who is called had answered its re-INVITE, in ms.
    pub answered_ms: f64,
    /// Until when the media was looked at.
    ended: Instant,
}

/// What became of the media in a move.
#[derive(Debug, Clone, Copy)]
pub struct Media {
    /// From the phone, as who is called heard it behind the gate.
    pub up: Gap,
    /// To the phone.
    pub down: Gap,
}

/// Everything, in namespaces.
#[derive(Debug)]
pub struct Stage {
    // Dropped in this order: programs before where they run.
    agent: Agent,
    talking: Option<Process>,
    called: Process,
    _edge: Process,
    ears: [Ear; 2],
    charons: Vec<Strongswan>,
    roles: Roles,
    ue: Ue,
    _cellular: CellularNetwork,
    _wifi: Vec<Namespace>,
    services: Namespace,
    logs: PathBuf,
    _state: TempDir,
    session: String,
    runs: u32,
}

impl Stage {
    /// Builds it all: the phone is on LTE, its chain of one hop proven; nobody calls yet. `homeward` is the
    /// binary.
    ///
    /// # Errors
    /// If something does not come up.
    pub async fn build(lab: &Lab, homeward: &Path) -> Result<Self> {
        let (state, logs) = (tempfile::tempdir()?, lab.folder().to_owned());
        let (folder, logs) = (state.path(), logs.as_path());
        let services = lab.namespace("services")?;
        services.ip(&format!("addr add {}/32 dev lo", CALLED.0))?;
        let cellular =
            CellularNetwork::start(logs, &services, CellularPlan::with_pool(POOL.parse()?)?);
        let mut cellular = cellular.await?;
        let phone = Device::create("phone", "3534900698733190".parse()?)?;
        let ue = cellular.attach(&phone, &Sim::numbered(1)?).await?;
        let mut wifi = Vec::new();
        for of in WIFI {
            wifi.push(lay(lab, of, &phone.namespace, &services)?);
        }
        let (parties, aaa, at) = (parties(folder), aaa(), folder.join("roles"));
        let folders = Folders { state: &at, logs };
        let roles = Roles::start(folders, homeward, &services, &parties, &aaa).await?;
        let mut charons = Vec::new();
        for (of, namespace) in WIFI.into_iter().zip(&wifi) {
            let updown = anchor(folder, of, &services)?;
            let folders = Folders { state: &folder.join(of.name()), logs };
            let epdg = epdg(of, Some(updown));
            charons.push(Strongswan::epdg(folders, namespace, &epdg).await?);
        }
        let mut trusted: Vec<_> =
            WIFI.iter().map(|of| certificate(&folder.join(of.name()))).collect();
        trusted.push(roles.eap_trust());
        let own = folder.join("phone");
        let folders = Folders { state: &own, logs };
        let charon = Strongswan::device(folders, &phone.namespace, &trusted, roles.password());
        charons.push(charon.await?);
        let ears = [
            Ear::start(logs, "media-up", &services).await?,
            Ear::start(logs, "media-down", &phone.namespace).await?,
        ];
        let called = called(logs, &services)?;
        let edge = edge(folder, logs, &services).await?;
        let handoff = handoff(&roles, folder, ue.address())?;
        let agent = Agent::start(&phone.namespace, &folder.join("agent"), handoff)?;
        agent.go(None, ue.interface(), ue.address())?;
        agent.says(|notice| matches!(notice, Notice::Admitted { .. }))?;
        let mut stage = Self {
            agent,
            talking: None,
            called,
            _edge: edge,
            ears,
            charons,
            roles,
            ue,
            _cellular: cellular,
            _wifi: wifi,
            services,
            logs: logs.to_owned(),
            _state: state,
            session: String::new(),
            runs: 0,
        };
        let session = stage.trace()?["sessions"][0]["session"].as_str().map(str::to_owned);
        stage.session = session.context("the guard knows no session")?;
        Ok(stage)
    }

    /// The phone registers, and calls; media flows both ways when this returns.
    ///
    /// # Errors
    /// If it is refused, or no media comes.
    pub async fn call(&mut self) -> Result<()> {
        let password = self.password()?;
        self.phone(&sip::register(200), SIP, &password, None).await?;
        // Half a second of A-law; what it sounds like is all the same.
        let audio = self.logs.join("audio.alaw");
        let octets: Vec<u8> =
            (0..4000_u32).map(|n| if n / 10 % 2 == 0 { 0xd5 } else { 0x55 }).collect();
        fs::write(&audio, octets)?;
        let doing = sip::in_call("INVITE", "sip:b@sip.example", false, 200);
        let doing = doing + &sip::talks(&audio, LONGEST)?;
        self.talking = Some(self.start(&doing, "b@sip.example", &password, Some(CALL))?);
        for ear in &mut self.ears {
            ear.hears().await?;
        }
        elapse(SETTLED).await;
        Ok(())
    }

    /// The phone goes to another network, and goes on with its call by the key that it has then. The key
    /// of the network before is tried first: it is refused.
    ///
    /// # Errors
    /// If it is not let in, not admitted, or the call does not go on.
    pub async fn go(&mut self, to: &'static str) -> Result<Moved> {
        let old = self.password()?;
        let began = now();
        let since = |at: Instant| at.since(began).as_secs_f64() * 1e3;
        let mut tunnel_ms = None;
        if let Some(of) = WIFI.into_iter().find(|of| of.network == to) {
            self.agent.go(Some(of.name()), of.interface, of.phone())?;
            self.agent.says(|notice| matches!(notice, Notice::Connected { .. }))?;
            tunnel_ms = Some(since(now()));
        } else {
            self.agent.go(None, self.ue.interface(), self.ue.address())?;
        }
        self.agent.says(|notice| matches!(notice, Notice::Admitted { .. }))?;
        let proven_ms = since(now());
        let new = self.password()?;
        ensure!(old != new, "the key is the same after a hop");
        let uri = format!("b@{}:{}", CALLED.0, CALLED.1);
        let goes_on = sip::in_call("INVITE", &format!("sip:{uri}"), true, 200);
        self.phone(&sip::register(200), SIP, &new, None).await?;
        self.phone(&goes_on, &uri, &new, Some(CALL)).await?;
        let answered_ms = since(now());
        self.phone(&sip::register(401), SIP, &old, None).await.context("the old key is taken")?;
        elapse(SETTLED).await;
        let ended = now();
        Ok(Moved { to, began, tunnel_ms, proven_ms, answered_ms, ended })
    }

    /// The operator of the service learns that a network's module is not to be trusted any more, and the
    /// call through it is over: since when nothing was heard of it, after so many ms.
    ///
    /// # Errors
    /// If the call goes on.
    pub async fn revoke(&mut self, network: &str) -> Result<f64> {
        let began = now();
        self.roles.revoke(SIP, network)?;
        let silent = self.ears[0].hears_nothing(SETTLED).await?;
        let edge = SocketAddr::from(EDGE);
        let own = self.ue.address();
        let refused = async || {
            let said = self.ue.namespace().enter(|| Ok(sip::bare(own, edge, "OPTIONS")))?;
            Ok(said.filter(|said| said.starts_with("SIP/2.0 403 ")))
        };
        wait_for("the edge to refuse", PATIENCE, refused).await?;
        Ok(silent.since(began).as_secs_f64() * 1e3)
    }

    /// The phone hangs up, and who is called has had all that it was to have.
    ///
    /// # Errors
    /// If that is refused.
    pub async fn hang_up(&mut self) -> Result<()> {
        let (password, uri) = (self.password()?, format!("b@{}:{}", CALLED.0, CALLED.1));
        let bye = sip::in_call("BYE", &format!("sip:{uri}"), true, 200);
        self.phone(&bye, &uri, &password, Some(CALL)).await?;
        self.talking = None;
        let status = self.called.ended(PATIENCE).await?;
        ensure!(status.success(), "who is called: {}", self.called.log());
        Ok(())
    }

    /// What became of the media in those moves.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn media(&self, moves: &[Moved]) -> Result<Vec<Media>> {
        let [up, down] = [self.ears[0].heard()?, self.ears[1].heard()?];
        let of = |packets: &[Packet], moved: &Moved| {
            gap(packets, clock_ms(moved.began), clock_ms(moved.ended))
        };
        Ok(moves.iter().map(|moved| Media { up: of(&up, moved), down: of(&down, moved) }).collect())
    }

    /// What the guard has on record of its sessions.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn trace(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.roles.of(SIP, &["trace", "--json"])?)?)
    }

    /// The trace, kept in the lab's folder as `evidence.json` and checked by itself.
    ///
    /// # Errors
    /// If it is not whole.
    pub fn evidence(&self) -> Result<Value> {
        let trace = self.trace()?;
        let file = self.logs.join("evidence.json");
        write(&file, &serde_json::to_string_pretty(&trace)?)?;
        self.roles.of(SIP, &["check-trace", text(&file)?, "--json"])?;
        Ok(trace)
    }

    /// Homeward's own.
    pub fn roles(&mut self) -> &mut Roles {
        &mut self.roles
    }

    /// What the charons have said: the ePDGs of town and harbour, and the phone's.
    pub fn charons(&self) -> &[Strongswan] {
        &self.charons
    }

    /// Where the services are.
    pub fn services(&self) -> &Namespace {
        &self.services
    }

    fn password(&self) -> Result<String> {
        self.agent.key(SIP, "digest")
    }

    /// sipp does something as the phone, to its end.
    async fn phone(
        &mut self,
        doing: &str,
        uri: &str,
        password: &str,
        call: Option<&str>,
    ) -> Result<()> {
        let mut sipp = self.start(doing, uri, password, call)?;
        let status = sipp.ended(PATIENCE).await?;
        ensure!(status.success(), "{}: {status}: {}", sipp.name(), sipp.log());
        Ok(())
    }

    fn start(
        &mut self,
        doing: &str,
        uri: &str,
        password: &str,
        call: Option<&str>,
    ) -> Result<Process> {
        self.runs += 1;
        let name = format!("sipp-{}", self.runs);
        let file = self.logs.join(format!("{name}.xml"));
        write(&file, &sip::scenario(&name, doing))?;
        let port = 5100 + u16::try_from(self.runs)?;
        let mut words = sip::sipp(&file, self.ue.address(), port, LONGEST)?;
        words.extend(sip::phone(&self.session, password, uri, call, self.runs));
        words.push(format!("{}:{}", EDGE.0, EDGE.1));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Process::start(&self.logs, &name, self.ue.namespace(), &words)
    }
}

/// A Wi-Fi network: its access point is where its ePDG is, too.
fn lay(lab: &Lab, of: Wifi, phone: &Namespace, services: &Namespace) -> Result<Namespace> {
    let network = lab.namespace(of.name())?;
    phone.join(of.interface, &network, "w")?;
    network.join("core", services, of.name())?;
    network.sysctl("net.ipv4.ip_forward", "1")?;
    let (own, access, gateway, far) = (of.phone(), of.access(), of.gateway(), of.services());
    phone.ip(&format!(
        "addr add {own}/24 dev {0}\nroute add 10.92.{1}.0/24 via {access} dev {0}",
        of.interface, of.number
    ))?;
    // charon's routes need an address of its own in what is behind it.
    network.ip(&format!(
        "addr add {access}/24 dev w\naddr add {gateway}/24 dev core\nroute add default via {far}\n\
         addr add 10.91.0.{}/32 dev lo",
        of.number + 100
    ))?;
    services.ip(&format!(
        "addr add {far}/24 dev {}\nroute add 10.{}.0.0/24 via {gateway}",
        of.name(),
        of.number
    ))?;
    Ok(network)
}

fn epdg(of: Wifi, updown: Option<PathBuf>) -> Epdg {
    let core = of.services();
    Epdg { name: of.epdg, address: of.gateway(), core, pool: PHONE, updown }
}

/// What stands for the packet gateway's part: a program that routes what is for the phone to the ePDG that it
/// has a tunnel to, as S2b would.
fn anchor(folder: &Path, of: Wifi, services: &Namespace) -> Result<PathBuf> {
    let file = folder.join(of.name()).join("updown");
    let route = format!("\"$PLUTO_PEER_CLIENT\" via {}", of.gateway());
    let at = services.path();
    write(
        &file,
        &format!(
            "#!/bin/sh\nin_services() {{ nsenter --net={} ip route \"$@\"; }}\n\
             case $PLUTO_VERB in\n  up-client) in_services replace {route} ;;\n  \
             down-client) in_services del {route} || true ;;\nesac\n",
            at.display()
        ),
    )?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o700))?;
    Ok(file)
}

fn aaa() -> Aaa {
    Aaa {
        listen: WIFI.map(Wifi::services).to_vec(),
        clients: WIFI.map(|of| (of.name(), of.gateway())).to_vec(),
    }
}

/// Modules, core and guard.
fn parties(folder: &Path) -> [Party; 4] {
    let [town, harbour] = WIFI;
    let asks = |within: &str, of: Wifi| {
        format!("[{within}epdg]\nvici = {:?}\n", vici(&folder.join(of.name())))
    };
    let party = |name, kind, peers, host, port, more| Party {
        name,
        kind,
        peers,
        devices: (host, port),
        more,
    };
    let guard = format!(
        "[verify]\nlisten = [\"127.0.0.1:{VERIFY_PORT}\"]\n[digest]\nalgorithms = [\"MD5\"]\n\
         [gate]\nservices = [\"udp {}:{PORT}\"]\n",
        CALLED.0
    );
    [
        party(LTE, Kind::Module, 7441, SERVICES, 7081, String::new()),
        party(TOWN, Kind::Core, 7440, town.services(), 7080, asks("security_module.", town)),
        party(HARBOUR, Kind::Module, 7443, harbour.services(), 7083, asks("", harbour)),
        party(SIP, Kind::Guard, 7442, SERVICES, GUARD_PORT, guard),
    ]
}

/// What the agent is told.
fn handoff(roles: &Roles, folder: &Path, address: Ipv4Addr) -> Result<Value> {
    let networks: Vec<Value> = roles
        .parties()
        .iter()
        .filter(|party| party.kind != Kind::Guard)
        .map(|party| {
            let (host, port) = party.devices;
            let ssids: Vec<&str> =
                WIFI.iter().filter(|of| of.network == party.name).map(|of| of.name()).collect();
            json!({
                "name": party.name,
                "module": format!("{host}:{port}"),
                "ssids": ssids,
                "cellular": party.name == LTE,
            })
        })
        .collect();
    let tunnels = WIFI.map(|of| {
        json!({
            "network": of.network,
            "server": SIP,
            "vici": vici(&folder.join("phone")),
            "stays": false,
            "child": "home",
            "connection": epdg(of, None).connection(address, BEHIND),
        })
    });
    Ok(json!({
        "name": WHO,
        "root_file": roles.root_file()?,
        "networks": networks,
        "servers": [{
            "name": SIP,
            "guard": format!("{SERVICES}:{GUARD_PORT}"),
            "flows": [format!("udp {address}")],
        }],
        "tunnels": tunnels,
    }))
}

/// Who is called: answers a call, each re-INVITE of its moves, and its end; and sends back what it hears.
fn called(folder: &Path, services: &Namespace) -> Result<Process> {
    let doing: Doing = (0..=MOVES).map(|_| sip::answers("INVITE")).collect();
    let file = folder.join("called.xml");
    write(&file, &sip::scenario("called", &(doing + &sip::answers("BYE"))))?;
    let (host, port) = CALLED;
    let mut words = sip::sipp(&file, host, port, LONGEST)?;
    words.extend(["-rtp_echo".to_owned(), "-mp".to_owned(), PORT.to_string()]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Process::start(folder, "called", services, &words)
}

/// How many moves a call has that is hung up.
pub const MOVES: usize = 4;

/// The edge, once it answers.
async fn edge(folder: &Path, logs: &Path, services: &Namespace) -> Result<Process> {
    let guard = format!("127.0.0.1:{VERIFY_PORT}");
    let mut words = vec!["unshare".to_owned()];
    words.extend(sip::kamailio(folder, EDGE, &guard, CALLED)?);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut edge = Process::start(logs, "kamailio", services, &words)?;
    wait_for("Kamailio", PATIENCE, async || {
        ensure!(edge.is_running(), "Kamailio ended: {}", edge.log());
        services.enter(|| Ok(sip::bare(EDGE.0, EDGE.into(), "OPTIONS")))
    })
    .await?;
    Ok(edge)
}
