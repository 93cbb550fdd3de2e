//! What needs a kernel and privileges, in a network namespace that each test makes for itself.
//! Never touches the machine's own interfaces. Needs `unshare` and `setpriv` of util-linux, and
//! `ip` of iproute2; as another user than root also user namespaces.

use std::process::Command;
use std::time::Duration;

use homeward_dot11::build;
use homeward_linux::{Error, Filter, Link, Links, PacketSocket, machine};
use homeward_model::{Mac, Rssi};

const DEVICE: Mac = Mac::new([2, 0, 0, 0, 2, 0]);
const INSIDE: &str = "HOMEWARD_TEST_NAMESPACE";

/// Runs a test's body in a process of its own, whose network namespace is new and empty. The
/// process is this same test binary, asked for the one test `name`.
fn in_namespace(name: &str, body: impl FnOnce()) {
    in_namespace_with(name, &[], body);
}

fn in_namespace_with(name: &str, wrapper: &[&str], body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let user: &[&str] =
        if nix::unistd::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    let output = Command::new("unshare")
        .args(user)
        .args(["--net", "--"])
        .args(wrapper)
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

/// `ip` with these words.
fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).status().expect("iproute2 is installed");
    assert!(done.success(), "ip {words}");
}

/// Two interfaces joined by a cable, both up.
fn cable() {
    ip("link add left type veth peer name right");
    ip("link set left up");
    ip("link set right up");
}

fn run<T>(body: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(20), body).await.expect("done in time")
    })
}

fn open(interface: &str, filter: Filter) -> PacketSocket {
    PacketSocket::open(interface, filter, 1 << 20).expect("a socket")
}

async fn next(socket: &PacketSocket) -> Vec<u8> {
    let mut room = [0; 2048];
    let received = socket.recv(&mut room).await.expect("a frame");
    assert!(received.at.is_some(), "no time of arrival");
    room[..received.len].to_vec()
}

/// A radiotap header of `len` octets without a field, then `frame`.
fn radiotap(len: u16, frame: &[u8]) -> Vec<u8> {
    let mut octets = vec![0; usize::from(len)];
    octets[2..4].copy_from_slice(&len.to_le_bytes());
    octets.extend(frame);
    octets
}

fn probe(sequence: u16) -> Vec<u8> {
    build::probe_request(DEVICE, Some(&"Home".parse().expect("an SSID")), sequence)
}

fn beacon() -> Vec<u8> {
    build::beacon(DEVICE, Some(&"Home".parse().expect("an SSID")), 0, 100, 0)
}

#[test]
fn links_know_their_kind_their_address_and_their_bridge() {
    in_namespace("links_know_their_kind_their_address_and_their_bridge", || {
        ip("link add br0 type bridge");
        ip("link add left type veth peer name right");
        ip("link set left address 02:00:00:00:00:01 master br0");
        let mut links = Links::open().unwrap();

        let bridge = links.by_name("br0").unwrap().unwrap();
        assert!(bridge.is_bridge());
        let left = links.by_name("left").unwrap().unwrap();
        assert!(!left.is_bridge());
        assert_eq!(left.kind.as_deref(), Some("veth"));
        assert_eq!(left.mac, Some(Mac::new([2, 0, 0, 0, 0, 1])));
        assert_eq!(left.master, Some(bridge.index));
        assert_eq!(links.by_index(left.index).unwrap(), Some(left));

        assert_eq!(links.bridge_of("left").unwrap(), Some(bridge));
        assert_eq!(links.bridge_of("right").unwrap(), None);

        let lo = links.by_name("lo").unwrap().unwrap();
        assert_eq!((lo.mac, lo.kind, lo.master), (None, None, None));
        let names: Vec<String> = links.all().unwrap().into_iter().map(|link| link.name).collect();
        assert!(["lo", "br0", "left", "right"].iter().all(|n| names.iter().any(|m| m == n)));
    });
}

