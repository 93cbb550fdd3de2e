//! What the user of a device sees.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use homeward_net::town::CORE;
use homeward_net::wait::{now, wait_for};
use homeward_net::{Capture, Download, Flow, Printer, SitePlan, dhcp, lab, printer, sweep};

use crate::world::{Plan, ROAMER, SOON, World};

const TO_ROAMER: u16 = 5000;

#[test]
fn a_device_keeps_its_address_and_its_connections_there_and_back_encrypted() {
    lab(|lab| async move { there_and_back(World::at_home(&lab, Plan::sealed(true)).await?).await });
}

#[test]
fn a_device_keeps_its_address_and_its_connections_there_and_back_in_the_clear() {
    lab(
        |lab| async move { there_and_back(World::at_home(&lab, Plan::sealed(false)).await?).await },
    );
}

async fn there_and_back(world: World) -> Result<()> {
    let tv = world.town.home.host("tv").await?;
    let at_home = world.lease().await?;
    let (from, rate) = (tv.lease.address, Some(40_000_000));
    let download = Download::paced(&tv.namespace, &world.roamer, from, 8080, rate).await?;
    let flow = Flow::start(&tv.namespace, &world.roamer, at_home.address, TO_ROAMER)?;
    more(&download, 1_000_000).await?;

    for (place, abroad) in [("abroad", true), ("home", false), ("abroad again", true)] {
        let moved = now();
        if abroad {
            world.move_abroad().await?
        } else {
            world.move_home().await?
        }
        // A bridge learns the move from any frame of the device; this is its first.
        world.roamer.ping(tv.lease.address, SOON).await?;
        more(&download, 1_000_000).await?;
        let (outage, silence) = (flow.outage(moved, now()), download.silence(moved, now()));
        println!("{place}: {outage:?}, download silent for {silence:?}");
        assert!(silence < Duration::from_secs(3), "{place}: {silence:?}");
        assert_eq!(world.lease().await?, at_home, "{place}: another lease");
    }
    assert_eq!(download.end(), None);
    assert!(world.home.status().received.frames > 100);
    Ok(())
}

/// Waits until so many more octets are there.
pub(crate) async fn more(download: &Download, octets: u64) -> Result<()> {
    let target = download.total() + octets;
    // TCP doubles its own wait: after a path that was narrow for some seconds it may be a dozen more.
    wait_for("the download to go on", SOON * 3, async || {
        assert_eq!(download.end(), None);
        Ok((download.total() >= target).then_some(()))
    })
    .await
}

#[test]
fn the_home_lan_is_there_and_the_foreign_one_is_not() {
    lab(|lab| async move {
        let world = World::build(&lab, Plan::sealed(true)).await?;
        let tv = world.town.home.host("tv").await?;
        let pc = world.town.foreign.host("pc").await?;
        let own = world.lease().await?;
        assert_eq!(own.router, Ipv4Addr::new(192, 168, 1, 1));
        let page = Printer::start("printer", &tv.namespace, tv.lease.address)?;
        let name = printer::announce(lab.folder(), "printer", &tv.namespace, "eth0").await?;

        assert_eq!(printer::get(&world.roamer, tv.lease.address, SOON).await?, page.page());
        let found = printer::browse(&world.roamer, own.address, SOON).await?;
        assert_eq!(found, BTreeSet::from(["printer".to_owned()]));
        world.roamer.ping(CORE, SOON).await?;
        drop(name);

        let at_pc = Capture::start(&pc.namespace, "eth0")?;
        let at_roamer = Capture::start(&world.roamer, "eth0")?;
        let ports = [22, 53, 80, 1701];
        let span = Duration::from_millis(900);

        // Home, all of it; the port lets so many ARP requests through at once and no more, so not
        // all are asked at once.
        let home = sweep(&world.roamer, "eth0", own.router, &[80], span).await?;
        assert!(home.addresses().contains(&own.router), "{home:?}");
        // Abroad, nobody: not by the segment, not by way of home and the Internet either.
        let foreign = sweep(&world.roamer, "eth0", pc.lease.address, &ports, span).await?;
        assert!(foreign.is_empty(), "{foreign:?}");
        // From the foreign owner's side nobody of home, and not the roamer.
        for network in [own.address, Ipv4Addr::new(10, 255, 0, 0)] {
            let seen = sweep(&pc.namespace, "eth0", network, &ports, span).await?;
            assert!(seen.is_empty(), "{seen:?}");
        }
        assert_eq!(at_pc.count(|frame| frame.source() == Some(ROAMER)), 0);
        assert_eq!(at_pc.count(|frame| frame.contains(&ROAMER.octets())), 0);
        let pc_mac = homeward_net::namespace::mac_of(&pc.namespace, "eth0")?;
        assert_eq!(at_roamer.count(|frame| frame.contains(&pc_mac.octets())), 0);
        Ok(())
    });
}

#[test]
fn ipv6_comes_from_home_stateless_and_by_dhcp() {
    lab(|lab| async move {
        let plan =
            Plan { home: SitePlan { ipv6: true, ..SitePlan::default() }, ..Plan::sealed(true) };
        let world = World::build(&lab, plan).await?;
        let folder = lab.folder();
        let (address, _client) =
            dhcp::lease6(folder, folder, "roamer", &world.roamer, "eth0", SOON).await?;
        assert_eq!(address.segments()[..4], [0xfd00, 1, 0, 0]);
        wait_for("a stateless address", SOON, async || {
            let all = world.roamer.run_tool("ip", &["-6", "-oneline", "addr", "show", "eth0"])?;
            let stateless = all.lines().any(|l| l.contains("fd00:1::") && l.contains("dynamic"));
            Ok(stateless.then_some(()))
        })
        .await?;
        let router = ["-6", "-c", "3", "-i", "0.1", "-W", "2", "fd00:1::1"];
        world.roamer.run_tool("ping", &router)?;
        Ok(())
    });
}
