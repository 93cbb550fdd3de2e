//! What outlives the core, and what administrators see of it all.

use serde_json::{Value, json};

use crate::cell::{imsi, mac, request};
use crate::core::portal;

#[test]
fn a_core_that_stops_or_is_killed_and_starts_again_has_lost_nothing() {
    portal(|w| {
        w.attaches(1, "10.45.0.7");
        w.attaches(2, "10.45.0.8");
        let given = w.is_given("10.45.0.7", &request(1, 1));
        w.detaches(2, "10.45.0.8");
        for killed in [false, true] {
            if killed {
                w.is_killed_and_comes_back();
            } else {
                w.stops_and_starts_again();
            }
            assert_eq!(w.status()["portal"]["bearers"]["live"], 1, "killed: {killed}");
            assert_eq!(w.is_given("10.45.0.7", &request(1, 1)), given, "killed: {killed}");
            w.lets_in_soon(&given, 1);
            assert!(w.logs_on(&given, 1, "PEAP").0);
            w.is_refused("10.45.0.8", &request(2, 2));
        }
        // What it knows from before ends as what it heard itself.
        w.detaches(1, "10.45.0.7");
        w.is_refused("10.45.0.7", &request(1, 1));
    });
}

#[test]
fn administrators_see_who_holds_what_and_who_did_what() {
    portal(|w| {
        w.attaches(1, "10.45.0.7");
        let given = w.is_given("10.45.0.7", &request(1, 1));
        let shown = w.admin_json(&["subscriber", "show", &imsi(1)]);
        let issued = &shown["issued"];
        let expected = json!([given.name, "mobile", imsi(1), mac(1), true, "10.45.0.7", "https"]);
        let found: Vec<&Value> = ["name", "account", "imsi", "mac", "bound", "address", "way"]
            .iter()
            .map(|key| &issued[key])
            .collect();
        assert_eq!(json!(found), expected);
        assert_eq!(w.admin_json(&["issued", "list"]), json!([issued]));
        assert_eq!(w.admin_json(&["issued", "show", "--mac", &mac(1)]), json!([issued]));
        let policies = w.admin_json(&["policy", "list"]);
        assert_eq!(policies[0]["scope"], "default", "{policies}");

        w.admin(&["subscriber", "set", &imsi(1), "--label", "van"]);
        w.admin(&["issued", "withdraw", "--imsi", &imsi(1)]);
        w.admin(&["policy", "clear", "--default"]);
        let trail = w.admin_json(&["audit", "--last", "3"]);
        let done: Vec<String> = trail
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| {
                let text = |key: &str| entry[key].as_str().unwrap().to_owned();
                assert!(
                    text("actor").starts_with("admin:") && entry["time"].is_string(),
                    "{entry}"
                );
                format!("{} {}", text("operation"), text("kind"))
            })
            .collect();
        assert_eq!(done, ["update subscriber", "delete issued", "delete policy"]);
        assert_eq!(
            (&trail[0]["before"]["label"], &trail[0]["after"]["label"]),
            (&json!(""), &json!("van"))
        );
        assert_eq!(trail[1]["before"]["imsi"], json!(imsi(1)));
        // Neither what it was given nor what it holds is told anywhere.
        for words in [&["issued", "list"][..], &["audit"], &["subscriber", "show", &imsi(1)]] {
            assert!(!w.admin(words).contains(&given.password), "{words:?}");
        }
    });
}

/// The core's unit, as it ships.
fn unit() -> String {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(here.join("../../packaging/systemd/homeward-core.service")).unwrap()
}

/// The portal and challenges by HTTP come to ports that only root has by itself.
#[test]
fn the_unit_that_ships_lets_a_core_that_is_not_root_have_ports_80_and_443() {
    let unit = unit();
    let says = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    assert_ne!(says("User="), "root");
    for key in ["AmbientCapabilities=", "CapabilityBoundingSet="] {
        assert_eq!(says(key), "CAP_NET_BIND_SERVICE", "{key}");
    }
}

/// The unit leaves as many descriptors as the defaults let clients take.
#[test]
fn the_unit_that_ships_allows_as_many_connections_as_the_defaults_do() {
    let unit = unit();
    let limit = unit.lines().find_map(|line| line.strip_prefix("LimitNOFILE=")).expect("a limit");
    let limit: usize = limit.parse().unwrap();
    let clients = homeward_portal::Config::default().connections
        + homeward_portal::acme::Config::default().connections
        + homeward_aaa::Config::default().radsec.connections
        + homeward_controller::Config::default().connections;
    assert!(limit > clients + 1000, "{limit} for {clients} clients and what else is open");
}
