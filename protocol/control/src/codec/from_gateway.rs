//! What a gateway says.

use std::time::Duration;

use homeward_model::{Encryption, UnixTime};

use super::field::{
    address_octets, clipped, distinct, endpoints, gateway, half, ipv4, legs, list, mac, mac_octets,
    macs, milliseconds, nai, network, preshared_key, public_key, routers, side, side_number,
    signal, ssid, text, tunnel, value, write_endpoints, write_legs, write_routers,
};
use super::limits;
use crate::pb::from_gateway::Body;
use crate::{
    DecodeError, DeviceUpdate, FromGateway, HeldLogin, HeldTunnel, Hello, Load, MapRegion,
    Neighbour, Prepare, Prepared, TunnelReport, TunnelState, Want, WantMap, pb,
};

pub(super) fn read(body: Body) -> Result<Option<FromGateway>, DecodeError> {
    Ok(Some(match body {
        Body::Hello(m) => FromGateway::Hello(hello(m)?),
        Body::Load(m) => FromGateway::Load(load(m)),
        Body::Neighbours(m) => FromGateway::Neighbours(neighbours(m)?),
        Body::Device(m) => FromGateway::Device(device(&m)?),
        Body::Want(m) => FromGateway::Want(want(&m)?),
        Body::Unwant(m) => FromGateway::Unwant(network(m.network, "unwant.network")?),
        Body::Tunnel(m) => return Ok(report(m)?.map(FromGateway::Tunnel)),
        Body::Prepared(m) => FromGateway::Prepared(prepared(m)?),
        Body::Endpoints(m) => FromGateway::Endpoints(endpoints(
            &m.endpoints,
            limits::ENDPOINTS,
            "endpoints.endpoints",
        )?),
        Body::Pong(m) => FromGateway::Pong(m.number),
        Body::Logins(m) => FromGateway::Logins(logins(&m)?),
        Body::WantMap(m) => FromGateway::WantMap(WantMap {
            regions: list(&m.regions, limits::REGIONS, "want_map.regions", region)?,
            issued: m.issued.map(UnixTime),
        }),
    }))
}

pub(super) fn write(message: &FromGateway) -> Body {
    match message {
        FromGateway::Hello(m) => Body::Hello(write_hello(m)),
        FromGateway::Load(m) => Body::Load(write_load(m)),
        FromGateway::Neighbours(m) => Body::Neighbours(write_neighbours(m)),
        FromGateway::Device(m) => Body::Device(write_device(m)),
        FromGateway::Want(m) => Body::Want(write_want(m)),
        FromGateway::Unwant(m) => Body::Unwant(pb::Unwant { network: m.0 }),
        FromGateway::Tunnel(m) => Body::Tunnel(write_report(m)),
        FromGateway::Prepared(m) => Body::Prepared(write_prepared(m)),
        FromGateway::Endpoints(m) => {
            Body::Endpoints(pb::Endpoints { endpoints: write_endpoints(m) })
        }
        FromGateway::Pong(number) => Body::Pong(pb::Pong { number: *number }),
        FromGateway::Logins(m) => Body::Logins(write_logins(m)),
        FromGateway::WantMap(m) => Body::WantMap(pb::WantMap {
            regions: m.regions.iter().map(write_region).collect(),
            issued: m.issued.map(|at| at.0),
        }),
    }
}

fn region(m: &pb::MapRegion) -> Result<MapRegion, DecodeError> {
    let zoom = u8::try_from(m.zoom).ok().filter(|zoom| *zoom <= 15);
    let zoom = zoom.ok_or(value(m.zoom, "want_map.regions.zoom", "0 to 15"))?;
    if m.number >> (2 * u32::from(zoom)) != 0 {
        return Err(value(m.number, "want_map.regions.number", "less than 4 to the zoom"));
    }
    Ok(MapRegion { zoom, number: m.number })
}

fn write_region(m: &MapRegion) -> pb::MapRegion {
    pb::MapRegion { zoom: m.zoom.into(), number: m.number }
}

fn hello(m: pb::Hello) -> Result<Hello, DecodeError> {
    if m.version_min > m.version_max {
        let expected = "at least version_min";
        return Err(value(m.version_max, "hello.version_max", expected));
    }
    let tunnels = list(&m.tunnels, limits::TUNNELS, "hello.tunnels", held)?;
    distinct(&tunnels, "hello.tunnels", |t| t.tunnel)?;
    let (count, limit) = (tunnels.iter().map(|t| t.legs.len()).sum(), limits::HELD_LEGS);
    if count > limit {
        return Err(DecodeError::TooMany { field: "hello.tunnels.legs", count, limit });
    }
    let first_key = public_key(&m.public_key, "hello.public_key")?;
    let path_keys = list(&m.path_keys, limits::LEGS, "hello.path_keys", |octets| {
        public_key(octets, "hello.path_keys")
    })?;
    let keys: Vec<_> = path_keys.iter().chain([&first_key]).collect();
    distinct(&keys, "hello.path_keys", |key| **key)?;
    let devices = list(&m.devices, limits::DEVICES, "hello.devices", device)?;
    distinct(&devices, "hello.devices", |d| (d.network, d.mac))?;
    let wants = list(&m.wants, limits::WANTS, "hello.wants", want)?;
    distinct(&wants, "hello.wants", |w| w.network)?;
    let prepared = list(&m.prepared, limits::PREPARED, "hello.prepared", prepare)?;
    distinct(&prepared, "hello.prepared", |p| (p.network, p.mac))?;
    Ok(Hello {
        versions: m.version_min..=m.version_max,
        boot: m.boot,
        software: text(m.software, "hello.software")?,
        public_key: first_key,
        endpoints: endpoints(&m.endpoints, limits::ENDPOINTS, "hello.endpoints")?,
        home: m.home,
        prepared_max: m.prepared_max,
        bssids: macs(&m.bssids, limits::BSSIDS, "hello.bssids")?,
        tunnels,
        devices,
        wants,
        prepared,
        inner_address: match &m.inner_address[..] {
            [] => None,
            octets => Some(ipv4(octets, "hello.inner_address")?),
        },
        carries_logins: m.carries_logins,
        path_keys,
        legs_max: m.legs_max,
    })
}

