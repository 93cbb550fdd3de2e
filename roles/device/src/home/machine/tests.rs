use homeward_control::{
    CloseTunnel, Cookie, Endpoint, EndpointKind, FromGateway, Half, Leg, Peer, PresharedKey,
    PublicKey, SessionId, Side, Terms, ToGateway, Welcome,
};
use homeward_dataplane::TunnelId as PlaneTunnel;
use homeward_model::{Encryption, GatewayId, Mac, NetworkId};
use homeward_multipath::PathId;
use homeward_stun::Mapping;

use super::*;
use crate::config;

/// Entropy that is none.
struct Fixed;

impl Entropy for Fixed {
    fn fill(&mut self, room: &mut [u8]) {
        room.fill(7);
    }
}

const NOW: Instant = Instant::from_nanos(1_000_000_000);
const BOTH: BondingModes = BondingModes { mirrored: true, striped: true };
const NONE: BondingModes = BondingModes { mirrored: false, striped: false };

fn homing(bond: Bond, hold: Hold) -> Homing {
    let settings = Settings {
        interface: "home0".to_owned(),
        bond,
        hold,
        cellular: PathSettings { quota: Some(1000), ..PathSettings::default() },
    };
    let identity = Identity {
        boot: 1,
        software: String::new(),
        public_key: PublicKey([1; 32]),
        path_keys: vec![PublicKey([2; 32])],
        legs_max: 0,
        home: false,
        prepared_max: 0,
        bssids: Vec::new(),
        carries_logins: false,
    };
    Homing::new(settings, Coverage::new(&config::Coverage::default()), identity, NOW)
}

fn half(number: u32) -> Half {
    Half { session: SessionId::new(number).unwrap(), cookie: Cookie::new([7; 8]) }
}

fn open(number: u64, bonding: BondingModes) -> ToGateway {
    let key = PublicKey([9; 32]);
    ToGateway::Open(OpenTunnel {
        tunnel: TunnelId(number),
        network: NetworkId(3),
        side: Side::Foreign,
        peer: Peer {
            gateway: GatewayId(1),
            name: "elm".parse().unwrap(),
            public_key: key,
            preshared_key: PresharedKey::new([3; 32]),
            inner_address: [100, 64, 0, 1].into(),
            endpoints: vec![std::net::SocketAddr::from(([192, 0, 2, 1], 1701)).into()],
        },
        encryption: Encryption::Required,
        local: half(10),
        remote: half(20),
        macs: vec![Mac::new([2, 0, 0x5e, 0, 0, 1])],
        terms: Terms { bonding, ..Terms::default() },
        routers: Vec::new(),
        legs: vec![Leg { public_key: key, local: half(11), remote: half(21) }],
    })
}

fn said(homing: &mut Homing, message: ToGateway) {
    homing.channel(News::Message(Box::new(message)), NOW, &mut Fixed);
}

/// Takes the machine to a tunnel that is open at the controller, with both accesses there and
/// Wi-Fi preferred.
fn at_home(bond: Bond, hold: Hold, bonding: BondingModes) -> Homing {
    let mut homing = homing(bond, hold);
    let way = |name: &str, index| Some(Way { name: name.to_owned(), index });
    let ways = Ways { wifi: way("wlan0", 4), cellular: way("wwan0", 5) };
    homing.ways(ways, Access::Wifi, NOW);
    homing.channel(News::Up, NOW, &mut Fixed);
    said(
        &mut homing,
        ToGateway::Welcome(Welcome {
            version: 1,
            gateway: GatewayId(8),
            name: "phone".parse().unwrap(),
            inner_address: [100, 64, 0, 8].into(),
            observed_address: [192, 0, 2, 8].into(),
            report_interval: Duration::from_secs(60),
            // Seldom: some tests go on for hours.
            ping_interval: Duration::from_secs(86_400),
            stun: vec![([192, 0, 2, 1], 3478).into()],
        }),
    );
    said(&mut homing, open(5, bonding));
    said(&mut homing, ToGateway::Synced(vec![TunnelId(5)]));
    homing
}

fn outputs(homing: &mut Homing) -> Vec<Output> {
    std::iter::from_fn(|| homing.poll_output()).collect()
}

/// The last plan among what is to be done.
fn plan(homing: &mut Homing) -> Option<Plan> {
    outputs(homing).into_iter().rev().find_map(|output| match output {
        Output::Open(plan) => Some(*plan),
        _ => None,
    })
}

fn path(path: PathId, turn: PathTurn) -> PlaneEvent {
    PlaneEvent::Path { tunnel: PlaneTunnel(5), path, turn }
}

