//! Who is let in, who is thrown out, and with what word.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use homeward_channel::{
    Client, ClientSettings, Denial, End, Gatekeeper, Issue, Presented, Refusal, Server,
    ServerSettings, Subject, TokenHash,
};
use homeward_control::pb::{self, GoodbyeReason};
use homeward_control::{Controller, ControllerSettings, FromGateway, ToGateway, Want};
use homeward_controller::figures::Figures;
use homeward_controller::hub::{Found, Hub, Times};
use homeward_daemon::{Metrics, Period, SystemClock};
use homeward_model::Status;
use homeward_store::{Enrolment, GatewayChange, Gateways, Store};
use tokio::sync::mpsc;

use crate::world::{Agent, FOREIGN, HOME, PHONE, SMITHNET, World, hello, soon};

fn reason(end: &End) -> GoodbyeReason {
    match end {
        End::Goodbye { reason, .. } => *reason,
        other => panic!("without a goodbye: {other:?}"),
    }
}

#[tokio::test]
async fn a_revoked_gateway_is_cut_off_whether_or_not_it_has_said_hello() {
    let world = World::start().await;
    for greeted in [true, false] {
        let client = world.enrolled(FOREIGN).await;
        let mut agent = match greeted {
            true => Agent::greeted(&client, FOREIGN).await,
            false => Agent::silent(&client).await,
        };
        let mut other = world.connected(HOME).await;
        world.store.revoke_access(FOREIGN).await.unwrap();
        assert_eq!(reason(&agent.end().await), GoodbyeReason::Revoked, "{greeted}");
        let error = client.connect().await.err().unwrap();
        assert_eq!(error.refusal(), Some(Refusal::Revoked), "{error}");
        // Others go on.
        other.serve_phone().await;
        other.until(|m| matches!(m, ToGateway::Denied(_) | ToGateway::Open(_))).await;
    }
}

#[tokio::test]
async fn a_suspended_gateway_is_cut_off_and_let_in_again_when_it_is_resumed() {
    let world = World::start().await;
    let client = world.enrolled(FOREIGN).await;
    let mut agent = Agent::greeted(&client, FOREIGN).await;
    let suspend = GatewayChange::status(Status::Suspended);
    world.store.update_gateway(FOREIGN, &suspend).await.unwrap();
    assert_eq!(reason(&agent.end().await), GoodbyeReason::Revoked);
    let error = client.connect().await.err().unwrap();
    assert_eq!(error.refusal(), Some(Refusal::Suspended), "{error}");
    let resume = GatewayChange::status(Status::Active);
    world.store.update_gateway(FOREIGN, &resume).await.unwrap();
    Agent::greeted(&client, FOREIGN).await;
}

#[tokio::test]
async fn a_deleted_gateway_is_cut_off_and_unknown_from_then_on() {
    let world = World::start().await;
    let client = world.enrolled(FOREIGN).await;
    let mut agent = Agent::greeted(&client, FOREIGN).await;
    world.store.delete_gateway(FOREIGN).await.unwrap();
    assert_eq!(reason(&agent.end().await), GoodbyeReason::Revoked);
    let error = client.connect().await.err().unwrap();
    assert_eq!(error.refusal(), Some(Refusal::Unknown), "{error}");
}

#[tokio::test]
async fn a_gateway_enrolled_anew_on_another_machine_takes_the_place_of_the_old_one() {
    let world = World::start().await;
    let old = world.enrolled(FOREIGN).await;
    let mut agent = Agent::greeted(&old, FOREIGN).await;
    let new = world.enrolled_in(FOREIGN, "second").await;
    assert_eq!(reason(&agent.end().await), GoodbyeReason::Revoked);
    Agent::greeted(&new, FOREIGN).await;
    let error = old.connect().await.err().unwrap();
    assert_eq!(error.refusal(), Some(Refusal::Revoked), "{error}");
}

