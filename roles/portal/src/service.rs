//! The role: its parts, started.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use homeward_daemon::{Exit, ExitContext, Metrics, Part, Shutdown};
use homeward_store::Store;
use serde_json::json;

use crate::acme::{self, Hurry};
use crate::api::Api;
use crate::bearers;
use crate::committer::Committer;
use crate::config::Config;
use crate::desk::{Desk, Nobody, Terms, Whose};
use crate::figures::Figures;
use crate::handoff::Handoff;
use crate::routes::Portal;
use crate::sms;
use homeward_http::{Certificates, Handler, Limits, Listen, Server};

/// What the role stands on.
pub struct Base {
    /// Subscribers, policies, what was issued.
    pub store: Arc<dyn Store>,
    /// Hand-off keys, where the configuration has them given.
    pub handoff: Option<Handoff>,
}

/// The role, started.
pub struct Started {
    /// For the process.
    pub part: Part,
    /// What can be reloaded.
    pub reloads: Reloads,
}

/// What of the role can be reloaded: certificates, the API's tokens, who may report bearers,
/// and what the session with the SMSC is told.
#[derive(Clone)]
pub struct Reloads {
    portal: Certificates,
    acme: Option<Hurry>,
    bearers: Option<bearers::Reloads>,
    sms: Option<sms::Reloads>,
    api: Option<(Certificates, Api)>,
}

impl Reloads {
    /// Reads again what the configuration names.
    ///
    /// # Errors
    ///
    /// The file that cannot be read; what was loaded of it before stays, and the rest is reloaded.
    pub fn reload(&self, config: &Config) -> anyhow::Result<()> {
        let portal = config.files().map_or(Ok(()), |files| self.portal.reload(&files));
        if let Some(acme) = &self.acme {
            acme.now();
        }
        let api = match (&self.api, config.api_files()) {
            (Some((certificates, api)), Some(files)) => {
                certificates.reload(&files).and(api.reload())
            }
            // It shows the portal's.
            (Some((_, api)), None) => api.reload(),
            (None, _) => Ok(()),
        };
        let bearers = self.bearers.as_ref().map_or(Ok(()), |b| b.reload(&config.bearers));
        let sms = self.sms.as_ref().map_or(Ok(()), |sms| sms.reload(&config.sms));
        portal.and(api).and(bearers).and(sms)
    }
}

