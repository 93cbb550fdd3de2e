//! The machine against a simulated hostapd and a simulated core, with everything that can come
//! late, fail, die or change doing so.
//!
//! ```text
//!   ops ──► Radio ──actions──► hostapd (commands: done, refused, done but unheard, late, dead)
//!             ▲   └─look-ups─► core    (database changes; answers late, or none)
//!             └──── results, stations, answers ◄──┘
//! ```
//!
//! After every step the limits hold. When the disturbances end, the world is what the database
//! and the devices make of it, and nothing else: no BSS that nobody owns, no key without
//! permission, no station without a key.

mod ops;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homeward_model::{DeviceKey, Instant, Mac, NetworkId, Rssi, Security, Ssid};
use homeward_vap::{Action, Answer, Bss, Radio, Settings, VapId, VapState};
use ops::{Op, op};
use proptest::prelude::*;
use world::{Core, DEVICES, HOME, Hostapd, NETWORKS, Outcome, Record, Report, after, mac, ssid};

fn settings() -> Settings {
    Settings {
        max_vaps: 2,
        max_devices_per_vap: 3,
        lookups_per_second: 20,
        lookup_burst: 10,
        sightings: 16,
        memory: 10,
        max_prepared: 2,
        settle: Duration::from_millis(500),
        retry_max: Duration::from_secs(8),
        stale: Duration::from_secs(300),
        forget: Duration::from_secs(200),
        home: Some(ssid(HOME)),
        ..Settings::default()
    }
}

struct World {
    radio: Radio,
    core: Core,
    hostapd: Hostapd,
    now: Instant,
    /// Stations as the machine was told.
    told: BTreeSet<(Bss, Mac)>,
    /// VAPs with a command under way, since hostapd was last lost.
    busy: BTreeMap<VapId, &'static str>,
    home_busy: bool,
    /// What the last input led to.
    actions: Vec<Action>,
    flooded: u16,
}

impl World {
    fn new() -> Self {
        let mut core = Core::default();
        for device in 0..DEVICES {
            let (network, name) = NETWORKS[usize::from(device) % NETWORKS.len()];
            core.records.insert((mac(device), ssid(name)), record(network));
        }
        let mut world = Self {
            radio: Radio::new(settings()),
            core,
            hostapd: Hostapd { alive: true, ..Hostapd::default() },
            now: after(1000),
            told: BTreeSet::new(),
            busy: BTreeMap::new(),
            home_busy: false,
            actions: Vec::new(),
            flooded: 0,
        };
        world.radio.handle_hostapd_ready(world.now);
        world.drain();
        world
    }

    fn step(&mut self, op: Op) {
        let now = self.now;
        match op {
            Op::Probe { device, network, signal } => {
                let name = ssid(NETWORKS[network].1);
                self.radio.handle_probe(mac(device), name, Some(Rssi(signal)), now);
            }
            Op::Join { device, network } => {
                let name = ssid(NETWORKS[network].1);
                self.radio.handle_probe(mac(device), name, None, now);
                self.drain();
                self.settle();
                for slot in [None, Some(0), Some(1), Some(2)] {
                    self.hostapd.connect(slot, mac(device));
                }
                self.settle();
            }
            Op::Prepare { device, network } => {
                self.radio.handle_prepare(mac(device), ssid(NETWORKS[network].1), now);
            }
            Op::Withdraw { device, network } => {
                self.radio.handle_withdraw(mac(device), ssid(NETWORKS[network].1), now);
            }
            Op::Flood { macs } => {
                for _ in 0..macs {
                    self.flooded += 1;
                    let [high, low] = self.flooded.to_be_bytes();
                    let invented = Mac::new([6, 6, 6, 6, high, low]);
                    self.radio.handle_probe(invented, ssid("acacia"), None, now);
                }
            }
            Op::Look { which, unreachable } => self.look(which, unreachable),
            Op::Answer { which } => self.answer(which),
            Op::Execute { outcome } => {
                self.hostapd.execute(outcome);
            }
            Op::Report => self.report(),
            Op::Connect { device, slot } => self.hostapd.connect(slot, mac(device)),
            Op::Disconnect { device, slot } => {
                if let Some(bss) = self.bss(slot) {
                    self.hostapd.disconnect(bss, mac(device));
                }
            }
            Op::Mismatch { device, slot } => {
                if let Some(bss) = self.bss(slot) {
                    self.radio.handle_key_mismatch(bss, mac(device), now);
                }
            }
            Op::Enrol { device, network, session } => {
                let (id, name) = NETWORKS[network];
                let session = session.then_some(7);
                self.core
                    .records
                    .insert((mac(device), ssid(name)), Record { session, ..record(id) });
            }
            Op::Suspend { device } => self.change(device, |record| record.suspended = true),
            Op::Restore { device } => self.change(device, |record| record.suspended = false),
            Op::Rotate { device } => self.change(device, |record| record.key += 16),
            Op::Secure { network, security } => {
                self.core.security.insert(NetworkId(NETWORKS[network].0), security);
            }
            // Networks with one SSID are told apart by their number only.
            Op::Move { device, network } => {
                let (id, name) = NETWORKS[network];
                if let Some(record) = self.core.records.get_mut(&(mac(device), ssid(name))) {
                    record.network = NetworkId(id);
                }
            }
            Op::Revoke { device, network, suspend } => {
                if suspend {
                    self.change(device, |record| record.suspended = true);
                }
                self.revoke(mac(device), network.map(|network| ssid(NETWORKS[network].1)));
            }
            Op::Die { late, zombies } => {
                self.hostapd.die(late, zombies);
                self.told.clear();
                self.busy.clear();
                self.home_busy = false;
                self.radio.handle_hostapd_lost(now);
            }
            Op::Revive => self.revive(),
            Op::CoreBack => self.radio.handle_core_back(now),
            Op::Wait { ms } => {
                self.now = now + Duration::from_millis(ms);
                self.timeout();
            }
            Op::Timeout => {
                self.now = self.radio.poll_timeout().unwrap_or(now).max(now);
                self.timeout();
            }
            Op::Reconfigure { max_vaps, max_devices_per_vap, home, memory, max_prepared } => {
                let home = home.then(|| ssid(HOME));
                let settings = Settings {
                    max_vaps,
                    max_devices_per_vap,
                    home,
                    memory,
                    max_prepared,
                    ..settings()
                };
                self.radio.reconfigure(settings, now);
            }
            Op::Settle => self.settle(),
        }
        self.drain();
        self.check();
    }

