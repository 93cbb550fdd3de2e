//! The owner goes first on a link that is shared with roamers (tc(8), tc-htb(8)).
//!
//! ```text
//!   uplink, out ──► HTB ─┬─ owner    the rest, may take all, first   ── fq_codel
//!                        └─ roamers  a small share for sure, a cap, last ── fq_codel
//!   uplink, in ──► redirected to an ifb, out of which the same HTB sends
//! ```
//!
//! Roamers' packets are told by the DSCP that our tunnels put on them and, coming in, where a
//! provider on the way may have washed it off, by the tunnel's port. The queue must be where the
//! bottleneck is, so the link's rate has to be given a little below what it carries.
//!
//! Coming in, the queue is the provider's; holding roamers' packets back here makes their senders
//! slow down. Where the kernel cannot redirect (no ifb or act_mirred), or somebody else looks at
//! what comes in, what goes on to the roamers is capped instead, on the interfaces towards them.
//!
//! Handles say which queueing disciplines are ours: [`MAJOR`]. A root that somebody else put there
//! is left alone, and the error says so. What a crash left is taken over or removed.

mod received;
mod wire;

use std::fmt;

use crate::error::{Error, Refusal, Result};
use crate::link::{Link, Links, ifinfomsg};
use crate::netlink::{Attributes, Body, Netlink, u32_at};
use crate::qdisc::received::is_our_ifb;
use crate::qdisc::wire::{
    CREATE_NEW, CREATE_OR_CHANGE, FIFO_PACKETS, OWNER, QUANTUM, Qdisc, ROAMERS, ROOT, RTM_DELQDISC,
    RTM_DELTFILTER, RTM_GETQDISC, RTM_GETTCLASS, RTM_NEWQDISC, RTM_NEWTCLASS, RTM_NEWTFILTER,
    TC_H_ROOT, TCA_HTB_CEIL64, TCA_HTB_INIT, TCA_HTB_PARMS, TCA_HTB_RATE64, TCA_KIND, TCA_OPTIONS,
    TCA_U32_CLASSID, TCA_U32_SEL, WHOLE, burst, count, qdisc, ratespec, selector, tcmsg,
};

/// The major number of our queueing disciplines' handles: `tc qdisc` shows `4857:`.
pub const MAJOR: u16 = 0x4857;
/// What the names of our ifb devices begin with; the index of the shared interface follows.
pub const IFB_PREFIX: &str = "hwi";

/// How one direction of a link is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// What the link carries, in bit/s; a little less, so that the queue is here.
    pub link: u64,
    /// What roamers get even when the owner wants everything, all of them together, in bit/s.
    pub guaranteed: u64,
    /// What roamers get at most, all of them together, in bit/s.
    pub cap: u64,
}

/// How roamers' packets are told from the owner's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    /// The Differentiated Services code point of our tunnels' packets: 0 to 63, 0 for none. 1 is
    /// "lower effort" (RFC 8622).
    pub dscp: u8,
    /// The UDP ports at which our tunnels' packets arrive.
    pub ports: Vec<u16>,
}

/// What is wanted on an uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The interface that leads to the Internet.
    pub uplink: String,
    /// How sending is shared.
    pub up: Shares,
    /// How receiving is shared; `None` leaves it alone.
    pub down: Option<Shares>,
    /// How roamers are told.
    pub marks: Marks,
    /// Interfaces that lead to roamers and nobody else, to be capped where receiving cannot be
    /// shared at the uplink.
    pub inward: Vec<String>,
}

/// What was put in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// What queues inside a share.
    pub leaf: Leaf,
    /// How receiving is shared.
    pub down: Download,
}

/// What queues inside a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf {
    /// fq_codel: flows take turns, and queues stay short.
    FqCodel,
    /// One short queue, where the kernel has no fq_codel.
    Fifo,
}

