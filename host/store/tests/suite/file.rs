//! What may be wrong with a file or its key file, and what the schema itself refuses.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use homeward_model::UnixTime;
use homeward_seal::KeyRing;
use homeward_seal::testing::XorshiftEntropy;
use homeward_store::testing::ManualClock;
use homeward_store::{Devices, Networks, Outbox, Seq, SqliteOptions, SqliteStore};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::world::{NOON, Place, account, device, entropy, gateway, network};

/// The datastore's own tables, as another program would see them.
async fn raw(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    options.foreign_keys(true).connect().await.unwrap()
}

async fn execute(path: &Path, statement: &'static str) -> Result<(), sqlx::Error> {
    let mut connection = raw(path).await;
    let done = sqlx::query(statement).execute(&mut connection).await;
    connection.close().await.unwrap();
    done.map(drop)
}

async fn refusal(place: &Place, path: &Path) -> String {
    let clock = Arc::new(ManualClock::at(NOON));
    match SqliteStore::open(path, place.ring(), clock, entropy(1)).await {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error.to_string(),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_file_and_its_log_are_the_owners_alone() {
    let place = Place::new();
    let store = place.open(1).await.unwrap();
    account(&store, "smith").await;
    for file in ["homeward.db", "homeward.db-wal", "homeward.db-shm", "homeward.keys"] {
        assert_eq!(mode(&place.path().join(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_closed_datastore_leaves_one_file_and_opens_again() {
    let place = Place::new();
    let store = place.open(1).await.unwrap();
    let smith = account(&store, "smith").await;
    store.close().await;
    assert!(!place.path().join("homeward.db-wal").exists());
    let store = place.open(2).await.unwrap();
    assert_eq!(network(&store, smith.id, None, "home").await.account, smith.id);
}

#[tokio::test]
async fn a_path_that_is_no_datastore_is_refused_with_the_reason() {
    let place = Place::new();
    let file = |name: &str| place.path().join(name);
    let show = |name: &str| file(name).display().to_string();
    assert_eq!(
        refusal(&place, &file("nowhere/homeward.db")).await,
        format!("no directory {}; create it first", show("nowhere"))
    );
    assert_eq!(
        refusal(&place, place.path()).await,
        format!("{} is not a file", place.path().display())
    );

    fs::write(file("text"), "a".repeat(5000)).unwrap();
    fs::set_permissions(file("text"), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(
        refusal(&place, &file("text")).await,
        format!("{} is not a SQLite database", show("text"))
    );

    execute(&file("other"), "CREATE TABLE song (title TEXT)").await.unwrap();
    fs::set_permissions(file("other"), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(
        refusal(&place, &file("other")).await,
        format!("{} is a SQLite database, but no datastore of Homeward", show("other"))
    );
    assert!(!file("other-wal").exists(), "it was written to");
}

#[tokio::test]
async fn a_file_that_others_may_read_is_refused_with_the_repair() {
    let place = Place::new();
    place.open(1).await.unwrap().close().await;
    let path = place.database();
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let path = path.display();
        assert_eq!(
            refusal(&place, &place.database()).await,
            format!(
                "{path} may be read or written by others (mode {mode:04o}); run `chmod 600 {path}`"
            )
        );
    }
}

#[tokio::test]
async fn a_missing_file_is_made_only_if_wanted() {
    let place = Place::new();
    let clock = Arc::new(ManualClock::at(NOON));
    let options = SqliteOptions::new(place.database()).create(false);
    let error = options.open(place.ring(), clock, entropy(1)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no datastore at {}", place.database().display()));
    assert!(!place.database().exists());
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let place = Place::new();
    place.open(1).await.unwrap().close().await;
    execute(
        &place.database(),
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'to come', TRUE, x'00', 0)",
    )
    .await
    .unwrap();
    assert_eq!(
        refusal(&place, &place.database()).await,
        format!(
            "{} has schema 9999, this version knows up to 9; use a newer homeward",
            place.database().display()
        )
    );
}

#[tokio::test]
async fn another_datastores_key_file_is_refused_at_once() {
    let (place, other) = (Place::new(), Place::new());
    place.open(1).await.unwrap().close().await;
    let path = other.path().join("other.keys");
    let mut octets = XorshiftEntropy::new(77);
    KeyRing::generate(&path, &mut octets, UnixTime(NOON)).unwrap();
    let clock = Arc::new(ManualClock::at(NOON));
    let wrong = KeyRing::load(&path).unwrap();
    let error = SqliteStore::open(&place.database(), wrong, clock, entropy(1)).await.unwrap_err();
    let id = place.ring().ids().next().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "the datastore is sealed with key {id}, which {} does not hold; is it another datastore's key file?",
            path.display()
        )
    );
}

#[tokio::test]
async fn a_key_moved_to_another_row_does_not_open_and_can_be_deleted() {
    let place = Place::new();
    let store = place.open(1).await.unwrap();
    let smith = account(&store, "smith").await;
    let home = network(&store, smith.id, None, "home").await;
    let (thief, victim) = (device(&store, home.id, 1).await, device(&store, home.id, 2).await);
    execute(
        &place.database(),
        "UPDATE device SET key = (SELECT key FROM device WHERE id = 2) WHERE id = 1",
    )
    .await
    .unwrap();
    let error = store.device(thief.id).await.unwrap_err();
    assert!(error.to_string().starts_with("device 1: its sealed key does not open"), "{error}");
    assert_eq!(store.device(victim.id).await.unwrap(), Some(victim));
    assert!(store.delete_device(thief.id).await.unwrap());
}

#[tokio::test]
async fn a_key_whose_kind_was_forged_does_not_open() {
    let place = Place::new();
    let store = place.open(1).await.unwrap();
    let smith = account(&store, "smith").await;
    let home = network(&store, smith.id, None, "home").await;
    let phone = device(&store, home.id, 1).await;
    for statement in [
        "UPDATE device SET key_kind = 'psk'",
        "UPDATE device SET key_kind = 'passphrase', key = x'01'",
        "UPDATE device SET key_kind = 'none', key = NULL",
    ] {
        execute(&place.database(), statement).await.unwrap();
        match store.device(phone.id).await {
            Ok(found) => assert_eq!(found.unwrap().key, None, "{statement}"),
            Err(e) => assert_eq!(
                e.to_string(),
                "device 1: its key is no sealed value of this version",
                "{statement}"
            ),
        }
    }
}

#[tokio::test]
async fn the_schema_itself_refuses_what_would_break_a_promise() {
    let place = Place::new();
    let store = place.open(1).await.unwrap();
    let smith = account(&store, "smith").await;
    let gw = gateway(&store, "gw-1", 1).await;
    let home = network(&store, smith.id, Some(gw.id), "home").await;
    device(&store, home.id, 1).await;
    for statement in [
        "DELETE FROM class",
        "DELETE FROM account",
        "DELETE FROM gateway",
        "DELETE FROM network",
        "INSERT INTO account SELECT NULL, name, class, status FROM account",
        "UPDATE account SET class = 99",
        "UPDATE account SET status = 'asleep'",
        "UPDATE gateway SET device_of = 99",
        "UPDATE network SET ssid = x''",
        "UPDATE network SET security = 'wep'",
        "INSERT INTO network SELECT NULL, account, gateway, ssid, security, status FROM network",
        "UPDATE device SET mac = x'0102030405'",
        "UPDATE device SET key = NULL",
        "UPDATE device SET key = 'text'",
        "INSERT INTO device SELECT NULL, network, mac, key_kind, key, label, status FROM device",
        "UPDATE class SET priority = 8",
        "UPDATE class SET quota_octets = 5",
        "UPDATE class SET anchor = 'sea'",
        "INSERT INTO enrolment_token VALUES (99, zeroblob(32), 0, NULL)",
        "INSERT INTO credential VALUES (zeroblob(16), 99, 0, 0, NULL, NULL, NULL)",
        "INSERT INTO credential VALUES (zeroblob(15), 1, 0, 0, NULL, NULL, NULL)",
        "INSERT INTO credential VALUES (zeroblob(16), 1, 0, 0, NULL, 0, NULL)",
        "INSERT INTO move VALUES (1, 99, 1.0, 0)",
        "INSERT INTO move VALUES (1, 1, 1.0, 0)",
        "INSERT INTO outbox VALUES (NULL, 'device', 1, 'create', 'no json', 0)",
        "INSERT INTO sealing VALUES (2, x'0000000000000000')",
    ] {
        assert!(execute(&place.database(), statement).await.is_err(), "{statement}");
    }
    assert!(store.network(home.id).await.unwrap().is_some());
}

#[tokio::test]
async fn an_outbox_entry_of_a_kind_to_come_is_an_error_not_a_gap() {
    let place = Place::new();
    let store = place.open(1).await.unwrap();
    account(&store, "smith").await;
    execute(&place.database(), "UPDATE outbox SET payload = '{}' WHERE seq = 2").await.unwrap();
    let error = store.outbox_after(Seq(1), 10).await.unwrap_err();
    assert_eq!(error.to_string(), "account 1 in the datastore cannot be read");
}
