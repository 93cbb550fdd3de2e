//! Storm control and policing.

use std::time::Duration;

use homeward_model::Mac;
use homeward_model::service::Bandwidth;
use homeward_port::testing::{ROUTER_V4, build};
use homeward_port::{Device, FrameRate, GroupLimits, Rate, Reason, Settings, Verdict};

use super::{
    Bench, DEVICE, INTERNET_V4, OTHER_DEVICE, OWN_V4, PRINTER, PRINTER_V4, ROUTER, dropped,
    settings, tcp_v4,
};

const MDNS: Mac = Mac::new([0x01, 0x00, 0x5e, 0, 0, 0xfb]);

/// A multicast or broadcast datagram of the device.
fn datagram(mac: Mac, to: [u8; 4]) -> Vec<u8> {
    let packet = build::ipv4(OWN_V4, to.into(), 17, &build::udp(5353, 5353, &[0; 40]));
    build::ethernet(mac, DEVICE, build::IPV4, &packet)
}

#[test]
fn a_broadcast_storm_from_a_roamer_becomes_a_drizzle() {
    let mut bench = Bench::home();
    let storm = datagram(build::BROADCAST, [255, 255, 255, 255]);
    let mut passed = 0;
    for _ in 0..10_000 {
        bench.wait(Duration::from_millis(1));
        passed += u32::from(bench.up(&storm) == Verdict::Pass);
    }
    let limits = GroupLimits::default().near;
    let allowed = limits.burst + 10 * limits.frames_per_second;
    assert!(passed.abs_diff(allowed) <= 1, "{passed} of 10,000 in 10 s, {allowed} allowed");
    let counters = bench.port.counters();
    assert_eq!(counters.from_stranger.dropped(Reason::GroupRate), 10_000 - u64::from(passed));
}

#[test]
fn a_storm_of_one_kind_leaves_the_others_and_unicast_alone() {
    let tv = Mac::new([0x01, 0x00, 0x5e, 0x7f, 1, 1]);
    let arp = build::arp(1, DEVICE, OWN_V4, ROUTER_V4);
    let kinds = [
        (datagram(build::BROADCAST, [255; 4]), Reason::GroupRate),
        (datagram(tv, [239, 1, 1, 1]), Reason::StreamRate),
        (build::ethernet(build::BROADCAST, DEVICE, build::ARP, &arp), Reason::ArpRate),
    ];
    for (storm, reason) in &kinds {
        let mut bench = Bench::home();
        while bench.up(storm) == Verdict::Pass {}
        assert_eq!(bench.up(storm), dropped(*reason));
        for (other, _) in kinds.iter().filter(|(_, other)| other != reason) {
            assert_eq!(bench.up(other), Verdict::Pass, "{reason}");
        }
        assert_eq!(bench.up_v4(&tcp_v4(OWN_V4)), Verdict::Pass);
    }
}

#[test]
fn one_devices_storm_does_not_silence_another() {
    let mut bench = Bench::home();
    let storm = datagram(build::BROADCAST, [255; 4]);
    while bench.up(&storm) == Verdict::Pass {}
    let octets = build::ipv4(PRINTER_V4, [255; 4].into(), 17, &build::udp(1, 2, &[]));
    let other = build::ethernet(build::BROADCAST, OTHER_DEVICE, build::IPV4, &octets);
    assert_eq!(bench.up(&other), Verdict::Pass);
}

#[test]
fn a_stream_on_the_lan_does_not_silence_what_names_and_addresses_are_found_with() {
    let mut bench = Bench::home();
    let to = |mac: Mac, group: [u8; 4]| {
        let packet = build::ipv4(PRINTER_V4, group.into(), 17, &build::udp(9, 9, &[0; 1300]));
        build::ethernet(mac, PRINTER, build::IPV4, &packet)
    };
    let stream = to(Mac::new([1, 0, 0x5e, 1, 1, 1]), [232, 1, 1, 1]);
    while bench.down(&stream) == Verdict::Pass {}
    assert_eq!(bench.down(&stream), dropped(Reason::StreamRate));
    assert_eq!(bench.down(&to(MDNS, [224, 0, 0, 251])), Verdict::Pass);
    let ssdp = to(Mac::new([1, 0, 0x5e, 0x7f, 0xff, 0xfa]), [239, 255, 255, 250]);
    assert_eq!(bench.down(&ssdp), Verdict::Pass);
    let arp = build::arp(1, PRINTER, PRINTER_V4, OWN_V4);
    let arp = build::ethernet(build::BROADCAST, PRINTER, build::ARP, &arp);
    assert_eq!(bench.down(&arp), Verdict::Pass);
    let v6 = |group: &str| {
        let packet = build::ipv6("fe80::9".parse().unwrap(), group.parse().unwrap(), 17, &[0; 8]);
        build::ethernet(Mac::new([0x33, 0x33, 0, 0, 0, 9]), PRINTER, build::IPV6, &packet)
    };
    assert_eq!(bench.down(&v6("ff05::1:3")), dropped(Reason::StreamRate));
    for near in ["ff02::fb", "ff05::c", "ff01::1"] {
        assert_eq!(bench.down(&v6(near)), Verdict::Pass, "{near}");
    }
}

