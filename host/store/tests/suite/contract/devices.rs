//! Behaviours of devices.

use homeward_model::{DeviceId, Mac, NetworkId, Security, Status};
use homeward_store::{DeviceChange, DeviceFilter, Error, NewDevice, Page};

use super::on_each_store;
use crate::world::{
    World, account, device, mac, network, new_device, new_network, passphrase, raw_psk, ssid,
};

on_each_store!(
    a_device_comes_back_with_its_key,
    a_device_is_found_by_network_and_by_ssid,
    a_network_has_a_mac_once_and_several_homes_may_share_it,
    a_key_suits_the_network,
    a_device_changes_where_the_change_says,
    a_label_is_short_and_printable,
    a_group_address_is_no_device,
    devices_are_listed_by_account_network_mac_and_status,
    a_batch_is_created_as_a_whole_or_not_at_all,
    a_device_is_deleted_once,
);

async fn a_device_comes_back_with_its_key(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let home = network(store, smith.id, None, "home").await;
    let longest = "~".repeat(63);
    let keys = [passphrase("8 chars!"), passphrase(&longest), raw_psk(7)];
    for (last, key) in (1..).zip(keys) {
        let new = NewDevice { key: Some(key), ..new_device(home.id, last) };
        let made = store.create_device(&new).await.unwrap();
        assert_eq!((&made.key, &made.label), (&new.key, &new.label));
        assert_eq!(store.device(made.id).await.unwrap(), Some(made));
    }
    assert_eq!(store.device(DeviceId(99)).await.unwrap(), None);
}

async fn a_device_is_found_by_network_and_by_ssid(world: World) {
    let store = &*world.store;
    let (smith, jones) = (account(store, "smith").await, account(store, "jones").await);
    let home = network(store, smith.id, None, "home").await;
    let other = network(store, jones.id, None, "home").await;
    let office = network(store, smith.id, None, "office").await;
    let a = device(store, home.id, 1).await;
    let b = device(store, office.id, 1).await;
    let c = device(store, other.id, 1).await;
    assert_eq!(store.device_in(office.id, mac(1)).await.unwrap(), Some(b));
    assert_eq!(store.device_in(home.id, mac(2)).await.unwrap(), None);
    assert_eq!(store.devices_at(mac(1), ssid("home")).await.unwrap(), [a, c]);
    assert_eq!(store.devices_at(mac(1), ssid("hut")).await.unwrap(), []);
}

async fn a_network_has_a_mac_once_and_several_homes_may_share_it(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let home = network(store, smith.id, None, "home").await;
    let first = device(store, home.id, 1).await;
    let second = device(store, home.id, 2).await;
    let error = store.create_device(&new_device(home.id, 1)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("network {} has a device 02:00:00:**:**:** already: device {}", home.id, first.id)
    );
    assert!(error.is_duplicate());
    let change = DeviceChange { mac: Some(mac(1)), ..DeviceChange::default() };
    assert!(store.update_device(second.id, &change).await.unwrap_err().is_duplicate());
    store.update_device(first.id, &change).await.unwrap();
    // A MAC address given up is free.
    let change = DeviceChange { mac: Some(mac(3)), ..DeviceChange::default() };
    store.update_device(first.id, &change).await.unwrap();
    device(store, home.id, 1).await;
    assert_eq!(store.device_in(home.id, mac(3)).await.unwrap().unwrap().id, first.id);
}

async fn a_key_suits_the_network(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let (none, raw) = (None, Some(raw_psk(1)));
    for (text, security, key, error) in [
        ("psk", Security::Wpa2Psk, &none, "is wpa2-psk: a device in it needs a key"),
        ("both", Security::Wpa2Wpa3, &none, "is wpa2-wpa3: a device in it needs a key"),
        (
            "sae",
            Security::Wpa3Sae,
            &raw,
            "is wpa3-sae: a device in it needs a passphrase, not a raw PSK",
        ),
    ] {
        let new = new_network(smith.id, text, security);
        let id = store.create_network(&new).await.unwrap().id;
        let new = NewDevice { key: key.clone(), ..new_device(id, 1) };
        let refused = store.create_device(&new).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("network {id} {error}"));
        let made = device(store, id, 1).await;
        let change = DeviceChange { key: Some(key.clone()), ..DeviceChange::default() };
        assert!(store.update_device(made.id, &change).await.is_err());
        assert_eq!(store.device(made.id).await.unwrap(), Some(made));
    }
    let new = new_network(smith.id, "eap", Security::Enterprise);
    let id = store.create_network(&new).await.unwrap().id;
    let made = store.create_device(&NewDevice { key: None, ..new_device(id, 1) }).await.unwrap();
    assert_eq!(store.device(made.id).await.unwrap(), Some(made));
    let error = store.create_device(&new_device(NetworkId(99), 1)).await.unwrap_err();
    assert_eq!(error.to_string(), "no network 99");
}

