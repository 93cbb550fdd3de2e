//! What an interface receives, shared: redirected to an ifb device, out of which it comes through
//! the same classes as what is sent.

use crate::bridge::ALIAS;
use crate::error::{Error, Refusal, Result};
use crate::link::{Link, ifinfomsg};
use crate::netlink::{Attributes, Body, u32_at};
use crate::qdisc::wire::{
    ANY, CREATE_NEW, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO, RTM_GETTFILTER,
    TC_ACT_STOLEN, TC_H_INGRESS, TC_H_MAJ_INGRESS, TCA_ACT_KIND, TCA_ACT_OPTIONS, TCA_EGRESS_REDIR,
    TCA_MIRRED_PARMS, TCA_OPTIONS, TCA_U32_ACT, TCA_U32_SEL, selector, tcmsg,
};
use crate::qdisc::{IFB_PREFIX, Marks, Shaper, Shares};

impl Shaper {
    /// The same for what an interface receives. The ifb comes before what leads to it and goes
    /// after it, so what leads to one of ours is ours, after a crash too.
    pub(super) fn share_received(
        &mut self,
        link: &Link,
        shares: &Shares,
        marks: &Marks,
    ) -> Result<String> {
        let qdiscs = self.qdiscs(link)?;
        let ingress = qdiscs.iter().find(|qdisc| qdisc.parent == TC_H_INGRESS);
        let ifb = self.ifb(link)?;
        let redirected = match (ingress, &ifb) {
            (None, _) => false,
            (Some(ingress), Some(ifb))
                if ingress.kind == "ingress" && self.leads_to(link, ifb)? =>
            {
                true
            }
            (Some(ingress), _) => return Err(ingress.taken(link)),
        };
        let ifb = match ifb {
            Some(ifb) => ifb,
            None => self.make_ifb(link)?,
        };
        self.share(&ifb, shares, marks)?;
        if !redirected {
            let put = self.put_qdisc(link, TC_H_MAJ_INGRESS, TC_H_INGRESS, "ingress", &[]);
            put.and_then(|()| self.redirect(link, &ifb)).map_err(|refusal| {
                Error::refused("redirect what is received on", &link.name, refusal).advise(
                    libc::ENOENT,
                    "load sch_ingress, cls_u32 and act_mirred (OpenWrt: kmod-sched-core)",
                )
            })?;
        }
        Ok(ifb.name)
    }

    fn redirect(&mut self, link: &Link, ifb: &Link) -> std::result::Result<(), Refusal> {
        let mut parameters = [0; 28];
        for (at, value) in [(8, TC_ACT_STOLEN), (20, TCA_EGRESS_REDIR), (24, ifb.index)] {
            parameters[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        let action = Body::new(&[])
            .with_text(TCA_ACT_KIND, "mirred")
            .with(TCA_ACT_OPTIONS, Body::new(&[]).with(TCA_MIRRED_PARMS, &parameters).octets());
        let options = Body::new(&[])
            .with(TCA_U32_SEL, &selector(&[ANY]))
            .with(TCA_U32_ACT, Body::new(&[]).with(1, action.octets()).octets());
        let rank = 1 << 16 | u32::from((libc::ETH_P_ALL as u16).to_be());
        self.put_filter(link, TC_H_MAJ_INGRESS, rank, &options)
    }

    /// Whether what an interface receives is redirected to that one.
    fn leads_to(&mut self, link: &Link, ifb: &Link) -> Result<bool> {
        let answer = self
            .route
            .dump(RTM_GETTFILTER, &tcmsg(link.index, 0, TC_H_MAJ_INGRESS, 0))
            .map_err(|e| Error::refused("look at what is received on", &link.name, e))?;
        let targets = answer.iter().filter_map(|body| {
            let options = Attributes::new(body.get(20..)?).nested(TCA_OPTIONS);
            let action = options.nested(TCA_U32_ACT).nested(1).nested(TCA_ACT_OPTIONS);
            u32_at(action.get(TCA_MIRRED_PARMS)?, 24)
        });
        // None at all: a crash came between the queueing discipline and its filter.
        Ok(targets.into_iter().all(|index| index == ifb.index))
    }

    pub(super) fn ifb(&mut self, link: &Link) -> Result<Option<Link>> {
        let name = format!("{IFB_PREFIX}{}", link.index);
        match self.links.by_name(&name)? {
            Some(ifb) if !is_our_ifb(&ifb) => {
                let holder = ifb.kind.map_or("hardware".to_owned(), |kind| format!("a {kind}"));
                Err(Error::NameTaken { name, holder })
            }
            other => Ok(other),
        }
    }

    fn make_ifb(&mut self, link: &Link) -> Result<Link> {
        let name = format!("{IFB_PREFIX}{}", link.index);
        let info = Body::new(&[]).with_text(IFLA_INFO_KIND, "ifb");
        let body = Body::new(&ifinfomsg(0, 0, 0))
            .with_text(IFLA_IFNAME, &name)
            .with(IFLA_LINKINFO, info.octets());
        let refused = |refusal| {
            Error::refused("make ifb device", &name, refusal)
                .advise(libc::EOPNOTSUPP, "load the module ifb (OpenWrt: kmod-ifb)")
        };
        self.route.request_with(libc::RTM_NEWLINK, CREATE_NEW, body.octets()).map_err(refused)?;
        let ifb = self.get(&name)?;
        let up = libc::IFF_UP as u32;
        let body = Body::new(&ifinfomsg(ifb.index, up, up)).with_text(IFLA_IFALIAS, ALIAS);
        self.route.request(libc::RTM_NEWLINK, body.octets()).map_err(refused)?;
        self.get(&name)
    }

    pub(super) fn unshare_received(&mut self, link: &Link) -> Result<()> {
        let Some(ifb) = self.ifb(link)? else { return Ok(()) };
        let ingress = self.qdiscs(link)?.into_iter().find(|qdisc| qdisc.parent == TC_H_INGRESS);
        if ingress.is_some_and(|qdisc| qdisc.kind == "ingress") && self.leads_to(link, &ifb)? {
            self.delete_qdisc(link, TC_H_MAJ_INGRESS, TC_H_INGRESS)?;
        }
        self.delete_link(&ifb)
    }
}

/// Whether it is an ifb device that this crate made.
pub(super) fn is_our_ifb(link: &Link) -> bool {
    link.kind.as_deref() == Some("ifb") && link.is_ours() && link.name.starts_with(IFB_PREFIX)
}
