//! `[aaa.radsec]`: RADIUS over TLS (RFC 6614, RFC 9765). Clients are gateways here too, but are
//! known by their certificates, wherever they ask from.
//!
//! A gateway that is enrolled shows the certificate of its control channel, which the core's own
//! authority has signed; it is let in for as long as it would be let in there. A hybrid device has
//! such a certificate, too, and nothing to ask here: it is not let in. Others show one that an
//! authority of `client_ca` has signed, with a name that the configuration knows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use homeward_channel::{Authority, AuthorityParts, Presented, Serial};
use homeward_daemon::{Exit, ExitContext, Invalid, Period, Shutdown, SystemClock, SystemEntropy};
use homeward_model::{Clock, GatewayId, Instant, Name};
use homeward_radius::Code;
use homeward_store::{Store, StoredAuthority};
use homeward_transport::radsec::{Doorkeeper, Limits, ServerTls, Trust};
use homeward_transport::server::Service;
use homeward_transport::{Datagram, RadsecServer, Replies, RunningRadsec, Waker};
use rustls::RootCertStore;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime as TlsTime,
};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use serde::Deserialize;

use crate::eap::{read, read_key};
use crate::projection::Projection;

/// How long a certificate that the core makes for itself is good for…
const OWN_LIFETIME: Duration = Duration::from_secs(7 * 86_400);

/// …and after how long it makes another.
const RENEWAL: Duration = Duration::from_secs(86_400);

/// How RADIUS over TLS is served.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RadsecConfig {
    /// Where it is; nowhere unless set. The port assigned to it is 2083.
    pub listen: Vec<SocketAddr>,
    /// The server's certificate and its issuers, in PEM. Without, the core's authority signs one,
    /// which gateways that are enrolled know.
    pub certificate: Option<PathBuf>,
    /// Its key, in PEM.
    pub key: Option<PathBuf>,
    /// Who vouches for clients that are not enrolled, in PEM.
    pub client_ca: Option<PathBuf>,
    /// What they have revoked, in PEM.
    pub client_crl: Option<PathBuf>,
    /// Those clients: the name in the certificate, and the gateway that it is in the datastore.
    pub peers: BTreeMap<String, Name>,
    /// Connections at a time.
    pub connections: usize,
    /// Connections of one client.
    pub connections_a_client: usize,
    /// Requests of one connection that wait for an answer; more are not read until then.
    pub outstanding: usize,
    /// How long a client may take to show its certificate.
    pub handshake_timeout: Period,
    /// How long a connection may be silent.
    pub idle_timeout: Period,
    /// How long a client may not take its answers.
    pub write_timeout: Period,
}

impl Default for RadsecConfig {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            listen: Vec::new(),
            certificate: None,
            key: None,
            client_ca: None,
            client_crl: None,
            peers: BTreeMap::new(),
            connections: limits.connections,
            connections_a_client: limits.connections_a_peer,
            outstanding: limits.outstanding,
            handshake_timeout: Period(limits.handshake),
            idle_timeout: Period(limits.idle),
            write_timeout: Period(limits.stall),
        }
    }
}

impl RadsecConfig {
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        if self.certificate.is_some() != self.key.is_some() {
            return Err(Invalid::new("aaa.radsec", "certificate and key go together"));
        }
        if !self.peers.is_empty() && self.client_ca.is_none() {
            return Err(Invalid::new("aaa.radsec.client_ca", "name who vouches for the peers"));
        }
        if let Some(name) = self.peers.keys().find(|name| server_name(name).is_none()) {
            let why = format!("{name:?} is no name that a certificate can have: use a DNS name");
            return Err(Invalid::new("aaa.radsec.peers", why));
        }
        for (key, number) in [
            ("aaa.radsec.connections", self.connections),
            ("aaa.radsec.connections_a_client", self.connections_a_client),
            ("aaa.radsec.outstanding", self.outstanding),
        ] {
            if !(1..=1 << 20).contains(&number) {
                return Err(Invalid::new(key, "use 1 to 1048576"));
            }
        }
        for (key, period) in [
            ("aaa.radsec.handshake_timeout", self.handshake_timeout),
            ("aaa.radsec.idle_timeout", self.idle_timeout),
            ("aaa.radsec.write_timeout", self.write_timeout),
        ] {
            if period.0 < Duration::from_secs(1) {
                return Err(Invalid::new(key, "use at least 1s"));
            }
        }
        Ok(())
    }

    fn limits(&self) -> Limits {
        Limits {
            connections: self.connections,
            connections_a_peer: self.connections_a_client,
            outstanding: self.outstanding,
            handshake: self.handshake_timeout.0,
            idle: self.idle_timeout.0,
            stall: self.write_timeout.0,
            ..Limits::default()
        }
    }
}

