//! What a tunnel costs that carries nothing: a thousand of them in one process, each to a gateway
//! of its own.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_dataplane::{
    Config, Dataplane, Key, PeerConfig, PeerId, Side, TunnelConfig, TunnelId,
};
use homeward_l2tp::{Cookie, Encapsulation, SessionConfig, SessionId, Sublayer};
use homeward_model::Mac;
use homeward_net::Lab;
use homeward_net::tool::tool;
use homeward_net::wait::elapse;

use crate::figures::Figure;
use crate::world::Process;

/// How many.
const TUNNELS: u32 = 1000;

/// How long their CPU time is watched.
const WATCH: Duration = Duration::from_secs(5);

pub(crate) async fn measure(lab: &Lab) -> Result<()> {
    let namespace = lab.namespace("idle")?;
    // The kernel's own announcements on each new interface are not what is measured.
    namespace.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
    let mut command = tool(std::env::current_exe()?.to_str().context("not UTF-8")?);
    command.args(["--idle-tunnels", &TUNNELS.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = namespace.spawn(command)?;
    let mut go = child.stdin.take().context("piped")?;
    let mut lines = BufReader::new(child.stdout.take().context("piped")?).lines();
    let process = Process(child);
    let mut said = || lines.next().context("the tunnels' process ended")?.context("no line");
    said()?;
    let before = process.resident()?;
    writeln!(go, "go")?;
    said()?;
    // They have nothing to say to anybody; what set-up left to be freed is freed.
    elapse(Duration::from_millis(500)).await;
    let (after, cpu) = (process.resident()?, process.cpu()?);
    elapse(WATCH).await;
    let used = process.cpu()?.saturating_sub(cpu);
    let each = (after - before) * 1e3 / f64::from(TUNNELS);
    Figure::alone("tunnel/idle-resident-each", "kB", each, 1).record()?;
    Figure::alone("tunnel/idle-resident-1000", "MB", after, 1).record()?;
    let share = used.as_secs_f64() / WATCH.as_secs_f64() * 1e3;
    Figure::alone("tunnel/idle-cpu-1000", "ms/s", share, 1).record()
}

/// The process that has the tunnels: says that it has started, waits for a line, makes them, says
/// so, and ends with its input.
pub(crate) fn inside(tunnels: u32) -> Result<()> {
    let mut lines = std::io::stdin().lines();
    let mut config = Config::new(Key::new([7; 32]));
    config.listen = vec!["0.0.0.0:1701".parse()?];
    let dataplane = Dataplane::start(config, SystemClock, SystemEntropy::new(), |_| {})?;
    dataplane.set_inner_address("10.255.0.1".parse()?);
    crate::figures::say("started");
    lines.next();
    for n in 1..=tunnels {
        let [_, a, b, c] = n.to_be_bytes();
        let mut public = [9; 32];
        public[..4].copy_from_slice(&n.to_be_bytes());
        let peer = PeerId(i64::from(n));
        dataplane.set_peer(
            peer,
            PeerConfig {
                public_key: public,
                preshared_key: None,
                inner_address: [10, a, b, c].into(),
                endpoints: Vec::new(),
                access: None,
            },
        )?;
        let port = homeward_port::Settings {
            devices: vec![homeward_port::Device::new(Mac::new([2, 0, 0, a, b, c]))],
            ..homeward_port::Settings::default()
        };
        let session = SessionId::new(n).context("a session is not 0")?;
        dataplane.open(
            TunnelId(u64::from(n)),
            TunnelConfig {
                peer,
                encrypted: true,
                session: SessionConfig {
                    local_session: session,
                    remote_session: session,
                    local_cookie: Cookie::eight([1; 8]),
                    remote_cookie: Cookie::eight([2; 8]),
                    sublayer: Sublayer::Numbered,
                    encapsulation: Encapsulation::Udp,
                },
                tap: format!("hw{n}"),
                mac: None,
                mtu: 1500,
                port,
                side: Side::Home,
                bond: None,
            },
        )?;
    }
    crate::figures::say("ready");
    lines.next();
    Ok(())
}
