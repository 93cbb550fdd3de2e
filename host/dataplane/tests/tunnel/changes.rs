//! What changes while a tunnel is there.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use homeward_daemon::SystemClock;
use homeward_dataplane::{Error, Event, PeerId, State, TunnelId};
use homeward_model::{Clock, Mac};
use homeward_port::{Device, Settings};

use crate::ends::{AT_HOME, DEVICE, FOREIGN, HOME_V4, HOST, Pair, TUNNEL, session, tunnel, until};
use crate::space::{Space, in_namespace};
use crate::stream;

#[test]
fn a_stream_outlives_the_move_of_an_end_in_the_clear() {
    in_namespace(module_path!(), "a_stream_outlives_the_move_of_an_end_in_the_clear", || {
        moves(false)
    });
}

#[test]
fn a_stream_outlives_the_move_of_an_end_in_wireguard() {
    in_namespace(module_path!(), "a_stream_outlives_the_move_of_an_end_in_wireguard", || {
        moves(true)
    });
}

fn moves(encrypted: bool) {
    let pair = Pair::up(encrypted);
    let before = pair.home.status().received.octets;
    std::thread::scope(|scope| {
        scope.spawn(|| stream::exchange(&pair, SocketAddr::new(HOME_V4, 0), 96 << 20));
        until("the stream", || pair.home.status().received.octets > before + (1 << 20));
        pair.foreign.space.ip("address del 192.0.2.1/24 dev out");
        pair.foreign.space.ip("address add 192.0.2.9/24 dev out");
        pair.home.wait_for("Moved", |event| {
            let there = SocketAddr::from(([192, 0, 2, 9], 1701));
            *event == Event::Moved { tunnel: TUNNEL, endpoint: there }
        });
    });
    assert_eq!(pair.home.status().endpoint, Some("192.0.2.9:1701".parse().unwrap()));
}

#[test]
fn a_link_narrower_than_an_ethernet_is_measured_at_once() {
    in_namespace(module_path!(), "a_link_narrower_than_an_ethernet_is_measured_at_once", || {
        for encrypted in [false, true] {
            let pair = Pair::idle();
            // As PPPoE has it.
            pair.foreign.space.ip("link set out mtu 1492");
            pair.home.space.ip("link set out mtu 1492");
            let begun = SystemClock.now();
            pair.foreign.open(TUNNEL, tunnel(true, encrypted));
            pair.home.open(TUNNEL, tunnel(false, encrypted));
            pair.address();
            for end in [&pair.foreign, &pair.home] {
                end.wait_for("the path MTU", |event| {
                    matches!(event, Event::PathMtu { mtu: 1484..=1492, .. })
                });
            }
            // Our own interface says what it does not carry: no reply has to be waited for.
            assert!(SystemClock.now() - begun < Duration::from_secs(3));
            pair.ping("-s 1472 -M do 10.9.0.2");
        }
    });
}

#[test]
fn an_idle_end_that_moves_tells_the_other() {
    in_namespace(module_path!(), "an_idle_end_that_moves_tells_the_other", || {
        for encrypted in [false, true] {
            let pair = Pair::up(encrypted);
            pair.ping("10.9.0.2");
            // Nobody has anything to say meanwhile.
            pair.foreign.space.ip("link set tap down");
            pair.home.space.ip("link set tap down");
            pair.foreign.space.ip("address del 192.0.2.1/24 dev out");
            pair.foreign.space.ip("address add 192.0.2.9/24 dev out");
            let there = SocketAddr::from(([192, 0, 2, 9], 1701));
            let moved = Event::Moved { tunnel: TUNNEL, endpoint: there };
            pair.home.wait_for("Moved", |event| *event == moved);
        }
    });
}

#[test]
fn an_end_behind_a_nat_is_found_by_what_it_sends() {
    in_namespace(module_path!(), "an_end_behind_a_nat_is_found_by_what_it_sends", || {
        for encrypted in [false, true] {
            let pair = Pair::idle();
            pair.home.knows(&pair.foreign, 1, &[]);
            pair.home.open(TUNNEL, tunnel(false, encrypted));
            pair.foreign.open(TUNNEL, tunnel(true, encrypted));
            pair.address();
            pair.home.wait_until_up();
            pair.foreign.wait_until_up();
            pair.ping("10.9.0.2");
            assert_eq!(pair.home.status().endpoint, Some(FOREIGN.parse().unwrap()));
        }
    });
}

