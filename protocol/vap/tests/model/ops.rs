//! What may happen, and how often.

use homeward_model::Security;
use proptest::prelude::*;

use crate::world::{DEVICES, NETWORKS, Outcome};

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Probe {
        device: u8,
        network: usize,
        signal: i8,
    },
    /// A probe, all that follows from it, and the device connects where it can.
    Join {
        device: u8,
        network: usize,
    },
    Prepare {
        device: u8,
        network: usize,
    },
    Withdraw {
        device: u8,
        network: usize,
    },
    Flood {
        macs: u8,
    },
    Look {
        which: usize,
        unreachable: bool,
    },
    Answer {
        which: usize,
    },
    Execute {
        outcome: Outcome,
    },
    Report,
    Connect {
        device: u8,
        slot: Option<u16>,
    },
    Disconnect {
        device: u8,
        slot: Option<u16>,
    },
    Mismatch {
        device: u8,
        slot: Option<u16>,
    },
    Enrol {
        device: u8,
        network: usize,
        session: bool,
    },
    Suspend {
        device: u8,
    },
    Restore {
        device: u8,
    },
    Rotate {
        device: u8,
    },
    Secure {
        network: usize,
        security: Security,
    },
    Move {
        device: u8,
        network: usize,
    },
    Revoke {
        device: u8,
        network: Option<usize>,
        suspend: bool,
    },
    Die {
        late: bool,
        zombies: bool,
    },
    Revive,
    CoreBack,
    Wait {
        ms: u64,
    },
    Timeout,
    Reconfigure {
        max_vaps: usize,
        max_devices_per_vap: usize,
        home: bool,
        memory: usize,
        max_prepared: usize,
    },
    /// What is under way goes well.
    Settle,
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    use Op::*;
    let device = 0..DEVICES;
    let network = 0..NETWORKS.len();
    let slot = prop_oneof![1 => Just(None), 4 => (0u16..3).prop_map(Some)];
    let at = || (device.clone(), slot.clone());
    let outcome = prop_oneof![
        4 => Just(Outcome::Done),
        1 => Just(Outcome::Refused),
        1 => Just(Outcome::DoneUnheard)
    ];
    let security = prop_oneof![
        Just(Security::Wpa2Psk),
        Just(Security::Wpa3Sae),
        Just(Security::Wpa2Wpa3),
        Just(Security::Enterprise)
    ];
    let known = (device.clone(), network.clone());
    prop_oneof![
        12 => (known.clone(), -85..-30i8)
            .prop_map(|((device, network), signal)| Probe { device, network, signal }),
        6 => known.clone().prop_map(|(device, network)| Join { device, network }),
        4 => known.clone().prop_map(|(device, network)| Prepare { device, network }),
        2 => known.clone().prop_map(|(device, network)| Withdraw { device, network }),
        1 => (1u8..20).prop_map(|macs| Flood { macs }),
        6 => (0usize..4, prop::bool::weighted(0.2))
            .prop_map(|(which, unreachable)| Look { which, unreachable }),
        6 => (0usize..4).prop_map(|which| Answer { which }),
        8 => outcome.prop_map(|outcome| Execute { outcome }),
        8 => Just(Report),
        6 => at().prop_map(|(device, slot)| Connect { device, slot }),
        2 => at().prop_map(|(device, slot)| Disconnect { device, slot }),
        1 => at().prop_map(|(device, slot)| Mismatch { device, slot }),
        3 => (known.clone(), any::<bool>())
            .prop_map(|((device, network), session)| Enrol { device, network, session }),
        1 => device.clone().prop_map(|device| Suspend { device }),
        1 => device.clone().prop_map(|device| Restore { device }),
        1 => device.clone().prop_map(|device| Rotate { device }),
        1 => (network.clone(), security)
            .prop_map(|(network, security)| Secure { network, security }),
        1 => known.prop_map(|(device, network)| Move { device, network }),
        3 => (device.clone(), prop::option::of(network.clone()), any::<bool>())
            .prop_map(|(device, network, suspend)| Revoke { device, network, suspend }),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(late, zombies)| Die { late, zombies }),
        2 => Just(Revive),
        1 => Just(CoreBack),
        3 => prop_oneof![1u64..100, 100u64..5_000, 5_000u64..100_000].prop_map(|ms| Wait { ms }),
        6 => Just(Timeout),
        1 => (0usize..4, 0usize..4, any::<bool>(), 0usize..12, 0usize..3).prop_map(
            |(max_vaps, max_devices_per_vap, home, memory, max_prepared)| {
                Reconfigure { max_vaps, max_devices_per_vap, home, memory, max_prepared }
            }
        ),
        4 => Just(Settle),
    ]
}
