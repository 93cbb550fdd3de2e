//! A device on its way from home's Wi-Fi to cellular and back, with Homeward's own at both ends.
#![cfg(test)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_coverage::Heard;
use homeward_daemon::Size;
use homeward_device::config::{Bond, Metered};
use homeward_device::home::{Access, Found, Notice};
use homeward_hybrid::{Receiver, Street, cellular, wifi};
use homeward_model::{Mac, Rssi};
use homeward_net::place::profile_dir;
use homeward_net::wait::{elapse, now, wait_for};
use homeward_net::{Download, Flow, Impairment, Lab, Translation, lab};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(10);

/// The binary of that name.
fn homeward() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(profile_dir(&own).unwrap_or(Path::new(".")).join("homeward"))
}

async fn street(lab: &Lab, metered: Metered) -> Result<Street> {
    Street::build(lab, &homeward()?, metered).await
}

/// A path's part of the device's status.
fn path(status: &Value, number: u64) -> Value {
    let paths = status["tunnel"]["bond"]["paths"].as_array();
    let found = paths.into_iter().flatten().find(|path| path["path"] == number);
    found.cloned().unwrap_or_default()
}

#[test]
fn a_device_keeps_its_home_address_on_its_way_out_and_back_and_nothing_is_lost() {
    lab(|lab| async move {
        let street = street(&lab, Metered::default()).await?;
        let tv = street.town.home.host("tv").await?;
        let lease = street.lease().await?;
        let (device, home) = (&street.device, &tv.namespace);
        let down = Flow::start(home, device, lease.address, 5000)?;
        let up = Flow::start(device, home, tv.lease.address, 5001)?;
        let rate = Some(8_000_000);
        let download = Download::paced(home, device, tv.lease.address, 8080, rate).await?;
        elapse(Duration::from_millis(300)).await;
        let begun = now();
        for preferred in [Access::Cellular, Access::Wifi, Access::Cellular, Access::Wifi] {
            street.go(true, true, preferred);
            elapse(Duration::from_millis(500)).await;
        }
        let until = now();
        elapse(Duration::from_millis(200)).await;
        for (way, flow) in [("down", &down), ("up", &up)] {
            let outage = flow.outage(begun, until);
            println!("{way}: {outage:?}");
            assert_eq!(outage.lost, 0, "{way}: {outage:?}");
        }
        assert_eq!(download.end(), None);
        assert_eq!(street.lease().await?, lease, "another lease");
        street.end()
    });
}

#[test]
fn wifi_that_is_gone_and_comes_back_with_another_address_is_used_again() {
    lab(|lab| async move {
        let street = street(&lab, Metered::default()).await?;
        let tv = street.town.home.host("tv").await?;
        let lease = street.lease().await?;
        let down = Flow::start(&tv.namespace, &street.device, lease.address, 5000)?;
        elapse(Duration::from_millis(300)).await;
        let begun = now();
        street.wlan.set(Impairment { loss: 1.0, ..wifi(100_000_000) });
        elapse(Duration::from_secs(1)).await;
        let outage = down.outage(begun, now());
        println!("gone: {outage:?}");
        assert!(outage.silence_ms < 500.0, "{outage:?}");
        // The supplicant says so, and it is somewhere else when it is back.
        street.go(false, true, Access::Cellular);
        street.device.ip("addr flush dev wlan")?;
        street.wlan.set(wifi(100_000_000));
        street.device.ip("addr add 10.3.0.7/24 dev wlan\n\
             route add default via 10.3.0.1 dev wlan metric 300")?;
        street.go(true, true, Access::Wifi);
        wait_for("traffic by Wi-Fi again", SOON, async || {
            let status = street.status().await?;
            let back = path(&status, 0)["alive"] == true
                && status["tunnel"]["bond"]["legs"][0]["state"] == "up";
            Ok(back.then_some(()))
        })
        .await?;
        let before = path(&street.status().await?, 0)["packets"].as_u64();
        street.device.ping(tv.lease.address, SOON).await?;
        assert!(path(&street.status().await?, 0)["packets"].as_u64() > before);
        street.end()
    });
}

#[test]
fn a_device_in_the_lan_of_its_home_meets_it_there_though_nobody_else_is_let_in() {
    lab(|lab| async move {
        let street = Street::at_home(&lab, &homeward()?).await?;
        let tv = street.town.home.host("tv").await?;
        street.lease().await?;
        street.device.ping(tv.lease.address, SOON).await?;
        let status = street.status().await?;
        let legs = &status["tunnel"]["bond"]["legs"];
        assert_eq!(legs[0]["state"], "up", "{status:#}");
        // Whichever of the gateway's own addresses answered first.
        let home = &street.town.home;
        let own = [home.lan_address(), home.gateway_address()].map(|own| format!("{own}:1701"));
        assert!(own.iter().any(|own| legs[0]["endpoint"] == *own), "{status:#}");
        assert_ne!(
            legs[1]["state"], "up",
            "the boxes let nobody in whose port they cannot be told"
        );
        street.end()
    });
}

