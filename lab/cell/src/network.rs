//! The packet core: a GGSN, and an SGSN a bearer.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use homeward_model::Apn;
use homeward_net::place::profile_dir;
use homeward_net::process::last_lines;
use homeward_net::wait::wait_for;
use homeward_net::{Namespace, Process};
use ipnet::{Ipv4Net, Ipv6Net};

use crate::register::{Entry, Register};
use crate::ue::{Carried, Device, Sim, Ue, address_in};
use crate::vty::{self, PdpContext, Vty};

/// The GGSN towards the SGSNs: the network 10.90.0.0/16.
pub const GGSN: Ipv4Addr = Ipv4Addr::new(10, 90, 0, 1);

/// The packet gateway towards the services.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 91, 0, 1);

/// The services' namespace, where the portal stands.
pub const SERVICES: Ipv4Addr = Ipv4Addr::new(10, 91, 0, 2);

/// [`GATEWAY`] by IPv6.
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x91, 0, 0, 0, 0, 0, 1);

/// [`SERVICES`] by IPv6.
pub const SERVICES_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x91, 0, 0, 0, 0, 0, 2);

/// The name of the one GGSN in its own configuration.
pub const GGSN_NAME: &str = "ggsn0";

/// The network's code: a private one (ITU-T E.212).
pub const PLMN: &str = "99970";

/// Room for what GTP-U wraps round a packet of 1,500 octets.
const GN_MTU: u32 = 1600;

/// How long the GGSN may take to come up, and to give an address.
const START: Duration = Duration::from_secs(20);

/// How a network is laid out.
#[derive(Debug, Clone)]
pub struct CellularPlan {
    /// The access points; the first is where a device goes that names none.
    pub apns: Vec<ApnPlan>,
    /// How often the GGSN asks its SGSNs whether they live. It finds out about a dead one after
    /// six times 3 s or so; where this is `None`, as by default, never.
    pub echo: Option<Duration>,
}

/// An access point.
#[derive(Debug, Clone)]
pub struct ApnPlan {
    /// Its name.
    pub name: Apn,
    /// The addresses that it gives to devices, but for the first, which is its own.
    pub pool: Ipv4Net,
    /// The prefixes of 64 bits that it gives to devices that ask for IPv6, but for the first,
    /// where there are any.
    pub prefixes: Option<Ipv6Net>,
}

impl CellularPlan {
    /// A network with one access point, `internet`, which gives addresses of `pool`.
    ///
    /// # Errors
    /// Never.
    pub fn with_pool(pool: Ipv4Net) -> Result<Self> {
        let internet = ApnPlan { name: "internet".parse()?, pool, prefixes: None };
        Ok(Self { apns: vec![internet], echo: None })
    }

    /// A network with one access point, `internet`, and 10.60.0.0/24.
    ///
    /// # Errors
    /// Never.
    pub fn simple() -> Result<Self> {
        Self::with_pool(Ipv4Net::new(Ipv4Addr::new(10, 60, 0, 0), 24)?)
    }

    /// [`simple`](Self::simple), with prefixes of fd00:60::/56 as well.
    ///
    /// # Errors
    /// Never.
    pub fn dual() -> Result<Self> {
        let mut plan = Self::simple()?;
        let prefixes = Ipv6Net::new(Ipv6Addr::new(0xfd00, 0x60, 0, 0, 0, 0, 0, 0), 56)?;
        for apn in &mut plan.apns {
            apn.prefixes = Some(prefixes);
        }
        Ok(plan)
    }
}

/// A mobile network that runs. It ends when dropped, with the bearers of all that attached.
#[derive(Debug)]
pub struct CellularNetwork {
    folder: PathBuf,
    plan: CellularPlan,
    sgsn: Namespace,
    ggsn: Namespace,
    gateway: Process,
    register: PathBuf,
    known: Register,
    attached: u16,
}

