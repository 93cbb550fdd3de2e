//! Behaviours of the audit trail.

use std::sync::Arc;

use homeward_model::{PolicyScope, Secret, Security, Status, UnixTime};
use homeward_store::{
    AccountChange, AuditEntry, AuditFilter, AuditKind, ClassChange, Dependents, DeviceChange,
    Entity, GatewayChange, LoginChange, NetworkChange, NewCredential, NewLogin, Operation, Seq,
    Store, StoredAuthority, SubscriberChange,
};
use serde_json::{Value, json};

use super::on_each_store;
use crate::world::{
    NOON, World, account, bearer, class, device, gateway, mac, name, network, new_account,
    new_issue, new_login, new_network, new_subscriber, nt_hash, passphrase, policy, subscriber,
};

on_each_store!(
    who_has_no_name_leaves_no_trail,
    every_kind_of_record_leaves_its_creation_its_changes_and_its_end,
    a_change_tells_what_there_was_and_what_there_is,
    a_secret_that_was_replaced_is_named_and_not_told,
    what_is_refused_or_changes_nothing_leaves_no_trail,
    what_goes_with_a_record_is_told_of,
    what_is_issued_and_withdrawn_says_for_whom,
    the_enrolment_of_gateways_and_the_authority_leave_a_trail,
    the_trail_is_read_in_parts_by_kind_time_and_actor,
    each_handle_acts_in_its_own_name,
    what_is_old_is_forgotten_the_oldest_first_and_no_number_is_given_twice,
);

fn fred(world: &World) -> Arc<dyn Store> {
    world.store.acting_as("admin:fred".parse().unwrap())
}

async fn trail(store: &dyn Store) -> Vec<AuditEntry> {
    store.audit_after(Seq::ZERO, &AuditFilter::default(), 1000).await.unwrap()
}

/// What was done since the first `skip` entries.
async fn told(store: &dyn Store, skip: usize) -> Vec<(String, Operation, i64)> {
    let trail = trail(store).await;
    trail.iter().skip(skip).map(|e| (e.kind.to_string(), e.operation, e.record)).collect()
}

async fn who_has_no_name_leaves_no_trail(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    subscriber(store, smith.id, 1).await;
    store.issue(&[new_issue(smith.id, "a", 1, 1)]).await.unwrap();
    assert_eq!(trail(store).await, []);
    // What learns by itself is nobody's doing.
    let fred = fred(&world);
    fred.apply_bearers(&[homeward_store::BearerChange::Put(bearer("a", None, "192.0.2.1/32"))])
        .await
        .unwrap();
    assert_eq!(trail(store).await, []);
}

async fn every_kind_of_record_leaves_its_creation_its_changes_and_its_end(world: World) {
    let fred = fred(&world);
    let store = &*fred;
    let gold = class(store, "gold").await;
    let smith = store.create_account(&new_account("smith", gold.id)).await.unwrap();
    let gw = gateway(store, "gw-1", 1).await;
    let home = network(store, smith.id, None, "home").await;
    let phone = device(store, home.id, 1).await;
    let login = store.create_login(&new_login(smith.id, "a")).await.unwrap();
    let sim = subscriber(store, smith.id, 1).await;
    let scope = PolicyScope::Class(gold.id);
    store.set_policy(scope, &policy(1)).await.unwrap();

    let renamed = ClassChange { name: Some(name("silver")), ..Default::default() };
    store.update_class(gold.id, &renamed).await.unwrap();
    let suspended = Status::Suspended;
    store.update_account(smith.id, &AccountChange::status(suspended)).await.unwrap();
    store.update_gateway(gw.id, &GatewayChange::status(suspended)).await.unwrap();
    store.update_network(home.id, &NetworkChange::status(suspended)).await.unwrap();
    store.update_device(phone.id, &DeviceChange::status(suspended)).await.unwrap();
    store.update_login(login.id, &LoginChange::status(suspended)).await.unwrap();
    store.update_subscriber(sim.id, &SubscriberChange::status(suspended)).await.unwrap();
    store.set_policy(scope, &policy(2)).await.unwrap();

    store.delete_device(phone.id).await.unwrap();
    store.delete_network(home.id, Dependents::Refuse).await.unwrap();
    store.delete_login(login.id).await.unwrap();
    store.delete_subscriber(sim.id).await.unwrap();
    store.clear_policy(scope).await.unwrap();
    store.delete_gateway(gw.id).await.unwrap();
    store.delete_account(smith.id, Dependents::Refuse).await.unwrap();
    store.delete_class(gold.id).await.unwrap();

    let trail = trail(store).await;
    for entity in Entity::ALL {
        let kind = AuditKind::Record(entity);
        let of: Vec<&AuditEntry> = trail.iter().filter(|e| e.kind == kind).collect();
        let [made, changed, gone] = of[..] else { panic!("{entity}: {of:#?}") };
        assert_eq!(
            [made, changed, gone].map(|e| (e.operation, e.record, e.actor.as_str(), e.time)),
            Operation::ALL.map(|o| (o, 1, "admin:fred", UnixTime(NOON)))
        );
        assert_eq!((&made.before, &gone.after), (&None, &None));
        assert_eq!((&made.after, &changed.after), (&changed.before, &gone.before), "{entity}");
        assert!(made.after.is_some() && changed.after.is_some(), "{entity}");
        assert_ne!(changed.before, changed.after, "{entity}");
    }
    assert_eq!(trail.len(), 3 * Entity::ALL.len());
    let numbers: Vec<i64> = trail.iter().map(|entry| entry.seq.0).collect();
    assert_eq!(numbers, (1..=24).collect::<Vec<i64>>());
}

