//! CSV, out and in.

use serde_json::json;

use crate::bench::{Bench, mode};

const ENTITIES: [&str; 6] = ["class", "account", "gateway", "network", "device", "subscriber"];

/// One of everything, with all that a CSV file might get wrong.
fn full() -> Bench {
    let bench = Bench::furnished();
    bench.admin("class create all --coverage local --priority 7 --bandwidth-up 512k --quota 2GiB/week --encryption off --anchor local --bonding striped --handoff-threshold -70 --session-timeout 1h30m --idle-timeout 90s --retention 400d").ok();
    bench.admin("account create jones,ltd --class all").fails(2);
    bench.admin("account create jones --class all").ok();
    bench.admin("account suspend jones").ok();
    bench.admin("gateway create ap-9 --mac 02:00:00:00:01:09 --place fr/paris --operator op --address 2001:db8::/32 --lookup hostapd").ok();
    bench.admin("gateway suspend ap-9").ok();
    bench.admin("network create --account jones --ssid hex:ff00 --security wpa3-sae").ok();
    bench
        .admin("network create --account jones --ssid a,\"b\" --security 802.1x --gateway ap-9")
        .ok();
    bench.admin("device create --network smith/smithnet --mac 02:00:00:00:00:01 --label t\u{e9}l\u{e9},\"1\"").ok();
    bench.admin("device create --network jones/hex:ff00 --mac 02:00:00:00:00:01").ok();
    bench.admin("device create --network jones/a,\"b\" --mac 02:00:00:00:00:03").ok();
    let psk = bench.file("psk", &"0123456789abcdef".repeat(4));
    bench
        .admin(&format!(
            "device create --network smith/smithnet --mac 02:00:00:00:00:04 --psk-hex-file {psk}"
        ))
        .ok();
    bench.admin("device suspend 2").ok();
    bench
        .admin(
            "subscriber add 999700123456789 --account smith --msisdn +447700900123 --label a,\"b\"",
        )
        .ok();
    bench.admin("subscriber add 999700123456780 --account jones").ok();
    bench.admin("subscriber suspend 999700123456780").ok();
    bench
}

#[test]
fn what_is_exported_imports_into_a_fresh_datastore_and_exports_the_same() {
    let (old, new) = (full(), Bench::new());
    for entity in ENTITIES {
        old.admin(&format!("export {entity} --with-keys --out %/{entity}.csv")).ok();
        let from = old.path(&format!("{entity}.csv"));
        let tally = new.admin(&format!("import {entity} {} --json", from.display())).json();
        assert!(tally["created"].as_u64().unwrap() >= 2, "{entity}: {tally}");
        new.admin(&format!("export {entity} --with-keys --out %/{entity}.csv")).ok();
        let [one, two] = [&old, &new]
            .map(|bench| std::fs::read_to_string(bench.path(&format!("{entity}.csv"))).unwrap());
        assert_eq!(one, two, "{entity}");
        // Once more changes nothing.
        let tally =
            new.admin(&format!("import {entity} {} --update --json", from.display())).json();
        assert_eq!(
            (&tally["created"], &tally["updated"]),
            (&json!(0), &json!(0)),
            "{entity}: {tally}"
        );
    }
}

#[test]
fn bad_lines_are_all_named_with_line_column_and_repair_and_nothing_is_written() {
    let bench = Bench::furnished();
    let file = bench.file(
        "devices.csv",
        "account,ssid,mac,passphrase\n\
         smith,smithnet,02:00:00:00:00:01,correct horse\n\
         smith,smithnet,02:00:00:00:00,correct horse\n\
         smith,smithnet,02:00:00:00:00:01,correct horse\n\
         nobody,smithnet,02:00:00:00:00:02,correct horse\n\
         smith,othernet,02:00:00:00:00:03,correct horse\n\
         smith,smithnet,02:00:00:00:00:04,short\n\
         smith,smithnet,02:00:00:00:00:05,\n\
         smith,smithnet,03:00:00:00:00:05,correct horse\n",
    );
    let error = bench.admin(&format!("import device {file}")).fails(65);
    insta::assert_snapshot!(error.replace(&file, "devices.csv"));
    assert_eq!(bench.admin("device list --json").json(), json!([]));
}

#[test]
fn a_wrong_header_is_named_with_what_is_allowed() {
    let bench = Bench::furnished();
    for (text, part) in [
        ("", ":1: the file is empty"),
        ("name,colour\n", ":1: there is no column \"colour\"; there are: name, class, status"),
        ("name\n", ":1: the column \"class\" is missing; name, class are needed"),
        ("name,class,name\n", ":1: the column \"name\" is there twice"),
        ("name,class\nx,gold,active\n", ":2: 3 fields, where the first line has 2"),
    ] {
        let file = bench.file("accounts.csv", text);
        let error = bench.admin(&format!("import account {file}")).fails(65);
        assert!(error.contains(part), "{error}");
    }
    bench.admin("import account %/none.csv").fails(66);
}

