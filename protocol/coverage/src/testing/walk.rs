//! Generated walks: a street with gateways, somebody who goes along it, and what a device hears.
//!
//! Path loss is log-distance, with an exponent of 2.2 to 3.8; shadows are log-normal, 3 to 6 dB, and
//! correlated over 8 to 20 m of way (Gudmundson, 1991), half of them common to all gateways; fading
//! is Rician, K from 0 (Rayleigh) to 10, frozen but for what moves around where the device stands.
//! The truth is the mean signal: with its shadows, without fading.

use std::time::Duration;

use homeward_model::{Instant, Mac, Rssi, UnixTime};

use super::random::Random;
use crate::geo::{Offset, Position};
use crate::input::{Fix, Heard, Path};
use crate::map::{Map, Site};
use crate::number::whole;
use crate::trace::Input;

/// Between two looks at the truth, in seconds.
pub const STEP: f64 = 0.5;
/// The threshold that the truth is held against, in dBm.
pub const THRESHOLD: f64 = -72.0;
/// Nothing weaker is heard, in dBm.
const SENSITIVITY: f64 = -91.0;

/// How somebody goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Out of the street and on.
    Out,
    /// Out, and back after a minute or two.
    OutAndBack,
    /// Turns before the edge.
    TurnsBack,
    /// Stands where coverage ends for some minutes.
    Stands,
    /// Through a gap between two parts of the street.
    Gap,
    /// To and fro, where there is coverage.
    Inside,
    /// Out by bus.
    Ride,
}

/// What the receiver of GNSS and the map are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aid {
    /// As they should be.
    Good,
    /// There is neither.
    None,
    /// Two gateways of five in the map are gone, one of five is not in it, and there are some beyond
    /// the street that never were.
    StaleMap,
    /// The position is 300 km away from some time on.
    FarLie,
    /// The position stays what it was from some time on.
    Frozen,
}

/// What a walk is to be like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// How somebody goes.
    pub way: Way,
    /// Position and map.
    pub aid: Aid,
    /// Whether the last gateway of the street is off for five seconds of ten.
    pub flaps: bool,
}

impl Plan {
    /// One by chance: ways as they come, seven of ten with good aid.
    pub fn by_chance(random: &mut Random) -> Self {
        let way = match random.fraction() {
            share if share < 0.25 => Way::Out,
            share if share < 0.45 => Way::OutAndBack,
            share if share < 0.60 => Way::TurnsBack,
            share if share < 0.72 => Way::Stands,
            share if share < 0.84 => Way::Gap,
            share if share < 0.94 => Way::Inside,
            _ => Way::Ride,
        };
        let aid = match random.fraction() {
            share if share < 0.70 => Aid::Good,
            share if share < 0.80 => Aid::None,
            share if share < 0.90 => Aid::StaleMap,
            share if share < 0.95 => Aid::FarLie,
            _ => Aid::Frozen,
        };
        Self { way, aid, flaps: false }
    }
}

/// What a device is told on a walk, and the truth.
#[derive(Debug, Clone)]
pub struct Walk {
    /// What it is like.
    pub plan: Plan,
    /// In the order of time. A signal is measured only while traffic goes by Wi-Fi.
    pub inputs: Vec<(Instant, Input)>,
    /// The mean signal of the best gateway, in dBm, each [`STEP`] from the beginning on.
    pub truth: Vec<f64>,
    /// The mean signal of each gateway, likewise.
    pub means: Vec<(Mac, Vec<f64>)>,
}

struct Gateway {
    bssid: Mac,
    east: f64,
    north: f64,
    shadow: Shadow,
    /// The scattered part of the field, and when it was drawn.
    field: (f64, f64),
}

/// Shadows along the street, in dB: one a metre, with a straight line between.
struct Shadow(Vec<f64>);

impl Shadow {
    fn new(metres: usize, deviation: f64, over: f64, random: &mut Random) -> Self {
        let keeps = (-1.0 / over).exp();
        let new = deviation * (1.0 - keeps * keeps).sqrt();
        let mut value = deviation * random.normal();
        Self(
            (0..metres)
                .map(|_| {
                    let here = value;
                    value = keeps * value + new * random.normal();
                    here
                })
                .collect(),
        )
    }

    fn at(&self, metres: f64) -> f64 {
        let most = i32::try_from(self.0.len()).unwrap_or(i32::MAX) - 2;
        let at = whole((metres - 0.5).max(0.0), 0, most.max(0));
        let share = (metres - f64::from(at)).clamp(0.0, 1.0);
        let at = usize::try_from(at).unwrap_or(0);
        let pair = self.0.get(at).zip(self.0.get(at + 1));
        pair.map_or(0.0, |(a, b)| a + share * (b - a))
    }
}

