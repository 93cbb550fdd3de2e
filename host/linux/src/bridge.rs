//! Bridges that carry strangers' frames and are none of the machine's own networks.
//!
//! The gateway makes one bridge for each home it serves, between that home's virtual access point
//! and its tunnel. The kernel must not take part: no address, no ARP, no IPv6, no spanning tree,
//! no routing, and (`rp_filter`) nothing accepted that a route does not lead back to, of which a
//! bridge without addresses has none. So a roamer's packet for one of the gateway's addresses
//! dies in the kernel even where no firewall helps (see [`firewall`](crate::firewall)).
//!
//! Bridges of ours carry the alias [`ALIAS`]; what has it not is never changed or deleted here.

use std::fs;
use std::io;
use std::path::Path;

use homeward_model::Mac;

use crate::error::{Error, Refusal, Result};
use crate::link::{Link, Links, check_name, ifinfomsg};
use crate::netlink::{Attributes, Body, Netlink, u16_at, u32_at};

/// What `ip link` shows of an interface that is ours.
pub const ALIAS: &str = "homeward";

/// The bridges of one network namespace: that of the thread which called [`Bridges::open`].
#[derive(Debug)]
pub struct Bridges {
    route: Netlink,
    links: Links,
}

/// How a bridge treats one of its ports (bridge(8), `bridge link set`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortFlags {
    /// Frames do not pass between two isolated ports.
    pub isolated: bool,
    /// The bridge learns who is behind the port.
    pub learning: bool,
    /// Frames may leave by the port they came in.
    pub hairpin: bool,
    /// Frames to unknown addresses leave by this port, too.
    pub flood: bool,
}

impl Default for PortFlags {
    /// The kernel's own.
    fn default() -> Self {
        Self { isolated: false, learning: true, hairpin: false, flood: true }
    }
}

/// Where a bridge has a MAC address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FdbEntry {
    /// The index of the port.
    pub port: u32,
    /// The address is the bridge's or the port's own, not learned from traffic.
    pub local: bool,
}

impl Bridges {
    /// Opens the sockets.
    ///
    /// # Errors
    ///
    /// The kernel gives no socket.
    pub fn open() -> Result<Self> {
        let route = Netlink::open(libc::NETLINK_ROUTE)
            .map_err(|e| Error::refused("open a route netlink socket", "", e))?;
        Ok(Self { route, links: Links::open()? })
    }

    /// Makes a bridge, or takes the one of that name if it is ours; either way it is up, empty of
    /// addresses, and shut (see the [module's page](self)). `mtu`: 0 leaves it to the kernel,
    /// which takes the least of the ports'.
    ///
    /// # Errors
    ///
    /// The name is taken by what is not ours, or none; the kernel refuses, or /proc/sys/net may
    /// not be written.
    pub fn create(&mut self, name: &str, mtu: u32) -> Result<Link> {
        check_name(name)?;
        match self.links.by_name(name)? {
            Some(link) if link.is_bridge() && link.is_ours() => {}
            Some(link) => {
                let holder = match &link.kind {
                    Some(kind) => format!("a {kind} that Homeward did not make"),
                    None => "hardware".to_owned(),
                };
                return Err(Error::NameTaken { name: name.to_owned(), holder });
            }
            None => self.make(name)?,
        }
        shut(name)?;
        let link = self.get(name)?;
        let on = libc::IFF_UP as u32 | libc::IFF_NOARP as u32;
        let mut body = Body::new(&ifinfomsg(link.index, on, on));
        if mtu != 0 {
            body = body.with_u32(IFLA_MTU, mtu);
        }
        let body = body.with_text(IFLA_IFALIAS, ALIAS);
        self.request("set up bridge", name, libc::RTM_NEWLINK, &body)?;
        self.get(name)
    }

    fn make(&mut self, name: &str) -> Result<()> {
        let data = Body::new(&[])
            .with_u32(IFLA_BR_FORWARD_DELAY, 0)
            .with_u32(IFLA_BR_STP_STATE, 0)
            .with(IFLA_BR_GROUP_FWD_MASK, &0u16.to_ne_bytes())
            // Snooping without a querier on the segment loses multicast after minutes.
            .with(IFLA_BR_MCAST_SNOOPING, &[0]);
        let info = Body::new(&[])
            .with_text(IFLA_INFO_KIND, "bridge")
            .with(IFLA_INFO_DATA | NLA_F_NESTED, data.octets());
        let body = Body::new(&ifinfomsg(0, 0, 0))
            .with_text(IFLA_IFNAME, name)
            .with(IFLA_LINKINFO | NLA_F_NESTED, info.octets());
        self.route.request_with(libc::RTM_NEWLINK, CREATE_NEW, body.octets()).map(|_| ()).map_err(
            |refusal| {
                Error::refused("make bridge", name, refusal)
                    .advise(libc::EOPNOTSUPP, "the kernel has no bridges: load the module `bridge`")
            },
        )
    }

