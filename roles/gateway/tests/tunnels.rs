//! The tunnels of a gateway without any I/O: the controller says as the test says.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use homeward_control::link::{Action, Identity};
use homeward_control::{
    Arrived, Cookie, Endpoint, EndpointKind, Evict, FromGateway, Half, LinkSettings, OpenTunnel,
    Peer, Prepare, PresharedKey, PublicKey, Router, SessionId, Side, Terms, ToGateway, TunnelId,
    TunnelState, Welcome, Withdraw,
};
use homeward_daemon::SystemEntropy;
use homeward_dataplane::Event as PlaneEvent;
use homeward_gateway::plane::{Order, Report};
use homeward_gateway::tunnels::{Output, Place, Tunnels};
use homeward_model::{Encryption, GatewayId, Instant, Mac, NetworkId, Ssid};
use homeward_stun::Mapping;

const PHONE: Mac = Mac::new([2, 0, 0x5e, 0, 0, 1]);
const ELM: NetworkId = NetworkId(3);
const STUN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 99)), 3478);
const ROUTER: Router = Router {
    address: IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1)),
    mac: Mac::new([2, 0, 0x5e, 9, 9, 9]),
};

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn elm() -> Ssid {
    "Elm Street 17".parse().unwrap()
}

fn outputs(tunnels: &mut Tunnels) -> Vec<Output> {
    let all = std::iter::from_fn(|| tunnels.poll_output());
    let aside =
        |output: &Output| matches!(output, Output::Told(_) | Output::TellLoad | Output::TellLogins);
    all.filter(|output| !aside(output)).collect()
}

fn said(tunnels: &mut Tunnels) -> Vec<FromGateway> {
    let said = |output| match output {
        Output::Send(message) => Some(message),
        _ => None,
    };
    outputs(tunnels).into_iter().filter_map(said).collect()
}

fn ordered(tunnels: &mut Tunnels) -> Vec<Order> {
    let order = |output| match output {
        Output::Plane(order) => Some(order),
        _ => None,
    };
    outputs(tunnels).into_iter().filter_map(order).collect()
}

fn say(tunnels: &mut Tunnels, message: ToGateway, ms: u64) {
    tunnels.message(message, at(ms), &mut SystemEntropy::new());
}

/// Tunnels in step with a controller, at 10 ms.
fn synced() -> Tunnels {
    let identity = Identity {
        boot: 1,
        software: "test".into(),
        public_key: PublicKey([1; 32]),
        home: true,
        prepared_max: 4,
        bssids: Vec::new(),
        carries_logins: true,
        path_keys: Vec::new(),
        legs_max: 3,
    };
    let endpoints = vec![Endpoint::new("[::]:1701".parse().unwrap(), EndpointKind::Host)];
    let mut tunnels = Tunnels::new(identity, LinkSettings::default(), endpoints, at(0));
    assert_eq!(outputs(&mut tunnels), [Output::Channel(Action::Connect)]);
    tunnels.channel_up(at(5));
    assert!(matches!(said(&mut tunnels)[..], [FromGateway::Hello(_)]));
    let welcome = Welcome {
        version: 1,
        gateway: GatewayId(7),
        name: "oak".parse().unwrap(),
        inner_address: "100.64.0.7".parse().unwrap(),
        observed_address: "192.0.2.7".parse().unwrap(),
        report_interval: Duration::from_secs(60),
        ping_interval: Duration::from_secs(30),
        stun: vec![STUN],
    };
    say(&mut tunnels, ToGateway::Welcome(welcome), 10);
    say(&mut tunnels, ToGateway::Synced(Vec::new()), 10);
    let address = "100.64.0.7".parse().unwrap();
    assert_eq!(ordered(&mut tunnels), [Order::Address(address), Order::Stun(vec![STUN])]);
    tunnels
}

fn open(side: Side, routers: Vec<Router>) -> OpenTunnel {
    let half =
        |n: u32| Half { session: SessionId::new(n).unwrap(), cookie: Cookie::new([n as u8; 8]) };
    OpenTunnel {
        legs: Vec::new(),
        tunnel: TunnelId(9),
        network: ELM,
        side,
        peer: Peer {
            gateway: GatewayId(1),
            name: "elm".parse().unwrap(),
            public_key: PublicKey([2; 32]),
            preshared_key: PresharedKey::new([3; 32]),
            inner_address: "100.64.0.1".parse().unwrap(),
            endpoints: vec![Endpoint::new("192.0.2.1:1701".parse().unwrap(), EndpointKind::Told)],
        },
        encryption: Encryption::Required,
        local: half(10),
        remote: half(20),
        macs: vec![PHONE],
        terms: Terms::default(),
        routers,
    }
}

