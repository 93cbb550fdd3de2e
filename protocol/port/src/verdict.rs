//! What a [`Port`](crate::Port) says of a frame, and how often it said so.

use std::fmt;

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It goes nowhere.
    Drop(Reason),
}

impl Verdict {
    /// Whether the frame goes on.
    pub const fn passes(self) -> bool {
        matches!(self, Self::Pass)
    }
}

impl From<Result<(), Reason>> for Verdict {
    fn from(result: Result<(), Reason>) -> Self {
        match result {
            Ok(()) => Self::Pass,
            Err(reason) => Self::Drop(reason),
        }
    }
}

/// Declares the reasons once, with their names and what they mean.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident => $name:literal),+ $(,)?) => {
        /// Why a frame goes nowhere. Where several hold, the first in the order of the checks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant),+
        }

        impl Reason {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// A word for logs and metrics, in snake case.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

reasons! {
    /// Cut short, or a header that contradicts itself.
    Malformed => "malformed",
    /// From the stranger: the source is none of the port's devices. To it: the source is a group.
    SourceMac => "source_mac",
    /// To the stranger, from one of its own addresses: the device is at home after all, or there
    /// is a loop.
    Echo => "echo",
    /// To the stranger: unicast to somebody else.
    NotForIt => "not_for_it",
    /// To a reserved address of IEEE 802.1Q 8.6.3 (01-80-C2-00-00-0X): spanning tree, LLDP, PAUSE.
    LinkControl => "link_control",
    /// With a VLAN tag (IEEE 802.1Q, 802.1ad, or the older 0x9100 and 0x9200).
    Vlan => "vlan",
    /// Neither IPv4, IPv6 nor ARP, nor an access point's layer-2 update.
    Protocol => "protocol",
    /// A DHCP server's message (DHCPv4 or DHCPv6).
    DhcpServer => "dhcp_server",
    /// A DHCP client's message for another client, or as a relay would send it.
    DhcpClient => "dhcp_client",
    /// A router's message: an advertisement, a redirect, a renumbering (ICMPv4, ICMPv6).
    Router => "router",
    /// A multicast querier's or multicast router's message (IGMP, MLD).
    Querier => "querier",
    /// A routing or router redundancy protocol: RIP, OSPF, EIGRP, PIM, VRRP, HSRP, GLBP.
    Routing => "routing",
    /// IPv6 headers that hide what follows: a chain that is cut, longer than
    /// [`MAX_EXTENSIONS`](crate::MAX_EXTENSIONS), or continued with an unknown one
    /// (RFC 7113 2).
    HeaderChain => "header_chain",
    /// DHCP or neighbour discovery in fragments (RFC 6980).
    Fragment => "fragment",
    /// ARP for an address that is not the device's, or with another's hardware address.
    ArpSpoof => "arp_spoof",
    /// Neighbour discovery for an address that is not the device's, with another's link-layer
    /// address, or as a router.
    NeighbourSpoof => "neighbour_spoof",
    /// An IP source address that is not the device's.
    SourceAddress => "source_address",
    /// One address more than a device may have.
    AddressLimit => "address_limit",
    /// More ARP than allowed.
    ArpRate => "arp_rate",
    /// More broadcast and link-local multicast than allowed.
    GroupRate => "group_rate",
    /// More multicast of wider scope than allowed.
    StreamRate => "stream_rate",
    /// Over the device's rate.
    Policed => "policed",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a port counted since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Of frames from the stranger.
    pub from_stranger: Tally,
    /// Of frames to the stranger.
    pub to_stranger: Tally,
}

/// What a port counted in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Frames that passed. A super-frame is one.
    pub passed: u64,
    /// Their octets, Ethernet headers included.
    pub octets: u64,
    dropped: [u64; Reason::ALL.len()],
}

impl Tally {
    /// How many frames were dropped for that reason.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.dropped.get(usize::from(reason as u8)).copied().unwrap_or_default()
    }

    /// How many frames were dropped.
    pub fn dropped_in_all(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Every reason with its count, zeros included.
    pub fn drops(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.iter().copied().zip(self.dropped)
    }

    #[inline]
    pub(crate) fn count(&mut self, verdict: Verdict, octets: usize) {
        match verdict {
            Verdict::Pass => {
                self.passed += 1;
                self.octets += octets as u64;
            }
            Verdict::Drop(reason) => {
                if let Some(count) = self.dropped.get_mut(usize::from(reason as u8)) {
                    *count += 1;
                }
            }
        }
    }
}