async fn a_change_tells_what_there_was_and_what_there_is(world: World) {
    let fred = fred(&world);
    let smith = account(&*world.store, "smith").await;
    world.clock.set(NOON + 5);
    fred.update_account(smith.id, &AccountChange::status(Status::Suspended)).await.unwrap();
    let entry = serde_json::to_value(&trail(&*fred).await[0]).unwrap();
    let facts = |status: &str| json!({"id": 1, "name": "smith", "class": 1, "status": status});
    assert_eq!(
        entry,
        json!({
            "seq": 1, "time": NOON + 5, "actor": "admin:fred", "kind": "account", "record": 1,
            "operation": "update", "before": facts("active"), "after": facts("suspended"),
        })
    );
}

async fn a_secret_that_was_replaced_is_named_and_not_told(world: World) {
    let fred = fred(&world);
    let smith = account(&*world.store, "smith").await;
    let gw = gateway(&*world.store, "gw-1", 1).await;
    let home = network(&*world.store, smith.id, None, "home").await;
    let phone = device(&*world.store, home.id, 1).await;
    let login = world.store.create_login(&new_login(smith.id, "a")).await.unwrap();
    let change =
        GatewayChange { radius_secret: Some(Secret::new("another")), ..Default::default() };
    fred.update_gateway(gw.id, &change).await.unwrap();
    let key = passphrase("battery staple");
    let change = DeviceChange { key: Some(Some(key)), ..Default::default() };
    fred.update_device(phone.id, &change).await.unwrap();
    let change = LoginChange { verifier: Some(nt_hash(7)), ..Default::default() };
    fred.update_login(login.id, &change).await.unwrap();
    for (entry, field) in
        trail(&*fred).await.into_iter().zip(["radius_secret", "key_itself", "password"])
    {
        let (Some(Value::Object(before)), Some(Value::Object(mut after))) =
            (entry.before, entry.after)
        else {
            panic!("{field}");
        };
        assert_eq!(after.remove(field), Some("changed".into()));
        assert_eq!(before, after);
    }
}

async fn what_is_refused_or_changes_nothing_leaves_no_trail(world: World) {
    let fred = fred(&world);
    let smith = account(&*world.store, "smith").await;
    subscriber(&*world.store, smith.id, 1).await;
    world.store.set_policy(PolicyScope::Default, &policy(1)).await.unwrap();
    fred.update_account(smith.id, &AccountChange::default()).await.unwrap();
    fred.set_policy(PolicyScope::Default, &policy(1)).await.unwrap();
    fred.delete_account(smith.id, Dependents::Refuse).await.unwrap_err();
    fred.create_account(&new_account("smith", smith.class)).await.unwrap_err();
    let logins = ["a", "b", "a"].map(|name| new_login(smith.id, name));
    fred.create_logins(&logins).await.unwrap_err();
    fred.create_subscribers(&[2, 2].map(|n| new_subscriber(smith.id, n))).await.unwrap_err();
    let home = network(&*world.store, smith.id, None, "home").await;
    let devices = [1, 1].map(|last| crate::world::new_device(home.id, last));
    fred.create_devices(&devices).await.unwrap_err();
    assert!(fred.issue(&[new_issue(smith.id, "a", 9, 1)]).await.unwrap()[0].is_err());
    assert!(!fred.withdraw(homeward_model::LoginId(9)).await.unwrap());
    assert_eq!(trail(&*fred).await, []);
    // Nor are numbers lost.
    fred.create_logins(&logins[..2]).await.unwrap();
    let login = |id| ("login".to_owned(), Operation::Create, id);
    assert_eq!(told(&*fred, 0).await, [login(1), login(2)]);
    assert_eq!(trail(&*fred).await[1].seq, Seq(2));
}

