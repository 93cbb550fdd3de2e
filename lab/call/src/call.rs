//! A phone in a call, from network to network.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
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
use crate::strongswan::{Strongswan, certificate, vici};
use crate::wifi::{WIFI, Wifi, anchor, epdg, lay, wifi};
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
/// How the call is called.
const CALL: &str = "call@a";
/// From when the call is well until it is well again, on the other way.
const SETTLED: Duration = Duration::from_millis(600);
/// For how long before a move the media is looked at, in ms: what is lost is known by what was there.
const BEFORE_MS: f64 = 100.0;
/// The longest scenario that sipp reads, in octets.
const SIPP_READS: usize = 65_536;
/// The longest that a call may take, in seconds.
const LONGEST: u32 = 300;

/// A move from network to network in a call.
#[derive(Debug, Clone)]
pub struct Moved {
    /// To where.
    pub to: &'static str,
    /// Whether where it was is gone from one moment to the next.
    pub vanished: bool,
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
    /// binary; who is called hangs up after so many moves.
    ///
    /// # Errors
    /// If something does not come up.
    pub async fn build(lab: &Lab, homeward: &Path, moves: usize) -> Result<Self> {
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
            Ear::start(logs, "media-up", &services, CALLED.0).await?,
            Ear::start(logs, "media-down", &phone.namespace, CALLED.0).await?,
        ];
        let called = called(logs, &services, moves)?;
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
            ear.hears().await.with_context(|| self.called.log())?;
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
        if let Ok(of) = wifi(to) {
            self.agent.go(Some(of.name()), of.interface, of.phone())?;
            self.agent.says(|notice| matches!(notice, Notice::Connected { .. }))?;
            tunnel_ms = Some(since(now()));
        } else {
            self.attach_by_handover()?;
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
        Ok(Moved { to, vanished: false, began, tunnel_ms, proven_ms, answered_ms, ended })
    }

    /// The Wi-Fi that the phone is in is gone, without a sign before; it is known at once, and the phone goes
    /// to LTE.
    ///
    /// # Errors
    /// As [`go`](Self::go).
    pub async fn vanishes(&mut self, network: &str) -> Result<Moved> {
        let of = wifi(network)?;
        self.ue.namespace().ip(&format!("link set {} down", of.interface))?;
        let moved = self.go(LTE).await?;
        self.cable(of)?;
        Ok(Moved { vanished: true, ..moved })
    }

    /// Gives the phone a second way to town's ePDG, by harbour's Wi-Fi: MOBIKE's to take.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn second_way(&self) -> Result<()> {
        self.services.sysctl("net.ipv4.ip_forward", "1")?;
        self.ue.namespace().ip(&WIFI[1].way_to(WIFI[0]))
    }

    /// The cable is cut by which the phone's tunnel to town goes, in the middle of the call: MOBIKE takes it
    /// along [the other way](Self::second_way). What the media suffered.
    ///
    /// # Errors
    /// If the call does not go on.
    pub async fn cut(&mut self) -> Result<Media> {
        let moves = |town: &Strongswan| town.said().matches("N(UPD_SA_ADDR)").count();
        let town = self.charons.first().context("no ePDG")?;
        let before = moves(town);
        let of = if before % 2 == 0 { WIFI[0] } else { WIFI[1] };
        let began = now();
        let phone = self.ue.namespace();
        phone.ip(&format!("link set {} down", of.interface))?;
        wait_for("MOBIKE", PATIENCE, async || Ok((moves(town) > before).then_some(()))).await?;
        elapse(SETTLED).await;
        let ended = now();
        self.cable(of)?;
        if of.network != TOWN {
            self.second_way()?;
        }
        elapse(SETTLED).await;
        let (from, until) = (clock_ms(began) - BEFORE_MS, clock_ms(ended));
        let [up, down] = self.heard(until).await?;
        Ok(Media { up: gap(&up, from, until), down: gap(&down, from, until) })
    }

    /// The phone's cable to a Wi-Fi is there again.
    fn cable(&self, of: Wifi) -> Result<()> {
        self.ue.namespace().ip(&format!("link set {} up\n{}", of.interface, of.route()))
    }

    /// LTE is told by the phone that it hands over to it, and tells the packet gateway: that its emulator does
    /// not have, so the route of [`anchor`] is taken away here.
    fn attach_by_handover(&self) -> Result<()> {
        let address = self.ue.address();
        let routes = self.services.run_tool("ip", &["route", "show", &address.to_string()])?;
        match routes.trim().is_empty() {
            true => Ok(()),
            false => self.services.ip(&format!("route del {address}/32")),
        }
    }

    /// The operator of the service learns that a network's module is not to be trusted any more, and the
    /// call through it is over: since when nothing was heard of it, after so many ms.
    ///
    /// # Errors
    /// If the call goes on.
    pub async fn revoke(&mut self, network: &str) -> Result<f64> {
        let began = now();
        self.roles.revoke(SIP, network)?;
        let silent = self.ears[0].hears_nothing().await?;
        let edge = SocketAddr::from(EDGE);
        let own = self.ue.address();
        let refused = async || {
            let said = self.ue.namespace().enter(|| Ok(sip::bare(own, edge, "OPTIONS")))?;
            Ok(said.filter(|said| said.starts_with("SIP/2.0 403 ")))
        };
        wait_for("the edge to refuse", PATIENCE, refused).await?;
        Ok(silent - clock_ms(began))
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
    pub async fn media(&self, moves: &[Moved]) -> Result<Vec<Media>> {
        let until = moves.iter().map(|moved| clock_ms(moved.ended)).fold(0.0, f64::max);
        let [up, down] = self.heard(until).await?;
        let of = |packets: &[Packet], moved: &Moved| {
            gap(packets, clock_ms(moved.began) - BEFORE_MS, clock_ms(moved.ended))
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

    async fn heard(&self, until_ms: f64) -> Result<[Vec<Packet>; 2]> {
        let [up, down] = &self.ears;
        Ok([up.heard(until_ms).await?, down.heard(until_ms).await?])
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
fn called(folder: &Path, services: &Namespace, moves: usize) -> Result<Process> {
    let doing: Doing = (0..=moves).map(|_| sip::answers("INVITE")).collect();
    let file = folder.join("called.xml");
    let scenario = sip::scenario("called", &(doing + &sip::answers("BYE")));
    ensure!(scenario.len() <= SIPP_READS, "{moves} moves are more than sipp reads");
    write(&file, &scenario)?;
    let (host, port) = CALLED;
    let mut words = sip::sipp(&file, host, port, LONGEST)?;
    words.extend(["-rtp_echo".to_owned(), "-mp".to_owned(), PORT.to_string()]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Process::start(folder, "called", services, &words)
}

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
