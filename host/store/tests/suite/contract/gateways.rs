//! Behaviours of gateways.

use homeward_model::{GatewayId, LookupForm, Mac, Secret, Status};
use homeward_store::{GatewayChange, GatewayFilter, NewGateway, Page};

use super::on_each_store;
use crate::world::{World, account, gateway, mac, name, network, new_gateway};

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
        let filter = GatewayFilter { operator: operator.map(name), status };
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
