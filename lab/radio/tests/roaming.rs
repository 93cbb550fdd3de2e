//! The mission's scenarios, over the air: real hostapd, real wpa_supplicant, the real binary.
//!
//! ```text
//!   core 10.0.0.1 ──┬── home    (Elm Street 17; its owner's devices; agent)
//!                   └── foreign (Oak Avenue 4, a stranger's; agent; bridge br-roam for roamers)
//!   phone, … : stations, each in reach of the gateways that the scenario says
//! ```

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_radio::operator::{Agent, Home, Operator, ROAM_INDEX, bss_count, is_connected};
use homeward_radio::wait::{elapse, now, wait_for};
use homeward_radio::{AccessPoint, ApConfig, Gateway, Lab, Network, Scenario, Security, Station};

const SSID: &str = "Elm Street 17";
const KEY: &str = "phone key of elm street";
/// One scan of two channels and a join take some 2 s, emulated; this is for the worst.
const SOON: Duration = Duration::from_secs(40);
/// The channel of the stranger's gateway, and its frequency in MHz.
const CHANNEL: u8 = 6;

/// An operator, and a stranger's gateway with an agent.
struct Abroad {
    operator: Operator,
    foreign: Gateway,
    ap: AccessPoint,
    agent: Agent,
}

async fn abroad(lab: &Lab) -> Result<Abroad> {
    abroad_with(lab, "").await
}

async fn abroad_with(lab: &Lab, extra: &str) -> Result<Abroad> {
    let operator = Operator::start(lab).await?;
    let mut foreign = lab.gateway("foreign").await?;
    let config =
        ApConfig::new("Oak Avenue 4").security(Security::wpa2("oak household")).channel(CHANNEL);
    let ap = foreign.access_point(&config).await?;
    operator.enrol(&foreign, "gb/london/n7", "homeward").await?;
    operator.enrol_as("home", "02:00:00:00:0a:01", "gb/london/se1", None, "homeward").await?;
    let agent = operator.agent(&mut foreign, &ap, extra).await?;
    Ok(Abroad { operator, foreign, ap, agent })
}

impl Abroad {
    /// A home of the operator's, elsewhere in London, and a station that is its device.
    async fn roamer(
        &self,
        lab: &Lab,
        name: &str,
        home: &Home,
        key: &str,
    ) -> Result<(Station, Network)> {
        let station = lab.station(name)?;
        let security = self.operator.device(home, station.mac(), key).await?;
        let network = Network::new(&home.ssid, security);
        Ok((station, network))
    }

    async fn home(&self) -> Result<Home> {
        self.operator.home("smith", "home", SSID, "wpa2-psk").await
    }
}

#[test]
fn at_home_a_device_uses_its_own_key_and_the_household_its_passphrase() {
    Scenario::new().run(|lab| async move {
        let operator = Operator::start(&lab).await?;
        let mut home = lab.gateway("home").await?;
        let keys = "/run/lab/home.psk";
        std::fs::write(keys, "")?;
        let config = ApConfig::new(SSID)
            .security(Security::wpa2("elm household"))
            .line(&format!("wpa_psk_file={keys}"));
        let ap = home.access_point(&config).await?;
        operator.enrol(&home, "gb/london/se1", "homeward").await?;
        let agent =
            operator.agent(&mut home, &ap, &format!("[home]\npsk_file = \"{keys}\"")).await?;
        let smith = operator.home("smith", "home", SSID, "wpa2-psk").await?;
        let mut laptop = lab.station("laptop")?;
        laptop.join(&Network::new(SSID, Security::wpa2("elm household"))).await?;
        laptop.connected_within(SOON).await?;
        let began = now();

        let mut phone = lab.station("phone")?;
        let own = operator.device(&smith, phone.mac(), KEY).await?;
        phone.join(&Network::new(SSID, own)).await?;
        assert_eq!(phone.connected_within(SOON).await?.bssid, ap.bssid());
        phone.dhcp(SOON).await?;
        phone.ping(home.lan_address(), SOON).await?;

        ensure!(laptop.disconnects_since(began)?.is_empty(), "the household noticed");
        ensure!(bss_count(&ap).await? == 1, "at home no virtual access point is needed");
        let status = agent.status().await?;
        let entry = Agent::entry(&status, phone.mac()).context("the phone is not in memory")?;
        ensure!(entry["at_home"] == true, "{entry:#}");
        Ok(())
    });
}

