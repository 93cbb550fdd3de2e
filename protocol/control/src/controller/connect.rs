//! Channels: greeted, replaced, silent, lost, and their gateways given up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homeward_model::{Entropy, GatewayId, Instant, Mac};

use super::bucket::Bucket;
use super::records::{Channel, Gateway};
use super::timers::Timer;
use super::{Action, ChannelId, Closed, Controller, Event, GatewayFacts, Ignored, Lost, Withdrawn};
use crate::{
    Goodbye, GoodbyeReason, Hello, ToGateway, TunnelId, VERSIONS, Welcome, common_version,
};

impl Controller {
    /// A gateway opened a channel and said Hello. Its older channel, if it has one, is replaced.
    pub fn handle_connected(
        &mut self,
        channel: ChannelId,
        facts: GatewayFacts,
        hello: Hello,
        now: Instant,
        entropy: &mut impl Entropy,
    ) {
        let (gateway, device_of) = (facts.id, facts.device_of);
        if let Err(goodbye) = self.admit(&facts, &hello, now) {
            self.counters.turned_away += 1;
            self.events.push_back(Event::TurnedAway { gateway, reason: goodbye.reason });
            self.actions.push_back(Action::Disconnect { channel, goodbye });
            return;
        }
        let hello = match device_of {
            Some((home, _)) => self.narrow(gateway, home, hello),
            None => hello,
        };
        let replaced = "the gateway opened another channel";
        self.disconnect(gateway, Lost::Replaced, GoodbyeReason::Replaced, replaced, now);

        let Some(record) = self.gateways.get_mut(&gateway) else { return };
        let version = common_version(&hello.versions).unwrap_or(*VERSIONS.end());
        let before = record.boot.replace(hello.boot);
        let rebooted = before.is_some_and(|boot| boot != hello.boot);
        let away = before.map(|_| now.since(record.since));
        record.name = facts.name;
        record.channel = Some(Channel {
            id: channel,
            version,
            heard: now,
            pings: 0,
            greeting: Some(Vec::new()),
        });
        record.since = now;
        record.software.clone_from(&hello.software);
        record.public_key = hello.public_key;
        record.home = hello.home;
        record.prepared_max = usize::try_from(hello.prepared_max).unwrap_or(usize::MAX);
        record.carries_logins = hello.carries_logins;
        record.observed = facts.observed;
        record.endpoints = hello.endpoints;
        record.device_of = device_of;
        record.path_keys = hello.path_keys;
        record.legs_max = usize::try_from(hello.legs_max).unwrap_or(usize::MAX);
        self.channels.insert(channel, gateway);
        self.timers.clear(Timer::Keep(gateway));
        self.timers.set(Timer::Ping(gateway), now + self.settings.ping_interval);

        self.take_bssids(gateway, hello.bssids);
        self.take_tunnels(gateway, hello.tunnels, rebooted, now);
        self.take_wants(gateway, hello.wants, now);
        self.take_devices(gateway, hello.devices, now);
        self.take_prepared(gateway, hello.prepared, now);
        self.mark_arrivals_of(gateway);
        // What it says of itself is in its partners' tunnels; where it is home, they waited.
        self.mark_networks_of(gateway);
        self.settle(now, entropy);
        self.greet(gateway, rebooted, away);
        self.review(gateway);
    }

    /// What came over a channel cannot be understood: the channel is ended.
    pub fn handle_garbled(
        &mut self,
        channel: ChannelId,
        problem: &str,
        now: Instant,
        entropy: &mut impl Entropy,
    ) {
        let Some(gateway) = self.channels.get(&channel).copied() else { return };
        self.disconnect(gateway, Lost::Protocol, GoodbyeReason::Protocol, problem, now);
        self.settle(now, entropy);
    }

    /// A channel ended. Nothing, if it was disconnected or replaced already.
    pub fn handle_lost(&mut self, channel: ChannelId, now: Instant, entropy: &mut impl Entropy) {
        if let Some(gateway) = self.channels.get(&channel).copied() {
            self.lose(gateway, Lost::Ended, now);
            self.settle(now, entropy);
        }
    }

    /// A gateway's credential was revoked, or the gateway deleted: it is cut off at once.
    pub fn handle_gateway_revoked(
        &mut self,
        gateway: GatewayId,
        now: Instant,
        entropy: &mut impl Entropy,
    ) {
        self.bar(gateway, "the gateway's credential was revoked", now, entropy);
    }

    /// A gateway was suspended: it is cut off at once.
    pub fn handle_gateway_suspended(
        &mut self,
        gateway: GatewayId,
        now: Instant,
        entropy: &mut impl Entropy,
    ) {
        self.bar(gateway, "the gateway is suspended", now, entropy);
    }

    /// Ends all channels: the process stops. Gateways go on by themselves and come back.
    pub fn handle_shutdown(&mut self, now: Instant) {
        let connected: Vec<GatewayId> = self.channels.values().copied().collect();
        for gateway in connected {
            let why = "the controller stops";
            self.disconnect(gateway, Lost::Ended, GoodbyeReason::Unavailable, why, now);
        }
    }

