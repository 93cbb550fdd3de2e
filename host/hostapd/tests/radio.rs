//! What a radio tells a scripted hostapd, in which order, and what it never tells it.
#![expect(unreachable_pub, dead_code, reason = "the scripted peer serves several tests")]
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod scripted;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use homeward_hostapd::{
    BssConfig, BssError, ControlError, HomeKeys, InterfaceName, Radio, RadioError, Settings,
    VapDevice,
};
use homeward_model::{DeviceKey, Mac, Psk, Security};
use scripted::{Heard, Place};

const A: Mac = Mac::new([2, 0, 0, 0, 2, 0]);
const B: Mac = Mac::new([2, 0, 0, 0, 3, 0]);

/// A scripted hostapd with one radio, and a client of it.
struct Lab {
    place: Place,
    radio: Radio,
    heard: Heard,
    script: Arc<Mutex<Script>>,
}

/// What the scripted hostapd answers.
struct Script {
    state: &'static str,
    /// BSSs by interface and BSSID.
    bss: Vec<(String, String)>,
    /// The station that every BSS has, and its AKM suite.
    station: Option<(Mac, &'static str)>,
    /// How far it has come, and by what name.
    flags: &'static str,
    user: &'static str,
    /// Commands that are refused, by how they begin.
    refused: Vec<&'static str>,
    /// Commands that are never answered.
    silent: Vec<&'static str>,
    /// The files that the last ADD named, as they were then.
    conf: String,
    accept: String,
}

impl Script {
    fn answer(&mut self, line: &str) -> Option<String> {
        let command = line.split_once(' ').filter(|(first, _)| first.starts_with("IFNAME="));
        let command = command.map_or(line, |(_, rest)| rest);
        if self.silent.iter().any(|s| command.starts_with(s)) {
            return None;
        }
        if self.refused.iter().any(|s| command.starts_with(s)) {
            return Some("FAIL\n".into());
        }
        if let Some(path) = command.strip_prefix("ADD bss_config=phy0:") {
            self.conf = std::fs::read_to_string(path).unwrap();
            for path in [Path::new(path), Path::new(path).parent().unwrap()] {
                let mode = std::fs::metadata(path).unwrap().permissions().mode();
                assert_eq!(mode & 0o077, 0, "others may not read {path:?}");
            }
            self.accept = std::fs::read_to_string(self.conf_value("accept_mac_file")).unwrap();
            let entry = (self.conf_value("interface"), self.conf_value("bssid"));
            self.bss.push(entry);
        }
        Some(match command.split(' ').next().unwrap() {
            "STATUS" => {
                let mut reply = format!("state={}\nphy=phy0\nfreq=2412\nchannel=1\n", self.state);
                for (i, (name, bssid)) in self.bss.iter().enumerate() {
                    reply += &format!(
                        "bss[{i}]={name}\nbssid[{i}]={bssid}\nssid[{i}]=x\nnum_sta[{i}]=0\n"
                    );
                }
                reply
            }
            "STA-FIRST" => self.station.map_or(String::new(), |(mac, akm)| {
                format!(
                    "{}\nflags={}\nAKMSuiteSelector={akm}\ndot1xAuthSessionUserName={}\n",
                    mac.full(),
                    self.flags,
                    self.user,
                )
            }),
            "STA-NEXT" => String::new(),
            "STA" => match self.station {
                Some((mac, akm)) if command.ends_with(&mac.full().to_string()) => {
                    format!("{}\nflags=[AUTH][ASSOC]\nAKMSuiteSelector={akm}\n", mac.full())
                }
                _ => "FAIL\n".into(),
            },
            "PING" => "PONG\n".into(),
            _ => "OK\n".into(),
        })
    }

