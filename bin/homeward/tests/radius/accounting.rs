//! Accounting: what NASes report, asked for by `homeward admin`.

use std::net::UdpSocket;
use std::time::Duration;

use homeward_radius::dictionary::standard;
use homeward_radius::{Code, Packet};
use serde_json::Value;

use crate::core::{Core, MAC, SECRET, SSID};

const DEVICE: &str = "smith/Elm Street 17/02:00:5e:20:00:01";
const STATION: &str = "02-00-5E-20-00-01";

/// A record in radclient's words.
fn record(kind: &str, id: &str, octets: u64, more: &str) -> String {
    format!(
        "Acct-Status-Type = {kind}, Acct-Session-Id = \"{id}\", NAS-Identifier = \"oak\", \
         Acct-Input-Octets = {octets}, Acct-Output-Octets = {}, Acct-Session-Time = 60{more}\n",
        octets * 2
    )
}

impl Core {
    /// Has a record kept; panics if it is not answered.
    #[track_caller]
    fn account(&self, kind: &str, id: &str, octets: u64, more: &str) {
        let answer = self.radclient("acct", &record(kind, id, octets, more), SECRET);
        assert!(answer.contains("Received Accounting-Response"), "{answer}");
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.admin(&[words, &["--json"]].concat())).unwrap()
    }

    /// Octets from and to a device or log-in.
    fn used(&self, kind: &str, which: &str) -> (u64, u64) {
        let total = &self.json(&["usage", kind, which])["total"];
        (total["input"].as_u64().unwrap(), total["output"].as_u64().unwrap())
    }

    /// The Class that an Access-Accept gives, as radclient takes it.
    fn class(answer: &str) -> String {
        let class = answer.lines().find_map(|l| l.trim().strip_prefix("Class = "));
        format!(", Class = {}", class.expect("a Class"))
    }
}

