//! What others make of the same links.
//!
//! ```text
//!  [device] wlan 10.1.0.2 ══ cable ══ 10.1.0.1 [internet] wire 10.9.0.1 ── 10.9.0.2 [home]
//!           wwan 10.2.0.2 ══ cable ══ 10.2.0.1
//! ```

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_hybrid::{cellular, wifi};
use homeward_model::Instant;
use homeward_net::tool::{feed_tool, run_tool};
use homeward_net::wait::{elapse, now, pause, wait_for};
use homeward_net::{Cable, Flow, Impairment, Lab, Namespace, Process};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{CUT, FAST, PERIOD, SLOW, SOON, WARM, silence};
use crate::tunnel::wireguard_go;

const HOME: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// Inside the tunnels.
const INSIDE: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 8, 0, 1), Ipv4Addr::new(10, 8, 0, 2)];

struct World {
    lab: Lab,
    device: Namespace,
    home: Namespace,
    wlan: Cable,
    wwan: Cable,
    _internet: Namespace,
}

impl World {
    fn build(name: &str) -> Result<Self> {
        let lab = Lab::start(name)?;
        let [device, internet, home] =
            [lab.namespace("device")?, lab.namespace("internet")?, lab.namespace("home")?];
        internet.sysctl("net.ipv4.ip_forward", "1")?;
        device.sysctl("net.ipv4.conf.all.rp_filter", "0")?;
        internet.join("wire", &home, "wire")?;
        internet.ip("addr add 10.9.0.1/24 dev wire")?;
        home.ip("addr add 10.9.0.2/24 dev wire\nroute add default via 10.9.0.1")?;
        let [wlan, wwan] = [("wlan", 1), ("wwan", 2)].map(|(interface, net)| {
            let cable = Cable::lay(&internet, interface, &device, interface, net)?;
            internet.ip(&format!("addr add 10.{net}.0.1/24 dev {interface}"))?;
            device.ip(&format!("addr add 10.{net}.0.2/24 dev {interface}"))?;
            anyhow::Ok(cable)
        });
        let (wlan, wwan) = (wlan?, wwan?);
        device.ip("route add default via 10.2.0.1 dev wwan metric 2")?;
        let world = Self { lab, device, home, wlan, wwan, _internet: internet };
        world.up()?;
        Ok(world)
    }

    /// Wi-Fi is there, and preferred.
    fn up(&self) -> Result<()> {
        self.wlan.set(wifi(FAST));
        self.wwan.set(cellular(SLOW));
        self.device.ip("link set wlan up\nroute replace default via 10.1.0.1 dev wlan metric 1")
    }

    /// Wi-Fi vanishes; with `told`, its interface says so.
    fn cut(&self, told: bool) -> Result<()> {
        self.wlan.set(Impairment { loss: 1.0, ..wifi(FAST) });
        if told { self.device.ip("link set wlan down") } else { Ok(()) }
    }

    /// Waits until the streams of both ways go by Wi-Fi, and have for a moment.
    async fn by_wifi(&self) -> Result<()> {
        const LOOK: Duration = Duration::from_millis(300);
        wait_for("the streams to go by Wi-Fi", SOON, async || {
            let passed =
                || [self.wlan.forth(), self.wlan.back()].map(|lane| lane.counters().delivered);
            let before = passed();
            elapse(LOOK).await;
            let most = LOOK.as_millis() as u64 * 9 / 10;
            Ok(before.iter().zip(passed()).all(|(b, after)| after - b >= most).then_some(()))
        })
        .await
    }

