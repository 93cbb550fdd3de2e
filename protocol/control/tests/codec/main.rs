//! What is written is read as the same; what is wrong is named; no octets make a decoder panic.
#![cfg(test)]

mod any;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use homeward_control::codec::limits;
use homeward_control::testing::{fuzz_from_gateway, fuzz_to_gateway};
use homeward_control::*;
use homeward_model::{Bandwidth, Encryption, GatewayId, Mac, NetworkId, Priority, Rssi};
use proptest::prelude::*;

proptest! {
    #[test]
    fn what_a_gateway_says_is_read_as_it_was_written(message in any::from_gateway()) {
        prop_assert_eq!(FromGateway::decode(&message.encode()), Ok(Some(message)));
    }

    #[test]
    fn what_the_controller_says_is_read_as_it_was_written(message in any::to_gateway()) {
        prop_assert_eq!(ToGateway::decode(&message.encode()), Ok(Some(message)));
    }

    #[test]
    fn random_octets(octets in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        fuzz_from_gateway(&octets);
        fuzz_to_gateway(&octets);
    }

    #[test]
    fn sound_messages_with_some_octets_changed(
        from in any::from_gateway(),
        to in any::to_gateway(),
        changes in proptest::collection::vec(
            (proptest::prelude::any::<prop::sample::Index>(), proptest::num::u8::ANY), 1..6),
    ) {
        for mut octets in [from.encode(), to.encode()] {
            for (at, value) in &changes {
                let at = at.index(octets.len());
                octets[at] = *value;
            }
            fuzz_from_gateway(&octets);
            fuzz_to_gateway(&octets);
        }
    }
}

/// A Hello with one of everything.
fn hello() -> Hello {
    let mac = Mac::new([2, 0, 0, 0, 0, 1]);
    Hello {
        versions: 1..=1,
        boot: 7,
        software: "homeward 0.1.0".to_owned(),
        public_key: PublicKey([9; 32]),
        endpoints: vec![endpoint(1)],
        home: true,
        prepared_max: 4,
        bssids: vec![mac],
        tunnels: vec![held(1)],
        devices: vec![device(1)],
        wants: vec![Want { network: NetworkId(1), macs: vec![mac] }],
        prepared: vec![Prepare { mac, ssid: "Home".parse().unwrap(), network: NetworkId(1) }],
        inner_address: Some(Ipv4Addr::new(100, 64, 0, 1)),
        carries_logins: true,
        path_keys: vec![PublicKey([8; 32]), PublicKey([7; 32])],
        legs_max: 3,
    }
}

fn endpoint(port: u16) -> Endpoint {
    let address = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port);
    Endpoint::new(address, EndpointKind::Reflexive)
}

fn half(number: u32) -> Half {
    Half { session: SessionId::new(number).unwrap(), cookie: Cookie::new([3; 8]) }
}

fn held(number: u64) -> HeldTunnel {
    HeldTunnel {
        tunnel: TunnelId(number),
        network: NetworkId(i64::MAX),
        side: Side::Foreign,
        peer: GatewayId(i64::MAX),
        local: half(u32::MAX),
        remote: half(u32::MAX),
        encryption: Encryption::Required,
        preshared_key: PresharedKey::new([4; 32]),
        legs: vec![],
    }
}

fn leg(number: u32) -> Leg {
    Leg { public_key: PublicKey([6; 32]), local: half(number), remote: half(number) }
}

fn mac(number: u32) -> Mac {
    let [a, b, c, d] = number.to_be_bytes();
    Mac::new([2, 0, a, b, c, d])
}

fn device(number: u32) -> DeviceUpdate {
    DeviceUpdate {
        mac: mac(number),
        network: NetworkId(i64::MAX),
        connected: true,
        signal: Some(Rssi(-60)),
        at_home: true,
        sequence: u64::MAX,
        age: Duration::from_secs(1 << 40),
    }
}

