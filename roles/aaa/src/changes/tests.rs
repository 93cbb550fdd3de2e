//! What sessions are told, and whether they are to end otherwise.

use homeward_accounting::{Day, Figures};
use homeward_model::{
    Account, ClassOfService, Coverage, Gateway, Quota, QuotaPeriod, Status, Vlan,
};

use super::*;
use crate::grants::LoginSession;
use crate::testing::{self, GATEWAY, HOME, MAC};
use crate::usage::Usage;

const NOW: UnixTime = UnixTime(1_800_000_000_000);

fn terms(set: impl FnOnce(&mut ServiceTerms)) -> ServiceTerms {
    let mut terms = ServiceTerms::default();
    set(&mut terms);
    terms
}

fn class(terms: ServiceTerms) -> ClassOfService {
    ClassOfService { terms, ..testing::class(Coverage::Local) }
}

fn vlan(number: u16) -> Option<Vlan> {
    Some(Vlan::try_from(number).unwrap())
}

/// A log-in's session at home.
fn session() -> (User, Revocation) {
    let (nas_identifier, session_id) = (Some("ap-7".to_owned()), Some("5F".to_owned()));
    let login = testing::login();
    let session = LoginSession { name: login.name, nas_identifier, session_id };
    let (host, station) = (testing::host(), Some(MAC));
    let session = Revocation { gateway: HOME, host, station, login: Some(session) };
    (User::Login(login.id), session)
}

/// What is done about it when the class of service changes from one to the other.
fn done(old: ServiceTerms, new: ServiceTerms, refused: Refused) -> Option<Order> {
    let mut p = testing::projection();
    p.put_login(testing::login());
    p.put_class(class(old));
    let mut before = Before::default();
    before.class(&p, class(old).id);
    p.put_class(class(new));
    before.changed(&p);
    let usage = Usage::default();
    let known = Known { records: &p, usage: &usage, now: NOW };
    let (user, session) = session();
    order(&known, &before, user, &session, refused)
}

