//! Subscribers, policies, what was issued, and the audit trail.

use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;

use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::{Secret, Status, UnixTime, Uses, Verifier};
use homeward_seal::KeyRing;
use homeward_store::{Issuing, NewIssue, NewLogin, SqliteStore, Subscribers, Way};
use serde_json::{Value, json};

use crate::bench::{Bench, Done, command, homeward};
use crate::running::core_config;

const SIM: &str = "999700123456789";
const PASSWORD: &str = "the password that was issued";

const POLICY: &str = "\
# What phones are told.
[wlan]
server_name = \"aaa.example.net\"
[[wlan.networks]]
ssid = \"Example\"
";

/// Issues as the portal does; what it is called and when it ends are not left to chance.
fn issue(bench: &Bench, sim: &str, mac: &str, name: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let keys = KeyRing::load(&bench.path("core.keys")).unwrap();
        let (clock, entropy) = (Arc::new(SystemClock), Box::new(SystemEntropy::new()));
        let store = SqliteStore::open(&bench.path("core.db"), keys, clock, entropy).await.unwrap();
        let imsi = sim.parse().unwrap();
        let account = store.require_subscriber(imsi).await.unwrap().account;
        let login = NewLogin {
            account,
            name: name.parse().unwrap(),
            verifier: Verifier::Password(Secret::new(PASSWORD)),
            mac: Some(mac.parse().unwrap()),
            expires: Some(UnixTime(1_770_465_600_000)),
            uses: Uses::Any,
            label: String::new(),
            status: Status::Active,
        };
        let new = NewIssue {
            login,
            imsi,
            imei: Some("3569380356438001".parse().unwrap()),
            mac: mac.parse().unwrap(),
            address: Some("10.45.0.7".parse().unwrap()),
            issued: UnixTime(1_769_860_800_000),
            renew_from: Some(UnixTime(1_770_379_200_000)),
            way: Way::Https,
        };
        store.issue(&[new]).await.unwrap().remove(0).unwrap();
        store.close().await;
    });
}

/// A datastore with two subscribers, to whom something is issued.
fn furnished() -> Bench {
    let bench = Bench::furnished();
    bench.admin("account create jones --class gold").ok();
    bench
        .admin("network create --account jones --ssid jonesnet --security wpa2-psk --gateway gw-1")
        .ok();
    bench
        .admin(&format!("subscriber add {SIM} --account smith --msisdn +447700900123 --label van"))
        .ok();
    bench.admin("subscriber add 999700987654321 --account jones").ok();
    issue(&bench, SIM, "02:00:00:00:00:01", "k3vq@wlan.example.net");
    issue(&bench, "999700987654321", "02:00:00:00:00:02", "m7ab@wlan.example.net");
    bench
}