#[test]
fn an_endpoint_of_a_kind_that_this_version_does_not_know_is_an_address_all_the_same() {
    let mut wire = FromGateway::Endpoints(vec![endpoint(7)]).to_pb();
    let Some(pb::from_gateway::Body::Endpoints(endpoints)) = &mut wire.body else {
        panic!("{wire:?}")
    };
    endpoints.endpoints[0].kind = 77;
    let read = FromGateway::from_pb(wire).unwrap();
    let unsaid = Endpoint::from(endpoint(7).address);
    assert_eq!(read, Some(FromGateway::Endpoints(vec![unsaid])));
}

#[test]
fn an_endpoint_of_a_leg_that_no_tunnel_has_is_refused() {
    let wire = |leg| {
        let mut wire = FromGateway::Endpoints(vec![endpoint(7)]).to_pb();
        let Some(pb::from_gateway::Body::Endpoints(endpoints)) = &mut wire.body else {
            panic!("{wire:?}")
        };
        endpoints.endpoints[0].leg = leg;
        FromGateway::from_pb(wire)
    };
    let last = FromGateway::Endpoints(vec![endpoint(7).by(3)]);
    assert_eq!(wire(3), Ok(Some(last)));
    for leg in [4, 256, u32::MAX] {
        assert!(wire(leg).unwrap_err().to_string().contains("endpoint.leg"));
    }
}

#[test]
fn the_largest_hello_within_the_limits_fits_a_message() {
    let macs: Vec<Mac> = (0..limits::MACS as u32).map(mac).collect();
    let hello = Hello {
        software: "x".repeat(limits::TEXT),
        boot: u64::MAX,
        endpoints: (1..=limits::ENDPOINTS as u16).map(endpoint).collect(),
        bssids: (0..limits::BSSIDS as u32).map(mac).collect(),
        tunnels: (1..=limits::TUNNELS as u64)
            .map(|n| HeldTunnel { legs: vec![leg(u32::MAX - 1)], ..held(u64::MAX - n) })
            .collect(),
        path_keys: (1..=limits::LEGS as u8).map(|n| PublicKey([n; 32])).collect(),
        legs_max: u32::MAX,
        devices: (0..limits::DEVICES as u32).map(device).collect(),
        wants: (0..limits::WANTS as i64)
            .map(|n| Want { network: NetworkId(i64::MAX - n), macs: macs.clone() })
            .collect(),
        prepared: (0..limits::PREPARED as u32)
            .map(|n| Prepare {
                mac: mac(n),
                ssid: "x".repeat(32).parse().unwrap(),
                network: NetworkId(i64::MAX),
            })
            .collect(),
        ..hello()
    };
    let octets = FromGateway::Hello(hello.clone()).encode();
    assert!(octets.len() <= limits::MESSAGE, "{} octets", octets.len());
    assert_eq!(FromGateway::decode(&octets), Ok(Some(FromGateway::Hello(hello))));
}

#[test]
fn a_kind_of_message_that_this_version_does_not_know_is_skipped() {
    // Field 77 of the oneof, length-delimited; and no field at all.
    for octets in [&[0xea, 0x04, 0x01, 0x00][..], &[]] {
        assert_eq!(FromGateway::decode(octets), Ok(None));
        assert_eq!(ToGateway::decode(octets), Ok(None));
    }
    let mut report = TunnelReport {
        tunnel: TunnelId(1),
        state: TunnelState::Up,
        reason: String::new(),
        routers: vec![],
        path_mtu: None,
    };
    report.path_mtu = Some(1400);
    let mut wire = FromGateway::Tunnel(report).to_pb();
    if let Some(pb::from_gateway::Body::Tunnel(report)) = &mut wire.body {
        report.state = 99;
    }
    assert_eq!(FromGateway::from_pb(wire), Ok(None), "a state of a later version");
}

