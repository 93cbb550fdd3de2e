//! Who is given what.
#![cfg(test)]

use std::collections::BTreeSet;

use homeward_model::{
    Account, AccountId, ClassId, Entropy, Imei, Imsi, Login, LoginId, Mac, Msisdn, OffloadPolicy,
    PolicyScope, Seconds, Secret, Status, Subscriber, SubscriberId, UnixTime, Uses, Verifier,
};
use homeward_offload::issuing::{
    Bearer, Decision, Facts, Given, Policies, Realm, Reason, Settings, Way, Why, decide, policy_for,
};
use homeward_offload::wire::CredentialRequest;
use proptest::prelude::*;

const NOW: UnixTime = UnixTime(1_770_000_000_000);
const HOUR: i64 = 3_600_000;
const WEEK: i64 = 7 * 24 * HOUR;

struct Counter(u8);

impl Entropy for Counter {
    fn fill(&mut self, room: &mut [u8]) {
        room.iter_mut().for_each(|octet| {
            self.0 = self.0.wrapping_add(1);
            *octet = self.0;
        });
    }
}

/// A credential, as the store has it.
#[derive(Debug, Clone)]
struct Had {
    login: Login,
    imsi: Imsi,
    imei: Option<Imei>,
    mac: Mac,
    issued: UnixTime,
    renew_from: Option<UnixTime>,
}

impl Had {
    fn given(&self) -> Given<'_> {
        let Self { login, imsi, imei, mac, issued, renew_from } = self;
        Given {
            login,
            imsi: *imsi,
            imei: *imei,
            mac: *mac,
            issued: *issued,
            renew_from: *renew_from,
        }
    }
}

/// Everything that a decision looks at, owned.
#[derive(Debug, Clone)]
struct World {
    request: CredentialRequest,
    /// `Some`: by short message, from this number.
    sender: Option<Msisdn>,
    bearer: Option<Bearer>,
    subscriber: Option<Subscriber>,
    account: Option<Account>,
    policies: Policies,
    given: Option<Had>,
    station: Option<Had>,
    now: UnixTime,
}

impl World {
    fn decide(&self) -> Decision<'_> {
        let bearer = self.bearer.as_ref();
        let way = match self.sender {
            None => Way::Bearer(bearer),
            Some(sender) => Way::Sms { sender, bearer },
        };
        let facts = Facts {
            request: &self.request,
            way,
            subscriber: self.subscriber.as_ref(),
            account: self.account.as_ref(),
            policies: &self.policies,
            given: self.given.as_ref().map(Had::given),
            station: self.station.as_ref().map(Had::given),
            now: self.now,
        };
        decide(&Settings::default(), &facts)
    }

    fn why(&self) -> Result<Option<Why>, Reason> {
        match self.decide() {
            Decision::Keep(_) => Ok(None),
            Decision::Issue(issue) => Ok(Some(issue.why)),
            Decision::Refuse(reason) => Err(reason),
        }
    }

    fn after(&self, change: impl FnOnce(&mut Self)) -> Result<Option<Why>, Reason> {
        let mut world = self.clone();
        change(&mut world);
        world.why()
    }

    /// After what is decided was stored.
    fn served(mut self) -> Self {
        if let Decision::Issue(issue) = self.decide() {
            let made = issue.make(&realm(), &mut Counter(0), self.now).unwrap();
            let login = Login {
                id: LoginId(1),
                account: issue.account.id,
                name: made.answer.username,
                verifier: Verifier::Password(made.answer.password),
                mac: made.mac,
                expires: made.answer.expires,
                uses: made.uses,
                label: String::new(),
                status: Status::Active,
            };
            let renew_from = made.answer.renew_from;
            let (imsi, imei, mac) = (issue.imsi, issue.imei, issue.mac);
            let had = Had { login, imsi, imei, mac, issued: self.now, renew_from };
            self.given = Some(had.clone());
            self.station = Some(had);
        }
        self
    }
}

fn realm() -> Realm {
    "wifi.example.net".parse().unwrap()
}

fn imsi(n: u8) -> Imsi {
    format!("99970012345678{n}").parse().unwrap()
}

