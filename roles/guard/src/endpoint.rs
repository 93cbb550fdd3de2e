//! Flows that name an address.

use std::net::{IpAddr, SocketAddr};

use homeward_keychain::Flow;

/// What carries a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// `tcp`.
    Tcp,
    /// `udp`.
    Udp,
}

/// Where a flow comes from: `tcp 192.0.2.7` is all TCP of that address, `udp 192.0.2.7:5060` or
/// `udp [2001:db8::7]:5060` what comes from one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// What carries it.
    pub carrier: Carrier,
    /// The device's address.
    pub address: IpAddr,
    /// Its port; `None` is any.
    pub port: Option<u16>,
}

impl Endpoint {
    /// The one that a flow names; `None` where it names something else, such as a call.
    pub fn of(flow: &Flow) -> Option<Self> {
        let (carrier, at) = flow.as_str().split_once(' ')?;
        let carrier = match carrier {
            "tcp" => Carrier::Tcp,
            "udp" => Carrier::Udp,
            _ => return None,
        };
        let (address, port) = match at.parse::<SocketAddr>() {
            Ok(at) => (at.ip(), Some(at.port())),
            Err(_) => (at.parse().ok()?, None),
        };
        Some(Self { carrier, address: address.to_canonical(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_names_an_address_with_a_port_or_without() {
        let of = |text: &str| Endpoint::of(&text.parse().unwrap());
        let is = |carrier, address: &str, port| {
            Some(Endpoint { carrier, address: address.parse().unwrap(), port })
        };
        assert_eq!(of("tcp 192.0.2.7"), is(Carrier::Tcp, "192.0.2.7", None));
        assert_eq!(of("udp 192.0.2.7:5060"), is(Carrier::Udp, "192.0.2.7", Some(5060)));
        assert_eq!(of("udp 2001:db8::7"), is(Carrier::Udp, "2001:db8::7", None));
        assert_eq!(of("tcp [2001:db8::7]:443"), is(Carrier::Tcp, "2001:db8::7", Some(443)));
        assert_eq!(of("tcp ::ffff:192.0.2.7"), is(Carrier::Tcp, "192.0.2.7", None));
        for other in ["call 7", "tcp", "tcp sip.example", "tcp 192.0.2.7:x", "sctp 192.0.2.7"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
