//! What the machine decides, and why, in single scenes.
#![cfg(test)]

use std::time::Duration;

use homeward_coverage::{
    Advice, Decision, Fix, Heard, Map, Offset, Path, Position, Predictor, Reason, Settings, Site,
    State, Terms,
};
use homeward_model::{Instant, Mac, Rssi, UnixTime};

const WALL: UnixTime = UnixTime(1_800_000_000_000);

fn mac(n: u8) -> Mac {
    Mac::new([2, 0, 0x5e, 0x10, 0, n])
}

fn at(seconds: f64) -> Instant {
    Instant::ORIGIN + Duration::from_secs_f64(seconds)
}

/// Metres east of the first gateway.
fn place(east: f64) -> Position {
    Position::new(51.5, -0.1).unwrap().moved(Offset { east, north: 0.0 }).unwrap()
}

/// A device, second by second.
struct Device {
    machine: Predictor,
    now: f64,
    decisions: Vec<Decision>,
}

impl Device {
    fn new(settings: Settings) -> Self {
        let mut machine = Predictor::new(settings);
        machine.handle_path(Path::Wifi, at(0.0));
        Self { machine, now: 0.0, decisions: Vec::new() }
    }

    /// Gateways at each 80 m from 0 m on, heard for 60 m, in the map.
    fn with_map(count: u8) -> Self {
        let mut device = Self::new(Settings::default());
        device.machine.handle_map(map(count, WALL.0 + 86_400_000), WALL, at(0.0));
        device
    }

    fn fetch(&mut self) {
        while let Some(decision) = self.machine.poll_decision() {
            self.decisions.push(decision);
        }
    }

    /// A second in which those are heard, in a scan each third second; the first is associated.
    fn second(&mut self, heard: &[(u8, f64)], fix: Option<Fix>) {
        self.now += 1.0;
        let now = at(self.now);
        if self.now % 3.0 == 0.0 {
            let heard: Vec<_> = heard
                .iter()
                .map(|(n, level)| Heard { bssid: mac(*n), known: true, rssi: rssi(*level) })
                .collect();
            self.machine.handle_scan(&heard, now);
        }
        if let Some((n, level)) = heard.first()
            && self.state() != State::Away
        {
            self.machine.handle_signal(mac(*n), rssi(*level), now);
        }
        if let Some(fix) = fix {
            self.machine.handle_fix(Fix { taken: now, ..fix }, now);
        }
        self.fetch();
    }

    fn seconds(&mut self, count: u32, heard: &[(u8, f64)]) {
        for _ in 0..count {
            self.second(heard, None);
        }
    }

    fn state(&mut self) -> State {
        self.machine.status(at(self.now)).state
    }

    fn advice(&self) -> Vec<Advice> {
        self.decisions.iter().map(|decision| decision.advice).collect()
    }

    fn count(&self, advice: Advice) -> usize {
        self.decisions.iter().filter(|decision| decision.advice == advice).count()
    }

    fn last(&self) -> &Decision {
        self.decisions.last().expect("a decision")
    }
}

fn rssi(level: f64) -> Rssi {
    Rssi(level.round() as i8)
}

fn map(count: u8, expires: i64) -> Map {
    let sites = (0..count).map(|n| Site {
        position: place(80.0 * f64::from(n)),
        range: 60,
        bssid: Some(mac(n)),
    });
    Map::new([3; 8], UnixTime(WALL.0 - 1000), UnixTime(expires), sites).unwrap()
}

/// A fix at so many metres east, going east at that speed in m/s.
fn fix(east: f64, speed: f64) -> Fix {
    Fix {
        taken: Instant::ORIGIN,
        position: place(east),
        accuracy_m: 6,
        speed_cm_s: Some((speed * 100.0) as u16),
        course_cdeg: Some(9000),
    }
}