fn imei(n: u8) -> Imei {
    format!("3569380356438{n}9").parse().unwrap()
}

fn mac(n: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0, n])
}

fn number(n: u8) -> Msisdn {
    format!("44770090012{n}").parse().unwrap()
}

fn policy() -> OffloadPolicy {
    serde_json::from_str(
        r#"{"wlan":{"networks":[{"ssid":"Town"}],"server_name":"aaa.example.net"}}"#,
    )
    .unwrap()
}

/// A phone in order, which has nothing yet.
fn phone() -> World {
    World {
        request: CredentialRequest {
            imsi: imsi(1),
            imei: Some(imei(1)),
            mac: mac(1),
            previous: None,
            handoff: false,
        },
        sender: None,
        bearer: Some(Bearer { imsi: imsi(1), imei: Some(imei(1)) }),
        subscriber: Some(Subscriber {
            id: SubscriberId(1),
            imsi: imsi(1),
            msisdn: Some(number(1)),
            account: AccountId(7),
            label: String::new(),
            status: Status::Active,
        }),
        account: Some(Account {
            id: AccountId(7),
            name: "c-7".parse().unwrap(),
            class: ClassId(3),
            status: Status::Active,
        }),
        policies: [(PolicyScope::Default, policy())].into(),
        given: None,
        station: None,
        now: NOW,
    }
}

#[test]
fn who_asks_for_the_first_time_is_given_what_the_policy_says() {
    let world = phone();
    let Decision::Issue(issue) = world.decide() else { panic!("{:?}", world.decide()) };
    assert_eq!((issue.why, issue.account.id), (Why::First, AccountId(7)));
    let made = issue.make(&realm(), &mut Counter(0), NOW).unwrap();
    assert_eq!(made.answer.username.as_str(), "aebagbafaydqqcik@wifi.example.net");
    assert_eq!(made.answer.password.expose(), b"bmga2dqpcaireeyuculbogazdi");
    assert_eq!(made.answer.expires, Some(UnixTime(NOW.0 + WEEK)));
    assert_eq!(made.answer.renew_from, Some(UnixTime(NOW.0 + WEEK - 24 * HOUR)));
    assert_eq!((made.mac, made.uses, made.answer.one_time), (Some(mac(1)), Uses::Any, false));
    assert!(!format!("{made:?}").contains("bmga2d") && !format!("{made:?}").contains("aebagb"));
}

#[test]
fn terms_without_an_end_and_without_a_station_have_neither() {
    let mut world = phone();
    let mut policy = policy();
    policy.terms.lifetime = None;
    policy.terms.bind_mac = false;
    policy.terms.one_time = true;
    world.policies = [(PolicyScope::Default, policy)].into();
    let Decision::Issue(issue) = world.decide() else { panic!() };
    let made = issue.make(&realm(), &mut Counter(0), NOW).unwrap();
    assert_eq!((made.answer.expires, made.answer.renew_from), (None, None));
    assert_eq!((made.mac, made.uses, made.answer.one_time), (None, Uses::Once, true));
}

#[test]
fn whoever_is_not_who_the_bearer_says_is_refused() {
    let world = phone();
    let refused = |change: fn(&mut World)| world.after(change).unwrap_err();
    assert_eq!(refused(|w| w.bearer = None), Reason::NoBearer);
    assert_eq!(refused(|w| w.bearer.as_mut().unwrap().imsi = imsi(2)), Reason::OtherSim);
    assert_eq!(refused(|w| w.request.imsi = imsi(2)), Reason::OtherSim);
    assert_eq!(refused(|w| w.request.imei = Some(imei(2))), Reason::OtherEquipment);
    assert_eq!(refused(|w| w.subscriber = None), Reason::NoSubscriber);
    assert_eq!(refused(|w| w.subscriber.as_mut().unwrap().imsi = imsi(2)), Reason::NoSubscriber);
    let status = |w: &mut World| w.subscriber.as_mut().unwrap().status = Status::Suspended;
    assert_eq!(refused(status), Reason::SubscriberSuspended);
    assert_eq!(refused(|w| w.account = None), Reason::NoAccount);
    assert_eq!(refused(|w| w.account.as_mut().unwrap().id = AccountId(8)), Reason::NoAccount);
    let status = |w: &mut World| w.account.as_mut().unwrap().status = Status::Suspended;
    assert_eq!(refused(status), Reason::AccountSuspended);
    assert_eq!(refused(|w| w.policies.clear()), Reason::NoPolicy);
    let group = |w: &mut World| w.request.mac = Mac::new([1, 0, 0, 0, 0, 1]);
    assert_eq!(refused(group), Reason::GroupAddress);
}

