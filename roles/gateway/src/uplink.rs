//! The way to a core that is reached by TLS: a RADIUS proxy on loopback, which hostapd and the
//! agent itself ask as they would ask a core beside them.
//!
//! ```text
//!   hostapd, agent ──UDP, loopback──► uplink ──TLS──► core, first choice first
//! ```
//!
//! What is shown to the core is the certificate of the gateway's enrolment, read again for each
//! connection. While no core answers, nothing here does: who asks then is to see that, and not to
//! take it for a refusal.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use homeward_channel::{CORE_NAME, Credential};
use homeward_daemon::{Exit, ExitContext, Shutdown, SystemClock, SystemEntropy};
use homeward_model::{Clock, Entropy, Instant, Secret};
use homeward_proxy::{
    Asker, Event, Filter, Health, HomeServer, Key, Pattern, Pool, Proxy, Rejection, Route, Routed,
    ServerId, Settings, Table, Target, Transport, Unanswered, Watch,
};
use homeward_radius::{Code, Policy, Port, Received, Server, ServerSettings, SharedSecret, Ticket};
use homeward_transport::radsec::client::{self, ClientLimits, State};
use homeward_transport::radsec::{ClientTls, Trust, Version};
use homeward_transport::{Endpoint, MAX_DATAGRAM, RadsecClient};
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::config::Config;

/// How long nothing may come, at the end, until it is the end…
const QUIET: Duration = Duration::from_millis(200);

/// …which comes after so long in any case.
const FAREWELL: Duration = Duration::from_secs(5);

/// What is served on loopback: look-ups and log-ins, and records.
const PORTS: [Port; 2] = [Port::Authentication, Port::Accounting];

/// The proxy, from outside.
#[derive(Debug)]
pub(crate) struct Uplink {
    /// Where look-ups are answered.
    pub(crate) lookups: SocketAddr,
    /// Where records are.
    pub(crate) records: SocketAddr,
    /// The secret of both.
    pub(crate) secret: Secret,
    known: Arc<Mutex<Vec<Value>>>,
    stop: Shutdown,
    task: JoinHandle<()>,
}

impl Drop for Uplink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Uplink {
    /// Starts it; `None` where the core is reached by UDP.
    ///
    /// # Errors
    ///
    /// A socket or a secret that is not to be had.
    pub(crate) async fn start(config: &Config) -> anyhow::Result<Option<Self>> {
        let endpoints: Vec<Endpoint> =
            config.core.iter().filter_map(|core| core.radsec.clone()).collect();
        if endpoints.is_empty() {
            return Ok(None);
        }
        let mut entropy = SystemEntropy::new();
        let secret = match &config.proxy.secret {
            Some(source) => source.read()?,
            None => random(&mut entropy),
        };
        let sockets = [bind(config.proxy.listen, 0).await?, bind(config.proxy.listen, 1).await?];
        let [lookups, records] = [sockets[0].local_addr()?, sockets[1].local_addr()?];
        let known = Arc::new(Mutex::default());
        let directory = config.channel.directory.clone();
        let limits =
            ClientLimits { retry_most: config.proxy.reconnect.0, ..ClientLimits::default() };
        let running = Running {
            proxy: proxy(&endpoints, &mut entropy)?,
            servers: PORTS.map(|port| Server::new(port, ServerSettings::default())),
            tls: connect(&endpoints, &directory, limits, &mut entropy),
            endpoints,
            sockets,
            secret: SharedSecret::new(&secret).context("proxy.secret").exit(Exit::Config)?,
            // Who has no secret of their own to sign with is the agent and its VAPs, which sign.
            policy: if config.proxy.secret.is_some() { Policy::Auto } else { Policy::Required },
            entropy,
            known: Arc::clone(&known),
        };
        running.note();
        tracing::info!(%lookups, %records, "the core is asked by TLS, through these");
        let stop = Shutdown::new();
        let task = tokio::spawn(running.run(stop.clone()));
        Ok(Some(Self { lookups, records, secret, known, stop, task }))
    }

