//! Sessions with an SMSC that does what the test says.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use homeward_daemon::{Metrics, Shutdown};
use homeward_model::Secret;
use homeward_smsc::{Address, Incoming, Outgoing, Sender, Settings, State, SubmitError, open};
use rusmpp::pdus::{BindTransceiverResp, DeliverSm, SubmitSmResp};
use rusmpp::tokio_codec::CommandCodec;
use rusmpp::types::{COctetString, OctetString};
use rusmpp::values::{EsmClass, Ton};
use rusmpp::{Command, CommandId, CommandStatus, Pdu};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::codec::Framed;

type Link = Framed<TcpStream, CommandCodec>;

struct World {
    smsc: TcpListener,
    received: mpsc::Receiver<Incoming>,
    sender: Sender,
    shutdown: Shutdown,
    figures: std::sync::Arc<Metrics>,
}

async fn world(change: impl FnOnce(&mut Settings)) -> World {
    let smsc = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = Settings {
        smsc: smsc.local_addr().unwrap().to_string(),
        system_id: "homeward".to_owned(),
        password: Secret::new(b"hush".to_vec()),
        pause: Duration::from_millis(10),
        ..Settings::default()
    };
    change(&mut settings);
    let mut metrics = Metrics::new("test", "0");
    let (received, sender, run) = open(settings, &mut metrics).unwrap();
    let shutdown = Shutdown::new();
    tokio::spawn(run.run(shutdown.clone()));
    World { smsc, received, sender, shutdown, figures: metrics.share() }
}

impl World {
    async fn accept(&self, status: CommandStatus) -> Link {
        let (stream, _) = self.smsc.accept().await.unwrap();
        let mut link = Framed::new(stream, CommandCodec::new());
        let bind = link.next().await.unwrap().unwrap();
        let Some(Pdu::BindTransceiver(said)) = bind.pdu() else { panic!("{bind:?}") };
        assert_eq!((said.system_id.as_str(), said.password.as_str()), ("homeward", "hush"));
        let answer = BindTransceiverResp::default();
        link.send(Command::new(status, bind.sequence_number(), answer)).await.unwrap();
        link
    }
}

fn deliver(sequence: u32, text: &[u8], esm_class: u8) -> Command {
    let pdu = DeliverSm::builder()
        .source_addr_ton(Ton::International)
        .source_addr(COctetString::from_string("491701234567".to_owned()).unwrap())
        .esm_class(EsmClass::from(esm_class))
        .short_message(OctetString::from_slice(text).unwrap())
        .build();
    Command::new(CommandStatus::EsmeRok, sequence, pdu)
}

fn message(octets: Vec<u8>) -> Outgoing {
    Outgoing {
        from: Address { ton: 0, npi: 0, number: "4444".to_owned() },
        to: Address::of("491701234567".parse().unwrap()),
        esm_class: 0,
        data_coding: 0,
        octets: octets.into(),
        wants_receipt: true,
    }
}

fn taken(request: &Command, status: CommandStatus, id: &str) -> Command {
    let id = COctetString::from_string(id.to_owned()).unwrap();
    Command::new(status, request.sequence_number(), SubmitSmResp::builder().message_id(id).build())
}

#[tokio::test]
async fn who_is_refused_tries_again_and_it_is_counted() {
    let world = world(|_| {}).await;
    world.accept(CommandStatus::EsmeRinvpaswd).await;
    let _link = world.accept(CommandStatus::EsmeRok).await;
    assert!(world.sender.until_bound(true).await);
    let text = world.figures.text();
    assert!(text.contains("sessions_total{outcome=\"refused\"} 1"), "{text}");
}

#[tokio::test]
async fn a_message_is_answered_once_it_is_taken_care_of_and_comes_again_otherwise() {
    let mut world = world(|_| {}).await;
    let mut link = world.accept(CommandStatus::EsmeRok).await;
    link.send(deliver(7, b"HW1 C", 0)).await.unwrap();
    let first = world.received.recv().await.unwrap();
    // An enquiry that is answered shows that nothing was said before it.
    link.send(Command::new(CommandStatus::EsmeRok, 8, Pdu::EnquireLink)).await.unwrap();
    let said = link.next().await.unwrap().unwrap();
    assert_eq!((said.id(), said.sequence_number()), (CommandId::EnquireLinkResp, 8));
    drop(link);

    let mut link = world.accept(CommandStatus::EsmeRok).await;
    // It is too late for the session that is gone, and no answer in the one that is.
    first.ack.done();
    link.send(deliver(9, b"HW1 C", 0)).await.unwrap();
    let again = world.received.recv().await.unwrap();
    assert_eq!(again.octets.as_slice(), b"HW1 C");
    assert_eq!(again.from.msisdn().unwrap().as_str(), "491701234567");
    again.ack.done();
    let said = link.next().await.unwrap().unwrap();
    assert_eq!((said.id(), said.sequence_number()), (CommandId::DeliverSmResp, 9));
    assert_eq!(said.status(), CommandStatus::EsmeRok);

    link.send(deliver(10, b"HW1 C", 0)).await.unwrap();
    drop(world.received.recv().await.unwrap());
    let said = link.next().await.unwrap().unwrap();
    assert_eq!((said.sequence_number(), said.status()), (10, CommandStatus::EsmeRxTAppn));
}

