use super::*;
use crate::projection::Projection;
use crate::testing::{self, GATEWAY, HOME, MAC};
use crate::usage::Usage;
use homeward_accounting::{Day, Figures};
use homeward_model::{Coverage, NtHash, Quota, QuotaPeriod, Status, UnixTime};

const NOW: UnixTime = UnixTime(1_800_000_000_000);

fn known<'a>(p: &'a Projection, usage: &'a Usage) -> Known<'a> {
    Known { records: p, usage, now: NOW }
}

fn revoked(grants: &mut Grants, p: &Projection) -> Vec<Revocation> {
    let usage = Usage::default();
    let (gone, next) = grants.revoked(&known(p, &usage), 0, usize::MAX);
    assert_eq!(next, None);
    gone
}

fn granted(p: &Projection, gateway: GatewayId) -> Granted {
    let usage = Usage::default();
    decide(&known(p, &usage), p.gateway(gateway).unwrap(), MAC, &testing::ssid()).unwrap()
}

fn give(grants: &mut Grants, p: &Projection, now: u64) {
    let now = Instant::from_nanos(now);
    grants.record(GATEWAY, testing::host(), MAC, &granted(p, GATEWAY), now);
}

fn let_in(grants: &mut Grants, station: Option<Mac>) {
    let_in_as(grants, station, "5F");
}

fn let_in_as(grants: &mut Grants, station: Option<Mac>, session_id: &str) {
    let (nas_identifier, session_id) = (Some("ap-7"), Some(session_id));
    let let_in = LetIn { login: &testing::login(), station, nas_identifier, session_id };
    grants.record_login(HOME, testing::host(), let_in, Instant::ORIGIN);
}

fn grants() -> Grants {
    Grants::new(100, Duration::from_secs(60))
}

#[test]
fn a_grant_is_revoked_when_the_account_is_suspended_and_only_once() {
    let mut p = testing::projection();
    let mut grants = grants();
    give(&mut grants, &p, 0);
    assert_eq!(revoked(&mut grants, &p), []);
    p.put_account(testing::suspended_account());
    let gone = revoked(&mut grants, &p);
    let brief: Vec<_> = gone.iter().map(|r| (r.gateway, r.station, &r.login)).collect();
    assert_eq!(brief, [(GATEWAY, Some(MAC), &None)]);
    assert_eq!(revoked(&mut grants, &p), []);
}

#[test]
fn a_log_in_is_revoked_when_it_is_suspended_gone_or_has_another_password() {
    let changes: [fn(&mut Projection); 4] = [
        |p| p.put_account(testing::suspended_account()),
        |p| p.put_login(Login { status: Status::Suspended, ..testing::login() }),
        |p| p.remove_login(testing::login().id),
        |p| {
            let verifier = Verifier::NtHash(NtHash::new([9; 16]));
            p.put_login(Login { verifier, ..testing::login() });
        },
    ];
    for (change, station) in changes.into_iter().zip([Some(MAC), None].into_iter().cycle()) {
        let mut p = testing::projection();
        p.put_login(testing::login());
        let mut grants = grants();
        let_in(&mut grants, station);
        assert_eq!(revoked(&mut grants, &p), []);
        change(&mut p);
        let gone = revoked(&mut grants, &p);
        let session = gone[0].login.as_ref().unwrap();
        assert_eq!((gone[0].gateway, gone[0].station), (HOME, station));
        assert_eq!(session.name, testing::login().name);
        assert_eq!(
            (&*session.nas_identifier.clone().unwrap(), session.session_id.as_deref()),
            ("ap-7", Some("5F"))
        );
        assert_eq!(revoked(&mut grants, &p), []);
    }
}

#[test]
fn sessions_whose_device_the_nas_does_not_name_are_told_apart_by_what_it_calls_them() {
    let mut p = testing::projection();
    p.put_login(testing::login());
    let mut grants = grants();
    for (station, session_id) in
        [(None, "5F"), (None, "60"), (None, "5F"), (Some(MAC), "61"), (Some(MAC), "62")]
    {
        let_in_as(&mut grants, station, session_id);
    }
    // A device has one session at a time, whatever it is called.
    assert_eq!(grants.len(), 3);
    p.put_account(testing::suspended_account());
    let gone = revoked(&mut grants, &p);
    let ids = gone.iter().map(|r| r.login.as_ref().unwrap().session_id.clone().unwrap());
    let mut ids: Vec<String> = ids.collect();
    ids.sort_unstable();
    assert_eq!(ids, ["5F", "60", "62"]);
}

#[test]
fn a_user_whose_quota_is_spent_loses_what_is_out_and_nobody_else_does() {
    let mut p = testing::projection();
    let mut class = testing::class(Coverage::Local);
    class.terms.quota = Some(Quota { octets: 1000, period: QuotaPeriod::Day });
    p.put_class(class);
    p.put_login(testing::login());
    let (mut grants, usage) = (grants(), Usage::default());
    give(&mut grants, &p, 0);
    grants.record(HOME, testing::host(), MAC, &granted(&p, HOME), Instant::ORIGIN);
    let_in(&mut grants, Some(MAC));
    let (device, login) = (User::Device(testing::device().id), User::Login(testing::login().id));
    for user in [device, login] {
        usage.add(user, &Figures { input: 1000, ..Figures::ZERO }, Day::of(NOW));
        let gone = grants.revoked_of(&known(&p, &usage), user);
        assert_eq!(gone.iter().map(|r| r.login.is_some()).collect::<Vec<_>>(), [user == login]);
    }
    assert_eq!(grants.len(), 1, "at home the device stays");
}

