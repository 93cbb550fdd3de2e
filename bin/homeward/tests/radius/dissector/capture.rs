//! Datagrams, written to a file as if they had been captured, and what tshark says of them.

use std::fs;
use std::net::{SocketAddr, SocketAddrV4};
use std::process::Command;

/// Magic number and version of the classic format, snap length and link type (raw IPv4).
const HEADER: [u32; 6] = [0xa1b2_c3d4, 0x0002_0004, 0, 0, 65_535, 228];

/// A capture.
#[derive(Debug, Clone, Default)]
pub(crate) struct Capture {
    packets: Vec<Vec<u8>>,
    /// The servers' ports, which say nothing to Wireshark.
    ports: Vec<u16>,
}

/// What the dissector makes of it.
pub(crate) struct Judged {
    /// How many packets it knows as RADIUS.
    pub(crate) radius: usize,
    /// How many have an authenticator that is a digest, and right.
    pub(crate) proven: usize,
    /// A line each.
    pub(crate) complaints: Vec<String>,
}

impl Capture {
    /// Adds a datagram.
    pub(crate) fn add(&mut self, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        self.ports.extend([from.port(), to.port()]);
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else { panic!("IPv4 only") };
        self.packets.push(datagram(from, to, payload));
    }

    /// Puts another in the last one's place.
    pub(crate) fn replace_last(&mut self, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        self.packets.pop();
        self.add(from, to, payload);
    }

    /// What was in the last datagram.
    pub(crate) fn last(&self) -> &[u8] {
        &self.packets.last().unwrap()[HEADERS..]
    }

    pub(crate) fn packets(&self) -> usize {
        self.packets.len()
    }

    /// Has tshark look at it, with the secret: so it checks authenticators, too.
    pub(crate) fn judge(&self, secret: &str) -> Judged {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("radius.pcap");
        let mut octets: Vec<u8> = HEADER.iter().flat_map(|word| word.to_be_bytes()).collect();
        for (n, packet) in (0u32..).zip(&self.packets) {
            let length = u32::try_from(packet.len()).unwrap();
            // A millisecond each.
            for word in [n / 1000, n % 1000 * 1000, length, length] {
                octets.extend(word.to_be_bytes());
            }
            octets.extend(packet);
        }
        fs::write(&file, octets).unwrap();
        let mut tshark = Command::new("tshark");
        tshark.arg("-r").arg(&file).args(["-n", "-o", &format!("radius.shared_secret:{secret}")]);
        tshark.args(["-o", "radius.validate_authenticator:TRUE"]);
        // Where nothing says what a port is for, RADIUS is.
        let mut ports = self.ports.clone();
        ports.sort_unstable();
        ports.dedup();
        for port in ports {
            tshark.args(["-d", &format!("udp.port=={port},radius")]);
        }
        tshark.args(["-T", "fields", "-E", "separator=|", "-E", "occurrence=a"]);
        for field in FIELDS {
            tshark.args(["-e", field]);
        }
        let output = tshark.output().expect("tshark is missing: `make setup` installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        let mut judged = Judged { radius: 0, proven: 0, complaints: Vec::new() };
        for line in said.lines() {
            let fields: Vec<&str> = line.split('|').collect();
            let [protocols, malformed, severity, message, valid] = fields[..] else {
                panic!("{line}")
            };
            // Of a request to let in there is nothing to check.
            judged.proven += usize::from(["1", "True"].contains(&valid));
            judged.radius += usize::from(protocols.split(':').any(|word| word == "radius"));
            let grave = severity
                .split(',')
                .any(|severity| severity.parse().is_ok_and(|severity: u32| severity >= WARNING));
            if !malformed.is_empty() || grave || protocols.contains("malformed") {
                judged.complaints.push(format!("{protocols}: {malformed} {message}"));
            }
        }
        judged
    }
}

const FIELDS: [&str; 5] = [
    "frame.protocols",
    "_ws.malformed",
    "_ws.expert.severity",
    "_ws.expert.message",
    "radius.authenticator.valid",
];

/// Wireshark's PI_WARN; an error is higher.
const WARNING: u32 = 0x0060_0000;

/// Octets before the payload.
const HEADERS: usize = 28;

/// An IPv4 packet with a UDP datagram in it. Neither has a checksum: zero is "none" in UDP, and
/// tshark does not look at IPv4's unless told to.
fn datagram(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend((20 + length).to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    for word in [from.port(), to.port(), length, 0] {
        packet.extend(word.to_be_bytes());
    }
    packet.extend(payload);
    packet
}
