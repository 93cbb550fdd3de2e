//! Where others may send: what the owner says, what the data plane listens on, where servers see it, and
//! the machine's own addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use homeward_stun::Mapping;

use crate::endpoint::{Endpoint, EndpointKind, Translation};

/// The endpoints that the controller is told.
#[derive(Debug, Default)]
pub struct Seen {
    /// Those that are known without servers.
    own: Vec<Endpoint>,
    /// The machine's own addresses.
    hosts: Vec<SocketAddr>,
    /// How each server sees the data plane, by each interface.
    mappings: BTreeMap<(u32, SocketAddr), (u8, Mapping)>,
    told: Vec<Endpoint>,
}

impl Seen {
    /// What is known without servers, in order of preference.
    pub fn new(own: Vec<Endpoint>) -> Self {
        Self { told: own.clone(), own, ..Self::default() }
    }

    /// The same has changed. Gives what is to be told.
    pub fn retune(&mut self, own: Vec<Endpoint>) -> Vec<Endpoint> {
        self.own = own;
        self.told = self.all();
        self.told.clone()
    }

    /// The machine has these addresses. Gives what is to be told, if that is news.
    pub fn hosts(&mut self, hosts: Vec<SocketAddr>) -> Option<Vec<Endpoint>> {
        self.hosts = hosts;
        let all = self.all();
        let news = all != self.told;
        self.told = all;
        news.then(|| self.told.clone())
    }

    /// A server that was asked by an interface, which is that of a hybrid device's leg, sees the data
    /// plane so. Gives what is to be told, if that is news.
    pub fn handle(
        &mut self,
        (interface, leg): (u32, u8),
        server: SocketAddr,
        mapping: Option<Mapping>,
    ) -> Option<Vec<Endpoint>> {
        let by = (interface, server);
        match mapping {
            Some(mapping) => self.mappings.insert(by, (leg, mapping)),
            None => self.mappings.remove(&by),
        };
        let all = self.all();
        // A NAT that shows everybody another port shows another whenever it has forgotten the last:
        // that is of no use to anybody, and half of the operator would be told.
        let same = all == self.told
            || (Translation::of(&all) == Translation::PerDestination
                && Translation::of(&self.told) == Translation::PerDestination
                && addresses(&all) == addresses(&self.told));
        if same {
            return None;
        }
        self.told = all;
        Some(self.told.clone())
    }

    fn all(&self) -> Vec<Endpoint> {
        let mut all = self.own.clone();
        let mut add = |address, kind, leg| {
            if !all.iter().any(|known| (known.address, known.leg) == (address, leg)) {
                all.push(Endpoint::new(address, kind).by(leg));
            }
        };
        for (leg, mapping) in self.mappings.values() {
            match mapping.is_translated() {
                Some(false) => add(mapping.mapped, EndpointKind::Host, *leg),
                _ => add(mapping.mapped, EndpointKind::Reflexive, *leg),
            }
        }
        // For those behind the same NAT. What servers are asked from may be of an interface that the
        // others do not show.
        let asked_from =
            self.mappings.values().filter_map(|(leg, mapping)| Some((*leg, mapping.local?)));
        for (leg, local) in self.hosts.iter().map(|host| (0, *host)).chain(asked_from) {
            add(local, EndpointKind::Host, leg);
        }
        all
    }
}

/// The addresses without their ports.
fn addresses(endpoints: &[Endpoint]) -> BTreeSet<IpAddr> {
    endpoints.iter().map(|endpoint| endpoint.address.ip()).collect()
}

#[cfg(test)]
mod tests {
    use EndpointKind::{Host, Reflexive, Told};

    use super::*;

    /// A gateway's only access.
    const OWN: (u32, u8) = (0, 0);

    fn endpoint(address: &str, kind: EndpointKind) -> Endpoint {
        Endpoint::new(address.parse().unwrap(), kind)
    }

    fn mapping(local: &str, mapped: &str) -> Option<Mapping> {
        Some(Mapping { local: local.parse().ok(), mapped: mapped.parse().unwrap() })
    }