fn told(old: ServiceTerms, new: ServiceTerms) -> (Allowed, bool) {
    match done(old, new, Refused::EndIfLess) {
        Some(Order::Change(change)) => (change.allowed, change.or_end),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_another_is_told_and_nothing_else_and_less_has_to_be_taken() {
    let old = terms(|t| {
        t.bandwidth = Bandwidth { up: Some(10), down: Some(50) };
        t.session_timeout = Some(Seconds(600));
        t.idle_timeout = Some(Seconds(60));
        t.vlan = vlan(30);
    });
    let with = |set: fn(&mut ServiceTerms)| {
        let mut new = old;
        set(&mut new);
        let (allowed, or_end) = told(old, new);
        assert_eq!((allowed.at_most, allowed.quota_left), (None, None));
        (allowed.terms, or_end)
    };
    let is = |set: fn(&mut ServiceTerms), or_end| (terms(set), or_end);
    assert_eq!(with(|t| t.bandwidth.up = Some(9)), is(|t| t.bandwidth.up = Some(9), true));
    assert_eq!(with(|t| t.bandwidth.down = Some(51)), is(|t| t.bandwidth.down = Some(51), false));
    assert_eq!(
        with(|t| t.bandwidth.down = None),
        is(|t| t.bandwidth.down = Some(u32::MAX), false),
        "no limit is told as one that nobody reaches"
    );
    let shorter = is(|t| t.session_timeout = Some(Seconds(599)), true);
    assert_eq!(with(|t| t.session_timeout = Some(Seconds(599))), shorter);
    let for_ever = is(|t| t.session_timeout = Some(FOR_EVER), false);
    assert_eq!(with(|t| t.session_timeout = None), for_ever);
    assert_eq!(
        with(|t| t.idle_timeout = Some(Seconds(61))),
        is(|t| t.idle_timeout = Some(Seconds(61)), false)
    );
    assert_eq!(with(|t| t.vlan = vlan(31)), is(|t| t.vlan = vlan(31), true));
}

#[test]
fn what_concerns_no_nas_is_not_told() {
    let new = terms(|t| {
        t.priority = 5.try_into().unwrap();
        t.anchor = homeward_model::Anchor::Local;
    });
    assert!(done(ServiceTerms::default(), new, Refused::End).is_none());
    let new = terms(|t| t.idle_timeout = Some(Seconds(5)));
    assert!(done(new, ServiceTerms::default(), Refused::EndIfLess).is_none(), "left to the NAS");
}

#[test]
fn a_setting_says_whether_a_session_ends_whose_nas_does_not_take_it() {
    let slow = terms(|t| t.bandwidth.up = Some(9));
    let none = ServiceTerms::default();
    for (refused, when_less, when_more) in [
        (Refused::EndIfLess, true, false),
        (Refused::End, true, true),
        (Refused::Keep, false, false),
    ] {
        for (old, new, expected) in [(none, slow, when_less), (slow, none, when_more)] {
            let Some(Order::Change(change)) = done(old, new, refused) else { panic!() };
            assert_eq!(change.or_end, expected, "{refused:?}");
        }
    }
}

#[test]
fn to_leave_a_vlan_cannot_be_told_and_ends_the_session_unless_it_is_to_be_kept() {
    let (inside, out) = (terms(|t| t.vlan = vlan(30)), ServiceTerms::default());
    for refused in [Refused::EndIfLess, Refused::End] {
        assert!(matches!(done(inside, out, refused), Some(Order::End(_))));
    }
    assert!(done(inside, out, Refused::Keep).is_none());
}

#[test]
fn a_quota_is_told_whole_and_is_less_if_less_is_left_of_it() {
    let quota = |octets, period| terms(|t| t.quota = Some(Quota { octets, period }));
    let day = |octets| quota(octets, QuotaPeriod::Day);
    let none = ServiceTerms::default();
    for (old, new, left, or_end) in [
        (day(1000), day(2000), 2000, false),
        (day(2000), day(1000), 1000, true),
        (none, day(1000), 1000, true),
        (day(1000), none, ANY_AMOUNT, false),
        (day(1000), quota(1000, QuotaPeriod::Month), 1000, false),
    ] {
        let (allowed, end) = told(old, new);
        assert_eq!((allowed.quota_left, end), (Some(left), or_end), "{new:?}");
        assert_eq!(allowed.terms, none);
    }
}

#[test]
fn a_log_in_that_is_good_for_less_long_is_told_so() {
    let mut p = testing::projection();
    p.put_class(class(terms(|t| t.session_timeout = Some(Seconds(600)))));
    let login = |seconds: i64| Login {
        expires: Some(UnixTime(NOW.0 + seconds * 1000)),
        ..testing::login()
    };
    p.put_login(login(3600));
    let mut before = Before::default();
    before.login(&p, login(0).id);
    p.put_login(login(60));
    before.changed(&p);
    let usage = Usage::default();
    let known = Known { records: &p, usage: &usage, now: NOW };
    let (user, at) = session();
    let order = order(&known, &before, user, &at, Refused::EndIfLess);
    let Some(Order::Change(change)) = order else { panic!("{order:?}") };
    assert_eq!(change.allowed.terms, terms(|t| t.session_timeout = Some(Seconds(60))));
    assert!(change.or_end);
}

#[test]
fn what_an_account_has_before_and_after_counts_however_the_records_came() {
    let slow = terms(|t| t.bandwidth.up = Some(9));
    let other = ClassOfService { id: ClassId(2), name: "slow".parse().unwrap(), ..class(slow) };
    let mut p = testing::projection();
    p.put_login(testing::login());
    p.put_class(other.clone());
    let mut noted = Before::default();
    noted.account(&p, testing::account().id);
    noted.class(&p, other.id);
    let mut whole = testing::projection();
    whole.put_login(testing::login());
    p.put_account(Account { class: other.id, ..testing::account() });
    noted.changed(&p);
    let usage = Usage::default();
    let known = Known { records: &p, usage: &usage, now: NOW };
    let (user, session) = session();
    for before in [noted, Before::whole(whole)] {
        assert!(concerns(&known, &before, user));
        let order = order(&known, &before, user, &session, Refused::EndIfLess);
        let Some(Order::Change(change)) = order else { panic!("{order:?}") };
        assert_eq!((change.allowed.terms, change.or_end), (slow, true));
    }
    // What is as it was concerns nobody, and is not even looked for.
    let mut same = Before::default();
    same.account(&p, testing::account().id);
    same.class(&p, other.id);
    same.login(&p, testing::login().id);
    same.changed(&p);
    assert!(same.is_nothing());
    assert!(!concerns(&known, &same, user));
}

#[test]
fn who_is_put_out_anyway_is_not_told() {
    let mut p = testing::projection();
    p.put_login(Login { status: Status::Suspended, ..testing::login() });
    let mut before = Before::default();
    before.class(&p, ClassId(1));
    p.put_class(class(terms(|t| t.bandwidth.up = Some(9))));
    let usage = Usage::default();
    usage.add(session().0, &Figures::ZERO, Day::of(NOW));
    let known = Known { records: &p, usage: &usage, now: NOW };
    let (user, session) = session();
    assert!(order(&known, &before, user, &session, Refused::End).is_none());
}

#[test]
fn a_device_is_told_its_times_where_the_access_point_is_none_of_ours() {
    let mut p = testing::projection();
    let mut before = Before::default();
    before.class(&p, ClassId(1));
    p.put_class(class(terms(|t| {
        t.session_timeout = Some(Seconds(60));
        t.bandwidth.up = Some(9);
    })));
    let user = User::Device(testing::device().id);
    let session =
        Revocation { gateway: GATEWAY, host: testing::host(), station: Some(MAC), login: None };
    let usage = Usage::default();
    let ours = order(
        &Known { records: &p, usage: &usage, now: NOW },
        &before,
        user,
        &session,
        Refused::End,
    );
    assert!(ours.is_none(), "it asks anew by itself");
    let stock = p.gateway(GATEWAY).unwrap().clone();
    p.put_gateway(Gateway { lookup: LookupForm::Hostapd, ..stock });
    let known = Known { records: &p, usage: &usage, now: NOW };
    let Some(Order::Change(change)) = order(&known, &before, user, &session, Refused::EndIfLess)
    else {
        panic!()
    };
    assert_eq!(change.allowed.terms, terms(|t| t.session_timeout = Some(Seconds(60))));
    assert!(change.or_end);
}

#[test]
fn two_changes_in_one_say_what_the_later_says_and_keep_what_it_does_not() {
    let change = |set: fn(&mut ServiceTerms), quota_left, or_end| Change {
        session: session().1,
        allowed: Allowed { terms: terms(set), at_most: None, quota_left },
        or_end,
    };
    let earlier = change(
        |t| {
            t.bandwidth = Bandwidth { up: Some(1), down: Some(2) };
            t.vlan = Some(Vlan::try_from(7).unwrap());
        },
        Some(5),
        true,
    );
    let later = change(|t| t.bandwidth.up = Some(3), None, false);
    let both = change(
        |t| {
            t.bandwidth = Bandwidth { up: Some(3), down: Some(2) };
            t.vlan = Some(Vlan::try_from(7).unwrap());
        },
        Some(5),
        true,
    );
    assert_eq!(earlier.and(later), both);
}
