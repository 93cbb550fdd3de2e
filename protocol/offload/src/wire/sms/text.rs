//! Characters that are the same octet in every alphabet of short messages.

use zeroize::Zeroizing;

/// What stands for `@`.
const AT: char = '*';
/// What a character in hex begins with.
const ESCAPE: char = '=';

/// Whether a character is the same octet in GSM 03.38, in ASCII and in Latin-1. `$`, `@`, `_`,
/// the backquote, brackets, braces, `\`, `^`, `|` and `~` are not.
pub const fn is_safe(c: char) -> bool {
    matches!(c, ' '..='?' | 'A'..='Z' | 'a'..='z') && c != '$'
}

/// Characters that a word has as they are.
fn is_plain(c: char) -> bool {
    is_safe(c) && !matches!(c, ' ' | AT | ESCAPE | ',')
}

/// Writes text as a word, or as a part of one.
pub(super) fn push_escaped(out: &mut String, text: &str) {
    push_octets(out, text.as_bytes());
}

/// As [`push_escaped`], for what need not be text.
pub(super) fn push_octets(out: &mut String, octets: &[u8]) {
    for octet in octets {
        match char::from(*octet) {
            '@' => out.push(AT),
            c if is_plain(c) => out.push(c),
            _ => {
                out.push(ESCAPE);
                let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
                out.push(digit(octet >> 4).to_ascii_uppercase());
                out.push(digit(octet & 15).to_ascii_uppercase());
            }
        }
    }
}

/// Reads what [`push_octets`] writes.
pub(super) fn octets(word: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(word.len()));
    let mut rest = word.chars();
    while let Some(c) = rest.next() {
        match c {
            AT => out.push(b'@'),
            ESCAPE => {
                let mut digit = || rest.next().and_then(|c| c.to_digit(16));
                let octet = digit()? << 4 | digit()?;
                out.push(u8::try_from(octet).ok()?);
            }
            c if is_plain(c) => out.push(u8::try_from(c).ok()?),
            _ => return None,
        }
    }
    Some(out)
}

/// Reads what [`push_escaped`] writes.
pub(super) fn unescape(word: &str) -> Option<Zeroizing<String>> {
    let octets = octets(word)?;
    std::str::from_utf8(&octets).ok().map(|text| Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The default alphabet of 3GPP TS 23.038 6.2.1, from 0 to 0x7f; 0x1b is the escape to the
    /// extension.
    const GSM: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\u{1b}ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?\
                       ¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";

    #[test]
    fn a_safe_character_is_the_same_octet_in_gsm_03_38_as_in_ascii() {
        let gsm: Vec<char> = GSM.chars().collect();
        assert_eq!(gsm.len(), 128);
        for octet in 0..=127u8 {
            let same = gsm[usize::from(octet)] == char::from(octet);
            let graphic = !char::from(octet).is_ascii_control();
            assert_eq!(is_safe(char::from(octet)), same && graphic, "{octet:#x}");
        }
        assert!(('\u{80}'..'\u{500}').all(|c| !is_safe(c)));
    }

    #[test]
    fn an_at_takes_one_character_and_an_underscore_three() {
        let mut word = String::new();
        push_escaped(&mut word, "a_b@c ü*");
        assert_eq!(word, "a=5Fb*c=20=C3=BC=2A");
        assert_eq!(unescape(&word).unwrap().as_str(), "a_b@c ü*");
        for bad in ["=", "=4", "=4g", "a b", "ü", "@", "=FF"] {
            assert!(unescape(bad).is_none(), "{bad}");
        }
    }
}
