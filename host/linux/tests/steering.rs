//! Two ways out of a machine, in a network namespace that each test makes for itself.
//!
//! ```text
//!   wifi0 192.0.2.2/24 ──── 192.0.2.1      cell0 198.51.100.2/24 ──── 198.51.100.1
//!         2001:db8:1::2 ─── 2001:db8:1::1
//! ```

use std::process::Command;

use homeward_linux::{DefaultRoutes, Error, Steering, WayOut};

const INSIDE: &str = "HOMEWARD_TEST_NAMESPACE";

fn in_namespace(name: &str, body: impl FnOnce()) {
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
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn ip(words: &str) -> String {
    let done = Command::new("ip").args(words.split(' ')).output().expect("iproute2 is installed");
    assert!(done.status.success(), "ip {words}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// By which interface a packet leaves; `None`: by none.
fn leaves(words: &str) -> Option<String> {
    let words = format!("route get {words}");
    let done = Command::new("ip").args(words.split(' ')).output().expect("iproute2 is installed");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let (_, after) = said.split_once(" dev ").filter(|_| done.status.success())?;
    (!said.starts_with("unreachable")).then(|| after.split(' ').next().expect("a name").to_owned())
}

fn two_ways() {
    ip("link set lo up");
    for (name, address) in [("wifi0", "192.0.2.2/24"), ("cell0", "198.51.100.2/24")] {
        ip(&format!("link add {name} type veth peer name {name}-x"));
        ip(&format!("link set {name}-x up"));
        ip(&format!("link set {name} up"));
        ip(&format!("address add {address} dev {name}"));
    }
    // What a DHCP client makes of it: Wi-Fi is better.
    ip("route add default via 192.0.2.1 dev wifi0 metric 10");
    ip("route add default via 198.51.100.1 dev cell0 metric 20");
    ip("-6 address add 2001:db8:1::2/64 dev wifi0 nodad");
    ip("-6 route add default via 2001:db8:1::1 dev wifi0 metric 10");
}

const FAR: &str = "203.0.113.9";
const FAR_6: &str = "2001:db8:ffff::9";

#[test]
fn new_connections_go_where_they_should_and_old_ones_stay_where_they_began() {
    in_namespace("new_connections_go_where_they_should_and_old_ones_stay_where_they_began", || {
        two_ways();
        let before = (ip("rule"), ip("-6 rule"), ip("route"), ip("-6 route"));
        let mut steering = Steering::open(20_000, 20_000).unwrap();
        for (wifi, by, by_6) in [
            (false, "cell0", None),
            (true, "wifi0", Some("wifi0")),
            (false, "cell0", None),
            (false, "cell0", None),
        ] {
            steering.steer("wifi0", Some("cell0"), wifi).unwrap();
            assert_eq!(leaves(FAR).as_deref(), Some(by));
            assert_eq!(leaves(FAR_6).as_deref(), by_6, "cellular has no IPv6");
            let old = |from: &str| leaves(&format!("{FAR} from {from}"));
            assert_eq!(old("192.0.2.2").as_deref(), Some("wifi0"));
            assert_eq!(old("198.51.100.2").as_deref(), Some("cell0"));
            let old_6 = leaves(&format!("{FAR_6} from 2001:db8:1::2"));
            assert_eq!(old_6.as_deref(), Some("wifi0"));
            assert_eq!(leaves("192.0.2.7").as_deref(), Some("wifi0"), "on its link");
            assert_eq!(leaves(&format!("{FAR} oif wifi0")).as_deref(), Some("wifi0"));
        }
        assert_eq!(ip("route show table 20002").lines().count(), 1, "replaced, not added");
        assert!(steering.remove().unwrap());
        assert!(!steering.remove().unwrap());
        assert_eq!((ip("rule"), ip("-6 rule"), ip("route"), ip("-6 route")), before);
    });
}

#[test]
fn a_cable_wins_over_both() {
    in_namespace("a_cable_wins_over_both", || {
        two_ways();
        ip("link add cable0 type veth peer name cable0-x");
        ip("link set cable0-x up");
        ip("link set cable0 up");
        ip("address add 10.9.0.2/24 dev cable0");
        ip("route add default via 10.9.0.1 dev cable0 metric 5");
        let mut steering = Steering::open(20_000, 20_000).unwrap();
        for wifi in [false, true] {
            steering.steer("wifi0", Some("cell0"), wifi).unwrap();
            assert_eq!(leaves(FAR).as_deref(), Some("cable0"));
        }
        // One that is worse than both is not asked.
        ip("route delete default dev cable0");
        ip("route add default via 10.9.0.1 dev cable0 metric 500");
        steering.steer("wifi0", Some("cell0"), false).unwrap();
        assert_eq!(leaves(FAR).as_deref(), Some("cell0"));
        ip("link delete cable0");
        steering.steer("wifi0", Some("cell0"), false).unwrap();
        assert_eq!(leaves(FAR).as_deref(), Some("cell0"));
    });
}

#[test]
fn without_the_chosen_way_connections_fail_rather_than_go_by_the_other() {
    in_namespace("without_the_chosen_way_connections_fail_rather_than_go_by_the_other", || {
        two_ways();
        ip("route delete default dev cell0");
        let mut steering = Steering::open(20_000, 20_000).unwrap();
        for cellular in [None, Some("cell0")] {
            steering.steer("wifi0", cellular, false).unwrap();
            assert_eq!(leaves(FAR), None);
            assert_eq!(leaves("192.0.2.7").as_deref(), Some("wifi0"));
        }
        ip("route add default via 198.51.100.1 dev cell0 metric 20");
        steering.steer("wifi9", Some("cell0"), false).unwrap();
        assert_eq!(leaves(FAR).as_deref(), Some("wifi0"), "which is a third then");
        // Addresses and interfaces that have gone are no longer in any rule.
        ip("link delete wifi0");
        steering.steer("wifi0", Some("cell0"), true).unwrap();
        assert!(!ip("rule").contains("192.0.2.2"), "{}", ip("rule"));
        assert_eq!(leaves(FAR), None);
        steering.steer("wifi0", Some("cell0"), false).unwrap();
        assert_eq!(leaves(FAR).as_deref(), Some("cell0"));
    });
}

#[test]
fn a_bearer_without_neighbours_needs_no_default_route_of_its_own() {
    in_namespace("a_bearer_without_neighbours_needs_no_default_route_of_its_own", || {
        two_ways();
        ip("link delete cell0");
        ip("tuntap add dev ue0 mode tun");
        ip("link set ue0 up");
        ip("address add 10.45.0.2/32 dev ue0");
        let mut steering = Steering::open(20_000, 20_000).unwrap();
        steering.steer("wifi0", Some("ue0"), false).unwrap();
        assert_eq!(leaves(FAR).as_deref(), Some("ue0"));
        let old = leaves(&format!("{FAR} from 10.45.0.2"));
        assert_eq!(old.as_deref(), Some("ue0"));
    });
}

#[test]
fn what_a_killed_run_left_is_found_and_removed_and_nothing_else() {
    in_namespace("what_a_killed_run_left_is_found_and_removed_and_nothing_else", || {
        two_ways();
        ip("rule add priority 19000 from 192.0.2.99 lookup 100");
        ip("route add default via 192.0.2.1 dev wifi0 table 20000 metric 99");
        Steering::open(20_000, 20_000).unwrap().steer("wifi0", Some("cell0"), true).unwrap();
        assert!(Steering::open(20_000, 20_000).unwrap().remove().unwrap());
        assert!(ip("rule").contains("192.0.2.99"));
        assert_eq!(ip("rule").lines().count(), 4);
        assert!(ip("route show table 20000").contains("metric 99"));
    });
}

#[test]
fn an_interface_leads_out_where_the_system_has_a_default_route_by_it_and_ours_do_not_count() {
    let name =
        "an_interface_leads_out_where_the_system_has_a_default_route_by_it_and_ours_do_not_count";
    in_namespace(name, || {
        two_ways();
        let by = |interface: &str| DefaultRoutes::open().unwrap().by(interface);
        let way = |router: &str| {
            let router = router.parse::<std::net::IpAddr>().unwrap();
            WayOut { ipv6: router.is_ipv6(), router: Some(router) }
        };
        let mut steering = Steering::open(20_000, 20_000).unwrap();
        steering.steer("wifi0", Some("cell0"), true).unwrap();
        assert_eq!(by("wifi0").unwrap(), [way("192.0.2.1"), way("2001:db8:1::1")]);
        assert_eq!(by("cell0").unwrap(), [way("198.51.100.1")]);
        ip("route delete default dev wifi0");
        assert_eq!(by("wifi0").unwrap(), [way("2001:db8:1::1")]);
        ip("route add default dev wifi0");
        assert_eq!(by("wifi0").unwrap()[0], WayOut { ipv6: false, router: None });
        assert!(matches!(by("wifi9"), Err(Error::NoInterface(_))));
        steering.remove().unwrap();
    });
}
