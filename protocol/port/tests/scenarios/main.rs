//! What a stranger may try at a home's port, and what goes on working.
//!
//! ```text
//!   device (02::01), other device (02::02) ══ tunnel ══ [port] ── LAN bridge ── router (02::ff:01)
//!                                                                          └─── printer (02::ff:02)
//! ```
#![cfg(test)]

mod addresses;
mod attacks;
mod foreign;
mod limits;
mod neighbours;
mod rfc7113;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use homeward_model::{Instant, Mac};
use homeward_port::testing::{self, ROUTER_V4, build};
use homeward_port::{Neighbour, Origin, Port, Reason, Settings, Side, Verdict};

pub(crate) use homeward_port::testing::{DEVICE, OTHER_DEVICE, ROUTER};

pub(crate) const PRINTER: Mac = Mac::new([2, 0, 0, 0, 0xff, 2]);
pub(crate) const STRANGER: Mac = Mac::new([2, 0, 0, 0, 0xee, 1]);
pub(crate) const OWN_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 50);
pub(crate) const PRINTER_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);
pub(crate) const INTERNET_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
pub(crate) const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const OWN_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x50);
pub(crate) const OWN_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x50);
pub(crate) const INTERNET_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 7);
pub(crate) const ALL_NODES_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A port and a clock.
pub(crate) struct Bench {
    pub(crate) port: Port,
    pub(crate) now: Instant,
}

impl Bench {
    pub(crate) fn home() -> Self {
        Self::with(settings())
    }

    /// A port that knows the device's addresses already, as it does of all frames but the first.
    pub(crate) fn settled() -> Self {
        let mut bench = Self::home();
        assert_eq!(bench.up_v4(&tcp_v4(OWN_V4)), Verdict::Pass);
        for own in [OWN_V6, OWN_LINK_LOCAL] {
            assert_eq!(bench.up_v6(&tcp_v6(own)), Verdict::Pass);
        }
        bench
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        Self { port: Port::new(settings, now), now }
    }

    pub(crate) fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    pub(crate) fn up(&mut self, frame: &[u8]) -> Verdict {
        self.port.from_stranger(frame, self.now)
    }

    pub(crate) fn down(&mut self, frame: &[u8]) -> Verdict {
        self.port.to_stranger(frame, self.now)
    }

    /// An IPv4 packet from the device to the router.
    pub(crate) fn up_v4(&mut self, packet: &[u8]) -> Verdict {
        self.up(&build::ethernet(ROUTER, DEVICE, build::IPV4, packet))
    }

    /// An IPv6 packet from the device to all nodes.
    pub(crate) fn up_v6(&mut self, packet: &[u8]) -> Verdict {
        self.up(&build::ethernet(build::ALL_NODES, DEVICE, build::IPV6, packet))
    }

    /// ARP from the device to everybody.
    pub(crate) fn up_arp(&mut self, octets: &[u8]) -> Verdict {
        self.up(&build::ethernet(build::BROADCAST, DEVICE, build::ARP, octets))
    }

    /// The home's DHCP server acknowledges.
    pub(crate) fn lease(&mut self, to: Mac, address: Ipv4Addr, seconds: u32) {
        let ack = build::Dhcp::ack(to, address, seconds).octets();
        let packet = build::ipv4(ROUTER_V4, address, 17, &build::udp(67, 68, &ack));
        assert_eq!(self.down(&build::ethernet(to, ROUTER, build::IPV4, &packet)), Verdict::Pass);
    }

    /// What is known to be a device's.
    pub(crate) fn bound(&self, device: Mac) -> Vec<(String, Origin)> {
        let own = self.port.bindings(self.now).filter(|binding| binding.mac == device);
        own.map(|binding| (binding.address.to_string(), binding.origin)).collect()
    }
}

pub(crate) fn settings() -> Settings {
    let mut settings = testing::settings(Side::Home);
    settings.protected.push(Neighbour { address: ROUTER_V6.into(), mac: Some(ROUTER) });
    settings
}

pub(crate) fn dropped(reason: Reason) -> Verdict {
    Verdict::Drop(reason)
}

/// A TCP segment that says nothing.
pub(crate) fn tcp_v4(source: Ipv4Addr) -> Vec<u8> {
    build::ipv4(source, INTERNET_V4, 6, &[0; 20])
}

pub(crate) fn tcp_v6(source: Ipv6Addr) -> Vec<u8> {
    build::ipv6(source, INTERNET_V6, 6, &[0; 20])
}
