//! Which tunnels there are, and what each end is told.

use homeward_control::controller::{Closed, Event};
use homeward_control::{
    DeniedReason, Endpoint, EndpointKind, OpenTunnel, PublicKey, Side, Terms, TunnelState,
};
use homeward_model::{Anchor, Bandwidth, BondingModes, Encryption, GatewayId, Priority, Rssi};

use crate::world::{World, mac, network, secs};

/// The two ends of the one tunnel between a home and a foreign gateway.
fn ends(world: &World, home: i64, foreign: i64) -> (OpenTunnel, OpenTunnel) {
    let at = |gateway: i64, side| {
        let tunnels = world.agent(gateway).tunnels.values();
        let mut of_side = tunnels.filter(|t| t.side == side);
        let found = of_side.next().expect("a tunnel");
        assert_eq!(of_side.next(), None, "one");
        found.clone()
    };
    (at(home, Side::Home), at(foreign, Side::Foreign))
}

fn endpoint(address: &str, kind: EndpointKind) -> Endpoint {
    Endpoint::new(address.parse().unwrap(), kind)
}

#[test]
fn a_wanted_tunnel_is_set_up_at_both_ends_with_matching_halves() {
    let mut world = World::connected(2);
    world.connect(2, 1, 11);
    world.run(secs(1));
    let (home, foreign) = ends(&world, 1, 2);
    assert_eq!(home.tunnel, foreign.tunnel);
    assert_eq!((home.network, foreign.network), (network(1), network(1)));
    assert_eq!((&home.local, &home.remote), (&foreign.remote, &foreign.local));
    assert_ne!(home.local, home.remote);
    assert_eq!(home.peer.preshared_key, foreign.peer.preshared_key);
    assert_eq!((home.peer.gateway, foreign.peer.gateway), (GatewayId(2), GatewayId(1)));
    assert_eq!(home.peer.name.as_str(), "gw-2");
    assert_eq!(home.peer.public_key, PublicKey([2; 32]));
    assert_eq!(home.macs, [mac(11)]);
    assert_eq!(foreign.macs, [mac(11)]);
    assert_eq!(home.encryption, Encryption::Required);
    assert_eq!(world.status().tunnels[0].home.state, Some(TunnelState::Up));
}

#[test]
fn a_peer_is_reached_where_the_controller_sees_it_and_then_where_it_says() {
    let mut world = World::connected(2);
    world.connect(2, 1, 11);
    world.run(secs(1));
    let (home, _) = ends(&world, 1, 2);
    let seen = endpoint("203.0.113.2:4500", EndpointKind::Observed);
    let own = endpoint("192.168.2.1:4500", EndpointKind::Unsaid);
    assert_eq!(home.peer.endpoints, [seen, own]);

    let told = [
        "0.0.0.0:7",
        "[::]:8",
        "[fe80::1]:9",
        "[::ffff:10.0.0.1]:9",
        "203.0.113.2:7",
        "198.51.100.1:9",
    ];
    world
        .node(2)
        .link
        .set_endpoints(told.into_iter().map(|text| endpoint(text, EndpointKind::Host)).collect());
    world.run(secs(1));
    let (home, foreign) = ends(&world, 1, 2);
    assert_eq!(
        home.peer.endpoints,
        [
            endpoint("203.0.113.2:7", EndpointKind::Host),
            endpoint("198.51.100.1:9", EndpointKind::Host)
        ],
        "an unspecified address is a port, a link-local one nobody's, and each is tried once"
    );
    assert_eq!(world.agent(2).opened, 1, "it is the same tunnel");
    let seen = endpoint("203.0.113.1:4500", EndpointKind::Observed);
    assert_eq!(foreign.peer.endpoints[0], seen);
}

