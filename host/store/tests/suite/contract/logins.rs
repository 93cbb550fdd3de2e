//! Behaviours of log-ins.

use homeward_model::{AccountId, LoginId, Mac, Secret, Status, UnixTime, Verifier};
use homeward_store::{
    Dependents, Error, LoginChange, LoginFilter, NewLogin, Operation, OutboxRecord, Page, Seq,
};

use super::on_each_store;
use crate::world::{NOON, World, account, mac, nai, network, new_login, nt_hash};

on_each_store!(
    a_log_in_comes_back_with_its_verifier,
    a_name_is_taken_once_whatever_the_case_of_its_realm,
    a_log_in_changes_where_the_change_says,
    a_log_in_needs_an_account_an_individual_mac_and_a_printable_label,
    log_ins_are_listed_by_account_mac_and_status,
    a_batch_is_created_as_a_whole_or_not_at_all,
    an_account_with_log_ins_is_deleted_only_with_all_of_it,
    the_outbox_tells_of_log_ins_without_their_verifiers,
);

fn argon2() -> Verifier {
    Verifier::Argon2id(Secret::new("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"))
}

async fn a_log_in_comes_back_with_its_verifier(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let plain = Verifier::Password(Secret::new("made by a machine"));
    for (name, verifier) in
        [("phone@example.net", nt_hash(1)), ("portal", argon2()), ("chap", plain)]
    {
        let new = NewLogin {
            verifier,
            mac: Some(mac(7)),
            expires: Some(UnixTime(NOON)),
            ..new_login(smith.id, name)
        };
        let made = store.create_login(&new).await.unwrap();
        assert_eq!((&made.verifier, made.mac), (&new.verifier, Some(mac(7))));
        assert_eq!((made.expires, made.account), (Some(UnixTime(NOON)), smith.id));
        assert_eq!(store.login_named(&nai(name)).await.unwrap().as_ref(), Some(&made));
        assert_eq!(store.login(made.id).await.unwrap(), Some(made));
    }
    assert_eq!(store.login(LoginId(99)).await.unwrap(), None);
    assert_eq!(store.login_named(&nai("nobody")).await.unwrap(), None);
}

async fn a_name_is_taken_once_whatever_the_case_of_its_realm(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let first = store.create_login(&new_login(smith.id, "a@example.net")).await.unwrap();
    let error = store.create_login(&new_login(smith.id, "a@EXAMPLE.net")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("log-in ***@example.net exists already: log-in {}", first.id)
    );
    assert!(error.is_duplicate());
    let second = store.create_login(&new_login(smith.id, "A@example.net")).await.unwrap();
    let change = LoginChange { name: Some(nai("a@example.net")), ..LoginChange::default() };
    assert!(store.update_login(second.id, &change).await.unwrap_err().is_duplicate());
    let change = LoginChange { name: Some(nai("b@example.net")), ..LoginChange::default() };
    store.update_login(first.id, &change).await.unwrap();
    // A name given up is free.
    store.create_login(&new_login(smith.id, "a@example.net")).await.unwrap();
    assert_eq!(store.login_named(&nai("b@example.net")).await.unwrap().unwrap().id, first.id);
}

async fn a_log_in_changes_where_the_change_says(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let new = NewLogin { mac: Some(mac(1)), ..new_login(smith.id, "a") };
    let made = store.create_login(&new).await.unwrap();
    let change = LoginChange {
        mac: Some(None),
        expires: Some(Some(UnixTime(NOON + 1))),
        ..LoginChange::status(Status::Suspended)
    };
    let changed = store.update_login(made.id, &change).await.unwrap();
    assert_eq!((changed.mac, changed.expires), (None, Some(UnixTime(NOON + 1))));
    assert_eq!((changed.status, &changed.verifier), (Status::Suspended, &made.verifier));
    assert_eq!(store.login(made.id).await.unwrap(), Some(changed));
    let change = LoginChange { verifier: Some(argon2()), ..LoginChange::default() };
    let changed = store.update_login(made.id, &change).await.unwrap();
    assert_eq!((&changed.verifier, &changed.label), (&argon2(), &made.label));
    assert_eq!(store.login(made.id).await.unwrap(), Some(changed));
    assert_eq!(
        store.update_login(LoginId(99), &change).await.unwrap_err().to_string(),
        "no log-in 99"
    );
    assert!(store.delete_login(made.id).await.unwrap());
    assert!(!store.delete_login(made.id).await.unwrap());
}

