//! The tunnels that are measured, all up at once between the same two namespaces: an idle one
//! costs the others nothing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_net::tool::{run_tool, tool};
use homeward_net::wait::wait_for;
use homeward_net::{Lab, Namespace, Process};

use crate::figures::say;
use crate::world;

/// How long a daemon may take to come up.
const START: Duration = Duration::from_secs(10);

/// The cable under the tunnels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cable {
    /// Carries super-frames of 64 KiB.
    Offloading,
    /// Each packet is a packet.
    Plain,
}

/// Two namespaces and all systems between them.
pub(crate) struct Systems {
    pub(crate) a: Namespace,
    pub(crate) b: Namespace,
    pub(crate) all: Vec<System>,
    _sink: Process,
}

/// A way from a to b.
pub(crate) struct System {
    /// What it is looked up by.
    pub(crate) role: &'static str,
    /// Its name and version.
    pub(crate) name: String,
    /// Its end in b.
    pub(crate) there: Ipv4Addr,
    #[expect(dead_code, reason = "they run until it goes")]
    processes: Vec<Running>,
    /// The processes whose CPU time is its own; of another system's too, if it is over that.
    pids: Vec<u32>,
}

/// A process of a tunnel.
enum Running {
    Peer(Process),
    /// It ends with its input.
    Ours(world::Process, #[expect(dead_code, reason = "it is held open")] ChildStdin),
}

impl Running {
    fn pid(&self) -> Option<u32> {
        match self {
            Self::Peer(process) => process.pid(),
            Self::Ours(process, _) => Some(process.0.id()),
        }
    }
}

impl System {
    /// CPU time of its processes at both ends so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.pids.iter().map(|pid| world::cpu(*pid)).sum()
    }

    fn new(role: &'static str, name: &str, there: Ipv4Addr, processes: Vec<Running>) -> Self {
        let pids = processes.iter().filter_map(Running::pid).collect();
        Self { role, name: name.to_owned(), there, processes, pids }
    }
}

impl Systems {
    pub(crate) async fn start(lab: &Lab, cable: Cable) -> Result<Self> {
        let [a, b] = [lab.namespace("a")?, lab.namespace("b")?];
        a.join("wire", &b, "wire")?;
        for (end, host) in [(&a, 1), (&b, 2)] {
            // Nothing of the kernel's own on the cable while it is measured.
            end.sysctl("net.ipv6.conf.all.disable_ipv6", "1")?;
            end.ip(&format!("addr add 10.77.0.{host}/24 dev wire"))?;
            if cable == Cable::Plain {
                // Checksums stay offloaded: they cost the same for all.
                let off = ["tso", "off", "gso", "off", "gro", "off", "tx-udp-segmentation", "off"];
                let words: Vec<_> = ["-K", "wire"].into_iter().chain(off).collect();
                end.run_tool("ethtool", &words)?;
            }
        }
        let mut sink = lab.process("iperf3", &b, &["iperf3", "--server", "--forceflush"])?;
        sink.says("listening", START).await?;
        let set_up = SetUp { lab, a: a.clone(), b: b.clone() };
        let mut all = vec![System::new("bare", "the bare veth", wire(2), Vec::new())];
        all.push(set_up.ours(1, true)?);
        all.push(set_up.ours(2, false)?);
        all.push(set_up.fastd(3, "fastd-cipher", "salsa2012+umac").await?);
        all.push(set_up.fastd(4, "fastd-null", "null").await?);
        all.push(set_up.wireguard(5).await?);
        let under = all.last().context("wireguard-go")?;
        let (under, pids) = (&under.name, under.pids.clone());
        let (name, over) = (format!("VXLAN over {under}"), [at(5, 1), at(5, 2)]);
        let mut vxlan = set_up.vxlan(6, "vxlan-wireguard", &name, over)?;
        vxlan.pids = pids;
        all.push(vxlan);
        all.push(set_up.vxlan(7, "vxlan", "kernel VXLAN", [wire(1), wire(2)])?);
        Ok(Self { a, b, all, _sink: sink })
    }
}

fn wire(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, host)
}

fn at(system: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, system, host)
}

struct SetUp<'a> {
    lab: &'a Lab,
    a: Namespace,
    b: Namespace,
}

