//! What becomes of a credential: by whom it is used, how often, and until when.

use crate::cell::{imsi, mac, request};
use crate::core::{portal, portal_with, soon};
use crate::nas::COA_REQUEST;

#[test]
fn a_credential_is_good_for_the_device_that_it_was_given_to_and_for_no_other() {
    portal(|w| {
        w.attaches(1, "10.45.0.7");
        let given = w.is_given("10.45.0.7", &request(1, 1));
        w.lets_in_soon(&given, 1);
        assert!(!w.lets_in(&given, 9));
        for eap in ["TTLS", "PEAP"] {
            assert!(!w.logs_on(&given, 9, eap).0, "{eap}");
            assert!(w.logs_on(&given, 1, eap).0, "{eap}");
        }
    });
}

#[test]
fn a_credential_for_any_device_of_the_sims_is_good_at_each() {
    portal_with("", "bind_mac = false\n", |w| {
        w.attaches(1, "10.45.0.7");
        let given = w.is_given("10.45.0.7", &request(1, 1));
        w.lets_in_soon(&given, 1);
        assert!(w.lets_in(&given, 9));
    });
}

#[test]
fn a_credential_for_one_log_on_is_good_once_and_then_there_is_another() {
    portal_with("", "one_time = true\n", |w| {
        w.attaches(1, "10.45.0.7");
        let given = w.is_given("10.45.0.7", &request(1, 1));
        assert_eq!(given.whole["one_time"], true);
        assert_eq!(w.is_given("10.45.0.7", &request(1, 1)), given, "until it is used");
        // A log-on that fails does not spend it.
        assert!(!w.logs_on(&given, 9, "PEAP").0);
        soon("the log-on", || w.logs_on(&given, 1, "PEAP").0);
        assert!(!w.logs_on(&given, 1, "PEAP").0);
        assert!(!w.lets_in(&given, 1));
        let another = w.is_given("10.45.0.7", &request(1, 1));
        assert_ne!(another.name, given.name);
        soon("the next log-on", || w.logs_on(&another, 1, "TTLS").0);
    });
}

#[test]
fn a_session_does_not_outlast_its_credential() {
    portal_with("", "lifetime = \"1h\"\nrenewal_window = \"1m\"\n", |w| {
        w.attaches(1, "10.45.0.7");
        let given = w.is_given("10.45.0.7", &request(1, 1));
        w.lets_in_soon(&given, 1);
        let said = w.begins_session(&given, 1, "5F");
        let left = said.lines().find_map(|line| line.trim().strip_prefix("Session-Timeout = "));
        let left: u32 = left.expect("a Session-Timeout").parse().unwrap();
        assert!((3500..=3600).contains(&left), "{left}");
        // Its end comes in the middle of the session: that is told first, and then it is ended at a
        // NAS that has paid no heed.
        w.admin(&["login", "set", &given.name, "--expires-in", "2s"]);
        let (code, session, whole) = w.das.told();
        assert_eq!((code, &*session), (COA_REQUEST, "5F"), "{whole}");
        assert!(whole["Session-Timeout"][0].as_u64().unwrap() <= 2, "{whole}");
        w.das.is_told_to_end("5F");
        assert!(!w.lets_in(&given, 1));
        assert_eq!(w.admin_json(&["issued", "list"]), serde_json::json!([]));
        assert_eq!(w.status()["upkeep"]["withdrawn"], 1);
        let next = w.is_given("10.45.0.7", &request(1, 1));
        w.lets_in_soon(&next, 1);
    });
}

#[test]
fn a_device_that_is_revoked_is_cut_off_and_stays_out_while_its_sim_is_suspended() {
    portal(|w| {
        w.attaches(1, "10.45.0.7");
        w.attaches(2, "10.45.0.8");
        let given = w.is_given("10.45.0.7", &request(1, 1));
        let other = w.is_given("10.45.0.8", &request(2, 2));
        w.lets_in_soon(&given, 1);
        w.lets_in_soon(&other, 2);
        w.begins_session(&given, 1, "5F");
        w.begins_session(&other, 2, "60");
        w.admin(&["issued", "withdraw", "--mac", &mac(1)]);
        w.das.is_told_to_end("5F");
        w.refuses_soon(&given, 1);
        assert!(w.lets_in(&other, 2), "the other goes on");
        // The device comes for another, and loses it with its SIM.
        let again = w.is_given("10.45.0.7", &request(1, 1));
        assert_ne!(again.name, given.name);
        w.lets_in_soon(&again, 1);
        w.begins_session(&again, 1, "61");
        w.admin(&["subscriber", "suspend", &imsi(1)]);
        w.das.is_told_to_end("61");
        w.refuses_soon(&again, 1);
        w.is_refused("10.45.0.7", &request(1, 1));
    });
}
