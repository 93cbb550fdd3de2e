//! Where others may send: what the owner says, what the data plane listens on, where servers see it, and the
//! machine's own addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use homeward_control::{Endpoint, EndpointKind, Translation};
use homeward_stun::Mapping;

/// The endpoints that the controller is told.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Those that are known without servers.
    own: Vec<Endpoint>,
    /// The machine's own addresses.
    hosts: Vec<SocketAddr>,
    /// How each server sees the data plane.
    mappings: BTreeMap<SocketAddr, Mapping>,
    told: Vec<Endpoint>,
}

impl Seen {
    /// What is known without servers, in order of preference.
    pub(crate) fn new(own: Vec<Endpoint>) -> Self {
        Self { told: own.clone(), own, hosts: Vec::new(), mappings: BTreeMap::new() }
    }

    /// The same has changed. Gives what is to be told.
    pub(crate) fn retune(&mut self, own: Vec<Endpoint>) -> Vec<Endpoint> {
        self.own = own;
        self.told = self.all();
        self.told.clone()
    }

    /// The machine has these addresses. Gives what is to be told, if that is news.
    pub(crate) fn hosts(&mut self, hosts: Vec<SocketAddr>) -> Option<Vec<Endpoint>> {
        self.hosts = hosts;
        let all = self.all();
        let news = all != self.told;
        self.told = all;
        news.then(|| self.told.clone())
    }

    /// A server sees the data plane so. Gives what is to be told, if that is news.
    pub(crate) fn handle(
        &mut self,
        server: SocketAddr,
        mapping: Option<Mapping>,
    ) -> Option<Vec<Endpoint>> {
        match mapping {
            Some(mapping) => self.mappings.insert(server, mapping),
            None => self.mappings.remove(&server),
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
        let mut add = |address, kind| {
            if !all.iter().any(|known| known.address == address) {
                all.push(Endpoint::new(address, kind));
            }
        };
        for mapping in self.mappings.values() {
            match mapping.is_translated() {
                Some(false) => add(mapping.mapped, EndpointKind::Host),
                _ => add(mapping.mapped, EndpointKind::Reflexive),
            }
        }
        // For those behind the same NAT. What servers are asked from may be of an interface that the
        // others do not show.
        let asked_from = self.mappings.values().filter_map(|mapping| mapping.local);
        for local in self.hosts.iter().copied().chain(asked_from) {
            add(local, EndpointKind::Host);
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
        let told = seen.handle(server(1), mapping(local, mapped)).unwrap();
        let [said, port] = own;
        let (reflexive, host) = (endpoint(mapped, Reflexive), endpoint(local, Host));
        assert_eq!(told, [said, port, reflexive, host]);
        assert_eq!(seen.handle(server(2), mapping(local, mapped)), None, "no news");
        assert_eq!(seen.handle(server(1), None), None, "the other still says so");
        assert_eq!(seen.retune(vec![port]), [port, reflexive, host]);
        assert_eq!(seen.handle(server(2), None).unwrap(), [port]);
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
        let told = seen.handle(server(1), mapping(own[1], reflexive)).unwrap();
        assert_eq!(told, [port, endpoint(reflexive, Reflexive), lan, wan]);
        assert_eq!(seen.hosts(hosts[1..].to_vec()).unwrap(), [port, told[1], wan]);
        assert_eq!(seen.retune(vec![port]), [port, told[1], wan], "they stay");
    }

    #[test]
    fn an_address_that_is_not_translated_is_the_gateways_own() {
        let mut seen = Seen::new(vec![endpoint("[::]:1701", Host)]);
        let own = "[2001:db8::7]:1701";
        let told = seen.handle(server(1), mapping(own, own)).unwrap();
        assert_eq!(told, [endpoint("[::]:1701", Host), endpoint(own, Host)]);
    }

    #[test]
    fn the_ports_of_a_nat_that_shows_each_another_are_told_once_and_other_addresses_again() {
        let mut seen = Seen::new(vec![endpoint("[::]:1701", Host)]);
        let local = "10.0.0.2:1701";
        assert!(seen.handle(server(1), mapping(local, "198.51.100.7:40000")).is_some());
        assert!(seen.handle(server(2), mapping(local, "198.51.100.7:50000")).is_some());
        assert_eq!(seen.handle(server(1), mapping(local, "198.51.100.7:40001")), None);
        assert_eq!(seen.handle(server(2), mapping(local, "198.51.100.7:50001")), None);
        assert!(seen.handle(server(1), mapping(local, "198.51.100.8:40002")).is_some());
        // One port for everybody after all.
        assert!(seen.handle(server(2), mapping(local, "198.51.100.8:40002")).is_some());
        assert!(seen.handle(server(1), mapping(local, "198.51.100.8:40003")).is_some());
    }
}
