//! Where the device is, by fixes and the operator's map; and what the third detector makes of that.

use std::collections::BTreeMap;

use homeward_model::{Instant, Mac, UnixTime};

use crate::air::Air;
use crate::decision::Reason;
use crate::geo::{Offset, Position};
use crate::input::Fix;
use crate::map::{BssidHash, Map, Near};
use crate::number::{likely, ms, span, tenth};
use crate::opinion::Opinion;
use crate::settings::{Settings, Terms};

/// How far coverage is looked for on a course, in metres.
const REACH: f64 = 1500.0;
/// How far a course is off, in degrees: one to each side is looked at, too.
const COURSE_ERROR: f64 = 15.0;
/// Gaps of coverage that do not count, in metres.
const STRIDE: f64 = 1.0;
/// What an opinion is worth that what is heard contradicts.
const DOUBTED: f64 = 0.2;

/// What is known of the place.
#[derive(Debug, Default)]
pub(crate) struct Place {
    map: Option<Carried>,
    fix: Option<Fix>,
    /// Speed (m/s) and course (degrees), the fix's own or by the one before.
    moving: Option<(f64, f64)>,
    /// The last fix that a way is measured from.
    before: Option<Fix>,
    /// Until when no fix is believed, and why.
    lies: Option<(Instant, Reason)>,
    /// Since when nothing has been heard where the map has coverage.
    silent: Option<Instant>,
}

#[derive(Debug)]
struct Carried {
    map: Map,
    expires: Instant,
    /// Where gateways that were heard are by the map, so that each is looked up once.
    known: BTreeMap<Mac, Option<(Position, u16)>>,
}

/// Where the device is in the map's coverage.
#[derive(Debug, Clone, Copy)]
struct Spot {
    /// How far inside, in metres; negative: how far outside.
    within: f64,
    /// How far that is off (deviation).
    off: f64,
    /// How many gateways reach here.
    gateways: usize,
}

/// An opinion of the place, and how far it is trusted: 0 to 1.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) opinion: Opinion,
    pub(crate) trust: f64,
    /// How long coverage lasts on this course, where that is foreseen.
    pub(crate) stays: Option<std::time::Duration>,
}

impl Place {
    pub(crate) fn carry(&mut self, map: Map, wall: UnixTime, now: Instant) {
        let left = map.expires().0.saturating_sub(wall.0);
        let left = std::time::Duration::from_millis(u64::try_from(left).unwrap_or(0));
        self.map = Some(Carried { map, expires: now + left, known: BTreeMap::new() });
        self.silent = None;
    }

    pub(crate) fn map(&self) -> Option<(&Map, Instant)> {
        self.map.as_ref().map(|carried| (&carried.map, carried.expires))
    }

    pub(crate) const fn fix(&self) -> Option<&Fix> {
        self.fix.as_ref()
    }

    /// A fix came. Of two the later one counts.
    pub(crate) fn locate(&mut self, fix: Fix, now: Instant, settings: &Settings) {
        let fix = Fix { taken: fix.taken.min(now), ..fix };
        if self.fix.is_some_and(|last| fix.taken <= last.taken) {
            return;
        }
        if let Some(last) = self.fix {
            let seconds = (fix.taken - last.taken).as_secs_f64();
            let metres = last.position.to(fix.position).length();
            let sure = metres - f64::from(fix.accuracy_m) - f64::from(last.accuracy_m);
            let speed = sure / seconds.max(0.1);
            if speed > f64::from(settings.fastest_m_s) {
                let why =
                    Reason::FixJumped { metres: tenth(metres), speed_m_s: tenth(metres / seconds) };
                self.lies = Some((now + settings.distrust, why));
                self.before = None;
            }
        }
        self.moving = match (fix.speed_cm_s, fix.course_cdeg) {
            (Some(speed), _) if speed < settings.standing_cm_s => Some((0.0, 0.0)),
            (Some(speed), Some(course)) => {
                Some((f64::from(speed) / 100.0, f64::from(course) / 100.0))
            }
            _ => self.moved(&fix, settings),
        };
        self.fix = Some(fix);
    }

    /// Speed and course by the way from an earlier fix, once that is longer than fixes are off.
    fn moved(&mut self, fix: &Fix, settings: &Settings) -> Option<(f64, f64)> {
        let Some(before) = self.before else {
            self.before = Some(*fix);
            return None;
        };
        let way = before.position.to(fix.position);
        let seconds = (fix.taken - before.taken).as_secs_f64();
        let off = f64::from(before.accuracy_m) + f64::from(fix.accuracy_m);
        if way.length() > off && seconds >= 1.0 {
            self.before = Some(*fix);
            return Some((way.length() / seconds, way.course()));
        }
        // So long for so little is standing.
        let least = f64::from(settings.standing_cm_s.max(1)) / 100.0;
        let stands = seconds > (off / least).min(60.0);
        if stands { Some((0.0, 0.0)) } else { self.moving }
    }

