//! The credentials in hand: for whom they are, until when, and when others are wanted.

use homeward_model::{Imei, Imsi, Instant, Mac, Nai, Secret, UnixTime, WlanPolicy};

use super::time::Clocks;
use super::{Answer, NetworkBlock, Request, Settings};
use homeward_model::backoff::{Backoff, Jitter};

/// Credentials as they are kept, with all that is to be known of them after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The name to log on with.
    pub username: Nai,
    /// Its password.
    pub password: Secret,
    /// Until when they are good; `None`: for life.
    pub expires: Option<UnixTime>,
    /// From when on new ones may be had.
    pub renew_from: Option<UnixTime>,
    /// Whether one log-on spends them.
    pub one_time: bool,
    /// Whether it has.
    pub spent: bool,
    /// What the operator has decided about Wi-Fi.
    pub policy: WlanPolicy,
    /// To which subscriber they were issued.
    pub imsi: Imsi,
    /// For which equipment.
    pub imei: Option<Imei>,
    /// For which station.
    pub mac: Mac,
    /// Whether they came by short message.
    pub by_message: bool,
    /// What time the portal said it was then: it is never earlier again.
    pub date: Option<UnixTime>,
}

#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) stored: Stored,
    /// Which they are: network blocks are written anew for another number.
    pub(crate) generation: u64,
    /// How far into the first half of the renewal window they are renewed.
    share: u32,
    /// Whether Wi-Fi was left since the window began: then they are renewed at once.
    pub(crate) returned: bool,
}

impl Held {
    pub(crate) fn new(stored: Stored, generation: u64, by: &mut Jitter) -> Self {
        Self { stored, generation, share: by.share(), returned: false }
    }

    /// What is in hand once an answer is: the same ones again, or others.
    pub(crate) fn answered(
        before: Option<&Self>,
        answer: Answer,
        asked: &Request,
        by_message: bool,
        generation: u64,
        by: &mut Jitter,
    ) -> Self {
        let Answer { username, password, expires, renew_from, one_time, policy, date, handoff: _ } =
            answer;
        let same =
            before.filter(|b| b.stored.username == username && b.stored.password == password);
        let spent = one_time && same.is_some_and(|before| before.stored.spent);
        let generation = match same.filter(|before| before.stored.policy == policy) {
            Some(before) => before.generation,
            None => generation,
        };
        let (imsi, imei, mac) = (asked.imsi, asked.imei, asked.mac);
        let stored = Stored {
            username,
            password,
            expires,
            renew_from,
            one_time,
            spent,
            policy,
            imsi,
            imei,
            mac,
            by_message,
            date,
        };
        Self::new(stored, generation, by)
    }

    /// The moments that matter: the window's begin, when they are renewed on cellular, and when
    /// they are renewed wherever the device is. `None` for those that are good for life.
    pub(crate) fn window(&self) -> Option<[UnixTime; 3]> {
        let end = self.stored.expires?.0;
        let begin = self.stored.renew_from.map_or(end, |from| from.0.min(end));
        let length = end.saturating_sub(begin);
        let spread = i128::from(length / 2) * i128::from(self.share) / i128::from(u32::MAX);
        let spread = i64::try_from(spread).unwrap_or_default();
        let late = end.saturating_sub(length / 4);
        Some([begin, begin.saturating_add(spread), late].map(UnixTime))
    }

    /// Whether they are to be renewed, as far as the time is known.
    pub(crate) fn is_due(&self, clocks: &Clocks, in_session: bool, now: Instant) -> bool {
        let Some((likely, [begin, spread, late])) = clocks.likely(now).zip(self.window()) else {
            return false;
        };
        likely >= late || !in_session && likely >= begin && (self.returned || likely >= spread)
    }

    /// Whether they are over, and that is certain.
    pub(crate) fn is_over(&self, clocks: &Clocks, now: Instant) -> bool {
        self.stored.expires.zip(clocks.proven(now)).is_some_and(|(end, time)| time >= end)
    }

    /// When any of that may change.
    pub(crate) fn next(&self, clocks: &Clocks, now: Instant) -> Option<Instant> {
        let window = self.window()?.map(|at| clocks.reaches(at, now));
        let over = self.stored.expires.and_then(|end| clocks.proves(end, now));
        window.into_iter().chain([over]).flatten().min()
    }

    /// What the supplicant is told.
    pub(crate) fn blocks(&self) -> Vec<NetworkBlock> {
        let Stored { username, password, policy, .. } = &self.stored;
        let networks = policy.networks.iter().rev().zip(1u8..);
        let blocks = networks.map(|(network, priority)| NetworkBlock {
            ssid: network.ssid,
            priority,
            eap: policy.eap,
            identity: username.clone(),
            anonymous: policy.anonymous.clone(),
            password: password.clone(),
            server_name: policy.server_name.clone(),
            ca: policy.ca.clone(),
        });
        let mut blocks: Vec<NetworkBlock> = blocks.collect();
        blocks.reverse();
        blocks
    }
}

/// Log-ons that the network refused in a row.
///
/// After the first, others are asked for once and tried at once. After the second, both wait.
#[derive(Debug, Default)]
pub(crate) struct Rejections {
    count: u32,
    /// Whether the portal has answered since the last.
    answered: bool,
    backoff: Backoff,
}

impl Rejections {
    pub(crate) fn add(&mut self, settings: &Settings, now: Instant, by: &mut Jitter) {
        self.count = self.count.saturating_add(1);
        self.answered = false;
        self.backoff.fail(settings.rejected, settings.rejected_most, now, by);
    }

    pub(crate) fn answered(&mut self) {
        self.answered = true;
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// Whether others are to be asked for.
    pub(crate) fn wants(&self, now: Instant) -> bool {
        self.count > 0 && !self.answered && (self.count == 1 || self.until(now).is_none())
    }

    /// Until when nothing is tried.
    pub(crate) fn blocks(&self, now: Instant) -> Option<Instant> {
        // Others are worth a try whenever they come.
        self.backoff.until(now).filter(|_| !self.answered)
    }

    /// When the wait ends.
    pub(crate) fn until(&self, now: Instant) -> Option<Instant> {
        self.backoff.until(now)
    }
}