impl CellularNetwork {
    /// Starts a network, its logs in `folder`, and joins it to the namespace of the services: there
    /// it makes the interface `sgi0` with the address [`SERVICES`], and routes to the devices.
    ///
    /// # Errors
    /// If osmo-ggsn is not installed or does not start, or a namespace cannot be made.
    pub async fn start(folder: &Path, services: &Namespace, plan: CellularPlan) -> Result<Self> {
        let first = plan.apns.first().context("a network without an access point")?;
        let [sgsn, ggsn] = [Namespace::create("sgsn")?, Namespace::create("ggsn")?];
        if !plan.apns.iter().any(|apn| apn.prefixes.is_some()) {
            for namespace in [&sgsn, &ggsn] {
                namespace.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
            }
        }
        sgsn.join("gn0", &ggsn, "gn0")?;
        sgsn.ip(&format!("link set gn0 mtu {GN_MTU}"))?;
        ggsn.ip(&format!("link set gn0 mtu {GN_MTU}\naddr add {GGSN}/16 dev gn0"))?;
        ggsn.join("sgi0", services, "sgi0")?;
        join_services(&ggsn, services, &plan)?;

        let state = folder.join("ggsn");
        fs::create_dir_all(&state).with_context(|| format!("cannot make {}", state.display()))?;
        let config = state.join("osmo-ggsn.cfg");
        fs::write(&config, configuration(&plan, &first.name, &state)?)?;
        let config = config.to_str().context("the lab's folder is no text")?;
        let gateway = Process::start(folder, "ggsn", &ggsn, &["osmo-ggsn", "-c", config])?;
        let register = state.join("register.json");
        let known = Register::default();
        known.write(&register)?;
        let folder = folder.to_owned();
        let mut network = Self { folder, plan, sgsn, ggsn, gateway, register, known, attached: 0 };
        network.answers().await?;
        Ok(network)
    }

    /// Where the packet gateway is.
    pub fn ggsn(&self) -> &Namespace {
        &self.ggsn
    }

    /// Where the SGSNs are, with an address each.
    pub fn sgsn(&self) -> &Namespace {
        &self.sgsn
    }

    /// The access points.
    pub fn apns(&self) -> &[ApnPlan] {
        &self.plan.apns
    }

    /// What the network knows of its subscribers, as a file for the bridge.
    pub fn register(&self) -> &Path {
        &self.register
    }

    /// Attaches a device with that SIM in it to the network's first access point.
    ///
    /// # Errors
    /// As [`attach_to`](Self::attach_to).
    pub async fn attach(&mut self, device: &Device, sim: &Sim) -> Result<Ue> {
        let apn = self.plan.apns.first().context("a network without an access point")?.name.clone();
        self.attach_to(device, sim, &apn).await
    }

    /// Attaches a device with that SIM in it to an access point: when this returns, the interface
    /// is there, has the address that the GGSN gave, and is the device's default route at the
    /// device's metric.
    ///
    /// # Errors
    /// If the GGSN refuses, or the device has an interface of that name already.
    pub async fn attach_to(&mut self, device: &Device, sim: &Sim, apn: &Apn) -> Result<Ue> {
        let ue = self.bear(device, sim, apn).await?;
        // The bearer is IPv4's: the device would ask for routers in vain.
        let knob = format!("net.ipv6.conf.{}.disable_ipv6", device.interface);
        device.namespace.sysctl(&knob, "1")?;
        device.go_on_air(&format!("{}/32", ue.address()), "0.0.0.0/0")?;
        Ok(ue)
    }

    /// [`attach_to`](Self::attach_to) by IPv6, with a prefix of the device's own.
    ///
    /// # Errors
    /// As [`attach_to`](Self::attach_to), and if the access point has no prefixes.
    pub async fn attach_v6(
        &mut self,
        device: &Device,
        sim: &Sim,
        apn: &Apn,
    ) -> Result<Ue<Ipv6Addr>> {
        let ue = self.bear(device, sim, apn).await?;
        // The emulator has done what a router advertisement asks for, and lets nothing else pass.
        let knobs = format!("net.ipv6.conf.{}", device.interface);
        device.namespace.sysctl(&format!("{knobs}.disable_ipv6"), "0")?;
        device.namespace.sysctl(&format!("{knobs}.accept_ra"), "0")?;
        device.namespace.sysctl(&format!("{knobs}.addr_gen_mode"), "1")?;
        device.go_on_air(&format!("{}/64 nodad", ue.address()), "::/0")?;
        Ok(ue)
    }

