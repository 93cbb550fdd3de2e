//! Messages that are sent.

use std::time::Duration;

use homeward_daemon::SystemClock;
use homeward_model::Clock;
use homeward_smsc::SubmitError;
use rusmpp::CommandStatus;

use crate::world::{message, world};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn no_more_messages_are_unanswered_than_the_window_has_room_for() {
    let world = world(|settings| settings.window = 2).await;
    let mut link = world.bound().await;
    let sent = [world.submit(b"1"), world.submit(b"2"), world.submit(b"3")];
    let (first, _) = link.hear_submit().await;
    link.hear_submit().await;
    link.nothing_else().await;
    link.answer(&first, CommandStatus::EsmeRok, "a").await;
    link.hear_submit().await;
    link.nothing_else().await;
    drop((sent, link));
}

#[tokio::test]
async fn a_throttled_message_is_sent_again_and_a_long_one_goes_as_payload() {
    let world = world(|_| {}).await;
    let mut link = world.bound().await;
    let sent = world.submit(&[b'x'; 300]);
    let (first, _) = link.hear_submit().await;
    // As many SMSCs say it: a header alone.
    link.say_raw(0x8000_0004, 0x58, first.sequence_number(), b"").await;
    let (second, submit) = link.hear_submit().await;
    assert_ne!(first.sequence_number(), second.sequence_number());
    assert_eq!((submit.short_message().as_ref().len(), submit.tlvs().len()), (0, 1));
    assert_eq!(u8::from(submit.registered_delivery), 1);
    link.answer(&second, CommandStatus::EsmeRok, "m1").await;
    assert_eq!(sent.await.unwrap(), Ok("m1".to_owned()));
    world.counted("submitted_total{outcome=\"throttled\"} 1");
}

#[tokio::test]
async fn while_one_is_throttled_all_others_wait() {
    for status in [CommandStatus::EsmeRthrottled, CommandStatus::EsmeRmsgqful] {
        let world = world(|settings| (settings.pause, settings.longest_pause) = (HOUR, HOUR)).await;
        let mut link = world.bound().await;
        let first = world.submit(b"1");
        let (request, _) = link.hear_submit().await;
        link.answer(&request, status, "").await;
        link.nothing_else().await;
        let second = world.submit(b"2");
        link.nothing_else().await;
        assert!(!first.is_finished() && !second.is_finished());
    }
}

#[tokio::test]
async fn an_smsc_that_goes_on_throttling_is_asked_ever_more_slowly_and_of_a_window_once() {
    let world = world(|settings| settings.pause = Duration::from_millis(30)).await;
    let mut link = world.bound().await;
    let sent = [world.submit(b"1"), world.submit(b"2"), world.submit(b"3"), world.submit(b"4")];
    let began = SystemClock.now();
    for _ in 0..3 {
        let mut window = Vec::new();
        for _ in &sent {
            window.push(link.hear_submit().await.0);
        }
        for request in &window {
            link.answer(request, CommandStatus::EsmeRthrottled, "").await;
        }
    }
    for _ in &sent {
        let (request, _) = link.hear_submit().await;
        link.answer(&request, CommandStatus::EsmeRok, "m").await;
    }
    // 30, 60 and 120 ms; were each of a window one, 30 * (1 + … + 2^11).
    let took = SystemClock.now().since(began);
    assert!((Duration::from_millis(210)..Duration::from_secs(20)).contains(&took), "{took:?}");
    for sent in sent {
        assert_eq!(sent.await.unwrap(), Ok("m".to_owned()));
    }
}

#[tokio::test]
async fn what_was_throttled_when_a_session_ended_is_sent_in_the_next() {
    let world = world(|_| {}).await;
    let mut link = world.bound().await;
    let sent = world.submit(b"1");
    let (request, _) = link.hear_submit().await;
    link.answer(&request, CommandStatus::EsmeRthrottled, "").await;
    drop(link);
    let mut link = world.accept(CommandStatus::EsmeRok).await;
    let (request, _) = link.hear_submit().await;
    link.answer(&request, CommandStatus::EsmeRok, "m").await;
    assert_eq!(sent.await.unwrap(), Ok("m".to_owned()));
}

#[tokio::test]
async fn a_message_without_an_answer_may_have_been_sent() {
    let world = world(|_| {}).await;
    let mut link = world.bound().await;
    let sent = world.submit(b"x");
    link.hear_submit().await;
    drop(link);
    assert_eq!(sent.await.unwrap(), Err(SubmitError::Lost));
}