#[test]
fn an_address_of_a_lan_is_told_to_those_in_it_and_where_the_controller_is_in_it_to_all() {
    use EndpointKind::{Host, Observed};
    let mut world = World::connected(2);
    world.connect(2, 1, 11);
    let told = [endpoint("192.168.2.1:1701", Host), endpoint("[2001:db8::2]:1701", Host)];
    world.node(2).link.set_endpoints(told.to_vec());
    world.run(secs(1));
    let seen = endpoint("203.0.113.2:1701", Observed);
    let [lan, wide] = told;
    assert_eq!(ends(&world, 1, 2).0.peer.endpoints, [seen, wide]);
    // No NAT is known of, but one address there is that both are seen at.
    let move_to = |world: &mut World, number: i64, observed: &str| {
        world.node(number).observed = observed.parse().unwrap();
        world.break_wire(number);
        world.run(secs(60));
    };
    move_to(&mut world, 1, "203.0.113.2");
    assert_eq!(ends(&world, 1, 2).0.peer.endpoints, [lan, seen, wide]);
    // The controller sees addresses of a private network: all are in one, as far as is known.
    move_to(&mut world, 1, "10.0.0.1");
    move_to(&mut world, 2, "10.0.0.2");
    let seen = endpoint("10.0.0.2:1701", Observed);
    assert_eq!(ends(&world, 1, 2).0.peer.endpoints, [seen, lan, wide]);
}

#[test]
fn an_address_behind_a_nat_is_told_to_those_behind_the_same_and_what_servers_see_to_all() {
    use EndpointKind::{Host, Observed, Reflexive, Told};
    let mut world = World::connected(2);
    world.connect(2, 1, 11);
    world.run(secs(1));
    let told = [
        endpoint("192.0.2.17:1701", Told),
        endpoint("[::]:1701", Host),
        endpoint("203.0.113.2:40001", Reflexive),
        endpoint("192.168.2.1:1701", Host),
    ];
    world.node(2).link.set_endpoints(told.to_vec());
    world.run(secs(1));
    let seen = endpoint("203.0.113.2:1701", Observed);
    let [said, _, reflexive, own] = told;
    assert_eq!(ends(&world, 1, 2).0.peer.endpoints, [seen, said, reflexive]);

    // A NAT that keeps the port: what it shows is said once, as what servers see.
    let kept = endpoint("203.0.113.2:1701", Reflexive);
    world.node(2).link.set_endpoints(vec![endpoint("[::]:1701", Host), kept, reflexive, own]);
    world.run(secs(1));
    assert_eq!(ends(&world, 1, 2).0.peer.endpoints, [kept, reflexive]);

    // The two have one address on the Internet; by it they may not reach each other.
    world.node(1).observed = "203.0.113.2".parse().unwrap();
    world.break_wire(1);
    world.run(secs(60));
    assert_eq!(ends(&world, 1, 2).0.peer.endpoints, [own, kept, reflexive]);
}

#[test]
fn devices_that_come_and_go_change_the_tunnel_and_do_not_make_another() {
    let mut world = World::connected(2);
    world.connect(2, 1, 11);
    world.run(secs(1));
    let first = ends(&world, 1, 2).0.tunnel;
    world.connect(2, 1, 12);
    world.run(secs(1));
    let (home, foreign) = ends(&world, 1, 2);
    assert_eq!((home.tunnel, &home.macs), (first, &vec![mac(11), mac(12)]));
    assert_eq!(foreign.macs, home.macs);
    world.disconnect(2, 1, 11);
    world.run(secs(1));
    assert_eq!(ends(&world, 1, 2).0.macs, [mac(12)]);
    assert_eq!((world.agent(1).opened, world.agent(2).opened), (1, 1));
}

#[test]
fn a_tunnel_is_told_again_only_if_it_has_changed() {
    let mut world = World::connected(2);
    world.connect(2, 1, 11);
    world.run(secs(1));
    // The foreign side: set up, and the home's routers.
    assert_eq!((world.agent(1).told, world.agent(2).told), (1, 2));
    // What changes nothing of it: beacons, another SSID, a device that comes again.
    world.hear(2, &[(1, -50)]);
    world.change(1, |facts| facts.ssid = "Other".parse().unwrap());
    world.connect(2, 1, 11);
    world.run(secs(1));
    assert_eq!((world.agent(1).told, world.agent(2).told), (1, 2));
}

