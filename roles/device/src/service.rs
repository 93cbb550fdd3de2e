//! The loop around the offload machine.

mod answers;
mod homing;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use homeward_coverage::Advice;
use homeward_daemon::metrics::Endpoint;
use homeward_daemon::{
    Control, ControlError, Exit, ExitContext, Metrics, Reload, Request, Shutdown, SystemClock,
    SystemEntropy, notify,
};
use homeward_linux::Steering;
use homeward_model::{Clock, Instant, Secret, Ssid};
use homeward_modem::{Fixed, Managed, Modem, News, Number, Sender};
use homeward_offload::manager::{
    Action, Answer, Connectivity, Failure, Manager, MessageId, ModemFacts, Registration, RequestId,
    Scanning, SupplicantEvent, VerifyId, WallClock,
};
use homeward_supplicant::By;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use crate::addresses::{Found, Watcher};
use crate::config::{self, Config};
use crate::dial::{Line, Target};
use crate::figures::Figures;
use crate::handoff::Handoff;
use crate::hands::{Hands, Order, PATIENCE, Report};
use crate::home::{Access, Home, Notice};
use crate::hook::Hook;
use crate::portal::Portal;
use crate::vault::Vault;
use crate::{journal, probe};

/// The commands of the status socket.
const COMMANDS: [&str; 9] =
    ["status", "why", "switch", "metrics", "reload", "enrol", "flow", "key", "bond"];
/// How often the machine is told what the clock on the wall shows.
const CLOCK: Duration = Duration::from_secs(60);

type Ask = (Request, oneshot::Sender<Result<Value, ControlError>>);

/// What the loop's own tasks bring back.
enum Back {
    Portal(RequestId, Box<Result<Answer, Failure>>),
    Verified(VerifyId, Connectivity),
    Sent(MessageId, Result<(), String>),
}

