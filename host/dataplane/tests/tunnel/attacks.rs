//! What strangers on the path may try.

use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use homeward_dataplane::{Event, State};
use homeward_model::Clock;

use crate::ends::{HOST, Pair, TUNNEL, tunnel, until};
use crate::space::in_namespace;

/// Whether a datagram carries data: not an echo, a handshake or a keepalive.
fn is_data(datagram: &[u8]) -> bool {
    match datagram.first() {
        Some(0) => datagram.get(16).is_some_and(|flags| flags & 0x80 == 0),
        Some(4) => datagram.len() > 160,
        _ => false,
    }
}

#[test]
fn replayed_packets_in_the_clear_are_dropped() {
    in_namespace(module_path!(), "replayed_packets_in_the_clear_are_dropped", || {
        let (pair, relay) = Pair::relayed(false);
        pair.ping("-c 3 -i 0.2 -s 200 10.9.0.2");
        let recorded = relay.seen_home(is_data);
        assert!(recorded.len() >= 3);
        // Nothing else comes meanwhile.
        pair.foreign.space.ip("link set tap down");
        let before = pair.home.status();
        recorded.iter().for_each(|datagram| relay.inject_home(datagram));
        let all = before.drops.replayed + recorded.len() as u64;
        until("replays", || pair.home.status().drops.replayed == all);
        assert_eq!(pair.home.status().received, before.received);
    });
}

#[test]
fn replayed_packets_of_wireguard_are_dropped() {
    in_namespace(module_path!(), "replayed_packets_of_wireguard_are_dropped", || {
        let (pair, relay) = Pair::relayed(true);
        pair.ping("-c 3 -i 0.2 -s 200 10.9.0.2");
        // Handshakes too.
        let recorded = relay.seen_home(|_| true);
        assert!(recorded.iter().filter(|datagram| is_data(datagram)).count() >= 3);
        let (before, strangers) = (pair.home.status(), pair.home.plane.strangers());
        recorded.iter().for_each(|datagram| relay.inject_home(datagram));
        let all = strangers.wireguard + recorded.len() as u64;
        until("replays", || pair.home.plane.strangers().wireguard >= all);
        assert_eq!(pair.home.status().received, before.received);
        pair.ping("10.9.0.2");
    });
}

#[test]
fn packets_with_a_wrong_cookie_are_dropped() {
    in_namespace(module_path!(), "packets_with_a_wrong_cookie_are_dropped", || {
        // From the beginning: what the ends say by themselves is damaged, too.
        let (pair, _relay) = Pair::relayed_closed(false, |_, relay| {
            relay.rule(|home, datagram| {
                if home && is_data(datagram) {
                    datagram[15] ^= 1;
                }
                true
            });
        });
        pair.foreign.wait_until_up();
        pair.home.wait_until_up();
        let before = pair.home.status();
        pair.foreign.space.run(|| {
            let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
            socket.send_to(b"hello", "10.9.0.2:9").unwrap();
        });
        until("a wrong cookie", || pair.home.status().drops.cookie > before.drops.cookie);
        assert_eq!(pair.home.status().received.frames, 0);
    });
}

#[test]
fn damaged_wireguard_packets_do_nothing() {
    in_namespace(module_path!(), "damaged_wireguard_packets_do_nothing", || {
        let (pair, relay) = Pair::relayed(true);
        relay.rule(|home, datagram| {
            if home {
                *datagram.last_mut().unwrap() ^= 1;
            }
            true
        });
        let (before, strangers) = (pair.home.status(), pair.home.plane.strangers());
        pair.foreign.space.run(|| {
            let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
            socket.send_to(&[0; 200], "10.9.0.2:9").unwrap();
        });
        until("a damaged packet", || pair.home.plane.strangers().wireguard > strangers.wireguard);
        assert_eq!(pair.home.status().received, before.received);
    });
}

