//! The agent: the machines of the gateway, joined.
//!
//! Everything that happens arrives as an [`Input`]; everything to be done leaves as an
//! [`Output`]. There is no I/O here, so a test or a benchmark can stand for the world.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use homeward_channel::keeper::News;
use homeward_control::{FromGateway, Load, Neighbour, link};
use homeward_daemon::SystemEntropy;
use homeward_model::{Anchor, Instant, LookupForm, Mac, Name, NetworkId, Ssid};
use homeward_radius::{
    Client, ClientEvent, ClientSettings, Code, Decision, LookupRequest, RequestId, SharedSecret,
    Transmit,
};
use homeward_vap::{Action, Answer, Bss, Event, LookupId, Radio, Revoked, Settings};

use crate::ear::Probe;
use crate::hands::{Order, Report, Way};
use crate::journal::Journal;
use crate::plane;
use crate::tunnels::{self, Place, Tuning, Tunnels};

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// A directed probe request was heard.
    Probe(Probe),
    /// A datagram came from a server of the core.
    Datagram {
        /// The server's place in the configuration.
        server: usize,
        /// The socket it came in on.
        socket: u16,
        /// Its octets.
        octets: Vec<u8>,
    },
    /// hostapd did something, or something became of it.
    Hostapd(Report),
    /// The data plane did something, or something became of it.
    Plane(plane::Report),
    /// The control channel to the controller.
    Channel(News),
    /// Access points that the radio hears.
    Neighbours(Vec<Neighbour>),
}

/// Something to be done.
#[derive(Debug)]
pub enum Output {
    /// Send a datagram to the core.
    Send(Transmit),
    /// Have hostapd do something.
    Order {
        /// Which hostapd it is meant for: the number its [`Report::Ready`] came with.
        epoch: u64,
        /// What.
        order: Order,
    },
    /// Have the data plane do something.
    Plane(plane::Order),
    /// Open or close the control channel.
    Channel(link::Action),
    /// Say something to the controller.
    Say(FromGateway),
    /// Tell the controller how busy the gateway is, by [`Agent::load`].
    TellLoad,
}

/// The gateway's machines.
pub struct Agent {
    name: Name,
    radio: Radio,
    client: Client,
    /// The tunnels, where there is a controller.
    tunnels: Option<Tunnels>,
    /// Of which network each connected device is.
    connected: BTreeMap<(Bss, Mac), NetworkId>,
    entropy: SystemEntropy,
    lookups: BTreeMap<RequestId, LookupId>,
    outputs: VecDeque<Output>,
    journal: Journal,
    /// The hostapd that orders are for.
    epoch: u64,
    /// The BSSID of the owner's access point, once known.
    bssid: Option<Mac>,
    /// Whether the household's devices get their keys from us.
    serve_home: bool,
    settings: Settings,
}

impl Agent {
    /// An agent named `name` (its NAS-Identifier) that asks `servers` in that order.
    pub fn new(
        name: Name,
        settings: Settings,
        serve_home: bool,
        servers: impl IntoIterator<Item = SharedSecret>,
        tunnels: Option<Tunnels>,
        journal: Journal,
    ) -> Self {
        Self {
            name,
            radio: Radio::new(settings.clone()),
            client: Client::new(ClientSettings::default(), servers),
            tunnels,
            connected: BTreeMap::new(),
            entropy: SystemEntropy::new(),
            lookups: BTreeMap::new(),
            outputs: VecDeque::new(),
            journal,
            epoch: 0,
            bssid: None,
            serve_home,
            settings,
        }
    }