#[test]
fn who_walks_away_prepares_first_then_leaves_and_is_told_why() {
    let mut device = Device::new(Settings::default());
    device.seconds(20, &[(1, -55.0), (2, -60.0)]);
    assert_eq!(device.advice(), []);
    for n in 0..60 {
        let fall = 0.6 * f64::from(n);
        device.second(&[(1, -55.0 - fall), (2, -60.0 - fall)], None);
    }
    assert_eq!(device.advice(), [Advice::Prepare, Advice::Leave]);
    let prepare = &device.decisions[0];
    let falling = prepare.reasons.iter().find_map(|reason| match reason {
        Reason::Falling { gateways, slope, threshold, .. } => Some((*gateways, *slope, *threshold)),
        _ => None,
    });
    let (gateways, slope, threshold) = falling.unwrap();
    assert!(gateways == 2 && threshold == -72.0 && (-0.8..-0.2).contains(&slope), "{prepare:?}");
    // It fell below the threshold 28.3 s after it began to fall.
    let lead = at(20.0 + 28.3) - prepare.at;
    assert!((Duration::from_secs(4)..Duration::from_secs(20)).contains(&lead), "{lead:?}");
    let off = at(20.0 + 28.3).as_nanos().abs_diff(device.decisions[1].at.as_nanos());
    assert!(off < 5_000_000_000, "{off} ns");
}

#[test]
fn one_that_rises_while_the_other_falls_is_no_edge() {
    let mut device = Device::new(Settings::default());
    for n in 0..60 {
        let by = 0.5 * f64::from(n);
        // The supplicant roams where they meet.
        let (a, b) = ((1, -50.0 - by), (2, -78.0 + by));
        device.second(if a.1 > b.1 { [a, b] } else { [b, a] }.as_slice(), None);
    }
    assert_eq!(device.advice(), [], "{:?}", device.decisions);
}

#[test]
fn one_deep_fade_leaves_nothing() {
    let mut device = Device::new(Settings::default());
    device.seconds(20, &[(1, -60.0), (2, -66.0)]);
    device.second(&[(1, -92.0)], None);
    device.seconds(20, &[(1, -60.0), (2, -66.0)]);
    assert_eq!(device.count(Advice::Leave), 0, "{:?}", device.decisions);
}

#[test]
fn a_single_gateway_is_weak_evidence_with_a_good_signal_and_prepares_with_a_low_one() {
    let alone = |level: f64| {
        let mut settings = Settings::default();
        settings.detectors.signals = false;
        settings.detectors.position = false;
        let mut device = Device::new(settings);
        device.seconds(20, &[(1, level), (2, level)]);
        assert_eq!(device.advice(), [], "two are in range");
        device.seconds(30, &[(1, level)]);
        device
    };
    assert_eq!(alone(-50.0).advice(), []);
    let low = alone(-67.0);
    assert_eq!(low.advice(), [Advice::Prepare]);
    assert!(matches!(low.last().reasons[..], [Reason::Alone { bssid, .. }] if bssid == mac(1)));
}

#[test]
fn one_that_is_heard_by_turns_is_no_second_gateway_and_never_was_one_less() {
    let alone = |first: &[(u8, f64)]| {
        let mut settings = Settings::default();
        settings.detectors.signals = false;
        let mut device = Device::new(settings);
        device.seconds(12, first);
        for n in 0..20 {
            device.seconds(3, if n % 2 == 0 { &[(1, -67.0)] } else { &[(1, -67.0), (2, -80.0)] });
        }
        device.count(Advice::Prepare)
    };
    assert_eq!(alone(&[(1, -67.0)]), 1, "one is alone, and stays so");
    assert_eq!(alone(&[(1, -67.0), (2, -80.0)]), 0, "of two none is gone");
}

#[test]
fn what_vanishes_at_once_is_left_at_once() {
    let mut device = Device::new(Settings::default());
    device.seconds(30, &[(1, -50.0), (2, -55.0)]);
    device.seconds(9, &[]);
    assert_eq!(device.advice(), [Advice::Leave]);
    assert!(matches!(device.last().reasons[0], Reason::NoneHeard { .. }), "{:?}", device.last());
}

#[test]
fn without_anybody_who_listens_nothing_is_decided() {
    let mut device = Device::new(Settings::default());
    device.seconds(30, &[(1, -50.0), (2, -55.0)]);
    let mut due = Vec::new();
    while let Some(next) = device.machine.poll_timeout() {
        device.machine.handle_timeout(next);
        due.push(next);
        device.fetch();
    }
    assert!(due.is_sorted() && due.len() < 10, "{due:?}");
    assert_eq!(device.advice(), []);
    assert_eq!(device.machine.status(*due.last().unwrap()).gateways, []);
}