/// Starts the portal on a store.
///
/// # Errors
///
/// What cannot be had at the start: certificates, addresses, tokens, records.
pub async fn start(
    config: Config,
    base: Base,
    metrics: &mut Metrics,
    shutdown: Shutdown,
) -> anyhow::Result<Started> {
    let figures = Figures::new(metrics);
    let (committer, committing) = Committer::new();
    let terms = Terms {
        realm: config.realm.parse().context("portal.realm").exit(Exit::Config)?,
        settings: config.sms.issuing(),
        unknown_subscribers: config.unknown_subscribers.clone(),
        handoff: base.handoff,
    };
    let store = Arc::clone(&base.store);
    let bearers = match config.bearers.listen {
        Some(at) => Some(
            bearers::start(&config.bearers, at, store.clone(), metrics, shutdown.clone()).await?,
        ),
        None => None,
    };
    let whose: Arc<dyn Whose> = match &bearers {
        Some(started) => Arc::new(started.bearers.clone()),
        None => Arc::new(Nobody),
    };
    let bearers_status = bearers.as_ref().map(bearers::Started::status);
    let reloads = bearers.as_ref().map(|started| started.reloads.clone());
    let hearing: bearers::Work = match bearers {
        Some(started) => started.work,
        None => Box::pin(async { Ok(()) }),
    };
    let desk = Desk::new(terms, Arc::clone(&store), whose, committer, figures.clone());
    let desk = Arc::new(desk.await?);
    let sms = match config.sms.is_on() {
        true => Some(sms::start(
            &config.sms,
            Arc::clone(&desk),
            figures.clone(),
            metrics,
            shutdown.clone(),
        )?),
        false => None,
    };
    let sms_status = sms.as_ref().map(sms::Started::status);
    let sms_reloads = sms.as_ref().map(|started| started.reloads.clone());
    let messaging: sms::Work = match sms {
        Some(started) => started.work,
        None => Box::pin(async {}),
    };

    let (portal, acme) = match &config.acme {
        Some(acme) => {
            let started =
                acme::start(acme, config.proxies.clone(), metrics, shutdown.clone()).await?;
            for address in &started.listening {
                tracing::info!(%address, "answering ACME challenges");
            }
            (started.certificates.clone(), Some(started))
        }
        None => {
            let no_files = || anyhow::anyhow!("portal.certificate is missing");
            let files = config.files().ok_or_else(no_files).exit(Exit::Config)?;
            (Certificates::load(&files)?, None)
        }
    };
    let hurry = acme.as_ref().map(|started| started.hurry.clone());
    let acme_status = acme.as_ref().map(acme::Started::status);
    let door = homeward_http::Figures::new(metrics, "portal_http");
    let listen = Listen {
        addresses: config
            .listen
            .iter()
            .map(|address| (*address, config.apn.get(address).cloned()))
            .collect(),
        proxies: config.proxies.clone(),
    };
    let handler: Arc<dyn Handler> =
        Arc::new(Portal::new(desk, config.requests_per_minute, figures.clone()));
    let server = Server::bind(
        listen,
        config.limits(),
        Some(portal.clone()),
        handler,
        door.clone(),
        shutdown.clone(),
    );
    let server = server.await.exit(Exit::Unavailable)?;
    for address in server.local() {
        tracing::info!(%address, "portal open");
    }
    let listening = addresses(server.local());

    let (api, api_server, api_listening) = match &config.api.tokens {
        Some(tokens) if config.api.is_on() => {
            let own = config.api_files().map(|files| Certificates::load(&files)).transpose()?;
            let certificates = own.unwrap_or_else(|| portal.clone());
            let api = Api::load(tokens, Arc::clone(&store), metrics)?;
            let listen = Listen {
                addresses: config.api.listen.iter().map(|address| (*address, None)).collect(),
                proxies: Vec::new(),
            };
            let limits = Limits { body_octets: 256 * 1024, connections: 256, ..Limits::default() };
            let server = Server::bind(
                listen,
                limits,
                Some(certificates.clone()),
                Arc::new(api.clone()),
                homeward_http::Figures::new(metrics, "portal_api_http"),
                shutdown.clone(),
            );
            let server = server.await.exit(Exit::Unavailable)?;
            for address in server.local() {
                tracing::info!(%address, "portal's API open");
            }
            let listening = addresses(server.local());
            (Some((certificates, api)), Some(server), listening)
        }
        _ => (None, None, Vec::new()),
    };
    let work = async move {
        let serving = async move {
            let api = async move {
                if let Some(server) = api_server {
                    server.serve().await;
                }
            };
            let certifying = async move {
                if let Some(acme) = acme {
                    acme.run(shutdown).await;
                }
            };
            tokio::join!(server.serve(), api, certifying);
        };
        // What is issued ends with the last who could ask for it: the listener and the messages
        // hold the desk.
        // Without knowing whose an address is, the rest had better end, too.
        let serving = async {
            tokio::join!(serving, messaging, committing.run(store));
            Ok(())
        };
        tokio::try_join!(serving, hearing)?;
        Ok(())
    };
    let status = move || {
        let said = json!({
            "listen": listening,
            "api": api_listening,
            "acme": acme_status.as_ref().map(|status| status()),
            "http": door.status(),
            "answered": figures.status(),
            "bearers": bearers_status.as_ref().map(|status| status()),
            "sms": sms_status.as_ref().map(|status| status()),
        });
        async move { said }
    };
    let part = Part::new(status, work).section("portal");
    Ok(Started {
        part,
        reloads: Reloads { portal, acme: hurry, bearers: reloads, sms: sms_reloads, api },
    })
}

fn addresses(local: &[SocketAddr]) -> Vec<String> {
    local.iter().map(ToString::to_string).collect()
}