    fn change(&mut self, device: u8, change: impl Fn(&mut Record)) {
        let records = self.core.records.iter_mut();
        records.filter(|((m, _), _)| *m == mac(device)).for_each(|(_, record)| change(record));
    }

    fn bss(&self, slot: Option<u16>) -> Option<Bss> {
        slot.map_or(Some(Bss::Home), |slot| self.hostapd.bsses.get(&slot).map(|a| a.vap.into()))
    }

    fn look(&mut self, which: usize, unreachable: bool) {
        if which < self.core.asked.len() {
            let (id, mac, ssid) = self.core.asked.remove(which);
            let answer =
                if unreachable { Answer::Unreachable } else { self.core.verdict(mac, ssid) };
            self.core.answered.push((id, answer));
        }
    }

    fn answer(&mut self, which: usize) {
        if which < self.core.answered.len() {
            let (id, answer) = self.core.answered.remove(which);
            self.radio.handle_answer(id, answer, self.now);
        }
    }

    fn report(&mut self) {
        let Some(report) = self.hostapd.reports.pop_front() else { return };
        let (radio, now) = (&mut self.radio, self.now);
        match report {
            Report::Added(vap, result) => {
                self.busy.remove(&vap);
                radio.handle_bss_added(vap, result, now);
            }
            Report::Set(vap, result) => {
                self.busy.remove(&vap);
                radio.handle_devices_set(vap, result, now);
            }
            Report::Removed(vap, result) => {
                self.busy.remove(&vap);
                if result.is_ok() {
                    self.told.retain(|(bss, _)| *bss != Bss::Vap(vap));
                }
                radio.handle_bss_removed(vap, result, now);
            }
            Report::HomeSet(result) => {
                self.home_busy = false;
                radio.handle_home_devices_set(result, now);
            }
            Report::Connected(bss, mac) => {
                self.told.insert((bss, mac));
                radio.handle_connected(bss, mac, now);
            }
            Report::Disconnected(bss, mac) => {
                self.told.remove(&(bss, mac));
                radio.handle_disconnected(bss, mac, now);
            }
        }
    }