/// The street's western end lies so far from where shadows begin, in metres.
const MARGIN: f64 = 700.0;

struct Street {
    gateways: Vec<Gateway>,
    common: Shadow,
    /// Where a gateway's mean signal is the threshold, in metres, and how fast it falls.
    range: f64,
    exponent: f64,
    /// Rice's K.
    k: f64,
    /// Where its coverage ends in the east, about; and a gap's ends.
    edge: f64,
    gap: Option<(f64, f64)>,
}

impl Street {
    fn new(plan: &Plan, random: &mut Random) -> Self {
        let range = random.between(25.0, 90.0);
        let exponent = random.between(2.2, 3.8);
        let (deviation, over) = (random.between(3.0, 6.0), random.between(8.0, 20.0));
        let k = match random.draw() % 3 {
            0 => 0.0,
            1 => 3.0,
            _ => 10.0,
        };
        let count = 3 + random.draw() % 4;
        let gap_after = (plan.way == Way::Gap).then_some(count / 2);
        let (mut gateways, mut east, mut gap) = (Vec::new(), 0.0, None);
        let half = deviation / 2f64.sqrt();
        for n in 0..count {
            let north = random.between(6.0, 15.0) * if random.chance(0.5) { 1.0 } else { -1.0 };
            let metres = 2000;
            let octet = u8::try_from(n).unwrap_or(0);
            gateways.push(Gateway {
                bssid: Mac::new([2, 0, 0x5e, 0x10, 0, octet]),
                east,
                north,
                shadow: Shadow::new(metres, half, over, random),
                field: (random.normal(), random.normal()),
            });
            let step = if gap_after == Some(n) {
                gap = Some((east + range, 0.0));
                range * 2.0 + random.between(40.0, 150.0)
            } else {
                range * random.between(0.6, 1.2)
            };
            east += step;
            if let Some((_, to)) = gap.as_mut().filter(|(_, to)| *to == 0.0) {
                *to = east - range;
            }
        }
        let edge = gateways.last().map_or(0.0, |last| last.east) + range;
        let common = Shadow::new(2000, half, over, random);
        Self { gateways, common, range, exponent, k, edge, gap }
    }

    fn mean(&self, gateway: &Gateway, east: f64) -> f64 {
        let away = (gateway.east - east).hypot(gateway.north).max(1.0);
        let along = east + MARGIN;
        THRESHOLD
            + 10.0 * self.exponent * (self.range / away).log10()
            + gateway.shadow.at(along)
            + self.common.at(along)
    }
}

/// The fading of a frame, in dB, after the device moved and time went on.
fn fade(field: &mut (f64, f64), k: f64, metres: f64, seconds: f64, random: &mut Random) -> f64 {
    // Half a wavelength makes another field; where nothing moves but others, some seconds do.
    let keeps = (-metres / 0.06 - seconds / 8.0).exp();
    let new = (1.0 - keeps * keeps).sqrt();
    field.0 = keeps * field.0 + new * random.normal();
    field.1 = keeps * field.1 + new * random.normal();
    let (direct, scattered) = ((k / (k + 1.0)).sqrt(), (0.5 / (k + 1.0)).sqrt());
    let (re, im) = (direct + scattered * field.0, scattered * field.1);
    10.0 * (re * re + im * im).max(1e-6).log10()
}

/// Where somebody is, step by step, and how fast, in m/s to the east.
fn way(plan: &Plan, street: &Street, random: &mut Random) -> Vec<(f64, f64)> {
    let speed = match plan.way {
        Way::Ride => random.between(7.0, 12.0),
        _ => random.between(0.9, 1.9),
    };
    let edge = street.edge;
    let inside = (edge - street.range).max(10.0);
    let start = random.between(0.0, inside);
    // Where to, and how long to stay there.
    let stops: Vec<(f64, f64)> = match plan.way {
        Way::Out => vec![(edge + random.between(80.0, 160.0), 30.0)],
        Way::Ride => vec![(edge + random.between(200.0, 350.0), 10.0)],
        Way::OutAndBack => {
            let out = edge + random.between(30.0, 80.0);
            vec![(out, random.between(20.0, 90.0)), (start, 40.0)]
        }
        Way::TurnsBack => {
            let turn = edge - street.range * random.between(0.3, 0.6);
            vec![(turn.max(start), random.between(5.0, 30.0)), (0.0, 20.0)]
        }
        Way::Stands => {
            let at = edge + random.between(-10.0, 10.0);
            let then = if random.chance(0.5) { edge + 120.0 } else { start };
            vec![(at, random.between(120.0, 300.0)), (then, 30.0)]
        }
        Way::Gap => {
            let (from, to) = street.gap.unwrap_or((0.0, 0.0));
            return walked(
                random.between(0.0, from),
                &[(from + 1.0, 0.0), (to + 1.0, 0.0), (edge, 10.0)],
                speed,
                random,
            );
        }
        Way::Inside => vec![(inside, 20.0), (0.0, 20.0), (inside, 20.0)],
    };
    walked(start, &stops, speed, random)
}

