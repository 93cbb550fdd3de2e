//! Bodies of the fuzz targets, compiled and run with the tests as well.

use crate::report::{Report, parse};

/// Decodes a line and checks what every decoded line promises.
pub fn fuzz_report(octets: &[u8]) {
    let Some(Report::Place(place)) = parse(&String::from_utf8_lossy(octets)) else { return };
    assert!(place.course_cdeg.is_none_or(|course| course < 36_000), "a course is one of a circle");
}
