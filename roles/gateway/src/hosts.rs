//! The machine's own addresses at which others may reach the data plane: those of the interfaces by which
//! traffic leaves, and that of the home LAN, where the home's devices are and perhaps another gateway. Those
//! of roamers' segments and tunnels are no business of anybody else, nor are those of other networks here.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use homeward_daemon::SystemClock;
use homeward_linux::{DefaultRoutes, Link, Links, NetworkWatch, Networks, OwnAddress};
use homeward_model::Clock;

use crate::plane::TAP_PREFIX;
use crate::segments;

/// The most that are told.
const MOST: usize = 6;
/// From one look to the next: interfaces come and go with every roamer.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks which there are.
#[derive(Debug)]
pub(crate) struct Hosts {
    /// Where the data plane listens.
    listen: Vec<SocketAddr>,
    /// The bridge of the home LAN.
    home: Option<String>,
    known: Vec<SocketAddr>,
}

impl Hosts {
    /// For a data plane that listens there.
    pub(crate) fn new(listen: Vec<SocketAddr>, home: Option<String>) -> Self {
        Self { listen, home, known: Vec::new() }
    }

    /// Looks; `Some` if that is news.
    pub(crate) fn look(&mut self) -> Option<Vec<SocketAddr>> {
        match self.now() {
            Ok(hosts) if hosts != self.known => {
                self.known.clone_from(&hosts);
                Some(hosts)
            }
            Ok(_) => None,
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(error, "the machine's own addresses cannot be seen");
                None
            }
        }
    }

    /// Tells of each change, for ever.
    pub(crate) async fn watch(mut self, tell: impl Fn(Vec<SocketAddr>)) {
        let watch = match NetworkWatch::open() {
            Ok(watch) => watch,
            Err(error) => {
                return tracing::error!(%error, "the machine's own addresses are not watched");
            }
        };
        loop {
            let looked = tokio::task::spawn_blocking(move || {
                let news = self.look();
                (self, news)
            });
            // The look has not ended only if the daemon is ending.
            let Ok((this, news)) = looked.await else { return };
            self = this;
            if let Some(hosts) = news {
                tell(hosts);
            }
            SystemClock.until(Some(SystemClock.now() + PAUSE)).await;
            if let Err(error) = watch.changed().await {
                return tracing::error!(%error, "the machine's own addresses are not watched any more");
            }
        }
    }

    fn now(&self) -> homeward_linux::Result<Vec<SocketAddr>> {
        let links = Links::open()?.all()?;
        let out = DefaultRoutes::open()?.interfaces()?;
        let own = Networks::open()?.own_addresses()?;
        Ok(self.choose(&links, &out, &own))
    }

    /// Those of the home LAN first.
    fn choose(&self, links: &[Link], out: &BTreeSet<u32>, own: &[OwnAddress]) -> Vec<SocketAddr> {
        let is_home = |link: &Link| self.home.as_ref() == Some(&link.name);
        let home = links.iter().filter(|link| is_home(link));
        let others = links.iter().filter(|link| !is_home(link) && out.contains(&link.index));
        let told = home.chain(others).filter(|link| link.up && !is_of_roamers(link));
        let mut found = Vec::new();
        for link in told {
            let lasting = own.iter().filter(|own| own.interface == link.index && own.lasting);
            let addresses = lasting.map(|own| own.address.address);
            for address in addresses.filter(|address| is_elsewhere_known(*address)) {
                found.extend(
                    self.listen
                        .iter()
                        .filter(|at| covers(at, address))
                        .map(|at| SocketAddr::new(address, at.port())),
                );
            }
        }
        found.truncate(MOST);
        found
    }
}

/// Whether an interface is of what roamers have here: their segments and tunnels.
fn is_of_roamers(link: &Link) -> bool {
    link.is_ours() || [segments::PREFIX, TAP_PREFIX].iter().any(|of| link.name.starts_with(of))
}

