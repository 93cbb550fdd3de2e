//! The `[controller]` section of the core's configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use homeward_channel::ServerSettings;
use homeward_control::ControllerSettings;
use homeward_control::codec::limits;
use homeward_daemon::{Invalid, Period};
use homeward_model::Rssi;
use homeward_stun::AnswererSettings;
use ipnet::Ipv4Net;
use serde::Deserialize;

/// `[controller]`: the control channel of the operator's gateways.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where gateways come to (TCP). Empty: no control channel.
    pub listen: Vec<SocketAddr>,
    /// Where data planes are told how the Internet sees them (STUN, UDP); at most four. Empty:
    /// nowhere. With an unspecified address, gateways ask where their channel leads to.
    pub stun: Vec<SocketAddr>,
    /// Answers a second to one source of STUN requests: an IPv4 address, or a /64 of IPv6; 0: any
    /// number.
    pub stun_per_second: u32,
    /// How many at once after a quiet time.
    pub stun_burst: u32,
    /// The addresses that data planes have inside tunnels.
    pub pool: Ipv4Net,
    /// How long a gateway's certificate is good for; it is renewed after two thirds.
    pub certificate_lifetime: Period,
    /// For how long after its end it may still be renewed: a gateway may be away that long.
    pub renewal_grace: Period,

    /// The most connections at a time.
    pub connections: usize,
    /// How long TLS may take, and after it the first call, and after that the first message.
    pub handshake_timeout: Period,
    /// After how much silence a gateway is asked whether it is there.
    pub keepalive: Period,
    /// How long it has to answer that.
    pub keepalive_timeout: Period,
    /// How many messages may wait for a gateway before it is cut off.
    pub queue: usize,
    /// How many messages a second a gateway may send.
    pub messages_per_second: u32,

    /// How often gateways report their load and their neighbours.
    pub report_interval: Period,
    /// For how long a gateway that lost its channel is taken to go on by itself.
    pub keep: Period,
    /// For how long after a restart gateways may come back with tunnels that are taken over.
    pub grace: Period,
    /// The most tunnels of one gateway, both sides together.
    pub tunnels_per_gateway: usize,

    /// At how many gateways a device is prepared before it moves. 0 prepares nothing.
    pub prepared_per_device: usize,
    /// How many devices are prepared at one gateway at most.
    pub prepared_per_gateway: usize,
    /// When a device that stays has settled: what is prepared for it is withdrawn.
    pub settle: Period,
    /// The signal of a settled device below which it is prepared for again.
    pub weak_signal: Rssi,
    /// How long a map of the gateways is good that hybrid devices have fetched.
    pub map_valid: Period,
    /// How often what was learned of moves is written to the datastore, if there is news.
    pub keep_moves: Period,
}

impl Default for Config {
    fn default() -> Self {
        let (server, machine) = (ServerSettings::default(), ControllerSettings::default());
        let (network, prefix) = machine.pool;
        let stun = AnswererSettings::default();
        Self {
            listen: Vec::new(),
            stun: Vec::new(),
            stun_per_second: stun.per_second,
            stun_burst: stun.burst,
            pool: Ipv4Net::new(network, prefix).unwrap_or_default(),
            certificate_lifetime: Period(server.certificate_lifetime),
            renewal_grace: Period(server.renewal_grace),
            connections: server.connections,
            handshake_timeout: Period(server.handshake_timeout),
            keepalive: Period(server.keepalive),
            keepalive_timeout: Period(server.keepalive_timeout),
            queue: server.queue,
            messages_per_second: machine.messages_per_second,
            report_interval: Period(machine.report_interval),
            keep: Period(machine.keep),
            grace: Period(machine.grace),
            tunnels_per_gateway: machine.tunnels_per_gateway,
            prepared_per_device: machine.prepared_per_device,
            prepared_per_gateway: machine.prepared_per_gateway,
            settle: Period(machine.settle),
            weak_signal: machine.weak_signal,
            map_valid: Period(Duration::from_secs(14 * 24 * 3600)),
            keep_moves: Period(Duration::from_secs(300)),
        }
    }
}

/// The most connections that may be configured.
const MAX_CONNECTIONS: usize = 1_000_000;