#[test]
fn the_endpoint_that_works_is_found_among_those_that_do_not() {
    in_namespace(
        module_path!(),
        "the_endpoint_that_works_is_found_among_those_that_do_not",
        || {
            for encrypted in [false, true] {
                let pair = Pair::idle();
                let endpoints = ["192.0.2.77:1701", "[2001:db8:ffff::1]:1701", AT_HOME];
                let endpoints = endpoints.map(|at| at.parse().unwrap());
                pair.foreign.knows(&pair.home, 2, &endpoints);
                pair.home.knows(&pair.foreign, 1, &[]);
                pair.home.open(TUNNEL, tunnel(false, encrypted));
                pair.foreign.open(TUNNEL, tunnel(true, encrypted));
                pair.address();
                pair.foreign.wait_until_up();
                pair.ping("10.9.0.2");
                assert_eq!(pair.foreign.status().endpoint, Some(AT_HOME.parse().unwrap()));
            }
        },
    );
}

#[test]
fn loss_reordering_and_duplication_are_borne() {
    in_namespace(module_path!(), "loss_reordering_and_duplication_are_borne", || {
        for encrypted in [false, true] {
            let (pair, relay) = Pair::relayed(encrypted);
            let mut count = 0;
            let mut held: Option<Vec<u8>> = None;
            relay.rule(move |home, datagram| {
                count += 1;
                if home && count % 7 == 0 {
                    // This one waits for the next that does so, which goes in its place.
                    held.replace(datagram.clone()).is_some_and(|old| {
                        *datagram = old;
                        true
                    })
                } else {
                    count % 100 != 0
                }
            });
            stream::exchange(&pair, SocketAddr::new(HOME_V4, 0), 1 << 20);
            // Frames that are cut, too: each part of one may be lost.
            let mut arrived = 0;
            while arrived < 5 {
                let said = pair.foreign.space.run(|| {
                    let ping = "-n -c 20 -i 0.01 -W 1 -s 1472 10.9.0.2";
                    let output = std::process::Command::new("ping").args(ping.split(' ')).output();
                    String::from_utf8(output.unwrap().stdout).unwrap()
                });
                arrived += said.matches("bytes from").count();
            }
            drop(relay);
        }
    });
}

#[test]
fn a_change_in_place_loses_nothing() {
    in_namespace(module_path!(), "a_change_in_place_loses_nothing", || {
        let pair = Pair::up(true);
        let done = AtomicBool::new(false);
        let before = pair.home.status().drops;
        let changes = std::thread::scope(|scope| {
            let done = &done;
            let pair = &pair;
            let changes = scope.spawn(move || {
                let mut changes = 0;
                while !done.load(Ordering::Relaxed) {
                    let mut config = tunnel(false, true);
                    config.port.devices.push(Device::new(Mac::new([2, 0, 0, 0, 1, 1])));
                    config.mtu = 1500 - u32::from(changes % 2 == 0);
                    pair.home.open(TUNNEL, config.clone());
                    pair.home.plane.set_port(TUNNEL, config.port).unwrap();
                    pair.home.knows(&pair.foreign, 1, &[FOREIGN.parse().unwrap()]);
                    changes += 1;
                }
                changes
            });
            stream::exchange(pair, SocketAddr::new(HOME_V4, 0), 32 << 20);
            done.store(true, Ordering::Relaxed);
            changes.join().unwrap()
        });
        assert!(changes > 3, "{changes} changes");
        let after = pair.home.status().drops;
        assert_eq!(after.no_path, before.no_path);
        assert_eq!(pair.home.next_event(Duration::ZERO), None);
    });
}