#[test]
fn a_device_on_the_owners_own_access_point_has_no_tunnel() {
    let mut world = World::connected(2);
    world.connect(1, 1, 11);
    world.run(secs(1));
    // The subscriber has moved; the gateway does not know it yet.
    world.change(1, |f| f.home = Some(GatewayId(2)));
    world.connect(1, 1, 12);
    world.run(secs(1));
    assert_eq!(ends(&world, 2, 1).0.macs, [mac(12)]);
    assert_eq!(world.agent(2).arrived.len(), 1);
}

#[test]
fn only_devices_of_the_network_may_send_through_its_tunnel() {
    let mut world = World::connected(2);
    // 99 is no device of network 1, but gateway 2 says that it serves it.
    world.node(2).link.want(network(1), [mac(11), mac(99)].into());
    world.run(secs(1));
    let (home, foreign) = ends(&world, 1, 2);
    assert_eq!((home.macs, foreign.macs), (vec![mac(11)], vec![mac(11)]));
}

#[test]
fn terms_reach_both_ends_when_the_class_of_service_changes() {
    let mut world = World::connected(2);
    world.connect(2, 1, 11);
    world.run(secs(1));
    let terms = Terms {
        priority: Priority::try_from(5).unwrap(),
        bandwidth: Bandwidth { up: Some(1000), down: None },
        bonding: BondingModes { mirrored: true, striped: false },
        handoff_threshold: Some(Rssi(-70)),
    };
    world.change(1, |facts| facts.terms = terms);
    world.run(secs(1));
    let (home, foreign) = ends(&world, 1, 2);
    assert_eq!((home.terms, foreign.terms), (terms, terms));
    assert_eq!(world.agent(2).opened, 1);
}

#[test]
fn the_home_lans_routers_are_passed_to_the_foreign_side_only() {
    let mut world = World::connected(2);
    world.connect(2, 1, 11);
    world.run(secs(1));
    let (home, foreign) = ends(&world, 1, 2);
    assert!(home.routers.is_empty());
    assert_eq!(foreign.routers[0].mac, mac(1));
}

#[test]
fn a_tunnel_that_is_no_longer_wanted_is_closed_at_both_ends() {
    let mut world = World::connected(2);
    world.connect(2, 1, 11);
    world.run(secs(1));
    world.take_events();
    world.disconnect(2, 1, 11);
    world.run(secs(1));
    assert!(world.agent(1).tunnels.is_empty() && world.agent(2).tunnels.is_empty());
    let closed = world.take_events();
    assert!(closed.iter().any(|e| matches!(e, Event::TunnelClosed { why: Closed::Unwanted, .. })));
    world.run(secs(600));
    assert_eq!(world.status().totals.networks, 0, "what nobody needs is forgotten");
}

#[test]
fn two_networks_of_one_home_share_the_pairs_key_and_nothing_else() {
    let mut world = World::connected(2);
    world.store.insert(network(7), crate::world::facts(7, Some(1), &[77]));
    world.connect(2, 1, 11);
    world.connect(2, 7, 77);
    world.run(secs(1));
    let tunnels: Vec<_> = world.agent(1).tunnels.values().collect();
    assert_eq!(tunnels.len(), 2);
    assert_eq!(tunnels[0].peer.preshared_key, tunnels[1].peer.preshared_key);
    assert_ne!(tunnels[0].local.session, tunnels[1].local.session);
    assert_ne!(tunnels[0].local.cookie, tunnels[1].local.cookie);
}

#[test]
fn every_pair_of_gateways_has_a_key_of_its_own() {
    let mut world = World::connected(3);
    world.connect(2, 1, 11);
    world.connect(3, 1, 12);
    world.run(secs(1));
    let keys: Vec<_> = world.agent(1).tunnels.values().map(|t| &t.peer.preshared_key).collect();
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[0], keys[1]);
}

