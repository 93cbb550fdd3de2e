//! What a [`Port`](crate::Port) is told: whose it is, who may use it, how much.

use std::net::IpAddr;

use homeward_model::service::Bandwidth;
use homeward_model::{Instant, Mac};

/// What a [`Port`](crate::Port) is told. [`Settings::default`] admits nobody; with
/// [`devices`](Self::devices) filled in it is fit for use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// At which end of the tunnel the port is.
    pub side: Side,
    /// The devices behind the port. Frames from any other source are dropped. A group address
    /// or the address of zeros admits nobody; of several entries for one MAC the last counts.
    pub devices: Vec<Device>,
    /// Hosts of the home LAN whose addresses no device may claim: its routers, the gateway
    /// itself, and whoever else is known. An entry whose MAC is one of the devices' protects
    /// nothing, so that the machine's neighbour table may be handed over as it is. Home side only.
    pub protected: Vec<Neighbour>,
    /// Which addresses a device may use beside those that it is known to have. Home side only.
    pub addresses: AddressPolicy,
    /// Limits on ARP, broadcast and multicast from each device.
    pub from_stranger: GroupLimits,
    /// Limits on ARP, broadcast and multicast to the devices, all of them together; on ARP that
    /// is for one device alone, to each.
    pub to_stranger: GroupLimits,
}

/// At which end of a tunnel a port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Side {
    /// Between the tunnel and the home LAN's bridge: all rules.
    #[default]
    Home,
    /// Between a virtual access point and the tunnel: link-layer rules, limits, policing.
    Foreign,
}

/// A device that may use the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its address.
    pub mac: Mac,
    /// The most that it may send; `None` is unlimited.
    pub up: Option<Rate>,
    /// The most that is sent to it, group frames not counted; `None` is unlimited.
    pub down: Option<Rate>,
    /// Addresses that it is known to have, such as another port's
    /// [`bindings`](crate::Port::bindings) say. Entries for other MACs are ignored.
    pub bindings: Vec<Binding>,
}

impl Device {
    /// A device without limits and without known addresses.
    pub const fn new(mac: Mac) -> Self {
        Self { mac, up: None, down: None, bindings: Vec::new() }
    }

    /// The same with the rates of its class of service, and bursts that suit them.
    #[must_use]
    pub fn limited_to(mut self, bandwidth: Bandwidth) -> Self {
        self.up = bandwidth.up.map(|bits| Rate::of(bits.into()));
        self.down = bandwidth.down.map(|bits| Rate::of(bits.into()));
        self
    }
}

/// A host of the home LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// Its network address.
    pub address: IpAddr,
    /// Its link-layer address, where it is known.
    pub mac: Option<Mac>,
}

/// A device and a network address that is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The device.
    pub mac: Mac,
    /// The address.
    pub address: IpAddr,
    /// How the port knows.
    pub origin: Origin,
    /// When the binding ends by itself; `None` when it does not.
    pub expires: Option<Instant>,
}

/// How a port knows that an address is a device's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The home's DHCP server said so (RFC 2131 DHCPACK, RFC 8415 Reply).
    Dhcp,
    /// The device used it first, and nobody was known to have it (as in RFC 6620).
    Seen,
}

/// Which addresses a device may use beside those that it is known to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressPolicy {
    /// First come, first served: an address that is not protected, not another device's and not
    /// seen at a host of the LAN becomes the device's with its first use. For IPv4 only until
    /// DHCP has given it one. A device that got its lease at home before the tunnel was there goes
    /// on working, as do SLAAC's addresses (RFC 4862), which nobody assigns.
    #[default]
    Learn,
    /// Only what DHCP gave or [`Device::bindings`] says, and IPv6 link-local addresses as under
    /// [`Learn`](Self::Learn). For LANs without SLAAC.
    Assigned,
}

/// A rate of octets: a token bucket.
///
/// A frame passes while the bucket holds anything at all, and may overdraw it, so a burst smaller
/// than a frame of 64 KiB stops nothing for good; the rate holds in the long run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bits a second, Ethernet headers counted. 0 lets nothing pass.
    pub bits_per_second: u64,
    /// How many octets may pass at once after a quiet time.
    pub burst: u32,
}

impl Rate {
    /// The rate with a burst that TCP can live with: 100 ms worth, and at least 128 KiB.
    pub fn of(bits_per_second: u64) -> Self {
        let burst = u32::try_from(bits_per_second / 80).unwrap_or(u32::MAX).max(128 * 1024);
        Self { bits_per_second, burst }
    }
}

/// A rate of frames: a token bucket. A frame longer than 1,514 octets counts as so many as it
/// would be on a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRate {
    /// Frames a second. 0 lets nothing pass.
    pub frames_per_second: u32,
    /// How many may pass at once after a quiet time.
    pub burst: u32,
}

impl FrameRate {
    /// So many frames a second, and at most so many at once.
    pub const fn new(frames_per_second: u32, burst: u32) -> Self {
        Self { frames_per_second, burst }
    }
}

/// Storm control: limits on what reaches more than one host, each with a bucket of its own, so
/// that a stream does not silence name resolution, nor a storm of broadcasts ARP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupLimits {
    /// ARP, unicast included.
    pub arp: FrameRate,
    /// Broadcast, and multicast that stays on the link (224.0.0.0/24, ff02::/16) or looks for
    /// services (SSDP): DHCP, neighbour discovery, mDNS.
    pub near: FrameRate,
    /// Other multicast, such as television.
    pub wide: FrameRate,
}

impl Default for GroupLimits {
    /// Several times what a busy household's hosts send, and 1 Mbit/s of multicast streams at
    /// most.
    fn default() -> Self {
        Self {
            arp: FrameRate::new(30, 60),
            near: FrameRate::new(100, 200),
            wide: FrameRate::new(80, 80),
        }
    }
}
