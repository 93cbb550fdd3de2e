//! What may happen to a tunnel home, over the air: reboots, renumbering, a rogue in the house, a
//! name that two homes share, and a class of service that does not go home at all.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use homeward_model::Instant;
use homeward_net::dhcp::{DhcpConfig, DhcpServer, Lease};
use homeward_net::printer::get;
use homeward_net::{Capture, Download, Flow, Printer, dhcp};
use homeward_radio::lab::{CORE, ELSEWHERE};
use homeward_radio::operator::{Agent, ROAM_INDEX};
use homeward_radio::town::{RADIOS, SOON, SSID, Town, roam, tunnel_is_up};
use homeward_radio::wait::{elapse, now, wait_for};
use homeward_radio::{Namespace, Network, Scenario, Station};

/// A reboot, a join and a tunnel take some 10 s, emulated; this is for the worst.
const LATER: Duration = Duration::from_secs(90);

/// Slow enough that an emulated CPU has time for everything else.
const PACE: Option<u64> = Some(1_000_000);

/// A phone abroad at the foreign gateway, with the lease that it has from home.
async fn abroad(town: &mut Town) -> Result<Lease> {
    let lease = town.phone_at_home().await?;
    town.phone.near(&[&town.home.gateway, &town.foreign.gateway])?;
    let bssid = town.foreign.heard(&town.phone).await?;
    roam(&town.phone, bssid, SOON).await?;
    town.phone.near(&[&town.foreign.gateway])?;
    town.phone.ping(CORE, SOON).await?;
    Ok(lease)
}

/// Waits until so many octets more have come.
async fn more(download: &Download, octets: u64, limit: Duration) -> Result<()> {
    let before = download.total();
    wait_for("more of the download", limit, async || {
        ensure!(download.end().is_none(), "the download ended: {:?}", download.end());
        Ok((download.total() > before + octets).then_some(()))
    })
    .await
}

/// A download to the phone, and datagrams both ways.
struct Traffic {
    download: Download,
    down: Flow,
    up: Flow,
}

impl Traffic {
    /// Begins it, and waits until it is under way.
    async fn begin(phone: &Namespace, address: Ipv4Addr) -> Result<Self> {
        let download = Download::paced(&Namespace::ROOT, phone, CORE, 8000, PACE).await?;
        let down = Flow::start(&Namespace::ROOT, phone, address, 5000)?;
        let up = Flow::start(phone, &Namespace::ROOT, CORE, 5001)?;
        more(&download, 50_000, SOON).await?;
        Ok(Self { download, down, up })
    }

    /// How long each direction was silent since then, in ms.
    fn silences(&self, since: Instant) -> (f64, f64) {
        (self.down.outage(since, now()).silence_ms, self.up.outage(since, now()).silence_ms)
    }
}

#[test]
fn where_devices_go_from_home_a_phone_is_expected_and_keeps_its_address_and_download() {
    Scenario::new().radios(RADIOS).run(|lab| async move {
        let mut town = Town::build(&lab, "").await?;
        let lease = town.phone_at_home().await?;
        town.operator.locates(town.phone.mac(), SOON).await?;
        // The way is learned by being gone once.
        town.phone.near(&[&town.home.gateway, &town.foreign.gateway])?;
        let bssid = town.foreign.heard(&town.phone).await?;
        roam(&town.phone, bssid, SOON).await?;
        roam(&town.phone, town.home.ap.bssid(), SOON).await?;

        // Out of the stranger's reach, so that only the controller can have told it.
        town.phone.near(&[&town.home.gateway])?;
        let expected = |status: &serde_json::Value| {
            status["channel"]["prepared"].as_u64() == Some(1)
                && Agent::vaps_up(status) == 1
                && tunnel_is_up(status)
        };
        town.foreign.agent.status_where("the phone to be expected", LATER, expected).await?;
        let download =
            Download::paced(&Namespace::ROOT, town.phone.namespace(), CORE, 8000, PACE).await?;
        more(&download, 50_000, SOON).await?;
        town.phone.near(&[&town.home.gateway, &town.foreign.gateway])?;
        let left = roam(&town.phone, town.foreign.ready().await?, SOON).await?;
        town.phone.near(&[&town.foreign.gateway])?;
        more(&download, 100_000, SOON).await?;
        println!("the download stood still for {:?}", download.silence(left, now()));
        let again = town.phone.dhcp(SOON).await?;
        ensure!(again.address == lease.address, "{again:?} is not {lease:?}");
        let counters = town.operator.status().await?["controller"]["counters"].clone();
        ensure!(counters["came_prepared"].as_u64() >= Some(1), "{counters}");
        ensure!(download.end().is_none(), "{:?}", download.end());
        Ok(())
    });
}

