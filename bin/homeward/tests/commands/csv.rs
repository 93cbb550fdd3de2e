//! CSV, out and in.

use std::sync::Arc;

use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::service::Bandwidth;
use homeward_model::{Account, ClassOfService, Device, Gateway, Network, ServiceTerms, Subscriber};
use homeward_seal::KeyRing;
use homeward_store::{
    AccountFilter, Accounts as _, Classes as _, DeviceFilter, Devices as _, GatewayFilter,
    Gateways as _, NetworkFilter, Networks as _, Page, SqliteStore, SubscriberFilter,
    Subscribers as _,
};
use serde_json::json;

use crate::bench::{Bench, mode};

const ENTITIES: [&str; 7] =
    ["class", "account", "gateway", "network", "device", "hybrid", "subscriber"];

/// One of everything, with all that a CSV file might get wrong.
fn full() -> Bench {
    let bench = Bench::furnished();
    bench.admin("class create all --coverage local --priority 7 --bandwidth-up 512k --bandwidth-down 2M --quota 2GiB/week --encryption off --anchor local --bonding striped --handoff-threshold -70 --session-timeout 1h30m --idle-timeout 90s --vlan 30 --retention 400d").ok();
    bench.admin("account create jones,ltd --class all").fails(2);
    bench.admin("account create jones --class all").ok();
    bench.admin("account suspend jones").ok();
    bench.admin("gateway create ap-9 --mac 02:00:00:00:01:09 --place fr/paris --operator other --address 2001:db8::/32 --lookup hostapd --site -48.85,2.35,80").ok();
    bench.admin("gateway suspend ap-9").ok();
    bench.admin("network create --account jones --ssid hex:ff00 --security wpa3-sae").ok();
    bench
        .admin("network create --account jones --ssid a,\"b\" --security 802.1x --gateway ap-9")
        .ok();
    bench.admin("network suspend 2").ok();
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
    bench.admin("gateway create phone --device-of jones/hex:ff00 --mac 02:00:00:00:02:01 --place fr/nice --operator other").ok();
    bench.admin("gateway suspend phone").ok();
    bench.admin("gateway create tablet --device-of smith/smithnet --mac 02:00:00:00:02:02 --place gb/london --operator op").ok();
    bench
        .admin(
            "subscriber add 999700123456789 --account smith --msisdn +447700900123 --label a,\"b\"",
        )
        .ok();
    bench.admin("subscriber add 999700123456780 --account jones").ok();
    bench.admin("subscriber suspend 999700123456780").ok();
    bench
}

/// What a datastore holds of all that can be exported.
struct Held {
    classes: Vec<ClassOfService>,
    accounts: Vec<Account>,
    gateways: Vec<Gateway>,
    networks: Vec<Network>,
    devices: Vec<Device>,
    subscribers: Vec<Subscriber>,
}

impl Held {
    fn by(bench: &Bench) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let keys = KeyRing::load(&bench.path("core.keys")).unwrap();
            let (clock, entropy) = (Arc::new(SystemClock), Box::new(SystemEntropy::new()));
            let path = bench.path("core.db");
            let store = SqliteStore::open(&path, keys, clock, entropy).await.unwrap();
            let held = Self {
                classes: store.classes(Page::first(1000)).await.unwrap(),
                accounts: store
                    .accounts(&AccountFilter::default(), Page::first(1000))
                    .await
                    .unwrap(),
                gateways: store
                    .gateways(&GatewayFilter::default(), Page::first(1000))
                    .await
                    .unwrap(),
                networks: store
                    .networks(&NetworkFilter::default(), Page::first(1000))
                    .await
                    .unwrap(),
                devices: store.devices(&DeviceFilter::default(), Page::first(1000)).await.unwrap(),
                subscribers: store
                    .subscribers(&SubscriberFilter::default(), Page::first(1000))
                    .await
                    .unwrap(),
            };
            store.close().await;
            held
        })
    }

    #[track_caller]
    fn is(&self, other: &Self) {
        assert_eq!(self.classes, other.classes);
        assert_eq!(self.accounts, other.accounts);
        assert_eq!(self.gateways, other.gateways);
        assert_eq!(self.networks, other.networks);
        assert_eq!(self.devices, other.devices);
        assert_eq!(self.subscribers, other.subscribers);
    }
}