#[tokio::test]
async fn a_second_channel_of_a_gateway_replaces_the_first() {
    let world = World::start().await;
    let client = world.enrolled(FOREIGN).await;
    let mut first = Agent::greeted(&client, FOREIGN).await;
    let _second = Agent::greeted(&client, FOREIGN).await;
    assert_eq!(reason(&first.end().await), GoodbyeReason::Replaced);
    assert_eq!(world.status().await["totals"]["connected"], 1);
}

#[tokio::test]
async fn who_does_not_say_hello_in_time_is_sent_away() {
    let short = |config: &mut homeward_controller::Config| {
        config.handshake_timeout = Period(Duration::from_secs(1));
    };
    let world = World::with(short).await;
    let mut agent = Agent::silent(&world.enrolled(FOREIGN).await).await;
    assert_eq!(reason(&agent.end().await), GoodbyeReason::Protocol);
}

#[tokio::test]
async fn a_gateway_may_not_hoard_channels_without_a_hello() {
    let world = World::start().await;
    let client = world.enrolled(FOREIGN).await;
    let mut agents = Vec::new();
    for _ in 0..5 {
        agents.push(Agent::silent(&client).await);
    }
    assert_eq!(reason(&agents.remove(0).end().await), GoodbyeReason::Replaced);
    agents[0].say(FromGateway::Hello(hello(FOREIGN))).await;
    agents[0].until(|m| matches!(m, ToGateway::Welcome(_))).await;
}

#[tokio::test]
async fn what_cannot_be_understood_ends_the_channel_and_what_is_to_come_does_not() {
    let world = World::start().await;
    let client = world.enrolled(FOREIGN).await;
    let nonsense = || {
        let neighbour = pb::Neighbour { bssid: vec![1, 2, 3], signal: -40 };
        let neighbours = pb::Neighbours { neighbours: vec![neighbour] };
        pb::FromGateway { body: Some(pb::from_gateway::Body::Neighbours(neighbours)) }
    };
    // Before Hello, and after.
    let mut agent = Agent::silent(&client).await;
    agent.say(FromGateway::Pong(1)).await;
    assert_eq!(reason(&agent.end().await), GoodbyeReason::Protocol);
    let mut agent = Agent::silent(&client).await;
    agent.channel.to_core.send(nonsense()).await.unwrap();
    assert_eq!(reason(&agent.end().await), GoodbyeReason::Protocol);
    let mut agent = Agent::greeted(&client, FOREIGN).await;
    agent.channel.to_core.send(nonsense()).await.unwrap();
    assert_eq!(reason(&agent.end().await), GoodbyeReason::Protocol);

    let mut agent = Agent::greeted(&client, FOREIGN).await;
    agent.channel.to_core.send(pb::FromGateway { body: None }).await.unwrap();
    agent.serve_phone().await;
    agent.until(|m| matches!(m, ToGateway::Denied(_))).await;
}

#[tokio::test]
async fn a_gateway_that_leaves_is_away_in_the_status() {
    let world = World::start().await;
    let agent = world.connected(FOREIGN).await;
    world.until(|status| status["totals"]["connected"] == 1).await;
    drop(agent);
    world.until(|status| status["totals"]["connected"] == 0).await;
    let status = world.status().await;
    assert!(status["gateways"][0]["channel"].is_null(), "{status}");
}

#[tokio::test]
async fn a_stop_says_goodbye_to_all_that_are_connected_or_about_to_be() {
    let world = World::start().await;
    let (home, foreign) = (world.enrolled(HOME).await, world.enrolled(FOREIGN).await);
    let mut greeted = Agent::greeted(&home, HOME).await;
    let mut silent = Agent::silent(&foreign).await;
    world.shutdown.trigger();
    let (one, other) = soon(async { tokio::join!(greeted.end(), silent.end()) }).await;
    assert_eq!(reason(&one), GoodbyeReason::Unavailable);
    assert_eq!(reason(&other), GoodbyeReason::Unavailable);
    world.stop().await;
}

/// Lets everybody in, as if the store had changed its mind right afterwards.
struct OpenDoor;

#[async_trait]
impl Gatekeeper for OpenDoor {
    async fn admit(&self, presented: &Presented) -> Result<Subject, Denial> {
        Ok(Subject { gateway: presented.gateway, name: "gw-2".parse().unwrap(), device_of: None })
    }

