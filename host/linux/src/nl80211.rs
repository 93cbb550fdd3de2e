//! Radios and their interfaces (`linux/nl80211.h`), and the monitor interface that hears probes.
//!
//! A monitor interface beside an access point on the same radio sees the probe requests that
//! hostapd never reports: those for SSIDs it does not serve.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use homeward_model::Mac;

use crate::error::{Error, Refusal, Result};
use crate::link::{Links, check_name};
use crate::netlink::{Answer, Attributes, Body, Netlink, u16_at};

/// A radio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phy {
    /// Its number.
    pub index: u32,
    /// Its name, such as `phy0`.
    pub name: String,
    /// The types of interface that can be made on it.
    pub types: Vec<InterfaceType>,
    /// How many access points it can run at a time: the most that any of the driver's interface
    /// combinations allows, one if it names none, zero if it can be no access point. The real
    /// limit can be lower: a combination counts other interfaces too.
    pub access_points: u32,
}

impl Phy {
    /// Whether an interface of that type can be made.
    pub fn supports(&self, kind: InterfaceType) -> bool {
        self.types.contains(&kind)
    }
}

/// A Wi-Fi interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its number, as in [`Link`](crate::Link).
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The number of the radio that it is on.
    pub phy: u32,
    /// What it is.
    pub kind: InterfaceType,
    /// The centre of its primary channel, in MHz, while it has one.
    pub frequency: Option<u32>,
    /// Its MAC address; that of an access point is the BSSID.
    pub mac: Mac,
}

/// What a Wi-Fi interface is (`enum nl80211_iftype`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterfaceType {
    /// A client of an access point (2, "managed").
    Station,
    /// An access point (3).
    AccessPoint,
    /// A VLAN of an access point (4).
    AccessPointVlan,
    /// Sees all frames (6).
    Monitor,
    /// A mesh point (7).
    MeshPoint,
    /// Any other, by its number.
    Other(u32),
}

impl InterfaceType {
    const fn from_number(number: u32) -> Self {
        match number {
            2 => Self::Station,
            3 => Self::AccessPoint,
            4 => Self::AccessPointVlan,
            6 => Self::Monitor,
            7 => Self::MeshPoint,
            other => Self::Other(other),
        }
    }

    const fn number(self) -> u32 {
        match self {
            Self::Station => 2,
            Self::AccessPoint => 3,
            Self::AccessPointVlan => 4,
            Self::Monitor => 6,
            Self::MeshPoint => 7,
            Self::Other(number) => number,
        }
    }
}

impl fmt::Display for InterfaceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Station => f.write_str("a station"),
            Self::AccessPoint => f.write_str("an access point"),
            Self::AccessPointVlan => f.write_str("an access point's VLAN"),
            Self::Monitor => f.write_str("a monitor"),
            Self::MeshPoint => f.write_str("a mesh point"),
            Self::Other(number) => write!(f, "an interface of type {number}"),
        }
    }
}

/// A monitor interface, made or found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitor {
    /// The interface.
    pub interface: Interface,
    /// Whether this call made it; otherwise it was there, left by an earlier run or by hand.
    pub created: bool,
}

/// Makes sure that the access point's radio has a monitor interface `name`, and that it is up.
///
/// # Errors
///
/// `access_point` is no Wi-Fi interface, `name` is taken by something else, or the kernel or
/// driver refuses.
pub fn ensure_monitor(access_point: &str, name: &str) -> Result<Monitor> {
    let mut nl80211 = Nl80211::open()?;
    let phy = nl80211.phy_of(access_point)?;
    let monitor = nl80211.create_monitor(&phy, name)?;
    Links::open()?.set_up(name).map_err(|e| e.advise(libc::EBUSY, BESIDE_AP))?;
    Ok(monitor)
}

const BESIDE_AP: &str =
    "the driver refuses monitor mode beside an access point; use another radio or driver";

/// The radios of one network namespace: that of the thread which called [`Nl80211::open`].
#[derive(Debug)]
pub struct Nl80211 {
    netlink: Netlink,
    family: u16,
}

