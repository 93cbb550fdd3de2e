//! What one gateway, or many, can make the controller hold.

use homeward_control::controller::{
    Action, ChannelId, Event, GatewayFacts, Ignored, Lost, Settings, Totals,
};
use homeward_control::testing::Counted;
use homeward_control::{
    Controller, Cookie, DeniedReason, DeviceUpdate, FromGateway, GoodbyeReason, Half, HeldTunnel,
    Hello, Neighbour, PresharedKey, PublicKey, SessionId, Side, ToGateway, TunnelId, Want,
};
use homeward_model::{Encryption, Entropy, GatewayId, Instant, Mac, NetworkId, Rssi};

use crate::world::{World, facts, mac, network, secs};

/// A controller without wires.
struct Bare {
    controller: Controller,
    entropy: Counted,
    now: Instant,
}

fn hello() -> Hello {
    Hello {
        versions: 1..=1,
        boot: 1,
        software: "test".to_owned(),
        public_key: PublicKey([1; 32]),
        endpoints: vec![],
        home: true,
        prepared_max: 1000,
        bssids: vec![],
        tunnels: vec![],
        devices: vec![],
        wants: vec![],
        prepared: vec![],
        inner_address: None,
        carries_logins: false,
        path_keys: vec![],
        legs_max: 0,
    }
}

/// One end of tunnel `id` of network `network` between home 1 and foreign 2.
fn held(id: u64, network: i64, side: Side, key: u8) -> HeldTunnel {
    let number = id as u32;
    let half = |session: u32, cookie: u8| Half {
        session: SessionId::new(session).unwrap(),
        cookie: Cookie::new([cookie; 8]),
    };
    let (home, foreign) = (half(2 * number, 1), half(2 * number + 1, 2));
    let (peer, local, remote) = match side {
        Side::Home => (2, home, foreign),
        Side::Foreign => (1, foreign, home),
    };
    HeldTunnel {
        tunnel: TunnelId(id),
        network: NetworkId(network),
        side,
        peer: GatewayId(peer),
        local,
        remote,
        encryption: Encryption::Required,
        preshared_key: PresharedKey::new([key; 32]),
        legs: vec![],
    }
}

fn station(number: u32) -> Mac {
    let [a, b, c, d] = number.to_be_bytes();
    Mac::new([2, 1, a, b, c, d])
}

impl Bare {
    fn new(settings: Settings) -> Self {
        let controller = Controller::new(settings);
        Self { controller, entropy: Counted(7), now: Instant::ORIGIN + secs(1) }
    }

    fn connect(&mut self, gateway: i64, hello: Hello) -> Vec<GoodbyeReason> {
        let facts = GatewayFacts {
            id: GatewayId(gateway),
            name: format!("gw-{gateway}").parse().unwrap(),
            observed: [192, 0, 2, 1].into(),
            active: true,
            device_of: None,
        };
        let channel = ChannelId(gateway as u64);
        self.controller.handle_connected(channel, facts, hello, self.now, &mut self.entropy);
        self.goodbyes()
    }

    fn say(&mut self, gateway: i64, message: FromGateway) -> Vec<GoodbyeReason> {
        let channel = ChannelId(gateway as u64);
        self.controller.handle_message(channel, message, self.now, &mut self.entropy);
        self.goodbyes()
    }

    /// Answers for the store: every network is there, at home behind gateway 1.
    fn goodbyes(&mut self) -> Vec<GoodbyeReason> {
        let mut goodbyes = Vec::new();
        while let Some(action) = self.controller.poll_action() {
            match action {
                Action::NeedNetwork(id) => {
                    let mut facts = facts(id.0, Some(1), &[]);
                    facts.devices = (0..2000).map(station).collect();
                    self.controller.handle_network(facts, self.now, &mut self.entropy);
                }
                Action::ForgetNetwork(_)
                | Action::Review { .. }
                | Action::ReviewLogins { .. }
                | Action::SendMap { .. } => {}
                Action::Disconnect { goodbye, .. } => goodbyes.push(goodbye.reason),
            }
        }
        while self.controller.poll_transmit().is_some() {}
        goodbyes
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.controller.poll_event()).collect()
    }

    fn totals(&self) -> Totals {
        self.controller.totals()
    }
}

fn device(number: u32, network: i64) -> FromGateway {
    FromGateway::Device(DeviceUpdate {
        mac: station(number),
        network: NetworkId(network),
        connected: true,
        signal: None,
        at_home: false,
        sequence: number.into(),
        age: secs(0),
    })
}