async fn a_device_changes_where_the_change_says(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let home = network(store, smith.id, None, "home").await;
    let made = device(store, home.id, 1).await;
    let label = Some("phone".to_owned());
    let change = DeviceChange { label, ..DeviceChange::status(Status::Suspended) };
    let changed = store.update_device(made.id, &change).await.unwrap();
    assert_eq!((changed.label.as_str(), changed.status), ("phone", Status::Suspended));
    assert_eq!((changed.mac, &changed.key), (made.mac, &made.key));
    assert_eq!(store.device(made.id).await.unwrap(), Some(changed));

    let key = Some(Some(raw_psk(9)));
    let change = DeviceChange { key, ..DeviceChange::default() };
    let changed = store.update_device(made.id, &change).await.unwrap();
    assert_eq!((&changed.key, changed.label.as_str()), (&Some(raw_psk(9)), "phone"));
    assert_eq!(store.device(made.id).await.unwrap(), Some(changed));
    let error = store.update_device(DeviceId(99), &change).await.unwrap_err();
    assert_eq!(error.to_string(), "no device 99");
}

async fn a_label_is_short_and_printable(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let home = network(store, smith.id, None, "home").await;
    for (label, error) in [
        ("x".repeat(129), "a label has at most 128 characters, not 129"),
        ("a\nb".to_owned(), "a label has no control characters; character 2 is one"),
    ] {
        let new = NewDevice { label, ..new_device(home.id, 1) };
        assert_eq!(store.create_device(&new).await.unwrap_err().to_string(), error);
    }
    let new = NewDevice { label: "\u{1f4f1}".repeat(128), ..new_device(home.id, 1) };
    let made = store.create_device(&new).await.unwrap();
    assert_eq!(store.device(made.id).await.unwrap().unwrap().label, new.label);
}

async fn a_group_address_is_no_device(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let home = network(store, smith.id, None, "home").await;
    let new = NewDevice { mac: Mac::new([0xff; 6]), ..new_device(home.id, 1) };
    let error = store.create_device(&new).await.unwrap_err();
    assert!(error.to_string().contains("is a group address"), "{error}");
}

async fn devices_are_listed_by_account_network_mac_and_status(world: World) {
    let store = &*world.store;
    let (smith, jones) = (account(store, "smith").await, account(store, "jones").await);
    let home = network(store, smith.id, None, "home").await;
    let office = network(store, smith.id, None, "office").await;
    let other = network(store, jones.id, None, "home").await;
    let a = device(store, home.id, 1).await.id;
    let b = device(store, office.id, 1).await.id;
    let c = device(store, other.id, 2).await.id;
    store.update_device(b, &DeviceChange::status(Status::Suspended)).await.unwrap();
    let list = async |filter: DeviceFilter| {
        let found = store.devices(&filter, Page::first(10)).await.unwrap();
        found.iter().map(|d| d.id).collect::<Vec<_>>()
    };
    let all = DeviceFilter::default();
    assert_eq!(list(all.clone()).await, [a, b, c]);
    assert_eq!(list(DeviceFilter { account: Some(smith.id), ..all.clone() }).await, [a, b]);
    assert_eq!(list(DeviceFilter { network: Some(other.id), ..all.clone() }).await, [c]);
    assert_eq!(list(DeviceFilter { mac: Some(mac(1)), ..all.clone() }).await, [a, b]);
    assert_eq!(list(DeviceFilter { status: Some(Status::Suspended), ..all.clone() }).await, [b]);
    let page = store.devices(&all, Page::after(a, 1)).await.unwrap();
    assert_eq!(page.iter().map(|d| d.id).collect::<Vec<_>>(), [b]);
}

async fn a_batch_is_created_as_a_whole_or_not_at_all(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let home = network(store, smith.id, None, "home").await;
    let head = store.outbox_head().await.unwrap();
    let batch = [new_device(home.id, 1), new_device(home.id, 2), new_device(home.id, 1)];
    let error = store.create_devices(&batch).await.unwrap_err();
    assert_eq!(error.to_string(), "record 2 of the batch was refused, so none was created");
    let Error::Batch { index: 2, source } = error else { panic!("{error:?}") };
    assert!(source.is_duplicate());
    assert_eq!(store.devices(&DeviceFilter::default(), Page::first(10)).await.unwrap(), []);
    assert_eq!(store.outbox_head().await.unwrap(), head);

    let made = store.create_devices(&batch[..2]).await.unwrap();
    assert_eq!(made.iter().map(|d| d.id.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(store.devices(&DeviceFilter::default(), Page::first(10)).await.unwrap(), made);
    assert_eq!(store.outbox_head().await.unwrap().0, head.0 + 2);
}

async fn a_device_is_deleted_once(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let home = network(store, smith.id, None, "home").await;
    let made = device(store, home.id, 1).await;
    assert!(store.delete_device(made.id).await.unwrap());
    assert!(!store.delete_device(made.id).await.unwrap());
    assert_eq!(store.device_in(home.id, mac(1)).await.unwrap(), None);
    assert!(device(store, home.id, 1).await.id > made.id);
}