#[test]
fn equipment_that_one_side_does_not_name_is_taken_from_the_other() {
    let world = phone();
    assert_eq!(world.after(|w| w.request.imei = None), Ok(Some(Why::First)));
    assert_eq!(world.after(|w| w.bearer.as_mut().unwrap().imei = None), Ok(Some(Why::First)));
    // The same one with its software version in place of the check digit.
    let version = |w: &mut World| w.request.imei = "3569380356438177".parse().ok();
    let mut other = world.clone();
    version(&mut other);
    other.bearer.as_mut().unwrap().imei = "356938035643811".parse().ok();
    assert_eq!(other.why(), Ok(Some(Why::First)));
    let mut silent = world;
    silent.request.imei = None;
    let Decision::Issue(issue) = silent.decide() else { panic!() };
    assert_eq!(issue.imei, Some(imei(1)));
}

#[test]
fn a_request_repeated_gets_the_same_and_anything_new_gets_another() {
    let world = phone().served();
    let had = world.given.clone().unwrap();
    let Decision::Keep(answer) = world.decide() else { panic!("{:?}", world.decide()) };
    assert_eq!(answer.username, had.login.name);
    assert_eq!(Verifier::Password(answer.password), had.login.verifier);
    assert_eq!((answer.expires, answer.renew_from), (had.login.expires, had.renew_from));
    assert_eq!(answer.policy, policy().wlan);

    let given = |change: fn(&mut Had)| world.after(|w| change(w.given.as_mut().unwrap()));
    assert_eq!(world.after(|w| w.request.mac = mac(2)), Ok(Some(Why::NewStation)));
    let moved = |w: &mut World| {
        w.request.imei = Some(imei(2));
        w.bearer.as_mut().unwrap().imei = Some(imei(2));
    };
    assert_eq!(world.after(moved), Ok(Some(Why::NewEquipment)));
    assert_eq!(given(|had| had.login.uses = Uses::Spent), Ok(Some(Why::Spent)));
    assert_eq!(given(|had| had.login.status = Status::Suspended), Ok(Some(Why::Suspended)));
    let hashed = |had: &mut Had| had.login.verifier = Verifier::Argon2id(Secret::new("$argon2id$"));
    assert_eq!(given(hashed), Ok(Some(Why::Unreadable)));

    let renewal = had.renew_from.unwrap();
    assert_eq!(world.after(|w| w.now = UnixTime(renewal.0 - 1)), Ok(None));
    assert_eq!(world.after(|w| w.now = renewal), Ok(Some(Why::Renewal)));
    let end = had.login.expires.unwrap();
    assert_eq!(world.after(|w| w.now = end), Ok(Some(Why::Expired)));
    let no_window = |w: &mut World| {
        w.given.as_mut().unwrap().renew_from = None;
        w.now = UnixTime(end.0 - 1);
    };
    assert_eq!(world.after(no_window), Ok(None));

    let gone = |w: &mut World| (w.given, w.station) = (None, None);
    assert_eq!(world.after(gone), Ok(Some(Why::First)));
    let named = |w: &mut World| {
        gone(w);
        w.request.previous = Some(had.login.name.clone());
    };
    assert_eq!(world.after(named), Ok(Some(Why::Withdrawn)));
}

#[test]
fn a_station_with_another_sim_gets_new_ones() {
    let mut world = phone().served();
    let first = world.station.take();
    world.given = None;
    world.station = first;
    world.request.imsi = imsi(2);
    world.bearer.as_mut().unwrap().imsi = imsi(2);
    world.subscriber.as_mut().unwrap().imsi = imsi(2);
    assert_eq!(world.why(), Ok(Some(Why::OtherSim)));
    // What is another SIM's is never told, even if it is passed for this one's.
    world.given = world.station.clone();
    assert_eq!(world.why(), Ok(Some(Why::OtherSim)));
}

