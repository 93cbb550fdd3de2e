//! When there are reports, and what they say.
#![cfg(test)]

use std::time::Duration;

use homeward_l2tp::Sequence;
use homeward_model::Instant;
use homeward_multipath::{PathId, Received, Receiver, ReceiverSettings, Report};

const A: PathId = PathId::ALL[0];
const B: PathId = PathId::ALL[1];
const MS: Duration = Duration::from_millis(1);

fn at(us: u64) -> Instant {
    Instant::from_nanos(us * 1000)
}

fn n(number: u32) -> Sequence {
    Sequence::new(number)
}

fn receiver() -> Receiver {
    Receiver::new(ReceiverSettings::default())
}

#[test]
fn a_report_says_what_the_path_brought() {
    let mut receiver = receiver();
    receiver.received(A, n(7), 100, at(0));
    receiver.received(A, n(9), 200, at(1000));
    receiver.received(A, n(8), 300, at(2000));
    receiver.duplicate(A);
    receiver.received(B, n(10), 400, at(2000));
    assert_eq!(receiver.poll_timeout(), Some(at(5000)));
    assert_eq!(receiver.poll_report(at(4999)), None);
    let received = Received {
        highest: n(9),
        packets: 3,
        octets: 600,
        held: 4 * MS,
        arrived: 1000,
        duplicates: 1,
    };
    let report = Report { number: 1, received: Some(received), ..Report::default() };
    assert_eq!(receiver.poll_report(at(5000)), Some((A, report)));
    assert_eq!((receiver.poll_report(at(5000)), receiver.poll_timeout()), (None, Some(at(7000))));
    let (path, report) = receiver.poll_report(at(7000)).unwrap();
    assert_eq!((path, report.number, report.received.unwrap().octets), (B, 2, 400));
}

#[test]
fn there_is_no_report_without_a_new_packet() {
    let mut receiver = receiver();
    assert_eq!(receiver.poll_timeout(), None);
    receiver.received(A, n(1), 100, at(0));
    assert!(receiver.poll_report(at(5000)).is_some());
    assert_eq!((receiver.poll_timeout(), receiver.poll_report(at(1 << 40))), (None, None));
}

#[test]
fn the_round_trip_time_says_how_often() {
    for (rtt, delay) in [(0, 2), (8, 2), (40, 10), (100, 25), (800, 25)] {
        let mut receiver = receiver();
        receiver.set_rtt(A, rtt * MS);
        receiver.received(A, n(1), 100, at(0));
        assert_eq!(receiver.poll_timeout(), Some(Instant::ORIGIN + delay * MS), "{rtt} ms");
    }
}

#[test]
fn reports_are_less_than_half_a_percent_of_a_busy_path() {
    const OVERHEAD: u64 = 44; // L2TP with an 8-octet cookie, UDP and IPv4
    let mut receiver = receiver();
    receiver.set_rtt(A, 2 * MS);
    let (mut carried, mut reported) = (0, 0);
    for packet in 0..100_000u32 {
        let now = at(u64::from(packet) * 120); // 100 Mbit/s
        receiver.received(A, n(packet), 1500, now);
        carried += 1500;
        while let Some((_, report)) = receiver.poll_report(now) {
            reported += report.encode().len() as u64 + OVERHEAD;
        }
    }
    assert!(reported * 200 < carried, "{reported} octets of {carried}");
    assert!(reported * 400 > carried, "there were reports: {reported} octets");
}

#[test]
fn a_request_is_answered_at_once_and_a_replayed_one_is_not() {
    let mut receiver = receiver();
    let request = Report { number: 5, request: true, ..Report::default() };
    receiver.handle_report(A, &request, at(100));
    assert_eq!(receiver.poll_timeout(), Some(at(100)));
    let answer = Report { number: 1, answer: Some(5), ..Report::default() };
    assert_eq!(receiver.poll_report(at(100)), Some((A, answer)));
    receiver.handle_report(A, &request, at(200));
    receiver.handle_report(A, &Report { number: 4, ..request }, at(200));
    receiver.handle_report(A, &Report { number: 6, request: false, ..request }, at(200));
    assert_eq!(receiver.poll_report(at(10_000)), None);
    receiver.received(A, n(1), 100, at(20_000));
    receiver.handle_report(A, &Report { number: 6, ..request }, at(20_000));
    let (_, report) = receiver.poll_report(at(20_000)).unwrap();
    assert_eq!((report.answer, report.received.unwrap().packets), (Some(6), 1));
    receiver.received(A, n(2), 100, at(21_000));
    assert_eq!(receiver.poll_report(at(26_000)).unwrap().1.answer, None, "answered once");
}

#[test]
fn the_highest_number_goes_around_with_the_number_space_however_long_a_path_was_silent() {
    let mut receiver = receiver();
    let highest = |receiver: &mut Receiver, number| {
        receiver.received(A, n(number), 100, at(0));
        receiver.poll_report(at(1 << 30)).unwrap().1.received.unwrap().highest.get()
    };
    assert_eq!(highest(&mut receiver, 0xff_fff0), 0xff_fff0);
    assert_eq!(highest(&mut receiver, 5), 5);
    assert_eq!(highest(&mut receiver, 0xff_fff5), 5, "late");
    assert_eq!(highest(&mut receiver, 0x90_0000), 0x90_0000, "half the space later");
}

#[test]
fn a_removed_path_begins_anew_and_report_numbers_go_on() {
    let mut receiver = receiver();
    receiver.received(A, n(1), 100, at(0));
    receiver.poll_report(at(5000)).unwrap();
    receiver.received(A, n(2), 100, at(6000));
    receiver.remove_path(A);
    assert_eq!(receiver.poll_timeout(), None);
    receiver.received(A, n(3), 100, at(7000));
    let (_, report) = receiver.poll_report(at(12_000)).unwrap();
    assert_eq!((report.number, report.received.unwrap().packets), (2, 1));
}
