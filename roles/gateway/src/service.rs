//! The loop around the agent: sockets, timers, status, reload, stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use homeward_daemon::config::ConfigError;
use homeward_daemon::metrics::Endpoint as MetricsEndpoint;
use homeward_daemon::{
    Control, ControlError, Exit, ExitContext, Metrics, Reload, Request, Shutdown, SystemClock,
    SystemEntropy, notify,
};
use homeward_hostapd::InterfaceName;
use homeward_model::{Clock, Instant};
use homeward_radius::SharedSecret;
use homeward_radius::dynauth::{DisconnectReceived, ErrorCause, Receiver, ReceiverSettings};
use homeward_transport::{Event as Wire, UdpClient};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

use crate::agent::{Agent, Input, Output};
use crate::config::{Config, Core};
use crate::doctor;
use crate::ear::{self, Counts, Probe};
use crate::hands::{self, Hands, Order};
use crate::journal::Journal;
use crate::line::Line;
use crate::neighbours;
use crate::reach::Reach;
use crate::reload::{self, differ};
use crate::segments::Segments;
use crate::uplink::Uplink;
use crate::wall::Wall;

/// Probes that wait for the agent; beyond that they are dropped and counted.
const PROBE_QUEUE: usize = 1024;
/// The longest RADIUS packet (RFC 2865 3), and an octet to see that one is longer.
const DATAGRAM: usize = 4097;
/// The commands of the status socket.
const COMMANDS: [&str; 3] = ["status", "metrics", "reload"];

type Ask = (Request, oneshot::Sender<Result<Value, ControlError>>);

/// Runs the gateway until shutdown, hearing probes on a monitor interface. `path` is read again on
/// reload.
///
/// # Errors
///
/// What cannot be had at the start: secrets, sockets, a run directory. Later failures (hostapd or
/// the core gone, the monitor interface deleted) are reported, counted and survived.
pub async fn run(
    config: Config,
    path: PathBuf,
    shutdown: Shutdown,
    reload: Reload,
) -> anyhow::Result<()> {
    // Roamers on the owner's own bridge would be in the owner's LAN.
    doctor::check_bridge(&config).exit(Exit::Config)?;
    let heard = Arc::new(Counts::default());
    let (out, probes) = mpsc::channel(PROBE_QUEUE);
    let ear = tokio::spawn(ear::run(
        config.radio.interface.clone(),
        config.radio.monitor.clone(),
        Arc::clone(&heard),
        out,
        shutdown.clone(),
    ));
    let outcome = run_hearing(config, path, heard, probes, shutdown.clone(), reload).await;
    shutdown.trigger();
    ear.await.context("the task that hears probes failed")?;
    outcome
}

