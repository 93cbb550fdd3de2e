//! What is said arrives; who does not read is cut off; both sides learn why a channel ended.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Duration;

use homeward_channel::{ClientSettings, Closed, End, Error, Event, ServerSettings};
use homeward_control::pb::{self, GoodbyeReason};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::world::{Core, Gateway, closed, goodbye, long, opened, ping, pong, soon};

#[tokio::test]
async fn messages_arrive_in_both_directions_in_their_order() {
    let mut core = Core::start().await;
    let gateway = core.enrolled(7).await;
    soon(async {
        let (channel, (handle, _)) =
            tokio::join!(gateway.client.connect(), opened(&mut core.server));
        let mut channel = channel.unwrap();
        for number in 0..500 {
            handle.send(ping(number)).unwrap();
            channel.to_core.send(pong(number)).await.unwrap();
        }
        for number in 0..500 {
            assert_eq!(channel.from_core.recv().await, Some(ping(number)));
            let event = core.server.event().await;
            let Event::Message { message, .. } = event else { panic!("{event:?}") };
            assert_eq!(message, pong(number));
        }
    })
    .await;
}

#[tokio::test]
async fn a_goodbye_reaches_the_gateway_before_the_end() {
    let mut core = Core::start().await;
    let gateway = core.enrolled(7).await;
    soon(async {
        let (channel, (handle, _)) =
            tokio::join!(gateway.client.connect(), opened(&mut core.server));
        let mut channel = channel.unwrap();
        handle.close(goodbye(GoodbyeReason::Replaced));
        assert!(channel.from_core.recv().await.is_some());
        assert_eq!(channel.from_core.recv().await, None);
        let (reason, message) = (GoodbyeReason::Replaced, "so long".to_owned());
        assert_eq!(channel.ended().await, End::Goodbye { reason, message });
        assert_eq!(closed(&mut core.server).await, Closed::ByUs);
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_leaves_is_seen_to() {
    let mut core = Core::start().await;
    let gateway = core.enrolled(7).await;
    soon(async {
        let (channel, (_handle, _)) =
            tokio::join!(gateway.client.connect(), opened(&mut core.server));
        drop(channel.unwrap());
        assert!(matches!(closed(&mut core.server).await, Closed::Left | Closed::Lost(_)));
    })
    .await;
}

#[tokio::test]
async fn a_core_that_dies_is_seen_at_once() {
    let mut core = Core::start().await;
    let gateway = core.enrolled(7).await;
    soon(async {
        let (channel, (_handle, _)) =
            tokio::join!(gateway.client.connect(), opened(&mut core.server));
        let mut channel = channel.unwrap();
        drop(core);
        assert_eq!(channel.from_core.recv().await, None);
        assert!(matches!(channel.ended().await, End::Lost(_)));
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_does_not_read_is_cut_off_and_others_do_not_wait() {
    let settings = ServerSettings { queue: 64, ..ServerSettings::default() };
    let mut core = Core::with(settings).await;
    let (slow, quick) = (core.enrolled(1).await, core.enrolled(2).await);
    soon(async {
        let (slow, (to_slow, _)) = tokio::join!(slow.client.connect(), opened(&mut core.server));
        let (quick, (to_quick, _)) = tokio::join!(quick.client.connect(), opened(&mut core.server));
        let (mut slow, mut quick) = (slow.unwrap(), quick.unwrap());
        // Whatever buffers there are between the two, they fill.
        let mut sent = 0u64;
        while to_slow.send(long()).is_ok() {
            sent += 1;
            to_quick.send(ping(sent)).unwrap();
            assert_eq!(quick.from_core.recv().await, Some(ping(sent)));
            assert!(sent < 100_000, "it is never cut off");
        }
        assert_eq!(core.counters().overrun.load(Ordering::Relaxed), 1);
        assert_eq!(closed(&mut core.server).await, Closed::Overrun);
        // What had arrived can still be read; then it ends.
        let mut read = 0u64;
        while slow.from_core.recv().await.is_some() {
            read += 1;
        }
        assert!(read < sent);
        to_quick.send(ping(0)).unwrap();
        assert_eq!(quick.from_core.recv().await, Some(ping(0)));
    })
    .await;
}

#[tokio::test]
async fn a_gateway_without_a_channel_is_not_kept() {
    let settings =
        ServerSettings { handshake_timeout: Duration::from_millis(100), ..Default::default() };
    let core = Core::with(settings).await;
    soon(async {
        // Not a word of TLS.
        let mut silent = TcpStream::connect(core.address()).await.unwrap();
        assert_eq!(silent.read(&mut [0; 16]).await.unwrap_or(0), 0);
        // TLS and HTTP/2, and no call.
        let mut idle =
            homeward_channel::testing::connect(core.address(), core.authority.pin()).await.unwrap();
        idle.ended().await;
    })
    .await;
}

#[tokio::test]
async fn there_are_as_many_connections_as_there_may_be() {
    let settings = ServerSettings { connections: 1, ..ServerSettings::default() };
    let mut core = Core::with(settings).await;
    let (first, second) = (core.enrolled(1).await, core.token(2));
    soon(async {
        core.idle().await;
        let (channel, (_handle, _)) =
            tokio::join!(first.client.connect(), opened(&mut core.server));
        let channel = channel.unwrap();
        let gateway = Gateway::new(&core);
        assert!(gateway.client.enrol(&second).await.is_err());
        assert_eq!(core.counters().turned_away.load(Ordering::Relaxed), 1);
        drop(channel);
        closed(&mut core.server).await;
        core.idle().await;
        gateway.client.enrol(&second).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_stopping_core_says_goodbye_to_all_and_ends() {
    let mut core = Core::start().await;
    let gateway = core.enrolled(7).await;
    soon(async {
        let (channel, (handle, _)) =
            tokio::join!(gateway.client.connect(), opened(&mut core.server));
        let mut channel = channel.unwrap();
        handle.close(goodbye(GoodbyeReason::Unavailable));
        core.server.stop(Duration::from_secs(10)).await;
        let End::Goodbye { reason, .. } = channel.ended().await else { panic!("no goodbye") };
        assert_eq!(reason, GoodbyeReason::Unavailable);
    })
    .await;
}

/// A line between gateways and a core that can be cut without either end being told.
struct Line {
    address: SocketAddr,
    cut: watch::Sender<bool>,
    _task: JoinSet<()>,
}

impl Line {
    async fn to(core: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, cut) = (listener.local_addr().unwrap(), watch::Sender::new(false));
        let mut task = JoinSet::new();
        let cuts = cut.subscribe();
        task.spawn(async move {
            let mut lines = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut cut = cuts.clone();
                lines.spawn(async move {
                    let mut far = TcpStream::connect(core).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.wait_for(|cut| *cut) => {}
                    }
                    // Both ends stay open, and nothing passes.
                    std::future::pending::<()>().await;
                    drop((near, far));
                });
            }
        });
        Self { address, cut, _task: task }
    }
}

#[tokio::test]
async fn both_ends_notice_a_dead_line_within_the_keepalive_that_is_set() {
    let second = Duration::from_secs(1);
    let settings = ServerSettings {
        keepalive: second,
        keepalive_timeout: second,
        ..ServerSettings::default()
    };
    let mut core = Core::with(settings).await;
    let line = Line::to(core.address()).await;
    let settings = ClientSettings {
        keepalive: second,
        keepalive_timeout: second,
        ..ClientSettings::default()
    };
    let gateway = Gateway::at(&[line.address], settings, core.clock.clone());
    gateway.client.enrol(&core.token(7)).await.unwrap();
    let (channel, (_handle, _)) =
        soon(async { tokio::join!(gateway.client.connect(), opened(&mut core.server)) }).await;
    let mut channel = channel.unwrap();
    line.cut.send_replace(true);
    let (ours, theirs) =
        soon(async { tokio::join!(channel.ended(), closed(&mut core.server)) }).await;
    assert_eq!(ours, End::Silent);
    assert_eq!(theirs, Closed::Lost("it does not answer".to_owned()));
}

#[tokio::test]
async fn a_core_that_is_away_is_passed_over_and_one_that_answers_is_asked_first_from_then_on() {
    let mut core = Core::start().await;
    let away = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let addresses = [away, core.address()];
    let gateway = Gateway::at(&addresses, ClientSettings::default(), core.clock.clone());
    gateway.client.enrol(&core.token(7)).await.unwrap();
    let (channel, _open) =
        soon(async { tokio::join!(gateway.client.connect(), opened(&mut core.server)) }).await;
    assert_eq!(channel.unwrap().core, core.address());

    let nobody = Gateway::at(&[away], ClientSettings::default(), core.clock.clone());
    let error = nobody.client.enrol(&core.token(8)).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    let error = Gateway::at(&[], ClientSettings::default(), core.clock.clone());
    let error = error.client.enrol(&core.token(8)).await.unwrap_err();
    assert!(matches!(error, Error::NoCore), "{error}");
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_channel_and_nothing_else() {
    let settings = ServerSettings { max_message: 1000, ..ServerSettings::default() };
    let mut core = Core::with(settings).await;
    let (big, small) = (core.enrolled(1).await, core.enrolled(2).await);
    soon(async {
        let (big, (_to_big, _)) = tokio::join!(big.client.connect(), opened(&mut core.server));
        let (small, (_to_small, _)) =
            tokio::join!(small.client.connect(), opened(&mut core.server));
        let (big, small) = (big.unwrap(), small.unwrap());
        let software = "x".repeat(2000);
        let hello = pb::Hello { software, ..pb::Hello::default() };
        let body = Some(pb::from_gateway::Body::Hello(hello));
        big.to_core.send(pb::FromGateway { body }).await.unwrap();
        assert!(matches!(closed(&mut core.server).await, Closed::Lost(_)));
        small.to_core.send(pong(1)).await.unwrap();
        assert!(matches!(core.server.event().await, Event::Message { .. }));
    })
    .await;
}
