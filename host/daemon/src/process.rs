//! A process of one role or several: what they share.
//!
//! Each role starts by itself and becomes a [`Part`]: its work, and what it says of itself. The
//! process serves them all over one status socket and one metrics endpoint, tells the service
//! manager that it is ready once everything is started, and stops when any of them ends.
//!
//! ```no_run
//! # use homeward_daemon::process::{ControlConfig, MetricsConfig, Part, Process};
//! # use homeward_daemon::{Reload, Shutdown};
//! # async fn start_aaa(_: &mut homeward_daemon::Metrics) -> anyhow::Result<Part> { todo!() }
//! # async fn start_portal(_: &mut homeward_daemon::Metrics) -> anyhow::Result<Part> { todo!() }
//! # async fn run(shutdown: Shutdown, reload: Reload) -> anyhow::Result<()> {
//! let mut process = Process::new("core", env!("CARGO_PKG_VERSION"));
//! let aaa = start_aaa(process.metrics()).await?;
//! process.add(aaa);
//! let portal = start_portal(process.metrics()).await?;
//! process.add(portal.section("portal"));
//! let (control, metrics) = (ControlConfig::default(), MetricsConfig::default());
//! process.serve(&control, &metrics, || {}, shutdown, reload).await
//! # }
//! ```

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Context;
use homeward_model::{Clock, Instant};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use crate::control::{self, Control, ControlError, Request};
use crate::lifecycle::{Reload, Shutdown};
use crate::metrics::{Endpoint, Metrics};
use crate::{Exit, ExitContext, SystemClock, notify};

/// What every process's status socket answers.
const COMMANDS: [&str; 2] = ["status", "metrics"];

/// `[control]`: the status socket.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlConfig {
    /// Its path; unset: `/run/homeward/<process>.sock`.
    pub socket: Option<PathBuf>,
}

impl ControlConfig {
    /// The status socket of the process with that name.
    pub fn path(&self, process: &str) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| control::default_path(process))
    }
}

/// `[metrics]`: metrics over HTTP.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Where; unset: through the status socket only.
    pub listen: Option<SocketAddr>,
}

/// A future without a type of its own.
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Says how a role is.
type Say = Box<dyn Fn() -> Boxed<Value> + Send + Sync>;

/// Carries out a command of a role's own.
type Do = Box<dyn Fn(Request) -> Boxed<Result<Value, ControlError>> + Send + Sync>;

/// A role that has started.
pub struct Part {
    section: Option<&'static str>,
    status: Say,
    commands: Vec<(&'static str, Do)>,
    work: Boxed<anyhow::Result<()>>,
}

impl Part {
    /// A role that says how it is when `status` is called, and works until `work` ends: by
    /// itself once a stop is requested, or earlier with an error.
    pub fn new<S, F, W>(status: S, work: W) -> Self
    where
        S: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Value> + Send + 'static,
        W: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let status = Box::new(move || -> Boxed<Value> { Box::pin(status()) });
        Self { section: None, status, commands: Vec::new(), work: Box::pin(work) }
    }

    /// The same, with a command of its own on the status socket.
    #[must_use]
    pub fn command<D, F>(mut self, name: &'static str, carry_out: D) -> Self
    where
        D: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Value, ControlError>> + Send + 'static,
    {
        let carry_out =
            move |request| -> Boxed<Result<Value, ControlError>> { Box::pin(carry_out(request)) };
        self.commands.push((name, Box::new(carry_out)));
        self
    }

    /// The same, its status under that key; without a section the status's own keys are the
    /// process's.
    #[must_use]
    pub fn section(self, key: &'static str) -> Self {
        Self { section: Some(key), ..self }
    }
}

/// A process and its roles.
pub struct Process {
    name: &'static str,
    version: &'static str,
    started: Instant,
    metrics: Metrics,
    parts: Vec<Part>,
}

impl Process {
    /// A process without roles yet.
    pub fn new(name: &'static str, version: &'static str) -> Self {
        let (started, metrics) = (SystemClock.now(), Metrics::new(name, version));
        Self { name, version, started, metrics, parts: Vec::new() }
    }

