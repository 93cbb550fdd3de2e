//! What a device and its operator get of it.

use std::time::Duration;

use homeward_daemon::{Period, Request, SystemEntropy};
use homeward_handoff::{Directory, Peer, WalkError, evidence};
use homeward_keychain::Device;
use homeward_keychain::testing::Seed;
use homeward_model::{Entropy, Name};
use serde_json::Value;

use crate::world::{PATIENCE, World, comes_to, flow, network, server, who};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_from_network_to_network_and_back_and_every_one_is_traced() {
    let mut world = World::new(3).await;
    let mut keys = Vec::new();
    for (at, n) in [0, 1, 0, 2, 1].into_iter().enumerate() {
        world.hop(n).await.unwrap();
        let span = world.open(&flow(5060)).await.unwrap();
        assert_eq!(span, Duration::from_secs(3600));
        let (status, said) = world.verify(&flow(5060)).await;
        assert_eq!(status, 200);
        assert!(said.contains(&format!("x-homeward-hops: {}", at + 1)), "{said}");
        let of = |key: &homeward_keychain::key::ChainKey| *key.traffic("wireguard").expose();
        let device = of(world.device.key().unwrap());
        assert_eq!(of(world.visit(n).await.key().unwrap()), device);
        assert_eq!(of(world.session().await.key().unwrap()), device);
        keys.push(device);
    }
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 5, "every hop has a key of its own");
    let names = [0, 1, 0, 2, 1].map(|n| network(n).to_string());
    assert_eq!(world.trace().await, names);
    // What the operator is shown.
    let request = Request::new("trace").with("session", world.device.session().to_string());
    let traced = world.command(&server(), request).await;
    let hops = traced["sessions"][0]["hops"].as_array().unwrap().clone();
    assert_eq!(hops.len(), 5);
    assert!(hops.iter().all(|hop| hop["signed"] == true && hop["standing"] == "good"));
    assert_eq!(hops[1]["previous"], "n0.example");
    assert_eq!(traced["sessions"][0]["flows"][0]["flow"], "udp 127.0.0.1:5060");
    whoever_checks_it_again_finds_it_whole_or_what_is_wrong(&world, &traced);
    let visits = world.command(&network(0), Request::new("visits")).await;
    let visits = visits["visits"].as_array().unwrap().clone();
    assert_eq!(visits.len(), 2);
    assert_eq!(visits[0]["given_to"][0], "n1.example");
    assert_eq!(visits[1]["given_to"][0], "n2.example");
}

