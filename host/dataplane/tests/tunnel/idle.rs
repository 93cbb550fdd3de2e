//! What tunnels cost that nobody uses.

use std::time::Duration;

use homeward_daemon::clock::process_cpu_time;
use homeward_dataplane::{Event, Key, PeerConfig, PeerId, TunnelId};

use crate::ends::{Pair, session, tunnel};
use crate::space::in_namespace;

const TUNNELS: u64 = 1000;

/// Octets of the process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a Linux");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

#[test]
fn a_thousand_idle_tunnels_cost_next_to_nothing() {
    in_namespace(module_path!(), "a_thousand_idle_tunnels_cost_next_to_nothing", || {
        let pair = Pair::idle();
        let before = resident();
        // Home has a thousand peers, each with WireGuard and a tunnel of its own.
        for number in 0..TUNNELS {
            let mut public_key = [0x40; 32];
            public_key[..8].copy_from_slice(&number.to_le_bytes());
            let peer = PeerId(1000 + i64::try_from(number).unwrap());
            let config = PeerConfig {
                public_key,
                preshared_key: Some(Key::new([3; 32])),
                inner_address: [10, 254, (number >> 8) as u8, number as u8].into(),
                endpoints: vec![],
                access: None,
            };
            pair.home.plane.set_peer(peer, config).unwrap();
            let mut config = tunnel(false, true);
            config.peer = peer;
            config.session = session(false, 1000 + number as u32);
            config.tap = format!("t{number}");
            config.mac = None;
            pair.home.open(TunnelId(1000 + number), config);
        }
        let each = (resident() - before) / TUNNELS as usize;
        assert!(each <= 32 * 1024, "{each} octets of memory for each");

        // What the kernel sends by itself when an interface is new dies away.
        let quiet = |wait: Duration| {
            let before = process_cpu_time();
            let event = pair.home.next_event(wait);
            assert!(!matches!(event, Some(Event::Up { .. })), "{event:?}");
            process_cpu_time() - before
        };
        let limit = Duration::from_millis(2);
        let spans = (0..20).map(|_| quiet(Duration::from_millis(500)));
        assert!(spans.into_iter().any(|used| used < limit), "half a second is never quiet");
    });
}
