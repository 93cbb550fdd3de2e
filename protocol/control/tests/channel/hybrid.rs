//! Hybrid devices: one tunnel home with a leg for each access, and nothing else.

use std::collections::BTreeSet;

use homeward_control::controller::{ChannelId, Event, GatewayFacts, Ignored};
use homeward_control::link::Device;
use homeward_control::testing::Counted;
use homeward_control::{
    Controller, Cookie, CoverageMap, DeniedReason, DeviceUpdate, Endpoint, EndpointKind,
    FromGateway, Half, HeldLogin, HeldTunnel, Hello, MapRegion, Neighbour, OpenTunnel, Prepare,
    Prepared, PresharedKey, PublicKey, SessionId, Side, Terms, ToGateway, TunnelId, Want, WantMap,
};
use homeward_model::{BondingModes, Encryption, GatewayId, Instant, Mac, Rssi};

use crate::world::{World, bssid, facts, mac, network, path_key, secs};

impl World {
    /// A hybrid device that is at home in a network, with so many accesses beside the first.
    pub(crate) fn add_device(&mut self, number: i64, home: i64, device: u8, paths: u8) {
        self.add_node(number, Some((network(home), mac(device))), paths);
    }

    /// A device has other accesses than before, and says so with its next Hello.
    pub(crate) fn set_paths(&mut self, number: i64, paths: u8) {
        self.node(number).paths = paths;
        self.say_anew(number);
    }

    /// A gateway's data plane knows of more legs than before, or of fewer.
    pub(crate) fn set_legs_max(&mut self, number: i64, legs_max: u32) {
        self.node(number).legs_max = legs_max;
        self.say_anew(number);
    }

    fn say_anew(&mut self, number: i64) {
        let node = self.node(number);
        let identity = node.identity(number);
        node.link.set_identity(identity);
        self.break_wire(number);
    }
}

/// The number of the hybrid device, and of its MAC address.
const PHONE: i64 = 9;
const ITS_MAC: u8 = 99;

/// Gateways 1 and 2, and a phone of network 1 with so many accesses beside the first.
fn world(paths: u8) -> World {
    let mut world = World::connected(2);
    world.add_device(PHONE, 1, ITS_MAC, paths);
    world.run(secs(2));
    world
}

/// The home's end and the device's.
fn ends(world: &World) -> (OpenTunnel, OpenTunnel) {
    let at = |gateway: i64| {
        let mut all = world.agent(gateway).tunnels.values();
        let found = all.next().expect("a tunnel");
        assert_eq!(all.next(), None, "one");
        found.clone()
    };
    (at(1), at(PHONE))
}

/// What each end receives with, and sends with.
fn halves(open: &OpenTunnel) -> (Vec<Half>, Vec<Half>) {
    let legs = open.legs.iter().map(|leg| (leg.local.clone(), leg.remote.clone()));
    [(open.local.clone(), open.remote.clone())].into_iter().chain(legs).unzip()
}

fn ignored(world: &mut World) -> usize {
    let ours = Event::Ignored { gateway: GatewayId(PHONE), why: Ignored::HybridDevice };
    world.take_events().into_iter().filter(|event| *event == ours).count()
}

#[test]
fn a_hybrid_device_is_sent_the_map_but_not_at_once_again_and_a_gateway_is_not() {
    let mut world = world(1);
    let regions = vec![MapRegion { zoom: 8, number: 7 }];
    let wanted = WantMap { regions, issued: None };
    let mut asks = |number: i64| {
        world.node(number).link.want_map(wanted.clone());
        world.run(secs(1));
        world.agent(number).maps.len()
    };
    assert_eq!((asks(PHONE), asks(PHONE), asks(1)), (1, 1, 0));
    world.run(secs(10));
    let map = CoverageMap { octets: vec![1, 2, 3], problem: "1 regions".to_owned() };
    assert_eq!(world.agent(PHONE).maps, [map], "as it was asked, and nothing late");
    world.node(PHONE).link.want_map(wanted);
    world.run(secs(1));
    assert_eq!(world.agent(PHONE).maps.len(), 2);
}