fn serve(tunnels: &mut Tunnels, ms: u64) {
    tunnels.serve(BTreeMap::from([(ELM, BTreeSet::from([PHONE]))]), at(ms));
}

/// The states that were reported of the tunnel.
fn reported(tunnels: &mut Tunnels) -> Vec<TunnelState> {
    let state = |message| match message {
        FromGateway::Tunnel(report) => Some(report.state),
        _ => None,
    };
    said(tunnels).into_iter().filter_map(state).collect()
}

#[test]
fn a_network_that_gets_a_vap_gets_a_tunnel_and_both_go_together() {
    let mut tunnels = synced();
    serve(&mut tunnels, 20);
    assert!(matches!(&said(&mut tunnels)[..], [FromGateway::Want(want)] if want.network == ELM));
    serve(&mut tunnels, 21);
    assert_eq!(said(&mut tunnels), [], "said once");

    let wanted = open(Side::Foreign, vec![ROUTER]);
    say(&mut tunnels, ToGateway::Open(wanted.clone()), 30);
    assert_eq!(ordered(&mut tunnels), [Order::Open(Box::new(wanted))]);
    tunnels.plane(Report::Opened(TunnelId(9), Ok(())), at(31));
    assert_eq!(reported(&mut tunnels), [TunnelState::Ready]);
    let up = PlaneEvent::Up { tunnel: homeward_dataplane::TunnelId(9) };
    tunnels.plane(Report::Event(up), at(40));
    assert_eq!(reported(&mut tunnels), [TunnelState::Up]);

    tunnels.serve(BTreeMap::new(), at(50));
    let outputs = outputs(&mut tunnels);
    assert!(outputs.contains(&Output::Plane(Order::Close(TunnelId(9)))), "{outputs:?}");
    assert!(outputs.contains(&Output::Send(FromGateway::Unwant(ELM))), "{outputs:?}");
}

#[test]
fn a_device_that_connects_is_told_at_once_where_its_homes_router_is() {
    let mut tunnels = synced();
    serve(&mut tunnels, 20);
    say(&mut tunnels, ToGateway::Open(open(Side::Foreign, vec![ROUTER])), 30);
    tunnels.plane(Report::Opened(TunnelId(9), Ok(())), at(31));
    outputs(&mut tunnels);

    tunnels.connected(ELM, PHONE, Place::Away, None, at(40));
    let [Order::Inject(TunnelId(9), frame)] = &ordered(&mut tunnels)[..] else {
        panic!("no frame")
    };
    assert_eq!((&frame[..6], &frame[6..12]), (&PHONE.octets()[..], &ROUTER.mac.octets()[..]));
    tunnels.handle_timeout(at(300), &mut SystemEntropy::new());
    assert_eq!(ordered(&mut tunnels).len(), 6);

    tunnels.disconnected(ELM, PHONE, at(310));
    tunnels.connected(ELM, PHONE, Place::Away, None, at(320));
    tunnels.disconnected(ELM, PHONE, at(321));
    outputs(&mut tunnels);
    tunnels.handle_timeout(at(900), &mut SystemEntropy::new());
    assert_eq!(ordered(&mut tunnels), [], "who is gone is told nothing");
}

#[test]
fn a_device_that_was_quicker_than_its_tunnel_is_told_when_the_tunnel_is_there() {
    let mut tunnels = synced();
    serve(&mut tunnels, 20);
    tunnels.connected(ELM, PHONE, Place::Away, None, at(25));
    assert_eq!(ordered(&mut tunnels), []);
    say(&mut tunnels, ToGateway::Open(open(Side::Foreign, Vec::new())), 30);
    tunnels.plane(Report::Opened(TunnelId(9), Ok(())), at(31));
    assert!(!ordered(&mut tunnels).iter().any(|o| matches!(o, Order::Inject(..))), "no router yet");
    // The home side has answered with its routers.
    say(&mut tunnels, ToGateway::Open(open(Side::Foreign, vec![ROUTER])), 35);
    assert!(ordered(&mut tunnels).iter().any(|order| matches!(order, Order::Inject(..))));
}

