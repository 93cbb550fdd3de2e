//! What the controller says.

use std::collections::BTreeSet;

use homeward_model::{Entropy, Instant};

use super::{Event, Held, Link, State};
use crate::codec::limits;
use crate::{
    Arrived, Denied, Evict, FromGateway, OpenTunnel, Prepare, Prepared, Revoke, Side, ToGateway,
    TunnelId, TunnelReport, TunnelState, VERSIONS, Welcome, Withdraw,
};

impl Link {
    /// A message from the controller. Whoever cannot read one skips it if it is of an unknown
    /// kind, and else closes the channel and says [`handle_lost`](Self::handle_lost).
    pub fn handle_message(&mut self, message: ToGateway, now: Instant, entropy: &mut impl Entropy) {
        match self.state {
            // Late: the channel it came over is no more.
            State::Waiting { .. } | State::Connecting { .. } => return,
            State::Greeting { welcomed: false, .. } => match message {
                ToGateway::Welcome(welcome) => return self.welcome(welcome, now, entropy),
                ToGateway::Goodbye(_) | ToGateway::Ping(_) => {}
                _ => return self.end("the controller spoke before its Welcome", now, entropy),
            },
            _ => {}
        }
        self.heard = now;
        match message {
            ToGateway::Welcome(_) => self.end("the controller said Welcome twice", now, entropy),
            ToGateway::Goodbye(goodbye) => self.goodbye(goodbye, now, entropy),
            ToGateway::Synced(tunnels) => self.synced(&tunnels.into_iter().collect(), now),
            ToGateway::Open(tunnel) => self.open(tunnel),
            ToGateway::Close(close) => self.close(close.tunnel, &close.reason),
            ToGateway::Denied(denied) => self.denied(denied, now),
            ToGateway::Arrived(arrived) => self.arrived(arrived),
            ToGateway::Prepare(prepare) => self.prepare(prepare),
            ToGateway::Withdraw(Withdraw { mac, network }) => {
                if self.prepared.remove(&(network, mac)).is_some() {
                    self.events.push_back(Event::Withdraw { mac, network });
                }
            }
            ToGateway::Evict(evict) => self.evict(evict),
            ToGateway::Revoke(revoke) => self.revoke(revoke),
            ToGateway::PutOut(mac) => self.events.push_back(Event::PutOut { mac }),
            ToGateway::Map(map) => self.events.push_back(Event::Map(map)),
            ToGateway::Ping(number) => self.say(FromGateway::Pong(number)),
        }
    }

    fn welcome(&mut self, welcome: Welcome, now: Instant, entropy: &mut dyn Entropy) {
        let State::Greeting { deadline, .. } = self.state else { return };
        if !VERSIONS.contains(&welcome.version) {
            return self.end("the controller chose a version that was not offered", now, entropy);
        }
        self.state = State::Greeting { deadline, welcomed: true };
        self.inner_address = Some(welcome.inner_address);
        self.events.push_back(Event::Connected {
            gateway: welcome.gateway,
            name: welcome.name.clone(),
            inner_address: welcome.inner_address,
            observed_address: welcome.observed_address,
            report_interval: welcome.report_interval,
            stun: welcome.stun.clone(),
            version: welcome.version,
        });
        self.welcome = Some(welcome);
    }

    /// The greeting is over. What the controller does not name is closed; what it did not hear
    /// of while there was no channel is told.
    fn synced(&mut self, named: &BTreeSet<TunnelId>, now: Instant) {
        let ours = self.tunnels.keys();
        let gone: Vec<_> = ours.filter(|id| !named.contains(id)).copied().collect();
        gone.into_iter().for_each(|id| self.close(id, "the controller does not know it"));
        if matches!(self.state, State::Greeting { .. }) {
            self.enter(State::Open, now);
            (self.attempts, self.offline, self.expired) = (0, None, false);
            (self.lost_told, self.last_goodbye, self.last_reason) = (false, None, None);
            let reports = self.reports.values().map(|(r, _)| FromGateway::Tunnel(r.clone()));
            self.transmits.extend(reports);
            if !self.neighbours.is_empty() {
                self.transmits.push_back(FromGateway::Neighbours(self.neighbours.clone()));
            }
            self.transmits.extend(self.load.map(FromGateway::Load));
            self.events.push_back(Event::Synced { tunnels: self.tunnels.len() });
        }
    }

