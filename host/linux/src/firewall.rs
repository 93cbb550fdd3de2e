//! What strangers on the gateway's bridges may reach, by nftables.
//!
//! The rules are in tables of our own, one in each family, all called [`TABLE`]. They only ever
//! take away: what they let pass the owner's firewall may still drop. Each family's table is
//! replaced in one transaction, so there is no moment without rules; and because it is replaced as
//! a whole, what a crash left behind goes with the next start.
//!
//! - Bridges of virtual access points: nothing goes from them to the gateway's own stack nor from
//!   it to them, and nothing is routed between them and other interfaces. Said twice where the
//!   kernel can: for IP and ARP by the bridge's name, and in the bridge family for every protocol.
//! - The breakout segment, whose roamers reach the Internet through this gateway: DHCP and DNS
//!   from the gateway, and by the uplinks to public addresses. Not: the gateway's other addresses
//!   and services, other interfaces, private addresses behind the uplink (the owner's LAN may be
//!   there), other roamers, spoofed sources; and nobody reaches it first.
//!
//! Calls block for some milliseconds; they act on the network namespace of the calling thread.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::link::check_name;
use crate::nft::{self, Family, Nft, supported};

/// The name of our table in each family.
pub const TABLE: &str = "homeward";

const INET: Family = Family {
    name: "inet",
    repair: "load nf_tables, nft_masq and nft_fib_inet (OpenWrt: kmod-nft-nat, kmod-nft-fib)",
};
const ARP: Family = Family {
    name: "arp",
    repair: "load nf_tables with CONFIG_NF_TABLES_ARP (OpenWrt: kmod-nft-arp)",
};
const BRIDGE: Family =
    Family { name: "bridge", repair: "load nft_meta_bridge (OpenWrt: kmod-nft-bridge)" };

/// What the firewall is to enforce. [`Rules::default`] is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// What the names of bridges of virtual access points begin with, and no others' do.
    pub bridge_prefix: Option<String>,
    /// Where roamers reach the Internet through this gateway.
    pub breakout: Option<Breakout>,
}

/// The segment for local breakout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breakout {
    /// Its bridge.
    pub segment: String,
    /// The interfaces that lead to the Internet.
    pub uplinks: Vec<String>,
    /// Networks behind the uplinks that roamers must not reach though their addresses are public:
    /// those of the uplinks themselves, where they are somebody's LAN. Address and prefix length.
    pub forbidden: Vec<(IpAddr, u8)>,
}

/// What was put in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The bridge family's rules are in force, too. Without them, protocols other than IP and ARP
    /// reach the gateway's stack, which has no use for them, and roamers on the breakout segment
    /// are kept apart by the access points and by isolated ports only.
    pub bridge_family: bool,
}

/// What the machine can do, for `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Support {
    /// What `nft --version` says.
    pub version: String,
    /// Bridges of virtual access points can be shut off by name (families inet and arp).
    pub guard: bool,
    /// And in the bridge family, too.
    pub bridge_family: bool,
    /// A breakout segment can be had (families inet with NAT and `fib`).
    pub breakout: bool,
    /// Bridged frames pass through the owner's IP firewall, which may drop them: the module
    /// `br_netfilter` is loaded and in force.
    pub bridge_netfilter: bool,
}

/// Something that rules need and the machine has not, or that is in their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lack {
    /// What, in a sentence.
    pub what: &'static str,
    /// What to do about it.
    pub repair: &'static str,
    /// The rules cannot be put in force without.
    pub fatal: bool,
}

impl Support {
    /// What is missing for these rules, or in their way.
    pub fn findings(&self, rules: &Rules) -> Vec<Lack> {
        let (guard, breakout) = (rules.bridge_prefix.is_some(), rules.breakout.is_some());
        let mut found = Vec::new();
        if guard && !self.guard {
            found.push(Lack {
                what: "the kernel has no nftables for IP and ARP, which keep roamers off the gateway",
                repair: "load nf_tables (CONFIG_NF_TABLES_INET, CONFIG_NF_TABLES_ARP; OpenWrt: kmod-nft-core, kmod-nft-arp)",
                fatal: true,
            });
        }
        if breakout && !self.breakout {
            found.push(Lack {
                what: "the kernel cannot do local breakout",
                repair: "load nft_masq and nft_fib_inet (OpenWrt: kmod-nft-nat, kmod-nft-fib)",
                fatal: true,
            });
        }
        if (guard || breakout) && !self.bridge_family {
            found.push(Lack {
                what: "the kernel has no nftables for bridges: only IP and ARP are kept off the gateway",
                repair: "load nft_meta_bridge (CONFIG_NF_TABLES_BRIDGE, CONFIG_NFT_BRIDGE_META; OpenWrt: kmod-nft-bridge)",
                fatal: false,
            });
        }
        if (guard || breakout) && self.bridge_netfilter {
            found.push(Lack {
                what: "bridged frames pass through this machine's IP firewall, which may drop roamers' traffic",
                repair: "set net.bridge.bridge-nf-call-iptables=0 (and -ip6tables, -arptables), or let bridged traffic pass there",
                fatal: false,
            });
        }
        found
    }
}

