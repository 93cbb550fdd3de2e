//! Wi-Fi that NetworkManager runs, over the air: a real NetworkManager with its wpa_supplicant, and
//! hostapds with an EAP server of their own.
//!
//! ```text
//!   near (Town, 802.1X, channel 1)  )))
//!   next (Town, 802.1X, channel 6)  )))  phone [NetworkManager, wpa_supplicant -u, dbus-daemon]
//!                                               driven by homeward_supplicant::Station
//! ```

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_model::{EapMethod, Rssi, Secret};
use homeward_net::{NetworkManager, PrivateBus};
use homeward_radio::security::{Login, Security};
use homeward_radio::{AccessPoint, ApConfig, Gateway, Lab, Scenario};
use homeward_supplicant::{
    Authority, By, Choice, Event, Medium, Network, Place, Settings, Station, StationEvents, manager,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

const SOON: Duration = Duration::from_secs(60);
const SSID: &str = "Town";
/// Where the test's own files are, and where the logs.
const FOLDER: &str = "/run/lab/managed";
const OUT: &str = "/out";

/// The files of an EAP server that knows one user; returns the authority's certificate.
fn server(folder: &Path) -> Result<String> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "Authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate()?;
    let params = CertificateParams::new(vec!["aaa.example.net".to_owned()])?;
    fs::write(folder.join("server.pem"), params.signed_by(&key, &issuer)?.pem())?;
    fs::write(folder.join("server.key"), key.serialize_pem())?;
    fs::write(folder.join("ca.pem"), &ca)?;
    let users = "* PEAP\n\"u7@example.net\" MSCHAPV2 \"a password\" [2]\n";
    fs::write(folder.join("users"), users)?;
    Ok(ca)
}

async fn access_point(lab: &Lab, name: &str, channel: u8) -> Result<(Gateway, AccessPoint)> {
    let gateway = lab.gateway(name).await?;
    let nobody = Login {
        method: "PEAP",
        phase2: "auth=MSCHAPV2",
        identity: String::new(),
        password: String::new(),
        ca: String::new(),
    };
    let at = |file: &str| format!("{FOLDER}/{file}");
    let config = ApConfig::new(SSID)
        .security(Security::Enterprise(nobody))
        .channel(channel)
        .line("eap_server=1")
        .line(&format!("eap_user_file={}", at("users")))
        .line(&format!("ca_cert={}", at("ca.pem")))
        .line(&format!("server_cert={}", at("server.pem")))
        .line(&format!("private_key={}", at("server.key")));
    let ap = gateway.access_point(&config).await?;
    Ok((gateway, ap))
}

/// Reads events up to the first that `last` knows.
async fn until(events: &mut StationEvents, last: impl Fn(&Event) -> bool) -> Result<Event> {
    let mut seen = Vec::new();
    loop {
        let next = tokio::time::timeout(SOON, events.next()).await;
        let event = next.with_context(|| format!("no such event after {seen:?}"))??;
        if last(&event) {
            return Ok(event);
        }
        seen.push(event);
    }
}

#[test]
fn a_station_of_network_managers_hears_in_dbm_and_joins_by_the_access_point_that_is_meant() {
    Scenario::new().within(Duration::from_secs(400)).run(|lab| async move {
        let folder = Path::new(FOLDER);
        fs::create_dir_all(folder)?;
        let ca = server(folder)?;
        let (near, near_ap) = access_point(&lab, "near", 1).await?;
        let (next, next_ap) = access_point(&lab, "next", 6).await?;
        near.radio().set_signal(Rssi(-45))?;
        next.radio().set_signal(Rssi(-63))?;
        let phone = lab.station("phone")?;
        let (logs, place) = (Path::new(OUT), phone.namespace());
        let bus = PrivateBus::start(logs, place, folder).await?;
        let interface = phone.radio().interface();
        let _manager = NetworkManager::start(logs, place, &bus, folder, &[&interface]).await?;

        let station = Station::find(&Place {
            choice: Choice::Auto,
            control: Settings::default(),
            manager: manager::Settings {
                bus: Some(bus.address()),
                interface: interface.parse()?,
                run_dir: folder.join("run"),
                metric: 32_000,
                patience: SOON,
            },
        })
        .await?;
        assert_eq!(station.by(), By::NetworkManager);
        // Whatever address it scans by.
        assert_eq!(station.status().await?.address, Some(phone.mac()));
        let mut events = station.events().await?;

        let both = [(&near_ap, -45), (&next_ap, -63)];
        let mut heard = Vec::new();
        for frequencies in [&[][..], &[2412, 2437], &[2412, 2437], &[2412, 2437]] {
            // One that NetworkManager has begun will do as well.
            station.scan(frequencies).await?;
            until(&mut events, |e| *e == Event::ScanResults).await?;
            heard = station.heard().await?;
            if heard.len() == both.len() {
                break;
            }
        }
        for (ap, dbm) in both {
            let bss = heard.iter().find(|bss| bss.bssid == ap.bssid());
            let bss = bss.with_context(|| format!("{} is not in {heard:?}", ap.bssid().full()))?;
            ensure!(bss.ssid == Some(SSID.parse()?) && bss.enterprise, "{bss:?}");
            ensure!((bss.signal.0 - dbm).abs() <= 2, "{dbm}: {bss:?}");
        }

        let network = Network {
            medium: Medium::Wireless(SSID.parse()?),
            eap: EapMethod::Peap,
            identity: "u7@example.net".parse()?,
            anonymous: Some("anonymous@example.net".parse()?),
            password: Secret::new("a password"),
            authority: Authority::Pem(ca),
            server_name: "aaa.example.net".to_owned(),
            priority: 1,
        };
        let id = station.add(&network).await?;
        let (near, next) = (near_ap.bssid(), next_ap.bssid());
        // The weaker one, where the stronger is to be kept away from; then the stronger.
        for (best, avoid, dbm) in [(next, &[near][..], -63), (near, &[next], -45)] {
            station.join(id, best, avoid).await?;
            let seen = until(&mut events, |e| matches!(e, Event::Connected { .. })).await?;
            let expected = Event::Connected { bssid: Some(best), id: None };
            ensure!(seen == expected, "{seen:?}, not {expected:?}");
            let status = station.status().await?;
            ensure!(status.ours && status.bssid == Some(best), "{status:?}");
            ensure!(status.address == Some(phone.mac()), "{status:?}");
            let own = homeward_net::namespace::mac_of(phone.namespace(), &interface)?;
            ensure!(own == phone.mac(), "it uses {}", own.full());
            let signal = station.signal().await?.context("no signal")?;
            ensure!((signal.last.0 - dbm).abs() <= 2, "{dbm}: {signal:?}");
            station.leave([id]).await?;
            until(&mut events, |e| matches!(e, Event::Disconnected { .. })).await?;
        }
        Ok(())
    });
}
