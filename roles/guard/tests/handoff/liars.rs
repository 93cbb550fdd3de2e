//! Networks, devices and strangers that do what they must not.

use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_handoff::directory::{Book, Directory};
use homeward_handoff::{CallError, Line, PeerSettings, Peers, Said, Told, WalkError};
use homeward_keychain::key::{Export, HopShare};
use homeward_keychain::module::{Making, Previous};
use homeward_keychain::{Device, Fetch, Fetched, Question, Response, Visit};
use homeward_model::{Clock, Entropy};
use std::time::Duration;

use crate::world::{PATIENCE, World, flow, network, server, who};

fn refused<T: std::fmt::Debug>(outcome: Result<T, WalkError>) {
    assert!(matches!(outcome, Err(WalkError::Refused { .. })), "{outcome:?}");
}

/// As who broke into the module of network `n` asks others.
fn stolen(world: &World, n: usize) -> Peers {
    let identity = world.stolen(n);
    let others = world.modules.iter().enumerate().filter(|(m, _)| *m != n);
    let others = others.filter_map(|(_, module)| module.as_ref());
    let known = others.flat_map(|(_, running)| running.config.handoff.peers.clone());
    let guard = world.guard.as_ref().unwrap().1.config.handoff.peers.clone();
    let mut peers: Vec<_> = known.chain(guard).filter(|p| p.name != *identity.name()).collect();
    peers.sort_by(|a, b| a.name.cmp(&b.name));
    peers.dedup();
    Peers::new(identity, Book::new(Directory::new(peers, 0).unwrap()), PeerSettings::default())
}

fn making() -> Making {
    let (lifetime, skew) = (Duration::from_secs(3600), Duration::from_secs(5));
    Making { now: SystemClock.unix(), lifetime, skew, broken: true }
}

