//! What the device's tunnel home is to be, without I/O: what the controller says of it, which
//! accesses there are, which one traffic is to go by, and how the user wants both used.

use std::collections::VecDeque;
use std::time::Duration;

use homeward_channel::keeper::News;
use homeward_control::link::{self, Identity, Link};
use homeward_control::{
    CoverageMap, LinkSettings, OpenTunnel, Seen, TunnelId, TunnelReport, TunnelState,
};
use homeward_coverage::MapError;
use homeward_dataplane::{Event as PlaneEvent, PathTurn};
use homeward_model::{BondingModes, Entropy, Instant, UnixTime};
use homeward_multipath::{Mode, PathSettings};

mod silence;
mod words;

use silence::Silences;
pub use words::{Access, Found, Notice};
pub(crate) use words::{Output, Plan, Settings, Status, Way, Ways};

use super::coverage::Coverage;
use crate::config::{Bond, Hold};

/// After how long what could not be set up is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// The machine.
#[derive(Debug)]
pub(crate) struct Homing {
    settings: Settings,
    link: Link,
    ways: Ways,
    pub(super) coverage: Coverage,
    tunnel: Option<OpenTunnel>,
    report: Option<TunnelReport>,
    /// Which accesses are known not to answer: without Wi-Fi cellular is needed, whatever is preferred.
    silences: Silences,
    given: Option<Plan>,
    /// When what could not be set up is tried again.
    retry: Option<Instant>,
    by: Option<String>,
    told: Option<(Bond, Mode)>,
    /// Where servers see each access.
    seen: Seen,
    /// Answers that were not taken yet.
    maps: VecDeque<CoverageMap>,
    outputs: VecDeque<Output>,
}

