//! A configuration that is read again: what of it takes effect at once, and what with a restart.
//!
//! At once: what roamers may use (`[roam]` but its bridge), the firewall's uplinks, the owner's
//! line, where other gateways are told to send, and how long the gateway goes on alone. With a
//! restart: what names interfaces, sockets, files and servers, for roamers hang on those.

use std::fmt::Debug;

use homeward_channel::ChannelConfig;

use crate::config::{Config, Home, Radio, Roam, Tunnel};

/// What of a new configuration takes effect at once, the rest as it was.
pub(crate) fn applicable(old: &Config, new: &Config) -> Config {
    Config {
        roam: Roam { bridge: old.roam.bridge.clone(), ..new.roam.clone() },
        owner: new.owner.clone(),
        tunnel: Tunnel {
            advertise: new.tunnel.advertise.clone(),
            offline: new.tunnel.offline,
            ..old.tunnel.clone()
        },
        ..old.clone()
    }
}

/// The keys that differ and take effect with a restart only. A field that is new in the
/// configuration does not compile until it is said here which kind it is.
pub(crate) fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut found = Vec::new();
    let Config {
        name,
        radio,
        core,
        roam,
        home,
        proxy,
        channel,
        tunnel,
        owner: _,
        accounting,
        disconnect,
        control,
        metrics,
        log,
    } = new;
    let Radio { hostapd, interface, monitor, vap_prefix, run_directory } = radio;
    let Roam {
        bridge,
        uplinks: _,
        max_vaps: _,
        max_devices: _,
        min_signal: _,
        lookups_per_second: _,
        lookup_burst: _,
        memory: _,
        max_prepared: _,
        refresh: _,
        stale: _,
        forget: _,
        negative: _,
        unreachable: _,
        idle: _,
    } = roam;
    let Home { psk_file, bridge: home_bridge } = home;
    let ChannelConfig { core: controllers, directory, token_file, keepalive, keepalive_timeout } =
        channel;
    let Tunnel {
        listen,
        advertise: _,
        dscp,
        keepalive: tunnel_keepalive,
        stun_interval,
        nat_keepalive,
        hold,
        offline: _,
    } = tunnel;
    let mut compare = |key, differs: bool| {
        if differs {
            found.push(key);
        }
    };
    compare("name", differ(&old.name, name));
    compare("radio.hostapd", differ(&old.radio.hostapd, hostapd));
    compare("radio.interface", differ(&old.radio.interface, interface));
    compare("radio.monitor", differ(&old.radio.monitor, monitor));
    compare("radio.vap_prefix", differ(&old.radio.vap_prefix, vap_prefix));
    compare("radio.run_directory", differ(&old.radio.run_directory, run_directory));
    compare("core", differ(&old.core, core));
    compare("roam.bridge", differ(&old.roam.bridge, bridge));
    compare("home.psk_file", differ(&old.home.psk_file, psk_file));
    compare("home.bridge", differ(&old.home.bridge, home_bridge));
    compare("proxy", differ(&old.proxy, proxy));
    compare("channel.core", differ(&old.channel.core, controllers));
    compare("channel.directory", differ(&old.channel.directory, directory));
    compare("channel.token_file", differ(&old.channel.token_file, token_file));
    compare("channel.keepalive", differ(&old.channel.keepalive, keepalive));
    compare("channel.keepalive_timeout", differ(&old.channel.keepalive_timeout, keepalive_timeout));
    compare("tunnel.listen", differ(&old.tunnel.listen, listen));
    compare("tunnel.dscp", differ(&old.tunnel.dscp, dscp));
    compare("tunnel.keepalive", differ(&old.tunnel.keepalive, tunnel_keepalive));
    compare("tunnel.stun_interval", differ(&old.tunnel.stun_interval, stun_interval));
    compare("tunnel.nat_keepalive", differ(&old.tunnel.nat_keepalive, nat_keepalive));
    compare("tunnel.hold", differ(&old.tunnel.hold, hold));
    compare("accounting", differ(&old.accounting, accounting));
    compare("disconnect", differ(&old.disconnect, disconnect));
    compare("control", differ(&old.control, control));
    compare("metrics", differ(&old.metrics, metrics));
    compare("log", differ(&old.log, log));
    found
}

