//! Paths that lose, reorder, double, narrow, translate and move.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_dataplane::Event;
use homeward_net::wait::{elapse, now, wait_for};
use homeward_net::{Capture, Download, Impairment, SitePlan, lab};

use crate::roaming::more;
use crate::world::{End, Path, Plan, ROAMER, SOON, World};

#[test]
fn tcp_goes_on_and_no_frame_comes_twice_over_a_bad_path_encrypted() {
    lab(|lab| async move { bad_path(World::build(&lab, Plan::sealed(true)).await?).await });
}

#[test]
fn tcp_goes_on_and_no_frame_comes_twice_over_a_bad_path_in_the_clear() {
    lab(|lab| async move { bad_path(World::build(&lab, Plan::sealed(false)).await?).await });
}

async fn bad_path(world: World) -> Result<()> {
    let tv = world.town.home.host("tv").await?;
    world.lease().await?;
    world.roamer.ping(tv.lease.address, SOON).await?;
    world.town.foreign.cable.set(Impairment {
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(2),
        loss: 0.05,
        duplicate: 0.05,
        reorder: 0.05,
        held_back: Duration::from_millis(3),
        ..Impairment::NONE
    });
    let download = Download::start(&tv.namespace, &world.roamer, tv.lease.address, 8080).await?;
    more(&download, 1_000_000).await?;
    assert_eq!(download.end(), None);
    drop(download);

    let ear = Capture::start(&tv.namespace, "eth0")?;
    let to = (tv.lease.address, 9);
    world
        .roamer
        .run(move || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            for number in 0..2000u32 {
                socket.send_to(&number.to_be_bytes(), to)?;
                if number % 20 == 19 {
                    homeward_net::wait::pause(Duration::from_millis(2));
                }
            }
            Ok(())
        })
        .await?;
    // Nothing says that the last one has come; the path takes 10 ms.
    elapse(Duration::from_millis(200)).await;
    let mut seen = BTreeMap::<u32, u32>::new();
    for frame in ear.arrivals() {
        let is_ours = frame.source() == Some(ROAMER)
            && frame.ether_type() == Some(0x0800)
            && frame.octets.get(23) == Some(&17)
            && frame.octets.get(36..38) == Some(&[0, 9]);
        if let Some(number) = frame.octets.get(42..46).filter(|_| is_ours) {
            *seen.entry(u32::from_be_bytes(number.try_into()?)).or_default() += 1;
        }
    }
    let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "came more than once: {twice:?}");
    // Five in a hundred are lost, and not many more.
    assert!((1750..2000).contains(&seen.len()), "{} of 2000", seen.len());
    let path = world.town.foreign.cable.back().counters();
    assert!(path.duplicated > 50 && path.reordered > 50, "{path:?}");
    assert_eq!(world.town.foreign.cable.back().overruns()?, 0);
    Ok(())
}

#[test]
fn a_path_mtu_that_routers_tell_is_learned_and_full_size_frames_pass() {
    lab(|lab| async move {
        let plan = Plan { path: Path::Told(1400), ..Plan::sealed(true) };
        learns(&World::build(&lab, plan).await?, 1400).await
    });
}

#[test]
fn a_path_mtu_that_nobody_tells_is_found_and_full_size_frames_pass() {
    lab(|lab| async move {
        let plan = Plan { path: Path::Silent(1400), ..Plan::sealed(true) };
        learns(&World::build(&lab, plan).await?, 1400).await
    });
}

#[test]
fn a_path_mtu_that_nobody_tells_is_found_in_the_clear() {
    lab(|lab| async move {
        let plan = Plan { path: Path::Silent(1400), ..Plan::sealed(false) };
        learns(&World::build(&lab, plan).await?, 1400).await
    });
}

/// Pings of 1,500 octets that may not be fragmented pass in the end, whatever the path, and both
/// ends know the path.
async fn learns(world: &World, mtu: u16) -> Result<()> {
    let tv = world.town.home.host("tv").await?;
    world.lease().await?;
    let there = tv.lease.address.to_string();
    let begun = now();
    // 1,472 octets, ICMP 8, IPv4 20.
    let words = ["-M", "do", "-s", "1472", "-c", "1", "-W", "1", &there];
    wait_for("a ping of 1,500 octets", Duration::from_secs(20), async || {
        Ok(world.roamer.run_tool("ping", &words).ok())
    })
    .await?;
    let took = now() - begun;
    println!("the first passed after {took:?}");
    let many = ["-M", "do", "-s", "1472", "-c", "20", "-i", "0.02", "-W", "2", &there];
    world.roamer.run_tool("ping", &many)?;
    let download = Download::start(&tv.namespace, &world.roamer, tv.lease.address, 8080).await?;
    more(&download, 2_000_000).await?;
    for end in [&world.home, &world.foreign] {
        knows(end, mtu).await?;
    }
    Ok(())
}

#[test]
fn a_path_that_narrows_under_a_download_without_a_word_is_noticed_encrypted() {
    lab(
        |lab| async move { narrows(&World::build(&lab, Plan::sealed(true)).await?, silently).await },
    );
}

#[test]
fn a_path_that_narrows_under_a_download_without_a_word_is_noticed_in_the_clear() {
    lab(
        |lab| async move { narrows(&World::build(&lab, Plan::sealed(false)).await?, silently).await },
    );
}