    /// Deletes a bridge of ours, releasing its ports; false if there is none of that name.
    ///
    /// # Errors
    ///
    /// It is not ours, or the kernel refuses.
    pub fn delete(&mut self, name: &str) -> Result<bool> {
        let Some(link) = self.links.by_name(name)? else { return Ok(false) };
        if !(link.is_bridge() && link.is_ours()) {
            return Err(Error::NotOurs(name.to_owned()));
        }
        let body = Body::new(&ifinfomsg(link.index, 0, 0));
        self.request("delete bridge", name, libc::RTM_DELLINK, &body)?;
        Ok(true)
    }

    /// The bridges of ours whose names begin with `prefix`, by index.
    ///
    /// # Errors
    ///
    /// The kernel refuses to tell.
    pub fn ours(&mut self, prefix: &str) -> Result<Vec<Link>> {
        let mut links = self.links.all()?;
        links.retain(|link| link.is_bridge() && link.is_ours() && link.name.starts_with(prefix));
        Ok(links)
    }

    /// Deletes what [`ours`](Self::ours) finds, but for what `keep` wants: the leftovers of a
    /// crash. The names of what was deleted.
    ///
    /// # Errors
    ///
    /// The kernel refuses; bridges before that one are gone.
    pub fn delete_leftovers(
        &mut self,
        prefix: &str,
        keep: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>> {
        let mut deleted = Vec::new();
        for link in self.ours(prefix)? {
            if !keep(&link.name) && self.delete(&link.name)? {
                deleted.push(link.name);
            }
        }
        Ok(deleted)
    }

    /// Makes an interface a port of a bridge; nothing happens if it is.
    ///
    /// # Errors
    ///
    /// One of them is not there, `bridge` is none, the interface is a port of another bridge
    /// (release it first), or the kernel refuses.
    pub fn enslave(&mut self, port: &str, bridge: &str) -> Result<()> {
        let master = self.get(bridge)?;
        if !master.is_bridge() {
            return Err(Error::NotBridge(bridge.to_owned()));
        }
        let link = self.get(port)?;
        match link.master {
            Some(index) if index == master.index => return Ok(()),
            Some(index) => {
                let holder = self.links.by_index(index)?.map_or(index.to_string(), |l| l.name);
                return Err(Error::Enslaved { port: port.to_owned(), holder });
            }
            None => {}
        }
        let body = Body::new(&ifinfomsg(link.index, 0, 0)).with_u32(IFLA_MASTER, master.index);
        self.request("make a bridge's port of", port, libc::RTM_NEWLINK, &body)
    }

    /// Takes an interface out of the bridge that it is a port of; nothing happens if it is of none.
    ///
    /// # Errors
    ///
    /// It is not there, or the kernel refuses.
    pub fn release(&mut self, port: &str) -> Result<()> {
        let link = self.get(port)?;
        if link.master.is_none() {
            return Ok(());
        }
        let body = Body::new(&ifinfomsg(link.index, 0, 0)).with_u32(IFLA_MASTER, 0);
        self.request("release bridge port", port, libc::RTM_NEWLINK, &body)
    }

    /// Says how a bridge is to treat a port.
    ///
    /// # Errors
    ///
    /// It is not there or no bridge's port, or the kernel refuses: isolation is known since
    /// Linux 4.18.
    pub fn set_port(&mut self, port: &str, flags: PortFlags) -> Result<()> {
        let link = self.get(port)?;
        let info = Body::new(&[])
            .with(IFLA_BRPORT_MODE, &[flags.hairpin.into()])
            .with(IFLA_BRPORT_LEARNING, &[flags.learning.into()])
            .with(IFLA_BRPORT_UNICAST_FLOOD, &[flags.flood.into()])
            .with(IFLA_BRPORT_ISOLATED, &[flags.isolated.into()]);
        let mut fixed = ifinfomsg(link.index, 0, 0);
        fixed[0] = libc::AF_BRIDGE as u8;
        let body = Body::new(&fixed).with(IFLA_PROTINFO | NLA_F_NESTED, info.octets());
        self.request("set bridge port", port, libc::RTM_SETLINK, &body)
    }

    /// How a bridge treats a port; `None` if the interface is no bridge's.
    ///
    /// # Errors
    ///
    /// It is not there, or the kernel refuses to tell.
    pub fn port(&mut self, port: &str) -> Result<Option<PortFlags>> {
        check_name(port)?;
        let body = Body::new(&ifinfomsg(0, 0, 0)).with_text(IFLA_IFNAME, port);
        let answer = match self.route.request(libc::RTM_GETLINK, body.octets()) {
            Err(Refusal { source, .. }) if source.raw_os_error() == Some(libc::ENODEV) => {
                return Err(Error::NoInterface(port.to_owned()));
            }
            other => other.map_err(|e| Error::refused("look up interface", port, e))?,
        };
        Ok(answer.iter().find_map(|body| port_flags(body)))
    }

    /// Sets an interface's MTU, in octets.
    ///
    /// # Errors
    ///
    /// It is not there, or cannot carry frames that long.
    pub fn set_mtu(&mut self, name: &str, mtu: u32) -> Result<()> {
        let link = self.get(name)?;
        let body = Body::new(&ifinfomsg(link.index, 0, 0)).with_u32(IFLA_MTU, mtu);
        self.request("set the MTU of", name, libc::RTM_NEWLINK, &body)
    }

    /// Behind which port of a bridge a MAC address is; `None` if the bridge does not know.
    ///
    /// # Errors
    ///
    /// There is no such bridge, or the kernel refuses to tell.
    pub fn entry(&mut self, bridge: &str, mac: Mac) -> Result<Option<FdbEntry>> {
        let link = self.get(bridge)?;
        if !link.is_bridge() {
            return Err(Error::NotBridge(bridge.to_owned()));
        }
        // The kernel reads a request for a bridge's table as if it were for an interface.
        let mut fixed = ifinfomsg(0, 0, 0);
        fixed[0] = libc::AF_BRIDGE as u8;
        let body = Body::new(&fixed).with_u32(IFLA_MASTER, link.index);
        let answer = self
            .route
            .dump(libc::RTM_GETNEIGH, body.octets())
            .map_err(|e| Error::refused("list who is behind", bridge, e))?;
        Ok(answer.iter().find_map(|body| fdb_entry(body, mac)))
    }

    fn get(&mut self, name: &str) -> Result<Link> {
        self.links.by_name(name)?.ok_or_else(|| Error::NoInterface(name.to_owned()))
    }

    fn request(&mut self, operation: &'static str, on: &str, kind: u16, body: &Body) -> Result<()> {
        self.route
            .request(kind, body.octets())
            .map(|_| ())
            .map_err(|refusal| Error::refused(operation, on, refusal))
    }
}

/// Has the kernel answer on an interface for that interface's own addresses only, and take no
/// IPv4 packets in that a route does not lead back to: for a segment that strangers share with
/// the gateway itself. Linux would otherwise tell them by ARP which other addresses it has.
///
/// # Errors
///
/// There is no such interface, or /proc/sys/net may not be written.
pub fn narrow(name: &str) -> Result<()> {
    present(name)?;
    write(&[
        (format!("/proc/sys/net/ipv4/conf/{name}/arp_ignore"), "1", true),
        (format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "1", true),
    ])
}

/// Has the kernel give an interface no address of its own in IPv6 when it comes up. Others may
/// be given to it.
///
/// # Errors
///
/// /proc/sys/net may not be written. A kernel without IPv6 is as good.
pub(crate) fn no_link_local(name: &str) -> Result<()> {
    write(&[(format!("/proc/sys/net/ipv6/conf/{name}/addr_gen_mode"), "1", false)])
}

/// Looks whether there is an interface of that name.
fn present(name: &str) -> Result<()> {
    check_name(name)?;
    let there = Path::new(&format!("/proc/sys/net/ipv4/conf/{name}")).exists();
    if there { Ok(()) } else { Err(Error::NoInterface(name.to_owned())) }
}

/// Has the kernel take no part in what an interface carries.
///
/// IPv6 may be missing from the kernel altogether; IPv4 may not.
fn shut(name: &str) -> Result<()> {
    silence_ipv6(name)?;
    write(&[
        (format!("/proc/sys/net/ipv4/conf/{name}/forwarding"), "0", true),
        (format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "1", true),
        (format!("/proc/sys/net/ipv4/conf/{name}/arp_ignore"), "8", true),
    ])
}

/// Has the gateway itself say nothing by IPv6 on an interface: no link-local address, so no
/// neighbour or router solicitation, and no report of groups. What is bridged passes as before.
/// For a port by which a tunnel joins a segment: both ends of it are somebody else's LAN.
///
/// # Errors
///
/// There is no such interface, or /proc/sys/net may not be written. A kernel without IPv6 is as
/// good.
pub fn silence_ipv6(name: &str) -> Result<()> {
    present(name)?;
    write(&[(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1", false)])
}

/// Has an interface answer ARP requests for its own addresses only, and ask with its own only
/// (`arp_ignore` 1, `arp_announce` 2): for two interfaces in one LAN, of which the kernel would have
/// each answer for the other. What it was like before is to be [put back](ArpBefore::put_back).
///
/// # Errors
///
/// There is no such interface, or /proc/sys/net may not be written.
pub fn answer_for_itself(name: &str) -> Result<ArpBefore> {
    present(name)?;
    let paths = ["arp_ignore", "arp_announce"]
        .map(|setting| format!("/proc/sys/net/ipv4/conf/{name}/{setting}"));
    // What cannot be read cannot be written either.
    let before = paths.iter().map(|path| fs::read_to_string(path).unwrap_or_default());
    let before = ArpBefore(paths.iter().cloned().zip(before).collect());
    let [ignore, announce] = paths;
    write(&[(ignore, "1", true), (announce, "2", true)])?;
    Ok(before)
}

/// How an interface answered before [`answer_for_itself`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArpBefore(Vec<(String, String)>);

impl ArpBefore {
    /// Has it answer as it did. An interface that has gone took its settings with it.
    pub fn put_back(&self) {
        for (path, value) in &self.0 {
            match fs::write(path, value) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(path, %error, "a setting is left as it was made"),
            }
        }
    }
}

/// Writes settings: path, value, and whether it is an error if there is no such setting. One that
/// is as it should be already is fine even where it may not be written.
fn write(settings: &[(String, &'static str, bool)]) -> Result<()> {
    for (path, value, needed) in settings {
        match fs::write(path, value) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && !needed => {}
            Err(_) if fs::read_to_string(path).is_ok_and(|now| now.trim() == *value) => {}
            Err(source) => return Err(Error::Sysctl { path: path.clone(), value, source }),
            Ok(()) => {}
        }
    }
    Ok(())
}

fn port_flags(body: &[u8]) -> Option<PortFlags> {
    let info = Attributes::new(body.get(16..)?).nested(IFLA_LINKINFO);
    if info.text(IFLA_INFO_SLAVE_KIND)? != "bridge" {
        return None;
    }
    let data = info.nested(IFLA_INFO_SLAVE_DATA);
    let flag = |kind| data.get(kind).and_then(<[u8]>::first).is_some_and(|value| *value != 0);
    Some(PortFlags {
        isolated: flag(IFLA_BRPORT_ISOLATED),
        learning: flag(IFLA_BRPORT_LEARNING),
        hairpin: flag(IFLA_BRPORT_MODE),
        flood: flag(IFLA_BRPORT_UNICAST_FLOOD),
    })
}

/// Of `struct ndmsg` (family, two pads, index, state, flags, type) and its attributes.
fn fdb_entry(body: &[u8], mac: Mac) -> Option<FdbEntry> {
    const NUD_PERMANENT: u16 = 0x80;
    let attributes = Attributes::new(body.get(12..)?);
    let found = attributes.get(NDA_LLADDR)? == mac.octets();
    found.then_some(FdbEntry {
        port: u32_at(body, 4)?,
        local: u16_at(body, 8)? & NUD_PERMANENT != 0,
    })
}

/// `NLM_F_CREATE | NLM_F_EXCL`
const CREATE_NEW: u16 = 0x400 | 0x200;
const NLA_F_NESTED: u16 = 0x8000;

const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;

const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;

const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BR_GROUP_FWD_MASK: u16 = 9;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;

const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_LEARNING: u16 = 8;
const IFLA_BRPORT_UNICAST_FLOOD: u16 = 9;
const IFLA_BRPORT_ISOLATED: u16 = 33;

const NDA_LLADDR: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_is_right_need_not_be_writable() {
        let setting = |value| [("/proc/sys/kernel/ostype".to_owned(), value, true)];
        assert!(write(&setting("Linux")).is_ok());
        let error = write(&setting("Minix")).unwrap_err();
        assert!(matches!(error, Error::Sysctl { value: "Minix", .. }), "{error}");
    }
}
