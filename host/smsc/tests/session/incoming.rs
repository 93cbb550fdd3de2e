//! Messages that come.

use homeward_smsc::{Concatenation, State};
use rusmpp::tlvs::MessageDeliveryRequestTlvValue as Tlv;
use rusmpp::types::{AnyOctetString, COctetString};
use rusmpp::values::{MessagePayload, MessageState};
use rusmpp::{Command, CommandStatus};

use crate::world::{deliver, deliver_pdu, world};

#[tokio::test]
async fn a_message_is_answered_once_it_is_taken_care_of_and_comes_again_otherwise() {
    let mut world = world(|_| {}).await;
    let mut link = world.bound().await;
    link.say(deliver(7, b"HW1 C", 0)).await;
    let first = world.received.recv().await.unwrap();
    link.nothing_else().await;
    drop(link);

    let mut link = world.bound().await;
    // It is too late for the session that is gone, and no answer in the one that is.
    first.ack.done();
    link.say(deliver(9, b"HW1 C", 0)).await;
    let again = world.received.recv().await.unwrap();
    assert_eq!(again.octets.as_slice(), b"HW1 C");
    assert_eq!(again.from.msisdn().unwrap().as_str(), "491701234567");
    again.ack.done();
    assert_eq!(link.delivered().await, (9, CommandStatus::EsmeRok));

    link.say(deliver(10, b"HW1 C", 0)).await;
    drop(world.received.recv().await.unwrap());
    assert_eq!(link.delivered().await, (10, CommandStatus::EsmeRxTAppn));
}

#[tokio::test]
async fn what_is_more_than_may_wait_the_smsc_keeps_and_may_come_when_there_is_room() {
    let mut world = world(|settings| settings.queue = 1).await;
    let mut link = world.bound().await;
    link.say(deliver(1, b"one", 0)).await;
    link.say(deliver(2, b"two", 0)).await;
    assert_eq!(link.delivered().await, (2, CommandStatus::EsmeRmsgqful));
    world.counted("delivered_total{outcome=\"full\"} 1");
    world.received.recv().await.unwrap().ack.done();
    assert_eq!(link.delivered().await, (1, CommandStatus::EsmeRok));
    link.say(deliver(3, b"two", 0)).await;
    world.received.recv().await.unwrap().ack.done();
    assert_eq!(link.delivered().await, (3, CommandStatus::EsmeRok));
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_refused_for_good_and_the_next_one_is_read() {
    let mut world = world(|_| {}).await;
    let mut link = world.bound().await;
    link.say_raw(5, 0, 11, b"").await;
    assert_eq!(link.delivered().await, (11, CommandStatus::EsmeRxPAppn));
    link.say_raw(5, 0, 12, b"\0\x01\x01no end").await;
    assert_eq!(link.delivered().await, (12, CommandStatus::EsmeRxPAppn));
    world.counted("delivered_total{outcome=\"unreadable\"} 2");
    link.say(deliver(13, b"HW1 C", 0)).await;
    assert_eq!(world.received.recv().await.unwrap().octets.as_slice(), b"HW1 C");
}

#[tokio::test]
async fn where_a_segment_belongs_is_read_from_sar_tlvs_if_all_are_there() {
    let mut world = world(|_| {}).await;
    let mut link = world.bound().await;
    let mut pdu = deliver_pdu(b"part", 0);
    let tlvs = [Tlv::SarMsgRefNum(0x1234), Tlv::SarTotalSegments(3), Tlv::SarSegmentSeqnum(2)];
    for tlv in tlvs.clone() {
        pdu.push_tlv(tlv);
    }
    link.say(Command::new(CommandStatus::EsmeRok, 1, pdu)).await;
    let place = world.received.recv().await.unwrap().concatenation;
    assert_eq!(place, Some(Concatenation { reference: 0x1234, total: 3, number: 2 }));
    for left_out in 0..3 {
        let mut pdu = deliver_pdu(b"part", 0);
        for (_, tlv) in tlvs.iter().enumerate().filter(|(at, _)| *at != left_out) {
            pdu.push_tlv(tlv.clone());
        }
        link.say(Command::new(CommandStatus::EsmeRok, 2, pdu)).await;
        assert_eq!(world.received.recv().await.unwrap().concatenation, None);
    }
}

#[tokio::test]
async fn a_text_is_short_message_with_its_header_or_message_payload() {
    let mut world = world(|_| {}).await;
    let mut link = world.bound().await;
    let header = b"\x05\0\x03\x07\x02\x01part";
    link.say(deliver(1, header, 0x40)).await;
    let part = world.received.recv().await.unwrap();
    assert_eq!((part.esm_class, part.octets.as_slice()), (0x40, &header[..]));

    let payload = |octets: &[u8]| {
        Tlv::MessagePayload(MessagePayload::new(AnyOctetString::from_slice(octets)))
    };
    let mut pdu = deliver_pdu(b"", 0);
    pdu.data_coding = 8u8.into();
    pdu.push_tlv(payload(&[b'x'; 700]));
    link.say(Command::new(CommandStatus::EsmeRok, 2, pdu)).await;
    let long = world.received.recv().await.unwrap();
    assert_eq!((long.octets.len(), long.data_coding), (700, 8));
    // Of two, the first counts.
    let mut pdu = deliver_pdu(b"short", 0);
    pdu.push_tlv(payload(b"long"));
    link.say(Command::new(CommandStatus::EsmeRok, 3, pdu)).await;
    assert_eq!(world.received.recv().await.unwrap().octets.as_slice(), b"short");
}

#[tokio::test]
async fn receipts_and_notifications_on_the_way_are_none_of_the_messages() {
    let mut world = world(|_| {}).await;
    let mut link = world.bound().await;
    let text = b"id:m1 sub:001 dlvrd:001 submit date:2611290200 done date:2611290201 stat:DELIVRD";
    link.say(deliver(1, text, 4)).await;
    let receipt = world.received.recv().await.unwrap().receipt.unwrap();
    assert_eq!((receipt.message_id.as_str(), receipt.state), ("m1", State::Delivered));
    world.counted("receipts_total{outcome=\"delivered\"} 1");
    link.say(deliver(2, b"id:m2 stat:ENROUTE", 0x20)).await;
    let receipt = world.received.recv().await.unwrap().receipt.unwrap();
    assert_eq!((receipt.message_id.as_str(), receipt.state), ("m2", State::Enroute));
    let mut pdu = deliver_pdu(b"", 4);
    pdu.push_tlv(Tlv::ReceiptedMessageId(COctetString::from_string("m3".to_owned()).unwrap()));
    pdu.push_tlv(Tlv::MessageState(MessageState::Undeliverable));
    link.say(Command::new(CommandStatus::EsmeRok, 3, pdu)).await;
    let receipt = world.received.recv().await.unwrap().receipt.unwrap();
    assert_eq!((receipt.message_id.as_str(), receipt.state), ("m3", State::Undeliverable));
    link.say(deliver(4, b"id:m1 stat:DELIVRD", 0)).await;
    assert!(world.received.recv().await.unwrap().receipt.is_none());
}
