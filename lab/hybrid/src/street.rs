//! The same with Homeward's own: a core, the home gateway's agent, and the device's.
//!
//! ```text
//!     home LAN                                                              the device
//!   tv ──┐ br0, dnsmasq                         10.0.0.1 [core]      wlan ══ cable ══╗
//!        ├── [gateway: agent] eth0 ══════════════ internet ══════════════════════════╬═ [agent] home0
//!   hwt0 ┘                                                           wwan ══ cable ══╝
//! ```
//!
//! Or a box is in front of the home and another in front of cellular, which translate addresses and let
//! nobody in who was not sent to; the device's Wi-Fi may be at home then:
//!
//! ```text
//!   tv ──┐ br0                          ┌─────┐            ┌─────────┐
//!        ├── [gateway: agent] eth0 ─────┤ box ╞═ internet ─┤ carrier ╞══ cable ══ wwan [agent] home0
//! wlan ══╛                              └─────┘     ║      └─────────┘
//!                                                   ╚═ or wlan
//! ```
//!
//! What of the device's daemon keeps the tunnel home is told where it is; what of the gateway's
//! serves a radio has none here.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use homeward_daemon::{Period, Reload, Shutdown};
use homeward_device::config;
use homeward_device::home::{Access, Found, Home, Notice};
use homeward_gateway::ear::Counts;
use homeward_net::dhcp::{self, Lease};
use homeward_net::town::translate_as;
use homeward_net::wait::wait_for;
use homeward_net::{Cable, Lab, Namespace, Process, SitePlan, Town, Translation};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

use crate::links::{SOON, cellular, wifi};
use crate::receiver::GPSD;

/// The interface with the home's address.
pub const VIRTUAL: &str = "home0";
const CORE: &str = "10.0.0.1";
/// The device's network, as the command line names it.
const NETWORK: &str = "smith/Elm17";

/// All of it. All goes when it is dropped.
#[derive(Debug)]
pub struct Street {
    /// The home, and the Internet.
    pub town: Town,
    /// The device.
    pub device: Namespace,
    /// To the device (forth) and from it (back).
    pub wlan: Cable,
    /// The same.
    pub wwan: Cable,
    /// What is in front of cellular, if anything.
    _carrier: Option<Namespace>,
    lab: Lab,
    homeward: PathBuf,
    folder: PathBuf,
    _state: TempDir,
    orders: mpsc::UnboundedSender<Order>,
    shutdown: Shutdown,
    threads: Vec<JoinHandle<Result<()>>>,
    _core: Process,
}

/// Where it plays.
struct Scene {
    /// Wi-Fi is that of the home LAN.
    at_home: bool,
    /// What is in front of the home and of cellular.
    boxes: Option<Translation>,
}

/// What the device's agent is told.
enum Order {
    Go(bool, bool, Access),
    Found(Found),
    Bond(config::Bond, oneshot::Sender<Result<String, String>>),
    Status(oneshot::Sender<Value>),
    Notices(oneshot::Sender<Vec<Notice>>),
}

impl Street {
    /// Builds it by the binary `homeward`; the class of service allows both ways of bonding. The
    /// tunnel is up, by Wi-Fi and cellular, and goes by Wi-Fi.
    ///
    /// # Errors
    /// If something does not come up in time.
    pub async fn build(lab: &Lab, homeward: &Path, metered: config::Metered) -> Result<Self> {
        let this = Self::lay(lab, homeward, metered, Scene { at_home: false, boxes: None }).await?;
        this.up(2).await?;
        Ok(this)
    }

    /// The same with boxes in front of the home and of cellular. The tunnel is up, by both.
    ///
    /// # Errors
    /// If something does not come up in time.
    pub async fn behind(lab: &Lab, homeward: &Path, boxes: Translation) -> Result<Self> {
        let scene = Scene { at_home: false, boxes: Some(boxes) };
        let this = Self::lay(lab, homeward, config::Metered::default(), scene).await?;
        this.up(2).await?;
        Ok(this)
    }