#[test]
fn what_is_not_there_is_none_and_cannot_be_set_up() {
    in_namespace("what_is_not_there_is_none_and_cannot_be_set_up", || {
        let mut links = Links::open().unwrap();
        assert_eq!(links.by_name("wlan9").unwrap(), None);
        assert_eq!(links.by_index(999).unwrap(), None);
        assert_eq!(links.by_index(0).unwrap(), None);
        let error = links.set_up("wlan9").unwrap_err();
        assert!(matches!(error, Error::NoInterface(ref name) if name == "wlan9"), "{error}");
        assert!(links.bridge_of("wlan9").is_err());
        assert!(matches!(links.by_name("no such name").unwrap_err(), Error::Name(_)));
    });
}

#[test]
fn a_link_is_set_up_and_down_as_often_as_one_likes() {
    in_namespace("a_link_is_set_up_and_down_as_often_as_one_likes", || {
        ip("link add left type veth peer name right");
        let mut links = Links::open().unwrap();
        for up in [true, true, false, false, true] {
            if up { links.set_up("left") } else { links.set_down("left") }.unwrap();
            assert_eq!(links.by_name("left").unwrap().map(|l: Link| l.up), Some(up));
        }
        assert_eq!(links.by_name("right").unwrap().map(|l| l.up), Some(false), "another's flag");
    });
}

#[test]
fn without_capabilities_the_error_says_how_to_get_them() {
    let name = "without_capabilities_the_error_says_how_to_get_them";
    let wrapper = ["setpriv", "--bounding-set=-net_admin,-net_raw", "--"];
    in_namespace_with(name, &wrapper, || {
        let own = machine::capabilities().unwrap();
        assert!(!own.net_admin && !own.net_raw, "{own:?}");
        let refused = Links::open().unwrap().set_up("lo").unwrap_err();
        assert_eq!(refused.errno(), Some(libc::EPERM));
        assert_eq!(
            refused.to_string(),
            "cannot set up lo: run as root or grant CAP_NET_ADMIN and CAP_NET_RAW"
        );
        let refused =
            run(async { PacketSocket::open("lo", Filter::ProbeRequests, 1 << 16).unwrap_err() });
        assert!(refused.to_string().contains("packet socket on lo: run as root"), "{refused}");
    });
}

#[test]
fn root_of_a_namespace_has_the_capabilities() {
    in_namespace("root_of_a_namespace_has_the_capabilities", || {
        let own = machine::capabilities().unwrap();
        assert!(own.net_admin && own.net_raw, "{own:?}");
    });
}

#[test]
fn the_kernel_passes_on_probe_requests_behind_any_radiotap_header() {
    in_namespace("the_kernel_passes_on_probe_requests_behind_any_radiotap_header", || {
        cable();
        run(async {
            let sender = open("left", Filter::Beacons);
            let receiver = open("right", Filter::ProbeRequests);
            let data = [&[0x08, 0x02][..], &[0; 40]].concat();
            let pass = [
                radiotap(8, &probe(1)),
                build::captured(&probe(2), Rssi(-50), 2412),
                radiotap(255, &probe(3)),
                radiotap(256, &probe(4)),
                radiotap(600, &probe(5)),
                radiotap(8, &probe(6)[..24]),
            ];
            let dropped = [
                radiotap(8, &beacon()),
                radiotap(8, &data),
                // Only 256 octets in, and only 8 octets in, is there a 0x40.
                radiotap(8, &radiotap(248, &probe(7))),
                radiotap(256, &[&[0; 8][..], &probe(8)].concat()),
                radiotap(8, &probe(9)[..23]),
                radiotap(8, &[0x40; 8]),
                [&[0, 0, 0xff, 0xff, 0, 0, 0, 0][..], &probe(10)].concat(),
            ];
            for (unwanted, wanted) in dropped.iter().zip(pass.iter().cycle()) {
                sender.send(unwanted).await.unwrap();
                sender.send(wanted).await.unwrap();
                // Frames stay in order: had the unwanted one passed, it would come first.
                assert_eq!(next(&receiver).await, *wanted);
            }
            assert_eq!(receiver.try_recv(&mut [0; 64]).unwrap(), None);
            assert_eq!(receiver.drops().unwrap(), 0);
        });
    });
}