    /// Has a context made, and takes its interface to the device, down and without address.
    async fn bear<A: Carried>(&mut self, device: &Device, sim: &Sim, apn: &Apn) -> Result<Ue<A>> {
        ensure!(!sim.imsi.as_str().starts_with('0'), "an IMSI must not begin with a zero here");
        // Each SGSN has an address of its own; the first is 10.90.0.2.
        let number = self.attached;
        self.attached = number.checked_add(1).context("too many bearers for one lab")?;
        let sgsn = Ipv4Addr::from(u32::from(GGSN) + 1 + u32::from(number));
        self.sgsn.ip(&format!("addr add {sgsn}/16 dev gn0"))?;
        self.known.insert(sim.imsi, Entry { msisdn: Some(sim.msisdn), imei: Some(device.imei) });
        self.known.write(&self.register)?;

        let name = format!("sgsn-{number}-{}", device.name);
        let state = self.folder.join(&name);
        fs::create_dir_all(&state).with_context(|| format!("cannot make {}", state.display()))?;
        let (tun, listen, remote) = (format!("ue{number}"), sgsn.to_string(), GGSN.to_string());
        let pid = state.join("pid");
        let text = |path: &Path| -> Result<String> {
            Ok(path.to_str().context("the lab's folder is no text")?.to_owned())
        };
        let (state, pid) = (text(&state)?, text(&pid)?);
        let command = [
            // Line by line: what it says is waited for.
            &["stdbuf", "-oL", "sgsnemu", "--listen", &listen, "--remote", &remote][..],
            &["--imsi", sim.imsi.as_str(), "--msisdn", sim.msisdn.as_str()],
            &["--imeisv", device.imei.as_str(), "--apn", apn.as_str(), "--rattype", "1"],
            &[
                "--pdp-type",
                A::PDP_TYPE,
                "--createif",
                "--tun-device",
                &tun,
                "--statedir",
                &state,
                "--pidfile",
                &pid,
            ],
        ]
        .concat();
        let mut emulator = Process::start(&self.folder, &name, &self.sgsn, &command)?;
        let what = format!("an address for {}", device.name);
        let address = wait_for(&what, START, async || {
            let running = emulator.is_running();
            match address_in(&emulator.log())? {
                Some(address) => Ok(Some(address)),
                None if running => Ok(None),
                None => bail!("{name} ended: {}", last_lines(&emulator.log(), 5)),
            }
        })
        .await?;
        self.sgsn.ip(&format!(
            "link set {tun} down\nlink set {tun} netns {} name {}",
            device.namespace.path().display(),
            device.interface
        ))?;
        Ok(Ue { device: device.clone(), sim: *sim, apn: apn.clone(), address, sgsn, emulator })
    }

    /// The GGSN's contexts, as it tells them itself.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn contexts(&self) -> Result<Vec<PdpContext>> {
        let mut vty = self.vty().await?;
        Ok(vty.contexts(GGSN_NAME).await?)
    }

    /// Starts the bridge: it sends RADIUS accounting of the GGSN's contexts to `to`, which is in
    /// the services' namespace, under `secret`. `more` are further arguments of its command line.
    ///
    /// # Errors
    /// If `homeward-cell-bridge` is not built.
    pub fn report_to(&self, to: SocketAddr, secret: &str, more: &[&str]) -> Result<Process> {
        let own = std::env::current_exe().context("cannot find the program's own binary")?;
        let bridge = profile_dir(&own)
            .map(|dir| dir.join("homeward-cell-bridge"))
            .filter(|path| path.exists())
            .context("homeward-cell-bridge is not built: cargo build --package homeward-cell")?;
        let file = self.folder.join("bridge.secret");
        fs::write(&file, secret).with_context(|| format!("cannot write {}", file.display()))?;
        let words =
            [bridge, file, self.register.clone()].map(|path| path.to_string_lossy().into_owned());
        let [bridge, file, register] = &words;
        let (to, gateway) = (to.to_string(), GATEWAY.to_string());
        let mut command = vec![
            bridge.as_str(),
            "--to",
            &to,
            "--secret-file",
            file,
            "--register",
            register,
            "--ggsn",
            GGSN_NAME,
            "--nas-address",
            &gateway,
            "--plmn",
            PLMN,
        ];
        command.extend(more);
        Process::start(&self.folder, "bridge", &self.ggsn, &command)
    }

    /// The GGSN dies, and all contexts with it.
    pub fn kill_ggsn(&mut self) {
        self.gateway.kill();
    }

    /// Starts the GGSN again after [`kill_ggsn`](Self::kill_ggsn); it remembers no context.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn restart_ggsn(&mut self) -> Result<()> {
        self.gateway.restart()?;
        self.answers().await
    }

    /// Waits until the GGSN's VTY answers.
    async fn answers(&mut self) -> Result<()> {
        let (ggsn, gateway) = (&self.ggsn, &mut self.gateway);
        wait_for("osmo-ggsn's VTY", START, async || {
            let running = gateway.is_running();
            match open_vty(ggsn).await {
                Ok(_) => Ok(Some(())),
                Err(_) if running => Ok(None),
                Err(_) => bail!("osmo-ggsn ended: {}", last_lines(&gateway.log(), 5)),
            }
        })
        .await
    }

    async fn vty(&self) -> Result<Vty> {
        open_vty(&self.ggsn).await
    }
}

