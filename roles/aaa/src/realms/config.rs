//! `[aaa.realms]` and `[[aaa.partner]]`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use homeward_daemon::{Exit, ExitContext, Invalid, Period, SecretSource};
use homeward_model::Name;
use homeward_proxy::{
    Accounting, Balance, Clamp, Filter, HomeServer, OperatorName, Pattern, Pool, Route, ServerId,
    Settings, Table, Target, Unanswered, Watch, Which,
};
use homeward_radius::SharedSecret;
use serde::Deserialize;

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

/// A server of a partner, by UDP: keep it inside a tunnel.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartnerServer {
    /// Where it is asked for access.
    pub address: SocketAddr,
    /// Where it is told of usage; unset: one port above.
    pub accounting: Option<SocketAddr>,
    /// The secret shared with it.
    pub secret: SecretSource,
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
    /// Whether its answers must have a Message-Authenticator (CVE-2024-3596).
    #[serde(default = "yes")]
    pub require_message_authenticator: bool,
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
pub fn check(realms: &RealmsConfig, partners: &[Partner]) -> Result<(), Invalid> {
    for (at, realm) in realms.local.iter().enumerate() {
        pattern(&format!("aaa.realms.local[{at}]"), realm)?;
    }
    if let Some(operator) = &realms.operator {
        OperatorName::realm(operator)
            .map_err(|e| Invalid::new("aaa.realms.operator", e.to_string()))?;
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

fn pattern(key: &str, realm: &str) -> Result<Pattern, Invalid> {
    realm.parse().map_err(|error: homeward_proxy::NameError| {
        Invalid::new(
            key,
            format!("{realm:?}: {error}; write example.net, *.example.net or DEFAULT"),
        )
    })
}

/// A table, and where each of its servers is.
#[derive(Debug, Clone)]
pub(crate) struct Ways {
    pub(crate) table: Table,
    pub(crate) addresses: Vec<SocketAddr>,
}

/// Reads the secrets and makes the table; `None` without partners: then all is local.
///
/// # Errors
///
/// A secret that cannot be read, or two routes for one realm.
pub(crate) fn ways(realms: &RealmsConfig, partners: &[Partner]) -> anyhow::Result<Option<Ways>> {
    if partners.is_empty() {
        return Ok(None);
    }
    let (mut table, mut addresses) = (Table::new(), Vec::new());
    for realm in &realms.local {
        let key = "aaa.realms.local";
        table.route(pattern(key, realm)?, Target::Local).context(key).exit(Exit::Config)?;
    }
    for partner in partners {
        let mut access = Vec::new();
        let mut accounting = Vec::new();
        for server in &partner.server {
            let beside = {
                let mut beside = server.address;
                beside.set_port(beside.port().saturating_add(1));
                beside
            };
            let told = server.accounting.unwrap_or(beside);
            let secret = SharedSecret::new(&server.secret.read()?).exit(Exit::Config)?;
            if secret.is_short() {
                tracing::warn!(partner = %partner.name, "the RADIUS secret is short: use 16 characters or more");
            }
            let mut add = |what: &str, address: SocketAddr, list: &mut Vec<ServerId>| {
                let name = format!("{} {what} {address}", partner.name);
                list.push(table.server(home_server(server, &name, secret.clone())));
                addresses.push(address);
            };
            add("access", server.address, &mut access);
            if partner.accounting {
                add("accounting", told, &mut accounting);
            }
        }
        let mut pool = |what: &str, servers: Vec<ServerId>| {
            let pool = Pool::new(&format!("{} {what}", partner.name), servers);
            let balance = if partner.share { Balance::Identity } else { Balance::FailOver };
            table.pool(Pool { balance, unanswered: Unanswered::Reject, ..pool })
        };
        let told = match partner.accounting {
            true => Accounting::Pool(pool("accounting", accounting).exit(Exit::Config)?),
            false => Accounting::Local,
        };
        let access = pool("access", access).exit(Exit::Config)?;
        let route = Route { accounting: told, answers: answers(partner)?, ..Route::to(access) };
        for realm in &partner.realms {
            let target = Target::from(route.clone());
            let added = table.route(pattern("aaa.partner.realms", realm)?, target);
            added.with_context(|| format!("partner {}", partner.name)).exit(Exit::Config)?;
        }
    }
    Ok(Some(Ways { table, addresses }))
}

fn home_server(server: &PartnerServer, name: &str, secret: SharedSecret) -> HomeServer {
    let watch = Watch {
        response_window: server.response_window.0,
        zombie_period: server.dead_after.0,
        check_interval: server.check_interval.0,
        answers_to_alive: server.answers_to_alive,
        ..Watch::default()
    };
    HomeServer {
        watch,
        require_message_authenticator: server.require_message_authenticator,
        ..HomeServer::datagram(name, secret)
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
