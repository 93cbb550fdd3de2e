//! `[aaa.realms]` and `[[aaa.partner]]`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use homeward_daemon::{Exit, ExitContext, Invalid, Period, SecretSource};
use homeward_model::Name;
use homeward_proxy::{
    Accounting, Balance, Clamp, Filter, HomeServer, OperatorName, Pattern, Pool, Route, ServerId,
    Settings, Table, Target, Transport, Unanswered, Watch, Which,
};
use homeward_radius::SharedSecret;
use homeward_transport::Endpoint;
use homeward_transport::radsec::client::{ClientLimits, Credentials, Server};
use homeward_transport::radsec::{ClientTls, Trust, Version};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use serde::Deserialize;

use super::links::Way;
use crate::eap::{read, read_key};
use crate::radsec::RadsecConfig;

/// `[aaa.realms]`: whose requests are answered here, where there are partners.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RealmsConfig {
    /// The realms that are ours: `example.net`, `*.example.net`. What has none is ours, too.
    pub local: Vec<String>,
    /// Our realm, as partners are told it (Operator-Name, RFC 5580); unset: they are not.
    pub operator: Option<String>,
    /// A request that went through so many proxies goes round in circles.
    pub hop_limit: usize,
    /// The most requests under way to all partners.
    pub outstanding: usize,
    /// The most of one gateway's.
    pub outstanding_per_client: usize,
    /// How long after it came a request is given up.
    pub give_up: Period,
    /// The longest pause before a connection to a server that is reached by TLS is tried again.
    pub reconnect: Period,
}

impl Default for RealmsConfig {
    fn default() -> Self {
        let settings = Settings::default();
        Self {
            local: Vec::new(),
            operator: None,
            hop_limit: settings.hop_limit,
            outstanding: settings.outstanding,
            outstanding_per_client: settings.per_client,
            give_up: Period(settings.give_up),
            reconnect: Period(ClientLimits::default().retry_most),
        }
    }
}

/// `[[aaa.partner]]`: an operator whose subscribers are served here.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partner {
    /// What logs and metrics call it.
    pub name: Name,
    /// Its realms: `partner.example`, `*.partner.example`, or `DEFAULT` for all that are nobody
    /// else's.
    pub realms: Vec<String>,
    /// Its servers, first choice first.
    pub server: Vec<PartnerServer>,
    /// Whether its servers share the work, rather than standing in for each other.
    #[serde(default)]
    pub share: bool,
    /// Whether it is told of usage, besides the ledger.
    #[serde(default = "yes")]
    pub accounting: bool,
    /// Attributes that it may set besides the usual ones, such as `Tunnel-Private-Group-Id`,
    /// `311:16` or `311:*`.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Attributes that it may not set.
    #[serde(default)]
    pub deny: Vec<String>,
    /// The longest session that it may grant; a session without an end has this one.
    #[serde(default)]
    pub longest_session: Option<Period>,
}

/// A server of a partner: by TLS, or by UDP inside a tunnel.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartnerServer {
    /// Where it is asked for access, by UDP.
    pub address: Option<Endpoint>,
    /// Where it is told of usage, by UDP; unset: one port above.
    pub accounting: Option<Endpoint>,
    /// The secret shared with it, by UDP.
    pub secret: Option<SecretSource>,
    /// Where it is asked and told, by TLS (RFC 6614). The port assigned to that is 2083.
    pub radsec: Option<Endpoint>,
    /// How that is done.
    #[serde(default)]
    pub tls: PartnerTls,
    /// How long an answer may take before another server is asked.
    #[serde(default = "response_window")]
    pub response_window: Period,
    /// How long a doubted server has to answer anything until it counts as dead.
    #[serde(default = "dead_after")]
    pub dead_after: Period,
    /// How often a server that does not answer is asked whether it does again.
    #[serde(default = "check_interval")]
    pub check_interval: Period,
    /// How many such answers in a row make it good again.
    #[serde(default = "answers_to_alive")]
    pub answers_to_alive: u32,
    /// Whether its answers by UDP must have a Message-Authenticator (CVE-2024-3596).
    #[serde(default = "yes")]
    pub require_message_authenticator: bool,
}