/// Runs the device with the configuration read from `path` until shutdown, and reads it again when
/// it is asked to.
///
/// # Errors
///
/// What cannot be had at the start: authorities, sockets, directories. Later failures (modem,
/// supplicant or portal away) are what the machine is there for.
pub async fn run(
    config: Config,
    path: PathBuf,
    shutdown: Shutdown,
    mut reload: Reload,
) -> anyhow::Result<()> {
    let vault = Vault::open(&config.state).exit(Exit::System)?;
    let (stored, switches) = (vault.credentials(), vault.switches());
    let date = stored.as_ref().and_then(|stored| stored.date);
    let portal = Portal::new(&config.portal, date).exit(Exit::Config)?;
    let check = check(&config.check).exit(Exit::Config)?;
    let steering = match config.steer.enabled {
        true => Some(steering(&config.steer).exit(Exit::System)?),
        false => None,
    };
    let mut settings = config.limits.settings();
    settings.messages = config.portal.sms.messages().exit(Exit::Config)?;
    let mut modem = modem(&config.modem, config.portal.sms.number.as_ref()).exit(Exit::System)?;

    let (report_tx, mut reports) = mpsc::unbounded_channel();
    let (orders, order_rx) = mpsc::unbounded_channel();
    let home_ssid = config.home.as_ref().and_then(|home| home.ssid);
    let place = config.wlan.place(home_ssid, PATIENCE).exit(Exit::Config)?;
    place.prepare().exit(Exit::System)?;
    let hands = Hands::new(place, config.wlan.ca.clone(), report_tx);
    let watcher = Watcher::open(config.wlan.interface.clone()).exit(Exit::System)?;
    let (look, look_rx) = watch::channel(0);
    let (address_tx, mut addresses) = mpsc::unbounded_channel();
    let (back_tx, mut back) = mpsc::unbounded_channel();

    let (notice_tx, mut notices) = mpsc::unbounded_channel();
    let handoff = match &config.handoff {
        Some(settings) => {
            let started = Handoff::start(settings, &config.state, notice_tx, &shutdown);
            Some(started.exit(Exit::Config)?)
        }
        None => None,
    };

    let (home_tx, mut home_notices) = mpsc::unbounded_channel();
    let home = config.home.as_ref().map(|home| Home::start(home, home_tx)).transpose()?;

    let control = Control::bind(&config.control.socket, Default::default())?;
    let (ask_tx, mut asks) = mpsc::channel::<Ask>(16);
    let serve_control = control.serve(
        move |request| {
            let ask_tx = ask_tx.clone();
            async move {
                let (answer_tx, answer) = oneshot::channel();
                let ended = || ControlError::failed(anyhow::anyhow!("the device is stopping"));
                ask_tx.send((request, answer_tx)).await.map_err(|_| ended())?;
                answer.await.map_err(|_| ended())?
            }
        },
        shutdown.clone(),
    );
    let mut metrics = Metrics::new("device", env!("CARGO_PKG_VERSION"));
    let figures = Figures::new(&mut metrics);
    let metrics = metrics.share();
    let endpoint = match config.metrics.listen {
        Some(address) => Some(Endpoint::bind(address).await.exit(Exit::Unavailable)?),
        None => None,
    };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(serve_control);
    if let Some(endpoint) = endpoint {
        tasks.spawn(endpoint.serve(Arc::clone(&metrics), || Ok(()), shutdown.clone()));
    }
    tasks.spawn(watcher.run(look_rx, address_tx, shutdown.clone()));
    let hands = tokio::spawn(hands.run(order_rx, shutdown.clone()));

    let now = SystemClock.now();
    let mut machine = Manager::new(settings, switches, stored, &mut SystemEntropy::new(), now);
    machine.remember_messages(vault.messages(SystemClock.unix()), now);
    machine.handle_keys(handoff.as_ref().map(Handoff::facts).unwrap_or_default(), now);
    let mut this = Device {
        hook: Hook::start(config.notify.command.clone()),
        metrics,
        figures,
        config,
        path,
        machine,
        vault,
        portal,
        check,
        steering,
        sender: modem.sender(),
        handoff,
        home,
        home_told: None,
        networks: BTreeSet::new(),
        wanted: None,
        near_edge: false,
        scanning: None,
        orders,
        look,
        back: back_tx,
        cellular: None,
        modem_interface: None,
        wifi: Found::default(),
        on_wifi: false,
        at_home: false,
        by: None,
        started: now,
    };
    this.tell_time();
    this.modem(&modem.facts());
    this.act();
    this.settle();
    notify::ready();
    tracing::info!(interface = %this.config.wlan.interface, "device is running");
    let keep_alive = notify::keep_alive();
    tokio::pin!(keep_alive);
    let mut next_clock = SystemClock.now() + CLOCK;
    loop {
        let deadline = this.machine.poll_timeout().into_iter().chain([next_clock]).min();
        tokio::select! {
            () = shutdown.requested() => break,
            news = modem.next() => match news {
                News::Facts(facts) => this.modem(&facts),
                News::Message(message) => {
                    tracing::debug!(octets = message.text.len(), "a message from the portal's number");
                    let now = SystemClock.now();
                    this.machine.handle_message(&message.from, &message.text, now);
                }
            },
            Some(report) = reports.recv() => this.report(report),
            Some(found) = addresses.recv() => this.addresses(found),
            Some(back) = back.recv() => this.back(back),
            Some(notice) = notices.recv() => {
                this.figures.handed_off(&notice);
                this.hook.tell(&notice);
            }
            Some(notice) = home_notices.recv() => {
                tracing::info!(?notice, "home");
                if let Notice::Coverage { advice, .. } = &notice {
                    this.near_edge = *advice != Advice::Stay;
                }
                this.hook.tell(&notice);
            }
            _reloading = reload.requested() => {
                // What is wrong was said in the log.
                let _ = this.reload();
            }
            Some((request, answer)) = asks.recv() => this.asked(&request, answer),
            () = SystemClock.until(deadline) => {
                let now = SystemClock.now();
                if next_clock <= now {
                    next_clock = now + CLOCK;
                    this.tell_time();
                }
                this.machine.handle_timeout(now);
            }
            () = &mut keep_alive => {}
        }
        this.act();
        this.settle();
    }
    tracing::info!("stopping; new connections go where the system's own routes say");
    hands.await.context("the task that speaks to the supplicant failed")?;
    if let Some(mut steering) = this.steering.take()
        && let Err(error) = steering.remove()
    {
        tracing::warn!(%error, "routing rules of ours are left behind");
    }
    if let Some(handoff) = this.handoff.take() {
        handoff.stop().await;
    }
    if let Some(home) = this.home.take() {
        home.stop().await;
    }
    tasks.shutdown().await;
    Ok(())
}

/// The modem of the configuration; messages are taken from that number alone, off the modem.
pub(crate) fn modem(config: &config::Modem, from: Option<&Number>) -> anyhow::Result<Modem> {
    if let (Some(imsi), Some(interface)) = (config.imsi, config.interface.clone()) {
        return Ok(Modem::fixed(Fixed { imsi, imei: config.imei, interface })?);
    }
    let bus = config.bus.clone().map_or(homeward_modem::Bus::System, homeward_modem::Bus::Address);
    Ok(Modem::managed(Managed {
        bus,
        imei: config.imei,
        interface: config.interface.clone(),
        messages_from: from.into_iter().cloned().collect(),
        ..Managed::default()
    })?)
}

