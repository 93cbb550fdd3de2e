//! What the controller says.

use std::time::Duration;

use homeward_model::{Bandwidth, BondingModes, Encryption, Priority};

use super::field::{
    address, address_octets, addresses, clipped, endpoints, gateway, half, ipv4, legs, mac,
    mac_octets, macs, name, network, preshared_key, public_key, routers, short_milliseconds, side,
    side_number, signal, text, tunnel, tunnels, value, write_addresses, write_endpoints,
    write_legs, write_routers,
};
use super::from_gateway::{prepare, write_prepare};
use super::limits;
use crate::pb::to_gateway::Body;
use crate::{
    Arrived, CloseTunnel, CoverageMap, DecodeError, Denied, DeniedReason, Evict, Goodbye,
    GoodbyeReason, OpenTunnel, Peer, Revoke, Terms, ToGateway, Welcome, Withdraw, pb,
};

pub(super) fn read(body: Body) -> Result<Option<ToGateway>, DecodeError> {
    Ok(Some(match body {
        Body::Welcome(m) => ToGateway::Welcome(welcome(m)?),
        Body::Goodbye(m) => ToGateway::Goodbye(goodbye(m)?),
        Body::Synced(m) => ToGateway::Synced(tunnels(&m.tunnels, "synced.tunnels")?),
        Body::Open(m) => ToGateway::Open(open(m)?),
        Body::Close(m) => ToGateway::Close(CloseTunnel {
            tunnel: tunnel(m.tunnel, "close.tunnel")?,
            reason: text(m.reason, "close.reason")?,
        }),
        Body::Denied(m) => ToGateway::Denied(denied(m)?),
        Body::Arrived(m) => ToGateway::Arrived(Arrived {
            tunnel: tunnel(m.tunnel, "arrived.tunnel")?,
            mac: mac(&m.mac, "arrived.mac")?,
        }),
        Body::Prepare(m) => ToGateway::Prepare(prepare(&m)?),
        Body::Withdraw(m) => ToGateway::Withdraw(Withdraw {
            mac: mac(&m.mac, "withdraw.mac")?,
            network: network(m.network, "withdraw.network")?,
        }),
        Body::Evict(m) => ToGateway::Evict(Evict {
            mac: mac(&m.mac, "evict.mac")?,
            network: network(m.network, "evict.network")?,
            sequence: m.sequence,
        }),
        Body::Revoke(m) => ToGateway::Revoke(Revoke {
            network: network(m.network, "revoke.network")?,
            mac: match &m.mac[..] {
                [] => None,
                octets => Some(mac(octets, "revoke.mac")?),
            },
        }),
        Body::PutOut(m) => ToGateway::PutOut(mac(&m.mac, "put_out.mac")?),
        Body::Map(m) => ToGateway::Map(CoverageMap {
            octets: m.octets,
            problem: text(m.problem, "map.problem")?,
        }),
        Body::Ping(m) => ToGateway::Ping(m.number),
    }))
}

pub(super) fn write(message: &ToGateway) -> Body {
    match message {
        ToGateway::Welcome(m) => Body::Welcome(write_welcome(m)),
        ToGateway::Goodbye(m) => Body::Goodbye(write_goodbye(m)),
        ToGateway::Synced(m) => {
            Body::Synced(pb::Synced { tunnels: m.iter().map(|t| t.0).collect() })
        }
        ToGateway::Open(m) => Body::Open(write_open(m)),
        ToGateway::Close(m) => {
            Body::Close(pb::CloseTunnel { tunnel: m.tunnel.0, reason: clipped(&m.reason) })
        }
        ToGateway::Denied(m) => Body::Denied(write_denied(m)),
        ToGateway::Arrived(m) => {
            Body::Arrived(pb::Arrived { tunnel: m.tunnel.0, mac: mac_octets(m.mac) })
        }
        ToGateway::Prepare(m) => Body::Prepare(write_prepare(m)),
        ToGateway::Withdraw(m) => {
            Body::Withdraw(pb::Withdraw { mac: mac_octets(m.mac), network: m.network.0 })
        }
        ToGateway::Evict(m) => Body::Evict(pb::Evict {
            mac: mac_octets(m.mac),
            network: m.network.0,
            sequence: m.sequence,
        }),
        ToGateway::Revoke(m) => Body::Revoke(pb::Revoke {
            network: m.network.0,
            mac: m.mac.map(mac_octets).unwrap_or_default(),
        }),
        ToGateway::PutOut(mac) => Body::PutOut(pb::PutOut { mac: mac_octets(*mac) }),
        ToGateway::Map(m) => {
            Body::Map(pb::CoverageMap { octets: m.octets.clone(), problem: clipped(&m.problem) })
        }
        ToGateway::Ping(number) => Body::Ping(pb::Ping { number: *number }),
    }
}

