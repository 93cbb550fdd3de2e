//! Restarts, reconnections, and what survives them.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_control::controller::{Closed, Event};
use homeward_control::{DeniedReason, HeldTunnel, TunnelId};

use crate::world::{World, network, secs};

fn held(world: &World, gateway: i64) -> BTreeMap<TunnelId, HeldTunnel> {
    world.agent(gateway).tunnels.iter().map(|(id, open)| (*id, open.held())).collect()
}

/// Device 11 of gateway 1 is at gateway 2, and 12 at 3.
fn roaming() -> World {
    let mut world = World::connected(3);
    world.connect(2, 1, 11);
    world.connect(3, 1, 12);
    world.run(secs(1));
    assert_eq!((held(&world, 1).len(), held(&world, 2).len(), held(&world, 3).len()), (2, 1, 1));
    world
}

#[test]
fn a_reconnection_keeps_all_tunnels_as_they_are() {
    let mut world = roaming();
    let before = held(&world, 1);
    for gateway in [1, 2] {
        world.break_wire(gateway);
        world.run(secs(60));
        assert_eq!(held(&world, 1), before);
        assert_eq!((world.agent(1).closed, world.agent(2).closed), (0, 0));
    }
    assert_eq!(world.agent(1).synced, 2);
    // Two tunnels at the start, and both again: the controller assumes nothing.
    assert_eq!(world.agent(1).told, 4);
}

#[test]
fn what_changed_during_an_absence_is_made_good() {
    let mut world = roaming();
    world.cut(1);
    world.disconnect(2, 1, 11);
    world.connect(2, 1, 13);
    world.disconnect(3, 1, 12);
    world.run(secs(60));
    assert_eq!(held(&world, 1).len(), 2, "it goes on by itself");
    world.mend(1);
    world.run(secs(120));
    assert_eq!(
        held(&world, 1).keys().collect::<Vec<_>>(),
        held(&world, 2).keys().collect::<Vec<_>>()
    );
    let home = world.agent(1).tunnels.values().next().unwrap();
    assert_eq!(home.macs, [crate::world::mac(13)]);
}

#[test]
fn the_loss_of_the_channel_closes_nothing_for_four_hours_and_then_everything() {
    let mut world = roaming();
    world.cut(1);
    world.run(secs(4 * 3600 - 1));
    assert_eq!((held(&world, 2).len(), held(&world, 3).len()), (1, 1));
    world.take_events();
    world.run(secs(2));
    assert_eq!((held(&world, 2).len(), held(&world, 3).len()), (0, 0));
    assert_eq!(world.agent(2).denied[&network(1)], DeniedReason::HomeGatewayAway);
    let events = world.take_events();
    assert!(events.iter().any(|e| matches!(e, Event::TunnelClosed { why: Closed::Away, .. })));
    assert_eq!(held(&world, 1).len(), 2, "tunnels that are up stay up where nobody can say so");
    assert_eq!(world.agent(1).expired, 1);

    world.mend(1);
    world.run(secs(120));
    assert_eq!(world.status().tunnels.len(), 2);
    assert_eq!(held(&world, 1).len(), 2, "and are replaced by new ones");
    assert_eq!(world.agent(2).denied.get(&network(1)), None);
}

#[test]
fn after_a_restart_of_the_controller_tunnels_are_adopted_as_they_are() {
    let mut world = roaming();
    let before = [held(&world, 1), held(&world, 2), held(&world, 3)];
    world.stop_controller();
    world.run(secs(600));
    world.start_controller();
    world.run(secs(120));
    assert_eq!([held(&world, 1), held(&world, 2), held(&world, 3)], before);
    assert_eq!((world.agent(1).closed, world.agent(2).closed, world.agent(3).closed), (0, 0, 0));
    let counters = world.status().counters;
    assert_eq!((counters.adopted, counters.opened), (2, 0));
    assert_eq!(world.status().totals.halves, 0);
}