    /// A stream each way while Wi-Fi vanishes so many times, the tunnel being up: the longer of both
    /// silences, in ms.
    async fn streams(&self, runs: usize) -> Result<Vec<f64>> {
        let [home, device] = INSIDE;
        let down = Flow::every(PERIOD, &self.home, &self.device, device, 5000)?;
        let up = Flow::every(PERIOD, &self.device, &self.home, home, 5001)?;
        let mut silent = Vec::new();
        for _ in 0..runs {
            self.up()?;
            self.by_wifi().await?;
            let begun = now();
            self.cut(true)?;
            elapse(CUT).await;
            let until = now();
            elapse(Duration::from_millis(100)).await;
            let outages = [&down, &up].map(|flow| flow.outage(begun, until).silence_ms);
            silent.push(outages[0].max(outages[1]));
        }
        Ok(silent)
    }
}

/// wireguard-go, whose server follows the address that its client sends from.
pub(super) async fn wireguard(runs: usize) -> Result<Vec<f64>> {
    let world = World::build("bench-bond-wireguard")?;
    let (program, _) = wireguard_go()?;
    let (mut processes, mut keys) = (Vec::new(), Vec::new());
    for end in ["home", "device"] {
        let secret = run_tool("wg", &["genkey"])?;
        let file = world.lab.folder().join(format!("{end}.key"));
        fs::write(&file, &secret)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        let public = feed_tool("wg", &["pubkey"], &secret)?;
        keys.push((file.to_string_lossy().into_owned(), public.trim().to_owned()));
    }
    for (own, namespace) in [&world.home, &world.device].into_iter().enumerate() {
        let script = format!(
            "mount -t tmpfs none /run && mkdir /run/wireguard && \
             exec env LOG_LEVEL=error '{program}' -f wg0"
        );
        let command = ["unshare", "--mount", "sh", "-c", &script];
        let mut process = world.lab.process(&format!("wg-{own}"), namespace, &command)?;
        let pid = process.pid().context("it runs")?;
        process.makes(format!("/proc/{pid}/root/run/wireguard/wg0.sock").as_ref(), SOON).await?;
        let ((own_key, _), (_, other_key)) = (&keys[own], &keys[1 - own]);
        let (pid, there) = (pid.to_string(), format!("{HOME}:51820"));
        let mut words =
            vec!["--target", &pid, "--mount", "--", "wg", "set", "wg0", "private-key", own_key];
        words.extend(["listen-port", "51820", "peer", other_key, "allowed-ips", "10.8.0.0/24"]);
        if own == 1 {
            words.extend(["endpoint", &there]);
        }
        run_tool("nsenter", &words)?;
        namespace.ip(&format!(
            "link set wg0 mtu 1420\naddr add {}/24 dev wg0\nlink set wg0 up",
            INSIDE[own]
        ))?;
        processes.push(process);
    }
    world.device.ping(INSIDE[0], SOON).await?;
    world.streams(runs).await
}