#[test]
fn the_tunnel_has_both_accesses_and_goes_by_the_preferred_one() {
    let mut homing = at_home(Bond::Off, Hold::Always, NONE);
    let plan = plan(&mut homing).unwrap();
    assert_eq!((plan.interfaces, plan.preferred, plan.mode), ([4, 5], Access::Wifi, Mode::Single));
    assert_eq!(plan.paths[1].quota, Some(1000), "cellular is metered");
    homing.ways(homing.ways.clone(), Access::Cellular, NOW);
    let plan = self::plan(&mut homing).unwrap();
    assert_eq!((plan.interfaces, plan.preferred), ([4, 5], Access::Cellular), "none goes");
    homing.ways(homing.ways.clone(), Access::Cellular, NOW);
    assert_eq!(self::plan(&mut homing), None, "no news");
}

/// Lets a silence go on for long enough to be one.
fn stays(homing: &mut Homing) {
    homing.handle_timeout(NOW + Duration::from_millis(300), &mut Fixed);
}

#[test]
fn an_access_that_is_silent_for_a_moment_is_nobodys_business_and_one_that_stays_so_is_told() {
    let mut homing = at_home(Bond::Off, Hold::Needed, NONE);
    outputs(&mut homing);
    let later = |ms| NOW + Duration::from_millis(ms);
    for turn in [PathTurn::Dead, PathTurn::Alive] {
        homing.plane(path(Access::Wifi.path(), turn), NOW);
    }
    homing.handle_timeout(later(299), &mut Fixed);
    assert_eq!(outputs(&mut homing), []);
    let told = |homing: &mut Homing| {
        let all = outputs(homing).into_iter().filter_map(|output| match output {
            Output::Tell(Notice::Access { access, works }) => Some((access, works)),
            _ => None,
        });
        all.collect::<Vec<_>>()
    };
    for access in Access::ALL {
        homing.plane(path(access.path(), PathTurn::Dead), NOW);
        assert_eq!(homing.poll_timeout(), Some(later(300)));
        homing.handle_timeout(later(299), &mut Fixed);
        assert_eq!(told(&mut homing), []);
        homing.handle_timeout(later(300), &mut Fixed);
        homing.handle_timeout(later(600), &mut Fixed);
        assert_eq!(told(&mut homing), [(access, false)], "once");
        homing.plane(path(access.path(), PathTurn::Alive), later(600));
        assert_eq!(told(&mut homing), [(access, true)]);
    }
}

#[test]
fn cellular_that_is_held_when_needed_is_held_while_wifi_does_not_work() {
    let mut homing = at_home(Bond::Off, Hold::Needed, BOTH);
    assert_eq!(plan(&mut homing).unwrap().interfaces, [4, 0]);
    homing.plane(path(Access::Wifi.path(), PathTurn::Dead), NOW);
    assert_eq!(plan(&mut homing), None, "it may listen elsewhere");
    stays(&mut homing);
    assert_eq!(plan(&mut homing).unwrap().interfaces, [4, 5]);
    homing.plane(path(Access::Wifi.path(), PathTurn::Alive), NOW);
    assert_eq!(plan(&mut homing).unwrap().interfaces, [4, 0]);
    // Both are needed where both are used.
    assert_eq!(homing.bond(Bond::Mirrored, NOW), Ok(Mode::Mirrored));
    assert_eq!(plan(&mut homing).unwrap().interfaces, [4, 5]);
}

#[test]
fn what_the_class_of_service_does_not_allow_is_refused_and_says_what_is() {
    let mut homing = at_home(Bond::Off, Hold::Always, NONE);
    for bond in [Bond::Mirrored, Bond::Striped, Bond::Auto] {
        let why = homing.bond(bond, NOW).unwrap_err();
        assert!(why.contains("neither mirrored nor striped"), "{why}");
    }
    let mirrored = BondingModes { mirrored: true, striped: false };
    let mut homing = at_home(Bond::Off, Hold::Always, mirrored);
    assert!(homing.bond(Bond::Striped, NOW).unwrap_err().contains("mirrored only"));
    assert_eq!(homing.bond(Bond::Auto, NOW), Ok(Mode::Mirrored), "what comes nearest");
    assert_eq!(homing.bond(Bond::Off, NOW), Ok(Mode::Single));
}

#[test]
fn a_class_that_changes_in_mid_session_takes_effect_at_once_and_back() {
    let mut homing = at_home(Bond::Auto, Hold::Always, BOTH);
    assert_eq!(plan(&mut homing).unwrap().mode, Mode::Automatic);
    for (allowed, used) in [(NONE, Mode::Single), (BOTH, Mode::Automatic)] {
        said(&mut homing, open(5, allowed));
        let outputs = outputs(&mut homing);
        let notice = Notice::Bond { wanted: Bond::Auto, used };
        assert!(outputs.contains(&Output::Tell(notice)), "{outputs:?}");
        let plans = outputs.iter().filter_map(|output| match output {
            Output::Open(plan) => Some(plan.mode),
            _ => None,
        });
        assert_eq!(plans.collect::<Vec<_>>(), [used]);
        let closed = outputs.iter().any(|output| matches!(output, Output::Close(_)));
        assert!(!closed, "the tunnel goes on");
    }
}