fn check(config: &config::Check) -> anyhow::Result<Target> {
    config.target().map_err(anyhow::Error::msg).context("check.url")
}

fn steering(config: &config::Steer) -> anyhow::Result<Steering> {
    let mut steering = Steering::open(config.priority, config.table)?;
    if steering.remove()? {
        tracing::warn!("removed the routing rules that an earlier run left");
    }
    Ok(steering)
}

struct Device {
    config: Config,
    path: PathBuf,
    machine: Manager,
    vault: Vault,
    portal: Portal,
    check: Target,
    steering: Option<Steering>,
    hook: Hook,
    metrics: Arc<Metrics>,
    figures: Figures,
    sender: Sender,
    handoff: Option<Handoff>,
    home: Option<Home>,
    /// What the tunnel home was told last.
    home_told: Option<(Option<String>, Option<String>, Access)>,
    /// The operator's networks.
    networks: BTreeSet<Ssid>,
    /// How the machine wants to scan, and how is scanned.
    wanted: Option<Scanning>,
    /// Whether Wi-Fi's edge may be near, or is behind us.
    near_edge: bool,
    scanning: Option<Scanning>,
    orders: mpsc::UnboundedSender<Order>,
    look: watch::Sender<u64>,
    back: mpsc::UnboundedSender<Back>,
    /// The bearer, while it can be talked over.
    cellular: Option<Line>,
    /// The interface that the last bearer was on: what routes are left of it are cellular's.
    modem_interface: Option<String>,
    /// By what traffic can leave by Wi-Fi.
    wifi: Found,
    on_wifi: bool,
    /// Whether the station is on the home network, which the machine has nothing to do with.
    at_home: bool,
    /// Who runs the station, while somebody does.
    by: Option<By>,
    started: Instant,
}

impl Device {
    fn tell_time(&mut self) {
        let unix = SystemClock.unix();
        self.machine.handle_clock(WallClock { unix, offset: offset(unix) }, SystemClock.now());
    }

    fn modem(&mut self, facts: &homeward_modem::Facts) {
        let bearer = facts.usable();
        let line = bearer.map(|bearer| Line {
            interface: bearer.interface.clone(),
            addresses: bearer.addresses.clone(),
        });
        let moved = line != self.cellular;
        if let Some(line) = &line {
            self.modem_interface = Some(line.interface.clone());
        }
        self.cellular = line;
        let told = match &facts.modem {
            None => ModemFacts::default(),
            Some(modem) => ModemFacts {
                present: true,
                imsi: modem.imsi,
                imei: modem.imei,
                registration: registration(modem.registration),
                bearer: bearer.is_some(),
                messages: modem.messages,
            },
        };
        self.machine.handle_modem(told, SystemClock.now());
        if moved {
            self.steer();
        }
    }

    fn report(&mut self, report: Report) {
        let now = SystemClock.now();
        match report {
            Report::Heard(heard, just) => {
                self.heard(heard.iter().filter(|bss| just.contains(&bss.bssid)));
                self.machine.handle_scan(&heard, now);
            }
            Report::By(by) => self.by = by,
            Report::Signal(bssid, signal) => {
                self.signal(bssid, signal);
                self.machine.handle_signal(signal, now);
            }
            Report::AtHome(at_home) => {
                self.at_home = at_home;
                self.steer();
            }
            Report::Event(event) => {
                let connected = matches!(event, SupplicantEvent::Connected { .. });
                tracing::debug!(event = event.name(), "supplicant");
                self.machine.handle_supplicant(event, now);
                if connected {
                    self.look.send_modify(|count| *count = count.wrapping_add(1));
                }
            }
        }
    }

    fn addresses(&mut self, found: Found) {
        let moved = found != self.wifi;
        self.wifi = found;
        self.machine.handle_address(!self.wifi.addresses.is_empty(), SystemClock.now());
        // The tunnel's own interface may have got a default route, or lost it.
        if moved || self.home.is_some() {
            self.steer();
        }
    }

    fn back(&mut self, back: Back) {
        let now = SystemClock.now();
        match back {
            Back::Portal(id, result) => self.machine.handle_portal(id, *result, now),
            Back::Verified(id, found) => self.machine.handle_connectivity(id, found, now),
            Back::Sent(id, result) => self.machine.handle_message_sent(id, result, now),
        }
    }

