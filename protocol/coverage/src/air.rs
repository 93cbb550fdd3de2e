//! What is heard: the gateways in range, each followed; and what two detectors make of that.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_model::{Instant, Mac, Rssi};

use crate::decision::Reason;
use crate::input::Heard;
use crate::number::{between, ms, odds, tenth};
use crate::opinion::Opinion;
use crate::settings::{Settings, Terms};
use crate::track::{Expected, Track};

/// How far one scan moves a gateway's presence.
const STEP: f64 = 0.5;
/// From which presence on a gateway is in range, and below which it is not any more: two scans of
/// two to come, two of two to go. One that is heard by turns stays what it was.
const COMES: f64 = 0.7;
const GOES: f64 = 0.3;

/// A gateway that was heard.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    pub(crate) track: Track,
    /// The share of scans that it was in, of late.
    presence: f64,
    /// Whether it counts as in range.
    pub(crate) present: bool,
    /// How many scans in a row missed it.
    missed: u8,
    /// When it was last heard.
    pub(crate) heard: Instant,
}

/// All that is heard.
#[derive(Debug, Clone, Default)]
pub(crate) struct Air {
    pub(crate) gateways: BTreeMap<Mac, Gateway>,
    /// When the last scan was.
    pub(crate) scanned: Option<Instant>,
    /// When anything was last measured, a scan without a gateway too.
    pub(crate) measured: Option<Instant>,
    /// Since when one gateway has been the only one in range.
    alone: Option<(Mac, Instant)>,
    /// Since when none has been in range.
    none: Option<Instant>,
}

/// The best gateway at a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Best {
    pub(crate) bssid: Mac,
    pub(crate) now: Expected,
    pub(crate) slope: f64,
}

/// How likely several things are all so.
#[derive(Debug, Clone, Copy)]
struct All {
    product: f64,
    least: f64,
}

impl Default for All {
    fn default() -> Self {
        Self { product: 1.0, least: 1.0 }
    }
}

impl All {
    fn add(&mut self, probability: f64) {
        self.product *= probability;
        self.least = self.least.min(probability);
    }

    /// From 0, as if they had nothing to do with each other, to 1, as if one came with the other.
    fn together(self, alike: f64) -> f64 {
        self.product.powf(1.0 - alike) * self.least.powf(alike)
    }
}

impl Air {
    pub(crate) fn scan(&mut self, heard: &[Heard], now: Instant, settings: &Settings) {
        let first = self.scanned.is_none();
        let by = &settings.tracking;
        let mut in_scan = BTreeMap::new();
        for heard in heard.iter().filter(|heard| heard.known && !heard.bssid.is_group()) {
            let strongest = in_scan.entry(heard.bssid).or_insert(heard.rssi);
            *strongest = heard.rssi.max(*strongest);
        }
        for (bssid, gateway) in &mut self.gateways {
            if in_scan.contains_key(bssid) {
                continue;
            }
            gateway.presence -= STEP * gateway.presence;
            gateway.missed = gateway.missed.saturating_add(1);
            // One scan may miss a beacon. Two do not, if there is one to be heard.
            if gateway.missed >= 2
                && gateway.track.expected(now, by).level > f64::from(settings.deaf.0)
            {
                gateway.track.add(settings.deaf, 2.0 * by.scan_noise, now, by);
            }
        }
        for (bssid, rssi) in in_scan {
            let gateway = self.gateways.entry(bssid).or_insert_with(|| Gateway {
                track: Track::new(rssi, by.scan_noise, now),
                presence: if first { 1.0 } else { 0.0 },
                present: false,
                missed: 0,
                heard: now,
            });
            if gateway.heard < now {
                gateway.track.add(rssi, by.scan_noise, now, by);
            }
            gateway.presence += STEP * (1.0 - gateway.presence);
            gateway.missed = 0;
            gateway.heard = now;
        }
        (self.scanned, self.measured) = (Some(now), Some(now));
        self.settle(now, settings);
    }

