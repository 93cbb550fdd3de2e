//! The loop around a [`Plan`]: one server's session.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use homeward_daemon::{Shutdown, SystemClock, SystemEntropy};
use homeward_handoff::{Line as Call, LineError, WalkError, key_file};
use homeward_keychain::plan::{Outcome, Step};
use homeward_keychain::{Device, Flow, Plan};
use homeward_model::{Clock, Entropy, Instant, Name};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::tunnel::{Hop, Way};
use super::{Ask, FlowStatus, Key, Keys, Notice, Place, Sessions, Shared, Status, lock};
use crate::config;
use crate::dial::{Line, Target};

/// What all walkers share.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) config: config::Handoff,
    pub(super) sessions: Arc<Mutex<Sessions>>,
    pub(super) told: mpsc::UnboundedSender<Notice>,
}

/// One server's session.
#[derive(Debug)]
pub(super) struct Walker {
    base: Arc<Base>,
    server: Name,
    guard: Target,
    modules: BTreeMap<Name, (Target, u32)>,
    place: watch::Receiver<Place>,
    keys: watch::Receiver<Option<Arc<Keys>>>,
    /// Those that it has hopped with, or would.
    own: Option<Arc<Keys>>,
    device: Device,
    plan: Plan,
    error: Option<String>,
    status: watch::Sender<Status>,
    /// Where it was last, and is still; for tunnels.
    hops: watch::Sender<Option<Hop>>,
    /// Through tunnels, where there are any.
    way: Option<Way>,
}

/// What a step came to, and what is to be said of it.
type Came = Result<Outcome, (Outcome, String)>;

impl Walker {
    /// As it was kept, or one that has been nowhere.
    ///
    /// # Errors
    ///
    /// The configuration is none; it was checked when it was read.
    pub(super) fn new(
        base: Arc<Base>,
        server: &config::Server,
        place: watch::Receiver<Place>,
        keys: watch::Receiver<Option<Arc<Keys>>>,
    ) -> anyhow::Result<Self> {
        let name = &server.name;
        let kept = lock(&base.sessions).of(name).map(|saved| Device::restore(saved));
        let device = match kept {
            Some(Ok(device)) if device.server() == name => device,
            None => begin(&base, name)?,
            Some(_) => {
                tracing::warn!(server = %name, "the kept session is none: it begins anew");
                begin(&base, name)?
            }
        };
        let at = device.network().cloned();
        let mut plan = Plan::new(base.config.pace(), at, &mut SystemEntropy::new());
        for flow in server.flows().map_err(anyhow::Error::msg)? {
            plan.open(flow)?;
        }
        let modules = base.config.networks.iter().map(|network| {
            let target = network.target().map_err(anyhow::Error::msg)?;
            Ok((network.name.clone(), (target, network.version)))
        });
        let modules = modules.collect::<anyhow::Result<_>>()?;
        let guard = server.target().map_err(anyhow::Error::msg)?;
        let status = watch::Sender::new(describe(name, &device, &plan, None));
        let server = name.clone();
        let hops = watch::Sender::new(None);
        Ok(Self {
            base,
            server,
            guard,
            modules,
            place,
            keys,
            own: None,
            device,
            plan,
            error: None,
            status,
            hops,
            way: None,
        })
    }

    /// The server is reached that way.
    pub(super) fn goes(&mut self, way: Way) {
        self.way = Some(way);
    }

    pub(super) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Hops that were made, and are where traffic goes.
    pub(super) fn hops(&self) -> watch::Receiver<Option<Hop>> {
        self.hops.subscribe()
    }

