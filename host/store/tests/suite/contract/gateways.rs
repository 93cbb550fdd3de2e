//! Behaviours of gateways.

use homeward_model::{
    GatewayId, LookupForm, Mac, NetworkId, Secret, Security, Site, Status, UnixTime,
};
use homeward_store::{
    Dependents, GatewayChange, GatewayFilter, NetworkChange, NewCredential, NewGateway, NewNetwork,
    Operation, OutboxRecord, Page, Seq,
};

use super::on_each_store;
use crate::world::{
    NOON, World, account, device, gateway, mac, name, network, new_gateway, new_hybrid, new_network,
};

on_each_store!(
    a_gateway_comes_back_with_its_secret,
    a_gateway_is_found_by_name_and_mac,
    name_mac_and_address_are_each_taken_once,
    an_address_is_kept_in_canonical_form,
    a_gateway_that_asks_has_a_secret,
    a_group_address_is_no_gateway,
    a_gateway_changes_where_the_change_says,
    gateways_are_listed_by_operator_and_status,
    a_gateway_that_a_network_is_behind_stays,
    a_gateway_is_put_on_the_map_moved_and_taken_off_it,
    a_hybrid_device_comes_back_with_its_home_and_keeps_it,
    a_hybrid_device_asks_nothing_by_radius,
    a_hybrid_device_is_of_a_network_that_exists_and_has_an_individual_mac,
    a_hybrid_device_is_no_networks_home,
    a_network_with_hybrid_devices_is_deleted_only_with_them,
    what_is_deleted_with_an_account_are_its_hybrid_devices_too,
);

async fn a_gateway_comes_back_with_its_secret(world: World) {
    let made = gateway(&*world.store, "gw-1", 1).await;
    assert_eq!(made.radius_secret, Secret::new("secret of gw-1"));
    assert_eq!(world.store.gateway(made.id).await.unwrap(), Some(made));
    assert_eq!(world.store.gateway(GatewayId(99)).await.unwrap(), None);
}

async fn a_gateway_is_found_by_name_and_mac(world: World) {
    let made = gateway(&*world.store, "gw-1", 1).await;
    gateway(&*world.store, "gw-2", 2).await;
    assert_eq!(world.store.gateway_named(&name("gw-1")).await.unwrap().as_ref(), Some(&made));
    assert_eq!(world.store.gateway_with_mac(mac(1)).await.unwrap().as_ref(), Some(&made));
    assert_eq!(world.store.gateway_with_mac(mac(9)).await.unwrap(), None);
    let error = world.store.require_gateway(&name("gw-9")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no gateway named gw-9; create it first with `homeward admin gateway create gw-9`"
    );
}

async fn name_mac_and_address_are_each_taken_once(world: World) {
    let one = gateway(&*world.store, "gw-1", 1).await;
    let two = gateway(&*world.store, "gw-2", 2).await;
    let name_of_one = NewGateway { mac: mac(3), address: None, ..new_gateway("gw-1", 3) };
    let mac_of_one = NewGateway { mac: mac(1), ..new_gateway("gw-3", 3) };
    let address_of_one =
        NewGateway { address: Some("192.0.2.1/32".to_owned()), ..new_gateway("gw-3", 3) };
    for (new, expected) in [
        (name_of_one, "gateway gw-1 exists already"),
        (mac_of_one, "MAC address 02:00:00:**:**:** is gateway gw-1's already"),
        (address_of_one, "address 192.0.2.1 is gateway gw-1's already"),
    ] {
        let error = world.store.create_gateway(&new).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(error.is_duplicate());
    }
    let change = GatewayChange { mac: Some(mac(1)), ..GatewayChange::default() };
    assert!(world.store.update_gateway(two.id, &change).await.unwrap_err().is_duplicate());
    assert_eq!(world.store.update_gateway(one.id, &change).await.unwrap(), one);
    // Without an address: as many as there are.
    for last in [4, 5] {
        let new = NewGateway { address: None, ..new_gateway(&format!("gw-{last}"), last) };
        world.store.create_gateway(&new).await.unwrap();
    }
}

async fn an_address_is_kept_in_canonical_form(world: World) {
    for (last, given, kept) in
        [(1, "192.0.2.1/32", "192.0.2.1"), (2, "2001:DB8::/32", "2001:db8::/32")]
    {
        let address = Some(given.to_owned());
        let new = NewGateway { address, ..new_gateway(&format!("gw-{last}"), last) };
        let made = world.store.create_gateway(&new).await.unwrap();
        assert_eq!(made.address.as_deref(), Some(kept));
        assert_eq!(world.store.gateway(made.id).await.unwrap(), Some(made));
    }
    let new = NewGateway { address: Some("gw.example".to_owned()), ..new_gateway("gw-3", 3) };
    let error = world.store.create_gateway(&new).await.unwrap_err();
    assert!(error.to_string().starts_with("\"gw.example\" is no IP address"), "{error}");
}