async fn what_goes_with_a_record_is_told_of(world: World) {
    let fred = fred(&world);
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let home = network(store, smith.id, None, "home").await;
    device(store, home.id, 1).await;
    subscriber(store, smith.id, 1).await;
    subscriber(store, smith.id, 2).await;
    store.issue(&[new_issue(smith.id, "a", 1, 1)]).await.unwrap();
    let sim = store.require_subscriber(crate::world::imsi(1)).await.unwrap();
    fred.update_subscriber(sim.id, &SubscriberChange::status(Status::Suspended)).await.unwrap();
    store.create_login(&new_login(smith.id, "own")).await.unwrap();
    fred.delete_account(smith.id, Dependents::Delete).await.unwrap();
    use Operation::{Delete, Update};
    let wanted = [
        ("issued", Delete, 1),
        ("subscriber", Update, 1),
        ("device", Delete, 1),
        ("network", Delete, 1),
        ("login", Delete, 2),
        ("subscriber", Delete, 1),
        ("subscriber", Delete, 2),
        ("account", Delete, 1),
    ];
    assert_eq!(told(&*fred, 0).await, wanted.map(|(k, o, id)| (k.to_owned(), o, id)));
}

async fn what_is_issued_and_withdrawn_says_for_whom(world: World) {
    let fred = fred(&world);
    let smith = account(&*world.store, "smith").await;
    subscriber(&*world.store, smith.id, 1).await;
    let login = NewLogin { mac: Some(mac(1)), ..new_login(smith.id, "a@example.net") };
    let new = homeward_store::NewIssue { login, ..new_issue(smith.id, "a", 1, 1) };
    let made = fred.issue(&[new]).await.unwrap().remove(0).unwrap();
    fred.withdraw(made.login.id).await.unwrap();
    let trail = trail(&*fred).await;
    assert_eq!(trail.len(), 2);
    assert_eq!((trail[0].operation, trail[1].operation), (Operation::Create, Operation::Delete));
    assert_eq!((&trail[0].before, &trail[1].after), (&None, &None));
    assert_eq!(trail[0].after, trail[1].before);
    let facts = trail[0].after.as_ref().unwrap();
    assert_eq!(
        *facts,
        json!({
            "login": {
                "id": 1, "account": 1, "name": "a@example.net", "verifier": "nt-hash",
                "mac": "02:00:00:00:00:01", "expires": null, "uses": "any",
                "label": "log-in a@example.net", "status": "active",
            },
            "imsi": "999700000000001", "imei": null, "mac": "02:00:00:00:00:01",
            "address": null, "issued": NOON, "renew_from": null, "way": "https",
        })
    );
}

async fn the_enrolment_of_gateways_and_the_authority_leave_a_trail(world: World) {
    let fred = fred(&world);
    let gw = gateway(&*world.store, "gw-1", 1).await;
    let authority = StoredAuthority { certificate: vec![1], key: Secret::new("key") };
    fred.found_authority(&authority).await.unwrap();
    fred.found_authority(&authority).await.unwrap();
    let later = UnixTime(NOON + 1000);
    fred.put_token(gw.id, [7; 32], later).await.unwrap();
    let new = |n| NewCredential { serial: [n; 16], issued: UnixTime(NOON), not_after: later };
    fred.redeem_token([7; 32], &new(1)).await.unwrap();
    fred.redeem_token([7; 32], &new(2)).await.unwrap();
    fred.renew_credential([1; 16], &new(3)).await.unwrap();
    fred.use_credential([3; 16], UnixTime(NOON)).await.unwrap();
    fred.revoke_access(gw.id).await.unwrap();
    let (one, three) = ("01".repeat(16), "03".repeat(16));
    let wanted = [
        (
            "authority",
            Operation::Create,
            json!({"certificate_sha256":
                "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a"}),
        ),
        ("access", Operation::Create, json!({"token_expires": later.0})),
        ("access", Operation::Create, json!({"credential": one, "by": "token"})),
        ("access", Operation::Create, json!({"credential": three, "by": one})),
        ("access", Operation::Update, json!({"credential": three, "used": NOON})),
        ("access", Operation::Delete, json!({"credentials": 1})),
    ];
    let trail = trail(&*fred).await;
    let trail: Vec<_> =
        trail.iter().map(|e| (e.kind.as_str(), e.operation, (&e.before, &e.after))).collect();
    for (entry, wanted) in trail.iter().zip(&wanted) {
        assert_eq!((entry.0, entry.1), (wanted.0, wanted.1));
        let what = if entry.1 == Operation::Delete { entry.2.0 } else { entry.2.1 };
        assert_eq!(what.as_ref(), Some(&wanted.2));
    }
    assert_eq!(trail.len(), wanted.len());
}