impl Nl80211 {
    /// Opens a generic netlink socket and finds nl80211.
    ///
    /// # Errors
    ///
    /// The kernel gives no socket, or has no nl80211 ([`Error::No80211`]).
    pub fn open() -> Result<Self> {
        let refused = |e| Error::refused("open a generic netlink socket", "", Refusal::from(e));
        let mut netlink = Netlink::open(libc::NETLINK_GENERIC).map_err(refused)?;
        let body = Body::new(&[libc::CTRL_CMD_GETFAMILY as u8, 1, 0, 0])
            .with_text(libc::CTRL_ATTR_FAMILY_NAME as u16, "nl80211");
        let answer = netlink
            .request(libc::GENL_ID_CTRL as u16, body.octets())
            .map_err(|refusal| Error::No80211(refusal.source))?;
        let family = answer
            .iter()
            .find_map(|body| u16_at(attributes(body).get(libc::CTRL_ATTR_FAMILY_ID as u16)?, 0))
            .ok_or_else(|| Error::No80211(io::Error::from(io::ErrorKind::InvalidData)))?;
        Ok(Self { netlink, family })
    }

    /// All radios, by index.
    ///
    /// # Errors
    ///
    /// The kernel refuses to tell.
    pub fn phys(&mut self) -> Result<Vec<Phy>> {
        // Without the flag the kernel leaves out what does not fit into one message.
        let body = command(CMD_GET_WIPHY).with(ATTR_SPLIT_WIPHY_DUMP, &[]);
        let answer = self
            .netlink
            .dump(self.family, body.octets())
            .map_err(|e| Error::refused("list the radios", "", e))?;
        Ok(decode_phys(&answer))
    }

    /// The radio of that name; `None` if there is none.
    ///
    /// # Errors
    ///
    /// The kernel refuses to tell.
    pub fn phy(&mut self, name: &str) -> Result<Option<Phy>> {
        Ok(self.phys()?.into_iter().find(|phy| phy.name == name))
    }

    /// The radio that the interface is on.
    ///
    /// # Errors
    ///
    /// There is no such Wi-Fi interface, or the kernel refuses to tell.
    pub fn phy_of(&mut self, interface: &str) -> Result<Phy> {
        let Some(found) = self.interface(interface)? else {
            let exists = Links::open()?.by_name(interface)?.is_some();
            let name = interface.to_owned();
            return Err(if exists { Error::NotWireless(name) } else { Error::NoInterface(name) });
        };
        self.phys()?
            .into_iter()
            .find(|phy| phy.index == found.phy)
            .ok_or_else(|| Error::NoPhy(format!("number {}", found.phy)))
    }

    /// All Wi-Fi interfaces, by index.
    ///
    /// # Errors
    ///
    /// The kernel refuses to tell.
    pub fn interfaces(&mut self) -> Result<Vec<Interface>> {
        let answer = self
            .netlink
            .dump(self.family, command(CMD_GET_INTERFACE).octets())
            .map_err(|e| Error::refused("list the Wi-Fi interfaces", "", e))?;
        let mut found: Vec<_> = answer.iter().filter_map(|body| decode_interface(body)).collect();
        found.sort_by_key(|interface| interface.index);
        Ok(found)
    }

    /// The Wi-Fi interface of that name; `None` if there is none, or if it is no Wi-Fi interface.
    ///
    /// # Errors
    ///
    /// The kernel refuses to tell.
    pub fn interface(&mut self, name: &str) -> Result<Option<Interface>> {
        Ok(self.interfaces()?.into_iter().find(|interface| interface.name == name))
    }

    /// Makes a monitor interface on a radio; it is left down. If there is one of that name on
    /// that radio already, it is taken as it is.
    ///
    /// It has no flags: it asks the radio for no frame beyond those which the radio's other
    /// interfaces want, so the access point is not slowed down. An access point wants all probe
    /// requests.
    ///
    /// # Errors
    ///
    /// `name` is taken by something else, or the kernel or driver refuses.
    pub fn create_monitor(&mut self, phy: &Phy, name: &str) -> Result<Monitor> {
        check_name(name)?;
        if let Some(interface) = self.interface(name)? {
            return self.reuse(interface, phy);
        }
        let body = command(CMD_NEW_INTERFACE)
            .with_u32(ATTR_WIPHY, phy.index)
            .with_text(ATTR_IFNAME, name)
            .with_u32(ATTR_IFTYPE, InterfaceType::Monitor.number())
            .with(ATTR_MNTR_FLAGS | NESTED, &[]);
        let created = self.netlink.request(self.family, body.octets());
        if let Err(refusal) = created {
            // The kernel's two ways to say that a name is in use.
            if let Some(libc::ENFILE | libc::EEXIST) = refusal.source.raw_os_error() {
                let holder = "an interface that is not Wi-Fi".to_owned();
                return Err(Error::NameTaken { name: name.to_owned(), holder });
            }
            let on = format!("{name} on {}", phy.name);
            return Err(Error::refused("create monitor interface", on, refusal)
                .advise(libc::EOPNOTSUPP, BESIDE_AP)
                .advise(libc::EBUSY, BESIDE_AP));
        }
        let interface = self.interface(name)?.ok_or_else(|| Error::NoInterface(name.to_owned()))?;
        Ok(Monitor { interface, created: true })
    }