impl SetUp<'_> {
    fn ends(&self) -> [(&Namespace, char, u8, u8); 2] {
        [(&self.a, 'a', 1, 2), (&self.b, 'b', 2, 1)]
    }

    /// Gives an interface its address and sets it up.
    fn address(&self, number: u8, interface: &str) -> Result<()> {
        for (end, _, own, _) in self.ends() {
            end.ip(&format!(
                "addr add {}/24 dev {interface}\nlink set {interface} up",
                at(number, own)
            ))?;
        }
        Ok(())
    }

    /// Ours, inside WireGuard or in the clear. The stranger is at a.
    fn ours(&self, number: u8, encrypted: bool) -> Result<System> {
        let program = example()?;
        let program = program.to_str().context("the target folder's name is not UTF-8")?;
        let stranger = format!("02:00:00:00:{number:02x}:01");
        let interface = format!("tap{number}");
        let key = |host: u8| format!("{number:02x}{host:02x}").repeat(16);
        let cookie = |host: u8| format!("{host:02x}").repeat(8);
        let mut processes = Vec::new();
        for (end, _, own, other) in self.ends() {
            let side = if own == 1 { "foreign" } else { "home" };
            let mut words = vec![
                format!("listen=0.0.0.0:{}", 1700 + u16::from(number)),
                format!("peer={}:{}", wire(other), 1700 + u16::from(number)),
                format!("tap={interface}"),
                format!("mac=02:00:00:00:{number:02x}:{own:02x}"),
                format!("side={side}"),
                format!("device={stranger}"),
                format!("session={own}:{other}"),
                format!("cookie={}:{}", cookie(own), cookie(other)),
            ];
            if encrypted {
                let public = end.run_tool(program, &[&format!("key={}", key(other))])?;
                let public = public.trim().strip_prefix("public key ").context("no public key")?;
                words.push(format!("key={}", key(own)));
                words.push(format!("peer-key={public}"));
                words.push(format!("inner=10.79.0.{own}"));
                words.push(format!("peer-inner=10.79.0.{other}"));
            }
            let mut command = tool(program);
            command.args(&words).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = end.spawn(command)?;
            let stdin = child.stdin.take().context("piped")?;
            ready(&mut child)?;
            processes.push(Running::Ours(world::Process(child), stdin));
        }
        self.address(number, &interface)?;
        let (role, name) = match encrypted {
            true => ("encrypted", "ours, encrypted"),
            false => ("clear", "ours, in the clear"),
        };
        Ok(System::new(role, name, at(number, 2), processes))
    }

    /// fastd: Ethernet over UDP from user space, one thread. Its own documentation's MTU, for it
    /// does not cut frames itself.
    async fn fastd(&self, number: u8, role: &'static str, method: &str) -> Result<System> {
        let keys = [fastd_key()?, fastd_key()?];
        let interface = format!("tap{number}");
        let port = 10_000 + u16::from(number);
        let mut processes = Vec::new();
        for (end, letter, own, other) in self.ends() {
            let key = |host: u8| &keys[usize::from(host) - 1];
            let file = self.lab.folder().join(format!("fastd{number}-{letter}.conf"));
            let config = format!(
                "log level info;\nmode tap;\ninterface \"{interface}\";\nmethod \"{method}\";\n\
                 mtu 1406;\nbind {}:{port};\nsecret \"{}\";\n\
                 peer \"other\" {{ key \"{}\"; remote {}:{port}; }}\n",
                wire(own),
                key(own).0,
                key(other).1,
                wire(other)
            );
            fs::write(&file, config)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
            let file = file.to_string_lossy().into_owned();
            let name = format!("fastd{number}-{letter}");
            let process = self.lab.process(&name, end, &["fastd", "--config", &file])?;
            appears(end, &interface).await?;
            processes.push(process);
        }
        self.address(number, &interface)?;
        for process in &mut processes {
            process.says("connection with <other> established", START).await?;
        }
        let version = run_tool("fastd", &["--version"])?;
        let version = version.trim().trim_start_matches("fastd v");
        let name = format!("fastd {version}, {method}");
        let processes = processes.into_iter().map(Running::Peer).collect();
        Ok(System::new(role, &name, at(number, 2), processes))
    }

    /// wireguard-go: IP over UDP from user space. Each in a /run of its own, where its control
    /// socket is.
    async fn wireguard(&self, number: u8) -> Result<System> {
        let (program, version) = wireguard_go()?;
        let interface = format!("wg{number}");
        let port = 51_000 + u16::from(number);
        let (mut processes, mut keys) = (Vec::new(), Vec::new());
        for (_, letter, ..) in self.ends() {
            let secret = run_tool("wg", &["genkey"])?;
            let file = self.lab.folder().join(format!("wg-{letter}.key"));
            fs::write(&file, &secret)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
            let public = homeward_net::tool::feed_tool("wg", &["pubkey"], &secret)?;
            keys.push((file.to_string_lossy().into_owned(), public.trim().to_owned()));
        }
        for (end, letter, own, other) in self.ends() {
            let script = format!(
                "mount -t tmpfs none /run && mkdir /run/wireguard && \
                 exec env LOG_LEVEL=error '{program}' -f {interface}"
            );
            let command = ["unshare", "--mount", "sh", "-c", &script];
            let mut process = self.lab.process(&format!("wg-{letter}"), end, &command)?;
            let pid = process.pid().context("it runs")?;
            let socket = format!("/proc/{pid}/root/run/wireguard/{interface}.sock");
            process.makes(socket.as_ref(), START).await?;
            let (own_key, other_key) =
                (&keys[usize::from(own) - 1].0, &keys[usize::from(other) - 1].1);
            let (pid, port) = (pid.to_string(), port.to_string());
            let endpoint = format!("{}:{port}", wire(other));
            let inside = ["--target", &pid, "--mount", "--", "wg", "set", &interface];
            let settings = ["private-key", own_key, "listen-port", &port, "peer", other_key];
            let peer = ["allowed-ips", "0.0.0.0/0", "endpoint", &endpoint];
            let words: Vec<&str> = inside.into_iter().chain(settings).chain(peer).collect();
            run_tool("nsenter", &words)?;
            end.ip(&format!("link set {interface} mtu 1420"))?;
            processes.push(Running::Peer(process));
        }
        self.address(number, &interface)?;
        let name = format!("wireguard-go {version}");
        Ok(System::new("wireguard-go", &name, at(number, 2), processes))
    }

    /// The kernel's VXLAN between the addresses `over`, without a checksum, as is its default.
    fn vxlan(
        &self,
        number: u8,
        role: &'static str,
        name: &str,
        over: [Ipv4Addr; 2],
    ) -> Result<System> {
        let interface = format!("vx{number}");
        for (end, _, own, other) in self.ends() {
            let [local, remote] = [own, other].map(|host| over[usize::from(host) - 1]);
            end.ip(&format!(
                "link add {interface} type vxlan id {number} local {local} remote {remote} \
                 dstport {}",
                4_700 + u16::from(number)
            ))?;
            if over[0] != wire(1) {
                end.ip(&format!("link set {interface} mtu 1370"))?;
            }
        }
        self.address(number, &interface)?;
        Ok(System::new(role, name, at(number, 2), Vec::new()))
    }
}