#[test]
fn a_hybrid_device_has_a_tunnel_home_with_a_leg_for_each_of_its_accesses() {
    for paths in 0..=3 {
        let world = world(paths);
        let (home, device) = ends(&world);
        assert_eq!((home.side, device.side), (Side::Home, Side::Foreign));
        assert_eq!((home.network, home.tunnel), (device.network, device.tunnel));
        assert_eq!(home.legs.len(), usize::from(paths));
        let keys =
            |open: &OpenTunnel| open.legs.iter().map(|leg| leg.public_key).collect::<Vec<_>>();
        let of_paths: Vec<_> = (1..=paths).map(|path| path_key(PHONE, path)).collect();
        assert_eq!((home.peer.public_key, keys(&home)), (PublicKey([PHONE as u8; 32]), of_paths));
        let of_home = PublicKey([1; 32]);
        assert_eq!(keys(&device), vec![of_home; usize::from(paths)], "the home has one for all");
        assert_eq!(device.peer.public_key, of_home);
        let ((local, remote), (theirs, ours)) = (halves(&home), halves(&device));
        assert_eq!((&local, &remote), (&ours, &theirs), "what one sends with the other expects");
        for end in [local, remote] {
            let sessions: BTreeSet<_> = end.iter().map(|half| half.session).collect();
            assert_eq!(sessions.len(), end.len(), "each leg has a session of its own");
            let cookies: BTreeSet<_> = end.iter().map(|half| *half.cookie.expose()).collect();
            assert_eq!(cookies.len(), end.len(), "and a cookie of its own");
        }
        assert_eq!(home.peer.preshared_key, device.peer.preshared_key);
        let status = world.status();
        assert_eq!(status.tunnels[0].further_legs, usize::from(paths));
        let shown = status.gateways.iter().find(|g| g.gateway == GatewayId(PHONE)).unwrap();
        assert_eq!(shown.device_of, Some(network(1)));
    }
}

#[test]
fn the_legs_of_all_tunnels_of_a_home_have_sessions_of_their_own() {
    let mut world = world(3);
    world.add_device(8, 1, 98, 3);
    world.connect(2, 1, 11);
    world.run(secs(2));
    let tunnels = &world.agent(1).tunnels;
    assert_eq!(tunnels.len(), 3);
    let sessions: Vec<_> =
        tunnels.values().flat_map(|open| halves(open).0).map(|half| half.session).collect();
    assert_eq!(sessions.len(), 4 + 4 + 1);
    assert_eq!(sessions.iter().collect::<BTreeSet<_>>().len(), sessions.len());
}

#[test]
fn a_gateway_that_names_further_keys_has_no_legs_all_the_same() {
    let mut world = World::connected(2);
    let node = world.node(2);
    node.paths = 2;
    world.set_paths(2, 2);
    world.run(secs(5));
    world.connect(2, 1, 11);
    world.run(secs(1));
    assert!(world.agent(1).tunnels.values().all(|open| open.legs.is_empty()));
}

#[test]
fn a_home_that_knows_of_fewer_legs_has_no_more() {
    for (legs_max, legs) in [(0, 0), (1, 1), (2, 2), (u32::MAX, 3)] {
        let mut world = World::connected(2);
        world.set_legs_max(1, legs_max);
        world.run(secs(5));
        world.add_device(PHONE, 1, ITS_MAC, 3);
        world.run(secs(2));
        let (home, device) = ends(&world);
        assert_eq!((home.legs.len(), device.legs.len()), (legs, legs), "of {legs_max}");
    }
}

#[test]
fn whatever_macs_a_device_wants_its_tunnel_for_it_is_for_its_own() {
    let mut world = world(1);
    for wanted in [vec![], vec![11, 12], vec![ITS_MAC, 11]] {
        world.node(PHONE).link.want(network(1), wanted.into_iter().map(mac).collect());
        world.run(secs(1));
        let (home, device) = ends(&world);
        assert_eq!((home.macs, device.macs), (vec![mac(ITS_MAC)], vec![mac(ITS_MAC)]));
    }
    // Nor does what else changes about the network: devices of it come and go elsewhere.
    world.connect(2, 1, 11);
    world.change(1, |facts| facts.devices.clear());
    world.run(secs(1));
    assert_eq!(world.agent(PHONE).tunnels.values().next().unwrap().macs, [mac(ITS_MAC)]);
    assert!(world.agent(PHONE).revoked.is_empty());
}

