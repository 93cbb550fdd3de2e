//! Whom a connection is from: proxies are believed, and nobody else.

use tokio::io::AsyncWriteExt;

use crate::world::{World, ask, closed, wide};

/// A header that names 10.1.0.7 as the source.
fn header() -> Vec<u8> {
    let addresses = [10, 1, 0, 7, 10, 0, 0, 1, 0xc0, 0, 1, 0xbb];
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &addresses].concat()
}

#[tokio::test]
async fn a_proxy_says_whom_a_connection_is_from() {
    let world = World::start(wide(), &["127.0.1.0/24"]).await;
    let mut stream = world.tcp_from("127.0.1.5").await;
    stream.write_all(&header()).await.unwrap();
    let mut client = world.tls(stream).await.unwrap();
    assert_eq!(ask(&mut client, "/", "").await, "10.1.0.7 0 by internet");
    // LOCAL: a proxy that looks whether we are there is itself.
    let mut stream = world.tcp_from("127.0.1.5").await;
    stream.write_all(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").await.unwrap();
    let mut client = world.tls(stream).await.unwrap();
    assert_eq!(ask(&mut client, "/", "").await, "127.0.1.5 0 by internet");
}

#[tokio::test]
async fn a_proxy_that_names_nobody_is_not_served() {
    let world = World::start(wide(), &["127.0.1.0/24"]).await;
    assert!(world.tls(world.tcp_from("127.0.1.5").await).await.is_err());
    let mut stream = world.tcp_from("127.0.1.5").await;
    stream.write_all(b"PROXY TCP4 10.1.0.7 10.0.0.1 1 2\r\n").await.unwrap();
    assert_eq!(closed(&mut stream).await, "");
    assert_eq!(world.figures.status()["proxies_not_believed"], 2);
}

#[tokio::test]
async fn a_header_of_somebody_who_is_no_proxy_is_not_believed() {
    let world = World::start(wide(), &["127.0.1.0/24"]).await;
    let mut stream = world.tcp_from("127.0.2.5").await;
    stream.write_all(&header()).await.unwrap();
    assert!(world.tls(stream).await.is_err());
    assert_eq!(world.figures.status()["handshakes_failed"], 1);
    assert_eq!(world.figures.status()["requests"], 0);
    assert_eq!(world.visit("127.0.2.5").await, "127.0.2.5 0 by internet");
}

#[tokio::test]
async fn a_listener_in_the_clear_believes_the_same_proxies() {
    let world = World::start_by(false, wide(), &["127.0.1.0/24"]).await;
    let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".as_slice();
    for (from, head, said) in [
        ("127.0.1.5", header(), "10.1.0.7 0 by internet"),
        ("127.0.2.5", Vec::new(), "127.0.2.5 0 by internet"),
    ] {
        let mut stream = world.tcp_from(from).await;
        stream.write_all(&[&head, request].concat()).await.unwrap();
        let answer = closed(&mut stream).await;
        assert!(answer.ends_with(said), "{answer}");
    }
    let mut stream = world.tcp_from("127.0.1.5").await;
    stream.write_all(request).await.unwrap();
    assert_eq!(closed(&mut stream).await, "");
    assert_eq!(world.figures.status()["proxies_not_believed"], 1);
}
