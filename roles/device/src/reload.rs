//! A configuration that is read again: what of it takes effect at once, and what with a restart.
//!
//! At once: whom to ask for credentials over a bearer, how Wi-Fi is checked, and who is told. With a restart:
//! what names interfaces, sockets, files and routing tables, for sessions hang on those, and whom to
//! ask by short message.

use std::fmt::Debug;

use crate::config::{Config, Modem, Portal, State, Steer, Wlan};

/// What of a new configuration takes effect at once, the rest as it was.
pub(crate) fn applicable(old: &Config, new: &Config) -> Config {
    Config {
        portal: Portal { sms: old.portal.sms.clone(), ..new.portal.clone() },
        check: new.check.clone(),
        notify: new.notify.clone(),
        ..old.clone()
    }
}

/// The keys that differ and take effect with a restart only. A field that is new in the
/// configuration does not compile until it is said here which kind it is.
pub(crate) fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut found = Vec::new();
    let Config {
        portal,
        wlan,
        modem,
        check: _,
        steer,
        state,
        limits,
        notify: _,
        handoff,
        home,
        control,
        metrics,
        log,
    } = new;
    let Portal { url: _, addresses: _, ca: _, timeout: _, sms } = portal;
    let Wlan { interface, by, supplicant, bus: wlan_bus, metric, run_directory, ca } = wlan;
    let Modem { imsi, imei, interface: bearer, bus } = modem;
    let Steer { enabled, priority, table } = steer;
    let State { directory, key_file } = state;
    let mut compare = |key, differs: bool| {
        if differs {
            found.push(key);
        }
    };
    compare("portal.sms", old.portal.sms != *sms);
    compare("wlan.interface", differ(&old.wlan.interface, interface));
    compare("wlan.by", old.wlan.by != *by);
    compare("wlan.bus", old.wlan.bus != *wlan_bus);
    compare("wlan.metric", old.wlan.metric != *metric);
    compare("wlan.supplicant", differ(&old.wlan.supplicant, supplicant));
    compare("wlan.run_directory", differ(&old.wlan.run_directory, run_directory));
    compare("wlan.ca", differ(&old.wlan.ca, ca));
    compare("modem.imsi", old.modem.imsi != *imsi);
    compare("modem.imei", old.modem.imei != *imei);
    compare("modem.interface", differ(&old.modem.interface, bearer));
    compare("modem.bus", differ(&old.modem.bus, bus));
    compare("steer.enabled", old.steer.enabled != *enabled);
    compare("steer.priority", old.steer.priority != *priority);
    compare("steer.table", old.steer.table != *table);
    compare("state.directory", differ(&old.state.directory, directory));
    compare("state.key_file", differ(&old.state.key_file, key_file));
    compare("limits", differ(&old.limits, limits));
    compare("handoff", differ(&old.handoff, handoff));
    compare("home", differ(&old.home, home));
    compare("control", differ(&old.control, control));
    compare("metrics", differ(&old.metrics, metrics));
    compare("log", differ(&old.log, log));
    found
}

/// Whether two values are told apart by what they print: none of these hides anything.
fn differ<T: Debug>(old: &T, new: &T) -> bool {
    format!("{old:?}") != format!("{new:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeward_daemon::config;

    const BASE: &str = r#"
        [portal]
        url = "https://portal.example.net/offload/v1/credentials"
        [check]
        url = "http://check.example.net/generate_204"
        [wlan]
        interface = "wlan0"
        [modem]
        imsi = "999700123456789"
        interface = "wwan0"
        [steer]
        table = 20000
        [limits]
        penalty = "60s"
        [notify]
        command = ["/bin/true"]
        [metrics]
        listen = "127.0.0.1:9466"
        [handoff]
        name = "d1@example.net"
        root_file = "/etc/homeward/device.root"
    "#;

    fn parse(text: &str) -> Config {
        config::parse("device.toml".as_ref(), text, Config::check).unwrap()
    }

    #[test]
    fn whom_to_ask_by_message_waits_for_a_restart() {
        let managed = BASE.replace("imsi = \"999700123456789\"", "");
        let old = parse(&managed);
        let with = "[portal]\nsms.number = \"4444\"\nsms.per_day = 3\n";
        let new = parse(&managed.replace("[portal]", with));
        assert_eq!(needs_restart(&old, &new), ["portal.sms"]);
        assert_eq!(applicable(&old, &new).portal.sms, old.portal.sms);
    }

    #[test]
    fn each_key_that_waits_for_a_restart_is_named_and_the_others_are_taken() {
        let old = parse(BASE);
        assert!(needs_restart(&old, &old).is_empty());
        for (from, to, key) in [
            ("wlan0", "wlan1", "wlan.interface"),
            ("999700123456789", "999700123456780", "modem.imsi"),
            ("wwan0", "wwan1", "modem.interface"),
            ("20000", "20001", "steer.table"),
            ("60s", "61s", "limits"),
            ("127.0.0.1:9466", "127.0.0.1:9467", "metrics"),
            ("device.root", "another.root", "handoff"),
        ] {
            let new = parse(&BASE.replace(from, to));
            assert_eq!(needs_restart(&old, &new), [key]);
            let taken = applicable(&old, &new);
            assert!(needs_restart(&old, &taken).is_empty(), "{key} was taken");
        }
        for (from, to) in [
            ("portal.example.net", "portal.example.org"),
            ("check.example.net", "check.example.org"),
            ("/bin/true", "/bin/false"),
        ] {
            let new = parse(&BASE.replace(from, to));
            assert!(needs_restart(&old, &new).is_empty(), "{from}");
            let taken = applicable(&old, &new);
            assert!(!differ(&taken, &new), "{from} was not taken");
        }
    }
}
