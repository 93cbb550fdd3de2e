//! `[[handoff.tunnels]]`: the ePDGs of networks, and how the device's own charon reaches them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use homeward_charon::{Entry, Section};
use homeward_daemon::Period;
use homeward_model::Name;
use serde::Deserialize;

/// A tunnel to the ePDG of a network, which demands the key of the network before.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tunnel {
    /// Whose ePDG it is.
    pub network: Name,
    /// The server whose session's keys are brought.
    pub server: Name,
    /// The socket of the device's charon: `charon.plugins.vici.socket` of `strongswan.conf`, without
    /// `unix://`.
    pub vici: PathBuf,
    /// How long charon has for a command, and so for connecting.
    #[serde(default = "timeout")]
    pub timeout: Period,
    /// How often charon is asked whether it still knows what it was told.
    #[serde(default = "check")]
    pub check: Period,
    /// What the connection is called there; unset, `homeward`.
    #[serde(default = "name")]
    pub name: String,
    /// Whether the server's guard is called through it, by the routes that charon makes: it sees the address
    /// that the services see. Otherwise by the network itself, as its module is.
    #[serde(default = "yes")]
    pub through: bool,
    /// Whether it stays up when traffic goes by another network, where MOBIKE takes it. Otherwise it is
    /// ended then, before the hop: its address is the one that the mobile network has given.
    #[serde(default = "yes")]
    pub stays: bool,
    /// Which of its children is connected.
    pub child: String,
    /// The connection, as in `swanctl.conf`, but for the key and its name.
    pub connection: BTreeMap<String, Item>,
}

/// What a key of a connection stands for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Item {
    /// A value.
    One(Scalar),
    /// Several.
    Several(Vec<Scalar>),
    /// More keys.
    Section(BTreeMap<String, Self>),
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `yes` or `no`.
    Is(bool),
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

impl Scalar {
    fn text(&self) -> String {
        match self {
            Self::Is(true) => "yes".to_owned(),
            Self::Is(false) => "no".to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

const fn timeout() -> Period {
    Period(Duration::from_secs(10))
}

const fn check() -> Period {
    Period(Duration::from_secs(15))
}

const fn yes() -> bool {
    true
}

fn name() -> String {
    "homeward".to_owned()
}

fn section(of: &BTreeMap<String, Item>) -> Section {
    of.iter().fold(Section::default(), |all, (name, item)| match item {
        Item::One(value) => all.value(name, value.text()),
        Item::Several(values) => all.list(name, values.iter().map(Scalar::text)),
        Item::Section(inner) => all.with(name, Entry::Section(section(inner))),
    })
}

impl Tunnel {
    /// The connection, which brings the key of that name and nothing else.
    pub(crate) fn with_key(&self, id: &str) -> Section {
        section(&self.connection).value("ppk_id", id).value("ppk_required", "yes")
    }

    /// Checks what its types do not say; what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { vici, timeout, check, name, child, connection, .. } = self;
        if !vici.is_absolute() {
            return Err("vici: give the whole path, such as /run/charon.vici".to_owned());
        }
        for (key, Period(span)) in [("timeout", timeout), ("check", check)] {
            if !(100..=600_000).contains(&span.as_millis()) {
                return Err(format!("{key}: give 100ms to 10m"));
            }
        }
        if name.is_empty() || name.len() > 255 {
            return Err("name: give 1 to 255 characters".to_owned());
        }
        if let Some(own) = connection.keys().find(|key| key.starts_with("ppk_")) {
            return Err(format!("connection: leave {own} out; it is another with each hop"));
        }
        let children = connection.get("children");
        match children {
            Some(Item::Section(children)) if children.contains_key(child) => Ok(()),
            _ => Err(format!("child {child} is none of connection.children")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use homeward_daemon::config;

    const PLAIN: &str = r#"
[portal]
url = "https://portal.example.net/offload/v1/credentials"
[check]
url = "http://check.example.net/generate_204"
[handoff]
name = "d1@example.net"
root_file = "/etc/homeward/device.root"
[[handoff.networks]]
name = "town.example"
module = "m:7710"
ssids = ["Town"]
[[handoff.servers]]
name = "sip.example"
guard = "s:7710"
[[handoff.servers]]
name = "web.example"
guard = "w:7710"
"#;
    const TUNNEL: &str = r#"
[[handoff.tunnels]]
network = "town.example"
server = "sip.example"
vici = "/run/charon.vici"
child = "home"
[handoff.tunnels.connection]
version = 2
mobike = true
remote_addrs = ["192.0.2.1", "192.0.2.2"]
local = { auth = "eap-ttls", id = "d1@example.net" }
children = { home = { remote_ts = ["0.0.0.0/0"] } }
"#;

    fn read(text: &str) -> Result<Vec<Tunnel>, String> {
        let text = format!("{PLAIN}{text}");
        let parsed = config::parse("device.toml".as_ref(), &text, Config::check);
        parsed.map(|config| config.handoff.unwrap().tunnels).map_err(|error| error.to_string())
    }

    #[test]
    fn a_connection_is_what_the_file_says_and_the_key_of_the_hop() {
        let connection = read(TUNNEL).unwrap()[0].with_key("hop-2@s");
        for (name, value) in
            [("version", "2"), ("mobike", "yes"), ("ppk_id", "hop-2@s"), ("ppk_required", "yes")]
        {
            assert_eq!(connection.text(name), Some(value), "{name}");
        }
        let addresses: Vec<&str> = connection.texts("remote_addrs").collect();
        assert_eq!(addresses, ["192.0.2.1", "192.0.2.2"]);
        let within = |of: &Section, name: &str| match of.get(name) {
            Some(Entry::Section(inner)) => inner.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(within(&connection, "local").text("auth"), Some("eap-ttls"));
        let child = within(&within(&connection, "children"), "home");
        assert_eq!(child.texts("remote_ts").collect::<Vec<_>>(), ["0.0.0.0/0"]);
    }

    #[test]
    fn what_is_wrong_with_a_tunnel_is_named() {
        let second = TUNNEL.replace("sip.example", "web.example");
        for (text, says) in [
            (TUNNEL.replace("/run/", ""), "town.example: vici: give the whole path"),
            (TUNNEL.replace("child", "timeout = \"1ms\"\nchild"), "timeout: give 100ms to 10m"),
            (TUNNEL.replace("child", "check = \"1h\"\nchild"), "check: give 100ms to 10m"),
            (TUNNEL.replace("child", "name = \"\"\nchild"), "name: give 1 to 255"),
            (TUNNEL.replace("\"home\"", "\"work\""), "child work is none of connection.children"),
            (TUNNEL.replace("mobike", "ppk_required"), "leave ppk_required out"),
            (TUNNEL.replace("town.example", "n.example"), "n.example is no network"),
            (TUNNEL.replace("sip.example", "s.example"), "s.example is no server"),
            (format!("{TUNNEL}{TUNNEL}"), "two tunnels for sip.example"),
            (format!("{TUNNEL}{second}"), "homeward is sip.example's, too"),
        ] {
            let said = read(&text).unwrap_err();
            assert!(said.contains(says), "{says}: {said}");
        }
        let named = second.replace("child", "name = \"web\"\nchild");
        assert_eq!(read(&format!("{TUNNEL}{named}")).unwrap().len(), 2);
    }
}
