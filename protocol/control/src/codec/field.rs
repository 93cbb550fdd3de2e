//! The fields that messages are made of.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use homeward_model::{GatewayId, Mac, Nai, Name, NetworkId, Rssi, Ssid};

use super::limits;
use crate::{
    Cookie, DecodeError, Endpoint, EndpointKind, Half, Leg, PresharedKey, PublicKey, Router,
    SessionId, Side, TunnelId, pb,
};

type Field = &'static str;

pub(super) fn array<const N: usize>(
    octets: &[u8],
    field: Field,
    expected: &'static str,
) -> Result<[u8; N], DecodeError> {
    octets.try_into().map_err(|_| length(octets, field, expected))
}

fn length(octets: &[u8], field: Field, expected: &'static str) -> DecodeError {
    DecodeError::Length { field, octets: octets.len(), expected }
}

/// The address of one station: not a group's, which no station may have (IEEE 802-2014 8.2.2).
pub(super) fn mac(octets: &[u8], field: Field) -> Result<Mac, DecodeError> {
    let mac = Mac::new(array(octets, field, "the 6 of a MAC address")?);
    if mac.is_group() {
        return Err(DecodeError::Text { field, problem: "is a group address" });
    }
    Ok(mac)
}

pub(super) fn macs(
    octets: &[Vec<u8>],
    limit: usize,
    field: Field,
) -> Result<Vec<Mac>, DecodeError> {
    let macs = list(octets, limit, field, |octets| mac(octets, field))?;
    distinct(&macs, field, |mac| *mac)?;
    Ok(macs)
}

pub(super) fn mac_octets(mac: Mac) -> Vec<u8> {
    mac.octets().to_vec()
}

pub(super) fn ssid(octets: &[u8], field: Field) -> Result<Ssid, DecodeError> {
    Ssid::try_from(octets).map_err(|_| length(octets, field, "1 to 32 of an SSID"))
}

pub(super) fn network(number: i64, field: Field) -> Result<NetworkId, DecodeError> {
    positive(number, field).map(NetworkId)
}

pub(super) fn gateway(number: i64, field: Field) -> Result<GatewayId, DecodeError> {
    positive(number, field).map(GatewayId)
}

fn positive(number: i64, field: Field) -> Result<i64, DecodeError> {
    if number > 0 { Ok(number) } else { Err(value(number, field, "numbers begin at 1")) }
}

pub(super) fn tunnel(number: u64, field: Field) -> Result<TunnelId, DecodeError> {
    if number > 0 { Ok(TunnelId(number)) } else { Err(DecodeError::Missing { field }) }
}

pub(super) fn tunnels(numbers: &[u64], field: Field) -> Result<Vec<TunnelId>, DecodeError> {
    let tunnels = list(numbers, limits::TUNNELS, field, |number| tunnel(*number, field))?;
    distinct(&tunnels, field, |tunnel| *tunnel)?;
    Ok(tunnels)
}

pub(super) fn value(value: impl Into<i128>, field: Field, expected: &'static str) -> DecodeError {
    DecodeError::Value { field, value: value.into(), expected }
}

pub(super) fn name(text: String, field: Field) -> Result<Name, DecodeError> {
    let problem = "is not a name of 1 to 64 of a-z A-Z 0-9 . _ - @ +";
    Name::try_from(text).map_err(|_| DecodeError::Text { field, problem })
}

pub(super) fn nai(text: &str, field: Field) -> Result<Nai, DecodeError> {
    let problem = "is not a network access identifier of 1 to 253 octets";
    text.parse().map_err(|_| DecodeError::Text { field, problem })
}

/// A text for people: it will be in logs and on terminals.
pub(super) fn text(text: String, field: Field) -> Result<String, DecodeError> {
    if text.len() > limits::TEXT {
        return Err(length(text.as_bytes(), field, "at most 256 of a text"));
    }
    if text.chars().any(char::is_control) {
        return Err(DecodeError::Text { field, problem: "has control characters" });
    }
    Ok(text)
}

