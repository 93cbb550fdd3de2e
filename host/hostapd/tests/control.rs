//! The control client against a scripted peer: what a well-behaved hostapd seldom does.
#![expect(unreachable_pub, dead_code, reason = "the scripted peer serves several tests")]
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod scripted;

use std::path::PathBuf;
use std::time::Duration;

use homeward_hostapd::{BssEvent, Command, Control, ControlError, Event, InterfaceName};
use scripted::Place;

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(20);

fn vap() -> InterfaceName {
    "vap0".parse().unwrap()
}

fn status() -> Command {
    Command::on(&vap(), "STATUS", "")
}

#[tokio::test]
async fn a_command_gets_its_reply_and_not_an_event() {
    let place = Place::new();
    let peer = place.peer();
    let control = Control::global(&place.socket(), &place.run_dir()).unwrap();
    let (request, command) = (status(), "IFNAME=vap0 STATUS");
    let (reply, ()) = tokio::join!(control.request(&request, LONG), async {
        let (heard, from) = peer.hear().await;
        assert_eq!(heard, command);
        peer.say(&from, "IFNAME=vap0 <3>AP-STA-CONNECTED 02:00:00:00:02:00").await;
        peer.say(&from, "<3>AP-ENABLED ").await;
        peer.say(&from, "state=ENABLED\nphy=phy0\n").await;
    });
    assert_eq!(reply.unwrap(), "state=ENABLED\nphy=phy0");
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let place = Place::new();
    let peer = place.peer();
    let control = Control::global(&place.socket(), &place.run_dir()).unwrap();
    for (reply, expected) in [
        ("FAIL\n", "STATUS was refused (FAIL): see the daemon's log"),
        ("FAIL-BUSY\n", "STATUS was refused (FAIL-BUSY): see the daemon's log"),
        ("UNKNOWN COMMAND\n", "STATUS was refused (UNKNOWN): see the daemon's log"),
        ("FAIL-NO-IFNAME-MATCH\n", "there is no BSS on vap0"),
        ("HUH\n", "STATUS was refused (HUH): see the daemon's log"),
    ] {
        let request = status();
        let (result, _) =
            tokio::join!(control.command(&request, LONG), peer.answer("IFNAME=vap0 STATUS", reply));
        assert_eq!(result.unwrap_err().to_string(), expected);
    }
}

#[tokio::test]
async fn a_late_reply_is_not_taken_for_the_next_one() {
    let place = Place::new();
    let peer = place.peer();
    let control = Control::global(&place.socket(), &place.run_dir()).unwrap();
    let slow = control.request(&Command::new("SLOW", ""), SHORT).await;
    assert!(matches!(slow, Err(ControlError::Timeout { verb: "SLOW", .. })), "{slow:?}");
    let (_, late) = peer.hear().await;
    let request = Command::new("NEXT", "");
    let (reply, ()) = tokio::join!(control.request(&request, LONG), async {
        let (_, from) = peer.hear().await;
        assert_ne!(from, late);
        assert!(!late.exists(), "the socket of the late reply is gone");
        peer.say(&from, "next\n").await;
    });
    assert_eq!(reply.unwrap(), "next");
}

#[tokio::test]
async fn a_cancelled_command_leaves_no_reply_behind() {
    let place = Place::new();
    let peer = place.peer();
    let control = Control::global(&place.socket(), &place.run_dir()).unwrap();
    let first = Command::new("FIRST", "");
    let from = tokio::select! {
        _ = control.request(&first, LONG) => panic!("answered by nobody"),
        (_, from) = peer.hear() => from,
    };
    assert!(!from.exists());
    let second = Command::new("SECOND", "");
    let (reply, _) =
        tokio::join!(control.request(&second, LONG), peer.answer("SECOND", "second\n"));
    assert_eq!(reply.unwrap(), "second");
}