/// The packet gateway's side towards the services, and theirs towards the devices.
fn join_services(ggsn: &Namespace, services: &Namespace, plan: &CellularPlan) -> Result<()> {
    let mut near = format!("addr add {GATEWAY}/24 dev sgi0\nroute add default via {SERVICES}\n");
    let mut far = format!("addr add {SERVICES}/24 dev sgi0\n");
    ggsn.sysctl("net.ipv4.ip_forward", "1")?;
    for apn in &plan.apns {
        writeln!(far, "route add {} via {GATEWAY}", apn.pool.trunc())?;
    }
    let prefixes: Vec<_> = plan.apns.iter().filter_map(|apn| apn.prefixes).collect();
    if !prefixes.is_empty() {
        ggsn.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        writeln!(near, "addr add {GATEWAY_V6}/64 dev sgi0 nodad")?;
        writeln!(near, "route add ::/0 via {SERVICES_V6}")?;
        writeln!(far, "addr add {SERVICES_V6}/64 dev sgi0 nodad")?;
    }
    for prefix in prefixes {
        writeln!(far, "route add {} via {GATEWAY_V6}", prefix.trunc())?;
    }
    ggsn.ip(&near)?;
    services.ip(&far)
}

async fn open_vty(ggsn: &Namespace) -> Result<Vty> {
    let stream = ggsn.enter(|| {
        let stream = std::net::TcpStream::connect(vty::ADDRESS)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    })?;
    Ok(Vty::over(tokio::net::TcpStream::from_std(stream)?).await?)
}

/// The GGSN's configuration file.
fn configuration(plan: &CellularPlan, default: &Apn, state: &Path) -> Result<String> {
    let mut text = format!(
        "log stderr\n logging filter all 1\n logging color 0\n logging print category 1\n \
         logging print category-hex 0\n logging timestamp 0\n logging level set-all info\n\
         line vty\n no login\n\
         ggsn {GGSN_NAME}\n gtp state-dir {}\n gtp bind-ip {GGSN}\n",
        state.display()
    );
    let mut names = BTreeSet::new();
    for (number, apn) in plan.apns.iter().enumerate() {
        ensure!(names.insert(apn.name.as_str()), "access point {} is there twice", apn.name);
        let own = apn.pool.hosts().next().context("an empty pool")?;
        let length = apn.pool.prefix_len();
        write!(
            text,
            " apn {}\n  gtpu-mode tun\n  tun-device gi{number}\n  type-support v4\n  \
             ip prefix dynamic {}\n  ip dns 0 {SERVICES}\n  ip ifconfig {own}/{length}\n",
            apn.name,
            apn.pool.trunc(),
        )?;
        if let Some(prefixes) = apn.prefixes {
            let all = prefixes.trunc();
            write!(
                text,
                "  type-support v6\n  ipv6 prefix dynamic {all}\n  ipv6 ifconfig {all}\n"
            )?;
        }
        text.push_str("  no shutdown\n");
    }
    writeln!(text, " default-apn {default}")?;
    if let Some(echo) = plan.echo {
        writeln!(text, " echo-interval {}", echo.as_secs().max(1))?;
    }
    text.push_str(" no shutdown ggsn\n");
    Ok(text)
}
