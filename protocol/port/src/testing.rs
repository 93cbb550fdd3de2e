//! For tests and fuzzing: frames to try a port with, and the body of the fuzz target.

pub mod build;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use homeward_model::{Instant, Mac};

use crate::{AddressPolicy, Device, MAX_IPV4, MAX_IPV6, Neighbour, Port, Settings, Side, Verdict};

/// The device behind the port of the fuzz target.
pub const DEVICE: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
/// Another behind the same port.
pub const OTHER_DEVICE: Mac = Mac::new([2, 0, 0, 0, 0, 2]);
/// The home's router.
pub const ROUTER: Mac = Mac::new([2, 0, 0, 0, 0xff, 1]);
/// Its address.
pub const ROUTER_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);

/// Settings with both devices and the router.
pub fn settings(side: Side) -> Settings {
    Settings {
        side,
        devices: [DEVICE, OTHER_DEVICE].map(Device::new).into(),
        protected: vec![Neighbour { address: IpAddr::V4(ROUTER_V4), mac: Some(ROUTER) }],
        ..Settings::default()
    }
}

/// Target `port_frame`: records of a control octet, a length in 16 bits and a frame.
///
/// Of the control octet, bit 0 is the direction, bit 1 says that the device's address is to be put
/// where it belongs (so that a fuzzer need not guess it), and the rest is by how many tenths of a
/// second the time goes on.
pub fn fuzz_port(data: &[u8]) {
    let mut ports = [
        Port::new(settings(Side::Home), Instant::ORIGIN),
        Port::new(
            Settings { addresses: AddressPolicy::Assigned, ..settings(Side::Home) },
            Instant::ORIGIN,
        ),
        Port::new(settings(Side::Foreign), Instant::ORIGIN),
    ];
    let (mut now, mut rest) = (Instant::ORIGIN, data);
    while let [control, l0, l1, behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*l0, *l1])).min(behind.len());
        let (frame, behind) = behind.split_at(length);
        rest = behind;
        let mut frame = frame.to_vec();
        now = now + Duration::from_millis(u64::from(control >> 2) * 100);
        let from = control & 1 != 0;
        if control & 2 != 0 {
            let at = if from { 6..12 } else { 0..6 };
            if let Some(room) = frame.get_mut(at) {
                room.copy_from_slice(&DEVICE.octets());
            }
        }
        for port in &mut ports {
            let verdict = match from {
                true => port.from_stranger(&frame, now),
                false => port.to_stranger(&frame, now),
            };
            if verdict == Verdict::Pass {
                check_passed(&frame, from);
            }
            check_memory(port, now);
        }
    }
}

/// What must hold of every frame that passes, whatever it carries.
fn check_passed(frame: &[u8], from: bool) {
    let own = [DEVICE, OTHER_DEVICE].map(Mac::octets);
    let destination = frame.get(..6).unwrap_or_default();
    let source = frame.get(6..12).unwrap_or_default();
    assert_eq!(own.iter().any(|mac| mac == source), from, "its own source only, and at its end");
    assert!(!matches!(destination, [0x01, 0x80, 0xc2, 0, 0, 0..=0x0f]), "no link control");
    let group = destination.first().is_some_and(|first| first & 1 != 0);
    assert!(from || group || own.iter().any(|mac| mac == destination), "nobody else's");
    let kind = frame.get(12..14).unwrap_or_default();
    assert!(matches!(kind, [8, 0] | [8, 6] | [0x86, 0xdd] | [0, 6]), "no other protocol");
}

fn check_memory(port: &Port, now: Instant) {
    for device in [DEVICE, OTHER_DEVICE] {
        let [v4, v6] = [true, false].map(|v4| {
            port.bindings(now)
                .filter(|binding| binding.mac == device && binding.address.is_ipv4() == v4)
                .count()
        });
        assert!(v4 <= MAX_IPV4 && v6 <= MAX_IPV6, "{v4} and {v6} addresses");
    }
    assert!(
        port.bindings(now).all(|binding| binding.origin != crate::Origin::Seen
            || binding.address != IpAddr::V4(ROUTER_V4)),
        "nobody takes the router's address"
    );
}
