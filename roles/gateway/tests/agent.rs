//! The agent without any I/O: what is heard goes in, what is to be done comes out. The core is the
//! real RADIUS server machine, answering as the test says.
#![cfg(test)]

use std::time::Duration;

use homeward_channel::keeper::News;
use homeward_control::link::Identity;
use homeward_control::{
    Endpoint, EndpointKind, Evict, FromGateway, HeldLogin, LinkSettings, PublicKey, ToGateway,
    Welcome,
};
use homeward_daemon::{Metrics, SystemEntropy};
use homeward_gateway::agent::{Agent, Input, Output};
use homeward_gateway::ear::Probe;
use homeward_gateway::hands::{Order, Owner, Report};
use homeward_gateway::journal::Journal;
use homeward_gateway::tunnels::{Tuning, Tunnels};
use homeward_model::{
    DeviceKey, GatewayId, Grant, Instant, LookupForm, Mac, NetworkId, Psk, Refusal, RefusalReason,
    Rssi, Secret, Security, ServiceTerms, Ssid,
};
use homeward_radius::lookup::{write_grant, write_refusal};
use homeward_radius::{
    Code, LookupError, LookupRequest, Policy, Port, Received, Server, ServerSettings, SharedSecret,
    Transmit,
};
use homeward_vap::{Bss, VapId};

const PHONE: Mac = Mac::new([2, 0, 0x5e, 0, 0, 1]);
const HOME: &str = "Elm Street 17";

fn secret() -> SharedSecret {
    SharedSecret::new(&Secret::new("sixteen characters, and more")).unwrap()
}

fn ssid(text: &str) -> Ssid {
    text.parse().unwrap()
}

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

/// An agent whose hostapd, the owner's "Oak Avenue 4", is ready.
fn agent() -> Agent {
    agent_with(None)
}

fn agent_with(tunnels: Option<Tunnels>) -> Agent {
    let journal = Journal::new(&mut Metrics::new("gateway", "test"));
    let settings = homeward_vap::Settings::default();
    let mut agent =
        Agent::new("oak".parse().unwrap(), settings, false, [secret()], tunnels, journal);
    let owner = Owner { ssid: Some(ssid("Oak Avenue 4")), bssid: Mac::new([2, 0, 0, 0, 1, 0]) };
    agent.handle(Input::Hostapd(Report::Ready { epoch: 7, owner }), at(0));
    agent
}

fn probe(agent: &mut Agent, name: &str, ms: u64) {
    let probe = Probe { mac: PHONE, ssid: ssid(name), signal: Some(Rssi(-50)), at: at(ms) };
    agent.handle(Input::Probe(probe), at(ms));
}

fn outputs(agent: &mut Agent) -> Vec<Output> {
    std::iter::from_fn(|| agent.poll_output()).collect()
}

/// The one datagram to the core.
fn asked(agent: &mut Agent) -> Transmit {
    match outputs(agent).as_slice() {
        [Output::Send(transmit)] => transmit.clone(),
        other => panic!("not one question but {other:?}"),
    }
}

/// The one order to hostapd.
fn ordered(agent: &mut Agent) -> Order {
    match outputs(agent).as_slice() {
        [Output::Order { epoch: 7, order }] => order.clone(),
        other => panic!("not one order but {other:?}"),
    }
}

fn grant(name: &str) -> Grant {
    Grant {
        network: NetworkId(3),
        ssid: ssid(name),
        security: Security::Wpa2Psk,
        key: DeviceKey::Psk(Psk::new([0x5c; 32])),
        terms: ServiceTerms::default(),
        at_home: false,
        class: b"hw:3:1".to_vec(),
    }
}

/// The core's answer to a question, which must be about the phone and `name`.
fn answer(question: &Transmit, name: &str, decision: &Result<Grant, Refusal>) -> Input {
    let mut server = Server::new(Port::Authentication, ServerSettings::default());
    let source = "127.0.0.1:40000".parse().unwrap();
    let received = server.handle(source, &secret(), Policy::Required, &question.payload, at(0));
    let Received::Request { packet, ticket, .. } = received else { panic!("not a request") };
    let asked = LookupRequest::decode(&packet, &secret(), LookupForm::Homeward).unwrap();
    assert_eq!((asked.mac, asked.ssid, asked.nas_identifier), (PHONE, ssid(name), Some("oak")));
    let code = if decision.is_ok() { Code::AccessAccept } else { Code::AccessReject };
    let octets = server
        .respond(
            &ticket,
            &secret(),
            code,
            &mut SystemEntropy::new(),
            |b| -> Result<(), LookupError> {
                match decision {
                    Ok(grant) => write_grant(b, LookupForm::Homeward, grant),
                    Err(refusal) => write_refusal(b, LookupForm::Homeward, refusal),
                }
            },
        )
        .unwrap();
    Input::Datagram { server: question.server, socket: question.socket, octets: octets.to_vec() }
}