    /// Ends it, once what was asked and told last is answered: hostapd reports what roamers have
    /// used when their VAP goes.
    pub(crate) async fn stop(mut self) {
        self.stop.trigger();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the way to the core ended in error");
        }
    }

    /// What is known of the core's servers, for `status`.
    pub(crate) fn status(&self) -> Vec<Value> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn random(entropy: &mut impl Entropy) -> Secret {
    let octets: [u8; 16] = entropy.octets();
    Secret::new(format!("{:032x}", u128::from_be_bytes(octets)))
}

/// The socket for look-ups, or that one port above it for records.
async fn bind(listen: SocketAddr, above: u16) -> anyhow::Result<UdpSocket> {
    let port = match listen.port() {
        0 => 0,
        port => port.saturating_add(above),
    };
    let address = SocketAddr::new(listen.ip(), port);
    let bound = UdpSocket::bind(address).await;
    bound
        .with_context(|| format!("cannot listen on {address} (proxy.listen)"))
        .exit(Exit::Unavailable)
}

/// The machine: everything goes to the core, and whatever it says comes back.
fn proxy(endpoints: &[Endpoint], entropy: &mut SystemEntropy) -> anyhow::Result<Proxy<Back>> {
    let mut table = Table::new();
    let servers: Vec<ServerId> = endpoints
        .iter()
        .map(|endpoint| {
            let secret = Version::V1_0.secret()?;
            let server = HomeServer::stream(&endpoint.to_string(), secret);
            let transport = Transport::Stream { connections: 1 };
            // The first answer says that it is back: whom else would one ask?
            let watch = Watch { answers_to_alive: 1, ..server.watch };
            Ok(table.server(HomeServer { transport, watch, ..server }))
        })
        .collect::<anyhow::Result<_>>()?;
    let pool = Pool { unanswered: Unanswered::Silence, ..Pool::new("core", servers) };
    let pool = table.pool(pool)?;
    let everything = Filter::all_but([]);
    let route = Route { requests: everything.clone(), answers: everything, ..Route::to(pool) };
    for names in [Pattern::NoRealm, Pattern::Default] {
        table.route(names, Target::from(route.clone()))?;
    }
    let key = Key::new(&random(entropy));
    Ok(Proxy::new(Settings::default(), key, table))
}

/// Begins to connect to the core's servers, numbered in that order.
pub(crate) fn connect(
    endpoints: &[Endpoint],
    directory: &Path,
    limits: ClientLimits,
    entropy: &mut SystemEntropy,
) -> RadsecClient {
    let credentials: Arc<dyn client::Credentials> = {
        let directory: PathBuf = directory.to_owned();
        Arc::new(move || shown(&directory).map_err(Into::into))
    };
    let servers = endpoints.iter().map(|endpoint| client::Server {
        endpoint: endpoint.clone(),
        connections: 1,
        credentials: Arc::clone(&credentials),
    });
    RadsecClient::new(servers.enumerate(), limits, entropy)
}

/// The certificate of the gateway's enrolment, and the core that it was enrolled with.
fn shown(directory: &Path) -> anyhow::Result<ClientTls> {
    let credential = Credential::load(directory)?.with_context(|| {
        format!("{} has no credential yet: `homeward gateway enrol`", directory.display())
    })?;
    let (chain, key) = credential.to_show();
    let trust = Trust { authorities: credential.authorities().to_vec(), ..Trust::default() };
    Ok(ClientTls::new(CORE_NAME, chain, key, trust)?)
}

/// How a request is answered: by which of the servers.
#[derive(Debug)]
struct Back {
    port: usize,
    ticket: Ticket,
}

struct Running {
    proxy: Proxy<Back>,
    servers: [Server; 2],
    sockets: [UdpSocket; 2],
    tls: RadsecClient,
    endpoints: Vec<Endpoint>,
    secret: SharedSecret,
    policy: Policy,
    entropy: SystemEntropy,
    known: Arc<Mutex<Vec<Value>>>,
}