    /// Where a role registers what it counts, while it starts.
    pub fn metrics(&mut self) -> &mut Metrics {
        &mut self.metrics
    }

    /// Takes in a role that has started.
    pub fn add(&mut self, part: Part) {
        self.parts.push(part);
    }

    /// Serves until a stop is requested and all roles have ended; `reload` is called whenever a
    /// reload is.
    ///
    /// # Errors
    ///
    /// The status socket or the metrics' address if they are not to be had, or the error of the
    /// role that ended first.
    pub async fn serve(
        self,
        control: &ControlConfig,
        metrics: &MetricsConfig,
        mut reload: impl FnMut(),
        shutdown: Shutdown,
        mut reloads: Reload,
    ) -> anyhow::Result<()> {
        let control = Control::bind(&control.path(self.name), Default::default())?;
        let endpoint = match metrics.listen {
            Some(address) => Some(Endpoint::bind(address).await.exit(Exit::Unavailable)?),
            None => None,
        };
        let figures = self.metrics.share();
        let mut work = JoinSet::new();
        let (mut sections, mut commands) = (Vec::new(), Vec::new());
        for part in self.parts {
            work.spawn(part.work);
            sections.push((part.section, part.status));
            commands.extend(part.commands);
        }
        let status = Arc::new(Status {
            name: self.name,
            version: self.version,
            started: self.started,
            sections,
            commands,
        });
        let mut around = JoinSet::new();
        let (asked, told) = (Arc::clone(&status), Arc::clone(&figures));
        around.spawn(control.serve(
            move |request| answer(Arc::clone(&asked), Arc::clone(&told), request),
            shutdown.clone(),
        ));
        if let Some(endpoint) = endpoint {
            around.spawn(endpoint.serve(figures, || Ok(()), shutdown.clone()));
        }
        notify::ready();
        let keep_alive = notify::keep_alive();
        tokio::pin!(keep_alive);
        let mut outcome = Ok(());
        loop {
            tokio::select! {
                ended = work.join_next() => {
                    let Some(ended) = ended else { break };
                    let ended = ended.context("a role ended in a panic").exit(Exit::Software);
                    // The first error is the cause; those that follow from it say less.
                    outcome = outcome.and(ended.and_then(|ended| ended));
                    shutdown.trigger();
                }
                _reloading = reloads.requested() => reload(),
                () = &mut keep_alive => {}
            }
        }
        tracing::info!("stopping");
        shutdown.trigger();
        while around.join_next().await.is_some() {}
        outcome
    }
}

/// What `status` is made of.
struct Status {
    name: &'static str,
    version: &'static str,
    started: Instant,
    sections: Vec<(Option<&'static str>, Say)>,
    commands: Vec<(&'static str, Do)>,
}

async fn answer(
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    request: Request,
) -> Result<Value, ControlError> {
    match request.command.as_str() {
        "status" => Ok(status.gather().await),
        "metrics" => Ok(Value::String(metrics.text())),
        other => match status.commands.iter().find(|(name, _)| *name == other) {
            Some((_, carry_out)) => carry_out(request).await,
            None => {
                let own = status.commands.iter().map(|(name, _)| *name);
                let known: Vec<&str> = COMMANDS.into_iter().chain(own).collect();
                Err(ControlError::unknown(other, &known))
            }
        },
    }
}

impl Status {
    async fn gather(&self) -> Value {
        let up = SystemClock.now().since(self.started).as_millis();
        let mut all = Map::new();
        all.insert("role".into(), json!(self.name));
        all.insert("version".into(), json!(self.version));
        all.insert("uptime_ms".into(), json!(u64::try_from(up).unwrap_or(u64::MAX)));
        for (section, status) in &self.sections {
            let said = status().await;
            match (section, said) {
                (Some(key), said) => drop(all.insert((*key).to_owned(), said)),
                (None, Value::Object(said)) => all.extend(said),
                (None, _) => {}
            }
        }
        Value::Object(all)
    }
}
