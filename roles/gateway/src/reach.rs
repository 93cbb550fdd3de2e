//! What reaches other gateways: the data plane, the thread that gives it orders, and the control
//! channel; started and stopped together.

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::Context;
use homeward_channel::keeper;
use homeward_control::link::{self, Identity};
use homeward_control::{Endpoint, EndpointKind, FromGateway, LinkSettings, PublicKey};
use homeward_daemon::{Exit, ExitContext, SystemClock, SystemEntropy};
use homeward_dataplane::{Dataplane, Key, ReflexiveConfig, ReflexiveStatus};
use homeward_model::{Clock, Entropy};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::agent::Input;
use crate::config::Config;
use crate::hosts::Hosts;
use crate::lan::Lan;
use crate::plane::{self, Plane};
use crate::segments::Segments;
use crate::tunnels::{Tuning, Tunnels};

/// How many paths besides its own a tunnel of a device may have here.
const LEGS_MAX: u32 = 3;

/// Handles to what runs.
pub(crate) struct Reach {
    dataplane: Arc<Dataplane>,
    plane: mpsc::Sender<plane::Order>,
    plane_thread: std::thread::JoinHandle<()>,
    channel: UnboundedSender<keeper::Order>,
    channel_task: tokio::task::JoinHandle<()>,
    hosts_task: tokio::task::JoinHandle<()>,
}

impl Reach {
    /// Starts what the configuration has of it; `None` where there is no controller. What comes
    /// of it goes to `inputs`.
    pub(crate) fn start(
        config: &Config,
        segments: Arc<Segments>,
        inputs: &UnboundedSender<Input>,
    ) -> anyhow::Result<Option<(Self, Tunnels)>> {
        if config.channel.core.is_empty() {
            return Ok(None);
        }
        let mut entropy = SystemEntropy::new();
        // New with every start, as sessions and cookies are: others get it from the controller,
        // and there is none at rest that could be stolen.
        let settings = homeward_dataplane::Config {
            listen: config.tunnel.listen.clone(),
            dscp: config.tunnel.dscp,
            keepalive: config.tunnel.keepalive.map(|period| period.0),
            hold: config.tunnel.hold.0,
            reflexive: ReflexiveConfig {
                interval: config.tunnel.stun_interval.0,
                always: config.home.bridge.is_some(),
                keepalive: nat_keepalive(config),
            },
            ..homeward_dataplane::Config::new(Key::new(entropy.octets()))
        };
        let events = inputs.clone();
        let dataplane =
            Dataplane::start(settings, SystemClock, SystemEntropy::new(), move |event| {
                // Nobody listens any more: the gateway is ending.
                let _ = events.send(Input::Plane(plane::Report::Event(event)));
            });
        let dataplane = Arc::new(dataplane.exit(Exit::Unavailable)?);

        let lan = config.home.bridge.as_deref().map(Lan::open).transpose().exit(Exit::Config)?;
        let tuning = Tuning::of(config, &dataplane);
        let identity = Identity {
            boot: u64::from_ne_bytes(entropy.octets()),
            software: format!("homeward {}", env!("CARGO_PKG_VERSION")),
            public_key: PublicKey(dataplane.public_key()),
            home: lan.is_some(),
            prepared_max: tuning.prepared_max,
            bssids: Vec::new(),
            // Without a secret that its owner knows, nobody but our own VAPs asks through it.
            carries_logins: config.proxy.secret.is_some(),
            path_keys: Vec::new(),
            legs_max: LEGS_MAX,
        };
        let Tuning { settings, endpoints, .. } = tuning;
        let mut tunnels = Tunnels::new(identity, settings, endpoints, SystemClock.now());
        let mut hosts = Hosts::new(dataplane.local_addresses(), config.home.bridge.clone());
        // The first greeting has them.
        if let Some(addresses) = hosts.look() {
            tunnels.plane(plane::Report::Hosts(addresses), SystemClock.now());
        }
        let hosts_task = tokio::spawn(hosts.watch({
            let inputs = inputs.clone();
            // As above.
            move |hosts| drop(inputs.send(Input::Plane(plane::Report::Hosts(hosts))))
        }));

        let (plane, orders) = mpsc::channel();
        let worker = Plane::new(Arc::clone(&dataplane), segments, lan, inputs.clone());
        let plane_thread = std::thread::Builder::new()
            .name("plane".into())
            .spawn(move || worker.run(&orders))
            .context("no thread for the data plane's orders")
            .exit(Exit::System)?;
        let (channel, orders) = unbounded_channel();
        let channel_task = tokio::spawn(keeper::keep(config.channel.clone(), orders, {
            let inputs = inputs.clone();
            // Nobody listens any more: the gateway is ending.
            move |news| drop(inputs.send(Input::Channel(news)))
        }));
        let this = Self { dataplane, plane, plane_thread, channel, channel_task, hosts_task };
        Ok(Some((this, tunnels)))
    }

