//! Any message at all, within the limits.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use homeward_control::*;
use homeward_model::{
    Bandwidth, BondingModes, Encryption, GatewayId, Mac, Nai, Name, NetworkId, Priority, Rssi,
    Ssid, UnixTime,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(|mut octets| {
        octets[0] &= !1;
        Mac::new(octets)
    })
}

fn macs() -> impl Strategy<Value = Vec<Mac>> {
    btree_set(mac(), 0..5).prop_map(|macs| macs.into_iter().collect())
}

fn network() -> impl Strategy<Value = NetworkId> {
    (1..=i64::MAX).prop_map(NetworkId)
}

fn gateway() -> impl Strategy<Value = GatewayId> {
    (1..=i64::MAX).prop_map(GatewayId)
}

fn tunnel() -> impl Strategy<Value = TunnelId> {
    (1..=u64::MAX).prop_map(TunnelId)
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

fn ipv4() -> impl Strategy<Value = Ipv4Addr> {
    any::<[u8; 4]>().prop_map(Ipv4Addr::from)
}

fn endpoints(most: usize) -> impl Strategy<Value = Vec<Endpoint>> {
    let kind = prop::sample::select(vec![
        EndpointKind::Unsaid,
        EndpointKind::Host,
        EndpointKind::Told,
        EndpointKind::Reflexive,
        EndpointKind::Observed,
        EndpointKind::Relay,
    ]);
    let endpoint =
        (address(), 1..=u16::MAX, kind, 0..=3u8).prop_map(|(address, port, kind, leg)| {
            Endpoint::new(SocketAddr::new(address, port), kind).by(leg)
        });
    vec(endpoint, 0..=most)
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,60}".prop_filter("control characters", |text| !text.chars().any(char::is_control))
}

fn name() -> impl Strategy<Value = Name> {
    "[a-z0-9][a-z0-9._-]{0,63}".prop_map(|text| text.parse().unwrap())
}

fn ssid() -> impl Strategy<Value = Ssid> {
    vec(any::<u8>(), 1..=32).prop_map(|octets| Ssid::try_from(&octets[..]).unwrap())
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Home), Just(Side::Foreign)]
}

fn encryption() -> impl Strategy<Value = Encryption> {
    prop_oneof![Just(Encryption::Required), Just(Encryption::Off)]
}

fn half() -> impl Strategy<Value = Half> {
    (1..=u32::MAX, any::<[u8; 8]>()).prop_map(|(session, cookie)| Half {
        session: SessionId::new(session).unwrap(),
        cookie: Cookie::new(cookie),
    })
}

fn legs() -> impl Strategy<Value = Vec<Leg>> {
    let leg = (any::<[u8; 32]>(), half(), half()).prop_map(|(key, local, remote)| Leg {
        public_key: PublicKey(key),
        local,
        remote,
    });
    vec(leg, 0..=3)
}

/// Those of the legs whose sessions are not twice at an end.
fn beside(local: &Half, remote: &Half, legs: Vec<Leg>) -> Vec<Leg> {
    let (mut locals, mut remotes) =
        (BTreeSet::from([local.session]), BTreeSet::from([remote.session]));
    let fresh = |leg: &Leg| locals.insert(leg.local.session) && remotes.insert(leg.remote.session);
    legs.into_iter().filter(fresh).collect()
}

fn key() -> impl Strategy<Value = PresharedKey> {
    any::<[u8; 32]>().prop_map(PresharedKey::new)
}

fn milliseconds() -> impl Strategy<Value = Duration> {
    any::<u32>().prop_map(|ms| Duration::from_millis(ms.into()))
}

fn device() -> impl Strategy<Value = DeviceUpdate> {
    let signal = proptest::option::of(prop_oneof![-128i8..=-1, 1i8..=127].prop_map(Rssi));
    let numbers = (any::<u64>(), any::<u64>().prop_map(Duration::from_millis));
    (mac(), network(), any::<bool>(), signal, any::<bool>(), numbers).prop_map(
        |(mac, network, connected, signal, at_home, (sequence, age))| DeviceUpdate {
            mac,
            network,
            connected,
            signal,
            at_home,
            sequence,
            age,
        },
    )
}

fn want() -> impl Strategy<Value = Want> {
    (network(), macs()).prop_map(|(network, macs)| Want { network, macs })
}

fn prepare() -> impl Strategy<Value = Prepare> {
    (mac(), ssid(), network()).prop_map(|(mac, ssid, network)| Prepare { mac, ssid, network })
}

fn held() -> impl Strategy<Value = HeldTunnel> {
    let ends = (half(), half(), legs());
    (tunnel(), network(), side(), gateway(), ends, encryption(), key()).prop_map(
        |(tunnel, network, side, peer, (local, remote, legs), encryption, preshared_key)| {
            HeldTunnel {
                tunnel,
                network,
                side,
                peer,
                legs: beside(&local, &remote, legs),
                local,
                remote,
                encryption,
                preshared_key,
            }
        },
    )
}

