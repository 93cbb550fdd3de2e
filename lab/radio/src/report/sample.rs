//! Reports as a run might leave them, for the tests.

use homeward_model::UnixTime;

use super::call::{self, Call, Stream};
use super::handoff::Hop;
use super::offload::{Cause, Change, Way};
use super::outing::{self, Decision, Outing, Path, Signal, Silence};
use super::*;

/// A run in which all went well.
pub(super) fn served() -> Report {
    let mut report = Report::new("0.1.0", UnixTime(1_769_860_800_123));
    report.duration_ms = 96_431;
    report.machine = Machine {
        kernel: Some("6.1.0-32-amd64".into()),
        hostapd: Some("2.10".into()),
        wpa_supplicant: Some("2.10".into()),
        radios: 5,
        cpu: Some("QEMU TCG, 2 cores".into()),
    };
    report.topology = topology();
    report.story = story();
    report.timeline = vec![
        mark(Milestone::Probe, 0.0, Actor::Station, "directed probe for “Lindenhof 7”, −48 dBm"),
        mark(Milestone::LookUp, 1.4, Actor::Gateway, "Access-Request"),
        mark(
            Milestone::Other("Granted".into()),
            3.9,
            Actor::Core,
            "Access-Accept, WPA2, the device’s own key",
        ),
        mark(Milestone::BssUp, 46.2, Actor::Hostapd, "BSS “Lindenhof 7” on channel 1"),
        mark(Milestone::Authenticated, 148.0, Actor::Hostapd, ""),
        mark(Milestone::Associated, 150.3, Actor::Hostapd, "AP-STA-CONNECTED"),
        mark(Milestone::Keys, 163.8, Actor::Station, "four-way handshake done"),
        mark(Milestone::Address, 291.5, Actor::Station, "10.77.0.23 from DHCP"),
        mark(Milestone::FirstPacket, 294.1, Actor::Station, "echo to 10.77.0.1"),
    ];
    report.refused = vec![
        refused("A stranger", "the SSID “Lindenhof 7”", "unknown-device", Reached::Probed),
        refused(
            "A device with a wrong key",
            "“Lindenhof 7” with another key",
            "wrong-key",
            Reached::Associated,
        ),
        refused(
            "A suspended account",
            "“Villa Rosa”, its own key",
            "account-suspended",
            Reached::Probed,
        ),
    ];
    report.owner = Some(Owner {
        disconnects: 0,
        max_beacon_gap_ms: Some(118.4),
        beacon_gap_limit_ms: BEACON_GAP_LIMIT_MS,
        beacons: 912,
    });
    report.walk = Some(walk());
    report.offload = Some(offload());
    report.call = Some(call());
    report.outing = Some(outing());
    report.rounds = Rounds {
        ours: vec![163.8, 151.0, 188.2, 172.4, 158.9, 201.3, 166.0],
        floor: vec![149.1, 138.4, 171.6, 163.0, 152.2, 190.8, 144.7],
    };
    report.verdict = report.judge();
    report
}

/// A run that stopped after the association, with hardly anything measured.
pub(super) fn cut_short() -> Report {
    let mut report = served();
    report.timeline.truncate(6);
    report.refused.clear();
    report.owner = None;
    report.walk = None;
    report.offload = None;
    report.call = None;
    report.outing = None;
    report.rounds.floor.clear();
    report.machine.kernel = None;
    report.verdict = report.judge();
    report
}

fn walk() -> Walk {
    let step = |to: &str, expected, at_ms, silent_down_ms, silent_up_ms| Move {
        to: to.into(),
        expected,
        at_ms,
        silent_down_ms,
        silent_up_ms,
        stalled_ms: silent_down_ms + 200.0,
        address: "10.77.0.23".into(),
        address_kept: true,
        printer_reached: true,
    };
    let mut octets = vec![50_000; 120];
    for at in [21, 22, 61, 62, 63, 101] {
        octets[at] = 0;
    }
    Walk {
        pace_mbit: 4.0,
        step_ms: 100.0,
        octets,
        broken: None,
        moves: vec![
            step("Villa Rosa", Expected::Prepared, 2_050.0, 61.4, 72.9),
            step("Haus Nord", Expected::Heard, 6_100.0, 190.2, 204.0),
            step("Lindenhof 7", Expected::Home, 10_020.0, 55.5, 48.1),
        ],
    }
}

