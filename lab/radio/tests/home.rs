//! The tunnel home, over the air: a phone that moves keeps its address, its sessions and its home.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_net::printer::get;
use homeward_net::{Capture, Download, Flow, Printer, sweep};
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

#[test]
fn abroad_the_printer_at_home_is_reached_and_nothing_on_the_strangers_lan_in_either_direction() {
    Scenario::new().radios(RADIOS).run(|lab| async move {
        let mut town = Town::build(&lab, "").await?;
        let printer = town.home.host("printer", "10.1.0.9".parse()?)?;
        let _page = Printer::start("the printer of elm street", &printer, "10.1.0.9".parse()?)?;
        let tv = town.foreign.host("tv", "10.2.0.9".parse()?)?;
        let _secret = Printer::start("the television of oak avenue", &tv, "10.2.0.9".parse()?)?;

        let lease = town.phone_at_home().await?;
        town.phone.near(&[&town.home.gateway, &town.foreign.gateway])?;
        let bssid = town.foreign.heard(&town.phone).await?;
        let heard_by_tv = Capture::start(&tv, "eth0")?;
        roam(&town.phone, bssid, SOON).await?;
        town.phone.near(&[&town.foreign.gateway])?;

        let page = get(town.phone.namespace(), "10.1.0.9".parse()?, SOON).await?;
        ensure!(page.contains("the printer of elm street"), "{page}");

        // From the phone, on the link it is on: nobody of the stranger's LAN answers, nor hears it.
        let wlan = town.phone.radio().interface();
        let patience = Duration::from_secs(4);
        let found =
            sweep(town.phone.namespace(), &wlan, "10.2.0.1".parse()?, &[], patience).await?;
        ensure!(found.arp.is_empty(), "the phone found {found:?}");
        let phone = town.phone.mac();
        let reached = heard_by_tv.count(|frame| frame.source() == Some(phone));
        ensure!(reached == 0, "{reached} frames of the phone reached the stranger's LAN");
        // From the stranger's LAN: the phone is not there.
        let found = sweep(&tv, "eth0", lease.address, &[], patience).await?;
        let there = found.arp.iter().any(|(_, mac)| *mac == phone);
        ensure!(!there, "the stranger's LAN found the phone: {found:?}");
        Ok(())
    });
}

/// How long the core is away: `HOMEWARD_LAB_CORE_AWAY` seconds, 3 by default. The longer one is
/// for whoever has the time: ten minutes are a power cut in the machine room.
fn away() -> Result<Duration> {
    let seconds = std::env::var("HOMEWARD_LAB_CORE_AWAY").unwrap_or_else(|_| "3".into());
    Ok(Duration::from_secs(seconds.parse().context("HOMEWARD_LAB_CORE_AWAY takes seconds")?))
}

#[test]
fn while_the_core_is_away_a_roamer_goes_on_and_afterwards_its_tunnel_is_the_same() {
    let limit = Duration::from_secs(180) + away().expect("a span");
    Scenario::new().radios(RADIOS).within(limit).run(|lab| async move {
        let mut town = Town::build(&lab, "").await?;
        let lease = town.phone_at_home().await?;
        town.phone.near(&[&town.home.gateway, &town.foreign.gateway])?;
        let bssid = town.foreign.heard(&town.phone).await?;
        roam(&town.phone, bssid, SOON).await?;
        town.phone.near(&[&town.foreign.gateway])?;
        town.phone.ping(CORE, SOON).await?;
        let tunnel = town.foreign.agent.status().await?["channel"]["tunnels"][0]["tunnel"].clone();
        let down = Flow::start(&Namespace::ROOT, town.phone.namespace(), lease.address, 5000)?;

        let killed = now();
        town.operator.core().kill();
        let gone = |status: &serde_json::Value| status["channel"]["state"] != "open";
        town.foreign.agent.status_where("the channel to be gone", SOON, gone).await?;
        elapse(away()?).await;
        let outage = down.outage(killed, now());
        println!("without the core for {:?}: {outage:?}", now() - killed);
        ensure!(outage.lost == 0 && outage.arrived > 100, "without the core: {outage:?}");

        town.operator.core().restart()?;
        town.operator.core_is_up().await?;
        for site in [&town.home, &town.foreign] {
            let back = |status: &serde_json::Value| status["channel"]["state"] == "open";
            // After a long time away they ask less often.
            let patience = SOON + Duration::from_secs(60);
            let status = site.agent.status_where("the channel to be open", patience, back).await?;
            ensure!(status["channel"]["tunnels"][0]["tunnel"] == tunnel, "{status:#}");
        }
        let outage = down.outage(killed, now());
        ensure!(outage.lost == 0, "when the core came back: {outage:?}");
        Ok(())
    });
}

#[test]
fn a_roamer_whose_quota_is_spent_is_put_out_at_once_by_the_control_channel() {
    Scenario::new().radios(RADIOS).run(|lab| async move {
        let mut town = Town::build(&lab, "").await?;
        town.phone_at_home().await?;
        for (from, to) in [(&town.home, &town.foreign), (&town.foreign, &town.third)] {
            town.phone.near(&[&from.gateway, &to.gateway])?;
            let bssid = to.heard(&town.phone).await?;
            roam(&town.phone, bssid, SOON).await?;
            town.phone.near(&[&to.gateway])?;
            town.phone.ping(CORE, SOON).await?;
        }
        wait_for("what it used at the first stranger's", SOON, async || {
            let usage = town.operator.admin(&["usage", "account", "smith"]).await?;
            Ok((usage["total"]["input"].as_u64() > Some(0)).then_some(()))
        })
        .await?;
        let began = now();
        let quota = ["class", "set", "standard", "--quota", "1B/month"];
        town.operator.admin(&quota).await?;
        wait_for("the phone to be put out", SOON, async || {
            Ok((!town.phone.disconnects_since(began)?.is_empty()).then_some(()))
        })
        .await?;
        println!("put out {:?} after its quota was cut", now() - began);
        // Where it was before, its key is not to be good either.
        let metrics = town.operator.metrics().await?;
        let ended: Vec<&str> =
            metrics.lines().filter(|l| l.starts_with("homeward_aaa_disconnects_total{")).collect();
        let by_channel = "homeward_aaa_disconnects_total{outcome=\"by-channel\"} 2";
        ensure!(ended == [by_channel], "{ended:?}");
        Ok(())
    });
}