#[test]
fn what_is_there_already_is_refused_or_changed_as_asked() {
    let bench = Bench::furnished();
    bench.admin("class create basic").ok();
    let file =
        bench.file("accounts.csv", "class,name,status\nbasic,smith,suspended\nbasic,jones,\n");
    let error = bench.admin(&format!("import account {file}")).fails(65);
    assert!(
        error.contains("accounts.csv:2: name: account smith exists already: use --update"),
        "{error}"
    );
    assert_eq!(bench.admin("account list --json").json().as_array().unwrap().len(), 1);
    let tally = bench.admin(&format!("import account {file} --update --json")).json();
    assert_eq!((&tally["created"], &tally["updated"]), (&json!(1), &json!(1)));
    let smith = bench.admin("account show smith --json").json();
    assert_eq!((&smith["class"], &smith["status"]), (&json!("basic"), &json!("suspended")));
    // A column that is not there leaves what is.
    let file = bench.file("accounts.csv", "name,class\nsmith,gold\n");
    bench.admin(&format!("import account {file} --update")).ok();
    assert_eq!(bench.admin("account show smith --json").json()["status"], "suspended");
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let bench = Bench::furnished();
    let file = bench.file("devices.csv", "account,ssid,mac\nsmith,smithnet,02:00:00:00:00:01\n");
    let tally =
        bench.admin(&format!("import device {file} --dry-run --keys-out %/keys.csv --json")).json();
    assert_eq!(
        (&tally["created"], &tally["dry_run"], &tally["keys_out"]),
        (&json!(1), &json!(true), &json!(null))
    );
    assert_eq!(bench.admin("device list --json").json(), json!([]));
    assert!(!bench.path("keys.csv").exists());
}

#[test]
fn keys_that_are_left_out_are_made_into_a_private_file_that_fits_the_records() {
    let bench = Bench::furnished();
    let file = bench.file(
        "devices.csv",
        "account,ssid,mac,passphrase\nsmith,smithnet,02:00:00:00:00:01,\nsmith,smithnet,02:00:00:00:00:02,correct horse\n",
    );
    let tally = bench.admin(&format!("import device {file} --keys-out %/keys.csv --json")).json();
    assert_eq!(
        (&tally["created"], tally["keys_out"].as_str()),
        (&json!(2), bench.path("keys.csv").to_str())
    );
    assert_eq!(mode(&bench.path("keys.csv")), 0o600);
    let keys = std::fs::read_to_string(bench.path("keys.csv")).unwrap();
    assert!(
        keys.starts_with("account,ssid,mac,passphrase\nsmith,smithnet,02:00:00:00:00:01,"),
        "{keys}"
    );
    assert_eq!(keys.lines().count(), 2);
    // The file that was written is what the datastore has.
    let tally = bench.admin("import device %/keys.csv --update --json").json();
    assert_eq!((&tally["updated"], &tally["unchanged"]), (&json!(0), &json!(1)));
    let gateways = bench.file(
        "gateways.csv",
        "name,mac,place,operator,address\ngw-2,02:00:00:00:01:02,gb/leeds,op,10.0.0.2\n",
    );
    bench.admin(&format!("import gateway {gateways}")).fails(65);
    bench.admin(&format!("import gateway {gateways} --keys-out %/keys.csv")).fails(73);
    bench.admin(&format!("import gateway {gateways} --keys-out %/secrets.csv")).ok();
    let secrets = std::fs::read_to_string(bench.path("secrets.csv")).unwrap();
    assert!(secrets.starts_with("name,radius_secret\ngw-2,"), "{secrets}");
}

#[test]
fn more_devices_than_one_batch_are_imported() {
    let bench = Bench::furnished();
    let psk = "0123456789abcdef".repeat(4);
    let mut text = "account,ssid,mac,psk\n".to_owned();
    for n in 0..1100 {
        text.push_str(&format!(
            "smith,smithnet,02:00:00:01:{:02x}:{:02x},{psk}\n",
            n / 256,
            n % 256
        ));
    }
    let file = bench.file("devices.csv", &text);
    assert_eq!(
        bench.admin(&format!("import device {file}")).ok(),
        "created 1100, updated 0, unchanged 0\n"
    );
    let exported = bench.admin("export device").ok();
    assert_eq!(exported.lines().count(), 1101);
}

#[test]
fn what_only_the_datastore_can_refuse_names_the_line_and_what_was_written() {
    let bench = Bench::furnished();
    let file = bench.file(
        "gateways.csv",
        "name,mac,place,operator,address,radius_secret\n\
         gw-2,02:00:00:00:01:02,gb/leeds,op,10.0.0.2,a-secret-of-some-length\n\
         gw-3,02:00:00:00:01:03,gb/leeds,op,10.0.0.2,a-secret-of-some-length\n",
    );
    let error = bench.admin(&format!("import gateway {file}")).fails(65);
    assert!(
        error.contains("gateways.csv:3: refused by the datastore, 1 record before it was written"),
        "{error}"
    );
    assert!(error.contains("address 10.0.0.2 is gateway gw-2's already"), "{error}");
}

#[test]
fn an_export_is_json_where_json_is_asked_for() {
    let bench = Bench::furnished();
    assert_eq!(
        bench.admin("export account --json").json(),
        json!([{"name": "smith", "class": "gold", "status": "active"}])
    );
    let told = bench.admin("export account --json --out %/accounts.csv").json();
    assert_eq!((&told["entity"], &told["exported"]), (&json!("account"), &json!(1)));
    assert_eq!(
        std::fs::read_to_string(bench.path("accounts.csv")).unwrap(),
        "name,class,status\nsmith,gold,active\n"
    );
}
