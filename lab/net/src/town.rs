//! Two sites and the Internet between them.
//!
//! ```text
//!   home (site 1)                      internet                     foreign (site 2)
//!
//!   tv ──┐                        lo 10.0.0.1, the core                         ┌── pc
//!        │                         wan1 │ │ wan2                                │
//!   ┌────┴─────────────┐  10.0.1.1/24 ╔═╝ ╚═╗ 10.0.2.1/24         ┌─────────────┴────┐
//!   │ br0 192.168.1.1  │        cable ║     ║ cable               │  192.168.2.1 br0 │
//!   │ gateway          ├──────────────╝     ╚─────────────────────┤          gateway │
//!   │ eth0 10.0.1.2    │                                          │    10.0.2.2 eth0 │
//!   └──────────────────┘                                          └──────────────────┘
//!
//!   with a box that translates addresses in front of a gateway:
//!
//!   ┌──────────────────┐ 10.64.1.0/24 ┌────────────────────┐
//!   │ gateway     eth0 ├──────────────┤ lan   nat      wan ╞══ cable ══ wan1
//!   │        10.64.1.2 │              │ .1        10.0.1.2 │
//!   └──────────────────┘              └────────────────────┘
//! ```
//!
//! A LAN has DHCPv4, and where it is asked for a prefix `fd00:N::/64` with router
//! advertisements and DHCPv6. Its hosts reach the Internet by their gateway, which translates
//! their addresses as home gateways do. Its bridge has an address that stays, whatever joins it. The
//! cables start unimpaired.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cable::Cable;
use crate::dhcp::{self, DhcpConfig, DhcpServer, Lease};
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::tool::feed_tool;

/// How long a host may take to get an address.
const SOON: Duration = Duration::from_secs(10);

/// The core's address, on the Internet.
pub const CORE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// What a site is to have.
#[derive(Debug, Clone, Copy, Default)]
pub struct SitePlan {
    /// A box in front of its gateway that translates addresses.
    pub nat: bool,
    /// How that box does it.
    pub translation: Translation,
    /// IPv6 in its LAN.
    pub ipv6: bool,
}

/// How a box translates addresses (RFC 4787 4 and 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Translation {
    /// As Linux does, and so most homes: the same port for whomever a socket sends to, if it is free,
    /// and only those are let in from there whom it has sent to.
    #[default]
    Strict,
    /// The same, but whoever sends to that port is let in, once the socket has sent to anybody.
    Open,
    /// Another port, at random, for each whom a socket sends to, and only that one is let in.
    PerDestination,
}

/// The whole. All goes when it is dropped.
#[derive(Debug)]
pub struct Town {
    /// What joins the sites. The core would run here, at [`CORE`].
    pub internet: Namespace,
    /// Site 1.
    pub home: Site,
    /// Site 2.
    pub foreign: Site,
}

/// A site: a LAN, its gateway, and the cable to the Internet.
#[derive(Debug)]
pub struct Site {
    number: u8,
    name: &'static str,
    lab: Lab,
    internet: Namespace,
    /// The gateway, with `br0` and `eth0`.
    pub gateway: Namespace,
    /// The box in front of it, with `lan` and `wan`; if there is one.
    pub nat: Option<Namespace>,
    /// From the Internet (forth) to the site (and back).
    pub cable: Cable,
    /// The LAN's DHCP server.
    pub dhcp: DhcpServer,
}

/// A host in a LAN.
#[derive(Debug)]
pub struct Host {
    /// Where it is, with its interface `eth0`.
    pub namespace: Namespace,
    /// What it got by DHCP.
    pub lease: Lease,
}

