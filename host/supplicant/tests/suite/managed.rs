//! The station by a real NetworkManager and the wpa_supplicant that it runs, which a real hostapd
//! asks who it is.
//!
//! ```text
//!   [test: Station] ── [dbus-daemon] ── [wpa_supplicant -u]
//!                            │
//!                    [NetworkManager] sta ══ veth ══ port [hostapd driver=wired, its own EAP server]
//!     namespace "device"                               namespace "switch"
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_model::{EapMethod, Mac, Secret};
use homeward_net::wait::wait_for;
use homeward_net::{Capture, Lab, NetworkManager, PrivateBus, lab};
use homeward_supplicant::{
    Authority, By, CertificateFault, Choice, Event, Medium, Network, NetworkId, Place, Settings,
    State, Station, StationEvents, SupplicantError, manager,
};
use zbus::{Connection, OwnedObjectPath, OwnedVariant, Variant, connection::Builder};

use crate::world::{Certificate, LIMIT, Switch, certificates, until};

/// The metric that our routes are to have.
const METRIC: u32 = 32_000;
const NAME: &str = "org.freedesktop.NetworkManager";

/// Both ends of the wire.
struct Wire {
    switch: Switch,
    bus: PrivateBus,
    manager: NetworkManager,
}

impl Wire {
    async fn build(lab: &Lab, certificate: Certificate) -> Result<Self> {
        let switch = Switch::start(lab, certificate).await?;
        let bus = PrivateBus::start(lab.folder(), &switch.device, switch.dir.path()).await?;
        let folder = switch.dir.path().to_owned();
        let manager =
            NetworkManager::start(lab.folder(), &switch.device, &bus, &folder, &["sta"]).await?;
        Ok(Self { switch, bus, manager })
    }

    fn place(&self, choice: Choice) -> Place {
        let at = |name: &str| self.switch.dir.path().join(name);
        Place {
            choice,
            control: Settings {
                socket: at("wpa/sta"),
                run_dir: at("run"),
                patience: Duration::from_secs(2),
                keep: None,
            },
            manager: manager::Settings {
                bus: Some(self.bus.address()),
                interface: "sta".parse().unwrap(),
                run_dir: at("run"),
                metric: METRIC,
                patience: LIMIT,
            },
        }
    }

    async fn station(&self) -> Result<Station> {
        let station = Station::find(&self.place(Choice::Auto)).await?;
        assert_eq!(station.by(), By::NetworkManager);
        Ok(station)
    }

    async fn connect(&self) -> Result<Connection> {
        Ok(Builder::address(self.bus.address().as_str()).build().await?)
    }

    /// All that NetworkManager has written, with its text.
    fn files(&self) -> Result<Vec<(PathBuf, String)>> {
        let pid = self.manager.process.pid().context("NetworkManager does not run")?;
        let mut found = Vec::new();
        for folder in ["run/NetworkManager", "var/lib/NetworkManager", "etc/NetworkManager"] {
            // What it sees there is in a mount namespace of its own.
            texts(&Path::new(&format!("/proc/{pid}/root")).join(folder), &mut found);
        }
        texts(&self.switch.dir.path().join("profiles"), &mut found);
        Ok(found)
    }
}

fn texts(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => texts(&entry.path(), found),
            _ => found.push((
                entry.path(),
                String::from_utf8_lossy(&fs::read(entry.path()).unwrap_or_default()).into_owned(),
            )),
        }
    }
}

/// On a wire there is no access point.
const NONE: Mac = Mac::new([0; 6]);

async fn join(station: &Station, id: NetworkId) -> Result<()> {
    Ok(station.join(id, NONE, &[]).await?)
}