#[test]
fn other_filters_pass_beacons_or_all_management_frames() {
    in_namespace("other_filters_pass_beacons_or_all_management_frames", || {
        cable();
        run(async {
            let sender = open("left", Filter::Beacons);
            let beacons = open("right", Filter::Beacons);
            let all = open("right", Filter::Management);
            let control = [&[0xd4, 0x00][..], &[0; 40]].concat();
            let data = [&[0x48, 0x00][..], &[0; 40]].concat();
            for frame in [&control, &data, &probe(1), &beacon()] {
                sender.send(&radiotap(12, frame)).await.unwrap();
            }
            assert_eq!(next(&beacons).await, radiotap(12, &beacon()));
            assert_eq!(next(&all).await, radiotap(12, &probe(1)));
            assert_eq!(next(&all).await, radiotap(12, &beacon()));
        });
    });
}

#[test]
fn what_leaves_by_an_interface_is_not_heard_on_it() {
    in_namespace("what_leaves_by_an_interface_is_not_heard_on_it", || {
        cable();
        run(async {
            let [sender, listener] = [(); 2].map(|()| open("left", Filter::ProbeRequests));
            let right = open("right", Filter::ProbeRequests);
            sender.send(&radiotap(8, &probe(1))).await.unwrap();
            assert_eq!(next(&right).await, radiotap(8, &probe(1)));
            right.send(&radiotap(8, &probe(2))).await.unwrap();
            assert_eq!(next(&sender).await, radiotap(8, &probe(2)));
            assert_eq!(next(&listener).await, radiotap(8, &probe(2)));
        });
    });
}

#[test]
fn frames_that_find_the_buffer_full_are_counted() {
    in_namespace("frames_that_find_the_buffer_full_are_counted", || {
        cable();
        run(async {
            let sender = open("left", Filter::Beacons);
            let receiver = PacketSocket::open("right", Filter::ProbeRequests, 8192).unwrap();
            let sent = 200;
            for sequence in 0..sent {
                sender.send(&radiotap(8, &probe(sequence))).await.unwrap();
            }
            let mut received = 0;
            let mut room = [0; 2048];
            loop {
                received += u64::from(receiver.try_recv(&mut room).unwrap().is_some());
                let drops = receiver.drops().unwrap();
                if received + drops == u64::from(sent) {
                    assert!(received > 0 && drops > 0, "{received} received, {drops} dropped");
                    break;
                }
                tokio::task::yield_now().await;
            }
        });
    });
}

#[test]
fn a_socket_reports_that_its_interface_went_down_and_goes_on_when_it_is_up() {
    let name = "a_socket_reports_that_its_interface_went_down_and_goes_on_when_it_is_up";
    in_namespace(name, || {
        cable();
        run(async {
            let sender = open("left", Filter::Beacons);
            let receiver = open("right", Filter::ProbeRequests);
            let mut room = [0; 2048];
            let (error, ()) = tokio::join!(receiver.recv(&mut room), async {
                Links::open().unwrap().set_down("right").unwrap();
            });
            assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::ENETDOWN));

            Links::open().unwrap().set_up("right").unwrap();
            // The cable's other end takes a moment to see the carrier; until then it drops.
            let mut heard = None;
            while heard.is_none() {
                sender.send(&radiotap(8, &probe(2))).await.unwrap();
                tokio::task::yield_now().await;
                heard = receiver.try_recv(&mut room).unwrap();
            }
        });
    });
}

#[test]
fn a_socket_reports_that_its_interface_was_deleted() {
    in_namespace("a_socket_reports_that_its_interface_was_deleted", || {
        cable();
        run(async {
            let receiver = open("right", Filter::ProbeRequests);
            let mut room = [0; 2048];
            let (error, ()) =
                tokio::join!(receiver.recv(&mut room), async { ip("link del right") });
            assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::ENETDOWN));
            assert!(PacketSocket::open("right", Filter::Management, 1 << 16).is_err());
        });
    });
}