#[test]
fn a_device_is_denied_every_network_but_its_home() {
    let mut world = world(1);
    world.node(PHONE).link.want(network(2), [mac(21)].into());
    world.run(secs(1));
    assert_eq!(world.agent(PHONE).denied[&network(2)], DeniedReason::NotYours);
    assert!(!world.needed.contains(&network(2)), "its facts are nobody's business");
    // In a Hello as well.
    world.break_wire(PHONE);
    world.node(PHONE).agent.denied.clear();
    world.run(secs(5));
    assert_eq!(world.agent(PHONE).denied[&network(2)], DeniedReason::NotYours);
    ends(&world);
    assert!(world.agent(2).tunnels.is_empty() && !world.needed.contains(&network(2)));
    let gateways = world.status().gateways;
    assert_eq!(gateways.iter().find(|g| g.gateway == GatewayId(PHONE)).unwrap().wants, 1);
}

#[test]
fn what_a_device_says_of_devices_changes_nothing_about_them() {
    let mut world = world(1);
    world.connect(2, 1, 11);
    world.run(secs(1));
    world.take_events();
    let now = world.now;
    let claim = Device {
        mac: mac(11),
        network: network(1),
        connected: true,
        signal: Some(Rssi(-30)),
        at_home: false,
    };
    world.node(PHONE).link.device(claim, now);
    world.run(secs(1));
    assert_eq!(ignored(&mut world), 1);
    let there = |world: &World| {
        let found = world.status().devices.into_iter().find(|d| d.mac == mac(11)).unwrap();
        assert!(world.agent(2).evicted.is_empty(), "who has it keeps it");
        assert!(world.agent(1).tunnels.values().any(|open| open.macs == [mac(11)]));
        found.gateway
    };
    assert_eq!(there(&world), Some(GatewayId(2)));
    // In its Hello as well.
    world.break_wire(PHONE);
    world.run(secs(5));
    assert_eq!(ignored(&mut world), 1);
    assert_eq!(there(&world), Some(GatewayId(2)));
    let phone =
        world.status().gateways.into_iter().find(|g| g.gateway == GatewayId(PHONE)).unwrap();
    assert_eq!(phone.devices, 0);
    // Nor is the device that it is anywhere: it is there by its credential.
    assert!(world.status().devices.iter().all(|device| device.mac != mac(ITS_MAC)));
}

#[test]
fn a_device_is_never_asked_to_prepare_nor_heard_nor_reviewed() {
    let mut world = World::new(3, Default::default());
    world.add_device(PHONE, 1, ITS_MAC, 1);
    // It says that it is a gateway with room, and others hear the beacons that it says are its.
    world.node(PHONE).link.set_identity(homeward_control::link::Identity {
        boot: 77,
        software: String::new(),
        public_key: PublicKey([PHONE as u8; 32]),
        home: true,
        prepared_max: 1000,
        bssids: vec![bssid(PHONE)],
        carries_logins: true,
        path_keys: vec![],
        legs_max: 3,
    });
    world.run(secs(1));
    assert_eq!(ignored(&mut world), 1);
    world.hear(2, &[(PHONE, -40), (3, -80)]);
    world.connect(2, 1, 11);
    world.run(secs(1));
    assert_eq!(world.prepared(1, 11), [3].into(), "the other neighbour is");
    assert_eq!(world.controller.carries_logins(GatewayId(PHONE)), Some(false));
    let status = world.status();
    let phone = status.gateways.iter().find(|g| g.gateway == GatewayId(PHONE)).unwrap();
    assert_eq!((phone.home, phone.prepared), (false, 0));
    let hears = &status.gateways.iter().find(|g| g.gateway == GatewayId(2)).unwrap().hears;
    assert_eq!(hears.iter().map(|(g, _)| g.0).collect::<Vec<_>>(), [3]);
    assert_eq!(world.reviewed, [1, 2, 3].map(GatewayId).into());
}

#[test]
fn what_else_only_gateways_say_is_left_aside() {
    let mut world = world(1);
    let (mac, network) = (mac(11), network(1));
    let neighbours = vec![Neighbour { bssid: bssid(2), signal: Rssi(-40) }];
    let logins = vec![HeldLogin { mac, name: "fred@example.net".parse().unwrap() }];
    let prepared = Prepared { mac, network, ready: true, reason: String::new() };
    let channel = world.status().gateways.last().unwrap().channel.unwrap();
    for message in [
        FromGateway::Neighbours(neighbours),
        FromGateway::Logins(logins),
        FromGateway::Prepared(prepared),
    ] {
        world.take_events();
        let (now, kind) = (world.now, message.kind());
        world.controller.handle_message(channel, message, now, &mut world.entropy);
        world.pump();
        assert_eq!(ignored(&mut world), 1, "{kind}");
    }
    let phone = world.status().gateways.pop().unwrap();
    assert_eq!((phone.gateway, phone.hears), (GatewayId(PHONE), vec![]));
    assert!(world.agent(PHONE).put_out.is_empty());
}

