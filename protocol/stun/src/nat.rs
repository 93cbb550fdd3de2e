//! What answers say of what is between a socket and the Internet.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// How one server sees a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Mapping {
    /// The socket's own address, where that is known.
    pub local: Option<SocketAddr>,
    /// Where the server sees it.
    pub mapped: SocketAddr,
}

impl Mapping {
    /// Whether the socket's address is translated on the way; `None` if its own is not known.
    pub fn is_translated(&self) -> Option<bool> {
        self.local.map(|local| local != self.mapped)
    }
}

/// What is between, as far as the answers tell (RFC 4787 4.1, RFC 5780 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nat {
    /// Nobody has answered.
    Unknown,
    /// Nothing that translates addresses.
    None,
    /// A NAT, of which one server's answer tells no more.
    Behind,
    /// A NAT that has one address and port for a socket, whomever it sends to: others can send there.
    SameForAll,
    /// A NAT with another address or port for each whom a socket sends to: what one sees is of no use
    /// to another.
    PerDestination,
}

impl Nat {
    /// What these say, each of another server. Addresses of one family are compared; the worse of the
    /// two families counts.
    pub fn of(mappings: &[Mapping]) -> Self {
        let family = |ipv4| -> Self {
            let of = |mapping: &&Mapping| mapping.mapped.is_ipv4() == ipv4;
            let mut seen = mappings.iter().filter(of);
            let Some(first) = seen.next() else { return Self::Unknown };
            let translated = mappings.iter().filter(of).any(|m| m.is_translated() != Some(false));
            let (mut others, mut differs) = (0, false);
            for other in seen {
                others += 1;
                differs |= other.mapped != first.mapped;
            }
            match (translated, others) {
                (false, _) => Self::None,
                (true, 0) => Self::Behind,
                (true, _) if differs => Self::PerDestination,
                (true, _) => Self::SameForAll,
            }
        };
        let (v4, v6) = (family(true), family(false));
        if v6.rank() > v4.rank() { v6 } else { v4 }
    }

    /// Whether there is one.
    pub const fn is_there(self) -> bool {
        matches!(self, Self::Behind | Self::SameForAll | Self::PerDestination)
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::None => 1,
            Self::SameForAll => 2,
            Self::Behind => 3,
            Self::PerDestination => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(local: &str, mapped: &str) -> Mapping {
        Mapping { local: local.parse().ok(), mapped: mapped.parse().unwrap() }
    }

    #[test]
    fn what_is_between_is_told_from_what_servers_see() {
        let own = mapping("192.0.2.7:1701", "192.0.2.7:1701");
        let first = mapping("10.0.0.2:1701", "192.0.2.7:1701");
        let other_port = mapping("10.0.0.2:1701", "192.0.2.7:40001");
        let other_address = mapping("10.0.0.2:1701", "192.0.2.8:1701");
        let v6 = mapping("[2001:db8::1]:1701", "[2001:db8::1]:1701");
        for (mappings, nat) in [
            (&[][..], Nat::Unknown),
            (&[own], Nat::None),
            (&[own, own, v6], Nat::None),
            (&[first], Nat::Behind),
            (&[first, v6], Nat::Behind),
            (&[first, first], Nat::SameForAll),
            (&[first, other_port], Nat::PerDestination),
            (&[first, first, other_address], Nat::PerDestination),
            (&[v6, first, other_port], Nat::PerDestination),
            // Its own address is not known: that there is nothing in between cannot be said.
            (&[mapping("", "192.0.2.7:1701")], Nat::Behind),
        ] {
            assert_eq!(Nat::of(mappings), nat, "{mappings:?}");
        }
    }
}