#[test]
fn away_a_device_finds_its_home_network_at_a_strangers_gateway_and_the_owner_notices_nothing() {
    Scenario::new().run(|lab| async move {
        let abroad = abroad(&lab).await?;
        let home = abroad.home().await?;
        let mut tv = lab.station("tv")?;
        tv.join(&Network::new("Oak Avenue 4", Security::wpa2("oak household"))).await?;
        tv.connected_within(SOON).await?;
        let (mut phone, network) = abroad.roamer(&lab, "phone", &home, KEY).await?;
        phone.near(&[&abroad.foreign])?;
        let air = lab.air()?;
        let began = now();

        phone.join(&network).await?;
        let connection = phone.connected_within(SOON).await?;
        ensure!(connection.bssid != abroad.ap.bssid(), "that is the owner's access point");
        let lease = phone.dhcp(SOON).await?;
        assert_eq!(lease.router, abroad.foreign.bridge_address(ROAM_INDEX));
        phone.ping(lease.router, SOON).await?;
        phone.leave().await?;
        abroad
            .agent
            .status_where("the phone to be gone", SOON, |s| {
                s["radio"]["vaps"][0]["devices"][0]["connected_ms"].is_null()
            })
            .await?;

        // What it used at the stranger's is charged to its own account.
        wait_for("the phone's session to be over", SOON, async || {
            let usage = abroad.operator.admin(&["usage", "account", "smith"]).await?;
            let open = abroad.operator.admin(&["session", "list", "--account", "smith"]).await?;
            let is_charged = usage["total"]["input"].as_u64() > Some(0);
            Ok((is_charged && open == serde_json::json!([])).then_some(()))
        })
        .await?;

        ensure!(tv.disconnects_since(began)?.is_empty(), "the owner's station was disconnected");
        let gap = air.longest_beacon_gap(abroad.ap.bssid(), began, now());
        println!("longest gap between the owner's beacons: {gap:?}");
        ensure!(gap < Duration::from_millis(250), "the owner's beacons paused for {gap:?}");
        Ok(())
    });
}

#[test]
fn whoever_is_not_entitled_is_refused_and_status_and_log_say_why() {
    Scenario::new().radios(8).run(|lab| async move {
        let mut abroad = abroad(&lab).await?;
        let home = abroad.home().await?;
        let suspended = abroad.operator.home("jones", "home", "Jones", "wpa2-psk").await?;
        abroad
            .operator
            .enrol_as("paris", "02:00:00:00:0a:02", "fr/paris/12", None, "homeward")
            .await?;
        let distant = abroad.operator.home("martin", "paris", "Martin", "wpa2-psk").await?;

        let mut stranger = lab.station("stranger")?;
        stranger.join(&Network::new(SSID, Security::wpa2(KEY))).await?;
        let (mut lost, _) = abroad.roamer(&lab, "lost", &home, KEY).await?;
        lost.join(&Network::new("Elm Street 18", Security::wpa2(KEY))).await?;
        let (mut forger, _) = abroad.roamer(&lab, "forger", &home, KEY).await?;
        forger.join(&Network::new(SSID, Security::wpa2("not the phone key"))).await?;
        let (mut debtor, network) = abroad.roamer(&lab, "debtor", &suspended, KEY).await?;
        abroad.operator.admin(&["account", "suspend", "jones"]).await?;
        debtor.join(&network).await?;
        let (mut tourist, network) = abroad.roamer(&lab, "tourist", &distant, KEY).await?;
        tourist.join(&network).await?;

        for (station, reason) in [
            (&stranger, "unknown-device"),
            (&lost, "wrong-ssid"),
            (&debtor, "account-suspended"),
            (&tourist, "outside-coverage"),
        ] {
            let mac = station.mac();
            let status = abroad
                .agent
                .status_where(reason, SOON, |s| {
                    Agent::entry(s, mac).is_some_and(|e| e["reason"] == reason)
                })
                .await?;
            let entry = Agent::entry(&status, mac).context("no entry")?;
            ensure!(entry["message"].as_str().is_some_and(|m| m.len() > 10), "{entry:#}");
            abroad.agent.process().says(&format!("reason={reason}"), SOON).await?;
        }
        let mac = forger.mac();
        abroad
            .agent
            .status_where("the wrong key", SOON, |s| {
                Agent::entry(s, mac).is_some_and(|e| e["wrong_keys"].as_u64() > Some(0))
            })
            .await?;
        abroad.agent.process().says("failed with its key", SOON).await?;
        for station in [&stranger, &lost, &forger, &debtor, &tourist] {
            ensure!(!is_connected(station).await?, "{} got in", station.name());
        }
        // One VAP for the forger, whose MAC and SSID were right; none for anybody else.
        let status = abroad.agent.status().await?;
        ensure!(Agent::vaps_up(&status) <= 1, "{status:#}");
        Ok(())
    });
}

