//! Which tunnels there are to be, compared with those there are.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use homeward_model::{Anchor, Encryption, Entropy, GatewayId, Instant, Mac, NetworkId};

use super::records::{Asking, DeviceKey, End, Facts, Gateway, Network, Pair, Tunnel, Wanted, pair};
use super::{Closed, Controller, Event, Ignored};
use crate::codec::limits;
use crate::{
    Arrived, CloseTunnel, Cookie, Denied, DeniedReason, Half, Leg, OpenTunnel, Peer, PresharedKey,
    SessionId, Side, ToGateway, TunnelId, TunnelReport, Want,
};

impl Controller {
    /// What a gateway wants, all of it.
    pub(super) fn take_wants(&mut self, gateway: GatewayId, wants: Vec<Want>, now: Instant) {
        let Some(record) = self.gateways.get(&gateway) else { return };
        let wanted: BTreeSet<NetworkId> = wants.iter().map(|want| want.network).collect();
        let gone: Vec<_> = record.wants.keys().filter(|n| !wanted.contains(n)).copied().collect();
        gone.into_iter().for_each(|network| self.unwant(gateway, network));
        wants.into_iter().for_each(|want| self.want(gateway, want, now));
    }

    pub(super) fn want(&mut self, gateway: GatewayId, want: Want, now: Instant) {
        let network = want.network;
        let most = self.settings.wants_per_gateway;
        let Some(record) = self.gateways.get(&gateway) else { return };
        let device_of = record.device_of;
        if device_of.is_some_and(|(own, _)| own != network) {
            return self.say_denied(gateway, network, DeniedReason::NotYours);
        }
        let room = record.wants.contains_key(&network) || record.wants.len() < most;
        if !room || !self.need(network, gateway, now) {
            return self.say_denied(gateway, network, DeniedReason::Limit);
        }
        // Whom a hybrid device has its tunnel for is not its to say.
        let macs = if device_of.is_some() { Vec::new() } else { want.macs };
        let wanted = Wanted { macs: macs.into_iter().collect(), denied: None };
        if let Some(record) = self.gateways.get_mut(&gateway) {
            record.wants.insert(network, wanted);
        }
        if let Some(record) = self.networks.get_mut(&network) {
            record.wanters.insert(gateway);
        }
        self.mark(network, gateway);
    }

    pub(super) fn unwant(&mut self, gateway: GatewayId, network: NetworkId) {
        if let Some(record) = self.gateways.get_mut(&gateway) {
            record.wants.remove(&network);
        }
        if let Some(record) = self.networks.get_mut(&network) {
            record.wanters.remove(&gateway);
        }
        self.mark(network, gateway);
    }

    /// Makes the tunnels of all networks that something happened to what they are to be.
    pub(super) fn settle(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        while let Some((network, foreign)) = self.dirty.pop_first() {
            match foreign {
                Some(foreign) => self.reconcile(network, foreign, now, entropy),
                None => {
                    let all = self.foreigns(network).into_iter();
                    self.dirty.extend(all.map(|foreign| (network, Some(foreign))));
                }
            }
            self.forget_if_unused(network);
        }
        // A home pins a device before it is told that it has arrived.
        for key in std::mem::take(&mut self.arrivals) {
            self.say_arrived(key);
        }
    }

    /// The gateways that want a network, have its tunnel, or hold half of one.
    fn foreigns(&self, network: NetworkId) -> BTreeSet<GatewayId> {
        let Some(record) = self.networks.get(&network) else { return BTreeSet::new() };
        let halves = record.halves.iter().filter_map(|(holder, id)| {
            Some(self.gateways.get(holder)?.halves.get(id)?.foreign(*holder))
        });
        let wanters = record.wanters.iter().copied();
        wanters.chain(record.tunnels.keys().copied()).chain(halves).collect()
    }