#[test]
fn a_reason_that_this_version_does_not_know_is_other() {
    let goodbye = pb::Goodbye { reason: 99, message: String::new() };
    let body = Some(pb::to_gateway::Body::Goodbye(goodbye));
    assert_eq!(
        ToGateway::from_pb(pb::ToGateway { body }),
        Ok(Some(ToGateway::Goodbye(Goodbye {
            reason: GoodbyeReason::Other,
            message: String::new()
        })))
    );
    let denied = pb::Denied { network: 1, reason: 99, ..pb::Denied::default() };
    let body = Some(pb::to_gateway::Body::Denied(denied));
    let read = ToGateway::from_pb(pb::ToGateway { body });
    let Ok(Some(ToGateway::Denied(denied))) = read else { panic!("{read:?}") };
    assert_eq!((denied.reason, denied.retry_after), (DeniedReason::Other, None));
}

/// What a Hello that was changed is refused for.
fn refused(change: impl FnOnce(&mut pb::Hello)) -> String {
    let mut wire = FromGateway::Hello(hello()).to_pb();
    match &mut wire.body {
        Some(pb::from_gateway::Body::Hello(hello)) => change(hello),
        _ => unreachable!(),
    }
    FromGateway::from_pb(wire).unwrap_err().to_string()
}

#[test]
fn an_error_names_the_field_and_what_is_wrong_with_it() {
    let group = vec![3, 0, 0, 0, 0, 1];
    let text = "x".repeat(limits::TEXT + 1);
    for (refusal, said) in [
        (refused(|h| h.version_max = 0), "hello.version_max is 0: at least version_min"),
        (
            refused(|h| h.public_key.truncate(31)),
            "hello.public_key has 31 octets, not the 32 of an X25519 key",
        ),
        (
            refused(|h| h.software = text),
            "hello.software has 257 octets, not at most 256 of a text",
        ),
        (refused(|h| h.software = "a\nb".to_owned()), "hello.software has control characters"),
        (
            refused(|h| h.endpoints[0].port = 65536),
            "endpoint.port is 65536: a UDP port is 1 to 65535",
        ),
        (refused(|h| h.endpoints[0].port = 0), "endpoint.port is 0: a UDP port is 1 to 65535"),
        (
            refused(|h| h.endpoints[0].address = vec![1; 5]),
            "endpoint.address has 5 octets, not the 4 or 16 of an IP address",
        ),
        (
            refused(|h| h.endpoints = vec![h.endpoints[0].clone(); 16]),
            "hello.endpoints has 16 entries, more than 15",
        ),
        (refused(|h| h.bssids[0] = group), "hello.bssids is a group address"),
        (
            refused(|h| h.bssids.push(h.bssids[0].clone())),
            "hello.bssids names the same thing twice",
        ),
        (refused(|h| h.tunnels[0].tunnel = 0), "hello.tunnels.tunnel is missing"),
        (refused(|h| h.tunnels[0].side = 0), "hello.tunnels.side is missing"),
        (
            refused(|h| h.tunnels[0].side = 3),
            "hello.tunnels.side is 3: a side is 1 (home) or 2 (foreign)",
        ),
        (refused(|h| h.tunnels[0].local_session = 0), "hello.tunnels.local_session is missing"),
        (
            refused(|h| h.tunnels[0].remote_cookie.clear()),
            "hello.tunnels.remote_cookie has 0 octets, not the 8 of a cookie",
        ),
        (
            refused(|h| h.tunnels.push(h.tunnels[0].clone())),
            "hello.tunnels names the same thing twice",
        ),
        (refused(|h| h.devices[0].network = 0), "device.network is 0: numbers begin at 1"),
        (refused(|h| h.devices[0].network = -1), "device.network is -1: numbers begin at 1"),
        (
            refused(|h| h.devices[0].signal = 128),
            "device.signal is 128: a signal is -128 to 127 dBm",
        ),
        (
            refused(|h| h.devices[0].mac.clear()),
            "device.mac has 0 octets, not the 6 of a MAC address",
        ),
        (
            refused(|h| h.wants[0].macs = vec![vec![2; 6]; limits::MACS + 1]),
            "want.macs has 257 entries, more than 256",
        ),
        (
            refused(|h| h.prepared[0].ssid.clear()),
            "prepare.ssid has 0 octets, not 1 to 32 of an SSID",
        ),
        (
            refused(|h| h.inner_address = vec![1; 16]),
            "hello.inner_address has 16 octets, not the 4 of an IPv4 address",
        ),
        (
            refused(|h| h.path_keys[1].clear()),
            "hello.path_keys has 0 octets, not the 32 of an X25519 key",
        ),
        (
            refused(|h| h.path_keys[1] = h.public_key.clone()),
            "hello.path_keys names the same thing twice",
        ),
        (
            refused(|h| h.path_keys = vec![vec![1; 32]; 4]),
            "hello.path_keys has 4 entries, more than 3",
        ),
        (
            refused(|h| h.tunnels[0].legs = vec![wire_leg(1); 4]),
            "hello.tunnels.legs has 4 entries, more than 3",
        ),
        (
            refused(|h| h.tunnels[0].legs = vec![wire_leg(1), wire_leg(1)]),
            "hello.tunnels.legs names the same thing twice",
        ),
        (
            // Of the first leg, too, a session is not to be twice.
            refused(|h| h.tunnels[0].legs = vec![wire_leg(u32::MAX)]),
            "hello.tunnels.legs names the same thing twice",
        ),
        (
            refused(|h| {
                let legs = |n: u32| (1..=3).map(|leg| wire_leg(3 * n + leg)).collect();
                h.tunnels = (0..2731)
                    .map(|n| pb::HeldTunnel {
                        tunnel: u64::from(n) + 1,
                        legs: legs(n),
                        ..h.tunnels[0].clone()
                    })
                    .collect();
            }),
            "hello.tunnels.legs has 8193 entries, more than 8192",
        ),
    ] {
        assert_eq!(refusal, said);
    }
}

