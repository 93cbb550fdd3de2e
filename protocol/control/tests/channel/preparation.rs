//! Where devices will be next, and what is held there.

use std::collections::BTreeSet;

use homeward_control::ControllerSettings;
use homeward_control::controller::{Event, Withdrawn};
use homeward_model::Rssi;

use crate::world::{World, mac, network, secs};

fn set<const N: usize>(gateways: [i64; N]) -> BTreeSet<i64> {
    BTreeSet::from(gateways)
}

fn settings() -> ControllerSettings {
    ControllerSettings { prepared_per_device: 2, ..ControllerSettings::default() }
}

fn world(gateways: i64, settings: ControllerSettings) -> World {
    let mut world = World::new(gateways, settings);
    world.run(secs(1));
    world
}

#[test]
fn the_gateways_heard_best_hold_record_vap_and_tunnel_for_a_device_that_may_come() {
    let mut world = world(5, settings());
    world.hear(2, &[(3, -60), (4, -50), (5, -70), (1, -40)]);
    world.connect(2, 1, 11);
    world.run(secs(1));
    assert_eq!(world.prepared(1, 11), set([3, 4]), "two, the best, and not its home");
    for gateway in [3, 4] {
        let tunnel = world.agent(gateway).foreign(network(1)).expect("an idle tunnel");
        assert_eq!(tunnel.macs, [mac(11)]);
    }
    let status = world.status();
    let ready: Vec<_> = status.devices[0].prepared.iter().map(|(g, ready)| (g.0, *ready)).collect();
    assert_eq!(ready, [(3, true), (4, true)]);
    assert_eq!(world.agent(1).arrived.len(), 1, "prepared is not arrived");
}

#[test]
fn past_moves_outweigh_beacons() {
    let mut world = world(5, ControllerSettings { prepared_per_device: 1, ..settings() });
    world.hear(2, &[(3, -40), (4, -60)]);
    for device in [21, 22] {
        world.connect(3, 2, device);
        world.run(secs(1));
    }
    // Two others went from 3 to 5, whose beacons 3 does not hear.
    world.hear(3, &[(4, -40)]);
    for device in [21, 22] {
        world.connect(5, 2, device);
        world.run(secs(1));
    }
    world.connect(3, 1, 11);
    world.run(secs(1));
    assert_eq!(world.prepared(1, 11), set([5]));
}

#[test]
fn a_devices_own_way_outweighs_that_of_others() {
    let mut world = world(4, ControllerSettings { prepared_per_device: 1, ..settings() });
    for device in [21, 22] {
        world.connect(2, 3, 30 + device - 20);
        world.run(secs(1));
        world.connect(4, 3, 30 + device - 20);
        world.run(secs(1));
    }
    for gateway in [2, 3, 2] {
        world.connect(gateway, 1, 11);
        world.run(secs(1));
    }
    assert_eq!(world.prepared(1, 11), set([3]), "it went from 2 to 3 before");
    world.connect(2, 1, 12);
    world.run(secs(1));
    assert_eq!(world.prepared(1, 12), set([4]), "others went from 2 to 4, twice");
}

#[test]
fn moves_are_forgotten_with_time() {
    let short = ControllerSettings { move_half_life: secs(60), ..settings() };
    let mut world = world(3, short);
    world.connect(2, 1, 11);
    world.run(secs(1));
    world.connect(3, 1, 11);
    world.run(secs(1));
    world.connect(2, 1, 12);
    world.run(secs(1));
    assert_eq!(world.prepared(1, 12), set([3]));
    world.disconnect(2, 1, 12);
    world.run(secs(600));
    world.connect(2, 1, 12);
    world.run(secs(1));
    assert_eq!(world.prepared(1, 12), set([]), "ten half-lives later one move is nothing");
}

#[test]
fn a_device_that_moves_on_is_prepared_anew_and_what_was_held_is_withdrawn() {
    let mut world = world(6, settings());
    world.hear(2, &[(3, -60), (4, -60)]);
    world.hear(3, &[(2, -60), (5, -50)]);
    world.connect(2, 1, 11);
    world.run(secs(1));
    assert_eq!(world.prepared(1, 11), set([3, 4]));
    world.take_events();
    world.connect(3, 1, 11);
    world.run(secs(1));
    assert_eq!(world.prepared(1, 11), set([2, 5]));
    let came = |e: &Event| matches!(e, Event::DeviceMoved { prepared: true, .. });
    assert!(world.take_events().iter().any(came), "and it came prepared");
    assert_eq!(world.status().counters.came_prepared, 1);
    assert!(world.agent(4).tunnels.is_empty(), "nor is the tunnel kept");
    assert_eq!(world.agent(3).opened, 1, "the tunnel that was prepared is the one that is used");
}

