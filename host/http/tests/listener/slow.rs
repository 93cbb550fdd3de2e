//! A thousand clients that are as slow as they can be, and others beside them.

use std::time::Duration;

use homeward_daemon::SystemClock;
use homeward_http::Limits;
use homeward_model::Clock;
use tokio::io::AsyncWriteExt;

use crate::world::{World, closed, soon, wide};

const SLOW: usize = 1000;

/// Opens a thousand connections that never become requests, a third each at TLS, at the head and
/// at the body, from as many addresses as they like.
async fn slow_ones(world: &World, addresses: usize) -> Vec<Box<dyn Send>> {
    let mut held: Vec<Box<dyn Send>> = Vec::new();
    let trust = world.trust();
    for n in 0..SLOW {
        let from = format!("127.1.{}.{}", (n % addresses) / 250, (n % addresses) % 250 + 1);
        let mut stream = world.tcp_from(&from).await;
        match n % 3 {
            0 => {
                stream.write_all(b"\x16\x03\x01\x02").await.unwrap();
                held.push(Box::new(stream));
            }
            // Those that are shed meanwhile are cut off wherever they are.
            stage => {
                let Ok(mut client) = world.tls_trusting(&trust, stream).await else { continue };
                let octets: &[u8] = match stage {
                    1 => b"POST / HTTP/1.1\r\nHost: ",
                    _ => b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{",
                };
                let _ = client.write_all(octets).await;
                held.push(Box::new(client));
            }
        }
    }
    held
}

/// Waits until so many are open: the last may still wait to be accepted, or to be gone.
async fn open(world: &World, count: u64) {
    let reached = async {
        while world.figures.status()["open"].as_u64() != Some(count) {
            tokio::task::yield_now().await;
        }
    };
    soon(reached).await;
}

/// Visits from an address of its own, one after the other; the longest but one of a hundred.
async fn p99(world: &World, visits: usize) -> Duration {
    let mut taken = Vec::new();
    for _ in 0..visits {
        let began = SystemClock.now();
        assert_eq!(world.visit("127.0.0.7").await, "127.0.0.7 0 by internet");
        taken.push(SystemClock.now().since(began));
    }
    taken.sort_unstable();
    taken[visits * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_answered_beside_a_thousand_slow_clients_that_have_room() {
    let world = World::start(wide(), &[]).await;
    let held = slow_ones(&world, 900).await;
    open(&world, SLOW as u64).await;
    let p99 = p99(&world, 200).await;
    assert!(p99 < Duration::from_millis(500), "{p99:?}");
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_answered_beside_a_thousand_slow_clients_that_fill_the_room() {
    let limits = Limits { connections: 300, ..wide() };
    let world = World::start(limits, &[]).await;
    let held = slow_ones(&world, 900).await;
    open(&world, 300).await;
    let p99 = p99(&world, 200).await;
    assert!(p99 < Duration::from_millis(500), "{p99:?}");
    assert_eq!(world.figures.status()["turned_away"], 0);
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_too_many_connections_keeps_nobody_out_but_itself() {
    let limits = Limits { connections: 100, connections_per_client: 4, ..wide() };
    let world = World::start(limits, &[]).await;
    let mut other = world.tcp_from("127.0.0.8").await;
    let held = slow_ones(&world, 1).await;
    assert_eq!(world.visit("127.0.0.7").await, "127.0.0.7 0 by internet");
    assert!(world.figures.status()["open"].as_i64().unwrap() <= 6);
    assert_eq!(world.visit("127.1.0.1").await, "127.1.0.1 0 by internet", "itself, with a new one");
    world.shutdown.trigger();
    assert_eq!(closed(&mut other).await, "", "it had its place until the end");
    drop(held);
}
