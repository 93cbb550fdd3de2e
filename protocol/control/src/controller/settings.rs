//! The limits and times of a [`Controller`](crate::Controller).

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use homeward_model::Rssi;

/// The limits and times of a [`Controller`](crate::Controller). [`Settings::default`] is fit for
/// use. Times that would make the machine spin are raised to their least.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The addresses that data planes have inside tunnels: network and prefix length (8 to 30).
    /// Its first and last address are not given out.
    pub pool: (Ipv4Addr, u8),
    /// How often a gateway is to report its load and neighbours. At least 1 s.
    pub report_interval: Duration,
    /// How often a gateway is asked whether it is there. One that said nothing for three times
    /// this long has a dead channel. At least 1 s.
    pub ping_interval: Duration,
    /// Where data planes are told how the Internet sees them (STUN), as gateways are told; at most 4.
    pub stun: Vec<SocketAddr>,
    /// For how long after the loss of its channel a gateway is taken to go on by itself: its
    /// tunnels stay, its wishes count.
    pub keep: Duration,
    /// For how long half a tunnel that a gateway holds waits for its other half to be told: after
    /// a restart of the controller, how far apart its gateways may come back.
    pub grace: Duration,
    /// How long the store has for the facts of a network before it is asked again. At least 1 s.
    pub network_wait: Duration,
    /// When a gateway that met a limit is to ask again. At least 1 s.
    pub limit_retry: Duration,
    /// How soon a hybrid device is sent the map again: it may have megabytes.
    pub map_pause: Duration,

    /// Messages a second from one gateway; a list counts as one more for every 16 entries.
    pub messages_per_second: u32,
    /// How many at once after a quiet time. A Hello is one of them.
    pub message_burst: u32,
    /// The most gateways, those included that lost their channel less than
    /// [`keep`](Self::keep) ago.
    pub gateways: usize,
    /// The most tunnels.
    pub tunnels: usize,
    /// The most tunnels of one gateway, both sides together.
    pub tunnels_per_gateway: usize,
    /// The most networks whose facts are in memory.
    pub networks: usize,
    /// The most networks that one gateway may want.
    pub wants_per_gateway: usize,
    /// The most devices connected at one gateway.
    pub devices_per_gateway: usize,
    /// The most devices that are remembered, connected or not.
    pub devices: usize,

    /// At how many gateways a device is prepared at once. 0 prepares nothing.
    pub prepared_per_device: usize,
    /// How many devices are prepared at one gateway at most, however many it offers.
    pub prepared_per_gateway: usize,
    /// When a device that stays where it is has settled: what is prepared for it is withdrawn,
    /// until it moves or its signal weakens.
    pub settle: Duration,
    /// A settled device with a signal this weak is about to go: it is prepared for again.
    pub weak_signal: Rssi,
    /// When what is prepared for a device that is nowhere is withdrawn.
    pub absent: Duration,
    /// A device that connects within this time of having gone elsewhere has moved.
    pub move_window: Duration,
    /// When a past move counts half. At least 1 s.
    pub move_half_life: Duration,
    /// For how long a beacon report counts.
    pub neighbour_age: Duration,
    /// What a beacon of −30 dBm counts beside one move of any device; one of −90 dBm counts
    /// nothing.
    pub beacon_weight: f64,
    /// What a device's own past move counts beside one of any device.
    pub own_move_weight: f64,
    /// A neighbour with less than this is not worth preparing.
    pub least_weight: f64,
    /// The most neighbours of a gateway that are learned from moves.
    pub neighbours_per_gateway: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pool: (Ipv4Addr::new(100, 64, 0, 0), 10),
            report_interval: Duration::from_secs(30),
            ping_interval: Duration::from_secs(30),
            stun: Vec::new(),
            keep: Duration::from_secs(4 * 3600),
            grace: Duration::from_secs(600),
            network_wait: Duration::from_secs(10),
            limit_retry: Duration::from_secs(60),
            map_pause: Duration::from_secs(10),
            messages_per_second: 100,
            message_burst: 2000,
            gateways: 100_000,
            tunnels: 1_000_000,
            tunnels_per_gateway: 4096,
            networks: 1_000_000,
            wants_per_gateway: 256,
            devices_per_gateway: 2048,
            devices: 500_000,
            prepared_per_device: 3,
            prepared_per_gateway: 32,
            settle: Duration::from_secs(600),
            weak_signal: Rssi(-72),
            absent: Duration::from_secs(300),
            move_window: Duration::from_secs(300),
            move_half_life: Duration::from_secs(7 * 24 * 3600),
            neighbour_age: Duration::from_secs(900),
            beacon_weight: 1.0,
            own_move_weight: 3.0,
            least_weight: 0.05,
            neighbours_per_gateway: 32,
        }
    }
}

impl Settings {
    /// The same, with times that would make the machine spin raised to their least, and limits
    /// cut to what a message can carry.
    pub(super) fn floored(mut self) -> Self {
        use crate::codec::limits;
        let second = Duration::from_secs(1);
        for time in [
            &mut self.report_interval,
            &mut self.ping_interval,
            &mut self.network_wait,
            &mut self.limit_retry,
            &mut self.move_half_life,
        ] {
            *time = (*time).max(second);
        }
        self.stun.truncate(limits::STUN);
        self.pool.1 = self.pool.1.clamp(8, 30);
        self.tunnels_per_gateway = self.tunnels_per_gateway.min(limits::TUNNELS);
        self.wants_per_gateway = self.wants_per_gateway.min(limits::WANTS);
        self.devices_per_gateway = self.devices_per_gateway.min(limits::DEVICES);
        self.prepared_per_gateway = self.prepared_per_gateway.min(limits::PREPARED);
        self
    }
}