/// As [`run`], with probes that come from elsewhere; `heard` is what `status` shows of them.
///
/// # Errors
///
/// As [`run`].
pub async fn run_hearing(
    config: Config,
    path: PathBuf,
    heard: Arc<Counts>,
    mut probes: mpsc::Receiver<Probe>,
    shutdown: Shutdown,
    mut reload: Reload,
) -> anyhow::Result<()> {
    let mut metrics = Metrics::new("gateway", env!("CARGO_PKG_VERSION"));
    let journal = Journal::new(&mut metrics);
    let uplink = Uplink::start(&config).await?;
    let cores = match &uplink {
        Some(uplink) => vec![(uplink.lookups, SharedSecret::new(&uplink.secret)?)],
        None => secrets(&config)?,
    };
    let serve_home = config.home.psk_file.is_some();
    let wall = Wall::build(&config).exit(Exit::System)?;
    let line = Line::share(&config).exit(Exit::System)?;
    let segments = Arc::new(Segments::open().exit(Exit::System)?);
    let (input_tx, mut inputs) = mpsc::unbounded_channel();
    let (reach, tunnels) = Reach::start(&config, Arc::clone(&segments), &input_tx)?.unzip();
    let agent = Agent::new(
        config.name.clone(),
        config.vap_settings(),
        serve_home,
        cores.iter().map(|(_, secret)| secret.clone()),
        tunnels,
        journal,
    );

    let (report_tx, mut reports) = mpsc::unbounded_channel();
    let (orders, order_rx) = mpsc::unbounded_channel();
    let hands = Hands::new(hands_settings(&config, uplink.as_ref())?, segments, report_tx)
        .exit(Exit::Config)?;
    let disconnect = match config.disconnect.listen {
        Some(address) => Some(
            UdpSocket::bind(address)
                .await
                .with_context(|| {
                    format!(
                        "cannot listen on {address} for Disconnect-Requests (disconnect.listen)"
                    )
                })
                .exit(Exit::Unavailable)?,
        ),
        None => None,
    };
    let control = Control::bind(&config.control.socket, Default::default())?;
    let (ask_tx, mut asks) = mpsc::channel::<Ask>(16);
    let serve_control = control.serve(
        move |request| {
            let ask_tx = ask_tx.clone();
            async move {
                let (answer_tx, answer) = oneshot::channel();
                let ended = || ControlError::failed(anyhow::anyhow!("the gateway is stopping"));
                ask_tx.send((request, answer_tx)).await.map_err(|_| ended())?;
                answer.await.map_err(|_| ended())?
            }
        },
        shutdown.clone(),
    );
    let metrics = metrics.share();
    let endpoint = match config.metrics.listen {
        Some(address) => Some(MetricsEndpoint::bind(address).await.exit(Exit::Unavailable)?),
        None => None,
    };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(serve_control);
    if let Some(endpoint) = endpoint {
        tasks.spawn(endpoint.serve(Arc::clone(&metrics), || Ok(()), shutdown.clone()));
    }
    let hands = tokio::spawn(hands.run(order_rx, shutdown.clone()));

    let wire = UdpClient::new(cores.iter().map(|(address, _)| (*address).into()));
    // A core that is reached by TLS revokes by the control channel.
    let secrets = if uplink.is_some() { Vec::new() } else { cores };
    let mut this = Gateway {
        receiver: Receiver::new(config.name.as_str(), ReceiverSettings::default()),
        started: SystemClock.now(),
        entropy: SystemEntropy::new(),
        config,
        path,
        secrets,
        agent,
        wall,
        line,
        reach,
        inputs: input_tx,
        orders,
        wire,
        uplink,
        heard,
        metrics,
    };
    notify::ready();
    tracing::info!(gateway = %this.config.name, "gateway is running");
    let mut datagram = vec![0u8; DATAGRAM];
    // Polled by this loop only, so that the watchdog hears of a loop that hangs.
    // The channel is wanted from the start.
    this.agent.handle_timeout(SystemClock.now());
    this.put_out();
    let keep_alive = notify::keep_alive();
    tokio::pin!(keep_alive);
    loop {
        let deadline = this.agent.poll_timeout();
        tokio::select! {
            () = shutdown.requested() => break,
            Some(probe) = probes.recv() => this.input(Input::Probe(probe)),
            event = this.wire.event() => this.heard_from_core(event),
            Some(report) = reports.recv() => this.input(Input::Hostapd(report)),
            Some(input) = inputs.recv() => this.input(input),
            received = receive(disconnect.as_ref(), &mut datagram) => {
                if let (Some(socket), Ok((octets, source))) = (&disconnect, received) {
                    this.disconnect(socket, datagram.get(..octets).unwrap_or_default(), source).await;
                }
            }
            Some((request, answer)) = asks.recv() => {
                // The client may have gone.
                let _ = answer.send(this.answer(&request));
            }
            _reloading = reload.requested() => {
                // Whatever there is to say is in the log.
                let _ = this.reload();
            }
            () = SystemClock.until(deadline) => {
                this.agent.handle_timeout(SystemClock.now());
                this.put_out();
            }
            () = &mut keep_alive => {}
        }
    }
    tracing::info!("stopping; removing the VAPs");
    hands.await.context("the task that speaks to hostapd failed")?;
    if let Some(uplink) = this.uplink.take() {
        uplink.stop().await;
    }
    if let Some(reach) = this.reach.take() {
        reach.stop().await?;
    }
    tasks.shutdown().await;
    Ok(())
}

struct Gateway {
    config: Config,
    path: PathBuf,
    /// The core's hosts, each with its secret.
    secrets: Vec<(SocketAddr, SharedSecret)>,
    agent: Agent,
    /// Both kept to the end: they fall when all roamers have gone.
    wall: Wall,
    line: Line,
    reach: Option<Reach>,
    inputs: mpsc::UnboundedSender<Input>,
    orders: mpsc::UnboundedSender<(u64, Order)>,
    wire: UdpClient,
    uplink: Option<Uplink>,
    receiver: Receiver,
    entropy: SystemEntropy,
    heard: Arc<Counts>,
    metrics: Arc<Metrics>,
    started: Instant,
}

impl Gateway {
    fn input(&mut self, input: Input) {
        self.agent.handle(input, SystemClock.now());
        self.put_out();
    }