#[test]
fn terms_that_became_narrower_end_what_was_given_and_wider_ones_do_not() {
    let world = phone().served();
    let with =
        |change: fn(&mut OffloadPolicy)| world.after(|w| w.policies.values_mut().for_each(change));
    assert_eq!(with(|p| p.terms.one_time = true), Ok(Some(Why::Terms)));
    assert_eq!(with(|p| p.terms.lifetime = Some(Seconds(90_000))), Ok(Some(Why::Terms)));
    assert_eq!(with(|p| p.terms.lifetime = None), Ok(None));
    assert_eq!(with(|p| p.terms.bind_mac = false), Ok(None));
    let unbound = |w: &mut World| w.given.as_mut().unwrap().login.mac = None;
    assert_eq!(world.after(unbound), Ok(Some(Why::Terms)));
    let lifelong = |w: &mut World| w.given.as_mut().unwrap().login.expires = None;
    assert_eq!(world.after(lifelong), Ok(Some(Why::Terms)));
    let paid = |w: &mut World| {
        w.subscriber.as_mut().unwrap().account = AccountId(8);
        w.account.as_mut().unwrap().id = AccountId(8);
    };
    assert_eq!(world.after(paid), Ok(Some(Why::Terms)));
}

#[test]
fn the_most_specific_policy_counts_whole() {
    let named = |name: &str| {
        let mut policy = policy();
        policy.wlan.server_name = format!("{name}.example.net");
        policy
    };
    let mut policies: Policies = [
        (PolicyScope::Default, named("default")),
        (PolicyScope::Class(ClassId(3)), named("class")),
        (PolicyScope::Mac(mac(1)), named("mac")),
    ]
    .into();
    let name = |policies: &Policies| {
        policy_for(policies, ClassId(3), mac(1)).map(|policy| policy.wlan.server_name.clone())
    };
    assert_eq!(name(&policies).as_deref(), Some("mac.example.net"));
    policies.remove(&PolicyScope::Mac(mac(1)));
    assert_eq!(name(&policies).as_deref(), Some("class.example.net"));
    policies.remove(&PolicyScope::Class(ClassId(3)));
    assert_eq!(name(&policies).as_deref(), Some("default.example.net"));
}

#[test]
fn a_short_message_needs_its_senders_number_to_be_the_sims() {
    let mut world = phone();
    world.sender = Some(number(1));
    world.bearer = None;
    assert_eq!(world.why(), Ok(Some(Why::First)));
    assert_eq!(world.after(|w| w.sender = Some(number(2))), Err(Reason::OtherSender));
    let unknown = |w: &mut World| w.subscriber.as_mut().unwrap().msisdn = None;
    assert_eq!(world.after(unknown), Err(Reason::OtherSender));
    assert_eq!(world.after(|w| w.subscriber = None), Err(Reason::OtherSender));
    // A bearer of that number says whose it is now, for and against the record.
    let ported = |w: &mut World| {
        w.sender = Some(number(2));
        w.bearer = Some(Bearer { imsi: imsi(1), imei: None });
    };
    assert_eq!(world.after(ported), Ok(Some(Why::First)));
    let moved = |w: &mut World| w.bearer = Some(Bearer { imsi: imsi(2), imei: None });
    assert_eq!(world.after(moved), Err(Reason::OtherSim));
}