    /// Looks whether what is heard can be heard where the fix is.
    pub(crate) fn check(&mut self, air: &Air, now: Instant, settings: &Settings) {
        let (Some(carried), Some(fix)) = (&mut self.map, &self.fix) else { return };
        if now - fix.taken > settings.fix_age {
            return;
        }
        let (map, known) = (&carried.map, &mut carried.known);
        known.retain(|bssid, _| air.gateways.contains_key(bssid));
        let (mut far, mut near) = (None, false);
        // What is in range and was heard last is what tells.
        for (bssid, gateway) in air.gateways.iter().filter(|(_, gateway)| gateway.present) {
            let found = known.entry(*bssid).or_insert_with(|| {
                let away = |(position, _): &(Position, u16)| fix.position.to(*position).length();
                let all = map.known(BssidHash::of(*bssid, map.salt()));
                all.min_by(|a, b| away(a).total_cmp(&away(b)))
            });
            let Some((position, range)) = *found else { continue };
            if now - gateway.heard > settings.fix_age {
                continue;
            }
            let away = fix.position.to(position).length();
            let most = settings.range_most * f64::from(range) + 2.0 * f64::from(fix.accuracy_m);
            if away > most {
                let (away_m, range_m) = (tenth(away), f64::from(range));
                far.get_or_insert(Reason::FixFar { bssid: *bssid, away_m, range_m });
            } else {
                near = true;
            }
        }
        match far {
            // Where others fit, that one was carried off, or somebody calls himself so.
            Some(why) if !near => self.lies = Some((now + settings.distrust, why)),
            // It is heard what should be: a lie is over sooner.
            None if near => self.lies = None,
            _ => {}
        }
    }

    /// The third detector: does coverage by the map end, or begin, where the device goes?
    pub(crate) fn opinion(
        &mut self,
        air: &Air,
        now: Instant,
        terms: &Terms,
        settings: &Settings,
    ) -> Option<Placed> {
        let (carried, fix) = (self.map.as_ref()?, self.fix.as_ref()?);
        let doubt = |why: Reason| {
            let opinion = Opinion { doubts: vec![why], ..Opinion::default() };
            Some(Placed { opinion, trust: 0.0, stays: None })
        };
        if now >= carried.expires {
            return doubt(Reason::MapExpired { for_ms: ms(now - carried.expires) });
        }
        let age = now - fix.taken;
        if age > settings.fix_age {
            return doubt(Reason::FixStale { age_ms: ms(age) });
        }
        if fix.accuracy_m > settings.fix_accuracy_m {
            return doubt(Reason::FixVague { accuracy_m: f64::from(fix.accuracy_m) });
        }
        if let Some((_, why)) = self.lies.as_ref().filter(|(until, _)| *until > now) {
            return doubt(why.clone());
        }
        let (speed, course) = self.moving.unwrap_or((0.0, 0.0));
        let gone = Offset::on(course, speed * age.as_secs_f64());
        let here = fix.position.moved(gone)?;
        let near = carried.map.near(here, REACH);
        let accuracy = f64::from(fix.accuracy_m) + speed * age.as_secs_f64() / 2.0;

        let within = deepest(&near);
        let gateways = near.iter().filter(|disc| disc.way.length() <= disc.range).count();
        let range = near.iter().map(|disc| disc.range).fold(0.0, f64::max);
        let off = accuracy.hypot(settings.range_error * range).max(1.0);
        let inside = likely(within / off);
        let ahead = speed * settings.ahead.as_secs_f64();
        let soon = 1.0 - inside;
        let mut opinion = Opinion { soon, now: Some(soon), inside, ..Opinion::default() };
        let mut stays = None;
        if speed > 0.0 && within > 0.0 {
            let ends =
                [0.0, -COURSE_ERROR, COURSE_ERROR].map(|by| ends(&near, course + by, STRIDE));
            let chance = |end: Option<f64>| end.map_or(0.02, |end| likely((ahead - end) / off));
            let [on, left, right] = ends.map(chance);
            opinion.soon = opinion.soon.max((2.0 * on + left + right) / 4.0);
            let [end, ..] = ends;
            opinion.lead = end.and_then(|end| span(end / speed));
            stays = opinion.lead;
            if let (Some(edge_m), Some(lead)) = (end, opinion.lead) {
                let (edge_m, speed_m_s, in_ms) = (tenth(edge_m), tenth(speed), ms(lead));
                opinion.leaving.push(Reason::EdgeAhead { edge_m, speed_m_s, in_ms, gateways });
            }
        }
        if speed > 0.0 && within <= 0.0 {
            // Just outside, on the way in or out: how far it is through what begins here, if that.
            stays = ends(&near, course, off).and_then(|end| span(end / speed));
        }
        let accuracy_m = tenth(accuracy);
        if within <= 0.0 {
            let beyond_m = tenth(-within);
            opinion.leaving.push(Reason::Outside { beyond_m, accuracy_m });
        } else {
            let within_m = tenth(within);
            opinion.entering.push(Reason::Inside { within_m, accuracy_m, gateways });
        }
        let spot = Spot { within, off, gateways };
        let trust = self.trust(&mut opinion, spot, air, now, terms, settings);
        Some(Placed { opinion, trust, stays })
    }

