//! Hybrid devices (R10): gateways to themselves, with one guest each. Such a device may have the
//! tunnel of its home network, for its own MAC address; what else gateways say is not for it to say.
//!
//! Its tunnel has a leg for each access that it names a key for, as far as its home knows of legs.

use homeward_model::{GatewayId, Instant, NetworkId};

use super::{Action, ChannelId, Controller, Event, Ignored};
use crate::codec::limits;
use crate::{FromGateway, Hello, Side, Want, WantMap};

impl Controller {
    /// Whether a gateway is a hybrid device.
    pub(super) fn is_device(&self, gateway: GatewayId) -> bool {
        self.gateways.get(&gateway).is_some_and(|record| record.device_of.is_some())
    }

    /// Whether a message is beyond what who sent it may say.
    pub(super) fn is_beyond(&self, gateway: GatewayId, message: &FromGateway) -> bool {
        let gateways = match message {
            FromGateway::Neighbours(_)
            | FromGateway::Device(_)
            | FromGateway::Prepared(_)
            | FromGateway::Logins(_) => true,
            FromGateway::Hello(_)
            | FromGateway::Load(_)
            | FromGateway::Want(_)
            | FromGateway::Unwant(_)
            | FromGateway::Tunnel(_)
            | FromGateway::Endpoints(_)
            | FromGateway::Pong(_)
            | FromGateway::WantMap(_) => false,
        };
        gateways && self.is_device(gateway)
    }

    /// A device wants the map. It is answered with megabytes, and so seldom: who asks again too soon is
    /// not answered.
    pub(super) fn want_map(
        &mut self,
        channel: ChannelId,
        gateway: GatewayId,
        wanted: WantMap,
        now: Instant,
    ) {
        let pause = self.settings.map_pause;
        // It is no business of a gateway's.
        let device = self.gateways.get_mut(&gateway).filter(|record| record.device_of.is_some());
        let Some(record) = device else { return };
        if record.map_at.is_none_or(|at| now - at >= pause) {
            record.map_at = Some(now);
            self.actions.push_back(Action::SendMap { channel, wanted });
        }
    }

    /// Takes out of a device's Hello what only a gateway may say. The tunnel home is what it is there
    /// for: it need not know its network's number to want that.
    pub(super) fn narrow(&mut self, gateway: GatewayId, home: NetworkId, hello: Hello) -> Hello {
        let Hello { versions, boot, software, public_key, endpoints, mut wants, .. } = hello;
        let count = hello.tunnels.len();
        let own =
            hello.tunnels.into_iter().filter(|t| t.network == home && t.side == Side::Foreign);
        let tunnels: Vec<_> = own.collect();
        if !wants.iter().any(|want| want.network == home) {
            wants.push(Want { network: home, macs: Vec::new() });
        }
        let beyond = hello.home
            || hello.prepared_max > 0
            || hello.carries_logins
            || !hello.bssids.is_empty()
            || !hello.devices.is_empty()
            || !hello.prepared.is_empty()
            || tunnels.len() < count;
        if beyond {
            self.ignore_device(gateway);
        }
        Hello {
            versions,
            boot,
            software,
            public_key,
            endpoints,
            home: false,
            prepared_max: 0,
            bssids: Vec::new(),
            tunnels,
            devices: Vec::new(),
            // Those of other networks are denied one by one.
            wants,
            prepared: Vec::new(),
            inner_address: hello.inner_address,
            carries_logins: false,
            path_keys: hello.path_keys,
            legs_max: 0,
        }
    }

    pub(super) fn ignore_device(&mut self, gateway: GatewayId) {
        self.events.push_back(Event::Ignored { gateway, why: Ignored::HybridDevice });
    }

    /// How many legs beside the first a tunnel between two gateways has.
    pub(super) fn further_legs(&self, home: GatewayId, foreign: GatewayId) -> usize {
        let Some(device) = self.gateways.get(&foreign).filter(|g| g.device_of.is_some()) else {
            return 0;
        };
        let most = self.gateways.get(&home).map_or(0, |home| home.legs_max);
        device.path_keys.len().min(most).min(limits::LEGS)
    }
}