#[test]
fn what_is_held_is_withdrawn_when_the_device_settles_and_held_again_when_its_signal_weakens() {
    let mut world = world(4, settings());
    world.hear(2, &[(3, -60), (4, -60)]);
    world.connect(2, 1, 11);
    world.run(secs(599));
    assert_eq!(world.prepared(1, 11).len(), 2);
    world.run(secs(2));
    assert_eq!(world.prepared(1, 11).len(), 0);
    assert!(world.status().devices[0].settled);
    world.hear(2, &[(3, -50)]);
    let now = world.now;
    world.node(2).link.device_signal(network(1), mac(11), Rssi(-60), now);
    world.run(secs(1));
    assert_eq!(world.prepared(1, 11).len(), 0, "it has not gone anywhere");
    let now = world.now;
    world.node(2).link.device_signal(network(1), mac(11), Rssi(-75), now);
    world.run(secs(1));
    assert_eq!(world.prepared(1, 11), set([3]));
    assert_eq!(world.status().devices[0].connected_ms, Some(602_990), "it is the same connection");
}

#[test]
fn what_is_held_is_withdrawn_when_the_device_is_nowhere_for_long_and_not_at_once() {
    let mut world = world(4, settings());
    world.hear(2, &[(3, -60), (4, -60)]);
    world.connect(2, 1, 11);
    world.run(secs(1));
    world.disconnect(2, 1, 11);
    world.run(secs(299));
    assert_eq!(world.prepared(1, 11).len(), 2);
    world.run(secs(2));
    assert_eq!(world.prepared(1, 11).len(), 0);
    assert_eq!(world.status().totals.prepared, 0);
}

#[test]
fn a_gateway_holds_no_more_than_it_offers_and_the_likeliest_ones() {
    let mut world = world(4, settings());
    world.hear(3, &[(4, -60)]);
    // Gateway 4 offers to hold four. For these it is one of two that are equally likely.
    world.hear(2, &[(4, -60), (3, -60)]);
    world.store.insert(network(9), crate::world::facts(9, Some(1), &[1, 2, 3, 4, 5, 6]));
    for device in 1..=5 {
        world.connect(2, 9, device);
        world.run(secs(1));
    }
    assert_eq!(world.agent(4).prepared.len(), 4);
    assert_eq!(world.prepared(9, 5), set([]), "equally likely ones do not push each other out");
    // For this it is the only one.
    world.connect(3, 9, 6);
    world.run(secs(1));
    assert_eq!(world.agent(4).prepared.len(), 4);
    assert!(world.prepared(9, 6).contains(&4));
    let gave_way = |e: &Event| matches!(e, Event::Withdrawn { why: Withdrawn::GaveWay, .. });
    assert_eq!(world.take_events().iter().filter(|e| gave_way(e)).count(), 1);
}

#[test]
fn what_was_learned_of_moves_outlives_the_controller() {
    let mut world = world(5, ControllerSettings { prepared_per_device: 1, ..settings() });
    for device in [21, 22] {
        world.connect(3, 2, device);
        world.run(secs(1));
        world.connect(5, 2, device);
        world.run(secs(1));
    }
    let start = homeward_model::Instant::ORIGIN;
    let learned = world.controller.moves(start, world.now);
    let [only] = &learned[..] else { panic!("{learned:?}") };
    assert_eq!((only.from.0, only.to.0), (3, 5));
    assert!(only.weight > 1.99, "{only:?}");
    world.stop_controller();
    world.start_controller();
    let worthless = homeward_control::controller::LearnedMove {
        to: homeward_model::GatewayId(4),
        age: secs(100 * 86_400),
        ..*only
    };
    world.controller.remember_moves([*only, worthless], world.now);
    assert_eq!(world.status().totals.graph_edges, 1);
    assert_eq!(world.controller.moves(world.now, world.now), [], "it is kept already");
    world.run(secs(60));
    world.connect(3, 1, 11);
    world.run(secs(1));
    assert_eq!(world.prepared(1, 11), set([5]));
}

