//! The life of each kind of record.

use serde_json::json;

use crate::bench::{Bench, mode};

const DEVICE: &str = "smith/smithnet/02:00:00:00:00:01";

#[test]
fn a_key_ring_is_made_once_and_shows_no_key() {
    let bench = Bench::new();
    let ring = std::fs::read_to_string(bench.path("core.keys")).unwrap();
    let secret =
        ring.lines().find_map(|line| line.strip_prefix("key ")?.split(' ').nth(2)).unwrap();
    let error = bench.admin("key create").fails(73);
    assert!(error.contains("exists already"), "{error}");
    for shown in [bench.admin("key show").ok(), bench.admin("key show --json").ok()] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let keys = bench.admin("key show --json").json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    assert!(keys["keys"][0]["created"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn a_rotation_replaces_the_key_and_everything_still_opens() {
    let bench = Bench::furnished();
    bench.admin("device create --network 1 --mac 02:00:00:00:00:01").ok();
    let before = bench.admin("key show --json").json()["keys"][0]["id"].clone();
    let rotation = bench.admin("key rotate --json").json();
    assert_eq!(rotation["resealed"], 2);
    let after = bench.admin("key show --json").json();
    assert_eq!(
        (&after["keys"][0]["id"], after["keys"].as_array().unwrap().len()),
        (&rotation["key"], 1)
    );
    assert_ne!(after["keys"][0]["id"], before);
    bench.admin("device list").ok();
}

#[test]
fn a_key_is_not_made_for_a_datastore_that_it_would_not_open() {
    let bench = Bench::furnished();
    std::fs::remove_file(bench.path("core.keys")).unwrap();
    let error = bench.admin("key create").fails(73);
    assert!(error.contains("restore"), "{error}");
    let error = bench.admin("account list").fails(66);
    assert!(error.contains("no key file"), "{error}");
}

#[test]
fn the_life_of_a_class_of_service() {
    let bench = Bench::new();
    let made = bench
        .admin("class create gold --json --coverage everywhere --priority 5 --bandwidth-up 10M --bandwidth-down 50M --quota 20GB/month --encryption off --anchor local --bonding mirrored,striped --handoff-threshold -75 --session-timeout 1h --idle-timeout 5m --vlan 30 --retention 90d")
        .json();
    let whole = json!({
        "id": 1, "name": "gold", "coverage": "everywhere", "priority": 5,
        "bandwidth": {"up": 10_000_000, "down": 50_000_000},
        "quota": {"octets": 20_000_000_000_u64, "period": "month"},
        "encryption": "off", "anchor": "local", "bonding": {"mirrored": true, "striped": true},
        "handoff_threshold": -75, "session_timeout": 3600, "idle_timeout": 300,
        "vlan": 30, "retention": 90,
    });
    assert_eq!(made, whole);
    assert_eq!(bench.admin("class show gold --json").json(), whole);
    assert_eq!(bench.admin("class list --json").json(), json!([whole]));
    let changed =
        bench.admin("class set gold --quota none --priority 1 --rename silver --json").json();
    assert_eq!(
        (&changed["quota"], &changed["priority"], &changed["name"], &changed["bandwidth"]["up"]),
        (&json!(null), &json!(1), &json!("silver"), &json!(10_000_000))
    );
    let shown = bench.admin("class show silver").ok();
    assert!(shown.contains("bandwidth down      50Mbit/s\n"), "{shown}");
    assert!(shown.contains("sessions kept       90d\n"), "{shown}");
    bench.admin("class set silver --retention none").ok();
    let shown = bench.admin("class show silver").ok();
    assert!(shown.contains("sessions kept       the core's keep_sessions\n"), "{shown}");
    let error = bench.admin("class set silver --retention 36h").fails(2);
    assert!(error.contains("not in whole days: write 90d"), "{error}");
    let gone = bench.admin("class delete silver --json").json();
    assert_eq!(gone, json!({"deleted": {"entity": "class", "id": 1, "name": "silver"}}));
    assert_eq!(bench.admin("class list --json").json(), json!([]));
}

#[test]
fn the_life_of_an_account() {
    let bench = Bench::new();
    bench.admin("class create gold").ok();
    bench.admin("class create basic").ok();
    let made = bench.admin("account create smith --class gold --json").json();
    assert_eq!(made, json!({"id": 1, "name": "smith", "class": "gold", "status": "active"}));
    bench.admin("account create jones --class basic").ok();
    assert_eq!(bench.admin("account list --class gold --json").json(), json!([made]));
    assert_eq!(bench.admin("account suspend smith").ok(), "suspended account smith\n");
    let suspended = bench.admin("account list --status suspended --json").json();
    assert_eq!(suspended[0]["name"], "smith");
    assert_eq!(bench.admin("account resume smith --json").json()["status"], "active");
    let changed = bench.admin("account set smith --class basic --rename smyth --json").json();
    assert_eq!((&changed["class"], &changed["name"]), (&json!("basic"), &json!("smyth")));
    let error = bench.admin("class delete basic").fails(1);
    assert!(error.contains("class of service basic") && error.contains("2 accounts"), "{error}");
    assert_eq!(bench.admin("account delete smyth").ok(), "deleted account smyth\n");
    bench.admin("account show smyth").fails(66);
}

#[test]
fn the_life_of_a_gateway() {
    let bench = Bench::new();
    let made = bench
        .admin("gateway create gw-1 --mac 02-00-00-00-01-01 --place gb/london/n7 --operator op --address 10.8.0.0/24 --json")
        .json();
    assert_eq!(made["radius_secret"].as_str().unwrap().len(), 32);
    let whole = json!({
        "id": 1, "name": "gw-1", "mac": "02:00:00:00:01:01", "place": "gb/london/n7", "operator": "op",
        "address": "10.8.0.0/24", "lookup": "homeward", "status": "active",
        "channel": {"state": "none"},
    });
    assert_eq!(bench.admin("gateway show gw-1 --json").json(), whole);
    assert_eq!(bench.admin("gateway list --operator op --json").json(), json!([whole]));
    assert_eq!(bench.admin("gateway list --operator other --json").json(), json!([]));
    let changed = bench
        .admin("gateway set gw-1 --address none --lookup hostapd --place fr/paris --json")
        .json();
    assert_eq!(
        (&changed["address"], &changed["lookup"], &changed["place"], changed.get("radius_secret")),
        (&json!(null), &json!("hostapd"), &json!("fr/paris"), None)
    );
    let site = |set: &str| bench.admin(&format!("gateway set gw-1 --site {set} --json")).json();
    assert_eq!(site("-33.8568,151.2153,60")["site"], "-33.8568,151.2153,60");
    assert!(bench.admin("gateway show gw-1").ok().contains("-33.8568,151.2153,60"));
    assert_eq!(site("none").get("site"), None);
    let said = bench.admin("gateway set gw-1 --site 91,0,60").fails(2);
    assert!(said.contains("51.5007,-0.1246,60"), "{said}");
    assert_eq!(bench.admin("gateway suspend gw-1 --json").json()["status"], "suspended");
    assert_eq!(bench.admin("gateway resume gw-1").ok(), "resumed gateway gw-1\n");
    bench.admin("gateway delete gw-1").ok();
    bench.admin("gateway delete gw-1").fails(66);
}

#[test]
fn the_life_of_a_hybrid_device() {
    let bench = Bench::furnished();
    let made = bench
        .admin("gateway create phone-7 --device-of smith/smithnet --place gb/london --operator op --json")
        .json();
    let mac = made["mac"].as_str().unwrap().to_owned();
    let first = u8::from_str_radix(&mac[..2], 16).unwrap();
    assert_eq!(first & 3, 2, "{mac} is locally administered, and one station's");
    assert_eq!((&made["device_of"], made.get("radius_secret")), (&json!("smith/smithnet"), None));
    let other = "gateway create phone-8 --device-of 1 --place gb/london --operator op";
    let said = bench.admin(other).ok();
    assert!(said.contains("a hybrid device of smith/smithnet, its interface's MAC is "), "{said}");
    assert!(!said.contains(&mac), "another's is another");
    let shown = bench.admin("gateway show phone-7").ok();
    let line = |name: &str| {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.trim_start_matches(name).trim().to_owned()
    };
    assert_eq!((line("device of"), line("mac")), ("smith/smithnet".to_owned(), mac.clone()));
    let list = bench.admin("gateway list --device-of smith/smithnet").ok();
    assert!(
        list.contains("phone-7") && list.contains("phone-8") && !list.contains("gw-1"),
        "{list}"
    );

    let enrolled = bench.admin("gateway enrol phone-7").ok();
    assert!(enrolled.contains("hand it to the device"), "{enrolled}");
    let states = |what: &str| bench.admin("gateway show phone-7 --json").json()[what].clone();
    assert_eq!(states("channel")["state"], "token");
    bench.admin("gateway revoke phone-7").ok();
    assert_eq!(states("channel")["state"], "none");
    bench.admin("gateway suspend phone-7").ok();
    assert_eq!(states("status"), "suspended");
    bench.admin("gateway set phone-7 --mac 02:00:00:00:07:07").ok();
    assert_eq!(states("mac"), "02:00:00:00:07:07");
    for (words, code, part) in [
        ("gateway set phone-7 --address 10.8.0.1", 2, "it has no RADIUS address"),
        ("gateway set phone-7 --new-secret", 2, "it has no RADIUS secret"),
        ("network set smith/smithnet --gateway phone-7", 2, "no home for a network"),
        ("network delete smith/smithnet", 1, "still is home to 2 hybrid devices"),
    ] {
        let error = bench.admin(words).fails(code);
        assert!(error.contains(part), "{words}: {error}");
    }
    bench.admin("gateway delete phone-7").ok();
    bench.admin("network delete smith/smithnet --with-dependents").ok();
    bench.admin("gateway show phone-8").fails(66);
}

#[test]
fn a_hybrid_device_is_given_nothing_that_only_a_gateway_has() {
    let bench = Bench::furnished();
    let create =
        "gateway create phone-7 --device-of smith/smithnet --place gb/london --operator op";
    for option in
        ["--address 10.8.0.1", "--lookup homeward", "--secret-file %/s", "--secret-out %/s"]
    {
        let error = bench.admin(&format!("{create} {option}")).fails(2);
        assert!(error.contains("cannot be used with"), "{error}");
    }
    let error = bench.admin(&create.replace("smithnet", "other")).fails(66);
    assert!(error.contains("no network smith/other"), "{error}");
    let error = bench.admin("gateway create gw-9 --place gb/london --operator op").fails(2);
    assert!(error.contains("--mac"), "{error}");
}

#[test]
fn a_made_secret_goes_to_a_private_file_where_one_is_named() {
    let bench = Bench::new();
    let made = bench
        .admin("gateway create gw-1 --mac 02:00:00:00:01:01 --place gb/london --operator op --secret-out %/gw.secret --json")
        .json();
    assert_eq!(made.get("radius_secret"), None);
    let secret = std::fs::read_to_string(bench.path("gw.secret")).unwrap();
    assert_eq!((secret.trim_end().len(), mode(&bench.path("gw.secret"))), (32, 0o600));
    let shown = bench.admin("gateway set gw-1 --new-secret").ok();
    assert!(shown.contains("shown this once") && !shown.contains(secret.trim_end()), "{shown}");
    // The record stands already: the error tells how to get at a secret.
    let error = bench
        .admin("gateway create gw-2 --mac 02:00:00:00:01:02 --place gb/london --operator op --secret-out %/no/such")
        .fails(73);
    assert!(error.contains("set gw-2 --new-secret"), "{error}");
}

#[test]
fn the_life_of_a_network() {
    let bench = Bench::furnished();
    let whole = json!({
        "id": 1, "account": "smith", "ssid": "smithnet", "security": "wpa2-psk", "gateway": "gw-1",
        "status": "active",
    });
    assert_eq!(bench.admin("network show smith/smithnet --json").json(), whole);
    assert_eq!(bench.admin("network show 1 --json").json(), whole);
    assert_eq!(
        bench.admin("network list --account smith --gateway gw-1 --json").json(),
        json!([whole])
    );
    let changed = bench
        .admin("network set 1 --gateway none --security wpa2-wpa3 --ssid up/stairs --json")
        .json();
    assert_eq!(
        (&changed["gateway"], &changed["security"], &changed["ssid"]),
        (&json!(null), &json!("wpa2-wpa3"), &json!("up/stairs"))
    );
    assert_eq!(
        bench.admin("network suspend smith/up/stairs").ok(),
        "suspended network 1 (smith/up/stairs)\n"
    );
    assert_eq!(bench.admin("network resume 1 --json").json()["status"], "active");
    bench.admin("device create --network 1 --mac 02:00:00:00:00:01").ok();
    let error = bench.admin("network delete 1").fails(1);
    assert!(error.contains("network smith/up/stairs") && error.contains("1 device"), "{error}");
    bench.admin("network delete 1 --with-dependents").ok();
    bench.admin("device show 1").fails(66);
}

#[test]
fn the_life_of_a_device() {
    let bench = Bench::furnished();
    let made = bench
        .admin(
            "device create --network smith/smithnet --mac 02:00:00:00:00:01 --label phone --json",
        )
        .json();
    let passphrase = made["passphrase"].as_str().unwrap().to_owned();
    assert_eq!(passphrase.len(), 23);
    let whole = json!({
        "id": 1, "network": 1, "account": "smith", "ssid": "smithnet", "mac": "02:00:00:00:00:01",
        "key": "passphrase", "label": "phone", "status": "active",
    });
    assert_eq!(bench.admin(&format!("device show {DEVICE} --json")).json(), whole);
    for filter in ["--account smith", "--network 1", "--mac 02:00:00:00:00:01", "--status active"] {
        assert_eq!(
            bench.admin(&format!("device list {filter} --json")).json(),
            json!([whole]),
            "{filter}"
        );
    }
    let again = bench.admin("device rekey 1 --json").json()["passphrase"].clone();
    assert!(again.is_string() && again != json!(passphrase));
    let psk = bench.file("psk", &"0a".repeat(32));
    let raw = bench.admin(&format!("device rekey 1 --psk-hex-file {psk} --json")).json();
    assert_eq!((&raw["key"], raw.get("passphrase")), (&json!("psk"), None));
    let changed = bench.admin("device set 1 --label tablet --mac 02:00:00:00:00:02 --json").json();
    assert_eq!(
        (&changed["label"], &changed["mac"]),
        (&json!("tablet"), &json!("02:00:00:00:00:02"))
    );
    bench.admin(&format!("device show {DEVICE}")).fails(66);
    assert_eq!(bench.admin("device suspend 1 --json").json()["status"], "suspended");
    assert_eq!(bench.admin("device resume 1 --json").json()["status"], "active");
    bench.admin("device delete 1").ok();
    assert_eq!(bench.admin("device list --json").json(), json!([]));
}

#[test]
fn a_device_of_an_802_1x_network_has_no_key_and_one_of_sae_needs_a_passphrase() {
    let bench = Bench::furnished();
    bench.admin("network create --account smith --ssid office --security 802.1x").ok();
    bench.admin("network create --account smith --ssid sae --security wpa3-sae").ok();
    let device =
        bench.admin("device create --network smith/office --mac 02:00:00:00:00:01 --json").json();
    assert_eq!((&device["key"], device.get("passphrase")), (&json!("none"), None));
    let psk = bench.file("psk", &"0a".repeat(32));
    let error = bench.admin(&format!(
        "device create --network smith/sae --mac 02:00:00:00:00:01 --psk-hex-file {psk}"
    ));
    assert!(error.fails(2).contains("needs a passphrase"));
}

#[test]
fn a_record_joins_what_a_look_up_needs() {
    let bench = Bench::furnished();
    bench.admin("device create --network 1 --mac 02:00:00:00:00:01 --label phone").ok();
    let records = bench.admin("record show 02:00:00:00:00:01 smithnet --json").json();
    let record = &records[0];
    assert_eq!(
        (&record["device"]["label"], &record["network"]["ssid"], &record["account"]["name"]),
        (&json!("phone"), &json!("smithnet"), &json!("smith"))
    );
    assert_eq!(
        (&record["class"]["name"], &record["home"]["name"]),
        (&json!("gold"), &json!("gw-1"))
    );
    for scope in
        ["", "--class gold", "--account smith", "--gateway gw-1", "--network smith/smithnet"]
    {
        assert_eq!(bench.admin(&format!("record list {scope} --json")).json(), records, "{scope}");
    }
    bench.admin("network suspend 1").ok();
    assert!(bench.admin("record list").ok().contains("network suspended"));
    let error = bench.admin("record show 02:00:00:00:00:01 other").fails(66);
    assert!(error.contains("02:00:00:00:00:01 in a network other"), "{error}");
}

#[test]
fn what_does_not_exist_is_named_with_how_to_find_what_does() {
    let bench = Bench::furnished();
    for (words, part) in [
        ("class show x", "no class of service x; `homeward admin class list`"),
        ("account create new --class x", "no class of service x; `homeward admin class list`"),
        ("account suspend x", "no account x; `homeward admin account list`"),
        ("gateway resume x", "no gateway x; `homeward admin gateway list`"),
        ("network delete 99", "no network 99; `homeward admin network list`"),
        ("network show smith/other", "no network smith/other; `homeward admin network list`"),
        ("network show x/y", "no account x; `homeward admin account list`"),
        ("device rekey 99", "no device 99; `homeward admin device list`"),
        (
            "device show smith/smithnet/02:00:00:00:00:09",
            "no device smith/smithnet/02:00:00:00:00:09;",
        ),
    ] {
        let error = bench.admin(words).fails(66);
        assert!(error.contains(part), "{words}: {error}");
    }
}

#[test]
fn what_is_taken_or_not_allowed_is_refused_by_name() {
    let bench = Bench::furnished();
    for (words, code, part) in [
        ("class create gold", 1, "class of service gold exists already"),
        (
            "gateway create gw-2 --mac 02:00:00:00:01:01 --place gb/london --operator op",
            1,
            "gateway gw-1's already",
        ),
        (
            "network create --account smith --ssid smithnet --security wpa3-sae",
            1,
            "network smithnet already",
        ),
        ("account set smith", 2, "nothing to change"),
        ("class create x --priority 9", 2, "0 (last) to 7 (first)"),
        ("class create x --quota 20GB", 2, "20GB/month"),
        ("device create --network 1 --mac 03:00:00:00:00:01", 2, "group address"),
        ("device create --network 1 --mac 02:00:00:00:00", 2, "not a MAC address"),
        (
            "gateway create x --mac 02:00:00:00:01:02 --place London --operator op",
            2,
            "country/region",
        ),
    ] {
        let error = bench.admin(words).fails(code);
        assert!(error.contains(part), "{words}: {error}");
    }
}

#[test]
fn nothing_is_made_by_looking() {
    let bench = Bench::new();
    let error = bench.admin("account list").fails(66);
    assert!(error.contains("no datastore at"), "{error}");
    assert!(!bench.path("core.db").exists());
}

#[test]
fn the_datastore_is_found_by_the_cores_configuration() {
    let bench = Bench::furnished();
    let store = format!(
        "[store]\npath = {:?}\nkey_file = {:?}\n",
        bench.path("core.db"),
        bench.path("core.keys")
    );
    let config = bench.file("core.toml", &store);
    let found =
        crate::bench::homeward(&["admin", "account", "list", "--json", "--config", &config]).json();
    assert_eq!(found[0]["name"], "smith");
    let error = crate::bench::homeward(&["admin", "account", "list", "--database", "x"]).fails(2);
    assert!(error.contains("go together"), "{error}");
}