/// A list in which no two are about the same thing.
fn distinct<T: Clone + std::fmt::Debug, K: Ord>(
    item: impl Strategy<Value = T>,
    key: impl Fn(&T) -> K + 'static,
) -> impl Strategy<Value = Vec<T>> {
    vec(item, 0..4).prop_map(move |items| {
        let mut seen = BTreeSet::new();
        items.into_iter().filter(|item| seen.insert(key(item))).collect()
    })
}

fn hello() -> impl Strategy<Value = Hello> {
    let who = (any::<u32>(), any::<u32>(), any::<u64>(), text(), any::<[u8; 32]>());
    let paths = (btree_set(any::<[u8; 32]>(), 0..=3), any::<u32>());
    let what = (endpoints(15), any::<bool>(), any::<u32>(), macs(), paths);
    let holds = (
        distinct(held(), |t| t.tunnel),
        distinct(device(), |d| (d.network, d.mac)),
        distinct(want(), |w| w.network),
        distinct(prepare(), |p| (p.network, p.mac)),
        proptest::option::of(ipv4()),
    );
    (who, what, holds).prop_map(|(who, what, holds)| Hello {
        versions: who.0.min(who.1)..=who.0.max(who.1),
        boot: who.2,
        software: who.3,
        public_key: PublicKey(who.4),
        endpoints: what.0,
        home: what.1,
        prepared_max: what.2,
        bssids: what.3,
        tunnels: holds.0,
        devices: holds.1,
        wants: holds.2,
        prepared: holds.3,
        inner_address: holds.4,
        carries_logins: who.0 % 2 == 0,
        path_keys: what.4.0.into_iter().filter(|key| *key != who.4).map(PublicKey).collect(),
        legs_max: what.4.1,
    })
}

fn load() -> impl Strategy<Value = Load> {
    any::<(u32, u32, u32, u32, u64, u64)>().prop_map(
        |(devices, vaps, vaps_max, tunnels, octets_in, octets_out)| Load {
            devices,
            vaps,
            vaps_max,
            tunnels,
            octets_in,
            octets_out,
        },
    )
}

fn neighbours() -> impl Strategy<Value = Vec<Neighbour>> {
    btree_map(mac(), any::<i8>(), 0..6).prop_map(|heard| {
        let neighbour = |(bssid, dbm)| Neighbour { bssid, signal: Rssi(dbm) };
        heard.into_iter().map(neighbour).collect()
    })
}

fn routers() -> impl Strategy<Value = Vec<Router>> {
    vec((address(), mac()).prop_map(|(address, mac)| Router { address, mac }), 0..4)
}

fn report() -> impl Strategy<Value = TunnelReport> {
    let state = prop_oneof![
        Just(TunnelState::Ready),
        Just(TunnelState::Up),
        Just(TunnelState::Unreachable),
        Just(TunnelState::Failed)
    ];
    (tunnel(), state, text(), routers(), proptest::option::of(1..=u16::MAX)).prop_map(
        |(tunnel, state, reason, routers, path_mtu)| TunnelReport {
            tunnel,
            state,
            reason,
            routers,
            path_mtu,
        },
    )
}

fn prepared() -> impl Strategy<Value = Prepared> {
    (mac(), network(), any::<bool>(), text()).prop_map(|(mac, network, ready, reason)| Prepared {
        mac,
        network,
        ready,
        reason,
    })
}

fn login() -> impl Strategy<Value = HeldLogin> {
    let name = "[A-Za-z0-9\u{e9} _-]{1,40}(@[A-Za-z0-9.-]{1,40})?".prop_map(|text| text.parse());
    (mac(), name)
        .prop_map(|(mac, name): (Mac, Result<Nai, _>)| HeldLogin { mac, name: name.unwrap() })
}

/// Anything that a gateway may say.
fn want_map() -> impl Strategy<Value = WantMap> {
    let region = (0..=15u8, any::<u32>())
        .prop_map(|(zoom, number)| MapRegion { zoom, number: number & ((1 << (2 * zoom)) - 1) });
    let issued = proptest::option::of(any::<i64>().prop_map(UnixTime));
    (proptest::collection::vec(region, 0..=9), issued)
        .prop_map(|(regions, issued)| WantMap { regions, issued })
}

pub(crate) fn from_gateway() -> impl Strategy<Value = FromGateway> {
    prop_oneof![
        4 => hello().prop_map(FromGateway::Hello),
        1 => load().prop_map(FromGateway::Load),
        1 => neighbours().prop_map(FromGateway::Neighbours),
        1 => device().prop_map(FromGateway::Device),
        1 => want().prop_map(FromGateway::Want),
        1 => network().prop_map(FromGateway::Unwant),
        2 => report().prop_map(FromGateway::Tunnel),
        1 => prepared().prop_map(FromGateway::Prepared),
        1 => endpoints(15).prop_map(FromGateway::Endpoints),
        1 => any::<u64>().prop_map(FromGateway::Pong),
        1 => distinct(login(), |l| (l.mac, l.name.clone())).prop_map(FromGateway::Logins),
        1 => want_map().prop_map(FromGateway::WantMap),
    ]
}

