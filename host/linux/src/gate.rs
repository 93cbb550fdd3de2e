//! A service that is closed to all but who is let through, by nftables.
//!
//! The rules are in the table [`TABLE`] of the family `inet`. They only ever take away: what they
//! let pass the owner's firewall may still drop. What is to a service, or from one, passes only
//! while its other end is let through, each packet anew: who is let through no more is cut off in
//! the middle of a connection, both ways. An end that is let through for a time is forgotten by
//! the kernel, whatever becomes of who let it through; and the rules stay when that stops, so that
//! the gate falls shut and not open.
//!
//! A later fragment of a datagram names no port, and passes; the first, without which nobody makes
//! anything of it, does not.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::error::Result;
use crate::nft::{self, Family, Nft};

/// The name of the table.
pub const TABLE: &str = "homeward_guard";

const INET: Family =
    Family { name: "inet", repair: "load nf_tables and nft_fib_inet (OpenWrt: kmod-nft-fib)" };
/// Just before the owner's filters, so that what is dropped they need not count.
const PRIORITY: &str = "filter - 5";

/// What carries a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// `tcp`.
    Tcp,
    /// `udp`.
    Udp,
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Not what was to be read: what that would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotRead(&'static str);

/// The carrier, and the rest.
fn carried(text: &str) -> Option<(Carrier, &str)> {
    let (carrier, rest) = text.split_once(' ')?;
    match carrier {
        "tcp" => Some((Carrier::Tcp, rest)),
        "udp" => Some((Carrier::Udp, rest)),
        _ => None,
    }
}

/// Who may be let through: `tcp 192.0.2.7` is all TCP of that address, `udp 192.0.2.7:5060` or
/// `udp [2001:db8::7]:5060` what comes from one port, and goes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// What carries it.
    pub carrier: Carrier,
    /// Its address.
    pub address: IpAddr,
    /// Its port; `None` is any.
    pub port: Option<u16>,
}

impl FromStr for Endpoint {
    type Err = NotRead;

    fn from_str(text: &str) -> std::result::Result<Self, NotRead> {
        let wrong = NotRead("give tcp or udp and an address, such as \"udp 192.0.2.7:5060\"");
        let (carrier, at) = carried(text).ok_or(wrong)?;
        let (address, port) = match at.parse::<SocketAddr>() {
            Ok(at) => (at.ip(), Some(at.port())),
            Err(_) => (at.parse().map_err(|_| wrong)?, None),
        };
        Ok(Self { carrier, address: address.to_canonical(), port })
    }
}

/// In the one way that it is written: IPv6 as RFC 5952 has it, IPv4 in IPv6 as IPv4.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { carrier, address, port } = self;
        match port {
            Some(port) => write!(f, "{carrier} {}", SocketAddr::new(*address, *port)),
            None => write!(f, "{carrier} {address}"),
        }
    }
}

impl Endpoint {
    /// The set that it belongs in, and what it is there.
    fn element(&self) -> (&'static str, String) {
        let Self { carrier, address, port } = self;
        let set = match (address, port) {
            (IpAddr::V4(_), None) => "address4",
            (IpAddr::V4(_), Some(_)) => "port4",
            (IpAddr::V6(_), None) => "address6",
            (IpAddr::V6(_), Some(_)) => "port6",
        };
        let port = port.map(|port| format!(" . {port}")).unwrap_or_default();
        (set, format!("{carrier} . {address}{port}"))
    }
}

/// What is closed: `tcp 192.0.2.10:5060`, `udp [2001:db8::10]:10000-20000`; or `tcp 443`, at any
/// address of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// What carries it.
    pub carrier: Carrier,
    /// Its address, here or behind this machine; `None` is any address of this machine.
    pub address: Option<IpAddr>,
    /// Its ports.
    pub ports: RangeInclusive<u16>,
}

impl FromStr for Service {
    type Err = NotRead;

