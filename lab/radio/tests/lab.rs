//! The lab tries itself.

use std::time::Duration;

use anyhow::{Result, ensure};
use homeward_model::Rssi;
use homeward_radio::lab::CORE;
use homeward_radio::scenario::Failure;
use homeward_radio::wait::{elapse, now, wait_for};
use homeward_radio::{
    AccessPoint, ApConfig, Flow, Gateway, Lab, Namespace, Network, Scenario, Security, Station,
    floor, scenario,
};

const SOON: Duration = Duration::from_secs(20);

/// A gateway with an access point "Home", and a phone that knows it.
async fn at_home(lab: &Lab, security: Security) -> Result<(Gateway, AccessPoint, Station)> {
    let home = lab.gateway("home").await?;
    let ap = home.access_point(&ApConfig::new("Home").security(security.clone())).await?;
    let mut phone = lab.station("phone")?;
    phone.join(&Network::new("Home", security)).await?;
    Ok((home, ap, phone))
}

#[test]
fn a_station_joins_by_wpa2_gets_an_address_and_reaches_the_internet() {
    scenario(|lab| async move {
        let (home, ap, phone) = at_home(&lab, Security::wpa2("correct horse battery")).await?;
        assert_eq!(phone.connected_within(SOON).await?.bssid, ap.bssid());
        let lease = phone.dhcp(SOON).await?;
        assert_eq!(lease.router, home.lan_address());
        phone.ping(home.lan_address(), SOON).await?;
        phone.ping(CORE, SOON).await?;
        let began = now();
        let flow = Flow::start(phone.namespace(), &Namespace::ROOT, CORE, 5000)?;
        wait_for("datagrams at the core", SOON, async || {
            Ok((flow.outage(began, now()).arrived > 20).then_some(()))
        })
        .await
    });
}

#[test]
fn a_station_joins_by_sae() {
    scenario(|lab| async move {
        let (home, ap, phone) = at_home(&lab, Security::sae("correct horse battery")).await?;
        assert_eq!(phone.connected_within(SOON).await?.bssid, ap.bssid());
        let status = phone.control()?.request("STATUS", "").await?;
        ensure!(status.contains("key_mgmt=SAE"), "{status}");
        phone.dhcp(SOON).await?;
        phone.ping(home.lan_address(), SOON).await?;
        Ok(())
    });
}

#[test]
fn a_station_connects_in_reach_and_only_there() {
    scenario(|lab| async move {
        let key = Security::wpa2("5c".repeat(32));
        let (home, _ap, mut phone) = at_home(&lab, key.clone()).await?;
        phone.connected_within(SOON).await?;
        let walked_out = now();
        phone.out_of_reach()?;
        phone.disconnected_since(walked_out, SOON).await?;
        phone.join(&Network::new("Home", key)).await?;
        phone.never_connects_within(Duration::from_secs(3)).await?;
        let came_back = now();
        phone.near(&[&home])?;
        phone.scan_until_connected(&[2412], SOON).await?;
        ensure!(
            phone.connected_since(came_back, SOON).await?.at > came_back,
            "before it came back"
        );
        Ok(())
    });
}

#[test]
fn the_air_shows_signal_beacons_probes_and_a_flood() {
    scenario(|lab| async move {
        let air = lab.air()?;
        let (home, ap, phone) = at_home(&lab, Security::wpa2("5c".repeat(32))).await?;
        phone.connected_within(SOON).await?;
        ensure!(!air.probes(phone.mac(), "Home".parse()?).is_empty(), "no probe was seen");

        home.radio().set_signal(Rssi(-63))?;
        wait_for("the station to hear -63 dBm", SOON, async || {
            let poll = phone.control()?.request("SIGNAL_POLL", "").await?;
            Ok(poll.contains("RSSI=-63").then_some(()))
        })
        .await?;

        let since = now();
        let flood = lab.flood(1, 1000, 7)?;
        elapse(Duration::from_secs(2)).await;
        let (sent, until) = (flood.sent(), now());
        drop(flood);
        let known = [phone.mac(), ap.bssid()];
        let heard = || air.frames(|f| f.at >= since && !known.contains(&f.source)).len() as u64;
        wait_for("the whole flood on the air", SOON, async || Ok((heard() >= sent).then_some(())))
            .await?;
        let gap = air.longest_beacon_gap(ap.bssid(), since, until);
        eprintln!("flood: {sent} probes in 2 s; longest beacon gap {gap:?}");
        ensure!(sent > 200, "a flood of {sent} probes in 2 s");
        ensure!(gap < Duration::from_millis(400), "a gap of {gap:?} between beacons");
        Ok(())
    });
}

#[test]
fn the_scripted_floor_is_measured() {
    scenario(|lab| async move {
        let gateway = lab.gateway("foreign").await?;
        let ap = gateway
            .access_point(&ApConfig::new("Foreign").security(Security::wpa2("ab".repeat(32))))
            .await?;
        let mut phone = lab.station("phone")?;
        let key = Security::wpa2("5c".repeat(32));
        let vap = ApConfig::new("Home").security(key.clone());
        let network = Network::new("Home", key);
        let floor = floor::measure(&gateway, &ap, &vap, &mut phone, &network, 5).await?;
        lab.save_json("floor.json", &floor)?;
        eprintln!("{}", serde_json::to_string(&floor)?);
        ensure!(floor.connected.median < 1500.0, "the floor lies at {:?}", floor.connected);
        Ok(())
    });
}

#[test]
fn a_killed_access_point_comes_back() {
    scenario(|lab| async move {
        let (_home, mut ap, phone) = at_home(&lab, Security::wpa2("5c".repeat(32))).await?;
        phone.connected_within(SOON).await?;
        let killed = now();
        ap.process().kill();
        ap.restart().await?;
        phone.connected_since(killed, SOON).await?;
        Ok(())
    });
}

#[test]
fn a_failing_scenario_is_reported_with_its_log() {
    let run = Scenario::new().outcome(|_| async { anyhow::bail!("planted failure") }).unwrap();
    assert_eq!(run.ending, Err(Failure::Status(1)));
    let report = run.to_string();
    assert!(report.contains("planted failure"), "{report}");
    assert!(report.contains("a_failing_scenario_is_reported_with_its_log"), "{report}");
}

#[test]
fn a_panicking_scenario_is_reported_with_its_log() {
    let run = Scenario::new().outcome(|_| async { panic!("planted panic") }).unwrap();
    assert_eq!(run.ending, Err(Failure::Status(101)));
    assert!(run.to_string().contains("planted panic"), "{run}");
}

#[test]
fn a_guest_that_hangs_is_ended_by_the_time_limit() {
    let limit = Duration::from_secs(25);
    let began = now();
    let run = Scenario::new()
        .within(limit)
        .outcome(|_| async {
            eprintln!("about to hang");
            std::future::pending().await
        })
        .unwrap();
    assert_eq!(run.ending, Err(Failure::TimeLimit(limit)));
    assert!(run.to_string().contains("about to hang"), "{run}");
    assert!(now() - began >= limit);
}
