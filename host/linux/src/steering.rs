//! Where new connections go, of a machine that has Wi-Fi and a cellular bearer: by routing rules
//! (rtnetlink(7), fib_rules) in front of the system's own routes, which are read and not touched.
//!
//! ```text
//!  priority  rule
//!  p         main, but for its default routes            what is on a link is reached by it
//!  p + 1     from an address of Wi-Fi    → table t       connections stay where they began
//!  p + 2     from an address of cellular → table t + 1
//!  p + 3     all                         → table t + 2   new ones go where they should
//!  32766     main                                        as it was before
//! ```
//!
//! So it does not matter which default route a DHCP client or a modem manager thinks best, and
//! old connections end in peace. Where the system's best default route is by a third interface, a
//! cable say, that is left to win: it is neither of the two that are chosen between. Where the one that is chosen has no
//! default route in a family, connections of that family fail rather than go by the other.
//!
//! Rules and routes are marked with a routing protocol number, [`PROTOCOL`], and only those that
//! bear it are ever removed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::error::{Error, Refusal, Result};
use crate::link::{Link, Links};
use crate::neighbour::Networks;
use crate::netlink::{Attributes, Body, Netlink};
use crate::routes::{
    DefaultRoute, FAMILIES, MAIN, PROTOCOL, Way, defaults, family, ip, octets, route,
};

const FRA_SRC: u16 = 2;
const FRA_PRIORITY: u16 = 6;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_PROTOCOL: u16 = 21;
const FR_ACT_TO_TBL: u8 = 1;

/// Sends new connections by Wi-Fi or by cellular, in one network namespace: that of the thread
/// which opened it.
#[derive(Debug)]
pub struct Steering {
    netlink: Netlink,
    links: Links,
    networks: Networks,
    priority: u32,
    table: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    family: u8,
    priority: u32,
    from: Option<IpAddr>,
    table: u32,
}

impl Steering {
    /// Opens the sockets. Nothing is changed. Four rules from `priority` on and three tables from
    /// `table` on will be used.
    ///
    /// # Errors
    ///
    /// The kernel gives no socket.
    pub fn open(priority: u32, table: u32) -> Result<Self> {
        let netlink = Netlink::open(libc::NETLINK_ROUTE)
            .map_err(|e| Error::refused("open a route netlink socket", "", e))?;
        let (links, networks) = (Links::open()?, Networks::open()?);
        Ok(Self { netlink, links, networks, priority, table })
    }

    /// Sends new connections by `wifi` or by `cellular`, which are names of interfaces; one that
    /// is not there leads nowhere. To be called again when addresses or default routes of either
    /// have changed.
    ///
    /// # Errors
    ///
    /// The kernel refuses: without CAP_NET_ADMIN, say. What was in force may be, in part.
    pub fn steer(&mut self, wifi: &str, cellular: Option<&str>, prefer_wifi: bool) -> Result<()> {
        let wifi = self.links.by_name(wifi)?;
        let cellular = match cellular {
            Some(name) => self.links.by_name(name)?,
            None => None,
        };
        let pair = [wifi, cellular];
        let mut rules = BTreeSet::new();
        let mut routes = BTreeMap::new();
        let mut addresses = Vec::new();
        for (link, n) in pair.iter().zip(0u32..) {
            let own = match link {
                Some(link) => self.networks.addresses(&link.name)?,
                None => Vec::new(),
            };
            let own: Vec<IpAddr> = own.into_iter().map(|own| own.address).filter(far).collect();
            for from in &own {
                let family = family(from);
                let (priority, table) = (self.priority + 1 + n, self.table + n);
                rules.insert(Rule { family, priority, from: Some(*from), table });
            }
            addresses.push(own);
        }
        for family in FAMILIES {
            let main: Vec<DefaultRoute> = defaults(&mut self.netlink, family)?
                .into_iter()
                .filter(|d| d.table == MAIN)
                .collect();
            let mut ways = pair.iter().zip(&addresses).zip(0u32..).map(|((link, own), n)| {
                let way = link.as_ref().and_then(|link| way(link, own, family, &main));
                if let Some(way) = way {
                    routes.insert((family, self.table + n), way);
                }
                way
            });
            let (by_wifi, by_cellular) = (ways.next().flatten(), ways.next().flatten());
            drop(ways);
            rules.insert(Rule { family, priority: self.priority, from: None, table: MAIN });
            let (priority, table) = (self.priority + 3, self.table + 2);
            rules.insert(Rule { family, priority, from: None, table });
            let best = main.iter().min_by_key(|default| default.metric).map(|d| d.way);
            let third = match best {
                Some(Way::By { interface, .. }) => {
                    !pair.iter().flatten().any(|link| link.index == interface)
                }
                Some(Way::Nowhere) | None => false,
            };
            let (chosen, other) =
                if prefer_wifi { (by_wifi, by_cellular) } else { (by_cellular, by_wifi) };
            if !third && let Some(way) = chosen.or(other.map(|_| Way::Nowhere)) {
                routes.insert((family, table), way);
            }
        }
        self.put_routes(&routes)?;
        self.put_rules(&rules)
    }

