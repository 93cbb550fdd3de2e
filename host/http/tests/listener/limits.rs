//! What a client may do, and for how long.

use std::time::Duration;

use homeward_http::{Limits, Stage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{World, answer, ask, closed, make_certificate, soon, wide};

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_client_is_answered_as_often_as_it_asks() {
    let world = World::start(wide(), &[]).await;
    let mut client = world.client_from("127.0.0.7").await;
    assert_eq!(ask(&mut client, "/", "abc").await, "127.0.0.7 3 by internet");
    assert_eq!(ask(&mut client, "/", "").await, "127.0.0.7 0 by internet");
    assert_eq!(world.figures.status()["requests"], 2);
    drop(client);
    world.shutdown.trigger();
    soon(world.serving).await.unwrap();
    assert_eq!(world.figures.status()["open"], 0);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_however_it_comes() {
    let world = World::start(Limits { body_octets: 1000, ..wide() }, &[]).await;
    let mut client = world.client_from("127.0.0.7").await;
    let just = "x".repeat(1000);
    assert_eq!(ask(&mut client, "/", &just).await, "127.0.0.7 1000 by internet");
    let said = ask(&mut client, "/", &format!("{just}x")).await;
    assert!(said.starts_with("HTTP/1.1 413 "), "{said}");
    assert_eq!(closed(&mut client).await, "");
    let mut client = world.client_from("127.0.0.7").await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{just}x\r\n0\r\n\r\n", 1001);
    client.write_all(chunk.as_bytes()).await.unwrap();
    let said = answer(&mut client).await;
    assert!(said.starts_with("HTTP/1.1 413 "), "{said}");
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let world = World::start(wide(), &[]).await;
    let mut client = world.client_from("127.0.0.7").await;
    let field = "x".repeat(20_000);
    let text = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {field}\r\n\r\n");
    // It may be cut off before it has sent all of it.
    let _ = client.write_all(text.as_bytes()).await;
    let said = closed(&mut client).await;
    assert!(said.starts_with("HTTP/1.1 431 ") || said.is_empty(), "{said}");
    assert_eq!(world.visit("127.0.0.7").await, "127.0.0.7 0 by internet");
}

/// Connects, does that, and waits to be cut off; what was timed out then.
async fn cut_off(limits: Limits, stage: Stage, octets: &[u8]) {
    let world = World::start(limits, &[]).await;
    if stage == Stage::Handshake {
        let mut stream = world.tcp_from("127.0.0.7").await;
        stream.write_all(octets).await.unwrap();
        assert_eq!(closed(&mut stream).await, "");
    } else {
        let mut client = world.client_from("127.0.0.7").await;
        client.write_all(octets).await.unwrap();
        assert_eq!(closed(&mut client).await, "", "{stage:?}");
    }
    assert_eq!(world.figures.timed_out_at(stage), 1, "{stage:?}");
}

#[tokio::test]
async fn a_client_is_cut_off_that_is_slow_at_anything() {
    cut_off(Limits { handshake: SHORT, ..wide() }, Stage::Handshake, b"\x16\x03\x01").await;
    cut_off(Limits { idle: SHORT, ..wide() }, Stage::Idle, b"").await;
    cut_off(Limits { head: SHORT, ..wide() }, Stage::Head, b"POST / HTTP/1.1\r\nHost").await;
    let begun = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nxxx";
    cut_off(Limits { body: SHORT, ..wide() }, Stage::Body, begun).await;
}

#[tokio::test]
async fn a_client_that_asks_again_has_the_time_of_a_first_request() {
    let limits = Limits { head: SHORT, idle: Duration::from_secs(60), ..wide() };
    let world = World::start(limits, &[]).await;
    let mut client = world.client_from("127.0.0.7").await;
    ask(&mut client, "/", "abc").await;
    client.write_all(b"POST / HTT").await.unwrap();
    assert_eq!(closed(&mut client).await, "");
    assert_eq!(world.figures.timed_out_at(Stage::Head), 1);
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_cut_off() {
    let world = World::start(Limits { write: SHORT, ..wide() }, &[]).await;
    let mut client = world.client_from("127.0.0.7").await;
    client.write_all(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    client.read_u8().await.unwrap();
    let cut_off = async {
        while world.figures.timed_out_at(Stage::Writing) == 0 {
            tokio::task::yield_now().await;
        }
    };
    soon(cut_off).await;
    assert!(closed(&mut client).await.len() < 32 << 20);
}

#[tokio::test]
async fn a_stop_waits_for_those_who_are_being_answered_and_for_nobody_else() {
    let world = World::start(wide(), &[]).await;
    let mut idle = world.client_from("127.0.0.7").await;
    let mut silent = world.tcp_from("127.0.0.8").await;
    let mut asking = world.client_from("127.0.0.9").await;
    asking.write_all(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    soon(world.echo.waiting.acquire()).await.unwrap().forget();
    world.shutdown.trigger();
    assert_eq!(closed(&mut idle).await, "");
    assert_eq!(closed(&mut silent).await, "");
    world.echo.gate.add_permits(1);
    assert_eq!(answer(&mut asking).await, "127.0.0.9 0 by internet");
    assert_eq!(closed(&mut asking).await, "");
    soon(world.serving).await.unwrap();
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_newcomers_and_those_who_are_there_stay() {
    let world = World::start(wide(), &[]).await;
    let shown =
        |client: &crate::world::Client| client.get_ref().1.peer_certificates().unwrap()[0].clone();
    let mut old = world.client_from("127.0.0.7").await;
    make_certificate(&world.files());
    world.certificates.reload(&world.files()).unwrap();
    let new = world.client_from("127.0.0.7").await;
    assert_ne!(shown(&old), shown(&new));
    assert_eq!(ask(&mut old, "/", "").await, "127.0.0.7 0 by internet");
    // A file that is no certificate changes nothing.
    std::fs::write(world.files().certificate, "nonsense").unwrap();
    let error = world.certificates.reload(&world.files()).unwrap_err();
    assert!(format!("{error:#}").contains("portal.pem"), "{error:#}");
    make_certificate(&world.files());
    assert!(world.tls(world.tcp_from("127.0.0.7").await).await.is_err(), "it shows what it had");
}

#[tokio::test]
async fn an_acme_server_that_was_not_asked_is_told_nothing() {
    let world = World::start(wide(), &[]).await;
    let asks = async |protocols: &[&str]| {
        let stream = world.tcp_from("127.0.0.7").await;
        world.tls_trusting(&world.trust_and_offer(protocols), stream).await
    };
    assert!(asks(&["acme-tls/1"]).await.is_err());
    assert!(asks(&["http/1.1"]).await.is_ok());
}