/// How a partner's server is spoken to by TLS. Files are read again for each connection.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PartnerTls {
    /// The name in its certificate; unset: where it is.
    pub name: Option<String>,
    /// What we show to it, and its issuers, in PEM; unset: `aaa.radsec.certificate`.
    pub certificate: Option<PathBuf>,
    /// Its key, in PEM; unset: `aaa.radsec.key`.
    pub key: Option<PathBuf>,
    /// Who vouches for the server, in PEM.
    pub ca: Option<PathBuf>,
    /// What they have revoked, in PEM.
    pub crl: Option<PathBuf>,
    /// How many connections are kept to it. One without RADIUS/1.1 has room for 255 requests.
    pub connections: u16,
}

impl Default for PartnerTls {
    fn default() -> Self {
        Self { name: None, certificate: None, key: None, ca: None, crl: None, connections: 4 }
    }
}

impl PartnerTls {
    /// What is shown to a server, and believed of it.
    fn shown(&self, endpoint: &Endpoint) -> anyhow::Result<ClientTls> {
        let name = self.name.clone().unwrap_or_else(|| endpoint.host());
        let path = |path: &Option<PathBuf>, key: &str| {
            path.clone().with_context(|| format!("{key} is not set")).exit(Exit::Config)
        };
        let mut trust = Trust {
            authorities: read::<CertificateDer<'static>>("tls.ca", &path(&self.ca, "tls.ca")?)?,
            ..Trust::default()
        };
        if let Some(path) = &self.crl {
            trust.revoked = read::<CertificateRevocationListDer<'static>>("tls.crl", path)?;
        }
        let chain = read("tls.certificate", &path(&self.certificate, "tls.certificate")?)?;
        let key = read_key("tls.key", &path(&self.key, "tls.key")?)?;
        ClientTls::new(&name, chain, key, trust).context("tls").exit(Exit::Config)
    }
}

const fn yes() -> bool {
    true
}

fn response_window() -> Period {
    Period(Watch::default().response_window)
}

fn dead_after() -> Period {
    Period(Watch::default().zombie_period)
}

fn check_interval() -> Period {
    Period(Watch::default().check_interval)
}

fn answers_to_alive() -> u32 {
    Watch::default().answers_to_alive
}

/// Checks what the types cannot say.
///
/// # Errors
///
/// The first value that is not allowed.
pub fn check(
    realms: &RealmsConfig,
    partners: &[Partner],
    radsec: &RadsecConfig,
) -> Result<(), Invalid> {
    for (at, realm) in realms.local.iter().enumerate() {
        pattern(&format!("aaa.realms.local[{at}]"), realm)?;
    }
    if let Some(operator) = &realms.operator {
        OperatorName::realm(operator)
            .map_err(|e| Invalid::new("aaa.realms.operator", e.to_string()))?;
    }
    if realms.reconnect.0 < Duration::from_millis(100) {
        return Err(Invalid::new("aaa.realms.reconnect", "use at least 100ms"));
    }
    if !partners.is_empty() && realms.local.is_empty() {
        return Err(Invalid::new(
            "aaa.realms.local",
            "with partners, name the realms that are ours: all others are refused",
        ));
    }
    for (p, partner) in partners.iter().enumerate() {
        if partner.server.is_empty() {
            return Err(Invalid::new(format!("aaa.partner[{p}].server"), "name at least one"));
        }
        for (at, realm) in partner.realms.iter().enumerate() {
            pattern(&format!("aaa.partner[{p}].realms[{at}]"), realm)?;
        }
        for (list, key) in [(&partner.allow, "allow"), (&partner.deny, "deny")] {
            for (at, which) in list.iter().enumerate() {
                let key = || format!("aaa.partner[{p}].{key}[{at}]");
                which.parse::<Which>().map_err(|e| Invalid::new(key(), e.to_string()))?;
            }
        }
        for (at, server) in partner.server.iter().enumerate() {
            let key = |key: &str| format!("aaa.partner[{p}].server[{at}].{key}");
            check_way(server, radsec, key)?;
            if server.response_window.0 < Duration::from_millis(100) {
                return Err(Invalid::new(key("response_window"), "use at least 100ms"));
            }
            if server.check_interval.0 < Duration::from_secs(1) {
                return Err(Invalid::new(key("check_interval"), "use at least 1s"));
            }
        }
    }
    Ok(())
}