#[test]
fn the_channel_leaves_by_the_access_that_works() {
    let mut homing = at_home(Bond::Off, Hold::Always, NONE);
    let by = |homing: &mut Homing| {
        outputs(homing).into_iter().rev().find_map(|output| match output {
            Output::By(interface) => Some(interface),
            _ => None,
        })
    };
    assert_eq!(by(&mut homing), Some(Some("wlan0".to_owned())));
    homing.plane(path(Access::Wifi.path(), PathTurn::Dead), NOW);
    stays(&mut homing);
    assert_eq!(by(&mut homing), Some(Some("wwan0".to_owned())));
    let ways = Ways { wifi: homing.ways.wifi.clone(), cellular: None };
    homing.ways(ways, Access::Wifi, NOW);
    assert_eq!(by(&mut homing), Some(Some("wlan0".to_owned())), "there is no other");
    homing.ways(Ways::default(), Access::Cellular, NOW);
    assert_eq!(by(&mut homing), Some(None));
}

#[test]
fn another_tunnel_takes_the_place_of_the_one_before_and_one_that_is_closed_goes() {
    let mut homing = at_home(Bond::Off, Hold::Always, NONE);
    outputs(&mut homing);
    said(&mut homing, open(6, NONE));
    let outputs_ = outputs(&mut homing);
    let close = outputs_.iter().position(|o| *o == Output::Close(TunnelId(5)));
    let open = outputs_.iter().position(|o| matches!(o, Output::Open(_)));
    assert!(close.is_some() && close < open, "{outputs_:?}");
    let close = CloseTunnel { tunnel: TunnelId(6), reason: "suspended".to_owned() };
    said(&mut homing, ToGateway::Close(close));
    let outputs = outputs(&mut homing);
    assert!(outputs.contains(&Output::Close(TunnelId(6))), "{outputs:?}");
    let down = Notice::Down { interface: "home0".to_owned() };
    assert!(outputs.contains(&Output::Tell(down)), "{outputs:?}");
}

#[test]
fn what_could_not_be_set_up_is_tried_again_in_a_while() {
    let mut homing = at_home(Bond::Off, Hold::Always, NONE);
    outputs(&mut homing);
    homing.opened(TunnelId(5), Err("no TAP".to_owned()), NOW);
    assert_eq!(homing.state(), Some(TunnelState::Failed));
    assert_eq!(plan(&mut homing), None, "not at once, which would be for ever");
    let due = homing.poll_timeout().unwrap();
    assert!(due <= NOW + RETRY);
    homing.handle_timeout(NOW + RETRY, &mut Fixed);
    assert!(plan(&mut homing).is_some());
    homing.opened(TunnelId(5), Ok(()), NOW + RETRY);
    assert_eq!(homing.state(), Some(TunnelState::Ready));
}

#[test]
fn home_is_told_where_each_access_is_seen_from_outside() {
    let mut homing = at_home(Bond::Off, Hold::Always, NONE);
    let asked: Vec<_> = outputs(&mut homing)
        .into_iter()
        .filter_map(|output| match output {
            Output::Stun(servers) => Some(servers),
            _ => None,
        })
        .collect();
    let address = |text: &str| text.parse::<std::net::SocketAddr>().unwrap();
    let server = address("192.0.2.1:3478");
    assert_eq!(asked, [[server]], "as it was welcomed");
    let mut told = |interface, seen: Option<&str>| {
        let mapping = seen.map(|seen| Mapping { local: None, mapped: address(seen) });
        homing.plane(PlaneEvent::Mapped { interface, server, mapping }, NOW);
        outputs(&mut homing).into_iter().find_map(|output| match output {
            Output::Say(message) => match *message {
                FromGateway::Endpoints(endpoints) => Some(endpoints),
                _ => None,
            },
            _ => None,
        })
    };
    let reflexive = |text: &str, leg| Endpoint::new(address(text), EndpointKind::Reflexive).by(leg);
    let [wifi, cellular] =
        [("198.51.100.7:40000", 0), ("203.0.113.9:1701", 1)].map(|(at, leg)| reflexive(at, leg));
    assert_eq!(told(5, Some("203.0.113.9:1701")), Some(vec![cellular]));
    assert_eq!(told(4, Some("198.51.100.7:40000")), Some(vec![wifi, cellular]));
    assert_eq!(told(99, Some("198.51.100.8:1")), None, "an interface that is gone");
    assert_eq!(told(4, None), Some(vec![cellular]));
}

mod coverage;