    /// Whether a gateway may come in; then it has a record, with an address.
    fn admit(&mut self, facts: &GatewayFacts, hello: &Hello, now: Instant) -> Result<(), Goodbye> {
        let refuse = |reason, message: String| Err(Goodbye { reason, message });
        if !facts.active {
            let message = format!("gateway {} is not in force", facts.name);
            return refuse(GoodbyeReason::Revoked, message);
        }
        if common_version(&hello.versions).is_none() {
            let (ours, theirs) = (VERSIONS, &hello.versions);
            return refuse(
                GoodbyeReason::Version,
                format!("this controller speaks versions {ours:?}, the gateway {theirs:?}"),
            );
        }
        self.make_gateway(facts, hello, now)?;
        let items = [
            hello.tunnels.len(),
            hello.devices.len(),
            hello.wants.iter().map(|w| w.macs.len() + 1).sum(),
            hello.prepared.len(),
        ];
        if self.spend(facts.id, items.into_iter().sum(), now) {
            return Ok(());
        }
        refuse(GoodbyeReason::Unavailable, "the gateway reconnects too often".to_owned())
    }

    fn make_gateway(
        &mut self,
        facts: &GatewayFacts,
        hello: &Hello,
        now: Instant,
    ) -> Result<(), Goodbye> {
        if self.gateways.contains_key(&facts.id) {
            return Ok(());
        }
        let full = |message: &str| Goodbye {
            reason: GoodbyeReason::Unavailable,
            message: message.to_owned(),
        };
        if self.gateways.len() >= self.settings.gateways {
            return Err(full("the controller has as many gateways as it may have"));
        }
        let inner = self.pool.take(facts.id, hello.inner_address);
        let inner = inner.ok_or_else(|| full("no address is left for the data plane"))?;
        let record = Gateway {
            name: facts.name.clone(),
            channel: None,
            since: now,
            boot: None,
            software: String::new(),
            public_key: hello.public_key,
            home: false,
            prepared_max: 0,
            carries_logins: false,
            observed: facts.observed,
            endpoints: Vec::new(),
            device_of: facts.device_of,
            path_keys: Vec::new(),
            legs_max: 0,
            inner,
            bssids: Vec::new(),
            wants: BTreeMap::new(),
            devices: BTreeSet::new(),
            tunnels: BTreeSet::new(),
            halves: BTreeMap::new(),
            overdue: false,
            sessions: BTreeSet::new(),
            prepared: BTreeMap::new(),
            neighbours: Vec::new(),
            neighbours_at: now,
            load: None,
            bucket: Bucket::full(self.settings.message_burst, now),
            map_at: None,
        };
        self.gateways.insert(facts.id, record);
        // Without a channel it goes again, even if it is turned away now.
        self.timers.set(Timer::Keep(facts.id), now + self.settings.keep);
        Ok(())
    }

    /// Pays for a message with that many entries; `false` where the gateway says too much.
    pub(super) fn spend(&mut self, gateway: GatewayId, entries: usize, now: Instant) -> bool {
        let (rate, burst) = (self.settings.messages_per_second, self.settings.message_burst);
        let Some(record) = self.gateways.get_mut(&gateway) else { return false };
        record.bucket.take(1 + entries / 16, rate, burst, now)
    }

    /// Says Welcome, all tunnels, Synced, and what has been waiting for it.
    fn greet(&mut self, gateway: GatewayId, rebooted: bool, away: Option<Duration>) {
        let Some(record) = self.gateways.get_mut(&gateway) else { return };
        let Some(channel) = &mut record.channel else { return };
        let later = channel.greeting.take().unwrap_or_default();
        let (id, version) = (channel.id, channel.version);
        let tunnels: Vec<TunnelId> = record.tunnels.iter().copied().collect();
        let named = record.tunnels.iter().chain(record.halves.keys()).copied().collect();
        let software = record.software.clone();
        let welcome = Welcome {
            version,
            gateway,
            name: record.name.clone(),
            inner_address: record.inner,
            observed_address: record.observed,
            report_interval: self.settings.report_interval,
            ping_interval: self.settings.ping_interval,
            stun: self.settings.stun.clone(),
        };
        self.send(gateway, ToGateway::Welcome(welcome));
        for tunnel in &tunnels {
            self.tell(*tunnel, gateway);
        }
        self.send(gateway, ToGateway::Synced(named));
        later.into_iter().for_each(|message| self.send(gateway, message));
        self.events.push_back(Event::Connected {
            gateway,
            channel: id,
            version,
            software,
            rebooted,
            away,
            tunnels: tunnels.len(),
        });
    }