    fn conf_value(&self, key: &str) -> String {
        let prefix = format!("{key}=");
        self.conf.lines().find_map(|l| l.strip_prefix(&prefix)).unwrap().to_owned()
    }
}

fn lab() -> Lab {
    let place = Place::new();
    let script = Arc::new(Mutex::new(Script {
        state: "ENABLED",
        bss: vec![("wlan0".into(), "02:00:00:00:00:00".into())],
        station: None,
        flags: "[AUTH][ASSOC][AUTHORIZED]",
        user: "",
        refused: Vec::new(),
        silent: Vec::new(),
        conf: String::new(),
        accept: String::new(),
    }));
    let rule = script.clone();
    let (heard, _) = place.peer().serve(move |line| rule.lock().unwrap().answer(line));
    let settings = Settings {
        socket: place.socket(),
        run_dir: place.run_dir(),
        change_timeout: Duration::from_millis(200),
        ..Settings::default()
    };
    Lab { radio: Radio::open(settings).unwrap(), place, heard, script }
}

impl Lab {
    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// The commands that change something, since the last call.
    fn changes(&self) -> Vec<String> {
        let mut commands = self.heard.take();
        commands.retain(|c| !["STATUS", "STA", "PING"].iter().any(|q| c.contains(q)));
        commands
    }