#[test]
fn a_device_is_logged_on_by_each_method_and_tells_as_much_as_by_the_control_socket() {
    lab(|lab| async move {
        let wire = Wire::build(&lab, Certificate::Good).await?;
        let station = wire.station().await?;
        let mut events = station.events().await?;
        let heard = Capture::start(&wire.switch.place, "port")?;
        let before = station.status().await?;
        ensure!(before.state < State::Associated && before.id.is_none(), "{before:?}");
        for (eap, number) in
            [(EapMethod::Peap, 25), (EapMethod::TtlsPap, 21), (EapMethod::TtlsMschapv2, 21)]
        {
            let id = station.add(&Network { eap, ..wire.switch.network() }).await?;
            join(&station, id).await?;
            let seen = until(&mut events, |e| matches!(e, Event::Connected { .. })).await?;
            let begun = seen.iter().position(|e| *e == Event::EapStarted);
            let method = seen.iter().position(|e| *e == Event::EapMethod { method: number });
            let succeeded = seen.iter().position(|e| *e == Event::EapSucceeded);
            ensure!(begun.is_some() && begun < method && method < succeeded, "{eap}: {seen:?}");
            let status = station.status().await?;
            ensure!(status.state == State::Completed && status.authorized, "{status:?}");
            ensure!(status.id == Some(id) && status.ours && status.address.is_some(), "{status:?}");
            assert_eq!(station.signal().await?, None);
            station.leave([id]).await?;
            until(&mut events, |e| matches!(e, Event::Disconnected { ours: true, .. })).await?;
            // It is on none: that is no fault.
            station.leave([id]).await?;
            assert!(station.remove(id).await?);
            assert!(!station.remove(id).await?);
        }
        // What was told in the clear is the anonymous name.
        let told = |name: &str| heard.count(|frame| frame.contains(name.as_bytes()));
        assert_eq!((told("anonymous@example.net"), told("u7@example.net")), (3, 0));
        Ok(())
    });
}

#[test]
fn a_password_is_on_no_disk_and_gone_with_its_network() {
    lab(|lab| async move {
        let wire = Wire::build(&lab, Certificate::Good).await?;
        let station = wire.station().await?;
        let mut network = wire.switch.network();
        network.password = Secret::new("correct-horse");
        let id = station.add(&network).await?;
        let holding = || -> Result<Vec<PathBuf>> {
            let all = wire.files()?.into_iter();
            let octets = b"correct-horse".map(|octet| octet.to_string()).join(";");
            let has = |text: &str| text.contains("correct-horse") || text.contains(&octets);
            Ok(all.filter(|(_, text)| has(text)).map(|(path, _)| path).collect())
        };
        let files = holding()?;
        let volatile = |path: &PathBuf| path.to_string_lossy().contains("/run/NetworkManager/");
        ensure!(files.iter().all(volatile), "{files:?}");
        assert_eq!(files.len(), 1, "where is it then?");
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&files[0])?);
        assert_eq!(mode & 0o077, 0, "others may read it");
        station.remove(id).await?;
        assert_eq!(holding()?, Vec::<PathBuf>::new());
        let left: Vec<_> = fs::read_dir(wire.switch.dir.path().join("run"))?.collect();
        assert!(left.is_empty(), "certificates are left behind: {left:?}");
        Ok(())
    });
}

#[test]
fn a_wrong_password_is_told_and_the_right_one_helps() {
    lab(|lab| async move {
        let mut wire = Wire::build(&lab, Certificate::Good).await?;
        let station = wire.station().await?;
        let mut events = station.events().await?;
        let wrong = Network { password: Secret::new("wrong"), ..wire.switch.network() };
        let id = station.add(&wrong).await?;
        join(&station, id).await?;
        let seen = until(&mut events, |e| *e == Event::EapFailed).await?;
        assert!(!seen.iter().any(|e| matches!(e, Event::BadCertificate { .. })), "{seen:?}");
        station.leave([id]).await?;
        station.remove(id).await?;
        // hostapd throws out whom it refused a little later, and whoever asked meanwhile.
        wire.switch.hostapd.says("EAP: Server state machine removed", LIMIT).await?;
        let id = station.add(&wire.switch.network()).await?;
        join(&station, id).await?;
        until(&mut events, |e| matches!(e, Event::Connected { .. })).await?;
        Ok(())
    });
}

