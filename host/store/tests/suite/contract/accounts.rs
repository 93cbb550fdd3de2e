//! Behaviours of accounts.

use homeward_model::{AccountId, ClassId, Status};
use homeward_store::{AccountChange, AccountFilter, Dependents, Page};

use super::on_each_store;
use crate::world::{World, account, class, device, name, network, new_account};

on_each_store!(
    an_account_comes_back_as_it_was_given,
    an_account_name_is_taken_once,
    an_account_needs_a_class_that_exists,
    an_account_is_suspended_and_resumed,
    accounts_are_listed_by_class_and_status,
    an_account_with_networks_is_deleted_only_with_all_of_it,
);

async fn an_account_comes_back_as_it_was_given(world: World) {
    let made = account(&*world.store, "smith@example.net").await;
    assert_eq!(world.store.account(made.id).await.unwrap().as_ref(), Some(&made));
    let name = name("smith@example.net");
    assert_eq!(world.store.account_named(&name).await.unwrap().as_ref(), Some(&made));
    assert_eq!(world.store.require_account(&name).await.unwrap(), made);
    assert_eq!(world.store.account(AccountId(99)).await.unwrap(), None);
}

async fn an_account_name_is_taken_once(world: World) {
    let smith = account(&*world.store, "smith").await;
    let jones = account(&*world.store, "jones").await;
    let error = world.store.create_account(&new_account("smith", smith.class)).await.unwrap_err();
    assert_eq!(error.to_string(), "account smith exists already");
    let rename = AccountChange { name: Some(name("smith")), ..AccountChange::default() };
    assert!(world.store.update_account(jones.id, &rename).await.unwrap_err().is_duplicate());
    let rename = AccountChange { name: Some(name("smythe")), ..AccountChange::default() };
    world.store.update_account(smith.id, &rename).await.unwrap();
    assert_eq!(world.store.account_named(&name("smith")).await.unwrap(), None);
    world.store.create_account(&new_account("smith", smith.class)).await.unwrap();
}

async fn an_account_needs_a_class_that_exists(world: World) {
    let error = world.store.create_account(&new_account("smith", ClassId(5))).await.unwrap_err();
    assert_eq!(error.to_string(), "no class of service 5");
    let smith = account(&*world.store, "smith").await;
    let change = AccountChange { class: Some(ClassId(5)), ..AccountChange::default() };
    assert!(world.store.update_account(smith.id, &change).await.is_err());
    assert_eq!(world.store.account(smith.id).await.unwrap(), Some(smith));
}

async fn an_account_is_suspended_and_resumed(world: World) {
    let smith = account(&*world.store, "smith").await;
    for status in [Status::Suspended, Status::Active] {
        let change = AccountChange::status(status);
        let changed = world.store.update_account(smith.id, &change).await.unwrap();
        assert_eq!((changed.status, &changed.name), (status, &smith.name));
        assert_eq!(world.store.account(smith.id).await.unwrap(), Some(changed));
    }
}

async fn accounts_are_listed_by_class_and_status(world: World) {
    let smith = account(&*world.store, "smith").await;
    let jones = account(&*world.store, "jones").await;
    let gold = class(&*world.store, "gold").await;
    let list = async |class, status| {
        let filter = AccountFilter { class, status };
        let found = world.store.accounts(&filter, Page::first(10)).await.unwrap();
        found.iter().map(|a| a.id).collect::<Vec<_>>()
    };
    world.store.update_account(jones.id, &AccountChange::status(Status::Suspended)).await.unwrap();
    assert_eq!(list(None, None).await, [smith.id, jones.id]);
    assert_eq!(list(Some(smith.class), None).await, [smith.id]);
    assert_eq!(list(Some(gold.id), None).await, []);
    assert_eq!(list(None, Some(Status::Suspended)).await, [jones.id]);
    assert_eq!(list(Some(jones.class), Some(Status::Active)).await, []);
}

async fn an_account_with_networks_is_deleted_only_with_all_of_it(world: World) {
    let store = &*world.store;
    let (smith, jones) = (account(store, "smith").await, account(store, "jones").await);
    let mut gone = Vec::new();
    for ssid in ["one", "two"] {
        let network = network(store, smith.id, None, ssid).await;
        gone.push((network.id, device(store, network.id, 1).await.id));
    }
    let kept = network(store, jones.id, None, "one").await;
    let error = store.delete_account(smith.id, Dependents::Refuse).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "account {} still has 2 networks; delete those first, or all of it with --with-dependents",
            smith.id
        )
    );
    assert!(store.account(smith.id).await.unwrap().is_some());

    assert!(store.delete_account(smith.id, Dependents::Delete).await.unwrap());
    assert_eq!(store.account(smith.id).await.unwrap(), None);
    for (network, device) in gone {
        assert_eq!(store.network(network).await.unwrap(), None);
        assert_eq!(store.device(device).await.unwrap(), None);
    }
    assert_eq!(store.network(kept.id).await.unwrap(), Some(kept));
    assert!(!store.delete_account(smith.id, Dependents::Delete).await.unwrap());
}
