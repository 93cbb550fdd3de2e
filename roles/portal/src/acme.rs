//! The portal's certificate by ACME (RFC 8555): asked for, kept, and renewed while it is shown.
//!
//! A certificate that is kept is shown from the start, and nothing is asked. Where there is none,
//! the portal answers no TLS until one is there. Whatever fails is tried again, after pauses that
//! grow; what there was is shown until then.
//!
//! | module | does |
//! |---|---|
//! | [`config`] | the `[portal.acme]` section of the configuration |
//! | [`schedule`] | when a certificate is due, and how long to wait after a failure; pure |
//! | `issue` | one certificate, from the account to the chain |
//! | `answers` | what an ACME server sees on the portal's ports |
//! | `client` | HTTP to the ACME server |
//! | `kept` | account, certificate and key, over a restart |
//! | [`doctor`] | what it needs of its machine |

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use homeward_daemon::{Exit, ExitContext, Metrics, Shutdown, SystemClock, SystemEntropy};
use homeward_model::{Clock, Entropy, UnixTime};
use ipnet::IpNet;
use serde_json::Value;
use tokio::sync::Notify;

use answers::Tokens;
use figures::Figures;
use homeward_http::{Certificates, Limits, Listen, Server};
use issue::Applicant;
use kept::Kept;
use schedule::Schedule;

pub use config::Config;

mod answers;
mod client;
pub mod config;
pub mod doctor;
mod figures;
mod issue;
mod kept;
pub mod schedule;

/// After that, what the wall shows is looked at again: it may have been set.
const LOOK: Duration = Duration::from_secs(600);

/// Asks at once for a certificate that could not be had. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hurry(Arc<Notify>);

impl Hurry {
    /// The operator has set something right.
    pub(crate) fn now(&self) {
        self.0.notify_one();
    }
}

/// The certificate's keeper, ready to begin.
pub(crate) struct Started {
    /// What clients are shown.
    pub(crate) certificates: Certificates,
    /// Asks again.
    pub(crate) hurry: Hurry,
    /// Where challenges are answered by HTTP.
    pub(crate) listening: Vec<SocketAddr>,
    keeper: Keeper,
    server: Option<Server>,
}

struct Keeper {
    applicant: Applicant,
    schedule: Schedule,
    figures: Figures,
    hurry: Hurry,
}

/// Shows what is kept, and listens for challenges.
///
/// # Errors
///
/// The folder that is not private, or the address that is not to be had.
pub(crate) async fn start(
    config: &Config,
    proxies: Vec<IpNet>,
    metrics: &mut Metrics,
    shutdown: Shutdown,
) -> anyhow::Result<Started> {
    let kept = Kept::open(&config.folder).exit(Exit::Config)?;
    let certificates = Certificates::none()?;
    let names = config.wanted();
    let figures = Figures::new(metrics, &config.directory, names.iter().cloned().collect());
    let mut schedule = Schedule::new(config.retry());
    match kept.certificate() {
        Ok(Some(found)) => {
            let expires = found.validity.until;
            // Another server's, or for other names: better than none until the right one is there.
            if found.directory == config.directory && found.names == names {
                schedule.found(found.validity);
                tracing::info!(%expires, "certificate by ACME found");
            } else {
                tracing::info!(%expires, "the certificate by ACME is not what is configured, and is replaced");
            }
            figures.shows(found.validity);
            certificates.show(found.shown())?;
        }
        Ok(None) => tracing::warn!(
            directory = config.directory,
            "the portal has no certificate yet, and answers no TLS until there is one"
        ),
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(
                error,
                "the portal's certificate is lost, and another one is asked for"
            );
        }
    }
    let tokens = Tokens::default();
    let (mut server, mut listening) = (None, Vec::new());
    if !config.listen.is_empty() {
        let addresses = config.listen.iter().map(|address| (*address, None)).collect();
        // Nothing but a token is to be had here.
        let connections = config.connections;
        let limits = Limits { connections, body_octets: 1024, ..Limits::default() };
        let bound = Server::bind(
            Listen { addresses, proxies },
            limits,
            None,
            Arc::new(tokens.clone()),
            homeward_http::Figures::new(metrics, "portal_acme_http"),
            shutdown,
        );
        let bound = bound.await.exit(Exit::Unavailable)?;
        listening = bound.local().to_vec();
        server = Some(bound);
    }
    let applicant =
        Applicant { config: config.clone(), kept, certificates: certificates.clone(), tokens };
    let hurry = Hurry::default();
    let keeper = Keeper { applicant, schedule, figures, hurry: hurry.clone() };
    Ok(Started { certificates, hurry, listening, keeper, server })
}