    /// The same with Wi-Fi in the home LAN, and boxes through which nobody is met. The tunnel is up, by
    /// Wi-Fi.
    ///
    /// # Errors
    /// If something does not come up in time.
    pub async fn at_home(lab: &Lab, homeward: &Path) -> Result<Self> {
        let scene = Scene { at_home: true, boxes: Some(Translation::PerDestination) };
        let this = Self::lay(lab, homeward, config::Metered::default(), scene).await?;
        this.up(1).await?;
        Ok(this)
    }

    async fn lay(
        lab: &Lab,
        homeward: &Path,
        metered: config::Metered,
        Scene { at_home, boxes }: Scene,
    ) -> Result<Self> {
        let translation = boxes.unwrap_or_default();
        let home = SitePlan { nat: boxes.is_some(), translation, ..SitePlan::default() };
        let town = Town::build(lab, home, SitePlan::default(), 1).await?;
        let device = lab.namespace("device")?;
        device.sysctl("net.ipv4.conf.all.rp_filter", "0")?;
        let lay = |from: &Namespace, name: &str, net: u8| {
            let cable = Cable::lay(from, name, &device, name, u64::from(net))?;
            from.ip(&format!("addr add 10.{net}.0.1/24 dev {name}"))?;
            device.ip(&format!(
                "addr add 10.{net}.0.2/24 dev {name}\n\
                 route add default via 10.{net}.0.1 dev {name} metric {net}00"
            ))?;
            anyhow::Ok(cable)
        };
        let carrier = || {
            let carrier = lab.namespace("carrier")?;
            carrier.join("wan", &town.internet, "cell0")?;
            town.internet.ip("addr add 10.5.0.1/24 dev cell0")?;
            carrier.ip("addr add 10.5.0.2/24 dev wan\nroute add default via 10.5.0.1")?;
            translate_as(&carrier, "wan", translation)?;
            anyhow::Ok(carrier)
        };
        let join = |name: &str| {
            let gateway = &town.home.gateway;
            let cable = Cable::lay(gateway, name, &device, name, 3)?;
            gateway.ip(&format!("link set {name} master br0"))?;
            let router = town.home.lan_address();
            device.ip(&format!(
                "addr add 192.168.1.250/24 dev {name}\n\
                 route add default via {router} dev {name} metric 300"
            ))?;
            anyhow::Ok(cable)
        };
        let wlan = if at_home { join("wlan")? } else { lay(&town.internet, "wlan", 3)? };
        let carrier = boxes.map(|_| carrier()).transpose()?;
        let wwan = lay(carrier.as_ref().unwrap_or(&town.internet), "wwan", 4)?;
        wlan.set(wifi(100_000_000));
        wwan.set(cellular(50_000_000));

        // The path of a socket has little room: none for a test's name.
        let state = tempfile::tempdir()?;
        let folder = state.path().to_owned();
        let homeward = std::path::absolute(homeward)?;
        let tokens = operate(&homeward, &folder)?;
        let file = folder.join("core.toml").display().to_string();
        let words = [homeward.to_str().context("its name")?, "core", "--config", &file];
        let mut core = lab.process("core", &town.internet, &words)?;
        core.makes(&folder.join("core.sock"), SOON).await?;

        let shutdown = Shutdown::new();
        let gateway = gateway(&folder, &tokens.gateway, &town.home.gateway, shutdown.clone())?;
        let (orders, received) = mpsc::unbounded_channel();
        let agent = agent(&folder, &tokens.device, metered, &device, received)?;
        let this = Self {
            town,
            device,
            wlan,
            wwan,
            _carrier: carrier,
            lab: lab.clone(),
            homeward,
            folder,
            _state: state,
            orders,
            shutdown,
            threads: vec![gateway, agent],
            _core: core,
        };
        this.go(true, true, Access::Wifi);
        Ok(this)
    }

    /// Waits until so many of the device's paths answer.
    ///
    /// # Errors
    /// If they do not in time.
    pub async fn up(&self, paths: usize) -> Result<()> {
        let mut last = Value::Null;
        wait_for("the tunnel home", SOON * 2, async || {
            last = self.status().await?;
            let legs = last["tunnel"]["bond"]["legs"].as_array().cloned().unwrap_or_default();
            let up = legs.iter().filter(|leg| leg["state"] == "up").count();
            Ok((up >= paths).then_some(()))
        })
        .await
        .with_context(|| format!("the last status was {last:#}"))
    }