fn welcome() -> impl Strategy<Value = Welcome> {
    let who = (1..=u32::MAX, gateway(), name());
    (who, ipv4(), address(), milliseconds(), milliseconds(), endpoints(4)).prop_map(
        |((version, gateway, name), inner_address, observed_address, report, ping, stun)| Welcome {
            version,
            gateway,
            name,
            inner_address,
            observed_address,
            report_interval: report,
            ping_interval: ping,
            stun: stun.iter().map(|endpoint| endpoint.address).collect(),
        },
    )
}

fn goodbye() -> impl Strategy<Value = Goodbye> {
    let reason = prop_oneof![
        Just(GoodbyeReason::Version),
        Just(GoodbyeReason::Revoked),
        Just(GoodbyeReason::Replaced),
        Just(GoodbyeReason::Unavailable),
        Just(GoodbyeReason::Protocol),
        Just(GoodbyeReason::Other)
    ];
    (reason, text()).prop_map(|(reason, message)| Goodbye { reason, message })
}

fn peer() -> impl Strategy<Value = Peer> {
    (gateway(), name(), any::<[u8; 32]>(), key(), ipv4(), endpoints(16)).prop_map(
        |(gateway, name, public_key, preshared_key, inner_address, endpoints)| Peer {
            gateway,
            name,
            public_key: PublicKey(public_key),
            preshared_key,
            inner_address,
            endpoints,
        },
    )
}

fn terms() -> impl Strategy<Value = Terms> {
    let rate = || proptest::option::of(1..=u32::MAX);
    let bonding =
        any::<(bool, bool)>().prop_map(|(mirrored, striped)| BondingModes { mirrored, striped });
    let threshold = proptest::option::of(any::<i8>().prop_map(Rssi));
    (0u8..=7, rate(), rate(), bonding, threshold).prop_map(
        |(rank, up, down, bonding, handoff_threshold)| Terms {
            priority: Priority::try_from(rank).unwrap(),
            bandwidth: Bandwidth { up, down },
            bonding,
            handoff_threshold,
        },
    )
}

fn open() -> impl Strategy<Value = OpenTunnel> {
    let what = (tunnel(), network(), side(), encryption());
    let ends = (half(), half(), legs());
    (what, peer(), ends, macs(), terms(), routers()).prop_map(
        |(
            (tunnel, network, side, encryption),
            peer,
            (local, remote, legs),
            macs,
            terms,
            routers,
        )| {
            OpenTunnel {
                legs: beside(&local, &remote, legs),
                tunnel,
                network,
                side,
                peer,
                encryption,
                local,
                remote,
                macs,
                terms,
                routers,
            }
        },
    )
}

fn denied() -> impl Strategy<Value = Denied> {
    let reason = prop_oneof![
        Just(DeniedReason::UnknownNetwork),
        Just(DeniedReason::NoHomeGateway),
        Just(DeniedReason::HomeGatewayAway),
        Just(DeniedReason::Suspended),
        Just(DeniedReason::Limit),
        Just(DeniedReason::NoHomeLan),
        Just(DeniedReason::AtHome),
        Just(DeniedReason::LocalBreakout),
        Just(DeniedReason::NotYours),
        Just(DeniedReason::Other)
    ];
    let retry = (1..=u32::MAX).prop_map(|ms| Duration::from_millis(ms.into()));
    (network(), reason, text(), proptest::option::of(retry)).prop_map(
        |(network, reason, message, retry_after)| Denied { network, reason, message, retry_after },
    )
}

/// Anything that the controller may say.
pub(crate) fn to_gateway() -> impl Strategy<Value = ToGateway> {
    prop_oneof![
        welcome().prop_map(ToGateway::Welcome),
        goodbye().prop_map(ToGateway::Goodbye),
        btree_set(tunnel(), 0..6).prop_map(|ids| ToGateway::Synced(ids.into_iter().collect())),
        open().prop_map(ToGateway::Open),
        (tunnel(), text())
            .prop_map(|(tunnel, reason)| ToGateway::Close(CloseTunnel { tunnel, reason })),
        denied().prop_map(ToGateway::Denied),
        (tunnel(), mac()).prop_map(|(tunnel, mac)| ToGateway::Arrived(Arrived { tunnel, mac })),
        prepare().prop_map(ToGateway::Prepare),
        (mac(), network())
            .prop_map(|(mac, network)| ToGateway::Withdraw(Withdraw { mac, network })),
        (mac(), network(), any::<u64>()).prop_map(|(mac, network, sequence)| {
            ToGateway::Evict(Evict { mac, network, sequence })
        }),
        (network(), proptest::option::of(mac()))
            .prop_map(|(network, mac)| ToGateway::Revoke(Revoke { network, mac })),
        mac().prop_map(ToGateway::PutOut),
        (proptest::collection::vec(any::<u8>(), 0..99), text())
            .prop_map(|(octets, problem)| ToGateway::Map(CoverageMap { octets, problem })),
        any::<u64>().prop_map(ToGateway::Ping),
    ]
}