fn walked(start: f64, stops: &[(f64, f64)], speed: f64, random: &mut Random) -> Vec<(f64, f64)> {
    let (mut at, mut steps) = (start, Vec::new());
    // Some time where nothing happens.
    steps.extend([(at, 0.0); 60]);
    for (to, rest) in stops {
        while (to - at).abs() > 0.01 {
            let pace = speed * (1.0 + 0.1 * random.normal().clamp(-2.0, 2.0));
            let step = (pace * STEP).min((to - at).abs()) * (to - at).signum();
            at += step;
            steps.push((at, step / STEP));
        }
        let rest = usize::try_from(whole(rest / STEP, 0, 10_000)).unwrap_or(0);
        steps.extend(vec![(at, 0.0); rest]);
    }
    steps
}

/// The middle of the world.
fn origin() -> Option<Position> {
    Position::new(51.5, -0.12).ok()
}

fn place(east: f64, north: f64) -> Option<Position> {
    origin()?.moved(Offset { east, north })
}

impl Walk {
    /// The walk of a seed, by chance.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::by_chance(&mut random);
        Self::planned(plan, random)
    }

    /// The walk of a seed that is like that.
    pub fn like(plan: Plan, seed: u64) -> Self {
        Self::planned(plan, Random::new(seed))
    }

    fn planned(plan: Plan, mut random: Random) -> Self {
        let random = &mut random;
        let mut street = Street::new(&plan, random);
        let steps = way(&plan, &street, random);
        let mut inputs = vec![(Instant::ORIGIN, Input::Path(Path::Wifi))];
        inputs.extend(map(&plan, &street, random).map(|map| {
            let wall = UnixTime(1_800_000_000_000);
            (Instant::ORIGIN, Input::Map { map, wall })
        }));
        let mut receiver = Receiver::new(&plan, steps.len(), random);
        let mut radio = Radio { next_scan: 0.0, every: random.between(3.0, 6.0), associated: None };
        let mut truth = Vec::new();
        let mut means: Vec<_> = street.gateways.iter().map(|g| (g.bssid, Vec::new())).collect();
        for (n, &(east, speed)) in steps.iter().enumerate() {
            let seconds = f64::from(u32::try_from(n).unwrap_or(0)) * STEP;
            let now = Instant::ORIGIN + Duration::from_secs_f64(seconds);
            let off = plan.flaps && seconds % 10.0 >= 5.0;
            let mut best = f64::NEG_INFINITY;
            let last = street.gateways.len() - 1;
            for (at, (gateway, (_, means))) in street.gateways.iter().zip(&mut means).enumerate() {
                let mean = street.mean(gateway, east);
                let mean = if off && at == last { -120.0 } else { mean };
                means.push(mean);
                best = best.max(mean);
            }
            truth.push(best);
            let mean_now: Vec<f64> =
                means.iter().filter_map(|(_, means)| means.last().copied()).collect();
            inputs.extend(
                radio.hears(&mut street, &mean_now, seconds, speed, random).map(|i| (now, i)),
            );
            inputs.extend(receiver.locates(n, east, speed, now, random).map(|i| (now, i)));
        }
        Self { plan, inputs, truth, means }
    }
}

struct Radio {
    next_scan: f64,
    every: f64,
    associated: Option<usize>,
}