    fn reconcile(
        &mut self,
        network: NetworkId,
        foreign: GatewayId,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        let Some(record) = self.networks.get(&network) else { return };
        let existing = record.tunnels.get(&foreign).copied();
        let wanted = record.wanters.contains(&foreign);
        let verdict = match &record.facts {
            // What there is stays, and what gateways hold waits, until the store answers.
            Facts::Pending => return,
            Facts::Missing => Err((DeniedReason::UnknownNetwork, Closed::Revoked)),
            Facts::Known(_) => entitled(record, foreign),
        };
        let (home, encryption) = match verdict {
            Ok(to_be) => to_be,
            Err((denied, closed)) => {
                existing.into_iter().for_each(|id| self.close(id, closed, now));
                self.drop_halves(network, foreign);
                if wanted {
                    self.deny(foreign, network, denied);
                }
                return;
            }
        };
        if !wanted {
            existing.into_iter().for_each(|id| self.close(id, Closed::Unwanted, now));
            // One that is still to come back may want it.
            if self.gateways.get(&foreign).is_some_and(|g| g.boot.is_some()) {
                self.drop_halves(network, foreign);
            }
            return;
        }
        let legs = self.further_legs(home, foreign);
        if let Some(id) = existing {
            let same = |t: &Tunnel| {
                t.home.gateway == home && t.encryption == encryption && t.home.legs.len() == legs
            };
            if self.tunnels.get(&id).is_some_and(same) {
                // What either still holds besides is older.
                self.drop_halves(network, foreign);
                return self.tell_both(id);
            }
            self.close(id, Closed::Changed, now);
        }
        if let Some(id) = self.adopt(network, (home, foreign), (encryption, legs), now) {
            return self.opened(id);
        }
        let home_record = self.gateways.get(&home);
        if home_record.is_none_or(|g| !g.is_connected()) {
            // If it comes back with the other half of what is held here, nothing has happened.
            if !self.waits_for(network, foreign, home) {
                self.deny(foreign, network, DeniedReason::HomeGatewayAway);
            }
            return;
        }
        self.drop_halves(network, foreign);
        if self.gateways.get(&home).is_some_and(|g| !g.home) {
            return self.deny(foreign, network, DeniedReason::NoHomeLan);
        }
        match self.create(network, (home, foreign), (encryption, legs), now, entropy) {
            Some(id) => self.opened(id),
            None => self.deny(foreign, network, DeniedReason::Limit),
        }
    }