    fn take_bssids(&mut self, gateway: GatewayId, bssids: Vec<Mac>) {
        let Some(record) = self.gateways.get_mut(&gateway) else { return };
        for bssid in std::mem::take(&mut record.bssids) {
            self.bssids.remove(&bssid);
        }
        for bssid in bssids {
            // Who says so first is believed: else one could draw preparations to itself.
            if self.bssids.contains_key(&bssid) {
                self.events.push_back(Event::Ignored { gateway, why: Ignored::Bssid });
                continue;
            }
            self.bssids.insert(bssid, gateway);
            record.bssids.push(bssid);
        }
    }

    /// Sends a message, if the gateway has a channel; in a greeting, after Synced.
    pub(super) fn send(&mut self, gateway: GatewayId, message: ToGateway) {
        let Some(record) = self.gateways.get_mut(&gateway) else { return };
        match &mut record.channel {
            Some(Channel { greeting: Some(later), .. }) => later.push(message),
            Some(Channel { id, .. }) => self.transmits.push_back((*id, message)),
            None => {}
        }
    }

    /// Ends a gateway's channel, if it has one.
    pub(super) fn disconnect(
        &mut self,
        gateway: GatewayId,
        why: Lost,
        reason: GoodbyeReason,
        message: &str,
        now: Instant,
    ) {
        let Some(channel) = self.lose(gateway, why, now) else { return };
        let goodbye = Goodbye { reason, message: message.to_owned() };
        self.actions.push_back(Action::Disconnect { channel, goodbye });
    }

    /// The gateway has no channel any more; it is taken to go on by itself for a time.
    fn lose(&mut self, gateway: GatewayId, why: Lost, now: Instant) -> Option<ChannelId> {
        let record = self.gateways.get_mut(&gateway)?;
        let channel = record.channel.take()?;
        let connected = now.since(record.since);
        record.since = now;
        for id in &record.tunnels {
            if let Some(tunnel) = self.tunnels.get_mut(id)
                && let Some(side) = tunnel.side_of(gateway)
            {
                tunnel.end_mut(side).told = None;
            }
        }
        self.channels.remove(&channel.id);
        self.transmits.retain(|(id, _)| *id != channel.id);
        self.timers.clear(Timer::Ping(gateway));
        self.timers.set(Timer::Keep(gateway), now + self.settings.keep);
        self.events.push_back(Event::Lost { gateway, why, connected });
        Some(channel.id)
    }

    /// A gateway that is connected has said nothing for long.
    pub(super) fn check_alive(&mut self, gateway: GatewayId, now: Instant) {
        let interval = self.settings.ping_interval;
        let Some(record) = self.gateways.get_mut(&gateway) else { return };
        let Some(channel) = &mut record.channel else { return };
        if now.since(channel.heard) >= interval.saturating_mul(3) {
            let message = "the gateway did not answer";
            let unavailable = GoodbyeReason::Unavailable;
            return self.disconnect(gateway, Lost::Silent, unavailable, message, now);
        }
        channel.pings = channel.pings.wrapping_add(1);
        let number = u64::from(channel.pings);
        self.send(gateway, ToGateway::Ping(number));
        self.timers.set(Timer::Ping(gateway), now + interval);
    }

    /// Cuts a gateway off and forgets it.
    fn bar(&mut self, gateway: GatewayId, message: &str, now: Instant, entropy: &mut dyn Entropy) {
        self.disconnect(gateway, Lost::Barred, GoodbyeReason::Revoked, message, now);
        self.give_up(gateway, Closed::Barred, now);
        self.settle(now, entropy);
    }

    /// Forgets a gateway that has no channel, with all that it had.
    pub(super) fn give_up(&mut self, gateway: GatewayId, why: Closed, now: Instant) {
        let Some(record) = self.gateways.get_mut(&gateway).filter(|g| !g.is_connected()) else {
            return;
        };
        let tunnels: Vec<_> = record.tunnels.iter().copied().collect();
        let wants: Vec<_> = record.wants.keys().copied().collect();
        let halves: Vec<_> = record.halves.keys().copied().collect();
        let devices: Vec<_> = record.devices.iter().copied().collect();
        let prepared: Vec<_> = record.prepared.keys().copied().collect();
        let (since, inner) = (record.since, record.inner);
        self.events.push_back(Event::GivenUp { gateway, tunnels: tunnels.len() });
        tunnels.into_iter().for_each(|tunnel| self.close(tunnel, why, now));
        wants.into_iter().for_each(|network| self.unwant(gateway, network));
        halves.into_iter().for_each(|tunnel| self.drop_half(gateway, tunnel));
        devices.into_iter().for_each(|key| self.unclaim(gateway, key, since, now));
        prepared.into_iter().for_each(|key| self.withdraw(gateway, key, Withdrawn::Absent));
        self.take_bssids(gateway, Vec::new());
        self.mark_homes_of(gateway);
        self.timers.clear(Timer::Keep(gateway));
        self.timers.clear(Timer::Halves(gateway));
        self.pool.release(gateway, inner);
        self.gateways.remove(&gateway);
    }
}