    /// Tells the device's agent which accesses there are, and by which traffic is to go.
    pub fn go(&self, wifi: bool, cellular: bool, preferred: Access) {
        // The agent ends with this.
        let _ = self.orders.send(Order::Go(wifi, cellular, preferred));
    }

    /// Tells the device's agent what its station hears.
    pub fn hears(&self, found: Found) {
        // The agent ends with this.
        let _ = self.orders.send(Order::Found(found));
    }

    /// Has both ways used so; how they are used then.
    ///
    /// # Errors
    /// Why they are not.
    pub async fn bond(&self, bond: config::Bond) -> Result<String> {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::Bond(bond, answer));
        answered.await?.map_err(|why| anyhow!(why))
    }

    /// How the tunnel stands, seen from the device.
    ///
    /// # Errors
    /// If the agent has ended.
    pub async fn status(&self) -> Result<Value> {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::Status(answer));
        Ok(answered.await?)
    }

    /// What the agent has told since it was asked last.
    ///
    /// # Errors
    /// If it has ended.
    pub async fn notices(&self) -> Result<Vec<Notice>> {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::Notices(answer));
        Ok(answered.await?)
    }

    /// `homeward admin` with those words.
    ///
    /// # Errors
    /// If it fails; what it complains of.
    pub fn admin(&self, words: &[&str]) -> Result<Value> {
        admin(&self.homeward, &self.folder, words)
    }

    /// The device's address, by DHCP from the home LAN.
    ///
    /// # Errors
    /// If it gets none.
    pub async fn lease(&self) -> Result<Lease> {
        let folder = self.lab.folder();
        dhcp::lease(folder, folder, "device", &self.device, VIRTUAL, SOON).await
    }

    /// Ends both agents in good order.
    ///
    /// # Errors
    /// If one ended otherwise.
    pub fn end(mut self) -> Result<()> {
        self.shutdown.trigger();
        self.orders = mpsc::unbounded_channel().0;
        for thread in std::mem::take(&mut self.threads) {
            thread.join().map_err(|_| anyhow!("an agent panicked"))??;
        }
        Ok(())
    }
}

impl Drop for Street {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

struct Tokens {
    gateway: PathBuf,
    device: PathBuf,
}

/// The operator's records.
fn operate(homeward: &Path, folder: &Path) -> Result<Tokens> {
    let at = |file: &str| folder.join(file).display().to_string();
    let config = format!(
        "[store]\npath = \"{}\"\nkey_file = \"{}\"\n\
         [aaa]\nlisten = [\"{CORE}:1812\"]\nworkers = 1\n\
         [controller]\nlisten = [\"{CORE}:4719\"]\nstun = [\"{CORE}:3478\"]\n\
         [control]\nsocket = \"{}\"\n",
        at("core.db"),
        at("core.keys"),
        at("core.sock")
    );
    fs::write(folder.join("core.toml"), config)?;
    let (whose, how) = (["--operator", "example"], ["--place", "gb/london/se1"]);
    let (home, site) = (["--mac", "02:00:5e:10:00:01"], ["--site", "51.5007,-0.1246,60"]);
    let account = ["--account", "smith", "--ssid", "Elm17", "--security", "wpa2-psk"];
    let of = ["--device-of", NETWORK];
    for words in [
        vec!["key", "create"],
        vec![
            "class",
            "create",
            "standard",
            "--coverage",
            "national",
            "--bonding",
            "mirrored,striped",
        ],
        [&["gateway", "create", "elm"][..], &home, &how, &whose, &site].concat(),
        vec!["account", "create", "smith", "--class", "standard"],
        [&["network", "create"][..], &account, &["--gateway", "elm"]].concat(),
        [&["gateway", "create", "phone"][..], &of, &how, &whose].concat(),
    ] {
        admin(homeward, folder, &words)?;
    }
    let token = |name: &str| {
        let enrolled = admin(homeward, folder, &["gateway", "enrol", name])?;
        let file = folder.join(format!("{name}.token"));
        fs::write(&file, enrolled["token"].as_str().context("no token")?)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        anyhow::Ok(file)
    };
    Ok(Tokens { gateway: token("elm")?, device: token("phone")? })
}

fn admin(homeward: &Path, folder: &Path, words: &[&str]) -> Result<Value> {
    let config = folder.join("core.toml");
    let mut command = Command::new(homeward);
    command.args(["admin", "--json", "--config"]).arg(config).args(words);
    let done = command.output()?;
    let complaint = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "homeward admin {}: {complaint}", words.join(" "));
    Ok(serde_json::from_slice(&done.stdout).unwrap_or_default())
}

