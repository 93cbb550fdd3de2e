//! TAP interfaces and UDP sockets, in a network namespace that each test makes for itself. Needs
//! `unshare` of util-linux and `ip` of iproute2; as another user than root also user namespaces.
#![cfg(test)]

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use homeward_linux::tap::VNET_HEADER;
use homeward_linux::{
    AddressChange, AddressWatch, Error, Incoming, Links, Outgoing, Tap, TapSettings, UdpSettings,
    UdpSocket,
};
use homeward_model::Mac;

const INSIDE: &str = "HOMEWARD_TEST_NAMESPACE";
const MAC: Mac = Mac::new([2, 0, 0, 0, 0, 9]);

/// Runs a test's body in a process of its own, whose network namespace is new and empty.
fn in_namespace(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let user: &[&str] =
        if nix::unistd::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    let output = Command::new("unshare")
        .args(user)
        .args(["--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    // A name that matches no test would pass, too.
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// `ip` with these words.
fn ip(words: &str) {
    assert!(Command::new("ip").args(words.split(' ')).status().unwrap().success(), "ip {words}");
}

fn tap(name: &str) -> Result<Tap, Error> {
    Tap::open(&TapSettings { name: name.into(), mtu: 1400, mac: Some(MAC) })
}

fn socket(address: &str, dscp: u8) -> UdpSocket {
    let settings = UdpSettings {
        address: address.parse().unwrap(),
        dscp,
        mark: None,
        receive_buffer: 1 << 20,
        send_buffer: 1 << 20,
    };
    UdpSocket::open(&settings).unwrap()
}

/// Everything that arrives until `count` messages have.
fn receive(socket: &UdpSocket, count: usize) -> Vec<(Incoming, Vec<u8>)> {
    let mut all = Vec::new();
    while all.len() < count {
        let mut rooms = vec![vec![0; 65_535]; 16];
        let mut found = Vec::new();
        socket.receive(rooms.iter_mut().map(Vec::as_mut_slice), |one| found.push(one)).unwrap();
        for (one, room) in found.into_iter().zip(rooms) {
            all.push((one, room[..one.len].to_vec()));
        }
        std::thread::yield_now();
    }
    all
}

#[test]
fn a_tap_is_as_it_was_asked_for_and_goes_with_its_owner() {
    in_namespace("a_tap_is_as_it_was_asked_for_and_goes_with_its_owner", || {
        let tap = tap("tap7").unwrap();
        let mut links = Links::open().unwrap();
        let link = links.by_name("tap7").unwrap().unwrap();
        assert!(link.up);
        assert_eq!((link.mac, link.index), (Some(MAC), tap.index()));
        assert_eq!((tap.mac(), tap.mtu(), tap.name()), (MAC, 1400, "tap7"));
        tap.set_mtu(1500).unwrap();
        assert_eq!(tap.mtu(), 1500);
        assert!(tap.set_mtu(10).is_err());
        assert_eq!(tap.mtu(), 1500);
        drop(tap);
        assert_eq!(links.by_name("tap7").unwrap(), None);
    });
}

#[test]
fn a_name_that_is_taken_is_left_to_who_has_it() {
    in_namespace("a_name_that_is_taken_is_left_to_who_has_it", || {
        ip("tuntap add mode tap name kept");
        let refused = tap("kept").unwrap_err().to_string();
        assert!(refused.contains("an interface has that name"), "{refused}");
        assert!(matches!(tap("no such name"), Err(Error::Name(_))));
        let _first = tap("mine").unwrap();
        assert!(tap("mine").is_err());
    });
}

#[test]
fn frames_go_through_a_tap_both_ways() {
    in_namespace("frames_go_through_a_tap_both_ways", || {
        let tap = tap("tap7").unwrap();
        ip("address add 10.1.0.1/24 dev tap7");
        let (mut header, mut frame) = ([0; VNET_HEADER], vec![0; 65_600]);
        // The kernel looks for a neighbour, and is answered.
        let socket = std::net::UdpSocket::bind("10.1.0.1:4000").unwrap();
        socket.send_to(b"hello", "10.1.0.2:5000").unwrap();
        let mut next = |wanted: [u8; 2]| loop {
            if let Some(len) = tap.read(&mut header, &mut frame).unwrap() {
                assert_eq!(header, if wanted == [8, 6] { [0; 10] } else { header });
                if frame[12..14] == wanted {
                    return frame[..len].to_vec();
                }
            }
            std::thread::yield_now();
        };
        let question = next([8, 6]);
        assert_eq!(question[38..42], [10, 1, 0, 2]);
        let mut answer = question[6..12].to_vec();
        answer.extend([2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 2]);
        answer.extend([10, 1, 0, 2]);
        answer.extend(&question[22..32]);
        let (head, tail) = answer.split_at(20);
        let parts = [IoSlice::new(&[0; VNET_HEADER]), IoSlice::new(head), IoSlice::new(tail)];
        tap.write(&parts).unwrap();
        let datagram = next([8, 0]);
        assert_eq!(datagram[42..], *b"hello");
        ip("link set tap7 down");
        let parts = [IoSlice::new(&[0; VNET_HEADER]), IoSlice::new(&answer)];
        assert!(tap.write(&parts).is_err());
        ip("link del tap7");
        assert!(tap.read(&mut header, &mut frame).is_err());
    });
}

#[test]
fn datagrams_go_in_runs_and_come_in_runs() {
    in_namespace("datagrams_go_in_runs_and_come_in_runs", || {
        ip("link set lo up");
        for (listen, family) in
            [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "127.0.0.1")]
        {
            let (from, to) = (socket(listen, 1), socket(listen, 1));
            assert!(from.sends_runs());
            let there = SocketAddr::new(family.parse().unwrap(), to.local_address().port());
            assert!(from.reaches(there));
            let octets: Vec<u8> = (0..2500u32).map(|at| at as u8).collect();
            let (head, tail) = octets.split_at(700);
            let parts = [IoSlice::new(head), IoSlice::new(tail)];
            let own: IpAddr = family.parse().unwrap();
            let run = Outgoing {
                to: there,
                from: Some(own),
                interface: 0,
                parts: &parts,
                segment: Some(1000),
            };
            let single = [IoSlice::new(b"one")];
            let one =
                Outgoing { to: there, from: None, interface: 0, parts: &single, segment: None };
            assert_eq!(from.send(&[run, one, run]).unwrap(), 3);
            let mut all = Vec::new();
            for ((incoming, octets), len) in receive(&to, 3).into_iter().zip([2500, 3, 2500]) {
                assert_eq!(incoming.from.port(), from.local_address().port());
                assert_eq!((incoming.from.ip(), incoming.to), (own, Some(own)));
                assert_eq!(incoming.segment, (len == 2500).then_some(1000));
                assert_eq!(incoming.len, len);
                all.extend(octets);
            }
            assert_eq!(all, [&octets[..], b"one", &octets].concat());
        }
    });
}

#[test]
fn what_is_longer_than_the_link_carries_is_refused_and_not_cut_up() {
    in_namespace("what_is_longer_than_the_link_carries_is_refused_and_not_cut_up", || {
        ip("link set lo up");
        ip("link add left mtu 1500 type veth peer name right");
        ip("link set left up");
        ip("link set right up");
        ip("address add 192.0.2.1/24 dev left");
        let octets = [0; 1473];
        for listen in ["0.0.0.0:0", "[::]:0"] {
            let socket = socket(listen, 0);
            let send = |len: usize| {
                let parts = [IoSlice::new(&octets[..len])];
                let to = "192.0.2.2:9".parse().unwrap();
                socket.send(&[Outgoing {
                    to,
                    from: None,
                    interface: 0,
                    parts: &parts,
                    segment: None,
                }])
            };
            assert_eq!(send(1472).unwrap(), 1);
            assert_eq!(send(1473).unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
            socket.complaints(|one| panic!("no router has said {one:?}")).unwrap();
        }
        assert!(!socket("0.0.0.0:0", 0).reaches("[::1]:9".parse().unwrap()));
        assert!(!socket("[::1]:0", 0).reaches("127.0.0.1:9".parse().unwrap()));
    });
}

/// An ICMP message of this type and code about a datagram from `from` to `to`, with `rest` for what
/// it says.
fn icmp(kind: [u8; 2], rest: u16, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let (IpAddr::V4(source), IpAddr::V4(target)) = (from.ip(), to.ip()) else { panic!("IPv4") };
    let mut message = vec![kind[0], kind[1], 0, 0, 0, 0];
    message.extend(rest.to_be_bytes());
    message.extend([0x45, 0, 5, 0xdc, 0, 0, 0x40, 0, 64, 17, 0, 0]);
    message.extend(source.octets());
    message.extend(target.octets());
    message.extend(from.port().to_be_bytes());
    message.extend(to.port().to_be_bytes());
    message.extend([5, 0xc8, 0, 0]);
    let words = message.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

#[test]
fn what_routers_say_of_the_path_is_told_and_stops_nothing() {
    in_namespace("what_routers_say_of_the_path_is_told_and_stops_nothing", || {
        ip("link set lo up");
        let router = socket2::Socket::new(
            socket2::Domain::IPV4,
            socket2::Type::RAW,
            Some(socket2::Protocol::ICMPV4),
        )
        .unwrap();
        let there: SocketAddr = "127.0.0.1:9".parse().unwrap();
        for listen in ["127.0.0.1:0", "[::]:0"] {
            let (socket, to) = (socket(listen, 0), socket("127.0.0.1:0", 0));
            let from = SocketAddr::new(there.ip(), socket.local_address().port());
            let say = |kind, rest| {
                let message = icmp(kind, rest, from, there);
                router.send_to(&message, &SocketAddr::new(there.ip(), 0).into()).unwrap();
            };
            let heard = || {
                let mut all = Vec::new();
                socket.complaints(|one| all.push((one.to, one.mtu))).unwrap();
                all
            };
            assert_eq!(heard(), []);
            // "Fragmentation needed", twice, and "port unreachable" between them.
            say([3, 4], 1400);
            say([3, 3], 0);
            say([3, 4], 1300);
            let parts = [IoSlice::new(b"one")];
            let one = Outgoing {
                to: to.local_address(),
                from: None,
                interface: 0,
                parts: &parts,
                segment: None,
            };
            assert_eq!(socket.send(&[one]).unwrap(), 1, "it is not about this one");
            assert_eq!(receive(&to, 1)[0].1, b"one");
            assert_eq!(heard(), [(there, 1400), (there, 1300)]);
            assert_eq!(heard(), [], "once");
            // About somebody else's datagram.
            let message = icmp([3, 4], 1400, to.local_address(), there);
            router.send_to(&message, &SocketAddr::new(there.ip(), 0).into()).unwrap();
            assert_eq!(heard(), []);
        }
    });
}

#[test]
fn what_is_sent_bears_its_class() {
    in_namespace("what_is_sent_bears_its_class", || {
        ip("link set lo up");
        for listen in ["127.0.0.1:0", "[::]:0"] {
            let to = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let reader = socket2::SockRef::from(&to);
            reader.set_recv_tos_v4(true).unwrap();
            let parts = [IoSlice::new(b"one")];
            let to_address = to.local_addr().unwrap();
            let one =
                Outgoing { to: to_address, from: None, interface: 0, parts: &parts, segment: None };
            socket(listen, 8).send(&[one]).unwrap();
            let mut room = [0; 16];
            let mut control = nix::cmsg_space!(u8, u64);
            let mut rooms = [std::io::IoSliceMut::new(&mut room)];
            let message = nix::sys::socket::recvmsg::<()>(
                std::os::fd::AsRawFd::as_raw_fd(&to),
                &mut rooms,
                Some(&mut control),
                nix::sys::socket::MsgFlags::empty(),
            )
            .unwrap();
            let tos = message.cmsgs().unwrap().find_map(|control| match control {
                nix::sys::socket::ControlMessageOwned::Ipv4Tos(tos) => Some(tos),
                _ => None,
            });
            assert_eq!(tos, Some(8 << 2));
        }
    });
}

#[test]
fn addresses_that_come_and_go_are_told() {
    in_namespace("addresses_that_come_and_go_are_told", || {
        let watch = AddressWatch::open().unwrap();
        assert_eq!(watch.changes(), []);
        ip("link add left type veth peer name right");
        ip("address add 192.0.2.1/24 dev left");
        assert_eq!(watch.changes(), [AddressChange::New("192.0.2.1".parse().unwrap())]);
        ip("address del 192.0.2.1/24 dev left");
        assert_eq!(watch.changes(), [AddressChange::Gone("192.0.2.1".parse().unwrap())]);
    });
}