    /// Walks until shutdown.
    pub(super) async fn run(mut self, mut asks: mpsc::UnboundedReceiver<Ask>, shutdown: Shutdown) {
        loop {
            let place = self.place.borrow_and_update().clone();
            self.renew();
            // Without keys no network lets it in, so it goes nowhere.
            self.plan.go(place.network.clone().filter(|_| self.own.is_some()));
            let step = self.plan.poll(SystemClock.now());
            self.publish();
            let Some(step) = step else {
                let until = self.plan.poll_timeout(SystemClock.now());
                tokio::select! {
                    () = shutdown.requested() => return,
                    Ok(()) = self.place.changed() => {}
                    Ok(()) = self.keys.changed() => {}
                    Some(ask) = asks.recv() => self.answer(ask),
                    () = SystemClock.until(until) => {}
                }
                continue;
            };
            let base = Arc::clone(&self.base);
            let came = {
                let (device, modules, way) = (&mut self.device, &self.modules, &mut self.way);
                let own = self.own.as_deref();
                let doing = async {
                    match &step {
                        Step::Hop { network, anew } => {
                            if let Some(way) = way {
                                way.is_clear(&place).await;
                            }
                            hop(&base, modules, device, (network, *anew), &place, own).await
                        }
                        Step::Open(flow) => {
                            let through = match way {
                                Some(way) => {
                                    let hop = (device.session(), device.hops());
                                    way.is_through(device.network(), hop).await
                                }
                                None => false,
                            };
                            let line = if through { By::Routes } else { By::Line(&place) };
                            open(&base, &self.guard, device, flow, line).await
                        }
                    }
                };
                tokio::select! {
                    () = shutdown.requested() => return,
                    // Whatever it was, it went by another line.
                    Ok(()) = self.place.changed() => None,
                    // With keys that are over.
                    Ok(()) = self.keys.changed() => None,
                    came = timeout(base.config.timeout.0, doing) => Some(came),
                }
            };
            match came {
                None => self.plan.give_up(),
                Some(Err(_)) => {
                    let words = format!("no answer within {:?}", base.config.timeout.0);
                    self.came(&step, Err((Outcome::Away, words)));
                }
                Some(Ok(came)) => self.came(&step, came),
            }
        }
    }

    /// Takes keys that are others than before: what was refused with those may go well.
    fn renew(&mut self) {
        let keys = self.keys.borrow_and_update().clone();
        let same = match (&keys, &self.own) {
            (Some(keys), Some(own)) => Arc::ptr_eq(keys, own),
            (keys, own) => keys.is_none() && own.is_none(),
        };
        if !same {
            self.own = keys;
            self.plan.go(None);
        }
    }

    fn came(&mut self, step: &Step, came: Came) {
        let (outcome, words) = match came {
            Ok(outcome) => (outcome, None),
            Err((outcome, words)) => (outcome, Some(words)),
        };
        let now = SystemClock.now();
        self.plan.done(outcome, now);
        let server = self.server.clone();
        match (outcome, step) {
            (Outcome::Hopped, Step::Hop { network, .. }) => {
                let hops = self.device.hops();
                let kept = lock(&self.base.sessions).keep(server.clone(), self.device.save());
                if let Err(error) = kept {
                    let error = format!("{error:#}");
                    tracing::error!(%server, error, "a session is not kept over a restart");
                }
                tracing::info!(%server, hops, "handed off");
                tracing::debug!(%server, %network, "the network of the hop");
                self.tell(Notice::HandedOff { server, network: network.clone(), hops });
            }
            (Outcome::Admitted(span), Step::Open(flow)) => {
                tracing::info!(%server, seconds = span.as_secs(), "a flow is admitted");
                let (flow, seconds) = (flow.to_string(), span.as_secs());
                self.tell(Notice::Admitted { server, flow, seconds });
            }
            _ => {
                let failures = self.plan.failures();
                let error = words.clone().unwrap_or_else(|| "the answer is none".to_owned());
                let what = if matches!(step, Step::Open(_)) { "not admitted" } else { "no hop" };
                tracing::warn!(%server, failures, "{what}; `homeward device status` says why");
                // It names the network.
                tracing::debug!(%server, error, "{what}");
                self.tell(Notice::NotProven { server, failures, error });
            }
        }
        self.error = words;
    }

    fn tell(&self, notice: Notice) {
        // The loop has ended only if the daemon is ending.
        let _ = self.base.told.send(notice);
    }