#[test]
fn a_device_whose_account_is_suspended_is_out_within_two_seconds() {
    Scenario::new().run(|lab| async move {
        let abroad = abroad(&lab).await?;
        let home = abroad.home().await?;
        let (mut phone, network) = abroad.roamer(&lab, "phone", &home, KEY).await?;
        phone.join(&network).await?;
        phone.connected_within(SOON).await?;
        let bsss = bss_count(&abroad.ap).await?;
        ensure!(bsss == 2, "{bsss} BSSs");

        // The phone may be out before the command has even ended.
        let asked = now();
        abroad.operator.admin(&["account", "suspend", "smith"]).await?;
        let out = phone.disconnected_since(asked, Duration::from_secs(2)).await?;
        println!("out {:?} after the command was given", out.at.since(asked));
        let mac = phone.mac();
        abroad
            .agent
            .status_where("the key to be gone", Duration::from_secs(2), |s| {
                Agent::entry(s, mac).is_none_or(|e| e["state"] != "granted" && e["served"] == false)
            })
            .await?;
        phone.never_connects_within(Duration::from_secs(6)).await?;
        wait_for("the BSS to be gone", SOON, async || {
            Ok((bss_count(&abroad.ap).await? == 1).then_some(()))
        })
        .await?;

        abroad.operator.admin(&["account", "resume", "smith"]).await?;
        phone.leave().await?;
        elapse(Duration::from_secs(1)).await;
        phone.join(&network).await?;
        phone.connected_within(Duration::from_secs(60)).await?;
        Ok(())
    });
}

#[test]
fn a_thousand_random_probes_a_second_make_no_bss_and_keep_no_device_out() {
    Scenario::new().run(|lab| async move {
        let abroad = abroad_with(&lab, "[log]\nfilter = \"info\"").await?;
        let home = abroad.home().await?;
        let (mut phone, network) = abroad.roamer(&lab, "phone", &home, KEY).await?;
        let flood = lab.flood(CHANNEL, 1000, 17)?;
        wait_for("the flood to run", SOON, async || Ok((flood.sent() > 3000).then_some(())))
            .await?;
        ensure!(bss_count(&abroad.ap).await? == 1, "a random probe made a BSS");

        phone.join(&network).await?;
        let connection = phone.connected_within(Duration::from_secs(60)).await?;
        ensure!(connection.bssid != abroad.ap.bssid());
        ensure!(bss_count(&abroad.ap).await? == 2, "the flood made a BSS");
        let status = abroad.agent.status().await?;
        let counters = &status["radio"]["counters"];
        println!(
            "flood: {} sent; the gateway counted {counters:#}; heard {:#}",
            flood.sent(),
            status["heard"]
        );
        ensure!(counters["lookups"].as_u64() < counters["probes"].as_u64(), "no budget was kept");
        Ok(())
    });
}