/// A text for people, clipped so that [`text`] takes it.
pub(super) fn clipped(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    let mut clipped = String::new();
    for c in text.chars().map(shown) {
        if clipped.len() + c.len_utf8() > limits::TEXT {
            break;
        }
        clipped.push(c);
    }
    clipped
}

pub(super) fn side(number: i32, field: Field) -> Result<Side, DecodeError> {
    match pb::Side::try_from(number) {
        Ok(pb::Side::Home) => Ok(Side::Home),
        Ok(pb::Side::Foreign) => Ok(Side::Foreign),
        Ok(pb::Side::Unspecified) => Err(DecodeError::Missing { field }),
        Err(_) => Err(value(number, field, "a side is 1 (home) or 2 (foreign)")),
    }
}

pub(super) fn side_number(side: Side) -> i32 {
    match side {
        Side::Home => pb::Side::Home.into(),
        Side::Foreign => pb::Side::Foreign.into(),
    }
}

pub(super) fn half(
    session: u32,
    cookie: &[u8],
    fields: (Field, Field),
) -> Result<Half, DecodeError> {
    Ok(Half {
        session: SessionId::new(session).ok_or(DecodeError::Missing { field: fields.0 })?,
        cookie: Cookie::new(array(cookie, fields.1, "the 8 of a cookie")?),
    })
}

pub(super) fn public_key(octets: &[u8], field: Field) -> Result<PublicKey, DecodeError> {
    array(octets, field, "the 32 of an X25519 key").map(PublicKey)
}

/// The legs of a tunnel beside its first, which is given: each end has a session for each.
pub(super) fn legs(
    legs: &[pb::Leg],
    (local, remote): (&Half, &Half),
    field: Field,
) -> Result<Vec<Leg>, DecodeError> {
    let legs = list(legs, limits::LEGS, field, |leg| {
        let fields = ("leg.local_session", "leg.local_cookie");
        let local = half(leg.local_session, &leg.local_cookie, fields)?;
        let fields = ("leg.remote_session", "leg.remote_cookie");
        let remote = half(leg.remote_session, &leg.remote_cookie, fields)?;
        Ok(Leg { public_key: public_key(&leg.public_key, "leg.public_key")?, local, remote })
    })?;
    let all = |first: &Half, of: fn(&Leg) -> &Half| -> Vec<SessionId> {
        legs.iter().map(of).chain([first]).map(|half| half.session).collect()
    };
    distinct(&all(local, |leg| &leg.local), field, |session| *session)?;
    distinct(&all(remote, |leg| &leg.remote), field, |session| *session)?;
    Ok(legs)
}

pub(super) fn write_legs(legs: &[Leg]) -> Vec<pb::Leg> {
    let write = |leg: &Leg| pb::Leg {
        public_key: leg.public_key.0.to_vec(),
        local_session: leg.local.session.get(),
        remote_session: leg.remote.session.get(),
        local_cookie: leg.local.cookie.expose().to_vec(),
        remote_cookie: leg.remote.cookie.expose().to_vec(),
    };
    legs.iter().map(write).collect()
}

pub(super) fn preshared_key(octets: &[u8], field: Field) -> Result<PresharedKey, DecodeError> {
    array(octets, field, "the 32 of a pre-shared key").map(PresharedKey::new)
}

pub(super) fn address(octets: &[u8], field: Field) -> Result<IpAddr, DecodeError> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Ok(v4.into());
    }
    array::<16>(octets, field, "the 4 or 16 of an IP address").map(IpAddr::from)
}

pub(super) fn address_octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

pub(super) fn ipv4(octets: &[u8], field: Field) -> Result<Ipv4Addr, DecodeError> {
    array::<4>(octets, field, "the 4 of an IPv4 address").map(Ipv4Addr::from)
}

pub(super) fn port(number: u32, field: Field) -> Result<u16, DecodeError> {
    match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(value(number, field, "a UDP port is 1 to 65535")),
    }
}

