//! Gateways are told how the Internet sees them, and tell each other.

use std::net::{Ipv4Addr, SocketAddr};

use homeward_channel::ChannelConfig;
use homeward_channel::keeper::{self, News, Order};
use homeward_control::link::Action;
use homeward_control::{Endpoint, EndpointKind, FromGateway, ToGateway, Welcome};
use homeward_controller::Config;
use homeward_stun::message::{refusal, request};
use homeward_stun::{Class, Message, TransactionId};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::unbounded_channel;

use crate::world::{Agent, FOREIGN, HOME, World, hello, soon};

fn with_stun(config: &mut Config) {
    config.stun = vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)); 2];
    (config.stun_per_second, config.stun_burst) = (1, 3);
}

/// The Welcome that a gateway hears over a channel that is kept.
async fn welcome(world: &World) -> Welcome {
    let client = world.enrolled(HOME).await;
    let config = ChannelConfig {
        core: vec![world.core.clone()],
        directory: client.directory().to_owned(),
        ..ChannelConfig::default()
    };
    let (orders, to_do) = unbounded_channel();
    let (tell, mut news) = unbounded_channel();
    let keeping = tokio::spawn(keeper::keep(config, to_do, move |news| drop(tell.send(news))));
    orders.send(Order::Do(Action::Connect)).unwrap();
    let welcome = soon(async {
        loop {
            match news.recv().await.unwrap() {
                News::Up => {
                    let hello = Box::new(FromGateway::Hello(hello(HOME)));
                    orders.send(Order::Say(hello)).unwrap();
                }
                News::Message(message) => match *message {
                    ToGateway::Welcome(welcome) => break welcome,
                    other => panic!("{other:?}"),
                },
                News::Lost(why) => panic!("{why}"),
            }
        }
    });
    let welcome = welcome.await;
    drop(orders);
    keeping.await.unwrap();
    welcome
}

#[tokio::test]
async fn a_gateway_is_told_where_to_ask_and_asks_there_as_often_as_it_may() {
    let world = World::with(with_stun).await;
    let Welcome { stun, .. } = welcome(&world).await;
    let [first, second] = stun[..] else { panic!("{stun:?}") };
    assert_eq!(first.ip(), Ipv4Addr::LOCALHOST, "where the channel leads to");
    assert_ne!(first.port(), second.port());

    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let own = socket.local_addr().unwrap();
    for server in [first, second] {
        let id = TransactionId([7; 12]);
        socket.send_to(&request(id), server).await.unwrap();
        let mut room = [0; 100];
        let (len, from) = soon(socket.recv_from(&mut room)).await.unwrap();
        let answer = Message::decode(&room[..len]).unwrap();
        assert_eq!((from, answer.id, answer.mapped()), (server, id, Some(own)));
    }
    // A second is long: two more are answered, and no third.
    for _ in 0..8 {
        socket.send_to(&request(TransactionId([8; 12])), first).await.unwrap();
    }
    // What is no request is not.
    let odd = refusal(TransactionId([9; 12]), [3]);
    assert_eq!(Message::decode(&odd).unwrap().class, Class::Error);
    socket.send_to(&odd, first).await.unwrap();
    soon(async {
        loop {
            let metrics = world.metrics().await;
            let count = |kind: &str| {
                let line = format!("homeward_controller_stun_total{{kind=\"{kind}\"}} ");
                let found = metrics.lines().find_map(|l| l.strip_prefix(&line)).unwrap_or("0");
                found.parse::<u32>().unwrap()
            };
            if count("answered") + count("limited") + count("ignored") == 11 {
                assert!(count("limited") >= 5, "{metrics}");
                assert_eq!(count("ignored"), 1, "{metrics}");
                return;
            }
        }
    })
    .await;
    assert_eq!(world.status().await["stun"].as_array().unwrap().len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn nobody_is_told_to_ask_where_nobody_answers() {
    let world = World::start().await;
    assert_eq!(welcome(&world).await.stun, []);
    world.stop().await;
}

#[tokio::test]
async fn where_servers_see_a_gateway_reaches_the_gateway_at_the_other_end() {
    let world = World::with(with_stun).await;
    let mut home = world.connected(HOME).await;
    let client = world.enrolled(FOREIGN).await;
    let mut foreign = Agent::greeted(&client, FOREIGN).await;
    foreign.serve_phone().await;
    home.until(|m| matches!(m, ToGateway::Open(_))).await;
    foreign.until(|m| matches!(m, ToGateway::Open(_))).await;
    let reflexive = Endpoint::new("198.51.100.7:40000".parse().unwrap(), EndpointKind::Reflexive);
    let endpoints = [hello(HOME).endpoints, vec![reflexive]].concat();
    home.say(FromGateway::Endpoints(endpoints)).await;
    let named = |m: &ToGateway| matches!(m, ToGateway::Open(open) if open.peer.endpoints.contains(&reflexive));
    foreign.until(named).await;
    world.stop().await;
}