#[test]
fn a_foreign_gateway_that_reboots_takes_its_roamer_back_with_its_address_and_its_download() {
    Scenario::new().radios(RADIOS).within(Duration::from_secs(240)).run(|lab| async move {
        let mut town = Town::build(&lab, "").await?;
        let lease = abroad(&mut town).await?;
        let phone = town.phone.namespace();
        let traffic = Traffic::begin(phone, lease.address).await?;

        let rebooted = now();
        town.foreign.power_off();
        elapse(Duration::from_secs(3)).await;
        town.foreign.power_on(&town.operator).await?;
        // The phone looks around as any that lost its network.
        town.phone.connected_since(rebooted, LATER).await?;
        more(&traffic.download, 100_000, LATER).await?;
        let again = town.phone.dhcp(SOON).await?;
        ensure!(again.address == lease.address, "{again:?} is not {lease:?}");
        println!("the foreign gateway was off for 3 s: silent {:?} ms", traffic.silences(rebooted));
        Ok(())
    });
}

#[test]
fn a_home_gateway_that_reboots_finds_its_device_abroad_and_gives_it_its_home_back() {
    Scenario::new().radios(RADIOS).within(Duration::from_secs(240)).run(|lab| async move {
        let mut town = Town::build(&lab, "").await?;
        let lease = abroad(&mut town).await?;
        let host = town.home.host("printer", Ipv4Addr::new(10, 1, 0, 9))?;
        let page = "the printer of elm street";
        let _printer = Printer::start(page, &host, Ipv4Addr::new(10, 1, 0, 9))?;
        let phone = town.phone.namespace();
        let traffic = Traffic::begin(phone, lease.address).await?;

        let began = now();
        town.home.power_off();
        elapse(Duration::from_secs(3)).await;
        ensure!(
            traffic.down.outage(began + Duration::from_secs(1), now()).arrived == 0,
            "nobody is home"
        );
        town.home.power_on(&town.operator).await?;
        more(&traffic.download, 100_000, LATER).await?;
        let found = get(phone, Ipv4Addr::new(10, 1, 0, 9), SOON).await?;
        ensure!(found.contains(page), "{found}");
        let again = town.phone.dhcp(SOON).await?;
        ensure!(again.address == lease.address, "{again:?} is not {lease:?}");
        ensure!(town.phone.disconnects_since(began)?.is_empty(), "the phone was put out");
        println!("the home gateway was off for 3 s: silent {:?} ms", traffic.silences(began));
        Ok(())
    });
}