async fn a_log_in_needs_an_account_an_individual_mac_and_a_printable_label(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let good = new_login(smith.id, "a");
    for (new, error) in [
        (new_login(AccountId(99), "a"), "no account 99"),
        (
            new_login(smith.id, "02-00-5E-10-00-02"),
            "a log-in's name cannot be a MAC address: access points look devices up by such names",
        ),
        (
            NewLogin { mac: Some(Mac::new([0xff; 6])), ..good.clone() },
            "ff:ff:ff:**:**:** is a group address; a device or gateway has an individual one",
        ),
        (
            NewLogin { label: "a\nb".into(), ..good.clone() },
            "a label has no control characters; character 2 is one",
        ),
    ] {
        assert_eq!(store.create_login(&new).await.unwrap_err().to_string(), error);
    }
    let made = store.create_login(&good).await.unwrap();
    let change = LoginChange { mac: Some(Some(Mac::new([0xff; 6]))), ..LoginChange::default() };
    assert!(store.update_login(made.id, &change).await.is_err());
    assert_eq!(store.login(made.id).await.unwrap(), Some(made));
}

async fn log_ins_are_listed_by_account_mac_and_status(world: World) {
    let store = &*world.store;
    let (smith, jones) = (account(store, "smith").await, account(store, "jones").await);
    let mut made = Vec::new();
    for (account, name, mac, status) in [
        (smith.id, "a", Some(mac(1)), Status::Active),
        (smith.id, "b", None, Status::Suspended),
        (jones.id, "c", Some(mac(1)), Status::Active),
    ] {
        let new = NewLogin { mac, status, ..new_login(account, name) };
        made.push(store.create_login(&new).await.unwrap());
    }
    let all = LoginFilter::default();
    for (filter, which) in [
        (all.clone(), vec![0, 1, 2]),
        (LoginFilter { account: Some(smith.id), ..all.clone() }, vec![0, 1]),
        (LoginFilter { mac: Some(mac(1)), ..all.clone() }, vec![0, 2]),
        (LoginFilter { status: Some(Status::Suspended), ..all.clone() }, vec![1]),
    ] {
        let wanted: Vec<_> = which.into_iter().map(|n| made[n].clone()).collect();
        assert_eq!(store.logins(&filter, Page::first(9)).await.unwrap(), wanted);
    }
    let page = Page::after(made[0].id, 1);
    assert_eq!(store.logins(&all, page).await.unwrap(), [made[1].clone()]);
}

async fn a_batch_is_created_as_a_whole_or_not_at_all(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let new = ["a", "b", "a"].map(|name| new_login(smith.id, name));
    let head = store.outbox_head().await.unwrap();
    let error = store.create_logins(&new).await.unwrap_err();
    assert!(matches!(error, Error::Batch { index: 2, .. }), "{error}");
    assert_eq!(store.logins(&LoginFilter::default(), Page::first(9)).await.unwrap(), []);
    assert_eq!(store.outbox_head().await.unwrap(), head);
    let made = store.create_logins(&new[..2]).await.unwrap();
    assert_eq!(store.logins(&LoginFilter::default(), Page::first(9)).await.unwrap(), made);
}

async fn an_account_with_log_ins_is_deleted_only_with_all_of_it(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    network(store, smith.id, None, "home").await;
    let login = store.create_login(&new_login(smith.id, "a")).await.unwrap();
    let refused = store.delete_account(smith.id, Dependents::Refuse).await.unwrap_err();
    assert!(refused.to_string().starts_with("account 1 still has 1 network"), "{refused}");
    let jones = account(store, "jones").await;
    store.create_login(&new_login(jones.id, "b")).await.unwrap();
    let refused = store.delete_account(jones.id, Dependents::Refuse).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "account 2 still has 1 log-in; delete those first, or all of it with --with-dependents"
    );
    assert!(store.delete_account(smith.id, Dependents::Delete).await.unwrap());
    assert_eq!(store.login(login.id).await.unwrap(), None);
    assert_eq!(store.logins(&LoginFilter::default(), Page::first(9)).await.unwrap().len(), 1);
}

async fn the_outbox_tells_of_log_ins_without_their_verifiers(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let head = store.outbox_head().await.unwrap();
    let made = store.create_login(&new_login(smith.id, "a@example.net")).await.unwrap();
    store.update_login(made.id, &LoginChange::status(Status::Suspended)).await.unwrap();
    store.delete_login(made.id).await.unwrap();
    let entries = store.outbox_after(head, 9).await.unwrap();
    let told: Vec<Operation> = entries.iter().map(|entry| entry.operation).collect();
    assert_eq!(told, [Operation::Create, Operation::Update, Operation::Delete]);
    for (entry, status) in
        entries.iter().zip([Status::Active, Status::Suspended, Status::Suspended])
    {
        let OutboxRecord::Login(facts) = &entry.record else { panic!("{entry:?}") };
        assert_eq!((facts.id, &facts.name, facts.status), (made.id, &made.name, status));
    }
    assert_eq!(entries[0].seq, Seq(head.0 + 1));
}