    /// How far an opinion of a spot is believed, by what is heard.
    fn trust(
        &mut self,
        opinion: &mut Opinion,
        Spot { within, off, gateways }: Spot,
        air: &Air,
        now: Instant,
        terms: &Terms,
        settings: &Settings,
    ) -> f64 {
        let silent = air.silent(now, settings);
        self.silent = match silent {
            Some(since) if within > off => Some(self.silent.unwrap_or(since)),
            _ => None,
        };
        if let Some(since) = self.silent.filter(|since| now - *since >= settings.map_silence) {
            opinion.doubts.push(Reason::MapSilent { gateways, for_ms: ms(now - since) });
            return DOUBTED;
        }
        let best = air.best(now, settings, |_| true);
        // Well heard by 6 dB, twice over.
        let well = f64::from(terms.threshold.0) + 2.0 * f64::from(terms.hysteresis_db);
        if let Some(best) = best.filter(|best| within < -off && best.now.level > well) {
            let (bssid, level) = (best.bssid, tenth(best.now.level));
            opinion.doubts.push(Reason::MapBlank { bssid, level, beyond_m: tenth(-within) });
            return DOUBTED;
        }
        1.0
    }

    /// When something changes though nothing comes.
    pub(crate) fn next(&self, settings: &Settings) -> impl Iterator<Item = Instant> {
        let fix = self.fix.map(|fix| fix.taken + settings.fix_age);
        let lies = self.lies.as_ref().map(|(until, _)| *until);
        let map = self.map.as_ref().map(|carried| carried.expires);
        let silent = self.silent.map(|since| since + settings.map_silence);
        [fix, lies, map, silent].into_iter().flatten()
    }
}

/// How far inside of the discs' union the place is, in metres, at least; negative: how far outside.
fn deepest(near: &[Near]) -> f64 {
    let within = near.iter().map(|disc| disc.range - disc.way.length());
    within.fold(f64::NEG_INFINITY, f64::max).max(-2.0 * REACH)
}

/// How far it is on a course to the end of the discs' union, from inside of it; none if that is
/// beyond what was looked at. Gaps of up to `stride` metres do not count.
fn ends(near: &[Near], course: f64, stride: f64) -> Option<f64> {
    let on = Offset::on(course, 1.0);
    let mut parts: Vec<(f64, f64)> = near
        .iter()
        .filter_map(|disc| {
            // The part of the course that lies in the disc.
            let along = disc.way.east * on.east + disc.way.north * on.north;
            let aside = disc.way.east * on.north - disc.way.north * on.east;
            let half = (disc.range * disc.range - aside * aside).max(0.0).sqrt();
            (half > 0.0 && along + half > 0.0).then_some((along - half, along + half))
        })
        .collect();
    parts.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut end = 0.0;
    for (from, to) in parts {
        if from > end + stride {
            break;
        }
        end = to.max(end);
    }
    (end < REACH).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disc(east: f64, north: f64, range: f64) -> Near {
        Near { way: Offset { east, north }, range, hash: None }
    }

    #[test]
    fn the_edge_is_where_the_last_disc_of_the_union_ends_on_the_course() {
        let street = [disc(0.0, 0.0, 50.0), disc(80.0, 0.0, 50.0), disc(400.0, 0.0, 50.0)];
        let near = |value: Option<f64>, is: f64| (value.unwrap() - is).abs() < 1e-6;
        assert!(
            near(ends(&street, 90.0, STRIDE), 130.0),
            "through two that overlap, not over a gap"
        );
        assert!(near(ends(&street, 270.0, STRIDE), 50.0));
        assert!(near(ends(&street, 0.0, STRIDE), 50.0));
        assert!(near(ends(&[disc(0.0, 30.0, 50.0)], 90.0, STRIDE), 40.0), "a chord is shorter");
        assert_eq!(ends(&[disc(0.0, 0.0, 2000.0)], 90.0, STRIDE), None, "it is out of sight");
        assert_eq!(
            ends(&[disc(70.0, 0.0, 50.0)], 90.0, 25.0),
            Some(120.0),
            "into what begins here"
        );
        assert_eq!(ends(&[disc(-70.0, 0.0, 50.0)], 90.0, 25.0), Some(0.0), "out of it");
        assert_eq!(deepest(&street), 50.0);
        assert_eq!(deepest(&[disc(0.0, 70.0, 50.0)]), -20.0);
        assert!(deepest(&[]) < -1000.0);
    }
}
