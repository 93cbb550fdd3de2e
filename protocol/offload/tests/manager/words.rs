//! Words for the world of these tests: spans, names, a policy, and octets from a seed.

use std::time::Duration;

use homeward_model::{Entropy, Imei, Imsi, Mac, Ssid, WlanPolicy};

pub(crate) const EPOCH: i64 = 1_769_860_800_000;
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn mac(n: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0, n])
}

pub(crate) fn ssid(text: &str) -> Ssid {
    text.parse().unwrap()
}

pub(crate) fn imsi(n: u8) -> Imsi {
    format!("9997012345678{n:02}").parse().unwrap()
}

pub(crate) fn imei(n: u8) -> Imei {
    format!("35693803564{n:03}9").parse().unwrap()
}

/// "Town" is preferred, "Dear" is metered.
pub(crate) fn policy() -> WlanPolicy {
    serde_json::from_str(
        r#"{"networks":[{"ssid":"Town"},{"ssid":"Dear","metered":true}],
            "server_name":"aaa.example.net","join":-67,"leave":-77,"dwell":3}"#,
    )
    .unwrap()
}

/// Octets from a seed (SplitMix64).
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        let octets: [u8; 8] = self.octets();
        u64::from_le_bytes(octets) % n
    }
}

impl Entropy for Seed {
    fn fill(&mut self, room: &mut [u8]) {
        for octet in room {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            *octet = (mixed >> 56) as u8;
        }
    }
}