fn wire_leg(number: u32) -> pb::Leg {
    let cookie = vec![1; 8];
    pb::Leg {
        public_key: vec![6; 32],
        local_session: number,
        remote_session: number,
        local_cookie: cookie.clone(),
        remote_cookie: cookie,
    }
}

#[test]
fn a_list_of_log_ins_within_the_limits_fits_a_message_and_a_name_that_is_none_is_refused() {
    let login = |n: u32| pb::HeldLogin { mac: mac(n).octets().to_vec(), name: "x".repeat(253) };
    let read = |logins: Vec<pb::HeldLogin>| {
        let body = Some(pb::from_gateway::Body::Logins(pb::Logins { logins }));
        FromGateway::from_pb(pb::FromGateway { body })
    };
    let most: Vec<_> = (0..limits::LOGINS as u32).map(login).collect();
    let Ok(Some(message)) = read(most.clone()) else { panic!("within the limits") };
    assert!(message.encode().len() <= limits::MESSAGE);
    let refused = |change: fn(&mut Vec<pb::HeldLogin>)| {
        let mut logins = most.clone();
        change(&mut logins);
        read(logins).unwrap_err().to_string()
    };
    for (refusal, said) in [
        (
            refused(|logins| logins.push(logins[0].clone())),
            "logins.logins has 1025 entries, more than 1024",
        ),
        (
            refused(|logins| logins[1] = logins[0].clone()),
            "logins.logins names the same thing twice",
        ),
        (
            refused(|logins| logins[0].name = "@example.net".to_owned()),
            "logins.logins.name is not a network access identifier of 1 to 253 octets",
        ),
        (refused(|logins| logins[0].mac[0] = 3), "logins.logins.mac is a group address"),
    ] {
        assert_eq!(refusal, said);
    }
}

#[test]
fn a_log_in_prints_without_its_name_typed_or_on_the_wire() {
    let name = "fred@example.net".parse().unwrap();
    let message = FromGateway::Logins(vec![HeldLogin { mac: mac(1), name }]);
    let shown = format!("{message:?} {:?}", message.to_pb());
    assert!(!shown.contains("fred"), "{shown}");
}

