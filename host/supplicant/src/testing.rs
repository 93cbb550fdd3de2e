//! Bodies of the fuzz targets, compiled and run with the tests as well.

use homeward_ctrl::line;

use crate::event::{Event, MAX_TEXT, parse};
use crate::reply;

/// Decodes an event line and checks what every decoded line promises.
pub fn fuzz_event(data: &[u8]) {
    let Some(line) = line::parse(data) else { return };
    match parse(line.text) {
        Event::Other(text) => assert!(text.len() <= MAX_TEXT, "an event's text is bounded"),
        Event::BadCertificate { subject, text, .. } => {
            assert!(subject.len().max(text.len()) <= MAX_TEXT, "a certificate's texts are bounded");
        }
        _ => {}
    }
}

/// Decodes the replies that have a structure.
pub fn fuzz_reply(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = reply::parse_status(&text);
    let _ = reply::parse_signal(&text);
    assert!(reply::parse_bss(&text).len() <= reply::MAX_BSS, "no more is listed than is said");
    assert!(reply::parse_networks(&text).len() <= reply::MAX_NETWORKS);
}

/// The encoder of names as wpa_supplicant has it: printable ASCII as it is, the rest escaped.
#[cfg(test)]
pub(crate) fn printf(octets: &[u8]) -> String {
    let escaped = |c: &u8| match c {
        b'"' => "\\\"".to_owned(),
        b'\\' => "\\\\".to_owned(),
        0x1b => "\\e".to_owned(),
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\t' => "\\t".to_owned(),
        32..=126 => char::from(*c).to_string(),
        _ => format!("\\x{c:02x}"),
    };
    octets.iter().map(escaped).collect()
}
