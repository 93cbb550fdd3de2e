//! The device's own tunnel home (R10): one address of the home LAN on an interface that outlasts
//! Wi-Fi and cellular, which are two paths of one tunnel.
//!
//! ```text
//!  service ── ways, preference, wish ──► Homing ◄── channel ── keeper ── controller
//!                                          │ plan
//!                                          ▼
//!                            data plane: home0 ◄─► legs by Wi-Fi and cellular
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use homeward_channel::keeper;
use homeward_control::PublicKey;
use homeward_control::link::Identity;
use homeward_daemon::control::Kind;
use homeward_daemon::{
    ControlError, Exit, ExitContext, Request, SystemClock, SystemEntropy, private,
};
use homeward_dataplane::{Config, Dataplane, Event, Key, ReflexiveConfig};
use homeward_gpsd::{Gpsd, watch};
use homeward_linux::Links;
use homeward_linux::bridge::{self, ArpBefore};
use homeward_model::{Clock, Entropy};
use homeward_multipath::Mode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

mod coverage;
mod machine;
mod plane;

use coverage::Coverage;
pub use machine::{Access, Found, Notice};
use machine::{Homing, Output, Plan, Settings, Way, Ways};
use plane::Plane;

use crate::config::{self, Bond};

/// The task that keeps the tunnel.
#[derive(Debug)]
pub struct Home {
    inputs: mpsc::UnboundedSender<Input>,
    task: tokio::task::JoinHandle<()>,
}

/// What the task is told.
enum Input {
    Ways { wifi: Option<String>, cellular: Option<String>, preferred: Access },
    Found(Found),
    Bond(Bond, oneshot::Sender<Result<Mode, String>>),
    Status(oneshot::Sender<Value>),
    Channel(keeper::News),
    Opened(homeward_control::TunnelId, Result<(), String>),
    Plane(Event),
}

impl Home {
    /// Starts what the configuration says; what people may want to know goes to `notices`.
    ///
    /// # Errors
    ///
    /// The data plane's address cannot be had.
    pub fn start(
        config: &config::Home,
        notices: mpsc::UnboundedSender<Notice>,
    ) -> anyhow::Result<Self> {
        let mut entropy = SystemEntropy::new();
        // New with every start, as a gateway's: the controller tells the other end.
        let keys: [Key; 2] = std::array::from_fn(|_| Key::new(entropy.octets()));
        let [first, second] = &keys;
        let (inputs, received) = mpsc::unbounded_channel();
        let events = inputs.clone();
        let settings = Config {
            listen: config.listen.clone(),
            dscp: config.dscp,
            keepalive: Some(config.keepalive.0),
            reflexive: ReflexiveConfig {
                interval: config.stun_interval.0,
                ..ReflexiveConfig::default()
            },
            ..Config::new(first.clone())
        };
        let dataplane =
            Dataplane::start(settings, SystemClock, SystemEntropy::new(), move |event| {
                // Nobody listens any more: the device is ending.
                drop(events.send(Input::Plane(event)));
            });
        let dataplane = Arc::new(dataplane.exit(Exit::Unavailable)?);
        let identity = Identity {
            boot: u64::from_ne_bytes(entropy.octets()),
            software: format!("homeward {}", env!("CARGO_PKG_VERSION")),
            public_key: PublicKey(first.public_key()),
            path_keys: vec![PublicKey(second.public_key())],
            legs_max: 0,
            home: false,
            prepared_max: 0,
            bssids: Vec::new(),
            carries_logins: false,
        };
        let machine = Homing::new(
            Settings {
                interface: config.interface.clone(),
                bond: config.bond,
                hold: config.hold,
                cellular: config.cellular.path(),
            },
            Coverage::new(&config.coverage),
            identity,
            SystemClock.now(),
        );
        let (channel, orders) = mpsc::unbounded_channel();
        let news = inputs.clone();
        let keeping = tokio::spawn(keeper::keep(config.channel(), orders, move |one| {
            drop(news.send(Input::Channel(one)));
        }));
        let positions = config.coverage.gpsd.as_deref().map(|gpsd| {
            let inputs = inputs.clone();
            tokio::spawn(watch(Gpsd::at(gpsd), move |fix| {
                // Nobody listens any more: the device is ending.
                drop(inputs.send(Input::Found(Found::Fix(fix))));
            }))
        });
        let plane = Arc::new(Plane { dataplane, keys, interface: config.interface.clone() });
        let (work, waiting) = mpsc::unbounded_channel();
        tokio::spawn(carry_out(Arc::clone(&plane), waiting, inputs.clone()));
        let map = config.directory.join("coverage.map");
        let task =
            Task { machine, entropy, plane, channel, work, notices, map, before: BTreeMap::new() };
        let task = tokio::spawn(async move {
            task.run(received).await;
            keeping.abort();
            if let Some(positions) = positions {
                positions.abort();
            }
        });
        Ok(Self { inputs, task })
    }