/// The user whom the tests run as.
fn user() -> String {
    let output = std::process::Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_life_of_a_subscriber() {
    let bench = Bench::furnished();
    bench.admin("account create jones --class gold").ok();
    bench
        .admin("network create --account jones --ssid jonesnet --security wpa2-psk --gateway gw-1")
        .ok();
    let made = bench
        .admin(&format!(
            "subscriber add {SIM} --account smith --msisdn 447700900123 --label van --json"
        ))
        .json();
    let whole = json!({
        "id": 1, "imsi": SIM, "msisdn": "447700900123", "account": "smith", "label": "van",
        "status": "active",
    });
    assert_eq!(made, whole);
    assert_eq!(
        bench.admin("subscriber create 999700987654321 --account jones").ok(),
        "added subscriber 999700987654321\n"
    );
    for which in [SIM, "+447700900123"] {
        let shown = bench.admin(&format!("subscriber show {which} --json")).json();
        assert_eq!((&shown["imsi"], &shown["issued"]), (&json!(SIM), &json!(null)));
    }
    for filter in ["--account smith", "--account smith --status active"] {
        let listed = bench.admin(&format!("subscriber list {filter} --json")).json();
        assert_eq!(listed, json!([whole]), "{filter}");
    }
    let changed = bench
        .admin("subscriber set +447700900123 --msisdn none --imsi 999700111111111 --label lorry --account jones --json")
        .json();
    assert_eq!(
        changed,
        json!({
            "id": 1, "imsi": "999700111111111", "msisdn": null, "account": "jones",
            "label": "lorry", "status": "active",
        })
    );
    assert_eq!(
        bench.admin("subscriber suspend 999700111111111").ok(),
        "suspended subscriber 999700111111111\n"
    );
    let suspended = bench.admin("subscriber list --status suspended --json").json();
    assert_eq!(suspended[0]["imsi"], "999700111111111");
    assert_eq!(bench.admin("subscriber resume 999700111111111 --json").json()["status"], "active");
    let gone = bench.admin("subscriber remove 999700111111111 --json").json();
    let wanted = json!({"entity": "subscriber", "id": 1, "name": "999700111111111"});
    assert_eq!(gone["deleted"], wanted);
    bench.admin("network delete jones/jonesnet").ok();
    let error = bench.admin("account delete jones").fails(1);
    assert!(error.contains("1 subscriber") && error.contains("--with-dependents"), "{error}");
    bench.admin("account delete jones --with-dependents").ok();
    assert_eq!(bench.admin("subscriber list --json").json(), json!([]));
}

/// Who has no home is let in nowhere, unless the class of service reaches everywhere.
#[test]
fn who_would_be_refused_at_every_gateway_is_warned_of_where_that_comes_about() {
    let bench = Bench::furnished();
    bench.admin("account create mobile --class gold").ok();
    let (warning, said) = bench.admin(&format!("subscriber add {SIM} --account mobile")).warns();
    assert_eq!(said, format!("added subscriber {SIM}\n"));
    assert_eq!(
        warning,
        "account mobile has no home network, and class of service gold reaches only so far from \
         home (national): its devices are refused at every gateway; `homeward admin class set gold \
         --coverage everywhere`, or `homeward admin network create --account mobile --ssid SSID \
         --security SECURITY --gateway NAME`\n"
    );
    let other = "subscriber add 999700987654321 --account mobile --json";
    let (_, said) = bench.admin(other).warns();
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["account"], "mobile");
    bench.admin("subscriber set 999700987654321 --account smith").ok();
    bench.admin("subscriber set 999700987654321 --label van").ok();
    bench.admin("subscriber set 999700987654321 --account mobile").warns();

    let config = core_config(&bench);
    let doctor = || homeward(&["doctor", "core", "--config", &config]).stdout;
    let text = doctor();
    assert!(text.contains("warn  core     account mobile has no home network"), "{text}");
    assert!(text.contains("--coverage everywhere"), "{text}");
    bench.admin("class set gold --coverage everywhere").ok();
    assert!(!doctor().contains("no home network"));
    bench.admin("subscriber add 999700111111111 --account mobile").ok();

    // The class, or the account's, made less again.
    let (warning, _) = bench.admin("class set gold --coverage local").warns();
    assert!(warning.starts_with("account mobile has no home network"), "{warning}");
    bench.admin("class set gold --priority 5").ok();
    bench.admin("class create all --coverage everywhere").ok();
    bench.admin("account set mobile --class all").ok();
    bench.admin("account set mobile --class gold").warns();
    bench.admin("account create empty --class all").ok();
    bench.admin("account set empty --class gold").ok();
    // A network without a gateway is no home.
    let home = "network create --account mobile --ssid mobilenet --security wpa2-psk";
    bench.admin(home).ok();
    assert!(doctor().contains("account mobile has no home network"));
    bench.admin("network set mobile/mobilenet --gateway gw-1").ok();
    assert!(!doctor().contains("no home network"));

    // Log-ins count, and of many a few are named.
    for name in ["a", "b", "c", "d", "e"] {
        bench.admin(&format!("account create {name} --class gold")).ok();
        bench.admin(&format!("login create {name}@example.net --account {name}")).ok();
    }
    let text = doctor();
    assert!(text.contains("accounts a, b, c and 2 more have no home network"), "{text}");
}