    /// Removes all that is ours. Whether there was anything.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn remove(&mut self) -> Result<bool> {
        let mut any = false;
        // Without the rules, the routes are of no effect.
        for rule in self.rules()? {
            any = true;
            self.delete_rule(rule)?;
        }
        for family in FAMILIES {
            for default in self.own_defaults(family)? {
                any = true;
                self.delete_route(default)?;
            }
        }
        Ok(any)
    }

    /// Routes are replaced before the rules change: no connection is without one in between.
    fn put_routes(&mut self, wanted: &BTreeMap<(u8, u32), Way>) -> Result<()> {
        for family in FAMILIES {
            let had = self.own_defaults(family)?;
            for ((_, table), way) in wanted.iter().filter(|((f, _), _)| *f == family) {
                if had.iter().any(|had| had.table == *table && had.way == *way) {
                    continue;
                }
                let flags = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
                let body = route(family, *table, *way, None);
                self.netlink.request_with(libc::RTM_NEWROUTE, flags, body.octets()).map_err(
                    |e| Error::refused("set a default route in table", table.to_string(), e),
                )?;
            }
            for had in self.own_defaults(family)? {
                if wanted.get(&(family, had.table)) != Some(&had.way) {
                    self.delete_route(had)?;
                }
            }
        }
        Ok(())
    }

    fn put_rules(&mut self, wanted: &BTreeSet<Rule>) -> Result<()> {
        let had: BTreeSet<Rule> = self.rules()?.into_iter().collect();
        for rule in wanted.difference(&had) {
            let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
            self.netlink
                .request_with(libc::RTM_NEWRULE, flags, rule.body().octets())
                .map_err(|e| Error::refused("add a routing rule", rule.priority.to_string(), e))?;
        }
        for rule in had.difference(wanted) {
            self.delete_rule(*rule)?;
        }
        Ok(())
    }

    fn rules(&mut self) -> Result<Vec<Rule>> {
        let mut found = Vec::new();
        for family in FAMILIES {
            let mut header = [0; 12];
            if let Some(first) = header.first_mut() {
                *first = family;
            }
            let answer = self
                .netlink
                .dump(libc::RTM_GETRULE, &header)
                .map_err(|e| Error::refused("list the routing rules", "", e))?;
            found.extend(answer.iter().filter_map(|body| Rule::read(body)));
        }
        Ok(found)
    }

    fn own_defaults(&mut self, family: u8) -> Result<Vec<DefaultRoute>> {
        let tables = self.table..self.table + 3;
        let mut found = defaults(&mut self.netlink, family)?;
        found.retain(|default| default.protocol == PROTOCOL && tables.contains(&default.table));
        Ok(found)
    }

    fn delete_rule(&mut self, rule: Rule) -> Result<()> {
        let done = self.netlink.request(libc::RTM_DELRULE, rule.body().octets());
        gone("remove a routing rule", rule.priority, done)
    }

    fn delete_route(&mut self, default: DefaultRoute) -> Result<()> {
        let body = route(default.family, default.table, default.way, Some(default.metric));
        let done = self.netlink.request(libc::RTM_DELROUTE, body.octets());
        gone("remove the default route of table", default.table, done)
    }
}

