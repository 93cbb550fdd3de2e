//! The `[aaa]` section of the core's configuration.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use homeward_daemon::{Invalid, Period};
use serde::Deserialize;

use crate::accounting::AccountingConfig;
use crate::changes::Refused;
use crate::eap::EapConfig;
use crate::radsec::RadsecConfig;
use crate::realms::{self, Partner, RealmsConfig};
use crate::tries::Limits;

/// `[aaa]`: the RADIUS server. Its clients are the gateways of the datastore.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where look-ups arrive.
    pub listen: Vec<SocketAddr>,
    /// Threads; 0 is one a core.
    pub workers: usize,
    /// How long an answer is repeated to a repeated question (RFC 5080 2.2.2).
    pub duplicate_window: Period,
    /// How many answers a worker keeps for that.
    pub duplicates: usize,
    /// Whether requests must carry a Message-Authenticator.
    pub require_message_authenticator: bool,
    /// The port of gateways for Disconnect-Requests and CoA-Requests (RFC 5176).
    pub disconnect_port: u16,
    /// What becomes of a session whose NAS does not take a CoA-Request.
    pub change_refused: Refused,
    /// How many grants a worker remembers, to revoke them.
    pub grants: usize,
    /// For how long, counted from when each was last given.
    pub grant_memory: Period,
    /// How many log-ins that have ended are held for gateways whose control channel is away.
    pub held_put_outs: usize,
    /// How old outbox entries become before they are pruned.
    pub outbox_retention: Period,
    /// How often a NAS is to report on a session that was let in by a log-in.
    pub interim: Period,
    /// Threads that check passwords which people chose.
    pub password_threads: usize,
    /// Passwords that may wait for them; more are not answered.
    pub password_queue: usize,
    /// Wrong passwords for a name by one device until it has to wait; 0 is any number.
    pub wrong_tries: u32,
    /// The same by all devices together.
    pub wrong_tries_of_all: u32,
    /// After how long one more try is allowed.
    pub try_again: Period,
    /// Log-ins a second that a NAS may begin, ten seconds of them at once; 0 is any number.
    pub logins_per_second: u32,
    /// EAP.
    pub eap: EapConfig,
    /// Accounting.
    pub accounting: AccountingConfig,
    /// RADIUS over TLS.
    pub radsec: RadsecConfig,
    /// Whose requests are answered here.
    pub realms: RealmsConfig,
    /// Who answers the others.
    pub partner: Vec<Partner>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1812)],
            workers: 0,
            duplicate_window: Period(Duration::from_secs(5)),
            duplicates: 65_536,
            require_message_authenticator: true,
            disconnect_port: 3799,
            change_refused: Refused::default(),
            grants: 262_144,
            grant_memory: Period(Duration::from_secs(24 * 3600)),
            held_put_outs: 65_536,
            outbox_retention: Period(Duration::from_secs(7 * 24 * 3600)),
            interim: Period(Duration::from_secs(300)),
            password_threads: 1,
            password_queue: 64,
            wrong_tries: 10,
            wrong_tries_of_all: 100,
            try_again: Period(Duration::from_secs(30)),
            logins_per_second: 1000,
            eap: EapConfig::default(),
            accounting: AccountingConfig::default(),
            radsec: RadsecConfig::default(),
            realms: RealmsConfig::default(),
            partner: Vec::new(),
        }
    }
}

impl Config {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            by_device: self.wrong_tries,
            by_all: self.wrong_tries_of_all,
            again: self.try_again.0,
            logins: self.logins_per_second,
        }
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// The first value that is not allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.listen.is_empty() {
            return Err(Invalid::new(
                "aaa.listen",
                "name at least one address, such as \"127.0.0.1:1812\"",
            ));
        }
        if self.workers > 256 {
            return Err(Invalid::new("aaa.workers", "use at most 256; 0 is one a core"));
        }
        if !(60..=86_400).contains(&self.interim.0.as_secs()) {
            return Err(Invalid::new("aaa.interim", "use 1m to 1d"));
        }
        if !(1..=256).contains(&self.password_threads) {
            return Err(Invalid::new("aaa.password_threads", "use 1 to 256"));
        }
        if self.try_again.0 < Duration::from_secs(1) {
            return Err(Invalid::new("aaa.try_again", "use at least 1s"));
        }
        self.eap.check()?;
        self.accounting.check()?;
        self.radsec.check()?;
        realms::config::check(&self.realms, &self.partner, &self.radsec)?;
        if self.grants < 16 {
            return Err(Invalid::new("aaa.grants", "use at least 16"));
        }
        Ok(())
    }
}