#[test]
fn gateways_may_come_back_minutes_apart_after_a_restart_of_the_controller() {
    // In every order of three.
    for order in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
        let mut world = roaming();
        let before = [held(&world, 1), held(&world, 2), held(&world, 3)];
        world.stop_controller();
        for gateway in order {
            world.cut(gateway);
        }
        world.start_controller();
        for gateway in order {
            world.mend(gateway);
            world.run(secs(240));
        }
        assert_eq!([held(&world, 1), held(&world, 2), held(&world, 3)], before, "{order:?}");
        assert!(world.agent(2).denied.is_empty() && world.agent(3).denied.is_empty());
    }
}

#[test]
fn half_a_tunnel_is_dropped_when_its_other_half_does_not_come_within_the_grace() {
    let mut world = roaming();
    world.stop_controller();
    world.cut(2);
    world.start_controller();
    world.run(secs(590));
    assert_eq!(held(&world, 1).len(), 2);
    assert_eq!(world.status().totals.halves, 1);
    world.run(secs(80));
    assert_eq!(held(&world, 1).len(), 1, "the one with gateway 3 was adopted");
    assert_eq!(world.status().totals.halves, 0);

    world.mend(2);
    world.run(secs(120));
    assert_eq!(held(&world, 1).len(), 2, "it is made anew when the other comes all the same");
    assert_eq!(held(&world, 2).len(), 1);
    assert_eq!(world.agent(2).closed, 1);
}

#[test]
fn a_foreign_gateway_waits_for_its_home_during_the_grace_and_is_denied_after_it() {
    let mut world = roaming();
    world.stop_controller();
    world.cut(1);
    world.start_controller();
    world.run(secs(300));
    assert_eq!((held(&world, 2).len(), world.agent(2).denied.len()), (1, 0));
    world.run(secs(400));
    assert_eq!(held(&world, 2).len(), 0);
    assert_eq!(world.agent(2).denied[&network(1)], DeniedReason::HomeGatewayAway);
}

#[test]
fn a_gateway_that_reconnects_again_and_again_buys_no_time_for_what_it_holds() {
    let mut world = roaming();
    world.stop_controller();
    world.cut(2);
    world.start_controller();
    for _ in 0..8 {
        world.run(secs(100));
        world.break_wire(1);
    }
    world.run(secs(100));
    assert_eq!(held(&world, 1).len(), 1);
}

#[test]
fn a_gateway_that_rebooted_gets_fresh_tunnels_and_so_does_its_peer() {
    let mut world = roaming();
    let before = held(&world, 2);
    world.reboot(1);
    world.run(secs(120));
    let after = held(&world, 2);
    assert_eq!(after.len(), 1);
    assert!(before.keys().all(|id| !after.contains_key(id)));
    assert_eq!(held(&world, 1).len(), 2);
    let (old, new) = (before.values().next().unwrap(), after.values().next().unwrap());
    assert_ne!(old.local, new.local);
    assert_ne!(old.remote, new.remote);
}

#[test]
fn a_foreign_gateway_that_rebooted_wants_nothing_and_has_nothing() {
    let mut world = roaming();
    world.reboot(2);
    world.run(secs(120));
    assert_eq!((held(&world, 1).len(), held(&world, 2).len()), (1, 0));
    assert_eq!(world.holders(1, 11).len(), 0);
    assert!(world.status().devices.iter().all(|d| d.mac != crate::world::mac(11)));
}

#[test]
fn a_home_that_rebooted_while_the_foreign_side_was_away_is_joined_by_it_later() {
    let mut world = roaming();
    world.cut(2);
    world.run(secs(60));
    world.reboot(1);
    world.run(secs(60));
    world.mend(2);
    world.run(secs(120));
    let (home, foreign) = (held(&world, 1), held(&world, 2));
    let id = foreign.keys().next().unwrap();
    assert_eq!(foreign.len(), 1);
    assert_eq!(home[id].local, foreign[id].remote);
    assert_eq!(world.status().totals.halves, 0, "the old half does not wait");
}