    /// Does what the agent wants done.
    fn put_out(&mut self) {
        while let Some(output) = self.agent.poll_output() {
            match output {
                Output::Send(t) => self.wire.send(t.server, usize::from(t.socket), &t.payload),
                Output::Order { epoch, order } => {
                    // The hands have ended only if the gateway is ending.
                    let _ = self.orders.send((epoch, order));
                }
                Output::TellLoad => {
                    let (octets_in, octets_out) =
                        self.reach.as_ref().map(Reach::octets).unwrap_or_default();
                    self.agent.load(octets_in, octets_out, SystemClock.now());
                    self.listen_for_neighbours();
                }
                Output::Plane(order) => {
                    if let Some(reach) = &self.reach {
                        reach.plane(order);
                    }
                }
                Output::Channel(action) => {
                    if let Some(reach) = &self.reach {
                        reach.channel(action);
                    }
                }
                Output::Say(message) => {
                    if let Some(reach) = &self.reach {
                        reach.say(message);
                    }
                }
            }
        }
    }

    /// Has the radio's neighbours looked up beside everything else.
    fn listen_for_neighbours(&self) {
        let (monitor, inputs) = (self.config.radio.monitor.clone(), self.inputs.clone());
        tokio::spawn(async move {
            match neighbours::listen(&monitor).await {
                // Nobody listens any more: the gateway is ending.
                Ok(heard) => drop(inputs.send(Input::Neighbours(heard))),
                Err(error) => tracing::debug!(%error, "neighbours not heard"),
            }
        });
    }

    fn heard_from_core(&mut self, event: Wire) {
        match event {
            Wire::Datagram { server, socket, bytes } => {
                let Ok(socket) = u16::try_from(socket) else { return };
                self.input(Input::Datagram { server, socket, octets: bytes });
            }
            Wire::Unreachable { server, error, .. } => {
                tracing::debug!(server, %error, "the core's host refuses");
            }
            Wire::Moved { .. } | Wire::NotFound { .. } => {}
        }
    }

    /// A Disconnect-Request (RFC 5176): believed only from a host of the core and under its secret.
    async fn disconnect(&mut self, socket: &UdpSocket, octets: &[u8], source: SocketAddr) {
        let host = source.ip().to_canonical();
        let Some((_, secret)) = self.secrets.iter().find(|(core, _)| core.ip() == host) else {
            tracing::debug!(%source, "Disconnect-Request from a host that is not the core's");
            return;
        };
        let now = SystemClock.now();
        let received = self.receiver.handle(
            source,
            secret,
            octets,
            now,
            SystemClock.unix(),
            &mut self.entropy,
        );
        let reply = match received {
            DisconnectReceived::Disconnect { mac, ticket } => {
                let revoked = self.agent.revoke(mac, None, now);
                let outcome = if revoked.is_empty() {
                    Err(ErrorCause::SESSION_CONTEXT_NOT_FOUND)
                } else {
                    Ok(())
                };
                let reply = self.receiver.respond(&ticket, secret, outcome, &mut self.entropy);
                let reply = reply.map(<[u8]>::to_vec);
                self.put_out();
                match reply {
                    Ok(reply) => reply,
                    Err(error) => {
                        tracing::error!(%error, "Disconnect-Request carried out, but not answered");
                        return;
                    }
                }
            }
            DisconnectReceived::Reply(reply) => reply,
            DisconnectReceived::InProgress => return,
            DisconnectReceived::Dropped(reason) => {
                tracing::warn!(%source, %reason, "Disconnect-Request dropped");
                return;
            }
        };
        if let Err(error) = socket.send_to(&reply, source).await {
            tracing::warn!(%source, %error, "answer to a Disconnect-Request not sent");
        }
    }

    fn answer(&mut self, request: &Request) -> Result<Value, ControlError> {
        match request.command.as_str() {
            "status" => serde_json::to_value(self.status()).map_err(ControlError::failed),
            "metrics" => Ok(Value::String(self.metrics.text())),
            "reload" => {
                let reloaded = self.reload().map_err(ControlError::failed)?;
                serde_json::to_value(reloaded).map_err(ControlError::failed)
            }
            other => Err(ControlError::unknown(other, &COMMANDS)),
        }
    }

    fn status(&self) -> Value {
        let now = SystemClock.now();
        let by_udp = self.secrets.iter().zip(self.agent.servers_up());
        let core = match &self.uplink {
            Some(uplink) => uplink.status(),
            None => by_udp
                .map(|((address, _), up)| json!({ "address": address.to_string(), "up": up }))
                .collect(),
        };
        json!({
            "role": "gateway",
            "name": self.config.name,
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_ms": u64::try_from(now.since(self.started).as_millis()).unwrap_or(u64::MAX),
            "interface": self.config.radio.interface,
            "bridge": self.config.roam.bridge,
            "core": core,
            "heard": self.heard.get(),
            "radio": self.agent.status(now),
            "channel": self.agent.tunnel_status(now),
            "listen": self.reach.as_ref().map(Reach::listen),
            "tunnels": self.reach.as_ref().map(Reach::status),
            "reflexive": self.reach.as_ref().map(Reach::reflexive),
        })
    }