    /// Does what the machine wants done.
    fn act(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Request { id, request } => {
                    let (portal, back) = (self.portal.clone(), self.back.clone());
                    let line = self.cellular.clone();
                    tokio::spawn(async move {
                        let result = match line {
                            Some(line) => portal.ask(request, line).await,
                            None => Err(Failure::Away("the bearer has gone".to_owned())),
                        };
                        // The loop has ended only if the daemon is ending.
                        let _ = back.send(Back::Portal(id, Box::new(result)));
                    });
                }
                Action::Verify { id } => {
                    let (target, back) = (self.check.clone(), self.back.clone());
                    let line = self.wifi_line();
                    tokio::spawn(async move {
                        let found = probe::look(&target, &line).await;
                        let _ = back.send(Back::Verified(id, found));
                    });
                }
                Action::Message { id, to, text } => self.message(id, to, text),
                Action::Program { id, networks } => {
                    self.networks = networks.iter().map(|network| network.ssid).collect();
                    self.order(Order::Program(id, networks));
                }
                Action::Join { ssid, bssid, avoid } => self.order(Order::Join(ssid, bssid, avoid)),
                Action::Leave => self.order(Order::Leave),
                Action::Scan(scanning) => self.wanted = scanning,
                Action::Measure(interval) => self.order(Order::Measure(interval)),
                Action::PreferWifi { .. } => {
                    self.on_wifi = true;
                    self.steer();
                }
                Action::PreferCellular => {
                    self.on_wifi = false;
                    self.steer();
                }
                Action::Store(stored) => {
                    if let Err(error) = self.vault.store(&stored) {
                        let error = format!("{error:#}");
                        tracing::error!(error, "credentials are not kept over a restart");
                    }
                }
                Action::Forget => {
                    if let Err(error) = self.vault.forget() {
                        tracing::error!(%error, "old credentials are still on the disk");
                    }
                }
                Action::Keys(imsi, keys) => {
                    if let Some(handoff) = &mut self.handoff {
                        handoff.enrolled(imsi, &keys);
                    }
                }
                Action::Notify(notice) => {
                    journal::write(&notice);
                    self.hook.tell(&notice);
                }
            }
        }
    }

    /// Sends a message. That it is sent is noted first: it counts, whatever becomes of us.
    fn message(&self, id: MessageId, to: String, text: Secret) {
        if let Err(error) = self.vault.note_message(SystemClock.unix()) {
            let error = format!("{error:#}");
            tracing::error!(error, "messages are not counted over a restart");
        }
        let (sender, back) = (self.sender.clone(), self.back.clone());
        tokio::spawn(async move {
            let send = async {
                let to: Number = to.parse().map_err(anyhow::Error::from)?;
                let text = std::str::from_utf8(text.expose())?;
                anyhow::Ok(sender.send(&to, text).await?)
            };
            let sent = send.await.map_err(|error| format!("{error:#}"));
            // The loop has ended only if the daemon is ending.
            let _ = back.send(Back::Sent(id, sent));
        });
    }

    /// Tells of how things stand now.
    fn settle(&mut self) {
        let status = self.machine.status();
        self.figures.take(&status);
        self.go_home(status.supplicant.lent);
        self.scan();
        let Some(handoff) = &self.handoff else { return };
        match status.session.filter(|_| status.on_wifi) {
            Some(session) => handoff.go(Some(&session.ssid), Some(self.wifi_line())),
            None => handoff.go(None, self.cellular.clone()),
        }
    }

    fn order(&self, order: Order) {
        // The hands have ended only if the daemon is ending.
        let _ = self.orders.send(order);
    }

    fn wifi_line(&self) -> Line {
        Line {
            interface: self.config.wlan.interface.clone(),
            addresses: self.wifi.addresses.clone(),
        }
    }

    /// Has new connections go where the machine wants them.
    fn steer(&mut self) {
        let by_wifi = self.by_wifi();
        let Some(steering) = &mut self.steering else { return };
        let wifi = self.config.wlan.interface.as_str();
        let cellular = self.modem_interface.as_deref();
        if let Err(error) = steering.steer(wifi, cellular, by_wifi) {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::error!(error, "connections cannot be sent where they should go");
        }
    }
}

/// How far local time is ahead of UTC, in minutes.
fn offset(unix: homeward_model::UnixTime) -> i32 {
    let Ok(at) = jiff::Timestamp::from_millisecond(unix.0) else { return 0 };
    jiff::tz::TimeZone::system().to_offset(at).seconds() / 60
}

const fn registration(modem: homeward_modem::Registration) -> Registration {
    match modem {
        homeward_modem::Registration::Unknown => Registration::Unknown,
        homeward_modem::Registration::Idle => Registration::Idle,
        homeward_modem::Registration::Searching => Registration::Searching,
        homeward_modem::Registration::Denied => Registration::Denied,
        homeward_modem::Registration::Home => Registration::Home,
        homeward_modem::Registration::Roaming => Registration::Roaming,
    }
}
