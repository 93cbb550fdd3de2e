//! The UDP client, on loopback.
#![expect(clippy::unwrap_used, reason = "helpers of a test may fail it")]

use std::future::Future;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use homeward_transport::{Endpoint, Event, MAX_DATAGRAM, UdpClient};

/// Longer than anything here takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it takes too long")
}

/// A socket to play the server with.
fn server() -> (tokio::net::UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    (tokio::net::UdpSocket::from_std(socket).unwrap(), address)
}

async fn receive(server: &tokio::net::UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut room = [0; 8192];
    let (length, from) = soon(server.recv_from(&mut room)).await.unwrap();
    (room[..length].to_vec(), from)
}

async fn datagram(client: &mut UdpClient) -> (usize, usize, Vec<u8>) {
    match soon(client.event()).await {
        Event::Datagram { server, socket, bytes } => (server, socket, bytes),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_tells_server_and_socket() {
    let (first, at_first) = server();
    let (second, at_second) = server();
    let mut client = UdpClient::new([at_first.into(), at_second.into()]);
    for (server, socket) in [(0, 0), (0, 3), (1, 0)] {
        client.send(server, socket, &[server as u8, socket as u8]);
    }
    for server in [&first, &first, &second] {
        let (bytes, from) = receive(server).await;
        server.send_to(&bytes, from).await.unwrap();
    }
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(datagram(&mut client).await);
    }
    answers.sort();
    assert_eq!(answers, [(0, 0, vec![0, 0]), (0, 3, vec![0, 3]), (1, 0, vec![1, 0])]);
}

#[tokio::test]
async fn a_socket_keeps_its_port_and_each_has_its_own() {
    let (server, address) = server();
    let mut client = UdpClient::new([address.into()]);
    let mut ports = Vec::new();
    for socket in [0, 1, 0] {
        client.send(0, socket, b"x");
        ports.push(receive(&server).await.1.port());
    }
    assert_eq!(ports[0], ports[2]);
    assert_ne!(ports[0], ports[1]);
}

#[tokio::test]
async fn what_others_send_is_not_received() {
    let (server, address) = server();
    let mut client = UdpClient::new([address.into()]);
    client.send(0, 0, b"x");
    let (_, from) = receive(&server).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(b"forged", from).unwrap();
    server.send_to(&[7; MAX_DATAGRAM + 1], from).await.unwrap();
    server.send_to(b"true", from).await.unwrap();
    assert_eq!(datagram(&mut client).await, (0, 0, b"true".to_vec()));
}

#[tokio::test]
async fn a_server_that_is_down_is_an_event_and_one_that_returns_is_heard() {
    let (first, address) = server();
    drop(first);
    let mut client = UdpClient::new([address.into()]);
    client.send(0, 0, b"anybody there?");
    match soon(client.event()).await {
        Event::Unreachable { server: 0, socket: 0, error } => {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        }
        other => panic!("{other:?}"),
    }
    let returned = tokio::net::UdpSocket::bind(address).await.unwrap();
    client.send(0, 0, b"and now?");
    let (bytes, from) = receive(&returned).await;
    assert_eq!(bytes, b"and now?");
    returned.send_to(b"yes", from).await.unwrap();
    assert_eq!(datagram(&mut client).await, (0, 0, b"yes".to_vec()));
}

#[tokio::test]
async fn an_error_of_an_earlier_datagram_does_not_swallow_the_next() {
    let (first, address) = server();
    drop(first);
    let mut client = UdpClient::new([address.into()]);
    // Without an await between, only sending can come across the error.
    client.send(0, 0, b"lost");
    let returned = UdpSocket::bind(address).unwrap();
    returned.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send(0, 0, b"kept");
    let mut room = [0; 16];
    let length = returned.recv(&mut room).unwrap();
    assert_eq!(&room[..length], b"kept");
}

#[tokio::test]
async fn a_name_is_looked_up_and_stays_with_its_address() {
    let (server, address) = server();
    let endpoint: Endpoint = format!("localhost:{}", address.port()).parse().unwrap();
    let mut client = UdpClient::with_refresh([endpoint], Duration::from_millis(1));
    client.send(0, 0, b"too early");
    match soon(client.event()).await {
        Event::Unreachable { server: 0, error, .. } => {
            assert_eq!(error.to_string(), "its name is not looked up yet");
        }
        other => panic!("{other:?}"),
    }
    match soon(client.event()).await {
        Event::Moved { server: 0, address } => assert!(address.ip().is_loopback()),
        other => panic!("{other:?}"),
    }
    // Where localhost is ::1 first, the rest is for a machine without.
    if client.address(0) == Some(address) {
        client.send(0, 0, b"x");
        let (_, from) = receive(&server).await;
        client.refresh(0);
        server.send_to(b"y", from).await.unwrap();
        assert_eq!(datagram(&mut client).await, (0, 0, b"y".to_vec()));
    }
}

#[tokio::test]
async fn a_name_that_is_not_found_is_an_event() {
    // RFC 6761 6.4: no resolver may know it. Without a network it is not found either.
    let endpoint: Endpoint = "radius.invalid:1812".parse().unwrap();
    let mut client = UdpClient::new([endpoint]);
    let event = tokio::time::timeout(Duration::from_secs(30), client.event()).await.unwrap();
    assert!(matches!(event, Event::NotFound { server: 0, .. }), "{event:?}");
    assert_eq!(client.address(0), None);
}

#[test]
fn an_endpoint_is_host_and_port() {
    for good in ["192.0.2.1:1812", "[2001:db8::1]:1812", "radius.example.net:1812", "core:1812"] {
        assert_eq!(good.parse::<Endpoint>().unwrap().to_string(), good);
    }
    for bad in [
        "",
        "core",
        "core:",
        "core:0",
        "core:99999",
        ":1812",
        "192.0.2:1812",
        "2001:db8::1:1812",
        "two words:1812",
        "a..b:1812",
    ] {
        assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
    }
}
