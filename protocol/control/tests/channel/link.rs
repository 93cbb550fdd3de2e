//! The gateway's machine by itself.

use std::time::Duration;

use homeward_control::link::{Action, ChannelState, Device, Event, Identity};
use homeward_control::testing::Counted;
use homeward_control::{
    Cookie, Denied, DeniedReason, Endpoint, EndpointKind, Evict, FromGateway, Goodbye,
    GoodbyeReason, Half, Hello, Link, LinkSettings, Load, Neighbour, OpenTunnel, Peer, Prepare,
    PresharedKey, PublicKey, SessionId, Side, Terms, ToGateway, TunnelId, TunnelReport,
    TunnelState, Welcome,
};
use homeward_model::{Encryption, Entropy, GatewayId, Instant, Rssi};

use crate::world::{mac, network, secs};

/// Always the longest wait.
struct Longest;

impl Entropy for Longest {
    fn fill(&mut self, room: &mut [u8]) {
        room.fill(0xff);
    }
}

fn start() -> Instant {
    Instant::ORIGIN + secs(1)
}

fn link() -> Link {
    link_of(vec![])
}

/// That of a gateway; of a device, with keys for further paths.
fn link_of(path_keys: Vec<PublicKey>) -> Link {
    let identity = Identity {
        boot: 1,
        software: "test".to_owned(),
        public_key: PublicKey([1; 32]),
        home: true,
        prepared_max: 2,
        bssids: vec![],
        carries_logins: true,
        path_keys,
        legs_max: 0,
    };
    let mut link = Link::new(identity, LinkSettings::default(), start());
    assert_eq!(link.poll_action(), Some(Action::Connect), "at once");
    link
}

fn welcome() -> ToGateway {
    ToGateway::Welcome(Welcome {
        version: 1,
        gateway: GatewayId(1),
        name: "gw-1".parse().unwrap(),
        inner_address: [100, 64, 0, 1].into(),
        observed_address: [192, 0, 2, 1].into(),
        report_interval: secs(30),
        ping_interval: secs(20),
        stun: vec!["0.0.0.0:3478".parse().unwrap()],
    })
}

fn tell(link: &mut Link, message: ToGateway, now: Instant) {
    link.handle_message(message, now, &mut Longest);
}

/// Connects and synchronises; what the Hello was.
fn greet(link: &mut Link, now: Instant) -> Hello {
    link.handle_connected(now);
    let Some(FromGateway::Hello(hello)) = link.poll_transmit() else { panic!("no Hello") };
    tell(link, welcome(), now);
    tell(link, ToGateway::Synced(vec![]), now);
    assert!(link.is_synced());
    while link.poll_event().is_some() {}
    hello
}

fn said(link: &mut Link) -> Vec<&'static str> {
    std::iter::from_fn(|| link.poll_transmit()).map(|m| m.kind()).collect()
}

#[test]
fn attempts_are_made_with_doubling_waits_up_to_a_minute() {
    let mut link = link();
    let mut now = start();
    let mut waits = Vec::new();
    for _ in 0..10 {
        link.handle_lost("refused", now, &mut Longest);
        assert_eq!(link.poll_action(), None);
        let next = link.poll_timeout().unwrap();
        waits.push(next.since(now).as_millis() + 1);
        now = next;
        link.handle_timeout(now, &mut Longest);
        assert_eq!(link.poll_action(), Some(Action::Connect));
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000]);
}

#[test]
fn waits_are_spread_over_all_of_their_length() {
    let mut entropy = Counted(3);
    let mut waits: Vec<u128> = (0..100)
        .map(|_| {
            let mut link = link();
            link.handle_lost("refused", start(), &mut entropy);
            link.poll_timeout().unwrap().since(start()).as_millis()
        })
        .collect();
    waits.sort_unstable();
    assert!(waits[10] < 100 && waits[90] > 400 && waits[99] < 500, "{waits:?}");
}

#[test]
fn waits_begin_anew_once_both_sides_know_what_the_other_has_and_not_before() {
    let mut link = link();
    let now = start();
    let wait = |link: &mut Link| {
        link.handle_lost("it broke", now, &mut Longest);
        let wait = link.poll_timeout().unwrap().since(now);
        link.connect_now(now);
        wait.as_millis() + 1
    };
    assert_eq!((wait(&mut link), wait(&mut link)), (500, 1000));
    link.handle_connected(now);
    tell(&mut link, welcome(), now);
    assert_eq!(wait(&mut link), 2000, "a controller that falls over at every Hello is spared");
    greet(&mut link, now);
    assert_eq!(wait(&mut link), 500);
}