#[test]
fn a_tunnel_closes_and_opens_again_with_the_same_interface_at_once() {
    let name = "a_tunnel_closes_and_opens_again_with_the_same_interface_at_once";
    in_namespace(module_path!(), name, || {
        let pair = Pair::up(true);
        for number in 0..20 {
            assert!(pair.home.plane.close(TUNNEL));
            assert!(!pair.home.plane.close(TUNNEL));
            assert_eq!(pair.home.plane.status(), []);
            let mut config = tunnel(false, true);
            config.session = session(false, 600 + number);
            pair.home.open(TUNNEL, config);
            let mut config = tunnel(true, true);
            config.session = session(true, 600 + number);
            // Abroad the same tunnel changes its session, and keeps its interface.
            let link = pair.foreign.space.program("ip -brief address show tap");
            pair.foreign.open(TUNNEL, config);
            assert_eq!(pair.foreign.space.program("ip -brief address show tap"), link);
        }
        pair.home.space.ip("address add 10.9.0.2/24 dev tap");
        pair.foreign.wait_until_up();
        pair.home.wait_until_up();
        pair.ping("10.9.0.2");
    });
}

#[test]
fn a_gateway_that_begins_anew_is_found_again() {
    in_namespace(module_path!(), "a_gateway_that_begins_anew_is_found_again", || {
        for encrypted in [false, true] {
            let mut pair = Pair::up(encrypted);
            pair.ping("10.9.0.2");
            pair.home.restart("[::]:1701", 2);
            let begun = SystemClock.now();
            pair.home.knows(&pair.foreign, 1, &[FOREIGN.parse().unwrap()]);
            // The control channel hands out a new session, as it must.
            for (end, foreign) in [(&pair.foreign, true), (&pair.home, false)] {
                let mut config = tunnel(foreign, encrypted);
                config.session = session(foreign, 700);
                end.open(TUNNEL, config);
            }
            pair.home.space.ip("address add 10.9.0.2/24 dev tap");
            pair.home.wait_for("Up", |event| matches!(event, Event::Up { .. }));
            pair.foreign.wait_for("Up", |event| matches!(event, Event::Up { .. }));
            pair.ping("10.9.0.2");
            // Not only when WireGuard itself begins to doubt, after 15 s.
            assert!(SystemClock.now() - begun < Duration::from_secs(10));
        }
    });
}

#[test]
fn a_silent_peer_is_unreachable_and_comes_back() {
    in_namespace(module_path!(), "a_silent_peer_is_unreachable_and_comes_back", || {
        let pair = Pair::up(true);
        pair.home.space.ip("link set out down");
        let done = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&done);
        // Somebody has to have something to say: an idle tunnel is not probed.
        pair.foreign.space.run(move || {
            std::thread::spawn(move || {
                let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let _ = socket.send_to(b"hello", "10.9.0.2:9");
                    std::thread::yield_now();
                }
            })
        });
        pair.foreign.wait_for("Unreachable", |event| matches!(event, Event::Unreachable { .. }));
        assert_eq!(pair.foreign.status().state, State::Unreachable);
        pair.home.space.ip("link set out up");
        pair.foreign.wait_for("Up", |event| matches!(event, Event::Up { .. }));
        done.store(true, Ordering::Relaxed);
        pair.ping("10.9.0.2");
    });
}

#[test]
fn an_interface_that_somebody_deletes_is_told_and_can_be_had_again() {
    let name = "an_interface_that_somebody_deletes_is_told_and_can_be_had_again";
    in_namespace(module_path!(), name, || {
        let pair = Pair::up(false);
        pair.home.space.ip("link del tap");
        pair.home.wait_for("Gone", |event| *event == Event::Gone { tunnel: TUNNEL });
        assert_eq!(pair.home.status().state, State::Gone);
        pair.home.open(TUNNEL, tunnel(false, false));
        pair.home.space.ip("address add 10.9.0.2/24 dev tap");
        // The session goes on where it was: only the interface is new.
        pair.ping("10.9.0.2");
    });
}