#[test]
fn a_device_is_no_networks_home_even_if_the_store_says_so() {
    let mut world = World::connected(2);
    world.add_device(PHONE, 1, ITS_MAC, 1);
    let mut identity = world.gateways[&PHONE].identity(PHONE);
    identity.home = true;
    world.node(PHONE).link.set_identity(identity);
    world.store.insert(network(7), facts(7, Some(PHONE), &[77]));
    world.run(secs(2));
    world.connect(2, 7, 77);
    world.run(secs(1));
    assert_eq!(world.agent(2).denied[&network(7)], DeniedReason::NoHomeLan);
    ends(&world);
}

#[test]
fn a_device_cannot_tell_of_tunnels_that_are_none_of_its() {
    let mut controller = Controller::new(Default::default());
    let (mut entropy, now) = (Counted(7), Instant::ORIGIN + secs(1));
    let half =
        |session| Half { session: SessionId::new(session).unwrap(), cookie: Cookie::new([1; 8]) };
    let held = |id: u64, of, side| HeldTunnel {
        tunnel: TunnelId(id),
        network: network(of),
        side,
        peer: GatewayId(1),
        local: half(10 + id as u32),
        remote: half(20 + id as u32),
        encryption: Encryption::Required,
        preshared_key: PresharedKey::new([1; 32]),
        legs: vec![],
    };
    let device = |mac| DeviceUpdate {
        mac,
        network: network(1),
        connected: true,
        signal: None,
        at_home: false,
        sequence: 1,
        age: secs(0),
    };
    let hello = Hello {
        versions: 1..=1,
        boot: 1,
        software: String::new(),
        public_key: PublicKey([9; 32]),
        endpoints: vec![],
        home: false,
        prepared_max: 0,
        bssids: vec![],
        tunnels: vec![held(1, 1, Side::Foreign), held(2, 2, Side::Foreign), held(3, 1, Side::Home)],
        devices: vec![device(mac(11))],
        wants: vec![Want { network: network(1), macs: vec![] }],
        prepared: vec![Prepare {
            mac: mac(12),
            ssid: "Home 1".parse().unwrap(),
            network: network(1),
        }],
        inner_address: None,
        carries_logins: false,
        path_keys: vec![],
        legs_max: 0,
    };
    let facts = GatewayFacts {
        id: GatewayId(PHONE),
        name: "phone-9".parse().unwrap(),
        observed: [192, 0, 2, 9].into(),
        active: true,
        device_of: Some((network(1), mac(ITS_MAC))),
    };
    controller.handle_connected(ChannelId(1), facts, hello, now, &mut entropy);
    let totals = controller.totals();
    assert_eq!((totals.halves, totals.networks, totals.devices), (1, 1, 0));
    let events: Vec<_> = std::iter::from_fn(|| controller.poll_event()).collect();
    let gateway = GatewayId(PHONE);
    assert!(events.contains(&Event::Ignored { gateway, why: Ignored::HybridDevice }));
    let said: Vec<_> = std::iter::from_fn(|| controller.poll_transmit()).collect();
    let synced = said.iter().find_map(|(_, message)| match message {
        ToGateway::Synced(named) => Some(named.clone()),
        _ => None,
    });
    assert_eq!(synced, Some(vec![TunnelId(1)]), "it may keep its own until its home is heard");
}

#[test]
fn all_legs_are_adopted_as_they_are_after_a_restart_of_the_controller() {
    for first in [1, PHONE] {
        let mut world = world(2);
        let (home, device) = ends(&world);
        world.stop_controller();
        for gateway in [1, PHONE] {
            world.cut(gateway);
        }
        world.start_controller();
        world.mend(first);
        world.run(secs(120));
        world.mend(1 + PHONE - first);
        world.run(secs(120));
        assert_eq!(ends(&world), (home, device), "{first} first");
        assert_eq!((world.agent(1).closed, world.agent(PHONE).closed), (0, 0));
        let counters = world.status().counters;
        assert_eq!((counters.adopted, counters.opened), (1, 0));
    }
}

