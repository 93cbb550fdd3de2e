//! The operator's access points within earshot, with their signal smoothed; and those that are
//! shunned for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_model::{Instant, Mac, Rssi, Ssid, WlanPolicy};

use super::{Heard, Left, Settings};

/// A smoothed signal, in 1/256 dB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Level {
    value: i32,
    pub(crate) at: Instant,
}

impl Level {
    pub(crate) fn new(signal: Rssi, at: Instant) -> Self {
        Self { value: i32::from(signal.0) * 256, at }
    }

    /// Moves towards `signal`, the further the longer the last one is past: by half after the
    /// time constant.
    pub(crate) fn add(&mut self, signal: Rssi, constant: Duration, now: Instant) {
        let ms = |span: Duration| {
            i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 1024).min(1 << 30)
        };
        let (past, constant) = (ms(now - self.at), ms(constant));
        let to = i64::from(signal.0) * 256;
        let by = match past + constant {
            0 => to - i64::from(self.value),
            all => (to - i64::from(self.value)) * past / all,
        };
        self.value = i32::try_from(i64::from(self.value) + by).unwrap_or(self.value);
        self.at = self.at.max(now);
    }

    pub(crate) fn rssi(self) -> Rssi {
        let rounded = (self.value + 128).div_euclid(256);
        Rssi(i8::try_from(rounded).unwrap_or(i8::MIN))
    }

    pub(crate) fn reaches(self, signal: Rssi) -> bool {
        self.value >= i32::from(signal.0) * 256
    }
}

/// An access point of the operator's.
#[derive(Debug)]
pub(crate) struct Bss {
    pub(crate) ssid: Ssid,
    pub(crate) level: Level,
    pub(crate) enterprise: bool,
    /// Since when it has been strong enough to be used, without a break.
    pub(crate) above: Option<Instant>,
    /// Whether it is nearly so.
    pub(crate) near: bool,
}

impl Bss {
    /// For how long it was seen to be strong enough: what was not measured does not count.
    pub(crate) fn strong_for(&self) -> Option<Duration> {
        self.above.map(|above| self.level.at - above)
    }
}

#[derive(Debug)]
pub(crate) struct Penalty {
    pub(crate) until: Instant,
    pub(crate) why: Left,
    /// Whether the access point was no more than nearly strong enough.
    early: bool,
    failures: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Air {
    pub(crate) bsses: BTreeMap<Mac, Bss>,
    penalties: BTreeMap<Mac, Penalty>,
}

impl Air {
    /// A scan came. What the policy does not name is nobody's business.
    pub(crate) fn scan(
        &mut self,
        heard: &[Heard],
        policy: &WlanPolicy,
        settings: &Settings,
        now: Instant,
    ) {
        self.forget(settings, now);
        for heard in heard.iter().filter(|heard| !heard.bssid.is_group()) {
            let Some(levels) = Levels::of(policy, heard.ssid) else { continue };
            let known = self
                .bsses
                .get_mut(&heard.bssid)
                .filter(|bss| bss.ssid == heard.ssid && now.since(bss.level.at) <= settings.gap);
            let (mut level, above) = match known {
                Some(bss) => (bss.level, bss.above),
                None => (Level::new(heard.signal, now), None),
            };
            level.add(heard.signal, settings.smoothing, now);
            let above = level.reaches(levels.join).then(|| above.unwrap_or(now));
            let near = level.reaches(levels.near);
            let Heard { ssid, enterprise, .. } = *heard;
            self.bsses.insert(heard.bssid, Bss { ssid, level, enterprise, above, near });
        }
        self.forget(settings, now);
    }

    /// What was not heard for long is gone, and of too many the weakest.
    pub(crate) fn forget(&mut self, settings: &Settings, now: Instant) {
        self.bsses.retain(|_, bss| now.since(bss.level.at) <= settings.gap);
        while self.bsses.len() > settings.max_bsses
            && let Some(weakest) = self.bsses.iter().min_by_key(|(_, bss)| bss.level.value)
        {
            let weakest = *weakest.0;
            self.bsses.remove(&weakest);
        }
        // What was good for a while since is as good as new.
        self.penalties.retain(|_, p| now.since(p.until) < settings.penalty_most);
    }

    /// Everything has to be strong enough anew for as long.
    pub(crate) fn restart(&mut self) {
        for bss in self.bsses.values_mut() {
            (bss.above, bss.near) = (None, false);
        }
    }

    /// Has an access point shunned for a while. One that failed `early` is shunned until it is
    /// strong: what it failed for may have been its distance.
    pub(crate) fn penalise(
        &mut self,
        bssid: Mac,
        why: Left,
        early: bool,
        settings: &Settings,
        now: Instant,
    ) {
        // Nobody who is mistaken for the operator is asked again soon.
        let first = if why == Left::WrongServer { settings.penalty * 8 } else { settings.penalty };
        let before = self.penalties.get(&bssid).filter(|penalty| penalty.early == early);
        let failures = before.map_or(0, |penalty| penalty.failures);
        let span = first.saturating_mul(1 << failures.min(16)).min(settings.penalty_most);
        let failures = failures.saturating_add(1);
        let penalty = Penalty { until: now + span, why, early, failures };
        self.penalties.insert(bssid, penalty);
        while self.penalties.len() > settings.max_bsses
            && let Some(first) = self.penalties.iter().min_by_key(|(_, p)| p.until)
        {
            let first = *first.0;
            self.penalties.remove(&first);
        }
    }