impl Town {
    /// Builds it. What the cables do by chance is the same for the same seed.
    ///
    /// # Errors
    /// If a program is not installed, or the kernel refuses.
    pub async fn build(lab: &Lab, home: SitePlan, foreign: SitePlan, seed: u64) -> Result<Self> {
        let internet = lab.namespace("internet")?;
        internet.sysctl("net.ipv4.ip_forward", "1")?;
        internet.ip(&format!("addr add {CORE}/32 dev lo"))?;
        let home = Site::build(lab, &internet, 1, "home", home, seed).await?;
        let foreign = Site::build(lab, &internet, 2, "foreign", foreign, seed ^ 0xf0).await?;
        Ok(Self { internet, home, foreign })
    }

    /// Lets no packet larger than `mtu` through between the Internet and that site; who sends a
    /// larger one that may not be fragmented is told so by ICMP.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn narrow(&self, site: &Site, mtu: u16) -> Result<()> {
        let (edge, end) = site.edge();
        edge.ip(&format!("link set {end} mtu {mtu}"))?;
        self.internet.ip(&format!("link set wan{} mtu {mtu}", site.number))
    }
}

impl Site {
    async fn build(
        lab: &Lab,
        internet: &Namespace,
        number: u8,
        name: &'static str,
        plan: SitePlan,
        seed: u64,
    ) -> Result<Self> {
        let gateway = lab.namespace(name)?;
        let nat = plan.nat.then(|| lab.namespace(&format!("{name}-nat"))).transpose()?;
        let (edge, its_end) = nat.as_ref().map_or((&gateway, "eth0"), |nat| (nat, "wan"));
        let cable = Cable::lay(internet, &format!("wan{number}"), edge, its_end, seed)?;
        internet.ip(&format!("addr add 10.0.{number}.1/24 dev wan{number}"))?;
        edge.ip(&format!(
            "addr add 10.0.{number}.2/24 dev {its_end}\n\
             route add default via 10.0.{number}.1"
        ))?;
        if let Some(nat) = &nat {
            gateway.join("eth0", nat, "lan")?;
            nat.ip(&format!("addr add 10.64.{number}.1/24 dev lan"))?;
            gateway.ip(&format!(
                "addr add 10.64.{number}.2/24 dev eth0\n\
                 route add default via 10.64.{number}.1"
            ))?;
            translate_as(nat, "wan", plan.translation)?;
        }
        gateway.ip(&format!(
            "link add br0 address 02:00:5e:00:{number:02x}:01 type bridge forward_delay 0\n\
             link set br0 up\n\
             addr add 192.168.{number}.1/24 dev br0"
        ))?;
        translate(&gateway, "eth0")?;
        let mut config = DhcpConfig::on("br0").network(lan_address(number));
        if plan.ipv6 {
            let prefix = Ipv6Addr::new(0xfd00, number.into(), 0, 0, 0, 0, 0, 1);
            gateway.sysctl("net.ipv6.conf.all.forwarding", "1")?;
            gateway.ip(&format!("addr add {prefix}/64 dev br0 nodad"))?;
            config = config.prefix(prefix);
        }
        let server = format!("{name}-dhcp");
        let folder = lab.folder();
        let dhcp = DhcpServer::start(folder, folder, &server, &gateway, &config).await?;
        let (lab, internet) = (lab.clone(), internet.clone());
        Ok(Self { number, name, lab, internet, gateway, nat, cable, dhcp })
    }

    /// Its gateway's address in its LAN.
    pub fn lan_address(&self) -> Ipv4Addr {
        lan_address(self.number)
    }