fn offload() -> Offload {
    let change = |to, cause, at_ms, first_packet_ms, silent_ms, lost| Change {
        to,
        cause,
        at_ms,
        first_packet_ms,
        silent_ms,
        lost,
        stalled_ms: silent_ms + 10.0,
        proven_ms: silent_ms + 60.0,
    };
    Offload {
        credentials_ms: 412.3,
        username: "k3w7q2@wifi.example.net".into(),
        shows_imsi: false,
        pace_mbit: 2.0,
        step_ms: 100.0,
        octets: vec![25_000; 200],
        broken: None,
        changes: vec![
            change(Way::Wifi, Cause::Approached, 3_000.0, 2_950.4, 38.9, 0),
            change(Way::Cellular, Cause::Faded, 9_000.0, 3_100.0, 36.5, 1),
            change(Way::Cellular, Cause::Vanished, 16_000.0, 1_286.9, 1_286.9, 120),
        ],
        hops: vec![
            hop("lte.example", None, -2_400.0),
            hop("town.example", Some("lte.example"), 6_050.0),
            hop("lte.example", Some("town.example"), 12_180.0),
            hop("lte.example", Some("lte.example"), 17_350.0),
        ],
    }
}

fn call() -> Call {
    let stream = |silent_ms, lost| Stream { silent_ms, lost };
    let step = |to: &str, vanished, at_ms, tunnel_ms| call::Move {
        to: to.into(),
        vanished,
        at_ms,
        tunnel_ms,
        proven_ms: 96.6,
        answered_ms: 328.7,
        up: stream(21.0, 0),
        down: stream(60.8, 2),
    };
    Call {
        hops: vec![
            hop("lte.example", None, -900.0),
            hop("town.example", Some("lte.example"), 1_070.0),
            hop("lte.example", Some("town.example"), 2_540.0),
        ],
        moves: vec![
            step("town.example", false, 1_000.0, Some(74.2)),
            step("lte.example", true, 2_500.0, None),
        ],
        revoked: Some("town.example".into()),
        cut_off_ms: Some(109.0),
    }
}

fn outing() -> Outing {
    let step = |to: &str, by, at_ms, silent_ms, switches| outing::Move {
        to: to.into(),
        by,
        at_ms,
        down: Stream { silent_ms, lost: 3 },
        up: Stream { silent_ms: silent_ms - 20.0, lost: 2 },
        echo_ms: silent_ms + 90.0,
        stalled_ms: silent_ms + 40.0,
        switches,
        address: "10.77.0.41".into(),
        lease_kept: true,
    };
    let signal = |gateway: &str, points: &[(f64, Option<i8>)]| Signal {
        gateway: gateway.into(),
        points: points.to_vec(),
    };
    let path = |n: u32| {
        let away = (30..50).contains(&n);
        let (wifi, cellular) = if away { (0, 22) } else { (22, 0) };
        Path { at_ms: f64::from(n + 1) * 200.0, wifi, cellular }
    };
    let decision =
        |at_ms, what: &str, why: &str| Decision { at_ms, what: what.into(), why: why.into() };
    Outing {
        hold: "always".into(),
        address: "10.77.0.41".into(),
        spoke_from: vec!["10.77.0.41".into()],
        pace_mbit: 1.0,
        step_ms: 100.0,
        octets: vec![12_500; 140],
        broken: None,
        session_broken: None,
        signals: vec![
            signal("Lindenhof 7", &[(-900.0, Some(-50)), (2_500.0, None), (10_000.0, Some(-70))]),
            signal("Villa Rosa", &[(1_500.0, Some(-79)), (2_000.0, Some(-52)), (6_000.0, None)]),
        ],
        paths: (0..70).map(path).collect(),
        decisions: vec![
            decision(6_120.0, "Wi-Fi is not used", "home does not answer by it"),
            decision(10_080.0, "Wi-Fi is preferred", "the station is on a network that leads home"),
        ],
        silences: vec![
            Silence { at_ms: 2_050.0, for_ms: 181.0, up: false },
            Silence { at_ms: 6_010.0, for_ms: 144.0, up: true },
        ],
        moves: vec![
            step("Villa Rosa", Way::Wifi, 2_040.0, 181.0, 0),
            step("out of coverage", Way::Cellular, 6_000.0, 164.0, 1),
            step("Lindenhof 7", Way::Wifi, 9_600.0, 121.0, 1),
        ],
    }
}

