//! Behaviours of classes.

use homeward_model::{
    Anchor, Bandwidth, BondingModes, ClassId, Coverage, Days, Encryption, Priority, Quota,
    QuotaPeriod, Rssi, Seconds, ServiceTerms, Vlan,
};
use homeward_store::{ClassChange, Page};

use super::on_each_store;
use crate::world::{World, account, class, name, new_class};

on_each_store!(
    a_class_comes_back_as_it_was_given,
    a_class_changes_where_the_change_says,
    a_class_name_is_taken_once,
    a_missing_class_is_named_with_the_repair,
    a_class_that_an_account_pays_for_stays,
    a_quota_beyond_the_database_is_refused,
    lists_are_cut_into_pages_by_identifier,
    an_identifier_is_never_given_again,
);

fn full_terms() -> ServiceTerms {
    ServiceTerms {
        priority: Priority::try_from(7).unwrap(),
        bandwidth: Bandwidth { up: Some(u32::MAX), down: Some(0) },
        quota: Some(Quota { octets: i64::MAX as u64, period: QuotaPeriod::Week }),
        encryption: Encryption::Off,
        anchor: Anchor::Local,
        bonding: BondingModes { mirrored: true, striped: false },
        handoff_threshold: Some(Rssi(-128)),
        session_timeout: Some(Seconds(u32::MAX)),
        idle_timeout: Some(Seconds(1)),
        vlan: Some(Vlan::try_from(4094).unwrap()),
    }
}

async fn a_class_comes_back_as_it_was_given(world: World) {
    let mut new = new_class("gold");
    (new.coverage, new.terms) = (Coverage::Everywhere, full_terms());
    new.retention = Some(Days::try_from(36_500).unwrap());
    let made = world.store.create_class(&new).await.unwrap();
    assert_eq!((&made.name, made.coverage, made.terms), (&new.name, new.coverage, new.terms));
    assert_eq!(made.retention, new.retention);
    assert_eq!(world.store.class(made.id).await.unwrap().as_ref(), Some(&made));
    assert_eq!(world.store.class_named(&name("gold")).await.unwrap(), Some(made));
    let plain = class(&*world.store, "plain").await;
    assert_eq!(world.store.class(plain.id).await.unwrap().unwrap().retention, None);
    assert_eq!(world.store.class(plain.id).await.unwrap().unwrap().terms, ServiceTerms::default());
    assert_eq!(world.store.class(ClassId(99)).await.unwrap(), None);
    assert_eq!(world.store.class_named(&name("lead")).await.unwrap(), None);
}

async fn a_class_changes_where_the_change_says(world: World) {
    let made = class(&*world.store, "gold").await;
    let change = ClassChange { terms: Some(full_terms()), ..ClassChange::default() };
    let changed = world.store.update_class(made.id, &change).await.unwrap();
    assert_eq!((&changed.name, changed.terms), (&made.name, full_terms()));
    assert_eq!(world.store.class(made.id).await.unwrap(), Some(changed));
    for retention in [Some(Days::try_from(30).unwrap()), None] {
        let change = ClassChange { retention: Some(retention), ..ClassChange::default() };
        let changed = world.store.update_class(made.id, &change).await.unwrap();
        assert_eq!((changed.retention, changed.terms), (retention, full_terms()));
        assert_eq!(world.store.class(made.id).await.unwrap(), Some(changed));
    }
    let error = world.store.update_class(ClassId(99), &change).await.unwrap_err();
    assert_eq!(error.to_string(), "no class of service 99");
}

async fn a_class_name_is_taken_once(world: World) {
    let gold = class(&*world.store, "gold").await;
    let lead = class(&*world.store, "lead").await;
    let error = world.store.create_class(&new_class("gold")).await.unwrap_err();
    assert_eq!(error.to_string(), "class of service gold exists already");
    assert!(error.is_duplicate());
    let rename = ClassChange { name: Some(name("gold")), ..ClassChange::default() };
    assert!(world.store.update_class(lead.id, &rename).await.unwrap_err().is_duplicate());
    assert_eq!(world.store.update_class(gold.id, &rename).await.unwrap(), gold);
}

async fn a_missing_class_is_named_with_the_repair(world: World) {
    let error = world.store.require_class(&name("gold")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no class of service named gold; create it first with `homeward admin class create gold`"
    );
    let gold = class(&*world.store, "gold").await;
    assert_eq!(world.store.require_class(&name("gold")).await.unwrap(), gold);
}

async fn a_class_that_an_account_pays_for_stays(world: World) {
    let account = account(&*world.store, "smith").await;
    let error = world.store.delete_class(account.class).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "class of service {} still has 1 account; move or delete those first",
            account.class
        )
    );
    assert!(world.store.class(account.class).await.unwrap().is_some());
    let unused = class(&*world.store, "unused").await;
    assert!(world.store.delete_class(unused.id).await.unwrap());
    assert!(!world.store.delete_class(unused.id).await.unwrap());
}

async fn a_quota_beyond_the_database_is_refused(world: World) {
    let mut new = new_class("gold");
    new.terms.quota = Some(Quota { octets: 1 << 63, period: QuotaPeriod::Day });
    let error = world.store.create_class(&new).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "a quota is at most 9223372036854775807 octets (2^63 - 1), not 9223372036854775808"
    );
}

async fn lists_are_cut_into_pages_by_identifier(world: World) {
    let mut made = Vec::new();
    for name in ["e", "d", "c", "b", "a"] {
        made.push(class(&*world.store, name).await);
    }
    let first = world.store.classes(Page::first(2)).await.unwrap();
    assert_eq!(first, made[..2]);
    let second = world.store.classes(Page::after(first[1].id, 2)).await.unwrap();
    assert_eq!(second, made[2..4]);
    let third = world.store.classes(Page::after(second[1].id, 2)).await.unwrap();
    assert_eq!(third, made[4..]);
    assert_eq!(world.store.classes(Page::first(0)).await.unwrap(), []);
}

async fn an_identifier_is_never_given_again(world: World) {
    let gone = class(&*world.store, "gone").await;
    assert!(world.store.delete_class(gone.id).await.unwrap());
    assert!(class(&*world.store, "next").await.id > gone.id);
}