#[test]
fn a_probe_becomes_a_look_up_and_a_grant_a_bss_with_that_devices_key() {
    let mut agent = agent();
    probe(&mut agent, HOME, 10);
    let question = asked(&mut agent);
    agent.handle(answer(&question, HOME, &Ok(grant(HOME))), at(12));
    let Order::AddBss { vap, ssid: announced, security, devices, .. } = ordered(&mut agent) else {
        panic!("no BSS is added")
    };
    assert_eq!((vap.slot(), announced, security), (0, ssid(HOME), Security::Wpa2Psk));
    assert_eq!(devices, [(PHONE, DeviceKey::Psk(Psk::new([0x5c; 32])))]);
}

#[test]
fn a_refusal_makes_no_bss_and_is_remembered() {
    let mut agent = agent();
    probe(&mut agent, HOME, 10);
    let question = asked(&mut agent);
    let refusal = Refusal { reason: RefusalReason::AccountSuspended, message: "suspended".into() };
    agent.handle(answer(&question, HOME, &Err(refusal)), at(12));
    probe(&mut agent, HOME, 500);
    assert!(outputs(&mut agent).is_empty());
    let status = agent.status(at(500));
    assert_eq!(status.memory[0].reason, Some(RefusalReason::AccountSuspended));
}

#[test]
fn an_answer_under_another_secret_or_for_another_ssid_makes_no_bss() {
    let mut agent = agent();
    probe(&mut agent, HOME, 10);
    let question = asked(&mut agent);
    let Input::Datagram { server, socket, mut octets } = answer(&question, HOME, &Ok(grant(HOME)))
    else {
        unreachable!()
    };
    let last = octets.len() - 1;
    octets[last] ^= 1;
    agent.handle(Input::Datagram { server, socket, octets }, at(12));
    assert!(outputs(&mut agent).is_empty(), "a forged answer was believed");
    agent.handle(answer(&question, HOME, &Ok(grant("Somebody else's"))), at(13));
    assert!(outputs(&mut agent).is_empty(), "a grant for another SSID was used");
}

#[test]
fn the_owners_own_ssid_is_not_looked_up() {
    let mut agent = agent();
    probe(&mut agent, "Oak Avenue 4", 10);
    assert!(outputs(&mut agent).is_empty());
}