fn hop(network: &str, previous: Option<&str>, at_ms: f64) -> Hop {
    Hop { network: network.into(), previous: previous.map(Into::into), at_ms, broken: false }
}

fn mark(name: Milestone, at_ms: f64, actor: Actor, detail: &str) -> Mark {
    Mark { name, at_ms, actor, detail: detail.into() }
}

fn refused(who: &str, tried: &str, reason: &str, reached: Reached) -> Refused {
    Refused {
        who: who.into(),
        tried: tried.into(),
        reason: reason.into(),
        message: format!("Not let in ({reason}); see the operator’s guide."),
        reached,
        seen_in: vec![SeenIn::Status, SeenIn::Log],
    }
}

fn topology() -> Topology {
    let place = |id: &str, name: &str, kind| Place { id: id.into(), name: name.into(), kind };
    let node = |name: &str, kind, place: &str, ssids: &[&str], detail: &str| Node {
        name: name.into(),
        kind,
        place: place.into(),
        ssids: ssids.iter().map(|s| (*s).to_owned()).collect(),
        detail: detail.into(),
    };
    let link =
        |to: &str| Link { from: "Operator’s core".into(), to: to.into(), label: "RADIUS".into() };
    Topology {
        places: vec![
            place("core", "The operator", PlaceKind::Operator),
            place("home", "At home, Lindenhof 7", PlaceKind::House),
            place("away", "Elsewhere, at a stranger’s", PlaceKind::House),
        ],
        nodes: vec![
            node("Operator’s core", NodeKind::Core, "core", &[], ""),
            node("Home gateway", NodeKind::Gateway, "home", &["Lindenhof 7"], ""),
            node(
                "Walking station",
                NodeKind::Walker,
                "home",
                &[],
                "knows its home SSID and its key, nothing else",
            ),
            node(
                "Stranger’s gateway",
                NodeKind::Gateway,
                "away",
                &["Villa Rosa", "Lindenhof 7"],
                "",
            ),
            node(
                "Owner’s station",
                NodeKind::Owner,
                "away",
                &[],
                "connected to “Villa Rosa” all along",
            ),
            node("Those to be refused", NodeKind::Stranger, "away", &[], ""),
        ],
        links: vec![link("Home gateway"), link("Stranger’s gateway")],
        walk: vec!["home".into(), "away".into()],
    }
}

fn story() -> Vec<Step> {
    let step = |at_ms, actor, title: &str, detail: &str, outcome| Step {
        at_ms,
        actor,
        title: title.into(),
        detail: detail.into(),
        outcome,
    };
    vec![
        step(0.0, Actor::Lab, "The VM boots", "Debian’s kernel with mac80211_hwsim", Outcome::Note),
        step(
            21_480.0,
            Actor::Core,
            "The core is up",
            "3 accounts, 2 gateways, 4 devices in memory",
            Outcome::Done,
        ),
        step(
            24_112.0,
            Actor::Station,
            "At home",
            "Connected to “Lindenhof 7” with its own key",
            Outcome::Done,
        ),
        step(31_870.0, Actor::Station, "Walks out of reach", "", Outcome::Note),
        step(
            33_905.0,
            Actor::Gateway,
            "A probe from someone unknown here",
            "Asks the core",
            Outcome::Done,
        ),
        step(
            34_069.0,
            Actor::Station,
            "Connected",
            "To the SSID it knows, with the key it knows",
            Outcome::Done,
        ),
        step(
            52_300.0,
            Actor::Stranger,
            "Asks for “Lindenhof 7”",
            "unknown-device",
            Outcome::Refused,
        ),
        step(96_431.0, Actor::Lab, "The VM is off", "", Outcome::Note),
    ]
}