fn write_hello(m: &Hello) -> pb::Hello {
    pb::Hello {
        version_min: *m.versions.start(),
        version_max: *m.versions.end(),
        boot: m.boot,
        software: clipped(&m.software),
        public_key: m.public_key.0.to_vec(),
        endpoints: write_endpoints(&m.endpoints),
        home: m.home,
        prepared_max: m.prepared_max,
        bssids: m.bssids.iter().copied().map(mac_octets).collect(),
        tunnels: m.tunnels.iter().map(write_held).collect(),
        devices: m.devices.iter().map(write_device).collect(),
        wants: m.wants.iter().map(write_want).collect(),
        prepared: m.prepared.iter().map(write_prepare).collect(),
        inner_address: m.inner_address.map(|a| address_octets(a.into())).unwrap_or_default(),
        carries_logins: m.carries_logins,
        path_keys: m.path_keys.iter().map(|key| key.0.to_vec()).collect(),
        legs_max: m.legs_max,
    }
}

fn held(m: &pb::HeldTunnel) -> Result<HeldTunnel, DecodeError> {
    let local = half(
        m.local_session,
        &m.local_cookie,
        ("hello.tunnels.local_session", "hello.tunnels.local_cookie"),
    )?;
    let remote = half(
        m.remote_session,
        &m.remote_cookie,
        ("hello.tunnels.remote_session", "hello.tunnels.remote_cookie"),
    )?;
    Ok(HeldTunnel {
        tunnel: tunnel(m.tunnel, "hello.tunnels.tunnel")?,
        network: network(m.network, "hello.tunnels.network")?,
        side: side(m.side, "hello.tunnels.side")?,
        peer: gateway(m.peer, "hello.tunnels.peer")?,
        legs: legs(&m.legs, (&local, &remote), "hello.tunnels.legs")?,
        local,
        remote,
        encryption: if m.encrypted { Encryption::Required } else { Encryption::Off },
        preshared_key: preshared_key(&m.preshared_key, "hello.tunnels.preshared_key")?,
    })
}

fn write_held(m: &HeldTunnel) -> pb::HeldTunnel {
    pb::HeldTunnel {
        tunnel: m.tunnel.0,
        network: m.network.0,
        side: side_number(m.side),
        peer: m.peer.0,
        local_session: m.local.session.get(),
        remote_session: m.remote.session.get(),
        local_cookie: m.local.cookie.expose().to_vec(),
        remote_cookie: m.remote.cookie.expose().to_vec(),
        encrypted: m.encryption == Encryption::Required,
        preshared_key: m.preshared_key.expose().to_vec(),
        legs: write_legs(&m.legs),
    }
}

fn load(m: pb::Load) -> Load {
    Load {
        devices: m.devices,
        vaps: m.vaps,
        vaps_max: m.vaps_max,
        tunnels: m.tunnels,
        octets_in: m.octets_in,
        octets_out: m.octets_out,
    }
}

fn write_load(m: &Load) -> pb::Load {
    pb::Load {
        devices: m.devices,
        vaps: m.vaps,
        vaps_max: m.vaps_max,
        tunnels: m.tunnels,
        octets_in: m.octets_in,
        octets_out: m.octets_out,
    }
}

fn neighbours(m: pb::Neighbours) -> Result<Vec<Neighbour>, DecodeError> {
    let field = "neighbours.neighbours";
    let neighbours = list(&m.neighbours, limits::NEIGHBOURS, field, |n| {
        Ok(Neighbour {
            bssid: mac(&n.bssid, "neighbour.bssid")?,
            signal: signal(n.signal, "neighbour.signal")?,
        })
    })?;
    distinct(&neighbours, field, |n| n.bssid)?;
    Ok(neighbours)
}

fn write_neighbours(m: &[Neighbour]) -> pb::Neighbours {
    let write =
        |n: &Neighbour| pb::Neighbour { bssid: mac_octets(n.bssid), signal: i32::from(n.signal.0) };
    pb::Neighbours { neighbours: m.iter().map(write).collect() }
}