#[test]
fn a_message_that_is_too_long_is_not_even_parsed() {
    let octets = vec![0; limits::MESSAGE + 1];
    let error = FromGateway::decode(&octets).unwrap_err();
    assert_eq!(error.to_string(), "the message has 4194305 octets: at most 4194304 are read");
    assert!(ToGateway::decode(&octets).is_err());
}

#[test]
fn an_open_without_its_peer_or_terms_or_with_a_leg_that_is_none_is_refused() {
    for (change, said) in [
        ((|o| o.peer = None) as fn(&mut pb::OpenTunnel), "open.peer is missing"),
        (|o| o.terms = None, "open.terms is missing"),
        (
            |o| o.terms.as_mut().unwrap().priority = 8,
            "open.terms.priority is 8: a priority is 0 (last) to 7 (first)",
        ),
        (
            |o| o.peer.as_mut().unwrap().name.clear(),
            "open.peer.name is not a name of 1 to 64 of a-z A-Z 0-9 . _ - @ +",
        ),
        (
            |o| o.peer.as_mut().unwrap().preshared_key.clear(),
            "open.peer.preshared_key has 0 octets, not the 32 of a pre-shared key",
        ),
        (
            |o| o.terms.as_mut().unwrap().handoff_threshold = Some(128),
            "open.terms.handoff_threshold is 128: a signal is -128 to 127 dBm",
        ),
        (|o| o.legs[0].local_session = 0, "leg.local_session is missing"),
        (
            |o| o.legs[0].remote_cookie.clear(),
            "leg.remote_cookie has 0 octets, not the 8 of a cookie",
        ),
        (
            |o| o.legs[0].public_key.clear(),
            "leg.public_key has 0 octets, not the 32 of an X25519 key",
        ),
        (|o| o.legs[0].remote_session = 2, "open.legs names the same thing twice"),
    ] {
        let mut wire = ToGateway::Open(open()).to_pb();
        match &mut wire.body {
            Some(pb::to_gateway::Body::Open(open)) => change(open),
            _ => unreachable!(),
        }
        assert_eq!(ToGateway::from_pb(wire).unwrap_err().to_string(), said);
    }
}

fn open() -> OpenTunnel {
    OpenTunnel {
        tunnel: TunnelId(5),
        network: NetworkId(1),
        side: Side::Home,
        peer: Peer {
            gateway: GatewayId(2),
            name: "gw-2".parse().unwrap(),
            public_key: PublicKey([0xab; 32]),
            preshared_key: PresharedKey::new([0x5c; 32]),
            inner_address: Ipv4Addr::new(100, 64, 0, 2),
            endpoints: vec![endpoint(4500)],
        },
        encryption: Encryption::Required,
        local: Half { session: SessionId::new(1).unwrap(), cookie: Cookie::new([0x5c; 8]) },
        remote: Half { session: SessionId::new(2).unwrap(), cookie: Cookie::new([0x5c; 8]) },
        macs: vec![mac(1)],
        terms: Terms::default(),
        routers: vec![],
        legs: vec![Leg {
            public_key: PublicKey([0xac; 32]),
            local: Half { session: SessionId::new(3).unwrap(), cookie: Cookie::new([0x5c; 8]) },
            remote: Half { session: SessionId::new(4).unwrap(), cookie: Cookie::new([0x5c; 8]) },
        }],
    }
}

#[test]
fn a_rate_of_nothing_does_not_become_unlimited() {
    let bandwidth = Bandwidth { up: Some(0), down: None };
    let terms = Terms { priority: Priority::default(), bandwidth, ..Terms::default() };
    let octets = ToGateway::Open(OpenTunnel { terms, ..open() }).encode();
    let read = ToGateway::decode(&octets);
    let Ok(Some(ToGateway::Open(read))) = read else { panic!("{read:?}") };
    assert_eq!(read.terms.bandwidth, Bandwidth { up: Some(1), down: None });
}

