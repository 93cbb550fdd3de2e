//! Behaviours of roaming records.

use homeward_model::{DeviceId, Status};
use homeward_store::{AccountChange, Page, Scope};

use super::on_each_store;
use crate::world::{World, account, device, gateway, mac, network, ssid};

on_each_store!(
    a_roaming_record_joins_device_network_account_class_and_gateway,
    a_mac_may_be_at_home_in_several_networks_of_one_ssid,
    a_suspended_record_is_still_told,
    a_projection_is_loaded_in_pages,
    a_scope_tells_its_own_records_only,
);

async fn a_roaming_record_joins_device_network_account_class_and_gateway(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let gw = gateway(store, "gw-1", 1).await;
    let home = network(store, smith.id, Some(gw.id), "home").await;
    let phone = device(store, home.id, 1).await;
    let records = store.roaming_record(mac(1), ssid("home")).await.unwrap();
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(record.device, phone);
    assert_eq!(record.network, home);
    assert_eq!(record.account, smith);
    assert_eq!(Some(&record.class), store.class(smith.class).await.unwrap().as_ref());
    assert_eq!(record.home, Some(gw));
    assert_eq!(store.roaming_record(mac(1), ssid("hut")).await.unwrap(), []);
    assert_eq!(store.roaming_record(mac(2), ssid("home")).await.unwrap(), []);
}

async fn a_mac_may_be_at_home_in_several_networks_of_one_ssid(world: World) {
    let store = &*world.store;
    let gw = gateway(store, "gw-1", 1).await;
    let mut expected = Vec::new();
    for (name, gateway) in [("smith", Some(gw.id)), ("jones", None)] {
        let account = account(store, name).await;
        let home = network(store, account.id, gateway, "home").await;
        expected.push((device(store, home.id, 1).await.id, account.id, gateway.is_some()));
        network(store, account.id, None, "office").await;
    }
    let records = store.roaming_record(mac(1), ssid("home")).await.unwrap();
    let found: Vec<_> =
        records.iter().map(|r| (r.device.id, r.account.id, r.home.is_some())).collect();
    assert_eq!(found, expected);
}

async fn a_suspended_record_is_still_told(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let home = network(store, smith.id, None, "home").await;
    device(store, home.id, 1).await;
    store.update_account(smith.id, &AccountChange::status(Status::Suspended)).await.unwrap();
    let records = store.roaming_record(mac(1), ssid("home")).await.unwrap();
    assert_eq!(records[0].account.status, Status::Suspended);
}

async fn a_projection_is_loaded_in_pages(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let gw = gateway(store, "gw-1", 1).await;
    let home = network(store, smith.id, Some(gw.id), "home").await;
    for last in 1..=7 {
        device(store, home.id, last).await;
    }
    let (mut page, mut loaded) = (Page::first(3), Vec::new());
    loop {
        let records = store.roaming_records(Scope::All, page).await.unwrap();
        assert!(records.iter().all(|r| r.home.as_ref() == Some(&gw)));
        loaded.extend(records.iter().map(|r| r.device.id.0));
        match records.last() {
            Some(last) => page = Page::after(last.device.id, 3),
            None => break,
        }
    }
    assert_eq!(loaded, [1, 2, 3, 4, 5, 6, 7]);
}

async fn a_scope_tells_its_own_records_only(world: World) {
    let store = &*world.store;
    let (smith, jones) = (account(store, "smith").await, account(store, "jones").await);
    let (one, two) = (gateway(store, "gw-1", 1).await, gateway(store, "gw-2", 2).await);
    let a = network(store, smith.id, Some(one.id), "a").await;
    let b = network(store, smith.id, Some(two.id), "b").await;
    let c = network(store, jones.id, None, "c").await;
    let mut ids = Vec::new();
    for home in [&a, &b, &c, &a] {
        let last = 10 + ids.len() as u8;
        ids.push(device(store, home.id, last).await.id);
    }
    let within = async |scope| {
        let records = store.roaming_records(scope, Page::first(10)).await.unwrap();
        records.iter().map(|r| r.device.id).collect::<Vec<_>>()
    };
    let [first, second, third, fourth] = ids[..] else { panic!() };
    assert_eq!(within(Scope::All).await, ids);
    assert_eq!(within(Scope::Class(smith.class)).await, [first, second, fourth]);
    assert_eq!(within(Scope::Account(jones.id)).await, [third]);
    assert_eq!(within(Scope::Gateway(one.id)).await, [first, fourth]);
    assert_eq!(within(Scope::Network(b.id)).await, [second]);
    assert_eq!(within(Scope::Device(third)).await, [third]);
    assert_eq!(within(Scope::Device(DeviceId(99))).await, []);
    let rest = store.roaming_records(Scope::Network(a.id), Page::after(first, 10)).await.unwrap();
    assert_eq!(rest.iter().map(|r| r.device.id).collect::<Vec<_>>(), [fourth]);
}
