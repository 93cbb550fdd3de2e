//! The agent: the machines of the gateway, joined.
//!
//! Everything that happens arrives as an [`Input`]; everything to be done leaves as an
//! [`Output`]. There is no I/O here, so a test or a benchmark can stand for the world.

use std::collections::{BTreeMap, VecDeque};

use homeward_daemon::SystemEntropy;
use homeward_model::{Instant, LookupForm, Mac, Name, Ssid};
use homeward_radius::{
    Client, ClientEvent, ClientSettings, Code, Decision, LookupRequest, RequestId, SharedSecret,
    Transmit,
};
use homeward_vap::{Action, Answer, LookupId, Radio, Revoked, Settings};

use crate::ear::Probe;
use crate::hands::{Order, Report};
use crate::journal::Journal;

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
}

/// The gateway's machines.
pub struct Agent {
    name: Name,
    radio: Radio,
    client: Client,
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
        journal: Journal,
    ) -> Self {
        Self {
            name,
            radio: Radio::new(settings.clone()),
            client: Client::new(ClientSettings::default(), servers),
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
        }
        self.settle(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.client.handle_timeout(now, &mut self.entropy);
        self.radio.handle_timeout(now);
        self.settle(now);
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.client.poll_timeout(), self.radio.poll_timeout()].into_iter().flatten().min()
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

    /// The radio's state, for `status`.
    pub fn status(&self, now: Instant) -> homeward_vap::Status {
        self.radio.status(now)
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
                self.set_owner(owner.ssid);
                self.radio.reconfigure(self.settings.clone(), now);
                self.radio.handle_hostapd_ready(now);
            }
            Report::Lost => self.radio.handle_hostapd_lost(now),
            Report::BssAdded(vap, result) => self.radio.handle_bss_added(vap, result, now),
            Report::BssRemoved(vap, result) => self.radio.handle_bss_removed(vap, result, now),
            Report::DevicesSet(vap, result) => self.radio.handle_devices_set(vap, result, now),
            Report::HomeDevicesSet(result) => self.radio.handle_home_devices_set(result, now),
            Report::Connected(bss, mac) => self.radio.handle_connected(bss, mac, now),
            Report::Disconnected(bss, mac) => self.radio.handle_disconnected(bss, mac, now),
            Report::KeyMismatch(bss, mac) => self.radio.handle_key_mismatch(bss, mac, now),
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
                self.act(action, now);
            } else if let Some(event) = self.client.poll_event() {
                self.answered(event, now);
            } else {
                break;
            }
        }
        while let Some(transmit) = self.client.poll_transmit() {
            self.outputs.push_back(Output::Send(transmit));
        }
        while let Some(event) = self.radio.poll_event() {
            self.journal.radio(&event);
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
            Action::AddBss { vap, ssid, security, devices, idle_timeout, .. } => {
                Order::AddBss { vap, ssid, security, devices, idle_timeout }
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