/// Lets a server be met that is not as expected; returns what is wrong with its certificate.
async fn fault(
    lab: &Lab,
    certificate: Certificate,
    change: impl FnOnce(&mut Network),
) -> Result<CertificateFault> {
    let wire = Wire::build(lab, certificate).await?;
    let station = wire.station().await?;
    let mut events = station.events().await?;
    let mut network = wire.switch.network();
    change(&mut network);
    let id = station.add(&network).await?;
    join(&station, id).await?;
    let seen = until(&mut events, |e| *e == Event::EapFailed).await?;
    assert!(!station.status().await?.authorized);
    let log = wire.switch.hostapd.log();
    ensure!(!log.contains("u7@example.net"), "the server learned a name");
    let fault = seen.iter().find_map(|event| match event {
        Event::BadCertificate { fault, .. } => Some(*fault),
        _ => None,
    });
    fault.with_context(|| format!("{seen:?}"))
}

#[test]
fn a_server_of_another_authority_is_told_nothing() {
    lab(|lab| async move {
        let other = tempfile::tempdir()?;
        let ca = certificates(&other, "Another", Certificate::Good)?;
        let found = fault(&lab, Certificate::Good, |n| n.authority = Authority::Pem(ca)).await?;
        assert_eq!(found, CertificateFault::Untrusted);
        Ok(())
    });
}

#[test]
fn a_server_of_none_of_the_machines_authorities_is_told_nothing() {
    lab(|lab| async move {
        let other = tempfile::tempdir()?;
        certificates(&other, "Another", Certificate::Good)?;
        let file = other.path().join("ca.pem");
        let found = fault(&lab, Certificate::Good, |n| n.authority = Authority::File(file)).await?;
        assert_eq!(found, CertificateFault::Untrusted);
        Ok(())
    });
}

#[test]
fn a_server_of_another_name_is_told_nothing() {
    lab(|lab| async move {
        let name = "ple.net".to_owned();
        let found = fault(&lab, Certificate::Good, |n| n.server_name = name).await?;
        assert_eq!(found, CertificateFault::Name);
        Ok(())
    });
}

#[test]
fn a_certificate_out_of_its_time_is_told_from_a_foreign_one() {
    lab(|lab| async move {
        let found = fault(&lab, Certificate::Expired, |_| {}).await?;
        assert_eq!(found, CertificateFault::Expired);
        Ok(())
    });
}

#[test]
fn a_clock_that_is_slow_shows_in_the_certificate() {
    lab(|lab| async move {
        let found = fault(&lab, Certificate::Early, |_| {}).await?;
        assert_eq!(found, CertificateFault::NotYetValid);
        Ok(())
    });
}

#[test]
fn of_several_authorities_in_one_text_any_will_do() {
    lab(|lab| async move {
        let wire = Wire::build(&lab, Certificate::Good).await?;
        let other = tempfile::tempdir()?;
        let another = certificates(&other, "Another", Certificate::Good)?;
        let station = wire.station().await?;
        let mut events = station.events().await?;
        let both = Authority::Pem(format!("{another}\n{}", wire.switch.ca));
        let id = station.add(&Network { authority: both, ..wire.switch.network() }).await?;
        join(&station, id).await?;
        until(&mut events, |e| matches!(e, Event::Connected { .. })).await?;
        Ok(())
    });
}

#[test]
fn a_default_route_that_is_there_stays_the_better_one() {
    lab(|lab| async move {
        let wire = Wire::build(&lab, Certificate::Good).await?;
        let device = &wire.switch.device;
        let mast = lab.namespace("mast")?;
        device.join("cell", &mast, "radio")?;
        device.ip(
            "addr add 10.60.0.2/24 dev cell\nroute add default via 10.60.0.1 dev cell metric 20700",
        )?;
        wire.switch.place.ip("addr add 10.9.9.1/24 dev port")?;
        let mut dnsmasq = lab.process(
            "dnsmasq",
            &wire.switch.place,
            &[
                "dnsmasq",
                "--no-daemon",
                "--conf-file=/dev/null",
                "--port=0",
                "--user=root",
                "--interface=port",
                "--bind-interfaces",
                "--leasefile-ro",
                "--log-dhcp",
                "--dhcp-range=10.9.9.10,10.9.9.20,1h",
                "--pid-file=",
            ],
        )?;
        let station = wire.station().await?;
        let id = station.add(&wire.switch.network()).await?;
        join(&station, id).await?;
        dnsmasq.says("DHCPACK", LIMIT).await?;
        let routes = || device.run_tool("ip", &["-4", "route", "show", "default"]);
        let both = wait_for("a default route by the lease", LIMIT, async || {
            Ok(Some(routes()?).filter(|routes| routes.contains("dev sta")))
        })
        .await?;
        ensure!(both.contains(&format!("metric {METRIC}")), "{both}");
        let best = device.run_tool("ip", &["route", "get", "192.0.2.1"])?;
        ensure!(best.contains("dev cell"), "{best}");
        Ok(())
    });
}