/// The rules of strangers, kept with the program `nft`.
#[derive(Debug, Clone)]
pub struct Firewall {
    nft: Nft,
}

impl Default for Firewall {
    /// With the `nft` on the PATH.
    fn default() -> Self {
        Self::new("nft")
    }
}

impl Firewall {
    /// With that `nft`.
    pub fn new(nft: impl Into<PathBuf>) -> Self {
        Self { nft: Nft::new(nft) }
    }

    /// Puts rules in force, in place of all that were. Rules of [`Rules::default`] remove them.
    ///
    /// # Errors
    ///
    /// `nft` is not installed, may not, or the kernel lacks what the rules need (but the bridge
    /// family, which is done without); a name is no interface's. Rules that were in force before
    /// stay, family by family.
    pub fn apply(&self, rules: &Rules) -> Result<Applied> {
        let (inet, arp, bridge) = (inet(rules)?, arp(rules)?, bridge(rules)?);
        self.nft.run(INET, &inet)?;
        match self.nft.run(ARP, &arp) {
            Err(Error::Firewall { unsupported: true, .. }) if rules.bridge_prefix.is_none() => {}
            other => other?,
        }
        match self.nft.run(BRIDGE, &bridge) {
            Ok(()) => Ok(Applied { bridge_family: true }),
            Err(Error::Firewall { unsupported: true, said, .. }) => {
                tracing::debug!(said, "no bridge family");
                // A table of an earlier start with other rules must not stay either.
                let _ = self.nft.run(BRIDGE, &replace(BRIDGE, ""));
                Ok(Applied { bridge_family: false })
            }
            Err(error) => Err(error),
        }
    }

    /// Removes all rules; nothing happens if there are none.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply); what can be removed is.
    pub fn remove(&self) -> Result<()> {
        let mut outcome = Ok(());
        for family in [BRIDGE, ARP, INET] {
            if let Err(error) = supported(self.nft.run(family, &replace(family, ""))) {
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Looks at what `nft` and the kernel can do, changing nothing.
    ///
    /// # Errors
    ///
    /// `nft` is not installed, or may not look.
    pub fn check(&self) -> Result<Support> {
        let version = self.nft.version()?;
        let sample = Rules {
            bridge_prefix: Some("hwb".to_owned()),
            breakout: Some(Breakout {
                segment: "segment".to_owned(),
                uplinks: vec!["uplink".to_owned()],
                forbidden: Vec::new(),
            }),
        };
        let guard = Rules { breakout: None, ..sample.clone() };
        let breakout = Rules { bridge_prefix: None, ..sample.clone() };
        Ok(Support {
            version,
            guard: self.nft.can(INET, &inet(&guard)?)? && self.nft.can(ARP, &arp(&guard)?)?,
            bridge_family: self.nft.can(BRIDGE, &bridge(&sample)?)?,
            breakout: self.nft.can(INET, &inet(&breakout)?)?,
            bridge_netfilter: bridge_netfilter(),
        })
    }
}

/// Whether IP rules see bridged frames.
fn bridge_netfilter() -> bool {
    ["iptables", "ip6tables", "arptables"].iter().any(|program| {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{program}");
        std::fs::read_to_string(path).is_ok_and(|value| value.trim() != "0")
    })
}

fn replace(family: Family, chains: &str) -> String {
    nft::replace(family, TABLE, chains)
}

/// Just before the owner's filters, so that what we drop they need not count.
const PRIORITY: &str = "filter - 5";
/// Not before the owner's own translation.
const NAT_PRIORITY: &str = "srcnat + 5";
/// No Internet is there, but somebody's LAN may be: RFC 6890's blocks, and groups.
const PRIVATE_V4: &str = "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, \
    172.16.0.0/12, 192.0.0.0/24, 192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/3";
const PRIVATE_V6: &str = "::/127, ::ffff:0:0/96, fc00::/7, fe80::/10, ff00::/8";

fn inet(rules: &Rules) -> Result<String> {
    let mut chains = String::new();
    if let Some(prefix) = &rules.bridge_prefix {
        let bridges = pattern(prefix)?;
        // Where bridged frames pass the IP hooks (br_netfilter), they come from and go to the same
        // bridge; between two of ours nothing is routed, for none has a route.
        let _ = write!(
            chains,
            "chain guard_input {{ type filter hook input priority {PRIORITY}; policy accept;
                iifname {bridges} counter drop
            }}
            chain guard_output {{ type filter hook output priority {PRIORITY}; policy accept;
                oifname {bridges} counter drop
            }}
            chain guard_forward {{ type filter hook forward priority {PRIORITY}; policy accept;
                iifname {bridges} oifname != {bridges} counter drop
                iifname != {bridges} oifname {bridges} counter drop
            }}\n"
        );
    }
    if let Some(breakout) = &rules.breakout {
        chains += &inet_breakout(breakout)?;
    }
    Ok(replace(INET, &chains))
}

fn inet_breakout(breakout: &Breakout) -> Result<String> {
    let segment = quoted(&breakout.segment)?;
    let uplinks: Vec<String> =
        breakout.uplinks.iter().map(|name| quoted(name)).collect::<Result<_>>()?;
    if uplinks.is_empty() {
        return Err(Error::NoUplink(breakout.segment.clone()));
    }
    let uplinks = format!("{{ {} }}", uplinks.join(", "));
    let mut forbidden = String::new();
    for (address, prefix) in &breakout.forbidden {
        let family = if address.is_ipv4() { "ip" } else { "ip6" };
        let _ = writeln!(forbidden, "{family} daddr {address}/{prefix} counter drop");
    }
    Ok(format!(
        "chain breakout_input {{ type filter hook input priority {PRIORITY}; policy accept;
            iifname {segment} jump to_gateway
        }}
        chain to_gateway {{
            meta nfproto ipv4 udp sport 68 udp dport 67 accept
            ip6 saddr fe80::/10 udp sport 546 udp dport 547 accept
            icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-report, mld-listener-done, mld2-listener-report }} accept
            fib saddr . iif oif missing counter drop
            fib daddr . iif type != {{ local, broadcast, multicast }} counter drop
            meta l4proto {{ tcp, udp }} th dport 53 accept
            counter drop
        }}
        chain breakout_forward {{ type filter hook forward priority {PRIORITY}; policy accept;
            iifname {segment} jump to_internet
            oifname {segment} jump from_internet
        }}
        chain to_internet {{
            fib saddr . iif oif missing counter drop
            oifname != {uplinks} counter drop
            ip daddr {{ {PRIVATE_V4} }} counter drop
            ip6 daddr {{ {PRIVATE_V6} }} counter drop
            {forbidden}
        }}
        chain from_internet {{
            iifname != {uplinks} counter drop
            ct state established,related accept
            counter drop
        }}
        chain breakout_nat {{ type nat hook postrouting priority {NAT_PRIORITY}; policy accept;
            meta nfproto ipv4 iifname {segment} oifname {uplinks} masquerade
            ip6 saddr fc00::/7 iifname {segment} oifname {uplinks} masquerade
        }}\n"
    ))
}