/// Log-ins, look-ups and records, all of which come by the same connection (RFC 6614 2.1).
pub(crate) struct All<L, R> {
    /// Who answers Access-Requests and Status-Server.
    pub(crate) logins: L,
    /// Who answers Accounting-Requests.
    pub(crate) records: Option<R>,
}

impl<L: Service, R: Service> Service for All<L, R> {
    fn begin(&mut self, waker: Waker) {
        if let Some(records) = &mut self.records {
            records.begin(waker.clone());
        }
        self.logins.begin(waker);
    }

    fn handle(&mut self, datagram: &Datagram<'_>, replies: &mut Replies) {
        let record = datagram.bytes.first() == Some(&(Code::AccountingRequest as u8));
        match &mut self.records {
            Some(records) if record => records.handle(datagram, replies),
            _ => self.logins.handle(datagram, replies),
        }
    }

    fn woken(&mut self, replies: &mut Replies) {
        self.logins.woken(replies);
        if let Some(records) = &mut self.records {
            records.woken(replies);
        }
    }

    fn finish(&mut self, replies: &mut Replies) {
        self.logins.finish(replies);
        if let Some(records) = &mut self.records {
            records.finish(replies);
        }
    }

    fn idle(&mut self, now: Instant) {
        self.logins.idle(now);
        if let Some(records) = &mut self.records {
            records.idle(now);
        }
    }
}

/// What is shown to clients, and who is believed. Clones are one and the same.
#[derive(Clone)]
pub struct Radsec {
    authority: Arc<Authority>,
    tls: ServerTls,
    door: Door,
}

impl Radsec {
    /// What the configuration says; `None` if nothing is served.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or used, or the store.
    pub(crate) async fn load(
        config: &RadsecConfig,
        store: &Arc<dyn Store>,
        projection: Arc<RwLock<Projection>>,
    ) -> anyhow::Result<Option<Self>> {
        if config.listen.is_empty() {
            return Ok(None);
        }
        let authority = Arc::new(authority(&**store).await?);
        let (chain, key) = shown(config, &authority)?;
        let tls = ServerTls::new(chain, key, trust(config, &authority)?);
        let tls = tls.context("aaa.radsec").exit(Exit::Config)?;
        let door = Door::new(config, &authority, Arc::clone(store), projection)?;
        Ok(Some(Self { authority, tls, door }))
    }

    /// Reads the files again; connections stay. Who listens where stays as well.
    ///
    /// # Errors
    ///
    /// As at the start; what was loaded before stays.
    pub fn reload(&self, config: &RadsecConfig) -> anyhow::Result<()> {
        let (chain, key) = shown(config, &self.authority)?;
        let trust = trust(config, &self.authority)?;
        self.tls.replace(chain, key, trust).context("aaa.radsec").exit(Exit::Config)?;
        *self.door.peers.write().unwrap_or_else(PoisonError::into_inner) = config.peers.clone();
        Ok(())
    }

    /// Starts a server.
    pub(crate) fn serve<S: Service + Send + 'static>(
        &self,
        config: &RadsecConfig,
        address: SocketAddr,
        workers: Vec<S>,
    ) -> anyhow::Result<RunningRadsec> {
        let server = RadsecServer::bind(address).exit(Exit::Unavailable)?;
        let started = server.start(
            config.limits(),
            self.tls.clone(),
            self.door.clone(),
            SystemClock,
            workers,
        );
        let started = started.context("no thread for RADIUS over TLS").exit(Exit::System)?;
        tracing::info!(address = %started.local_address(), "answering RADIUS over TLS");
        Ok(started)
    }

    /// Shows a new certificate every day where the core makes its own, until shutdown.
    pub(crate) async fn renew(self, config: RadsecConfig, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.requested() => return,
                () = SystemClock.until(Some(SystemClock.now() + RENEWAL)) => {}
            }
            if config.certificate.is_none()
                && let Err(error) = self.reload(&config)
            {
                tracing::error!(%error, "no new certificate for RADIUS over TLS");
            }
        }
    }
}

/// The core's own authority; made, if there is none yet.
async fn authority(store: &dyn Store) -> anyhow::Result<Authority> {
    let stored = match store.authority().await? {
        Some(stored) => stored,
        None => {
            let made = Authority::generate(SystemClock.unix(), &mut SystemEntropy::new())?;
            let new = StoredAuthority { certificate: made.certificate, key: made.key };
            // Another process may have been first.
            store.found_authority(&new).await?
        }
    };
    let parts = AuthorityParts { certificate: stored.certificate, key: stored.key };
    Authority::load(&parts).context("the datastore's authority is no use")
}