/// Whether two values are told apart by what they print: none of these hides anything.
pub(crate) fn differ<T: Debug>(old: &T, new: &T) -> bool {
    format!("{old:?}") != format!("{new:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#"
        name = "gw-17"
        [radio]
        hostapd = "/run/hostapd/global"
        interface = "wlan0"
        monitor = "hwmon0"
        vap_prefix = "vap"
        run_directory = "/run/a"
        [[core]]
        address = "127.0.0.1:1812"
        secret = { file = "/etc/homeward/core.secret" }
        [channel]
        core = ["core.example:4719"]
        directory = "/var/a"
        token_file = "/etc/a"
        keepalive = "10s"
        keepalive_timeout = "5s"
        [tunnel]
        listen = ["[::]:1701"]
        advertise = ["192.0.2.1:1701"]
        dscp = 1
        keepalive = "25s"
        stun_interval = "31s"
        nat_keepalive = "24s"
        hold = "3s"
        offline = "4h"
        [roam]
        bridge = "br-roam"
        uplinks = ["eth0"]
        max_vaps = 8
        max_prepared = 4
        [home]
        psk_file = "/var/psk"
        bridge = "br-lan"
        [owner]
        uplink = "eth0"
        up = "50M"
        roamers_up = "10M"
        [disconnect]
        listen = "127.0.0.1:3799"
        [control]
        socket = "/run/a.sock"
        [metrics]
        listen = "127.0.0.1:9465"
        [log]
        filter = "info"
    "#;

    fn config(text: &str) -> Config {
        let path = std::path::Path::new("gateway.toml");
        homeward_daemon::config::parse(path, text, Config::check).unwrap()
    }

    #[test]
    fn what_needs_a_restart_is_said_key_by_key() {
        for (from, to, key) in [
            ("gw-17", "gw-18", "name"),
            ("/run/hostapd/global", "/run/hostapd/other", "radio.hostapd"),
            ("wlan0", "wlan1", "radio.interface"),
            ("hwmon0", "hwmon1", "radio.monitor"),
            ("\"vap\"", "\"hwv\"", "radio.vap_prefix"),
            ("/run/a\"", "/run/b\"", "radio.run_directory"),
            ("127.0.0.1:1812", "127.0.0.1:1822", "core"),
            ("core.secret", "core.secrets", "core"),
            ("br-roam", "br-roamers", "roam.bridge"),
            ("/var/psk", "/var/psk2", "home.psk_file"),
            ("br-lan", "br-home", "home.bridge"),
            ("core.example:4719", "core2.example:4719", "channel.core"),
            ("/var/a", "/var/b", "channel.directory"),
            ("/etc/a", "/etc/b", "channel.token_file"),
            ("keepalive = \"10s\"", "keepalive = \"11s\"", "channel.keepalive"),
            ("\"5s\"", "\"6s\"", "channel.keepalive_timeout"),
            ("[::]:1701", "[::]:1702", "tunnel.listen"),
            ("dscp = 1", "dscp = 8", "tunnel.dscp"),
            ("\"25s\"", "\"26s\"", "tunnel.keepalive"),
            ("\"31s\"", "\"32s\"", "tunnel.stun_interval"),
            ("\"24s\"", "\"23s\"", "tunnel.nat_keepalive"),
            ("\"3s\"", "\"2s\"", "tunnel.hold"),
            ("127.0.0.1:3799", "127.0.0.1:3798", "disconnect"),
            ("/run/a.sock", "/run/b.sock", "control"),
            ("127.0.0.1:9465", "127.0.0.1:9466", "metrics"),
            ("\"info\"", "\"debug\"", "log"),
        ] {
            let (old, new) = (config(BASE), config(&BASE.replace(from, to)));
            assert_eq!(needs_restart(&old, &new), [key], "{from} -> {to}");
            let applied = applicable(&old, &new);
            assert!(!differ(&applied, &old), "{key} is as it was");
        }
    }

    #[test]
    fn what_does_not_is_applied() {
        for (from, to) in [
            ("uplinks = [\"eth0\"]", "uplinks = [\"eth1\"]"),
            ("max_vaps = 8", "max_vaps = 4"),
            ("max_prepared = 4", "max_prepared = 2"),
            ("192.0.2.1:1701", "192.0.2.2:1701"),
            ("\"4h\"", "\"5h\""),
            ("up = \"50M\"", "up = \"40M\""),
            ("roamers_up = \"10M\"", "roamers_up = \"9M\""),
            ("uplink = \"eth0\"", "uplink = \"eth9\""),
        ] {
            let (old, new) = (config(BASE), config(&BASE.replace(from, to)));
            assert_eq!(needs_restart(&old, &new), [""; 0], "{from} -> {to}");
            assert!(differ(&old, &new), "{from} is there");
            assert!(!differ(&applicable(&old, &new), &new), "{to} takes effect");
        }
    }
}