#[test]
fn a_row_of_failures_is_told_once() {
    let mut link = link();
    let now = start();
    link.handle_lost("refused", now, &mut Longest);
    let Some(Event::Lost { reason, goodbye: None, .. }) = link.poll_event() else { panic!() };
    assert_eq!(reason, "refused");
    link.connect_now(now);
    link.handle_lost("refused", now, &mut Longest);
    assert_eq!(link.poll_event(), None);
    let status = link.status(now + secs(5));
    assert_eq!((status.state, status.attempts), (ChannelState::Waiting, 2));
    assert_eq!(status.problem.as_deref(), Some("refused"));
    assert_eq!(status.offline_ms, Some(5000));
}

#[test]
fn a_gateway_that_is_revoked_waits_long_and_says_so() {
    for (reason, wait) in [
        (GoodbyeReason::Revoked, 600),
        (GoodbyeReason::Version, 600),
        (GoodbyeReason::Replaced, 60),
        (GoodbyeReason::Unavailable, 0),
        (GoodbyeReason::Protocol, 0),
    ] {
        let mut link = link();
        let now = start();
        link.handle_connected(now);
        tell(&mut link, ToGateway::Goodbye(Goodbye { reason, message: "because".to_owned() }), now);
        assert_eq!(link.poll_action(), Some(Action::Disconnect));
        let status = link.status(now);
        assert_eq!(status.retry_ms.unwrap() / 1000, wait, "{reason}");
        assert_eq!(status.goodbye, Some(reason));
        assert_eq!(
            status.problem,
            Some(format!("the controller ended the channel: {reason}: because"))
        );
        let Some(Event::Lost { goodbye, .. }) = link.poll_event() else { panic!() };
        assert_eq!(goodbye, Some(reason));
        link.connect_now(now);
        assert_eq!(link.poll_action(), Some(Action::Connect), "a person may try at once");
    }
}

#[test]
fn wishes_made_without_a_channel_are_in_the_hello_and_later_ones_are_said() {
    let mut link = link();
    let now = start();
    link.want(network(1), [mac(1)].into());
    link.want(network(2), [mac(2)].into());
    link.unwant(network(2));
    let device = |mac, connected| Device {
        mac,
        network: network(1),
        connected,
        signal: None,
        at_home: false,
    };
    link.device(device(mac(1), true), now);
    link.device(device(mac(2), true), now);
    link.device(device(mac(2), false), now);
    link.load(Load::default());
    link.neighbours(vec![Neighbour { bssid: mac(9), signal: Rssi(-50) }]);
    assert_eq!(said(&mut link), [""; 0]);

    let hello = greet(&mut link, now + secs(7));
    assert_eq!(hello.wants.iter().map(|w| w.network).collect::<Vec<_>>(), [network(1)]);
    assert_eq!(hello.devices.len(), 1);
    assert_eq!(
        (hello.devices[0].mac, hello.devices[0].age, hello.devices[0].sequence),
        (mac(1), secs(7), 1)
    );
    assert_eq!(said(&mut link), ["neighbours", "load"], "these when the controller has all else");

    link.want(network(1), [mac(1)].into());
    assert_eq!(said(&mut link), [""; 0], "nothing new");
    link.want(network(1), [mac(1), mac(2)].into());
    link.unwant(network(1));
    link.unwant(network(1));
    link.device(device(mac(1), false), now);
    link.set_endpoints(vec![endpoint("192.0.2.1:1", EndpointKind::Told)]);
    link.set_endpoints(vec![endpoint("192.0.2.1:1", EndpointKind::Told)]);
    assert_eq!(said(&mut link), ["want", "unwant", "device", "endpoints"]);
}

#[test]
fn what_is_said_between_hello_and_synced_is_not_lost() {
    let mut link = link();
    let now = start();
    link.handle_connected(now);
    link.want(network(1), [mac(1)].into());
    assert_eq!(said(&mut link), ["hello", "want"]);
}

#[test]
fn a_controller_that_says_nothing_for_three_intervals_is_dead() {
    let mut link = link();
    let now = start();
    greet(&mut link, now);
    tell(&mut link, ToGateway::Ping(5), now + secs(59));
    assert_eq!(said(&mut link), ["pong"]);
    link.handle_timeout(now + secs(100), &mut Longest);
    assert!(link.is_synced());
    assert_eq!(link.poll_timeout(), Some(now + secs(59 + 60)));
    link.handle_timeout(now + secs(59 + 60), &mut Longest);
    assert_eq!(link.poll_action(), Some(Action::Disconnect));
    assert!(matches!(link.poll_event(), Some(Event::Lost { .. })));
}