impl Running {
    async fn run(mut self, stop: Shutdown) {
        let (mut asked, mut told) = ([0; MAX_DATAGRAM], [0; MAX_DATAGRAM]);
        let mut stopping: Option<(Instant, Instant)> = None;
        loop {
            self.settle();
            let now = SystemClock.now();
            let ends = stopping.map(|(quiet, end)| if now < quiet { quiet } else { end });
            if let Some((quiet, end)) = stopping
                && (now >= end || (now >= quiet && self.proxy.outstanding() == 0))
            {
                return;
            }
            let due = [self.proxy.poll_timeout(), ends].into_iter().flatten().min();
            let [lookups, records] = &self.sockets;
            tokio::select! {
                () = stop.requested(), if stopping.is_none() => {
                    let now = SystemClock.now();
                    stopping = Some((now + QUIET, now + FAREWELL));
                }
                received = lookups.recv_from(&mut asked) => self.received(0, received, &asked),
                received = records.recv_from(&mut told) => {
                    self.received(1, received, &told);
                    stopping = stopping.map(|(_, end)| (SystemClock.now() + QUIET, end));
                }
                event = self.tls.event() => self.hear(event),
                () = SystemClock.until(due) => {
                    self.proxy.handle_timeout(SystemClock.now(), &mut self.entropy);
                }
            }
        }
    }

    fn received(&mut self, port: usize, got: io::Result<(usize, SocketAddr)>, room: &[u8]) {
        match got {
            Ok((len, source)) => self.take(port, source, room.get(..len).unwrap_or_default()),
            Err(error) => tracing::debug!(%error, "a request was not received"),
        }
    }

    /// Whether a core answers, as far as is known.
    fn is_up(&self, server: usize) -> bool {
        let alive = self.proxy.health(ServerId::at(server)) == Some(Health::Alive);
        alive && self.tls.states(server).any(|state| matches!(state, State::Up(_)))
    }

    /// Takes a datagram of somebody on this machine.
    fn take(&mut self, port: usize, source: SocketAddr, octets: &[u8]) {
        // Who asks whether the core is there is not told that we are.
        if octets.first() == Some(&(Code::StatusServer as u8))
            && !(0..self.endpoints.len()).any(|server| self.is_up(server))
        {
            return;
        }
        let now = SystemClock.now();
        let Some(server) = self.servers.get_mut(port) else { return };
        match server.handle(source, &self.secret, self.policy, octets, now) {
            Received::Request { packet, ticket, .. } => {
                // Neither port takes the other's share.
                let asker = Asker { client: port as u64, source, secret: &self.secret };
                let back = Back { port, ticket };
                match self.proxy.request(now, &mut self.entropy, &asker, &packet, back) {
                    Routed::Forwarded | Routed::Duplicate(_) => {}
                    Routed::Rejected(back, rejection) => self.reject(&back, rejection),
                    Routed::Silent(back, reason) => {
                        tracing::debug!(%reason, "a request to the core is not answered");
                        self.abandon(&back);
                    }
                    // There is no such route.
                    Routed::Local(back) => self.abandon(&back),
                }
            }
            Received::Reply { octets, .. } => {
                let octets = octets.to_vec();
                self.send(port, source, &octets);
            }
            Received::InProgress => {
                if let Ok(packet) = homeward_radius::Packet::decode(octets) {
                    self.proxy.repeat(now, &mut self.entropy, source, &packet);
                }
            }
            Received::Dropped(reason) => {
                tracing::warn!(%source, %reason, "a request on proxy.listen was dropped");
            }
        }
    }

    fn hear(&mut self, event: client::Event) {
        let now = SystemClock.now();
        match event {
            client::Event::Up { server, lane, version } => {
                let Ok(secret) = version.secret() else { return };
                tracing::info!(core = self.name(server), ?version, "connected to the core");
                let entropy = &mut self.entropy;
                self.proxy.lane_up(now, entropy, ServerId::at(server), lane, secret);
                self.note();
            }
            client::Event::Packet { server, lane, bytes } => {
                self.proxy.handle_answer(now, ServerId::at(server), lane, &bytes);
            }
            client::Event::Down { server, lane, why } => {
                tracing::info!(core = self.name(server), why, "not connected to the core");
                let entropy = &mut self.entropy;
                self.proxy.lane_down(now, entropy, ServerId::at(server), lane);
                self.note();
            }
        }
    }

