//! Who is refused, and that all of them hear the same.

use crate::cell::{imsi, request};
use crate::core::{World, portal};

/// Refuses for that reason, and says nothing of it; what was said.
#[track_caller]
fn refused(w: &World, from: &str, sim: u32, reason: &str) -> crate::cell::Said {
    let before = w.counted(reason);
    let said = w.is_refused(from, &request(sim, 1));
    assert_eq!(w.counted(reason), before + 1, "{reason}");
    said
}

#[test]
fn every_refusal_is_the_same_answer_whatever_its_reason() {
    portal(|w| {
        w.attaches(1, "10.45.0.7");
        w.attaches(2, "10.45.0.8");
        w.attaches(3, "10.45.0.9");
        let mut all = vec![
            // Another's IMSI from a live bearer, and one that nobody has.
            refused(w, "10.45.0.7", 2, "other-sim"),
            refused(w, "10.45.0.7", 77, "other-sim"),
            // The right IMSI from another's address, and from one that no bearer has.
            refused(w, "10.45.0.8", 1, "other-sim"),
            refused(w, "10.45.0.200", 1, "no-bearer"),
            // A bearer whose subscriber is not ours.
            refused(w, "10.45.0.9", 3, "no-subscriber"),
        ];
        w.admin(&["subscriber", "suspend", &imsi(2)]);
        all.push(refused(w, "10.45.0.8", 2, "subscriber-suspended"));
        w.admin(&["account", "suspend", "mobile"]);
        all.push(refused(w, "10.45.0.7", 1, "account-suspended"));
        w.admin(&["account", "resume", "mobile"]);
        w.admin(&["policy", "clear", "--default"]);
        all.push(refused(w, "10.45.0.7", 1, "no-policy"));
        // One that ended a moment ago.
        w.detaches(1, "10.45.0.7");
        all.push(refused(w, "10.45.0.7", 1, "no-bearer"));
        all.dedup();
        assert_eq!(all.len(), 1, "{all:#?}");
        assert_eq!(w.counted("issued"), 0);
    });
}

#[test]
fn a_bearer_that_ended_a_moment_ago_is_nobodys_and_so_is_one_of_before_the_gateways_restart() {
    portal(|w| {
        w.attaches(1, "10.45.0.7");
        let given = w.is_given("10.45.0.7", &request(1, 1));
        w.detaches(1, "10.45.0.7");
        w.is_refused("10.45.0.7", &request(1, 1));
        // What it was given is its own all the same: Wi-Fi is for when cellular is not there.
        w.lets_in_soon(&given, 1);
        w.attaches(2, "10.45.0.7");
        w.is_refused("10.45.0.7", &request(1, 1));
        w.is_given("10.45.0.7", &request(2, 2));
        let said =
            w.radclient_acct("Acct-Status-Type = Accounting-On\nNAS-IP-Address = 127.0.0.1\n");
        assert!(said.contains("Received Accounting-Response"), "{said}");
        w.is_refused("10.45.0.7", &request(2, 2));
        assert_eq!(w.status()["portal"]["bearers"]["live"], 0);
    });
}

#[test]
fn reports_of_nobody_we_know_and_under_another_secret_give_no_address_to_anybody() {
    portal(|w| {
        let report = format!(
            "Acct-Status-Type = Start\nAcct-Session-Id = \"x\"\nNAS-IP-Address = 127.0.0.1\n\
             Called-Station-Id = \"internet\"\n3GPP-IMSI = \"{}\"\nFramed-IP-Address = 10.45.0.7\n",
            imsi(1)
        );
        let file = w.write("report", &report);
        let heard = |more: &[&str], secret: &str| {
            let output = std::process::Command::new("radclient")
                .args(["-x", "-r", "1", "-t", "1", "-f", &file])
                .args(more)
                .args([w.bearers(), "acct", secret])
                .output()
                .unwrap();
            String::from_utf8_lossy(&output.stdout).contains("Received Accounting-Response")
        };
        assert!(!heard(&[], "another secret, long enough"));
        w.is_refused("10.45.0.7", &request(1, 1));
        // The right secret, from an address that is no packet gateway's.
        let theirs = report.clone() + "Packet-Src-IP-Address = 10.45.0.66\n";
        w.write("report", &theirs);
        assert!(!heard(&[], crate::core::SECRET));
        w.is_refused("10.45.0.7", &request(1, 1));
        w.write("report", &report);
        assert!(heard(&[], crate::core::SECRET));
        w.is_given("10.45.0.7", &request(1, 1));
    });
}
