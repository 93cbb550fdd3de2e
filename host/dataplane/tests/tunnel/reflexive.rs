//! How servers see the sockets: asked from where tunnels are, believed from whom was asked.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use homeward_dataplane::{Event, Key};
use homeward_stun::message::{request, success};
use homeward_stun::{Mapping, Message, Nat, TransactionId};

use crate::ends::{End, PATIENCE, PEER, TUNNEL, tunnel};
use crate::space::{Space, in_namespace};

const SEEN: &str = "198.51.100.7:40000";

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Who answers, when the test has it answer.
struct Server(UdpSocket);

impl Server {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("it is bound")
    }

    /// The next question, and who asked.
    fn asked(&self) -> (TransactionId, SocketAddr) {
        let mut room = [0; 100];
        let (len, from) = self.0.recv_from(&mut room).expect("it is asked");
        assert_eq!(len, 20, "a header and nothing else");
        (Message::decode(&room[..len]).expect("a request").id, from)
    }

    /// Answers the next question.
    fn answer(&self, seen: &str) {
        let (id, from) = self.asked();
        self.0.send_to(&success(id, address(seen)), from).expect("sent");
    }
}

fn mapped(end: &End) -> (SocketAddr, Option<Mapping>) {
    let (interface, server, mapping) = mapped_by(end);
    assert_eq!(interface, 0, "the routing table's choice");
    (server, mapping)
}

fn mapped_by(end: &End) -> (u32, SocketAddr, Option<Mapping>) {
    let event = end.wait_for("a mapping", |event| matches!(event, Event::Mapped { .. }));
    let Event::Mapped { interface, server, mapping } = event else { unreachable!() };
    (interface, server, mapping)
}

#[test]
fn a_server_is_asked_from_the_socket_of_the_tunnels_and_what_it_sees_is_told() {
    let name = "a_server_is_asked_from_the_socket_of_the_tunnels_and_what_it_sees_is_told";
    in_namespace(module_path!(), name, || {
        Space::loopback();
        for listen in ["127.0.0.1:0", "[::]:0"] {
            let (end, server) = (End::start_here(listen, 1), Server::start());
            assert_eq!(end.plane.reflexive()[0].nat, Nat::Unknown);
            end.plane.set_stun(&[server.address()]);
            let (id, from) = server.asked();
            let port = end.plane.local_addresses()[0].port();
            let local = SocketAddr::from(([127, 0, 0, 1], port));
            assert_eq!(from, local, "the tunnels' own");
            server.0.send_to(&success(id, from), from).expect("sent");
            let as_it_is = Mapping { local: Some(local), mapped: local };
            assert_eq!(mapped(&end), (server.address(), Some(as_it_is)));
            assert_eq!(end.plane.reflexive()[0].nat, Nat::None);

            // Named again, as after a new greeting: it is asked at once.
            end.plane.set_stun(&[server.address()]);
            server.answer(SEEN);
            let elsewhere = Mapping { local: Some(local), mapped: address(SEEN) };
            assert_eq!(mapped(&end), (server.address(), Some(elsewhere)));
            let status = &end.plane.reflexive()[0];
            assert_eq!((status.nat, status.servers[0].mapped), (Nat::Behind, Some(address(SEEN))));
            end.plane.set_stun(&[]);
            assert_eq!(mapped(&end), (server.address(), None));
        }
    });
}

#[test]
fn answers_that_nobody_asked_for_are_strangers() {
    in_namespace(module_path!(), "answers_that_nobody_asked_for_are_strangers", || {
        Space::loopback();
        let (end, server) = (End::start_here("127.0.0.1:0", 1), Server::start());
        let other = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        end.plane.set_stun(&[server.address()]);
        let (id, from) = server.asked();
        let forged = success(id, address("203.0.113.66:1"));
        let blind = success(TransactionId([0; 12]), address("203.0.113.66:1"));
        for (socket, octets) in [
            (&other, &forged[..]),
            (&server.0, &blind),
            (&server.0, &request(id)),
            (&server.0, &forged[..28]),
        ] {
            let before = end.plane.strangers().unknown;
            socket.send_to(octets, from).expect("sent");
            crate::ends::until("a stranger", || end.plane.strangers().unknown > before);
        }
        assert_eq!(end.plane.reflexive()[0].nat, Nat::Unknown);
        server.0.send_to(&success(id, address(SEEN)), from).expect("sent");
        assert_eq!(mapped(&end).1.expect("a mapping").mapped, address(SEEN));
    });
}