    async fn redeem(&self, _: TokenHash, _: &Issue) -> Result<Subject, Denial> {
        unreachable!("it enrolled elsewhere")
    }

    async fn renew(&self, _: &Presented, _: &Issue) -> Result<Subject, Denial> {
        unreachable!("its certificate is new")
    }
}

/// A hub and the server before it, run by the test, on a world's store; and how a gateway that is
/// enrolled there reaches it. No change of the store is ever told to this hub.
async fn bare(
    world: &World,
    enrolled: &Client,
) -> (Hub, Server, mpsc::UnboundedReceiver<Found>, Client) {
    let store = Arc::clone(&world.store) as Arc<dyn Store>;
    let authority = homeward_controller::authority::load_or_found(&*store).await.unwrap();
    let listen = [SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)];
    let (settings, clock) = (ServerSettings::default(), Arc::new(SystemClock));
    let server = Server::bind(&listen, settings, authority, Arc::new(OpenDoor), clock).await;
    let server = server.unwrap();
    let figures = Figures::new(&mut Metrics::new("core", "0"));
    let (found_tx, found) = mpsc::unbounded_channel();
    let machine = Controller::new(ControllerSettings::default());
    let times = Times {
        hello: Duration::from_secs(10),
        keep_moves: Duration::from_secs(300),
        map_valid: Duration::from_secs(3600),
        map_salt: [0; 8],
    };
    let hub = Hub::new(
        machine,
        store,
        Arc::new(world.aaa.clone()),
        figures,
        server.counters(),
        times,
        found_tx,
    );

    let address = vec![server.local()[0].to_string()];
    let directory = enrolled.directory().to_owned();
    let (settings, clock) = (ClientSettings::default(), Arc::new(SystemClock));
    let client = Client::new(address, directory, settings, clock);
    (hub, server, found, client)
}

#[tokio::test]
async fn what_changes_between_the_door_and_the_loop_is_not_missed() {
    let world = World::start().await;
    let enrolled = world.enrolled(FOREIGN).await;
    world.store.revoke_access(FOREIGN).await.unwrap();
    let (mut hub, mut server, mut found, client) = bare(&world, &enrolled).await;
    let serve = async {
        loop {
            tokio::select! {
                event = server.event() => hub.handle_channel(event),
                Some(found) = found.recv() => hub.handle_found(found),
            }
        }
    };
    let gateway = async {
        let mut agent = Agent::silent(&client).await;
        assert_eq!(reason(&agent.end().await), GoodbyeReason::Revoked);
    };
    soon(async {
        tokio::select! {
            () = serve => {}
            () = gateway => {}
        }
    })
    .await;
}

#[tokio::test]
async fn a_network_that_nobody_wants_any_more_leaves_nothing_behind() {
    let world = World::start().await;
    let enrolled = world.enrolled(FOREIGN).await;
    let (mut hub, mut server, mut found, client) = bare(&world, &enrolled).await;
    let opening = Agent::silent(&client);
    tokio::pin!(opening);
    let agent = soon(async {
        loop {
            tokio::select! {
                agent = &mut opening => return agent,
                event = server.event() => hub.handle_channel(event),
            }
        }
    })
    .await;
    agent.say(FromGateway::Hello(hello(FOREIGN))).await;
    let want = || FromGateway::Want(Want { network: SMITHNET, macs: vec![PHONE] });
    // Whether what the store says comes before the gateway has changed its mind, or after.
    for late in [false, true] {
        agent.say(want()).await;
        soon(async {
            while hub.networks() == 0 {
                hub.handle_channel(server.event().await);
            }
            if !late {
                hub.handle_found(found.recv().await.unwrap());
                assert_eq!(hub.networks(), 1, "its facts may change");
            }
            agent.say(FromGateway::Unwant(SMITHNET)).await;
            while hub.networks() > 0 {
                hub.handle_channel(server.event().await);
            }
            if late {
                hub.handle_found(found.recv().await.unwrap());
                assert_eq!(hub.networks(), 0, "it comes too late");
            }
        })
        .await;
    }
}
