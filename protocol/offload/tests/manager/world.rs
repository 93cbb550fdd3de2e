//! A device's surroundings: a modem, a portal, a supplicant, access points, the Internet behind
//! them, and clocks. All of it may fail. What the machine does is checked at every step.
//!
//! ```text
//!   modem ─────────► ┌─────────┐ ── Request ──► portal ── answers, refuses, is away, is silent
//!   scans, signal ─► │ Manager │ ── Program, Join, Leave ──► supplicant ──► access points
//!   clocks ────────► └─────────┘ ── Verify ──► the Internet: open, captive, dead
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use homeward_model::{Imsi, Instant, Mac, Rssi, Ssid, UnixTime};
use homeward_offload::manager::{
    Action, Connectivity, Heard, Manager, MessageId, ModemFacts, Notice, ProgramId, Registration,
    Request, RequestId, Scanning, Settings, State, Stored, SupplicantEvent, Switches, VerifyId,
    WallClock,
};

pub(crate) use crate::portal::{Mood, Portal, PostOffice};
pub(crate) use crate::words::{EPOCH, HOUR, Seed, imei, imsi, mac, ms, policy, s, ssid};

#[derive(Debug, Clone)]
pub(crate) struct Ap {
    pub(crate) bssid: Mac,
    pub(crate) ssid: Ssid,
    pub(crate) signal: i8,
    pub(crate) enterprise: bool,
    pub(crate) leads: Connectivity,
    /// What happens on joining.
    pub(crate) manner: Manner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Welcomes,
    TakesNobody,
    Rejects,
    WrongServer,
    Mute,
    NoLease,
}

#[derive(Debug, Clone)]
pub(crate) enum Coming {
    Portal(RequestId, Request),
    Sent(MessageId, Result<(), String>),
    Message(String, String),
    Supplicant(SupplicantEvent),
    LogOn(Mac),
    Address(bool),
    Verified(VerifyId, Mac),
    Programmed(ProgramId),
}

pub(crate) struct World {
    pub(crate) m: Manager,
    pub(crate) now: Instant,
    /// The true time at the origin, and how wrong the wall is.
    pub(crate) wall_error: i64,
    pub(crate) modem: ModemFacts,
    pub(crate) switches: Switches,
    pub(crate) portal: Portal,
    pub(crate) post: PostOffice,
    pub(crate) aps: Vec<Ap>,
    /// Whether the supplicant and the Internet react to what they are told.
    pub(crate) reacts: bool,
    pub(crate) supplicant: bool,
    coming: BTreeMap<(Instant, u64), Coming>,
    sequence: u64,
    pub(crate) scan: Option<Scanning>,
    next_scan: Instant,
    next_signal: Instant,
    pub(crate) measure: Duration,
    next_clock: Instant,
    pub(crate) associated: Option<Mac>,
    pub(crate) stored: Option<Stored>,
    pub(crate) log: Vec<(Instant, Notice)>,