#[test]
fn return_needs_hysteresis_dwell_and_time_away_and_stay_comes_only_later() {
    let mut device = Device::new(Settings::default());
    device.seconds(20, &[(1, -60.0)]);
    device.seconds(12, &[]);
    assert_eq!(device.last().advice, Advice::Leave);
    device.seconds(60, &[(1, -70.0)]);
    assert_eq!(device.last().advice, Advice::Leave, "2 dB above the threshold are not enough");
    let strong = device.now;
    device.seconds(60, &[(1, -58.0), (2, -60.0)]);
    let back = device.decisions.iter().find(|d| d.advice == Advice::Return).unwrap();
    assert!(back.at >= at(strong + 4.0), "a scan, and the dwell: {back:?}");
    assert!(
        back.reasons.iter().any(|r| matches!(r, Reason::Strong { needed, .. } if *needed == -66.0))
    );
    assert_eq!(device.last().advice, Advice::Stay);
    assert!(device.last().at - back.at >= Duration::from_secs(30), "the tunnel was held");
}

#[test]
fn the_class_of_services_threshold_moves_the_edge() {
    let left_at = |threshold: i8| {
        let mut device = Device::new(Settings::default());
        let terms = Terms { threshold: Rssi(threshold), ..Terms::default() };
        device.machine.handle_terms(terms, at(0.0));
        device.seconds(20, &[(1, -50.0)]);
        for n in 0..80 {
            device.second(&[(1, -50.0 - 0.4 * f64::from(n))], None);
        }
        device.decisions.iter().find(|d| d.advice == Advice::Leave).unwrap().at
    };
    let (gold, plain) = (left_at(-65), left_at(-75));
    let between = (plain - gold).as_secs_f64();
    assert!((20.0..30.0).contains(&between), "10 dB at 0.4 dB/s, not {between} s");
}

#[test]
fn the_map_says_of_an_edge_that_no_signal_shows_yet() {
    let mut device = Device::with_map(3);
    for n in 0..76u32 {
        // From 100 m on towards 220 m, with a signal as good as ever.
        let east = 100.0 + 1.5 * f64::from(n);
        device.second(&[(2, -55.0), (1, -60.0)], Some(fix(east, 1.5)));
    }
    assert_eq!(device.advice(), [Advice::Prepare]);
    let decision = device.last();
    assert!(matches!(decision.reasons[0], Reason::EdgeAhead { .. }), "{decision:?}");
    let (lead, east) =
        (decision.lead.unwrap().as_secs_f64(), 100.0 + 1.5 * (decision.at - at(1.0)).as_secs_f64());
    assert!((lead - (220.0 - east) / 1.5).abs() < 1.0, "{lead} s from {east} m");
}

#[test]
fn a_course_along_the_street_is_no_edge() {
    let mut device = Device::with_map(9);
    for n in 0..120u32 {
        device.second(&[(2, -55.0), (1, -60.0)], Some(fix(60.0 + 1.5 * f64::from(n), 1.5)));
    }
    assert_eq!(device.advice(), []);
}

#[test]
fn a_map_that_has_coverage_where_nothing_is_heard_is_stale() {
    let mut device = Device::with_map(3);
    for _ in 0..30 {
        device.second(&[(1, -55.0)], Some(fix(80.0, 0.0)));
    }
    for _ in 0..40 {
        device.second(&[], Some(fix(80.0, 0.0)));
    }
    assert_eq!(device.advice(), [Advice::Leave], "what is heard decides");
    let doubts = device.machine.status(at(device.now)).doubts;
    let silent = doubts.iter().any(|doubt| matches!(doubt, Reason::MapSilent { gateways: 1, .. }));
    assert!(silent, "{doubts:?}");
}

#[test]
fn a_position_far_from_a_gateway_that_is_heard_lies_and_decides_nothing() {
    let mut device = Device::with_map(3);
    for _ in 0..20 {
        device.second(&[(1, -55.0), (2, -60.0)], Some(fix(80.0, 0.0)));
    }
    for _ in 0..60 {
        device.second(&[(1, -55.0), (2, -60.0)], Some(fix(9_000.0, 0.0)));
    }
    assert_eq!(device.advice(), [], "{:?}", device.decisions);
    let doubts = device.machine.status(at(device.now)).doubts;
    assert!(matches!(doubts[..], [Reason::FixFar { range_m: 60.0, .. }]), "{doubts:?}");
    // Whom nobody lies to any more is believed at once.
    device.second(&[(1, -55.0), (2, -60.0)], Some(fix(80.0, 0.0)));
    device.second(&[(1, -55.0), (2, -60.0)], Some(fix(80.0, 0.0)));
    assert_eq!(device.machine.status(at(device.now)).doubts, []);
}