impl Started {
    /// What is to be said in a status.
    pub(crate) fn status(&self) -> impl Fn() -> Value + Send + Sync + 'static {
        let figures = self.keeper.figures.clone();
        move || figures.status()
    }

    /// Works until a stop is requested.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let Self { mut keeper, server, .. } = self;
        let serving = async move {
            if let Some(server) = server {
                server.serve().await;
            }
        };
        let keeping = async {
            tokio::select! {
                () = shutdown.requested() => {}
                () = keeper.keep() => {}
            }
        };
        tokio::join!(serving, keeping);
    }
}

impl Keeper {
    /// Keeps a certificate, for ever.
    async fn keep(&mut self) {
        loop {
            let wait = self.schedule.wait(SystemClock.now(), SystemClock.unix());
            self.figures.next(later(SystemClock.unix(), wait));
            if wait.is_zero() {
                self.obtain().await;
                continue;
            }
            tokio::select! {
                () = SystemClock.until(Some(SystemClock.now() + wait.min(LOOK))) => {}
                () = self.hurry.0.notified() => self.schedule.hurry(),
            }
        }
    }

    async fn obtain(&mut self) {
        let certificate = match self.applicant.obtain().await {
            Ok(certificate) => certificate,
            Err(error) => return self.failed(&error),
        };
        if let Err(error) = self.applicant.certificates.show(certificate.shown()) {
            return self.failed(&error);
        }
        let validity = certificate.validity;
        self.schedule.obtained(validity, SystemClock.now());
        self.figures.shows(validity);
        self.figures.obtained();
        tracing::info!(expires = %validity.until, "the portal has a new certificate");
        if let Err(error) = self.applicant.kept.keep_certificate(&certificate) {
            let error = format!("{error:#}");
            tracing::error!(error, "the certificate is lost with the next restart");
        }
    }

    fn failed(&mut self, error: &anyhow::Error) {
        let (now, unix) = (SystemClock.now(), SystemClock.unix());
        let [dice] = SystemEntropy::new().octets();
        self.schedule.failed(now, unix, dice);
        let error = format!("{error:#}");
        let failures = self.schedule.failures();
        let wait = self.schedule.wait(now, unix);
        let next = later(unix, wait);
        match self.schedule.holds().map(|certificate| certificate.until) {
            Some(expires) => {
                tracing::warn!(error, failures, %next, %expires, "the portal's certificate is not renewed")
            }
            None => tracing::error!(error, failures, %next, "the portal gets no certificate"),
        }
        self.figures.failed(failures, error, unix);
    }
}

fn later(now: UnixTime, wait: Duration) -> UnixTime {
    UnixTime(now.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use homeward_daemon::Period;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn the_listener_for_challenges_has_as_many_connections_as_it_may_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            // Nobody is there.
            directory: "https://127.0.0.1:9/".to_owned(),
            names: vec!["portal.example.net".to_owned()],
            challenge: config::Challenge::Http,
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            connections: 2,
            folder: folder.path().join("acme"),
            retry: Period(Duration::from_secs(3600)),
            ..Config::default()
        };
        let (shutdown, mut metrics) = (Shutdown::new(), Metrics::new("core", "0"));
        let started = start(&config, Vec::new(), &mut metrics, shutdown.clone()).await.unwrap();
        let address = started.listening[0];
        let running = tokio::spawn(started.run(shutdown.clone()));
        let mut clients = Vec::new();
        for _ in 0..3 {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(b"GET /abc HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut said = [0; 12];
            client.read_exact(&mut said).await.unwrap();
            assert_eq!(&said, b"HTTP/1.1 404");
            clients.push(client);
        }
        // By itself a silent one would be cut off later than that.
        let soon = Limits::default().idle / 2;
        let mut rest = Vec::new();
        tokio::time::timeout(soon, clients[0].read_to_end(&mut rest)).await.unwrap().unwrap();
        assert!(tokio::time::timeout(soon / 10, clients[1].read_to_end(&mut rest)).await.is_err());
        shutdown.trigger();
        running.await.unwrap();
    }
}
