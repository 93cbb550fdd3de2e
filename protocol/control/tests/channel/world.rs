//! A whole operator in memory: the controller, its store, gateways, and the wires between.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use homeward_control::controller::{Action, ChannelId, Event, GatewayFacts, NetworkFacts, Status};
use homeward_control::link::{self, Identity};
use homeward_control::testing::Counted;
use homeward_control::{
    Controller, ControllerSettings, CoverageMap, FromGateway, HeldLogin, Link, LinkSettings,
    PublicKey, Terms, ToGateway,
};
use homeward_model::{Anchor, Encryption, GatewayId, Instant, Mac, Nai, NetworkId};

use crate::agent::Agent;

/// The time a message takes, each way.
pub(crate) const LATENCY: Duration = Duration::from_millis(10);

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) entropy: Counted,
    pub(crate) settings: ControllerSettings,
    pub(crate) controller: Controller,
    /// Whether the controller's process runs.
    pub(crate) controller_up: bool,
    /// Whether the store answers.
    pub(crate) store_up: bool,
    /// How long it takes to.
    pub(crate) store_delay: Duration,
    pub(crate) store: BTreeMap<NetworkId, NetworkFacts>,
    /// What it is about to answer.
    answers: VecDeque<(Instant, NetworkId, Option<NetworkFacts>)>,
    pub(crate) gateways: BTreeMap<i64, Node>,
    pub(crate) events: Vec<Event>,
    /// What somebody else says may not go on anywhere.
    pub(crate) ended: BTreeSet<(NetworkId, Mac)>,
    pub(crate) ended_logins: BTreeSet<Nai>,
    /// The gateways whose devices were to be reviewed.
    pub(crate) reviewed: BTreeSet<GatewayId>,
    /// The networks that the controller has asked about and has not forgotten.
    pub(crate) needed: BTreeSet<NetworkId>,
    channels: u64,
    boots: u64,
}

/// A gateway: its link, its agent, and its wire.
pub(crate) struct Node {
    pub(crate) link: Link,
    pub(crate) agent: Agent,
    pub(crate) active: bool,
    /// Whether its network is there.
    pub(crate) online: bool,
    pub(crate) observed: IpAddr,
    /// Its home and its MAC address, if it is a hybrid device.
    pub(crate) device_of: Option<(NetworkId, Mac)>,
    /// How many accesses it has beside the first, if it is one.
    pub(crate) paths: u8,
    /// How many further legs its data plane knows of.
    pub(crate) legs_max: u32,
    boot: u64,
    /// Whether it hangs.
    frozen: bool,
    pub(crate) wire: Option<Wire>,
}

pub(crate) struct Wire {
    pub(crate) channel: ChannelId,
    /// Whether the controller has had the Hello.
    pub(crate) greeted: bool,
    pub(crate) up: VecDeque<(Instant, Vec<u8>)>,
    pub(crate) down: VecDeque<(Instant, Down)>,
}

pub(crate) enum Down {
    Connected,
    Message(Vec<u8>),
    Lost,
}

pub(crate) fn mac(number: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0, number])
}

pub(crate) fn bssid(gateway: i64) -> Mac {
    Mac::new([2, 0xb5, 0, 0, 0, gateway as u8])
}

impl Node {
    pub(crate) fn identity(&self, number: i64) -> Identity {
        identity(number, self.boot, self.device_of, self.paths, self.legs_max)
    }
}

/// What a gateway or device says of itself.
fn identity(
    number: i64,
    boot: u64,
    device_of: Option<(NetworkId, Mac)>,
    paths: u8,
    legs_max: u32,
) -> Identity {
    let gateway = device_of.is_none();
    Identity {
        boot,
        software: "homeward test".to_owned(),
        public_key: PublicKey([number as u8; 32]),
        home: gateway,
        prepared_max: if gateway { 4 } else { 0 },
        bssids: if gateway { vec![bssid(number)] } else { vec![] },
        carries_logins: number == 1,
        path_keys: (1..=paths).map(|path| path_key(number, path)).collect(),
        legs_max: if gateway { legs_max } else { 0 },
    }
}

