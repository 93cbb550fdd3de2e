//! How sessions begin, last and end.

use std::time::Duration;

use homeward_daemon::SystemClock;
use homeward_model::{Clock, Secret};
use rusmpp::{CommandId, CommandStatus};
use tokio::io::AsyncWriteExt as _;

use crate::world::{Link, deliver, world};

#[tokio::test]
async fn who_is_refused_tries_again_and_it_is_counted() {
    let world = world(|_| {}).await;
    world.accept(CommandStatus::EsmeRinvpaswd).await;
    let _link = world.bound().await;
    world.counted("sessions_total{outcome=\"refused\"} 1");
}

#[tokio::test]
async fn a_refusal_without_a_body_is_one_and_says_why() {
    let world = world(|settings| settings.pause = Duration::from_secs(3600)).await;
    let (stream, _) = world.smsc.accept().await.unwrap();
    let mut stream = stream;
    // bind_transceiver_resp, ESME_RINVPASWD.
    let head = [16, 0x8000_0009u32, 0x0e, 1].map(u32::to_be_bytes).concat();
    stream.write_all(&head).await.unwrap();
    // Once the session has been given up, the reason stands.
    let mut link = Link(tokio_util::codec::Framed::new(stream, Default::default()));
    assert_eq!(link.hear().await.id(), CommandId::BindTransceiver);
    link.is_closed().await;
    while world.sender.trouble().is_none() {
        tokio::task::yield_now().await;
    }
    let why = world.sender.trouble().unwrap();
    assert_eq!(why, "the SMSC refuses the bind of homeward: wrong password (0x0000000e)");
}