/// Waits until ours says that it is, and keeps reading what it says.
fn ready(child: &mut Child) -> Result<()> {
    let mut lines = BufReader::new(child.stdout.take().context("piped")?).lines();
    for line in lines.by_ref() {
        if line?.starts_with("ready ") {
            std::thread::spawn(move || lines.for_each(drop));
            return Ok(());
        }
    }
    anyhow::bail!("our tunnel ended before it was ready")
}

async fn appears(namespace: &Namespace, interface: &str) -> Result<()> {
    wait_for(interface, START, async || {
        Ok(namespace.run_tool("ip", &["link", "show", interface]).ok())
    })
    .await
    .map(drop)
}

/// A secret and its public key.
fn fastd_key() -> Result<(String, String)> {
    let said = run_tool("fastd", &["--generate-key"])?;
    let field = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        line.map(|key| key.trim().to_owned()).with_context(|| format!("no {name} in {said}"))
    };
    Ok((field("Secret:")?, field("Public:")?))
}

/// The newest wireguard-go there is here, and its version.
pub(crate) fn wireguard_go() -> Result<(String, String)> {
    let fetched = PathBuf::from("target/tools/bin/wireguard-go").canonicalize();
    if let Ok(program) = fetched {
        let version = fs::read_to_string(program.with_extension("version"))?;
        return Ok((program.to_string_lossy().into_owned(), version.trim().to_owned()));
    }
    let query = ["-W", "-f", "${Version}", "wireguard-go"];
    let version = run_tool("dpkg-query", &query).context("wireguard-go: run `make bench`")?;
    say("wireguard-go of this Debian release, which may be years old");
    Ok(("wireguard-go".into(), version.trim().to_owned()))
}

fn example() -> Result<PathBuf> {
    let program = PathBuf::from("target/release/examples/tunnel");
    ensure!(program.exists(), "{} is not built; `make bench` does that", program.display());
    Ok(program.canonicalize()?)
}
