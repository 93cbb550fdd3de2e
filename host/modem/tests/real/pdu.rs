//! PDUs of short messages (3GPP TS 23.040), as far as the tests read and write them.

use data_encoding::HEXUPPER;

/// A character of the GSM 7-bit alphabet (3GPP TS 23.038 6.2.1), of those that differ from ASCII.
const OTHERS: [(char, u8); 3] = [('@', 0x00), ('_', 0x11), ('$', 0x02)];

fn septet(c: char) -> u8 {
    OTHERS.iter().find(|(other, _)| *other == c).map_or(c as u8, |(_, septet)| *septet)
}

fn character(septet: u8) -> char {
    OTHERS.iter().find(|(_, other)| *other == septet).map_or(septet as char, |(c, _)| *c)
}

fn pack(septets: &[u8]) -> Vec<u8> {
    pack_behind(&[], septets)
}

/// Septets behind a header, from the next septet's bound on (3GPP TS 23.040 9.2.3.24).
fn pack_behind(header: &[u8], septets: &[u8]) -> Vec<u8> {
    let first = (header.len() * 8).div_ceil(7);
    let mut octets = vec![0; ((first + septets.len()) * 7).div_ceil(8)];
    octets[..header.len()].copy_from_slice(header);
    for (n, septet) in septets.iter().enumerate() {
        for bit in 0..7 {
            let at = (first + n) * 7 + bit;
            if septet >> bit & 1 == 1 {
                octets[at / 8] |= 1 << (at % 8);
            }
        }
    }
    octets
}

/// `count` septets of which the first begins at bit `from`.
fn unpack(octets: &[u8], from: usize, count: usize) -> String {
    let bit = |n: usize| octets.get(n / 8).map_or(0, |octet| octet >> (n % 8) & 1);
    (0..count)
        .map(|n| character((0..7).fold(0, |all, b| all | bit(from + n * 7 + b) << b)))
        .collect()
}

fn address(number: &str) -> Vec<u8> {
    let digits: Vec<u8> = number.bytes().map(|c| c - b'0').collect();
    // Short codes are of no type, all others international.
    let mut octets = vec![digits.len() as u8, if digits.len() < 7 { 0x81 } else { 0x91 }];
    octets.extend(digits.chunks(2).map(|two| two[0] | two.get(1).unwrap_or(&0xf) << 4));
    octets
}

/// SMS-DELIVER, with the service centre's address before it, as a modem stores it.
fn deliver(from: &str, header: bool, coding: u8, length: usize, data: &[u8]) -> String {
    let mut pdu = vec![0x07, 0x91, 0x44, 0x77, 0x00, 0x09, 0x10, 0x00];
    pdu.push(if header { 0x44 } else { 0x04 });
    pdu.extend(address(from));
    pdu.extend([0, coding, 0x62, 0x11, 0x82, 0x22, 0x00, 0x00, 0x00, length as u8]);
    pdu.extend(data);
    HEXUPPER.encode(&pdu)
}

/// A message in the 7-bit alphabet.
pub(crate) fn text(from: &str, text: &str) -> String {
    let septets: Vec<u8> = text.chars().map(septet).collect();
    deliver(from, false, 0, septets.len(), &pack(&septets))
}

/// A part of a message in the 7-bit alphabet: `header` is the user data header without its length.
pub(crate) fn segment(from: &str, text: &str, header: &[u8]) -> String {
    let septets: Vec<u8> = text.chars().map(septet).collect();
    let header = [&[header.len() as u8], header].concat();
    let length = (header.len() * 8).div_ceil(7) + septets.len();
    deliver(from, true, 0, length, &pack_behind(&header, &septets))
}

/// A part of a message in UCS-2.
pub(crate) fn part(from: &str, text: &str, number: u8, of: u8) -> String {
    let mut data = vec![5, 0, 3, 0x5a, of, number];
    data.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
    deliver(from, true, 8, data.len(), &data)
}

/// To whom an SMS-SUBMIT goes, and what it says.
pub(crate) fn read(pdu: &str) -> (String, String) {
    let octets = HEXUPPER.decode(pdu.to_uppercase().as_bytes()).unwrap();
    let rest = &octets[1 + usize::from(octets[0])..];
    let (first, digits) = (rest[0], usize::from(rest[2]));
    let number = &rest[4..4 + digits.div_ceil(2)];
    let to: String = number
        .iter()
        .flat_map(|two| [two & 0xf, two >> 4])
        .take(digits)
        .map(|digit| char::from(digit + b'0'))
        .collect();
    let rest = &rest[4 + digits.div_ceil(2)..];
    let coding = rest[1];
    let validity = match first >> 3 & 3 {
        0 => 0,
        2 => 1,
        _ => 7,
    };
    let (length, data) = (usize::from(rest[2 + validity]), &rest[3 + validity..]);
    let header = if first & 0x40 == 0 { 0 } else { 1 + usize::from(data[0]) };
    let text = if coding & 0x0c == 8 {
        let units: Vec<u16> =
            data[header..].chunks(2).map(|two| u16::from_be_bytes([two[0], two[1]])).collect();
        String::from_utf16(&units).unwrap()
    } else {
        let skip = (header * 8).div_ceil(7);
        unpack(data, skip * 7, length - skip)
    };
    (to, text)
}