#[test]
fn a_short_message_brings_what_is_good_once_and_not_for_long() {
    let mut world = phone();
    world.sender = Some(number(1));
    let Decision::Issue(issue) = world.decide() else { panic!() };
    let made = issue.make(&realm(), &mut Counter(0), NOW).unwrap();
    assert_eq!((made.uses, made.answer.one_time), (Uses::Once, true));
    assert_eq!(made.answer.expires, Some(UnixTime(NOW.0 + HOUR)));
    assert_eq!(made.answer.renew_from, None);
    // Asked again, it is told again, until it is spent.
    let served = world.clone().served();
    assert_eq!(served.why(), Ok(None));
    let spent = |w: &mut World| w.given.as_mut().unwrap().login.uses = Uses::Spent;
    assert_eq!(served.after(spent), Ok(Some(Why::Spent)));
    // What was given over the bearer is not told by short message.
    let mut by_bearer = phone().served();
    by_bearer.sender = Some(number(1));
    assert_eq!(by_bearer.why(), Ok(Some(Why::Terms)));
    // A policy whose credentials are shorter still is kept to.
    world.policies.values_mut().for_each(|policy| policy.terms.lifetime = Some(Seconds(60)));
    let Decision::Issue(issue) = world.decide() else { panic!() };
    assert_eq!(issue.terms.lifetime, Some(Seconds(60)));
}

#[test]
fn every_reason_has_a_word_of_its_own() {
    let words: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words.len(), Reason::ALL.len());
    let words: BTreeSet<_> = Why::ALL.iter().map(|why| why.to_string()).collect();
    assert_eq!(words.len(), Why::ALL.len());
}

#[test]
fn a_realm_is_labels_with_dots_in_lower_case() {
    assert_eq!("WiFi.Example.net".parse::<Realm>().unwrap().as_str(), "wifi.example.net");
    for bad in ["", "example", "a..b", "-a.b", "a_b.c", "a@b.c", &format!("a.{}", "b.".repeat(120))]
    {
        assert!(bad.parse::<Realm>().is_err(), "{bad}");
    }
}

fn small() -> impl Strategy<Value = u8> {
    1..=2u8
}

fn had() -> impl Strategy<Value = Had> {
    let span = prop_oneof![Just(-1i64), Just(0), Just(1), Just(HOUR / 2), Just(WEEK)];
    let login = (
        proptest::option::of(span.clone()),
        proptest::sample::select(vec![Uses::Any, Uses::Once, Uses::Spent]),
        proptest::option::weighted(0.8, small()),
        any::<bool>(),
        any::<bool>(),
        prop_oneof![4 => Just(7i64), 1 => Just(8)],
    )
        .prop_map(|(expires, uses, bound, active, readable, account)| Login {
            id: LoginId(1),
            account: AccountId(account),
            name: "old@wifi.example.net".parse().unwrap(),
            verifier: match readable {
                true => Verifier::Password(Secret::new("old")),
                false => Verifier::Argon2id(Secret::new("hash")),
            },
            mac: bound.map(mac),
            expires: expires.map(|span| UnixTime(NOW.0 + span)),
            uses,
            label: String::new(),
            status: if active { Status::Active } else { Status::Suspended },
        });
    let who = (small(), proptest::option::of(small()), small());
    let renewal = proptest::option::of(span);
    (login, who, 0..2 * WEEK, renewal).prop_map(|(login, (sim, phone, station), ago, renewal)| {
        Had {
            login,
            imsi: imsi(sim),
            imei: phone.map(imei),
            mac: mac(station),
            issued: UnixTime(NOW.0 - ago),
            renew_from: renewal.map(|span| UnixTime(NOW.0 + span)),
        }
    })
}

