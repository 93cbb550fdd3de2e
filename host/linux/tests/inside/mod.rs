//! A network namespace for each test, and frames to try it with.

use std::process::Command;

use homeward_linux::{Frame, FrameSocket};
use homeward_model::Mac;

const INSIDE: &str = "HOMEWARD_TEST_NAMESPACE";

/// Runs a test's body in a process of its own, whose network namespace is new and empty. The
/// process is this same test binary, asked for the one test `name`.
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
        let mut before = Vec::new();
        let mut room = [Frame::room(65_536)];
        loop {
            match self.0.receive(&mut room).expect("received") {
                0 => std::thread::yield_now(),
                _ if room[0].octets() == until => return before,
                _ => before.push(room[0].octets().to_vec()),
            }
        }
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
