//! A network namespace for each test, and frames to try it with.

use std::net::Ipv6Addr;
use std::process::Command;

use homeward_linux::{Frame, FrameSocket};
use homeward_model::Mac;

const INSIDE: &str = "HOMEWARD_TEST_NAMESPACE";

/// Runs a test's body in a process of its own, whose network namespace is new and empty. The
/// process is this same test binary, asked for the one test `name`, module and all.
pub(crate) fn in_namespace(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let user: &[&str] =
        if nix::unistd::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    let output = Command::new("unshare")
        .args(user)
        .args(["--net", "--"])
        .arg(std::env::current_exe().expect("a test binary"))
        .args([name, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("util-linux is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    // A name that matches no test would pass, too.
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A command line that must succeed; what it printed.
pub(crate) fn run(words: &str) -> String {
    let mut all = words.split(' ');
    let program = all.next().expect("a program");
    let done = Command::new(program).args(all).output().expect("the program is installed");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{words}: {said}{}", String::from_utf8_lossy(&done.stderr));
    said
}

/// The end of a cable that a test holds in its hand: what it sends arrives at the other end as if
/// from a wire, what the other end sends it receives.
pub(crate) struct Plug(FrameSocket);

impl Plug {
    /// A cable between `inner`, to be made part of something, and a plug.
    pub(crate) fn cable(inner: &str) -> Self {
        let outer = format!("{inner}-x");
        run(&format!("ip link add {inner} type veth peer name {outer}"));
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{outer}/disable_ipv6"), "1").unwrap();
        run(&format!("ip link set {inner} up"));
        // Or the kernel would answer there, too.
        run(&format!("ip link set {outer} up arp off"));
        Self(FrameSocket::open(&outer, 1 << 20).expect("a socket"))
    }

    pub(crate) fn send(&self, frame: &[u8]) {
        assert_eq!(self.0.send([&Frame::of(frame)]).expect("sent"), 1);
    }

    /// What is received before the frame `until`, which must come.
    pub(crate) fn receive_until(&self, until: &[u8]) -> Vec<Vec<u8>> {
        self.receive_while(|frame| frame != until)
    }

    /// What is received until a frame comes for which `go_on` is false.
    pub(crate) fn receive_while(&self, mut go_on: impl FnMut(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let mut before = Vec::new();
        let mut room = [Frame::room(65_536)];
        loop {
            match self.0.receive(&mut room).expect("received") {
                0 => std::thread::yield_now(),
                _ if go_on(room[0].octets()) => before.push(room[0].octets().to_vec()),
                _ => return before,
            }
        }
    }

    /// What is received before a marker that another port of the same bridge sends now.
    pub(crate) fn receive_after(&self, other: &Self, marker: &[u8]) -> Vec<Vec<u8>> {
        other.send(marker);
        self.receive_until(marker)
    }

    /// Whether a frame like that is received before the frame `until`, which must come.
    pub(crate) fn hears(&self, until: &[u8], like: impl Fn(&[u8]) -> bool) -> bool {
        self.receive_until(until).iter().any(|frame| like(frame))
    }
}

/// A broadcast frame that nobody answers.
pub(crate) fn marker(source: Mac, number: u8) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(source.octets());
    frame.extend([0x88, 0xb5]); // IEEE's, for experiments
    frame.resize(60, number);
    frame
}

/// An ARP request from `source`, who says its address is `own`.
pub(crate) fn arp_request(source: Mac, own: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(source.octets());
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(source.octets());
    frame.extend(own);
    frame.extend([0; 6]);
    frame.extend(target);
    frame.resize(60, 0);
    frame
}

/// Whether it is an ARP reply that says who has the address.
pub(crate) fn is_arp_reply(frame: &[u8], who: [u8; 4]) -> bool {
    frame[12..14] == [8, 6] && frame[21] == 2 && frame[28..32] == who
}

/// An IPv4 packet in a frame, with its checksum.
pub(crate) fn ipv4(
    (source, from): (Mac, [u8; 4]),
    (destination, to): (Mac, [u8; 4]),
    protocol: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend((20 + payload.len() as u16).to_be_bytes());
    header.extend([0, 1, 0, 0, 64, protocol, 0, 0]);
    header.extend(from);
    header.extend(to);
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    [&destination.octets()[..], &source.octets(), &[8, 0], &header, payload].concat()
}

/// A UDP datagram without a checksum, as IPv4 allows.
pub(crate) fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    [&source.to_be_bytes()[..], &destination.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload]
        .concat()
}

/// An EtherType, and an IPv6 packet with a UDP datagram that says nothing.
pub(crate) fn udp_v6(from: Ipv6Addr, to: Ipv6Addr, source: u16, destination: u16) -> Vec<u8> {
    let addresses = [from.octets(), to.octets()].concat();
    let mut datagram = udp(source, destination, &[]);
    let pseudo = [&addresses[..], &[0, 0, 0, 8, 0, 0, 0, 17], &datagram].concat();
    datagram[6..8].copy_from_slice(&checksum(&pseudo));
    [&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 17, 64][..], &addresses, &datagram].concat()
}

/// An ICMP echo request.
pub(crate) fn echo_request() -> Vec<u8> {
    let mut octets = vec![8, 0, 0, 0, 0, 1, 0, 1];
    let sum = checksum(&octets);
    octets[2..4].copy_from_slice(&sum);
    octets
}

/// The Internet's checksum (RFC 1071).
pub(crate) fn checksum(octets: &[u8]) -> [u8; 2] {
    let sum: u32 = octets
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    (!((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes()
}

/// What a stranger behind `port` gets of the gateway's own address: an answer to ARP; and a ping
/// in, sent to the MAC address of the bridge all the same. `other` is another port of the bridge.
pub(crate) fn reached(bridge: &str, port: &Plug, other: &Plug, gateway: [u8; 4]) -> (bool, bool) {
    const STRANGER: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac::new([2, 0, 0, 0, 0, 2]);
    let mac = mac_of(bridge);
    let own = [192, 168, 1, 50];
    // The kernel answers before the frame that comes after gets through.
    port.send(&arp_request(STRANGER, own, gateway));
    other.send(&marker(OTHER, 1));
    let arp = port.hears(&marker(OTHER, 1), |frame| is_arp_reply(frame, gateway));
    let before = pings();
    port.send(&ipv4((STRANGER, own), (mac, gateway), 1, &echo_request()));
    other.send(&marker(OTHER, 2));
    port.receive_until(&marker(OTHER, 2));
    (arp, pings() > before)
}

/// The MAC address of an interface.
pub(crate) fn mac_of(interface: &str) -> Mac {
    let link = homeward_linux::Links::open().unwrap().by_name(interface).unwrap();
    link.expect("an interface").mac.expect("a MAC address")
}

/// How many ICMP messages the kernel has taken in.
fn pings() -> u64 {
    let counters = std::fs::read_to_string("/proc/self/net/snmp").unwrap();
    let mut lines = counters.lines().filter(|line| line.starts_with("Icmp:"));
    let names = lines.next().unwrap().split_whitespace();
    let values = lines.next().unwrap().split_whitespace();
    names.zip(values).find(|(name, _)| *name == "InMsgs").unwrap().1.parse().unwrap()
}
