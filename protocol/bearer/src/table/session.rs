//! A session of a packet gateway, for as long as anything is known of it.

use std::cmp::Ordering;
use std::fmt;

use homeward_model::{Apn, Imei, Imsi, Instant, Msisdn, Name, UnixTime};
use ipnet::IpNet;

use crate::report::When;

/// An address or a prefix, and whose it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer {
    /// Which packet gateway gave it.
    pub gateway: Name,
    /// By which access point name, where that is known.
    pub apn: Option<Apn>,
    /// The address (/32, /128) or the prefix.
    pub address: IpNet,
    /// Whose it is.
    pub imsi: Imsi,
    /// With which equipment, where that is known.
    pub imei: Option<Imei>,
    /// Under which telephone number, where that is known.
    pub msisdn: Option<Msisdn>,
    /// Acct-Session-Id.
    pub session: String,
    /// Since when, by the gateway's clock if it has one that counts.
    pub since: UnixTime,
    /// When the gateway last spoke of it, by ours.
    pub seen: UnixTime,
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer")
            .field("gateway", &self.gateway)
            .field("apn", &self.apn)
            .field("imsi", &self.imsi)
            .field("since", &self.since)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

/// Why a session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The gateway said so.
    Stop,
    /// The gateway restarted.
    Restart,
    /// Nothing was heard of it.
    Silence,
    /// All its addresses are another's.
    Replaced,
}

/// Whether a session is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It is, until the gateway says otherwise, or nothing for so long.
    Live {
        /// When it is silent for too long.
        until: Instant,
    },
    /// It is not, and is remembered for that.
    Ended {
        /// Why.
        cause: Cause,
        /// Until when.
        until: Instant,
    },
}

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) gateway: usize,
    pub(super) id: String,
    pub(super) imsi: Option<Imsi>,
    pub(super) nsapi: Option<u8>,
    /// Which clock the two times are by.
    pub(super) dated: bool,
    pub(super) began: UnixTime,
    /// When the newest of its reports was made.
    pub(super) last: UnixTime,
    pub(super) state: State,
    /// What it holds: something while it is live, nothing afterwards.
    pub(super) bearers: Vec<Bearer>,
}

impl Session {
    pub(super) const fn is_live(&self) -> bool {
        matches!(self.state, State::Live { .. })
    }

    /// Where a report stands to the newest one there was. `None`: by different clocks.
    pub(super) fn order(&self, when: When) -> Option<Ordering> {
        (self.dated == when.dated).then(|| when.at.cmp(&self.last))
    }

    /// Whether it began after that, as far as that can be said.
    pub(super) fn began_after(&self, when: When) -> bool {
        self.dated == when.dated && self.began > when.at
    }

    /// Whether both are contexts of one connection, which share its addresses (secondary PDP
    /// contexts, dedicated EPS bearers).
    pub(super) fn is_sibling(&self, imsi: Option<Imsi>, nsapi: Option<u8>) -> bool {
        let both = self.nsapi.zip(nsapi);
        self.imsi.is_some() && self.imsi == imsi && both.is_some_and(|(one, two)| one != two)
    }

    pub(super) fn bearer(&self, net: &IpNet) -> Option<&Bearer> {
        self.bearers.iter().find(|b| b.address == *net)
    }
}