#[test]
fn a_peer_with_another_key_is_never_there() {
    in_namespace(module_path!(), "a_peer_with_another_key_is_never_there", || {
        let pair = Pair::idle();
        // Home believes abroad to be somebody else.
        let mut config = homeward_dataplane::PeerConfig {
            public_key: [7; 32],
            preshared_key: None,
            inner_address: [10, 255, 0, 1].into(),
            endpoints: vec![crate::ends::FOREIGN.parse().unwrap()],
            access: None,
        };
        pair.home.plane.set_peer(crate::ends::PEER, config.clone()).unwrap();
        pair.foreign.open(TUNNEL, tunnel(true, true));
        pair.home.open(TUNNEL, tunnel(false, true));
        for end in [&pair.foreign, &pair.home] {
            end.wait_for("Unreachable", |event| matches!(event, Event::Unreachable { .. }));
            assert_eq!(end.status().received.frames, 0);
            assert_eq!(end.status().state, State::Unreachable);
        }
        assert!(pair.home.plane.strangers().wireguard > 0);
        // The right key, but another pre-shared one, is no better.
        config.public_key = pair.foreign.plane.public_key();
        pair.home.plane.set_peer(crate::ends::PEER, config.clone()).unwrap();
        let before = pair.foreign.plane.strangers().wireguard;
        until("a refusal", || pair.foreign.plane.strangers().wireguard > before);
        assert_eq!(pair.foreign.status().state, State::Unreachable);
        // Both right: it is found by itself.
        config.preshared_key = Some(homeward_dataplane::Key::new([9; 32]));
        pair.home.plane.set_peer(crate::ends::PEER, config).unwrap();
        for end in [&pair.foreign, &pair.home] {
            end.wait_for("Up", |event| matches!(event, Event::Up { .. }));
        }
    });
}

#[test]
fn what_belongs_inside_wireguard_is_not_taken_in_the_clear() {
    in_namespace(module_path!(), "what_belongs_inside_wireguard_is_not_taken_in_the_clear", || {
        let (pair, relay) = Pair::relayed(true);
        pair.ping("10.9.0.2");
        let session = crate::ends::session(false, 500);
        let mut datagram = vec![0, 3, 0, 0];
        datagram.extend(session.local_session.get().to_be_bytes());
        datagram.extend(session.local_cookie.expose());
        datagram.extend([0x40, 0, 0x10, 0]);
        datagram.extend(HOST.octets());
        datagram.extend(crate::ends::DEVICE.octets());
        datagram.extend([8, 6]);
        datagram.extend([0; 46]);
        let (before, strangers) = (pair.home.status(), pair.home.plane.strangers());
        relay.inject_home(&datagram);
        until("a refusal", || pair.home.plane.strangers().unknown > strangers.unknown);
        assert_eq!(pair.home.status().received, before.received);
        assert_eq!(pair.home.status().drops, before.drops);
    });
}

#[test]
fn a_peer_speaks_in_no_session_of_another_peer() {
    in_namespace(module_path!(), "a_peer_speaks_in_no_session_of_another_peer", || {
        let pair = Pair::up(true);
        pair.ping("10.9.0.2");
        // At home the session becomes somebody else's, with everything that abroad knows of it;
        // abroad keeps a session of its own.
        let other = homeward_dataplane::PeerConfig {
            public_key: [7; 32],
            preshared_key: None,
            inner_address: [10, 255, 0, 1].into(),
            endpoints: vec![],
            access: None,
        };
        pair.home.plane.set_peer(homeward_dataplane::PeerId(4), other).unwrap();
        let mut config = tunnel(false, true);
        config.peer = homeward_dataplane::PeerId(4);
        pair.home.open(TUNNEL, config);
        let mut config = tunnel(false, true);
        (config.session, config.tap) = (crate::ends::session(false, 900), "tap2".into());
        pair.home.open(homeward_dataplane::TunnelId(8), config);
        let before = pair.home.plane.strangers().unknown;
        until("a refusal", || {
            pair.foreign.space.run(|| {
                let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
                socket.send_to(&[0; 300], "10.9.0.2:9").unwrap();
            });
            pair.home.plane.strangers().unknown > before
        });
        assert_eq!(pair.home.status().received.frames, 0);
    });
}

#[test]
fn no_address_is_sent_more_than_came_from_it_before_it_is_proven_in_the_clear() {
    let name = "no_address_is_sent_more_than_came_from_it_before_it_is_proven_in_the_clear";
    in_namespace(module_path!(), name, || amplify(false));
}

#[test]
fn no_address_is_sent_more_than_came_from_it_before_it_is_proven_in_wireguard() {
    let name = "no_address_is_sent_more_than_came_from_it_before_it_is_proven_in_wireguard";
    in_namespace(module_path!(), name, || amplify(true));
}