    pub(crate) fn signal(&mut self, bssid: Mac, rssi: Rssi, now: Instant, settings: &Settings) {
        let by = &settings.tracking;
        let gateway = self.gateways.entry(bssid).or_insert_with(|| Gateway {
            track: Track::new(rssi, by.signal_noise, now),
            presence: 1.0,
            present: true,
            missed: 0,
            heard: now,
        });
        if gateway.heard < now {
            gateway.track.add(rssi, by.signal_noise, now, by);
        }
        // Who is associated hears it, whatever scans say.
        (gateway.presence, gateway.missed, gateway.heard) = (1.0, 0, now);
        self.measured = Some(now);
        self.settle(now, settings);
    }

    /// Notes who is in range, alone or not; forgets who is gone, and of too many the weakest.
    pub(crate) fn settle(&mut self, now: Instant, settings: &Settings) {
        self.gateways.retain(|_, gateway| now - gateway.heard < settings.gap);
        while self.gateways.len() > settings.max_gateways {
            let level = |gateway: &Gateway| gateway.track.expected(now, &settings.tracking).level;
            let weakest = self.gateways.iter().min_by(|a, b| level(a.1).total_cmp(&level(b.1)));
            let Some(weakest) = weakest.map(|(bssid, _)| *bssid) else { break };
            self.gateways.remove(&weakest);
        }
        for gateway in self.gateways.values_mut() {
            let stays = gateway.present && gateway.presence >= GOES;
            gateway.present = stays || gateway.presence >= COMES;
        }
        let mut present = self.gateways.iter().filter(|(_, gateway)| gateway.present);
        let (one, more) = (present.next().map(|(bssid, _)| *bssid), present.next().is_some());
        self.none = match (one, self.is_listening(now, settings)) {
            (None, true) => Some(self.none.unwrap_or(now)),
            _ => None,
        };
        self.alone = match one.filter(|_| !more) {
            Some(bssid) => {
                let since = self.alone.filter(|(before, _)| *before == bssid);
                Some((bssid, since.map_or(now, |(_, since)| since)))
            }
            None => None,
        };
    }

    /// Whether the air was listened to of late.
    pub(crate) fn is_listening(&self, now: Instant, settings: &Settings) -> bool {
        self.measured.is_some_and(|at| now - at < settings.gap)
    }

    /// Since when nothing has been in range, if it is so.
    pub(crate) fn silent(&self, now: Instant, settings: &Settings) -> Option<Instant> {
        self.none.filter(|_| self.is_listening(now, settings))
    }

    /// The gateways in range.
    pub(crate) fn present(&self) -> impl Iterator<Item = (&Mac, &Gateway)> {
        self.gateways.iter().filter(|(_, gateway)| gateway.present)
    }

    /// The strongest gateway in range that `fit` lets through.
    pub(crate) fn best(
        &self,
        now: Instant,
        settings: &Settings,
        fit: impl Fn(&Mac) -> bool,
    ) -> Option<Best> {
        let by = &settings.tracking;
        let all = self.present().filter(|(bssid, _)| fit(bssid)).map(|(bssid, gateway)| Best {
            bssid: *bssid,
            now: gateway.track.expected(now, by),
            slope: gateway.track.slope(),
        });
        all.max_by(|a, b| a.now.level.total_cmp(&b.now.level))
    }

    /// The first detector: is there a single gateway in range?
    pub(crate) fn alone(
        &self,
        now: Instant,
        terms: &Terms,
        settings: &Settings,
        back_to: impl Fn(&Mac) -> bool,
    ) -> Option<Opinion> {
        if !self.is_listening(now, settings) {
            return None;
        }
        let threshold = f64::from(terms.threshold.0);
        if let Some(since) = self.none {
            let gone = vec![Reason::NoneHeard { for_ms: ms(now - since) }];
            let (soon, now) = (0.99, Some(0.97));
            let opinion = Opinion { soon, now, inside: 0.02, ..Opinion::default() };
            return Some(Opinion { leaving: gone, lead: Some(Duration::ZERO), ..opinion });
        }
        let best = self.best(now, settings, |_| true)?;
        let above = best.now.level - threshold;
        let mut opinion = Opinion { soon: 0.02, ..Opinion::default() };
        if let Some(best) = self.best(now, settings, back_to) {
            let needed = threshold + f64::from(terms.hysteresis_db);
            (opinion.inside, opinion.by) = (1.0 - best.now.below(needed), Some(best.bssid));
        }
        let single = self.alone.filter(|(_, since)| now - *since >= settings.alone_dwell);
        if let Some((bssid, since)) = single {
            // Weak evidence by itself, strong where the signal is low.
            let far = f64::from(settings.alone_far_db).max(1.0);
            opinion.soon = between(above, (0.0, 0.9), (far, 0.1));
            opinion.now = (above < 3.0).then(|| between(above, (-3.0, 0.8), (3.0, 0.2)));
            let (level, for_ms) = (tenth(best.now.level), ms(now - since));
            opinion.leaving.push(Reason::Alone { bssid, level, threshold, for_ms });
        }
        Some(opinion)
    }