/// How receiving is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Download {
    /// Not at all, as planned.
    Unshared,
    /// At the uplink, through an ifb device.
    Redirected {
        /// Its name.
        ifb: String,
    },
    /// Each interface towards roamers is capped; the owner's part is not looked at.
    Inward {
        /// Why not at the uplink.
        why: String,
    },
}

impl fmt::Display for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unshared => write!(f, "not shared"),
            Self::Redirected { ifb } => write!(f, "shared at the uplink, through {ifb}"),
            Self::Inward { why } => write!(f, "capped towards roamers: {why}"),
        }
    }
}

/// What went through the two shares of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// The owner's.
    pub owner: Count,
    /// The roamers'.
    pub roamers: Count,
}

/// What went through a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Octets sent.
    pub octets: u64,
    /// Packets dropped, because the queue was full or the share used up.
    pub dropped: u32,
}

/// The queueing disciplines of one network namespace: that of the thread which called
/// [`Shaper::open`].
#[derive(Debug)]
pub struct Shaper {
    route: Netlink,
    links: Links,
}

impl Shaper {
    /// Opens the sockets.
    ///
    /// # Errors
    ///
    /// The kernel gives no socket.
    pub fn open() -> Result<Self> {
        let route = Netlink::open(libc::NETLINK_ROUTE)
            .map_err(|e| Error::refused("open a route netlink socket", "", e))?;
        Ok(Self { route, links: Links::open()? })
    }

    /// Puts a plan in force, in place of what was in force on those interfaces.
    ///
    /// # Errors
    ///
    /// Shares that are none, an interface that is not there, a root queueing discipline of
    /// somebody else's, or a kernel without HTB. What was in force may be so in part.
    pub fn apply(&mut self, plan: &Plan) -> Result<InForce> {
        check(&plan.up, &plan.marks)?;
        let uplink = self.get(&plan.uplink)?;
        let leaf = self.share(&uplink, &plan.up, &plan.marks)?;
        let Some(down) = &plan.down else {
            self.unshare_received(&uplink)?;
            return Ok(InForce { leaf, down: Download::Unshared });
        };
        check(down, &plan.marks)?;
        let down = match self.share_received(&uplink, down, &plan.marks) {
            Ok(ifb) => {
                for name in &plan.inward {
                    self.remove_root(name)?;
                }
                Download::Redirected { ifb }
            }
            Err(error) if error.is_missing() => {
                self.unshare_received(&uplink)?;
                for name in &plan.inward {
                    let link = self.get(name)?;
                    self.cap(&link, down.cap)?;
                }
                Download::Inward { why: error.to_string() }
            }
            Err(error) => return Err(error),
        };
        Ok(InForce { leaf, down })
    }

    /// Takes a plan out of force; nothing happens where it is not.
    ///
    /// # Errors
    ///
    /// The kernel refuses. Interfaces that are gone are no error.
    pub fn remove(&mut self, plan: &Plan) -> Result<()> {
        for name in plan.inward.iter().chain([&plan.uplink]) {
            self.remove_root(name)?;
        }
        match self.links.by_name(&plan.uplink)? {
            Some(uplink) => self.unshare_received(&uplink),
            None => Ok(()),
        }
    }