#[test]
fn what_a_nas_reports_of_a_device_is_charged_to_its_account_once() {
    let core = Core::start();
    let class = Core::class(&core.ask(MAC, SSID));
    core.account("Start", "5F-1", 0, &class);
    let open = core.json(&["session", "list", "--account", "smith"]);
    assert_eq!((&open[0]["session_id"], &open[0]["gateway"]), (&"5F-1".into(), &"oak".into()));
    core.account("Interim-Update", "5F-1", 1000, &class);
    assert_eq!(core.used("device", DEVICE), (1000, 2000));
    for _ in 0..2 {
        core.account(
            "Stop",
            "5F-1",
            1500,
            &format!("{class}, Acct-Terminate-Cause = User-Request"),
        );
    }
    assert_eq!(core.used("device", DEVICE), (1500, 3000));
    assert_eq!(core.used("account", "smith"), (1500, 3000));
    assert_eq!(core.json(&["session", "list"]), Value::Array(vec![]));
    let id = open[0]["id"].to_string();
    let session = core.json(&["session", "show", &id]);
    let kinds: Vec<&str> = session["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["start", "interim", "stop"], "the second Stop is no other record");
    assert_eq!((&session["cause"], &session["phase"]), (&"stop".into(), &"closed".into()));
}

#[test]
fn a_session_without_a_class_is_who_the_gateway_was_told_to_serve_and_else_nobodys() {
    let core = Core::start();
    core.ask(MAC, SSID);
    core.account("Stop", "a", 100, &format!(", Calling-Station-Id = \"{STATION}\""));
    assert_eq!(core.used("device", DEVICE), (100, 200));
    core.account("Stop", "b", 7, ", Calling-Station-Id = \"02-00-5E-20-00-99\"");
    core.account("Stop", "c", 7, ", Class = 0x68773a6465766963653a31");
    assert_eq!(core.used("account", "smith"), (100, 200), "a Class that somebody made up");
    let metrics = core.status("metrics");
    assert!(metrics.contains("accounting_records_total{outcome=\"of-nobody\"} 2"), "{metrics}");
    assert!(metrics.contains("accounting_records_total{outcome=\"kept\"} 3"), "{metrics}");
}

#[test]
fn metrics_tell_what_came_by_which_port_and_name_no_subscriber() {
    let core = Core::start();
    let class = Core::class(&core.ask(MAC, SSID));
    for id in 0..7 {
        core.account("Start", &format!("5F-{id}"), 0, &class);
    }
    let metrics = core.status("metrics");
    for line in [
        "datagrams_total{port=\"authentication\",event=\"dropped\"} 0",
        "datagrams_total{port=\"accounting\",event=\"received\"} 7",
        "datagrams_total{port=\"accounting\",event=\"sent\"} 7",
        "datagrams_total{port=\"accounting\",event=\"dropped\"} 0",
        "ledger_total{event=\"began\"} 7",
        "ledger_waiting 0",
        "grants_out 1",
        "radsec_connections 0",
    ] {
        assert!(metrics.contains(&format!("homeward_aaa_{line}\n")), "{line}: {metrics}");
    }
    assert_eq!(homeward_daemon::metrics::subscriber_labels(&metrics), <[&str; 0]>::default());
}

#[test]
fn what_was_acknowledged_is_there_after_the_power_was_cut() {
    let mut core = Core::start();
    let class = Core::class(&core.ask(MAC, SSID));
    core.account("Interim-Update", "5F-1", 1000, &class);
    core.is_killed_and_comes_back();
    assert_eq!(core.used("device", DEVICE), (1000, 2000));
    // The Class of before is good: its key is derived from the key ring.
    core.account("Stop", "5F-1", 1100, &class);
    core.account("Stop", "5F-2", 1, &class);
    assert_eq!(core.used("device", DEVICE), (1101, 2202));
}

#[test]
fn billing_reads_on_where_it_stopped_and_has_sums_to_check_against() {
    let core = Core::start();
    let class = Core::class(&core.ask(MAC, SSID));
    core.account("Stop", "a", 100, &class);
    let (cursor, one, two) = (core.file("cursor"), core.file("1.jsonl"), core.file("2.jsonl"));
    core.admin(&["usage", "export", "--cursor-file", &cursor, "--out", &one]);
    core.account("Stop", "b", 5, &class);
    // More of the first, which it did not know: a correction.
    core.account("Stop", "a", 130, &class);
    core.admin(&["usage", "export", "--cursor-file", &cursor, "--out", &two]);
    let lines = |file: &str| -> Vec<(String, u64, u64)> {
        let text = std::fs::read_to_string(file).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let number = |v: &Value, key: &str| v[key].as_u64().unwrap();
        lines
            .map(|v| {
                (v["type"].as_str().unwrap().to_owned(), number(&v, "input"), number(&v, "cursor"))
            })
            .collect()
    };
    let text = |kind: &str| kind.to_owned();
    assert_eq!(lines(&one), [(text("close"), 100, 1), (text("control"), 100, 1)]);
    let expected = [(text("close"), 5, 2), (text("correction"), 30, 3), (text("control"), 35, 3)];
    assert_eq!(lines(&two), expected);
    let all = core.admin(&["usage", "export", "--as", "csv", "--after", "0"]);
    assert_eq!(all.lines().count(), 5, "{all}");
}

/// The next Disconnect-Request that comes to that port, as (User-Name, Acct-Session-Id).
fn disconnected(nas: &UdpSocket) -> (String, Option<String>) {
    let mut room = [0; 4096];
    let (len, _) = nas.recv_from(&mut room).expect("a Disconnect-Request within 10 s");
    let packet = Packet::decode(&room[..len]).unwrap();
    assert_eq!(packet.code(), Code::DisconnectRequest);
    let find = |kind| packet.find(kind).map(|v| String::from_utf8(v.to_vec()).unwrap());
    (find(standard::USER_NAME).unwrap(), find(standard::ACCT_SESSION_ID))
}

/// A NAS that takes Disconnect-Requests, and the core's setting for it.
fn nas() -> (UdpSocket, String) {
    let nas = UdpSocket::bind("127.0.0.1:0").unwrap();
    nas.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let port = nas.local_addr().unwrap().port();
    (nas, format!("disconnect_port = {port}\n"))
}

#[test]
fn who_uses_up_the_quota_is_disconnected_and_let_in_no_more() {
    let (nas, setting) = nas();
    let core = Core::start_with(&setting);
    core.admin(&["class", "set", "standard", "--quota", "3kB/day"]);
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    let answer = core.pap(phone.name, &phone.password, "Acct-Session-Id = \"5F-7\", ");
    let class = Core::class(&answer);
    core.account("Interim-Update", "5F-7", 999, &class);
    let answer = core.pap(phone.name, &phone.password, "Acct-Session-Id = \"5F-7\", ");
    assert!(answer.contains("Received Access-Accept"), "some is left: {answer}");
    core.account("Interim-Update", "5F-7", 1000, &class);
    assert_eq!(disconnected(&nas), ("phone@example.net".to_owned(), Some("5F-7".to_owned())));
    let answer = core.pap(phone.name, &phone.password, "");
    assert!(answer.contains("Received Access-Reject"), "{answer}");
    let metrics = core.status("metrics");
    assert!(metrics.contains("login_rejections_total{reason=\"quota\"} 1"), "{metrics}");
    let usage = core.json(&["usage", "login", "phone@example.net"]);
    assert_eq!((&usage["users"][0]["left"], &usage["total"]["input"]), (&0.into(), &1000.into()));
    // A quota counts for each user by itself: the device is served.
    assert!(core.ask(MAC, SSID).contains("Received Access-Accept"));
    let class = Core::class(&core.ask(MAC, SSID));
    core.account("Interim-Update", "5F-8", 1000, &class);
    // Nobody answers the first one, which may be repeated meanwhile.
    let mut names = std::iter::repeat_with(|| disconnected(&nas).0);
    let device = names.find(|name| name != phone.name);
    assert_eq!(device.as_deref(), Some("02005e200001"));
    assert!(core.ask(MAC, SSID).contains("has used its 3000 octets of the day"));
}

#[test]
fn a_suspension_ends_the_session_of_a_log_in_that_runs() {
    let (nas, setting) = nas();
    let core = Core::start_with(&setting);
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    core.pap(phone.name, &phone.password, "Acct-Session-Id = \"5F-7\", ");
    core.admin(&["login", "suspend", phone.name]);
    assert_eq!(disconnected(&nas), ("phone@example.net".to_owned(), Some("5F-7".to_owned())));
}

#[test]
fn a_suspension_ends_sessions_from_before_the_core_was_killed() {
    let (nas, setting) = nas();
    let mut core = Core::start_with(&setting);
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    let class = Core::class(&core.pap(phone.name, &phone.password, ""));
    let more = format!("{class}, Calling-Station-Id = \"02-00-5E-20-00-07\"");
    core.account("Start", "5F-7", 0, &more);
    let class = Core::class(&core.ask(MAC, SSID));
    core.account("Start", "5F-8", 0, &format!("{class}, Calling-Station-Id = \"{STATION}\""));
    // One that is over.
    core.account("Start", "5F-6", 0, &more);
    core.account("Stop", "5F-6", 0, &more);
    core.is_killed_and_comes_back();
    core.admin(&["account", "suspend", "smith"]);
    let mut ended = [disconnected(&nas), disconnected(&nas)];
    ended.sort();
    assert_eq!(ended[0], ("02005e200001".to_owned(), None));
    assert_eq!(ended[1], ("phone@example.net".to_owned(), Some("5F-7".to_owned())));
}

#[test]
fn what_was_suspended_while_no_core_ran_is_disconnected_when_one_does() {
    let (nas, setting) = nas();
    let mut core = Core::start_with(&setting);
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    let class = Core::class(&core.pap(phone.name, &phone.password, ""));
    core.account("Interim-Update", "5F-7", 9, &class);
    core.is_killed();
    core.admin(&["login", "suspend", phone.name]);
    core.comes_back();
    assert_eq!(disconnected(&nas), ("phone@example.net".to_owned(), Some("5F-7".to_owned())));
}

#[test]
fn a_record_that_cannot_be_kept_is_not_answered_and_log_ins_go_on() {
    let core = Core::start();
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    for (record, why) in [
        ("Acct-Status-Type = Start, NAS-Identifier = \"oak\"\n", "missing-attribute"),
        (
            "Acct-Status-Type = Failed, Acct-Session-Id = \"a\", NAS-Identifier = \"oak\"\n",
            "unknown-status",
        ),
    ] {
        let answer = core.radclient("acct", record, SECRET);
        assert!(answer.contains("No reply"), "{answer}");
        let metrics = core.status("metrics");
        assert!(
            metrics.contains(&format!("accounting_records_total{{outcome=\"{why}\"}} 1")),
            "{metrics}"
        );
    }
    // The ledger is taken away: nothing is acknowledged that is nowhere.
    let ledger = core.file("ledger.db");
    std::fs::rename(&ledger, core.file("away.db")).unwrap();
    let answer = core.radclient("acct", &record("Start", "a", 0, ""), SECRET);
    assert!(answer.contains("No reply"), "{answer}");
    let answer = core.pap(phone.name, &phone.password, "");
    assert!(answer.contains("Received Access-Accept"), "{answer}");
    std::fs::rename(core.file("away.db"), &ledger).unwrap();
    core.soon("Received Accounting-Response", || {
        core.radclient("acct", &record("Start", "a", 0, ""), SECRET)
    });
}