#[test]
fn a_position_that_jumps_is_not_believed_though_nothing_known_is_heard() {
    let mut device = Device::with_map(3);
    device.second(&[(9, -55.0)], Some(fix(80.0, 0.0)));
    device.second(&[(9, -55.0)], Some(fix(9_000.0, 0.0)));
    let doubts = device.machine.status(at(device.now)).doubts;
    assert!(matches!(doubts[..], [Reason::FixJumped { .. }]), "{doubts:?}");
}

#[test]
fn a_gateway_that_was_carried_off_does_not_make_a_liar_of_the_position() {
    // The seventh is 400 m away by the map; the second is where it is said to be.
    let mut device = Device::with_map(8);
    for _ in 0..20 {
        device.second(&[(1, -55.0), (6, -60.0)], Some(fix(80.0, 0.0)));
    }
    assert_eq!(device.machine.status(at(device.now)).doubts, []);
}

#[test]
fn of_two_fixes_the_later_counts_and_none_is_of_a_time_to_come() {
    let mut device = Device::with_map(3);
    let doubts = |device: &mut Device| device.machine.status(at(device.now)).doubts;
    device.second(&[(9, -55.0)], Some(fix(80.0, 0.0)));
    // A late one, from elsewhere.
    let late = Fix { taken: at(0.5), ..fix(9_000.0, 0.0) };
    device.machine.handle_fix(late, at(device.now));
    assert_eq!(doubts(&mut device), []);
    // One of next year does not keep those of today from counting.
    let early = Fix { taken: at(1e7), ..fix(80.0, 0.0) };
    device.now += 1.0;
    device.machine.handle_fix(early, at(device.now));
    device.second(&[(9, -55.0)], Some(fix(9_000.0, 0.0)));
    let doubts = doubts(&mut device);
    assert!(matches!(doubts[..], [Reason::FixJumped { .. }]), "{doubts:?}");
}

#[test]
fn a_good_signal_where_the_map_has_none_is_believed_before_the_map() {
    let mut device = Device::with_map(3);
    for _ in 0..60 {
        device.second(&[(9, -50.0), (8, -55.0)], Some(fix(400.0, 0.0)));
    }
    assert_eq!(device.count(Advice::Leave), 0);
    let doubts = device.machine.status(at(device.now)).doubts;
    assert!(matches!(doubts[..], [Reason::MapBlank { .. }]), "{doubts:?}");
}

#[test]
fn what_is_old_vague_or_expired_has_no_say_and_says_so() {
    let mut device = Device::with_map(3);
    device.second(&[(1, -55.0)], Some(fix(80.0, 0.0)));
    device.seconds(15, &[(1, -55.0)]);
    let doubts = device.machine.status(at(device.now)).doubts;
    assert!(matches!(doubts[..], [Reason::FixStale { age_ms: 15_000 }]), "{doubts:?}");
    device.second(&[(1, -55.0)], Some(Fix { accuracy_m: 400, ..fix(80.0, 0.0) }));
    let doubts = device.machine.status(at(device.now)).doubts;
    assert!(matches!(doubts[..], [Reason::FixVague { .. }]), "{doubts:?}");
    let short = map(3, WALL.0 + 2000);
    device.machine.handle_map(short, WALL, at(device.now));
    for _ in 0..3 {
        device.second(&[(1, -55.0)], Some(fix(80.0, 0.0)));
    }
    let doubts = device.machine.status(at(device.now)).doubts;
    assert_eq!(doubts, [Reason::MapExpired { for_ms: 1000 }]);
}

#[test]
fn speed_and_course_that_a_receiver_does_not_say_come_of_the_way() {
    let mut device = Device::with_map(3);
    for n in 0..90u32 {
        let east = 80.0 + 1.5 * f64::from(n);
        let fix = Fix { speed_cm_s: None, course_cdeg: None, ..fix(east, 0.0) };
        device.second(&[(2, -55.0), (1, -60.0)], Some(fix));
    }
    assert_eq!(device.decisions[0].advice, Advice::Prepare);
    let ahead = device.decisions[0].reasons.iter().any(|reason| match reason {
        Reason::EdgeAhead { speed_m_s, .. } => (1.2..1.8).contains(speed_m_s),
        _ => false,
    });
    assert!(ahead, "{:?}", device.decisions[0]);
}

