//! Behaviours of networks.

use homeward_model::{AccountId, GatewayId, NetworkId, Security, Ssid, Status};
use homeward_store::{
    Dependents, NetworkChange, NetworkFilter, NewDevice, NewNetwork, Page, Store,
};

use super::on_each_store;
use crate::world::{
    World, account, device, gateway, network, new_device, new_network, passphrase, raw_psk, ssid,
};

on_each_store!(
    a_network_comes_back_as_it_was_given,
    an_ssid_need_not_be_text,
    an_account_has_an_ssid_once_and_several_homes_may_share_it,
    a_network_refers_to_what_exists,
    networks_are_listed_by_account_gateway_ssid_and_status,
    a_network_with_devices_is_deleted_only_with_them,
    a_security_stays_within_the_keys_of_the_devices,
    an_ssid_that_keys_were_made_of_stays,
    a_network_is_suspended_and_moved,
);

async fn a_network_comes_back_as_it_was_given(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let home = gateway(store, "gw-1", 1).await;
    for (text, security) in [
        ("psk", Security::Wpa2Psk),
        ("sae", Security::Wpa3Sae),
        ("both", Security::Wpa2Wpa3),
        ("eap", Security::Enterprise),
    ] {
        let new = NewNetwork { gateway: Some(home.id), ..new_network(smith.id, text, security) };
        let made = store.create_network(&new).await.unwrap();
        assert_eq!((made.ssid, made.security), (ssid(text), security));
        assert_eq!(store.network(made.id).await.unwrap().as_ref(), Some(&made));
        assert_eq!(store.network_of(smith.id, ssid(text)).await.unwrap(), Some(made));
    }
    assert_eq!(store.network(NetworkId(99)).await.unwrap(), None);
    assert_eq!(store.network_of(smith.id, ssid("other")).await.unwrap(), None);
}

async fn an_ssid_need_not_be_text(world: World) {
    let smith = account(&*world.store, "smith").await;
    let odd = Ssid::try_from([0, 0xff, b'\'', 0].as_slice()).unwrap();
    let new = NewNetwork { ssid: odd, ..new_network(smith.id, "x", Security::Wpa2Psk) };
    let made = world.store.create_network(&new).await.unwrap();
    assert_eq!(world.store.network_of(smith.id, odd).await.unwrap(), Some(made));
}

async fn an_account_has_an_ssid_once_and_several_homes_may_share_it(world: World) {
    let store = &*world.store;
    let (smith, jones) = (account(store, "smith").await, account(store, "jones").await);
    let first = network(store, smith.id, None, "home").await;
    network(store, jones.id, None, "home").await;
    let new = new_network(smith.id, "home", Security::Wpa3Sae);
    let error = store.create_network(&new).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("account {} has a network home already: network {}", smith.id, first.id)
    );
    assert!(error.is_duplicate());
    let second = network(store, smith.id, None, "second").await;
    let rename = NetworkChange { ssid: Some(ssid("home")), ..NetworkChange::default() };
    assert!(store.update_network(second.id, &rename).await.unwrap_err().is_duplicate());
    store.update_network(first.id, &rename).await.unwrap();
}

async fn a_network_refers_to_what_exists(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let new = new_network(AccountId(99), "home", Security::Wpa2Psk);
    assert_eq!(store.create_network(&new).await.unwrap_err().to_string(), "no account 99");
    let new = NewNetwork {
        gateway: Some(GatewayId(99)),
        ..new_network(smith.id, "home", Security::Wpa2Psk)
    };
    assert_eq!(store.create_network(&new).await.unwrap_err().to_string(), "no gateway 99");
    let error = store.update_network(NetworkId(99), &NetworkChange::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "no network 99");
}