fn whoever_checks_it_again_finds_it_whole_or_what_is_wrong(world: &World, traced: &Value) {
    let of = |n: usize| Peer {
        name: network(n),
        key: world.modules[n].as_ref().unwrap().1.key,
        address: None,
        revoked: n == 2,
        enrols: false,
    };
    let directory = Directory::new((0..3).map(of), 7).unwrap();
    let checks = |trace: &Value, server: &Name, directory: &Directory| {
        let skew = Duration::from_secs(5);
        let mut checked = evidence::check(&trace.to_string(), server, directory, skew).unwrap();
        checked.swap_remove(0)
    };
    let whole = checks(traced, &server(), &directory);
    assert_eq!((whole.fault, whole.hops), (None, 5));
    assert_eq!(whole.revoked, [network(2)], "which says nothing of what was");
    let fault = |trace: &Value| checks(trace, &server(), &directory).fault.unwrap_or_default();
    let hops = |of: &dyn Fn(&mut Vec<Value>)| {
        let mut other = traced.clone();
        of(other["sessions"][0]["hops"].as_array_mut().unwrap());
        fault(&other)
    };
    assert!(hops(&|hops| drop(hops.remove(1))).contains("hop 2"));
    assert!(hops(&|hops| hops.swap(2, 3)).contains("hop 3"));
    let altered = hops(&|hops| {
        let record = hops[3]["record"].as_str().unwrap();
        // The last digit is of the network's signature.
        let (rest, last) = record.split_at(record.len() - 1);
        hops[3]["record"] = format!("{rest}{}", if last == "0" { "1" } else { "0" }).into();
    });
    assert!(altered.contains("hop 4"), "{altered}");
    let stranger = Directory::new([of(0), of(2)], 0).unwrap();
    assert!(checks(traced, &server(), &stranger).fault.unwrap().contains("hop 2"));
    assert!(checks(traced, &network(9), &directory).fault.is_some(), "another server's");
    assert!(evidence::check("[]", &server(), &directory, Duration::ZERO).is_err());
    assert!(hops(&|hops| hops.truncate(3)).is_empty(), "it was whole then, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_waits_to_be_asked_where_it_was_is_asked() {
    let mut world = World::new(2).await;
    world.device = Device::new(Seed(5).octets(), server(), false).unwrap();
    world.hop(0).await.unwrap();
    world.hop(1).await.unwrap();
    world.open(&flow(1)).await.unwrap();
    assert_eq!(world.trace().await, ["n0.example", "n1.example"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_passes_that_was_not_proven() {
    let mut world = World::new(2).await;
    assert!(!world.passes(&flow(1)).await);
    world.hop(0).await.unwrap();
    assert!(!world.passes(&flow(1)).await);
    world.open(&flow(1)).await.unwrap();
    assert!(world.passes(&flow(1)).await);
    assert!(!world.passes(&flow(2)).await, "another flow of the same device");
    let by_header = "GET /verify HTTP/1.1\r\nX-Homeward-Flow: udp 127.0.0.1:1\r\n";
    assert_eq!(world.ask(by_header).await.0, 200);
    assert_eq!(world.ask("GET /verify HTTP/1.1\r\n").await.0, 400);
    assert_eq!(world.ask("GET /verify?flow= HTTP/1.1\r\n").await.0, 400);
    assert_eq!(world.ask("GET /other?flow=x HTTP/1.1\r\n").await.0, 404);
    let twice = format!("{by_header}X-Homeward-Flow: udp 127.0.0.1:2\r\n");
    assert_eq!(world.ask(&twice).await.0, 400);
    // Behind another path the query is of whom a proxy serves, and says nothing.
    let behind = by_header.replace("/verify", "/verify/any/path?flow=udp%20127.0.0.1%3A2");
    assert_eq!(world.ask(&behind).await.0, 200);
    let query = "GET /verify/any/path?flow=udp%20127.0.0.1%3A1 HTTP/1.1\r\n";
    assert_eq!(world.ask(query).await.0, 400);
    let twice = "GET /verify?flow=udp%20127.0.0.1%3A1&flow=udp%20127.0.0.1%3A2 HTTP/1.1\r\n";
    assert_eq!(world.ask(twice).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_of_an_address_is_admitted_for_who_calls_from_there_alone() {
    let mut world = World::new(1).await;
    world.hop(0).await.unwrap();
    let elsewhere = "tcp 10.45.0.2".parse().unwrap();
    let taken = world.open(&elsewhere).await;
    assert!(matches!(taken, Err(WalkError::Refused { again: false })), "{taken:?}");
    let spelled = world.open(&"tcp ::ffff:127.0.0.1".parse().unwrap()).await;
    assert!(matches!(spelled, Err(WalkError::Refused { again: false })), "{spelled:?}");
    world.open(&"tcp 127.0.0.1".parse().unwrap()).await.unwrap();
    world.open(&"call 7".parse().unwrap()).await.unwrap();
    assert!(!world.passes(&elsewhere).await);
    // Where the device's address is another at the guard than at the service.
    let mut world = World::with(1, |_| {}, |guard| guard.policy.own_address = false).await;
    world.hop(0).await.unwrap();
    world.open(&elsewhere).await.unwrap();
    assert!(world.passes(&elsewhere).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_ask_hears_nothing_of_any_flow() {
    let others = |guard: &mut homeward_guard::Config| {
        guard.verify.from = vec!["192.0.2.0/24".parse().unwrap()];
    };
    let mut world = World::with(1, |_| {}, others).await;
    world.hop(0).await.unwrap();
    world.open(&flow(1)).await.unwrap();
    let (status, said) = world.verify(&flow(1)).await;
    assert!(status == 403 && said.contains("verify.from"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_before_that_is_away_is_stood_in_for_by_the_server() {
    let mut world = World::new(3).await;
    world.hop(0).await.unwrap();
    world.open(&flow(1)).await.unwrap();
    world.stop_module(0).await;
    world.hop(1).await.unwrap();
    world.open(&flow(1)).await.unwrap();
    let (_, said) = world.verify(&flow(1)).await;
    assert!(said.contains("x-homeward-hops: 2") && !said.contains("broken"), "{said}");
    // And one of whom nobody knows where it is.
    let (_, running) = world.modules[2].as_mut().unwrap();
    running.config.handoff.peers.retain(|peer| peer.name != network(1));
    let mut nowhere = running.config.clone();
    nowhere.handoff.peers.push(homeward_handoff::Peer {
        name: network(1),
        key: world.modules[1].as_ref().unwrap().1.key,
        address: None,
        revoked: false,
        enrols: false,
    });
    let (_, running) = world.modules[2].as_ref().unwrap();
    running.reloads.reload(&nowhere.handoff);
    world.hop(2).await.unwrap();
    world.open(&flow(1)).await.unwrap();
    assert_eq!(world.trace().await, [0, 1, 2].map(|n| network(n).to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_whose_key_before_is_not_to_be_had_is_refused_or_marked_as_the_policies_say() {
    for broken in [false, true] {
        let module = |config: &mut homeward_security_module::Config| {
            config.policy.ask_server = false;
            config.policy.broken = broken;
        };
        let mut world = World::with(2, module, |guard| guard.policy.broken = broken).await;
        world.hop(0).await.unwrap();
        world.open(&flow(1)).await.unwrap();
        world.stop_module(0).await;
        if !broken {
            let refused = world.hop(1).await;
            assert!(matches!(refused, Err(WalkError::Refused { again: true })), "{refused:?}");
            continue;
        }
        // The device has to want it, too.
        let unwanted = world.hop(1).await;
        assert!(matches!(unwanted, Err(WalkError::Chain(_))), "{unwanted:?}");
        world.hop_anyway(1, true).await.unwrap();
        world.open(&flow(1)).await.unwrap();
        let (status, said) = world.verify(&flow(1)).await;
        assert_eq!(status, 200);
        assert!(said.contains("x-homeward-broken: 2"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_and_guard_go_on_after_a_restart() {
    let mut world = World::new(2).await;
    world.hop(0).await.unwrap();
    // What it was told is kept before anybody proves it,
    let config = world.stop_guard().await;
    world.start_guard(config).await;
    world.open(&flow(1)).await.unwrap();
    let config = world.stop_module(0).await;
    world.start_module(0, config).await;
    // and that it was proven.
    let config = world.stop_guard().await;
    world.start_guard(config).await;
    assert_eq!(world.trace().await, ["n0.example"]);
    // Nobody's call has ended meanwhile.
    assert!(world.passes(&flow(1)).await);
    world.open(&flow(1)).await.unwrap();
    world.hop(1).await.unwrap();
    world.open(&flow(1)).await.unwrap();
    assert_eq!(world.trace().await, ["n0.example", "n1.example"]);
    assert!(world.passes(&flow(1)).await);
    // To whom a key was given is known after a restart, too.
    let config = world.stop_module(0).await;
    world.start_module(0, config).await;
    let visits = world.command(&network(0), Request::new("visits")).await;
    assert_eq!(visits["visits"][0]["given_to"][0], "n1.example", "{visits}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_a_device_was_in_before_asks_nobody_for_its_own_key() {
    let alone = |config: &mut homeward_security_module::Config| config.policy.ask_server = false;
    let mut world = World::with(1, alone, |_| {}).await;
    world.hop(0).await.unwrap();
    world.hop(0).await.unwrap();
    world.open(&flow(1)).await.unwrap();
    assert_eq!(world.trace().await, ["n0.example", "n0.example"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_goes_on_from_what_it_kept() {
    let mut world = World::new(2).await;
    world.hop(0).await.unwrap();
    world.device = Device::restore(&world.device.save()).unwrap();
    world.hop(1).await.unwrap();
    world.device = Device::restore(&world.device.save()).unwrap();
    world.open(&flow(1)).await.unwrap();
    world.device = Device::restore(&world.device.save()).unwrap();
    world.open(&flow(2)).await.unwrap();
    assert!(world.passes(&flow(1)).await && world.passes(&flow(2)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_told_of_a_hop_once_it_is_back() {
    let mut world = World::new(2).await;
    world.hop(0).await.unwrap();
    world.open(&flow(1)).await.unwrap();
    let guard = world.stop_guard().await;
    world.hop(1).await.unwrap();
    assert_eq!(world.module(1).visits().lock().await.untold(), 1);
    // Whoever has to tell it is away, too, meanwhile.
    let module = world.stop_module(1).await;
    world.start_module(1, module).await;
    world.start_guard(guard).await;
    comes_to(async || world.module(1).visits().lock().await.untold() == 0).await;
    world.open(&flow(1)).await.unwrap();
    assert_eq!(world.trace().await, ["n0.example", "n1.example"]);
    let module = world.stop_module(1).await;
    world.start_module(1, module).await;
    assert_eq!(world.module(1).visits().lock().await.untold(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_had_its_time_is_let_go_of() {
    let brief = |config: &mut homeward_security_module::Config| {
        config.policy.lifetime = Period(Duration::from_millis(1500));
    };
    let mut world = World::with(1, brief, |_| {}).await;
    world.hop(0).await.unwrap();
    world.open(&flow(1)).await.unwrap();
    let admission = world.guard().passes(&flow(1)).await.unwrap();
    assert_eq!(admission.until, world.visit(0).await.welcome().unwrap().record.until);
    comes_to(async || world.guard().sessions().lock().await.is_empty()).await;
    assert!(!world.passes(&flow(1)).await);
    comes_to(async || world.module(0).visits().lock().await.is_empty()).await;
    // Over a restart, too.
    let module = world.stop_module(0).await;
    world.start_module(0, module).await;
    assert!(world.module(0).visits().lock().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_an_end_to_what_is_held() {
    let module = |config: &mut homeward_security_module::Config| config.policy.visits = 1;
    let mut world = World::with(2, module, |guard| guard.policy.sessions = 1).await;
    world.hop(0).await.unwrap();
    world.another_session();
    let full = world.hop(0).await;
    assert!(matches!(full, Err(WalkError::Refused { again: true })), "{full:?}");
    // The other network has room, the guard does not.
    world.hop(1).await.unwrap();
    let unknown = world.open(&flow(1)).await;
    assert!(matches!(unknown, Err(WalkError::Refused { again: true })), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_given_another_key_and_none_that_is_older() {
    let mut world = World::new(1).await;
    let newer = world.root.device_key(&network(0), 2);
    let enrol = async |world: &World, version, key| {
        let change = world.module(0).enrolled().lock().await.enrol(who(), version, key)?;
        world.module(0).vault().commit(vec![change]).await.unwrap();
        Ok::<_, homeward_security_module::enrolled::Older>(())
    };
    enrol(&world, 2, newer.clone()).await.unwrap();
    enrol(&world, 2, newer.clone()).await.unwrap();
    enrol(&world, 1, world.root.device_key(&network(0), 1)).await.unwrap_err();
    enrol(&world, 2, world.root.device_key(&network(0), 1)).await.unwrap_err();
    let module = world.stop_module(0).await;
    world.start_module(0, module).await;
    let old = world.hop(0).await;
    assert!(matches!(old, Err(WalkError::Refused { again: false })), "{old:?}");
    let mut line = homeward_handoff::Line::call(world.module_at(0), PATIENCE).await.unwrap();
    let mut entropy = SystemEntropy::new();
    line.hop(&mut world.device, &who(), &newer, false, &mut entropy).await.unwrap();
}
