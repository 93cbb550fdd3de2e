//! The loop around the reporter: the GGSN's VTY on one side, RADIUS on the other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_daemon::{Shutdown, SystemClock, SystemEntropy};
use homeward_model::{Clock, Instant};
use homeward_radius::client::ClientError;
use homeward_radius::retransmit::Retransmission;
use homeward_radius::{Client, ClientEvent, ClientSettings, Code, RequestId, SharedSecret};
use homeward_transport::{UdpClient, client::Event};
use tokio::sync::mpsc;

use super::report::Nas;
use super::reporter::{ReportId, Reporter, ReporterSettings};
use crate::register::Register;
use crate::vty::{PdpContext, Vty, VtyError};

/// From one try to reach the VTY to the next.
const KNOCK: Duration = Duration::from_millis(100);

/// What the bridge is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The GGSN's VTY.
    pub vty: SocketAddr,
    /// The GGSN's name there.
    pub ggsn: String,
    /// Whom the reports are from.
    pub nas: Nas,
    /// Who is told.
    pub to: SocketAddr,
    /// What the packets are signed with.
    pub secret: SharedSecret,
    /// What is known of SIMs: a [`Register`].
    pub register: Option<PathBuf>,
    /// From one look at the GGSN to the next.
    pub look: Duration,
    /// How reports are made.
    pub reporter: ReporterSettings,
    /// How long the Accounting-Off is sent at the end, until it is answered.
    pub farewell: Duration,
}

/// What the task that looks at the GGSN has seen.
#[derive(Debug)]
enum Look {
    /// It answers, for the first time or again.
    Up,
    /// Its contexts.
    Contexts(Vec<PdpContext>),
}

/// Reports until a stop is asked for, and then the Accounting-Off.
///
/// # Errors
/// If a report cannot be encoded.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<()> {
    let (seen, mut looks) = mpsc::channel(4);
    let watch = tokio::spawn(watch(config.vty, config.ggsn.clone(), config.look, seen));
    let settings = ClientSettings {
        retransmission: Retransmission {
            first: Duration::from_millis(250),
            longest: Duration::from_secs(1),
            // Then it goes out anew, with another Acct-Delay-Time.
            give_up: Duration::from_secs(3),
        },
        // Who takes accounting need not answer it, and there is one server only.
        status_server: false,
        probe_longest: Duration::from_secs(1),
        ..ClientSettings::default()
    };
    let mut bridge = Bridge {
        client: Client::new(settings, [config.secret.clone()]),
        wire: UdpClient::new([config.to.into()]),
        reporter: Reporter::new(config.reporter),
        under_way: BTreeMap::new(),
        entropy: SystemEntropy::new(),
        config,
    };
    let mut end: Option<Instant> = None;
    while !bridge.reporter.is_closed() {
        bridge.put_out()?;
        let due = [bridge.client.poll_timeout(), bridge.reporter.poll_timeout(), end];
        let deadline = due.into_iter().flatten().min();
        tokio::select! {
            () = shutdown.requested(), if end.is_none() => {
                end = Some(SystemClock.now() + bridge.config.farewell);
                bridge.forget();
                bridge.reporter.handle_close(SystemClock.unix());
            }
            Some(look) = looks.recv() => bridge.look(look),
            event = bridge.wire.event() => bridge.heard(event),
            () = SystemClock.until(deadline) => {
                let now = SystemClock.now();
                bridge.client.handle_timeout(now, &mut bridge.entropy);
                bridge.reporter.handle_timeout(now, SystemClock.unix());
                if end.is_some_and(|end| end <= now) {
                    tracing::warn!("nobody answered the Accounting-Off");
                    break;
                }
            }
        }
        bridge.take_events();
    }
    watch.abort();
    Ok(())
}

struct Bridge {
    config: Config,
    reporter: Reporter,
    client: Client,
    wire: UdpClient,
    under_way: BTreeMap<RequestId, ReportId>,
    entropy: SystemEntropy,
}

