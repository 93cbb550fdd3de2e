//! What the fuzz target runs.

use crate::frame::{Elements, Header};
use crate::{Observation, build, observe, radiotap};

/// Decodes arbitrary octets and checks what must hold of whatever comes out.
///
/// # Panics
///
/// If the decoder breaks a promise: a group address as sender, a frame that changes when it is
/// built anew, an element from outside the frame.
pub fn fuzz(data: &[u8]) {
    if let Ok(Observation::ProbeRequest(probe)) = observe(data) {
        assert!(!probe.source.is_group(), "a group address as sender");
        let signal = probe.signal.unwrap_or(homeward_model::Rssi(0));
        let frequency = probe.frequency.unwrap_or_default();
        let frame = build::probe_request(probe.source, probe.ssid.as_ref(), 0);
        let Ok(Observation::ProbeRequest(again)) =
            observe(&build::captured(&frame, signal, frequency))
        else {
            panic!("a frame built from what was decoded is refused");
        };
        assert_eq!((again.source, again.ssid), (probe.source, probe.ssid));
    }
    // The parts too, so that a damaged radiotap header does not hide the rest from the fuzzer.
    let frame = radiotap::decode(data).map_or(data, |(_, frame)| frame);
    if let Ok(Some((_, body))) = Header::decode(frame) {
        let octets: usize = Elements::new(body).flatten().map(|e| e.content.len() + 2).sum();
        assert!(octets <= body.len(), "elements from outside the frame");
    }
}
