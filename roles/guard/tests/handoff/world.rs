//! Modules, a guard and a device.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use homeward_daemon::process::{ControlConfig, MetricsConfig};
use homeward_daemon::{Period, Process, Reload, Request, Shutdown, SystemEntropy, control};
use homeward_guard::config::VerifyConfig;
use homeward_guard::{Guard, config as guard_config, service as guard_service};
use homeward_handoff::directory::PublicKey;
use homeward_handoff::{HandoffConfig, Identity, Line, Peer, WalkError};
use homeward_keychain::{Device, DeviceKey, Flow, RootKey, Server, Visit};
use homeward_model::{Entropy, Nai, Name};
use homeward_security_module::config as module_config;
use homeward_security_module::{Module, service as module_service};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// How long anything may take that is to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A module or guard that runs.
pub(crate) struct Running<R, C> {
    pub(crate) reloads: R,
    pub(crate) config: C,
    pub(crate) key: PublicKey,
    pub(crate) peers_at: String,
    pub(crate) devices_at: std::net::SocketAddr,
    stop: Shutdown,
    work: JoinHandle<()>,
}

impl<R, C> Running<R, C> {
    /// Stops it, and waits until it is gone.
    pub(crate) async fn stop(self) -> C {
        self.stop.trigger();
        self.work.await.unwrap();
        self.config
    }
}

type RunningModule = Running<module_service::Reloads, module_config::Config>;
type RunningGuard = Running<guard_service::Reloads, guard_config::Config>;

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) modules: Vec<Option<(Arc<Module>, RunningModule)>>,
    pub(crate) guard: Option<(Arc<Guard>, RunningGuard)>,
    pub(crate) verify_at: std::net::SocketAddr,
    pub(crate) device: Device,
    pub(crate) root: RootKey,
    /// Who is told of what they are to know.
    revoked: Vec<usize>,
    /// Whether the first network may enrol devices with the others.
    pub(crate) enrols: bool,
    /// Which version of the device's keys networks have.
    pub(crate) version: u32,
    epoch: u64,
}

pub(crate) fn network(n: usize) -> Name {
    format!("n{n}.example").parse().unwrap()
}

pub(crate) fn server() -> Name {
    "sip.example".parse().unwrap()
}

pub(crate) fn who() -> Nai {
    "d1@example.net".parse().unwrap()
}

pub(crate) fn flow(n: u32) -> Flow {
    format!("udp 127.0.0.1:{n}").parse().unwrap()
}

fn handoff(at: &Path, name: Name) -> HandoffConfig {
    let file = |what: &str| at.join(format!("{name}.{what}"));
    let loopback = || vec!["127.0.0.1:0".parse().unwrap()];
    HandoffConfig {
        key_file: file("key"),
        state: at.join(format!("{name}.db")),
        state_key_file: file("state-key"),
        name,
        listen: loopback(),
        devices: loopback(),
        epoch: 0,
        peers: Vec::new(),
        deadline: Period(Duration::from_secs(2)),
        patience: Period(PATIENCE),
        connections: 64,
    }
}

/// Where a role's status socket is.
fn socket(of: &HandoffConfig) -> PathBuf {
    of.state.with_file_name(format!("{}.sock", of.name))
}

fn serve(process: Process, of: &HandoffConfig, stop: Shutdown) -> JoinHandle<()> {
    let control = ControlConfig { socket: Some(socket(of)) };
    let (_, reload) = Reload::channel();
    tokio::spawn(async move {
        let metrics = MetricsConfig::default();
        process.serve(&control, &metrics, || {}, stop, reload).await.unwrap();
    })
}

pub(crate) async fn start_module(config: module_config::Config) -> (Arc<Module>, RunningModule) {
    let stop = Shutdown::new();
    let mut process = Process::new("security-module", "0");
    let key = config.handoff.identity().unwrap().key();
    let started = loop {
        let starting = module_service::start(
            &config.handoff,
            config.policy,
            config.epdg.as_ref(),
            process.metrics(),
            stop.clone(),
        );
        match starting.await {
            // What it was before is still closing its vault.
            Err(error) if format!("{error:#}").contains("in use by another") => {
                tokio::task::yield_now().await;
            }
            started => break started.unwrap(),
        }
    };
    let module_service::Started { part, module, reloads, local } = started;
    process.add(part);
    let work = serve(process, &config.handoff, stop.clone());
    let (peers_at, devices_at) = (local.peers[0].to_string(), local.devices[0]);
    (module, Running { reloads, config, key, peers_at, devices_at, stop, work })
}