/// strongSwan with MOBIKE at both ends, a preshared key, and a virtual address.
pub(super) async fn mobike(runs: usize) -> Result<Vec<f64>> {
    let world = World::build("bench-bond-mobike")?;
    let mut charons = Vec::new();
    for (name, namespace) in [("home", &world.home), ("device", &world.device)] {
        let folder = world.lab.folder().join(name);
        fs::create_dir_all(&folder)?;
        let vici = format!("unix://{}/vici", folder.display());
        let conf = folder.join("strongswan.conf");
        fs::write(
            &conf,
            format!(
                "charon {{\n load = random nonce openssl pem pkcs1 pkcs8 x509 pubkey hmac sha1 sha2 \
                 aes gcm kdf curve25519 kernel-libipsec kernel-netlink socket-default vici attr\n \
                 retransmit_timeout = 0.2\n retransmit_base = 1.2\n prefer_best_path = yes\n \
                 plugins {{\n vici {{\n socket = {vici}\n }}\n }}\n \
                 filelog {{\n stderr {{\n default = 1\n }}\n }}\n}}\n"
            ),
        )?;
        let [inside, _] = INSIDE;
        let (own, other) = if name == "home" { ("home", "device") } else { ("device", "home") };
        let (ends, selectors) = if name == "home" {
            ("pools = inside".to_owned(), format!("local_ts = {inside}/32"))
        } else {
            (
                format!("remote_addrs = {HOME}\n vips = 0.0.0.0"),
                format!("remote_ts = {inside}/32\n start_action = start"),
            )
        };
        let swanctl = folder.join("swanctl.conf");
        fs::write(
            &swanctl,
            format!(
                "connections {{\n tunnel {{\n version = 2\n mobike = yes\n {ends}\n \
                 local {{\n auth = psk\n id = {own}\n }}\n remote {{\n auth = psk\n id = {other}\n }}\n \
                 children {{\n inside {{\n {selectors}\n }}\n }}\n }}\n}}\n\
                 secrets {{\n ike {{\n secret = \"a key of this benchmark\"\n }}\n}}\n\
                 pools {{\n inside {{\n addrs = {}\n }}\n}}\n",
                INSIDE[1]
            ),
        )?;
        if name == "home" {
            namespace.ip(&format!("link set lo up\naddr add {inside}/32 dev lo"))?;
        }
        let environment = format!("STRONGSWAN_CONF={}", conf.display());
        let own = "mount -t tmpfs none /run && exec /usr/lib/ipsec/charon";
        let words = ["env", &environment, "unshare", "--mount", "sh", "-c", own];
        let process: Process = world.lab.process(&format!("charon-{name}"), namespace, &words)?;
        let file = swanctl.to_string_lossy().into_owned();
        let words = ["--load-all", "--noprompt", "--file", &file, "--uri", &vici];
        wait_for("charon", SOON, async || Ok(run_tool("swanctl", &words).ok())).await?;
        charons.push(process);
    }
    let [home, _] = INSIDE;
    wait_for("the tunnel", SOON, async || {
        let words = ["-c", "1", "-W", "1", &home.to_string()];
        Ok(world.device.run_tool("ping", &words).ok())
    })
    .await?;
    world.streams(runs).await
}

/// The kernel's MPTCP: a stream each way of a connection of two subflows, an octet every
/// millisecond. Nothing tells it.
pub(super) async fn mptcp(runs: usize) -> Result<Vec<f64>> {
    let world = World::build("bench-bond-mptcp")?;
    let (device, home) = world.connection().await?;
    let [up, down] = [(&device, &home), (&home, &device)].map(|(from, to)| octets(from, to));
    let (up, down) = (up?, down?);
    let mut silent = Vec::new();
    for _ in 0..runs {
        world.up()?;
        elapse(Duration::from_millis(1500)).await;
        let begun = now();
        world.cut(false)?;
        elapse(2 * CUT).await;
        let until = now();
        let gaps = [&up, &down].map(|stream| silence(&stream.arrivals(), begun, until));
        silent.push(gaps[0].max(gaps[1]));
    }
    Ok(silent)
}

/// The octets that a download by MPTCP over 50 and 20 Mbit/s has in that time.
pub(super) async fn mptcp_download(span: Duration, congestion: &str) -> Result<u64> {
    let world = World::build("bench-bond-mptcp")?;
    let (mut device, mut home) = world.connection().await?;
    world.wlan.set(wifi(50_000_000));
    world.wwan.set(cellular(20_000_000));
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, total) = (Arc::clone(&stop), Arc::new(Mutex::new(0u64)));
    home.set_write_timeout(Some(Duration::from_millis(200)))?;
    SockRef::from(&home).set_tcp_congestion(congestion.as_bytes())?;
    std::thread::spawn(move || {
        let room = vec![7; 1 << 16];
        while !stopped.load(Ordering::Relaxed) {
            // One that would wait is tried again.
            let _ = home.write(&room);
        }
    });
    let (stopped, count) = (Arc::clone(&stop), Arc::clone(&total));
    device.set_read_timeout(Some(Duration::from_millis(200)))?;
    std::thread::spawn(move || {
        let mut room = vec![0; 1 << 16];
        while !stopped.load(Ordering::Relaxed) {
            if let Ok(len) = device.read(&mut room) {
                *count.lock().unwrap_or_else(PoisonError::into_inner) += len as u64;
            }
        }
    });
    elapse(WARM).await;
    let so_far = || *total.lock().unwrap_or_else(PoisonError::into_inner);
    let before = so_far();
    elapse(span).await;
    let octets = so_far() - before;
    stop.store(true, Ordering::Relaxed);
    Ok(octets)
}