    fn server(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn where_servers_see_the_data_plane_is_told_after_what_is_known_without_them() {
        let own = [endpoint("192.0.2.17:1701", Told), endpoint("[::]:1701", Host)];
        let mut seen = Seen::new(own.to_vec());
        let (local, mapped) = ("10.0.0.2:1701", "198.51.100.7:40000");
        let told = seen.handle(OWN, server(1), mapping(local, mapped)).unwrap();
        let [said, port] = own;
        let (reflexive, host) = (endpoint(mapped, Reflexive), endpoint(local, Host));
        assert_eq!(told, [said, port, reflexive, host]);
        assert_eq!(seen.handle(OWN, server(2), mapping(local, mapped)), None, "no news");
        assert_eq!(seen.handle(OWN, server(1), None), None, "the other still says so");
        assert_eq!(seen.retune(vec![port]), [port, reflexive, host]);
        assert_eq!(seen.handle(OWN, server(2), None).unwrap(), [port]);
    }

    #[test]
    fn the_machines_own_addresses_are_told_last_and_each_once() {
        let port = endpoint("[::]:1701", Host);
        let mut seen = Seen::new(vec![port]);
        let own = ["192.168.1.1:1701", "10.0.0.2:1701"];
        let hosts: Vec<SocketAddr> = own.iter().map(|text| text.parse().unwrap()).collect();
        let [lan, wan] = own.map(|text| endpoint(text, Host));
        assert_eq!(seen.hosts(hosts.clone()).unwrap(), [port, lan, wan]);
        assert_eq!(seen.hosts(hosts.clone()), None, "no news");
        let reflexive = "198.51.100.7:40000";
        let told = seen.handle(OWN, server(1), mapping(own[1], reflexive)).unwrap();
        assert_eq!(told, [port, endpoint(reflexive, Reflexive), lan, wan]);
        assert_eq!(seen.hosts(hosts[1..].to_vec()).unwrap(), [port, told[1], wan]);
        assert_eq!(seen.retune(vec![port]), [port, told[1], wan], "they stay");
    }

    #[test]
    fn an_address_that_is_not_translated_is_the_gateways_own() {
        let mut seen = Seen::new(vec![endpoint("[::]:1701", Host)]);
        let own = "[2001:db8::7]:1701";
        let told = seen.handle(OWN, server(1), mapping(own, own)).unwrap();
        assert_eq!(told, [endpoint("[::]:1701", Host), endpoint(own, Host)]);
    }

    #[test]
    fn the_ports_of_a_nat_that_shows_each_another_are_told_once_and_other_addresses_again() {
        let mut seen = Seen::new(vec![endpoint("[::]:1701", Host)]);
        let local = "10.0.0.2:1701";
        assert!(seen.handle(OWN, server(1), mapping(local, "198.51.100.7:40000")).is_some());
        assert!(seen.handle(OWN, server(2), mapping(local, "198.51.100.7:50000")).is_some());
        assert_eq!(seen.handle(OWN, server(1), mapping(local, "198.51.100.7:40001")), None);
        assert_eq!(seen.handle(OWN, server(2), mapping(local, "198.51.100.7:50001")), None);
        assert!(seen.handle(OWN, server(1), mapping(local, "198.51.100.8:40002")).is_some());
        // One port for everybody after all.
        assert!(seen.handle(OWN, server(2), mapping(local, "198.51.100.8:40002")).is_some());
        assert!(seen.handle(OWN, server(1), mapping(local, "198.51.100.8:40003")).is_some());
    }

    #[test]
    fn a_devices_accesses_are_each_seen_on_their_own() {
        let mut seen = Seen::default();
        let (wifi, cellular) = ((7, 0), (8, 1));
        let (own, mapped) = (["10.0.0.2:1701", "10.9.0.2:1701"], "198.51.100.7:40000");
        let reflexive = endpoint(mapped, Reflexive);
        let hosts = own.map(|own| endpoint(own, Host));
        assert_eq!(
            seen.handle(wifi, server(1), mapping(own[0], mapped)).unwrap(),
            [reflexive, hosts[0]]
        );
        // One box may be in front of both.
        let told = seen.handle(cellular, server(1), mapping(own[1], mapped)).unwrap();
        assert_eq!(told, [reflexive, reflexive.by(1), hosts[0], hosts[1].by(1)]);
        // The interface is gone, and with it what is known by it; whose leg it was is not known any more.
        assert_eq!(seen.handle((8, 0), server(1), None).unwrap(), [reflexive, hosts[0]]);
    }
}