#[test]
fn what_is_held_stays_until_something_else_is_clearly_better() {
    let mut world = world(4, ControllerSettings { prepared_per_device: 1, ..settings() });
    world.hear(2, &[(3, -60), (4, -62)]);
    world.connect(2, 1, 11);
    world.run(secs(1));
    assert_eq!(world.prepared(1, 11), set([3]));
    world.hear(2, &[(3, -62), (4, -60)]);
    world.run(secs(1));
    assert_eq!(world.prepared(1, 11), set([3]), "2 dB are nothing");
    world.hear(2, &[(3, -70), (4, -60)]);
    world.run(secs(1));
    assert_eq!(world.prepared(1, 11), set([4]));
}

#[test]
fn a_gateway_without_room_is_replaced_by_the_next_best() {
    let mut world = world(5, settings());
    world.node(3).agent.has_room = false;
    world.hear(2, &[(3, -50), (4, -60), (5, -70)]);
    world.connect(2, 1, 11);
    world.run(secs(1));
    assert_eq!(world.prepared(1, 11), set([4, 5]));
    world.hear(2, &[(3, -50), (4, -60), (5, -70)]);
    world.run(secs(1));
    assert_eq!(
        world.status().counters.prepared,
        3,
        "it is not asked again before the device moves"
    );
}

#[test]
fn gateways_that_are_away_hold_nothing_new_and_what_they_held_is_compared_when_they_are_back() {
    let mut world = world(4, settings());
    world.hear(2, &[(3, -60), (4, -60)]);
    world.cut(4);
    world.connect(2, 1, 11);
    world.run(secs(1));
    assert_eq!(world.prepared(1, 11), set([3]));
    world.cut(3);
    world.run(secs(700));
    assert_eq!(world.prepared(1, 11), set([3]), "nobody can tell it that the device has settled");
    world.mend(3);
    world.run(secs(60));
    assert_eq!(world.prepared(1, 11), set([]));
}

#[test]
fn a_gateway_that_rebooted_is_asked_again_for_what_it_was_to_hold() {
    let mut world = world(4, settings());
    world.hear(2, &[(3, -60)]);
    world.connect(2, 1, 11);
    world.run(secs(1));
    world.reboot(3);
    world.run(secs(10));
    assert_eq!(world.prepared(1, 11), set([3]));
}

#[test]
fn preparation_outlives_a_restart_of_the_controller() {
    for first in [2, 3] {
        let mut world = world(4, settings());
        world.hear(2, &[(3, -60), (4, -60)]);
        world.connect(2, 1, 11);
        world.run(secs(1));
        world.stop_controller();
        for gateway in [2, 3, 4] {
            world.cut(gateway);
        }
        world.start_controller();
        world.mend(first);
        world.run(secs(60));
        for gateway in [2, 3, 4] {
            world.mend(gateway);
        }
        world.run(secs(90));
        // Its gateway says again what it hears, as it does every 30 s.
        world.hear(2, &[(3, -60), (4, -60)]);
        world.run(secs(1));
        assert_eq!(world.prepared(1, 11), set([3, 4]), "{first} first");
    }
}

#[test]
fn nothing_is_prepared_where_that_is_switched_off() {
    let mut world = world(3, ControllerSettings { prepared_per_device: 0, ..settings() });
    world.hear(2, &[(3, -50)]);
    world.connect(2, 1, 11);
    world.run(secs(1));
    assert_eq!(world.status().counters.prepared, 0);
}

#[test]
fn nobody_draws_preparations_to_itself_with_anothers_bssid() {
    let mut world = world(3, settings());
    let identity = homeward_control::link::Identity {
        boot: 99,
        software: String::new(),
        public_key: homeward_control::PublicKey([4; 32]),
        home: true,
        prepared_max: 4,
        bssids: vec![crate::world::bssid(3)],
        carries_logins: false,
        path_keys: vec![],
        legs_max: 0,
    };
    world.add(4);
    world.node(4).link.set_identity(identity);
    world.run(secs(1));
    world.hear(2, &[(3, -50)]);
    world.connect(2, 1, 11);
    world.run(secs(1));
    assert_eq!(world.prepared(1, 11), set([3]));
}