#[test]
fn sessions_of_legs_that_wait_or_are_adopted_are_not_given_out_again() {
    let mut world = world(3);
    world.stop_controller();
    world.cut(PHONE);
    world.start_controller();
    world.run(secs(60));
    assert_eq!(world.status().totals.halves, 1);
    world.mend(PHONE);
    for number in 20..40 {
        world.add_device(number, 1, number as u8, 3);
    }
    world.run(secs(120));
    let tunnels = &world.agent(1).tunnels;
    assert_eq!(tunnels.len(), 21);
    let sessions: BTreeSet<_> =
        tunnels.values().flat_map(|open| halves(open).0).map(|half| half.session).collect();
    assert_eq!(sessions.len(), 21 * 4);
}

#[test]
fn legs_that_do_not_match_make_a_new_tunnel() {
    // The home has lost its state while the controller was away: it says what another tunnel was.
    for (number, spoil) in [
        (|open| drop(open.legs.pop())) as fn(&mut OpenTunnel),
        |open| open.legs[1].local.cookie = Cookie::new([0x77; 8]),
        |open| open.legs[1].remote.session = SessionId::new(7).unwrap(),
        |open| open.legs.swap(0, 1),
    ]
    .into_iter()
    .enumerate()
    {
        let mut world = world(2);
        let (home, _) = ends(&world);
        let mut spoilt = home.clone();
        spoil(&mut spoilt);
        let now = world.now;
        // As if the controller had said so.
        world.node(1).link.handle_message(ToGateway::Open(spoilt), now, &mut Counted(1));
        world.stop_controller();
        world.start_controller();
        world.run(secs(120));
        let (home, device) = ends(&world);
        let ((local, remote), (theirs, ours)) = (halves(&home), halves(&device));
        assert_eq!((local, remote), (ours, theirs));
        assert_eq!(world.status().counters.adopted, 0, "{number}");
    }
}

#[test]
fn another_number_of_accesses_makes_another_tunnel() {
    let mut world = world(1);
    let mut before = ends(&world).0;
    for paths in [2, 3, 0, 1] {
        world.set_paths(PHONE, paths);
        world.run(secs(5));
        let (home, device) = ends(&world);
        assert_ne!(home.tunnel, before.tunnel);
        assert_eq!((home.legs.len(), device.legs.len()), (usize::from(paths), usize::from(paths)));
        before = home;
    }
    // As many as before: it is the same, in mid-session.
    world.set_paths(PHONE, 1);
    world.run(secs(5));
    assert_eq!(ends(&world).0, before);
    // After a restart of the controller as well.
    world.stop_controller();
    world.set_paths(PHONE, 2);
    world.start_controller();
    world.run(secs(120));
    let (home, device) = ends(&world);
    assert_ne!(home.tunnel, before.tunnel);
    assert_eq!((home.legs.len(), device.legs.len()), (2, 2));
}

#[test]
fn a_change_of_the_class_reaches_both_ends_with_the_same_sessions() {
    let mut world = world(2);
    let before = ends(&world);
    let terms = Terms {
        bonding: BondingModes { mirrored: true, striped: true },
        handoff_threshold: Some(Rssi(-68)),
        ..Terms::default()
    };
    world.change(1, |facts| facts.terms = terms);
    world.run(secs(1));
    let (home, device) = ends(&world);
    assert_eq!((home.terms, device.terms), (terms, terms));
    let old = |open: OpenTunnel, terms| OpenTunnel { terms, ..open };
    assert_eq!((home, device), (old(before.0, terms), old(before.1, terms)));
    assert_eq!((world.agent(1).opened, world.agent(PHONE).opened), (1, 1));
}

