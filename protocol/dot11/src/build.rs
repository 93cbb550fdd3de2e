//! Frames to inject or to feed to a decoder: for tests, labs and load.

use homeward_model::{Mac, Rssi, Ssid};

const BROADCAST: Mac = Mac::new([0xff; 6]);
const PROBE_REQUEST: u8 = 0x40;
const BEACON: u8 = 0x80;
/// 1, 2, 5.5 and 11 Mbit/s (basic), 6, 9, 12 and 18 Mbit/s; in units of 500 kbit/s (9.4.2.3).
const RATES: [u8; 8] = [0x82, 0x84, 0x8b, 0x96, 12, 18, 24, 36];

/// A probe request ready for a packet socket on a monitor interface: a radiotap header for
/// injection, then the frame.
///
/// `ssid` `None` asks for any network; of `sequence` the low 12 bits count. The kernel is told to
/// leave the sequence number alone and to expect no acknowledgement.
pub fn build_probe_request(source: Mac, ssid: Option<&Ssid>, sequence: u16) -> Vec<u8> {
    injected(&probe_request(source, ssid, sequence))
}

/// A probe request without any header in front.
pub fn probe_request(source: Mac, ssid: Option<&Ssid>, sequence: u16) -> Vec<u8> {
    let mut frame = header(PROBE_REQUEST, source, BROADCAST, sequence);
    element(&mut frame, 0, ssid.map(Ssid::as_bytes).unwrap_or_default());
    element(&mut frame, 1, &RATES);
    frame
}

/// A beacon without any header in front. `timestamp` in microseconds, `interval` in units of 1,024
/// microseconds; `ssid` `None` is a hidden one.
pub fn beacon(
    bssid: Mac,
    ssid: Option<&Ssid>,
    timestamp: u64,
    interval: u16,
    sequence: u16,
) -> Vec<u8> {
    let mut frame = header(BEACON, bssid, bssid, sequence);
    frame.extend(timestamp.to_le_bytes());
    frame.extend(interval.to_le_bytes());
    frame.extend([0x11, 0x04]); // ESS, privacy, short slot time
    element(&mut frame, 0, ssid.map(Ssid::as_bytes).unwrap_or_default());
    element(&mut frame, 1, &RATES);
    frame
}

/// Puts a radiotap header for injection in front: TX flags "no acknowledgement" (0x0008) and
/// "keep my sequence number" (0x0010).
pub fn injected(frame: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0, 10, 0, 0x00, 0x80, 0, 0, 0x18, 0];
    out.extend(frame);
    out
}

/// Puts a radiotap header in front as Linux does for a received frame: flags, rate, channel,
/// signal, antenna, RX flags. `frequency` in MHz.
pub fn captured(frame: &[u8], signal: Rssi, frequency: u16) -> Vec<u8> {
    let present: u32 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 11 | 1 << 14;
    let mut out = vec![0, 0, 18, 0];
    out.extend(present.to_le_bytes());
    out.extend([0, 2]); // no flags; 1 Mbit/s
    out.extend(frequency.to_le_bytes());
    out.extend([0xa0, 0x00]); // 2.4 GHz, CCK
    out.extend(signal.0.to_le_bytes());
    out.extend([0, 0, 0]); // antenna 0; RX flags
    out.extend(frame);
    out
}

fn header(control: u8, source: Mac, bssid: Mac, sequence: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(80);
    frame.extend([control, 0, 0, 0]);
    frame.extend(BROADCAST.octets());
    frame.extend(source.octets());
    frame.extend(bssid.octets());
    frame.extend((sequence << 4).to_le_bytes());
    frame
}

fn element(frame: &mut Vec<u8>, id: u8, content: &[u8]) {
    frame.push(id);
    frame.push(u8::try_from(content.len()).unwrap_or(u8::MAX));
    frame.extend(content.iter().take(usize::from(u8::MAX)));
}