async fn a_gateway_that_asks_has_a_secret(world: World) {
    let mut new = NewGateway { radius_secret: Secret::default(), ..new_gateway("gw-1", 1) };
    let error = world.store.create_gateway(&new).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "gateway gw-1 has an address and no RADIUS secret; give it one (RFC 2865 section 3)"
    );
    new.address = None;
    let silent = world.store.create_gateway(&new).await.unwrap();
    let ask = |secret: Option<&str>| GatewayChange {
        address: Some(Some("192.0.2.1".to_owned())),
        radius_secret: secret.map(Secret::new),
        ..GatewayChange::default()
    };
    assert!(world.store.update_gateway(silent.id, &ask(None)).await.is_err());
    world.store.update_gateway(silent.id, &ask(Some("x"))).await.unwrap();
    let long = NewGateway { radius_secret: Secret::new([7; 256]), ..new_gateway("gw-2", 2) };
    let error = world.store.create_gateway(&long).await.unwrap_err();
    assert_eq!(error.to_string(), "a RADIUS secret has at most 255 octets, not 256");
}

async fn a_group_address_is_no_gateway(world: World) {
    let new = NewGateway { mac: Mac::new([1, 0, 0x5e, 0, 0, 1]), ..new_gateway("gw-1", 1) };
    let error = world.store.create_gateway(&new).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "01:00:5e:**:**:** is a group address; a device or gateway has an individual one"
    );
}

async fn a_gateway_changes_where_the_change_says(world: World) {
    let made = gateway(&*world.store, "gw-1", 1).await;
    let change = GatewayChange {
        place: Some("fr/paris".parse().unwrap()),
        address: Some(None),
        lookup: Some(LookupForm::Hostapd),
        ..GatewayChange::status(Status::Suspended)
    };
    let changed = world.store.update_gateway(made.id, &change).await.unwrap();
    assert_eq!(changed.place.as_str(), "fr/paris");
    assert_eq!((&changed.address, changed.lookup), (&None, LookupForm::Hostapd));
    assert_eq!((changed.mac, &changed.radius_secret), (made.mac, &made.radius_secret));
    assert_eq!(world.store.gateway(made.id).await.unwrap().as_ref(), Some(&changed));

    let secret = Some(Secret::new("another"));
    let change = GatewayChange { radius_secret: secret, ..GatewayChange::default() };
    let changed = world.store.update_gateway(made.id, &change).await.unwrap();
    assert_eq!(changed.radius_secret, Secret::new("another"));
    assert_eq!(world.store.gateway(made.id).await.unwrap(), Some(changed));
    let error = world.store.update_gateway(GatewayId(99), &change).await.unwrap_err();
    assert_eq!(error.to_string(), "no gateway 99");
}

async fn gateways_are_listed_by_operator_and_status(world: World) {
    let one = gateway(&*world.store, "gw-1", 1).await;
    let south = NewGateway { operator: name("south"), ..new_gateway("gw-2", 2) };
    let two = world.store.create_gateway(&south).await.unwrap();
    let list = async |operator: Option<&str>, status| {
        let filter = GatewayFilter { operator: operator.map(name), status, device_of: None };
        let found = world.store.gateways(&filter, Page::first(10)).await.unwrap();
        found.iter().map(|g| g.id).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None).await, [one.id, two.id]);
    assert_eq!(list(Some("south"), None).await, [two.id]);
    assert_eq!(list(None, Some(Status::Suspended)).await, []);
}

async fn a_gateway_that_a_network_is_behind_stays(world: World) {
    let store = &*world.store;
    let made = gateway(store, "gw-1", 1).await;
    let smith = account(store, "smith").await;
    let home = network(store, smith.id, Some(made.id), "home").await;
    let error = store.delete_gateway(made.id).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("gateway {} still has 1 network; move or delete those first", made.id)
    );
    let change = homeward_store::NetworkChange { gateway: Some(None), ..Default::default() };
    store.update_network(home.id, &change).await.unwrap();
    assert!(store.delete_gateway(made.id).await.unwrap());
    assert!(!store.delete_gateway(made.id).await.unwrap());
}

