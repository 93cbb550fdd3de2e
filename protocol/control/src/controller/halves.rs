//! What gateways hold and this process does not know of: tunnels of before its start, or ones
//! that it closed while a gateway was away.
//!
//! A half waits, for [`Settings::grace`](super::Settings::grace), for the gateway at the other end
//! to come and tell the other half. If the two match, the tunnel is adopted as it is, and traffic
//! never stops. If the other gateway comes without it, or not at all, the half is dropped.

use std::collections::BTreeSet;

use homeward_model::{Encryption, GatewayId, Instant, NetworkId};

use super::records::{End, Lone, Tunnel, pair, sessions};
use super::timers::Timer;
use super::{Closed, Controller, Event};
use crate::{CloseTunnel, Half, HeldTunnel, Leg, PresharedKey, Side, ToGateway, TunnelId};

impl Controller {
    /// The tunnels that a gateway holds.
    pub(super) fn take_tunnels(
        &mut self,
        gateway: GatewayId,
        held: Vec<HeldTunnel>,
        rebooted: bool,
        now: Instant,
    ) {
        let Some(record) = self.gateways.get(&gateway) else { return };
        let old: Vec<TunnelId> = record.halves.keys().copied().collect();
        let known: Vec<TunnelId> = record.tunnels.iter().copied().collect();
        for id in old {
            self.forget_half(gateway, id);
        }
        if rebooted {
            // What it has nothing of begins anew at both ends, sequence numbers and all. One
            // that did not reboot is just told again.
            let ours = held.iter().filter(|half| self.is_ours(gateway, half));
            let has: BTreeSet<TunnelId> = ours.map(|half| half.tunnel).collect();
            let lost: Vec<TunnelId> = known.into_iter().filter(|id| !has.contains(id)).collect();
            lost.into_iter().for_each(|id| self.close(id, Closed::Rebooted, now));
        }
        for half in held {
            self.take_half(gateway, half, now);
        }
        let holds = self.gateways.get(&gateway).is_some_and(|g| !g.halves.is_empty());
        let timer = Timer::Halves(gateway);
        let overdue =
            self.gateways.get_mut(&gateway).is_some_and(|g| std::mem::take(&mut g.overdue));
        match holds {
            false => self.timers.clear(timer),
            true if overdue => self.timers.set(timer, now),
            // A gateway that reconnects again and again does not buy time.
            true => self.timers.set_first(timer, now + self.settings.grace),
        }
    }

    /// The grace is over: what is still without its other half is dropped.
    pub(super) fn drop_lone_halves(&mut self, gateway: GatewayId) {
        let Some(record) = self.gateways.get_mut(&gateway) else { return };
        if !record.is_connected() {
            // Else it would tell them again, as if for the first time.
            record.overdue = true;
            return;
        }
        let halves: Vec<TunnelId> = record.halves.keys().copied().collect();
        halves.into_iter().for_each(|id| self.drop_half(gateway, id));
    }

    /// Drops the halves of a network's tunnel at a gateway, at both ends.
    pub(super) fn drop_halves(&mut self, network: NetworkId, foreign: GatewayId) {
        for (holder, id) in self.halves_of(network, foreign) {
            self.drop_half(holder, id);
        }
    }

    pub(super) fn drop_half(&mut self, gateway: GatewayId, tunnel: TunnelId) {
        if self.forget_half(gateway, tunnel).is_none() {
            return;
        }
        let reason = "nobody has the other end".to_owned();
        self.send(gateway, ToGateway::Close(CloseTunnel { tunnel, reason }));
        self.events.push_back(Event::HalfDropped { tunnel, gateway });
    }

    /// Takes a tunnel over that both ends hold alike, if it has that many further legs.
    pub(super) fn adopt(
        &mut self,
        network: NetworkId,
        (home, foreign): (GatewayId, GatewayId),
        (encryption, legs): (Encryption, usize),
        now: Instant,
    ) -> Option<TunnelId> {
        let of_home = &self.gateways.get(&home)?.halves;
        let of_foreign = &self.gateways.get(&foreign)?.halves;
        let key = self.pairs.get(&pair(home, foreign)).map(|pair| &pair.key);
        let good = |(id, lone): &(&TunnelId, &Lone)| {
            let half = &lone.half;
            half.network == network
                && half.side == Side::Foreign
                && half.encryption == encryption
                && half.legs.len() == legs
                && key.is_none_or(|key| *key == half.preshared_key)
                && of_home.get(id).is_some_and(|other| fit((home, &other.half), (foreign, half)))
        };
        let id = *of_foreign.iter().find(good)?.0;
        let told = self.forget_half(home, id)?.report;
        let Lone { half, report } = self.forget_half(foreign, id)?;
        let of = |end: fn(&Leg) -> &Half| half.legs.iter().map(end).cloned().collect();
        let tunnel = Tunnel {
            network,
            encryption,
            home: End::new(home, half.remote.clone(), of(|leg| &leg.remote)),
            foreign: End::new(foreign, half.local.clone(), of(|leg| &leg.local)),
            routers: Vec::new(),
            since: now,
        };
        self.insert(id, tunnel, half.preshared_key.clone());
        for (gateway, report) in [(home, told), (foreign, report)] {
            report.into_iter().for_each(|report| self.report(gateway, report));
        }
        self.counters.adopted += 1;
        self.events.push_back(Event::TunnelAdopted { tunnel: id, network, home, foreign });
        // What else the two hold for this network is older.
        self.drop_halves(network, foreign);
        Some(id)
    }

