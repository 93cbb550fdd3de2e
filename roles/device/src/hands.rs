//! Has the supplicant do what the machine wants, and tells the machine what it does.
//!
//! One task speaks to one station, wpa_supplicant's or NetworkManager's: which it is, is looked at
//! each time that it is met. When who runs it ends, what it was told has gone with it: that is said
//! (`Lost`), and when another is there (`Ready`) the machine begins anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use homeward_daemon::{Shutdown, SystemClock};
use homeward_model::{Clock, Instant, Mac, Rssi, Ssid};
use homeward_offload::manager::{Heard, NetworkBlock, ProgramId, Scanning, SupplicantEvent};
use homeward_supplicant::event::Event;
use homeward_supplicant::{
    Authority, By, Choice, Managed, Medium, Network, NetworkId, Place, State, Station,
    StationEvents, Status, SupplicantError,
};
use tokio::sync::mpsc;

use crate::span::Span;

/// How long the supplicant may take for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked for while it is away.
const RETRY: Duration = Duration::from_secs(2);
/// How often it is asked whether it lives, and whether its radio is on.
const CHECK: Duration = Duration::from_secs(5);
/// How often the signal is measured until the machine says.
const SIGNAL: Duration = Duration::from_secs(1);
/// What was heard longer ago than this, in seconds, is not there any more.
const MAX_AGE: u32 = 15;

/// What was heard longer ago than this, in seconds, is of an earlier scan.
const JUST: u32 = 2;

/// Something for the supplicant to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Have these networks and no others of ours.
    Program(ProgramId, Vec<NetworkBlock>),
    /// Join that one, where this access point is the best, by none of these.
    Join(Ssid, Mac, Vec<Mac>),
    /// Leave, and stay away.
    Leave,
    /// Scan like that.
    Scan(Option<Scanning>),
    /// Measure the signal so often.
    Measure(Duration),
}

/// Something that the supplicant did or found.
#[derive(Debug)]
pub(crate) enum Report {
    /// What it says.
    Event(SupplicantEvent),
    /// What is there, and which of it the last scan heard.
    Heard(Vec<Heard>, BTreeSet<Mac>),
    /// How strong the access point is that it is on, and which it is.
    Signal(Option<Mac>, Rssi),
    /// Whether it is on the home network, which is somebody else's to join.
    AtHome(bool),
    /// Who runs the station; nobody does.
    By(Option<By>),
}

/// Who speaks to the supplicant.
pub(crate) struct Hands {
    place: Place,
    /// Where the authorities are that servers must be of, where a network names none.
    ca: PathBuf,
    out: mpsc::UnboundedSender<Report>,
    scan: Option<Scanning>,
    measure: Duration,
}

/// What is known of a supplicant that is there.
struct Session {
    station: Station,
    events: StationEvents,
    networks: BTreeMap<Ssid, NetworkId>,
    radio: bool,
    /// Whether somebody else has NetworkManager use the station.
    lent: bool,
    on: bool,
    /// Whether what it is on is the home network.
    home: bool,
    bssid: Option<Mac>,
    span: Span,
    next_scan: Option<Instant>,
    next_check: Instant,
    next_signal: Instant,
}

impl Hands {
    /// Hands for the station of one interface, which leave the home network alone.
    pub(crate) const fn new(place: Place, ca: PathBuf, out: mpsc::UnboundedSender<Report>) -> Self {
        Self { place, ca, out, scan: None, measure: SIGNAL }
    }

    /// The home network.
    const fn home(&self) -> Option<Ssid> {
        self.place.control.keep
    }

    /// Works until shutdown, and then takes our networks away.
    pub(crate) async fn run(
        mut self,
        mut orders: mpsc::UnboundedReceiver<Order>,
        shutdown: Shutdown,
    ) {
        let mut said = false;
        while !shutdown.is_requested() {
            match self.meet().await {
                Ok(session) => {
                    said = false;
                    if let Err(error) = self.serve(session, &mut orders, &shutdown).await {
                        let error = format!("{:#}", anyhow::Error::from(error));
                        tracing::warn!(error, "the supplicant is gone");
                    }
                    self.report(Report::By(None));
                    self.report(Report::AtHome(false));
                    self.tell(SupplicantEvent::Lost);
                }
                Err(error) if !said => {
                    said = true;
                    let error = format!("{:#}", anyhow::Error::from(error));
                    tracing::warn!(error, "no supplicant yet; it is looked for");
                }
                Err(_) => {}
            }
            let retry = Some(SystemClock.now() + RETRY);
            tokio::select! {
                () = shutdown.requested() => {}
                () = SystemClock.until(retry) => {}
            }
            // What was wanted of one that is gone is wanted no more; but how often to scan is.
            while let Ok(order) = orders.try_recv() {
                match order {
                    Order::Scan(scanning) => self.scan = scanning,
                    Order::Measure(interval) => self.measure = interval,
                    Order::Program(..) | Order::Join(..) | Order::Leave => {}
                }
            }
        }
    }