async fn the_trail_is_read_in_parts_by_kind_time_and_actor(world: World) {
    let fred = fred(&world);
    let mary = fred.acting_as("api:billing".parse().unwrap());
    let gold = class(&*fred, "gold").await;
    world.clock.set(NOON + 10);
    mary.create_account(&new_account("a", gold.id)).await.unwrap();
    world.clock.set(NOON + 20);
    fred.create_account(&new_account("b", gold.id)).await.unwrap();
    fred.create_network(&new_network(homeward_model::AccountId(1), "x", Security::Wpa2Psk))
        .await
        .unwrap();
    let any = AuditFilter::default();
    let account = Some(AuditKind::Record(Entity::Account));
    for (filter, which) in [
        (any.clone(), vec![1, 2, 3, 4]),
        (AuditFilter { kind: account, ..any.clone() }, vec![2, 3]),
        (AuditFilter { since: Some(UnixTime(NOON + 10)), ..any.clone() }, vec![2, 3, 4]),
        (AuditFilter { actor: Some("api:billing".parse().unwrap()), ..any.clone() }, vec![2]),
        (AuditFilter { kind: account, since: Some(UnixTime(NOON + 11)), ..any.clone() }, vec![3]),
        (AuditFilter { kind: Some(AuditKind::Issued), ..any.clone() }, vec![]),
    ] {
        let found = world.store.audit_after(Seq::ZERO, &filter, 9).await.unwrap();
        assert_eq!(found.iter().map(|e| e.seq.0).collect::<Vec<_>>(), which, "{filter:?}");
    }
    let part = world.store.audit_after(Seq(1), &any, 2).await.unwrap();
    assert_eq!(part.iter().map(|e| e.seq.0).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(world.store.audit_after(Seq(4), &any, 2).await.unwrap(), []);
}

async fn what_is_old_is_forgotten_the_oldest_first_and_no_number_is_given_twice(world: World) {
    let fred = fred(&world);
    for (n, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        world.clock.set(NOON + 10 * i64::try_from(n).unwrap());
        class(&*fred, name).await;
    }
    let numbers = async || -> Vec<i64> {
        trail(&*world.store).await.iter().map(|entry| entry.seq.0).collect()
    };
    assert_eq!(world.store.prune_audit(UnixTime(NOON), 9).await.unwrap(), 0, "nothing is older");
    assert_eq!(world.store.prune_audit(UnixTime(NOON + 30), 2).await.unwrap(), 2);
    assert_eq!(numbers().await, [3, 4]);
    assert_eq!(world.store.prune_audit(UnixTime(NOON + 31), 9).await.unwrap(), 2);
    assert_eq!(numbers().await, [0_i64; 0]);
    class(&*fred, "e").await;
    assert_eq!(numbers().await, [5]);
}

async fn each_handle_acts_in_its_own_name(world: World) {
    let fred = fred(&world);
    let mary = fred.acting_as("api:billing".parse().unwrap());
    class(&*fred, "a").await;
    class(&*mary, "b").await;
    class(&*world.store, "c").await;
    class(&*fred, "d").await;
    let actors: Vec<String> = trail(&*mary).await.iter().map(|e| e.actor.to_string()).collect();
    assert_eq!(actors, ["admin:fred", "api:billing", "admin:fred"]);
    // They are handles of one datastore: each sees what the others do, and is told of it.
    assert_eq!(mary.classes(homeward_store::Page::first(9)).await.unwrap().len(), 4);
    assert_eq!(fred.changed(Seq(3)).await.unwrap(), Seq(4));
}
