//! The loop around the offload machine.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use homeward_daemon::config::ConfigError;
use homeward_daemon::metrics::Endpoint;
use homeward_daemon::{
    Control, ControlError, Exit, ExitContext, Metrics, Reload, Request, Shutdown, SystemClock,
    SystemEntropy, notify,
};
use homeward_linux::Steering;
use homeward_model::{Clock, Instant, Secret};
use homeward_modem::{Fixed, Managed, Modem, News, Number, Sender};
use homeward_offload::manager::{
    Action, Answer, Connectivity, Failure, Manager, MessageId, ModemFacts, Registration, RequestId,
    SupplicantEvent, Switches, VerifyId, WallClock,
};
use homeward_supplicant::By;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};

use crate::addresses::{Found, Watcher};
use crate::config::{self, Config};
use crate::dial::{Line, Target};
use crate::figures::Figures;
use crate::handoff::{Handoff, asked};
use crate::hands::{Hands, Order, PATIENCE, Report};
use crate::hook::Hook;
use crate::portal::Portal;
use crate::vault::Vault;
use crate::{journal, probe, reload};

/// The commands of the status socket.
const COMMANDS: [&str; 8] =
    ["status", "why", "switch", "metrics", "reload", "enrol", "flow", "key"];
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
    let place = config.wlan.place(PATIENCE).exit(Exit::Config)?;
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
        orders,
        look,
        back: back_tx,
        cellular: None,
        modem_interface: None,
        wifi: Found::default(),
        on_wifi: false,
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
            Report::Heard(heard) => self.machine.handle_scan(&heard, now),
            Report::By(by) => self.by = by,
            Report::Signal(signal) => self.machine.handle_signal(signal, now),
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
        if moved {
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
                Action::Program { id, networks } => self.order(Order::Program(id, networks)),
                Action::Join { ssid, bssid, avoid } => self.order(Order::Join(ssid, bssid, avoid)),
                Action::Leave => self.order(Order::Leave),
                Action::Scan(scanning) => self.order(Order::Scan(scanning)),
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
    fn settle(&self) {
        let status = self.machine.status();
        self.figures.take(&status);
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
        let Some(steering) = &mut self.steering else { return };
        let wifi = self.config.wlan.interface.as_str();
        let cellular = self.modem_interface.as_deref();
        if let Err(error) = steering.steer(wifi, cellular, self.on_wifi) {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::error!(error, "connections cannot be sent where they should go");
        }
    }

    /// Answers who asks; they may have gone.
    fn asked(&mut self, request: &Request, answer: oneshot::Sender<Result<Value, ControlError>>) {
        match asked::asked(self.handoff.as_ref(), request) {
            Some(Ok(answering)) => {
                tokio::spawn(async move { answer.send(answering.await) });
            }
            Some(Err(error)) => drop(answer.send(Err(error))),
            None => drop(answer.send(self.answer(request))),
        }
    }

    fn answer(&mut self, request: &Request) -> Result<Value, ControlError> {
        match request.command.as_str() {
            "status" => self.status().map_err(ControlError::failed),
            "why" => serde_json::to_value(self.machine.why()).map_err(ControlError::failed),
            "reload" => {
                let reloaded = self.reload().map_err(ControlError::failed)?;
                serde_json::to_value(reloaded).map_err(ControlError::failed)
            }
            "enrol" => {
                let keys = asked::anew(self.handoff.as_ref())?;
                self.machine.handle_keys(keys, SystemClock.now());
                Ok(json!({ "asks": true }))
            }
            "metrics" => Ok(Value::String(self.metrics.text())),
            "switch" => {
                let wanted: Wanted = request.parse()?;
                let before = self.machine.switches();
                let switches = Switches {
                    offload: wanted.offload.unwrap_or(before.offload),
                    metered: wanted.metered.unwrap_or(before.metered),
                };
                self.vault.keep_switches(switches).map_err(ControlError::failed)?;
                self.machine.handle_setting(switches, SystemClock.now());
                serde_json::to_value(switches).map_err(ControlError::failed)
            }
            other => Err(ControlError::unknown(other, &COMMANDS)),
        }
    }

    /// Takes what may change while a network is used. What takes effect with a restart only is
    /// said, and what could not be done.
    ///
    /// # Errors
    ///
    /// The file is wrong; all is as it was.
    fn reload(&mut self) -> Result<Reloaded, ConfigError> {
        let new = Config::load(&self.path).inspect_err(|error| {
            tracing::error!(%error, "configuration not reloaded; the old one stays in force");
        })?;
        let restart = reload::needs_restart(&self.config, &new);
        let mut next = reload::applicable(&self.config, &new);
        let mut failed = Vec::new();
        let date = self.portal.date();
        match Portal::new(&next.portal, Some(date)) {
            Ok(portal) => self.portal = portal,
            Err(error) => {
                failed.push(format!("{error:#}"));
                next.portal = self.config.portal.clone();
            }
        }
        match check(&next.check) {
            Ok(check) => self.check = check,
            Err(error) => {
                failed.push(format!("{error:#}"));
                next.check = self.config.check.clone();
            }
        }
        if next.notify.command != self.config.notify.command {
            self.hook = Hook::start(next.notify.command.clone());
        }
        self.config = next;
        for error in &failed {
            tracing::error!(error, "a setting could not take effect");
        }
        if !restart.is_empty() {
            let keys = restart.join(", ");
            tracing::warn!(keys, "these settings have changed and take effect with a restart only");
        }
        tracing::info!("configuration reloaded");
        Ok(Reloaded { restart, failed })
    }

    fn status(&self) -> serde_json::Result<Value> {
        let uptime = SystemClock.now().since(self.started).as_millis();
        let cellular = self.cellular.as_ref();
        Ok(json!({
            "role": "device",
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_ms": u64::try_from(uptime).unwrap_or(u64::MAX),
            "portal": self.config.portal.url,
            "portal_number": self.config.portal.sms.number,
            "wifi": {
                "interface": self.config.wlan.interface,
                "by": self.by,
                "addresses": self.wifi.addresses,
            },
            "cellular": cellular.map(|line| {
                json!({ "interface": line.interface, "addresses": line.addresses })
            }),
            "steers": self.steering.is_some(),
            "handoff": self.handoff.as_ref().map(Handoff::status),
            "handoff_keys": self.handoff.as_ref().map(Handoff::keys_status),
            "machine": serde_json::to_value(self.machine.status())?,
        }))
    }
}

/// What became of a reload, besides what took effect.
#[derive(Debug, Serialize)]
struct Reloaded {
    /// The keys that differ from what is in force, and take effect with a restart only.
    restart: Vec<&'static str>,
    /// What could not be done, and why.
    failed: Vec<String>,
}

/// What a user switches; what is not said stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    offload: Option<bool>,
    metered: Option<bool>,
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