type Credential = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// What clients are shown.
fn shown(config: &RadsecConfig, authority: &Authority) -> anyhow::Result<Credential> {
    let (Some(certificate), Some(key)) = (&config.certificate, &config.key) else {
        let now = SystemClock.unix();
        let (certificate, key) =
            authority.sign_core(now, OWN_LIFETIME, &mut SystemEntropy::new())?;
        return Ok((vec![certificate], key));
    };
    Ok((read("aaa.radsec.certificate", certificate)?, read_key("aaa.radsec.key", key)?))
}

/// Who vouches for clients.
fn trust(config: &RadsecConfig, authority: &Authority) -> anyhow::Result<Trust> {
    let mut trust =
        Trust { authorities: vec![authority.certificate().clone()], ..Trust::default() };
    if let Some(path) = &config.client_ca {
        trust.authorities.extend(read::<CertificateDer<'static>>("aaa.radsec.client_ca", path)?);
    }
    if let Some(path) = &config.client_crl {
        trust.revoked =
            read::<CertificateRevocationListDer<'static>>("aaa.radsec.client_crl", path)?;
    }
    Ok(trust)
}

/// Knows clients by their certificates.
#[derive(Clone)]
struct Door {
    /// Believes the core's own authority only.
    own: Arc<dyn ClientCertVerifier>,
    peers: Arc<RwLock<BTreeMap<String, Name>>>,
    store: Arc<dyn Store>,
    projection: Arc<RwLock<Projection>>,
    /// Certificates that were good when the store was last asked.
    good: Arc<Mutex<BTreeMap<Serial, GatewayId>>>,
}

impl Door {
    fn new(
        config: &RadsecConfig,
        authority: &Authority,
        store: Arc<dyn Store>,
        projection: Arc<RwLock<Projection>>,
    ) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate().clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let own = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        let peers = Arc::new(RwLock::new(config.peers.clone()));
        Ok(Self { own, peers, store, projection, good: Arc::default() })
    }

    /// Whether the core's own authority has signed it. What it says of gateways is then true; in
    /// others' certificates it would be anybody's word.
    fn is_own(&self, certificate: &CertificateDer<'_>) -> bool {
        let seconds = u64::try_from(SystemClock.unix().seconds()).unwrap_or_default();
        let now = TlsTime::since_unix_epoch(Duration::from_secs(seconds));
        self.own.verify_client_cert(certificate, &[], now).is_ok()
    }

    /// The gateway with that certificate, if it is still good.
    async fn enrolled(&self, certificate: &CertificateDer<'_>) -> Option<GatewayId> {
        let Presented { gateway, serial, .. } = Presented::read(certificate).ok()?;
        let found = self.store.credential(serial.0).await;
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(Some((credential, facts)))
                if credential.gateway == gateway
                    && credential.ended.is_none()
                    && facts.device_of.is_none() =>
            {
                good.insert(serial, gateway);
                Some(gateway)
            }
            Ok(_) => {
                good.remove(&serial);
                None
            }
            // Who was in stays in while the store is away.
            Err(error) => {
                tracing::warn!(%error, "a gateway's certificate could not be looked up");
                good.get(&serial).copied()
            }
        }
    }

    /// The gateway that one of the names in the certificate is.
    fn named(&self, certificate: &CertificateDer<'_>) -> Option<GatewayId> {
        let parsed = ParsedCertificate::try_from(certificate).ok()?;
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        let (_, gateway) = peers.iter().find(|(name, _)| {
            server_name(name)
                .is_some_and(|name| rustls::client::verify_server_name(&parsed, &name).is_ok())
        })?;
        let p = self.projection.read().unwrap_or_else(PoisonError::into_inner);
        let id = p.gateway_named(gateway);
        if id.is_none() {
            tracing::warn!(%gateway, "aaa.radsec.peers names a gateway that there is not");
        }
        id
    }
}

#[async_trait]
impl Doorkeeper for Door {
    async fn admit(&self, certificate: &CertificateDer<'_>, source: SocketAddr) -> Option<u64> {
        let gateway = match self.is_own(certificate) {
            true => self.enrolled(certificate).await?,
            false => self.named(certificate)?,
        };
        let p = self.projection.read().unwrap_or_else(PoisonError::into_inner);
        if p.client(gateway).is_none() {
            tracing::debug!(%source, %gateway, "a gateway that there is no more");
            return None;
        }
        u64::try_from(gateway.0).ok()
    }
}

fn server_name(name: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(name.to_owned()).ok()
}

#[cfg(test)]
mod tests;
