//! A log-in that ends while its gateway, or the core, is away: the station is put out once both are
//! there.
//!
//! ```text
//!   a hostapd that is a script ◄──control socket── homeward gateway ◄──channel── homeward core
//! ```

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use homeward_daemon::SystemClock;
use homeward_model::Clock;

use crate::core::Core;
use crate::logins::Made;
use crate::uplink::{self, Elm};

const STATION: &str = "02:00:5e:20:00:07";

/// A hostapd with one access point of 802.1X, and a station on it until it is put out.
struct Hostapd(Arc<Mutex<Vec<String>>>);

impl Hostapd {
    /// Let in by that name.
    fn with(path: &Path, name: &'static str) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heard);
        std::thread::spawn(move || {
            let (mut room, mut there) = ([0; 8192], true);
            loop {
                let (length, from) = socket.recv_from(&mut room).unwrap();
                let said = String::from_utf8_lossy(&room[..length]).into_owned();
                let command = said.strip_prefix("IFNAME=nosuch0 ").unwrap_or(&said);
                let station = format!(
                    "{STATION}\nflags=[AUTH][ASSOC][AUTHORIZED]\nAKMSuiteSelector=00-0f-ac-1\n\
                     dot1xAuthSessionUserName={name}\n"
                );
                let answer = match command {
                    "STATUS" => "state=ENABLED\nphy=phy0\nfreq=2412\nchannel=1\nbss[0]=nosuch0\n\
                                 bssid[0]=02:00:5e:10:00:01\nssid[0]=Elm\nnum_sta[0]=1\n"
                        .to_owned(),
                    "PING" => "PONG\n".to_owned(),
                    "STA-FIRST" if there => station,
                    "STA-FIRST" => String::new(),
                    of if of.starts_with("STA-NEXT") => String::new(),
                    of if of.starts_with("STA ") && there => station,
                    of if of.starts_with("STA ") => "FAIL\n".to_owned(),
                    of => {
                        there &= !of.starts_with("DEAUTHENTICATE");
                        "OK\n".to_owned()
                    }
                };
                log.lock().unwrap().push(command.to_owned());
                // Who asked may have gone.
                let _ = socket.send_to(answer.as_bytes(), from.as_pathname().unwrap());
            }
        });
        Self(heard)
    }

    /// How often it was asked who is there.
    fn listed(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|said| *said == "STA-FIRST").count()
    }

    /// Whom it was told to put out.
    fn put_out(&self) -> Vec<String> {
        let heard = self.0.lock().unwrap();
        let out = heard.iter().filter_map(|said| said.strip_prefix("DEAUTHENTICATE "));
        out.map(str::to_owned).collect()
    }
}

/// A core, a gateway that is in step with it, and the one station's log-in.
fn world() -> (Core, Elm, String, Hostapd, Made) {
    let (mut core, radsec, controller) = uplink::core();
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    let config = Elm::config(&core, radsec, controller, &core.file("elm"));
    Elm::enrolled(&core, &config);
    let hostapd = Hostapd::with(Path::new(&core.file("hostapd")), phone.name);
    let elm = Elm::start(&mut core, config.clone());
    soon("kept=1 ended=0", || core.said());
    (core, elm, config, hostapd, phone)
}

/// Asks until the answer contains `text`: a gateway comes back when it next tries.
fn soon(text: &str, ask: impl Fn() -> String) {
    let began = SystemClock.now();
    let mut seen = String::new();
    while !seen.contains(text) {
        seen += &ask();
        let taken = SystemClock.now().since(began);
        assert!(taken < Duration::from_secs(60), "no {text:?} within a minute, but {seen}");
    }
}

fn is_put_out(hostapd: &Hostapd) {
    soon(STATION, || hostapd.put_out().join(" "));
    assert_eq!(hostapd.put_out(), [STATION], "once");
}

#[test]
fn a_log_in_that_is_suspended_while_no_core_runs_is_put_out_when_one_does() {
    let (mut core, _elm, _, hostapd, phone) = world();
    core.is_killed();
    core.admin(&["login", "suspend", phone.name]);
    let listed = hostapd.listed();
    assert_eq!(hostapd.put_out(), [""; 0]);
    core.comes_back_behind();
    is_put_out(&hostapd);
    assert!(hostapd.listed() > listed);
}

#[test]
fn a_log_in_that_is_deleted_while_its_gateway_is_away_is_put_out_when_that_is_back() {
    let (mut core, elm, config, hostapd, phone) = world();
    drop(elm);
    soon("gateway lost", || core.said());
    core.admin(&["login", "delete", phone.name]);
    soon("outcome=\"held\"} 1", || core.status("metrics"));
    assert_eq!(hostapd.put_out(), [""; 0]);
    let _elm = Elm::start(&mut core, config);
    is_put_out(&hostapd);
}

#[test]
fn a_log_in_that_is_deleted_is_put_out_also_where_the_gateway_is_back_before_its_hostapd() {
    let (mut core, elm, config, _, phone) = world();
    drop(elm);
    let socket = core.file("hostapd");
    std::fs::remove_file(&socket).unwrap();
    soon("gateway lost", || core.said());
    core.admin(&["login", "delete", phone.name]);
    soon("outcome=\"held\"} 1", || core.status("metrics"));
    let _elm = Elm::start(&mut core, config);
    soon("outcome=\"by-channel\"} 1", || core.status("metrics"));
    is_put_out(&Hostapd::with(Path::new(&socket), phone.name));
}

#[test]
fn a_log_in_that_goes_on_is_put_out_by_what_changes_after_the_core_began_anew() {
    let (mut core, _elm, _, hostapd, phone) = world();
    core.is_killed();
    core.comes_back_behind();
    soon("kept=1 ended=0", || core.said());
    assert_eq!(hostapd.put_out(), [""; 0]);
    core.admin(&["login", "suspend", phone.name]);
    is_put_out(&hostapd);
}