#[test]
fn what_is_wrong_with_a_subscriber_is_named() {
    let bench = furnished();
    for (words, code, part) in [
        ("subscriber add 9997 --account smith", 2, "an IMSI is 6 to 15 digits; this has 4"),
        ("subscriber add 999700123456780 --account x", 66, "no account x; `homeward admin"),
        ("subscriber add 999700123456789 --account smith", 1, "exists already: subscriber 1"),
        (
            "subscriber add 999700123456780 --account smith --msisdn +447700900123",
            1,
            "is subscriber 1's already",
        ),
        ("subscriber show 447700900123999", 66, "no subscriber 447700900123999; `homeward"),
        ("subscriber show +44", 2, "a telephone number is 5 to 15 digits"),
        ("subscriber show 4477009001234567", 2, "a telephone number begins with +"),
        ("subscriber set 999700123456789", 2, "nothing to change"),
        ("subscriber set 999700123456789 --label \u{7}", 2, "a label has no control characters"),
    ] {
        let error = bench.admin(words).fails(code);
        assert!(error.contains(part), "{words}: {error}");
    }
}

#[test]
fn a_suspended_subscriber_holds_nothing() {
    let bench = furnished();
    assert_eq!(bench.admin("issued list --json").json().as_array().unwrap().len(), 2);
    bench.admin(&format!("subscriber suspend {SIM}")).ok();
    let left = bench.admin("issued list --json").json();
    assert_eq!((left.as_array().unwrap().len(), &left[0]["account"]), (1, &json!("jones")));
    bench.admin("login show k3vq@wlan.example.net").fails(66);
    bench.admin("login show m7ab@wlan.example.net").ok();
}

#[test]
fn who_holds_what_is_found_by_subscriber_station_and_account() {
    let bench = furnished();
    let whole = json!({
        "login": 1, "name": "k3vq@wlan.example.net", "account": "smith", "imsi": SIM,
        "imei": "3569380356438001", "mac": "02:00:00:00:00:01", "bound": true,
        "address": "10.45.0.7", "way": "https", "issued": "2026-01-31T12:00:00.000Z",
        "expires": "2026-02-07T12:00:00.000Z", "renew_from": "2026-02-06T12:00:00.000Z",
        "uses": "any", "status": "active",
    });
    for which in [
        "--imsi 999700123456789",
        "--imsi +447700900123",
        "--mac 02:00:00:00:00:01",
        "--account smith",
        "--account smith --mac 02:00:00:00:00:01",
    ] {
        for verb in ["list", "show"] {
            let found = bench.admin(&format!("issued {verb} {which} --json")).json();
            assert_eq!(found, json!([whole]), "{verb} {which}");
        }
    }
    insta::assert_snapshot!(bench.admin("issued list").ok());
    insta::assert_snapshot!(bench.admin("subscriber show 999700123456789").ok());
    let shown = bench.admin(&format!("subscriber show {SIM} --json")).json();
    assert_eq!(shown["issued"], whole);
    bench.admin("issued show").fails(2);
    let error = bench.admin("issued show --mac 02:00:00:00:00:09").fails(66);
    assert!(error.contains("nothing is issued to it; `homeward admin issued list`"), "{error}");
    assert_eq!(bench.admin("issued list --mac 02:00:00:00:00:09 --json").json(), json!([]));
}