/// Somebody on the path lets a packet of abroad arrive from the victim's address.
fn amplify(encrypted: bool) {
    let (pair, relay) = Pair::relayed(encrypted);
    pair.ping("10.9.0.2");
    let stolen: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let keep = Arc::clone(&stolen);
    relay.rule(move |home, datagram| {
        let steal = home && is_data(datagram);
        if steal {
            keep.lock().unwrap().push(datagram.clone());
        }
        !steal
    });
    pair.foreign.space.run(|| {
        let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
        socket.send_to(&[0; 300], "10.9.0.2:9").unwrap();
    });
    until("a packet", || !stolen.lock().unwrap().is_empty());
    relay.rule(|_, _| true);

    let victim = UdpSocket::bind("127.0.0.2:0").unwrap();
    let stolen = stolen.lock().unwrap()[0].clone();
    let before = pair.home.status();
    victim.send_to(&stolen, pair.home.plane.local_addresses()[0]).unwrap();
    until("the frame", || pair.home.status().received.frames > before.received.frames);

    // Home has much to send, to where abroad really is.
    pair.ping("-c 20 -i 0.05 -s 1400 10.9.0.2");
    let (mut received, mut room) = (0, [0; 65_536]);
    victim.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    while let Ok((len, _)) = victim.recv_from(&mut room) {
        received += len;
    }
    assert!(received > 0, "the address was not even challenged");
    assert!(received <= stolen.len(), "{received} octets for {}", stolen.len());
    assert_eq!(pair.home.status().endpoint, before.endpoint);
}

#[test]
fn an_end_that_never_answers_is_sent_no_more_than_it_sends_in_the_clear() {
    let name = "an_end_that_never_answers_is_sent_no_more_than_it_sends_in_the_clear";
    in_namespace(module_path!(), name, || one_way(false));
}

#[test]
fn an_end_that_never_answers_is_sent_no_more_than_it_sends_in_wireguard() {
    let name = "an_end_that_never_answers_is_sent_no_more_than_it_sends_in_wireguard";
    in_namespace(module_path!(), name, || one_way(true));
}

/// Home was told no endpoint, and hears packets whose sender hears nothing.
fn one_way(encrypted: bool) {
    let (pair, relay) = Pair::relayed_closed(encrypted, |pair, relay| {
        pair.home.knows(&pair.foreign, 1, &[]);
        relay.rule(|home, _| home);
    });
    let begun = homeward_daemon::SystemClock.now();
    // Both have much to say.
    while homeward_daemon::SystemClock.now() - begun < Duration::from_secs(3) {
        for (end, to) in [(&pair.foreign, "10.9.0.2:9"), (&pair.home, "10.9.0.1:9")] {
            end.space.run(move || {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                let _ = socket.send_to(&[0; 1000], to);
            });
        }
    }
    let seen = relay.seen.lock().unwrap();
    let (mut came, mut went) = (0, 0);
    for (home, datagram) in seen.iter() {
        *(if *home { &mut came } else { &mut went }) += datagram.len();
        assert!(went <= came, "{went} octets for {came}");
    }
    assert!(went > 0, "it did not even try");
    drop(seen);
    relay.rule(|_, _| true);
    pair.home.wait_for("Up", |event| matches!(event, Event::Up { .. }));
    pair.foreign.wait_for("Up", |event| matches!(event, Event::Up { .. }));
    pair.ping("10.9.0.2");
}

#[test]
fn octets_of_any_kind_are_survived() {
    in_namespace(module_path!(), "octets_of_any_kind_are_survived", || {
        let (pair, relay) = Pair::relayed(true);
        let mut entropy = homeward_daemon::SystemEntropy::new();
        let begun = homeward_daemon::SystemClock.now();
        let mut sent = 0;
        while homeward_daemon::SystemClock.now() - begun < Duration::from_millis(500) {
            let random: [u8; 256] = homeward_model::Entropy::octets(&mut entropy);
            let len = usize::from(random[0]);
            let mut datagram = random[1..].to_vec();
            datagram.truncate(len);
            if let [kind, a, b, c, ..] = &mut datagram[..] {
                (*kind, *a, *b, *c) = (*kind % 6, if *a < 128 { 0 } else { 3 }, 0, 0);
            }
            relay.inject_home(&datagram);
            sent += 1;
        }
        assert!(sent > 100);
        pair.ping("10.9.0.2");
    });
}
