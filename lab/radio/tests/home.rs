//! The tunnel home, over the air: a phone that moves keeps its address, its sessions and its home.

use std::time::Duration;

use anyhow::ensure;
use homeward_net::{Download, Flow};
use homeward_radio::lab::CORE;
use homeward_radio::town::{RADIOS, SOON, Town, roam};
use homeward_radio::wait::{elapse, now, wait_for};
use homeward_radio::{Namespace, Scenario};

#[test]
fn a_phone_keeps_its_address_and_its_sessions_from_home_to_a_stranger_to_a_third_and_back() {
    Scenario::new().radios(RADIOS).run(|lab| async move {
        let mut town = Town::build(&lab, "").await?;
        let lease = town.phone_at_home().await?;
        town.phone.ping(CORE, SOON).await?;
        let download =
            Download::start(&Namespace::ROOT, town.phone.namespace(), CORE, 8000).await?;
        let down = Flow::start(&Namespace::ROOT, town.phone.namespace(), lease.address, 5000)?;
        let up = Flow::start(town.phone.namespace(), &Namespace::ROOT, CORE, 5001)?;

        // Abroad, and from one stranger's to another's, and home again.
        for stop in ["foreign", "third", "home"] {
            let (from, to) = match stop {
                "foreign" => (&town.home, &town.foreign),
                "third" => (&town.foreign, &town.third),
                _ => (&town.third, &town.home),
            };
            town.phone.near(&[&from.gateway, &to.gateway])?;
            let bssid = if stop == "home" { to.ap.bssid() } else { to.heard(&town.phone).await? };
            let left = roam(&town.phone, bssid, SOON).await?;
            town.phone.near(&[&to.gateway])?;
            wait_for("datagrams in both directions", SOON, async || {
                let since = left + Duration::from_millis(100);
                let both =
                    down.outage(since, now()).arrived > 20 && up.outage(since, now()).arrived > 20;
                Ok(both.then_some(()))
            })
            .await?;
            elapse(Duration::from_secs(1)).await;
            let (down, up) = (down.outage(left, now()), up.outage(left, now()));
            println!(
                "to {stop}: down {down:?}, up {up:?}, download {:?}",
                download.silence(left, now())
            );
            ensure!(download.end().is_none(), "the download ended: {:?}", download.end());
            let again = town.phone.dhcp(SOON).await?;
            ensure!(again.address == lease.address, "{again:?} is not {lease:?}");
            ensure!(again.router == lease.router, "{again:?} has another router");
        }
        ensure!(download.total() > 1_000_000, "{} octets", download.total());
        Ok(())
    });
}