#[test]
fn a_controller_that_does_not_answer_the_hello_is_given_up() {
    for connected in [false, true] {
        let mut link = link();
        let now = start();
        if connected {
            link.handle_connected(now + secs(1));
        }
        link.handle_timeout(now + secs(29), &mut Longest);
        assert_eq!(link.poll_action(), None);
        link.handle_timeout(now + secs(30), &mut Longest);
        assert_eq!(link.poll_action(), Some(Action::Disconnect));
        assert_eq!(link.status(now + secs(30)).state, ChannelState::Waiting);
    }
}

#[test]
fn a_controller_that_breaks_the_protocol_is_left() {
    let now = start();
    let mut early = link();
    early.handle_connected(now);
    tell(&mut early, ToGateway::Synced(vec![]), now);
    let mut twice = link();
    greet(&mut twice, now);
    tell(&mut twice, welcome(), now);
    let mut version = link();
    version.handle_connected(now);
    let ToGateway::Welcome(other) = welcome() else { unreachable!() };
    tell(&mut version, ToGateway::Welcome(Welcome { version: 9, ..other }), now);
    for mut link in [early, twice, version] {
        assert_eq!(link.poll_action(), Some(Action::Disconnect));
        assert!(!link.is_synced());
    }
}

#[test]
fn what_comes_late_over_a_channel_that_is_no_more_is_nothing() {
    let mut link = link();
    let now = start();
    greet(&mut link, now);
    link.want(network(1), [mac(1)].into());
    link.handle_lost("it broke", now, &mut Longest);
    assert_eq!(said(&mut link), [""; 0], "nor is there anything to say over it");
    while link.poll_event().is_some() {}
    tell(&mut link, ToGateway::Ping(1), now);
    tell(
        &mut link,
        ToGateway::Prepare(Prepare {
            mac: mac(1),
            ssid: "x".parse().unwrap(),
            network: network(1),
        }),
        now,
    );
    link.handle_connected(now);
    link.handle_lost("again", now, &mut Longest);
    assert_eq!((link.poll_event(), said(&mut link)), (None, vec![]));
    assert_eq!(link.status(now).attempts, 1);
}

#[test]
fn four_hours_without_a_controller_expire_once_and_begin_anew_with_it() {
    let mut link = link();
    let mut now = start();
    greet(&mut link, now);
    link.handle_lost("it broke", now, &mut Longest);
    let (lost, mut expired) = (now, Vec::new());
    while now < lost + secs(5 * 3600) {
        while link.poll_action().is_some() {
            link.handle_lost("refused", now, &mut Longest);
        }
        now = link.poll_timeout().unwrap();
        link.handle_timeout(now, &mut Longest);
        let hits = std::iter::from_fn(|| link.poll_event()).filter(|e| *e == Event::Expired);
        expired.extend(hits.map(|_| now));
    }
    assert_eq!(expired, [lost + secs(4 * 3600)]);
    assert!(link.status(now).expired);
    link.connect_now(now);
    while link.poll_action().is_some() {}
    greet(&mut link, now);
    assert!(!link.status(now).expired && link.status(now).offline_ms.is_none());
}

#[test]
fn what_was_denied_for_a_time_is_asked_for_again_then() {
    let mut link = link();
    let now = start();
    greet(&mut link, now);
    link.want(network(1), [mac(1)].into());
    said(&mut link);
    let denied = |retry_after| {
        ToGateway::Denied(Denied {
            network: network(1),
            reason: DeniedReason::Limit,
            message: String::new(),
            retry_after,
        })
    };
    tell(&mut link, denied(Some(secs(10))), now);
    assert_eq!(link.poll_timeout(), Some(now + secs(10)));
    link.handle_timeout(now + secs(10), &mut Longest);
    assert_eq!(said(&mut link), ["want"]);
    tell(&mut link, denied(None), now + secs(10));
    link.handle_timeout(now + secs(40), &mut Longest);
    assert_eq!(said(&mut link), [""; 0], "the controller says when it changes");
    link.unwant(network(1));
    assert!(link.status(now).denied.is_empty());
}

