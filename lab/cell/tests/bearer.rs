//! The bearers are real: they carry traffic, each under its own address and no other.
// So that clippy knows the helpers below for tests too.
#![cfg(test)]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_cell::network::{GGSN, SERVICES, SERVICES_V6};
use homeward_cell::{ApnPlan, CellularNetwork, CellularPlan, Device, Sim, Ue};
use homeward_net::wait::wait_for;
use homeward_net::{Capture, Lab, Namespace, Printer, lab, printer};
use ipnet::{Ipv4Net, Ipv6Net};

const SOON: Duration = Duration::from_secs(5);

/// A network whose services' namespace has nothing in it.
async fn network(lab: &Lab, plan: CellularPlan) -> Result<(CellularNetwork, Namespace)> {
    let services = lab.namespace("services")?;
    let network = CellularNetwork::start(lab.folder(), &services, plan).await?;
    Ok((network, services))
}

fn phone(n: u8) -> Result<Device> {
    Device::create(&format!("phone{n}"), format!("35693803564380{n:02}").parse()?)
}

/// A G-PDU (3GPP TS 29.281 5.1) with a UDP datagram to port 9 of the services from `source`.
fn g_pdu(teid: u32, source: Ipv4Addr) -> Vec<u8> {
    let mut inner = vec![0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0];
    inner.extend(source.octets());
    inner.extend(SERVICES.octets());
    let sum: u32 =
        inner.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    inner[10..12].copy_from_slice(&folded.to_be_bytes());
    // From port 9 to port 9, twelve octets, no checksum.
    inner.extend([0, 9, 0, 9, 0, 12, 0, 0]);
    inner.extend(b"gtpu");
    let mut packet = vec![0x30, 0xff];
    packet.extend(u16::try_from(inner.len()).unwrap().to_be_bytes());
    packet.extend(teid.to_be_bytes());
    packet.extend(inner);
    packet
}

/// Whether an IPv4 frame is from that address.
fn is_from(octets: &[u8], source: Ipv4Addr) -> bool {
    octets.get(12..14) == Some(&[0x08, 0x00]) && octets.get(26..30) == Some(&source.octets())
}

/// Sends `count` datagrams from an address of the device's own choice, which need not be its own.
fn send_from(ue: &Ue, source: Ipv4Addr, count: u32) -> Result<()> {
    ue.namespace().enter(|| {
        let socket = UdpSocket::bind(SocketAddr::from((source, 0)))?;
        for _ in 0..count {
            socket.send_to(b"spoof", (SERVICES, 9))?;
        }
        Ok(())
    })
}

#[test]
fn a_bearer_carries_traffic_and_the_services_see_the_devices_address() {
    lab(|lab| async move {
        let (mut network, services) = network(&lab, CellularPlan::simple()?).await?;
        let page = Printer::start("services", &services, SERVICES)?;
        let ue = network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        assert_eq!(ue.address(), Ipv4Addr::new(10, 60, 0, 2));
        ue.namespace().ping(SERVICES, SOON).await?;
        assert_eq!(printer::get(ue.namespace(), SERVICES, SOON).await?, page.page());
        assert_eq!(ue.curl(&["http://10.91.0.2/"]).await?, page.page());
        assert_eq!(page.visitors().into_iter().collect::<Vec<_>>(), [ue.address()]);
        // The way back, by itself.
        services.ping(ue.address(), SOON).await?;
        Ok(())
    });
}

#[test]
fn whole_packets_pass_in_both_directions() {
    lab(|lab| async move {
        let (mut network, services) = network(&lab, CellularPlan::simple()?).await?;
        let ue = network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        let whole = ["-M", "do", "-s", "1472", "-c", "1", "-W", "2"];
        ue.namespace().run_tool("ping", &[&whole[..], &["10.91.0.2"]].concat())?;
        let address = ue.address().to_string();
        services.run_tool("ping", &[&whole[..], &[&address]].concat())?;
        Ok(())
    });
}

#[test]
fn the_gateway_says_whose_each_bearer_is() {
    lab(|lab| async move {
        let (mut network, _services) = network(&lab, CellularPlan::simple()?).await?;
        let sims = [Sim::numbered(1)?, Sim::numbered(2)?];
        let one = network.attach(&phone(1)?, &sims[0]).await?;
        let two = network.attach(&phone(2)?, &sims[1]).await?;
        assert_ne!(one.address(), two.address());
        for ue in [&one, &two] {
            ue.namespace().ping(SERVICES, SOON).await?;
        }
        let mut told = network.contexts().await?;
        told.sort_by_key(|context| context.ipv4);
        let told: Vec<_> =
            told.iter().map(|c| (c.imsi, c.ipv4, c.sgsn.address, c.ggsn.address)).collect();
        let expected = [&one, &two].map(|ue| {
            (ue.sim().imsi, Some(ue.address()), ue.sgsn().into(), std::net::IpAddr::from(GGSN))
        });
        assert_eq!(told, expected);
        Ok(())
    });
}