#[tokio::test]
async fn an_smsc_that_does_not_answer_in_time_is_left() {
    let world = world(|settings| settings.response_timeout = Duration::from_millis(20)).await;
    let mut link = world.bound().await;
    let sent = world.submit(b"x");
    link.hear_submit().await;
    assert_eq!(sent.await.unwrap(), Err(SubmitError::Lost));
    link.is_closed().await;
    world.counted("sessions_total{outcome=\"silent\"} 1");
}

#[tokio::test]
async fn what_an_smsc_refuses_is_not_sent_again_with_a_body_or_without() {
    let world = world(|_| {}).await;
    let mut link = world.bound().await;
    let sent = world.submit(b"1");
    let (request, _) = link.hear_submit().await;
    link.say_raw(0x8000_0004, 0x0b, request.sequence_number(), b"").await;
    let said = sent.await.unwrap().unwrap_err().to_string();
    assert!(said.ends_with("invalid destination address (0x0000000b)"), "{said}");
    let sent = world.submit(b"2");
    let (request, _) = link.hear_submit().await;
    link.answer(&request, CommandStatus::EsmeRsyserr, "id").await;
    assert!(matches!(sent.await.unwrap(), Err(SubmitError::Refused(_))));
    // generic_nack, even one that says that all is well.
    let sent = world.submit(b"3");
    let (request, _) = link.hear_submit().await;
    link.say_raw(0x8000_0000, 0, request.sequence_number(), b"").await;
    assert!(matches!(sent.await.unwrap(), Err(SubmitError::Refused(_))));
    link.nothing_else().await;
}

#[tokio::test]
async fn a_message_waits_for_a_session_as_long_as_it_has_patience() {
    let patience = Duration::from_millis(30);
    let alone = world(|settings| settings.patience = patience).await;
    let sent = alone.submit(b"1");
    alone.accept(CommandStatus::EsmeRbindfail).await;
    // Nobody answers the next bind, for which there would be 10 s.
    let began = SystemClock.now();
    assert_eq!(sent.await.unwrap(), Err(SubmitError::TooLate));
    assert!(SystemClock.now().since(began) < Duration::from_secs(5));
    alone.counted("submitted_total{outcome=\"too_late\"} 1");

    let throttled = world(|settings| {
        (settings.patience, settings.pause, settings.longest_pause) = (patience, HOUR, HOUR);
    })
    .await;
    let mut link = throttled.bound().await;
    let sent = throttled.submit(b"1");
    let (request, _) = link.hear_submit().await;
    link.answer(&request, CommandStatus::EsmeRthrottled, "").await;
    assert_eq!(sent.await.unwrap(), Err(SubmitError::TooLate));

    let patient = world(|_| {}).await;
    let sent = patient.submit(b"1");
    let mut link = patient.accept(CommandStatus::EsmeRok).await;
    let (request, _) = link.hear_submit().await;
    link.answer(&request, CommandStatus::EsmeRok, "m").await;
    assert_eq!(sent.await.unwrap(), Ok("m".to_owned()));
}

#[tokio::test]
async fn a_message_that_nobody_waits_for_is_not_sent() {
    let world = world(|settings| settings.window = 1).await;
    let mut link = world.bound().await;
    let first = world.submit(b"1");
    let (request, _) = link.hear_submit().await;
    let second = world.submit(b"2");
    tokio::task::yield_now().await;
    second.abort();
    assert!(second.await.unwrap_err().is_cancelled());
    link.answer(&request, CommandStatus::EsmeRok, "m").await;
    assert_eq!(first.await.unwrap(), Ok("m".to_owned()));
    link.nothing_else().await;
}

#[tokio::test]
async fn more_than_may_wait_are_refused_and_so_are_all_once_it_has_stopped() {
    let world = world(|settings| (settings.queue, settings.window) = (1, 1)).await;
    let mut link = world.bound().await;
    let first = world.submit(b"1");
    link.hear_submit().await;
    let second = world.submit(b"2");
    tokio::task::yield_now().await;
    assert_eq!(world.submit(b"3").await.unwrap(), Err(SubmitError::Full));
    world.shutdown.trigger();
    drop(link);
    assert_eq!(first.await.unwrap(), Err(SubmitError::Lost));
    assert_eq!(second.await.unwrap(), Err(SubmitError::Stopped));
    world.running.await.unwrap();
    assert_eq!(world.sender.submit(message(vec![1])).await, Err(SubmitError::Stopped));
}

