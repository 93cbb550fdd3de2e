//! Octets and protobuf to messages and back.
//!
//! `from_pb` checks everything: lengths, ranges, lists within [`limits`], names that differ. A
//! message of a kind that this version does not know is `Ok(None)`: skip it.

mod field;
mod from_gateway;
mod to_gateway;

use prost::Message;

use crate::{DecodeError, FromGateway, ToGateway, pb};

/// The most of everything that a message may have. What the machines send keeps them.
pub mod limits {
    /// Octets in a message: what gRPC implementations read unless told otherwise.
    pub const MESSAGE: usize = 4 * 1024 * 1024;
    /// Octets in a text for people.
    pub const TEXT: usize = 256;
    /// Endpoints of a gateway that it names itself.
    pub const ENDPOINTS: usize = 15;
    /// Endpoints of a peer: those, and the one that the controller sees.
    pub const PEER_ENDPOINTS: usize = 16;
    /// Servers that say how the Internet sees a data plane.
    pub const STUN: usize = 4;
    /// Legs of a tunnel to a hybrid device beside the first.
    pub const LEGS: usize = 3;
    /// Those of all tunnels of a gateway.
    pub const HELD_LEGS: usize = 8192;
    /// BSSIDs of a gateway.
    pub const BSSIDS: usize = 64;
    /// Beacons in a report.
    pub const NEIGHBOURS: usize = 256;
    /// Tunnels of a gateway.
    pub const TUNNELS: usize = 8192;
    /// Connected devices of a gateway.
    pub const DEVICES: usize = 4096;
    /// Networks whose tunnels a gateway wants.
    pub const WANTS: usize = 1024;
    /// Devices prepared at a gateway.
    pub const PREPARED: usize = 1024;
    /// Stations of log-ins in one message.
    pub const LOGINS: usize = 1024;
    /// Devices in one want or of one tunnel.
    pub const MACS: usize = 256;
    /// Parts of the map in one question: one with those around it.
    pub const REGIONS: usize = 9;
    /// Octets of a map, or of the parts that were asked for.
    pub const MAP: usize = MESSAGE - 1024;
    /// Routers of a home LAN.
    pub const ROUTERS: usize = 8;
}

impl FromGateway {
    /// Reads a message from its octets. `Ok(None)`: of a kind that this version does not know.
    pub fn decode(octets: &[u8]) -> Result<Option<Self>, DecodeError> {
        Self::from_pb(pb::FromGateway::decode(measured(octets)?)?)
    }

    /// The message's octets.
    pub fn encode(&self) -> Vec<u8> {
        self.to_pb().encode_to_vec()
    }

    /// Reads a message. `Ok(None)`: of a kind that this version does not know.
    pub fn from_pb(message: pb::FromGateway) -> Result<Option<Self>, DecodeError> {
        message.body.map_or(Ok(None), from_gateway::read)
    }

    /// The message as it is on the wire.
    pub fn to_pb(&self) -> pb::FromGateway {
        pb::FromGateway { body: Some(from_gateway::write(self)) }
    }
}

impl ToGateway {
    /// Reads a message from its octets. `Ok(None)`: of a kind that this version does not know.
    pub fn decode(octets: &[u8]) -> Result<Option<Self>, DecodeError> {
        Self::from_pb(pb::ToGateway::decode(measured(octets)?)?)
    }

    /// The message's octets.
    pub fn encode(&self) -> Vec<u8> {
        self.to_pb().encode_to_vec()
    }

    /// Reads a message. `Ok(None)`: of a kind that this version does not know.
    pub fn from_pb(message: pb::ToGateway) -> Result<Option<Self>, DecodeError> {
        message.body.map_or(Ok(None), to_gateway::read)
    }

    /// The message as it is on the wire.
    pub fn to_pb(&self) -> pb::ToGateway {
        pb::ToGateway { body: Some(to_gateway::write(self)) }
    }
}

fn measured(octets: &[u8]) -> Result<&[u8], DecodeError> {
    if octets.len() > limits::MESSAGE {
        return Err(DecodeError::TooLong { octets: octets.len(), limit: limits::MESSAGE });
    }
    Ok(octets)
}