#[test]
fn a_device_meets_its_home_through_the_box_of_each_by_either_access() {
    lab(|lab| async move {
        let street = Street::behind(&lab, &homeward()?, Translation::Strict).await?;
        let tv = street.town.home.host("tv").await?;
        street.lease().await?;
        street.device.ping(tv.lease.address, SOON).await?;
        let status = street.status().await?;
        let outside = street.town.home.address();
        for leg in 0..2 {
            let endpoint = status["tunnel"]["bond"]["legs"][leg]["endpoint"].as_str().unwrap();
            assert!(endpoint.starts_with(&format!("{outside}:")), "{status:#}");
        }
        let seen = |access: &str| {
            let all = status["reflexive"].as_array().unwrap();
            let of = all.iter().find(|of| of["access"] == access).unwrap();
            (of["nat"].clone(), of["servers"][0]["mapped"].as_str().unwrap().to_owned())
        };
        assert_eq!(seen("wifi"), ("none".into(), "10.3.0.2:1701".to_owned()));
        let (nat, mapped) = seen("cellular");
        assert!(nat == "behind" && mapped.starts_with("10.5.0.2:"), "{status:#}");
        // Cellular alone carries it, too.
        street.go(false, true, Access::Cellular);
        street.wlan.set(Impairment { loss: 1.0, ..Impairment::NONE });
        street.device.ping(tv.lease.address, SOON).await?;
        street.end()
    });
}

#[test]
fn the_user_bonds_both_ways_as_far_as_the_class_of_service_allows_and_it_may_change() {
    lab(|lab| async move {
        let street = street(&lab, Metered::default()).await?;
        let tv = street.town.home.host("tv").await?;
        street.lease().await?;
        assert_eq!(street.bond(Bond::Mirrored).await?, "mirrored");
        let copies = || async {
            anyhow::Ok(street.status().await?["tunnel"]["drops"]["copies"].as_u64().unwrap_or(0))
        };
        wait_for("copies from home, which follows", SOON, async || {
            street.device.ping(tv.lease.address, SOON).await?;
            Ok((copies().await? > 3).then_some(()))
        })
        .await?;
        street.notices().await?;
        // For a time, and back.
        for (allowed, used) in [("none", "single"), ("mirrored,striped", "mirrored")] {
            street.admin(&["class", "set", "standard", "--bonding", allowed])?;
            wait_for("the class to take effect", SOON, async || {
                Ok((street.status().await?["wanted"]["mode"] == used).then_some(()))
            })
            .await?;
            street.device.ping(tv.lease.address, SOON).await?;
        }
        let told = street.notices().await?;
        let bonds = told.iter().filter(|notice| matches!(notice, Notice::Bond { .. })).count();
        assert_eq!(bonds, 2, "{told:?}");
        street.admin(&["class", "set", "standard", "--bonding", "mirrored"])?;
        wait_for("striping to be refused", SOON, async || {
            let refused = street.bond(Bond::Striped).await.err();
            Ok(refused.filter(|why| why.to_string().contains("mirrored only")).map(drop))
        })
        .await?;
        street.end()
    });
}

#[test]
fn both_ways_together_carry_no_more_than_the_class_of_service_gives_which_may_change() {
    lab(|lab| async move {
        let street = street(&lab, Metered::default()).await?;
        let tv = street.town.home.host("tv").await?;
        let own = street.lease().await?.address;
        street.bond(Bond::Striped).await?;
        let upload = Download::start(&street.device, &tv.namespace, own, 8080).await?;
        let download =
            Download::start(&tv.namespace, &street.device, tv.lease.address, 8081).await?;
        // Megabits a second.
        let (upload, download) = (&upload, &download);
        let rates = |seconds: u8| async move {
            let totals = || [upload, download].map(|one| one.total() as f64 * 8.0 / 1e6);
            let before = totals();
            elapse(Duration::from_secs(seconds.into())).await;
            let [up, down] = totals();
            [up - before[0], down - before[1]].map(|all| all / f64::from(seconds))
        };
        for ([up, down], [up_most, down_most]) in [
            // First what there is without: what has just begun is slow anyway.
            (["none", "none"], [f64::MAX; 2]),
            (["4M", "8M"], [4.0, 8.0]),
            (["8M", "4M"], [8.0, 4.0]),
        ] {
            let words =
                ["class", "set", "standard", "--bandwidth-up", up, "--bandwidth-down", down];
            street.admin(&words)?;
            wait_for("the class to take effect", SOON, async || {
                let [up, down] = rates(1).await;
                let free = up_most == f64::MAX;
                let so =
                    if free { up > 10.0 && down > 10.0 } else { up < up_most && down < down_most };
                Ok(so.then_some(()))
            })
            .await?;
            // What TCP held until a lost octet came again comes at once, and counts in that second.
            let [up, down] = rates(3).await;
            assert!(up < up_most * 1.25, "{up} of {up_most}");
            assert!(down < down_most * 1.25, "{down} of {down_most}");
        }
        street.end()
    });
}