#[tokio::test]
async fn commands_go_one_at_a_time() {
    let place = Place::new();
    let peer = place.peer();
    let control = Control::global(&place.socket(), &place.run_dir()).unwrap();
    let (one, two) = (Command::new("ONE", ""), Command::new("TWO", ""));
    let (a, b, ()) =
        tokio::join!(control.request(&one, LONG), control.request(&two, LONG), async {
            let (heard, from) = peer.hear().await;
            assert_eq!(heard, "ONE");
            // Had the second been sent, it would be here already: both callers have run.
            assert!(tokio::time::timeout(SHORT, peer.hear()).await.is_err());
            peer.say(&from, "1").await;
            peer.answer("TWO", "2").await;
        });
    assert_eq!((a.unwrap().as_str(), b.unwrap().as_str()), ("1", "2"));
}

#[tokio::test]
async fn a_missing_socket_and_a_dead_one_are_told_apart() {
    let place = Place::new();
    let control = Control::global(&place.socket(), &place.run_dir()).unwrap();
    let missing = control.ping(LONG).await.unwrap_err();
    assert!(matches!(missing, ControlError::NotRunning { .. }), "{missing:?}");
    assert!(missing.is_gone() && missing.to_string().contains("started with -g"));
    drop(place.peer());
    let dead = control.ping(LONG).await.unwrap_err();
    assert!(matches!(dead, ControlError::Gone { .. }) && dead.is_gone(), "{dead:?}");
}

#[tokio::test]
async fn a_restarted_peer_is_reported_once_and_then_used() {
    let place = Place::new();
    let peer = place.peer();
    let control = Control::global(&place.socket(), &place.run_dir()).unwrap();
    let (first, _) = tokio::join!(control.ping(LONG), peer.answer("PING", "PONG\n"));
    first.unwrap();
    drop(peer);
    let peer = place.peer();
    assert!(matches!(control.ping(LONG).await, Err(ControlError::Gone { .. })));
    let (again, _) = tokio::join!(control.ping(LONG), peer.answer("PING", "PONG\n"));
    again.unwrap();
}

#[tokio::test]
async fn a_peer_restarted_while_no_socket_was_open_is_reported_too() {
    let place = Place::new();
    let peer = place.peer();
    let control = Control::global(&place.socket(), &place.run_dir()).unwrap();
    assert!(matches!(control.ping(SHORT).await, Err(ControlError::Timeout { .. })));
    drop(peer);
    let peer = place.peer();
    assert!(matches!(control.ping(LONG).await, Err(ControlError::Gone { .. })));
    let (again, _) = tokio::join!(control.ping(LONG), peer.answer("PING", "PONG\n"));
    again.unwrap();
}

#[tokio::test]
async fn no_error_repeats_a_secret_or_a_device() {
    let place = Place::new();
    let peer = place.peer();
    let control = Control::global(&place.socket(), &place.run_dir()).unwrap();
    let secret = "correct horse|mac=02:00:00:00:02:00";
    let command = Command::on(&vap(), "SET sae_password", secret);
    let line = format!("IFNAME=vap0 SET sae_password {secret}");
    let (refused, _) = tokio::join!(control.command(&command, LONG), peer.answer(&line, "FAIL\n"));
    let late = control.command(&command, SHORT).await;
    let long = Command::new("SET sae_password", &secret.repeat(9));
    let long = control.command(&long, LONG).await;
    drop(peer);
    let gone = control.command(&command, LONG).await;
    for error in [refused, late, long, gone].map(Result::unwrap_err) {
        let shown = format!("{error} {error:?} {command:?}");
        assert!(!shown.contains("horse") && !shown.contains("02:00"), "{shown}");
    }
}