async fn start_guard(
    config: guard_config::Config,
) -> (Arc<Guard>, RunningGuard, std::net::SocketAddr) {
    let stop = Shutdown::new();
    let mut process = Process::new("guard", "0");
    let key = config.handoff.identity().unwrap().key();
    let started = loop {
        match guard_service::start(&config, process.metrics(), stop.clone()).await {
            Err(error) if format!("{error:#}").contains("in use by another") => {
                tokio::task::yield_now().await;
            }
            started => break started.unwrap(),
        }
    };
    let guard_service::Started { part, guard, reloads, local, verify } = started;
    process.add(part);
    let work = serve(process, &config.handoff, stop.clone());
    let (peers_at, devices_at) = (local.peers[0].to_string(), local.devices[0]);
    (guard, Running { reloads, config, key, peers_at, devices_at, stop, work }, verify[0])
}

/// Waits until it is so.
pub(crate) async fn comes_to(mut is: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it does not come to that");
}

impl World {
    /// So many networks, and a device that is enrolled in all of them.
    pub(crate) async fn new(networks: usize) -> Self {
        Self::with(networks, |_| {}, |_| {}).await
    }

    pub(crate) async fn with(
        networks: usize,
        module: impl Fn(&mut module_config::Config),
        guard: impl FnOnce(&mut guard_config::Config),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut modules = Vec::new();
        for n in 0..networks {
            let mut config = module_config::Config {
                handoff: handoff(folder.path(), network(n)),
                policy: module_config::Policy::default(),
                epdg: None,
                control: Default::default(),
                metrics: Default::default(),
                log: Default::default(),
            };
            module(&mut config);
            modules.push(Some(start_module(config).await));
        }
        let mut config = guard_config::Config {
            handoff: handoff(folder.path(), server()),
            policy: guard_config::Policy::default(),
            verify: VerifyConfig {
                listen: vec!["127.0.0.1:0".parse().unwrap()],
                ..VerifyConfig::default()
            },
            digest: Default::default(),
            gate: None,
            control: Default::default(),
            metrics: Default::default(),
            log: Default::default(),
        };
        guard(&mut config);
        let (guard, running, verify_at) = start_guard(config).await;
        let mut entropy = SystemEntropy::new();
        let device = Device::new(entropy.octets(), server(), true).unwrap();
        let root = RootKey::new(entropy.octets());
        let mut world = Self {
            folder,
            modules,
            guard: Some((guard, running)),
            verify_at,
            device,
            root,
            revoked: Vec::new(),
            enrols: false,
            version: 1,
            epoch: 0,
        };
        world.introduce();
        for n in 0..networks {
            let key = world.root.device_key(&network(n), 1);
            world.enrol(n, who(), key).await;
        }
        world
    }

    pub(crate) async fn enrol(&self, n: usize, who: Nai, key: DeviceKey) {
        let (module, _) = self.modules[n].as_ref().unwrap();
        let change = module.enrolled().lock().await.enrol(who, 1, key).unwrap();
        module.vault().commit(vec![change]).await.unwrap();
    }

    /// Who everybody is, as things stand.
    fn peers(&self) -> Vec<Peer> {
        let of = |name: Name, key, at: &str, revoked| Peer {
            key,
            address: Some(at.to_owned()),
            revoked,
            enrols: self.enrols && name == network(0),
            name,
        };
        let modules = self.modules.iter().enumerate().filter_map(|(n, module)| {
            let (_, running) = module.as_ref()?;
            Some(of(network(n), running.key, &running.peers_at, self.revoked.contains(&n)))
        });
        let guard = self.guard.iter();
        let guard = guard.map(|(_, at)| of(server(), at.key, &at.peers_at, false));
        modules.chain(guard).collect()
    }

    /// Tells everybody who everybody is.
    pub(crate) fn introduce(&mut self) {
        let (peers, epoch) = (self.peers(), self.epoch);
        let all_but = |own: &Name| -> Vec<Peer> {
            peers.iter().filter(|peer| peer.name != *own).cloned().collect()
        };
        for (_, running) in self.modules.iter_mut().flatten() {
            let handoff = &mut running.config.handoff;
            (handoff.peers, handoff.epoch) = (all_but(&handoff.name), epoch);
            running.reloads.reload(&running.config.handoff);
        }
        if let Some((_, running)) = &mut self.guard {
            let handoff = &mut running.config.handoff;
            (handoff.peers, handoff.epoch) = (all_but(&handoff.name), epoch);
            running.reloads.reload(&running.config);
        }
    }

    /// That network's module is trusted no more, and everybody knows.
    pub(crate) fn revoke(&mut self, n: usize) {
        self.revoked.push(n);
        self.introduce();
    }

    /// A network's module goes away.
    pub(crate) async fn stop_module(&mut self, n: usize) -> module_config::Config {
        let (module, running) = self.modules[n].take().unwrap();
        drop(module);
        running.stop().await
    }

    /// And is back.
    pub(crate) async fn start_module(&mut self, n: usize, config: module_config::Config) {
        self.modules[n] = Some(start_module(config).await);
        self.introduce();
    }