#[test]
fn a_network_that_is_used_by_one_access_point_alone_keeps_all_else() {
    lab(|lab| async move {
        let wire = Wire::build(&lab, Certificate::Good).await?;
        let station = wire.station().await?;
        let mut events = station.events().await?;
        let [best, bad] = [1, 2].map(|n| Mac::new([2, 0, 0, 0, n, 0]));
        let medium = Medium::Wireless("Town".parse()?);
        let id = station.add(&Network { medium, ..wire.switch.network() }).await?;
        let connection = wire.connect().await?;
        let path = format!("/org/freedesktop/NetworkManager/Settings/{id}");
        let kind = "org.freedesktop.NetworkManager.Settings.Connection";
        let tied = async || -> Result<Option<Vec<u8>>> {
            let mut all: BTreeMap<String, BTreeMap<String, OwnedVariant>> =
                call(&connection, &path, kind, "GetSettings", &()).await?;
            let bssid = all.get_mut("802-11-wireless").and_then(|all| all.remove("bssid"));
            Ok(bssid.map(Vec::try_from).transpose()?)
        };
        // There is no radio here: what is asked of one is refused, and the profile is as it shall.
        for (avoid, expected) in
            [(&[][..], None), (&[bad], Some(best)), (&[], None), (&[best], None)]
        {
            let error = station.join(id, best, avoid).await.unwrap_err();
            ensure!(!error.is_gone(), "{error}");
            assert_eq!(tied().await?, expected.map(|mac| mac.octets().to_vec()), "{avoid:?}");
        }
        // A profile that was changed has its password still.
        let id = station.add(&wire.switch.network()).await?;
        station.join(id, best, &[bad]).await?;
        until(&mut events, |e| matches!(e, Event::Connected { .. })).await?;
        Ok(())
    });
}

