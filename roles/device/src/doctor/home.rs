//! What the tunnel home needs: the control channel, an interface of its own, room on the port, and
//! whoever knows where the device is.

use std::net::UdpSocket;
use std::path::Path;

use homeward_channel::doctor::Who;
use homeward_daemon::doctor::Findings;
use homeward_daemon::{Request, control};
use homeward_linux::Links;
use homeward_supplicant::By;
use tokio::net::TcpStream;

use super::PATIENCE;
use crate::config::{Config, Home};

/// How this end of the control channel is called.
const WHO: Who = Who {
    role: "device",
    key: "home.core",
    enrol: "have the operator run `homeward admin gateway create NAME --device-of ACCOUNT/SSID` and `homeward admin gateway enrol NAME`, and name the token's file as home.token_file",
};

pub(super) async fn examine(config: &Config, by: Option<By>, found: &mut Findings) {
    let Some(home) = &config.home else { return };
    homeward_channel::doctor::examine(&home.channel(), &WHO, found).await;
    // What the device that runs has is its own.
    let runs = control::ask(&config.control.socket, &Request::new("status")).await;
    if runs.is_ok_and(|status| status["home"].is_object()) {
        found.ok("the device that runs has a tunnel home: `homeward device status` shows it");
    } else {
        tap(Path::new("/dev/net/tun"), found);
        interface(&home.interface, found);
        port(home, found);
    }
    station(home, by, found);
    if let Some(gpsd) = &home.coverage.gpsd {
        position(gpsd, found).await;
    }
}

fn tap(path: &Path, found: &mut Findings) {
    match std::fs::OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => found.ok("interfaces of our own can be made"),
        Err(error) => found.fail(
            format!("no interface of our own can be made: {}: {error}", path.display()),
            "load the module (`modprobe tun`), and let the service have the device",
        ),
    }
}

fn interface(name: &str, found: &mut Findings) {
    match Links::open().and_then(|mut links| links.by_name(name)) {
        Ok(None) => found.ok(format!("the name {name} is free for the tunnel home")),
        Ok(Some(_)) => found.fail(
            format!("there is an interface {name} (home.interface) already"),
            format!("set home.interface to another name, or delete it: `ip link delete {name}`"),
        ),
        Err(error) => found.fail(
            format!("interfaces cannot be looked up: {:#}", anyhow::Error::from(error)),
            "do what the error says",
        ),
    }
}

fn port(home: &Home, found: &mut Findings) {
    for address in &home.listen {
        match UdpSocket::bind(address) {
            Ok(_) => found.ok(format!("UDP {address} is free for the tunnel home")),
            Err(error) => found.fail(
                format!("UDP {address} (home.listen) cannot be had: {error}"),
                format!(
                    "stop who has it (`ss -lunp sport = :{}` names them), or set home.listen to another port",
                    address.port()
                ),
            ),
        }
    }
}

/// Whether the station may be on the home network at all.
fn station(home: &Home, by: Option<By>, found: &mut Findings) {
    match (home.ssid, by) {
        (Some(ssid), _) => found.ok(format!("the station is left alone while it is on {ssid}")),
        (None, Some(By::NetworkManager)) => found.warn(
            "the home network is not named: while the station is on it, the tunnel goes by cellular",
            "set home.ssid to its name",
        ),
        (None, _) => found.warn(
            "the home network is not named: the station is made to leave it",
            "set home.ssid to its name, if wpa_supplicant joins it of its own configuration",
        ),
    }
}

async fn position(gpsd: &str, found: &mut Findings) {
    let why = match tokio::time::timeout(PATIENCE, TcpStream::connect(gpsd)).await {
        Ok(Ok(_)) => return found.ok(format!("gpsd {gpsd} takes connections")),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    found.warn(
        format!("gpsd {gpsd} (home.coverage.gpsd): {why}; coverage is foreseen without a position"),
        "start gpsd, or have it listen there (`gpsd -G` for other hosts)",
    );
}

#[cfg(test)]
mod tests {
    use homeward_daemon::doctor::{Finding, Severity};

    use super::*;

    fn the_one(look: impl FnOnce(&mut Findings)) -> (Severity, String) {
        let mut found = Findings::default();
        look(&mut found);
        let findings = found.into_vec();
        let [Finding { severity, what, repair }] = &findings[..] else { panic!("{findings:?}") };
        (*severity, format!("{what} -> {}", repair.as_deref().unwrap_or_default()))
    }

    fn home(text: &str) -> Home {
        let text = format!(
            "[portal]\nurl = \"https://portal.example.net/\"\n\
             [check]\nurl = \"http://check.example.net/\"\n\
             [home]\ncore = [\"core.example.net:7700\"]\n{text}"
        );
        let parsed =
            homeward_daemon::config::parse::<Config>("device.toml".as_ref(), &text, |_| Ok(()));
        parsed.unwrap_or_else(|error| panic!("{error}")).home.unwrap()
    }

    #[test]
    fn what_stands_against_the_tunnel_is_named_with_what_to_do() {
        let fails = |(severity, text): (Severity, String), part: &str| {
            assert!(severity == Severity::Fail && text.contains(part), "{severity:?} {text}");
        };
        fails(the_one(|found| interface("lo", found)), "`ip link delete lo`");
        assert_eq!(the_one(|found| interface("hw-none", found)).0, Severity::Ok);
        fails(the_one(|found| tap(Path::new("/nowhere/tun"), found)), "`modprobe tun`");
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let home = home(&format!("listen = [\"{address}\"]\n"));
        fails(the_one(|found| port(&home, found)), "ss -lunp sport");
        drop(taken);
        assert_eq!(the_one(|found| port(&home, found)).0, Severity::Ok);
    }

    #[test]
    fn a_home_network_that_is_not_named_is_warned_of() {
        let named = home("ssid = \"Elm 17\"\n");
        for by in [None, Some(By::NetworkManager), Some(By::WpaSupplicant)] {
            let (severity, text) = the_one(|found| station(&home(""), by, found));
            assert!(severity == Severity::Warn && text.contains("home.ssid"), "{text}");
            assert_eq!(the_one(|found| station(&named, by, found)).0, Severity::Ok);
        }
    }
}
