//! A Linux kernel is the other end of our tunnels: its l2tp in the clear, and its l2tp inside its
//! wireguard. So what we send is what the standards say, and not only what we understand.
//!
//! ```text
//!   namespace ours                              namespace kernel
//!   tap0 10.20.0.1/24 (our data plane)          l2tp0 10.20.0.2/24 (l2tp_eth)
//!      │                                           │ [in wg0 10.255.0.2 (wireguard)]
//!   out 192.0.2.1/24 ──────────── veth ────────── out 192.0.2.2/24
//! ```

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use data_encoding::BASE64;
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_dataplane::{
    Config, Dataplane, Key, PeerConfig, PeerId, Side, TunnelConfig, TunnelId,
};
use homeward_l2tp::{Cookie, Encapsulation, SessionConfig, SessionId, Sublayer};
use homeward_model::Mac;
use homeward_net::tool::run_tool;
use homeward_port::Device;
use homeward_radio::{Lab, Namespace, Scenario};

const SOON: Duration = Duration::from_secs(20);
const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const KERNELS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const DEVICE: Mac = Mac::new([2, 0, 0x5e, 0, 0, 1]);
const COOKIE_TO_US: [u8; 8] = [0x11; 8];
const COOKIE_TO_KERNEL: [u8; 8] = [0x22; 8];

fn run(namespace: &Namespace, command: &str) -> Result<String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let (program, arguments) = words.split_first().context("no command")?;
    namespace.run_tool(program, arguments)
}

/// The two namespaces with the wire between them.
fn wire() -> Result<(Namespace, Namespace)> {
    for module in ["l2tp_eth", "l2tp_ip", "wireguard"] {
        run_tool("modprobe", &[module])?;
    }
    let (ours, kernel) = (Namespace::create("ours")?, Namespace::create("kernel")?);
    ours.join("out", &kernel, "out")?;
    ours.ip(&format!("link set lo up\nlink set out up\naddr add {OURS}/24 dev out"))?;
    kernel.ip(&format!("link set lo up\nlink set out up\naddr add {KERNELS}/24 dev out"))?;
    Ok((ours, kernel))
}

/// Our end: a data plane in its namespace, its interface with an address and the device's MAC.
fn our_end(
    ours: &Namespace,
    peer: PeerConfig,
    encrypted: bool,
    sublayer: Sublayer,
) -> Result<Dataplane> {
    let config =
        Config { listen: vec!["192.0.2.1:1701".parse()?], ..Config::new(Key::new([7; 32])) };
    let dataplane = ours.enter(|| {
        let dataplane = Dataplane::start(config, SystemClock, SystemEntropy::new(), |_| {})?;
        dataplane.set_inner_address("10.255.0.1".parse()?);
        dataplane.set_peer(PeerId(1), peer)?;
        let tunnel = TunnelConfig {
            peer: PeerId(1),
            encrypted,
            session: SessionConfig {
                local_session: SessionId::new(10).context("not 0")?,
                remote_session: SessionId::new(20).context("not 0")?,
                local_cookie: Cookie::eight(COOKIE_TO_US),
                remote_cookie: Cookie::eight(COOKIE_TO_KERNEL),
                sublayer,
                encapsulation: Encapsulation::Udp,
            },
            tap: "tap0".into(),
            mac: Some(DEVICE),
            // Below what the path carries whole: the kernel knows no fragments.
            mtu: 1300,
            port: homeward_port::Settings {
                devices: vec![Device::new(DEVICE)],
                ..homeward_port::Settings::default()
            },
            side: Side::Foreign,
            bond: None,
        };
        dataplane.open(TunnelId(1), tunnel)?;
        Ok(dataplane)
    })?;
    ours.ip("link set tap0 up\naddr add 10.20.0.1/24 dev tap0")?;
    Ok(dataplane)
}

/// The kernel's end of the session, on a tunnel that is there.
fn kernels_session(kernel: &Namespace, more: &str) -> Result<()> {
    let hex = |octets: [u8; 8]| octets.map(|octet| format!("{octet:02x}")).concat();
    run(
        kernel,
        &format!(
            "ip l2tp add session name l2tp0 tunnel_id 1 session_id 20 peer_session_id 10 \
         cookie {} peer_cookie {} l2spec_type default {more}",
            // To the kernel, `cookie` is what it sends.
            hex(COOKIE_TO_US),
            hex(COOKIE_TO_KERNEL),
        ),
    )?;
    kernel.ip("link set l2tp0 mtu 1300 up\naddr add 10.20.0.2/24 dev l2tp0")
}

