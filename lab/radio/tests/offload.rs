//! The whole walk of a phone: attach, credentials, Wi-Fi, and back.
//!
//! The topology is drawn in `homeward_radio::offload`.

use std::time::Duration;

use anyhow::{Context, ensure};
use homeward_cell::Sim;
use homeward_model::Rssi;
use homeward_net::Download;
use homeward_radio::offload::Carrier;
use homeward_radio::wait::{elapse, now, wait_for};
use homeward_radio::{Flow, Namespace, Scenario};

const SOON: Duration = Duration::from_secs(30);
const CORE: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 0, 0, 1);
const NEAR: Rssi = Rssi(-50);
const FAR: Rssi = Rssi(-79);
/// Datagrams that may be lost where one line is there before the other goes.
const FEW: u64 = 5;
const POLICY: &str = "join = -65\nleave = -72\ndwell = 1";

#[test]
fn a_phone_gets_credentials_over_cellular_and_moves_to_wi_fi_and_back_by_itself() {
    Scenario::new().run(|lab| async move {
        let mut carrier = Carrier::start(&lab, POLICY, "lifetime = \"7d\"").await?;
        let hotspot = carrier.hotspot("cafe").await?;
        hotspot.gateway.radio().set_signal(FAR)?;
        let sim = Sim::numbered(1)?;
        carrier.subscribe(&sim).await?;
        let phone = carrier.phone("phone", &sim).await?;
        phone
            .machine_where("a supplicant that is ready", SOON, |m| {
                m["supplicant"]["ready"] == true && m["supplicant"]["radio"] == true
            })
            .await?;
        ensure!(phone.causes().await? == ["no-bearer"], "{:?}", phone.causes().await?);

        // Attached: credentials come by themselves.
        let attaching = now();
        let ue = carrier.network.attach(&phone.modem()?, &sim).await?;
        let attached = now();
        let machine = phone.is("watching", SOON).await?;
        let had = now();
        println!("attached in {:?}, credentials after {:?}", attached - attaching, had - attached);
        let name = machine["credentials"]["username"].as_str().unwrap_or_default().to_owned();
        ensure!(name.ends_with("@wifi.example.net"), "{machine:#}");
        ensure!(!name.contains(sim.imsi.as_str()), "{name} shows the IMSI");

        // A download and a stream over cellular.
        let download = Download::paced(
            &Namespace::ROOT,
            phone.station.namespace(),
            CORE,
            5001,
            Some(2_000_000),
        )
        .await?;
        let flow = Flow::start(phone.station.namespace(), &Namespace::ROOT, CORE, 5002)?;

        // In earshot, but too weak.
        phone.station.near(&[&hotspot.gateway])?;
        elapse(Duration::from_secs(12)).await;
        phone
            .machine_where("an access point that is heard", SOON, |m| {
                m["heard"].as_array().is_some_and(|heard| !heard.is_empty())
            })
            .await?;
        ensure!(phone.causes().await? == ["weak"], "{:?}", phone.causes().await?);
        ensure!(flow.now_from() == Some(ue.address()), "{:?}", flow.now_from());

        // Strong enough.
        let strong = now();
        hotspot.gateway.radio().set_signal(NEAR)?;
        phone.is("offloaded", SOON).await?;
        let wifi = wait_for("the first packet by Wi-Fi", SOON, async || {
            Ok(flow.now_from().filter(|from| *from != ue.address()))
        })
        .await?;
        let first = flow.first_from(wifi, strong).context("no packet by Wi-Fi")?;
        println!("first packet by Wi-Fi {:?} after the signal was there", first - strong);
        let outage = flow.outage(strong, now());
        println!("outage on the way to Wi-Fi: {outage:?}");
        // A line that broke before the other was made would cost a hundred a second.
        ensure!(outage.lost <= FEW, "{outage:?}");
        elapse(Duration::from_secs(2)).await;
        ensure!(flow.now_from() == Some(wifi), "{:?}", flow.now_from());
        println!("download stood still for {:?}", download.silence(strong, now()));

        // It fades: back before it is useless.
        let fading = now();
        hotspot.gateway.radio().set_signal(FAR)?;
        phone.is("watching", SOON).await?;
        let back = flow.first_from(ue.address(), fading).context("no packet by cellular")?;
        println!("back on cellular {:?} after it faded", back - fading);
        let outage = flow.outage(fading, now());
        println!("outage on the way back: {outage:?}");
        ensure!(outage.lost <= FEW, "{outage:?}");

        // It comes back, and vanishes without a warning.
        hotspot.gateway.radio().set_signal(NEAR)?;
        phone.is("offloaded", SOON).await?;
        elapse(Duration::from_secs(1)).await;
        let gone = now();
        phone.station.out_of_reach()?;
        phone.is("watching", SOON).await?;
        let back = flow.first_from(ue.address(), gone).context("no packet by cellular")?;
        println!("back on cellular {:?} after it was gone", back - gone);
        println!("download stood still for {:?} in all", download.silence(strong, now()));
        ensure!(download.end().is_none(), "the download ended: {:?}", download.end());
        Ok(())
    });
}