    /// A revoked device that is connected, as far as the machine can know, is put out at once.
    fn revoke(&mut self, mac: Mac, name: Option<Ssid>) {
        let status = self.radio.status(self.now);
        let hit = |found: Option<Ssid>| name.is_none_or(|name| found == Some(name));
        let mut due = BTreeSet::new();
        for vap in &status.vaps {
            let connected = |d: &&_| connected(d) && d.mac == mac;
            if hit(vap.ssid) && vap.devices.iter().any(|d| connected(&d)) {
                due.extend(vap.vap.clone());
            }
        }
        let home = status.home.filter(|home| hit(Some(home.ssid)));
        if home.is_some_and(|home| {
            home.devices.iter().any(|d| d.allowed && connected(d) && d.mac == mac)
        }) {
            due.insert(Bss::Home.to_string());
        }
        for (bss, told) in &self.told {
            let Bss::Vap(vap) = bss else { continue };
            let air = self.hostapd.bsses.get(&vap.slot()).filter(|air| air.vap == *vap);
            if *told == mac && air.is_some_and(|air| hit(Some(air.ssid))) {
                assert!(due.contains(&bss.to_string()), "status does not show a station it knows");
            }
        }
        let revoked = self.radio.handle_revoked(mac, name, self.now);
        self.drain();
        for bss in &due {
            let out = |action: &Action| {
                matches!(action,
                Action::Deauthenticate { bss: b, mac: m } if b.to_string() == *bss && *m == mac)
            };
            assert!(
                self.actions.iter().any(out),
                "revoked and connected to {bss}, but not put out"
            );
        }
        assert_eq!(revoked.sessions, due.len(), "sessions counted");
    }

    fn revive(&mut self) {
        if !self.hostapd.alive {
            self.hostapd.alive = true;
            self.radio.handle_hostapd_ready(self.now);
        }
    }

    fn timeout(&mut self) {
        self.radio.handle_timeout(self.now);
        let next = self.radio.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "handle_timeout leaves work undone");
    }

    /// Hands the machine's actions to hostapd and the core.
    fn drain(&mut self) {
        while self.radio.poll_event().is_some() {}
        self.actions.clear();
        while let Some(action) = self.radio.poll_action() {
            self.actions.push(action.clone());
            if let Action::LookUp { id, mac, ssid, .. } = action {
                self.core.asked.push((id, mac, ssid));
                continue;
            }
            let settings = self.radio.settings();
            let busy = match &action {
                Action::AddBss { vap, devices, .. } => {
                    assert!(!devices.is_empty() && devices.len() <= settings.max_devices_per_vap);
                    let hostapd = &self.hostapd;
                    let asked = hostapd.commands.iter().filter_map(|command| match command {
                        Action::AddBss { vap, .. } => Some(*vap),
                        _ => None,
                    });
                    let all: BTreeSet<VapId> = asked
                        .chain(hostapd.bsses.values().map(|air| air.vap))
                        .filter(|vap| !hostapd.zombies.contains(vap))
                        .chain([*vap])
                        .collect();
                    let all = all.len();
                    assert!(all <= settings.max_vaps, "{all} VAPs");
                    Some((*vap, "add"))
                }
                Action::SetDevices { vap, devices } => {
                    assert!(!devices.is_empty());
                    Some((*vap, "set"))
                }
                Action::RemoveBss { vap } => Some((*vap, "remove")),
                Action::SetHomeDevices { .. } => {
                    assert!(!std::mem::replace(&mut self.home_busy, true), "two at a time");
                    None
                }
                Action::Deauthenticate { .. } | Action::LookUp { .. } => None,
            };
            if let Some((vap, what)) = busy {
                let other = self.busy.insert(vap, what);
                assert_eq!(other, None, "{vap} is sent {what} while that is under way");
            }
            assert!(self.hostapd.alive, "a command while hostapd is away: {action:?}");
            self.hostapd.commands.push_back(action);
        }
    }

    fn check(&self) {
        let status = self.radio.status(self.now);
        let settings = self.radio.settings();
        let served = status.memory.iter().filter(|entry| entry.served).count();
        assert!(
            status.memory.len() <= settings.memory.max(served),
            "{} entries",
            status.memory.len()
        );
        assert!(self.radio.prepared().count() <= settings.max_prepared);
        let wanted = status.vaps.iter().filter(|v| v.state != VapState::Removing).count();
        assert!(wanted <= settings.max_vaps, "{wanted} VAPs wanted");
        for vap in status.vaps.iter().filter(|vap| vap.state != VapState::Removing) {
            let members = vap.devices.iter().filter(|device| device.allowed).count();
            assert!(members >= 1 && members <= settings.max_devices_per_vap, "{members} devices");
        }
        let placed: usize = status.vaps.iter().map(|v| allowed(&v.devices)).sum();
        let home = status.home.as_ref().map_or(0, |home| allowed(&home.devices));
        assert_eq!(placed + home, served, "places and entries belong together");
    }

    /// What is under way comes to an end, and well.
    fn settle(&mut self) {
        loop {
            while !self.core.asked.is_empty() {
                self.look(0, false);
            }
            if !self.core.answered.is_empty() {
                self.answer(0);
            } else if !self.hostapd.execute(Outcome::Done) {
                if self.hostapd.reports.is_empty() {
                    break;
                }
                self.report();
            }
            self.drain();
            self.check();
        }
    }

    /// The disturbances end, and this much time passes.
    fn calm(&mut self, span: Duration) {
        self.revive();
        self.drain();
        self.settle();
        let end = self.now + span;
        while let Some(next) = self.radio.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.timeout();
            self.drain();
            self.settle();
        }
        self.now = end;
    }

    /// The world is what the database and the devices make of it.
    fn check_calm(&self) {
        let status = self.radio.status(self.now);
        let hostapd = &self.hostapd;
        assert!(hostapd.bsses.len() <= self.radio.settings().max_vaps, "too many BSSes");
        let there: BTreeSet<String> = hostapd.bsses.values().map(|a| a.vap.to_string()).collect();
        let up = status.vaps.iter().filter(|vap| vap.state == VapState::Up);
        let owned: BTreeSet<String> = up.filter_map(|vap| vap.vap.clone()).collect();
        assert_eq!(there, owned, "BSSes there and BSSes owned");
        assert_eq!(there.len(), status.vaps.len(), "VAPs neither up nor gone: {status:#?}");
        let mut networks = BTreeSet::new();
        for air in hostapd.bsses.values() {
            assert!(networks.insert(air.network), "two BSSes of one network");
            for (mac, key) in &air.keys {
                self.check_key(*mac, air.ssid, key, Some((air.network, air.security)));
            }
            let keyed = |mac: &Mac| air.keys.contains_key(mac);
            assert!(air.stations.iter().all(keyed), "a station without a key on {}", air.vap);
        }
        for (mac, key) in &hostapd.home_keys {
            self.check_key(*mac, ssid(HOME), key, None);
        }
        let keyed = |mac: &Mac| hostapd.home_keys.contains_key(mac);
        assert!(hostapd.home_stations.iter().all(keyed), "a station without a key at home");
    }

    fn check_key(&self, mac: Mac, name: Ssid, key: &DeviceKey, on: Option<(NetworkId, Security)>) {
        let Answer::Granted(grant) = self.core.verdict(mac, name) else {
            panic!("{} has a key for {name} and no permission", mac.full());
        };
        assert!(*key == grant.key, "{} has an old key for {name}", mac.full());
        match on {
            Some(on) => assert_eq!(on, (grant.network, grant.security), "{}", mac.full()),
            None => assert!(grant.at_home, "{} is not at home", mac.full()),
        }
    }
}

