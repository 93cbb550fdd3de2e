//! Hand-offs that prove themselves: how long the control of one takes, and what a proof costs.
//!
//! ```text
//!   device ──┐            ┌── module n0
//!            ├── bridge ──┼── module n1        each by a cable of its own, without delay, and
//!            │            └── guard            then with 5 ms: 20 ms from each to each and back
//! ```
//!
//! Each is a process in a namespace of its own; state is on a disk. A hop is: connect to the module,
//! challenge and answer, the fetch from the module before, the record on the disk and at the guard.
//! After it the device has the same flow admitted again: connect to the guard, demand, proof of every
//! hop so far by the device, of the last one by its network.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_daemon::{Request, SystemClock, SystemEntropy, control};
use homeward_handoff::Line;
use homeward_keychain::{Device, Flow as Admitted, RootKey};
use homeward_model::{Clock, Entropy, Nai, Name};
use homeward_net::cable::Cable;
use homeward_net::wait::now;
use homeward_net::wire::Impairment;
use homeward_net::{Flow, Lab, Namespace};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::call;
use crate::figures::{Figure, percentile};
use crate::world::{Process, binary};

const PATIENCE: Duration = Duration::from_secs(10);
/// One way, of each of the two cables between two ends.
const DELAY: Duration = Duration::from_millis(5);
/// Sessions of a run, each of eight hops.
const SESSIONS: usize = 100;
const HOPS: usize = 8;
/// After so many hops it is told how long the last took.
const TOLD: [usize; 3] = [1, 2, 8];
/// Proofs of a chain of eight hops, for what one costs.
const PROOFS: usize = 2_000;

const NODES: [(&str, &str); 3] =
    [("security-module", "n0"), ("security-module", "n1"), ("guard", "sip")];
const GUARD: usize = 2;
/// The port of the service behind the gate.
const SERVICE: u16 = 7000;
/// Hand-offs under a stream.
const MOVES: usize = 51;

pub(crate) fn measure() -> Result<()> {
    let town = Town::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for (links, delay, sessions) in
        [("direct", Duration::ZERO, SESSIONS), ("20 ms", DELAY, SESSIONS / 4)]
    {
        town.cables.iter().for_each(|cable| cable.set(Impairment::delayed(delay)));
        let mut walked = town.device.enter(|| {
            runtime.block_on(async {
                let mut walked = vec![(Vec::new(), Vec::new()); HOPS];
                for _ in 0..sessions {
                    town.walk(&mut walked).await?;
                }
                Ok(walked)
            })
        })?;
        for hops in TOLD {
            let (hop, proof) = walked.get_mut(hops - 1).context("no such hop")?;
            let mut both: Vec<f64> = hop.iter().zip(&*proof).map(|(a, b)| a + b).collect();
            for (what, took) in [("hop", hop), ("proof", proof), ("hand-off", &mut both)] {
                for p in [50, 99] {
                    let name = format!("handoff {what}, {hops} hops, {links}, p{p}");
                    let figure = percentile(took, p);
                    Figure::alone(&name, "ms", figure, took.len()).record()?;
                }
            }
        }
    }
    town.stream(&runtime)?;
    town.cables.iter().for_each(|cable| cable.set(Impairment::delayed(Duration::ZERO)));
    town.cost(&runtime)?;
    drop(town);
    call::measure()
}

/// Modules, a guard and a device.
struct Town {
    device: Namespace,
    namespaces: Vec<Namespace>,
    cables: Vec<Cable>,
    processes: Vec<Process>,
    root: RootKey,
    _folder: TempDir,
}

fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, u8::try_from(n + 1).unwrap_or(u8::MAX))
}

fn devices_at(n: usize) -> SocketAddr {
    (address(n), 7080).into()
}

fn who() -> Result<Nai> {
    Ok("d1@example.net".parse()?)
}

fn name(n: usize) -> Result<Name> {
    let (_, name) = NODES.get(n).context("no such node")?;
    Ok(name.parse()?)
}

/// A flow is one session's.
fn flow(of: &Device) -> Result<Admitted> {
    Ok(format!("call {}", of.session()).parse()?)
}

/// Runs `homeward` to its end; what it printed.
fn homeward(words: &[&str]) -> Result<String> {
    let done = Command::new(binary("release")?).args(words).output()?;
    let complaint = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(done.status.success(), "homeward {}: {complaint}", words.join(" "));
    Ok(String::from_utf8(done.stdout)?.trim().to_owned())
}