    /// Takes in something that happened.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Probe(probe) => {
                self.radio.handle_probe(probe.mac, probe.ssid, probe.signal, probe.at)
            }
            Input::Datagram { server, socket, octets } => {
                self.client.handle_datagram(server, socket, &octets, now);
            }
            Input::Hostapd(report) => self.hostapd(report, now),
            Input::Plane(report) => self.tunnels(|tunnels, _| tunnels.plane(report, now)),
            Input::Neighbours(neighbours) => {
                self.tunnels(|tunnels, _| tunnels.neighbours(neighbours, now));
            }
            Input::Channel(input) => self.tunnels(|tunnels, entropy| match input {
                News::Up => tunnels.channel_up(now),
                News::Lost(reason) => tunnels.channel_lost(&reason, now, entropy),
                News::Message(message) => tunnels.message(*message, now, entropy),
            }),
        }
        self.settle(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.client.handle_timeout(now, &mut self.entropy);
        self.radio.handle_timeout(now);
        self.tunnels(|tunnels, entropy| tunnels.handle_timeout(now, entropy));
        self.settle(now);
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let tunnels = self.tunnels.as_ref().and_then(Tunnels::poll_timeout);
        [self.client.poll_timeout(), self.radio.poll_timeout(), tunnels].into_iter().flatten().min()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The core has revoked a device.
    pub fn revoke(&mut self, mac: Mac, ssid: Option<Ssid>, now: Instant) -> Revoked {
        let revoked = self.radio.handle_revoked(mac, ssid, now);
        self.settle(now);
        revoked
    }

    /// Takes new settings; what they no longer allow goes.
    pub fn reconfigure(&mut self, settings: Settings, serve_home: bool, now: Instant) {
        let owner = self.settings.home.or_else(|| self.settings.ignore.first().copied());
        self.settings = settings;
        self.serve_home = serve_home;
        self.set_owner(owner);
        self.radio.reconfigure(self.settings.clone(), now);
        self.settle(now);
    }

    /// Takes what of the tunnels may change.
    pub fn retune(&mut self, tuning: Tuning, now: Instant) {
        self.tunnels(|tunnels, _| tunnels.retune(tuning, now));
        self.settle(now);
    }

    /// The radio's state, for `status`.
    pub fn status(&self, now: Instant) -> homeward_vap::Status {
        self.radio.status(now)
    }

    /// The channel and the tunnels, for `status`; `None` where there is no controller.
    pub fn tunnel_status(&self, now: Instant) -> Option<link::Status> {
        self.tunnels.as_ref().map(|tunnels| tunnels.status(now))
    }

    /// How busy the gateway is, for the controller; the octets are the data plane's to tell.
    pub fn load(&mut self, octets_in: u64, octets_out: u64, now: Instant) {
        let status = self.radio.status(now);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let load = Load {
            devices: count(self.connected.len()),
            vaps: count(status.vaps.len()),
            vaps_max: count(self.settings.max_vaps),
            tunnels: count(self.tunnel_status(now).map_or(0, |s| s.tunnels.len())),
            octets_in,
            octets_out,
        };
        self.tunnels(|tunnels, _| tunnels.load(load, now));
        self.settle(now);
    }

    /// Which servers of the core answer.
    pub fn servers_up(&self) -> Vec<bool> {
        (0..).map_while(|server| self.client.is_up(server)).collect()
    }

    fn hostapd(&mut self, report: Report, now: Instant) {
        match report {
            Report::Ready { epoch, owner } => {
                self.epoch = epoch;
                self.bssid = Some(owner.bssid);
                self.tunnels(|tunnels, _| tunnels.bssid(owner.bssid));
                self.set_owner(owner.ssid);
                self.radio.reconfigure(self.settings.clone(), now);
                self.radio.handle_hostapd_ready(now);
                self.tunnels(|tunnels, _| tunnels.hostapd_ready());
            }
            Report::Lost => self.radio.handle_hostapd_lost(now),
            Report::BssAdded(vap, result) => self.radio.handle_bss_added(vap, result, now),
            Report::BssRemoved(vap, result) => self.radio.handle_bss_removed(vap, result, now),
            Report::DevicesSet(vap, result) => self.radio.handle_devices_set(vap, result, now),
            Report::HomeDevicesSet(result) => self.radio.handle_home_devices_set(result, now),
            Report::Connected(bss, mac) => self.radio.handle_connected(bss, mac, now),
            Report::Disconnected(bss, mac) => self.radio.handle_disconnected(bss, mac, now),
            Report::KeyMismatch(bss, mac) => self.radio.handle_key_mismatch(bss, mac, now),
            Report::Logins(logins) => self.tunnels(|tunnels, _| tunnels.logins(logins, now)),
        }
    }

    /// The owner's SSID is either served from the core or never looked up.
    fn set_owner(&mut self, ssid: Option<Ssid>) {
        self.settings.home = ssid.filter(|_| self.serve_home);
        self.settings.ignore = ssid.filter(|_| !self.serve_home).into_iter().collect();
    }

    /// Carries what one machine wants to the other, until neither wants anything.
    fn settle(&mut self, now: Instant) {
        loop {
            if let Some(action) = self.radio.poll_action() {
                let moves_bss = !matches!(action, Action::LookUp { .. });
                self.act(action, now);
                if moves_bss {
                    self.serve(now);
                }
            } else if let Some(event) = self.radio.poll_event() {
                self.journal.radio(&event);
                self.happened(&event, now);
            } else if let Some(event) = self.client.poll_event() {
                self.answered(event, now);
            } else if let Some(output) = self.tunnels.as_mut().and_then(Tunnels::poll_output) {
                self.wanted(output, now);
            } else {
                break;
            }
        }
        while let Some(transmit) = self.client.poll_transmit() {
            self.outputs.push_back(Output::Send(transmit));
        }
    }

    /// Tells the tunnels which networks have a VAP here.
    fn serve(&mut self, now: Instant) {
        let Self { radio, tunnels, .. } = self;
        if let Some(tunnels) = tunnels {
            tunnels.serve(radio.served(Anchor::Home).collect(), now);
        }
    }

    /// Tells the tunnels what happened to devices.
    fn happened(&mut self, event: &Event, now: Instant) {
        match *event {
            Event::DeviceConnected { bss, mac, .. } => {
                let Some((network, place)) = self.network_of(bss, mac) else { return };
                self.connected.insert((bss, mac), network);
                self.tunnels(|tunnels, _| tunnels.connected(network, mac, place, None, now));
            }
            Event::DeviceDisconnected { bss, mac, .. } => {
                let Some(network) = self.connected.remove(&(bss, mac)) else { return };
                self.tunnels(|tunnels, _| tunnels.disconnected(network, mac, now));
            }
            Event::Prepared { mac, ssid, .. } => {
                self.tunnels(|tunnels, _| tunnels.prepared(mac, ssid, None, now));
            }
            Event::PreparationEnded { mac, ssid, why } => {
                let why = Some(why.to_string());
                self.tunnels(|tunnels, _| tunnels.prepared(mac, ssid, why, now));
            }
            _ => {}
        }
    }

    fn network_of(&self, bss: Bss, mac: Mac) -> Option<(NetworkId, Place)> {
        match bss {
            Bss::Vap(vap) => self.radio.network_of(vap).map(|network| (network, Place::Away)),
            Bss::Home => {
                let grant = self.radio.grant(mac, self.settings.home?)?;
                Some((grant.network, Place::Home))
            }
        }
    }

    /// Does what the tunnels want.
    fn wanted(&mut self, output: tunnels::Output, now: Instant) {
        match output {
            tunnels::Output::Channel(action) => self.outputs.push_back(Output::Channel(action)),
            tunnels::Output::Send(message) => self.outputs.push_back(Output::Say(message)),
            tunnels::Output::Plane(order) => self.outputs.push_back(Output::Plane(order)),
            tunnels::Output::TellLoad => self.outputs.push_back(Output::TellLoad),
            tunnels::Output::Prepare { mac, ssid } => self.radio.handle_prepare(mac, ssid, now),
            tunnels::Output::Withdraw { mac, ssid } => self.radio.handle_withdraw(mac, ssid, now),
            tunnels::Output::Evict { network, mac } => {
                let here = self.connected.iter().filter(|((_, m), n)| *m == mac && **n == network);
                let here: Vec<Bss> = here.map(|((bss, _), _)| *bss).collect();
                for bss in here {
                    let order = Order::Deauthenticate { bss, mac };
                    self.outputs.push_back(Output::Order { epoch: self.epoch, order });
                    // That it is elsewhere is known: hostapd may have lost it already, and then
                    // would never say that it has gone.
                    self.radio.handle_disconnected(bss, mac, now);
                }
            }
            tunnels::Output::Revoke { network, mac: Some(mac) } => {
                let revoked = self.radio.handle_revoked(mac, None, now);
                tracing::info!(%network, %mac, sessions = revoked.sessions, "revoked by the controller");
            }
            tunnels::Output::Revoke { network, mac: None } => {
                let macs: BTreeSet<Mac> = self.radio.devices_of(network).collect();
                for mac in macs {
                    self.radio.handle_revoked(mac, None, now);
                }
            }
            tunnels::Output::PutOut { mac } => {
                let order = Order::PutOut { mac };
                self.outputs.push_back(Output::Order { epoch: self.epoch, order });
            }
            tunnels::Output::TellLogins => {
                let order = Order::TellLogins;
                self.outputs.push_back(Output::Order { epoch: self.epoch, order });
            }
            tunnels::Output::Told(event) => self.journal.tunnels(&event),
        }
    }

    fn tunnels(&mut self, tell: impl FnOnce(&mut Tunnels, &mut SystemEntropy)) {
        if let Some(tunnels) = &mut self.tunnels {
            tell(tunnels, &mut self.entropy);
        }
    }

    fn act(&mut self, action: Action, now: Instant) {
        let order = match action {
            Action::LookUp { id, mac, ssid, signal } => {
                let question = LookupRequest {
                    mac,
                    ssid,
                    nas_identifier: Some(self.name.as_str()),
                    bssid: self.bssid,
                    signal,
                };
                let asked = question
                    .attributes(LookupForm::Homeward)
                    .map_err(anyhow::Error::from)
                    .and_then(|list| {
                        Ok(self.client.request(
                            now,
                            &mut self.entropy,
                            Code::AccessRequest,
                            list,
                        )?)
                    });
                match asked {
                    Ok(request) => {
                        self.lookups.insert(request, id);
                    }
                    Err(error) => {
                        self.journal.not_asked(&error);
                        self.radio.handle_answer(id, Answer::Unreachable, now);
                    }
                }
                return;
            }
            Action::AddBss { vap, network, ssid, security, anchor, devices, idle_timeout } => {
                let way = match anchor {
                    Anchor::Home if self.tunnels.is_some() => Way::Home(network),
                    Anchor::Home | Anchor::Local => Way::Local,
                };
                Order::AddBss { vap, way, ssid, security, devices, idle_timeout }
            }
            Action::SetDevices { vap, devices } => Order::SetDevices { vap, devices },
            Action::SetHomeDevices { devices } => Order::SetHomeDevices { devices },
            Action::RemoveBss { vap } => Order::RemoveBss { vap },
            Action::Deauthenticate { bss, mac } => Order::Deauthenticate { bss, mac },
        };
        self.outputs.push_back(Output::Order { epoch: self.epoch, order });
    }

    fn answered(&mut self, event: ClientEvent, now: Instant) {
        self.journal.client(&event);
        let (request, answer) = match event {
            ClientEvent::Answered { id, answer } => {
                let answer = match answer.decision() {
                    Ok(Decision::Granted(grant)) => Answer::Granted(*grant),
                    Ok(Decision::Refused(refusal)) => Answer::Refused(refusal),
                    Err(error) => {
                        self.journal.unreadable(&error);
                        Answer::Unreachable
                    }
                };
                (id, answer)
            }
            ClientEvent::TimedOut { id } => (id, Answer::Unreachable),
            ClientEvent::ServerUp { .. } => {
                self.radio.handle_core_back(now);
                return;
            }
            ClientEvent::ServerDown { .. } | ClientEvent::Dropped { .. } => return,
        };
        if let Some(id) = self.lookups.remove(&request) {
            self.radio.handle_answer(id, answer, now);
        }
    }
}
