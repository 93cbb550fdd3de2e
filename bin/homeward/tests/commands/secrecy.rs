//! Keys and secrets are shown once, when they are made, and never again.

use crate::bench::{Bench, mode};

const PASSPHRASE: &str = "correct horse battery";
const SECRET: &str = "a-radius-secret-of-some-length";

#[test]
fn no_output_shows_a_key_that_was_given() {
    let bench = Bench::furnished();
    let (passphrase, secret) =
        (bench.file("passphrase", PASSPHRASE), bench.file("secret", &format!("{SECRET}\n")));
    let psk = "0123456789abcdef".repeat(4);
    let psk_file = bench.file("psk", &psk);
    let mut shown = String::new();
    for words in [
        format!(
            "device create --network 1 --mac 02:00:00:00:00:01 --passphrase-file {passphrase} --json"
        ),
        format!("device create --network 1 --mac 02:00:00:00:00:02 --psk-hex-file {psk_file}"),
        format!("gateway set gw-1 --secret-file {secret} --json"),
        "device list".into(),
        "device list --json".into(),
        "device show 1".into(),
        "device show 1 --json".into(),
        "account show smith --json".into(),
        "gateway list --json".into(),
        "gateway show gw-1".into(),
        "record list --json".into(),
        "record show 02:00:00:00:00:01 smithnet".into(),
        "export device".into(),
        "export device --json".into(),
        "export gateway".into(),
        "device delete 2 --json".into(),
    ] {
        shown.push_str(&bench.admin(&words).ok());
    }
    for key in [PASSPHRASE, SECRET, &psk] {
        assert!(!shown.contains(key), "{shown}");
    }
}

#[test]
fn a_made_key_is_shown_once() {
    let bench = Bench::furnished();
    let made = bench.admin("device create --network 1 --mac 02:00:00:00:00:01 --json").json();
    let passphrase = made["passphrase"].as_str().unwrap();
    for words in [
        "device show 1",
        "device show 1 --json",
        "device set 1 --label x --json",
        "record list --json",
    ] {
        assert!(!bench.admin(words).ok().contains(passphrase), "{words}");
    }
    for file in ["core.db", "core.db-wal"] {
        let octets = std::fs::read(bench.path(file)).unwrap_or_default();
        assert!(!octets.windows(passphrase.len()).any(|w| w == passphrase.as_bytes()), "{file}");
    }
}

#[test]
fn a_key_file_that_others_may_read_is_refused() {
    let bench = Bench::furnished();
    let path = bench.file("passphrase", PASSPHRASE);
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let done = bench.admin(&format!(
        "device create --network 1 --mac 02:00:00:00:00:01 --passphrase-file {path}"
    ));
    let error = done.fails(78);
    assert!(error.contains("chmod o=") && !error.contains(PASSPHRASE), "{error}");
}

#[test]
fn a_bad_key_is_refused_without_being_repeated() {
    let bench = Bench::furnished();
    for (option, contents) in [
        ("passphrase-file", "short"),
        ("psk-hex-file", "nothex"),
        ("passphrase-file", "caf\u{e9} \u{e9}t\u{e9}"),
    ] {
        let path = bench.file("key", contents);
        let words = format!("device create --network 1 --mac 02:00:00:00:00:01 --{option} {path}");
        let error = bench.admin(&words).fails(65);
        assert!(error.contains("key") && !error.contains(contents), "{error}");
    }
}

#[test]
fn an_export_with_keys_goes_to_a_new_private_file_only() {
    let bench = Bench::furnished();
    let path = bench.file("passphrase", PASSPHRASE);
    bench
        .admin(&format!(
            "device create --network 1 --mac 02:00:00:00:00:01 --passphrase-file {path}"
        ))
        .ok();
    bench.admin("export device --with-keys").fails(2);
    bench.admin("export device --with-keys --out %/keys.csv").ok();
    let text = std::fs::read_to_string(bench.path("keys.csv")).unwrap();
    assert!(text.contains(PASSPHRASE), "{text}");
    assert_eq!(mode(&bench.path("keys.csv")), 0o600);
    bench.admin("export device --with-keys --out %/keys.csv").fails(73);
}