/// How a server is reached, and whether all is there that it takes.
fn check_way(
    server: &PartnerServer,
    radsec: &RadsecConfig,
    key: impl Fn(&str) -> String,
) -> Result<(), Invalid> {
    let tls = &server.tls;
    match (&server.address, &server.radsec) {
        (Some(_), None) if server.secret.is_none() => {
            Err(Invalid::new(key("secret"), "is needed where it is reached by UDP"))
        }
        (Some(_), None) => Ok(()),
        (None, Some(_)) if server.secret.is_some() || server.accounting.is_some() => {
            Err(Invalid::new(key("radsec"), "by TLS there is neither secret nor accounting port"))
        }
        (None, Some(_)) if tls.ca.is_none() => {
            Err(Invalid::new(key("tls.ca"), "name who vouches for the server"))
        }
        (None, Some(_)) if tls.certificate.is_some() != tls.key.is_some() => {
            Err(Invalid::new(key("tls"), "certificate and key go together"))
        }
        (None, Some(_)) if tls.certificate.is_none() && radsec.certificate.is_none() => {
            let why = "name what is shown to the server, here or in aaa.radsec";
            Err(Invalid::new(key("tls.certificate"), why))
        }
        (None, Some(_)) if !(1..=64).contains(&tls.connections) => {
            Err(Invalid::new(key("tls.connections"), "use 1 to 64"))
        }
        (None, Some(_)) => Ok(()),
        _ => Err(Invalid::new(
            key("address"),
            "say where it is: by address (UDP) or by radsec (TLS), and one of them",
        )),
    }
}

fn pattern(key: &str, realm: &str) -> Result<Pattern, Invalid> {
    realm.parse().map_err(|error: homeward_proxy::NameError| {
        Invalid::new(
            key,
            format!("{realm:?}: {error}; write example.net, *.example.net or DEFAULT"),
        )
    })
}

/// A table, and how each of its servers is reached.
#[derive(Debug, Clone)]
pub(crate) struct Ways {
    pub(crate) table: Table,
    pub(crate) links: Vec<Way>,
}

/// Reads the secrets and makes the table; `None` without partners: then all is local.
///
/// # Errors
///
/// A secret that cannot be read, or two routes for one realm.
pub(crate) fn ways(
    realms: &RealmsConfig,
    partners: &[Partner],
    radsec: &RadsecConfig,
) -> anyhow::Result<Option<Ways>> {
    if partners.is_empty() {
        return Ok(None);
    }
    let mut ways = Ways { table: Table::new(), links: Vec::new() };
    for realm in &realms.local {
        let key = "aaa.realms.local";
        ways.table.route(pattern(key, realm)?, Target::Local).context(key).exit(Exit::Config)?;
    }
    for partner in partners {
        let mut access = Vec::new();
        let mut accounting = Vec::new();
        for server in &partner.server {
            let added = ways.add(partner, server, radsec);
            let (asked, told) = added.with_context(|| format!("partner {}", partner.name))?;
            access.push(asked);
            accounting.extend(told.filter(|_| partner.accounting));
        }
        let mut pool = |what: &str, servers: Vec<ServerId>| {
            let pool = Pool::new(&format!("{} {what}", partner.name), servers);
            let balance = if partner.share { Balance::Identity } else { Balance::FailOver };
            ways.table.pool(Pool { balance, unanswered: Unanswered::Reject, ..pool })
        };
        let told = match partner.accounting {
            true => Accounting::Pool(pool("accounting", accounting).exit(Exit::Config)?),
            false => Accounting::Local,
        };
        let access = pool("access", access).exit(Exit::Config)?;
        let route = Route { accounting: told, answers: answers(partner)?, ..Route::to(access) };
        for realm in &partner.realms {
            let target = Target::from(route.clone());
            let added = ways.table.route(pattern("aaa.partner.realms", realm)?, target);
            added.with_context(|| format!("partner {}", partner.name)).exit(Exit::Config)?;
        }
    }
    Ok(Some(ways))
}

