//! Which access point is fit to be joined, and when the one that is logged on to is used.
//!
//! What is strong enough to be used is joined; and where the settings let it (`early`), what is
//! nearly so: by the time it is strong, the log-on, the address and the check are done. It is used
//! once it was strong for the policy's dwell.

use homeward_model::{Instant, Mac, Ssid, WlanNetwork};

use super::air::{Bss, Level, Levels};
use super::link::{Link, Session};
use super::status::ms;
use super::{Cause, Left, Manager};

/// An access point to join.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) bssid: Mac,
    pub(crate) ssid: Ssid,
    pub(crate) metered: bool,
    pub(crate) level: Level,
    /// Since when it has been strong enough to be used.
    pub(crate) strong: Option<Instant>,
}

impl Manager {
    /// Whether a network is logged on to before it is used.
    pub(crate) fn is_early(&self) -> bool {
        // The one log-on that some are good for is kept for a network that is used.
        let once = self.held.as_ref().is_some_and(|held| held.stored.one_time);
        self.settings.early && !once
    }

    /// The access point to join: of the policy's first network that has one, the strongest; one
    /// that can be used before one that nearly can.
    pub(crate) fn best(&self, now: Instant) -> Option<Candidate> {
        let networks = &self.held.as_ref()?.stored.policy.networks;
        let of = |network: &WlanNetwork, strong: bool| {
            let fit = self.air.bsses.iter().filter(|(bssid, bss)| {
                bss.ssid == network.ssid
                    && bss.above.is_some() == strong
                    && self.unfit(**bssid, bss, network, now).is_none()
            });
            let (bssid, bss) = fit.max_by_key(|(_, bss)| bss.level.rssi())?;
            Some(Candidate {
                bssid: *bssid,
                ssid: bss.ssid,
                metered: network.metered,
                level: bss.level,
                strong: bss.above,
            })
        };
        [true, false].into_iter().find_map(|strong| networks.iter().find_map(|n| of(n, strong)))
    }

    /// Why an access point of a network is not joined.
    pub(crate) fn unfit(
        &self,
        bssid: Mac,
        bss: &Bss,
        network: &WlanNetwork,
        now: Instant,
    ) -> Option<Cause> {
        let held = self.held.as_ref()?;
        let (ssid, signal) = (network.ssid, bss.level.rssi());
        if network.metered && !self.switches.metered {
            return Some(Cause::Metered { ssid });
        }
        if !bss.enterprise {
            return Some(Cause::Open { ssid, bssid });
        }
        if let Some(penalty) = self.air.penalty(bssid, now) {
            let wait_ms = ms(penalty.until - now);
            return Some(Cause::Shunned { ssid, bssid, why: penalty.why, wait_ms });
        }
        let (early, dwell) = (self.is_early(), self.dwell());
        match bss.strong_for() {
            _ if early && bss.near => None,
            Some(span) if span >= dwell => None,
            Some(span) => Some(Cause::Settling { ssid, bssid, signal, wait_ms: ms(dwell - span) }),
            None => {
                let needed = network.join.unwrap_or(held.stored.policy.join);
                Some(Cause::Weak { ssid, bssid, signal, needed })
            }
        }
    }

    /// What a session that is ready waits for.
    pub(crate) fn waits_for(&self, session: &Session) -> Option<Cause> {
        let needed = Levels::of(&self.held.as_ref()?.stored.policy, session.ssid)?.join;
        let (ssid, bssid) = (session.ssid, session.bssid);
        let signal = session.level.map(Level::rssi);
        self.is_ready().then_some(Cause::Ready { ssid, bssid, signal, needed })
    }

    /// When a network that is ready is used though it is weak, since there is nothing else.
    pub(crate) fn makes_do(&self) -> Option<Instant> {
        let connected = self.session.as_ref()?.connected?;
        (self.is_ready() && !self.modem.bearer).then(|| connected + self.dwell())
    }

    /// Uses what is ready where there is nothing else, and leaves it where another is better.
    pub(crate) fn settle_on(&mut self, now: Instant) {
        self.judge(now);
        let Some(session) = self.session.as_ref().filter(|_| self.is_ready()) else { return };
        let (ssid, weak) = (session.ssid, session.strong.is_none());
        let better = |best: Candidate| {
            let strong_for = best.strong.map(|strong| best.level.at - strong);
            best.ssid != ssid && strong_for.is_some_and(|span| span >= self.dwell())
        };
        if weak && self.best(now).is_some_and(better) {
            self.abandon(Left::Better, now);
        }
    }

    /// Notes since when the signal has been strong or too weak; uses what is strong and ready.
    pub(crate) fn judge(&mut self, now: Instant) {
        let (dwell, makes_do) = (self.dwell(), self.makes_do());
        let (Some(held), Some(session)) = (&self.held, &mut self.session) else { return };
        let policy = &held.stored.policy;
        if let Some((level, levels)) = session.level.zip(Levels::of(policy, session.ssid)) {
            let since = session.strong.unwrap_or(level.at);
            session.strong = level.reaches(levels.join).then_some(since);
            session.proven |= session.strong.is_some_and(|strong| level.at - strong >= dwell);
            if let Link::Ready { below, .. } | Link::Offloaded { below, .. } = &mut self.link {
                let weak = !level.reaches(policy.leave);
                *below = weak.then(|| below.unwrap_or(now));
            }
        }
        let enough = session.proven || makes_do.is_some_and(|at| at <= now);
        if enough && matches!(&self.link, Link::Ready { check, .. } if check.holds()) {
            self.use_wifi(now);
        }
    }
}