#[test]
fn a_foreign_gateway_whose_address_changes_keeps_the_roamers_sessions() {
    Scenario::new().radios(RADIOS).run(|lab| async move {
        let mut town = Town::build(&lab, "").await?;
        let lease = abroad(&mut town).await?;
        let phone = town.phone.namespace();
        let traffic = Traffic::begin(phone, lease.address).await?;

        let moved = now();
        let (old, new) = (town.foreign.gateway.address(), Ipv4Addr::new(10, 0, 0, 77));
        town.foreign.gateway.namespace().ip(&format!(
            "addr del {old}/24 dev eth0\naddr add {new}/24 dev eth0\nroute add default via {CORE}"
        ))?;
        more(&traffic.download, 100_000, LATER).await?;
        println!("renumbered: silent {:?} ms", traffic.silences(moved));
        ensure!(town.phone.disconnects_since(moved)?.is_empty(), "the phone was put out");
        let status = town.home.agent.status().await?;
        let endpoint = status["tunnels"][0]["endpoint"].as_str().unwrap_or_default();
        ensure!(endpoint == format!("{new}:1701"), "{status:#}");
        Ok(())
    });
}

/// A second home, behind the third gateway, that has the same SSID.
async fn another_home_of_that_name(town: &Town, station: &Station) -> Result<Network> {
    let jones = town.operator.home("jones", "third", SSID, "wpa2-psk").await?;
    let key = "the key of another house";
    let security = town.operator.device(&jones, station.mac(), key).await?;
    Ok(Network::new(SSID, security).frequencies(&[2437]))
}

#[test]
fn of_two_homes_of_one_name_each_device_reaches_its_own_at_the_same_gateway() {
    Scenario::new().radios(RADIOS).within(Duration::from_secs(240)).run(|lab| async move {
        let mut town = Town::build(&lab, "").await?;
        let mut tablet = lab.station("tablet")?;
        let network = another_home_of_that_name(&town, &tablet).await?;
        let mut pages = Vec::new();
        for (site, name, address) in
            [(&town.home, "smiths", [10, 1, 0, 9]), (&town.third, "joneses", [10, 3, 0, 9])]
        {
            let address = Ipv4Addr::from(address);
            let host = site.host(name, address)?;
            pages.push(Printer::start(&format!("the printer of the {name}"), &host, address)?);
        }
        for station in [&town.phone, &tablet] {
            station.near(&[&town.foreign.gateway])?;
        }
        town.phone.join(&town.network.clone().frequencies(&[2437])).await?;
        town.phone.connected_within(SOON).await?;
        tablet.join(&network).await?;
        tablet.connected_within(LATER).await?;
        let [phones, tablets] = [town.phone.dhcp(SOON).await?, tablet.dhcp(SOON).await?];
        ensure!(phones.address.octets()[..2] == [10, 1], "the phone's is {phones:?}");
        ensure!(tablets.address.octets()[..2] == [10, 3], "the tablet's is {tablets:?}");
        for (station, own) in [(&town.phone, "smiths"), (&tablet, "joneses")] {
            let address = if own == "smiths" { [10, 1, 0, 9] } else { [10, 3, 0, 9] };
            let page = get(station.namespace(), address.into(), SOON).await?;
            ensure!(page.contains(own), "{page}");
        }
        // The other's printer, as if it were on the own LAN: nobody answers for it there.
        for (station, other) in [(&town.phone, [10, 3, 0, 9]), (&tablet, [10, 1, 0, 9])] {
            let wlan = station.radio().interface();
            let other = Ipv4Addr::from(other);
            station.namespace().ip(&format!("route add {other}/32 dev {wlan}"))?;
            let answer = get(station.namespace(), other, Duration::from_secs(3)).await;
            ensure!(answer.is_err(), "{} reached {other}", station.name());
        }
        Ok(())
    });
}