impl Ways {
    /// Adds a server: who is asked for access, and who is told of usage.
    fn add(
        &mut self,
        partner: &Partner,
        server: &PartnerServer,
        radsec: &RadsecConfig,
    ) -> anyhow::Result<(ServerId, Option<ServerId>)> {
        if let Some(endpoint) = &server.radsec {
            let mut tls = server.tls.clone();
            if tls.certificate.is_none() {
                tls.certificate.clone_from(&radsec.certificate);
                tls.key.clone_from(&radsec.key);
            }
            // Here an operator sees what is wrong; later on it is tried again.
            tls.shown(endpoint)?;
            let secret = Version::V1_0.secret().exit(Exit::System)?;
            let connections = tls.connections;
            let spec = HomeServer::stream(&format!("{} {endpoint}", partner.name), secret);
            let watch = Watch { watchdog: spec.watch.watchdog, ..watch(server) };
            let transport = Transport::Stream { connections };
            let credentials: Arc<dyn Credentials> = {
                let endpoint = endpoint.clone();
                Arc::new(move || tls.shown(&endpoint).map_err(Into::into))
            };
            let endpoint = endpoint.clone();
            self.links.push(Way::Tls(Server { endpoint, connections, credentials }));
            let one = self.table.server(HomeServer { watch, transport, ..spec });
            return Ok((one, Some(one)));
        }
        let missing = "a server has neither address nor radsec";
        let address = server.address.clone().context(missing).exit(Exit::Config)?;
        let told = server.accounting.clone().unwrap_or_else(|| address.beside());
        let source = server.secret.as_ref().context("a server has no secret").exit(Exit::Config)?;
        let secret = SharedSecret::new(&source.read()?).exit(Exit::Config)?;
        if secret.is_short() {
            tracing::warn!(partner = %partner.name, "the RADIUS secret is short: use 16 characters or more");
        }
        let mut add = |what: &str, endpoint: Endpoint| {
            let name = format!("{} {what} {endpoint}", partner.name);
            self.links.push(Way::Datagrams(endpoint));
            self.table.server(HomeServer {
                watch: watch(server),
                require_message_authenticator: server.require_message_authenticator,
                ..HomeServer::datagram(&name, secret.clone())
            })
        };
        let access = add("access", address);
        Ok((access, partner.accounting.then(|| add("accounting", told))))
    }
}

fn watch(server: &PartnerServer) -> Watch {
    Watch {
        response_window: server.response_window.0,
        zombie_period: server.dead_after.0,
        check_interval: server.check_interval.0,
        answers_to_alive: server.answers_to_alive,
        ..Watch::default()
    }
}

/// What a partner may set.
fn answers(partner: &Partner) -> anyhow::Result<Filter> {
    let which = |list: &[String]| -> anyhow::Result<Vec<Which>> {
        list.iter().map(|which| which.parse().exit(Exit::Config)).collect()
    };
    let filter = Filter::from_partner().allow(which(&partner.allow)?).deny(which(&partner.deny)?);
    Ok(match partner.longest_session {
        Some(longest) => {
            let seconds = u32::try_from(longest.0.as_secs()).unwrap_or(u32::MAX).max(1);
            filter.clamp(Clamp::session_timeout(seconds))
        }
        None => filter,
    })
}

impl RealmsConfig {
    /// The connections' limits.
    pub(crate) fn limits(&self) -> ClientLimits {
        ClientLimits { retry_most: self.reconnect.0, ..ClientLimits::default() }
    }

    /// The machine's settings.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let operator = self.operator.as_deref().map(OperatorName::realm).transpose();
        Ok(Settings {
            hop_limit: self.hop_limit,
            outstanding: self.outstanding,
            per_client: self.outstanding_per_client,
            give_up: self.give_up.0,
            operator: operator.exit(Exit::Config)?,
            ..Settings::default()
        })
    }
}