/// That something is not there any more is as good as removed: interfaces take their routes along.
fn gone<T>(
    operation: &'static str,
    what: u32,
    done: std::result::Result<T, Refusal>,
) -> Result<()> {
    match done {
        Err(refusal)
            if matches!(refusal.source.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) =>
        {
            Ok(())
        }
        Err(refusal) => Err(Error::refused(operation, what.to_string(), refusal)),
        Ok(_) => Ok(()),
    }
}

/// How an interface leads to everywhere: as the system's best default route by it does. One
/// without neighbours needs none: whatever is sent arrives at the other end.
fn way(link: &Link, own: &[IpAddr], of: u8, main: &[DefaultRoute]) -> Option<Way> {
    let by = |default: &&DefaultRoute| matches!(default.way, Way::By { interface, .. } if interface == link.index);
    let best = main.iter().filter(by).min_by_key(|default| default.metric).map(|d| d.way);
    let alone = link.up && link.mac.is_none() && own.iter().any(|own| family(own) == of);
    best.or(alone.then_some(Way::By { interface: link.index, gateway: None }))
}

fn far(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_loopback(),
    }
}

impl Rule {
    /// `struct fib_rule_hdr`: family, destination's and source's prefix lengths, TOS, table, two
    /// pads, action, flags.
    fn body(self) -> Body {
        let length = self.from.map_or(0, |from| octets(from).len() as u8 * 8);
        let header = [self.family, 0, length, 0, 0, 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0];
        let mut body = Body::new(&header)
            .with_u32(FRA_PRIORITY, self.priority)
            .with_u32(FRA_TABLE, self.table)
            .with(FRA_PROTOCOL, &[PROTOCOL]);
        if let Some(from) = self.from {
            body = body.with(FRA_SRC, &octets(from));
        }
        if self.table == MAIN {
            body = body.with_u32(FRA_SUPPRESS_PREFIXLEN, 0);
        }
        body
    }

    /// One of ours.
    fn read(body: &[u8]) -> Option<Self> {
        let attributes = Attributes::new(body.get(12..)?);
        if attributes.get(FRA_PROTOCOL)? != [PROTOCOL] {
            return None;
        }
        Some(Self {
            family: *body.first()?,
            priority: attributes.u32(FRA_PRIORITY)?,
            from: attributes.get(FRA_SRC).and_then(ip),
            table: attributes.u32(FRA_TABLE)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_of_a_rule_is_read_again() {
        for from in [None, Some("192.0.2.1".parse().unwrap()), Some("2001:db8::1".parse().unwrap())]
        {
            let of = from.map_or(FAMILIES[0], |from| family(&from));
            let rule = Rule { family: of, priority: 7, from, table: 300 };
            assert_eq!(Rule::read(rule.body().octets()), Some(rule));
            for end in 0..rule.body().octets().len() {
                // Cut off anywhere, it is read as less or not at all.
                let _ = Rule::read(&rule.body().octets()[..end]);
            }
        }
    }

    #[test]
    fn what_others_made_is_not_ours() {
        let rule = Rule { family: FAMILIES[0], priority: 7, from: None, table: 300 };
        let mut body = rule.body().octets().to_vec();
        let at = body.iter().position(|octet| *octet == PROTOCOL).unwrap();
        body[at] = 3;
        assert_eq!(Rule::read(&body), None);
    }
}