#[test]
fn no_more_devices_are_held_prepared_than_was_offered() {
    let mut link = link();
    let now = start();
    greet(&mut link, now);
    let prepare = |number| {
        ToGateway::Prepare(Prepare {
            mac: mac(number),
            ssid: "x".parse().unwrap(),
            network: network(1),
        })
    };
    for number in 1..=3 {
        tell(&mut link, prepare(number), now);
    }
    let events: Vec<_> = std::iter::from_fn(|| link.poll_event()).collect();
    assert_eq!(events.len(), 2);
    let Some(FromGateway::Prepared(refused)) = link.poll_transmit() else { panic!() };
    assert_eq!(
        (refused.mac, refused.ready, &refused.reason[..]),
        (mac(3), false, "2 devices are prepared already")
    );
    tell(&mut link, prepare(1), now);
    assert_eq!(link.poll_event(), None, "said again");
    let connected =
        Device { mac: mac(1), network: network(1), connected: true, signal: None, at_home: false };
    link.device(connected, now);
    tell(&mut link, prepare(1), now);
    assert_eq!(link.poll_event(), None, "it is here");
    tell(&mut link, prepare(3), now);
    assert!(matches!(link.poll_event(), Some(Event::Prepare { .. })), "its place is free");
}

fn open(tunnel: u64) -> OpenTunnel {
    let half =
        |session| Half { session: SessionId::new(session).unwrap(), cookie: Cookie::new([1; 8]) };
    OpenTunnel {
        tunnel: TunnelId(tunnel),
        network: network(1),
        side: Side::Home,
        peer: Peer {
            gateway: GatewayId(2),
            name: "gw-2".parse().unwrap(),
            public_key: PublicKey([2; 32]),
            preshared_key: PresharedKey::new([3; 32]),
            inner_address: [100, 64, 0, 2].into(),
            endpoints: vec![],
        },
        encryption: Encryption::Required,
        local: half(1),
        remote: half(2),
        macs: vec![],
        terms: Terms::default(),
        routers: vec![],
        legs: vec![],
    }
}

fn endpoint(address: &str, kind: EndpointKind) -> Endpoint {
    Endpoint::new(address.parse().unwrap(), kind)
}

fn report(tunnel: u64, state: TunnelState) -> TunnelReport {
    TunnelReport {
        tunnel: TunnelId(tunnel),
        state,
        reason: String::new(),
        routers: vec![],
        path_mtu: None,
    }
}

#[test]
fn a_tunnel_that_reaches_nobody_says_since_when_and_what_to_do_until_it_is_up() {
    let mut link = link();
    link.set_endpoints(vec![endpoint("[::]:4500", EndpointKind::Host)]);
    let now = start();
    greet(&mut link, now);
    tell(&mut link, ToGateway::Open(open(5)), now);
    let at = |seconds| now + Duration::from_secs(seconds);
    link.report(report(5, TunnelState::Ready), now);
    link.report(report(5, TunnelState::Unreachable), at(20));
    // Other news of the same state.
    let again = TunnelReport { path_mtu: Some(1400), ..report(5, TunnelState::Unreachable) };
    link.report(again, at(30));
    let [status] = &link.status(at(60)).tunnels[..] else { panic!("not one tunnel") };
    assert_eq!((status.state, status.state_ms), (Some(TunnelState::Unreachable), Some(40_000)));
    let repair = status.repair.as_deref().unwrap();
    assert!(repair.contains("forward UDP port 4500"), "{repair}");
    assert!(repair.contains("--anchor local"), "{repair}");
    link.report(report(5, TunnelState::Up), at(70));
    let [status] = &link.status(at(71)).tunnels[..] else { panic!("not one tunnel") };
    assert_eq!((status.state_ms, status.repair.as_deref()), (Some(1000), None));
}

#[test]
fn what_the_controller_does_not_name_is_closed_and_the_rest_is_reported_again() {
    let mut link = link();
    let now = start();
    greet(&mut link, now);
    for tunnel in [5, 6] {
        tell(&mut link, ToGateway::Open(open(tunnel)), now);
        link.report(report(tunnel, TunnelState::Up), now);
    }
    assert_eq!(said(&mut link), ["tunnel", "tunnel"]);
    link.handle_lost("it broke", now, &mut Longest);
    link.connect_now(now);
    while link.poll_event().is_some() {}
    link.handle_connected(now);
    let Some(FromGateway::Hello(hello)) = link.poll_transmit() else { panic!("no Hello") };
    assert_eq!(hello.tunnels, [open(5).held(), open(6).held()]);
    tell(&mut link, welcome(), now);
    tell(&mut link, ToGateway::Synced(vec![TunnelId(6)]), now);
    let events: Vec<_> = std::iter::from_fn(|| link.poll_event()).collect();
    assert!(matches!(events[1], Event::Close { tunnel: TunnelId(5), .. }), "{events:?}");
    assert_eq!(events[2], Event::Synced { tunnels: 1 });
    assert_eq!(said(&mut link), ["tunnel"]);
}

