//! What a subscriber is given.

use homeward_model::{PolicyScope, Seconds, Status, Uses, Verifier};
use homeward_store::SubscriberChange;

use crate::world::{ADDRESS, IMSI, OTHER, REALM, World, mac, request};

#[tokio::test]
async fn a_credential_is_a_log_in_that_shows_nobody_and_is_good_for_its_station_and_time() {
    let world = World::with_subscriber().await;
    let said = world.ask(ADDRESS, &request(IMSI, 1)).await;
    assert_eq!((said.status, &said.headers["cache-control"]), (200, &"no-store".parse().unwrap()));
    let given = said.credentials();
    assert_eq!(given.username.realm(), Some(REALM));
    assert!(given.username.user().len() >= 16 && given.password.expose().len() >= 26);
    assert!(!given.username.as_str().contains("99970") && !given.one_time);
    assert_eq!(given.policy.networks[0].ssid.as_str(), Some("Town"));
    let login = world.store.login_named(&given.username).await.unwrap().unwrap();
    assert_eq!((login.mac, login.expires, login.uses), (Some(mac(1)), given.expires, Uses::Any));
    let Verifier::Password(password) = &login.verifier else { panic!("no password") };
    assert_eq!(password.expose(), given.password.expose());
    let issued = world.store.issued_to(IMSI.parse().unwrap()).await.unwrap().unwrap();
    let week = 7 * 86_400_000;
    assert_eq!(given.expires.unwrap().0, issued.issued.0 + week);
    assert_eq!(given.renew_from.unwrap().0, issued.issued.0 + week - 86_400_000);
    assert_eq!(issued.address, Some(ADDRESS.parse().unwrap()));
}

#[tokio::test]
async fn who_asks_again_is_given_the_same_and_with_another_station_another() {
    let world = World::with_subscriber().await;
    let first = world.ask(ADDRESS, &request(IMSI, 1)).await.credentials();
    let again = world.ask(ADDRESS, &request(IMSI, 1)).await.credentials();
    assert_eq!(first, again);
    let other = world.ask(ADDRESS, &request(IMSI, 2)).await.credentials();
    assert_ne!(first.username, other.username);
    assert_ne!(first.password.expose(), other.password.expose());
    assert!(world.store.login_named(&first.username).await.unwrap().is_none(), "it has ended");
    assert_eq!((world.counted("issued"), world.counted("kept")), (2, 1));
}