    pub(crate) fn pardon(&mut self, bssid: Mac) {
        self.penalties.remove(&bssid);
    }

    /// The penalty in force on an access point.
    pub(crate) fn penalty(&self, bssid: Mac, now: Instant) -> Option<&Penalty> {
        let is_strong = || self.bsses.get(&bssid).is_some_and(|bss| bss.above.is_some());
        let penalty = self.penalties.get(&bssid).filter(|penalty| penalty.until > now);
        penalty.filter(|penalty| !penalty.early || !is_strong())
    }

    /// All that are shunned now.
    pub(crate) fn shunned(&self, now: Instant) -> Vec<Mac> {
        let shunned = self.penalties.keys().filter(|mac| self.penalty(**mac, now).is_some());
        shunned.copied().collect()
    }

    /// When the next penalty ends, or the next access point counts as gone.
    pub(crate) fn next(&self, settings: &Settings, now: Instant) -> Option<Instant> {
        let ends = self.penalties.values().map(|p| p.until).filter(|until| *until > now);
        let past = Duration::from_nanos(1);
        let gone = self.bsses.values().map(|bss| bss.level.at + settings.gap + past);
        ends.chain(gone).min()
    }
}

/// The signals that decide about a network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Levels {
    /// From here on it is used.
    pub(crate) join: Rssi,
    /// From here on it is nearly strong enough: halfway from what it is left at.
    pub(crate) near: Rssi,
}

impl Levels {
    /// `None` for a network that the policy does not name.
    pub(crate) fn of(policy: &WlanPolicy, ssid: Ssid) -> Option<Self> {
        let network = policy.networks.iter().find(|network| network.ssid == ssid)?;
        let join = network.join.unwrap_or(policy.join);
        let near = Rssi(policy.leave.0.midpoint(join.0)).min(join);
        Some(Self { join, near })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(ms)
    }

    #[test]
    fn a_level_moves_by_half_in_the_time_constant_and_arrives() {
        let mut level = Level::new(Rssi(-60), at(0));
        level.add(Rssi(-80), Duration::from_secs(1), at(1000));
        assert_eq!(level.rssi(), Rssi(-70));
        for n in 2..20 {
            level.add(Rssi(-80), Duration::from_secs(1), at(n * 1000));
        }
        assert_eq!(level.rssi(), Rssi(-80));
        level.add(Rssi(-20), Duration::ZERO, at(19_000));
        assert_eq!(level.rssi(), Rssi(-20), "without smoothing it is what was heard");
        level.add(Rssi(i8::MIN), Duration::MAX, Instant::from_nanos(u64::MAX));
        level.add(Rssi(i8::MAX), Duration::ZERO, Instant::ORIGIN);
    }

    #[test]
    fn an_access_point_is_shunned_for_longer_each_time_and_pardoned_by_success() {
        let (mut air, settings) = (Air::default(), Settings::default());
        let bssid = Mac::new([2, 0, 0, 0, 0, 1]);
        let mut now = at(0);
        let mut spans = Vec::new();
        for _ in 0..9 {
            air.penalise(bssid, Left::NoLogOn, false, &settings, now);
            let until = air.penalty(bssid, now).unwrap().until;
            spans.push((until - now).as_secs());
            now = until;
            assert!(air.penalty(bssid, now).is_none());
        }
        assert_eq!(spans, [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
        air.pardon(bssid);
        air.penalise(bssid, Left::WrongServer, false, &settings, now);
        assert_eq!(air.penalty(bssid, now).unwrap().until - now, Duration::from_secs(480));
        // What fails for its distance says nothing of the next that fails for another reason.
        let other = Mac::new([2, 0, 0, 0, 0, 2]);
        for (early, expected) in [(true, 60), (true, 120), (false, 60), (false, 120), (true, 60)] {
            air.penalise(other, Left::Lost, early, &settings, now);
            let until = air.penalty(other, now).unwrap().until;
            assert_eq!((until - now).as_secs(), expected);
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_strongest_stay() {
        let policy: WlanPolicy =
            serde_json::from_str(r#"{"networks":[{"ssid":"Town"}],"server_name":"a.example"}"#)
                .unwrap();
        let settings = Settings { max_bsses: 8, ..Settings::default() };
        let mut air = Air::default();
        for n in 0..100u8 {
            let bssid = Mac::new([2, 0, 0, 0, 0, n]);
            let heard = Heard {
                bssid,
                ssid: "Town".parse().unwrap(),
                signal: Rssi(-100 + n as i8 / 2),
                enterprise: true,
            };
            air.scan(&[heard], &policy, &settings, at(0));
            air.penalise(bssid, Left::Lost, false, &settings, at(u64::from(n)));
        }
        assert_eq!(air.bsses.len(), 8);
        assert!(air.bsses.values().all(|bss| bss.level.reaches(Rssi(-55))));
        assert_eq!(air.shunned(at(100)).len(), 8);
    }
}