/// What gateway 2 is told when it wants network 1.
fn denied(change: impl FnOnce(&mut World)) -> Option<DeniedReason> {
    let mut world = World::connected(2);
    change(&mut world);
    world.node(2).link.want(network(1), [mac(11)].into());
    world.run(secs(1));
    assert_eq!(world.agent(2).tunnels.len(), 0);
    world.agent(2).denied.get(&network(1)).copied()
}

#[test]
fn a_wish_that_cannot_be_granted_is_denied_with_the_reason() {
    for (change, reason) in [
        ((|w| w.change(1, |f| f.active = false)) as fn(&mut World), DeniedReason::Suspended),
        (|w| w.change(1, |f| f.home = None), DeniedReason::NoHomeGateway),
        (|w| w.change(1, |f| f.home = Some(GatewayId(2))), DeniedReason::AtHome),
        (|w| w.change(1, |f| f.anchor = Anchor::Local), DeniedReason::LocalBreakout),
        (|w| w.cut(1), DeniedReason::HomeGatewayAway),
        (|w| drop(w.store.remove(&network(1))), DeniedReason::UnknownNetwork),
    ] {
        assert_eq!(denied(change), Some(reason));
    }
}

#[test]
fn a_home_without_a_lan_is_no_home_for_tunnels() {
    let mut world = World::new(2, Default::default());
    let mut identity = homeward_control::link::Identity {
        boot: 77,
        software: String::new(),
        public_key: PublicKey([1; 32]),
        home: false,
        prepared_max: 0,
        bssids: vec![],
        carries_logins: false,
        path_keys: vec![],
        legs_max: 0,
    };
    world.node(1).link.set_identity(identity.clone());
    world.run(secs(1));
    world.connect(2, 1, 11);
    world.run(secs(1));
    assert_eq!(world.agent(2).denied[&network(1)], DeniedReason::NoHomeLan);
    identity.home = true;
    world.node(1).link.set_identity(identity);
    world.break_wire(1);
    world.run(secs(5));
    ends(&world, 1, 2);
}

#[test]
fn what_was_denied_comes_by_itself_when_the_reason_is_gone() {
    for (hinder, help) in [
        (
            (|w| w.cut(1)) as fn(&mut World),
            (|w| {
                w.mend(1);
                w.run(secs(60));
            }) as fn(&mut World),
        ),
        (|w| w.change(1, |f| f.active = false), |w| w.change(1, |f| f.active = true)),
        (|w| w.change(1, |f| f.home = None), |w| w.change(1, |f| f.home = Some(GatewayId(1)))),
        (
            |w| w.change(1, |f| f.anchor = Anchor::Local),
            |w| w.change(1, |f| f.anchor = Anchor::Home),
        ),
    ] {
        let mut world = World::connected(2);
        hinder(&mut world);
        world.node(2).link.want(network(1), [mac(11)].into());
        world.run(secs(1));
        assert!(world.agent(2).denied.contains_key(&network(1)));
        help(&mut world);
        world.run(secs(1));
        ends(&world, 1, 2);
    }
}

#[test]
fn a_tunnel_is_made_anew_when_home_or_encryption_change() {
    let mut world = World::connected(3);
    world.connect(2, 1, 11);
    world.run(secs(1));
    let old = ends(&world, 1, 2).0.tunnel;
    world.change(1, |f| f.encryption = Encryption::Off);
    world.run(secs(1));
    let (home, foreign) = ends(&world, 1, 2);
    assert_ne!(home.tunnel, old);
    assert_eq!((home.encryption, foreign.encryption), (Encryption::Off, Encryption::Off));
    world.change(1, |f| f.home = Some(GatewayId(3)));
    world.run(secs(1));
    assert!(world.agent(1).tunnels.is_empty());
    let (home, foreign) = ends(&world, 3, 2);
    assert_eq!(home.tunnel, foreign.tunnel);
}