#[test]
fn a_network_that_somebody_made_trust_any_server_is_not_used() {
    lab(|lab| async move {
        let wire = Wire::build(&lab, Certificate::Good).await?;
        let station = wire.station().await?;
        let id = station.add(&wire.switch.network()).await?;
        let connection = wire.connect().await?;
        let path = format!("/org/freedesktop/NetworkManager/Settings/{id}");
        let kind = "org.freedesktop.NetworkManager.Settings.Connection";
        let mut all: BTreeMap<String, BTreeMap<String, OwnedVariant>> =
            call(&connection, &path, kind, "GetSettings", &()).await?;
        all.get_mut("802-1x").context("no 802.1X")?.remove("ca-cert");
        let body = (all, 2u32, BTreeMap::<&str, Variant<'_>>::new());
        let _: BTreeMap<String, OwnedVariant> =
            call(&connection, &path, kind, "Update2", &body).await?;
        let error = join(&station, id).await.unwrap_err();
        ensure!(error.to_string().contains("does not keep the authority"), "{error}");
        assert_eq!(station.status().await?.id, None);
        Ok(())
    });
}

#[test]
fn ours_are_known_again_and_nobody_elses_are_touched() {
    lab(|lab| async move {
        let wire = Wire::build(&lab, Certificate::Good).await?;
        let station = wire.station().await?;
        let foreign = foreign(&wire, "sta").await?;
        let ours = [
            station.add(&wire.switch.network()).await?,
            station.add(&wire.switch.network()).await?,
        ];
        let again = wire.station().await?;
        let mut found = again.own_networks().await?;
        found.sort();
        assert_eq!(found, ours);
        // What somebody has NetworkManager use is not ours to leave.
        let connection = wire.connect().await?;
        let device: OwnedObjectPath = call(
            &connection,
            "/org/freedesktop/NetworkManager",
            NAME,
            "GetDeviceByIpIface",
            &"sta",
        )
        .await?;
        let any = OwnedObjectPath::try_from("/")?;
        let body = (foreign.clone(), device, any);
        let active: OwnedObjectPath =
            call(&connection, "/org/freedesktop/NetworkManager", NAME, "ActivateConnection", &body)
                .await?;
        let used = async || -> Result<Option<()>> {
            let status = again.status().await?;
            Ok((status.id.is_some() && !status.ours).then_some(()))
        };
        wait_for("another's connection", LIMIT, used).await?;
        again.leave(ours).await?;
        ensure!(used().await?.is_some(), "{active:?} was ended");
        for id in ours {
            assert!(again.remove(id).await?);
        }
        assert_eq!(again.own_networks().await?, []);
        Ok(())
    });
}

async fn call<B, T>(
    connection: &Connection,
    path: &str,
    interface: &str,
    method: &str,
    body: &B,
) -> Result<T>
where
    B: serde::Serialize + zbus::wire::Type,
    T: for<'a> serde::Deserialize<'a> + zbus::wire::Type,
{
    let reply = connection.call_method(Some(NAME), path, Some(interface), method, body).await?;
    Ok(reply.body().deserialize()?)
}

/// Somebody else's profile for an interface, without 802.1X and with an address of its own.
async fn foreign(wire: &Wire, interface: &str) -> Result<OwnedObjectPath> {
    let connection = wire.connect().await?;
    let text = |value: &str| Variant::from(value.to_owned());
    let settings = BTreeMap::from([
        (
            "connection",
            BTreeMap::from([
                ("id", text("home")),
                ("type", text("802-3-ethernet")),
                ("interface-name", text(interface)),
                ("autoconnect", Variant::from(false)),
            ]),
        ),
        ("ipv4", BTreeMap::from([("method", text("link-local"))])),
        ("ipv6", BTreeMap::from([("method", text("disabled"))])),
    ]);
    let none = BTreeMap::<&str, Variant<'_>>::new();
    let (path, _): (OwnedObjectPath, BTreeMap<String, OwnedVariant>) = call(
        &connection,
        "/org/freedesktop/NetworkManager/Settings",
        "org.freedesktop.NetworkManager.Settings",
        "AddConnection2",
        &(settings, 2u32, none),
    )
    .await?;
    Ok(path)
}

#[test]
fn an_interface_that_is_not_managed_is_the_supplicants() {
    lab(|lab| async move {
        let mut wire = Wire::build(&lab, Certificate::Good).await?;
        let station = wire.station().await?;
        let mut events = station.events().await?;
        let connection = wire.connect().await?;
        let device: OwnedObjectPath = call(
            &connection,
            "/org/freedesktop/NetworkManager",
            NAME,
            "GetDeviceByIpIface",
            &"sta",
        )
        .await?;
        let manage = async |whether: bool| {
            let kind = "org.freedesktop.NetworkManager.Device";
            let body = (kind, "Managed", Variant::from(whether));
            let properties = "org.freedesktop.DBus.Properties";
            connection.call_method(Some(NAME), &device, Some(properties), "Set", &body).await
        };
        manage(false).await?;
        until(&mut events, |e| *e == Event::Terminating).await?;
        assert!(events.check(LIMIT).await.unwrap_err().is_gone());
        assert!(station.status().await.unwrap_err().is_gone());
        let found = Station::find(&wire.place(Choice::Auto)).await?;
        assert_eq!(found.by(), By::WpaSupplicant);
        let error = Station::find(&wire.place(Choice::NetworkManager)).await.unwrap_err();
        ensure!(matches!(error, SupplicantError::Unmanaged { .. }), "{error}");
        manage(true).await?;
        wire.station().await?;
        // Whoever chose the supplicant gets it, and no other.
        let found = Station::find(&wire.place(Choice::WpaSupplicant)).await?;
        assert_eq!(found.by(), By::WpaSupplicant);
        assert!(found.status().await.unwrap_err().is_gone());

        // Another supplicant than the one known here: said, rather than guessed around.
        wire.manager.supplicant.kill();
        let other = async || match Station::find(&wire.place(Choice::Auto)).await {
            Err(SupplicantError::OtherSupplicant { .. }) => Ok(Some(())),
            found => Ok(found.map(|_| None)?),
        };
        wait_for("no supplicant on the bus", LIMIT, other).await?;

        wire.manager.process.kill();
        let away = async || Ok(Station::find(&wire.place(Choice::NetworkManager)).await.err());
        let error = wait_for("no NetworkManager", LIMIT, away).await?;
        ensure!(matches!(error, SupplicantError::Away { .. }), "{error}");
        let found = Station::find(&wire.place(Choice::Auto)).await?;
        assert_eq!(found.by(), By::WpaSupplicant);
        let mut elsewhere = wire.place(Choice::NetworkManager);
        elsewhere.manager.bus = Some("unix:path=/nonexistent/bus".to_owned());
        let error = Station::find(&elsewhere).await.unwrap_err();
        ensure!(matches!(error, SupplicantError::NoBus(_)), "{error}");
        Ok(())
    });
}

#[test]
fn a_manager_that_ends_is_gone() {
    lab(|lab| async move {
        let mut wire = Wire::build(&lab, Certificate::Good).await?;
        let station = wire.station().await?;
        let mut events: StationEvents = station.events().await?;
        station.add(&wire.switch.network()).await?;
        wire.manager.process.kill();
        until(&mut events, |e| *e == Event::Terminating).await?;
        assert!(station.status().await.unwrap_err().is_gone());
        assert!(events.check(LIMIT).await.unwrap_err().is_gone());
        Ok(())
    });
}

#[test]
fn nobody_else_can_say_what_the_supplicant_would() {
    lab(|lab| async move {
        let wire = Wire::build(&lab, Certificate::Good).await?;
        let station = wire.station().await?;
        let mut events = station.events().await?;
        let id = station.add(&wire.switch.network()).await?;
        join(&station, id).await?;
        until(&mut events, |e| matches!(e, Event::Connected { .. })).await?;
        let liar = wire.connect().await?;
        let device: OwnedObjectPath =
            call(&liar, "/org/freedesktop/NetworkManager", NAME, "GetDeviceByIpIface", &"sta")
                .await?;
        let daemon = "org.freedesktop.DBus";
        let names = async || -> Result<Vec<String>> {
            let path = "/org/freedesktop/DBus";
            let reply = liar.call_method(Some(daemon), path, Some(daemon), "ListNames", &()).await;
            Ok(reply?.body().deserialize()?)
        };
        // To everybody, which the bus lets through to nobody who did not ask; and to each, which it
        // does not look at.
        let each: Vec<_> =
            names().await?.into_iter().filter(|name| name.starts_with(':')).collect();
        ensure!(each.len() > 3, "{each:?}");
        for to in each.iter().map(|name| Some(name.as_str())).chain([None]) {
            let supplicant = "/fi/w1/wpa_supplicant1";
            let interface = "fi.w1.wpa_supplicant1.Interface";
            for n in 0..4 {
                let path = format!("{supplicant}/Interfaces/{n}");
                let body = ("completion", "failure");
                liar.emit_signal(to, path.as_str(), interface, "EAP", &body).await?;
                let gone = OwnedObjectPath::try_from(path)?;
                let root = "fi.w1.wpa_supplicant1";
                liar.emit_signal(to, supplicant, root, "InterfaceRemoved", &gone).await?;
            }
            // NM_DEVICE_STATE_UNMANAGED, from NM_DEVICE_STATE_ACTIVATED, as somebody wished.
            let kind = "org.freedesktop.NetworkManager.Device";
            let body = (10u32, 100u32, 39u32);
            liar.emit_signal(to, &device, kind, "StateChanged", &body).await?;
            let body = (NAME, ":1.1", "");
            liar.emit_signal(to, "/org/freedesktop/DBus", daemon, "NameOwnerChanged", &body)
                .await?;
        }
        // The bus has passed them all on when it answers this.
        names().await?;
        station.leave([id]).await?;
        let seen = until(&mut events, |e| matches!(e, Event::Disconnected { .. })).await?;
        ensure!(seen.len() == 1, "{seen:?}");
        Ok(())
    });
}