fn device(m: &pb::DeviceUpdate) -> Result<DeviceUpdate, DecodeError> {
    Ok(DeviceUpdate {
        mac: mac(&m.mac, "device.mac")?,
        network: network(m.network, "device.network")?,
        connected: m.connected,
        signal: match m.signal {
            0 => None,
            dbm => Some(signal(dbm, "device.signal")?),
        },
        at_home: m.at_home,
        sequence: m.sequence,
        age: Duration::from_millis(m.age_ms),
    })
}

fn write_device(m: &DeviceUpdate) -> pb::DeviceUpdate {
    pb::DeviceUpdate {
        mac: mac_octets(m.mac),
        network: m.network.0,
        connected: m.connected,
        signal: m.signal.map_or(0, |s| i32::from(s.0)),
        at_home: m.at_home,
        sequence: m.sequence,
        age_ms: milliseconds(m.age),
    }
}

fn want(m: &pb::Want) -> Result<Want, DecodeError> {
    Ok(Want {
        network: network(m.network, "want.network")?,
        macs: macs(&m.macs, limits::MACS, "want.macs")?,
    })
}

fn write_want(m: &Want) -> pb::Want {
    pb::Want { network: m.network.0, macs: m.macs.iter().copied().map(mac_octets).collect() }
}

/// `None` for a state of a newer version: what it says of the tunnel cannot be known.
fn report(m: pb::TunnelReport) -> Result<Option<TunnelReport>, DecodeError> {
    let state = match pb::TunnelState::try_from(m.state) {
        Ok(pb::TunnelState::Ready) => TunnelState::Ready,
        Ok(pb::TunnelState::Up) => TunnelState::Up,
        Ok(pb::TunnelState::Unreachable) => TunnelState::Unreachable,
        Ok(pb::TunnelState::Failed) => TunnelState::Failed,
        Ok(pb::TunnelState::Unspecified) => {
            return Err(DecodeError::Missing { field: "tunnel.state" });
        }
        Err(_) => return Ok(None),
    };
    let expected = "a datagram has at most 65535 octets";
    Ok(Some(TunnelReport {
        tunnel: tunnel(m.tunnel, "tunnel.tunnel")?,
        state,
        reason: text(m.reason, "tunnel.reason")?,
        routers: routers(&m.routers, "tunnel.routers")?,
        path_mtu: match u16::try_from(m.path_mtu) {
            Ok(0) => None,
            Ok(mtu) => Some(mtu),
            Err(_) => return Err(value(m.path_mtu, "tunnel.path_mtu", expected)),
        },
    }))
}

fn write_report(m: &TunnelReport) -> pb::TunnelReport {
    let state = match m.state {
        TunnelState::Ready => pb::TunnelState::Ready,
        TunnelState::Up => pb::TunnelState::Up,
        TunnelState::Unreachable => pb::TunnelState::Unreachable,
        TunnelState::Failed => pb::TunnelState::Failed,
    };
    pb::TunnelReport {
        tunnel: m.tunnel.0,
        state: state.into(),
        reason: clipped(&m.reason),
        routers: write_routers(&m.routers),
        path_mtu: u32::from(m.path_mtu.unwrap_or(0)),
    }
}

fn prepared(m: pb::Prepared) -> Result<Prepared, DecodeError> {
    Ok(Prepared {
        mac: mac(&m.mac, "prepared.mac")?,
        network: network(m.network, "prepared.network")?,
        ready: m.ready,
        reason: text(m.reason, "prepared.reason")?,
    })
}

fn write_prepared(m: &Prepared) -> pb::Prepared {
    pb::Prepared {
        mac: mac_octets(m.mac),
        network: m.network.0,
        ready: m.ready,
        reason: clipped(&m.reason),
    }
}

fn logins(m: &pb::Logins) -> Result<Vec<HeldLogin>, DecodeError> {
    let field = "logins.logins";
    let logins = list(&m.logins, limits::LOGINS, field, |login| {
        Ok(HeldLogin {
            mac: mac(&login.mac, "logins.logins.mac")?,
            name: nai(&login.name, "logins.logins.name")?,
        })
    })?;
    distinct(&logins, field, |login| (login.mac, login.name.clone()))?;
    Ok(logins)
}

fn write_logins(m: &[HeldLogin]) -> pb::Logins {
    let write = |login: &HeldLogin| pb::HeldLogin {
        mac: mac_octets(login.mac),
        name: login.name.as_str().to_owned(),
    };
    pb::Logins { logins: m.iter().map(write).collect() }
}

/// Both directions have it: the controller asks, and [`Hello`] tells what is held.
pub(super) fn prepare(m: &pb::Prepare) -> Result<Prepare, DecodeError> {
    Ok(Prepare {
        mac: mac(&m.mac, "prepare.mac")?,
        ssid: ssid(&m.ssid, "prepare.ssid")?,
        network: network(m.network, "prepare.network")?,
    })
}

pub(super) fn write_prepare(m: &Prepare) -> pb::Prepare {
    pb::Prepare { mac: mac_octets(m.mac), ssid: m.ssid.as_bytes().to_vec(), network: m.network.0 }
}