#[tokio::test]
async fn two_devices_that_swap_their_sims_are_given_new_ones_and_the_old_ones_end() {
    let world = World::with_subscriber().await;
    world.subscriber(OTHER).await;
    world.bearers.live("10.1.0.8", OTHER, None);
    let a = world.ask(ADDRESS, &request(IMSI, 1)).await.credentials();
    let b = world.ask("10.1.0.8", &request(OTHER, 2)).await.credentials();
    let a2 = world.ask(ADDRESS, &request(IMSI, 2)).await.credentials();
    let b2 = world.ask("10.1.0.8", &request(OTHER, 1)).await.credentials();
    for old in [&a, &b] {
        assert!(world.store.login_named(&old.username).await.unwrap().is_none());
    }
    for new in [&a2, &b2] {
        assert!(world.store.login_named(&new.username).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_hundred_requests_of_one_device_at_once_are_given_one_credential() {
    let world = World::with_subscriber().await;
    let asked = request(IMSI, 1);
    let mut names = Vec::new();
    let asking: Vec<_> = (0..100).map(|_| world.ask(ADDRESS, &asked)).collect();
    for said in all(asking).await {
        names.push(said.credentials().username);
    }
    names.dedup();
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!((world.counted("issued"), world.counted("kept")), (1, 99));
}

#[tokio::test]
async fn a_thousand_devices_at_once_are_each_given_their_own() {
    let world = World::start().await;
    let mut asked = Vec::new();
    for n in 0..1000u16 {
        let (imsi, address) = (format!("99970{n:010}"), format!("10.2.{}.{}", n / 250, n % 250));
        world.subscriber(&imsi).await;
        world.bearers.live(&address, &imsi, None);
        let mut request = request(&imsi, 0);
        let [high, low] = n.to_be_bytes();
        request.mac = homeward_model::Mac::new([2, 0, 0x5e, 0x20, high, low]);
        asked.push((address, request));
    }
    let asking: Vec<_> =
        asked.iter().map(|(address, request)| world.ask(address, request)).collect();
    let mut names: Vec<String> = Vec::new();
    for said in all(asking).await {
        names.push(said.credentials().username.as_str().to_owned());
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 1000);
}

/// All of them at once.
async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.into_iter().map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(|cx| {
        let mut done = true;
        for (future, output) in &mut waiting {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(found) => *output = Some(found),
                    std::task::Poll::Pending => done = false,
                }
            }
        }
        if done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}

#[tokio::test]
async fn within_the_renewal_window_and_after_one_log_on_there_is_a_new_one() {
    let world = World::with_subscriber().await;
    // All but a minute of an hour is the window's.
    world
        .policy(|policy| {
            policy.terms.lifetime = Some(Seconds(3600));
            policy.terms.renewal_window = Seconds(3599);
            policy.terms.one_time = true;
        })
        .await;
    let first = world.ask(ADDRESS, &request(IMSI, 1)).await.credentials();
    assert!(first.one_time);
    assert_eq!(world.ask(ADDRESS, &request(IMSI, 1)).await.credentials(), first);
    let login = world.store.login_named(&first.username).await.unwrap().unwrap();
    assert_eq!(login.uses, Uses::Once);
    assert!(world.store.spend_login(login.id).await.unwrap());
    let next = world.ask(ADDRESS, &request(IMSI, 1)).await.credentials();
    assert_ne!(next.username, first.username);
}

#[tokio::test]
async fn a_policy_that_is_changed_is_told_at_once_and_that_of_a_mac_goes_before() {
    let world = World::with_subscriber().await;
    let ssid = |said: crate::world::Said| {
        said.credentials().policy.networks[0].ssid.as_str().unwrap().to_owned()
    };
    assert_eq!(ssid(world.ask(ADDRESS, &request(IMSI, 1)).await), "Town");
    world.policy(|policy| policy.wlan.networks[0].ssid = "City".parse().unwrap()).await;
    assert_eq!(ssid(world.ask(ADDRESS, &request(IMSI, 1)).await), "City");
    let mut own = world.store.policy(PolicyScope::Default).await.unwrap().unwrap();
    own.wlan.networks[0].ssid = "Own".parse().unwrap();
    world.store.set_policy(PolicyScope::Mac(mac(1)), &own).await.unwrap();
    assert_eq!(ssid(world.ask(ADDRESS, &request(IMSI, 1)).await), "Own");
    assert_eq!(ssid(world.ask(ADDRESS, &request(IMSI, 2)).await), "City");
}

#[tokio::test]
async fn a_subscriber_without_a_record_is_taken_in_where_somebody_pays_for_it() {
    let world = World::start_with(Some("smith"), 0).await;
    // Nobody is taken in for asking in another's name.
    assert_eq!(world.ask(ADDRESS, &request(OTHER, 1)).await.status, 403);
    assert!(world.store.subscriber_with_imsi(IMSI.parse().unwrap()).await.unwrap().is_none());
    let given = world.ask(ADDRESS, &request(IMSI, 1)).await.credentials();
    let subscriber = world.store.require_subscriber(IMSI.parse().unwrap()).await.unwrap();
    assert_eq!(subscriber.account, world.account);
    // Nobody is taken in for having been named.
    assert_eq!(world.ask(ADDRESS, &request(OTHER, 1)).await.status, 403);
    assert!(world.store.subscriber_with_imsi(OTHER.parse().unwrap()).await.unwrap().is_none());
    let change = SubscriberChange { status: Some(Status::Suspended), ..Default::default() };
    world.store.update_subscriber(subscriber.id, &change).await.unwrap();
    assert_eq!(world.ask(ADDRESS, &request(IMSI, 1)).await.status, 403);
    assert!(world.store.login_named(&given.username).await.unwrap().is_none());
}

#[tokio::test]
async fn a_message_brings_a_credential_for_one_log_on_to_the_number_that_has_the_sim() {
    let world = World::with_subscriber().await;
    let by_bearer = world.message("447700900123", &request(IMSI, 1)).await.unwrap();
    assert!(by_bearer.one_time);
    let again = world.message("447700900123", &request(IMSI, 1)).await.unwrap();
    assert_eq!(again, by_bearer);
    // What came by HTTPS, and is good for longer, is not repeated by message.
    let by_https = world.ask(ADDRESS, &request(IMSI, 2)).await.credentials();
    assert!(!by_https.one_time);
    let again = world.message("447700900123", &request(IMSI, 2)).await.unwrap();
    assert_ne!(again.password.expose(), by_https.password.expose());
    world.bearers.ends(ADDRESS);
    assert!(world.message("447700900123", &request(IMSI, 1)).await.is_none());
    let subscriber = world.store.require_subscriber(IMSI.parse().unwrap()).await.unwrap();
    let number = Some(Some("447700900123".parse().unwrap()));
    let change = SubscriberChange { msisdn: number, ..Default::default() };
    world.store.update_subscriber(subscriber.id, &change).await.unwrap();
    assert!(world.message("447700900123", &request(IMSI, 1)).await.is_some());
    assert!(world.message("447700900123", &request(OTHER, 1)).await.is_none());
}