fn welcome(m: pb::Welcome) -> Result<Welcome, DecodeError> {
    if m.version == 0 {
        return Err(DecodeError::Missing { field: "welcome.version" });
    }
    Ok(Welcome {
        version: m.version,
        gateway: gateway(m.gateway, "welcome.gateway")?,
        name: name(m.name, "welcome.name")?,
        inner_address: ipv4(&m.inner_address, "welcome.inner_address")?,
        observed_address: address(&m.observed_address, "welcome.observed_address")?,
        report_interval: Duration::from_millis(m.report_interval_ms.into()),
        ping_interval: Duration::from_millis(m.ping_interval_ms.into()),
        stun: addresses(&m.stun, limits::STUN, "welcome.stun")?,
    })
}

fn write_welcome(m: &Welcome) -> pb::Welcome {
    pb::Welcome {
        version: m.version,
        gateway: m.gateway.0,
        name: m.name.as_str().to_owned(),
        inner_address: m.inner_address.octets().to_vec(),
        observed_address: address_octets(m.observed_address),
        report_interval_ms: short_milliseconds(m.report_interval),
        ping_interval_ms: short_milliseconds(m.ping_interval),
        stun: write_addresses(&m.stun),
    }
}

/// The reasons, with the number each has on the wire. A number that is not here is one of a newer
/// version, and `Other`.
const GOODBYES: [(GoodbyeReason, pb::GoodbyeReason); 6] = [
    (GoodbyeReason::Other, pb::GoodbyeReason::Unspecified),
    (GoodbyeReason::Version, pb::GoodbyeReason::Version),
    (GoodbyeReason::Revoked, pb::GoodbyeReason::Revoked),
    (GoodbyeReason::Replaced, pb::GoodbyeReason::Replaced),
    (GoodbyeReason::Unavailable, pb::GoodbyeReason::Unavailable),
    (GoodbyeReason::Protocol, pb::GoodbyeReason::Protocol),
];

const DENIALS: [(DeniedReason, pb::DeniedReason); 10] = [
    (DeniedReason::Other, pb::DeniedReason::Unspecified),
    (DeniedReason::UnknownNetwork, pb::DeniedReason::UnknownNetwork),
    (DeniedReason::NoHomeGateway, pb::DeniedReason::NoHomeGateway),
    (DeniedReason::HomeGatewayAway, pb::DeniedReason::HomeGatewayAway),
    (DeniedReason::Suspended, pb::DeniedReason::Suspended),
    (DeniedReason::Limit, pb::DeniedReason::Limit),
    (DeniedReason::NoHomeLan, pb::DeniedReason::NoHomeLan),
    (DeniedReason::AtHome, pb::DeniedReason::AtHome),
    (DeniedReason::LocalBreakout, pb::DeniedReason::LocalBreakout),
    (DeniedReason::NotYours, pb::DeniedReason::NotYours),
];

fn goodbye(m: pb::Goodbye) -> Result<Goodbye, DecodeError> {
    let known = GOODBYES.iter().find(|(_, wire)| i32::from(*wire) == m.reason);
    Ok(Goodbye {
        reason: known.map_or(GoodbyeReason::Other, |(reason, _)| *reason),
        message: text(m.message, "goodbye.message")?,
    })
}

fn write_goodbye(m: &Goodbye) -> pb::Goodbye {
    let wire = GOODBYES.iter().find(|(reason, _)| *reason == m.reason);
    pb::Goodbye { reason: wire.map_or(0, |(_, wire)| (*wire).into()), message: clipped(&m.message) }
}

fn denied(m: pb::Denied) -> Result<Denied, DecodeError> {
    let known = DENIALS.iter().find(|(_, wire)| i32::from(*wire) == m.reason);
    Ok(Denied {
        network: network(m.network, "denied.network")?,
        reason: known.map_or(DeniedReason::Other, |(reason, _)| *reason),
        message: text(m.message, "denied.message")?,
        retry_after: (m.retry_after_ms > 0).then(|| Duration::from_millis(m.retry_after_ms.into())),
    })
}

