//! Where devices are, who is told, and who lets go.

use std::collections::BTreeSet;

use homeward_control::HeldLogin;
use homeward_control::codec::limits;
use homeward_control::controller::Event;
use homeward_model::{GatewayId, Mac};

use crate::world::{World, mac, ms, network, secs};

fn location(world: &World, number: i64, device: u8) -> Option<i64> {
    let status = world.status();
    let found =
        status.devices.iter().find(|d| d.network == network(number) && d.mac == mac(device));
    found.and_then(|d| d.gateway).map(|g| g.0)
}

#[test]
fn a_home_is_told_when_a_device_arrives_at_the_far_end_of_a_tunnel() {
    let mut world = World::connected(3);
    world.connect(2, 1, 11);
    world.run(secs(1));
    let tunnel = world.agent(2).foreign(network(1)).unwrap().tunnel;
    assert_eq!(world.agent(1).arrived, [(tunnel, mac(11))]);
    world.connect(3, 1, 11);
    world.run(secs(1));
    let third = world.agent(3).foreign(network(1)).unwrap().tunnel;
    assert_eq!(world.agent(1).arrived.last(), Some(&(third, mac(11))));
    assert_eq!(location(&world, 1, 11), Some(3));
}

#[test]
fn a_home_that_comes_back_is_told_again_who_is_where() {
    let mut world = World::connected(2);
    world.connect(2, 1, 11);
    world.run(secs(1));
    world.reboot(1);
    world.run(secs(60));
    let tunnel = world.agent(2).foreign(network(1)).unwrap().tunnel;
    assert_eq!(world.agent(1).arrived, [(tunnel, mac(11))]);
}

#[test]
fn a_home_that_missed_an_arrival_is_told_of_it_when_it_is_back() {
    let mut world = World::connected(2);
    world.connect(2, 1, 11);
    world.run(secs(1));
    world.cut(1);
    world.connect(2, 1, 12);
    world.run(secs(60));
    assert_eq!(world.agent(1).arrived.len(), 1);
    world.mend(1);
    world.run(secs(120));
    assert_eq!(world.agent(1).arrived.last().unwrap().1, mac(12));
    assert_eq!(world.agent(1).opened, 1, "over the tunnel that was there all the time");
}

#[test]
fn a_device_that_went_is_not_taken_to_be_back_where_it_was_let_go() {
    let mut world = World::connected(3);
    world.connect(2, 1, 11);
    world.run(secs(1));
    world.cut(2);
    world.connect(3, 1, 11);
    world.run(secs(1));
    world.disconnect(3, 1, 11);
    world.run(secs(1));
    world.change(1, |f| assert!(f.devices.insert(mac(14))));
    world.run(secs(1));
    assert_eq!(location(&world, 1, 11), None);
}

#[test]
fn the_gateway_that_a_device_left_without_a_word_lets_it_go() {
    let mut world = World::connected(3);
    world.connect(2, 1, 11);
    world.run(secs(1));
    world.connect(3, 1, 11);
    assert_eq!(world.holders(1, 11), BTreeSet::from([2, 3]), "nobody has told 2 yet");
    world.run(ms(30));
    assert_eq!(world.holders(1, 11), BTreeSet::from([3]));
    assert_eq!(world.agent(2).evicted, [(network(1), mac(11))]);
    assert!(world.agent(3).evicted.is_empty());
    world.connect(1, 1, 11);
    world.run(secs(1));
    assert_eq!(world.holders(1, 11), BTreeSet::from([1]), "also when it comes home");
    assert_eq!(world.agent(1).arrived.len(), 2, "the home needs not be told");
}

#[test]
fn a_device_that_is_back_before_its_eviction_stays() {
    let mut world = World::connected(3);
    world.connect(2, 1, 11);
    world.run(secs(1));
    world.connect(3, 1, 11);
    world.run(ms(15));
    // The eviction from 2 is on the wire.
    world.connect(2, 1, 11);
    world.run(secs(1));
    assert!(world.agent(2).evicted.is_empty());
    assert_eq!(world.holders(1, 11), BTreeSet::from([2]));
    assert_eq!(location(&world, 1, 11), Some(2));
}