#[test]
fn unicast_arp_is_limited_too() {
    let mut bench = Bench::home();
    let arp = build::arp(2, DEVICE, OWN_V4, PRINTER_V4);
    let frame = build::ethernet(PRINTER, DEVICE, build::ARP, &arp);
    let passed = (0..1000).filter(|_| bench.up(&frame) == Verdict::Pass).count();
    assert_eq!(passed as u32, GroupLimits::default().arp.burst);
}

#[test]
fn answers_to_one_device_cost_neither_another_nor_what_all_are_asked() {
    let mut bench = Bench::home();
    let arp = |to: Mac, operation| {
        let octets = build::arp(operation, PRINTER, PRINTER_V4, OWN_V4);
        build::ethernet(to, PRINTER, build::ARP, &octets)
    };
    let passed = (0..1000).filter(|_| bench.down(&arp(DEVICE, 2)) == Verdict::Pass).count() as u32;
    assert_eq!(passed, GroupLimits::default().arp.burst);
    assert_eq!(bench.down(&arp(DEVICE, 2)), dropped(Reason::ArpRate));
    assert_eq!(bench.down(&arp(OTHER_DEVICE, 2)), Verdict::Pass);
    assert_eq!(bench.down(&arp(build::BROADCAST, 1)), Verdict::Pass);
}

#[test]
fn a_device_is_policed_to_its_class_of_service_in_both_directions() {
    let bandwidth = Bandwidth { up: Some(8_000_000), down: Some(16_000_000) };
    let mut bench = Bench::with(Settings {
        devices: vec![Device::new(DEVICE).limited_to(bandwidth), Device::new(OTHER_DEVICE)],
        ..settings()
    });
    let up = build::ethernet(
        ROUTER,
        DEVICE,
        build::IPV4,
        &build::ipv4(OWN_V4, INTERNET_V4, 6, &[0; 1460]),
    );
    let down = build::ethernet(
        DEVICE,
        ROUTER,
        build::IPV4,
        &build::ipv4(INTERNET_V4, OWN_V4, 6, &[0; 60_000]),
    );
    let (mut sent, mut received) = (0, 0);
    // 10 s at 1.5 Gbit/s up, and in super-frames at 480 Mbit/s down.
    for n in 0..1_250_000u32 {
        bench.wait(Duration::from_micros(8));
        sent += if bench.up(&up) == Verdict::Pass { up.len() } else { 0 };
        if n % 125 == 0 {
            received += if bench.down(&down) == Verdict::Pass { down.len() } else { 0 };
        }
    }
    for (moved, bits, frame) in [(sent, 8_000_000, up.len()), (received, 16_000_000, down.len())] {
        let rate = Rate::of(bits);
        let least = (bits / 8 * 10) as usize;
        let most = least + rate.burst as usize + frame;
        assert!((least..=most).contains(&moved), "{moved} octets in 10 s at {bits} bit/s");
    }
    assert!(bench.port.counters().from_stranger.dropped(Reason::Policed) > 0);

    let octets = build::ipv4(PRINTER_V4, INTERNET_V4, 6, &[0; 1460]);
    let other = build::ethernet(ROUTER, OTHER_DEVICE, build::IPV4, &octets);
    assert!((0..10_000).all(|_| bench.up(&other) == Verdict::Pass), "the other is not limited");
}

#[test]
fn other_settings_do_not_refill_buckets() {
    let limited = |bits| Settings {
        devices: vec![Device {
            up: Some(Rate { bits_per_second: bits, burst: 2_000 }),
            ..Device::new(DEVICE)
        }],
        from_stranger: GroupLimits { near: FrameRate::new(1, 3), ..GroupLimits::default() },
        ..settings()
    };
    let mut bench = Bench::with(limited(80_000));
    let storm = datagram(MDNS, [224, 0, 0, 251]);
    assert_eq!((0..9).filter(|_| bench.up(&storm) == Verdict::Pass).count(), 3);
    let frame = build::ipv4(OWN_V4, INTERNET_V4, 6, &[0; 1940]);
    assert_eq!(bench.up_v4(&frame), Verdict::Pass);
    assert_eq!(bench.up_v4(&frame), dropped(Reason::Policed));
    bench.port.reconfigure(limited(160_000), bench.now);
    assert_eq!(bench.up(&storm), dropped(Reason::GroupRate));
    assert_eq!(bench.up_v4(&frame), dropped(Reason::Policed));
}

#[test]
fn what_is_dropped_for_what_it_is_costs_no_allowance() {
    let mut bench = Bench::home();
    for _ in 0..1000 {
        let poison = build::arp(2, DEVICE, ROUTER_V4, PRINTER_V4);
        assert_eq!(bench.up_arp(&poison), dropped(Reason::ArpSpoof));
    }
    assert_eq!(bench.up_arp(&build::arp(1, DEVICE, OWN_V4, ROUTER_V4)), Verdict::Pass);
}