    /// Answers who asks; they may have gone.
    fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Open(flow, answer) => {
                let _ = answer.send(self.plan.open(flow).map_err(|error| error.to_string()));
            }
            Ask::Close(flow, answer) => {
                let _ = answer.send(self.plan.close(&flow));
            }
            Ask::Key(shared, purpose, answer) => {
                let traffic = || self.device.key().map(|key| key.traffic(&purpose));
                let key = match shared {
                    Shared::WithServer => self.device.application(&purpose).map(|k| k.password()),
                    Shared::WithNetwork => traffic().map(|key| key_file::text(key.expose())),
                };
                let _ = answer.send(key.zip(self.device.network()).map(|(key, network)| Key {
                    hop: self.device.hops(),
                    network: network.clone(),
                    key,
                }));
            }
        }
    }

    fn publish(&self) {
        if let Some(hop) = Hop::of(&self.device).filter(|_| self.plan.is_there()) {
            self.hops.send_if_modified(|before| hop.replaces(before));
        }
        let error = self.error.clone();
        self.status.send_replace(describe(&self.server, &self.device, &self.plan, error));
    }
}

/// A session that has been nowhere.
fn begin(base: &Base, server: &Name) -> anyhow::Result<Device> {
    let seed = SystemEntropy::new().octets();
    Ok(Device::new(seed, server.clone(), base.config.volunteer)?)
}

async fn hop(
    base: &Base,
    modules: &BTreeMap<Name, (Target, u32)>,
    device: &mut Device,
    (network, anew): (&Name, bool),
    place: &Place,
    own: Option<&Keys>,
) -> Came {
    let nowhere = || (Outcome::Away, format!("{network} has no module here"));
    let (module, version) = modules.get(network).ok_or_else(nowhere)?;
    let mut other = match anew {
        true => Some(begin(base, device.server()).map_err(|e| (Outcome::Away, e.to_string()))?),
        false => None,
    };
    let none = || (Outcome::Away, "there are no hand-off keys yet".to_owned());
    let Keys { name, root, version: given } = own.ok_or_else(none)?;
    let key = root.device_key(network, given.unwrap_or(*version));
    let mut call = call(base, module, By::Line(place)).await?;
    let broken = base.config.broken;
    let walked = {
        let device = other.as_mut().unwrap_or(&mut *device);
        call.hop(device, name, &key, broken, &mut SystemEntropy::new()).await
    };
    walked.map_err(|error| failed(&error))?;
    if let Some(other) = other {
        tracing::info!(server = %device.server(), "another session takes the place of one refused");
        *device = other;
    }
    Ok(Outcome::Hopped)
}

async fn open(base: &Base, guard: &Target, device: &mut Device, flow: &Flow, by: By<'_>) -> Came {
    let mut call = call(base, guard, by).await?;
    call.open(device, flow).await.map(Outcome::Admitted).map_err(|error| failed(&error))
}

/// How somebody is called.
#[derive(Debug, Clone, Copy)]
enum By<'a> {
    /// By what traffic goes by, whatever the routes say.
    Line(&'a Place),
    /// As the routes say: through a tunnel.
    Routes,
}

async fn call(base: &Base, target: &Target, by: By<'_>) -> Result<Call, (Outcome, String)> {
    let away = |error: &dyn std::fmt::Display| {
        (Outcome::Away, format!("{} does not answer: {error}", target.authority))
    };
    let none = Line { interface: String::new(), addresses: Vec::new() };
    let line = match by {
        By::Line(place) => Some(place.line.as_ref().unwrap_or(&none)),
        By::Routes => None,
    };
    let stream = target.connect(line).await.map_err(|e| away(&e))?;
    Call::over(stream, base.config.timeout.0).await.map_err(|e: LineError| away(&e))
}

fn failed(error: &WalkError) -> (Outcome, String) {
    let outcome = match error {
        WalkError::Line(_) | WalkError::Astray | WalkError::Refused { again: true } => {
            Outcome::Away
        }
        WalkError::Chain(_) | WalkError::Refused { again: false } => Outcome::Refused,
    };
    (outcome, error.to_string())
}

fn describe(server: &Name, device: &Device, plan: &Plan, error: Option<String>) -> Status {
    let now = SystemClock.now();
    let left = |until: Option<Instant>| {
        let left = until.filter(|until| *until > now)? - now;
        Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    };
    Status {
        server: server.clone(),
        session: device.session().to_string(),
        hops: device.hops(),
        at: device.network().cloned(),
        here: plan.here().cloned(),
        there: plan.is_there(),
        error,
        failures: plan.failures(),
        flows: plan
            .flows()
            .map(|(flow, standing)| FlowStatus {
                flow: flow.to_string(),
                admitted_ms: left(standing.until),
            })
            .collect(),
    }
}