    /// The second detector: do all signals fall, and when is the last of them too weak?
    pub(crate) fn signals(
        &self,
        now: Instant,
        terms: &Terms,
        settings: &Settings,
        back_to: impl Fn(&Mac) -> bool,
    ) -> Option<Opinion> {
        let best = self.best(now, settings, |_| true)?;
        let (by, threshold) = (&settings.tracking, f64::from(terms.threshold.0));
        let then = now + settings.ahead;
        let (mut soon, mut out) = (All::default(), All::default());
        let (mut lead, mut count) = (Some(Duration::ZERO), 0);
        for (_, gateway) in self.present() {
            let track = &gateway.track;
            soon.add(track.expected(then, by).below(threshold));
            out.add(track.expected(now + settings.leave_ahead, by).below(threshold));
            // Out of coverage is who hears the last of them no more.
            lead = lead.zip(track.crosses(threshold, now, by)).map(|(a, b)| a.max(b));
            count += 1;
        }
        let [soon, out] = [soon, out].map(|all| all.together(settings.alike));
        let Expected { level, deviation } = best.now;
        let (bssid, gateways) = (best.bssid, count);
        let (level, deviation, slope) = (tenth(level), tenth(deviation), tenth(best.slope));
        let leaving = match best.slope < -0.05 && best.now.level > threshold {
            true => {
                let crosses_ms = lead.map(ms);
                Reason::Falling { bssid, gateways, level, slope, threshold, crosses_ms }
            }
            false => Reason::Weak { bssid, gateways, level, deviation, threshold },
        };
        let needed = threshold + f64::from(terms.hysteresis_db);
        let mut opinion =
            Opinion { soon, now: Some(out), lead, leaving: vec![leaving], ..Opinion::default() };
        for (bssid, gateway) in self.present().filter(|(bssid, _)| back_to(bssid)) {
            let track = &gateway.track;
            let expected = track.expected(now, by);
            // Strong enough now, and still above the threshold by then.
            let lasts = 1.0 - track.expected(then, by).below(threshold);
            let inside = (1.0 - expected.below(needed)).min(lasts);
            if inside > opinion.inside {
                opinion.inside = inside;
                let (level, slope) = (tenth(expected.level), tenth(track.slope()));
                let strong = Reason::Strong { bssid: *bssid, level, slope, needed, for_ms: 0 };
                opinion.entering = vec![strong];
                opinion.by = Some(*bssid);
            }
        }
        Some(opinion)
    }

    /// Whether the best gateway is so weak that nothing works.
    pub(crate) fn gone(&self, now: Instant, terms: &Terms, settings: &Settings) -> Option<Reason> {
        if let Some(since) = self.silent(now, settings) {
            return Some(Reason::NoneHeard { for_ms: ms(now - since) });
        }
        let best = self.best(now, settings, |_| true)?;
        let floor = f64::from(terms.threshold.0) - f64::from(settings.floor_db);
        let gone = odds(best.now.below(floor)) > odds(settings.leave);
        gone.then(|| Reason::Gone { bssid: best.bssid, level: tenth(best.now.level), floor })
    }

    /// When something changes though nothing is heard.
    pub(crate) fn next(&self, settings: &Settings) -> impl Iterator<Item = Instant> {
        let gateways = self.gateways.values().map(|gateway| gateway.heard);
        let gap = settings.gap;
        gateways.chain(self.measured).map(move |at| at + gap)
    }
}