    /// Says by which interfaces traffic can leave, and by which access it is to as far as nothing is
    /// foreseen.
    pub fn go(&self, wifi: Option<String>, cellular: Option<String>, preferred: Access) {
        self.tell(Input::Ways { wifi, cellular, preferred });
    }

    /// Says what there is to go by for coverage.
    pub fn found(&self, found: Found) {
        self.tell(Input::Found(found));
    }

    /// How both accesses are to be used; gives how they are.
    pub fn bond(&self, bond: Bond) -> oneshot::Receiver<Result<Mode, String>> {
        let (answer, answered) = oneshot::channel();
        self.tell(Input::Bond(bond, answer));
        answered
    }

    /// How the tunnel stands.
    pub fn status(&self) -> oneshot::Receiver<Value> {
        let (answer, answered) = oneshot::channel();
        self.tell(Input::Status(answer));
        answered
    }

    /// Takes the tunnel down; its interface goes.
    pub async fn stop(self) {
        let Self { inputs, task } = self;
        task.abort();
        drop(inputs);
        // It was aborted.
        let _ = task.await;
    }

    fn tell(&self, input: Input) {
        // The task ends with the daemon only.
        let _ = self.inputs.send(input);
    }
}

/// An answer that the task has to give.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Value, ControlError>> + Send>>;

/// What the status socket asks of the tunnel home: `bond`, which takes `how`, and `status`, to which
/// it adds; `None` if something else is asked.
pub(crate) fn asked(
    home: Option<&Home>,
    request: &Request,
    status: impl FnOnce() -> serde_json::Result<Value>,
) -> Option<Answering> {
    let stopping = || ControlError::failed(anyhow::anyhow!("the device is stopping"));
    match (request.command.as_str(), home) {
        ("status", Some(home)) => {
            let (answered, status) = (home.status(), status());
            Some(Box::pin(async move {
                let mut status = status.map_err(ControlError::failed)?;
                let home = answered.await.map_err(|_| stopping())?;
                if let Some(fields) = status.as_object_mut() {
                    fields.insert("home".to_owned(), home);
                }
                Ok(status)
            }))
        }
        ("bond", home) => {
            let wish = request.parse::<Wish>();
            let answered = home.zip(wish.as_ref().ok()).map(|(home, wish)| home.bond(wish.how));
            let off = "there is no tunnel home: [home] of the configuration makes one";
            Some(Box::pin(async move {
                let wish = wish?;
                let answered = answered.ok_or_else(|| ControlError::new(Kind::BadRequest, off))?;
                let used = answered.await.map_err(|_| stopping())?;
                let used = used.map_err(|why| ControlError::new(Kind::BadRequest, why))?;
                Ok(json!({ "wanted": wish.how, "used": used }))
            }))
        }
        _ => None,
    }
}

/// How both accesses are to be used.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    how: Bond,
}

/// Work for the data plane.
enum Work {
    Open(Box<Plan>),
    Close(homeward_control::TunnelId),
}

/// Carries work out, one thing at a time, off the runtime's threads.
async fn carry_out(
    plane: Arc<Plane>,
    mut waiting: mpsc::UnboundedReceiver<Work>,
    inputs: mpsc::UnboundedSender<Input>,
) {
    while let Some(work) = waiting.recv().await {
        let plane = Arc::clone(&plane);
        let done = tokio::task::spawn_blocking(move || match work {
            Work::Open(plan) => {
                let result = plane.open(&plan).map_err(|error| format!("{error:#}"));
                if let Err(error) = &result {
                    tracing::warn!(error, "the tunnel home is not set up");
                }
                Some(Input::Opened(plan.open.tunnel, result))
            }
            Work::Close(tunnel) => {
                plane.close(tunnel);
                None
            }
        });
        if let Ok(Some(input)) = done.await {
            // Nobody listens any more: the device is ending.
            drop(inputs.send(input));
        }
    }
}

struct Task {
    machine: Homing,
    entropy: SystemEntropy,
    plane: Arc<Plane>,
    channel: mpsc::UnboundedSender<keeper::Order>,
    work: mpsc::UnboundedSender<Work>,
    notices: mpsc::UnboundedSender<Notice>,
    /// Where the operator's map is kept.
    map: PathBuf,
    /// How the accesses' interfaces answered ARP before.
    before: BTreeMap<String, (u32, ArpBefore)>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.before.values().for_each(|(_, before)| before.put_back());
    }
}