#[tokio::test]
async fn pauses_grow_with_each_failure_up_to_the_longest() {
    // Half of 20, 40, 80 and 160 ms at least.
    let growing = world(|settings| settings.pause = Duration::from_millis(20)).await;
    let began = SystemClock.now();
    for _ in 0..4 {
        growing.accept(CommandStatus::EsmeRbindfail).await;
    }
    let _link = growing.bound().await;
    let took = SystemClock.now().since(began);
    assert!(took >= Duration::from_millis(150), "{took:?}");

    // Without an end, the last of these would be 10 s.
    let bounded = world(|settings| settings.longest_pause = Duration::from_millis(20)).await;
    let began = SystemClock.now();
    for _ in 0..10 {
        bounded.accept(CommandStatus::EsmeRbindfail).await;
    }
    let _link = bounded.bound().await;
    let took = SystemClock.now().since(began);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn an_smsc_that_accepts_a_bind_and_goes_is_come_back_to_ever_more_slowly() {
    let world = world(|settings| settings.pause = Duration::from_millis(20)).await;
    let began = SystemClock.now();
    for _ in 0..4 {
        drop(world.accept(CommandStatus::EsmeRok).await);
    }
    let _link = world.accept(CommandStatus::EsmeRok).await;
    let took = SystemClock.now().since(began);
    assert!(took >= Duration::from_millis(150), "{took:?}");
    world.counted("sessions_total{outcome=\"closed\"} 4");
}

#[tokio::test]
async fn after_a_session_that_lasted_the_first_pause_is_short_again() {
    let world = world(|settings| {
        settings.pause = Duration::from_millis(10);
        settings.longest_pause = Duration::from_millis(300);
        settings.enquire_after = Duration::from_millis(400);
    })
    .await;
    for _ in 0..6 {
        world.accept(CommandStatus::EsmeRbindfail).await;
    }
    let mut link = world.bound().await;
    assert_eq!(link.hear().await.id(), CommandId::EnquireLink, "it has lasted for 400 ms");
    let began = SystemClock.now();
    drop(link);
    world.accept(CommandStatus::EsmeRok).await;
    let took = SystemClock.now().since(began);
    assert!(took < Duration::from_millis(150), "{took:?}");
}

#[tokio::test]
async fn an_smsc_that_answers_no_bind_is_left_and_no_session_is_bound() {
    let world = world(|settings| settings.connect_timeout = Duration::from_millis(20)).await;
    let (silent, _) = world.smsc.accept().await.unwrap();
    assert!(!world.sender.is_bound());
    let _link = world.bound().await;
    world.counted("sessions_total{outcome=\"silent\"} 1");
    drop(silent);
}

#[tokio::test]
async fn an_smsc_that_is_not_there_is_come_back_to() {
    // A port that somebody has and nobody listens at.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = socket.local_addr().unwrap();
    let world = world(|settings| settings.smsc = at.to_string()).await;
    while world.sender.trouble().is_none() {
        tokio::task::yield_now().await;
    }
    let why = world.sender.trouble().unwrap();
    assert!(why.starts_with(&format!("cannot connect to the SMSC {at}")), "{why}");
    let listener = socket.listen(1).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let _link = Link::greet(stream, CommandStatus::EsmeRok, "hush").await;
    assert!(world.sender.until_bound(true).await);
    assert_eq!(world.sender.trouble(), None);
}

#[tokio::test]
async fn another_password_is_tried_at_once_and_a_bound_session_goes_on() {
    let world = world(|settings| settings.pause = Duration::from_secs(3600)).await;
    world.accept(CommandStatus::EsmeRinvpaswd).await;
    while world.sender.trouble().is_none() {
        tokio::task::yield_now().await;
    }
    let mut settings = world.settings.clone();
    settings.password = Secret::new(b"other".to_vec());
    world.resettable.reset(settings.clone()).unwrap();
    let (stream, _) = world.smsc.accept().await.unwrap();
    let mut link = Link::greet(stream, CommandStatus::EsmeRok, "other").await;
    settings.window = 0;
    assert!(world.resettable.reset(settings).is_err());
    world.resettable.reset(world.settings.clone()).unwrap();
    link.nothing_else().await;
}

#[tokio::test]
async fn an_smsc_that_does_not_say_that_it_is_there_is_bound_to_again() {
    let soon = Duration::from_millis(20);
    let world = world(|settings| {
        (settings.enquire_after, settings.response_timeout) = (soon, soon);
    })
    .await;
    let mut link = world.accept(CommandStatus::EsmeRok).await;
    assert_eq!(link.hear().await.id(), CommandId::EnquireLink);
    let _link = world.accept(CommandStatus::EsmeRok).await;
    world.counted("sessions_total{outcome=\"silent\"} 1");
}

#[tokio::test]
async fn an_smsc_that_says_that_it_is_there_is_kept_and_asked_again() {
    let world = world(|settings| {
        settings.enquire_after = Duration::from_millis(20);
        settings.response_timeout = Duration::from_millis(500);
    })
    .await;
    let mut link = world.accept(CommandStatus::EsmeRok).await;
    let began = SystemClock.now();
    // For longer than an answer may take.
    while SystemClock.now().since(began) < Duration::from_millis(700) {
        let asked = link.hear().await;
        assert_eq!(asked.id(), CommandId::EnquireLink);
        link.say_raw(0x8000_0015, 0, asked.sequence_number(), b"").await;
    }
    link.nothing_else().await;
}

#[tokio::test]
async fn whoever_speaks_is_there() {
    let world = world(|settings| {
        settings.enquire_after = Duration::from_millis(20);
        settings.response_timeout = Duration::from_millis(300);
    })
    .await;
    let mut link = world.accept(CommandStatus::EsmeRok).await;
    let began = SystemClock.now();
    let mut sequence = 10;
    while SystemClock.now().since(began) < Duration::from_millis(500) {
        // An enquiry is never answered, and a message that comes will do.
        assert_eq!(link.hear().await.id(), CommandId::EnquireLink);
        link.say(deliver(sequence, b"x", 0)).await;
        sequence += 1;
    }
    link.nothing_else().await;
}

#[tokio::test]
async fn an_smsc_that_unbinds_is_answered_and_bound_to_again() {
    let world = world(|_| {}).await;
    let mut link = world.bound().await;
    link.say_raw(6, 0, 77, b"").await;
    let said = link.hear().await;
    assert_eq!((said.id(), said.sequence_number()), (CommandId::UnbindResp, 77));
    link.is_closed().await;
    let _link = world.bound().await;
}

#[tokio::test]
async fn what_is_no_command_is_said_to_be_none_and_an_answer_to_nothing_is_passed_over() {
    let world = world(|_| {}).await;
    let mut link = world.bound().await;
    link.say_raw(0x8000_0004, 0, 99, b"id\0").await;
    link.say_raw(0x8000_0103, 0, 98, b"").await;
    link.say_raw(0xabc, 0, 97, b"").await;
    let said = link.hear().await;
    assert_eq!((said.id(), said.sequence_number()), (CommandId::GenericNack, 97));
    assert_eq!(said.status(), CommandStatus::EsmeRinvcmdid);
    link.nothing_else().await;
}

#[tokio::test]
async fn who_garbles_is_left() {
    let world = world(|_| {}).await;
    let mut link = world.bound().await;
    link.0.get_mut().write_all(&[0xff; 16]).await.unwrap();
    link.is_closed().await;
    let _link = world.bound().await;
    world.counted("sessions_total{outcome=\"unreadable\"} 1");
}

#[tokio::test]
async fn who_stops_unbinds_and_waits_to_be_told() {
    let world = world(|_| {}).await;
    let mut link = world.bound().await;
    world.shutdown.trigger();
    let said = link.hear().await;
    assert_eq!(said.id(), CommandId::Unbind);
    assert!(!world.running.is_finished());
    link.say_raw(0x8000_0006, 0, said.sequence_number(), b"").await;
    link.is_closed().await;
    world.running.await.unwrap();
    assert!(!world.sender.is_bound());
}

#[tokio::test]
async fn who_stops_waits_for_no_bind_and_for_no_pause() {
    let binding = world(|_| {}).await;
    let began = SystemClock.now();
    let (_silent, _) = binding.smsc.accept().await.unwrap();
    binding.shutdown.trigger();
    binding.running.await.unwrap();
    let pausing = world(|settings| settings.pause = Duration::from_secs(20)).await;
    pausing.accept(CommandStatus::EsmeRbindfail).await;
    while pausing.sender.trouble().is_none() {
        tokio::task::yield_now().await;
    }
    pausing.shutdown.trigger();
    pausing.running.await.unwrap();
    assert!(SystemClock.now().since(began) < Duration::from_secs(5));
}

#[tokio::test]
async fn who_has_just_been_heard_is_not_asked() {
    let world = world(|settings| settings.enquire_after = Duration::from_millis(300)).await;
    let mut link = world.bound().await;
    let began = SystemClock.now();
    while SystemClock.now().since(began) < Duration::from_millis(700) {
        link.say_raw(0x15, 0, 4711, b"").await;
        assert_eq!(link.hear().await.id(), CommandId::EnquireLinkResp);
    }
}