#[tokio::test]
async fn what_is_more_than_may_wait_the_smsc_keeps() {
    let mut world = world(|settings| settings.queue = 1).await;
    let mut link = world.accept(CommandStatus::EsmeRok).await;
    link.send(deliver(1, b"one", 0)).await.unwrap();
    link.send(deliver(2, b"two", 0)).await.unwrap();
    let said = link.next().await.unwrap().unwrap();
    assert_eq!((said.sequence_number(), said.status()), (2, CommandStatus::EsmeRmsgqful));
    world.received.recv().await.unwrap().ack.done();
    assert_eq!(link.next().await.unwrap().unwrap().sequence_number(), 1);
}

#[tokio::test]
async fn a_throttled_message_is_sent_again_and_a_long_one_goes_as_payload() {
    let mut world = world(|_| {}).await;
    let mut link = world.accept(CommandStatus::EsmeRok).await;
    let sender = world.sender.clone();
    let sent = tokio::spawn(async move { sender.submit(message(vec![b'x'; 300])).await });
    let first = link.next().await.unwrap().unwrap();
    link.send(taken(&first, CommandStatus::EsmeRthrottled, "")).await.unwrap();
    let second = link.next().await.unwrap().unwrap();
    assert_ne!(first.sequence_number(), second.sequence_number());
    let Some(Pdu::SubmitSm(submit)) = second.pdu() else { panic!("{second:?}") };
    assert_eq!(submit.short_message().as_ref().len(), 0);
    assert_eq!(submit.tlvs().len(), 1);
    assert_eq!(u8::from(submit.registered_delivery), 1);
    link.send(taken(&second, CommandStatus::EsmeRok, "m1")).await.unwrap();
    assert_eq!(sent.await.unwrap(), Ok("m1".to_owned()));

    link.send(deliver(3, b"id:m1 stat:DELIVRD err:000", 4)).await.unwrap();
    let receipt = world.received.recv().await.unwrap().receipt.unwrap();
    assert_eq!((receipt.message_id.as_str(), receipt.state), ("m1", State::Delivered));
}

#[tokio::test]
async fn a_message_without_an_answer_may_have_been_sent() {
    let world = world(|_| {}).await;
    let mut link = world.accept(CommandStatus::EsmeRok).await;
    let sender = world.sender.clone();
    let sent = tokio::spawn(async move { sender.submit(message(b"x".to_vec())).await });
    link.next().await.unwrap().unwrap();
    drop(link);
    assert_eq!(sent.await.unwrap(), Err(SubmitError::Lost));
}

#[tokio::test]
async fn an_smsc_that_does_not_say_that_it_is_there_is_bound_to_again() {
    let soon = Duration::from_millis(20);
    let world = world(|settings| {
        (settings.enquire_after, settings.response_timeout) = (soon, soon);
    })
    .await;
    let mut link = world.accept(CommandStatus::EsmeRok).await;
    assert_eq!(link.next().await.unwrap().unwrap().id(), CommandId::EnquireLink);
    let _link = world.accept(CommandStatus::EsmeRok).await;
    let text = world.figures.text();
    assert!(text.contains("sessions_total{outcome=\"silent\"} 1"), "{text}");
}

#[tokio::test]
async fn who_stops_unbinds_and_who_garbles_is_left() {
    let world = world(|_| {}).await;
    let (stream, _) = {
        let link = world.accept(CommandStatus::EsmeRok).await;
        (link.into_inner(), ())
    };
    stream.writable().await.unwrap();
    assert_eq!(stream.try_write(&[0xff; 16]).unwrap(), 16);
    let mut link = world.accept(CommandStatus::EsmeRok).await;
    assert!(world.sender.until_bound(true).await);
    world.shutdown.trigger();
    assert_eq!(link.next().await.unwrap().unwrap().id(), CommandId::Unbind);
}
