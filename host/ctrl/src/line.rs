//! The form of an event line.
//!
//! A line is `<level>EVENT arguments` on the socket of one interface and `IFNAME=vap0 <level>EVENT
//! arguments` on the global one. A reply to a command never begins with either prefix, which is
//! how the two are told apart on a socket that has both.

use crate::interface::is_name;

/// The longest line that is looked at, in octets; the daemons' own buffers are no larger.
pub const MAX_LINE: usize = 4096;

/// One event line, its text not decoded yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The interface, on the global socket.
    pub interface: Option<&'a str>,
    /// The daemon's level: 3 is information, more is graver.
    pub level: u8,
    /// What is told, without blanks at its end.
    pub text: &'a str,
}

/// What a daemon tells in an event line.
pub trait Told: Sized + Send + 'static {
    /// Decodes a line. Whatever is in it, something comes of it.
    fn decode(line: Line<'_>) -> Self;
}

/// Reads a datagram from a control socket; `None` if it is no event line, thus a reply.
pub fn parse(datagram: &[u8]) -> Option<Line<'_>> {
    let text = text(datagram.get(..MAX_LINE).unwrap_or(datagram));
    let (interface, rest) = match text.strip_prefix("IFNAME=") {
        Some(rest) => {
            let (name, rest) = rest.split_once(' ')?;
            is_name(name.as_bytes()).then_some((Some(name), rest))?
        }
        None => (None, text),
    };
    let (level, rest) = rest.strip_prefix('<')?.split_once('>')?;
    if level.is_empty() || level.len() > 2 || !level.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    Some(Line { interface, level: level.parse().ok()?, text: rest.trim_end() })
}

/// Undoes the daemons' `printf` encoding of an SSID: `\"`, `\\`, `\e`, `\n`, `\r`, `\t`, `\xHH`.
pub fn decode_printf(text: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len().min(32));
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'\\' {
            octets.push(*first);
            continue;
        }
        let Some((code, tail)) = rest.split_first() else { break };
        rest = tail;
        octets.push(match code {
            b'e' => 0x1b,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let Some((digits, tail)) = rest.split_at_checked(2) else { break };
                rest = tail;
                let value = std::str::from_utf8(digits).ok();
                let Some(value) = value.and_then(|d| u8::from_str_radix(d, 16).ok()) else { break };
                value
            }
            other => *other,
        });
    }
    octets
}

/// The longest prefix that is UTF-8.
fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => bytes
            .get(..e.valid_up_to())
            .and_then(|valid| std::str::from_utf8(valid).ok())
            .unwrap_or_default(),
    }
}