#[test]
fn service_returns_after_hostapd_was_killed_and_restarted() {
    Scenario::new().run(|lab| async move {
        let mut abroad = abroad(&lab).await?;
        let home = abroad.home().await?;
        let (mut phone, network) = abroad.roamer(&lab, "phone", &home, KEY).await?;
        phone.join(&network).await?;
        phone.connected_within(SOON).await?;

        let killed = now();
        abroad.ap.process().kill();
        abroad
            .agent
            .status_where("hostapd missed", SOON, |s| s["radio"]["hostapd_ready"] == false)
            .await?;
        abroad.ap.restart().await?;
        phone.connected_since(killed, Duration::from_secs(60)).await?;
        ensure!(bss_count(&abroad.ap).await? == 2, "a BSS is missing or orphaned");
        abroad.agent.process().says("hostapd is gone", SOON).await
    });
}

#[test]
fn with_the_core_away_for_a_minute_those_in_memory_are_served_and_new_ones_after() {
    Scenario::new().within(Duration::from_secs(280)).run(|lab| async move {
        let mut abroad = abroad(&lab).await?;
        let home = abroad.home().await?;
        let (mut phone, network) = abroad.roamer(&lab, "phone", &home, KEY).await?;
        let (mut tablet, tablets) =
            abroad.roamer(&lab, "tablet", &home, "tablet key of elm street").await?;
        phone.join(&network).await?;
        phone.connected_within(SOON).await?;

        abroad.operator.core().kill();
        let killed = now();
        phone.leave().await?;
        elapse(Duration::from_secs(1)).await;
        phone.join(&network).await?;
        phone
            .connected_within(SOON)
            .await
            .context("the core is away, but the phone is in memory")?;
        tablet.join(&tablets).await?;
        let mac = tablet.mac();
        abroad
            .agent
            .status_where("the core to be missed", SOON, |s| {
                Agent::entry(s, mac)
                    .is_some_and(|e| e["state"] == "unreachable" || e["state"] == "pending")
            })
            .await?;
        let minute = Duration::from_secs(60).saturating_sub(now().since(killed));
        tablet.never_connects_within(minute).await?;
        ensure!(is_connected(&phone).await?, "the phone was put out while the core was away");

        abroad.operator.core().restart()?;
        let back = now();
        abroad.operator.core_is_up().await?;
        tablet.connected_since(back, Duration::from_secs(90)).await?;
        ensure!(is_connected(&phone).await?, "the phone was put out when the core came back");
        ensure!(bss_count(&abroad.ap).await? == 2);
        Ok(())
    });
}

#[test]
fn an_agent_that_was_killed_and_restarted_leaves_no_orphan_and_serves_again() {
    Scenario::new().run(|lab| async move {
        let mut abroad = abroad(&lab).await?;
        let home = abroad.home().await?;
        let (mut phone, network) = abroad.roamer(&lab, "phone", &home, KEY).await?;
        phone.join(&network).await?;
        phone.connected_within(SOON).await?;

        abroad.agent.process().kill();
        ensure!(bss_count(&abroad.ap).await? == 2, "hostapd should not have noticed yet");
        let restarted = now();
        abroad.agent.process().restart()?;
        abroad.agent.process().says("removing a VAP that an earlier agent left", SOON).await?;
        phone.connected_since(restarted, Duration::from_secs(60)).await?;
        ensure!(bss_count(&abroad.ap).await? == 2, "a BSS is orphaned");

        let ended = abroad.agent.process().stop(SOON).await?;
        ensure!(ended.success(), "the agent ended with {ended}");
        ensure!(bss_count(&abroad.ap).await? == 1, "the agent left a BSS behind");
        Ok(())
    });
}