    /// Whether a foreign gateway holds half a tunnel whose home may yet come and tell the other.
    pub(super) fn waits_for(
        &self,
        network: NetworkId,
        foreign: GatewayId,
        home: GatewayId,
    ) -> bool {
        let halves = self.gateways.get(&foreign).map(|g| &g.halves);
        halves.into_iter().flatten().any(|(_, Lone { half, .. })| {
            half.network == network && half.side == Side::Foreign && half.peer == home
        })
    }

    /// The key that two gateways have, or that they hold from before.
    pub(super) fn pair_key(&self, home: GatewayId, foreign: GatewayId) -> Option<PresharedKey> {
        if let Some(pair) = self.pairs.get(&pair(home, foreign)) {
            return Some(pair.key.clone());
        }
        let between = |holder: GatewayId, peer: GatewayId| {
            let mut halves = self.gateways.get(&holder)?.halves.values().map(|lone| &lone.half);
            halves.find(|half| half.peer == peer).map(|half| half.preshared_key.clone())
        };
        between(home, foreign).or_else(|| between(foreign, home))
    }

    fn take_half(&mut self, gateway: GatewayId, half: HeldTunnel, now: Instant) {
        let (id, network) = (half.tunnel, half.network);
        let Some(record) = self.gateways.get(&gateway) else { return };
        // A tunnel that is known is told again as it is to be.
        let known = self.tunnels.contains_key(&id);
        let clash = sessions(&half).any(|session| record.sessions.contains(&session));
        let full = record.halves.len() + record.tunnels.len() >= self.settings.tunnels_per_gateway;
        if known || clash || full || half.peer == gateway || !self.need(network, gateway, now) {
            return;
        }
        self.awaited.entry(half.peer).or_default().insert((network, gateway, id));
        let lone = Lone { half, report: None };
        let foreign = lone.foreign(gateway);
        if let Some(record) = self.gateways.get_mut(&gateway) {
            record.sessions.extend(sessions(&lone.half));
            record.halves.insert(id, lone);
        }
        if let Some(record) = self.networks.get_mut(&network) {
            record.halves.insert((gateway, id));
        }
        self.mark(network, foreign);
    }

    fn forget_half(&mut self, gateway: GatewayId, id: TunnelId) -> Option<Lone> {
        let record = self.gateways.get_mut(&gateway)?;
        let lone = record.halves.remove(&id)?;
        for session in sessions(&lone.half) {
            record.sessions.remove(&session);
        }
        if let Some(record) = self.networks.get_mut(&lone.half.network) {
            record.halves.remove(&(gateway, id));
        }
        if let Some(awaited) = self.awaited.get_mut(&lone.half.peer) {
            awaited.remove(&(lone.half.network, gateway, id));
            if awaited.is_empty() {
                self.awaited.remove(&lone.half.peer);
            }
        }
        self.mark(lone.half.network, lone.foreign(gateway));
        Some(lone)
    }

    fn halves_of(&self, network: NetworkId, foreign: GatewayId) -> Vec<(GatewayId, TunnelId)> {
        let Some(record) = self.networks.get(&network) else { return Vec::new() };
        let of_pair = |(holder, id): &&(GatewayId, TunnelId)| {
            let half = self.gateways.get(holder).and_then(|g| g.halves.get(id));
            half.is_some_and(|lone| lone.foreign(*holder) == foreign)
        };
        record.halves.iter().filter(of_pair).copied().collect()
    }

    /// Whether what a gateway holds is, at its end, the tunnel of that number.
    fn is_ours(&self, gateway: GatewayId, held: &HeldTunnel) -> bool {
        let Some(tunnel) = self.tunnels.get(&held.tunnel) else { return false };
        let Some(side) = tunnel.side_of(gateway) else { return false };
        let (local, remote) = (tunnel.end(side), tunnel.end(side.other()));
        held.side == side
            && held.network == tunnel.network
            && held.peer == remote.gateway
            && held.local == local.half
            && held.remote == remote.half
            && held.encryption == tunnel.encryption
            && held.legs.iter().map(|leg| &leg.local).eq(&local.legs)
            && held.legs.iter().map(|leg| &leg.remote).eq(&remote.legs)
    }
}

/// Whether two gateways hold the two ends of one tunnel.
fn fit(
    (home, of_home): (GatewayId, &HeldTunnel),
    (foreign, of_foreign): (GatewayId, &HeldTunnel),
) -> bool {
    of_home.side == Side::Home
        && of_foreign.side == Side::Foreign
        && of_home.network == of_foreign.network
        && of_home.peer == foreign
        && of_foreign.peer == home
        && of_home.encryption == of_foreign.encryption
        && of_home.preshared_key == of_foreign.preshared_key
        && of_home.local == of_foreign.remote
        && of_home.remote == of_foreign.local
        && of_home.legs.len() == of_foreign.legs.len()
        && of_home.legs.iter().zip(&of_foreign.legs).all(|(home, foreign)| {
            // The keys of both ends are told anew in any case, as that of the first leg is.
            home.local == foreign.remote && home.remote == foreign.local
        })
}