#[test]
fn strangers_pass_only_as_the_port_says() {
    in_namespace(module_path!(), "strangers_pass_only_as_the_port_says", || {
        let pair = Pair::up(false);
        pair.ping("10.9.0.2");
        let host = pair.home.space.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        // By broadcast: nobody has to be asked for an address first.
        let there = SocketAddr::from(([10, 9, 0, 255], host.local_addr().unwrap().port()));
        let say_from = |address: &'static str, word: &'static [u8]| {
            pair.foreign.space.run(move || {
                let socket = UdpSocket::bind(address).unwrap();
                socket.set_broadcast(true).unwrap();
                socket.send_to(word, there).unwrap();
            });
        };
        let say = |word| say_from("10.9.0.1:0", word);
        let devices = vec![Device::new(Mac::new([2, 0, 0, 0, 1, 1]))];
        let other = Settings { devices, ..Settings::default() };
        pair.home.plane.set_port(TUNNEL, other).unwrap();
        let before = pair.home.status().drops.port;
        say(b"refused");
        until("a refusal", || pair.home.status().drops.port > before);
        pair.home.plane.set_port(TUNNEL, tunnel(false, false).port).unwrap();
        say(b"admitted");
        let heard = || {
            let mut room = [0; 16];
            let (len, _) = host.recv_from(&mut room).unwrap();
            room[..len].to_vec()
        };
        assert_eq!(heard(), b"admitted");
        // Abroad too, what comes from a device that is not listed goes no further: not even home,
        // where this one would be let in.
        let mut both = tunnel(false, false).port;
        both.devices.push(Device::new(Mac::new([2, 0, 0, 0, 1, 2])));
        pair.home.plane.set_port(TUNNEL, both).unwrap();
        let before = pair.foreign.status().drops.port;
        pair.foreign.space.ip("address add 10.9.0.3/24 dev tap");
        pair.foreign.space.ip("link set tap address 02:00:00:00:01:02");
        say_from("10.9.0.3:0", b"refused");
        until("a refusal", || pair.foreign.status().drops.port > before);
        pair.foreign.space.ip("link set tap address 02:00:00:00:00:0a");
        say(b"again");
        assert_eq!(heard(), b"again");
        assert!(pair.home.plane.set_port(TunnelId(99), Settings::default()).is_err());
    });
}

#[test]
fn an_injected_frame_comes_out_of_the_interface() {
    in_namespace(module_path!(), "an_injected_frame_comes_out_of_the_interface", || {
        let pair = Pair::up(false);
        // An ARP reply that nobody asked for: the kernel learns from it.
        let neighbour = [2, 0, 0, 0, 0, 0x77];
        pair.foreign.space.program("sysctl -qw net.ipv4.conf.tap.arp_accept=1");
        let mut frame = vec![0xff; 6];
        frame.extend(neighbour);
        frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
        frame.extend(neighbour);
        frame.extend([10, 9, 0, 77]);
        frame.extend(neighbour);
        frame.extend([10, 9, 0, 77]);
        pair.foreign.plane.inject(TUNNEL, &frame).unwrap();
        let table = pair.foreign.space.program("ip neighbour show dev tap");
        assert!(table.contains("10.9.0.77 lladdr 02:00:00:00:00:77"), "{table}");
        assert!(pair.foreign.plane.inject(TunnelId(99), &frame).is_err());
    });
}

#[test]
fn what_cannot_be_is_refused_and_leaves_everything_as_it_was() {
    in_namespace(
        module_path!(),
        "what_cannot_be_is_refused_and_leaves_everything_as_it_was",
        || {
            let pair = Pair::up(true);
            let open = |id: u64, change: fn(&mut homeward_dataplane::TunnelConfig)| {
                let mut config = tunnel(false, true);
                change(&mut config);
                let plane = Arc::clone(&pair.home.plane);
                pair.home.space.run(move || plane.open(TunnelId(id), config)).unwrap_err()
            };
            let nobody = open(TUNNEL.0, |config| config.peer = PeerId(99));
            assert!(matches!(nobody, Error::UnknownPeer { .. }), "{nobody}");
            let taken = open(8, |config| config.tap = "other".into());
            assert!(matches!(taken, Error::SessionTaken { holder: TUNNEL, .. }), "{taken}");
            let named = open(8, |config| config.session = session(false, 900));
            assert!(matches!(named, Error::Tap { .. }), "{named}");
            assert!(
                open(TUNNEL.0, |config| config.tap = "lo".into()).to_string().contains("tunnel 7")
            );
            assert!(matches!(open(TUNNEL.0, |config| config.mtu = 10), Error::Tap { .. }));
            let same_key = homeward_dataplane::PeerConfig {
                public_key: pair.foreign.plane.public_key(),
                preshared_key: None,
                inner_address: [10, 255, 0, 9].into(),
                endpoints: vec![],
                access: None,
            };
            let refused = pair.home.plane.set_peer(PeerId(99), same_key).unwrap_err();
            assert!(matches!(refused, Error::KeyTaken { .. }), "{refused}");
            pair.ping("10.9.0.2");
        },
    );
}