    /// Deletes a Wi-Fi interface, of whatever type. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// The kernel or driver refuses.
    pub fn delete(&mut self, name: &str) -> Result<bool> {
        let Some(interface) = self.interface(name)? else { return Ok(false) };
        let body = command(CMD_DEL_INTERFACE).with_u32(ATTR_IFINDEX, interface.index);
        match self.netlink.request(self.family, body.octets()) {
            Ok(_) => Ok(true),
            Err(Refusal { source, .. }) if source.raw_os_error() == Some(libc::ENODEV) => Ok(false),
            Err(refusal) => Err(Error::refused("delete interface", name, refusal)),
        }
    }

    /// Puts a monitor interface's radio on a channel, given by its centre in MHz, 20 MHz wide.
    /// Needed to listen or inject where no access point or station of that radio chose a channel;
    /// where one did, the kernel refuses with `EBUSY`.
    ///
    /// # Errors
    ///
    /// There is no such Wi-Fi interface, or the kernel or driver refuses.
    pub fn set_frequency(&mut self, name: &str, mhz: u32) -> Result<()> {
        let interface = self.interface(name)?.ok_or_else(|| Error::NoInterface(name.to_owned()))?;
        let body = command(CMD_SET_CHANNEL)
            .with_u32(ATTR_IFINDEX, interface.index)
            .with_u32(ATTR_WIPHY_FREQ, mhz);
        self.netlink
            .request(self.family, body.octets())
            .map(|_| ())
            .map_err(|refusal| Error::refused("set the channel of", name, refusal))
    }

    fn reuse(&mut self, interface: Interface, phy: &Phy) -> Result<Monitor> {
        if interface.kind == InterfaceType::Monitor && interface.phy == phy.index {
            return Ok(Monitor { interface, created: false });
        }
        let on = self.phys()?.into_iter().find(|phy| phy.index == interface.phy);
        let on = on.map_or_else(|| format!("phy number {}", interface.phy), |phy| phy.name);
        let holder = format!("{} on {on}", interface.kind);
        Err(Error::NameTaken { name: interface.name, holder })
    }
}

const CMD_GET_WIPHY: u8 = 1;
const CMD_GET_INTERFACE: u8 = 5;
const CMD_NEW_INTERFACE: u8 = 7;
const CMD_DEL_INTERFACE: u8 = 8;
const CMD_SET_CHANNEL: u8 = 65;
const ATTR_WIPHY: u16 = 1;
const ATTR_WIPHY_NAME: u16 = 2;
const ATTR_IFINDEX: u16 = 3;
const ATTR_IFNAME: u16 = 4;
const ATTR_IFTYPE: u16 = 5;
const ATTR_MAC: u16 = 6;
const ATTR_MNTR_FLAGS: u16 = 23;
const ATTR_SUPPORTED_IFTYPES: u16 = 32;
const ATTR_WIPHY_FREQ: u16 = 38;
const ATTR_INTERFACE_COMBINATIONS: u16 = 120;
const ATTR_SPLIT_WIPHY_DUMP: u16 = 174;
const COMBINATION_LIMITS: u16 = 1;
const COMBINATION_MAX: u16 = 2;
const LIMIT_MAX: u16 = 1;
const LIMIT_TYPES: u16 = 2;
const NESTED: u16 = 0x8000;

/// The generic header: command, version, two reserved octets.
fn command(number: u8) -> Body {
    Body::new(&[number, 0, 0, 0])
}

fn attributes(body: &[u8]) -> Attributes<'_> {
    Attributes::new(body.get(4..).unwrap_or_default())
}

fn decode_interface(body: &[u8]) -> Option<Interface> {
    let attributes = attributes(body);
    Some(Interface {
        // A device without a network interface, such as that of Wi-Fi Direct, has no index.
        index: attributes.u32(ATTR_IFINDEX)?,
        name: attributes.text(ATTR_IFNAME)?,
        phy: attributes.u32(ATTR_WIPHY)?,
        kind: InterfaceType::from_number(attributes.u32(ATTR_IFTYPE)?),
        frequency: attributes.u32(ATTR_WIPHY_FREQ),
        mac: Mac::new(attributes.get(ATTR_MAC)?.try_into().ok()?),
    })
}