#[test]
fn what_is_told_late_does_not_count_as_new() {
    let mut world = World::connected(3);
    world.cut(2);
    world.connect(2, 1, 11);
    world.run(secs(30));
    world.connect(3, 1, 11);
    world.run(secs(30));
    world.mend(2);
    world.run(secs(120));
    assert_eq!(world.holders(1, 11), BTreeSet::from([3]), "2 still had it, and lets it go");
    assert_eq!(location(&world, 1, 11), Some(3));
}

#[test]
fn after_a_restart_of_the_controller_the_latest_connection_wins_whoever_tells_first() {
    for first in [2, 3] {
        let mut world = World::connected(3);
        world.stop_controller();
        world.connect(2, 1, 11);
        world.run(secs(10));
        world.connect(3, 1, 11);
        world.cut(if first == 2 { 3 } else { 2 });
        world.start_controller();
        world.run(secs(60));
        world.mend(if first == 2 { 3 } else { 2 });
        world.run(secs(120));
        assert_eq!(world.holders(1, 11), BTreeSet::from([3]), "{first} tells first");
        assert_eq!(location(&world, 1, 11), Some(3));
    }
}

#[test]
fn a_device_of_another_network_with_the_same_mac_is_another_device() {
    let mut world = World::connected(3);
    world.change(2, |f| assert!(f.devices.insert(mac(11))));
    world.connect(3, 1, 11);
    world.run(secs(1));
    world.connect(1, 2, 11);
    world.run(secs(1));
    assert_eq!(location(&world, 1, 11), Some(3));
    assert_eq!(location(&world, 2, 11), Some(1));
    assert!(world.agent(3).evicted.is_empty());
}

#[test]
fn a_device_that_is_not_the_networks_evicts_nobody_and_is_revoked() {
    let mut world = World::connected(3);
    world.connect(2, 1, 11);
    world.run(secs(1));
    world.connect(3, 1, 99);
    world.run(secs(1));
    assert_eq!(location(&world, 1, 99), None);
    assert_eq!(world.agent(3).revoked, [(network(1), Some(mac(99)))]);
    assert!(world.agent(2).evicted.is_empty());
}

#[test]
fn a_device_that_was_made_a_moment_ago_is_not_taken_for_a_stranger() {
    let mut world = World::connected(2);
    world.connect(2, 1, 11);
    world.run(secs(1));
    // The controller does not hear of the change before the device is there.
    world.store.get_mut(&network(1)).unwrap().devices.insert(mac(14));
    world.connect(2, 1, 14);
    world.run(secs(1));
    assert_eq!(location(&world, 1, 14), Some(2));
    assert!(world.agent(2).revoked.is_empty());
    assert_eq!(world.agent(1).tunnels.values().next().unwrap().macs, [mac(11), mac(14)]);
}

#[test]
fn a_device_that_aaa_puts_out_is_revoked_where_it_is_said_to_be_and_nowhere_else() {
    let mut world = World::connected(3);
    world.connect(2, 1, 11);
    world.run(secs(1));
    assert!(!world.controller.handle_grant_revoked(GatewayId(3), mac(11)), "it is not there");
    assert!(!world.controller.handle_grant_revoked(GatewayId(2), mac(99)), "nor is that one");
    assert!(!world.controller.handle_grant_revoked(GatewayId(9), mac(11)), "nobody's gateway");
    assert!(world.controller.handle_grant_revoked(GatewayId(2), mac(11)));
    world.run(secs(1));
    assert_eq!(world.agent(2).revoked, [(network(1), Some(mac(11)))]);
    assert!(world.agent(3).revoked.is_empty());
    assert!(world.holders(1, 11).is_empty());
    world.connect(2, 1, 11);
    world.run(secs(1));
    // Another of that network's, whose key the gateway may have been given already.
    assert!(world.controller.handle_grant_revoked(GatewayId(2), mac(12)));
    world.run(secs(1));
    assert_eq!(world.agent(2).revoked.last(), Some(&(network(1), Some(mac(12)))));
    world.connect(2, 1, 11);
    world.run(secs(1));
    world.cut(2);
    world.run(secs(60));
    assert!(!world.controller.handle_grant_revoked(GatewayId(2), mac(11)), "it has no channel");
}