    /// Takes what may change while roamers are served. What takes effect with a restart only is
    /// said, and what could not be done.
    ///
    /// # Errors
    ///
    /// The file is wrong; all is as it was.
    fn reload(&mut self) -> Result<Reloaded, ConfigError> {
        let new = Config::load(&self.path).inspect_err(|error| {
            let error = chain(error);
            tracing::error!(error, "configuration not reloaded; the old one stays in force");
        })?;
        let restart = reload::needs_restart(&self.config, &new);
        let mut next = reload::applicable(&self.config, &new);
        let mut failed = Vec::new();
        if differ(&Wall::rules(&self.config), &Wall::rules(&next))
            && let Err(error) = self.wall.rebuild(&next)
        {
            failed.push(format!("roam.uplinks: {error:#}"));
            next.roam.uplinks.clone_from(&self.config.roam.uplinks);
        }
        if differ(&self.config.owner, &next.owner)
            && let Err(error) = self.line.reshare(&next)
        {
            failed.push(format!("{error:#}"));
            next.owner = self.config.owner.clone();
        }
        let now = SystemClock.now();
        let serve_home = new.home.psk_file.is_some() && self.config.home.psk_file.is_some();
        self.agent.reconfigure(next.vap_settings(), serve_home, now);
        if let Some(reach) = &self.reach {
            self.agent.retune(reach.tuning(&next), now);
        }
        self.config = next;
        self.put_out();
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
}

/// What became of a reload, besides what took effect.
#[derive(Debug, Serialize)]
struct Reloaded {
    /// The keys that differ from what is in force, and take effect with a restart only.
    restart: Vec<&'static str>,
    /// What could not be done, and why.
    failed: Vec<String>,
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

async fn receive(
    socket: Option<&UdpSocket>,
    room: &mut [u8],
) -> std::io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(room).await,
        None => std::future::pending().await,
    }
}

fn secrets(config: &Config) -> anyhow::Result<Vec<(SocketAddr, SharedSecret)>> {
    let by_udp = config.core.iter().filter_map(Core::by_udp);
    by_udp
        .map(|(address, source)| {
            let secret = SharedSecret::new(&source.read()?).exit(Exit::Config)?;
            if secret.is_short() {
                tracing::warn!(core = %address, "the RADIUS secret is short: use 16 characters or more");
            }
            Ok((address, secret))
        })
        .collect()
}

/// What hostapd is told of accounting: it goes to the servers of look-ups.
fn accounting(
    config: &Config,
    uplink: Option<&Uplink>,
) -> anyhow::Result<Option<homeward_hostapd::Accounting>> {
    if !config.accounting.enabled {
        return Ok(None);
    }
    let by_udp = config.core.iter().filter_map(Core::by_udp);
    let by_udp = by_udp.map(|(address, secret)| -> anyhow::Result<_> {
        Ok((config.accounting.beside(address), secret.read()?))
    });
    Ok(Some(homeward_hostapd::Accounting {
        servers: match uplink {
            Some(uplink) => vec![(uplink.records, uplink.secret.clone())],
            None => by_udp.collect::<anyhow::Result<_>>()?,
        },
        nas_identifier: config.name.to_string(),
        interim: u16::try_from(config.accounting.interim.0.as_secs()).unwrap_or(u16::MAX),
    }))
}

fn hands_settings(config: &Config, uplink: Option<&Uplink>) -> anyhow::Result<hands::Settings> {
    let name = |name: &str| name.parse::<InterfaceName>().exit(Exit::Config);
    let settings = config.vap_settings();
    Ok(hands::Settings {
        hostapd: homeward_hostapd::Settings {
            socket: config.radio.hostapd.clone(),
            run_dir: config.radio.run_directory.clone(),
            owner: name(&config.radio.interface)?,
            prefix: config.radio.vap_prefix.clone(),
            ..Default::default()
        },
        bridge: config.roam.bridge.as_deref().map(name).transpose()?,
        home: config.home.psk_file.clone(),
        max_devices: u16::try_from(settings.max_devices_per_vap).unwrap_or(u16::MAX),
        accounting: accounting(config, uplink)?,
    })
}