fn world() -> impl Strategy<Value = World> {
    let option = proptest::option::weighted::<BoxedStrategy<Had>>;
    let asked = (small(), proptest::option::of(small()), small(), proptest::option::of(small()));
    let bearer = proptest::option::weighted(0.8, (small(), proptest::option::of(small())));
    let people = (
        proptest::option::weighted(0.9, (small(), proptest::option::of(small()), any::<bool>())),
        proptest::option::weighted(0.9, (7..=8i64, any::<bool>())),
    );
    let terms = (any::<bool>(), any::<bool>(), proptest::option::of(1_000..1_000_000u32));
    let had = (option(0.7, had().boxed()), option(0.3, had().boxed()));
    (asked, bearer, people, terms, had).prop_map(
        |(asked, bearer, (subscriber, account), (one_time, bind_mac, lifetime), had)| {
            let mut world = phone();
            let (sim, equipment, station, sender) = asked;
            world.request.imsi = imsi(sim);
            world.request.imei = equipment.map(imei);
            world.request.mac = mac(station);
            world.sender = sender.map(number);
            world.bearer =
                bearer.map(|(sim, phone)| Bearer { imsi: imsi(sim), imei: phone.map(imei) });
            let status = |active| if active { Status::Active } else { Status::Suspended };
            world.subscriber = subscriber.map(|(sim, msisdn, active)| Subscriber {
                imsi: imsi(sim),
                msisdn: msisdn.map(number),
                status: status(active),
                ..phone().subscriber.unwrap()
            });
            world.account = account.map(|(id, active)| Account {
                id: AccountId(id),
                status: status(active),
                ..phone().account.unwrap()
            });
            let policy = world.policies.get_mut(&PolicyScope::Default).unwrap();
            policy.terms.one_time = one_time;
            policy.terms.bind_mac = bind_mac;
            policy.terms.lifetime = lifetime.map(Seconds);
            policy.terms.renewal_window = Seconds(999);
            (world.given, world.station) = had;
            world
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn nobody_is_answered_without_proof_of_the_sim(world in world()) {
        let refused = matches!(world.decide(), Decision::Refuse(_));
        let bearer = world.bearer.as_ref().filter(|bearer| bearer.imsi == world.request.imsi);
        let subscriber = world.subscriber.as_ref()
            .filter(|s| s.imsi == world.request.imsi && s.status == Status::Active);
        let number = subscriber.and_then(|subscriber| subscriber.msisdn);
        let proven = bearer.is_some()
            || (world.bearer.is_none() && world.sender.is_some() && world.sender == number);
        let paid = subscriber.is_some_and(|subscriber| {
            world.account.as_ref()
                .is_some_and(|a| a.id == subscriber.account && a.status == Status::Active)
        });
        prop_assert!(refused || (proven && paid));
    }

    #[test]
    fn what_is_kept_is_good_for_who_asks(world in world()) {
        let Decision::Keep(answer) = world.decide() else { return Ok(()) };
        let had = world.given.as_ref().unwrap();
        prop_assert_eq!(&answer.username, &had.login.name);
        prop_assert_eq!(&Verifier::Password(answer.password.clone()), &had.login.verifier);
        prop_assert_eq!((had.imsi, had.mac), (world.request.imsi, world.request.mac));
        prop_assert!(had.login.mac.is_none_or(|mac| mac == world.request.mac));
        prop_assert!(had.login.expires.is_none_or(|at| at > world.now));
        prop_assert!(had.renew_from.is_none_or(|at| at > world.now));
        prop_assert_eq!(had.login.status, Status::Active);
        prop_assert!(had.login.uses != Uses::Spent);
        prop_assert_eq!(answer.one_time, had.login.uses == Uses::Once);
        prop_assert_eq!(Some(had.login.account), world.account.as_ref().map(|a| a.id));
        if world.sender.is_some() {
            prop_assert!(answer.one_time);
            prop_assert!(answer.expires.unwrap().0 - had.issued.0 <= HOUR);
        }
    }

    #[test]
    fn what_is_issued_is_good_now_and_is_kept_from_then_on(world in world()) {
        let Decision::Issue(issue) = world.decide() else { return Ok(()) };
        let made = issue.make(&realm(), &mut Counter(9), world.now).unwrap();
        prop_assert!(made.answer.expires.is_none_or(|at| at > world.now));
        prop_assert!(made.answer.renew_from.is_none_or(|at| at > world.now));
        prop_assert!(made.answer.renew_from <= made.answer.expires);
        prop_assert_eq!(issue.mac, world.request.mac);
        prop_assert!(made.mac.is_none_or(|mac| mac == world.request.mac));
        if world.sender.is_some() {
            prop_assert_eq!(made.uses, Uses::Once);
            prop_assert!(made.answer.expires.unwrap().0 - world.now.0 <= HOUR);
        }
        let name = made.answer.username.as_str();
        prop_assert!(!name.contains(world.request.imsi.as_str()));
        let after = world.clone().served();
        prop_assert_eq!(after.why(), Ok(None), "{:?}", after);
    }
}