    /// The guard goes away.
    pub(crate) async fn stop_guard(&mut self) -> guard_config::Config {
        let (guard, running) = self.guard.take().unwrap();
        drop(guard);
        running.stop().await
    }

    /// And is back.
    pub(crate) async fn start_guard(&mut self, config: guard_config::Config) {
        let (guard, running, verify_at) = start_guard(config).await;
        (self.guard, self.verify_at) = (Some((guard, running)), verify_at);
        self.introduce();
    }

    pub(crate) fn module_at(&self, n: usize) -> std::net::SocketAddr {
        self.modules[n].as_ref().unwrap().1.devices_at
    }

    /// The device goes to a network.
    pub(crate) async fn hop(&mut self, n: usize) -> Result<(), WalkError> {
        self.hop_anyway(n, false).await
    }

    pub(crate) async fn hop_anyway(&mut self, n: usize, broken: bool) -> Result<(), WalkError> {
        let key = self.root.device_key(&network(n), self.version);
        let mut line = Line::call(self.module_at(n), PATIENCE).await?;
        line.hop(&mut self.device, &who(), &key, broken, &mut SystemEntropy::new()).await
    }

    /// The device wants a flow admitted.
    pub(crate) async fn open(&mut self, flow: &Flow) -> Result<Duration, WalkError> {
        let at = self.guard.as_ref().unwrap().1.devices_at;
        let mut line = Line::call(at, PATIENCE).await?;
        line.open(&mut self.device, flow).await
    }

    /// What who stands in front of the service is answered: the status, and the head.
    pub(crate) async fn verify(&self, flow: &Flow) -> (u16, String) {
        let path = flow.as_str().replace(' ', "%20").replace(':', "%3A");
        self.ask(&format!("GET /verify?flow={path} HTTP/1.1\r\n")).await
    }

    pub(crate) async fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.verify_at).await.unwrap();
        let request = format!("{request}Host: guard\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.to_lowercase())
    }

    /// Whether a flow passes.
    pub(crate) async fn passes(&self, flow: &Flow) -> bool {
        self.verify(flow).await.0 == 200
    }

    /// Waits until a flow passes no more.
    pub(crate) async fn ended(&self, flow: &Flow) {
        comes_to(async || !self.passes(flow).await).await;
    }

    /// A path in the folder of the test.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.guard.as_ref().unwrap().0
    }

    pub(crate) fn module(&self, n: usize) -> &Module {
        &self.modules[n].as_ref().unwrap().0
    }

    /// Another device, enrolled by the same keys under the same name: another session.
    pub(crate) fn another_session(&mut self) -> Device {
        let device = Device::new(SystemEntropy::new().octets(), server(), true).unwrap();
        std::mem::replace(&mut self.device, device)
    }

    /// The networks that the guard knows the device to have been in.
    pub(crate) async fn trace(&self) -> Vec<String> {
        let (guard, _) = self.guard.as_ref().unwrap();
        let held = guard.sessions().lock().await.get(self.device.session()).unwrap();
        let server = held.lock().await;
        server.records().map(|record| record.network.to_string()).collect()
    }

    /// A module's key: what somebody has who broke into it.
    pub(crate) fn stolen(&self, n: usize) -> Identity {
        self.modules[n].as_ref().unwrap().1.config.handoff.identity().unwrap()
    }

    /// A network's module.
    pub(crate) fn shared(&self, n: usize) -> Arc<Module> {
        Arc::clone(&self.modules[n].as_ref().unwrap().0)
    }

    /// What a module keeps of the device's hop.
    pub(crate) async fn visit(&self, n: usize) -> Visit {
        let (module, _) = self.modules[n].as_ref().unwrap();
        let held = module.visits().lock().await.last(self.device.session()).unwrap();
        let saved = held.lock().await.save().unwrap();
        Visit::restore(&saved).unwrap()
    }

    /// What the guard keeps of the session.
    pub(crate) async fn session(&self) -> Server {
        let (guard, _) = self.guard.as_ref().unwrap();
        let held = guard.sessions().lock().await.get(self.device.session()).unwrap();
        let saved = held.lock().await.save();
        Server::restore(&saved, Default::default()).unwrap()
    }

    /// Asks the guard, or a module, over its status socket.
    pub(crate) async fn command(&self, of: &Name, request: Request) -> Value {
        let socket = self.folder.path().join(format!("{of}.sock"));
        let mut answer = None;
        // It is there a moment after what it is asked about.
        comes_to(async || {
            let asked = control::ask(&socket, &request).await;
            if !matches!(asked, Err(control::AskError::NotListening { .. })) {
                answer = Some(asked.unwrap());
            }
            answer.is_some()
        })
        .await;
        answer.unwrap()
    }
}