#[test]
fn servers_are_asked_again_when_there_is_a_tunnel_and_when_an_address_is_new() {
    let name = "servers_are_asked_again_when_there_is_a_tunnel_and_when_an_address_is_new";
    in_namespace(module_path!(), name, || {
        let (space, far) = (Space::new(), Space::new());
        space.join(&far, "out", "out");
        space.ip("address add 192.0.2.1/24 dev out");
        let end = End::start(space, "[::]:1701", 1);
        let server = end.space.run(Server::start);
        end.plane.set_stun(&[server.address()]);
        server.answer(SEEN);
        mapped(&end);
        // The next round is half a minute away.
        end.plane
            .set_peer(
                PEER,
                homeward_dataplane::PeerConfig {
                    public_key: [9; 32],
                    preshared_key: Some(Key::new([9; 32])),
                    inner_address: [10, 255, 0, 9].into(),
                    endpoints: vec![],
                    access: None,
                },
            )
            .expect("a peer");
        end.open(TUNNEL, tunnel(true, true));
        server.answer("198.51.100.8:1");
        assert_eq!(mapped(&end).1.expect("a mapping").mapped.port(), 1);
        end.space.ip("address add 192.0.2.77/24 dev out");
        server.answer("198.51.100.8:2");
        assert_eq!(mapped(&end).1.expect("a mapping").mapped.port(), 2);
        assert!(end.next_event(Duration::ZERO).is_none());
    });
}

#[test]
fn each_access_of_a_device_asks_on_its_own_and_one_that_is_not_used_does_not() {
    let name = "each_access_of_a_device_asks_on_its_own_and_one_that_is_not_used_does_not";
    in_namespace(module_path!(), name, || {
        let (space, far) = (Space::new(), Space::new());
        for (link, net) in [("wlan", 1), ("wwan", 2)] {
            space.join(&far, link, link);
            space.ip(&format!("address add 192.0.2.{net}/32 dev {link}"));
            space.ip(&format!("route add 198.51.100.1/32 dev {link} metric {net}"));
            far.ip(&format!("route add 192.0.2.{net}/32 dev {link}"));
        }
        far.ip("address add 198.51.100.1/32 dev wlan");
        let end = End::start(space, "0.0.0.0:1701", 1);
        let server = far.run(|| {
            let socket = UdpSocket::bind("198.51.100.1:3478").expect("a socket");
            socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
            Server(socket)
        });
        let index = |name: &'static str| {
            let index = end.space.run(move || homeward_linux::Links::open()?.by_name(name));
            index.expect("it can be looked up").expect("it is there").index
        };
        let (wlan, wwan) = (index("wlan"), index("wwan"));
        let reach = |number: u8, interface| {
            let config = homeward_dataplane::PeerConfig {
                public_key: [9; 32],
                preshared_key: None,
                inner_address: [10, 255, 0, 9].into(),
                endpoints: vec![],
                access: Some(homeward_dataplane::Access {
                    interface,
                    private_key: Key::new([number; 32]),
                }),
            };
            let peer = homeward_dataplane::PeerId(i64::from(number));
            end.plane.set_peer(peer, config).expect("a peer");
        };
        reach(3, wlan);
        reach(4, wwan);
        end.plane.set_stun(&[server.address()]);
        for _ in 0..2 {
            let (id, from) = server.asked();
            server.0.send_to(&success(id, from), from).expect("sent");
        }
        let mut seen = [mapped_by(&end), mapped_by(&end)];
        seen.sort_by_key(|(interface, ..)| *interface);
        for (interface, own) in [(wlan, "192.0.2.1:1701"), (wwan, "192.0.2.2:1701")] {
            let as_it_is = Mapping { local: Some(address(own)), mapped: address(own) };
            assert!(seen.contains(&(interface, server.address(), Some(as_it_is))), "{seen:?}");
        }
        // What is known by an access that is not held any more is not to be believed.
        reach(4, 0);
        assert_eq!(mapped_by(&end), (wwan, server.address(), None));
        assert_eq!(end.plane.reflexive().len(), 1);
        // Held again, it asks at once.
        reach(4, wwan);
        let (id, from) = server.asked();
        assert_eq!(from, address("192.0.2.2:1701"));
        server.0.send_to(&success(id, from), from).expect("sent");
        assert_eq!(mapped_by(&end).0, wwan);
    });
}