#[test]
fn a_gateway_that_holds_home_and_foreign_ends_keeps_them_apart() {
    let mut world = World::connected(2);
    world.connect(2, 1, 11);
    world.connect(1, 2, 21);
    world.run(secs(1));
    for gateway in [1, 2] {
        let sides: Vec<_> = world.agent(gateway).tunnels.values().map(|t| t.side).collect();
        assert_eq!(sides.len(), 2);
        assert!(sides.contains(&Side::Home) && sides.contains(&Side::Foreign));
    }
    let sessions: std::collections::BTreeSet<_> =
        world.agent(1).tunnels.values().map(|t| t.local.session).collect();
    assert_eq!(sessions.len(), 2, "one socket, two sessions");
}

#[test]
fn a_gateway_that_is_revoked_or_suspended_is_cut_off_at_once_and_its_tunnels_closed() {
    for suspended in [false, true] {
        let mut world = World::connected(2);
        world.connect(2, 1, 11);
        world.run(secs(1));
        world.node(1).active = false;
        let (now, gateway) = (world.now, GatewayId(1));
        if suspended {
            world.controller.handle_gateway_suspended(gateway, now, &mut world.entropy);
        } else {
            world.controller.handle_gateway_revoked(gateway, now, &mut world.entropy);
        }
        world.run(secs(1));
        assert!(world.agent(2).tunnels.is_empty());
        assert_eq!(world.agent(2).denied[&network(1)], DeniedReason::HomeGatewayAway);
        let gone = Some(homeward_control::GoodbyeReason::Revoked);
        assert_eq!(world.agent(1).lost, [gone]);
        assert_eq!(world.status().gateways.len(), 1);

        world.run(secs(599));
        assert_eq!(world.agent(1).lost.len(), 1, "it does not come back at once");
        world.run(secs(60));
        assert_eq!(world.gateways[&1].link.status(world.now).goodbye, gone, "and is told the same");
        world.node(1).active = true;
        world.run(secs(600));
        ends(&world, 1, 2);
    }
}

#[test]
fn the_store_is_asked_again_if_it_does_not_answer() {
    let mut world = World::connected(2);
    world.store_up = false;
    world.connect(2, 1, 11);
    world.run(secs(5));
    assert!(world.agent(2).tunnels.is_empty() && world.agent(2).denied.is_empty());
    world.store_up = true;
    world.run(secs(6));
    ends(&world, 1, 2);
}

#[test]
fn a_change_during_a_question_is_asked_about_again() {
    let mut world = World::connected(2);
    world.store_up = false;
    world.connect(2, 1, 11);
    world.run(secs(1));
    let old = world.store[&network(1)].clone();
    world.change(1, |f| f.encryption = Encryption::Off);
    world.store_up = true;
    let now = world.now;
    world.controller.handle_network(old, now, &mut world.entropy);
    world.run(secs(1));
    assert_eq!(ends(&world, 1, 2).0.encryption, Encryption::Off);
}

#[test]
fn both_ends_show_what_they_know_as_json_without_keys() {
    let mut world = World::connected(3);
    world.hear(2, &[(3, -50)]);
    world.connect(2, 1, 11);
    world.cut(3);
    world.connect(2, 3, 31);
    world.run(secs(1));
    let status = world.status();
    let json = serde_json::to_string(&status).unwrap();
    assert_eq!(
        serde_json::from_str::<homeward_control::controller::Status>(&json).unwrap(),
        status
    );
    assert!(json.contains("home-gateway-away") && json.contains("02:00:00:00:00:0b"), "{json}");
    let link = world.gateways[&2].link.status(world.now);
    let json = serde_json::to_string(&link).unwrap();
    assert_eq!(serde_json::from_str::<homeward_control::link::Status>(&json).unwrap(), link);
    assert_eq!((link.tunnels.len(), link.denied.len()), (1, 1));
    assert!(json.contains("\"state\":\"open\"") && !json.contains("cookie"), "{json}");
}