/// That no field is the same in all records: one that an export or an import forgets would show.
macro_rules! every_field_varies {
    ($records:expr, $kind:ident { $($field:ident),+ }) => {
        // No `..`: a field that is added is to be named here, exported and imported.
        for $kind { $($field),+ } in &$records {
            let first = &$records[0];
            let _ = ($($field == &first.$field),+);
        }
        $(
            let varies = $records.iter().any(|one| one.$field != $records[0].$field);
            assert!(varies, concat!(stringify!($kind), ".", stringify!($field)));
        )+
    };
}

#[test]
fn every_field_of_every_record_survives_an_export_and_an_import() {
    let (old, new) = (full(), Bench::new());
    let before = Held::by(&old);
    let terms: Vec<ServiceTerms> = before.classes.iter().map(|class| class.terms).collect();
    let bandwidths: Vec<Bandwidth> = terms.iter().map(|terms| terms.bandwidth).collect();
    every_field_varies!(before.classes, ClassOfService { id, name, coverage, terms, retention });
    every_field_varies!(
        terms,
        ServiceTerms {
            priority,
            bandwidth,
            quota,
            encryption,
            anchor,
            bonding,
            handoff_threshold,
            session_timeout,
            idle_timeout,
            vlan
        }
    );
    every_field_varies!(bandwidths, Bandwidth { up, down });
    every_field_varies!(before.accounts, Account { id, name, class, status });
    every_field_varies!(
        before.gateways,
        Gateway {
            id,
            name,
            mac,
            place,
            operator,
            address,
            radius_secret,
            lookup,
            status,
            device_of,
            site
        }
    );
    every_field_varies!(before.networks, Network { id, account, gateway, ssid, security, status });
    every_field_varies!(before.devices, Device { id, network, mac, key, label, status });
    every_field_varies!(
        before.subscribers,
        Subscriber { id, imsi, msisdn, account, label, status }
    );
    for entity in ENTITIES {
        old.admin(&format!("export {entity} --with-keys --out %/{entity}.csv")).ok();
        let from = old.path(&format!("{entity}.csv"));
        new.admin(&format!("import {entity} {}", from.display())).ok();
    }
    Held::by(&new).is(&before);
}

/// The same keys as [`full`], in the same order, and nothing else in common.
fn other() -> Bench {
    let bench = Bench::new();
    for words in [
        "class create gold --coverage everywhere --priority 3 --bandwidth-up 1M --bandwidth-down 3M \
         --quota 1GiB/day --encryption off --anchor local --bonding striped --handoff-threshold -80 \
         --session-timeout 1h --idle-timeout 30s --vlan 7 --retention 5d",
        "class create all",
        "account create smith --class all",
        "account suspend smith",
        "account create jones --class gold",
        "gateway create gw-1 --mac 02:00:00:00:09:01 --place fr/lyon --operator others \
         --address 127.0.0.9 --lookup hostapd",
        "gateway suspend gw-1",
        "gateway create ap-9 --mac 02:00:00:00:09:09 --place gb/leeds --operator third",
        "network create --account smith --ssid smithnet --security wpa3-sae",
        "network suspend 1",
        "network create --account jones --ssid hex:ff00 --security wpa2-psk --gateway gw-1",
        "network create --account jones --ssid a,\"b\" --security 802.1x",
        "device create --network smith/smithnet --mac 02:00:00:00:00:01",
        "device suspend 1",
        "device create --network jones/hex:ff00 --mac 02:00:00:00:00:01 --label other",
        "device create --network jones/a,\"b\" --mac 02:00:00:00:00:03 --label third",
        "device create --network smith/smithnet --mac 02:00:00:00:00:04 --label fourth",
        "gateway create phone --device-of jones/hex:ff00 --mac 02:00:00:00:09:11 --place gb/hull \
         --operator op",
        "gateway create tablet --device-of smith/smithnet --mac 02:00:00:00:09:12 --place fr/brest \
         --operator other",
        "gateway suspend tablet",
        "subscriber add 999700123456789 --account jones",
        "subscriber suspend 999700123456789",
    ] {
        bench.admin(words).ok();
    }
    // Nobody is at home anywhere with that class.
    let last =
        "subscriber add 999700123456780 --account smith --msisdn +447700900999 --label other";
    bench.admin(last).warns();
    bench
}