#[test]
fn only_devices_are_told_where_their_home_is_in_its_own_lan_and_last() {
    let mut world = world(1);
    world.connect(2, 1, 11);
    let endpoint = |text: &str, kind| Endpoint::new(text.parse().unwrap(), kind);
    let lan =
        ["192.168.77.1:4500", "[fe80::1]:4500"].map(|text| endpoint(text, EndpointKind::Host));
    let told = endpoint("198.51.100.1:4500", EndpointKind::Told);
    world.node(1).link.set_endpoints([[lan[0], told], [lan[1], told]].concat());
    world.run(secs(1));
    let told = |world: &World, gateway| {
        let open = world.agent(gateway).foreign(network(1)).unwrap();
        open.peer.endpoints.iter().map(|known| known.address.to_string()).collect::<Vec<_>>()
    };
    let all = ["203.0.113.1:4500", "198.51.100.1:4500", "192.168.77.1:4500"];
    assert_eq!(told(&world, PHONE), all);
    assert_eq!(told(&world, 2), all[..2]);
    // With the next Hello as well.
    world.break_wire(1);
    world.run(secs(5));
    assert_eq!(
        (told(&world, PHONE), told(&world, 2)),
        (all.map(Into::into).into(), all[..2].iter().map(|s| (*s).into()).collect())
    );
}

#[test]
fn a_home_is_told_where_its_device_is_by_each_access_and_not_what_is_seen_of_its_channel() {
    use EndpointKind::{Host, Reflexive};
    let mut world = world(1);
    let endpoint = |text: &str, kind| Endpoint::new(text.parse().unwrap(), kind);
    let wifi = endpoint("198.51.100.9:40000", Reflexive);
    // A NAT may show both accesses at one address, to those who ask at different times.
    let cellular = [wifi.by(1), endpoint("100.64.0.9:1701", Host).by(1)];
    let all = [[endpoint("10.0.0.9:1701", Host), wifi], cellular].concat();
    let told = |world: &mut World| {
        world.run(secs(1));
        let home = world.agent(1).tunnels.values().find(|open| !open.legs.is_empty()).unwrap();
        home.peer.endpoints.clone()
    };
    world.node(PHONE).link.set_endpoints(all);
    // Of a LAN where a device is its home hears only if it is in it.
    assert_eq!(told(&mut world), [wifi, cellular[0]]);
    let open = world.agent(1).tunnels.values().find(|open| !open.legs.is_empty()).unwrap();
    let by = |leg| open.peer.endpoints_by(leg).collect::<Vec<_>>();
    assert_eq!((by(0), by(1), by(2)), (vec![wifi.address], vec![cellular[0].address], vec![]));
    // By cellular there is no NAT any more.
    let bare = endpoint("192.0.2.9:1701", Host).by(1);
    world.node(PHONE).link.set_endpoints(vec![wifi, bare]);
    assert_eq!(told(&mut world), [wifi, bare]);
    world.node(PHONE).link.set_endpoints(vec![]);
    assert_eq!(told(&mut world), []);
    // All that is seen is of one private network, and only one access has a NAT in front of it.
    world.node(PHONE).observed = [10, 0, 0, 9].into();
    world.break_wire(PHONE);
    world.run(secs(60));
    let own = endpoint("10.3.0.2:1701", Host);
    let box_of =
        [endpoint("10.5.0.2:1701", Reflexive).by(1), endpoint("10.4.0.2:1701", Host).by(1)];
    world.node(PHONE).link.set_endpoints([own].into_iter().chain(box_of).collect());
    assert_eq!(told(&mut world), [own, box_of[0]]);
}

#[test]
fn a_device_with_another_mac_address_has_its_tunnel_for_that_from_the_next_channel_on() {
    let mut world = world(1);
    world.node(PHONE).device_of = Some((network(1), Mac::new([2, 0, 0, 0, 0, 55])));
    world.break_wire(PHONE);
    world.run(secs(5));
    let (home, device) = ends(&world);
    assert_eq!((home.macs, device.macs), (vec![mac(55)], vec![mac(55)]));
}

#[test]
fn a_device_that_is_cut_off_or_whose_network_is_suspended_has_no_tunnel() {
    let mut world = world(1);
    world.change(1, |facts| facts.active = false);
    world.run(secs(1));
    assert!(world.agent(1).tunnels.is_empty() && world.agent(PHONE).tunnels.is_empty());
    world.change(1, |facts| facts.active = true);
    // It was told that it is entitled no longer, and comes again.
    world.break_wire(PHONE);
    world.run(secs(5));
    ends(&world);
    world.node(PHONE).active = false;
    let now = world.now;
    world.controller.handle_gateway_suspended(GatewayId(PHONE), now, &mut world.entropy);
    world.run(secs(1));
    assert!(world.agent(1).tunnels.is_empty());
}