#[test]
fn a_tunnel_whose_other_end_answers_before_it_is_all_set_up_here_is_up() {
    let mut tunnels = synced();
    serve(&mut tunnels, 20);
    say(&mut tunnels, ToGateway::Open(open(Side::Foreign, Vec::new())), 30);
    // The data plane's threads are as quick as the other end; the ports take the kernel longer.
    let tunnel = homeward_dataplane::TunnelId(9);
    tunnels.plane(Report::Event(PlaneEvent::Up { tunnel }), at(31));
    tunnels.plane(Report::Opened(TunnelId(9), Ok(())), at(32));
    assert_eq!(reported(&mut tunnels), [TunnelState::Up]);
    assert_eq!(tunnels.status(at(33)).tunnels[0].state, Some(TunnelState::Up));
}

#[test]
fn a_tunnel_that_could_not_be_set_up_at_first_is_ready_once_it_is() {
    let mut tunnels = synced();
    serve(&mut tunnels, 20);
    say(&mut tunnels, ToGateway::Open(open(Side::Foreign, Vec::new())), 30);
    tunnels.plane(Report::Opened(TunnelId(9), Err("no interface".into())), at(31));
    tunnels.plane(Report::Opened(TunnelId(9), Ok(())), at(40));
    assert_eq!(reported(&mut tunnels), [TunnelState::Failed, TunnelState::Ready]);
    assert_eq!(tunnels.status(at(41)).tunnels[0].reason, None);
}

#[test]
fn the_home_side_tells_its_routers_and_shows_its_lan_where_the_device_is_now() {
    let mut tunnels = synced();
    tunnels.plane(Report::Routers(vec![ROUTER]), at(20));
    say(&mut tunnels, ToGateway::Open(open(Side::Home, Vec::new())), 30);
    outputs(&mut tunnels);
    tunnels.plane(Report::Opened(TunnelId(9), Ok(())), at(31));
    let reports = said(&mut tunnels);
    assert!(
        matches!(&reports[..], [FromGateway::Tunnel(report)] if report.routers == [ROUTER]),
        "{reports:?}"
    );
    say(&mut tunnels, ToGateway::Arrived(Arrived { tunnel: TunnelId(9), mac: PHONE }), 40);
    let [Order::Inject(TunnelId(9), frame)] = &ordered(&mut tunnels)[..] else {
        panic!("no update frame")
    };
    assert_eq!((&frame[..6], &frame[6..12]), (&[0xff; 6][..], &PHONE.octets()[..]));
}

#[test]
fn at_home_a_device_is_told_of_the_router_on_its_own_lan() {
    let mut tunnels = synced();
    tunnels.plane(Report::Routers(vec![ROUTER]), at(20));
    tunnels.connected(ELM, PHONE, Place::Home, None, at(30));
    assert!(matches!(&ordered(&mut tunnels)[..], [Order::Lan(_)]));
}

#[test]
fn a_tunnel_that_cannot_be_set_up_or_reached_is_reported_with_the_reason() {
    let mut tunnels = synced();
    serve(&mut tunnels, 20);
    say(&mut tunnels, ToGateway::Open(open(Side::Foreign, Vec::new())), 30);
    tunnels.plane(Report::Opened(TunnelId(9), Err("no interface".into())), at(31));
    assert_eq!(reported(&mut tunnels), [TunnelState::Failed]);
    let tunnel = homeward_dataplane::TunnelId(9);
    tunnels.plane(Report::Event(PlaneEvent::Unreachable { tunnel }), at(40));
    assert_eq!(reported(&mut tunnels), [TunnelState::Unreachable]);
    let status = &tunnels.status(at(90)).tunnels[0];
    assert_eq!((status.state, status.state_ms), (Some(TunnelState::Unreachable), Some(50)));
    let said = |text: &Option<String>, part: &str| text.as_ref().is_some_and(|t| t.contains(part));
    assert!(said(&status.reason, "none of its addresses"), "{status:?}");
    assert!(said(&status.repair, "forward UDP port 1701"), "{status:?}");
    // It is still being tried.
    tunnels.plane(Report::Event(PlaneEvent::Up { tunnel }), at(100));
    assert_eq!(reported(&mut tunnels), [TunnelState::Up]);
    let status = &tunnels.status(at(101)).tunnels[0];
    assert_eq!((status.state_ms, &status.reason, &status.repair), (Some(1), &None, &None));
}