    // What is checked.
    pub(crate) on_wifi: bool,
    associations: u64,
    verifies: BTreeMap<VerifyId, u64>,
    verified: u64,
    roamed: Instant,
    left: Option<Instant>,
    pub(crate) requests: VecDeque<Instant>,
    pub(crate) all_requests: Vec<(Instant, Request)>,
    programs: BTreeMap<ProgramId, Vec<Ssid>>,
    programmed: Vec<Ssid>,
    pub(crate) open_requests: Vec<(RequestId, Request)>,
    pub(crate) open_verifies: Vec<VerifyId>,
    pub(crate) joins: Vec<(Instant, Mac)>,
    /// Hand-off keys that came: of which SIM, and the version.
    pub(crate) keys: Vec<(Imsi, u32)>,
    timeouts: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(Settings::default(), None, seed)
    }

    pub(crate) fn with(settings: Settings, stored: Option<Stored>, seed: u64) -> Self {
        let now = Instant::ORIGIN + HOUR;
        let switches = Switches::default();
        let m = Manager::new(settings, switches, stored.clone(), &mut Seed(seed), now);
        let ap = |n, name: &str| Ap {
            bssid: mac(n),
            ssid: ssid(name),
            signal: -95,
            enterprise: true,
            leads: Connectivity::Open,
            manner: Manner::Welcomes,
        };
        Self {
            m,
            now,
            wall_error: 0,
            modem: ModemFacts::default(),
            switches,
            portal: Portal {
                mood: Mood::Answers,
                lifetime: Some(s(7 * 86_400)),
                window: s(86_400),
                one_time: false,
                dated: true,
                policy: policy(),
                issued: None,
                count: 0,
                enrols: true,
                roots: 0,
            },
            post: PostOffice::default(),
            aps: vec![ap(1, "Town"), ap(2, "Town"), ap(3, "Dear"), ap(4, "Other")],
            reacts: true,
            supplicant: false,
            coming: BTreeMap::new(),
            sequence: 0,
            scan: None,
            next_scan: now,
            next_signal: now,
            measure: s(1),
            next_clock: now,
            associated: None,
            stored,
            log: Vec::new(),
            on_wifi: false,
            associations: 0,
            verifies: BTreeMap::new(),
            verified: 0,
            roamed: now,
            left: None,
            requests: VecDeque::new(),
            all_requests: Vec::new(),
            programs: BTreeMap::new(),
            programmed: Vec::new(),
            open_requests: Vec::new(),
            open_verifies: Vec::new(),
            joins: Vec::new(),
            keys: Vec::new(),
            timeouts: 0,
        }
    }

    pub(crate) fn truth(&self) -> UnixTime {
        UnixTime(EPOCH + i64::try_from((self.now - Instant::ORIGIN).as_millis()).unwrap())
    }

    /// Everything is switched on, and cellular is up.
    pub(crate) fn begin(&mut self) {
        self.clock();
        self.start_supplicant();
        self.bearer(true);
    }

    pub(crate) fn start_supplicant(&mut self) {
        self.supplicant = true;
        self.associated = None;
        self.supplicant_says(SupplicantEvent::Ready { mac: mac(100) });
    }

    pub(crate) fn bearer(&mut self, up: bool) {
        self.modem = ModemFacts {
            present: true,
            imsi: self.modem.imsi.or(Some(imsi(1))),
            imei: self.modem.imei.or(Some(imei(1))),
            registration: Registration::Home,
            bearer: up,
            messages: self.modem.messages,
        };
        self.tell_modem();
    }

    pub(crate) fn tell_modem(&mut self) {
        self.m.handle_modem(self.modem.clone(), self.now);
        self.drain();
    }

    pub(crate) fn clock(&mut self) {
        let unix = UnixTime(self.truth().0 + self.wall_error);
        self.m.handle_clock(WallClock { unix, offset: 0 }, self.now);
        self.next_clock = self.now + s(60);
        self.drain();
    }

    pub(crate) fn switch(&mut self, change: impl FnOnce(&mut Switches)) {
        change(&mut self.switches);
        self.m.handle_setting(self.switches, self.now);
        self.drain();
    }

    pub(crate) fn supplicant_says(&mut self, event: SupplicantEvent) {
        match &event {
            SupplicantEvent::Connected { .. } => {
                self.associations += 1;
                self.roamed = self.now;
            }
            SupplicantEvent::Lost | SupplicantEvent::Ready { .. } => self.programmed.clear(),
            SupplicantEvent::Programmed(id, Ok(())) => {
                self.programmed = self.programs.get(id).cloned().unwrap_or_default();
            }
            SupplicantEvent::Programmed(_, Err(_)) => self.programmed.clear(),
            _ => {}
        }
        self.m.handle_supplicant(event, self.now);
        self.drain();
    }

    pub(crate) fn connectivity(&mut self, id: VerifyId, found: Connectivity) {
        if found == Connectivity::Open {
            self.verified = self.verified.max(self.verifies.get(&id).copied().unwrap_or(0));
        }
        self.m.handle_connectivity(id, found, self.now);
        self.drain();
    }

    pub(crate) fn ap(&mut self, n: u8) -> &mut Ap {
        self.aps.iter_mut().find(|ap| ap.bssid == mac(n)).unwrap()
    }

    pub(crate) fn soon(&mut self, after: Duration, what: Coming) {
        self.sequence += 1;
        self.coming.insert((self.now + after, self.sequence), what);
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let coming = self.coming.keys().next().map(|(at, _)| *at);
            let scan = self.scan.filter(|_| self.supplicant).map(|_| self.next_scan);
            let signal = self.associated.map(|_| self.next_signal);
            let timeout = self.m.poll_timeout();
            let next = [coming, scan, signal, timeout, Some(self.next_clock)];
            let next = next.into_iter().flatten().min().unwrap();
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if coming == Some(next) {
                let (_, what) = self.coming.pop_first().unwrap();
                self.happen(what);
            } else if scan == Some(next) {
                self.next_scan = self.now + self.scan.unwrap().interval;
                self.scanned();
            } else if signal == Some(next) {
                self.next_signal = self.now + self.measure;
                self.measure();
            } else if timeout == Some(next) {
                self.timeouts += 1;
                self.m.handle_timeout(self.now);
                self.drain();
            } else {
                self.clock();
            }
        }
        self.now = self.now.max(end);
        self.m.handle_timeout(self.now);
        self.drain();
    }

    /// Runs until something holds, for `most` at the longest, and says how long it took.
    pub(crate) fn until(&mut self, most: Duration, holds: impl Fn(&Self) -> bool) -> Duration {
        let begin = self.now;
        while !holds(self) {
            assert!(
                self.now - begin < most,
                "not within {most:?}: {:#?}\n{:#?}",
                self.m.why(),
                self.m.status()
            );
            self.run(ms(100));
        }
        self.now - begin
    }

    pub(crate) fn scanned(&mut self) {
        let audible = self.aps.iter().filter(|ap| ap.signal > -92);
        let heard: Vec<Heard> = audible
            .map(|ap| Heard {
                bssid: ap.bssid,
                ssid: ap.ssid,
                signal: Rssi(ap.signal),
                enterprise: ap.enterprise,
            })
            .collect();
        self.m.handle_scan(&heard, self.now);
        self.drain();
    }

    fn measure(&mut self) {
        let Some(bssid) = self.associated else { return };
        let signal = self.aps.iter().find(|ap| ap.bssid == bssid).map_or(-95, |ap| ap.signal);
        if signal <= -92 {
            self.associated = None;
            self.supplicant_says(SupplicantEvent::Disconnected);
        } else {
            self.m.handle_signal(Rssi(signal), self.now);
            self.drain();
        }
    }

    fn happen(&mut self, what: Coming) {
        match what {
            Coming::Portal(id, request) => self.portal_answers(id, &request),
            Coming::Sent(id, result) => {
                self.m.handle_message_sent(id, result, self.now);
                self.drain();
            }
            Coming::Message(from, text) => self.message(&from, &text),
            Coming::Supplicant(event) if self.supplicant => self.supplicant_says(event),
            Coming::Programmed(id) if self.supplicant => {
                self.supplicant_says(SupplicantEvent::Programmed(id, Ok(())));
            }
            Coming::Address(present) => {
                self.m.handle_address(present, self.now);
                self.drain();
            }
            Coming::Verified(id, bssid) => {
                let leads = self.aps.iter().find(|ap| ap.bssid == bssid).map(|ap| ap.leads);
                let here = leads.filter(|_| self.associated == Some(bssid));
                self.connectivity(id, here.unwrap_or(Connectivity::Dead));
            }
            Coming::LogOn(bssid) if self.supplicant => self.log_on(bssid),
            _ => {}
        }
    }

    fn log_on(&mut self, bssid: Mac) {
        let Some(ap) = self.aps.iter().find(|ap| ap.bssid == bssid).cloned() else { return };
        let known = self
            .portal
            .issued
            .as_mut()
            .zip(self.stored.as_ref())
            .filter(|(issue, held)| issue.name == held.username.as_str() && !issue.spent);
        let known = known.map(|(issue, _)| issue);
        match (ap.manner, known) {
            (Manner::WrongServer, _) => {
                let what = "self-signed".to_owned();
                self.supplicant_says(SupplicantEvent::WrongServer { what });
            }
            (Manner::Mute, _) => {}
            (Manner::Rejects, _) | (_, None) => {
                self.supplicant_says(SupplicantEvent::Rejected);
                self.supplicant_says(SupplicantEvent::Disconnected);
            }
            (manner, Some(issue)) => {
                issue.spent = issue.one_time;
                self.associated = Some(bssid);
                self.next_signal = self.now;
                self.supplicant_says(SupplicantEvent::Connected { bssid });
                if manner != Manner::NoLease {
                    self.soon(ms(200), Coming::Address(true));
                }
            }
        }
    }

    /// Takes what the machine wants, has it carried out, and checks it.
    pub(crate) fn drain(&mut self) {
        let mut actions = 0;
        while let Some(action) = self.m.poll_action() {
            actions += 1;
            assert!(actions < 50, "it does not come to rest");
            self.act(action);
        }
        self.check();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Request { id, request } => {
                assert!(self.modem.bearer, "asked without a bearer");
                assert!(self.switches.offload, "asked though it is switched off");
                assert_eq!(Some(request.imsi), self.modem.imsi);
                self.requests.push_back(self.now);
                self.all_requests.push((self.now, request.clone()));
                self.open_requests.push((id, request.clone()));
                if self.reacts {
                    self.soon(ms(80), Coming::Portal(id, request));
                }
            }
            Action::Message { id, to, text } => {
                self.sends(id, &to, std::str::from_utf8(text.expose()).unwrap());
            }
            Action::Program { id, networks } => {
                assert!(self.supplicant, "told a supplicant that is not there");
                let ssids = networks.iter().map(|block| block.ssid).collect();
                self.programs.insert(id, ssids);
                self.programmed.clear();
                if self.reacts {
                    self.soon(ms(20), Coming::Programmed(id));
                }
            }
            Action::Join { ssid, bssid, avoid } => {
                assert!(self.programmed.contains(&ssid), "joins what the supplicant does not have");
                assert!(!avoid.contains(&bssid), "joins what is to be avoided");
                assert!(!self.on_wifi, "joins while it uses another");
                assert!(self.switches.offload, "joins though it is switched off");
                self.joins.push((self.now, bssid));
                if self.reacts {
                    self.join(bssid);
                }
            }
            Action::Leave => {
                assert!(!self.on_wifi, "leaves while connections use it");
                self.coming
                    .retain(|_, what| !matches!(what, Coming::LogOn(_) | Coming::Address(_)));
                self.associated = None;
                if self.reacts {
                    self.soon(ms(20), Coming::Supplicant(SupplicantEvent::Disconnected));
                }
            }
            Action::Verify { id } => {
                self.verifies.insert(id, self.associations);
                self.open_verifies.push(id);
                if let Some(bssid) = self.associated.filter(|_| self.reacts) {
                    self.soon(ms(100), Coming::Verified(id, bssid));
                }
            }
            Action::PreferWifi { .. } => {
                assert!(!self.on_wifi, "twice");
                assert_eq!(self.verified, self.associations, "not verified since the association");
                if let Some(left) = self.left {
                    let dwell: Duration = self.portal.policy.dwell.into();
                    assert!(self.now - left >= dwell, "flaps: {:?} after it left", self.now - left);
                }
                self.on_wifi = true;
            }
            Action::PreferCellular => {
                assert!(self.on_wifi, "back from where it was not");
                self.on_wifi = false;
                self.left = Some(self.now);
            }
            Action::Store(stored) => {
                assert!(!stored.username.as_str().contains("evil"), "believed what was forged");
                self.stored = Some(*stored);
            }
            Action::Forget => self.stored = None,
            Action::Keys(imsi, keys) => self.keys.push((imsi, keys.version)),
            Action::Notify(notice) => self.log.push((self.now, notice)),
            Action::Measure(interval) => {
                assert_ne!(interval, self.measure, "said twice");
                self.measure = interval;
                self.next_signal = self.next_signal.min(self.now + interval);
            }
            Action::Scan(scanning) => {
                assert_ne!(scanning, self.scan, "said twice");
                self.scan = scanning;
                let interval = scanning.map(|scanning| scanning.interval);
                self.next_scan = self.now + interval.unwrap_or_default().min(ms(500));
            }
        }
    }

    fn join(&mut self, bssid: Mac) {
        let ap = self.aps.iter().find(|ap| ap.bssid == bssid && ap.signal > -92).cloned();
        let Some(ap) = ap else { return };
        if ap.manner == Manner::TakesNobody {
            let bssid = Some(bssid);
            let failed = SupplicantEvent::AssociationFailed { bssid };
            return self.soon(ms(50), Coming::Supplicant(failed));
        }
        self.soon(ms(50), Coming::Supplicant(SupplicantEvent::Associated { bssid }));
        self.soon(ms(250), Coming::LogOn(bssid));
    }

    fn check(&mut self) {
        let (now, settings) = (self.now, self.m.settings());
        while self.requests.front().is_some_and(|at| now - *at >= HOUR) {
            self.requests.pop_front();
        }
        assert!(
            self.requests.len() <= usize::from(settings.requests_per_hour),
            "{} requests in an hour",
            self.requests.len()
        );
        let timeout = self.m.poll_timeout();
        assert!(timeout.is_none_or(|at| at > now), "work left undone");
        let state = self.m.state();
        let waits =
            !matches!(state, State::Off | State::NoCellular | State::CellularUp | State::Watching);
        let answer = settings.messages.as_ref().map_or(s(60), |messages| messages.answer);
        let soon = now + if state == State::Requesting { answer } else { s(60) };
        assert!(!waits || timeout.is_some_and(|at| at <= soon), "{state} without an end");
        if self.on_wifi && self.verified != self.associations {
            let tries = u32::from(settings.verify_tries);
            let most = (settings.verify + settings.verify_pause) * tries;
            assert!(now - self.roamed <= most, "a roam that nobody looked at");
        }
        let (why, status) = (self.m.why(), self.m.status());
        assert_eq!(status.on_wifi, self.on_wifi);
        assert_eq!(why.causes.is_empty(), self.on_wifi, "{why:?}");
        assert!(status.credentials.is_some() == self.stored.is_some(), "kept as it is known");
    }

    /// How often the supplicant was told of networks.
    pub(crate) fn programs(&self) -> usize {
        self.programs.len()
    }

    /// The clock on the wall is not told any more.
    pub(crate) fn stop_clock(&mut self) {
        self.next_clock = self.now + HOUR * 10_000;
    }

    /// How often [`Manager::handle_timeout`] was due.
    pub(crate) fn timeouts(&self) -> u64 {
        self.timeouts
    }
}