fn want(network: i64) -> FromGateway {
    FromGateway::Want(Want { network: NetworkId(network), macs: vec![station(1)] })
}

#[test]
fn a_gateway_that_floods_is_cut_off_and_others_are_not_touched() {
    let mut bare =
        Bare::new(Settings { message_burst: 100, messages_per_second: 10, ..Settings::default() });
    bare.connect(1, hello());
    bare.connect(2, hello());
    for number in 0..99 {
        assert_eq!(bare.say(2, FromGateway::Pong(number)), []);
    }
    assert_eq!(bare.say(2, FromGateway::Pong(99)), [GoodbyeReason::Unavailable]);
    assert!(bare.events().iter().any(|e| matches!(e, Event::Lost { why: Lost::Flooding, .. })));
    assert_eq!(bare.say(1, FromGateway::Pong(0)), []);
    assert_eq!(bare.totals().connected, 1);
    assert_eq!(bare.connect(2, hello()), [GoodbyeReason::Unavailable], "nor by reconnecting");
    bare.now = bare.now + secs(1);
    assert_eq!(bare.connect(2, hello()), []);
}

#[test]
fn nothing_is_sent_over_a_channel_that_is_no_more() {
    let mut bare = Bare::new(Settings::default());
    bare.connect(1, hello());
    let (now, facts) = (
        bare.now,
        GatewayFacts {
            id: GatewayId(1),
            name: "gw-1".parse().unwrap(),
            observed: [192, 0, 2, 1].into(),
            active: true,
            device_of: None,
        },
    );
    bare.controller.handle_connected(ChannelId(9), facts, hello(), now, &mut bare.entropy);
    bare.controller.handle_lost(ChannelId(9), now, &mut bare.entropy);
    assert_eq!(bare.controller.poll_transmit(), None);
}

#[test]
fn a_list_counts_for_what_it_costs() {
    let mut bare =
        Bare::new(Settings { message_burst: 20, messages_per_second: 1, ..Settings::default() });
    bare.connect(1, hello());
    let beacons = |number| Neighbour { bssid: station(number), signal: Rssi(-50) };
    let heard: Vec<_> = (0..160).map(beacons).collect();
    assert_eq!(bare.say(1, FromGateway::Neighbours(heard.clone())), []);
    assert_eq!(bare.say(1, FromGateway::Neighbours(heard)), [GoodbyeReason::Unavailable]);
}

#[test]
fn what_cannot_be_understood_ends_the_channel() {
    let mut bare = Bare::new(Settings::default());
    bare.connect(1, hello());
    assert_eq!(bare.say(1, FromGateway::Hello(hello())), [GoodbyeReason::Protocol]);
    bare.connect(1, hello());
    let now = bare.now;
    bare.controller.handle_garbled(ChannelId(1), "want.network is missing", now, &mut bare.entropy);
    assert_eq!(bare.goodbyes(), [GoodbyeReason::Protocol]);
    assert_eq!(bare.totals().connected, 0);
}

#[test]
fn a_gateway_of_another_time_is_told_which_versions_are_spoken() {
    let mut bare = Bare::new(Settings::default());
    let reasons = bare.connect(1, Hello { versions: 2..=9, ..hello() });
    assert_eq!(reasons, [GoodbyeReason::Version]);
    assert_eq!(bare.connect(1, Hello { versions: 0..=9, ..hello() }), []);
}

#[test]
fn tunnels_wants_devices_and_networks_have_limits_each() {
    let mut bare = Bare::new(Settings {
        tunnels_per_gateway: 3,
        wants_per_gateway: 5,
        devices_per_gateway: 4,
        networks: 7,
        message_burst: 10_000,
        ..Settings::default()
    });
    bare.connect(1, hello());
    bare.connect(2, hello());
    for number in 1..=20 {
        bare.say(2, want(number));
    }
    let denied = |events: &[Event], limit| {
        let hit = |e: &&Event| matches!(e, Event::Denied { reason, .. } if *reason == limit);
        events.iter().filter(hit).count()
    };
    assert_eq!(denied(&bare.events(), DeniedReason::Limit), 17, "3 of 20");
    assert_eq!((bare.totals().tunnels, bare.totals().networks), (3, 5));
    for number in 0..20 {
        bare.say(2, device(number, 1));
    }
    let ignored = |e: &&Event| matches!(e, Event::Ignored { why: Ignored::Devices, .. });
    assert_eq!(bare.events().iter().filter(ignored).count(), 16);
    assert_eq!(bare.totals().devices, 4);
    bare.connect(3, hello());
    for number in 30..40 {
        bare.say(3, want(number));
    }
    assert_eq!(bare.totals().networks, 7);
}