#[test]
fn coverage_that_is_over_at_once_is_not_gone_back_to() {
    let bus = |speed: f64| {
        let mut device = Device::with_map(1);
        device.machine.handle_path(Path::Cellular, at(0.0));
        let mut withheld = false;
        for n in 0..200 {
            let east = -300.0 + speed * f64::from(n);
            let near = east.abs() < 60.0;
            let heard: &[(u8, f64)] = if near { &[(0, -50.0)] } else { &[] };
            device.second(heard, Some(fix(east, speed)));
            let status = device.machine.status(at(device.now));
            withheld |= status.withheld.iter().any(|r| matches!(r, Reason::ShortVisit { .. }));
        }
        (device.count(Advice::Return), withheld)
    };
    assert_eq!(bus(8.0), (0, true));
    assert_eq!(bus(1.5).0, 1, "on foot it is worth it");
}

#[test]
fn nobody_goes_back_by_the_map_alone_to_what_was_not_heard() {
    let mut device = Device::with_map(1);
    device.machine.handle_path(Path::Cellular, at(0.0));
    for n in 1..100 {
        device.now = f64::from(n);
        let now = at(device.now);
        device.machine.handle_fix(Fix { taken: now, ..fix(0.0, 0.0) }, now);
        device.fetch();
    }
    let status = device.machine.status(at(device.now));
    assert!(status.edge.is_some() && status.state == State::Away, "{status:?}");
    assert_eq!(device.advice(), []);
    device.seconds(20, &[(0, -50.0)]);
    assert_eq!(device.count(Advice::Return), 1);
}

#[test]
fn time_that_goes_back_is_taken_for_no_time() {
    let mut device = Device::new(Settings::default());
    device.seconds(60, &[(1, -50.0)]);
    device.machine.handle_timeout(at(10.0));
    assert!(device.machine.poll_timeout().is_none_or(|due| due > at(60.0)));
}

#[test]
fn a_gateway_that_comes_and_goes_is_gone_back_to_ever_less_often() {
    let mut device = Device::new(Settings::default());
    for _ in 0..90 {
        device.seconds(20, &[(1, -50.0)]);
        device.seconds(20, &[]);
    }
    // An hour. Of ninety chances a few are taken, with ever longer waits between.
    let returns: Vec<_> = device.decisions.iter().filter(|d| d.advice == Advice::Return).collect();
    assert!((3..=10).contains(&returns.len()), "{}", returns.len());
    let waits: Vec<_> = returns.windows(2).map(|two| (two[1].at - two[0].at).as_secs()).collect();
    assert!(waits[..5].is_sorted() && waits[5..].iter().all(|s| *s >= 600), "{waits:?}");
    let withheld = device.machine.status(at(device.now)).withheld;
    assert!(matches!(withheld[..], [Reason::HeldDown { bssid, .. }] if bssid == mac(1)));
    // Another one is nobody's fault.
    device.seconds(20, &[(2, -50.0)]);
    assert_eq!(device.last().advice, Advice::Return);
}

#[test]
fn wifi_that_broke_by_itself_is_taken_for_left() {
    let mut device = Device::new(Settings::default());
    device.seconds(20, &[(1, -50.0)]);
    device.machine.handle_path(Path::Cellular, at(device.now));
    assert_eq!(device.state(), State::Away);
    let broke = at(device.now);
    device.seconds(60, &[(1, -50.0)]);
    assert_eq!(device.decisions[0].advice, Advice::Return);
    assert!(device.decisions[0].at - broke >= Duration::from_secs(20), "it did not last");
}

#[test]
fn what_is_not_the_operators_is_nobodys_business() {
    let mut device = Device::new(Settings::default());
    for n in 1..20u8 {
        let strange = Heard { bssid: mac(9), known: false, rssi: Rssi(-40) };
        device.machine.handle_scan(&[strange], at(f64::from(n) * 3.0));
    }
    assert_eq!(device.machine.status(at(60.0)).gateways, []);
}

#[test]
fn no_more_gateways_are_followed_than_the_settings_say_and_the_strongest_stay() {
    let mut device = Device::new(Settings { max_gateways: 4, ..Settings::default() });
    let many: Vec<_> = (0..50u8).map(|n| (n, -40.0 - f64::from(n))).collect();
    device.seconds(9, &many);
    let gateways = device.machine.status(at(device.now)).gateways;
    assert_eq!(
        gateways.iter().map(|g| g.bssid).collect::<Vec<_>>(),
        [mac(0), mac(1), mac(2), mac(3)]
    );
}