#[tokio::test]
async fn what_is_said_of_a_message_is_in_the_pdu() {
    let world = world(|_| {}).await;
    let mut link = world.bound().await;
    let mut long = message(vec![b'x'; 254]);
    (long.esm_class, long.data_coding, long.wants_receipt) = (0x40, 8, false);
    long.validity = Some(HOUR);
    let sender = world.sender.clone();
    tokio::spawn(async move { sender.submit(long).await });
    let (_, said) = link.hear_submit().await;
    assert_eq!((said.source_addr.as_str(), u8::from(said.source_addr_ton)), ("4444", 0));
    assert_eq!((said.destination_addr.as_str(), u8::from(said.dest_addr_ton)), ("491701234567", 1));
    assert_eq!((u8::from(said.esm_class), u8::from(said.data_coding)), (0x40, 8));
    assert_eq!(
        (said.validity_period.as_str(), u8::from(said.registered_delivery)),
        ("000000010000000R", 0)
    );
    assert_eq!((said.short_message().as_ref().len(), said.tlvs().len()), (254, 0));
    let _sent = world.submit(&[b'x'; 255]);
    let (_, said) = link.hear_submit().await;
    assert_eq!((said.short_message().as_ref().len(), said.tlvs().len()), (0, 1));
}

#[tokio::test]
async fn without_a_session_only_so_many_wait() {
    let world = world(|settings| settings.queue = 2).await;
    let (_silent, _) = world.smsc.accept().await.unwrap();
    let mut sent = Vec::new();
    for n in 0..20 {
        sent.push(world.submit(&[n]));
        tokio::task::yield_now().await;
    }
    let mut full = 0;
    for sent in sent {
        if sent.is_finished() {
            assert_eq!(sent.await.unwrap(), Err(SubmitError::Full));
            full += 1;
        }
    }
    assert!((16..20).contains(&full), "{full} were refused");
}

#[tokio::test]
async fn an_smsc_that_reads_nothing_is_left() {
    let world = world(|settings| {
        settings.response_timeout = Duration::from_millis(100);
        (settings.window, settings.queue) = (5000, 5000);
    })
    .await;
    let link = world.bound().await;
    // More than any socket's buffer holds.
    let sent: Vec<_> = (0..5000).map(|_| world.submit(&[b'x'; 4096])).collect();
    let mut lost = 0;
    for sent in sent {
        let said = tokio::time::timeout(Duration::from_secs(20), sent).await;
        lost += usize::from(said.expect("it waits for ever").unwrap() == Err(SubmitError::Lost));
        if lost > 0 {
            break;
        }
    }
    assert!(lost > 0);
    world.counted("sessions_total{outcome=\"silent\"} 1");
    drop(link);
}

#[tokio::test]
async fn what_the_smsc_takes_again_makes_the_next_throttling_a_first_one() {
    let world = world(|settings| settings.pause = Duration::from_millis(40)).await;
    let mut link = world.bound().await;
    for _ in 0..2 {
        let began = SystemClock.now();
        let sent = world.submit(b"1");
        for _ in 0..3 {
            let (request, _) = link.hear_submit().await;
            link.answer(&request, CommandStatus::EsmeRthrottled, "").await;
        }
        let (request, _) = link.hear_submit().await;
        link.answer(&request, CommandStatus::EsmeRok, "m").await;
        assert_eq!(sent.await.unwrap(), Ok("m".to_owned()));
        // 40, 80 and 160 ms; went it on, 320, 640 and 1280.
        let took = SystemClock.now().since(began);
        assert!(
            (Duration::from_millis(280)..Duration::from_millis(1500)).contains(&took),
            "{took:?}"
        );
    }
}

#[tokio::test]
async fn what_no_submit_sm_has_room_for_is_refused_and_named() {
    let world = world(|_| {}).await;
    let field = |change: fn(&mut homeward_smsc::Outgoing)| {
        let mut bad = message(vec![b'x'; 4096]);
        change(&mut bad);
        let sender = world.sender.clone();
        async move {
            match sender.submit(bad).await {
                Err(SubmitError::Invalid { field, .. }) => field,
                other => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(field(|bad| bad.octets.push(b'x')).await, "octets");
    assert_eq!(field(|bad| bad.to.number = "1".repeat(21)).await, "to");
    assert_eq!(field(|bad| bad.from.number = "né".to_owned()).await, "from");
}