    /// Takes everything of ours out of force, wherever it is: the leftovers of a crash. The names
    /// of the interfaces that had some.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn remove_leftovers(&mut self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let links = self.links.all()?;
        for ifb in links.iter().filter(|link| is_our_ifb(link)) {
            let index = ifb.name.strip_prefix(IFB_PREFIX).and_then(|index| index.parse().ok());
            match links.iter().find(|link| Some(link.index) == index) {
                Some(uplink) => {
                    self.unshare_received(uplink)?;
                    found.push(uplink.name.clone());
                }
                None => self.delete_link(ifb)?,
            }
        }
        for link in links.iter().filter(|link| !is_our_ifb(link)) {
            if self.remove_root(&link.name)? && !found.contains(&link.name) {
                found.push(link.name.clone());
            }
        }
        found.sort();
        Ok(found)
    }

    /// What went through the shares of an interface, an ifb's included; `None` if it has none.
    ///
    /// # Errors
    ///
    /// There is no such interface, or the kernel refuses to tell.
    pub fn usage(&mut self, interface: &str) -> Result<Option<Usage>> {
        let link = self.get(interface)?;
        let answer = self
            .route
            .dump(RTM_GETTCLASS, &tcmsg(link.index, 0, 0, 0))
            .map_err(|e| Error::refused("list the shares of", interface, e))?;
        let mut usage = None;
        for body in answer.iter().filter(|body| u32_at(body, 4) == Some(link.index)) {
            let count = || count(Attributes::new(body.get(20..)?));
            match u32_at(body, 8) {
                Some(OWNER) => {
                    usage.get_or_insert_with(Usage::default).owner = count().unwrap_or_default();
                }
                Some(ROAMERS) => {
                    usage.get_or_insert_with(Usage::default).roamers = count().unwrap_or_default();
                }
                _ => {}
            }
        }
        Ok(usage)
    }

    /// The name of the ifb through which what an interface receives is shared, if it is.
    ///
    /// # Errors
    ///
    /// There is no such interface, or the kernel refuses to tell.
    pub fn ifb_of(&mut self, interface: &str) -> Result<Option<String>> {
        let link = self.get(interface)?;
        Ok(self.ifb(&link)?.map(|ifb| ifb.name))
    }

    /// HTB with two classes and what tells packets apart.
    fn share(&mut self, link: &Link, shares: &Shares, marks: &Marks) -> Result<Leaf> {
        let leaf = self.root(link, OWNER, &[OWNER, ROAMERS], |shaper| {
            let owners = shares.link - shares.guaranteed;
            for (class, parent, rate, ceil, rank) in [
                (WHOLE, ROOT, shares.link, shares.link, 0),
                (OWNER, WHOLE, owners, shares.link, 0),
                (ROAMERS, WHOLE, shares.guaranteed, shares.cap, 7),
            ] {
                shaper.class(link, class, parent, rate, ceil, rank)?;
            }
            Ok(())
        })?;
        self.filters(link, marks)?;
        Ok(leaf)
    }

    /// HTB with one class: everything is roamers'.
    fn cap(&mut self, link: &Link, cap: u64) -> Result<Leaf> {
        self.root(link, ROAMERS, &[ROAMERS], |shaper| {
            shaper.class(link, ROAMERS, ROOT, cap, cap, 7)
        })
    }

    /// Our root with classes that `fill` makes or changes, and a queue in each of `leaves`.
    fn root(
        &mut self,
        link: &Link,
        default: u32,
        leaves: &[u32],
        fill: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<Leaf> {
        let qdiscs = self.qdiscs(link)?;
        let root = qdiscs.iter().find(|qdisc| qdisc.parent == TC_H_ROOT);
        let present = match root {
            Some(root) if root.handle == ROOT && root.kind == "htb" => true,
            Some(root) if root.handle != 0 => return Err(root.taken(link)),
            _ => false,
        };
        if !present {
            let glob: Vec<u8> = [3, 10, default & 0xffff, 0, 0].map(u32::to_ne_bytes).concat();
            let options = Body::new(&[]).with(TCA_HTB_INIT, &glob);
            self.put_qdisc(link, ROOT, TC_H_ROOT, "htb", options.octets()).map_err(|refusal| {
                Error::refused("share", &link.name, refusal).advise(
                    libc::ENOENT,
                    "the kernel has no HTB: load sch_htb (OpenWrt: kmod-sched-core)",
                )
            })?;
        }
        fill(self)?;
        let leaf = leaves.iter().filter_map(|class| {
            qdiscs.iter().find(|qdisc| present && qdisc.parent == *class && qdisc.handle != 0)
        });
        match leaf.map(|qdisc| qdisc.kind == "fq_codel").reduce(|a, b| a && b) {
            Some(true) => Ok(Leaf::FqCodel),
            Some(false) => Ok(Leaf::Fifo),
            None => self.leaves(link, leaves),
        }
    }

    fn leaves(&mut self, link: &Link, classes: &[u32]) -> Result<Leaf> {
        let mut leaf = Leaf::FqCodel;
        for class in classes {
            let fair = self.put_qdisc(link, 0, *class, "fq_codel", &[]);
            match fair {
                Ok(()) => continue,
                Err(Refusal { source, .. }) if source.raw_os_error() == Some(libc::ENOENT) => {}
                Err(refusal) => return Err(Error::refused("queue on", &link.name, refusal)),
            }
            leaf = Leaf::Fifo;
            self.put_qdisc(link, 0, *class, "pfifo", &FIFO_PACKETS.to_ne_bytes())
                .map_err(|refusal| Error::refused("queue on", &link.name, refusal))?;
        }
        Ok(leaf)
    }

    fn put_qdisc(
        &mut self,
        link: &Link,
        handle: u32,
        parent: u32,
        kind: &str,
        options: &[u8],
    ) -> std::result::Result<(), Refusal> {
        let mut body = Body::new(&tcmsg(link.index, handle, parent, 0)).with_text(TCA_KIND, kind);
        if !options.is_empty() {
            body = body.with(TCA_OPTIONS, options);
        }
        self.route.request_with(RTM_NEWQDISC, CREATE_NEW, body.octets()).map(|_| ())
    }

    fn class(
        &mut self,
        link: &Link,
        class: u32,
        parent: u32,
        rate: u64,
        ceil: u64,
        rank: u32,
    ) -> Result<()> {
        let (rate, ceil) = (rate / 8, ceil / 8);
        let mut parameters = ratespec(rate);
        parameters.extend(ratespec(ceil));
        for word in [burst(rate), burst(ceil), QUANTUM, 0, rank] {
            parameters.extend(word.to_ne_bytes());
        }
        let options = Body::new(&[])
            .with(TCA_HTB_PARMS, &parameters)
            .with(TCA_HTB_RATE64, &rate.to_ne_bytes())
            .with(TCA_HTB_CEIL64, &ceil.to_ne_bytes());
        let body = Body::new(&tcmsg(link.index, class, parent, 0))
            .with_text(TCA_KIND, "htb")
            .with(TCA_OPTIONS, options.octets());
        self.route
            .request_with(RTM_NEWTCLASS, CREATE_OR_CHANGE, body.octets())
            .map(|_| ())
            .map_err(|refusal| Error::refused("set a share of", &link.name, refusal))
    }

    /// What tells roamers' packets, in place of what did before.
    fn filters(&mut self, link: &Link, marks: &Marks) -> Result<()> {
        let all = Body::new(&tcmsg(link.index, 0, ROOT, 0));
        self.route
            .request(RTM_DELTFILTER, all.octets())
            .map(|_| ())
            .or_else(|refusal| ignore(&[libc::ENOENT, libc::EINVAL], refusal))
            .map_err(|refusal| Error::refused("tell roamers' packets on", &link.name, refusal))?;
        for (n, (protocol, keys)) in marks.keys().into_iter().enumerate() {
            let options = Body::new(&[])
                .with_u32(TCA_U32_CLASSID, ROAMERS)
                .with(TCA_U32_SEL, &selector(&keys));
            let rank = (n as u32 + 1) << 16 | u32::from(protocol.to_be());
            self.put_filter(link, ROOT, rank, &options).map_err(|refusal| {
                Error::refused("tell roamers' packets on", &link.name, refusal).advise(
                    libc::ENOENT,
                    "the kernel has no u32 classifier: load cls_u32 (OpenWrt: kmod-sched-core)",
                )
            })?;
        }
        Ok(())
    }

    fn put_filter(
        &mut self,
        link: &Link,
        parent: u32,
        rank: u32,
        options: &Body,
    ) -> std::result::Result<(), Refusal> {
        let body = Body::new(&tcmsg(link.index, 0, parent, rank))
            .with_text(TCA_KIND, "u32")
            .with(TCA_OPTIONS, options.octets());
        self.route.request_with(RTM_NEWTFILTER, CREATE_NEW, body.octets()).map(|_| ())
    }

    /// Removes the root from an interface if it is ours; true if it was.
    fn remove_root(&mut self, name: &str) -> Result<bool> {
        let Some(link) = self.links.by_name(name)? else { return Ok(false) };
        let ours = self
            .qdiscs(&link)?
            .iter()
            .any(|qdisc| qdisc.parent == TC_H_ROOT && qdisc.handle == ROOT && qdisc.kind == "htb");
        if ours {
            self.delete_qdisc(&link, ROOT, TC_H_ROOT)?;
        }
        Ok(ours)
    }

    fn delete_qdisc(&mut self, link: &Link, handle: u32, parent: u32) -> Result<()> {
        self.route
            .request(RTM_DELQDISC, &tcmsg(link.index, handle, parent, 0))
            .map(|_| ())
            .map_err(|refusal| Error::refused("stop sharing", &link.name, refusal))
    }

    fn delete_link(&mut self, link: &Link) -> Result<()> {
        self.route
            .request(libc::RTM_DELLINK, &ifinfomsg(link.index, 0, 0))
            .map(|_| ())
            .map_err(|refusal| Error::refused("delete", &link.name, refusal))
    }

    fn qdiscs(&mut self, link: &Link) -> Result<Vec<Qdisc>> {
        let answer = self
            .route
            .dump(RTM_GETQDISC, &tcmsg(link.index, 0, 0, 0))
            .map_err(|e| Error::refused("list the queues of", &link.name, e))?;
        let own = answer.iter().filter(|body| u32_at(body, 4) == Some(link.index));
        Ok(own.filter_map(|body| qdisc(body)).collect())
    }

    fn get(&mut self, name: &str) -> Result<Link> {
        self.links.by_name(name)?.ok_or_else(|| Error::NoInterface(name.to_owned()))
    }
}

