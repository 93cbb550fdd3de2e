//! What many tunnels cost that carry nothing.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_daemon::clock::process_cpu_time;
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_dataplane::{
    Config, Dataplane, Key, PeerConfig, PeerId, Side, TunnelConfig, TunnelId,
};
use homeward_l2tp::{Cookie, Encapsulation, SessionConfig, SessionId, Sublayer};
use homeward_model::Mac;
use homeward_net::lab;
use homeward_net::wait::elapse;
use homeward_port::{Device, Settings};

const TUNNELS: u32 = 1000;

#[test]
fn a_thousand_idle_tunnels_take_little_memory_and_next_to_no_time() {
    lab(|lab| async move {
        let gateway = lab.namespace("gateway")?;
        // The kernel's own announcements on each new interface are not what is measured.
        gateway.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
        let plane = gateway.enter(|| {
            let mut config = Config::new(Key::new([1; 32]));
            config.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 1701))];
            Ok(Dataplane::start(config, SystemClock, SystemEntropy::new(), |_| {})?)
        })?;
        plane.set_inner_address(Ipv4Addr::new(10, 255, 0, 1));
        let before = resident()?;
        gateway.enter(|| (1..=TUNNELS).try_for_each(|n| open(&plane, n)))?;
        let each = (resident()? - before) / f64::from(TUNNELS);
        // What making the interfaces left to do is done.
        elapse(Duration::from_millis(500)).await;
        let begun = process_cpu_time();
        elapse(Duration::from_secs(5)).await;
        let used = process_cpu_time() - begun;
        println!("{each:.1} KiB each; {used:?} of CPU in 5 s");
        assert!(each < 32.0, "{each} KiB each");
        assert!(used < Duration::from_millis(20), "{used:?}");
        Ok(())
    });
}

/// A tunnel to a gateway of its own, which has not been heard yet.
fn open(plane: &Dataplane, n: u32) -> Result<()> {
    let mut public_key = [9; 32];
    public_key[..4].copy_from_slice(&n.to_be_bytes());
    let [_, a, b, c] = n.to_be_bytes();
    let peer = PeerId(i64::from(n));
    let inner_address = Ipv4Addr::new(10, a, b, c);
    let config = PeerConfig {
        public_key,
        preshared_key: None,
        inner_address,
        endpoints: Vec::new(),
        access: None,
    };
    plane.set_peer(peer, config)?;
    let session = SessionId::new(n).context("a session is not 0")?;
    let device = Device::new(Mac::new([2, 0, 0, a, b, c]));
    plane.open(
        TunnelId(n.into()),
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
            port: Settings { devices: vec![device], ..Settings::default() },
            side: Side::Home,
            bond: None,
        },
    )?;
    Ok(())
}

/// This process's resident memory, in KiB.
fn resident() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    line.split_whitespace().nth(1).context("no figure")?.parse().context("no number")
}