impl Bridge {
    /// Sends what may be sent.
    fn put_out(&mut self) -> Result<()> {
        let now = SystemClock.now();
        while let Some((id, report)) = self.reporter.poll_report() {
            let attributes = report.attributes(&self.config.nas, SystemClock.unix())?;
            let code = Code::AccountingRequest;
            match self.client.request(now, &mut self.entropy, code, attributes) {
                Ok(request) => {
                    tracing::debug!(status = report.status(), "reported");
                    self.under_way.insert(request, id);
                }
                Err(ClientError::Full(_)) => {
                    self.reporter.handle_unanswered(id);
                    break;
                }
                Err(error) => return Err(error).context("a report cannot be sent"),
            }
        }
        while let Some(out) = self.client.poll_transmit() {
            self.wire.send(out.server, usize::from(out.socket), &out.payload);
        }
        Ok(())
    }

    fn look(&mut self, look: Look) {
        let (now, at) = (SystemClock.now(), SystemClock.unix());
        match look {
            Look::Up => {
                tracing::info!("the GGSN is up");
                self.forget();
                self.reporter.handle_up(at);
            }
            Look::Contexts(contexts) => {
                let before = self.reporter.sessions();
                self.reporter.handle_contexts(&contexts, &self.register(), now, at);
                let sessions = self.reporter.sessions();
                if sessions != before {
                    tracing::info!(sessions, "the GGSN's contexts have changed");
                }
            }
        }
    }

    /// Stops repeating what was said before an Accounting-On or -Off, which would be heard behind it.
    fn forget(&mut self) {
        for request in std::mem::take(&mut self.under_way).into_keys() {
            self.client.cancel(request);
        }
    }

    /// What is known of SIMs; what cannot be read is not reported.
    fn register(&self) -> Register {
        let Some(path) = &self.config.register else { return Register::default() };
        Register::read(path).unwrap_or_else(|error| {
            tracing::warn!(error = format!("{error:#}"), "reported without number and equipment");
            Register::default()
        })
    }

    fn heard(&mut self, event: Event) {
        match event {
            Event::Datagram { server, socket, bytes } => {
                let Ok(socket) = u16::try_from(socket) else { return };
                self.client.handle_datagram(server, socket, &bytes, SystemClock.now());
            }
            // It is sent again in any case.
            Event::Unreachable { error, .. } => tracing::debug!(%error, "nobody is told"),
            Event::Moved { .. } | Event::NotFound { .. } => {}
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match event {
                ClientEvent::Answered { id, .. } => {
                    if let Some(report) = self.under_way.remove(&id) {
                        self.reporter.handle_answered(report);
                    }
                }
                ClientEvent::TimedOut { id } => {
                    if let Some(report) = self.under_way.remove(&id) {
                        self.reporter.handle_unanswered(report);
                    }
                }
                ClientEvent::ServerDown { .. } => tracing::warn!("nobody answers the reports"),
                ClientEvent::ServerUp { .. } => tracing::info!("the reports are answered again"),
                ClientEvent::Dropped { reason, .. } => tracing::warn!(%reason, "answer dropped"),
            }
        }
    }
}

/// Looks at the GGSN until nobody wants to know.
async fn watch(address: SocketAddr, ggsn: String, look: Duration, seen: mpsc::Sender<Look>) {
    loop {
        if let Err(error) = follow(address, &ggsn, look, &seen).await {
            tracing::debug!(error = format!("{:#}", anyhow::Error::from(error)), "no VTY");
        }
        if seen.is_closed() {
            return;
        }
        SystemClock.until(Some(SystemClock.now() + KNOCK)).await;
    }
}

/// Looks at the GGSN as long as it lives.
async fn follow(
    address: SocketAddr,
    ggsn: &str,
    look: Duration,
    seen: &mpsc::Sender<Look>,
) -> Result<(), VtyError> {
    let mut vty = Vty::connect(address).await?;
    let mut contexts = vty.contexts(ggsn).await?;
    if seen.send(Look::Up).await.is_err() {
        return Ok(());
    }
    loop {
        if seen.send(Look::Contexts(contexts)).await.is_err() {
            return Ok(());
        }
        SystemClock.until(Some(SystemClock.now() + look)).await;
        contexts = vty.contexts(ggsn).await?;
    }
}