    fn from_str(text: &str) -> std::result::Result<Self, NotRead> {
        let wrong = NotRead(
            "give tcp or udp, an address and ports, such as \"tcp 192.0.2.10:5060\", \
             \"udp [2001:db8::10]:10000-20000\", or \"tcp 443\" for any address of this machine",
        );
        let (carrier, at) = carried(text).ok_or(wrong)?;
        let (address, ports) = match at.rsplit_once(':') {
            Some((address, ports)) => {
                let inner = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                let address: IpAddr = match inner {
                    Some(inner) => IpAddr::V6(inner.parse().map_err(|_| wrong)?),
                    None => IpAddr::V4(address.parse().map_err(|_| wrong)?),
                };
                (Some(address.to_canonical()), ports)
            }
            None => (None, at),
        };
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or(wrong);
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err(NotRead("the first port is above the last"));
        }
        Ok(Self { carrier, address, ports: first..=last })
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.carrier)?;
        match self.address {
            Some(IpAddr::V4(address)) => write!(f, "{address}:")?,
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:")?,
            None => {}
        }
        f.write_str(&self.ports())
    }
}

impl Service {
    fn ports(&self) -> String {
        let (first, last) = (self.ports.start(), self.ports.end());
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    }

    /// What matches its packets: those to it by `d`, those from it by `s`.
    fn matches(&self, side: char) -> String {
        let address = match self.address {
            Some(IpAddr::V4(address)) => format!("ip {side}addr {address} "),
            Some(IpAddr::V6(address)) => format!("ip6 {side}addr {address} "),
            None => String::new(),
        };
        format!("{address}{} {side}port {}", self.carrier, self.ports())
    }
}

/// Something that changes about who is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// That one is, for so long from now, whatever was said before.
    Let(Endpoint, Duration),
    /// That one is not any more.
    Shut(Endpoint),
}

/// Services that are closed, kept so with the program `nft`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    nft: Nft,
    services: Vec<Service>,
    pass: Vec<IpNet>,
}

impl Gate {
    /// In front of these services; who is in one of the networks `pass` is let through always.
    /// With the `nft` on the PATH.
    pub fn new(services: Vec<Service>, pass: Vec<IpNet>) -> Self {
        Self { nft: Nft::new("nft"), services, pass }
    }

    /// Closes the services to all but these, each for so long, in one step: in place of all that
    /// was said before.
    ///
    /// # Errors
    ///
    /// `nft` is not installed, may not, or the kernel lacks what the rules need. What was in force
    /// stays.
    pub fn close(&self, but: &[(Endpoint, Duration)]) -> Result<()> {
        let mut script = nft::replace(INET, TABLE, &self.rules());
        let changes: Vec<Change> = but.iter().map(|(end, span)| Change::Let(*end, *span)).collect();
        script += &changed(&changes);
        self.nft.run(INET, &script)
    }

    /// Changes who is let through, all at once.
    ///
    /// # Errors
    ///
    /// The gate is not there any more, or as [`Gate::close`]. Nothing is changed.
    pub fn change(&self, changes: &[Change]) -> Result<()> {
        self.nft.run(INET, &changed(changes))
    }

    /// Whether the rules are in force. Who reloads another firewall may have flushed them.
    ///
    /// # Errors
    ///
    /// `nft` is not installed, or may not look.
    pub fn stands(&self) -> Result<bool> {
        nft::supported(self.nft.run(INET, &format!("list chain inet {TABLE} forward\n")))
    }

    /// Opens the services to all.
    ///
    /// # Errors
    ///
    /// As [`Gate::close`].
    pub fn open(&self) -> Result<()> {
        self.nft.run(INET, &nft::replace(INET, TABLE, ""))
    }

    /// Whether the kernel can do this, changing nothing.
    ///
    /// # Errors
    ///
    /// `nft` is not installed, or may not look.
    pub fn can(&self) -> Result<bool> {
        self.nft.can(INET, &nft::replace(INET, TABLE, &self.rules()))
    }