#[test]
fn a_revoked_device_is_put_out_and_its_key_goes() {
    let mut agent = agent();
    probe(&mut agent, HOME, 10);
    let question = asked(&mut agent);
    agent.handle(answer(&question, HOME, &Ok(grant(HOME))), at(12));
    let Order::AddBss { vap, .. } = ordered(&mut agent) else { panic!("no BSS is added") };
    agent.handle(Input::Hostapd(Report::BssAdded(vap, Ok(()))), at(40));
    agent.handle(Input::Hostapd(Report::Connected(Bss::Vap(vap), PHONE)), at(90));
    outputs(&mut agent);

    let revoked = agent.revoke(PHONE, None, at(1000));
    assert_eq!((revoked.entries, revoked.sessions), (1, 1));
    let orders: Vec<_> = outputs(&mut agent)
        .into_iter()
        .map(|o| match o {
            Output::Order { order, .. } => order,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(
        orders.contains(&Order::Deauthenticate { bss: Bss::Vap(vap), mac: PHONE }),
        "{orders:?}"
    );
    assert!(orders.contains(&Order::RemoveBss { vap }), "{orders:?}");
    agent.handle(Input::Hostapd(Report::Disconnected(Bss::Vap(vap), PHONE)), at(1001));
    assert!(agent.revoke(PHONE, None, at(1002)).is_empty(), "there is nothing left to revoke");
}

/// An agent that is about to be in step with a controller; log-ins may ask through it.
fn greeting(carries_logins: bool) -> Agent {
    let identity = Identity {
        boot: 1,
        software: "test".into(),
        public_key: PublicKey([1; 32]),
        home: false,
        prepared_max: 4,
        bssids: Vec::new(),
        carries_logins,
        path_keys: Vec::new(),
        legs_max: 3,
    };
    let endpoints = vec![Endpoint::new("[::]:1701".parse().unwrap(), EndpointKind::Host)];
    let tunnels = Tunnels::new(identity, LinkSettings::default(), endpoints, at(0));
    let mut agent = agent_with(Some(tunnels));
    agent.handle(Input::Channel(News::Up), at(1));
    let welcome = Welcome {
        version: 1,
        gateway: GatewayId(7),
        name: "oak".parse().unwrap(),
        inner_address: "100.64.0.7".parse().unwrap(),
        observed_address: "192.0.2.7".parse().unwrap(),
        report_interval: Duration::from_secs(60),
        ping_interval: Duration::from_secs(30),
        stun: Vec::new(),
    };
    say(&mut agent, ToGateway::Welcome(welcome), 2);
    outputs(&mut agent);
    agent
}

/// One in step, whose hostapd serves the phone on a VAP.
fn serving() -> (Agent, VapId) {
    let mut agent = greeting(true);
    say(&mut agent, ToGateway::Synced(Vec::new()), 2);
    outputs(&mut agent);
    probe(&mut agent, HOME, 10);
    let question = asked(&mut agent);
    agent.handle(answer(&question, HOME, &Ok(grant(HOME))), at(12));
    let vap = outputs(&mut agent).into_iter().find_map(|output| match output {
        Output::Order { order: Order::AddBss { vap, .. }, .. } => Some(vap),
        _ => None,
    });
    let vap = vap.expect("a BSS is added");
    agent.handle(Input::Hostapd(Report::BssAdded(vap, Ok(()))), at(40));
    agent.handle(Input::Hostapd(Report::Connected(Bss::Vap(vap), PHONE)), at(90));
    outputs(&mut agent);
    (agent, vap)
}

fn say(agent: &mut Agent, message: ToGateway, ms: u64) {
    agent.handle(Input::Channel(News::Message(Box::new(message))), at(ms));
}

/// The devices that the VAP machine has connected.
fn connected(agent: &Agent, ms: u64) -> Vec<Mac> {
    let vaps = agent.status(at(ms)).vaps;
    let devices = vaps.into_iter().flat_map(|vap| vap.devices);
    devices.filter(|device| device.connected_ms.is_some()).map(|device| device.mac).collect()
}

/// Whether the controller is told that the phone is gone, among all that is to be done.
fn tells_gone(all: &[Output]) -> bool {
    all.iter().any(|output| {
        matches!(output, Output::Say(FromGateway::Device(d)) if d.mac == PHONE && !d.connected)
    })
}

#[test]
fn a_device_that_is_elsewhere_now_is_dropped_and_forgotten() {
    let (mut agent, vap) = serving();
    assert_eq!(connected(&agent, 100), [PHONE]);
    let evict = Evict { mac: PHONE, network: NetworkId(3), sequence: 0 };
    say(&mut agent, ToGateway::Evict(evict), 1000);
    let all = outputs(&mut agent);
    let order = all.iter().find_map(|output| match output {
        Output::Order { epoch: 7, order } => Some(order.clone()),
        _ => None,
    });
    let dropped = Order::Deauthenticate { bss: Bss::Vap(vap), mac: PHONE };
    assert_eq!(order, Some(dropped), "{all:?}");
    assert!(tells_gone(&all), "{all:?}");
    // Whether hostapd says so or not: it may have lost the station long ago.
    assert_eq!(connected(&agent, 1001), []);
    agent.handle(Input::Hostapd(Report::Disconnected(Bss::Vap(vap), PHONE)), at(1002));
    assert!(!tells_gone(&outputs(&mut agent)), "said once");
    say(&mut agent, ToGateway::Evict(evict), 1003);
    assert!(outputs(&mut agent).is_empty(), "there is nobody to evict");

    // Its VAP goes when nobody has come for long.
    let mut removed = false;
    while let Some(due) = agent.poll_timeout().filter(|due| !removed && *due < at(600_000)) {
        agent.handle_timeout(due);
        removed |= outputs(&mut agent).iter().any(|output| {
            matches!(output, Output::Order { order: Order::RemoveBss { vap: gone }, .. } if *gone == vap)
        });
    }
    assert!(removed);
}

#[test]
fn a_device_of_another_network_or_another_mac_is_not_evicted() {
    let (mut agent, _) = serving();
    let other = Mac::new([2, 0, 0x5e, 0, 0, 2]);
    for (mac, network) in [(PHONE, NetworkId(4)), (other, NetworkId(3))] {
        say(&mut agent, ToGateway::Evict(Evict { mac, network, sequence: 0 }), 1000);
    }
    assert!(outputs(&mut agent).is_empty());
    assert_eq!(connected(&agent, 1001), [PHONE]);
}

#[test]
fn where_others_are_to_send_changes_while_tunnels_are_up() {
    let (mut agent, _) = serving();
    let tuning = |port: u16| Tuning {
        settings: LinkSettings::default(),
        prepared_max: 4,
        endpoints: vec![std::net::SocketAddr::from(([192, 0, 2, 7], port)).into()],
    };
    agent.retune(tuning(4500), at(1000));
    let all = outputs(&mut agent);
    let [Output::Say(FromGateway::Endpoints(told))] = &all[..] else { panic!("{all:?}") };
    assert_eq!(*told, tuning(4500).endpoints);
    agent.retune(tuning(4500), at(1001));
    assert!(outputs(&mut agent).is_empty(), "no news");
}

#[test]
fn without_hostapd_nothing_is_ordered_and_with_the_next_one_it_is_under_its_number() {
    let mut agent = agent();
    agent.handle(Input::Hostapd(Report::Lost), at(1));
    probe(&mut agent, HOME, 10);
    let question = asked(&mut agent);
    agent.handle(answer(&question, HOME, &Ok(grant(HOME))), at(12));
    assert!(outputs(&mut agent).is_empty());
    let owner = Owner { ssid: Some(ssid("Oak Avenue 4")), bssid: Mac::new([2, 0, 0, 0, 1, 0]) };
    agent.handle(Input::Hostapd(Report::Ready { epoch: 8, owner }), at(20));
    let all = outputs(&mut agent);
    assert!(
        matches!(all.as_slice(), [Output::Order { epoch: 8, order: Order::AddBss { .. } }]),
        "{all:?}"
    );
}

#[test]
fn a_core_that_does_not_answer_is_asked_again_and_then_given_up() {
    let mut agent = agent();
    probe(&mut agent, HOME, 10);
    let first = asked(&mut agent);
    let mut repeated = 0;
    while let Some(due) = agent.poll_timeout().filter(|due| *due < at(3000)) {
        agent.handle_timeout(due);
        for output in outputs(&mut agent) {
            if let Output::Send(again) = output {
                repeated += usize::from(again.payload == first.payload);
            }
        }
    }
    assert!(repeated >= 2, "asked again {repeated} times");
    assert_eq!(agent.status(at(3000)).counters.unreachable, 1);
    let late = VapId::new(0, 0);
    agent.handle(Input::Hostapd(Report::BssAdded(late, Ok(()))), at(3000));
    assert!(agent.status(at(3000)).vaps.iter().all(|v| v.network.is_none()), "a stray BSS is kept");
}

/// How often hostapd is to tell whom log-ins let in, among all that is to be done.
fn asks_for_logins(agent: &mut Agent, number: u64) -> usize {
    let asks = |output: &Output| matches!(output, Output::Order { epoch, order: Order::TellLogins } if *epoch == number);
    outputs(agent).iter().filter(|output| asks(output)).count()
}

#[test]
fn whom_log_ins_let_in_is_told_whenever_the_channel_or_hostapd_is_there_again() {
    let mut agent = greeting(true);
    let ready = |epoch| {
        let owner = Owner { ssid: Some(ssid("Oak Avenue 4")), bssid: Mac::new([2, 0, 0, 0, 1, 0]) };
        Input::Hostapd(Report::Ready { epoch, owner })
    };
    agent.handle(ready(7), at(2));
    assert_eq!(asks_for_logins(&mut agent, 7), 0, "not before the controller knows what there is");
    say(&mut agent, ToGateway::Synced(Vec::new()), 3);
    assert_eq!(asks_for_logins(&mut agent, 7), 1);
    let fred = || (PHONE, "fred@example.net".parse().unwrap());
    agent.handle(Input::Hostapd(Report::Logins(vec![fred()])), at(4));
    let said = outputs(&mut agent);
    let [Output::Say(FromGateway::Logins(told))] = &said[..] else { panic!("{said:?}") };
    let (mac, name) = fred();
    assert_eq!(told[..], [HeldLogin { mac, name }]);
    agent.handle(Input::Hostapd(Report::Lost), at(5));
    agent.handle(ready(8), at(6));
    assert_eq!(asks_for_logins(&mut agent, 8), 1, "what it was told meanwhile is lost");
    agent.handle(Input::Channel(News::Lost("cut".into())), at(7));
    agent.handle(Input::Hostapd(Report::Logins(vec![fred()])), at(8));
    assert!(!outputs(&mut agent).iter().any(|output| matches!(output, Output::Say(_))));
}

#[test]
fn a_gateway_that_log_ins_pass_by_tells_of_none() {
    let mut agent = greeting(false);
    say(&mut agent, ToGateway::Synced(Vec::new()), 3);
    assert_eq!(asks_for_logins(&mut agent, 7), 0);
}