fn write_denied(m: &Denied) -> pb::Denied {
    let wire = DENIALS.iter().find(|(reason, _)| *reason == m.reason);
    pb::Denied {
        network: m.network.0,
        reason: wire.map_or(0, |(_, wire)| (*wire).into()),
        message: clipped(&m.message),
        retry_after_ms: m.retry_after.map_or(0, |after| short_milliseconds(after).max(1)),
    }
}

fn open(m: pb::OpenTunnel) -> Result<OpenTunnel, DecodeError> {
    let missing = |field| DecodeError::Missing { field };
    let local =
        half(m.local_session, &m.local_cookie, ("open.local_session", "open.local_cookie"))?;
    let remote =
        half(m.remote_session, &m.remote_cookie, ("open.remote_session", "open.remote_cookie"))?;
    Ok(OpenTunnel {
        tunnel: tunnel(m.tunnel, "open.tunnel")?,
        network: network(m.network, "open.network")?,
        side: side(m.side, "open.side")?,
        peer: peer(m.peer.ok_or(missing("open.peer"))?)?,
        encryption: if m.encrypted { Encryption::Required } else { Encryption::Off },
        legs: legs(&m.legs, (&local, &remote), "open.legs")?,
        local,
        remote,
        macs: macs(&m.macs, limits::MACS, "open.macs")?,
        terms: terms(m.terms.ok_or(missing("open.terms"))?)?,
        routers: routers(&m.routers, "open.routers")?,
    })
}

fn write_open(m: &OpenTunnel) -> pb::OpenTunnel {
    pb::OpenTunnel {
        tunnel: m.tunnel.0,
        network: m.network.0,
        side: side_number(m.side),
        peer: Some(pb::Peer {
            gateway: m.peer.gateway.0,
            name: m.peer.name.as_str().to_owned(),
            public_key: m.peer.public_key.0.to_vec(),
            preshared_key: m.peer.preshared_key.expose().to_vec(),
            inner_address: m.peer.inner_address.octets().to_vec(),
            endpoints: write_endpoints(&m.peer.endpoints),
        }),
        encrypted: m.encryption == Encryption::Required,
        local_session: m.local.session.get(),
        remote_session: m.remote.session.get(),
        local_cookie: m.local.cookie.expose().to_vec(),
        remote_cookie: m.remote.cookie.expose().to_vec(),
        macs: m.macs.iter().copied().map(mac_octets).collect(),
        terms: Some(write_terms(&m.terms)),
        routers: write_routers(&m.routers),
        legs: write_legs(&m.legs),
    }
}

fn peer(m: pb::Peer) -> Result<Peer, DecodeError> {
    Ok(Peer {
        gateway: gateway(m.gateway, "open.peer.gateway")?,
        name: name(m.name, "open.peer.name")?,
        public_key: public_key(&m.public_key, "open.peer.public_key")?,
        preshared_key: preshared_key(&m.preshared_key, "open.peer.preshared_key")?,
        inner_address: ipv4(&m.inner_address, "open.peer.inner_address")?,
        endpoints: endpoints(&m.endpoints, limits::PEER_ENDPOINTS, "open.peer.endpoints")?,
    })
}

fn terms(m: pb::Terms) -> Result<Terms, DecodeError> {
    let expected = "a priority is 0 (last) to 7 (first)";
    let priority = u8::try_from(m.priority).ok().and_then(|rank| Priority::try_from(rank).ok());
    let rate = |rate| (rate > 0).then_some(rate);
    Ok(Terms {
        priority: priority.ok_or(value(m.priority, "open.terms.priority", expected))?,
        bandwidth: Bandwidth { up: rate(m.bandwidth_up), down: rate(m.bandwidth_down) },
        bonding: BondingModes { mirrored: m.bonding_mirrored, striped: m.bonding_striped },
        handoff_threshold: match m.handoff_threshold {
            Some(dbm) => Some(signal(dbm, "open.terms.handoff_threshold")?),
            None => None,
        },
    })
}

fn write_terms(m: &Terms) -> pb::Terms {
    let rate = |rate: Option<u32>| rate.map_or(0, |rate| rate.max(1));
    pb::Terms {
        priority: u8::from(m.priority).into(),
        bandwidth_up: rate(m.bandwidth.up),
        bandwidth_down: rate(m.bandwidth.down),
        bonding_mirrored: m.bonding.mirrored,
        bonding_striped: m.bonding.striped,
        handoff_threshold: m.handoff_threshold.map(|signal| i32::from(signal.0)),
    }
}