/// The key of one of a device's accesses beside the first.
pub(crate) fn path_key(gateway: i64, path: u8) -> PublicKey {
    PublicKey([gateway as u8 ^ path << 4; 32])
}

pub(crate) fn network(number: i64) -> NetworkId {
    NetworkId(number)
}

pub(crate) fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

pub(crate) fn secs(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// An active network behind a gateway, with these devices.
pub(crate) fn facts(number: i64, home: Option<i64>, devices: &[u8]) -> NetworkFacts {
    NetworkFacts {
        network: NetworkId(number),
        ssid: format!("Home {number}").parse().unwrap(),
        home: home.map(GatewayId),
        encryption: Encryption::Required,
        terms: Terms::default(),
        devices: devices.iter().copied().map(mac).collect(),
        active: true,
        anchor: Anchor::Home,
    }
}

impl World {
    /// Gateways 1 to `gateways`; networks 1 to `gateways`, each at home behind its gateway, with
    /// devices 10n + 1 to 10n + 3.
    pub(crate) fn new(gateways: i64, settings: ControllerSettings) -> Self {
        let now = Instant::ORIGIN + secs(1);
        let mut world = Self {
            now,
            entropy: Counted(1),
            controller: Controller::new(settings.clone()),
            settings,
            controller_up: true,
            store_up: true,
            store_delay: Duration::ZERO,
            store: BTreeMap::new(),
            answers: VecDeque::new(),
            needed: BTreeSet::new(),
            gateways: BTreeMap::new(),
            events: Vec::new(),
            ended: BTreeSet::new(),
            ended_logins: BTreeSet::new(),
            reviewed: BTreeSet::new(),
            channels: 0,
            boots: 0,
        };
        for number in 1..=gateways {
            let first = 10 * number as u8;
            let devices = [first + 1, first + 2, first + 3];
            world.store.insert(network(number), facts(number, Some(number), &devices));
            world.add(number);
        }
        world
    }

    /// The same, everybody connected.
    pub(crate) fn connected(gateways: i64) -> Self {
        let mut world = Self::new(gateways, ControllerSettings::default());
        world.run(secs(1));
        world
    }

    pub(crate) fn add(&mut self, number: i64) {
        self.add_node(number, None, 0);
    }

    pub(crate) fn add_node(&mut self, number: i64, device_of: Option<(NetworkId, Mac)>, paths: u8) {
        let node = Node {
            link: Link::new(
                identity(number, 0, device_of, 0, 0),
                LinkSettings::default(),
                self.now,
            ),
            agent: Agent::new(),
            active: true,
            online: true,
            observed: IpAddr::V4(Ipv4Addr::new(203, 0, 113, number as u8)),
            device_of,
            paths,
            legs_max: 3,
            boot: 0,
            frozen: false,
            wire: None,
        };
        self.gateways.insert(number, node);
        self.start(number);
    }

    /// Its process starts anew.
    fn start(&mut self, number: i64) {
        self.boots += 1;
        let (boot, now) = (self.boots, self.now);
        let node = self.node(number);
        node.boot = boot;
        node.link = Link::new(node.identity(number), LinkSettings::default(), now);
        node.agent = Agent::new();
        let own = Ipv4Addr::new(192, 168, number as u8, 1);
        node.link.set_endpoints(vec![SocketAddr::new(own.into(), 4500).into()]);
        // As its owner has set it: it makes its tunnel whenever it runs.
        if let Some((home, _)) = node.device_of {
            node.link.want(home, BTreeSet::new());
        }
    }

    pub(crate) fn node(&mut self, number: i64) -> &mut Node {
        self.gateways.get_mut(&number).unwrap()
    }

    pub(crate) fn agent(&self, number: i64) -> &Agent {
        &self.gateways[&number].agent
    }

    pub(crate) fn status(&self) -> Status {
        self.controller.status(self.now)
    }

    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Lets what is on the wires, and what it leads to, arrive.
    pub(crate) fn land(&mut self) {
        let busy = |node: &Node| {
            node.wire.as_ref().is_some_and(|wire| !wire.up.is_empty() || !wire.down.is_empty())
        };
        while !self.answers.is_empty() || self.gateways.values().any(busy) {
            self.run(ms(1));
        }
    }

    // ---- what happens

    /// Lets time pass, and all that it brings.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        self.pump();
        while let Some(next) = self.next().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.turn();
        }
        self.now = end;
    }

    /// A device connects at a gateway; where it was, nobody notices.
    pub(crate) fn connect(&mut self, gateway: i64, number: i64, device: u8) {
        let at_home =
            self.store.get(&network(number)).is_some_and(|f| f.home == Some(GatewayId(gateway)));
        let now = self.now;
        let node = self.node(gateway);
        node.agent.connect(&mut node.link, network(number), mac(device), at_home, now);
        self.pump();
    }

    /// A gateway notices that a device has gone.
    pub(crate) fn disconnect(&mut self, gateway: i64, number: i64, device: u8) {
        let now = self.now;
        let node = self.node(gateway);
        node.agent.disconnect(&mut node.link, network(number), mac(device), now);
        self.pump();
    }

    /// What a gateway hears: other gateways, and how well.
    pub(crate) fn hear(&mut self, gateway: i64, heard: &[(i64, i8)]) {
        let neighbours = heard.iter().map(|(other, dbm)| homeward_control::Neighbour {
            bssid: bssid(*other),
            signal: homeward_model::Rssi(*dbm),
        });
        let neighbours = neighbours.collect();
        self.node(gateway).link.neighbours(neighbours);
        self.pump();
    }

    /// The store changes, and the controller is told that it did.
    pub(crate) fn change(&mut self, number: i64, change: impl FnOnce(&mut NetworkFacts)) {
        if let Some(facts) = self.store.get_mut(&network(number)) {
            change(facts);
        }
        if self.controller_up {
            self.controller.handle_network_changed(network(number), self.now);
        }
        self.pump();
    }

    /// A gateway's network goes, with what is on the wire.
    pub(crate) fn cut(&mut self, number: i64) {
        self.node(number).online = false;
        self.break_wire(number);
        self.pump();
    }

    pub(crate) fn mend(&mut self, number: i64) {
        self.node(number).online = true;
    }

    /// The wire breaks, with what is on it; both ends notice.
    pub(crate) fn break_wire(&mut self, number: i64) {
        let now = self.now;
        let node = self.gateways.get_mut(&number).unwrap();
        let Some(wire) = node.wire.take() else { return };
        if self.controller_up {
            self.controller.handle_lost(wire.channel, now, &mut self.entropy);
        }
        node.link.handle_lost("the wire broke", now, &mut self.entropy);
        self.pump();
    }

    /// A gateway loses power and starts again: it has nothing, and nobody is connected to it.
    pub(crate) fn reboot(&mut self, number: i64) {
        let now = self.now;
        if let Some(wire) = self.node(number).wire.take()
            && self.controller_up
        {
            self.controller.handle_lost(wire.channel, now, &mut self.entropy);
        }
        self.start(number);
        self.pump();
    }

    pub(crate) fn stop_controller(&mut self) {
        self.controller_up = false;
        self.answers.clear();
        for number in self.gateways.keys().copied().collect::<Vec<_>>() {
            self.break_wire(number);
        }
    }

    /// The controller's process starts: it knows nothing.
    pub(crate) fn start_controller(&mut self) {
        self.controller = Controller::new(self.settings.clone());
        self.needed.clear();
        self.controller_up = true;
    }

    // ---- the machinery

    /// The next moment at which something is due.
    fn next(&self) -> Option<Instant> {
        let live = || self.gateways.values().filter(|n| !n.frozen);
        let links = live().filter_map(|n| n.link.poll_timeout());
        let wires = live().filter_map(|n| n.wire.as_ref()).flat_map(|wire| {
            let up = wire.up.front().map(|(at, _)| *at);
            up.into_iter().chain(wire.down.front().map(|(at, _)| *at))
        });
        let controller = self.controller.poll_timeout().filter(|_| self.controller_up);
        let answers = self.answers.front().map(|(at, ..)| *at);
        links.chain(wires).chain(controller).chain(answers).min()
    }

    fn live(&self) -> Vec<i64> {
        self.gateways.iter().filter(|(_, n)| !n.frozen).map(|(number, _)| *number).collect()
    }

    fn turn(&mut self) {
        let now = self.now;
        if self.controller_up && self.controller.poll_timeout().is_some_and(|at| at <= now) {
            self.controller.handle_timeout(now, &mut self.entropy);
        }
        self.answer();
        for node in self.gateways.values_mut().filter(|n| !n.frozen) {
            if node.link.poll_timeout().is_some_and(|at| at <= now) {
                node.link.handle_timeout(now, &mut self.entropy);
            }
        }
        self.pump();
        for number in self.live() {
            self.deliver_up(number);
            self.deliver_down(number);
        }
        self.pump();
    }

    fn deliver_up(&mut self, number: i64) {
        let now = self.now;
        loop {
            let node = self.gateways.get_mut(&number).unwrap();
            let Some(wire) = &mut node.wire else { return };
            let Some((_, octets)) = wire.up.pop_front_if(|(at, _)| *at <= now) else { return };
            let message = FromGateway::decode(&octets).unwrap().unwrap();
            let (channel, greeted) = (wire.channel, std::mem::replace(&mut wire.greeted, true));
            match message {
                FromGateway::Hello(hello) if !greeted => {
                    let facts = GatewayFacts {
                        id: GatewayId(number),
                        name: format!("gw-{number}").parse().unwrap(),
                        observed: node.observed,
                        active: node.active,
                        device_of: node.device_of,
                    };
                    self.controller.handle_connected(channel, facts, hello, now, &mut self.entropy);
                }
                message => {
                    self.controller.handle_message(channel, message, now, &mut self.entropy);
                }
            }
            self.pump();
        }
    }

    fn deliver_down(&mut self, number: i64) {
        let now = self.now;
        loop {
            let node = self.gateways.get_mut(&number).unwrap();
            let Some(wire) = &mut node.wire else { return };
            let Some((_, down)) = wire.down.pop_front_if(|(at, _)| *at <= now) else { return };
            match down {
                Down::Connected => node.link.handle_connected(now),
                Down::Message(octets) => {
                    let message = ToGateway::decode(&octets).unwrap().unwrap();
                    node.link.handle_message(message, now, &mut self.entropy);
                }
                Down::Lost => {
                    node.wire = None;
                    node.link.handle_lost("the channel ended", now, &mut self.entropy);
                }
            }
            self.pump();
        }
    }

    /// Carries out what the machines have to say, until they have nothing more.
    pub(crate) fn pump(&mut self) {
        loop {
            let mut busy = self.pump_controller();
            for number in self.live() {
                busy |= self.pump_gateway(number);
            }
            if !busy {
                return;
            }
        }
    }

    fn pump_controller(&mut self) -> bool {
        let mut busy = false;
        while let Some((channel, message)) = self.controller.poll_transmit() {
            busy = true;
            self.down(channel, Down::Message(message.encode()));
        }
        while let Some(action) = self.controller.poll_action() {
            busy = true;
            match action {
                Action::NeedNetwork(network) => {
                    self.needed.insert(network);
                    if !self.store_up {
                        continue;
                    }
                    let facts = self.store.get(&network).cloned();
                    self.answers.push_back((self.now + self.store_delay, network, facts));
                    self.answer();
                }
                Action::SendMap { channel, wanted } => {
                    let problem = format!("{} regions", wanted.regions.len());
                    let map = CoverageMap { octets: vec![1, 2, 3], problem };
                    self.down(channel, Down::Message(ToGateway::Map(map).encode()));
                }
                Action::ForgetNetwork(network) => {
                    assert!(self.needed.remove(&network), "{network} was not needed");
                }
                Action::Review { gateway, devices } => {
                    self.reviewed.insert(gateway);
                    let ended = devices.into_iter().filter(|key| self.ended.contains(key));
                    ended.for_each(|key| self.controller.handle_grant_ended(gateway, key));
                }
                Action::ReviewLogins { gateway, logins, .. } => {
                    let ended = |login: &HeldLogin| self.ended_logins.contains(&login.name);
                    for login in logins.into_iter().filter(ended) {
                        assert!(self.controller.handle_login_ended(gateway, login.mac));
                    }
                }
                Action::Disconnect { channel, goodbye } => {
                    self.down(channel, Down::Message(ToGateway::Goodbye(goodbye).encode()));
                    self.down(channel, Down::Lost);
                }
            }
        }
        self.events.extend(std::iter::from_fn(|| self.controller.poll_event()));
        busy
    }

    /// What the store has to say by now.
    fn answer(&mut self) {
        let (now, entropy) = (self.now, &mut self.entropy);
        while let Some((_, network, facts)) = self.answers.pop_front_if(|(at, ..)| *at <= now) {
            match facts {
                Some(facts) => self.controller.handle_network(facts, now, entropy),
                None => self.controller.handle_network_removed(network, now, entropy),
            }
        }
    }

    fn down(&mut self, channel: ChannelId, down: Down) {
        let at = self.now + LATENCY;
        let wires = self.gateways.values_mut().filter_map(|n| n.wire.as_mut());
        if let Some(wire) = wires.into_iter().find(|wire| wire.channel == channel) {
            wire.down.push_back((at, down));
        }
    }

    fn pump_gateway(&mut self, number: i64) -> bool {
        let (now, controller_up) = (self.now, self.controller_up);
        let mut busy = false;
        let node = self.gateways.get_mut(&number).unwrap();
        while let Some(message) = node.link.poll_transmit() {
            busy = true;
            if let Some(wire) = &mut node.wire {
                wire.up.push_back((now + LATENCY, message.encode()));
            }
        }
        while let Some(event) = node.link.poll_event() {
            busy = true;
            node.agent.handle(event, &mut node.link, now);
        }
        while let Some(action) = node.link.poll_action() {
            busy = true;
            match action {
                link::Action::Connect if controller_up && node.online => {
                    self.channels += 1;
                    let channel = ChannelId(self.channels);
                    let down = VecDeque::from([(now + LATENCY, Down::Connected)]);
                    node.wire = Some(Wire { channel, greeted: false, up: VecDeque::new(), down });
                }
                link::Action::Connect => {
                    node.link.handle_lost("connection refused", now, &mut self.entropy);
                }
                link::Action::Disconnect => {
                    if let Some(wire) = node.wire.take()
                        && controller_up
                    {
                        self.controller.handle_lost(wire.channel, now, &mut self.entropy);
                    }
                }
            }
        }
        busy
    }

    /// Which gateways say that they have a device.
    pub(crate) fn holders(&self, number: i64, device: u8) -> BTreeSet<i64> {
        let key = (network(number), mac(device));
        let has = |(_, node): &(&i64, &Node)| node.agent.connected.contains(&key);
        self.gateways.iter().filter(has).map(|(number, _)| *number).collect()
    }

    /// Where a device is prepared.
    pub(crate) fn prepared(&self, number: i64, device: u8) -> BTreeSet<i64> {
        let key = (network(number), mac(device));
        let has = |(_, node): &(&i64, &Node)| node.agent.prepared.contains(&key);
        self.gateways.iter().filter(has).map(|(number, _)| *number).collect()
    }
}

impl World {
    /// A gateway loses power and starts again before the controller notices.
    pub(crate) fn reboot_unnoticed(&mut self, number: i64) {
        self.node(number).wire = None;
        self.reboot(number);
    }

    /// A gateway hangs: its wire stays, and it says nothing any more.
    pub(crate) fn freeze(&mut self, number: i64) {
        let node = self.node(number);
        node.frozen = true;
        if let Some(wire) = &mut node.wire {
            wire.up.clear();
        }
    }
}