/// The kinds, with the number each has on the wire. A number that is not here is one of a newer
/// version, and `Unsaid`.
const KINDS: [(EndpointKind, pb::EndpointKind); 6] = [
    (EndpointKind::Unsaid, pb::EndpointKind::Unspecified),
    (EndpointKind::Host, pb::EndpointKind::Host),
    (EndpointKind::Told, pb::EndpointKind::Told),
    (EndpointKind::Reflexive, pb::EndpointKind::Reflexive),
    (EndpointKind::Observed, pb::EndpointKind::Observed),
    (EndpointKind::Relay, pb::EndpointKind::Relay),
];

pub(super) fn endpoints(
    endpoints: &[pb::Endpoint],
    limit: usize,
    field: Field,
) -> Result<Vec<Endpoint>, DecodeError> {
    list(endpoints, limit, field, |e| {
        let address = address(&e.address, "endpoint.address")?;
        let address = SocketAddr::new(address, port(e.port, "endpoint.port")?);
        let known = KINDS.iter().find(|(_, wire)| i32::from(*wire) == e.kind);
        let kind = known.map_or(EndpointKind::Unsaid, |(kind, _)| *kind);
        let leg = u8::try_from(e.leg).ok().filter(|leg| usize::from(*leg) <= limits::LEGS);
        let leg = leg.ok_or_else(|| value(e.leg, "endpoint.leg", "a tunnel has fewer legs"))?;
        Ok(Endpoint { address, kind, leg })
    })
}

pub(super) fn write_endpoints(endpoints: &[Endpoint]) -> Vec<pb::Endpoint> {
    let write = |e: &Endpoint| {
        let wire = KINDS.iter().find(|(kind, _)| *kind == e.kind);
        pb::Endpoint {
            address: address_octets(e.address.ip()),
            port: u32::from(e.address.port()),
            kind: wire.map_or(0, |(_, wire)| (*wire).into()),
            leg: u32::from(e.leg),
        }
    };
    endpoints.iter().map(write).collect()
}

/// Endpoints of which nothing but the address counts.
pub(super) fn addresses(
    all: &[pb::Endpoint],
    limit: usize,
    field: Field,
) -> Result<Vec<SocketAddr>, DecodeError> {
    Ok(endpoints(all, limit, field)?.into_iter().map(|endpoint| endpoint.address).collect())
}

pub(super) fn write_addresses(addresses: &[SocketAddr]) -> Vec<pb::Endpoint> {
    write_endpoints(&addresses.iter().copied().map(Endpoint::from).collect::<Vec<_>>())
}

pub(super) fn routers(routers: &[pb::Router], field: Field) -> Result<Vec<Router>, DecodeError> {
    list(routers, limits::ROUTERS, field, |r| {
        Ok(Router {
            address: address(&r.address, "router.address")?,
            mac: mac(&r.mac, "router.mac")?,
        })
    })
}

pub(super) fn write_routers(routers: &[Router]) -> Vec<pb::Router> {
    let write =
        |r: &Router| pb::Router { address: address_octets(r.address), mac: mac_octets(r.mac) };
    routers.iter().map(write).collect()
}

pub(super) fn signal(dbm: i32, field: Field) -> Result<Rssi, DecodeError> {
    i8::try_from(dbm).map(Rssi).map_err(|_| value(dbm, field, "a signal is -128 to 127 dBm"))
}

pub(super) fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// At least 1 for what is not nothing: 0 has a meaning of its own.
pub(super) fn short_milliseconds(span: Duration) -> u32 {
    let least = u32::from(!span.is_zero());
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX).max(least)
}

pub(super) fn list<T, U>(
    items: &[T],
    limit: usize,
    field: Field,
    read: impl FnMut(&T) -> Result<U, DecodeError>,
) -> Result<Vec<U>, DecodeError> {
    if items.len() > limit {
        return Err(DecodeError::TooMany { field, count: items.len(), limit });
    }
    items.iter().map(read).collect()
}

/// Refuses a list in which two entries are about the same thing.
pub(super) fn distinct<T, K: Ord>(
    items: &[T],
    field: Field,
    key: impl FnMut(&T) -> K,
) -> Result<(), DecodeError> {
    let keys: BTreeSet<K> = items.iter().map(key).collect();
    if keys.len() == items.len() { Ok(()) } else { Err(DecodeError::Repeated { field }) }
}