#[test]
fn where_servers_see_the_data_plane_is_told_and_why_two_nats_keep_gateways_apart() {
    let mut tunnels = synced();
    let local = "10.0.0.2:1701".parse().ok();
    let see = |tunnels: &mut Tunnels, server: SocketAddr, mapped: &str, ms| {
        let mapping = Some(Mapping { local, mapped: mapped.parse().unwrap() });
        tunnels.plane(Report::Event(PlaneEvent::Mapped { interface: 0, server, mapping }), at(ms));
        said(tunnels)
    };
    let told = see(&mut tunnels, STUN, "198.51.100.7:40000", 20);
    let [FromGateway::Endpoints(told)] = &told[..] else { panic!("{told:?}") };
    let kinds: Vec<_> = told.iter().map(|endpoint| endpoint.kind).collect();
    assert_eq!(kinds, [EndpointKind::Host, EndpointKind::Reflexive, EndpointKind::Host]);
    assert_eq!(told[1].address, "198.51.100.7:40000".parse().unwrap());
    assert_eq!(see(&mut tunnels, STUN, "198.51.100.7:40000", 21), [], "no news");

    let other = SocketAddr::new(STUN.ip(), 3479);
    assert_eq!(see(&mut tunnels, other, "198.51.100.7:50000", 22).len(), 1);
    serve(&mut tunnels, 25);
    let mut open = open(Side::Foreign, Vec::new());
    let behind = |port| SocketAddr::from(([203, 0, 113, 9], port));
    open.peer.endpoints =
        [1, 2].map(|port| Endpoint::new(behind(port), EndpointKind::Reflexive)).to_vec();
    say(&mut tunnels, ToGateway::Open(open), 30);
    let tunnel = homeward_dataplane::TunnelId(9);
    tunnels.plane(Report::Event(PlaneEvent::Unreachable { tunnel }), at(40));
    let status = &tunnels.status(at(90)).tunnels[0];
    let reason = status.reason.as_deref().unwrap();
    assert!(reason.contains("neither can be told where to send"), "{reason}");
    let repair = status.repair.as_deref().unwrap();
    assert!(repair.starts_with("forward UDP port 1701"), "{repair}");
}

#[test]
fn the_machines_own_addresses_are_told_as_such_and_again_when_they_are_others() {
    let mut tunnels = synced();
    let see = |tunnels: &mut Tunnels, hosts: &[&str], ms| {
        let hosts = hosts.iter().map(|text| text.parse().unwrap()).collect();
        tunnels.plane(Report::Hosts(hosts), at(ms));
        said(tunnels)
    };
    let own = |text: &str| Endpoint::new(text.parse().unwrap(), EndpointKind::Host);
    let told = see(&mut tunnels, &["192.168.1.1:1701"], 20);
    let endpoints = vec![own("[::]:1701"), own("192.168.1.1:1701")];
    assert_eq!(told, [FromGateway::Endpoints(endpoints)]);
    assert_eq!(see(&mut tunnels, &["192.168.1.1:1701"], 21), [], "no news");
    let told = see(&mut tunnels, &[], 22);
    assert_eq!(told, [FromGateway::Endpoints(vec![own("[::]:1701")])]);
}

#[test]
fn what_the_controller_wants_of_the_vaps_is_handed_on() {
    let mut tunnels = synced();
    let prepare = Prepare { mac: PHONE, ssid: elm(), network: ELM };
    say(&mut tunnels, ToGateway::Prepare(prepare), 20);
    assert_eq!(outputs(&mut tunnels), [Output::Prepare { mac: PHONE, ssid: elm() }]);
    tunnels.prepared(PHONE, elm(), None, at(25));
    assert!(matches!(&said(&mut tunnels)[..], [FromGateway::Prepared(p)] if p.ready));
    say(&mut tunnels, ToGateway::Withdraw(Withdraw { mac: PHONE, network: ELM }), 30);
    assert_eq!(outputs(&mut tunnels), [Output::Withdraw { mac: PHONE, ssid: elm() }]);

    tunnels.connected(ELM, PHONE, Place::Away, None, at(40));
    let said = said(&mut tunnels);
    let [FromGateway::Device(update)] = &said[..] else { panic!("{said:?}") };
    let evict = Evict { mac: PHONE, network: ELM, sequence: update.sequence };
    say(&mut tunnels, ToGateway::Evict(evict), 50);
    assert_eq!(outputs(&mut tunnels), [Output::Evict { network: ELM, mac: PHONE }]);
}

#[test]
fn a_log_in_that_has_ended_is_passed_on_to_the_radio() {
    let mut tunnels = synced();
    say(&mut tunnels, ToGateway::PutOut(PHONE), 20);
    assert_eq!(outputs(&mut tunnels), [Output::PutOut { mac: PHONE }]);
}