#[test]
fn a_data_plane_that_stopped_leaves_nothing_behind() {
    in_namespace(module_path!(), "a_data_plane_that_stopped_leaves_nothing_behind", || {
        let pair = Pair::up(true);
        let name = pair.home.space.program("ip -brief link show tap");
        assert!(name.starts_with("tap"));
        pair.home.plane.stop();
        pair.home.plane.stop();
        assert!(!pair.home.space.program("ip -brief link").contains("tap"));
        let plane = Arc::clone(&pair.home.plane);
        let refused = pair.home.space.run(move || plane.open(TUNNEL, tunnel(false, true)));
        assert!(matches!(refused, Err(Error::Stopped)));
        // A peer that goes takes its tunnels along.
        pair.foreign.plane.remove_peer(crate::ends::PEER);
        assert_eq!(pair.foreign.plane.status(), []);
        assert!(!pair.foreign.space.program("ip -brief link").contains("tap"));
    });
}

#[test]
fn tunnels_to_one_peer_are_kept_apart() {
    in_namespace(module_path!(), "tunnels_to_one_peer_are_kept_apart", || {
        let pair = Pair::up(true);
        for (end, foreign) in [(&pair.foreign, true), (&pair.home, false)] {
            let mut config = tunnel(foreign, false);
            config.session = session(foreign, 800);
            config.tap = "tap2".into();
            config.mac = Some(if foreign { DEVICE } else { HOST });
            end.open(TunnelId(8), config);
            let host = if foreign { 1 } else { 2 };
            end.space.ip(&format!("address add 10.8.0.{host}/24 dev tap2"));
        }
        let up = |event: &Event| matches!(event, Event::Up { tunnel: TunnelId(8) });
        pair.home.wait_for("Up", up);
        pair.foreign.wait_for("Up", up);
        // One more of a kind that is there already is up at once, and is told so.
        for (end, foreign) in [(&pair.foreign, true), (&pair.home, false)] {
            let mut config = tunnel(foreign, true);
            (config.session, config.tap) = (session(foreign, 810), "tap3".into());
            end.open(TunnelId(9), config);
            end.wait_for("Up", |event| matches!(event, Event::Up { tunnel: TunnelId(9) }));
        }
        let frames = |tunnel: usize| pair.home.plane.status()[tunnel].received.frames;
        let before = frames(0);
        pair.ping("-I tap2 10.8.0.2");
        assert!(frames(1) > 0);
        pair.ping("10.9.0.2");
        assert!(frames(0) > before);
        assert!(pair.home.plane.close(TunnelId(8)));
        pair.ping("10.9.0.2");
    });
}

#[test]
fn an_address_that_is_taken_is_named() {
    in_namespace(module_path!(), "an_address_that_is_taken_is_named", || {
        Space::loopback();
        let _taken = UdpSocket::bind("127.0.0.1:1701").unwrap();
        let listen = vec!["127.0.0.1:1701".parse().unwrap()];
        let key = homeward_dataplane::Key::new([1; 32]);
        let config = homeward_dataplane::Config { listen, ..homeward_dataplane::Config::new(key) };
        let (clock, entropy) = (SystemClock, homeward_daemon::SystemEntropy::new());
        let refused = homeward_dataplane::Dataplane::start(config, clock, entropy, |_| {});
        assert!(refused.unwrap_err().to_string().contains("cannot listen on UDP 127.0.0.1:1701"));
    });
}