    fn settle(&mut self) {
        while let Some(transmit) = self.proxy.poll_transmit() {
            if !self.tls.send(transmit.server.index(), transmit.lane, &transmit.payload) {
                tracing::debug!("a request to the core was not sent");
            }
        }
        while let Some(event) = self.proxy.poll_event() {
            match event {
                Event::Answered { ticket: Back { port, ticket }, answer } => {
                    let (code, entropy) = (answer.code(), &mut self.entropy);
                    let Some(server) = self.servers.get_mut(port) else { continue };
                    let written = server
                        .respond(&ticket, &self.secret, code, entropy, |b| answer.write_to(b));
                    match written.map(<[u8]>::to_vec) {
                        Ok(octets) => self.send(port, ticket.source(), &octets),
                        Err(error) => {
                            tracing::error!(%error, "an answer of the core could not be passed on");
                            server.abandon(&ticket);
                        }
                    }
                }
                Event::Rejected { ticket, rejection } => self.reject(&ticket, rejection),
                Event::Abandoned { ticket, reason } => {
                    tracing::debug!(%reason, "a request to the core is not answered");
                    self.abandon(&ticket);
                }
                Event::FailedOver { from, to } => {
                    let (from, to) = (self.name(from.index()), self.name(to.index()));
                    tracing::info!(from, to, "a core does not answer; another one is asked");
                }
                Event::Health { server, was, is } => {
                    let (was, is) = (was.label(), is.label());
                    tracing::warn!(core = self.name(server.index()), was, is, "a core");
                    self.note();
                }
                Event::Stalled { server, lane } => {
                    let core = self.name(server.index());
                    tracing::info!(core, "the connection to a core is silent: it is made anew");
                    self.tls.renew(server.index(), lane);
                }
                Event::Dropped { server, reason } => {
                    let core = self.name(server.index());
                    tracing::debug!(core, %reason, "what a core sent was dropped");
                }
            }
        }
    }

    fn reject(&mut self, Back { port, ticket }: &Back, rejection: Rejection) {
        let Some(server) = self.servers.get_mut(*port) else { return };
        let (code, entropy) = (Code::AccessReject, &mut self.entropy);
        let written =
            server.respond(ticket, &self.secret, code, entropy, |b| rejection.write_to(b));
        if let Ok(octets) = written.map(<[u8]>::to_vec) {
            self.send(*port, ticket.source(), &octets);
        }
    }

    fn abandon(&mut self, Back { port, ticket }: &Back) {
        if let Some(server) = self.servers.get_mut(*port) {
            server.abandon(ticket);
        }
    }

    fn send(&self, port: usize, source: SocketAddr, octets: &[u8]) {
        // What is lost is asked again.
        if let Some(Err(error)) = self.sockets.get(port).map(|s| s.try_send_to(octets, source)) {
            tracing::debug!(%error, "an answer was not sent");
        }
    }

    fn name(&self, server: usize) -> String {
        self.endpoints.get(server).map(ToString::to_string).unwrap_or_default()
    }

    /// Writes down for `status` what is known.
    fn note(&self) {
        let cores = self.endpoints.iter().enumerate().map(|(at, endpoint)| {
            let (state, why) = match self.tls.states(at).next() {
                Some(State::Up(Version::V1_1)) => ("RADIUS/1.1", None),
                Some(State::Up(Version::V1_0)) => ("RADIUS/1.0", None),
                Some(State::Down(why)) => ("not connected", Some(why.clone())),
                Some(State::Connecting) | None => ("connecting", None),
            };
            let address = endpoint.to_string();
            json!({ "address": address, "up": self.is_up(at), "by_tls": state, "why": why })
        });
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = cores.collect();
    }
}