#[test]
fn two_devices_of_one_home_share_a_bss_and_two_homes_of_one_name_do_not() {
    Scenario::new().within(Duration::from_secs(240)).run(|lab| async move {
        let abroad = abroad(&lab).await?;
        let smith = abroad.home().await?;
        let jones = abroad.operator.home("jones", "home", SSID, "wpa2-psk").await?;
        let (mut phone, network) = abroad.roamer(&lab, "phone", &smith, KEY).await?;
        phone.join(&network).await?;
        let first = phone.connected_within(SOON).await?;
        let began = now();
        let (mut tablet, network) =
            abroad.roamer(&lab, "tablet", &smith, "tablet key of elm street").await?;
        tablet.join(&network).await?;
        let second = tablet.connected_within(SOON).await?;
        ensure!(first.bssid == second.bssid, "one home, two BSSs");
        ensure!(bss_count(&abroad.ap).await? == 2);

        let (mut other, network) =
            abroad.roamer(&lab, "other", &jones, "the key of another house").await?;
        other.join(&network).await?;
        let third = other.connected_within(Duration::from_secs(60)).await?;
        ensure!(third.bssid != first.bssid, "two homes on one BSS");
        ensure!(bss_count(&abroad.ap).await? == 3);
        for station in [&phone, &tablet] {
            ensure!(
                station.disconnects_since(began)?.is_empty(),
                "{} was disturbed",
                station.name()
            );
        }
        Ok(())
    });
}

#[test]
fn homes_with_wpa3_with_wpa2_and_with_both_are_served_each_in_its_own_way() {
    Scenario::new().within(Duration::from_secs(240)).run(|lab| async move {
        let abroad = abroad(&lab).await?;
        for (account, ssid, security, management) in [
            ("new", "New House", "wpa3-sae", "key_mgmt=SAE"),
            ("old", "Old House", "wpa2-psk", "key_mgmt=WPA2-PSK"),
            ("mixed", "Mixed House", "wpa2-wpa3", "key_mgmt=SAE"),
        ] {
            let home = abroad.operator.home(account, "home", ssid, security).await?;
            let (mut station, network) = abroad.roamer(&lab, account, &home, KEY).await?;
            station.join(&network).await?;
            station.connected_within(SOON).await.context(security)?;
            let status = station.control()?.request("STATUS", "").await?;
            ensure!(status.contains(management), "{security}: {status}");
            station.dhcp(SOON).await.context(security)?;
        }
        ensure!(bss_count(&abroad.ap).await? == 4);
        Ok(())
    });
}

#[test]
fn a_third_party_access_point_without_our_agent_admits_the_same_devices() {
    Scenario::new().run(|lab| async move {
        let operator = Operator::start(&lab).await?;
        let cafe = lab.gateway("cafe").await?;
        operator.enrol(&cafe, "gb/london/n7", "hostapd").await?;
        operator.enrol_as("home", "02:00:00:00:0a:01", "gb/london/se1", None, "homeward").await?;
        let home = operator.home("smith", "home", SSID, "wpa2-psk").await?;
        let config = ApConfig::new(SSID)
            .security(Security::wpa2("unused by anybody"))
            .line("macaddr_acl=2")
            .line("wpa_psk_radius=2")
            .line("nas_identifier=cafe")
            .line(&format!("own_ip_addr={}", cafe.address()))
            .line("auth_server_addr=10.0.0.1")
            .line("auth_server_port=1812")
            .line("auth_server_shared_secret=a secret for the lab, and only for it");
        let ap = cafe.access_point(&config).await?;
        let mut phone = lab.station("phone")?;
        let own = operator.device(&home, phone.mac(), KEY).await?;
        let mut stranger = lab.station("stranger")?;
        stranger.join(&Network::new(SSID, Security::wpa2(KEY))).await?;
        phone.join(&Network::new(SSID, own)).await?;
        assert_eq!(phone.connected_within(SOON).await?.bssid, ap.bssid());
        phone.dhcp(SOON).await?;
        stranger.never_connects_within(Duration::from_secs(5)).await?;
        let status = operator.status().await?;
        ensure!(status["lookups"]["granted"].as_u64() > Some(0), "{status:#}");
        ensure!(status["lookups"]["refused"]["unknown-device"].as_u64() > Some(0), "{status:#}");
        Ok(())
    });
}