#[test]
fn a_device_that_is_let_go_may_be_prepared_for_before_the_agent_has_said_that_it_is_gone() {
    let mut link = link();
    let now = start();
    greet(&mut link, now);
    let mac = mac(1);
    link.device(
        Device { mac, network: network(1), connected: true, signal: None, at_home: false },
        now,
    );
    tell(&mut link, ToGateway::Evict(Evict { mac, network: network(1), sequence: 1 }), now);
    let ssid = "x".parse().unwrap();
    tell(&mut link, ToGateway::Prepare(Prepare { mac, ssid, network: network(1) }), now);
    let events: Vec<_> = std::iter::from_fn(|| link.poll_event()).collect();
    let (evict, prepare) = (&events[0], &events[1]);
    assert_eq!(evict, &Event::Evict { mac, network: network(1) });
    assert_eq!(prepare, &Event::Prepare { mac, ssid, network: network(1) });
}

#[test]
fn only_the_strongest_of_many_beacons_are_told() {
    let mut link = link();
    let now = start();
    greet(&mut link, now);
    let beacons = (0..400u16).map(|n| Neighbour {
        bssid: homeward_model::Mac::new([2, 7, 0, 0, (n >> 8) as u8, n as u8]),
        signal: Rssi(-100 + (n / 8) as i8),
    });
    link.neighbours(beacons.collect());
    let Some(FromGateway::Neighbours(told)) = link.poll_transmit() else { panic!() };
    assert_eq!((told.len(), told[0].signal), (256, Rssi(-51)));
}

#[test]
fn a_wait_of_nothing_does_not_make_the_machine_spin() {
    let settings = LinkSettings {
        retry: Duration::ZERO,
        retry_max: Duration::ZERO,
        revoked_wait: Duration::ZERO,
        connect_timeout: Duration::ZERO,
        silence: Duration::ZERO,
        offline: Duration::ZERO,
    };
    let mut link = link();
    link.set_settings(settings);
    link.handle_lost("refused", start(), &mut Longest);
    assert!(link.status(start()).retry_ms.unwrap() >= 9);
}

#[test]
fn why_two_gateways_do_not_reach_each_other_is_said_as_far_as_their_endpoints_tell() {
    use EndpointKind::{Host, Reflexive};
    let own = endpoint("[::]:4500", Host);
    let same = endpoint("198.51.100.7:4500", Reflexive);
    let other = endpoint("198.51.100.7:40001", Reflexive);
    let now = start();
    for (ours, theirs, why) in [
        (&[own][..], &[same][..], None),
        (&[own, same], &[], None),
        (&[own, same], &[same], Some("does not arrive")),
        (&[own, same, other], &[same], Some("this gateway's NAT shows each")),
        (&[own, same], &[other, same], Some("the other gateway's NAT shows each whom it sends")),
        (&[own, same, other], &[same], Some("and that of the other gateway lets nobody in")),
        (&[own, same, other], &[other, same], Some("neither can be told where to send")),
    ] {
        let mut link = link();
        link.set_endpoints(ours.to_vec());
        greet(&mut link, now);
        let mut open = open(5);
        open.peer.endpoints = theirs.to_vec();
        tell(&mut link, ToGateway::Open(open), now);
        link.report(report(5, TunnelState::Unreachable), now);
        let said = link.why_unreachable(TunnelId(5));
        assert!(said.starts_with("the other gateway answers on none of its addresses"), "{said}");
        let repair = link.status(now).tunnels[0].repair.clone().unwrap();
        assert!(repair.contains("forward UDP port 4500"), "{repair}");
        match why {
            Some(why) => assert!(said.contains(why), "{said}"),
            None => assert!(!said.contains("NAT") && repair.contains("both are behind"), "{said}"),
        }
        assert!(
            said.len() <= homeward_control::codec::limits::TEXT,
            "the controller reads it whole"
        );
    }
}

#[test]
fn a_device_is_told_what_to_do_about_a_home_that_does_not_answer() {
    let own = endpoint("100.64.0.7:40000", EndpointKind::Reflexive).by(1);
    let home = endpoint("198.51.100.7:4501", EndpointKind::Reflexive);
    let now = start();
    let mut link = link_of(vec![PublicKey([9; 32])]);
    link.set_endpoints(vec![own]);
    greet(&mut link, now);
    let mut open = open(5);
    open.peer.endpoints = vec![home];
    tell(&mut link, ToGateway::Open(open), now);
    link.report(report(5, TunnelState::Unreachable), now);
    let said = link.why_unreachable(TunnelId(5));
    assert!(said.starts_with("the home gateway answers on none of its addresses: both"), "{said}");
    let repair = link.status(now).tunnels[0].repair.clone().unwrap();
    assert!(repair.ends_with("forward UDP port 4501 to it"), "{repair}");
}