async fn networks_are_listed_by_account_gateway_ssid_and_status(world: World) {
    let store = &*world.store;
    let (smith, jones) = (account(store, "smith").await, account(store, "jones").await);
    let gw = gateway(store, "gw-1", 1).await;
    let a = network(store, smith.id, Some(gw.id), "home").await.id;
    let b = network(store, smith.id, None, "office").await.id;
    let c = network(store, jones.id, Some(gw.id), "home").await.id;
    store.update_network(c, &NetworkChange::status(Status::Suspended)).await.unwrap();
    let list = async |filter: NetworkFilter| {
        let found = store.networks(&filter, Page::first(10)).await.unwrap();
        found.iter().map(|n| n.id).collect::<Vec<_>>()
    };
    let all = NetworkFilter::default();
    assert_eq!(list(all.clone()).await, [a, b, c]);
    assert_eq!(list(NetworkFilter { account: Some(smith.id), ..all.clone() }).await, [a, b]);
    assert_eq!(list(NetworkFilter { gateway: Some(gw.id), ..all.clone() }).await, [a, c]);
    assert_eq!(list(NetworkFilter { ssid: Some(ssid("home")), ..all.clone() }).await, [a, c]);
    assert_eq!(list(NetworkFilter { status: Some(Status::Suspended), ..all }).await, [c]);
}

async fn a_network_with_devices_is_deleted_only_with_them(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let home = network(store, smith.id, None, "home").await;
    for last in 1..=3 {
        device(store, home.id, last).await;
    }
    let error = store.delete_network(home.id, Dependents::Refuse).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "network {} still has 3 devices; delete those first, or all of it with --with-dependents",
            home.id
        )
    );
    assert!(store.delete_network(home.id, Dependents::Delete).await.unwrap());
    assert_eq!(store.network(home.id).await.unwrap(), None);
    assert_eq!(store.devices(&Default::default(), Page::first(10)).await.unwrap(), []);
    assert!(!store.delete_network(home.id, Dependents::Refuse).await.unwrap());
}

async fn becomes(store: &dyn Store, id: NetworkId, security: Security) -> Result<(), String> {
    let change = NetworkChange { security: Some(security), ..NetworkChange::default() };
    store.update_network(id, &change).await.map(drop).map_err(|e| e.to_string())
}

async fn a_security_stays_within_the_keys_of_the_devices(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let new = new_network(smith.id, "home", Security::Enterprise);
    let id = store.create_network(&new).await.unwrap().id;
    let keyless = NewDevice { key: None, ..new_device(id, 1) };
    let keyless = store.create_device(&keyless).await.unwrap();
    for security in [Security::Wpa2Psk, Security::Wpa3Sae, Security::Wpa2Wpa3] {
        assert_eq!(
            becomes(store, id, security).await.unwrap_err(),
            format!(
                "network {id} cannot become {security}: 1 device without a key; give those new keys first"
            )
        );
    }
    store.delete_device(keyless.id).await.unwrap();
    becomes(store, id, Security::Wpa2Psk).await.unwrap();
    for last in [2, 3] {
        let raw = NewDevice { key: Some(raw_psk(last)), ..new_device(id, last) };
        store.create_device(&raw).await.unwrap();
    }
    assert_eq!(
        becomes(store, id, Security::Wpa3Sae).await.unwrap_err(),
        format!(
            "network {id} cannot become wpa3-sae: 2 devices without a passphrase; give those new keys first"
        )
    );
    becomes(store, id, Security::Wpa2Wpa3).await.unwrap();
    becomes(store, id, Security::Enterprise).await.unwrap();
}

async fn an_ssid_that_keys_were_made_of_stays(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let id = network(store, smith.id, None, "home").await.id;
    let raw = NewDevice { key: Some(raw_psk(1)), ..new_device(id, 1) };
    store.create_device(&raw).await.unwrap();
    let rename = |to| NetworkChange { ssid: Some(ssid(to)), ..NetworkChange::default() };
    store.update_network(id, &rename("house")).await.unwrap();
    let made = NewDevice { key: Some(passphrase("correct horse")), ..new_device(id, 2) };
    store.create_device(&made).await.unwrap();
    let error = store.update_network(id, &rename("hut")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "network {id} cannot change its SSID: the PSK of 1 device was made of it; delete those first and create them again after"
        )
    );
    store.update_network(id, &rename("house")).await.unwrap();
}

async fn a_network_is_suspended_and_moved(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let gw = gateway(store, "gw-1", 1).await;
    let home = network(store, smith.id, None, "home").await;
    let change =
        NetworkChange { gateway: Some(Some(gw.id)), ..NetworkChange::status(Status::Suspended) };
    let changed = store.update_network(home.id, &change).await.unwrap();
    assert_eq!((changed.gateway, changed.status), (Some(gw.id), Status::Suspended));
    assert_eq!((changed.ssid, changed.security), (home.ssid, home.security));
    assert_eq!(store.network(home.id).await.unwrap(), Some(changed));
}