#[test]
fn a_station_whose_log_in_ended_is_put_out_by_the_gateway_that_carried_the_log_in() {
    let mut world = World::connected(2);
    assert!(world.controller.handle_login_ended(GatewayId(1), mac(11)));
    assert!(!world.controller.handle_login_ended(GatewayId(2), mac(11)), "it carries none");
    assert!(!world.controller.handle_login_ended(GatewayId(9), mac(11)), "nobody's gateway");
    world.run(secs(1));
    assert_eq!(
        (&world.agent(1).put_out[..], &world.agent(2).put_out[..]),
        (&[mac(11)][..], &[][..])
    );
    world.cut(1);
    world.run(secs(60));
    assert!(!world.controller.handle_login_ended(GatewayId(1), mac(11)), "it has no channel");
}

fn login(device: u8, name: &str) -> HeldLogin {
    HeldLogin { mac: mac(device), name: name.parse().unwrap() }
}

#[test]
fn a_station_whose_log_in_ended_while_its_gateway_was_away_is_put_out_when_it_is_back() {
    for restarted in [false, true] {
        let mut world = World::connected(2);
        let held = [login(11, "fred@example.net"), login(12, "anna@example.net")];
        world.node(1).agent.logins = held.to_vec();
        if restarted {
            world.stop_controller();
        } else {
            world.cut(1);
        }
        world.run(secs(60));
        world.ended_logins.insert(held[0].name.clone());
        if restarted {
            world.start_controller();
        } else {
            let told = world.controller.handle_login_ended(GatewayId(1), mac(11));
            assert!(!told, "it has no channel");
            world.mend(1);
        }
        world.run(secs(120));
        assert_eq!(world.agent(1).put_out, [mac(11)], "once, and nobody else");
        assert_eq!(world.agent(1).logins, held[1..]);
    }
}

#[test]
fn more_log_ins_than_a_message_has_room_for_are_all_looked_at() {
    let mut world = World::connected(1);
    let many = |n: usize| HeldLogin {
        mac: Mac::new([2, 1, 0, 0, (n >> 8) as u8, n as u8]),
        name: format!("{n}@example.net").parse().unwrap(),
    };
    let held: Vec<HeldLogin> = (0..limits::LOGINS + 1).map(many).collect();
    let (first, last) = (held[0].clone(), held[limits::LOGINS].clone());
    world.node(1).agent.logins = held;
    world.ended_logins = [first.name, last.name].into();
    world.cut(1);
    world.run(secs(60));
    world.mend(1);
    world.run(secs(120));
    assert_eq!(world.agent(1).put_out, [first.mac, last.mac]);
}

#[test]
fn log_ins_of_a_gateway_that_cannot_put_out_are_not_looked_at() {
    let mut world = World::connected(2);
    world.node(2).agent.logins = vec![login(11, "fred@example.net")];
    world.ended_logins.insert("fred@example.net".parse().unwrap());
    world.break_wire(2);
    world.run(secs(120));
    assert_eq!(world.agent(2).put_out, []);
    let carries = |gateway| world.controller.carries_logins(GatewayId(gateway));
    assert_eq!([carries(1), carries(2), carries(9)], [Some(true), Some(false), None]);
}

#[test]
fn a_grant_that_ended_while_its_gateway_was_away_is_revoked_when_it_is_back() {
    for restarted in [false, true] {
        let mut world = World::connected(2);
        world.connect(2, 1, 11);
        world.connect(2, 1, 12);
        // Its key is held, and it is not there.
        world.node(2).link.want(network(1), [mac(11), mac(12), mac(13)].into());
        world.run(secs(1));
        if restarted {
            world.stop_controller();
        } else {
            world.cut(2);
        }
        world.run(secs(60));
        world.ended = [(network(1), mac(11)), (network(1), mac(13))].into();
        if restarted {
            world.start_controller();
        } else {
            world.mend(2);
        }
        world.run(secs(120));
        let revoked = [(network(1), Some(mac(11))), (network(1), Some(mac(13)))];
        assert_eq!(world.agent(2).revoked, revoked);
        assert_eq!(world.holders(1, 12), BTreeSet::from([2]), "who may go on does");
        // The gateway let it go since: there is nothing to tell it.
        world.controller.handle_grant_ended(GatewayId(2), (network(1), mac(11)));
        world.controller.handle_grant_ended(GatewayId(9), (network(1), mac(12)));
        world.run(secs(1));
        assert_eq!(world.agent(2).revoked.len(), 2);
    }
}