impl Radio {
    fn hears(
        &mut self,
        street: &mut Street,
        means: &[f64],
        seconds: f64,
        speed: f64,
        random: &mut Random,
    ) -> impl Iterator<Item = Input> {
        let mut inputs = Vec::new();
        let moved = speed.abs();
        let k = street.k;
        let rssi = |level: f64| Rssi(i8::try_from(whole(level, -110, -10)).unwrap_or(-110));
        if seconds >= self.next_scan {
            self.next_scan = seconds + self.every * random.between(0.8, 1.2);
            let mut heard = Vec::new();
            let mut strongest: Option<(usize, f64)> = None;
            let mut own = None;
            for (at, (gateway, mean)) in street.gateways.iter_mut().zip(means).enumerate() {
                let level = mean + fade(&mut gateway.field, k, moved * STEP, STEP, random);
                if level < SENSITIVITY || random.chance(0.04) {
                    continue;
                }
                heard.push(Heard { bssid: gateway.bssid, known: true, rssi: rssi(level) });
                if strongest.is_none_or(|(_, before)| level > before) {
                    strongest = Some((at, level));
                }
                own = own.or((self.associated == Some(at)).then_some(level));
            }
            let stranger = Mac::new([2, 0, 0x5e, 0xff, 0, 1]);
            heard.push(Heard {
                bssid: stranger,
                known: false,
                rssi: rssi(random.between(-80.0, -40.0)),
            });
            // As supplicants do: to another that is clearly stronger.
            if let Some((at, level)) = strongest
                && own.is_none_or(|own| level > own + 8.0)
            {
                self.associated = Some(at);
            }
            inputs.push(Input::Scan(heard));
        }
        // Once a second.
        if seconds.fract() == 0.0
            && let Some(at) = self.associated
            && let (Some(gateway), Some(mean)) = (street.gateways.get_mut(at), means.get(at))
        {
            // A driver's figure is over some frames.
            let power: f64 = (0..4)
                .map(|_| fade(&mut gateway.field, k, moved * 0.1, 0.1, random))
                .map(|db| 10f64.powf(db / 10.0))
                .sum();
            let level = mean + 10.0 * (power / 4.0).log10();
            if *mean > SENSITIVITY {
                inputs.push(Input::Signal { bssid: gateway.bssid, rssi: rssi(level) });
            } else {
                self.associated = None;
            }
        }
        inputs.into_iter()
    }
}

struct Receiver {
    aid: Aid,
    accuracy: f64,
    /// How far the position is off, and will be for half a minute.
    off: (f64, f64),
    lies_from: usize,
    frozen: Option<(f64, f64)>,
}

impl Receiver {
    fn new(plan: &Plan, steps: usize, random: &mut Random) -> Self {
        let lies_from = steps / 8 + usize::try_from(random.draw() % 64).unwrap_or(0);
        let off = (random.normal(), random.normal());
        Self { aid: plan.aid, accuracy: random.between(4.0, 15.0), off, lies_from, frozen: None }
    }

    fn locates(
        &mut self,
        step: usize,
        east: f64,
        speed: f64,
        now: Instant,
        random: &mut Random,
    ) -> Option<Input> {
        if self.aid == Aid::None || !step.is_multiple_of(2) {
            return None;
        }
        let keeps = (-1f64 / 30.0).exp();
        let new = (1.0 - keeps * keeps).sqrt();
        self.off.0 = keeps * self.off.0 + new * random.normal();
        self.off.1 = keeps * self.off.1 + new * random.normal();
        // Two of three lie within the accuracy.
        let by = self.accuracy / 1.51;
        let mut at = (east + by * self.off.0, by * self.off.1);
        let (mut speed, mut lies) = (speed, false);
        if step >= self.lies_from {
            match self.aid {
                Aid::FarLie => at.1 += 300_000.0,
                Aid::Frozen => {
                    at = *self.frozen.get_or_insert(at);
                    (speed, lies) = (0.0, true);
                }
                _ => {}
            }
        }
        let said = (speed.abs() + 0.15 * random.normal()).max(0.0);
        let course = if speed < 0.0 { 270.0 } else { 90.0 } + 8.0 * random.normal();
        let small = |value: f64, most: i32| u16::try_from(whole(value, 0, most)).unwrap_or(0);
        Some(Input::Fix(Fix {
            taken: now,
            position: place(at.0, at.1)?,
            accuracy_m: small(self.accuracy.ceil(), 1000),
            speed_cm_s: Some(if lies { 0 } else { small(said * 100.0, 9999) }),
            course_cdeg: Some(small(course.rem_euclid(360.0) * 100.0, 35_999)),
        }))
    }
}

fn map(plan: &Plan, street: &Street, random: &mut Random) -> Option<Map> {
    if plan.aid == Aid::None {
        return None;
    }
    let mut sites = Vec::new();
    let mut site = |east: f64, north: f64, bssid: Option<Mac>, random: &mut Random| {
        // Who made it has measured the range, and not well.
        let range = street.range * random.between(0.75, 1.3);
        let range = u16::try_from(whole(range, 1, 1000)).unwrap_or(1);
        sites.extend(place(east, north).map(|position| Site { position, range, bssid }));
    };
    let stale = plan.aid == Aid::StaleMap;
    for gateway in &street.gateways {
        if stale && random.chance(0.2) {
            continue;
        }
        site(gateway.east, gateway.north, Some(gateway.bssid), random);
    }
    if stale {
        for n in 1..=3u8 {
            let beyond = street.edge + f64::from(n) * street.range;
            let gone = Mac::new([2, 0, 0x5e, 0x10, 1, n]);
            site(beyond, 10.0, Some(gone), random);
        }
    }
    Map::new([9; 8], UnixTime(1_799_000_000_000), UnixTime(1_809_000_000_000), sites).ok()
}