#[test]
fn every_field_of_every_record_that_is_there_is_what_an_update_says() {
    let (old, new) = (full(), other());
    for entity in ENTITIES {
        old.admin(&format!("export {entity} --with-keys --out %/{entity}.csv")).ok();
        let from = old.path(&format!("{entity}.csv"));
        new.admin(&format!("import {entity} {} --update", from.display())).ok();
    }
    Held::by(&new).is(&Held::by(&old));
}

/// The columns that a file cannot do without.
const NEEDED: [(&str, &[&str]); 7] = [
    ("class", &["name"]),
    ("account", &["name", "class"]),
    ("gateway", &["name", "mac", "place", "operator"]),
    ("network", &["account", "ssid", "security"]),
    ("device", &["account", "ssid", "mac"]),
    ("hybrid", &["name", "account", "ssid", "mac", "place", "operator"]),
    ("subscriber", &["imsi", "account"]),
];

#[test]
fn a_column_that_is_not_there_leaves_every_field_as_it_is() {
    let bench = full();
    let before = Held::by(&bench);
    for (entity, needed) in NEEDED {
        let rows = bench.admin(&format!("export {entity} --json")).json();
        let mut file = csv::Writer::from_path(bench.path("needed.csv")).unwrap();
        file.write_record(needed).unwrap();
        for row in rows.as_array().unwrap() {
            file.write_record(needed.iter().map(|column| row[*column].as_str().unwrap())).unwrap();
        }
        drop(file);
        let tally = bench.admin(&format!("import {entity} %/needed.csv --update --json")).json();
        assert_eq!((&tally["created"], &tally["updated"]), (&json!(0), &json!(0)), "{tally}");
    }
    Held::by(&bench).is(&before);
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
fn a_gateway_and_a_hybrid_device_do_not_become_each_other_nor_change_homes() {
    let bench = full();
    let header = "name,account,ssid,mac,place,operator\n";
    for (text, part) in [
        ("gw-1,smith,smithnet,02:00:00:00:01:01,gb/london,op\n", "gw-1 is a gateway, which does"),
        (
            "phone,smith,smithnet,02:00:00:00:02:01,fr/nice,op\n",
            "phone is of another network, which",
        ),
        ("x,smith,othernet,02:00:00:00:02:09,fr/nice,op\n", "there is no network smith/othernet:"),
        ("x,nobody,smithnet,02:00:00:00:02:09,fr/nice,op\n", "there is no account nobody:"),
    ] {
        let file = bench.file("hybrid.csv", &format!("{header}{text}"));
        let error = bench.admin(&format!("import hybrid {file} --update")).fails(65);
        assert!(error.contains(part), "{error}");
    }
    let file =
        bench.file("gateways.csv", "name,mac,place,operator\nphone,02:00:00:00:02:01,fr/nice,op\n");
    let error = bench.admin(&format!("import gateway {file} --update")).fails(65);
    assert!(error.contains("name: phone is a hybrid device: `import hybrid`"), "{error}");
    let names = |rows: serde_json::Value| -> Vec<String> {
        let name = |row: &serde_json::Value| row["name"].as_str().unwrap().to_owned();
        rows.as_array().unwrap().iter().map(name).collect()
    };
    assert_eq!(names(bench.admin("export gateway --json").json()), ["gw-1", "ap-9"]);
    assert_eq!(names(bench.admin("export hybrid --json").json()), ["phone", "tablet"]);
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