#[test]
fn gateways_and_their_addresses_have_limits() {
    let mut bare = Bare::new(Settings { gateways: 3, ..Settings::default() });
    for number in 1..=3 {
        assert_eq!(bare.connect(number, hello()), []);
    }
    assert_eq!(bare.connect(4, hello()), [GoodbyeReason::Unavailable]);
    let pool = ([10, 0, 0, 0].into(), 30);
    let mut bare = Bare::new(Settings { pool, ..Settings::default() });
    assert_eq!((bare.connect(1, hello()), bare.connect(2, hello())), (vec![], vec![]));
    assert_eq!(bare.connect(3, hello()), [GoodbyeReason::Unavailable], "two hosts in a /30");
    let now = bare.now;
    bare.controller.handle_gateway_revoked(GatewayId(1), now, &mut bare.entropy);
    assert_eq!(bare.goodbyes(), [GoodbyeReason::Revoked]);
    assert_eq!(bare.connect(3, hello()), [], "an address is free again");
}

#[test]
fn devices_that_are_nowhere_are_forgotten_oldest_first_and_those_that_are_somewhere_are_not() {
    let mut bare =
        Bare::new(Settings { devices: 10, message_burst: 10_000, ..Settings::default() });
    bare.connect(1, hello());
    bare.connect(2, hello());
    for number in 0..5 {
        bare.say(2, device(number, 1));
    }
    for number in 5..200 {
        bare.say(2, device(number, 1));
        let FromGateway::Device(update) = device(number, 1) else { unreachable!() };
        bare.say(2, FromGateway::Device(DeviceUpdate { connected: false, ..update }));
        assert!(bare.totals().devices <= 10);
    }
    let status = bare.controller.status(bare.now);
    assert_eq!(status.devices.len(), 5);
    for number in 200..220 {
        bare.say(2, device(number, 1));
    }
    assert_eq!(bare.totals().devices, 10);
    assert!(
        bare.events()
            .iter()
            .any(|e| matches!(e, Event::Ignored { why: Ignored::DeviceMemory, .. }))
    );
}

#[test]
fn moves_are_remembered_between_a_bounded_number_of_gateways() {
    let mut bare = Bare::new(Settings {
        gateways: 12,
        neighbours_per_gateway: 3,
        message_burst: 10_000,
        ..Settings::default()
    });
    for gateway in 1..=12 {
        bare.connect(gateway, hello());
    }
    for round in 0..3u32 {
        for from in 1..=12 {
            for to in 1..=12 {
                let number = round * 1000 + (from * 12 + to) as u32 % 997;
                bare.say(from, device(number % 2000, 1));
                bare.now = bare.now + secs(1);
                bare.say(to, device(number % 2000, 1));
            }
        }
    }
    let totals = bare.totals();
    assert!(totals.graph_nodes <= 12 && totals.graph_edges <= 36, "{totals:?}");
    assert!(totals.graph_edges > 12);
}

/// How many of the tunnels that home 1 and foreign 2 hold are taken over, and how many are made.
fn adopted(home: Vec<HeldTunnel>, foreign: Vec<HeldTunnel>, networks: i64) -> (u64, u64) {
    let mut bare = Bare::new(Settings::default());
    bare.connect(1, Hello { tunnels: home, ..hello() });
    let want = |n| Want { network: NetworkId(n), macs: vec![station(1)] };
    let wants = (1..=networks).map(want).collect();
    bare.connect(2, Hello { tunnels: foreign, wants, ..hello() });
    let counters = bare.controller.counters();
    assert_eq!((bare.totals().tunnels, bare.totals().halves), (networks as usize, 0));
    (counters.adopted, counters.opened)
}