#[test]
fn a_suspended_device_is_revoked_where_it_is_and_where_it_is_prepared() {
    let mut world = World::connected(3);
    world.hear(2, &[(3, -50)]);
    world.connect(2, 1, 11);
    world.run(secs(1));
    assert_eq!(world.prepared(1, 11), BTreeSet::from([3]));
    world.change(1, |f| assert!(f.devices.remove(&mac(11))));
    world.run(secs(1));
    assert_eq!(world.agent(2).revoked, [(network(1), Some(mac(11)))]);
    assert_eq!(world.agent(3).revoked.len(), 1);
    assert!(world.holders(1, 11).is_empty() && world.prepared(1, 11).is_empty());
    assert!(world.agent(1).tunnels.is_empty());
}

#[test]
fn a_suspended_network_is_revoked_everywhere_and_its_tunnels_closed() {
    for removed in [false, true] {
        let mut world = World::connected(3);
        world.connect(2, 1, 11);
        world.connect(3, 1, 12);
        world.run(secs(1));
        if removed {
            world.store.remove(&network(1));
            let now = world.now;
            world.controller.handle_network_removed(network(1), now, &mut world.entropy);
        } else {
            world.change(1, |f| f.active = false);
        }
        world.run(secs(1));
        for gateway in [2, 3] {
            assert_eq!(world.agent(gateway).revoked, [(network(1), None)]);
            assert!(world.agent(gateway).tunnels.is_empty());
        }
        assert!(world.agent(1).tunnels.is_empty());
    }
}

#[test]
fn a_gateway_that_wants_a_suspended_network_forgets_it_though_no_device_is_there() {
    let mut world = World::connected(2);
    world.node(2).link.want(network(1), [mac(11)].into());
    world.run(secs(1));
    assert_eq!(world.agent(2).tunnels.len(), 1);
    world.change(1, |f| f.active = false);
    world.run(secs(1));
    assert_eq!(world.agent(2).revoked, [(network(1), None)]);
    assert_eq!(world.agent(2).tunnels.len(), 0);
}

#[test]
fn a_suspension_that_a_gateway_missed_is_told_when_it_comes_back() {
    for whole in [false, true] {
        let mut world = World::connected(2);
        world.connect(2, 1, 11);
        world.run(secs(1));
        world.cut(2);
        world.change(1, |f| {
            if whole {
                f.active = false;
            } else {
                f.devices.remove(&mac(11));
            }
        });
        world.run(secs(60));
        world.mend(2);
        world.run(secs(120));
        let expected = if whole { None } else { Some(mac(11)) };
        assert_eq!(world.agent(2).revoked, [(network(1), expected)]);
        assert!(world.agent(2).tunnels.is_empty() && world.agent(2).connected.is_empty());
    }
}

#[test]
fn a_move_is_told_with_its_gap() {
    let mut world = World::connected(3);
    world.connect(2, 1, 11);
    world.run(secs(10));
    world.disconnect(2, 1, 11);
    world.run(secs(7));
    world.take_events();
    world.connect(3, 1, 11);
    world.run(secs(1));
    let moved = world.take_events().into_iter().find_map(|e| match e {
        Event::DeviceMoved { from, to, gap, prepared, .. } => Some((from, to, gap, prepared)),
        _ => None,
    });
    assert_eq!(moved, Some((Some(GatewayId(2)), GatewayId(3), secs(7), false)));
    assert_eq!(world.status().counters.moves, 1);
    world.disconnect(3, 1, 11);
    world.run(secs(301));
    world.connect(2, 1, 11);
    world.run(secs(1));
    assert_eq!(world.status().counters.moves, 1, "after five minutes it has come, not moved");
}