    fn report(&self, report: Report) {
        // The loop has ended only if the daemon is ending.
        let _ = self.out.send(report);
    }

    fn tell(&self, event: SupplicantEvent) {
        self.report(Report::Event(event));
    }

    /// Finds a supplicant, and takes away what an earlier process of ours left with it.
    async fn meet(&self) -> Result<Session, SupplicantError> {
        let station = Station::find(&self.place).await?;
        let events = station.events().await?;
        for id in station.own_networks().await? {
            station.remove(id).await?;
        }
        let status = station.status().await?;
        let mac = status.address.ok_or(SupplicantError::Answer { verb: "STATUS" })?;
        let radio = status.state != State::Off;
        tracing::info!(by = %station.by(), "the station is there");
        self.report(Report::By(Some(station.by())));
        self.tell(SupplicantEvent::Ready { mac });
        self.tell(SupplicantEvent::Radio(radio));
        let lent = is_lent(station.by(), &status, self.home(), false);
        let home = lent && status.state == State::Completed && self.is_home(&status);
        if home {
            self.report(Report::AtHome(true));
        }
        if lent {
            self.tell(SupplicantEvent::Lent(true));
        } else if status.state == State::Completed
            && let Some(bssid) = status.bssid
        {
            // Somebody else's network: the machine is to know that it did not ask for it.
            self.tell(SupplicantEvent::Connected { bssid });
        }
        let now = SystemClock.now();
        Ok(Session {
            station,
            events,
            networks: BTreeMap::new(),
            radio,
            lent,
            on: home,
            home,
            bssid: status.bssid,
            span: Span::default(),
            next_scan: self.scan.map(|_| now),
            next_check: now + CHECK,
            next_signal: now,
        })
    }

    async fn serve(
        &mut self,
        mut session: Session,
        orders: &mut mpsc::UnboundedReceiver<Order>,
        shutdown: &Shutdown,
    ) -> Result<(), SupplicantError> {
        loop {
            let signal = session.on.then_some(session.next_signal);
            let next = [session.next_scan, Some(session.next_check), signal];
            tokio::select! {
                () = shutdown.requested() => return self.part(&session).await,
                event = session.events.next() => {
                    let event = event?;
                    if event == Event::Terminating {
                        return Ok(());
                    }
                    self.happened(event, &mut session).await?;
                }
                Some(order) = orders.recv() => self.carry_out(order, &mut session).await?,
                () = SystemClock.until(next.into_iter().flatten().min()) => {
                    self.due(&mut session).await?;
                }
            }
        }
    }

    /// Leaves nothing behind that would log on by itself.
    async fn part(&self, session: &Session) -> Result<(), SupplicantError> {
        for id in session.networks.values() {
            session.station.remove(*id).await?;
        }
        Ok(())
    }

    /// Whether NetworkManager has taken an interface that was its supplicant's.
    async fn is_taken(&self, session: &Session) -> bool {
        self.place.choice == Choice::Auto
            && session.station.by() == By::WpaSupplicant
            && Managed::open(&self.place.manager).await.is_ok()
    }

    fn is_home(&self, status: &Status) -> bool {
        self.home().is_some() && status.ssid == self.home()
    }

    fn go_home(&self, home: bool, session: &mut Session) {
        if home != session.home {
            session.home = home;
            tracing::info!(home, "whether the station is on the home network");
            self.report(Report::AtHome(home));
        }
    }

    fn lend(&self, lent: bool, session: &mut Session) {
        if lent != session.lent {
            session.lent = lent;
            tracing::info!(lent, "whether somebody else uses the station");
            self.tell(SupplicantEvent::Lent(lent));
        }
    }