#[test]
fn a_roamer_that_plays_the_dhcp_server_is_heard_by_nobody_at_home() {
    Scenario::new().radios(RADIOS).run(|lab| async move {
        let mut town = Town::build(&lab, "").await?;
        let lease = abroad(&mut town).await?;
        let laptop = town.home.host("laptop", Ipv4Addr::new(10, 1, 0, 9))?;
        let ear = Capture::start(&laptop, "eth0")?;
        let wlan = town.phone.radio().interface();
        let config = DhcpConfig::on(&wlan)
            .network(lease.address)
            .prefix("fd00:bad::".parse()?)
            .argument("--ra-param=*,4,1800");
        let (logs, folder) = (Path::new("/out"), Path::new("/run/lab"));
        town.phone.namespace().ip(&format!("addr add fd00:bad::1/64 dev {wlan}"))?;
        let mut rogue =
            DhcpServer::start(logs, folder, "rogue", town.phone.namespace(), &config).await?;
        let mut laptops = lease;
        for round in 0..3 {
            let name = format!("laptop{round}");
            let got = dhcp::lease(logs, folder, &name, &laptop, "eth0", SOON).await?;
            ensure!(got.server == Ipv4Addr::new(10, 1, 0, 1), "the lease is the rogue's: {got:?}");
            laptops = got;
        }
        // It did advertise itself as a router; of who asks for an address it is not even told.
        rogue.process().says("RTR-ADVERT", SOON).await?;
        ensure!(!rogue.process().log().contains("DHCPDISCOVER"), "{}", rogue.process().log());
        // Nor is it asked by the stranger's gateway, which is no host of this home.
        let vap = town.foreign.ready().await?.full().to_string();
        ensure!(!rogue.process().log().contains(&vap), "{vap} in {}", rogue.process().log());
        town.phone.ping(laptops.address, SOON).await?;
        let phone = town.phone.mac();
        let is_ours = |frame: &homeward_net::capture::Arrival| frame.source() == Some(phone);
        let evil = ear.count(|frame| {
            // UDP from port 67; ICMPv6 router advertisements.
            let offer =
                frame.octets.get(34..36) == Some(&[0, 67]) && frame.octets.get(23) == Some(&17);
            let advert = frame.ether_type() == Some(0x86dd) && frame.octets.get(54) == Some(&134);
            is_ours(frame) && (offer || advert)
        });
        ensure!(evil == 0, "{evil} frames of the rogue reached the home LAN");
        ensure!(ear.count(is_ours) > 0, "the phone itself was not heard at all");
        Ok(())
    });
}

#[test]
fn a_class_of_service_that_breaks_out_locally_reaches_the_internet_and_neither_lan() {
    Scenario::new().radios(RADIOS).run(|lab| async move {
        let mut town = Town::build(&lab, "uplinks = [\"eth0\"]").await?;
        town.operator.admin(&["class", "create", "out", "--anchor", "local"]).await?;
        town.operator.admin(&["account", "set", "smith", "--class", "out"]).await?;
        let printer = town.home.host("printer", Ipv4Addr::new(10, 1, 0, 9))?;
        let _home = Printer::start("at home", &printer, Ipv4Addr::new(10, 1, 0, 9))?;
        let tv = town.foreign.host("tv", Ipv4Addr::new(10, 2, 0, 9))?;
        let _tv = Printer::start("a stranger's", &tv, Ipv4Addr::new(10, 2, 0, 9))?;

        town.phone.near(&[&town.foreign.gateway])?;
        town.phone.join(&town.network.clone().frequencies(&[2437])).await?;
        town.phone.connected_within(SOON).await?;
        let lease = town.phone.dhcp(SOON).await?;
        let router = town.foreign.gateway.bridge_address(ROAM_INDEX);
        ensure!(lease.router == router, "{lease:?} is not of {router}");
        town.phone.ping(ELSEWHERE, SOON).await?;
        for lan in [[10, 2, 0, 9], [10, 2, 0, 1], [10, 1, 0, 9]] {
            let patience = Duration::from_secs(3);
            let answer = town.phone.ping(lan.into(), patience).await;
            ensure!(answer.is_err(), "the phone reached {lan:?}");
        }
        let tunnels = town.foreign.agent.status().await?["channel"]["tunnels"].clone();
        ensure!(tunnels.as_array().is_none_or(Vec::is_empty), "{tunnels:#}");
        Ok(())
    });
}
