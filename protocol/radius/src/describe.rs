//! A packet as text, for logs at DEBUG and for tools.

use std::fmt::{self, Write};

use homeward_model::Mac;

use crate::dictionary::{self, Care, ValueType, value_name};
use crate::packet::{self, Packet, VendorSpecific};

/// How much of a packet is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Show {
    /// Identities of subscribers are redacted.
    #[default]
    Redacted,
    /// Identities of subscribers are spelled out, because someone entitled asked. Passwords and
    /// keys stay redacted, hidden or not: what is hidden is good for guessing the secret.
    Identities,
}

/// A packet on one line: code, identifier, octets, and each attribute by name.
///
/// ```text
/// Access-Request id 7, 86 octets: User-Name = 02:00:00:**:**:**, User-Password = [redacted, 16 octets]
/// ```
pub fn describe(packet: &Packet<'_>, show: Show) -> String {
    let mut out = String::with_capacity(256);
    // Writing to a String cannot fail.
    let _ = write_packet(&mut out, packet, show);
    out
}

fn write_packet(out: &mut String, packet: &Packet<'_>, show: Show) -> fmt::Result {
    let (code, id, octets) = (packet.code(), packet.identifier(), packet.as_bytes().len());
    write!(out, "{code} id {id}, {octets} octets")?;
    let mut separator = ": ";
    for attribute in packet.attributes() {
        if let Some((vendor, parts)) = attribute
            .vendor_specific()
            .and_then(|v: VendorSpecific<'_>| Some((v.vendor, v.attributes()?)))
        {
            for part in parts {
                out.push_str(separator);
                write_attribute(out, vendor, part.kind, part.value, show)?;
                separator = ", ";
            }
        } else {
            out.push_str(separator);
            write_attribute(out, 0, attribute.kind, attribute.value, show)?;
        }
        separator = ", ";
    }
    Ok(())
}

fn write_attribute(
    out: &mut String,
    vendor: u32,
    kind: u8,
    value: &[u8],
    show: Show,
) -> fmt::Result {
    let octets = value.len();
    let Some(entry) = dictionary::vendor_entry(vendor, kind) else {
        // What is not known may be anything, a key included.
        return match vendor {
            0 => write!(out, "{kind} = [{octets} octets]"),
            _ => write!(out, "{vendor}.{kind} = [{octets} octets]"),
        };
    };
    write!(out, "{} = ", entry.name)?;
    match (entry.care, show) {
        (Care::Secret, _) => write!(out, "[redacted, {octets} octets]"),
        (Care::Identity, Show::Redacted) => {
            match packet::text(value).and_then(|text| text.parse::<Mac>().ok()) {
                Some(mac) => write!(out, "{mac}"),
                None => write!(out, "[redacted, {octets} octets]"),
            }
        }
        _ => write_value(out, entry, value),
    }
}

fn write_value(out: &mut String, entry: &dictionary::Entry, value: &[u8]) -> fmt::Result {
    let shown = match entry.value {
        ValueType::Integer => {
            packet::integer(value).map(|n| match value_name(entry.vendor, entry.kind, n) {
                Some(name) => write!(out, "{name} ({n})"),
                None => write!(out, "{n}"),
            })
        }
        ValueType::TaggedInteger => {
            packet::integer(value).map(|n| write!(out, "{} (tag {})", n & 0x00ff_ffff, n >> 24))
        }
        ValueType::Signed => packet::integer(value).map(|n| write!(out, "{}", n.cast_signed())),
        ValueType::Time => packet::integer(value).map(|n| write!(out, "{n} s")),
        ValueType::Integer64 => packet::integer64(value).map(|n| write!(out, "{n}")),
        ValueType::Ipv4 => packet::ipv4(value).map(|address| write!(out, "{address}")),
        ValueType::Ipv6 => packet::ipv6(value).map(|address| write!(out, "{address}")),
        _ => None,
    };
    shown.unwrap_or_else(|| write!(out, "\"{}\"", value.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dictionary::{homeward, standard};
    use crate::{Builder, Code, SharedSecret};
    use homeward_model::Secret;

    fn packet() -> Vec<u8> {
        let secret = SharedSecret::new(&Secret::new("xyzzy5461")).unwrap();
        let mut out = Vec::new();
        let mut b = Builder::request(&mut out, &secret, Code::AccessRequest, 7, [9; 16]);
        b.text(standard::USER_NAME, "02005e100001").unwrap();
        b.user_password(b"Home").unwrap();
        b.text(standard::CALLING_STATION_ID, "someone@example.net").unwrap();
        b.integer(standard::NAS_PORT_TYPE, 19).unwrap();
        b.octets(standard::CALLED_STATION_ID, b"ap\n\xff").unwrap();
        b.vendor_integer(homeward::VENDOR, homeward::SIGNAL, (-67i32).cast_unsigned()).unwrap();
        b.vendor(9, 1, b"key").unwrap();
        b.octets(200, b"key").unwrap();
        b.finish();
        out
    }

    #[test]
    fn identities_are_redacted_and_control_characters_escaped() {
        let octets = packet();
        let shown = describe(&Packet::decode(&octets).unwrap(), Show::Redacted);
        assert_eq!(
            shown,
            format!(
                "Access-Request id 7, {} octets: \
                 Message-Authenticator = [redacted, 16 octets], User-Name = 02:00:5e:**:**:**, \
                 User-Password = [redacted, 16 octets], \
                 Calling-Station-Id = [redacted, 19 octets], \
                 NAS-Port-Type = Wireless-IEEE-802.11 (19), Called-Station-Id = \"ap\\n\\xff\", \
                 Homeward-Signal = -67, 9.1 = [3 octets], 200 = [3 octets]",
                octets.len()
            )
        );
    }

    #[test]
    fn identities_are_shown_when_asked_for_and_passwords_never() {
        let octets = packet();
        let shown = describe(&Packet::decode(&octets).unwrap(), Show::Identities);
        assert!(shown.contains("\"02005e100001\"") && shown.contains("someone@example.net"));
        assert!(shown.contains("User-Password = [redacted"), "{shown}");
    }
}