async fn a_gateway_is_put_on_the_map_moved_and_taken_off_it(world: World) {
    let store = &*world.store;
    let at = |text: &str| Some(text.parse::<Site>().unwrap());
    let new = NewGateway { site: at("51.5007,-0.1246,60"), ..new_gateway("gw-1", 1) };
    let made = store.create_gateway(&new).await.unwrap();
    assert_eq!(made.site, new.site);
    for site in [at("-33.8568,151.2153,32767"), None] {
        let change = GatewayChange { site: Some(site), ..GatewayChange::default() };
        let changed = store.update_gateway(made.id, &change).await.unwrap();
        assert_eq!(changed.site, site);
        assert_eq!(store.gateway(made.id).await.unwrap(), Some(changed));
    }
    let entries = store.outbox_after(Seq::ZERO, 100).await.unwrap();
    let told = entries.iter().filter_map(|entry| match &entry.record {
        OutboxRecord::Gateway(facts) => Some(facts.site),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [new.site, at("-33.8568,151.2153,32767"), None]);
    // A hybrid device serves nobody else.
    let home = home_of(&world, "smith").await;
    let wrong = NewGateway { site: new.site, ..new_hybrid("phone-7", 7, home) };
    let refused = store.create_gateway(&wrong).await.unwrap_err().to_string();
    assert!(refused.contains("phone-7 is a hybrid device"), "{refused}");
}

/// A network of its own account, without a home gateway.
async fn home_of(world: &World, text: &str) -> NetworkId {
    let owner = account(&*world.store, text).await;
    network(&*world.store, owner.id, None, "home").await.id
}

async fn a_hybrid_device_comes_back_with_its_home_and_keeps_it(world: World) {
    let store = &*world.store;
    let (home, other) = (home_of(&world, "smith").await, home_of(&world, "jones").await);
    let made = store.create_gateway(&new_hybrid("phone-7", 7, home)).await.unwrap();
    assert_eq!((made.device_of, made.mac), (Some(home), mac(7)));
    assert_eq!(store.gateway(made.id).await.unwrap().as_ref(), Some(&made));
    let change = GatewayChange { mac: Some(mac(8)), ..GatewayChange::status(Status::Suspended) };
    let changed = store.update_gateway(made.id, &change).await.unwrap();
    assert_eq!((changed.device_of, changed.mac), (Some(home), mac(8)));
    assert_eq!(store.gateway(made.id).await.unwrap(), Some(changed));
    gateway(store, "gw-1", 1).await;
    let tablet = store.create_gateway(&new_hybrid("tablet", 9, other)).await.unwrap();
    let list = async |device_of| {
        let filter = GatewayFilter { device_of, ..GatewayFilter::default() };
        let found = store.gateways(&filter, Page::first(10)).await.unwrap();
        found.iter().map(|g| g.id).collect::<Vec<_>>()
    };
    assert_eq!(list(Some(home)).await, [made.id]);
    assert_eq!(list(Some(other)).await, [tablet.id]);
    assert_eq!(list(None).await.len(), 3);
    // Those who follow are told, and told of devices.
    let entries = store.outbox_after(Seq::ZERO, 100).await.unwrap();
    let told = entries.iter().filter_map(|entry| match &entry.record {
        OutboxRecord::Gateway(facts) => Some((entry.operation, facts.device())),
        _ => None,
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            (Operation::Create, Some((home, mac(7)))),
            (Operation::Update, Some((home, mac(8)))),
            (Operation::Create, None),
            (Operation::Create, Some((other, mac(9)))),
        ]
    );
}

async fn a_hybrid_device_asks_nothing_by_radius(world: World) {
    let store = &*world.store;
    let home = home_of(&world, "smith").await;
    let (address, secret) = (Some("192.0.2.7".to_owned()), Secret::new("a secret"));
    let no_address =
        "gateway phone-7 is a hybrid device and asks nothing: it has no RADIUS address";
    let no_secret = "gateway phone-7 is a hybrid device and asks nothing: it has no RADIUS secret";
    let phone = new_hybrid("phone-7", 7, home);
    let asks = NewGateway { address: address.clone(), ..phone.clone() };
    let hides = NewGateway { radius_secret: secret.clone(), ..phone.clone() };
    for (new, said) in [(asks, no_address), (hides, no_secret)] {
        assert_eq!(store.create_gateway(&new).await.unwrap_err().to_string(), said);
    }
    let made = store.create_gateway(&phone).await.unwrap();
    let asks = GatewayChange { address: Some(address), ..GatewayChange::default() };
    let hides = GatewayChange { radius_secret: Some(secret), ..GatewayChange::default() };
    for (change, said) in [(asks, no_address), (hides, no_secret)] {
        assert_eq!(store.update_gateway(made.id, &change).await.unwrap_err().to_string(), said);
    }
}

async fn a_hybrid_device_is_of_a_network_that_exists_and_has_an_individual_mac(world: World) {
    let store = &*world.store;
    let nowhere = new_hybrid("phone-7", 7, NetworkId(99));
    assert_eq!(store.create_gateway(&nowhere).await.unwrap_err().to_string(), "no network 99");
    let home = home_of(&world, "smith").await;
    let group = Mac::new([3, 0, 0, 0, 0, 7]);
    let new = NewGateway { mac: group, ..new_hybrid("phone-7", 7, home) };
    let error = store.create_gateway(&new).await.unwrap_err().to_string();
    assert!(error.ends_with("is a group address; a device or gateway has an individual one"));
}

async fn a_hybrid_device_is_no_networks_home(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let home = network(store, smith.id, None, "home").await;
    let phone = store.create_gateway(&new_hybrid("phone-7", 7, home.id)).await.unwrap();
    let said =
        "gateway phone-7 is a hybrid device and no home for a network: name one that has a LAN";
    let change = NetworkChange { gateway: Some(Some(phone.id)), ..NetworkChange::default() };
    assert_eq!(store.update_network(home.id, &change).await.unwrap_err().to_string(), said);
    let new = NewNetwork {
        gateway: Some(phone.id),
        ..new_network(smith.id, "second", Security::Wpa2Psk)
    };
    assert_eq!(store.create_network(&new).await.unwrap_err().to_string(), said);
}

async fn a_network_with_hybrid_devices_is_deleted_only_with_them(world: World) {
    let store = &*world.store;
    let (home, other) = (home_of(&world, "smith").await, home_of(&world, "jones").await);
    let phone = store.create_gateway(&new_hybrid("phone-7", 7, home)).await.unwrap();
    let still = |count: u64, what: &str| {
        format!(
            "network {home} still is home to {count} hybrid {what}; delete those first (`homeward \
             admin gateway list --device-of {home}` shows them), or all of it with --with-dependents"
        )
    };
    let refused = async || {
        store.delete_network(home, Dependents::Refuse).await.map_err(|e| e.to_string()).unwrap_err()
    };
    assert_eq!(refused().await, still(1, "device"));
    let tablet = store.create_gateway(&new_hybrid("tablet", 8, home)).await.unwrap();
    assert_eq!(refused().await, still(2, "devices"));
    let wifi = device(store, home, 1).await;
    assert!(refused().await.contains("still has 1 device;"), "of the other kind first");
    store.delete_device(wifi.id).await.unwrap();

    let elsewhere = store.create_gateway(&new_hybrid("laptop", 9, other)).await.unwrap();
    let (serial, later) = ([5; 16], UnixTime(NOON + 1000));
    store.put_token(phone.id, [1; 32], later).await.unwrap();
    let new = NewCredential { serial, issued: UnixTime(NOON), not_after: later };
    store.redeem_token([1; 32], &new).await.unwrap();
    assert!(store.credential(serial).await.unwrap().is_some());
    let head = store.outbox_head().await.unwrap();

    assert!(store.delete_network(home, Dependents::Delete).await.unwrap());
    for gone in [&phone, &tablet] {
        assert_eq!(store.gateway(gone.id).await.unwrap(), None);
    }
    assert!(store.credential(serial).await.unwrap().is_none(), "and nobody comes in with it");
    assert_eq!(store.gateway(elsewhere.id).await.unwrap(), Some(elsewhere));
    let told = store.outbox_after(head, 10).await.unwrap();
    let told = told.iter().map(|e| (e.operation, e.record.entity().as_str(), e.record.id()));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            (Operation::Delete, "gateway", phone.id.0),
            (Operation::Delete, "gateway", tablet.id.0),
            (Operation::Delete, "network", home.0),
        ]
    );
}

async fn what_is_deleted_with_an_account_are_its_hybrid_devices_too(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let home = network(store, smith.id, None, "home").await;
    let phone = store.create_gateway(&new_hybrid("phone-7", 7, home.id)).await.unwrap();
    assert!(store.delete_account(smith.id, Dependents::Refuse).await.is_err());
    assert!(store.delete_account(smith.id, Dependents::Delete).await.unwrap());
    assert_eq!(store.gateway(phone.id).await.unwrap(), None);
}
