//! Interfaces of any kind (rtnetlink(7)): up, down, address, bridge.

use homeward_model::Mac;

use crate::error::{Error, Refusal, Result};
use crate::netlink::{Attributes, Body, Netlink, u16_at, u32_at};

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number; unique in the namespace, and of this interface alone as long as it lives.
    pub index: u32,
    /// Its name: 1 to 15 characters.
    pub name: String,
    /// Its MAC address, if it is of a kind that has one.
    pub mac: Option<Mac>,
    /// Whether it is set up.
    pub up: bool,
    /// What kind of virtual interface it is, in the kernel's word: `bridge`, `veth`, `vlan`, …
    /// `None` for hardware.
    pub kind: Option<String>,
    /// The index of the bridge (or bond) that it is enslaved to.
    pub master: Option<u32>,
    /// What somebody wrote there for others to read (`ip link set alias`).
    pub alias: Option<String>,
}

impl Link {
    /// Whether it is a bridge.
    pub fn is_bridge(&self) -> bool {
        self.kind.as_deref() == Some("bridge")
    }

    /// Whether Homeward made it, as its [alias](crate::bridge::ALIAS) says.
    pub fn is_ours(&self) -> bool {
        self.alias.as_deref() == Some(crate::bridge::ALIAS)
    }
}

/// The interfaces of one network namespace: that of the thread which called [`Links::open`].
#[derive(Debug)]
pub struct Links(Netlink);

impl Links {
    /// Opens a route netlink socket.
    ///
    /// # Errors
    ///
    /// The kernel gives no socket.
    pub fn open() -> Result<Self> {
        Netlink::open(libc::NETLINK_ROUTE)
            .map(Self)
            .map_err(|e| Error::refused("open a route netlink socket", "", e))
    }

    /// The interface of that name; `None` if there is none.
    ///
    /// # Errors
    ///
    /// The name is none, or the kernel refuses to tell.
    pub fn by_name(&mut self, name: &str) -> Result<Option<Link>> {
        check_name(name)?;
        self.get(name, Body::new(&ifinfomsg(0, 0, 0)).with_text(IFLA_IFNAME, name))
    }

    /// The interface of that index; `None` if there is none.
    ///
    /// # Errors
    ///
    /// The kernel refuses to tell.
    pub fn by_index(&mut self, index: u32) -> Result<Option<Link>> {
        if index == 0 {
            return Ok(None); // the kernel takes 0 for "by name"
        }
        self.get(&format!("number {index}"), Body::new(&ifinfomsg(index, 0, 0)))
    }

    /// All interfaces, by index.
    ///
    /// # Errors
    ///
    /// The kernel refuses to tell.
    pub fn all(&mut self) -> Result<Vec<Link>> {
        let answer = self
            .0
            .dump(libc::RTM_GETLINK, &ifinfomsg(0, 0, 0))
            .map_err(|e| Error::refused("list the interfaces", "", e))?;
        let mut links: Vec<Link> = answer.iter().filter_map(|body| decode(body)).collect();
        links.sort_by_key(|link| link.index);
        Ok(links)
    }

    /// The bridge that the interface is a port of; `None` if it is of none.
    ///
    /// # Errors
    ///
    /// There is no such interface, or the kernel refuses to tell.
    pub fn bridge_of(&mut self, name: &str) -> Result<Option<Link>> {
        let link = self.by_name(name)?.ok_or_else(|| Error::NoInterface(name.to_owned()))?;
        let Some(master) = link.master else { return Ok(None) };
        Ok(self.by_index(master)?.filter(Link::is_bridge))
    }

    /// Sets the interface up; nothing happens if it is.
    ///
    /// # Errors
    ///
    /// There is no such interface, or the kernel or driver refuses.
    pub fn set_up(&mut self, name: &str) -> Result<()> {
        self.set_flags("set up", name, libc::IFF_UP as u32)
    }

    /// Sets the interface down; nothing happens if it is.
    ///
    /// # Errors
    ///
    /// There is no such interface, or the kernel refuses.
    pub fn set_down(&mut self, name: &str) -> Result<()> {
        self.set_flags("set down", name, 0)
    }

    fn get(&mut self, culprit: &str, body: Body) -> Result<Option<Link>> {
        match self.0.request(libc::RTM_GETLINK, body.octets()) {
            Ok(answer) => Ok(answer.iter().find_map(|body| decode(body))),
            Err(Refusal { source, .. }) if source.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(refusal) => Err(Error::refused("look up interface", culprit, refusal)),
        }
    }

    fn set_flags(&mut self, operation: &'static str, name: &str, flags: u32) -> Result<()> {
        let link = self.by_name(name)?.ok_or_else(|| Error::NoInterface(name.to_owned()))?;
        let body = ifinfomsg(link.index, flags, libc::IFF_UP as u32);
        self.0
            .request(libc::RTM_NEWLINK, &body)
            .map(|_| ())
            .map_err(|refusal| Error::refused(operation, name, refusal))
    }
}

/// Refuses what the kernel would not take for an interface's name (`dev_valid_name`).
pub(crate) fn check_name(name: &str) -> Result<()> {
    let fine = (1..=15).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|c| c.is_ascii_graphic() && !matches!(c, b'/' | b':'));
    if fine { Ok(()) } else { Err(Error::Name(name.to_owned())) }
}

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_INFO_KIND: u16 = 1;

/// `struct ifinfomsg`: family, pad, hardware type (16 bits), index, flags, changed flags.
pub(crate) fn ifinfomsg(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut octets = [0; 16];
    for (room, value) in octets.chunks_exact_mut(4).skip(1).zip([index, flags, change]) {
        room.copy_from_slice(&value.to_ne_bytes());
    }
    octets
}

fn decode(body: &[u8]) -> Option<Link> {
    let attributes = Attributes::new(body.get(16..)?);
    let ethernet = u16_at(body, 2)? == libc::ARPHRD_ETHER
        || u16_at(body, 2)? == libc::ARPHRD_IEEE80211_RADIOTAP;
    Some(Link {
        index: u32_at(body, 4)?,
        name: attributes.text(IFLA_IFNAME)?,
        mac: attributes
            .get(IFLA_ADDRESS)
            .filter(|_| ethernet)
            .and_then(|octets| Some(Mac::new(octets.try_into().ok()?))),
        up: u32_at(body, 8)? & libc::IFF_UP as u32 != 0,
        kind: attributes.nested(IFLA_LINKINFO).text(IFLA_INFO_KIND),
        master: attributes.u32(IFLA_MASTER),
        alias: attributes.text(IFLA_IFALIAS),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_kernel_would_refuse_is_refused_before() {
        for name in ["", "sixteen-letters!", ".", "..", "a/b", "a:b", "a b", "a\n", "\u{e9}"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["mon0", "wlan0.5", "fifteen-letters", "br-lan"] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }
}