/// The device answers network `n`, whose module somebody has broken into.
fn answered(world: &mut World, n: usize) -> (Question, Response, Visit) {
    let key = world.root.device_key(&network(n), 1);
    let question = || Question::new(network(n), false, &mut SystemEntropy::new());
    let asked = question();
    let answer = |device: &mut Device, asked: &Question| {
        device.answer(asked.challenge(), who(), &key, &mut SystemEntropy::new()).unwrap()
    };
    let response = answer(&mut world.device, &asked);
    let visit = Visit::authorise(asked, &response, &key).unwrap();
    (question(), response, visit)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_skips_the_fetch_is_refused_and_named() {
    let mut world = World::new(2).await;
    world.hop(0).await.unwrap();
    world.open(&flow(1)).await.unwrap();
    let peers = stolen(&world, 1);
    let (_, _, mut visit) = answered(&mut world, 1);
    // It has the records, and makes up the key.
    let records = world.session().await.records().cloned().collect();
    let fetched = Fetched { export: Export::new([9; 32]), records };
    let (identity, own) = (world.stolen(1), world.guard.as_ref().unwrap().0.directory());
    let previous = Previous::Fetched(fetched);
    visit.integrate(previous, identity.signer(), &*own, &making()).unwrap();
    let welcome = visit.welcome().unwrap().clone();
    world.device.integrate(&welcome, false).unwrap();
    peers.extend(&server(), &welcome.record, visit.share().unwrap()).await.unwrap();
    // Its module is not there to prove anything; nor could it.
    let refusal = world.open(&flow(1)).await;
    refused(refusal);
    assert_eq!(world.trace().await, ["n0.example"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_gets_no_key_by_another_s_ticket_or_by_yesterday_s() {
    let mut world = World::new(3).await;
    world.hop(0).await.unwrap();
    let (_, response, _) = answered(&mut world, 1);
    let fetch = Fetch { ticket: response.ticket.unwrap() };
    // Network 2 has read it on the way.
    for at in [network(0), server()] {
        let error = stolen(&world, 2).fetch(&at, &fetch).await.unwrap_err();
        assert!(matches!(&error, CallError::Refused { .. }), "{at}: {error}");
    }
    stolen(&world, 1).fetch(&network(0), &fetch).await.unwrap();
    // The device goes on, and what network 1 has is of yesterday.
    world.hop(1).await.unwrap();
    world.hop(0).await.unwrap();
    world.open(&flow(1)).await.unwrap();
    let error = stolen(&world, 1).fetch(&server(), &fetch).await.unwrap_err();
    assert!(error.to_string().contains("hop"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_tells_of_another_s_hop_or_lies_about_the_one_before_is_refused() {
    let mut world = World::new(3).await;
    world.hop(0).await.unwrap();
    world.hop(1).await.unwrap();
    world.open(&flow(1)).await.unwrap();
    let record = world.visit(1).await.welcome().unwrap().record.clone();
    let share = HopShare::new([1; 32]);
    let error = stolen(&world, 2).extend(&server(), &record, &share).await.unwrap_err();
    assert!(error.to_string().contains("another network gave it"), "{error}");
    // It says that the device came from elsewhere.
    let (_, _, mut visit) = answered(&mut world, 2);
    let (_, fetch) = visit.fetch().unwrap();
    let fetched = stolen(&world, 2).fetch(&network(1), &fetch).await.unwrap();
    let own = world.guard.as_ref().unwrap().0.directory();
    let signer = world.stolen(2);
    let previous = Previous::Fetched(fetched);
    visit.integrate(previous, signer.signer(), &*own, &making()).unwrap();
    let mut record = visit.welcome().unwrap().record.clone();
    record.previous = Some(network(0));
    homeward_keychain::testing::resign(&mut record, signer.signer());
    let told = stolen(&world, 2).extend(&server(), &record, visit.share().unwrap()).await;
    let error = told.unwrap_err();
    assert!(error.to_string().contains("hop 3: the network before it is not where"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_with_another_s_ticket_or_key_is_turned_away() {
    let mut world = World::new(2).await;
    world.hop(0).await.unwrap();
    // Another device, with a key of its own, takes the ticket of the first.
    let (_, response, _) = answered(&mut world, 1);
    let other = world.root.device_key(&network(1), 2);
    world.enrol(1, "d2@example.net".parse().unwrap(), other.clone()).await;
    let mut line = Line::call(world.module_at(1), PATIENCE).await.unwrap();
    let Told::Challenge(challenge) = line.say(Said::Hello).await.unwrap() else { panic!() };
    let mut thief = Device::new(SystemEntropy::new().octets(), server(), true).unwrap();
    let mut entropy = SystemEntropy::new();
    let name = "d2@example.net".parse().unwrap();
    let mut answer = thief.answer(&challenge, name, &other, &mut entropy).unwrap();
    answer.ticket = response.ticket;
    answer.hop = 2;
    homeward_keychain::testing::retag(&mut answer, &challenge, &other);
    let told = line.say(Said::Response(Box::new(answer))).await.unwrap();
    assert!(matches!(told, Told::Refused { again: false }), "{told:?}");
    // Who is not enrolled, and who has another key, is turned away alike.
    let first = world.root.device_key(&network(1), 1);
    let strangers = [("d3@example.net", &other), ("d3@example.net", &first)];
    for (name, key) in strangers.into_iter().chain([("d1@example.net", &other)]) {
        let mut line = Line::call(world.module_at(1), PATIENCE).await.unwrap();
        let name = name.parse().unwrap();
        let hop = line.hop(&mut world.device, &name, key, false, &mut entropy).await;
        assert!(matches!(hop, Err(WalkError::Refused { again: false })), "{hop:?}");
    }
    world.hop(1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_too_often_waits() {
    let module = |config: &mut homeward_security_module::Config| config.policy.attempts = 2;
    let mut world = World::with(1, module, |_| {}).await;
    let wrong = world.root.device_key(&network(0), 9);
    for _ in 0..2 {
        let mut line = Line::call(world.module_at(0), PATIENCE).await.unwrap();
        let mut entropy = SystemEntropy::new();
        refused(line.hop(&mut world.device, &who(), &wrong, false, &mut entropy).await);
    }
    refused(world.hop(0).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_ends_with_a_module_that_is_revoked_and_so_does_what_was_admitted() {
    let mut world = World::new(3).await;
    for n in [0, 1, 2] {
        world.hop(n).await.unwrap();
        world.open(&flow(1)).await.unwrap();
    }
    world.revoke(1);
    world.ended(&flow(1)).await;
    refused(world.open(&flow(1)).await);
    // Nor does any network take the device on.
    refused(world.hop(0).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_one_session_s_and_a_session_has_not_too_many() {
    let mut world = World::with(1, |_| {}, |guard| guard.policy.flows = 2).await;
    world.hop(0).await.unwrap();
    world.open(&flow(1)).await.unwrap();
    world.open(&flow(2)).await.unwrap();
    // Before anybody is asked to prove anything.
    let module = world.stop_module(0).await;
    let taken = world.open(&flow(3)).await;
    assert!(matches!(taken, Err(WalkError::Refused { again: false })), "{taken:?}");
    world.start_module(0, module).await;
    let mut first = world.another_session();
    world.hop(0).await.unwrap();
    refused(world.open(&flow(1)).await);
    world.open(&flow(3)).await.unwrap();
    std::mem::swap(&mut world.device, &mut first);
    world.open(&flow(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_begins_where_the_guard_lets_it() {
    let first = Some([network(1)].into());
    let mut world = World::with(2, |_| {}, |guard| guard.policy.first = first).await;
    refused(world.hop(0).await);
    assert!(world.guard().sessions().lock().await.is_empty(), "it was begun for nothing");
    world.hop(1).await.unwrap();
    world.hop(0).await.unwrap();
    world.open(&flow(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_in_another_s_name_holds_nobody_up() {
    let mut world = World::new(2).await;
    world.hop(0).await.unwrap();
    let at = world.guard.as_ref().unwrap().1.devices_at;
    // It knows the session, and lets the demand lie.
    let mut lines = Vec::new();
    for _ in 0..8 {
        let mut line = Line::call(at, PATIENCE).await.unwrap();
        let told = line.say(Said::Open(world.device.session(), flow(1))).await.unwrap();
        assert!(matches!(told, Told::Demand(_)), "{told:?}");
        lines.push(line);
    }
    world.open(&flow(1)).await.unwrap();
    world.hop(1).await.unwrap();
    world.open(&flow(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_nobody_told_of_is_not_there() {
    let mut world = World::new(1).await;
    let refusal = world.open(&flow(1)).await;
    assert!(matches!(refusal, Err(WalkError::Refused { again: true })), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_stays_where_it_was_is_admitted_there() {
    let mut world = World::new(2).await;
    world.hop(0).await.unwrap();
    // Network 1 has told of a hop, and the device has not heard that it made it.
    let (_, _, mut visit) = answered(&mut world, 1);
    let (_, fetch) = visit.fetch().unwrap();
    let fetched = stolen(&world, 1).fetch(&network(0), &fetch).await.unwrap();
    let (signer, own) = (world.stolen(1), world.guard().directory());
    let previous = Previous::Fetched(fetched);
    visit.integrate(previous, signer.signer(), &*own, &making()).unwrap();
    let record = visit.welcome().unwrap().record.clone();
    stolen(&world, 1).extend(&server(), &record, visit.share().unwrap()).await.unwrap();
    world.open(&flow(1)).await.unwrap();
    assert_eq!(world.trace().await, ["n0.example"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_proves_to_the_server_of_the_session_and_to_nobody_else() {
    let mut world = World::new(2).await;
    world.hop(0).await.unwrap();
    world.hop(1).await.unwrap();
    let demand = world.session().await.demand(flow(1), &mut SystemEntropy::new());
    let error = stolen(&world, 1).prove(&network(0), &demand).await.unwrap_err();
    assert!(error.to_string().contains("another server"), "{error}");
}
