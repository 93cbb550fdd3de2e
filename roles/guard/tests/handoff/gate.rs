//! A service that asks nobody: the kernel lets in what is admitted, and nothing else.
//!
//! ```text
//!   phone 10.45.0.2 ──┐ a cable                    the machine of the service, 192.0.2.10:
//!         10.45.0.3   ├──────────────────────────── UDP at port 7000, the guard and its gate,
//!                     ┘ a datagram every 10 ms      and the networks' modules on its loopback
//! ```

use std::net::Ipv4Addr;
use std::time::Duration;

use homeward_daemon::Period;
use homeward_guard::config::GateConfig;
use homeward_keychain::Flow as Admitted;
use homeward_model::Instant;
use homeward_net::flow::Flow;
use homeward_net::namespace::Namespace;
use homeward_net::wait::now;

use crate::world::{World, comes_to};

/// Nobody looks whether the rules are there: they are from the start.
const SELDOM: Duration = Duration::from_secs(3600);
const SERVICE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

struct Place {
    phone: Namespace,
    machine: Namespace,
    world: World,
    /// What the phone sends.
    rtp: Flow,
}

fn phone() -> Admitted {
    "udp 10.45.0.2".parse().unwrap()
}

/// Plays a scene, all of which is on the service's machine but the phone.
fn play(check: Duration, scene: impl AsyncFnOnce(Place) + Send) {
    let machine = Namespace::create("machine").unwrap();
    let phone = Namespace::create("phone").unwrap();
    phone.join("line", &machine, "line").unwrap();
    phone
        .ip("addr add 10.45.0.2/24 dev line\nroute add 192.0.2.10 dev line src 10.45.0.2")
        .unwrap();
    machine.ip("addr add 192.0.2.10/32 dev line\nroute add 10.45.0.0/24 dev line").unwrap();
    let inside = machine.clone();
    let played = inside.enter(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let world = World::with(3, |_| {}, |guard| closed(guard, check)).await;
            let rtp = Flow::start(&phone, &machine, SERVICE, 7000)?;
            scene(Place { phone, machine, world, rtp }).await;
            Ok(())
        })
    });
    played.unwrap();
}

fn closed(config: &mut homeward_guard::Config, check: Duration) {
    config.gate = Some(GateConfig {
        services: vec!["udp 192.0.2.10:7000-7001".parse().unwrap()],
        check: Period(check),
        ..GateConfig::default()
    });
    // The device comes to the guard by the loopback.
    config.policy.own_address = false;
}

impl Place {
    /// Waits until some more datagrams were sent.
    async fn sends(&self) -> Instant {
        let before = self.rtp.sent();
        comes_to(async || self.rtp.sent() >= before + 5).await;
        now()
    }

    async fn passes_soon(&self) {
        comes_to(async || {
            let since = now();
            let until = self.sends().await;
            self.rtp.outage(since, until).arrived > 0
        })
        .await;
    }

    async fn is_shut_soon(&self) {
        comes_to(async || {
            let since = now();
            let until = self.sends().await;
            self.rtp.outage(since, until).arrived == 0
        })
        .await;
    }
}

#[test]
fn a_stream_goes_on_from_network_to_network_and_is_cut_off_when_one_of_them_is_revoked() {
    play(SELDOM, async |mut place| {
        place.is_shut_soon().await;
        place.world.hop(0).await.unwrap();
        place.is_shut_soon().await;
        place.world.open(&phone()).await.unwrap();
        place.passes_soon().await;
        let since = now();
        for n in [1, 0, 2, 1] {
            place.world.hop(n).await.unwrap();
            place.sends().await;
            place.world.open(&phone()).await.unwrap();
            place.sends().await;
        }
        let moved = place.rtp.outage(since, now());
        assert!(moved.lost == 0 && moved.arrived > 20, "{moved:?}");
        place.world.revoke(2);
        place.is_shut_soon().await;
        assert!(!place.world.passes(&phone()).await);
        // What has ended stays so, whoever is trusted again.
        let mut config = place.world.stop_guard().await;
        config.handoff.peers.iter_mut().for_each(|peer| peer.revoked = false);
        place.world.start_guard(config).await;
        assert!(!place.world.passes(&phone()).await);
    });
}

#[test]
fn a_guard_that_is_away_lets_nobody_in_and_one_that_is_back_ends_no_call_but_of_who_was_revoked() {
    play(SELDOM, async |mut place| {
        place.world.hop(0).await.unwrap();
        place.world.hop(1).await.unwrap();
        place.world.open(&phone()).await.unwrap();
        place.passes_soon().await;
        let since = now();
        let config = place.world.stop_guard().await;
        place.sends().await;
        place.world.start_guard(config).await;
        place.sends().await;
        let away = place.rtp.outage(since, now());
        assert!(away.lost == 0 && away.arrived > 5, "{away:?}");
        assert!(place.world.passes(&phone()).await, "without another proof");
        let mut config = place.world.stop_guard().await;
        place
            .phone
            .ip("addr add 10.45.0.3/24 dev line\nroute replace 192.0.2.10 dev line src 10.45.0.3")
            .unwrap();
        place.is_shut_soon().await;
        place.phone.ip("route replace 192.0.2.10 dev line src 10.45.0.2").unwrap();
        place.passes_soon().await;
        let of_n0 = config.handoff.peers.iter_mut().find(|peer| peer.name.as_str() == "n0.example");
        of_n0.unwrap().revoked = true;
        place.world.start_guard(config).await;
        place.is_shut_soon().await;
    });
}

#[test]
fn a_gate_that_somebody_flushes_is_put_up_anew_with_who_was_let_through() {
    play(Duration::from_millis(100), async |mut place| {
        place.world.hop(0).await.unwrap();
        place.world.open(&phone()).await.unwrap();
        place.passes_soon().await;
        let stands = || {
            let listed = place.machine.run_tool("nft", &["list", "ruleset"]).unwrap();
            listed.contains("udp . 10.45.0.2") && listed.contains("7000-7001")
        };
        place.machine.run_tool("nft", &["flush", "ruleset"]).unwrap();
        comes_to(async || stands()).await;
        place.passes_soon().await;
        // And what is to change meanwhile does.
        place.machine.run_tool("nft", &["delete", "table", "inet", "homeward_guard"]).unwrap();
        place.world.open(&"udp 10.45.0.9:7".parse().unwrap()).await.unwrap();
        assert!(stands());
        // What else is closed is a reload away.
        let (_, running) = place.world.guard.as_mut().unwrap();
        let gate = running.config.gate.as_mut().unwrap();
        gate.services = vec!["udp 192.0.2.10:7001".parse().unwrap()];
        running.reloads.reload(&running.config);
        place
            .phone
            .ip("addr add 10.45.0.3/24 dev line\nroute replace 192.0.2.10 dev line src 10.45.0.3")
            .unwrap();
        place.passes_soon().await;
        let request = homeward_daemon::Request::new("status");
        let status = place.world.command(&crate::world::server(), request).await;
        assert_eq!(status["closed"][0], "udp 192.0.2.10:7001", "{status}");
    });
}
