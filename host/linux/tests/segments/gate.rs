//! A service that is closed to all but who is let through.
//!
//! ```text
//!   phone (192.0.2.7, 2001:db8::7) ──── dock ── this machine, which has the service ── back ── behind
//!                                       192.0.2.10, 2001:db8::10           198.51.100.1   198.51.100.9
//! ```
//!
//! The phone's end and the one behind are network namespaces of their own.

use std::net::UdpSocket;
use std::time::Duration;

use homeward_linux::gate::{Change, Gate, TABLE};

use crate::inside::{in_namespace, run};

const LONG: Duration = Duration::from_secs(600);

/// Another namespace, at the end of a cable; until it is dropped, a process is in it.
struct Other(std::process::Child);

impl Other {
    fn at(cable: &str, addresses: &[&str], way: &str) -> Self {
        let child = std::process::Command::new("unshare")
            .args(["--net", "--", "sh", "-c", "echo; exec cat"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut this = Self(child);
        let mut line = [0; 1];
        // It says so once it is in there.
        std::io::Read::read_exact(this.0.stdout.as_mut().unwrap(), &mut line).unwrap();
        run(&format!("ip link add {cable} type veth peer name {cable}-x netns {}", this.0.id()));
        run(&format!("ip link set {cable} up"));
        this.run(&format!("ip link set {cable}-x up"));
        this.run("ip link set lo up");
        for address in addresses {
            let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
            let mut words = vec!["ip", "addr", "add", address, "dev"];
            let end = format!("{cable}-x");
            words.push(&end);
            words.extend(nodad);
            this.run(&words.join(" "));
        }
        for way in way.split(", ") {
            this.run(&format!("ip route add {way}"));
        }
        this
    }

    fn command(&self, words: &str) -> std::process::Command {
        let mut command = std::process::Command::new("nsenter");
        let pid = self.0.id().to_string();
        command.args(["--net", "--target", &pid, "--"]).args(words.split(' '));
        command
    }

    fn run(&self, words: &str) {
        assert!(self.command(words).status().unwrap().success(), "{words}");
    }

    /// Sends a datagram from a port to somewhere.
    fn sends(&self, what: &str, from: u16, to: &str) {
        let family = if to.contains('[') { "AF_INET6" } else { "AF_INET" };
        let (host, port) = to.rsplit_once(':').unwrap();
        let host = host.trim_matches(['[', ']']);
        let script = format!(
            "import socket; s=socket.socket(socket.{family},socket.SOCK_DGRAM); \
             s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1); \
             s.bind(('',{from})); s.sendto(b'{what}',('{host}',{port}))"
        );
        let mut command = self.command("python3 -c");
        assert!(command.arg(script).status().unwrap().success());
    }
}

/// A program that ends with its test.
struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The machine, and a phone.
fn phone() -> Other {
    let phone = Other::at(
        "dock",
        &["192.0.2.7/24", "2001:db8::7/64"],
        "198.51.100.0/24 via 192.0.2.10 dev dock-x onlink",
    );
    run("ip link set lo up");
    run("ip addr add 192.0.2.10/24 dev dock");
    run("ip addr add 2001:db8::10/64 dev dock nodad");
    phone
}

fn gate(services: &[&str]) -> Gate {
    let services = services.iter().map(|text| text.parse().unwrap()).collect();
    Gate::new(services, vec!["127.0.0.0/8".parse().unwrap()])
}

/// What comes in, up to what is sent last by who is let through always.
struct Service(UdpSocket);

impl Service {
    fn at(at: &str) -> Self {
        let socket = UdpSocket::bind(at).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self(socket)
    }

    fn next(&self) -> String {
        let mut room = [0; 100];
        let (length, _) = self.0.recv_from(&mut room).unwrap();
        String::from_utf8_lossy(&room[..length]).into_owned()
    }
}

#[test]
fn a_service_is_closed_to_all_but_who_is_let_through_and_both_ways() {
    let name = "gate::a_service_is_closed_to_all_but_who_is_let_through_and_both_ways";
    in_namespace(name, || {
        let phone = phone();
        let service = Service::at("[::]:7000");
        let gate = gate(&["udp 7000-7009", "tcp 7000"]);
        assert!(gate.can().unwrap() && !gate.stands().unwrap());
        phone.sends("open", 5004, "192.0.2.10:7000");
        assert_eq!(service.next(), "open");
        gate.close(&[]).unwrap();
        assert!(gate.stands().unwrap());
        phone.sends("shut", 5004, "192.0.2.10:7000");
        phone.sends("shut", 5004, "[2001:db8::10]:7000");
        let port = "udp 192.0.2.7:5004".parse().unwrap();
        gate.change(&[Change::Let(port, LONG)]).unwrap();
        phone.sends("other port", 5005, "192.0.2.10:7000");
        phone.sends("port", 5004, "192.0.2.10:7000");
        assert_eq!(service.next(), "port");
        let six = "udp [2001:db8::7]:5004".parse().unwrap();
        let whole = "udp 2001:db8::7".parse().unwrap();
        let tcp = "tcp 192.0.2.7".parse().unwrap();
        let changes = [Change::Let(six, LONG), Change::Let(tcp, LONG), Change::Shut(port)];
        gate.change(&changes).unwrap();
        phone.sends("TCP is another thing", 5004, "192.0.2.10:7000");
        phone.sends("six", 5004, "[2001:db8::10]:7000");
        assert_eq!(service.next(), "six");
        gate.change(&[Change::Let(whole, LONG)]).unwrap();
        phone.sends("any port", 5006, "[2001:db8::10]:7000");
        assert_eq!(service.next(), "any port");
        // Nothing goes back to who is let through no more.
        let back = |to: &str| service.0.send_to(b"back", to).map_err(|e| e.kind());
        back("[2001:db8::7]:5004").unwrap();
        gate.change(&[Change::Shut(six), Change::Shut(whole), Change::Shut(whole)]).unwrap();
        assert_eq!(back("[2001:db8::7]:5004"), Err(std::io::ErrorKind::PermissionDenied));
        phone.sends("shut", 5006, "[2001:db8::10]:7000");
        // This machine is not its own stranger, and what is no service is open.
        let own = UdpSocket::bind("127.0.0.1:0").unwrap();
        own.send_to(b"own", "127.0.0.1:7000").unwrap();
        assert_eq!(service.next(), "own");
        let elsewhere = Service::at("[::]:7010");
        phone.sends("elsewhere", 5004, "192.0.2.10:7010");
        assert_eq!(elsewhere.next(), "elsewhere");
        gate.open().unwrap();
        assert!(!gate.stands().unwrap());
        phone.sends("open", 5004, "192.0.2.10:7000");
        assert_eq!(service.next(), "open");
    });
}

#[test]
fn who_is_let_through_for_a_time_is_forgotten_by_the_kernel_and_a_longer_time_counts() {
    let name =
        "gate::who_is_let_through_for_a_time_is_forgotten_by_the_kernel_and_a_longer_time_counts";
    in_namespace(name, || {
        let gate = gate(&["tcp 443"]);
        let (one, two) = ("udp 192.0.2.7".parse().unwrap(), "udp 192.0.2.8".parse().unwrap());
        let short = Duration::from_millis(1);
        gate.close(&[(one, short), (two, short)]).unwrap();
        gate.change(&[Change::Let(two, LONG)]).unwrap();
        let listed = || run(&format!("nft list set inet {TABLE} address4"));
        let began = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
        while listed().contains("192.0.2.7") {
            let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
            assert!(now.tv_sec() - began.tv_sec() < 20, "{}", listed());
        }
        assert!(listed().contains("udp . 192.0.2.8 timeout 10m"), "{}", listed());
        gate.close(&[(one, LONG)]).unwrap();
        assert!(!listed().contains("192.0.2.8"), "what was said before is forgotten");
    });
}

#[test]
fn what_is_behind_this_machine_is_closed_too_and_a_flushed_gate_is_noticed() {
    let name = "gate::what_is_behind_this_machine_is_closed_too_and_a_flushed_gate_is_noticed";
    in_namespace(name, || {
        let phone = phone();
        let behind = Other::at(
            "back",
            &["198.51.100.9/24"],
            "192.0.2.0/24 via 198.51.100.1 dev back-x onlink",
        );
        run("ip addr add 198.51.100.1/24 dev back");
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let pings = || phone.command("ping -c 1 -W 5 198.51.100.9").output().unwrap();
        assert!(pings().status.success());
        // Who answers what comes to it by TCP.
        let script = "import socket\ns=socket.create_server(('198.51.100.9',5060))\nprint(flush=True)\n\
                      while True:\n c,_=s.accept(); c.sendall(b'hi'); c.close()";
        let mut server = behind.command("python3 -c");
        let server = server.arg(script).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut server = Server(server);
        std::io::Read::read_exact(server.0.stdout.as_mut().unwrap(), &mut [0; 1]).unwrap();
        let reached = || {
            let script = "import socket; s=socket.create_connection(('198.51.100.9',5060),0.5); \
                          assert s.recv(9)==b'hi'";
            phone
                .command("python3 -c")
                .arg(script)
                .stderr(std::process::Stdio::null())
                .status()
                .unwrap()
                .success()
        };
        assert!(reached());
        let gate = gate(&["tcp 198.51.100.9:5060"]);
        gate.close(&[]).unwrap();
        assert!(!reached());
        let turned_back = run(&format!("nft list chain inet {TABLE} to_service"));
        assert!(!turned_back.contains("counter packets 0"), "it is its call that is stopped");
        assert!(pings().status.success());
        let phone_is = "tcp 192.0.2.7".parse().unwrap();
        gate.change(&[Change::Let(phone_is, LONG)]).unwrap();
        assert!(reached());
        run("nft flush ruleset");
        assert!(!gate.stands().unwrap());
        assert!(gate.change(&[Change::Shut(phone_is)]).is_err());
        gate.close(&[]).unwrap();
        assert!(!reached());
    });
}