#[test]
fn a_device_cannot_send_from_an_address_that_is_not_its_own() {
    lab(|lab| async move {
        let (mut network, services) = network(&lab, CellularPlan::simple()?).await?;
        let one = network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        let two = network.attach(&phone(2)?, &Sim::numbered(2)?).await?;
        let heard = Capture::start(&services, "sgi0")?;
        one.namespace().ip(&format!("addr add {}/32 dev wwan0", two.address()))?;
        send_from(&one, two.address(), 5)?;
        // What is sent behind it arrives, so it would have too.
        send_from(&one, one.address(), 1)?;
        heard.first("its own", SOON, |frame| is_from(&frame.octets, one.address())).await?;
        assert_eq!(heard.count(|frame| is_from(&frame.octets, two.address())), 0);
        Ok(())
    });
}

/// The emulator refuses such packets itself, as a base station need not.
#[test]
fn the_gateway_lets_no_other_address_out_whatever_a_base_station_sends() {
    lab(|lab| async move {
        let (mut network, services) = network(&lab, CellularPlan::simple()?).await?;
        let one = network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        let two = network.attach(&phone(2)?, &Sim::numbered(2)?).await?;
        let contexts = network.contexts().await?;
        let own = contexts.iter().find(|context| context.ipv4 == Some(one.address()));
        let teid = own.context("no context")?.ggsn_data.teid;
        let heard = Capture::start(&services, "sgi0")?;
        let base_station = network.sgsn().enter(|| Ok(UdpSocket::bind((one.sgsn(), 0))?))?;
        for source in [two.address(), Ipv4Addr::new(10, 60, 0, 200), SERVICES, one.address()] {
            base_station.send_to(&g_pdu(teid, source), (GGSN, 2152))?;
        }
        let ours = |octets: &[u8]| octets.ends_with(b"gtpu");
        heard.first("its own", SOON, |f| ours(&f.octets)).await?;
        assert_eq!(heard.count(|f| ours(&f.octets) && !is_from(&f.octets, one.address())), 0);
        Ok(())
    });
}

#[test]
fn a_detached_device_has_no_bearer_and_its_address_goes_to_the_next() {
    lab(|lab| async move {
        // One address to give.
        let plan = CellularPlan::with_pool(Ipv4Net::new(Ipv4Addr::new(10, 60, 0, 0), 30)?)?;
        let (mut network, _services) = network(&lab, plan).await?;
        let one = network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        let address = one.address();
        let device = one.detach().await?;
        assert!(network.contexts().await?.is_empty());
        assert!(device.namespace.run_tool("ip", &["link", "show", "wwan0"]).is_err());
        let two = network.attach(&phone(2)?, &Sim::numbered(2)?).await?;
        assert_eq!(two.address(), address);
        two.namespace().ping(SERVICES, SOON).await?;
        Ok(())
    });
}

#[test]
fn an_sgsn_that_dies_leaves_a_stale_context_until_the_gateway_finds_out() {
    lab(|lab| async move {
        let plan = CellularPlan { echo: Some(Duration::from_secs(1)), ..CellularPlan::simple()? };
        let (mut network, _services) = network(&lab, plan).await?;
        let stays = network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        let dies = network.attach(&phone(2)?, &Sim::numbered(2)?).await?;
        let address = dies.address();
        let device = dies.kill();
        assert!(device.namespace.run_tool("ip", &["link", "show", "wwan0"]).is_err());
        let stale = |contexts: &[homeward_cell::vty::PdpContext]| {
            contexts.iter().any(|context| context.ipv4 == Some(address))
        };
        assert!(stale(&network.contexts().await?));
        wait_for("the gateway to find out", Duration::from_secs(40), async || {
            Ok((!stale(&network.contexts().await?)).then_some(()))
        })
        .await?;
        stays.namespace().ping(SERVICES, SOON).await?;
        Ok(())
    });
}

#[test]
fn a_device_moves_with_another_sim_to_another_access_point() {
    lab(|lab| async move {
        let pool = |third| Ipv4Net::new(Ipv4Addr::new(10, third, 0, 0), 24);
        let apn = |name: &str, third| -> Result<ApnPlan> {
            Ok(ApnPlan { name: name.parse()?, pool: pool(third)?, prefixes: None })
        };
        let plan = CellularPlan { apns: vec![apn("internet", 60)?, apn("ims", 61)?], echo: None };
        let (mut network, services) = network(&lab, plan).await?;
        let device = phone(1)?;
        let first = network.attach(&device, &Sim::numbered(1)?).await?;
        assert_eq!(first.address(), Ipv4Addr::new(10, 60, 0, 2));
        let device = first.detach().await?;
        let second = network.attach_to(&device, &Sim::numbered(2)?, &"ims".parse()?).await?;
        assert_eq!(second.address(), Ipv4Addr::new(10, 61, 0, 2));
        services.ping(second.address(), SOON).await?;
        Ok(())
    });
}

