//! One address that moves between two links.

use std::time::Duration;

use anyhow::Result;
use homeward_dataplane::BondConfig;
use homeward_multipath::Mode;
use homeward_net::wait::{elapse, now};
use homeward_net::{Download, Flow, Impairment, lab};

use homeward_hybrid::links::SOON;
use homeward_hybrid::{CELLULAR, Links, WIFI, cellular, wifi};

#[test]
fn an_address_moves_between_two_links_and_nothing_is_lost_encrypted() {
    lab(|lab| async move { moves(Links::build(&lab, true, Mode::Single).await?).await });
}

#[test]
fn an_address_moves_between_two_links_and_nothing_is_lost_in_the_clear() {
    lab(|lab| async move { moves(Links::build(&lab, false, Mode::Single).await?).await });
}

async fn moves(world: Links) -> Result<()> {
    let tv = world.town.home.host("tv").await?;
    let lease = world.lease().await?;
    world.wlan.set(wifi(100_000_000));
    world.wwan.set(cellular(50_000_000));
    let down = Flow::start(&tv.namespace, &world.device, lease.address, 5000)?;
    let up = Flow::start(&world.device, &tv.namespace, tv.lease.address, 5001)?;
    let (from, rate) = (tv.lease.address, Some(10_000_000));
    let download = Download::paced(&tv.namespace, &world.device, from, 8080, rate).await?;
    elapse(Duration::from_millis(300)).await;
    let begun = now();
    for preferred in [CELLULAR, WIFI, CELLULAR, WIFI] {
        world.configure(BondConfig { preferred, ..BondConfig::new(Vec::new()) })?;
        elapse(Duration::from_millis(400)).await;
        let [other] =
            [WIFI, CELLULAR].into_iter().filter(|path| *path != preferred).collect::<Vec<_>>()[..]
        else {
            unreachable!("there are two")
        };
        let sent = |path| {
            let known = world.away.bond().expect("a bond").sends;
            known.paths.iter().find(|known| known.path == path).map_or(0, |known| known.packets)
        };
        let before = sent(other);
        elapse(Duration::from_millis(100)).await;
        assert_eq!(sent(other), before, "nothing goes by the other path");
    }
    let until = now();
    elapse(Duration::from_millis(200)).await;
    for (name, flow) in [("down", &down), ("up", &up)] {
        let outage = flow.outage(begun, until);
        println!("{name}: {outage:?}");
        assert_eq!(outage.lost, 0, "{name}: {outage:?}");
    }
    assert_eq!(download.end(), None);
    assert_eq!(world.lease().await?, lease, "another lease");
    Ok(())
}

#[test]
fn wifi_that_vanishes_without_a_word_is_noticed_and_cellular_takes_over() {
    lab(|lab| async move {
        let world = Links::build(&lab, true, Mode::Single).await?;
        let tv = world.town.home.host("tv").await?;
        let lease = world.lease().await?;
        world.wlan.set(wifi(100_000_000));
        world.wwan.set(cellular(50_000_000));
        let down = Flow::start(&tv.namespace, &world.device, lease.address, 5000)?;
        let up = Flow::start(&world.device, &tv.namespace, tv.lease.address, 5001)?;
        elapse(Duration::from_millis(500)).await;
        let begun = now();
        world.wlan.set(Impairment { loss: 1.0, ..wifi(100_000_000) });
        elapse(Duration::from_millis(1000)).await;
        for (name, flow) in [("down", &down), ("up", &up)] {
            let outage = flow.outage(begun, now());
            println!("{name}: {outage:?}");
            assert!(outage.silence_ms < 500.0, "{name}: {outage:?}");
        }
        world.device.ping(tv.lease.address, SOON).await?;
        Ok(())
    });
}

#[test]
fn wifi_that_vanishes_without_a_word_costs_nothing_where_packets_are_mirrored() {
    lab(|lab| async move {
        let world = Links::build(&lab, true, Mode::Mirrored).await?;
        let tv = world.town.home.host("tv").await?;
        let lease = world.lease().await?;
        world.wlan.set(wifi(100_000_000));
        world.wwan.set(cellular(50_000_000));
        let down = Flow::start(&tv.namespace, &world.device, lease.address, 5000)?;
        let up = Flow::start(&world.device, &tv.namespace, tv.lease.address, 5001)?;
        elapse(Duration::from_millis(500)).await;
        let begun = now();
        world.wlan.set(Impairment { loss: 1.0, ..wifi(100_000_000) });
        elapse(Duration::from_millis(1000)).await;
        let until = now();
        elapse(Duration::from_millis(200)).await;
        for (name, flow) in [("down", &down), ("up", &up)] {
            let outage = flow.outage(begun, until);
            println!("{name}: {outage:?}");
            assert_eq!(outage.lost, 0, "{name}: {outage:?}");
        }
        Ok(())
    });
}
