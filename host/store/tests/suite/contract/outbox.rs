//! Behaviours of the outbox.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use homeward_model::{Status, UnixTime};
use homeward_store::{
    AccountChange, Dependents, DeviceChange, Entity, KeyKind, Operation, OutboxRecord, Seq, Store,
};

use super::on_each_store;
use crate::world::{
    NOON, World, account, class, device, gateway, network, new_account, new_device, raw_psk,
};

on_each_store!(
    every_mutation_leaves_an_entry_in_order,
    an_entry_tells_the_record_and_the_kind_of_its_key,
    what_is_refused_leaves_no_entry,
    a_cascade_tells_each_record_children_first,
    entries_are_read_in_parts,
    pruning_forgets_the_oldest_and_says_so,
    changed_returns_at_once_when_behind,
    changed_waits_for_the_next_commit,
);

/// `create account 1`, and so on.
async fn told(store: &dyn Store, after: Seq) -> Vec<String> {
    let entries = store.outbox_after(after, 100).await.unwrap();
    let line = |o: Operation, e: Entity, id| format!("{} {} {id}", o.as_str(), e.as_str());
    entries.iter().map(|e| line(e.operation, e.record.entity(), e.record.id())).collect()
}

async fn every_mutation_leaves_an_entry_in_order(world: World) {
    let store = &*world.store;
    assert_eq!(store.outbox_head().await.unwrap(), Seq::ZERO);
    assert_eq!(told(store, Seq::ZERO).await, [""; 0]);
    let smith = account(store, "smith").await;
    let gw = gateway(store, "gw-1", 1).await;
    let home = network(store, smith.id, Some(gw.id), "home").await;
    let phone = device(store, home.id, 1).await;
    world.clock.set(NOON + 1);
    store.update_device(phone.id, &DeviceChange::status(Status::Suspended)).await.unwrap();
    store.delete_device(phone.id).await.unwrap();
    assert_eq!(
        told(store, Seq::ZERO).await,
        [
            "create class 1",
            "create account 1",
            "create gateway 1",
            "create network 1",
            "create device 1",
            "update device 1",
            "delete device 1",
        ]
    );
    let entries = store.outbox_after(Seq::ZERO, 100).await.unwrap();
    let times: Vec<i64> = entries.iter().map(|e| e.time.0 - NOON).collect();
    assert_eq!(times, [0, 0, 0, 0, 0, 1, 1]);
    assert!(entries.is_sorted_by(|a, b| a.seq < b.seq));
    assert_eq!(store.outbox_head().await.unwrap(), entries[6].seq);
}

async fn an_entry_tells_the_record_and_the_kind_of_its_key(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let gw = gateway(store, "gw-1", 1).await;
    let home = network(store, smith.id, Some(gw.id), "home").await;
    let phone = device(store, home.id, 1).await;
    let key = Some(Some(raw_psk(1)));
    let changed =
        store.update_device(phone.id, &DeviceChange { key, ..Default::default() }).await.unwrap();
    let entries = store.outbox_after(Seq::ZERO, 100).await.unwrap();
    let records: Vec<OutboxRecord> = entries.into_iter().map(|e| e.record).collect();
    let class = store.class(smith.class).await.unwrap().unwrap();
    assert_eq!(
        records,
        [
            OutboxRecord::Class(class),
            OutboxRecord::Account(smith),
            OutboxRecord::Gateway((&gw).into()),
            OutboxRecord::Network(home),
            OutboxRecord::Device((&phone).into()),
            OutboxRecord::Device((&changed).into()),
        ]
    );
    let OutboxRecord::Device(last) = &records[5] else { panic!() };
    assert_eq!(last.key, KeyKind::Psk);
}

async fn what_is_refused_leaves_no_entry(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    network(store, smith.id, None, "home").await;
    let head = store.outbox_head().await.unwrap();
    assert!(store.create_account(&new_account("smith", smith.class)).await.is_err());
    assert!(store.delete_account(smith.id, Dependents::Refuse).await.is_err());
    assert!(!store.delete_device(homeward_model::DeviceId(9)).await.unwrap());
    store.update_account(smith.id, &AccountChange::default()).await.unwrap();
    assert_eq!(store.outbox_head().await.unwrap(), head);
}

async fn a_cascade_tells_each_record_children_first(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    for (ssid, last) in [("one", 1), ("two", 2)] {
        let home = network(store, smith.id, None, ssid).await;
        store.create_devices(&[new_device(home.id, last), new_device(home.id, 9)]).await.unwrap();
    }
    let head = store.outbox_head().await.unwrap();
    store.delete_account(smith.id, Dependents::Delete).await.unwrap();
    assert_eq!(
        told(store, head).await,
        [
            "delete device 1",
            "delete device 2",
            "delete network 1",
            "delete device 3",
            "delete device 4",
            "delete network 2",
            "delete account 1",
        ]
    );
}

async fn entries_are_read_in_parts(world: World) {
    let store = &*world.store;
    for name in ["a", "b", "c"] {
        class(store, name).await;
    }
    let first = store.outbox_after(Seq::ZERO, 2).await.unwrap();
    assert_eq!(first.iter().map(|e| e.record.id()).collect::<Vec<_>>(), [1, 2]);
    let rest = store.outbox_after(first[1].seq, 2).await.unwrap();
    assert_eq!(rest.iter().map(|e| e.record.id()).collect::<Vec<_>>(), [3]);
    assert_eq!(store.outbox_after(rest[0].seq, 2).await.unwrap(), []);
    assert_eq!(store.outbox_after(Seq::ZERO, 0).await.unwrap(), []);
}

async fn pruning_forgets_the_oldest_and_says_so(world: World) {
    let store = &*world.store;
    for (name, time) in [("a", 0), ("b", 10), ("c", 5), ("d", 20)] {
        world.clock.set(NOON + time);
        class(store, name).await;
    }
    assert_eq!(store.prune_outbox(UnixTime(NOON)).await.unwrap(), 0);
    // Entry c is older than the mark and stays, for it follows one that is not.
    assert_eq!(store.prune_outbox(UnixTime(NOON + 7)).await.unwrap(), 1);
    assert_eq!(told(store, Seq(1)).await, ["create class 2", "create class 3", "create class 4"]);
    let error = store.outbox_after(Seq::ZERO, 100).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "outbox entries up to 1 are pruned, entries after 0 were asked for; load the projection anew"
    );
    assert_eq!(store.prune_outbox(UnixTime(NOON + 21)).await.unwrap(), 3);
    assert_eq!(store.prune_outbox(UnixTime(NOON + 21)).await.unwrap(), 0);
    assert_eq!(store.outbox_head().await.unwrap(), Seq(4));
    assert_eq!(store.outbox_after(Seq(4), 100).await.unwrap(), []);
    assert!(store.outbox_after(Seq(3), 0).await.is_err());
    class(store, "e").await;
    assert_eq!(told(store, Seq(4)).await, ["create class 5"]);
}

async fn changed_returns_at_once_when_behind(world: World) {
    class(&*world.store, "a").await;
    assert_eq!(world.store.changed(Seq::ZERO).await.unwrap(), Seq(1));
}

async fn changed_waits_for_the_next_commit(world: World) {
    let store = &*world.store;
    class(store, "a").await;
    {
        let mut early = pin!(store.changed(Seq(1)));
        let polled = early.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        // Dropped while it waits.
    }
    let (head, _) = tokio::join!(store.changed(Seq(1)), class(store, "b"));
    assert_eq!(head.unwrap(), Seq(2));
}
