//! Two independent pools share one file, as `homeward core` and `homeward admin` do.

use std::sync::Arc;
use std::time::Duration;

use homeward_model::{NetworkId, Status, Uses};
use homeward_store::testing::ManualClock;
use homeward_store::{
    Accounts, DeviceChange, Devices, Error, GatewayChange, Gateways, Issuing, Keys, Logins,
    Networks, NewLogin, Outbox, Page, Roaming, Scope, Seq, SqliteOptions, SqliteStore,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::world::{
    NOON, Place, account, device, entropy, gateway, imsi, mac, network, new_device, new_issue,
    new_login, ssid, subscriber,
};

async fn raw(place: &Place) -> SqliteConnection {
    SqliteConnectOptions::new().filename(place.database()).connect().await.unwrap()
}

/// A network of one account, and the store that made it.
async fn filled(place: &Place, process: u64) -> (SqliteStore, NetworkId) {
    let store = place.open(process).await.unwrap();
    let smith = account(&store, "smith").await;
    let home = network(&store, smith.id, None, "home").await.id;
    (store, home)
}

#[tokio::test]
async fn what_one_process_commits_the_other_is_told_and_reads() {
    let place = Place::new();
    let (admin, home) = filled(&place, 1).await;
    let core = place.open(2).await.unwrap();
    let seen = core.outbox_head().await.unwrap();
    let (head, phone) = tokio::join!(core.changed(seen), device(&admin, home, 1));
    let head = head.unwrap();
    assert_eq!(head, Seq(seen.0 + 1));
    let entries = core.outbox_after(seen, 10).await.unwrap();
    assert_eq!(entries[0].record.id(), phone.id.0);
    let records = core.roaming_records(Scope::Device(phone.id), Page::first(1)).await.unwrap();
    assert_eq!(records[0].device, phone);

    let suspend = DeviceChange::status(Status::Suspended);
    let (told, _) = tokio::join!(core.changed(head), admin.update_device(phone.id, &suspend));
    assert_eq!(told.unwrap(), Seq(head.0 + 1));
    let record = core.roaming_record(mac(1), ssid("home")).await.unwrap().remove(0);
    assert_eq!(record.device.status, Status::Suspended);
}

#[tokio::test]
async fn writers_of_two_processes_wait_for_each_other() {
    let place = Place::new();
    let (one, home) = filled(&place, 1).await;
    let two = place.open(2).await.unwrap();
    let fill = async |store: &SqliteStore, first: u8| {
        for last in first..first + 20 {
            store.create_device(&new_device(home, last)).await.unwrap();
        }
    };
    tokio::join!(fill(&one, 0), fill(&one, 20), fill(&two, 40), fill(&two, 60));
    let devices = one.devices(&Default::default(), Page::first(100)).await.unwrap();
    assert_eq!(devices.len(), 80);
    let entries = two.outbox_after(Seq::ZERO, 100).await.unwrap();
    let seqs: Vec<i64> = entries.iter().map(|e| e.seq.0).collect();
    assert_eq!(seqs, (1..=83).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_reader_does_not_wait_for_a_writer_and_a_writer_not_for_ever() {
    let place = Place::new();
    let (patient, home) = filled(&place, 1).await;
    let options = SqliteOptions::new(place.database()).busy_timeout(Duration::from_millis(20));
    let clock = Arc::new(ManualClock::at(NOON));
    let hasty = options.open(place.ring(), clock, entropy(2)).await.unwrap();

    let mut other = raw(&place).await;
    let held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    assert!(hasty.network(home).await.unwrap().is_some());
    let error = hasty.create_device(&new_device(home, 1)).await.unwrap_err();
    assert!(matches!(error, Error::Locked), "{error:?}");
    assert_eq!(
        error.to_string(),
        "another writer has held the datastore locked for too long; try again, or look for a process that hangs"
    );
    let free = async { held.rollback().await.unwrap() };
    let new = new_device(home, 1);
    let (made, ()) = tokio::join!(patient.create_device(&new), free);
    made.unwrap();
    hasty.create_device(&new_device(home, 2)).await.unwrap();
}

#[tokio::test]
async fn a_process_with_an_old_ring_reads_and_writes_across_a_rotation() {
    let place = Place::new();
    let (admin, home) = filled(&place, 1).await;
    gateway(&admin, "gw-1", 1).await;
    let core = place.open(2).await.unwrap();
    let phone = device(&core, home, 1).await;
    let old: Vec<_> = place.ring().ids().collect();

    let rotation = admin.rotate_keys().await.unwrap();
    assert_eq!(rotation.resealed, 2);
    let new: Vec<_> = place.ring().ids().collect();
    assert_eq!(new, [rotation.key.unwrap()]);
    assert_ne!(new, old);

    // Reads what is sealed anew, and seals so that those who know only the new key can open it.
    assert_eq!(core.device(phone.id).await.unwrap().as_ref(), Some(&phone));
    let tablet = device(&core, home, 2).await;
    let fresh = place.open(3).await.unwrap();
    assert_eq!(fresh.device(tablet.id).await.unwrap(), Some(tablet));
    assert_eq!(fresh.device(phone.id).await.unwrap(), Some(phone));

    // The first thing that it does after a rotation may be to write.
    admin.rotate_keys().await.unwrap();
    let secret = Some(homeward_model::Secret::new("after"));
    let change = GatewayChange { radius_secret: secret, ..Default::default() };
    let made = core.require_gateway(&"gw-1".parse().unwrap()).await.unwrap();
    admin.rotate_keys().await.unwrap();
    let made = core.update_gateway(made.id, &change).await.unwrap();
    let fresh = place.open(4).await.unwrap();
    assert_eq!(fresh.gateway(made.id).await.unwrap(), Some(made));
}

#[tokio::test]
async fn rotations_of_two_processes_leave_one_key_that_opens_all() {
    let place = Place::new();
    let (one, home) = filled(&place, 1).await;
    let phone = device(&one, home, 1).await;
    let two = place.open(2).await.unwrap();
    // On threads of their own, for the second waits for the first one's lock.
    let (a, b) = tokio::join!(one.rotate_keys(), two.rotate_keys());
    assert_ne!(a.unwrap().key, b.unwrap().key);
    assert_eq!(place.ring().ids().count(), 1);
    let fresh = place.open(3).await.unwrap();
    assert_eq!(fresh.device(phone.id).await.unwrap(), Some(phone));
}

#[tokio::test]
async fn an_account_made_by_one_process_is_a_duplicate_in_the_other() {
    let place = Place::new();
    let (one, _) = filled(&place, 1).await;
    let two = place.open(2).await.unwrap();
    let smith = two.require_account(&"smith".parse().unwrap()).await.unwrap();
    let new = crate::world::new_account("smith", smith.class);
    assert!(two.create_account(&new).await.unwrap_err().is_duplicate());
    drop(one);
}

#[tokio::test]
async fn two_processes_may_open_a_new_datastore_at_once() {
    for _ in 0..5 {
        let place = Place::new();
        let (one, two) = tokio::join!(place.open(1), place.open(2));
        let (one, two) = (one.unwrap(), two.unwrap());
        account(&one, "smith").await;
        assert!(two.require_account(&"smith".parse().unwrap()).await.is_ok());
    }
}

#[tokio::test]
async fn of_two_processes_one_spends_a_log_in() {
    let place = Place::new();
    let (one, _) = filled(&place, 1).await;
    let two = place.open(2).await.unwrap();
    let smith = one.accounts(&Default::default(), Page::first(1)).await.unwrap()[0].id;
    for n in 0..20 {
        let new = NewLogin { uses: Uses::Once, ..new_login(smith, &format!("once-{n}")) };
        let login = one.create_login(&new).await.unwrap().id;
        let spent = tokio::join!(one.spend_login(login), two.spend_login(login));
        assert!(spent.0.unwrap() != spent.1.unwrap(), "{n}");
        assert_eq!(two.login(login).await.unwrap().unwrap().uses, Uses::Spent);
    }
}

#[tokio::test]
async fn two_processes_that_issue_to_the_same_leave_one() {
    let place = Place::new();
    let (one, _) = filled(&place, 1).await;
    let two = place.open(2).await.unwrap();
    let smith = one.accounts(&Default::default(), Page::first(1)).await.unwrap()[0].id;
    subscriber(&one, smith, 1).await;
    for n in 0..10 {
        let issue = async |store: &SqliteStore, by: &str| {
            let new = new_issue(smith, &format!("{by}-{n}"), 1, 1);
            store.issue(&[new]).await.unwrap().remove(0).unwrap().login.id
        };
        let (a, b) = tokio::join!(issue(&one, "a"), issue(&two, "b"));
        let left = one.issued_to(imsi(1)).await.unwrap().unwrap().login.id;
        assert_eq!(left, a.max(b));
        assert_eq!(two.login(a.min(b)).await.unwrap(), None);
    }
}