    async fn due(&mut self, session: &mut Session) -> Result<(), SupplicantError> {
        let now = SystemClock.now();
        if session.next_check <= now {
            session.next_check = now + CHECK;
            session.events.check(PATIENCE).await?;
            if self.is_taken(session).await {
                let interface = self.place.manager.interface.clone();
                return Err(SupplicantError::Taken { interface });
            }
            let status = session.station.status().await?;
            let radio = status.state != State::Off;
            if radio != session.radio {
                session.radio = radio;
                self.tell(SupplicantEvent::Radio(radio));
            }
            let lent = is_lent(session.station.by(), &status, self.home(), session.lent);
            self.lend(lent, session);
            // One that tries another gateway, in vain, does not say that it has left the one before.
            if session.home && !lent {
                session.on = false;
                self.go_home(false, session);
            }
        }
        if session.on && session.next_signal <= now {
            session.next_signal = now + self.measure;
            if let Some(signal) = session.station.signal().await? {
                self.report(Report::Signal(session.bssid, signal.mean.unwrap_or(signal.last)));
            }
        }
        if session.next_scan.is_some_and(|at| at <= now) {
            session.next_scan = self.scan.map(|scanning| now + scanning.interval);
            let known = self.scan.is_some_and(|scanning| scanning.known);
            // When to go from gateway to gateway at home is the supplicant's to say.
            match session.station.scan(session.span.next(known), session.home).await {
                Err(error) if error.is_gone() => return Err(error),
                Err(error) => tracing::debug!(%error, "no scan"),
                Ok(begun) => tracing::debug!(begun, "scanning"),
            }
        }
        Ok(())
    }

    async fn happened(
        &mut self,
        event: Event,
        session: &mut Session,
    ) -> Result<(), SupplicantError> {
        match event {
            Event::Connected { bssid, .. } => {
                if session.station.by() == By::NetworkManager || self.home().is_some() {
                    let status = session.station.status().await?;
                    let lent = is_lent(session.station.by(), &status, self.home(), session.lent);
                    self.lend(lent, session);
                    self.go_home(session.lent && self.is_home(&status), session);
                    if session.lent && !session.home {
                        return Ok(());
                    }
                }
                session.bssid = bssid.or(session.bssid);
                session.on = true;
                session.next_signal = SystemClock.now();
                if let Some(bssid) = session.bssid.filter(|_| !session.home) {
                    self.tell(SupplicantEvent::Connected { bssid });
                }
            }
            Event::Disconnected { .. } => {
                session.on = false;
                if session.home {
                    self.go_home(false, session);
                    let status = session.station.status().await?;
                    let lent = is_lent(session.station.by(), &status, self.home(), session.lent);
                    self.lend(lent, session);
                }
                self.tell(SupplicantEvent::Disconnected);
            }
            Event::Rejected { bssid, .. } => {
                self.tell(SupplicantEvent::AssociationFailed { bssid });
            }
            Event::EapStarted => {
                let bssid = session.station.status().await?.bssid;
                session.bssid = bssid.or(session.bssid);
                if let Some(bssid) = bssid {
                    self.tell(SupplicantEvent::Associated { bssid });
                }
            }
            Event::BadCertificate { fault, text, .. } => {
                let what = format!("{fault:?}: {text}");
                tracing::warn!(what, "the server of this network is not the operator's");
                self.tell(SupplicantEvent::WrongServer { what });
            }
            Event::EapFailed | Event::PasswordWanted { .. } => {
                self.tell(SupplicantEvent::Rejected);
            }
            Event::ScanResults => {
                let heard = session.station.heard().await?;
                let home = self.home();
                let fresh: Vec<_> = heard.into_iter().filter(|bss| bss.age <= MAX_AGE).collect();
                let ours = fresh.iter().filter(|bss| {
                    bss.ssid.is_some_and(|ssid| {
                        home == Some(ssid) || session.networks.contains_key(&ssid)
                    })
                });
                session.span.heard(ours.map(|bss| bss.frequency));
                let just = fresh.iter().filter(|bss| bss.age <= JUST).map(|bss| bss.bssid);
                let just = just.collect();
                let fresh = fresh.into_iter();
                let heard = fresh.filter_map(|bss| {
                    let (bssid, signal, enterprise) = (bss.bssid, bss.signal, bss.enterprise);
                    bss.ssid.map(|ssid| Heard { bssid, ssid, signal, enterprise })
                });
                let heard: Vec<Heard> = heard.collect();
                tracing::debug!(heard = heard.len(), "scanned");
                self.report(Report::Heard(heard, just));
            }
            Event::SignalChanged { signal: Some(signal), .. } if session.on => {
                self.report(Report::Signal(session.bssid, signal));
            }
            _ => {}
        }
        Ok(())
    }