impl Config {
    /// Whether there is a control channel at all.
    pub fn is_on(&self) -> bool {
        !self.listen.is_empty()
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// The first value that is not allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        let key = |name: &str| format!("controller.{name}");
        if !(8..=30).contains(&self.pool.prefix_len()) {
            let message = "use a prefix of 8 to 30 bits, such as \"100.64.0.0/10\"";
            return Err(Invalid::new(key("pool"), message));
        }
        if self.pool.network() == Ipv4Addr::UNSPECIFIED {
            return Err(Invalid::new(key("pool"), "use addresses of your own"));
        }
        if self.certificate_lifetime.0 < Duration::from_secs(3600) {
            return Err(Invalid::new(key("certificate_lifetime"), "use at least 1h"));
        }
        if !(1..=MAX_CONNECTIONS).contains(&self.connections) {
            let message = format!("use 1 to {MAX_CONNECTIONS}");
            return Err(Invalid::new(key("connections"), message));
        }
        if self.queue < 64 {
            return Err(Invalid::new(key("queue"), "use at least 64"));
        }
        if self.stun.len() > limits::STUN {
            return Err(Invalid::new(key("stun"), format!("name {} at most", limits::STUN)));
        }
        if !self.stun.is_empty() && !self.is_on() {
            let message = "nobody is told of it: set controller.listen, or leave it out";
            return Err(Invalid::new(key("stun"), message));
        }
        if self.stun_burst == 0 {
            return Err(Invalid::new(key("stun_burst"), "use at least 1"));
        }
        if self.map_valid.0 < Duration::from_secs(3600) {
            return Err(Invalid::new(key("map_valid"), "use at least 1h"));
        }
        let second = Duration::from_secs(1);
        for (name, period) in [
            ("handshake_timeout", self.handshake_timeout),
            ("keepalive", self.keepalive),
            ("keepalive_timeout", self.keepalive_timeout),
            ("report_interval", self.report_interval),
            ("keep_moves", self.keep_moves),
        ] {
            if period.0 < second {
                return Err(Invalid::new(key(name), "use at least 1s"));
            }
        }
        Ok(())
    }

    pub(crate) fn server(&self) -> ServerSettings {
        ServerSettings {
            connections: self.connections,
            handshake_timeout: self.handshake_timeout.0,
            keepalive: self.keepalive.0,
            keepalive_timeout: self.keepalive_timeout.0,
            queue: self.queue,
            certificate_lifetime: self.certificate_lifetime.0,
            renewal_grace: self.renewal_grace.0,
            ..ServerSettings::default()
        }
    }

    pub(crate) fn answerer(&self) -> AnswererSettings {
        AnswererSettings { per_second: self.stun_per_second, burst: self.stun_burst }
    }

    pub(crate) fn machine(&self, stun: Vec<SocketAddr>) -> ControllerSettings {
        ControllerSettings {
            pool: (self.pool.network(), self.pool.prefix_len()),
            stun,
            report_interval: self.report_interval.0,
            keep: self.keep.0,
            grace: self.grace.0,
            messages_per_second: self.messages_per_second,
            tunnels_per_gateway: self.tunnels_per_gateway,
            prepared_per_device: self.prepared_per_device,
            prepared_per_gateway: self.prepared_per_gateway,
            settle: self.settle.0,
            weak_signal: self.weak_signal,
            ..ControllerSettings::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_allowed_and_open_nothing() {
        let config = Config::default();
        config.check().unwrap();
        assert!(!config.is_on());
        assert_eq!(config.pool.to_string(), "100.64.0.0/10");
    }

    #[test]
    fn what_is_not_allowed_is_named() {
        let wrong = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(wrong(|c| c.pool = "10.0.0.0/31".parse().unwrap()).starts_with("controller.pool"));
        assert!(wrong(|c| c.connections = 0).starts_with("controller.connections"));
        let alone = |c: &mut Config| c.stun = vec!["0.0.0.0:3478".parse().unwrap()];
        assert!(wrong(alone).starts_with("controller.stun"), "nobody hears of it");
        let many = |c: &mut Config| {
            c.listen = vec!["0.0.0.0:4719".parse().unwrap()];
            c.stun = vec!["0.0.0.0:3478".parse().unwrap(); 5];
        };
        assert!(wrong(many).starts_with("controller.stun"));
        assert!(wrong(|c| c.stun_burst = 0).starts_with("controller.stun_burst"));
        assert!(wrong(|c| c.queue = 1).starts_with("controller.queue"));
        assert!(wrong(|c| c.keepalive = Period::default()).starts_with("controller.keepalive"));
        let short = wrong(|c| c.certificate_lifetime = Period(Duration::from_secs(60)));
        assert!(short.starts_with("controller.certificate_lifetime"), "{short}");
    }
}
