//! What is foreseen of coverage, and what the tunnel makes of it.

use homeward_control::WantMap;
use homeward_coverage::{Advice, Fix, Heard, Map, Position, Site};
use homeward_model::Rssi;

use super::*;

const ELM: Mac = Mac::new([2, 0, 0x5e, 0x10, 0, 1]);
const OAK: Mac = Mac::new([2, 0, 0x5e, 0x10, 0, 2]);

/// A device on a walk: what it hears each second, and where its tunnel goes.
struct Walk {
    homing: Homing,
    now: Instant,
    plan: Plan,
    /// How often the preferred access changed.
    moves: usize,
    advice: Vec<Advice>,
}

impl Walk {
    fn begin(hold: Hold, threshold: Option<Rssi>) -> Self {
        let mut homing = at_home(Bond::Off, hold, NONE);
        if let ToGateway::Open(mut open) = open(5, NONE) {
            open.terms.handoff_threshold = threshold;
            said(&mut homing, ToGateway::Open(open));
        }
        let plan = plan(&mut homing).unwrap();
        Self { homing, now: NOW, plan, moves: 0, advice: Vec::new() }
    }

    fn take(&mut self) {
        for output in outputs(&mut self.homing) {
            match output {
                Output::Open(plan) => {
                    self.moves += usize::from(plan.preferred != self.plan.preferred);
                    self.plan = *plan;
                }
                Output::Tell(Notice::Coverage { advice, why, .. }) => {
                    assert!(!why.is_empty(), "{advice:?}");
                    self.advice.push(advice);
                }
                _ => {}
            }
        }
    }

    /// Lets a second pass, with its timeouts.
    fn second(&mut self) {
        self.pass(Duration::from_secs(1));
    }

    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(due) = self.homing.poll_timeout().filter(|due| *due <= until) {
            self.homing.handle_timeout(due.max(self.now), &mut Fixed);
            self.now = self.now.max(due);
            self.take();
        }
        self.now = until;
    }

    /// Hears these, and is on the first of them.
    fn hears(&mut self, all: &[(Mac, i8)]) {
        self.second();
        let heard = |&(bssid, rssi)| Heard { bssid, known: true, rssi: Rssi(rssi) };
        self.homing.found(Found::Heard(all.iter().map(heard).collect()), self.now);
        if let Some((bssid, rssi)) = all.first() {
            self.homing.found(Found::Signal(*bssid, Rssi(*rssi)), self.now);
        }
        self.take();
    }

    fn hears_for(&mut self, seconds: usize, all: &[(Mac, i8)]) {
        (0..seconds).for_each(|_| self.hears(all));
    }

    fn wifi(&mut self, there: bool) {
        let wifi = there.then(|| Way { name: "wlan0".to_owned(), index: 4 });
        let ways = Ways { wifi, cellular: self.homing.ways.cellular.clone() };
        let preferred = if there { Access::Wifi } else { Access::Cellular };
        self.homing.ways(ways, preferred, self.now);
        self.take();
    }

    fn held(&self) -> bool {
        self.plan.interfaces[1] != 0
    }
}

#[test]
fn cellular_is_held_when_the_edge_is_near_and_let_go_when_it_is_not() {
    let mut walk = Walk::begin(Hold::Predicted, None);
    assert!(walk.held(), "what is not known may end at once");
    walk.hears_for(20, &[(ELM, -50), (OAK, -55)]);
    assert!(!walk.held() && walk.moves == 0, "{:?}", walk.plan);
    for level in 50..70 {
        walk.hears_for(1, &[(ELM, -level), (OAK, -level - 5)]);
    }
    assert!(walk.held() && walk.moves == 0, "it is there before it is needed");
    assert_eq!(walk.advice, [Advice::Prepare]);
    walk.hears_for(60, &[(ELM, -50), (OAK, -55)]);
    assert!(!walk.held() && walk.moves == 0);
    assert_eq!(walk.advice, [Advice::Prepare, Advice::Stay]);
}

#[test]
fn traffic_leaves_wifi_that_ends_before_it_has_ended_and_comes_back_to_it() {
    let mut walk = Walk::begin(Hold::Predicted, None);
    walk.hears_for(20, &[(ELM, -50)]);
    for level in 50..80 {
        walk.hears_for(1, &[(ELM, -level)]);
    }
    assert_eq!(walk.plan.preferred, Access::Cellular);
    assert_eq!(walk.plan.interfaces, [4, 5], "Wi-Fi is held as long as it is there");
    for level in (50..80).rev() {
        walk.hears_for(1, &[(ELM, -level)]);
    }
    walk.hears_for(20, &[(ELM, -50)]);
    assert_eq!((walk.plan.preferred, walk.moves), (Access::Wifi, 2));
}