#[test]
fn a_threshold_of_zero_is_not_none_and_an_older_controllers_terms_allow_no_bonding() {
    let terms = Terms { handoff_threshold: Some(Rssi(0)), ..Terms::default() };
    let octets = ToGateway::Open(OpenTunnel { terms, ..open() }).encode();
    let Ok(Some(ToGateway::Open(read))) = ToGateway::decode(&octets) else { panic!("no open") };
    assert_eq!(read.terms, terms);
    // As they were before there were legs: priority and rates.
    let mut wire = ToGateway::Open(open()).to_pb();
    match &mut wire.body {
        Some(pb::to_gateway::Body::Open(open)) => {
            open.terms = Some(pb::Terms { priority: 1, ..pb::Terms::default() });
            open.legs.clear();
        }
        _ => unreachable!(),
    }
    let Ok(Some(ToGateway::Open(read))) = ToGateway::from_pb(wire) else { panic!("no open") };
    assert_eq!((read.terms.bonding, read.terms.handoff_threshold), Default::default());
    assert!(read.legs.is_empty());
}

#[test]
fn a_text_for_people_is_clipped_and_cleaned_on_its_way_out() {
    let reason = format!("line\n{}", "\u{e9}".repeat(200));
    let octets = ToGateway::Close(CloseTunnel { tunnel: TunnelId(1), reason }).encode();
    let read = ToGateway::decode(&octets);
    let Ok(Some(ToGateway::Close(close))) = read else { panic!("{read:?}") };
    assert_eq!(close.reason, format!("line {}", "\u{e9}".repeat(125)));
}

#[test]
fn no_key_prints_its_octets_typed_or_on_the_wire() {
    let message = ToGateway::Open(open());
    let wire = message.to_pb();
    let hello = FromGateway::Hello(Hello { tunnels: vec![open().held()], ..hello() });
    let hello_wire = hello.to_pb();
    let enrol = pb::EnrolRequest { token: vec![0x5c; 16], signing_request: vec![] };
    let shown = format!("{message:?} {wire:?} {hello:?} {hello_wire:?} {enrol:?}");
    // 0x5c is 92.
    assert!(!shown.contains("92, 92") && !shown.contains("5c5c"), "{shown}");
    assert!(shown.contains("[32 octets redacted]"), "{shown}");
}

#[test]
fn the_highest_common_version_is_spoken() {
    assert_eq!(common_version(&(0..=9)), Some(1));
    assert_eq!(common_version(&(1..=1)), Some(1));
    assert_eq!(common_version(&(2..=9)), None);
    assert_eq!(common_version(&(0..=0)), None);
}

/// The seeds of the fuzz targets: each is a message, so that they stay good for something.
#[test]
fn the_seeds_are_messages() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/");
    let seeds = |target: &str| {
        let files = std::fs::read_dir(format!("{corpus}{target}")).unwrap();
        files.map(|f| f.unwrap().path()).collect::<Vec<_>>()
    };
    let mut kinds = std::collections::BTreeSet::new();
    for path in seeds("control_from_gateway") {
        let octets = std::fs::read(&path).unwrap();
        fuzz_from_gateway(&octets);
        let read = FromGateway::decode(&octets);
        let Ok(Some(message)) = &read else { panic!("{path:?}: {read:?}") };
        kinds.insert(message.kind());
    }
    assert_eq!(kinds.len(), 11, "{kinds:?}");
    kinds.clear();
    for path in seeds("control_to_gateway") {
        let octets = std::fs::read(&path).unwrap();
        fuzz_to_gateway(&octets);
        let read = ToGateway::decode(&octets);
        let Ok(Some(message)) = &read else { panic!("{path:?}: {read:?}") };
        kinds.insert(message.kind());
    }
    assert_eq!(kinds.len(), 13, "{kinds:?}");
}