/// Whether an address means anything to other machines.
fn is_elsewhere_known(address: IpAddr) -> bool {
    let of_the_link = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(of_the_link || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

/// Whether a socket that listens there has that address, too; one that names an address has that one, which
/// is told anyway.
fn covers(listen: &SocketAddr, address: IpAddr) -> bool {
    // That of IPv6 has both families.
    listen.ip().is_unspecified() && (listen.is_ipv6() || address.is_ipv4())
}

#[cfg(test)]
mod tests {
    use homeward_linux::Address;

    use super::*;

    fn link(index: u32, name: &str) -> Link {
        let name = name.to_owned();
        Link { index, name, mac: None, up: true, kind: None, master: None, alias: None }
    }

    fn own(interface: u32, address: &str) -> OwnAddress {
        let address = Address { address: address.parse().unwrap(), prefix: 24 };
        OwnAddress { interface, address, lasting: true }
    }

    fn hosts(listen: &[&str]) -> Hosts {
        let listen = listen.iter().map(|at| at.parse().unwrap()).collect();
        Hosts::new(listen, Some("br-lan".to_owned()))
    }

    fn texts(found: &[SocketAddr]) -> Vec<String> {
        found.iter().map(ToString::to_string).collect()
    }

    const BOTH: &[&str] = &["[::]:1701"];

    #[test]
    fn the_home_lan_and_the_ways_out_are_told_and_no_other_network() {
        let segment =
            Link { alias: Some(homeward_linux::bridge::ALIAS.to_owned()), ..link(5, "x") };
        let down = Link { up: false, ..link(8, "eth1") };
        let links = [
            link(1, "lo"),
            link(2, "eth0"),
            link(3, "docker0"),
            link(4, "br-lan"),
            segment,
            link(6, "hwb3"),
            link(7, "hwt0"),
            down,
        ];
        let own = [
            own(1, "127.0.0.1"),
            own(1, "192.0.2.99"),
            own(2, "10.0.0.2"),
            own(3, "172.17.0.1"),
            own(4, "192.168.1.1"),
            own(5, "192.168.5.1"),
            own(6, "192.168.6.1"),
            own(7, "192.168.7.1"),
            own(8, "192.168.8.1"),
        ];
        let hosts = hosts(BOTH);
        // Whoever has given a roamers' segment a way out has not made it anybody's business.
        let out = BTreeSet::from([2, 5, 6, 7, 8]);
        let found = hosts.choose(&links, &out, &own);
        assert_eq!(texts(&found), ["192.168.1.1:1701", "10.0.0.2:1701"]);
        let stranger = Hosts { home: None, ..hosts };
        assert_eq!(texts(&stranger.choose(&links, &out, &own)), ["10.0.0.2:1701"]);
    }

    #[test]
    fn addresses_that_mean_nothing_elsewhere_or_not_for_long_are_not_told() {
        let temporary = OwnAddress { lasting: false, ..own(4, "2001:db8::7") };
        let own = [
            own(4, "127.0.0.2"),
            own(4, "169.254.3.4"),
            own(4, "fe80::1"),
            own(4, "::1"),
            temporary,
            own(4, "2001:db8::1"),
        ];
        let found = hosts(BOTH).choose(&[link(4, "br-lan")], &BTreeSet::new(), &own);
        assert_eq!(texts(&found), ["[2001:db8::1]:1701"]);
    }

    #[test]
    fn an_address_is_told_with_the_port_of_each_socket_that_has_it() {
        let links = [link(4, "br-lan")];
        let own = [own(4, "192.168.1.1"), own(4, "2001:db8::1")];
        for (listen, told) in [
            (BOTH, &["192.168.1.1:1701", "[2001:db8::1]:1701"][..]),
            (&["0.0.0.0:1701"], &["192.168.1.1:1701"]),
            (&["192.168.1.1:1701"], &[]),
            (
                &["0.0.0.0:1701", "[::]:1702"],
                &["192.168.1.1:1701", "192.168.1.1:1702", "[2001:db8::1]:1702"],
            ),
        ] {
            assert_eq!(texts(&hosts(listen).choose(&links, &BTreeSet::new(), &own)), told);
        }
    }

    #[test]
    fn so_many_are_told_and_no_more() {
        let own: Vec<OwnAddress> = (1..=20).map(|n| own(4, &format!("192.168.1.{n}"))).collect();
        let found = hosts(BOTH).choose(&[link(4, "br-lan")], &BTreeSet::new(), &own);
        assert_eq!(found.len(), MOST);
    }
}