impl Homing {
    pub(crate) fn new(
        settings: Settings,
        coverage: Coverage,
        identity: Identity,
        now: Instant,
    ) -> Self {
        Self {
            settings,
            link: Link::new(identity, LinkSettings::default(), now),
            ways: Ways::default(),
            coverage,
            tunnel: None,
            report: None,
            silences: Silences::new(),
            given: None,
            retry: None,
            by: None,
            told: None,
            seen: Seen::default(),
            maps: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Which accesses there are, and which one traffic is to go by as far as nothing is foreseen.
    pub(crate) fn ways(&mut self, ways: Ways, preferred: Access, now: Instant) {
        if ways.wifi != self.ways.wifi {
            self.silences.answers(Access::Wifi);
        }
        self.coverage.usable(preferred == Access::Wifi && ways.wifi.is_some(), now);
        self.ways = ways;
        self.settle(now);
    }

    /// What the station hears, or where the device is.
    pub(crate) fn found(&mut self, found: Found, now: Instant) {
        let coverage = &mut self.coverage;
        match found {
            Found::Heard(heard) => coverage.heard(&heard, now),
            Found::Signal(bssid, rssi) => coverage.signal(bssid, rssi, now),
            Found::Fix(fix) => coverage.fix(fix, now),
        }
        self.settle(now);
    }

    /// How the user wants both accesses used.
    ///
    /// # Errors
    ///
    /// The class of service does not allow it.
    pub(crate) fn bond(&mut self, bond: Bond, now: Instant) -> Result<Mode, String> {
        if let Some(tunnel) = &self.tunnel
            && bond != Bond::Off
            && mode(bond, tunnel.terms.bonding) == Mode::Single
        {
            let allowed = tunnel.terms.bonding;
            let what = match (allowed.mirrored, allowed.striped) {
                (false, false) => "neither mirrored nor striped",
                (true, false) => "mirrored only",
                _ => "striped only",
            };
            return Err(format!("the class of service allows {what}: ask your operator for more"));
        }
        self.settings.bond = bond;
        self.told = None;
        self.settle(now);
        Ok(self.mode())
    }

    /// A map of the operator's gateways.
    ///
    /// # Errors
    ///
    /// It is none.
    pub(crate) fn map(
        &mut self,
        octets: &[u8],
        wall: UnixTime,
        now: Instant,
    ) -> Result<(), MapError> {
        self.coverage.map(octets, wall, now)?;
        self.settle(now);
        Ok(())
    }

    pub(crate) fn channel(&mut self, news: News, now: Instant, entropy: &mut impl Entropy) {
        match news {
            News::Up => self.link.handle_connected(now),
            News::Message(message) => self.link.handle_message(*message, now, entropy),
            News::Lost(reason) => self.link.handle_lost(&reason, now, entropy),
        }
        self.settle(now);
        self.ask(now, entropy);
    }

    /// What became of [`Output::Open`].
    pub(crate) fn opened(&mut self, tunnel: TunnelId, result: Result<(), String>, now: Instant) {
        match result {
            Ok(()) => self.report(tunnel, now, |report| {
                if report.state == TunnelState::Failed {
                    report.state = TunnelState::Ready;
                    report.reason.clear();
                }
            }),
            Err(reason) => {
                // It is tried again when something changes, or in a while.
                self.retry = Some(now + RETRY);
                self.report(tunnel, now, |report| {
                    report.state = TunnelState::Failed;
                    report.reason = reason;
                });
            }
        }
        self.settle(now);
    }

    pub(crate) fn plane(&mut self, event: PlaneEvent, now: Instant) {
        let interface = || self.settings.interface.clone();
        match event {
            PlaneEvent::Up { tunnel } => {
                let notice = Notice::Up { interface: interface() };
                let news = self.state() != Some(TunnelState::Up);
                self.report(TunnelId(tunnel.0), now, |report| {
                    report.state = TunnelState::Up;
                    report.reason.clear();
                });
                if news {
                    self.outputs.push_back(Output::Tell(notice));
                }
            }
            PlaneEvent::Unreachable { tunnel } => {
                let notice = Notice::Down { interface: interface() };
                let why = self.link.why_unreachable(TunnelId(tunnel.0));
                self.report(TunnelId(tunnel.0), now, |report| {
                    report.state = TunnelState::Unreachable;
                    report.reason = why;
                });
                self.outputs.push_back(Output::Tell(notice));
            }
            PlaneEvent::PathMtu { tunnel, mtu } => {
                self.report(TunnelId(tunnel.0), now, |report| report.path_mtu = Some(mtu));
            }
            PlaneEvent::Path { path, turn, .. } => {
                let Some(access) = Access::of(path) else { return };
                match turn {
                    PathTurn::Exhausted => {
                        self.outputs.push_back(Output::Tell(Notice::Quota { access }));
                    }
                    PathTurn::Dead => self.silences.silent(access, now),
                    PathTurn::Alive => {
                        if self.silences.answers(access) {
                            let notice = Notice::Access { access, works: true };
                            self.outputs.push_back(Output::Tell(notice));
                        }
                    }
                }
            }
            PlaneEvent::Gone { tunnel } => {
                self.retry = Some(now + RETRY);
                self.report(TunnelId(tunnel.0), now, |report| {
                    report.state = TunnelState::Failed;
                    report.reason = "its interface was deleted".to_owned();
                });
            }
            PlaneEvent::Mapped { interface, server, mapping } => {
                let access = self.access(interface);
                // Of an interface that is gone nothing new is believed.
                let mapping = mapping.filter(|_| access.is_some());
                let by = (interface, access.map_or(0, |access| access.path().get()));
                if let Some(endpoints) = self.seen.handle(by, server, mapping) {
                    self.link.set_endpoints(endpoints);
                }
            }
            PlaneEvent::Moved { .. } => {}
        }
        self.settle(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, entropy: &mut impl Entropy) {
        self.link.handle_timeout(now, entropy);
        self.coverage.handle_timeout(now);
        if self.retry.take_if(|at| *at <= now).is_some() {
            self.given = None;
        }
        for access in self.silences.handle_timeout(now) {
            self.outputs.push_back(Output::Tell(Notice::Access { access, works: false }));
        }
        self.settle(now);
        self.ask(now, entropy);
    }

    /// Asks the operator for the map, if that is due, and takes what it said.
    fn ask(&mut self, now: Instant, entropy: &mut impl Entropy) {
        while let Some(map) = self.maps.pop_front() {
            let map = self.coverage.answered(map, now, entropy);
            self.outputs.extend(map.map(Output::Map));
        }
        if let Some(wanted) = self.coverage.poll_question(now, entropy) {
            self.link.want_map(wanted);
            self.settle(now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let all = [self.link.poll_timeout(), self.coverage.poll_timeout(), self.retry];
        let all = all.into_iter().chain([self.silences.poll_timeout()]);
        all.into_iter().flatten().min()
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(crate) fn status(&mut self, now: Instant) -> Status {
        Status {
            interface: self.settings.interface.clone(),
            state: self.state(),
            bond: self.settings.bond,
            mode: self.mode(),
            preferred: self.preferred(),
            allowed: self.tunnel.as_ref().map(|tunnel| tunnel.terms.bonding),
            channel: self.link.status(now),
            coverage: self.coverage.status(now),
        }
    }

    /// Which access an interface is.
    pub(crate) fn access(&self, interface: u32) -> Option<Access> {
        let is = |access| self.ways.of(access).is_some_and(|way| way.index == interface);
        Access::ALL.into_iter().find(|access| is(*access))
    }

    fn state(&self) -> Option<TunnelState> {
        self.report.as_ref().map(|report| report.state)
    }

    fn mode(&self) -> Mode {
        let allowed = self.tunnel.as_ref().map(|tunnel| tunnel.terms.bonding);
        mode(self.settings.bond, allowed.unwrap_or_default())
    }

    fn report(&mut self, id: TunnelId, now: Instant, change: impl FnOnce(&mut TunnelReport)) {
        let Some(report) = self.report.as_mut().filter(|report| report.tunnel == id) else {
            return;
        };
        change(report);
        self.link.report(report.clone(), now);
    }

    /// Takes what the link says, and makes of everything what is to be.
    fn settle(&mut self, now: Instant) {
        while let Some(event) = self.link.poll_event() {
            self.told(event, now);
        }
        self.route_channel();
        while let Some(action) = self.link.poll_action() {
            self.outputs.push_back(Output::Channel(action));
        }
        while let Some(message) = self.link.poll_transmit() {
            self.outputs.push_back(Output::Say(Box::new(message)));
        }
        let notices = std::iter::from_fn(|| self.coverage.poll_notice());
        self.outputs.extend(notices.map(Output::Tell));
        let plan = self.plan(now);
        if plan.is_some() && plan != self.given {
            self.outputs.extend(plan.clone().map(|plan| Output::Open(Box::new(plan))));
            (self.given, self.retry) = (plan, None);
        }
        let (wanted, used) = (self.settings.bond, self.mode());
        let now_so = (wanted, used);
        if self.tunnel.is_some() && self.told != Some(now_so) {
            let lessened = wanted != Bond::Off && used == Mode::Single;
            if self.told.is_some() || lessened {
                self.outputs.push_back(Output::Tell(Notice::Bond { wanted, used }));
            }
            self.told = Some(now_so);
        }
    }

    fn told(&mut self, event: link::Event, now: Instant) {
        match event {
            link::Event::Connected { inner_address, stun, .. } => {
                self.outputs.push_back(Output::Address(inner_address));
                self.outputs.push_back(Output::Stun(stun));
            }
            link::Event::Open(open) => {
                if let Some(old) = self.tunnel.as_ref().filter(|old| old.tunnel != open.tunnel) {
                    // One interface has room for one tunnel.
                    self.outputs.push_back(Output::Close(old.tunnel));
                    (self.given, self.report) = (None, None);
                }
                let fresh = || TunnelReport {
                    tunnel: open.tunnel,
                    state: TunnelState::Ready,
                    reason: String::new(),
                    routers: Vec::new(),
                    path_mtu: None,
                };
                let report = self.report.get_or_insert_with(fresh).clone();
                self.link.report(report, now);
                self.coverage.threshold(open.terms.handoff_threshold, now);
                self.tunnel = Some(open);
            }
            link::Event::Close { tunnel, reason, .. }
                if self.tunnel.as_ref().is_some_and(|known| known.tunnel == tunnel) =>
            {
                tracing::info!(reason, "the tunnel home is taken down");
                (self.tunnel, self.given, self.report) = (None, None, None);
                self.outputs.push_back(Output::Close(tunnel));
                let interface = self.settings.interface.clone();
                self.outputs.push_back(Output::Tell(Notice::Down { interface }));
            }
            link::Event::Synced { .. } => self.coverage.connected(true, now),
            link::Event::Map(map) => self.maps.push_back(map),
            link::Event::Lost { reason, .. } => {
                self.coverage.connected(false, now);
                tracing::warn!(reason, "no control channel; the tunnel home goes on as it is");
            }
            link::Event::Denied { message, .. } => {
                tracing::warn!(message, "there is no tunnel home");
            }
            _ => {}
        }
    }

    /// The channel leaves by the access that traffic goes by, or by the other one.
    fn route_channel(&mut self) {
        let first =
            if self.silences.is_dead(Access::Wifi) { Access::Cellular } else { self.preferred() };
        let way = self.ways.of(first).or_else(|| self.ways.of(first.other()));
        let by = way.map(|way| way.name.clone());
        if by != self.by {
            self.by.clone_from(&by);
            self.outputs.push_back(Output::By(by));
        }
    }

    /// The access that traffic is to go by.
    fn preferred(&self) -> Access {
        match self.coverage.by_wifi() || (self.ways.cellular.is_none() && self.ways.wifi.is_some())
        {
            true => Access::Wifi,
            false => Access::Cellular,
        }
    }

    fn plan(&mut self, now: Instant) -> Option<Plan> {
        let open = self.tunnel.clone()?;
        let mode = mode(self.settings.bond, open.terms.bonding);
        let preferred = self.preferred();
        let held = match self.settings.hold {
            Hold::Always => true,
            Hold::Predicted => !self.coverage.is_safe(now),
            Hold::Needed => false,
        };
        let needed = held
            || mode != Mode::Single
            || preferred == Access::Cellular
            || self.silences.is_dead(Access::Wifi)
            || self.ways.wifi.is_none();
        let index = |access: Access| match access {
            Access::Cellular if !needed => 0,
            _ => self.ways.of(access).map_or(0, |way| way.index),
        };
        Some(Plan {
            open,
            interfaces: Access::ALL.map(index),
            mode,
            preferred,
            paths: vec![PathSettings::default(), self.settings.cellular],
        })
    }
}

/// What comes nearest to what is wanted of what is allowed.
fn mode(bond: Bond, allowed: BondingModes) -> Mode {
    match (bond, allowed.mirrored, allowed.striped) {
        (Bond::Mirrored, true, _) | (Bond::Auto, true, false) => Mode::Mirrored,
        (Bond::Striped, _, true) | (Bond::Auto, false, true) => Mode::Striped,
        (Bond::Auto, true, true) => Mode::Automatic,
        _ => Mode::Single,
    }
}

#[cfg(test)]
mod tests;
