//! Bodies of the fuzz targets, compiled and run with the tests as well.

use crate::event::{Event, MAX_LINE, MAX_TEXT, parse};
use crate::reply;

/// Decodes an event line and checks what every decoded line promises.
pub fn fuzz_event(data: &[u8]) {
    let Some(line) = parse(data) else { return };
    if let Event::Other(text) = &line.event {
        assert!(text.len() <= MAX_TEXT, "an event's text is bounded");
    }
    let interface = line.interface.map(str::to_owned);
    let owned = line.into_owned();
    assert_eq!(owned.interface.map(|name| name.as_str().to_owned()), interface);
    assert!(parse(b"OK\n").is_none() && MAX_LINE > MAX_TEXT);
}

/// Decodes the replies that have a structure.
pub fn fuzz_reply(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(status) = reply::parse_status(&text) {
        assert!(status.bss.len() <= reply::MAX_BSS, "a status lists no more than fits");
    }
    let _ = reply::parse_station(&text);
    let _ = reply::decode_printf(&text);
}