    fn open(&mut self, tunnel: OpenTunnel) {
        let id = tunnel.tunnel;
        if tunnel.side == Side::Foreign {
            // One VAP has one tunnel; the old one's Close may be lost or on its way.
            if let Some(old) = self.foreign_tunnel(tunnel.network).filter(|old| *old != id) {
                self.close(old, "replaced by another");
            }
            if let Some(wanted) = self.wants.get_mut(&tunnel.network) {
                (wanted.denied, wanted.retry) = (None, None);
            }
        }
        if let Some(reason) = self.no_room(&tunnel) {
            return self.say(FromGateway::Tunnel(TunnelReport {
                tunnel: id,
                state: TunnelState::Failed,
                reason,
                routers: Vec::new(),
                path_mtu: None,
            }));
        }
        self.tunnels.insert(id, tunnel.clone());
        self.events.push_back(Event::Open(tunnel));
    }

    /// Why there is no room for a tunnel: a Hello must be able to name all that there are.
    fn no_room(&self, new: &OpenTunnel) -> Option<String> {
        if self.tunnels.contains_key(&new.tunnel) {
            return None;
        }
        if self.tunnels.len() >= limits::TUNNELS {
            return Some(format!("the gateway has {} tunnels already", limits::TUNNELS));
        }
        let legs: usize = self.tunnels.values().map(|tunnel| tunnel.legs.len()).sum();
        (legs + new.legs.len() > limits::HELD_LEGS)
            .then(|| format!("the gateway's tunnels have {legs} further legs already"))
    }

    fn denied(&mut self, denied: Denied, now: Instant) {
        let Denied { network, reason, message, retry_after } = denied;
        // Not wanted any more: the Unwant is on its way.
        let Some(wanted) = self.wants.get_mut(&network) else { return };
        wanted.denied = Some((reason, message.clone()));
        wanted.retry = retry_after.map(|after| now + after);
        self.events.push_back(Event::Denied { network, reason, message });
    }

    fn arrived(&mut self, Arrived { tunnel, mac }: Arrived) {
        if let Some(open) = self.tunnels.get(&tunnel) {
            let network = open.network;
            self.events.push_back(Event::Arrived { tunnel, network, mac });
        }
    }

    fn prepare(&mut self, prepare: Prepare) {
        let Prepare { mac, ssid, network } = prepare;
        let key = (network, mac);
        // It came sooner than the controller's word; the update that says so is on its way.
        if self.devices.contains_key(&key) {
            return;
        }
        if let Some(held) = self.prepared.get(&key).filter(|held| held.prepare == prepare) {
            if held.ready {
                let reason = String::new();
                self.say(FromGateway::Prepared(Prepared { mac, network, ready: true, reason }));
            }
            return;
        }
        let most = usize::try_from(self.identity.prepared_max).unwrap_or(usize::MAX);
        if !self.prepared.contains_key(&key) && self.prepared.len() >= most.min(limits::PREPARED) {
            let reason = format!("{} devices are prepared already", self.prepared.len());
            self.say(FromGateway::Prepared(Prepared { mac, network, ready: false, reason }));
            return;
        }
        self.prepared.insert(key, Held { prepare, ready: false });
        self.events.push_back(Event::Prepare { mac, ssid, network });
    }

    fn evict(&mut self, Evict { mac, network, sequence }: Evict) {
        match self.devices.get(&(network, mac)) {
            // It connected again, and the controller does not know yet.
            Some(device) if sequence != 0 && sequence < device.sequence => {}
            // The agent is to say that it is gone; for what the controller says next, it is.
            Some(_) => {
                self.devices.remove(&(network, mac));
                self.events.push_back(Event::Evict { mac, network });
            }
            // It has gone already, and the update that says so was told or is in the Hello.
            None => {}
        }
    }

    fn revoke(&mut self, Revoke { network, mac }: Revoke) {
        self.prepared.retain(|(n, m), _| *n != network || mac.is_some_and(|mac| *m != mac));
        self.events.push_back(Event::Revoke { network, mac });
    }
}