#[test]
fn a_session_without_a_class_is_who_was_let_in_there_last() {
    let p = testing::projection();
    let (mut grants, now) = (grants(), Instant::from_nanos(9));
    assert_eq!(grants.user_of(MAC, GATEWAY, now), None);
    give(&mut grants, &p, 5);
    let_in(&mut grants, Some(MAC));
    let device = User::Device(testing::device().id);
    assert_eq!(grants.user_of(MAC, GATEWAY, now), Some((Instant::from_nanos(5), device)));
    let login = User::Login(testing::login().id);
    assert_eq!(grants.user_of(MAC, HOME, now), Some((Instant::ORIGIN, login)));
    assert_eq!(grants.user_of(Mac::new([2; 6]), HOME, now), None);
    let late = Instant::from_nanos(61_000_000_000);
    assert_eq!(grants.user_of(MAC, HOME, late), None, "that was too long ago");
}

#[test]
fn a_device_that_is_let_in_now_by_one_name_and_now_by_another_is_who_it_was_last() {
    let mut grants = grants();
    let other =
        Login { id: LoginId(99), name: "other@example.net".parse().unwrap(), ..testing::login() };
    for (at, login) in [testing::login(), other.clone(), testing::login(), other].iter().enumerate()
    {
        let now = Instant::from_nanos(at as u64);
        let (nas_identifier, session_id) = (Some("ap-7"), Some("5F"));
        let let_in = LetIn { login, station: Some(MAC), nas_identifier, session_id };
        grants.record_login(HOME, testing::host(), let_in, now);
        assert_eq!(grants.user_of(MAC, HOME, now), Some((now, User::Login(login.id))));
    }
    // What is heard of an earlier one, after a restart, changes nothing of that.
    let_in(&mut grants, Some(MAC));
    let now = Instant::from_nanos(9);
    assert_eq!(
        grants.user_of(MAC, HOME, now).map(|(_, user)| user),
        Some(User::Login(LoginId(99)))
    );
}

#[test]
fn a_session_is_revoked_under_what_its_nas_called_it_last() {
    let mut p = testing::projection();
    p.put_login(testing::login());
    let mut grants = grants();
    for session_id in ["5F", "5F", "60"] {
        let_in_as(&mut grants, Some(MAC), session_id);
    }
    p.put_account(testing::suspended_account());
    let gone = revoked(&mut grants, &p);
    let sessions: Vec<_> = gone.into_iter().map(|gone| gone.login.unwrap().session_id).collect();
    assert_eq!(sessions, [Some("60".to_owned())]);
}

#[test]
fn an_older_session_that_is_found_again_changes_nothing_of_a_newer_one() {
    let mut p = testing::projection();
    p.put_login(testing::login());
    let mut grants = grants();
    let login = &testing::login();
    for (session_id, at) in [("new", 9), ("old", 5)] {
        let (nas_identifier, session_id) = (Some("ap-7"), Some(session_id));
        let let_in = LetIn { login, station: Some(MAC), nas_identifier, session_id };
        grants.record_login(HOME, testing::host(), let_in, Instant::from_nanos(at));
    }
    let (at, _) = grants.user_of(MAC, HOME, Instant::from_nanos(9)).unwrap();
    assert_eq!(at, Instant::from_nanos(9));
    p.put_account(testing::suspended_account());
    let [gone] = &revoked(&mut grants, &p)[..] else { panic!("one session is out") };
    assert_eq!(gone.login.as_ref().unwrap().session_id.as_deref(), Some("new"));
}

#[test]
fn grants_are_decided_again_a_slice_at_a_time() {
    let mut p = testing::projection();
    let mut grants = grants();
    let granted = granted(&p, GATEWAY);
    for i in 0..10 {
        let mac = Mac::new([2, 0, 0, 0, 0, i]);
        grants.record(GATEWAY, testing::host(), mac, &granted, Instant::ORIGIN);
    }
    p.put_account(testing::suspended_account());
    let usage = Usage::default();
    let (mut from, mut slices) = (Some(0), Vec::new());
    while let Some(at) = from {
        let (gone, next) = grants.revoked(&known(&p, &usage), at, 4);
        slices.push(gone.len());
        from = next;
    }
    assert_eq!((slices, grants.len()), (vec![4, 4, 2], 0));
}

#[test]
fn a_grant_is_revoked_when_the_device_has_another_key() {
    let mut p = testing::projection();
    let mut grants = grants();
    give(&mut grants, &p, 0);
    let mut device = p.devices(MAC)[0].clone();
    device.key = Some(homeward_model::DeviceKey::Psk(homeward_model::Psk::new([9; 32])));
    p.put_device(device);
    assert_eq!(revoked(&mut grants, &p).len(), 1);
}

#[test]
fn a_change_that_does_not_concern_a_grant_leaves_it() {
    let mut p = testing::projection();
    let mut grants = grants();
    give(&mut grants, &p, 0);
    let mut device = p.devices(MAC)[0].clone();
    device.label = "renamed".into();
    p.put_device(device);
    assert_eq!(revoked(&mut grants, &p), []);
}

#[test]
fn the_number_of_grants_is_bounded_and_the_oldest_go_first() {
    let p = testing::projection();
    let granted = granted(&p, GATEWAY);
    let mut grants = Grants::new(32, Duration::from_secs(3600));
    for i in 0..200u8 {
        let mac = Mac::new([2, 0, 0, 0, 0, i]);
        grants.record(GATEWAY, testing::host(), mac, &granted, Instant::from_nanos(i.into()));
        assert!(grants.len() <= 32);
    }
    let user_of =
        |last| grants.user_of(Mac::new([2, 0, 0, 0, 0, last]), GATEWAY, Instant::from_nanos(200));
    assert!(user_of(199).is_some() && user_of(0).is_none());
    assert!(grants.by_key.len() == grants.len() && grants.latest.len() == grants.len());
    assert!(grants.places.len() <= 32, "places are used again");
}