#[test]
fn the_class_of_service_says_how_weak_wifi_may_be() {
    let (loose, strict) = (Some(Rssi(-85)), Some(Rssi(-60)));
    for (threshold, preferred) in [(loose, Access::Wifi), (strict, Access::Cellular)] {
        let mut walk = Walk::begin(Hold::Always, threshold);
        walk.hears_for(60, &[(ELM, -72)]);
        assert_eq!(walk.plan.preferred, preferred, "{threshold:?}");
    }
}

#[test]
fn wifi_that_nobody_hears_of_is_used_as_whoever_runs_it_says() {
    let mut walk = Walk::begin(Hold::Predicted, None);
    (0..30).for_each(|_| walk.second());
    assert_eq!((walk.plan.preferred, walk.plan.interfaces), (Access::Wifi, [4, 5]));
    for there in [false, true, false, true] {
        walk.wifi(there);
        (0..2).for_each(|_| walk.second());
        assert_eq!(walk.plan.preferred == Access::Wifi, there);
    }
}

#[test]
fn a_roam_is_no_end_of_coverage_and_wifi_that_has_gone_is_not_gone_back_to_at_once() {
    let mut walk = Walk::begin(Hold::Predicted, None);
    walk.hears_for(20, &[(ELM, -50)]);
    walk.wifi(false);
    walk.pass(Duration::from_millis(500));
    walk.wifi(true);
    assert_eq!(walk.plan.preferred, Access::Wifi, "it was away for a moment");
    walk.wifi(false);
    walk.hears_for(3, &[(ELM, -50)]);
    walk.wifi(true);
    assert_eq!(walk.plan.preferred, Access::Cellular);
    walk.hears_for(20, &[(ELM, -50)]);
    assert_eq!(walk.plan.preferred, Access::Wifi);
}

#[test]
fn of_two_accesses_the_one_that_is_there_is_used_whatever_is_foreseen() {
    let mut walk = Walk::begin(Hold::Predicted, None);
    walk.hears_for(20, &[(ELM, -50)]);
    let ways = walk.homing.ways.clone();
    walk.homing.ways(Ways { wifi: None, ..ways.clone() }, Access::Wifi, walk.now);
    walk.take();
    assert_eq!(walk.plan.preferred, Access::Cellular, "who runs Wi-Fi is behind");
    walk.homing.ways(Ways { cellular: None, ..ways }, Access::Wifi, walk.now);
    walk.hears_for(30, &[(ELM, -85)]);
    assert_eq!(walk.plan.preferred, Access::Wifi, "it is weak, but all there is");
}

#[test]
fn what_is_foreseen_is_not_followed_where_it_is_switched_off() {
    let mut walk = Walk::begin(Hold::Always, None);
    let off = config::Coverage { enabled: false, ..config::Coverage::default() };
    walk.homing.coverage = Coverage::new(&off);
    walk.wifi(true);
    walk.hears_for(60, &[(ELM, -85)]);
    assert_eq!((walk.plan.preferred, walk.advice.len()), (Access::Wifi, 0));
    assert!(walk.homing.status(walk.now).coverage.is_none());
}

#[test]
fn a_gateway_that_flaps_and_a_position_that_lies_make_no_to_and_fro() {
    let mut walk = Walk::begin(Hold::Predicted, None);
    let place = |degrees: f64| Position::new(51.5 + degrees, -0.1).unwrap();
    for second in 0..600u32 {
        // For ten seconds it is strong, for ten it is not there at all.
        let there = second / 10 % 2 == 0;
        walk.hears(if there { &[(ELM, -50)] } else { &[] });
        let at = place(f64::from(second % 7) * 0.01);
        let fix = Fix {
            taken: walk.now,
            position: at,
            accuracy_m: 1,
            speed_cm_s: Some(150),
            course_cdeg: Some(0),
        };
        walk.homing.found(Found::Fix(fix), walk.now);
        walk.take();
    }
    assert!((2..=12).contains(&walk.moves), "{} moves in ten minutes", walk.moves);
}

fn map_of(latitude: f64, issued: i64) -> Vec<u8> {
    let position = Position::new(latitude, -0.1).unwrap();
    let site = Site { position, range: 60, bssid: None };
    Map::new([7; 8], UnixTime(issued), UnixTime(issued + 1_000_000), [site]).unwrap().encode()
}

/// What the operator is asked of the map in these.
fn questions(outputs: &[Output]) -> Vec<WantMap> {
    let asked = outputs.iter().filter_map(|output| match output {
        Output::Say(message) => match &**message {
            FromGateway::WantMap(wanted) => Some(wanted.clone()),
            _ => None,
        },
        _ => None,
    });
    asked.collect()
}

fn answers(homing: &mut Homing, octets: Vec<u8>, problem: &str) -> Vec<Output> {
    let map = CoverageMap { octets, problem: problem.to_owned() };
    said(homing, ToGateway::Map(map));
    outputs(homing)
}