#[test]
fn an_encrypted_pair_keeps_its_key_across_a_restart_of_the_controller() {
    let mut world = World::connected(3);
    world.store.insert(network(7), crate::world::facts(7, Some(1), &[77]));
    world.connect(2, 7, 77);
    world.run(secs(1));
    let before = held(&world, 2).values().next().unwrap().preshared_key.clone();
    world.stop_controller();
    // Only then a second network between the same two, which is looked at first.
    world.connect(2, 1, 11);
    world.start_controller();
    world.run(secs(120));
    let keys: Vec<_> = held(&world, 2).values().map(|h| h.preshared_key.clone()).collect();
    assert_eq!(keys, [before.clone(), before]);
    assert_eq!(world.agent(2).closed, 0);
}

#[test]
fn a_half_that_does_not_match_is_replaced() {
    let mut world = roaming();
    world.stop_controller();
    // The home rebooted while the controller was down: it has nothing, the foreign side has half.
    world.reboot(1);
    world.start_controller();
    world.run(secs(120));
    let (home, foreign) = (held(&world, 1), held(&world, 2));
    let id = foreign.keys().next().unwrap();
    assert_eq!(home[id].local, foreign[id].remote);
    assert_eq!((world.agent(2).closed, world.agent(2).opened), (1, 2));
}

#[test]
fn data_planes_keep_their_inner_addresses_across_a_restart_of_the_controller() {
    let mut world = World::new(
        0,
        homeward_control::ControllerSettings {
            pool: ([10, 9, 0, 0].into(), 29),
            ..Default::default()
        },
    );
    // Both numbers lead to the same of six addresses.
    for gateway in [1, 7] {
        world.add(gateway);
        world.run(secs(1));
    }
    let inner = |world: &World| {
        let status = world.status();
        status.gateways.iter().map(|g| (g.gateway.0, g.inner_address)).collect::<Vec<_>>()
    };
    let before = inner(&world);
    assert_eq!(before, [(1, [10, 9, 0, 1].into()), (7, [10, 9, 0, 2].into())]);
    world.stop_controller();
    world.cut(1);
    world.start_controller();
    world.run(secs(60));
    world.mend(1);
    world.run(secs(120));
    assert_eq!(inner(&world), before);
}

#[test]
fn a_newer_channel_of_the_same_gateway_replaces_the_older() {
    let mut world = World::connected(1);
    let status = world.status();
    let first = status.gateways[0].channel;
    // The gateway's power failed: the controller has not noticed, and a new process says Hello.
    world.reboot_unnoticed(1);
    world.run(secs(1));
    let status = world.status();
    assert_eq!(status.gateways.len(), 1);
    assert!(status.gateways[0].channel > first);
    let replaced = world.take_events().into_iter().any(|e| {
        matches!(e, Event::Lost { why: homeward_control::controller::Lost::Replaced, .. })
    });
    assert!(replaced);
}

#[test]
fn a_gateway_that_does_not_answer_is_lost_after_three_intervals() {
    let mut world = World::connected(1);
    world.freeze(1);
    world.run(Duration::from_secs(85));
    assert_eq!(world.status().totals.connected, 1);
    world.run(Duration::from_secs(10));
    assert_eq!(world.status().totals.connected, 0);
}
#[test]
fn the_home_lans_routers_are_known_after_a_restart_of_the_controller_too() {
    for last in [1, 2] {
        let mut world = roaming();
        let routers = world.agent(2).foreign(network(1)).unwrap().routers.clone();
        assert_eq!(routers.len(), 1);
        world.stop_controller();
        world.cut(last);
        world.start_controller();
        world.run(secs(60));
        world.mend(last);
        world.run(secs(60));
        assert_eq!(world.agent(2).foreign(network(1)).unwrap().routers, routers);
    }
}