#[test]
fn what_is_withdrawn_is_gone_as_a_log_in_and_the_rest_stays() {
    let bench = furnished();
    bench.admin("login create fred@example.net --account smith").ok();
    bench.admin("issued withdraw").fails(2);
    let done = bench.admin("issued withdraw --account smith").ok();
    assert_eq!(done, "withdrew k3vq@wlan.example.net of 999700123456789\n");
    let again = bench.admin("issued withdraw --account smith --json").json();
    assert_eq!(again, json!({"withdrawn": []}));
    let logins = bench.admin("login list --json").json();
    let names: Vec<&str> =
        logins.as_array().unwrap().iter().map(|l| l["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["m7ab@wlan.example.net", "fred@example.net"]);
}

#[test]
fn no_command_shows_a_password_that_was_issued() {
    let bench = furnished();
    bench.admin("issued withdraw --account jones").ok();
    for words in [
        "issued list",
        "issued show --account smith",
        "subscriber show 999700123456789",
        "login show k3vq@wlan.example.net",
        "audit",
    ] {
        for words in [words.to_owned(), format!("{words} --json")] {
            let shown = bench.admin(&words).ok();
            assert!(!shown.contains(PASSWORD), "{words}: {shown}");
        }
    }
}

#[test]
fn a_policy_is_set_shown_listed_and_cleared() {
    let bench = Bench::furnished();
    let file = bench.file("policy.toml", POLICY);
    let error = bench.admin("policy show --default").fails(66);
    assert!(
        error.contains("there is no policy of its own; `homeward admin policy list`"),
        "{error}"
    );
    assert_eq!(
        bench.admin(&format!("policy set --default {file}")).ok(),
        "set the policy of default\n"
    );
    let shown = bench.admin("policy show --default").ok();
    insta::assert_snapshot!(shown);
    // What is shown is set as it is, and changes nothing.
    let file = bench.file("shown.toml", &shown);
    bench.admin(&format!("policy set --default {file}")).ok();
    assert_eq!(bench.admin("policy show --default").ok(), shown);

    let gold = shown.replace("\"7d\"", "\"none\"").replace("\"Example\"", "\"Gold\"");
    let file = bench.file("gold.toml", &gold);
    let set = bench.admin(&format!("policy set --class gold {file} --json")).json();
    assert_eq!(
        (&set["scope"], &set["class"], &set["policy"]["terms"]["lifetime"]),
        (&json!("class"), &json!("gold"), &json!(null))
    );
    let whole = bench.admin("policy show --class gold --json").json();
    assert_eq!(whole, set);
    // The same in JSON, as it is shown, from standard input.
    let mut process = command();
    let (database, key_file) = (bench.path("core.db"), bench.path("core.keys"));
    process.args(["admin", "policy", "set", "--mac", "02:00:00:00:00:01", "-", "--database"]);
    process.arg(database).arg("--key-file").arg(key_file);
    process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = process.spawn().unwrap();
    running.stdin.take().unwrap().write_all(whole["policy"].to_string().as_bytes()).unwrap();
    let done = Done::of(&["policy", "set"], running.wait_with_output().unwrap()).ok();
    assert_eq!(done, "set the policy of mac 02:00:00:00:00:01\n");
    insta::assert_snapshot!(bench.admin("policy list").ok());

    for (mac, scope) in [("02:00:00:00:00:01", "mac"), ("02:00:00:00:00:02", "class")] {
        let counts = bench.admin(&format!("policy show --class gold --mac {mac} --json")).json();
        assert_eq!(counts["scope"], scope);
    }
    bench.admin("policy clear --class gold").ok();
    bench.admin("policy clear --class gold").fails(66);
    let counts = bench.admin("policy show --class gold --mac 02:00:00:00:00:02 --json").json();
    assert_eq!(counts["scope"], "default");
    let cleared = bench.admin("policy clear --mac 02:00:00:00:00:01").ok();
    assert_eq!(cleared, "cleared the policy of mac 02:00:00:00:00:01\n");
}

#[test]
fn what_is_wrong_with_a_policy_is_named_by_its_setting_and_nothing_is_set() {
    let bench = Bench::furnished();
    let json = r#"{"wlan":{"networks":[{"ssid":"a"}],"server_name":"aaa.example.net"}"#;
    let mut told = String::new();
    for text in [
        POLICY.replace("aaa.example.net", "everything"),
        format!("{POLICY}[terms]\nlifetime = \"10s\"\n"),
        format!("{POLICY}[terms]\nlifetime = \"a while\"\n"),
        format!("{POLICY}[terms]\nlifetime = \"1h\"\n"),
        POLICY.replace("ssid =", "sid ="),
        POLICY.replace("[wlan]", "[wlan]\nleave = -60"),
        POLICY.replace("[wlan]", "[wlan]\neap = \"md5\""),
        format!("{POLICY}[[wlan.schedule]]\nfrom = \"8:00\"\nto = \"18:00\"\n"),
        "server_name".to_owned(),
        String::new(),
        json.to_owned(),
        format!("{json}}}").replace("ssid", "sid"),
        format!("{json},\"terms\":{{\"lifetime\":5}}}}"),
    ] {
        let file = bench.file("policy", &text);
        let error = bench.admin(&format!("policy set --default {file}")).fails(65);
        told.push_str(&error.replace(&file, "policy"));
    }
    insta::assert_snapshot!(told);
    assert_eq!(bench.admin("policy list").ok(), "none\n");
    bench.admin("policy set --default %/none.toml").fails(66);
    bench.admin("policy set %/none.toml").fails(2);
    let file = bench.file("policy", POLICY);
    let error = bench.admin(&format!("policy set --class x {file}")).fails(66);
    assert!(error.contains("no class of service x"), "{error}");
    let error = bench.admin(&format!("policy set --mac 03:00:00:00:00:01 {file}")).fails(2);
    assert!(error.contains("group address"), "{error}");
}

#[test]
fn every_change_tells_who_made_it() {
    let bench = Bench::new();
    let actor = format!("admin:{}", user());
    bench.admin("class create gold").ok();
    bench.admin("account create smith --class gold").ok();
    bench.admin("account suspend smith").ok();
    bench.admin("account list").ok();
    bench.admin("gateway create gw-1 --mac 02:00:00:00:01:01 --place gb/london --operator op").ok();
    bench.admin("gateway set gw-1 --new-secret").ok();
    bench.admin("gateway enrol gw-1 --address 192.0.2.1:1813").code.to_string();
    bench.admin("key rotate").ok();
    bench.admin(&format!("subscriber add {SIM} --account smith")).warns();
    bench.admin("account delete smith --with-dependents").ok();
    let trail = bench.admin("audit --json").json();
    let trail = trail.as_array().unwrap();
    assert!(trail.iter().all(|entry| entry["actor"] == json!(actor)), "{trail:#?}");
    let done: Vec<String> = trail
        .iter()
        .map(|e| format!("{} {}", e["operation"].as_str().unwrap(), e["kind"].as_str().unwrap()))
        .filter(|done| !done.ends_with("access") && !done.ends_with("authority"))
        .collect();
    assert_eq!(
        done,
        [
            "create class",
            "create account",
            "update account",
            "create gateway",
            "update gateway",
            "update sealing-key",
            "create subscriber",
            "delete subscriber",
            "delete account",
        ]
    );
    let suspended = &trail[2];
    assert_eq!(
        (&suspended["before"]["status"], &suspended["after"]["status"]),
        (&json!("active"), &json!("suspended"))
    );
    assert_eq!(trail[4]["after"]["radius_secret"], "changed");
    let table = bench.admin("audit --kind account").ok();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("NUMBER  TIME"), "{table}");
    assert!(lines[2].ends_with("update  account 1  status: active -> suspended"), "{table}");
    // Who became root by sudo goes by the name they had; nobody else can say so.
    let (database, key_file) = (bench.path("core.db"), bench.path("core.keys"));
    let mut sudo = command();
    sudo.env("SUDO_USER", "mary").args(["admin", "class", "create", "silver", "--database"]);
    sudo.arg(database).arg("--key-file").arg(key_file);
    Done::of(&["class", "create"], sudo.output().unwrap()).ok();
    let last = bench.admin("audit --last 1 --json").json();
    let mary = if user() == "root" { "admin:mary".to_owned() } else { actor };
    assert_eq!(last[0]["actor"], json!(mary));
}

#[test]
fn the_trail_is_read_in_parts() {
    let bench = Bench::new();
    bench.admin("class create gold").ok();
    let file: String = (0..150).map(|n| format!("account-{n},gold\n")).collect();
    let file = bench.file("accounts.csv", &format!("name,class\n{file}"));
    bench.admin(&format!("import account {file}")).ok();
    let count = |words: &str| {
        let found = bench.admin(&format!("audit {words} --json")).json();
        let numbers = found.as_array().unwrap().iter();
        let numbers: Vec<i64> = numbers.map(|e| e["seq"].as_i64().unwrap()).collect();
        (numbers.len(), numbers.first().copied(), numbers.last().copied())
    };
    assert_eq!(count(""), (100, Some(52), Some(151)));
    assert_eq!(count("--last 3"), (3, Some(149), Some(151)));
    assert_eq!(count("--since 1h"), (151, Some(1), Some(151)));
    assert_eq!(count("--after 149"), (2, Some(150), Some(151)));
    assert_eq!(count("--since 1h --kind class"), (1, Some(1), Some(1)));
    assert_eq!(count("--actor api:nobody"), (0, None, None));
    assert_eq!(bench.admin("audit --kind device").ok(), "none\n");
    let error = bench.admin("audit --kind grant").fails(2);
    assert!(error.contains("give one of class, account, gateway"), "{error}");
    bench.admin("audit --since soon").fails(2);
}

#[test]
fn subscribers_are_imported_and_exported() {
    let bench = Bench::furnished();
    let text = "imsi,msisdn,account,label,status\n\
                999700123456789,+447700900123,smith,\"van, red\",active\n\
                999700123456780,,smith,,suspended\n";
    let file = bench.file("subscribers.csv", text);
    let tally = bench.admin(&format!("import subscriber {file} --json")).json();
    assert_eq!((&tally["entity"], &tally["created"]), (&json!("subscriber"), &json!(2)));
    assert_eq!(bench.admin("export subscriber").ok(), text);
    let tally = bench.admin(&format!("import subscriber {file} --update --json")).json();
    assert_eq!((&tally["updated"], &tally["unchanged"]), (&json!(0), &json!(2)));
    let change = bench.file(
        "change.csv",
        "imsi,account,msisdn\n999700123456789,smith,\n999700123456781,smith,447700900123\n",
    );
    let error = bench.admin(&format!("import subscriber {change} --update")).fails(65);
    let taken = "change.csv:3: msisdn: is that of subscriber 999700123456789 already";
    assert!(error.contains(taken), "{error}");
    let bad = bench.file(
        "bad.csv",
        "imsi,account,msisdn,label\n\
         9997,smith,,\n\
         999700123456781,nobody,,\n\
         999700123456782,smith,+44,\n\
         999700123456783,smith,+447700900125,\u{7}\n\
         999700123456783,smith,+447700900125,\n",
    );
    let error = bench.admin(&format!("import subscriber {bad}")).fails(65);
    insta::assert_snapshot!(error.replace(&bad, "bad.csv"));
    assert_eq!(bench.admin("subscriber list --json").json().as_array().unwrap().len(), 2);
}

#[test]
fn more_subscribers_than_one_batch_are_imported() {
    let bench = Bench::furnished();
    let rows: String = (0..1100).map(|n| format!("99970{n:010},smith\n")).collect();
    let file = bench.file("subscribers.csv", &format!("imsi,account\n{rows}"));
    let done = bench.admin(&format!("import subscriber {file}")).ok();
    assert_eq!(done, "created 1100, updated 0, unchanged 0\n");
    assert_eq!(bench.admin("export subscriber").ok().lines().count(), 1101);
    let twice = bench.file("more.csv", "imsi,account\n999709999999999,smith\n");
    let tally: Value = bench.admin(&format!("import subscriber {twice} --dry-run --json")).json();
    assert_eq!((&tally["created"], &tally["dry_run"]), (&json!(1), &json!(true)));
    assert_eq!(bench.admin("export subscriber").ok().lines().count(), 1101);
}

#[test]
fn each_verb_has_examples() {
    for words in [
        "subscriber",
        "subscriber add",
        "subscriber list",
        "subscriber show",
        "subscriber set",
        "subscriber suspend",
        "subscriber resume",
        "subscriber remove",
        "policy",
        "policy set",
        "policy show",
        "policy list",
        "policy clear",
        "issued",
        "issued list",
        "issued show",
        "issued withdraw",
        "audit",
    ] {
        let mut all = vec!["admin"];
        all.extend(words.split(' '));
        all.push("--help");
        let help = homeward(&all).ok();
        assert!(help.contains("homeward admin ") && help.contains("Example"), "{words}: {help}");
    }
}
