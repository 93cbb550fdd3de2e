//! What devices are given, and that it opens the Wi-Fi.

use std::time::Duration;

use crate::cell::{mac, request};
use crate::core::portal;

const XML: &str = "<credentialRequest xmlns=\"urn:homeward:offload:1\">";

#[test]
fn a_device_is_let_in_by_pap_ttls_and_peap_with_what_it_was_given_a_second_ago() {
    portal(|w| {
        w.attaches(1, "10.45.0.7");
        let given = w.is_given("10.45.0.7", &request(1, 1));
        assert!(given.name.ends_with("@wlan.example.net"), "{}", given.name);
        assert!(!given.name.contains("99970") && given.password.len() >= 22, "128 bits and more");
        let taken = w.lets_in_soon(&given, 1);
        assert!(taken < Duration::from_secs(1), "{taken:?}");
        for eap in ["TTLS", "PEAP"] {
            let (came_in, said) = w.logs_on(&given, 1, eap);
            assert!(came_in, "{eap}: {said}");
        }
        let policy = &given.whole["policy"];
        assert_eq!(
            (&policy["networks"][0]["ssid"], &policy["server_name"]),
            (&"Town".into(), &"aaa.example.net".into())
        );
    });
}

#[test]
fn who_asks_again_has_the_same_by_whichever_form() {
    portal(|w| {
        w.attaches(1, "10.45.0.7");
        let given = w.is_given("10.45.0.7", &request(1, 1));
        assert_eq!(w.is_given("10.45.0.7", &request(1, 1)), given);
        let imsi = crate::cell::imsi(1);
        let body = format!("{XML}<imsi>{imsi}</imsi><mac>{}</mac></credentialRequest>", mac(1));
        let said = w.asks_in("10.45.0.7", "application/xml", &body);
        assert_eq!(said.status, "HTTP/1.1 200 OK", "{said:?}");
        for element in [
            format!("<username>{}</username>", given.name),
            format!("<password>{}</password>", given.password),
        ] {
            assert!(said.body.contains(&element), "{said:?}");
        }
        assert_eq!((w.counted("issued"), w.counted("kept")), (1, 2));
        let other = w.is_given("10.45.0.7", &request(1, 2));
        assert_ne!((other.name, other.password), (given.name.clone(), given.password.clone()));
        w.refuses_soon(&given, 1);
    });
}

#[test]
fn a_device_asks_from_anywhere_within_its_prefix_of_ipv6() {
    portal(|w| {
        w.attaches(1, "fd00:45:0:7::/64");
        let port = w.portal().rsplit_once(':').unwrap().1.to_owned();
        // The portal's other listener has a port of its own.
        let listen = w.status()["portal"]["listen"].clone();
        let six = listen
            .as_array()
            .unwrap()
            .iter()
            .find_map(|l| l.as_str().filter(|l| l.starts_with('[')));
        let six = six.unwrap().to_owned();
        assert!(!six.ends_with(&port));
        let url = format!("https://{six}/offload/v1/credentials");
        let asks = |from: &str| {
            let words = ["--header", "Content-Type: application/json", "--data-raw"];
            let body = request(1, 1).to_string();
            w.curl(from, &[&words[..], &[&body, &url]].concat())
        };
        assert!(asks("fd00:45:0:7::1234").contains("\"username\""));
        assert!(asks("fd00:45:0:7:ffff::1").contains("\"username\""));
        assert_eq!(asks("fd00:45:0:8::1"), "{\"error\":\"refused\"}");
    });
}

#[test]
fn two_devices_that_swap_their_sims_have_new_credentials_and_the_old_ones_end() {
    portal(|w| {
        w.attaches(1, "10.45.0.7");
        w.attaches(2, "10.45.0.8");
        let one = w.is_given("10.45.0.7", &request(1, 1));
        let two = w.is_given("10.45.0.8", &request(2, 2));
        w.lets_in_soon(&one, 1);
        w.lets_in_soon(&two, 2);
        w.detaches(1, "10.45.0.7");
        w.detaches(2, "10.45.0.8");
        // Each device has the other's SIM, and by chance the other's address.
        w.attaches(2, "10.45.0.7");
        w.attaches(1, "10.45.0.8");
        let one_now = w.is_given("10.45.0.7", &request(2, 1));
        let two_now = w.is_given("10.45.0.8", &request(1, 2));
        w.lets_in_soon(&one_now, 1);
        w.lets_in_soon(&two_now, 2);
        assert!(!w.lets_in(&one, 1) && !w.lets_in(&two, 2), "what was before has ended");
        assert!(!w.lets_in(&one_now, 2) && !w.lets_in(&two_now, 1));
        assert_eq!(w.admin_json(&["issued", "list"]).as_array().unwrap().len(), 2);
    });
}