#[test]
fn only_what_both_ends_hold_alike_is_taken_over() {
    let ends = |change: fn(&mut HeldTunnel)| {
        let mut foreign = held(5, 1, Side::Foreign, 7);
        change(&mut foreign);
        adopted(vec![held(5, 1, Side::Home, 7)], vec![foreign], 1)
    };
    assert_eq!(ends(|_| {}), (1, 0));
    let other = || Half { session: SessionId::new(99).unwrap(), cookie: Cookie::new([1; 8]) };
    for change in [
        (|h| h.tunnel = TunnelId(6)) as fn(&mut HeldTunnel),
        |h| h.network = NetworkId(2),
        |h| h.side = Side::Home,
        |h| h.peer = GatewayId(3),
        |h| h.local.cookie = Cookie::new([9; 8]),
        |h| h.remote.cookie = Cookie::new([9; 8]),
        |h| h.preshared_key = PresharedKey::new([9; 32]),
        |h| h.encryption = Encryption::Off,
    ] {
        assert_eq!(ends(change), (0, 1));
    }
    let mut foreign = held(5, 1, Side::Foreign, 7);
    foreign.local = other();
    assert_eq!(adopted(vec![held(5, 1, Side::Home, 7)], vec![foreign], 1), (0, 1));
}

#[test]
fn two_gateways_have_one_key_even_if_they_hold_two() {
    let both = |side| vec![held(5, 1, side, 7), held(6, 2, side, 8)];
    assert_eq!(adopted(both(Side::Home), both(Side::Foreign), 2), (1, 1));
}

#[test]
fn a_gateway_cannot_hold_two_tunnels_that_receive_alike() {
    let mut twin = held(6, 2, Side::Foreign, 7);
    twin.local = held(5, 1, Side::Foreign, 7).local;
    let home = vec![held(5, 1, Side::Home, 7), held(6, 2, Side::Home, 7)];
    assert_eq!(adopted(home, vec![held(5, 1, Side::Foreign, 7), twin], 2), (1, 1));
}

/// Entropy of few values.
struct Few(Counted);

impl Entropy for Few {
    fn fill(&mut self, room: &mut [u8]) {
        self.0.fill(room);
        room.iter_mut().for_each(|octet| *octet &= 3);
    }
}

#[test]
fn no_two_tunnels_of_a_gateway_receive_with_the_same_session() {
    let mut bare = Bare::new(Settings::default());
    let mut few = Few(Counted(1));
    bare.connect(1, hello());
    bare.connect(2, hello());
    for number in 1..=100 {
        let now = bare.now;
        bare.controller.handle_message(ChannelId(2), want(number), now, &mut few);
        while let Some(Action::NeedNetwork(id)) = bare.controller.poll_action() {
            let facts = facts(id.0, Some(1), &[]);
            bare.controller.handle_network(facts, now, &mut few);
        }
    }
    let mut sessions = std::collections::BTreeSet::new();
    while let Some((channel, message)) = bare.controller.poll_transmit() {
        if let ToGateway::Open(open) = message {
            assert!(sessions.insert((channel, open.local.session)), "{open:?}");
        }
    }
    assert_eq!(sessions.len(), 200, "out of 255 each");
}

#[test]
fn what_nobody_needs_leaves_nothing_behind() {
    let mut world = World::connected(4);
    world.hear(2, &[(3, -50), (4, -60)]);
    for device in 11..=13 {
        world.connect(2, 1, device);
        world.run(secs(1));
        world.connect(3, 1, device);
        world.run(secs(1));
        world.disconnect(3, 1, device);
    }
    world.run(secs(1000));
    for gateway in 1..=4 {
        world.cut(gateway);
    }
    world.run(secs(5 * 3600));
    let totals = world.status().totals;
    let expected = Totals { devices: 3, graph_nodes: 1, graph_edges: 1, ..Totals::default() };
    assert_eq!(totals, expected, "but for what is learned of moves");
    assert!(world.status().gateways.is_empty());
}

#[test]
fn a_limit_is_asked_about_again_by_the_gateway() {
    let mut world = World::new(2, Settings { tunnels: 1, ..Settings::default() });
    world.run(secs(1));
    world.connect(2, 1, 11);
    world.store.insert(network(7), facts(7, Some(1), &[77]));
    world.connect(2, 7, 77);
    world.run(secs(1));
    assert_eq!(world.agent(2).denied[&network(7)], DeniedReason::Limit);
    assert_eq!(world.gateways[&2].link.status(world.now).denied.len(), 1);
    world.disconnect(2, 1, 11);
    world.run(secs(1));
    assert!(world.agent(2).foreign(network(7)).is_none(), "the controller does not say so");
    world.run(secs(60));
    assert!(world.agent(2).foreign(network(7)).is_some());
    assert_eq!(world.agent(2).foreign(network(7)).unwrap().macs, [mac(77)]);
}