fn record(network: i64) -> Record {
    Record { network: NetworkId(network), key: 1, suspended: false, session: None }
}

fn connected(device: &homeward_vap::DeviceStatus) -> bool {
    device.connected_ms.is_some()
}

fn allowed(devices: &[homeward_vap::DeviceStatus]) -> usize {
    devices.iter().filter(|device| device.allowed).count()
}

fn run(ops: Vec<Op>) {
    let mut world = World::new();
    for op in ops {
        world.step(op);
    }
    // Every grant in use has been asked for again, and every back-off is over.
    world.calm(Duration::from_secs(100));
    world.check_calm();

    // All go away and none is expected: nothing is left but what was there before.
    let expected: Vec<(Mac, Ssid)> = world.radio.prepared().collect();
    for (mac, ssid) in expected {
        world.radio.handle_withdraw(mac, ssid, world.now);
        world.drain();
    }
    let bsses: Vec<(Bss, BTreeSet<Mac>)> =
        world.hostapd.bsses.values().map(|a| (a.vap.into(), a.stations.clone())).collect();
    let home = (Bss::Home, world.hostapd.home_stations.clone());
    for (bss, stations) in bsses.into_iter().chain([home]) {
        stations.into_iter().for_each(|mac| world.hostapd.disconnect(bss, mac));
    }
    world.calm(Duration::from_secs(100));
    assert_eq!(world.hostapd.bsses.len(), 0, "a BSS that nobody needs");
    world.calm(Duration::from_secs(600));
    let status = world.radio.status(world.now);
    assert_eq!(world.hostapd.home_keys, BTreeMap::new(), "a key that nobody needs");
    assert_eq!((status.memory.len(), status.vaps.len()), (0, 0), "{status:#?}");
    assert_eq!(world.radio.poll_timeout(), None, "nothing is left to wait for");

    // And one who may come is served.
    world.radio.reconfigure(settings(), world.now);
    world.core.records.insert((mac(0), ssid("acacia")), record(1));
    world.core.security.clear();
    world.step(Op::Probe { device: 0, network: 0, signal: -50 });
    world.settle();
    let served = world.hostapd.bsses.values().any(|air| air.keys.contains_key(&mac(0)));
    assert!(served, "a granted device is not served: {:#?}", world.radio.status(world.now));
}

proptest! {
    #[test]
    fn whatever_happens_the_limits_hold_and_nothing_is_orphaned(
        ops in prop::collection::vec(op(), 1..150)
    ) {
        run(ops);
    }
}