/// A thread of a namespace with a runtime of its own.
fn thread(
    name: &str,
    namespace: &Namespace,
    work: impl AsyncFnOnce() -> Result<()> + Send + 'static,
) -> Result<JoinHandle<Result<()>>> {
    let namespace = namespace.clone();
    Ok(std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        namespace.switch()?;
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work())
    })?)
}

/// The home gateway's agent, without a radio.
fn gateway(
    folder: &Path,
    token: &Path,
    namespace: &Namespace,
    shutdown: Shutdown,
) -> Result<JoinHandle<Result<()>>> {
    let at = |file: &str| folder.join(file).display().to_string();
    let text = format!(
        "name = \"elm\"\n\
         [radio]\nhostapd = \"{}\"\ninterface = \"none\"\nrun_directory = \"{}\"\n\
         [[core]]\naddress = \"{CORE}:1812\"\nsecret = {{ file = \"{}\" }}\n\
         [channel]\ncore = [\"{CORE}:4719\"]\ndirectory = \"{}\"\ntoken_file = \"{}\"\n\
         [home]\nbridge = \"br0\"\n[control]\nsocket = \"{}\"\n",
        at("no-hostapd"),
        at("run"),
        at("secret"),
        at("elm"),
        token.display(),
        at("elm.sock")
    );
    fs::write(folder.join("secret"), "a secret for the lab, and only for it")?;
    fs::set_permissions(folder.join("secret"), fs::Permissions::from_mode(0o600))?;
    let file = folder.join("elm.toml");
    fs::write(&file, text)?;
    let config = homeward_gateway::Config::load(&file)?;
    thread("gateway", namespace, async move || {
        let (_requester, reload) = Reload::channel();
        let (_out, probes) = mpsc::channel(1);
        let heard = Arc::new(Counts::default());
        let run = homeward_gateway::service::run_hearing;
        run(config, file, heard, probes, shutdown, reload).await
    })
}

/// What of the device's daemon keeps the tunnel home.
fn agent(
    folder: &Path,
    token: &Path,
    cellular: config::Metered,
    namespace: &Namespace,
    mut orders: mpsc::UnboundedReceiver<Order>,
) -> Result<JoinHandle<Result<()>>> {
    let settings = config::Home {
        core: vec![format!("{CORE}:4719")],
        directory: folder.join("phone"),
        token_file: Some(token.to_owned()),
        ssid: None,
        interface: VIRTUAL.to_owned(),
        listen: vec![SocketAddr::from(([0, 0, 0, 0], 1701))],
        dscp: 0,
        keepalive: Period(Duration::from_secs(20)),
        stun_interval: Period(Duration::from_secs(30)),
        bond: config::Bond::Off,
        hold: config::Hold::Always,
        cellular,
        // Looked for while it is not there.
        coverage: config::Coverage { gpsd: Some(GPSD.to_owned()), ..config::Coverage::default() },
    };
    thread("device", namespace, async move || {
        let (notices, mut told) = mpsc::unbounded_channel();
        let home = Home::start(&settings, notices)?;
        while let Some(order) = orders.recv().await {
            // Whoever asks may have gone.
            match order {
                Order::Go(wifi, cellular, preferred) => {
                    let named = |is: bool, name: &str| is.then(|| name.to_owned());
                    home.go(named(wifi, "wlan"), named(cellular, "wwan"), preferred);
                }
                Order::Found(found) => home.found(found),
                Order::Bond(bond, answer) => {
                    let used = home.bond(bond).await?;
                    let _ = answer.send(used.map(|mode| format!("{mode:?}").to_lowercase()));
                }
                Order::Status(answer) => {
                    let _ = answer.send(home.status().await?);
                }
                Order::Notices(answer) => {
                    let _ = answer.send(std::iter::from_fn(|| told.try_recv().ok()).collect());
                }
            }
        }
        home.stop().await;
        Ok(())
    })
}