    pub(crate) fn plane(&self, order: plane::Order) {
        // The thread has ended only if it panicked, which `stop` tells.
        let _ = self.plane.send(order);
    }

    pub(crate) fn channel(&self, action: link::Action) {
        // As above.
        let _ = self.channel.send(keeper::Order::Do(action));
    }

    pub(crate) fn say(&self, message: FromGateway) {
        // As above.
        let _ = self.channel.send(keeper::Order::Say(Box::new(message)));
    }

    /// What of a configuration the tunnels may be told while they are up.
    pub(crate) fn tuning(&self, config: &Config) -> Tuning {
        Tuning::of(config, &self.dataplane)
    }

    /// Where other gateways' datagrams arrive.
    pub(crate) fn listen(&self) -> Vec<SocketAddr> {
        self.dataplane.local_addresses()
    }

    /// How the tunnels fare.
    pub(crate) fn status(&self) -> Vec<homeward_dataplane::TunnelStatus> {
        self.dataplane.status()
    }

    /// How the Internet sees the data plane: by the only access there is.
    pub(crate) fn reflexive(&self) -> Option<ReflexiveStatus> {
        self.dataplane.reflexive().into_iter().next()
    }

    /// Octets received from and sent into the tunnels there are.
    pub(crate) fn octets(&self) -> (u64, u64) {
        self.status().iter().fold((0, 0), |(received, sent), tunnel| {
            (received + tunnel.received.octets, sent + tunnel.sent.octets)
        })
    }

    /// Closes the channel and takes the tunnels down.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let Self { plane, plane_thread, channel, channel_task, hosts_task, .. } = self;
        drop((plane, channel));
        hosts_task.abort();
        channel_task.await.context("the task that keeps the channel failed")?;
        let joined = tokio::task::spawn_blocking(move || plane_thread.join());
        match joined.await.context("no thread to wait with")? {
            Ok(()) => Ok(()),
            Err(_) => anyhow::bail!("the thread that gives the data plane its orders failed"),
        }
    }
}

impl Tuning {
    fn of(config: &Config, dataplane: &Dataplane) -> Self {
        Self {
            settings: LinkSettings { offline: config.tunnel.offline.0, ..LinkSettings::default() },
            prepared_max: u32::try_from(config.vap_settings().max_prepared).unwrap_or(u32::MAX),
            endpoints: endpoints(config, dataplane),
        }
    }
}

/// How often an idle tunnel says something where there turns out to be a NAT: not where its owner has
/// others let in by it.
fn nat_keepalive(config: &Config) -> Option<Duration> {
    let every = config.tunnel.nat_keepalive.0;
    (!every.is_zero() && config.tunnel.advertise.is_empty()).then_some(every)
}

/// Where others may send: what the owner says, or the port alone; the controller sees the address.
fn endpoints(config: &Config, dataplane: &Dataplane) -> Vec<Endpoint> {
    let told = config.tunnel.advertise.iter().map(|at| Endpoint::new(*at, EndpointKind::Told));
    let own = dataplane.local_addresses().into_iter();
    told.chain(own.map(|at| Endpoint::new(at, EndpointKind::Host))).collect()
}