    fn rules(&self) -> String {
        let chain = |name: &str, side, own: bool| {
            let of = self.services.iter().filter(|service| own == service.address.is_none());
            let end = if side == 'd' { "to_service" } else { "from_service" };
            let lines = of.map(|service| format!("{} jump {end}\n", service.matches(side)));
            format!("chain {name} {{\n{}}}\n", lines.collect::<String>())
        };
        let ends = |name: &str, side, port| {
            let mut lines = String::new();
            for network in &self.pass {
                let family = if network.addr().is_ipv4() { "ip" } else { "ip6" };
                let _ = writeln!(lines, "{family} {side}addr {network} accept");
            }
            for (family, number) in [("ip", 4), ("ip6", 6)] {
                let end = format!("meta l4proto . {family} {side}addr");
                let _ = writeln!(lines, "{end} @address{number} accept");
                let _ = writeln!(lines, "{end} . th {port} @port{number} accept");
            }
            format!("chain {name} {{\n{lines}counter drop\n}}\n")
        };
        let hook = |hook: &str, jumps: &str| {
            format!(
                "chain {hook} {{ type filter hook {hook} priority {PRIORITY}; policy accept;
                    {jumps}
                }}\n"
            )
        };
        [
            "set address4 { type inet_proto . ipv4_addr; flags timeout; }\n".to_owned(),
            "set address6 { type inet_proto . ipv6_addr; flags timeout; }\n".to_owned(),
            "set port4 { type inet_proto . ipv4_addr . inet_service; flags timeout; }\n".to_owned(),
            "set port6 { type inet_proto . ipv6_addr . inet_service; flags timeout; }\n".to_owned(),
            ends("to_service", 's', "sport"),
            ends("from_service", 'd', "dport"),
            chain("to_own", 'd', true),
            chain("to_named", 'd', false),
            chain("from_own", 's', true),
            chain("from_named", 's', false),
            hook("input", "jump to_own\njump to_named"),
            hook("forward", "jump to_named\njump from_named"),
            hook("output", "jump from_own\njump from_named"),
        ]
        .concat()
    }
}

/// What has nft make these changes.
fn changed(changes: &[Change]) -> String {
    let mut script = String::new();
    for change in changes {
        let (end, span) = match change {
            Change::Let(end, span) => (end, Some(span)),
            Change::Shut(end) => (end, None),
        };
        let (set, element) = end.element();
        let to = format!("element inet {TABLE} {set}");
        // One that is there keeps its time when it is added anew, and one that is not cannot be
        // deleted: so it is added, deleted, and added.
        let _ = writeln!(script, "add {to} {{ {element} timeout 1s }}");
        let _ = writeln!(script, "delete {to} {{ {element} }}");
        if let Some(span) = span {
            // No time at all is for ever to nft.
            let span = span.as_millis().max(1);
            let _ = writeln!(script, "add {to} {{ {element} timeout {span}ms }}");
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_address_with_a_port_or_without() {
        let of = |text: &str| text.parse::<Endpoint>();
        let is = |carrier, address: &str, port| {
            Ok(Endpoint { carrier, address: address.parse().unwrap(), port })
        };
        assert_eq!(of("tcp 192.0.2.7"), is(Carrier::Tcp, "192.0.2.7", None));
        assert_eq!(of("udp 192.0.2.7:5060"), is(Carrier::Udp, "192.0.2.7", Some(5060)));
        assert_eq!(of("udp 2001:db8::7"), is(Carrier::Udp, "2001:db8::7", None));
        assert_eq!(of("tcp [2001:db8::7]:443"), is(Carrier::Tcp, "2001:db8::7", Some(443)));
        assert_eq!(of("tcp ::ffff:192.0.2.7"), is(Carrier::Tcp, "192.0.2.7", None));
        for (text, written) in [
            ("udp [2001:DB8:0::7]:5060", "udp [2001:db8::7]:5060"),
            ("tcp ::ffff:192.0.2.7", "tcp 192.0.2.7"),
            ("udp 192.0.2.7:5060", "udp 192.0.2.7:5060"),
        ] {
            assert_eq!(of(text).unwrap().to_string(), written);
        }
        for other in ["call 7", "tcp", "tcp sip.example", "tcp 192.0.2.7:x", "sctp 192.0.2.7"] {
            assert!(of(other).is_err(), "{other}");
        }
    }

    #[test]
    fn a_service_reads_as_it_is_written() {
        for text in
            ["tcp 192.0.2.10:5060", "udp [2001:db8::10]:10000-20000", "tcp 443", "udp 5000-5010"]
        {
            assert_eq!(text.parse::<Service>().unwrap().to_string(), text);
        }
        for wrong in [
            "tcp",
            "tcp 0",
            "tcp 192.0.2.10",
            "tcp 192.0.2.10:",
            "tcp 2001:db8::10:443",
            "udp [192.0.2.10]:443",
            "udp 20-10",
            "sctp 443",
            "tcp 443; flush ruleset",
            "tcp 70000",
        ] {
            assert!(wrong.parse::<Service>().is_err(), "{wrong}");
        }
    }
}