impl Town {
    fn start() -> Result<Self> {
        let lab = Lab::start("bench-handoff")?;
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        let hub = lab.namespace("hub")?;
        hub.ip("link add br0 type bridge forward_delay 0\nlink set br0 up")?;
        let (mut namespaces, mut cables) = (Vec::new(), Vec::new());
        for n in 0..=NODES.len() {
            let node = lab.namespace(&format!("node{n}"))?;
            let port = format!("p{n}");
            cables.push(Cable::lay(&hub, &port, &node, "eth0", n as u64 + 1)?);
            hub.ip(&format!("link set {port} master br0"))?;
            node.ip(&format!("addr add {}/24 dev eth0", address(n)))?;
            namespaces.push(node);
        }
        let device = namespaces.pop().context("no namespace")?;
        let configs = configure(folder.path())?;
        let mut processes = Vec::new();
        for (((kind, name), config), node) in NODES.iter().zip(&configs).zip(&namespaces) {
            let mut command = Command::new(binary("release")?);
            command.args([kind, "--config"]).arg(config).stderr(Stdio::null());
            processes.push(Process(node.spawn(command)?));
            answers(&folder.path().join(format!("{name}.sock")))?;
        }
        namespaces.push(hub);
        let mut entropy = SystemEntropy::new();
        let root = RootKey::new(entropy.octets());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        for n in 0..GUARD {
            let key = root.device_key(&name(n)?, 1);
            let key: String = key.expose().iter().map(|octet| format!("{octet:02x}")).collect();
            let request = Request::new("enrol").with("device", who()?.as_str());
            let request = request.with("version", 1).with("key", key);
            let socket = folder.path().join(format!("{}.sock", name(n)?));
            runtime.block_on(control::ask(&socket, &request))?;
        }
        let _folder = folder;
        Ok(Self { device, namespaces, cables, processes, root, _folder })
    }

    fn fresh(&self) -> Result<Device> {
        Ok(Device::new(SystemEntropy::new().octets(), name(GUARD)?, true)?)
    }

    async fn hop(&self, device: &mut Device, n: usize) -> Result<()> {
        let key = self.root.device_key(&name(n)?, 1);
        let mut line = Line::call(devices_at(n), PATIENCE).await?;
        Ok(line.hop(device, &who()?, &key, false, &mut SystemEntropy::new()).await?)
    }

    /// One session: how long each hop took, and the proof after it, in milliseconds.
    async fn walk(&self, walked: &mut [(Vec<f64>, Vec<f64>)]) -> Result<()> {
        let mut device = self.fresh()?;
        for (at, (hops, proofs)) in walked.iter_mut().enumerate() {
            let began = SystemClock.now();
            self.hop(&mut device, at % GUARD).await?;
            let there = SystemClock.now();
            let mut line = Line::call(devices_at(GUARD), PATIENCE).await?;
            let flow = flow(&device)?;
            line.open(&mut device, &flow).await?;
            let ms = |span: Duration| span.as_secs_f64() * 1e3;
            hops.push(ms(there.since(began)));
            proofs.push(ms(SystemClock.now().since(there)));
        }
        Ok(())
    }

    /// How long a stream through the gate is silent at each hand-off, and what of it is lost.
    fn stream(&self, runtime: &Runtime) -> Result<()> {
        let guard = self.namespaces.get(GUARD).context("no guard")?;
        let stream = Flow::start(&self.device, guard, address(GUARD), SERVICE)?;
        let (mut silences, mut lost) = (Vec::new(), 0);
        self.device.enter(|| {
            runtime.block_on(async {
                let mut device = self.fresh()?;
                let own: Admitted = format!("udp {}", address(GUARD + 1)).parse()?;
                for at in 0..MOVES {
                    let since = now();
                    self.hop(&mut device, at % GUARD).await?;
                    let mut line = Line::call(devices_at(GUARD), PATIENCE).await?;
                    line.open(&mut device, &own).await?;
                    let sent = stream.sent();
                    // What was sent meanwhile is there by then.
                    while stream.sent() < sent + 10 {
                        SystemClock.until(Some(SystemClock.now() + POLL)).await;
                    }
                    if at > 0 {
                        let outage = stream.outage(since, now());
                        silences.push(outage.silence_ms);
                        lost += outage.lost;
                    }
                }
                Ok(())
            })
        })?;
        for p in [50, 99] {
            let name = format!("handoff stream silent, 20 ms, p{p}");
            let silent = percentile(&mut silences, p);
            Figure::alone(&name, "ms", silent, silences.len()).record()?;
        }
        Figure::alone("handoff stream, datagrams lost", "", lost as f64, silences.len()).record()
    }