fn check(shares: &Shares, marks: &Marks) -> Result<()> {
    let Shares { link, guaranteed, cap } = *shares;
    if guaranteed < 8 || guaranteed > cap || cap > link || guaranteed >= link {
        return Err(Error::Shares { link, guaranteed, cap });
    }
    if marks.dscp > 63 || (marks.dscp == 0 && marks.ports.is_empty()) {
        return Err(Error::Dscp(marks.dscp));
    }
    Ok(())
}

fn ignore(errors: &[i32], refusal: Refusal) -> std::result::Result<(), Refusal> {
    match refusal.source.raw_os_error() {
        Some(errno) if errors.contains(&errno) => Ok(()),
        _ => Err(refusal),
    }
}

impl Qdisc {
    fn taken(&self, link: &Link) -> Error {
        Error::QdiscTaken {
            interface: link.name.clone(),
            kind: self.kind.clone(),
            place: if self.parent == TC_H_ROOT { "root" } else { "ingress" },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_that_leave_the_owner_or_the_roamers_nothing_are_refused() {
        let marks = Marks { dscp: 1, ports: vec![] };
        let shares = |link, guaranteed, cap| Shares { link, guaranteed, cap };
        assert!(check(&shares(100_000, 1_000, 50_000), &marks).is_ok());
        for bad in [
            shares(100_000, 0, 50_000),
            shares(100_000, 60_000, 50_000),
            shares(100_000, 1_000, 100_001),
            shares(100_000, 100_000, 100_000),
        ] {
            assert!(matches!(check(&bad, &marks), Err(Error::Shares { .. })), "{bad:?}");
        }
        let good = shares(100_000, 1_000, 50_000);
        for marks in [Marks::default(), Marks { dscp: 64, ports: vec![1] }] {
            assert!(matches!(check(&good, &marks), Err(Error::Dscp(_))), "{marks:?}");
        }
    }
}