impl World {
    /// A connection by MPTCP, of two subflows: the device's end, and home's.
    async fn connection(&self) -> Result<(TcpStream, TcpStream)> {
        self.device.run_tool("ip", &["mptcp", "limits", "set", "subflow", "2"])?;
        self.home.run_tool("ip", &["mptcp", "limits", "set", "subflow", "2"])?;
        let second = ["mptcp", "endpoint", "add", "10.2.0.2", "dev", "wwan", "subflow"];
        self.device.run_tool("ip", &second)?;
        // The second subflow leaves by its own access.
        self.device.ip("rule add from 10.2.0.2 table 2")?;
        self.device.ip("route add default via 10.2.0.1 dev wwan table 2")?;
        let listener = self.home.enter(|| {
            let socket = mptcp_socket()?;
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::from((HOME, 8080)).into())?;
            socket.listen(1)?;
            Ok(socket)
        })?;
        let device = self
            .device
            .run(|| {
                let socket = mptcp_socket()?;
                socket.connect(&SocketAddr::from(SocketAddrV4::new(HOME, 8080)).into())?;
                Ok(TcpStream::from(socket))
            })
            .await?;
        let (home, _) = listener.accept()?;
        let home = TcpStream::from(home);
        let (mut device, mut home) = (device, home);
        device.set_nodelay(true)?;
        home.set_nodelay(true)?;
        // A second subflow is made only once something was acknowledged on the first.
        device.write_all(&[1])?;
        home.read_exact(&mut [0])?;
        home.write_all(&[1])?;
        device.read_exact(&mut [0])?;
        wait_for("the second subflow", SOON, async || {
            let said = self.device.run_tool("ss", &["-nti", "src", "10.2.0.2"])?;
            Ok(said.contains("10.9.0.2:8080").then_some(()))
        })
        .await?;
        Ok((device, home))
    }
}

fn mptcp_socket() -> Result<Socket> {
    const IPPROTO_MPTCP: i32 = 262;
    let protocol = Some(Protocol::from(IPPROTO_MPTCP));
    Socket::new(Domain::IPV4, Type::STREAM, protocol).context("no MPTCP: net.mptcp.enabled")
}

/// A stream of octets, one at a time.
struct Octets {
    arrivals: Arc<Mutex<Vec<Instant>>>,
    stop: Arc<AtomicBool>,
}

impl Octets {
    fn arrivals(&self) -> Vec<Instant> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Octets {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn octets(from: &TcpStream, to: &TcpStream) -> Result<Octets> {
    let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
    let stream = Octets { arrivals: Arc::default(), stop: Arc::default() };
    let stop = Arc::clone(&stream.stop);
    from.set_write_timeout(Some(Duration::from_millis(200)))?;
    std::thread::spawn(move || {
        let mut due = now();
        while !stop.load(Ordering::Relaxed) {
            // One that would wait is tried again.
            let _ = from.write(&[7]);
            due = due.max(now()) + PERIOD;
            pause(due - now());
        }
    });
    let (stop, arrivals) = (Arc::clone(&stream.stop), Arc::clone(&stream.arrivals));
    to.set_read_timeout(Some(Duration::from_millis(200)))?;
    std::thread::spawn(move || {
        let mut room = [0; 4096];
        while !stop.load(Ordering::Relaxed) {
            if to.read(&mut room).is_ok_and(|len| len > 0) {
                arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(now());
            }
        }
    });
    Ok(stream)
}