    /// Keys left in the run directory; sockets aside.
    fn files(&self) -> Vec<String> {
        self.place.left().into_iter().filter(|name| !name.starts_with("ctl.")).collect()
    }
}

fn name(text: &str) -> InterfaceName {
    text.parse().unwrap()
}

fn config(interface: &str, security: Security) -> BssConfig {
    BssConfig::new(name(interface), "Home".parse().unwrap(), security)
}

fn device(mac: Mac, passphrase: &str) -> VapDevice {
    let psk = Psk::new([passphrase.len() as u8; 32]);
    VapDevice { mac, key: DeviceKey::Passphrase { passphrase: passphrase.parse().unwrap(), psk } }
}

#[tokio::test]
async fn a_bss_is_added_from_private_files_of_which_only_the_keys_stay() {
    let lab = lab();
    let devices = [device(A, "password-a")];
    let bssid = lab.radio.add_bss(&config("hw0", Security::Wpa2Psk), &devices).await.unwrap();
    assert_eq!(bssid, Mac::new([6, 0, 0, 0, 0, 0]));
    assert_eq!(lab.changes().len(), 1);
    assert_eq!(lab.script().conf_value("bssid"), "06:00:00:00:00:00");
    assert!(lab.script().accept.ends_with("\n02:00:00:00:02:00\n"));
    assert_eq!(lab.files(), ["hw0.psk"]);
    // The next one takes the next address.
    let bssid = lab.radio.add_bss(&config("hw1", Security::Wpa3Sae), &[]).await.unwrap();
    assert_eq!(bssid, Mac::new([10, 0, 0, 0, 0, 0]));
    assert_eq!(lab.files(), ["hw0.psk"]);
    assert_eq!(lab.radio.forget().await, [name("hw0"), name("hw1")]);
    assert!(lab.files().is_empty());
}

#[tokio::test]
async fn what_cannot_be_added_is_not_tried() {
    let lab = lab();
    let psk = Security::Wpa2Psk;
    let taken = BssConfig { bssid: Some(Mac::new([2, 0, 0, 0, 0, 0])), ..config("hw0", psk) };
    lab.radio.add_bss(&config("hw9", psk), &[]).await.unwrap();
    lab.changes();
    for (config, expected) in [
        (config("eth0", psk), "eth0 is not ours"),
        (config("wlan0", psk), "wlan0 is not ours"),
        (config("hw9", psk), "hw9 exists"),
        (taken, "BSSID 02:00:00:**:**:** is taken"),
        (config("hw0", Security::Enterprise), "802.1x needs"),
    ] {
        let error = lab.radio.add_bss(&config, &[]).await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    lab.script().state = "COUNTRY_UPDATE";
    let early = lab.radio.add_bss(&config("hw0", psk), &[]).await;
    assert!(matches!(early, Err(RadioError::NotReady { .. })), "{early:?}");
    assert!(lab.changes().is_empty());
    assert_eq!(lab.files(), ["hw9.psk"]);
}

#[tokio::test]
async fn a_failed_add_leaves_nothing_behind() {
    let lab = lab();
    let (config, devices) = (config("hw0", Security::Wpa2Wpa3), [device(A, "password-a")]);
    lab.script().refused = vec!["ADD"];
    let refused = lab.radio.add_bss(&config, &devices).await.unwrap_err();
    assert_eq!(refused.to_string(), "ADD was refused (FAIL): see the daemon's log");
    lab.script().refused.clear();
    lab.script().silent = vec!["ADD"];
    let late = lab.radio.add_bss(&config, &devices).await;
    assert!(matches!(late, Err(RadioError::Control(ControlError::Timeout { .. }))), "{late:?}");
    assert!(lab.files().is_empty());
    // The late BSS came up after all: it is nobody's.
    lab.script().bss.push(("hw0".into(), "06:00:00:00:00:00".into()));
    assert_eq!(lab.radio.orphans().await.unwrap(), [name("hw0")]);
    let unknown = lab.radio.set_devices(&name("hw0"), &devices).await;
    assert!(matches!(unknown, Err(RadioError::Unknown { .. })));
}

#[tokio::test]
async fn only_ours_is_removed_and_never_the_first() {
    let lab = lab();
    for other in ["wlan0", "eth0"] {
        let refused = lab.radio.remove_bss(&name(other)).await;
        assert!(matches!(refused, Err(RadioError::NotOurs { .. })), "{refused:?}");
    }
    assert!(lab.heard.take().is_empty());
    // A BSS with our prefix that is the radio's first would take all others along.
    lab.script().bss = ["hw0", "hw1"].map(|n| (n.into(), "02:00:00:00:00:00".into())).into();
    let first = lab.radio.remove_bss(&name("hw0")).await;
    assert!(matches!(first, Err(RadioError::NotOurs { .. })), "{first:?}");
    assert_eq!(lab.radio.orphans().await.unwrap(), [name("hw1")]);
    // What is not there is removed.
    lab.radio.remove_bss(&name("hw2")).await.unwrap();
    assert!(lab.changes().is_empty());
    lab.radio.remove_bss(&name("hw1")).await.unwrap();
    assert_eq!(lab.changes(), ["REMOVE hw1"]);
}

#[tokio::test]
async fn keys_of_a_killed_agent_go_with_its_bss() {
    let lab = lab();
    for file in ["hw0.psk", "hw1.psk", "hw1.conf", "hw1.other", "eth0.psk"] {
        std::fs::write(lab.place.run_dir().join(file), "").unwrap();
    }
    lab.script().bss.push(("hw0".into(), "06:00:00:00:00:00".into()));
    assert_eq!(lab.radio.orphans().await.unwrap(), [name("hw0")]);
    assert_eq!(lab.files(), ["eth0.psk", "hw0.psk", "hw1.other"]);
    lab.radio.remove_bss(&name("hw0")).await.unwrap();
    assert_eq!(lab.files(), ["eth0.psk", "hw1.other"]);
}

#[tokio::test]
async fn a_bss_that_hostapd_lost_is_told_once_and_forgotten() {
    let lab = lab();
    for interface in ["hw0", "hw1"] {
        lab.radio.add_bss(&config(interface, Security::Wpa2Psk), &[]).await.unwrap();
    }
    assert!(lab.radio.vanished().await.unwrap().is_empty());
    lab.script().bss.remove(1);
    assert_eq!(lab.radio.vanished().await.unwrap(), [name("hw0")]);
    assert!(lab.radio.vanished().await.unwrap().is_empty());
    assert_eq!(lab.files(), ["hw1.psk"]);
}

#[tokio::test]
async fn a_prefix_must_tell_ours_from_the_owners() {
    let place = Place::new();
    for prefix in ["", "wl", "wlan0", "a b", "sixteen-letters-"] {
        let settings =
            Settings { prefix: prefix.into(), run_dir: place.run_dir(), ..Settings::default() };
        let refused = Radio::open(settings);
        assert!(matches!(refused, Err(RadioError::Prefix { .. })), "{prefix:?}");
    }
}

#[tokio::test]
async fn devices_go_out_before_keys_change_and_come_in_after() {
    let lab = lab();
    let vap = name("hw0");
    lab.radio.add_bss(&config("hw0", Security::Wpa2Psk), &[device(A, "password-a")]).await.unwrap();
    lab.changes();
    lab.radio.set_devices(&vap, &[device(B, "password-b")]).await.unwrap();
    assert_eq!(
        lab.changes(),
        [
            "IFNAME=hw0 ACCEPT_ACL DEL_MAC 02:00:00:00:02:00",
            "IFNAME=hw0 RELOAD_WPA_PSK",
            "IFNAME=hw0 ACCEPT_ACL ADD_MAC 02:00:00:00:03:00",
        ]
    );
    let keys = std::fs::read_to_string(lab.place.run_dir().join("hw0.psk")).unwrap();
    assert!(keys.contains("02:00:00:00:03:00") && !keys.contains("02:00:00:00:02:00"));
    // Nothing new, nothing said.
    lab.radio.set_devices(&vap, &[device(B, "password-b")]).await.unwrap();
    assert!(lab.heard.take().is_empty());
    // A changed key needs no list.
    lab.radio.set_devices(&vap, &[device(B, "password-b2")]).await.unwrap();
    assert_eq!(lab.changes(), ["IFNAME=hw0 RELOAD_WPA_PSK"]);
}

#[tokio::test]
async fn an_interrupted_change_is_completed_by_repeating_it() {
    let lab = lab();
    let vap = name("hw0");
    lab.radio.add_bss(&config("hw0", Security::Wpa2Psk), &[device(A, "password-a")]).await.unwrap();
    lab.changes();
    lab.script().refused = vec!["RELOAD_WPA_PSK"];
    assert!(lab.radio.set_devices(&vap, &[]).await.is_err());
    assert_eq!(lab.changes()[0], "IFNAME=hw0 ACCEPT_ACL DEL_MAC 02:00:00:00:02:00");
    lab.script().refused.clear();
    lab.radio.set_devices(&vap, &[]).await.unwrap();
    assert_eq!(lab.changes(), ["IFNAME=hw0 RELOAD_WPA_PSK"]);
}

#[tokio::test]
async fn sae_passwords_are_only_ever_added_and_never_empty() {
    let lab = lab();
    let vap = name("hw0");
    let (a, b) = (device(A, "password-a"), device(B, "password-b"));
    lab.radio.add_bss(&config("hw0", Security::Wpa3Sae), std::slice::from_ref(&a)).await.unwrap();
    lab.changes();
    lab.radio.set_devices(&vap, &[a.clone(), b.clone()]).await.unwrap();
    assert_eq!(
        lab.changes(),
        [
            "IFNAME=hw0 SET sae_password password-b|mac=02:00:00:00:03:00",
            "IFNAME=hw0 ACCEPT_ACL ADD_MAC 02:00:00:00:03:00",
        ]
    );
    lab.radio.set_devices(&vap, std::slice::from_ref(&a)).await.unwrap();
    assert_eq!(
        lab.changes(),
        ["IFNAME=hw0 ACCEPT_ACL DEL_MAC 02:00:00:00:03:00", "IFNAME=hw0 PMKSA_FLUSH"]
    );
    // Back with the password that hostapd still has.
    lab.radio.set_devices(&vap, &[a, b]).await.unwrap();
    assert_eq!(lab.changes(), ["IFNAME=hw0 ACCEPT_ACL ADD_MAC 02:00:00:00:03:00"]);
    // A new one goes in front, the cache goes, and the device has to prove it.
    lab.radio
        .set_devices(&vap, &[device(A, "password-new"), device(B, "password-b")])
        .await
        .unwrap();
    assert_eq!(
        lab.changes(),
        [
            "IFNAME=hw0 SET sae_password password-new|mac=02:00:00:00:02:00",
            "IFNAME=hw0 PMKSA_FLUSH",
            "IFNAME=hw0 DEAUTHENTICATE 02:00:00:00:02:00",
        ]
    );
    let raw = VapDevice { mac: A, key: DeviceKey::Psk(Psk::new([1; 32])) };
    let refused = lab.radio.set_devices(&vap, &[raw]).await;
    assert!(matches!(refused, Err(RadioError::Bss(BssError::NoPassphrase(_)))));
    assert!(lab.changes().is_empty());
}

#[tokio::test]
async fn in_transition_mode_a_dropped_device_costs_the_sae_stations_nothing() {
    let lab = lab();
    let vap = name("hw0");
    let (a, b) = (device(A, "password-a"), device(B, "password-b"));
    lab.radio.add_bss(&config("hw0", Security::Wpa2Wpa3), &[a.clone(), b.clone()]).await.unwrap();
    lab.changes();
    lab.script().station = Some((A, "00-0f-ac-8"));
    lab.radio.set_devices(&vap, std::slice::from_ref(&a)).await.unwrap();
    assert!(!lab.changes().iter().any(|c| c.contains("RELOAD")));
    // What is owed is done once nobody pays for it.
    lab.script().station = Some((A, "00-0f-ac-2"));
    lab.radio.set_devices(&vap, std::slice::from_ref(&a)).await.unwrap();
    assert_eq!(lab.changes(), ["IFNAME=hw0 RELOAD_WPA_PSK"]);
}

#[tokio::test]
async fn home_keys_are_loaded_unless_that_would_hurt_the_owner() {
    let lab = lab();
    let file = lab.place.run_dir().join("home.psk");
    let devices = [device(A, "password-a")];
    std::fs::write(&file, "00:00:00:00:00:00 the household's own\n").unwrap();
    let foreign = lab.radio.home_devices(&file, &devices).await;
    assert!(matches!(foreign, Err(RadioError::ForeignFile(_))), "{foreign:?}");
    assert!(lab.heard.take().is_empty());

    std::fs::write(&file, "\n").unwrap();
    lab.script().station = Some((B, "00-0f-ac-8"));
    let deferred = lab.radio.home_devices(&file, &devices).await.unwrap();
    assert_eq!(deferred, HomeKeys::Deferred { stations: 1 });
    assert!(lab.changes().is_empty());
    lab.script().station = Some((B, "00-0f-ac-2"));
    let loaded = lab.radio.home_devices(&file, &devices).await.unwrap();
    assert_eq!(loaded, HomeKeys::Loaded);
    assert_eq!(lab.changes(), ["IFNAME=wlan0 RELOAD_WPA_PSK"]);
    let unchanged = lab.radio.home_devices(&file, &devices).await.unwrap();
    assert_eq!(unchanged, HomeKeys::Unchanged);
    assert!(lab.heard.take().is_empty());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn nobody_but_one_station_is_deauthenticated() {
    let lab = lab();
    lab.radio.deauthenticate(&name("hw0"), A).await.unwrap();
    lab.radio.deauthenticate(&name("wlan0"), A).await.unwrap();
    assert_eq!(
        lab.changes(),
        [
            "IFNAME=hw0 DEAUTHENTICATE 02:00:00:00:02:00",
            "IFNAME=wlan0 DEAUTHENTICATE 02:00:00:00:02:00",
        ]
    );
    assert!(lab.radio.deauthenticate(&name("hw0"), Mac::new([0xff; 6])).await.is_err());
    assert!(lab.radio.deauthenticate(&name("eth0"), A).await.is_err());
    assert!(lab.heard.take().is_empty());
}

#[tokio::test]
async fn a_station_whose_log_in_has_ended_is_put_out_where_a_log_in_let_it_in_and_no_key_of_it_stays()
 {
    let lab = lab();
    lab.radio.add_bss(&config("hw0", Security::Wpa2Psk), &[device(A, "password-a")]).await.unwrap();
    lab.script().bss.push(("wlan0-1".into(), "02:00:00:00:00:01".into()));
    lab.changes();
    lab.script().station = Some((A, "00-0f-ac-1"));
    assert_eq!(lab.radio.put_out(A).await.unwrap(), 2);
    let put_out = |name: &str| format!("IFNAME={name} DEAUTHENTICATE {}", A.full());
    let flushed = |name: &str| format!("IFNAME={name} PMKSA_FLUSH");
    assert_eq!(
        lab.changes(),
        // The key first: it would be back before the cache is empty.
        [flushed("wlan0"), put_out("wlan0"), flushed("wlan0-1"), put_out("wlan0-1")]
    );
    // Whoever came by a key of the household, or has gone, is no log-in's; but its key may be left.
    for (station, akm) in [(A, "00-0f-ac-2"), (A, "00-0f-ac-8"), (B, "00-0f-ac-1")] {
        lab.script().station = Some((station, akm));
        assert_eq!(lab.radio.put_out(A).await.unwrap(), 0, "{akm}");
        assert_eq!(lab.changes(), [flushed("wlan0"), flushed("wlan0-1")]);
    }
    // A BSS without such a cache.
    lab.script().station = Some((A, "00-0f-ac-5"));
    lab.script().refused = vec!["PMKSA_FLUSH"];
    assert_eq!(lab.radio.put_out(A).await.unwrap(), 2);
    let everybody = lab.radio.put_out(Mac::new([0xff; 6])).await.unwrap_err();
    assert!(matches!(everybody, RadioError::Bss(BssError::Device(_))), "{everybody:?}");
}

#[tokio::test]
async fn whom_log_ins_let_in_is_told_by_name_and_no_key_lets_anybody_back_in() {
    let lab = lab();
    lab.radio.add_bss(&config("hw0", Security::Wpa2Psk), &[device(A, "password-a")]).await.unwrap();
    lab.script().bss.push(("wlan0-1".into(), "02:00:00:00:00:01".into()));
    lab.changes();
    lab.script().station = Some((A, "00-0f-ac-1"));
    lab.script().user = "fred@example.net";
    let fred = ("fred@example.net".parse().unwrap(), A);
    let logins = lab.radio.logins().await.unwrap();
    assert_eq!(logins.into_iter().map(|(mac, name)| (name, mac)).collect::<Vec<_>>(), [fred]);
    let commands = lab.heard.take();
    let at = |wanted: &str| commands.iter().position(|c| c == wanted).unwrap();
    for bss in ["wlan0", "wlan0-1"] {
        let flushed = at(&format!("IFNAME={bss} PMKSA_FLUSH"));
        assert!(
            flushed < at(&format!("IFNAME={bss} STA-FIRST")),
            "before it is looked who is there"
        );
    }
    assert!(!commands.iter().any(|c| c.starts_with("IFNAME=hw0")), "no log-in lets in there");
    // By a key of the household; about to log in; by no name that is one.
    for (akm, flags, user) in [
        ("00-0f-ac-2", "[AUTH][ASSOC][AUTHORIZED]", "fred@example.net"),
        ("00-0f-ac-1", "[AUTH][ASSOC]", "fred@example.net"),
        ("00-0f-ac-1", "[AUTH][ASSOC][AUTHORIZED]", ""),
    ] {
        lab.script().station = Some((A, akm));
        (lab.script().flags, lab.script().user) = (flags, user);
        assert!(lab.radio.logins().await.unwrap().is_empty(), "{akm} {flags} {user}");
    }
    lab.script().refused = vec!["PMKSA_FLUSH"];
    assert!(lab.radio.logins().await.is_ok(), "a BSS without such a cache");
}