    /// Does something. Only that the supplicant is gone is an error: what it refuses is told.
    async fn carry_out(
        &mut self,
        order: Order,
        session: &mut Session,
    ) -> Result<(), SupplicantError> {
        let done = match order {
            Order::Program(id, networks) => {
                let done = self.program(networks, session).await;
                let told = match &done {
                    Err(error) if error.is_gone() => return done,
                    Err(error) => Err(error.to_string()),
                    Ok(()) => Ok(()),
                };
                self.tell(SupplicantEvent::Programmed(id, told));
                return Ok(());
            }
            Order::Join(ssid, best, avoid) => match session.networks.get(&ssid) {
                Some(id) => session.station.join(*id, best, &avoid).await,
                None => Ok(()),
            },
            Order::Leave => self.leave(session).await,
            Order::Scan(scanning) => {
                let before = std::mem::replace(&mut self.scan, scanning);
                // What was measured a moment ago is not measured again at once.
                let pause = before.and(scanning).map(|scanning| scanning.interval);
                session.next_scan = scanning.map(|_| SystemClock.now() + pause.unwrap_or_default());
                Ok(())
            }
            Order::Measure(interval) => {
                self.measure = interval;
                session.next_signal = session.next_signal.min(SystemClock.now() + interval);
                Ok(())
            }
        };
        match done {
            Err(error) if !error.is_gone() => {
                // What does not happen runs into the machine's time limits.
                tracing::warn!(%error, "the supplicant did not do it");
                Ok(())
            }
            other => other,
        }
    }

    async fn leave(&self, session: &mut Session) -> Result<(), SupplicantError> {
        let ours = session.networks.values().copied();
        match session.home {
            true => session.station.stand_back(ours).await?,
            false => session.station.leave(ours).await?,
        }
        if !session.on || session.home {
            // It has nothing to say of what it was not on.
            self.tell(SupplicantEvent::Disconnected);
        }
        Ok(())
    }

    async fn program(
        &self,
        networks: Vec<NetworkBlock>,
        session: &mut Session,
    ) -> Result<(), SupplicantError> {
        for id in std::mem::take(&mut session.networks).into_values() {
            session.station.remove(id).await?;
        }
        for block in networks {
            let authority = match block.ca {
                Some(pem) => Authority::Pem(pem),
                None => Authority::File(self.ca.clone()),
            };
            let network = Network {
                medium: Medium::Wireless(block.ssid),
                eap: block.eap,
                identity: block.identity,
                anonymous: block.anonymous,
                password: block.password,
                authority,
                server_name: block.server_name,
                priority: block.priority.into(),
            };
            let id = session.station.add(&network).await?;
            session.networks.insert(block.ssid, id);
        }
        Ok(())
    }
}

/// Whether somebody else has the station on a network, as it was `before` where that cannot be told.
/// NetworkManager's users choose what they are on. What others have wpa_supplicant join is left, as
/// there is nobody who would say so of a person's choice; but for the home network.
fn is_lent(by: By, status: &Status, home: Option<Ssid>, before: bool) -> bool {
    match (by, status.state) {
        (By::NetworkManager, _) => status.id.is_some() && !status.ours,
        (By::WpaSupplicant, State::Completed) => {
            home.is_some() && status.ssid == home && !status.ours
        }
        // From one gateway to the next it says only whom it speaks to.
        (By::WpaSupplicant, State::Joining | State::Associated) => before,
        (By::WpaSupplicant, State::Off | State::Idle | State::Scanning) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: &str, ssid: &str, ours: bool) -> Status {
        let mark = if ours { "id_str=homeward\n" } else { "" };
        let reply = format!("wpa_state={state}\nid=0\nssid={ssid}\n{mark}");
        let status = homeward_supplicant::reply::parse_status(&reply).unwrap();
        assert_eq!(status.ours, ours);
        status
    }

    #[test]
    fn the_home_network_is_somebody_elses_and_other_networks_are_left() {
        let home = Some("Elm".parse().unwrap());
        let told =
            |state, ssid, ours| is_lent(By::WpaSupplicant, &status(state, ssid, ours), home, false);
        assert!(told("COMPLETED", "Elm", false));
        assert!(!told("COMPLETED", "Oak", false), "who had it join that says nothing");
        assert!(!told("COMPLETED", "Elm", true), "it is the operator's, too");
        for state in ["INTERFACE_DISABLED", "DISCONNECTED", "SCANNING", "AUTHENTICATING"] {
            assert!(!told(state, "Elm", false), "{state}");
        }
        assert!(!is_lent(By::WpaSupplicant, &status("COMPLETED", "Elm", false), None, true));
    }

    #[test]
    fn a_roam_takes_nothing_back() {
        let roaming = status("4WAY_HANDSHAKE", "Elm", false);
        for before in [false, true] {
            assert_eq!(is_lent(By::WpaSupplicant, &roaming, None, before), before);
        }
    }

    #[test]
    fn whatever_network_managers_users_choose_is_theirs() {
        let theirs =
            |ours| is_lent(By::NetworkManager, &status("ASSOCIATING", "Oak", ours), None, true);
        assert!(theirs(false) && !theirs(true));
    }
}