#[test]
fn the_whole_map_is_fetched_once_there_is_a_channel_and_again_when_it_is_old() {
    let mut homing = at_home(Bond::Off, Hold::Always, NONE);
    assert_eq!(questions(&outputs(&mut homing)), [WantMap::default()], "not where it is");
    let map = map_of(51.5, 1000);
    assert_eq!(answers(&mut homing, map.clone(), ""), [Output::Map(map.clone())]);
    homing.map(&map, UnixTime(2000), NOW).unwrap();
    let status = serde_json::to_value(homing.status(NOW).coverage).unwrap();
    assert_eq!((&status["map"]["gateways"], &status["map_problem"]), (&1.into(), &().into()));
    // Not before, not much later, and only if there is another.
    homing.handle_timeout(NOW + Duration::from_secs(12 * 3600 - 1), &mut Fixed);
    assert_eq!(questions(&outputs(&mut homing)), []);
    homing.handle_timeout(NOW + Duration::from_secs(18 * 3600), &mut Fixed);
    let again = WantMap { issued: Some(UnixTime(1000)), ..WantMap::default() };
    assert_eq!(questions(&outputs(&mut homing)), [again]);
    assert_eq!(answers(&mut homing, Vec::new(), ""), [], "there is none");
    // Nobody can be asked without a channel.
    let later = NOW + Duration::from_secs(99 * 3600);
    assert!(homing.coverage.poll_timeout() < Some(later));
    homing.channel(News::Lost("cut".to_owned()), NOW, &mut Fixed);
    assert_eq!(homing.coverage.poll_question(later, &mut Fixed), None);
    assert!(homing.coverage.poll_timeout().is_none_or(|due| due > later), "it does not spin");
}

#[test]
fn why_there_is_no_map_is_said_and_it_is_asked_for_again() {
    let mut homing = at_home(Bond::Off, Hold::Always, NONE);
    outputs(&mut homing);
    assert_eq!(answers(&mut homing, Vec::new(), "ask for a region"), []);
    let problem = |homing: &mut Homing| {
        serde_json::to_value(homing.status(NOW).coverage).unwrap()["map_problem"].clone()
    };
    assert_eq!(problem(&mut homing), "ask for a region");
    homing.handle_timeout(NOW + Duration::from_secs(600), &mut Fixed);
    assert_eq!(questions(&outputs(&mut homing)), [WantMap::default()]);
    let mut cut = map_of(51.5, 1000);
    cut.pop();
    homing.map(&cut, UnixTime(2000), NOW).unwrap_err();
    assert!(problem(&mut homing).as_str().unwrap().contains("fetch it again"));
}

#[test]
fn a_region_is_fetched_with_those_around_it_once_it_is_known_and_anew_far_away() {
    let mut homing = at_home(Bond::Off, Hold::Always, NONE);
    let config = config::Coverage { map: config::Extent::Region, ..config::Coverage::default() };
    homing.coverage = Coverage::new(&config);
    homing.coverage.connected(true, NOW);
    outputs(&mut homing);
    let mut at = |latitude: f64, seconds: u64| {
        let now = NOW + Duration::from_secs(seconds);
        let position = Position::new(latitude, -0.1).unwrap();
        let fix = Fix { taken: now, position, accuracy_m: 5, speed_cm_s: None, course_cdeg: None };
        homing.found(Found::Fix(fix), now);
        homing.handle_timeout(now, &mut Fixed);
        let asked = questions(&outputs(&mut homing));
        if !asked.is_empty() {
            answers(&mut homing, map_of(latitude, 1000), "");
            homing.map(&map_of(latitude, 1000), UnixTime(2000), now).unwrap();
        }
        asked.first().map(|asked| (asked.regions.len(), asked.issued))
    };
    assert_eq!(at(51.5, 0), Some((9, None)));
    assert_eq!(at(51.6, 400), None, "it is in there");
    assert_eq!(at(52.2, 800), None, "it is next to it");
    assert_eq!(at(58.0, 1200), None, "not at once");
    assert_eq!(at(58.0, 1600), Some((9, None)));
}

#[test]
fn the_status_says_why_without_a_whole_bssid_in_its_sentences() {
    let mut walk = Walk::begin(Hold::Always, None);
    walk.hears_for(20, &[(ELM, -50)]);
    walk.hears_for(20, &[(ELM, -90)]);
    let status = serde_json::to_value(walk.homing.status(walk.now).coverage).unwrap();
    assert_eq!(status["state"], "away");
    let latest = &status["decisions"][0];
    assert_eq!(latest["advice"], "leave");
    let why = latest["reasons"][0].as_str().unwrap();
    assert!(why.contains("02:00:5e:**:**:**"), "{why}");
}