/// Pings once, with the size of a whole packet.
fn ping_v6(from: &Namespace, source: Ipv6Addr, to: Ipv6Addr) -> Result<String> {
    let (source, to) = (source.to_string(), to.to_string());
    let words = ["-6", "-n", "-c", "1", "-W", "2", "-s", "1400", "-I", &source, &to];
    from.run_tool("ping", &words)
}

/// Waits until the other end answers: it has to be found on the link first.
async fn reaches_v6(from: &Namespace, source: Ipv6Addr, to: Ipv6Addr) -> Result<()> {
    let reached = async || Ok(ping_v6(from, source, to).ok().map(|_| ()));
    wait_for("an answer to a ping", SOON, reached).await
}

#[test]
fn a_bearer_of_ipv6_has_a_prefix_of_its_own_and_none_of_another() {
    lab(|lab| async move {
        let (mut network, services) = network(&lab, CellularPlan::dual()?).await?;
        let internet = network.apns()[0].name.clone();
        let one = network.attach_v6(&phone(1)?, &Sim::numbered(1)?, &internet).await?;
        let two = network.attach_v6(&phone(2)?, &Sim::numbered(2)?, &internet).await?;
        let three = network.attach(&phone(3)?, &Sim::numbered(3)?).await?;
        for ue in [&one, &two] {
            reaches_v6(ue.namespace(), ue.address(), SERVICES_V6).await?;
            reaches_v6(&services, SERVICES_V6, ue.address()).await?;
        }
        three.namespace().ping(SERVICES, SOON).await?;

        let prefix = |address: Ipv6Addr| Ipv6Net::new(address, 64).map(|net| net.trunc());
        let mut told: Vec<_> = network.contexts().await?;
        told.sort_by_key(|context| context.imsi);
        let told: Vec<_> = told.into_iter().map(|c| (c.imsi, c.ipv4, c.ipv6)).collect();
        let six = |ue: &Ue<Ipv6Addr>| -> Result<_> {
            Ok((ue.sim().imsi, None, Some(prefix(ue.address())?.addr())))
        };
        let four = (three.sim().imsi, Some(three.address()), None);
        assert_eq!(told, [six(&one)?, six(&two)?, four]);

        let heard = Capture::start(&services, "sgi0")?;
        let foreign = two.address();
        one.namespace().ip(&format!("addr add {foreign}/128 dev wwan0 nodad"))?;
        assert!(ping_v6(one.namespace(), foreign, SERVICES_V6).is_err());
        reaches_v6(one.namespace(), one.address(), SERVICES_V6).await?;
        let from = |frame: &[u8], source: Ipv6Addr| {
            frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(22..38) == Some(&source.octets())
        };
        heard.first("its own", SOON, |f| from(&f.octets, one.address())).await?;
        assert_eq!(heard.count(|f| from(&f.octets, foreign)), 0);
        Ok(())
    });
}

#[test]
fn an_access_point_without_addresses_left_refuses() {
    lab(|lab| async move {
        let plan = CellularPlan::with_pool(Ipv4Net::new(Ipv4Addr::new(10, 60, 0, 0), 30)?)?;
        let (mut network, _services) = network(&lab, plan).await?;
        let _one = network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        let refused = network.attach(&phone(2)?, &Sim::numbered(2)?).await;
        let why = format!("{:#}", refused.err().context("it was attached")?);
        assert!(why.contains("the GGSN refuses the bearer with cause"), "{why}");
        Ok(())
    });
}

#[test]
fn nothing_of_a_network_is_left_when_it_goes() {
    lab(|lab| async move {
        let (mut network, services) = network(&lab, CellularPlan::simple()?).await?;
        let ue = network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        let (device, folder) = (ue.device().clone(), lab.folder().display().to_string());
        let ours = || -> Result<Vec<String>> {
            let all = homeward_net::tool::run_tool("ps", &["-eo", "args"])?;
            let ours = all.lines().filter(|line| line.contains(&folder));
            Ok(ours.filter(|line| !line.starts_with("ps ")).map(str::to_owned).collect())
        };
        ensure!(ours()?.len() == 2, "GGSN and SGSN: {:?}", ours()?);
        drop((ue, network));
        assert_eq!(ours()?, Vec::<String>::new());
        for (namespace, interface) in [(&services, "sgi0"), (&device.namespace, "wwan0")] {
            // The kernel takes a namespace down a moment after its last process.
            wait_for("the interface to go", SOON, async || {
                let there = namespace.run_tool("ip", &["link", "show", interface]);
                Ok(there.is_err().then_some(()))
            })
            .await?;
        }
        Ok(())
    });
}