    /// The address by which the Internet knows it.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, self.number, 2)
    }

    /// Its gateway's own address towards the Internet: another than [`address`](Self::address)
    /// where there is a box in front of it.
    pub fn gateway_address(&self) -> Ipv4Addr {
        match self.nat {
            Some(_) => Ipv4Addr::new(10, 64, self.number, 2),
            None => self.address(),
        }
    }

    /// Gives the site another address on the Internet, and takes the old one away, as a provider
    /// does at night: `last` takes the place of the 2 in 10.0.N.2. The line is down for a moment,
    /// which has a box in front of the gateway forget what it translated.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn renumber(&self, last: u8) -> Result<Ipv4Addr> {
        let (edge, end) = self.edge();
        let (number, new) = (self.number, Ipv4Addr::new(10, 0, self.number, last));
        edge.ip(&format!(
            "link set {end} down\n\
             addr flush dev {end} scope global\n\
             link set {end} up\n\
             addr add {new}/24 dev {end}\n\
             route add default via 10.0.{number}.1"
        ))?;
        // Nobody has the old one any more.
        self.internet.ip(&format!("neigh flush dev wan{number}"))?;
        Ok(new)
    }

    /// Where its cable ends, and the interface there.
    fn edge(&self) -> (&Namespace, &'static str) {
        self.nat.as_ref().map_or((&self.gateway, "eth0"), |nat| (nat, "wan"))
    }

    /// Adds a host to the LAN, and waits until it has an address.
    ///
    /// # Errors
    /// If it gets none.
    pub async fn host(&self, name: &str) -> Result<Host> {
        let namespace = self.lab.namespace(name)?;
        let port = format!("lan-{name}");
        namespace.join("eth0", &self.gateway, &port)?;
        self.gateway.ip(&format!("link set {port} master br0"))?;
        let folder = self.lab.folder();
        let lease = dhcp::lease(folder, folder, name, &namespace, "eth0", SOON)
            .await
            .with_context(|| format!("{name} in the LAN of {}", self.name))?;
        Ok(Host { namespace, lease })
    }
}

fn lan_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, number, 1)
}

/// Makes a namespace forward packets, translate the addresses of what leaves by `outside`, and let
/// nothing in there that was not asked for.
///
/// # Errors
/// If nftables is not installed, or refuses.
pub fn translate(namespace: &Namespace, outside: &str) -> Result<()> {
    namespace.sysctl("net.ipv4.ip_forward", "1")?;
    let rules = format!(
        "table ip lab {{\n\
         chain out {{ type nat hook postrouting priority srcnat;\n\
         oifname \"{outside}\" masquerade\n}}\n\
         chain through {{ type filter hook forward priority filter;\n\
         iifname \"{outside}\" ct state new drop\n}}\n}}\n"
    );
    namespace.enter(|| feed_tool("nft", &["-f", "-"], &rules)).map(drop)
}

/// The same for a box that is nothing else, which answers nobody outside.
///
/// # Errors
/// If nftables is not installed, or refuses.
pub fn translate_as(namespace: &Namespace, outside: &str, translation: Translation) -> Result<()> {
    namespace.sysctl("net.ipv4.ip_forward", "1")?;
    let masquerade = match translation {
        Translation::PerDestination => "masquerade fully-random",
        Translation::Strict | Translation::Open => "masquerade",
    };
    let open = match translation {
        Translation::Open => format!(
            "map back {{ type inet_service : ipv4_addr\nflags dynamic,timeout\ntimeout 2m\n}}\n\
             chain remember {{ type filter hook forward priority filter;\n\
             oifname \"{outside}\" meta l4proto udp update @back {{ udp sport : ip saddr }}\n}}\n\
             chain inward {{ type nat hook prerouting priority dstnat;\n\
             iifname \"{outside}\" meta l4proto udp dnat to udp dport map @back\n}}\n"
        ),
        Translation::Strict | Translation::PerDestination => String::new(),
    };
    let rules = format!(
        "table ip lab {{\n{open}\
         chain out {{ type nat hook postrouting priority srcnat;\n\
         oifname \"{outside}\" {masquerade}\n}}\n\
         chain through {{ type filter hook forward priority filter;\n\
         iifname \"{outside}\" ct status dnat accept\n\
         iifname \"{outside}\" ct state new drop\n}}\n\
         chain own {{ type filter hook input priority filter;\n\
         iifname \"{outside}\" ct state new drop\n}}\n}}\n"
    );
    namespace.enter(|| feed_tool("nft", &["-f", "-"], &rules)).map(drop)
}
