//! What is said before the other end is there.

use std::net::UdpSocket;

use homeward_dataplane::{Event, State};

use crate::ends::{DEVICE, HOST, PATIENCE, Pair, until};
use crate::relay::Relay;
use crate::space::{Space, in_namespace};

#[test]
fn the_first_frames_of_both_ends_wait_until_the_other_is_there() {
    let name = "the_first_frames_of_both_ends_wait_until_the_other_is_there";
    in_namespace(module_path!(), name, || {
        for encrypted in [false, true] {
            let (pair, relay) = cut_off(encrypted);
            let [at_home, abroad] = [(&pair.home, 9), (&pair.foreign, 8)].map(|(end, port)| {
                end.space.run(move || UdpSocket::bind(("0.0.0.0", port)).expect("a socket"))
            });
            for (end, to) in [(&pair.foreign, "10.9.0.2:9"), (&pair.home, "10.9.0.1:8")] {
                for number in 0..3u8 {
                    end.space.run(move || say(to, &[number]));
                }
            }
            for end in [&pair.foreign, &pair.home] {
                until("three frames read", || frames_read(&end.space) >= 3);
                assert_eq!((end.status().state, end.status().sent.frames), (State::Ready, 0));
            }
            relay.rule(|_, _| true);
            for socket in [&at_home, &abroad] {
                socket.set_read_timeout(Some(PATIENCE)).expect("a time");
                for number in 0..3u8 {
                    let mut room = [0xff; 8];
                    let len = socket.recv(&mut room).expect("what was said");
                    assert_eq!(room.get(..len), Some(&[number][..]), "in order, and once");
                }
            }
            for end in [&pair.foreign, &pair.home] {
                assert_eq!(end.status().drops.no_path, 0);
            }
        }
    });
}

#[test]
fn nothing_waits_for_an_end_that_does_not_answer() {
    let name = "nothing_waits_for_an_end_that_does_not_answer";
    in_namespace(module_path!(), name, || {
        let (pair, relay) = cut_off(true);
        let at_home = pair.home.space.run(|| UdpSocket::bind("0.0.0.0:9").expect("a socket"));
        pair.foreign.space.run(|| say("10.9.0.2:9", b"early"));
        pair.foreign.wait_for("Unreachable", |event| matches!(event, Event::Unreachable { .. }));
        until("what waited let go", || pair.foreign.status().drops.no_path > 0);
        let before = pair.foreign.status().drops.no_path;
        pair.foreign.space.run(|| say("10.9.0.2:9", b"later"));
        until("what came let go", || pair.foreign.status().drops.no_path > before);
        relay.rule(|_, _| true);
        pair.foreign.wait_for("Up", |event| matches!(event, Event::Up { .. }));
        pair.foreign.space.run(|| say("10.9.0.2:9", b"now"));
        at_home.set_read_timeout(Some(PATIENCE)).expect("a time");
        let mut room = [0; 8];
        let len = at_home.recv(&mut room).expect("what was said");
        assert_eq!(room.get(..len), Some(&b"now"[..]));
    });
}

/// Two ends that hear nothing of each other yet, and need not ask where the other's device is.
fn cut_off(encrypted: bool) -> (Pair, Relay) {
    let (pair, relay) = Pair::relayed_closed(encrypted, |_, relay| relay.rule(|_, _| false));
    pair.foreign.space.ip(&format!("neigh add 10.9.0.2 lladdr {} dev tap", HOST.full()));
    pair.home.space.ip(&format!("neigh add 10.9.0.1 lladdr {} dev tap", DEVICE.full()));
    (pair, relay)
}

fn say(to: &str, what: &[u8]) {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.send_to(what, to).expect("sent");
}

/// How many frames the data plane has read.
fn frames_read(space: &Space) -> u64 {
    let said = space.program("cat /proc/net/dev");
    let line = said.lines().find_map(|line| line.trim().strip_prefix("tap:")).expect("a tap");
    // Eight columns of what was received come first.
    line.split_whitespace().nth(9).and_then(|sent| sent.parse().ok()).expect("a number")
}