#[test]
fn a_path_that_narrows_under_a_download_and_whose_routers_say_so_is_noticed() {
    lab(|lab| async move {
        let world = World::build(&lab, Plan::sealed(false)).await?;
        narrows(&world, |world| world.town.narrow(&world.town.foreign, 1400)).await?;
        // Who is not told finds it to within a few octets.
        assert_eq!(world.home.status().path_mtu, Some(1400));
        Ok(())
    });
}

#[test]
fn an_interface_of_our_own_that_narrows_under_a_download_is_noticed() {
    lab(|lab| async move {
        let world = World::build(&lab, Plan::sealed(true)).await?;
        narrows(&world, |world| world.town.narrow(&world.town.home, 1400)).await
    });
}

fn silently(world: &World) -> Result<()> {
    world.town.home.cable.set(Impairment { mtu: 1400, ..Impairment::NONE });
    Ok(())
}

/// A download goes on soon after the path carries no more than 1,400 octets, and whichever end
/// sends long packets learns it.
async fn narrows(world: &World, narrow: impl FnOnce(&World) -> Result<()>) -> Result<()> {
    let tv = world.town.home.host("tv").await?;
    world.lease().await?;
    for end in [&world.home, &world.foreign] {
        knows(end, 1500).await?;
    }
    let (from, rate) = (tv.lease.address, Some(40_000_000));
    let download = Download::paced(&tv.namespace, &world.roamer, from, 8080, rate).await?;
    more(&download, 1_000_000).await?;
    let narrowed = now();
    narrow(world)?;
    more(&download, 4_000_000).await?;
    let silence = download.silence(narrowed, now());
    println!("silent for {silence:?}");
    knows(&world.home, 1400).await?;
    // The other end has sent nothing long so far. This goes in one piece, of more than 1,400.
    let there = tv.lease.address.to_string();
    let words = ["-M", "do", "-s", "1330", "-c", "1", "-W", "1", &there];
    wait_for("a ping of 1,358 octets", Duration::from_secs(20), async || {
        Ok(world.roamer.run_tool("ping", &words).ok())
    })
    .await?;
    knows(&world.foreign, 1400).await?;
    more(&download, 1_000_000).await
}

/// Waits until an end knows the path MTU: as close to it as WireGuard's padding and the search's
/// last step come.
async fn knows(end: &End, mtu: u16) -> Result<()> {
    wait_for("the path MTU", Duration::from_secs(20), async || {
        Ok(end.status().path_mtu.filter(|known| (mtu - 32..=mtu).contains(known)))
    })
    .await
    .map(drop)
    .with_context(|| format!("{:?} {:?}", end.status(), end.events.lock()))
}

#[test]
fn sessions_outlive_another_address_of_the_foreign_gateway_encrypted() {
    lab(|lab| async move { renumbered(World::build(&lab, Plan::sealed(true)).await?).await });
}

#[test]
fn sessions_outlive_another_address_of_the_foreign_gateway_in_the_clear() {
    lab(|lab| async move { renumbered(World::build(&lab, Plan::sealed(false)).await?).await });
}

async fn renumbered(world: World) -> Result<()> {
    let tv = world.town.home.host("tv").await?;
    world.lease().await?;
    let (from, rate) = (tv.lease.address, Some(40_000_000));
    let download = Download::paced(&tv.namespace, &world.roamer, from, 8080, rate).await?;
    more(&download, 1_000_000).await?;
    let moved = now();
    let new = world.town.foreign.renumber(77)?;
    more(&download, 1_000_000).await?;
    let silence = download.silence(moved, now());
    println!("silent for {silence:?}");
    assert_eq!(world.home.status().endpoint.map(|at| at.ip()), Some(new.into()));
    let events = world.home.events.lock().unwrap().clone();
    assert!(events.iter().any(|e| matches!(e, Event::Moved { .. })), "{events:?}");
    Ok(())
}

#[test]
fn a_box_that_translates_addresses_in_front_of_home_is_survived() {
    lab(|lab| async move {
        let site = SitePlan { nat: true, ..SitePlan::default() };
        translated(World::build(&lab, Plan { home: site, ..Plan::sealed(true) }).await?).await
    });
}

#[test]
fn a_box_that_translates_addresses_in_front_of_the_foreign_gateway_is_survived() {
    lab(|lab| async move {
        let site = SitePlan { nat: true, ..SitePlan::default() };
        translated(World::build(&lab, Plan { foreign: site, ..Plan::sealed(true) }).await?).await
    });
}

async fn translated(world: World) -> Result<()> {
    let tv = world.town.home.host("tv").await?;
    world.lease().await?;
    let (from, rate) = (tv.lease.address, Some(40_000_000));
    let download = Download::paced(&tv.namespace, &world.roamer, from, 8080, rate).await?;
    more(&download, 500_000).await?;
    // The box gets another address too.
    let (site, other) = match world.town.home.nat {
        Some(_) => (&world.town.home, &world.foreign),
        None => (&world.town.foreign, &world.home),
    };
    let moved = now();
    let new = site.renumber(77)?;
    wait_for("the other end to follow", SOON, async || {
        Ok(other.status().endpoint.filter(|at| at.ip() == new))
    })
    .await?;
    more(&download, 500_000).await?;
    let silence = download.silence(moved, now());
    println!("silent for {silence:?}");
    assert!(silence < Duration::from_secs(8), "{silence:?}");
    Ok(())
}