fn arp(rules: &Rules) -> Result<String> {
    let Some(prefix) = &rules.bridge_prefix else { return Ok(replace(ARP, "")) };
    let bridges = pattern(prefix)?;
    Ok(replace(
        ARP,
        &format!(
            "chain guard_input {{ type filter hook input priority filter; policy accept;
                iifname {bridges} counter drop
            }}
            chain guard_output {{ type filter hook output priority filter; policy accept;
                oifname {bridges} counter drop
            }}\n"
        ),
    ))
}

fn bridge(rules: &Rules) -> Result<String> {
    let mut chains = String::new();
    if let Some(prefix) = &rules.bridge_prefix {
        let bridges = pattern(prefix)?;
        let _ = write!(
            chains,
            "chain guard_input {{ type filter hook input priority filter; policy accept;
                meta ibrname {bridges} counter drop
            }}
            chain guard_output {{ type filter hook output priority filter; policy accept;
                meta obrname {bridges} counter drop
            }}\n"
        );
    }
    if let Some(breakout) = &rules.breakout {
        let segment = quoted(&breakout.segment)?;
        let _ = write!(
            chains,
            "chain breakout_forward {{ type filter hook forward priority filter; policy accept;
                meta ibrname {segment} meta obrname {segment} counter drop
            }}\n"
        );
    }
    Ok(replace(BRIDGE, &chains))
}

/// An interface's name as a string of nft's.
fn quoted(name: &str) -> Result<String> {
    check_name(name)?;
    if name.contains(['"', '\\', '*']) {
        return Err(Error::Name(name.to_owned()));
    }
    Ok(format!("\"{name}\""))
}

/// All names that begin like that.
fn pattern(prefix: &str) -> Result<String> {
    let quoted = quoted(prefix)?;
    Ok(format!("{}*\"", quoted.trim_end_matches('"')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_end_a_string_or_match_others_gets_into_no_script() {
        for name in ["br\"; flush ruleset", "br*", "br\\", "", "a b", "a/b"] {
            let rules = Rules { bridge_prefix: Some(name.to_owned()), breakout: None };
            assert!(inet(&rules).is_err(), "{name:?}");
            let breakout = Breakout {
                segment: name.to_owned(),
                uplinks: vec!["wan".to_owned()],
                forbidden: vec![],
            };
            let rules = Rules { bridge_prefix: None, breakout: Some(breakout) };
            assert!(inet(&rules).is_err() && bridge(&rules).is_err(), "{name:?}");
        }
    }
}