impl Task {
    async fn run(mut self, mut inputs: mpsc::UnboundedReceiver<Input>) {
        self.remember_map();
        self.put_out();
        loop {
            let deadline = self.machine.poll_timeout();
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => self.input(input),
                    None => return,
                },
                () = SystemClock.until(deadline) => {
                    self.machine.handle_timeout(SystemClock.now(), &mut self.entropy);
                }
            }
            self.put_out();
        }
    }

    fn input(&mut self, input: Input) {
        let now = SystemClock.now();
        match input {
            Input::Ways { wifi, cellular, preferred } => {
                let ways = Ways { wifi: self.way(wifi), cellular: self.way(cellular) };
                self.machine.ways(ways, preferred, now);
            }
            Input::Found(found) => self.machine.found(found, now),
            // Whoever asked may have gone.
            Input::Bond(bond, answer) => drop(answer.send(self.machine.bond(bond, now))),
            Input::Status(answer) => {
                let tunnel = self.plane.dataplane.status().into_iter().next();
                let reflexive: Vec<Value> = self.reflexive().collect();
                let wanted = self.machine.status(now);
                let home = json!({ "wanted": wanted, "tunnel": tunnel, "reflexive": reflexive });
                drop(answer.send(home));
            }
            Input::Channel(news) => self.machine.channel(news, now, &mut self.entropy),
            Input::Opened(tunnel, result) => self.machine.opened(tunnel, result, now),
            Input::Plane(event) => self.machine.plane(event, now),
        }
    }

    /// How the Internet sees each access.
    fn reflexive(&self) -> impl Iterator<Item = Value> {
        self.plane.dataplane.reflexive().into_iter().filter_map(|seen| {
            let access = self.machine.access(seen.interface)?;
            Some(json!({ "access": access, "nat": seen.nat, "servers": seen.servers }))
        })
    }

    fn put_out(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            // Each of those who are told ends with the daemon only.
            match output {
                Output::Channel(action) => drop(self.channel.send(keeper::Order::Do(action))),
                Output::By(interface) => drop(self.channel.send(keeper::Order::By(interface))),
                Output::Say(message) => drop(self.channel.send(keeper::Order::Say(message))),
                Output::Address(address) => self.plane.dataplane.set_inner_address(address),
                Output::Stun(servers) => self.plane.dataplane.set_stun(&servers),
                Output::Open(plan) => drop(self.work.send(Work::Open(plan))),
                Output::Close(tunnel) => drop(self.work.send(Work::Close(tunnel))),
                Output::Tell(notice) => drop(self.notices.send(notice)),
                Output::Map(octets) => self.map(&octets),
            }
        }
    }

    /// Takes a map of the operator's gateways, and keeps it for the next start.
    fn map(&mut self, octets: &[u8]) {
        if let Err(error) = self.machine.map(octets, SystemClock.unix(), SystemClock.now()) {
            tracing::warn!(%error, "the operator's map is of no use");
        } else if let Err(error) = private::write(&self.map, octets) {
            tracing::warn!(%error, "the operator's map is not kept");
        }
    }

    /// Takes the map that was kept, if there is one.
    fn remember_map(&mut self) {
        let taken = match std::fs::read(&self.map) {
            Ok(octets) => self.machine.map(&octets, SystemClock.unix(), SystemClock.now()),
            Err(_) => return,
        };
        if let Err(error) = taken {
            tracing::warn!(%error, "the map that was kept is of no use");
        }
    }

    /// An interface by its name; none while it is not there. It answers for its own address only from
    /// then on: the virtual one may be in the same LAN.
    fn way(&mut self, name: Option<String>) -> Option<Way> {
        let name = name?;
        let index = match Links::open().and_then(|mut links| links.by_name(&name)) {
            Ok(link) => link?.index,
            Err(error) => {
                tracing::warn!(interface = name, %error, "an interface is not known");
                return None;
            }
        };
        // One that was made anew is as the kernel makes them.
        if self.before.get(&name).is_none_or(|(of, _)| *of != index) {
            match bridge::answer_for_itself(&name) {
                Ok(before) => drop(self.before.insert(name.clone(), (index, before))),
                Err(error) => {
                    let error = format!("{:#}", anyhow::Error::from(error));
                    tracing::warn!(
                        interface = name,
                        error,
                        "it may answer for the address at home"
                    );
                }
            }
        }
        Some(Way { name, index })
    }
}
