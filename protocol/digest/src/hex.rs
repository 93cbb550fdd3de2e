//! Octets in hexadecimal.

/// Lower-case digits.
pub(crate) fn digits(octets: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 * octets.len());
    for octet in octets {
        let _ = write!(text, "{octet:02x}");
    }
    text
}

/// As many octets as the text has pairs of digits; `None` if that is not `N`, or they are none.
pub(crate) fn octets<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut octets = [0; N];
    for (at, octet) in octets.iter_mut().enumerate() {
        *octet = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(octets)
}