/// Puts the pieces of a split dump together: each radio comes in many messages.
fn decode_phys(answer: &Answer) -> Vec<Phy> {
    let mut phys: BTreeMap<u32, Phy> = BTreeMap::new();
    for body in answer {
        let attributes = attributes(body);
        let Some(index) = attributes.u32(ATTR_WIPHY) else { continue };
        let phy = phys.entry(index).or_insert_with(|| Phy {
            index,
            name: String::new(),
            types: Vec::new(),
            access_points: 0,
        });
        if let Some(name) = attributes.text(ATTR_WIPHY_NAME) {
            phy.name = name;
        }
        for kind in types(attributes.nested(ATTR_SUPPORTED_IFTYPES)) {
            phy.types.push(kind);
            if kind == InterfaceType::AccessPoint {
                phy.access_points = phy.access_points.max(1);
            }
        }
        for (_, combination) in attributes.nested(ATTR_INTERFACE_COMBINATIONS) {
            let allowed = access_points(Attributes::new(combination));
            phy.access_points = phy.access_points.max(allowed);
        }
    }
    phys.into_values().collect()
}

/// A set of interface types: each attribute's type is one, its value is empty.
fn types(set: Attributes<'_>) -> impl Iterator<Item = InterfaceType> {
    set.map(|(kind, _)| InterfaceType::from_number(u32::from(kind)))
}

/// How many access points a combination allows: its limits that include them, together no more
/// than it allows interfaces.
fn access_points(combination: Attributes<'_>) -> u32 {
    let limits = combination
        .nested(COMBINATION_LIMITS)
        .map(|(_, limit)| Attributes::new(limit))
        .filter(|limit| {
            types(limit.nested(LIMIT_TYPES)).any(|kind| kind == InterfaceType::AccessPoint)
        })
        .filter_map(|limit| limit.u32(LIMIT_MAX))
        .fold(0, u32::saturating_add);
    limits.min(combination.u32(COMBINATION_MAX).unwrap_or(limits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(pieces: &[(u16, Vec<u8>)]) -> Vec<u8> {
        pieces
            .iter()
            .fold(Body::new(&[]), |body, (kind, value)| body.with(*kind, value))
            .octets()
            .to_vec()
    }

    fn limit(max: u32, kinds: &[u16]) -> Vec<u8> {
        let kinds: Vec<_> = kinds.iter().map(|kind| (*kind, Vec::new())).collect();
        nested(&[(LIMIT_MAX, max.to_ne_bytes().to_vec()), (LIMIT_TYPES, nested(&kinds))])
    }

    #[test]
    fn a_radio_is_put_together_from_the_pieces_of_a_split_dump() {
        let combination = nested(&[
            (COMBINATION_LIMITS, nested(&[(1, limit(2, &[2, 8])), (2, limit(16, &[3, 7]))])),
            (COMBINATION_MAX, 12u32.to_ne_bytes().to_vec()),
        ]);
        let piece = || command(3).with_u32(ATTR_WIPHY, 4);
        let answer: Answer = [
            piece().with_text(ATTR_WIPHY_NAME, "phy4"),
            piece().with(ATTR_SUPPORTED_IFTYPES | NESTED, &nested(&[(3, vec![]), (6, vec![])])),
            piece().with(ATTR_INTERFACE_COMBINATIONS | NESTED, &nested(&[(1, combination)])),
        ]
        .iter()
        .map(|body| body.octets().to_vec())
        .collect();
        let phys = decode_phys(&answer);
        assert_eq!(phys.len(), 1);
        assert_eq!((phys[0].index, phys[0].name.as_str()), (4, "phy4"));
        assert!(phys[0].supports(InterfaceType::Monitor));
        assert_eq!(phys[0].access_points, 12);
    }

    #[test]
    fn a_radio_without_combinations_runs_one_access_point_or_none() {
        let with = |kinds: &[(u16, Vec<u8>)]| {
            let body = command(3).with_u32(ATTR_WIPHY, 0);
            let body = body.with(ATTR_SUPPORTED_IFTYPES, &nested(kinds));
            decode_phys(&vec![body.octets().to_vec()])[0].access_points
        };
        assert_eq!(with(&[(3, vec![]), (2, vec![])]), 1);
        assert_eq!(with(&[(2, vec![])]), 0);
    }

    #[test]
    fn a_device_without_a_network_interface_is_left_out() {
        let body = command(7).with_u32(ATTR_WIPHY, 0).with_u32(ATTR_IFTYPE, 10);
        assert_eq!(decode_interface(body.octets()), None);
    }
}