#[tokio::test]
async fn what_the_peer_would_cut_or_misread_is_not_sent() {
    let place = Place::new();
    let _peer = place.peer();
    let control = Control::global(&place.socket(), &place.run_dir()).unwrap();
    for arguments in ["x".repeat(252), "a\nb".to_owned(), "a\0b".to_owned()] {
        let result = control.command(&Command::new("ADD", &arguments), LONG).await;
        assert!(matches!(result, Err(ControlError::Unsendable { limit: 255, .. })), "{result:?}");
    }
}

#[tokio::test]
async fn own_sockets_go_with_their_owner_and_those_of_dead_processes_at_the_next_start() {
    let place = Place::new();
    let peer = place.peer();
    let control = Control::global(&place.socket(), &place.run_dir()).unwrap();
    // No process has this id: the kernel's ids end at 2^22.
    let stale = place.run_dir().join("ctl.4194999.7");
    let alive = place.run_dir().join("ctl.1.7");
    for path in [&stale, &alive] {
        std::fs::write(path, "").unwrap();
    }
    let (pong, _) = tokio::join!(control.ping(LONG), peer.answer("PING", "PONG\n"));
    pong.unwrap();
    assert_eq!(place.left().len(), 3);
    let other = Control::global(&place.socket(), &place.run_dir()).unwrap();
    assert!(!stale.exists() && alive.exists());
    drop((control, other));
    assert_eq!(place.left(), ["ctl.1.7"]);
}

#[tokio::test]
async fn events_are_typed_and_the_listener_stays_on_the_list() {
    let place = Place::new();
    let peer = place.peer();
    let control = Control::global(&place.socket(), &place.run_dir()).unwrap();
    let (events, from) =
        tokio::join!(control.events::<BssEvent>(LONG), peer.answer("ATTACH", "OK\n"));
    let mut events = events.unwrap();
    peer.say(&from, "IFNAME=vap0 <3>AP-STA-DISCONNECTED 02:00:00:00:02:00").await;
    let mac = "02:00:00:00:02:00".parse().unwrap();
    let event = events.next().await.unwrap();
    assert_eq!((event.interface, event.event), (Some(vap()), Event::StationDisconnected { mac }));

    // An event while a check is under way is no answer to it, and is not lost.
    let (check, ()) = tokio::join!(events.check(LONG), async {
        let (_, from) = peer.hear().await;
        peer.say(&from, "<3>AP-DISABLED ").await;
        peer.say(&from, "OK\n").await;
    });
    check.unwrap();
    assert_eq!(events.next().await.unwrap().event, Event::ApDisabled);

    drop(events);
    assert_eq!(peer.hear().await.0, "DETACH");
}

#[tokio::test]
async fn a_listener_notices_that_the_peer_has_ended() {
    let place = Place::new();
    let peer = place.peer();
    let control = Control::global(&place.socket(), &place.run_dir()).unwrap();
    let (events, _) = tokio::join!(control.events::<BssEvent>(LONG), peer.answer("ATTACH", "OK\n"));
    let mut events = events.unwrap();
    assert!(matches!(events.check(SHORT).await, Err(ControlError::Timeout { .. })));
    drop(peer);
    assert!(events.check(LONG).await.unwrap_err().is_gone());
    // And goes on noticing it.
    assert!(events.check(LONG).await.unwrap_err().is_gone());
}

#[tokio::test]
async fn events_that_nobody_takes_are_counted_and_do_not_block_the_peer() {
    let place = Place::new();
    let peer = place.peer();
    let control = Control::global(&place.socket(), &place.run_dir()).unwrap();
    let (events, from) =
        tokio::join!(control.events::<BssEvent>(LONG), peer.answer("ATTACH", "OK\n"));
    let mut events = events.unwrap();
    for _ in 0..4100 {
        peer.say(&from, "<3>AP-ENABLED ").await;
    }
    let (check, _): (_, PathBuf) = tokio::join!(events.check(LONG), peer.answer("ATTACH", "OK\n"));
    check.unwrap();
    assert_eq!(events.lost(), 4);
    assert_eq!(events.next().await.unwrap().event, Event::ApEnabled);
}