    /// Sets up a new tunnel; `None` where there is no room for it.
    fn create(
        &mut self,
        network: NetworkId,
        (home, foreign): (GatewayId, GatewayId),
        (encryption, legs): (Encryption, usize),
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Option<TunnelId> {
        let most = self.settings.tunnels_per_gateway;
        let full = |id| self.gateways.get(&id).is_none_or(|g| g.tunnels.len() >= most);
        if self.tunnels.len() >= self.settings.tunnels || full(home) || full(foreign) {
            return None;
        }
        let id = loop {
            let id = TunnelId(number(entropy));
            if id.0 != 0 && !self.tunnels.contains_key(&id) {
                break id;
            }
        };
        let key = self.pair_key(home, foreign).unwrap_or_else(|| PresharedKey::random(entropy));
        let home = self.fresh_end(home, legs, entropy)?;
        let foreign = self.fresh_end(foreign, legs, entropy)?;
        let tunnel = Tunnel { network, encryption, home, foreign, routers: Vec::new(), since: now };
        let event = Event::TunnelOpened {
            tunnel: id,
            network,
            home: tunnel.home.gateway,
            foreign: tunnel.foreign.gateway,
        };
        self.insert(id, tunnel, key);
        self.counters.opened += 1;
        self.events.push_back(event);
        Some(id)
    }

    /// Enters a tunnel everywhere.
    pub(super) fn insert(&mut self, id: TunnelId, tunnel: Tunnel, key: PresharedKey) {
        let ends = (tunnel.home.gateway, tunnel.foreign.gateway);
        let pair = self.pairs.entry(pair(ends.0, ends.1)).or_insert(Pair { key, tunnels: 0 });
        pair.tunnels += 1;
        for end in [&tunnel.home, &tunnel.foreign] {
            if let Some(record) = self.gateways.get_mut(&end.gateway) {
                record.tunnels.insert(id);
                record.sessions.extend(end.sessions());
            }
        }
        if let Some(record) = self.networks.get_mut(&tunnel.network) {
            record.tunnels.insert(ends.1, id);
        }
        self.tunnels.insert(id, tunnel);
    }

    /// Takes a tunnel down, at both ends.
    pub(super) fn close(&mut self, id: TunnelId, why: Closed, now: Instant) {
        let Some(tunnel) = self.tunnels.remove(&id) else { return };
        let ends = (tunnel.home.gateway, tunnel.foreign.gateway);
        for end in [&tunnel.home, &tunnel.foreign] {
            if let Some(record) = self.gateways.get_mut(&end.gateway) {
                record.tunnels.remove(&id);
                for session in end.sessions() {
                    record.sessions.remove(&session);
                }
            }
            let reason = why.to_string();
            self.send(end.gateway, ToGateway::Close(CloseTunnel { tunnel: id, reason }));
        }
        if let Some(record) = self.networks.get_mut(&tunnel.network) {
            record.tunnels.remove(&ends.1);
        }
        let key = pair(ends.0, ends.1);
        if let Some(pair) = self.pairs.get_mut(&key) {
            pair.tunnels -= 1;
            if pair.tunnels == 0 {
                self.pairs.remove(&key);
            }
        }
        self.mark(tunnel.network, ends.1);
        self.counters.closed += 1;
        self.events.push_back(Event::TunnelClosed {
            tunnel: id,
            network: tunnel.network,
            home: ends.0,
            foreign: ends.1,
            why,
            lived: now.since(tunnel.since),
        });
    }

    /// A gateway's word on one of its tunnels.
    pub(super) fn report(&mut self, gateway: GatewayId, report: TunnelReport) {
        let halves = self.gateways.get_mut(&gateway).map(|g| &mut g.halves);
        if let Some(lone) = halves.and_then(|halves| halves.get_mut(&report.tunnel)) {
            lone.report = Some(report);
            return;
        }
        let side = self.tunnels.get(&report.tunnel).and_then(|t| t.side_of(gateway));
        // One that was closed a moment ago is no offence, and is not news either.
        let (Some(side), Some(tunnel)) = (side, self.tunnels.get_mut(&report.tunnel)) else {
            return self.events.push_back(Event::Ignored { gateway, why: Ignored::Tunnel });
        };
        let end = tunnel.end_mut(side);
        if end.state != Some(report.state) {
            self.events.push_back(Event::TunnelReported {
                tunnel: report.tunnel,
                gateway,
                state: report.state,
                reason: report.reason.clone(),
            });
        }
        end.state = Some(report.state);
        end.reason = report.reason;
        end.path_mtu = report.path_mtu;
        if side == Side::Home {
            tunnel.routers = report.routers;
            let (network, foreign) = (tunnel.network, tunnel.foreign.gateway);
            self.mark(network, foreign);
        }
    }

    /// A tunnel is new to its gateways, or to this process.
    fn opened(&mut self, id: TunnelId) {
        self.tell_both(id);
        let Some(tunnel) = self.tunnels.get(&id) else { return };
        let (network, foreign) = (tunnel.network, tunnel.foreign.gateway);
        if let Some(wanted) =
            self.gateways.get_mut(&foreign).and_then(|g| g.wants.get_mut(&network))
        {
            wanted.denied = None;
        }
        self.mark_arrivals(network, foreign);
    }

    /// Has it said (again) which devices are at the far end of a tunnel.
    pub(super) fn mark_arrivals(&mut self, network: NetworkId, foreign: GatewayId) {
        let Some(record) = self.gateways.get(&foreign) else { return };
        self.arrivals.extend(record.devices_of(network).map(|mac| (network, mac)));
    }

    fn say_arrived(&mut self, key: DeviceKey) {
        let (network, mac) = key;
        let Some(device) = self.devices.get(key) else { return };
        let Some(location) = device.location.filter(|at| device.is_roaming_at(*at)) else { return };
        let Some(id) = self.networks.get(&network).and_then(|n| n.tunnels.get(&location)) else {
            return;
        };
        let tunnel = *id;
        let Some(home) = self.tunnels.get(&tunnel).map(|t| t.home.gateway) else { return };
        self.send(home, ToGateway::Arrived(Arrived { tunnel, mac }));
    }

    /// Tells both ends what has changed for them.
    fn tell_both(&mut self, id: TunnelId) {
        for side in [Side::Home, Side::Foreign] {
            let Some(gateway) = self.tunnels.get(&id).map(|t| t.end(side).gateway) else { return };
            let greeting =
                |g: &Gateway| g.channel.as_ref().is_none_or(|channel| channel.greeting.is_some());
            // In a greeting, all tunnels are told at its end.
            if self.gateways.get(&gateway).is_none_or(greeting) {
                continue;
            }
            self.tell(id, gateway);
        }
    }

    /// Tells one end of a tunnel what it is, unless that is what it was told last.
    pub(super) fn tell(&mut self, id: TunnelId, gateway: GatewayId) {
        let Some(side) = self.tunnels.get(&id).and_then(|t| t.side_of(gateway)) else { return };
        let Some(open) = self.open_message(id, side) else { return };
        let message = ToGateway::Open(open);
        let mut digest = DefaultHasher::new();
        message.encode().hash(&mut digest);
        let digest = Some(digest.finish());
        let Some(end) = self.tunnels.get_mut(&id).map(|t| t.end_mut(side)) else { return };
        if end.told != digest {
            end.told = digest;
            self.send(gateway, message);
        }
    }

    fn open_message(&self, id: TunnelId, side: Side) -> Option<OpenTunnel> {
        let tunnel = self.tunnels.get(&id)?;
        let (local, remote) = (tunnel.end(side), tunnel.end(side.other()));
        let peer = self.gateways.get(&remote.gateway)?;
        let record = self.networks.get(&tunnel.network)?;
        let facts = record.known()?;
        let key = self.pairs.get(&pair(local.gateway, remote.gateway))?.key.clone();
        let halves = local.legs.iter().cloned().zip(remote.legs.iter().cloned());
        let legs = halves.enumerate().map(|(at, (local, remote))| {
            let public_key = match side {
                Side::Home => *peer.path_keys.get(at)?,
                Side::Foreign => peer.public_key,
            };
            Some(Leg { public_key, local, remote })
        });
        Some(OpenTunnel {
            tunnel: id,
            network: tunnel.network,
            side,
            peer: Peer {
                gateway: remote.gateway,
                name: peer.name.clone(),
                public_key: peer.public_key,
                preshared_key: key,
                inner_address: peer.inner,
                endpoints: peer.reachable(self.asking(local.gateway)),
            },
            encryption: tunnel.encryption,
            local: local.half.clone(),
            remote: remote.half.clone(),
            macs: self.macs(record, tunnel.network, tunnel.foreign.gateway),
            terms: facts.terms,
            routers: match side {
                Side::Home => Vec::new(),
                Side::Foreign => tunnel.routers.clone(),
            },
            legs: legs.map_while(std::convert::identity).collect(),
        })
    }

    /// A gateway as one that wants to know where another may be reached.
    fn asking(&self, gateway: GatewayId) -> Asking {
        let seen_at = self.gateways.get(&gateway).map(|own| own.observed);
        Asking { seen_at, is_device: self.is_device(gateway) }
    }

    /// The devices that may send through a tunnel: those of the network that the foreign side
    /// serves, or is to hold prepared; or the one that it is.
    fn macs(&self, record: &Network, network: NetworkId, foreign: GatewayId) -> Vec<Mac> {
        let Some(gateway) = self.gateways.get(&foreign) else { return Vec::new() };
        if let Some((own, mac)) = gateway.device_of {
            // It is there by its own credential, not as a device that some gateway serves.
            return if own == network { vec![mac] } else { Vec::new() };
        }
        let wanted = gateway.wants.get(&network).into_iter().flat_map(|w| w.macs.iter().copied());
        let there = gateway.devices_of(network).filter(|mac| {
            self.devices.get((network, *mac)).is_some_and(|d| d.is_roaming_at(foreign))
        });
        let prepared = gateway.prepared_of(network);
        let macs = wanted.chain(there).chain(prepared).filter(|mac| record.entitles(*mac));
        let macs: BTreeSet<Mac> = macs.collect();
        macs.into_iter().take(limits::MACS).collect()
    }

    /// Tells a gateway that there is no tunnel, unless it was told so.
    fn deny(&mut self, gateway: GatewayId, network: NetworkId, reason: DeniedReason) {
        let Some(record) = self.gateways.get_mut(&gateway).filter(|g| g.is_connected()) else {
            return;
        };
        let Some(wanted) = record.wants.get_mut(&network) else { return };
        if wanted.denied.replace(reason) != Some(reason) {
            self.say_denied(gateway, network, reason);
        }
    }

    fn say_denied(&mut self, gateway: GatewayId, network: NetworkId, reason: DeniedReason) {
        let retry = (reason == DeniedReason::Limit).then_some(self.settings.limit_retry);
        let message = explain(reason).to_owned();
        let denied = Denied { network, reason, message, retry_after: retry };
        self.counters.denied += 1;
        self.send(gateway, ToGateway::Denied(denied));
        self.events.push_back(Event::Denied { gateway, network, reason });
    }

    /// One end of a new tunnel; no session is twice among all that the gateway has.
    fn fresh_end(&self, id: GatewayId, legs: usize, entropy: &mut dyn Entropy) -> Option<End> {
        let record = self.gateways.get(&id)?;
        let mut halves: Vec<Half> = Vec::with_capacity(1 + legs);
        while halves.len() < 1 + legs {
            let mut octets = [0; 4];
            entropy.fill(&mut octets);
            if let Some(session) = SessionId::new(u32::from_le_bytes(octets))
                && !record.sessions.contains(&session)
                && halves.iter().all(|half| half.session != session)
            {
                halves.push(Half { session, cookie: Cookie::random(entropy) });
            }
        }
        let mut halves = halves.into_iter();
        Some(End::new(id, halves.next()?, halves.collect()))
    }
}

/// The home gateway and encryption of the tunnel that a network has at a gateway, or why it has
/// none.
fn entitled(
    record: &Network,
    foreign: GatewayId,
) -> Result<(GatewayId, Encryption), (DeniedReason, Closed)> {
    let unknown = (DeniedReason::UnknownNetwork, Closed::Revoked);
    let facts = record.known().ok_or(unknown)?;
    if !facts.active {
        return Err((DeniedReason::Suspended, Closed::Revoked));
    }
    if facts.home == Some(foreign) {
        return Err((DeniedReason::AtHome, Closed::Changed));
    }
    if facts.anchor == Anchor::Local {
        return Err((DeniedReason::LocalBreakout, Closed::Changed));
    }
    let home = facts.home.ok_or((DeniedReason::NoHomeGateway, Closed::Changed))?;
    Ok((home, facts.encryption))
}

fn number(entropy: &mut dyn Entropy) -> u64 {
    let mut octets = [0; 8];
    entropy.fill(&mut octets);
    u64::from_le_bytes(octets)
}

fn explain(reason: DeniedReason) -> &'static str {
    match reason {
        DeniedReason::UnknownNetwork => "there is no such network",
        DeniedReason::NoHomeGateway => "the network has no home gateway",
        DeniedReason::HomeGatewayAway => "the home gateway is not connected to the controller",
        DeniedReason::Suspended => "the network or its account is suspended",
        DeniedReason::Limit => "there are as many tunnels as there may be",
        DeniedReason::NoHomeLan => "the home gateway offers no LAN for the tunnel to end on",
        DeniedReason::AtHome => "this gateway is the network's home",
        DeniedReason::LocalBreakout => "the class of service has the traffic leave here",
        DeniedReason::NotYours => "a hybrid device has its home network's tunnel and no other",
        DeniedReason::Other => "",
    }
}