/// Pings small and large, in both directions, and says what passed.
async fn both_ways(ours: &Namespace, kernel: &Namespace, dataplane: &Dataplane) -> Result<()> {
    kernel.ping("10.20.0.1".parse()?, SOON).await?;
    ours.ping("10.20.0.2".parse()?, SOON).await?;
    run(ours, "ping -c 20 -i 0.05 -W 2 -s 1272 -M do 10.20.0.2")?;
    let status = dataplane.status();
    let tunnel = status.first().context("no tunnel")?;
    ensure!(tunnel.sent.frames > 20 && tunnel.received.frames > 20, "{tunnel:?}");
    ensure!(
        tunnel.drops.malformed + tunnel.drops.cookie + tunnel.drops.replayed == 0,
        "{tunnel:?}"
    );
    Ok(())
}

#[test]
fn a_kernels_l2tp_is_the_other_end_in_the_clear() {
    Scenario::new().radios(1).run(|_: Lab| async move {
        let (ours, kernel) = wire()?;
        run(
            &kernel,
            "ip l2tp add tunnel tunnel_id 1 peer_tunnel_id 1 encap udp \
             local 192.0.2.2 remote 192.0.2.1 udp_sport 1701 udp_dport 1701",
        )?;
        kernels_session(&kernel, "")?;
        let peer = PeerConfig {
            public_key: [2; 32],
            preshared_key: None,
            inner_address: "10.255.0.2".parse()?,
            endpoints: vec!["192.0.2.2:1701".parse()?],
            access: None,
        };
        let dataplane = our_end(&ours, peer, false, Sublayer::Unnumbered)?;
        both_ways(&ours, &kernel, &dataplane).await
    });
}

#[test]
fn a_kernels_l2tp_inside_its_wireguard_is_the_other_end_encrypted() {
    Scenario::new().radios(1).run(|lab: Lab| async move {
        let (ours, kernel) = wire()?;
        let key = lab.save("wg.key", run(&kernel, "wg genkey")?.trim())?;
        let preshared = lab.save("wg.psk", BASE64.encode(&[9; 32]))?;
        let our_public = BASE64.encode(&public_of_ours(&ours)?);
        kernel.ip("link add wg0 type wireguard")?;
        run(
            &kernel,
            &format!(
                "wg set wg0 listen-port 51820 private-key {} peer {our_public} \
             preshared-key {} allowed-ips 10.255.0.1/32 endpoint 192.0.2.1:1701",
                key.display(),
                preshared.display()
            ),
        )?;
        kernel.ip("addr add 10.255.0.2/24 dev wg0\nlink set wg0 mtu 1420 up")?;
        run(
            &kernel,
            "ip l2tp add tunnel tunnel_id 1 peer_tunnel_id 1 encap ip \
             local 10.255.0.2 remote 10.255.0.1",
        )?;
        kernels_session(&kernel, "")?;
        let shown = run(&kernel, "wg show wg0 public-key")?;
        let peer = PeerConfig {
            public_key: key_of(shown.trim())?,
            preshared_key: Some(Key::new([9; 32])),
            inner_address: "10.255.0.2".parse()?,
            endpoints: vec!["192.0.2.2:51820".parse()?],
            access: None,
        };
        let dataplane = our_end(&ours, peer, true, Sublayer::Unnumbered)?;
        both_ways(&ours, &kernel, &dataplane).await?;
        let transfer = run(&kernel, "wg show wg0 transfer")?;
        ensure!(!transfer.contains("\t0\t") && !transfer.trim().ends_with("\t0"), "{transfer}");
        Ok(())
    });
}

/// The public key of the private key that our end has.
fn public_of_ours(ours: &Namespace) -> Result<[u8; 32]> {
    ours.enter(|| {
        let config =
            Config { listen: vec!["192.0.2.1:0".parse()?], ..Config::new(Key::new([7; 32])) };
        let dataplane = Dataplane::start(config, SystemClock, SystemEntropy::new(), |_| {})?;
        Ok(dataplane.public_key())
    })
}

fn key_of(text: &str) -> Result<[u8; 32]> {
    let octets = BASE64.decode(text.trim().as_bytes())?;
    octets.try_into().map_err(|_| anyhow::anyhow!("not a key of 32 octets"))
}