#[test]
fn a_quota_of_cellular_that_is_reached_while_striping_leaves_wifi_to_carry_all() {
    lab(|lab| async move {
        let quota = Some(Size(1 << 20));
        let street = street(&lab, Metered { quota, ..Metered::default() }).await?;
        let tv = street.town.home.host("tv").await?;
        street.lease().await?;
        // Wi-Fi is the slower one: what is uploaded goes by cellular, too.
        street.wlan.set(wifi(5_000_000));
        street.wwan.set(cellular(20_000_000));
        street.bond(Bond::Striped).await?;
        let (device, home) = (&street.device, &tv.namespace);
        let own = street.lease().await?.address;
        let upload = Download::start(device, home, own, 8080).await?;
        wait_for("the quota to be used up", SOON * 2, async || {
            let told = street.notices().await?;
            let told = told.contains(&Notice::Quota { access: Access::Cellular });
            Ok(told.then_some(()))
        })
        .await?;
        let spent = path(&street.status().await?, 1)["octets"].as_u64().context("octets")?;
        assert!(spent <= 1 << 20, "{spent} octets by cellular");
        let before = upload.total();
        wait_for("the upload to go on by Wi-Fi", SOON, async || {
            Ok((upload.total() > before + 500_000).then_some(()))
        })
        .await?;
        assert_eq!(path(&street.status().await?, 1)["octets"].as_u64(), Some(spent));
        street.end()
    });
}

#[test]
fn a_device_that_is_suspended_has_no_tunnel_home_any_more() {
    lab(|lab| async move {
        let street = street(&lab, Metered::default()).await?;
        street.lease().await?;
        street.admin(&["gateway", "suspend", "phone"])?;
        wait_for("the home gateway to close it", SOON, async || {
            let links = street.town.home.gateway.run_tool("ip", &["-o", "link"])?;
            Ok((!links.contains("hwt")).then_some(()))
        })
        .await?;
        street.end()
    });
}

#[test]
fn the_edge_of_the_operators_map_is_foreseen_and_a_position_that_jumps_is_not_believed() {
    lab(|lab| async move {
        let street = street(&lab, Metered::default()).await?;
        let receiver = Receiver::start(&lab, &street.device)?;
        let gateway = Mac::new([2, 0, 0x5e, 0x10, 0, 1]);
        // It is heard well all the time, and the device walks north, out of its 60 m.
        let step = async |metres: f64| {
            receiver.says(51.5007 + metres / 111_320.0, -0.1246, 10.0);
            let heard = Heard { bssid: gateway, known: true, rssi: Rssi(-50) };
            street.hears(Found::Heard(vec![heard]));
            elapse(Duration::from_millis(200)).await;
            anyhow::Ok(street.status().await?["wanted"].clone())
        };
        let said = |wanted: &Value, list: &str, text: &str| {
            let all = wanted["coverage"][list].as_array();
            all.into_iter().flatten().any(|one| one.to_string().contains(text))
        };
        wait_for("a map and a position", SOON, async || {
            let wanted = step(-50.0).await?;
            let map = wanted["coverage"]["map"]["gateways"] == 1;
            Ok((map && wanted["coverage"]["fix"].is_object()).then_some(()))
        })
        .await?;
        let mut metres = -50.0;
        let foreseen = wait_for("an edge that is foreseen", SOON, async || {
            metres += 2.0;
            let wanted = step(metres).await?;
            Ok(said(&wanted, "decisions", "the map's coverage (1 gateways) ends in")
                .then_some(wanted))
        })
        .await?;
        println!("at {metres} m: {:#}", foreseen["coverage"]["decisions"]);
        assert!(metres < 60.0, "before it is there");
        assert_eq!(foreseen["preferred"], "wifi");
        wait_for("a position that is not believed", SOON, async || {
            let wanted = step(5000.0).await?;
            Ok(said(&wanted, "doubts", "fix-jumped").then_some(()))
        })
        .await?;
        let notices = street.notices().await?;
        let moved = notices.iter().any(|n| matches!(n, Notice::Access { .. }));
        assert_eq!(street.status().await?["wanted"]["preferred"], "wifi");
        assert!(!moved, "{notices:?}");
        street.end()
    });
}