    /// What a proof of eight hops costs the guard, and the module that proves beside the device.
    fn cost(&self, runtime: &Runtime) -> Result<()> {
        let cpu = || -> Result<Vec<Duration>> { self.processes.iter().map(Process::cpu).collect() };
        let (before, after) = self.device.enter(|| {
            runtime.block_on(async {
                let mut device = self.fresh()?;
                for at in 0..HOPS {
                    self.hop(&mut device, at % GUARD).await?;
                }
                let flow = flow(&device)?;
                let mut line = Line::call(devices_at(GUARD), PATIENCE).await?;
                line.open(&mut device, &flow).await?;
                let before = cpu()?;
                for _ in 0..PROOFS {
                    // A device's line is for a while only.
                    line = Line::call(devices_at(GUARD), PATIENCE).await?;
                    line.open(&mut device, &flow).await?;
                }
                Ok((before, cpu()?))
            })
        })?;
        let spent = |n: usize| -> Result<f64> {
            let (before, after) = (before.get(n).context("no process")?, after.get(n));
            let spent = after.context("no process")?.saturating_sub(*before);
            Ok(spent.as_secs_f64() * 1e6 / PROOFS as f64)
        };
        let guard = spent(GUARD)?;
        Figure::alone("guard CPU, a proof of 8 hops", "us", guard, PROOFS).record()?;
        let a_second = 1e6 / guard;
        Figure::alone("guard, proofs of 8 hops", "/s a core", a_second, PROOFS).record()?;
        Figure::alone("module CPU, a proof", "us", spent(1)?, PROOFS).record()
    }
}

/// The nodes' configurations: each knows the others.
fn configure(folder: &Path) -> Result<Vec<PathBuf>> {
    let write = |n: usize, peers: &str| -> Result<PathBuf> {
        let name = name(n)?;
        let file = |what: &str| folder.join(format!("{name}.{what}"));
        let text = format!(
            "[handoff]\nname = {:?}\nlisten = [\"0.0.0.0:7443\"]\ndevices = [\"0.0.0.0:7080\"]\n\
             key_file = {:?}\nstate = {:?}\nstate_key_file = {:?}\n{peers}\
             [control]\nsocket = {:?}\n[log]\nfilter = \"warn\"\n",
            name.as_str(),
            file("key"),
            file("db"),
            file("db-key"),
            file("sock"),
        );
        let gate = format!("[gate]\nservices = [\"udp {}:{SERVICE}\"]\n", address(GUARD));
        let path = file("toml");
        fs::write(&path, text + if n == GUARD { &gate } else { "" })?;
        Ok(path)
    };
    let mut keys = Vec::new();
    for (n, (kind, _)) in NODES.iter().enumerate() {
        let path = write(n, "")?;
        let path = path.to_str().context("no path")?;
        keys.push(homeward(&[kind, "show-key", "--config", path])?);
    }
    let entry = |n: usize, key: &str| -> Result<String> {
        let (name, at) = (name(n)?, address(n));
        Ok(format!(
            "[[handoff.peers]]\nname = {:?}\nkey = {key:?}\naddress = \"{at}:7443\"\n",
            name.as_str()
        ))
    };
    let mut paths = Vec::new();
    for n in 0..NODES.len() {
        let others = keys.iter().enumerate().filter(|(other, _)| *other != n);
        let others: Result<String> = others.map(|(other, key)| entry(other, key)).collect();
        paths.push(write(n, &others?)?);
    }
    Ok(paths)
}

/// Waits until a role answers.
fn answers(socket: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let began = SystemClock.now();
    loop {
        match runtime.block_on(control::ask(socket, &Request::new("status"))) {
            Ok(_) => return Ok(()),
            Err(error) if SystemClock.now().since(began) > PATIENCE => return Err(error.into()),
            Err(_) => runtime.block_on(SystemClock.until(Some(SystemClock.now() + POLL))),
        }
    }
}

/// How often it is asked whether it is there.
const POLL: Duration = Duration::from_millis(20);
