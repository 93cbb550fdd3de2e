//! A packet of one hop as a packet of the next.
//!
//! Attributes keep their order. What one hop hid with its secret is opened and hidden anew:
//! User-Password (RFC 2865 5.2), Tunnel-Password (RFC 2868 3.5), the MS-MPPE keys (RFC 2548 2.4).
//! What was implied by the packet that carried it is made explicit: a CHAP-Challenge that was the
//! Request Authenticator (RFC 2865 5.40).

use std::collections::BTreeSet;

use homeward_radius::dictionary::microsoft;
use homeward_radius::dictionary::standard::{
    ACCT_DELAY_TIME, CHAP_CHALLENGE, CHAP_PASSWORD, MESSAGE_AUTHENTICATOR, OPERATOR_NAME,
    PROXY_STATE, TUNNEL_PASSWORD, USER_NAME, USER_PASSWORD, VENDOR_SPECIFIC,
};
use homeward_radius::hide::{open_password, open_salted, open_tunnel_password};
use homeward_radius::packet::VendorSpecific;
use homeward_radius::{Authenticator, Builder, Code, EncodeError, Packet, SharedSecret};
use zeroize::Zeroizing;

use crate::{Filter, OperatorName, Reason, Which, mark, nai};

/// Why a packet cannot be carried over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// A hidden attribute that does not open.
    #[error("{0} does not open: the shared secrets of that hop differ")]
    Unopenable(&'static str),
    /// What comes of it is no RADIUS packet.
    #[error("the packet cannot be encoded")]
    Encode(#[from] EncodeError),
}

impl From<RewriteError> for Reason {
    fn from(error: RewriteError) -> Self {
        match error {
            RewriteError::Unopenable(name) => Self::Unopenable(name),
            RewriteError::Encode(EncodeError::TrailingNul) => Self::Unopenable("User-Password"),
            RewriteError::Encode(_) => Self::TooLong,
        }
    }
}

/// A packet, with what opens its hidden attributes.
pub(crate) struct Opened<'a> {
    pub(crate) packet: &'a Packet<'a>,
    pub(crate) secret: &'a SharedSecret,
    /// The *request's* authenticator.
    pub(crate) authenticator: &'a Authenticator,
}

/// Whom a request goes to, and under what.
pub(crate) struct Onward<'a> {
    pub(crate) secret: &'a SharedSecret,
    pub(crate) identifier: u8,
    /// 16 random octets.
    pub(crate) authenticator: Authenticator,
    pub(crate) filter: &'a Filter,
    /// The User-Name, if it is another one than the packet's.
    pub(crate) user_name: Option<&'a str>,
    pub(crate) operator: Option<&'a OperatorName>,
    /// Seconds since the request came.
    pub(crate) delay: u32,
    pub(crate) mark: &'a [u8; mark::LEN],
}

/// Writes a request for the next hop into `out`; gives its Request Authenticator.
pub(crate) fn request(
    out: &mut Vec<u8>,
    from: &Opened<'_>,
    to: &Onward<'_>,
) -> Result<Authenticator, RewriteError> {
    let (code, packet) = (from.packet.code(), from.packet);
    let mut onward = Builder::request(out, to.secret, code, to.identifier, to.authenticator);
    for attribute in packet.attributes() {
        let value = attribute.value;
        match attribute.kind {
            MESSAGE_AUTHENTICATOR => {}
            USER_NAME if to.user_name.is_some() => {
                onward.text(USER_NAME, to.user_name.unwrap_or_default())?;
            }
            USER_PASSWORD => {
                let password = open_password(from.secret, from.authenticator, value)
                    .map_err(|_| RewriteError::Unopenable("User-Password"))?;
                if password.is_empty() && to.secret.is_transport() {
                    // RADIUS/1.1 has no padding to say so with.
                    onward.octets(USER_PASSWORD, &[0])?;
                } else if password.is_empty() {
                    // Sixteen NULs, which the pad hides by itself.
                    onward.octets(USER_PASSWORD, &*pad(to.secret, &to.authenticator))?;
                } else {
                    onward.user_password(&password)?;
                }
            }
            ACCT_DELAY_TIME if code == Code::AccountingRequest && to.delay > 0 => {
                let seconds = attribute.integer().unwrap_or_default();
                onward.integer(ACCT_DELAY_TIME, seconds.saturating_add(to.delay))?;
            }
            VENDOR_SPECIFIC => match attribute.vendor_specific() {
                Some(vendor) => request_vendor(&mut onward, &vendor, value, to.filter)?,
                None => copy(&mut onward, VENDOR_SPECIFIC, value, to.filter)?,
            },
            kind => copy(&mut onward, kind, value, to.filter)?,
        }
    }
    let lacks = |kind| packet.find(kind).is_none();
    // On RADIUS/1.1 there is no authenticator that could be one.
    let implied = code == Code::AccessRequest && !from.secret.is_transport();
    if implied && lacks(CHAP_CHALLENGE) && !lacks(CHAP_PASSWORD) {
        onward.octets(CHAP_CHALLENGE, from.authenticator)?;
    }
    if code == Code::AccountingRequest && lacks(ACCT_DELAY_TIME) && to.delay > 0 {
        onward.integer(ACCT_DELAY_TIME, to.delay)?;
    }
    if let Some(operator) = to.operator
        && lacks(OPERATOR_NAME)
    {
        onward.text(OPERATOR_NAME, operator.as_str())?;
    }
    onward.octets(PROXY_STATE, to.mark)?;
    onward.finish();
    // Where it is a digest, it is known only now.
    Ok(Packet::decode(out).map_or(to.authenticator, |packet| *packet.authenticator()))
}

/// Whom an answer goes back to.
pub(crate) struct Back<'a> {
    /// What it will be signed with.
    pub(crate) asker: (&'a SharedSecret, &'a Authenticator),
    pub(crate) filter: &'a Filter,
    /// The realm that was asked about.
    pub(crate) realm: Option<&'a str>,
    pub(crate) salted: &'a BTreeSet<(u32, u8)>,
}

/// Writes the attributes of an answer for the hop before.
pub(crate) fn answer(
    answer: &mut Builder<'_>,
    from: &Opened<'_>,
    back: &Back<'_>,
) -> Result<(), RewriteError> {
    let filter = back.filter;
    let accept = from.packet.code() == Code::AccessAccept;
    for attribute in from.packet.attributes() {
        let value = attribute.value;
        match attribute.kind {
            // The Proxy-States of those before us are put back from their request, in order,
            // whatever became of them on the way.
            MESSAGE_AUTHENTICATOR | PROXY_STATE => {}
            // A NAS accounts under the name that it is given (RFC 2865 5.1). One of another realm
            // would send the records to somebody else, and the bill.
            USER_NAME if nai::realm(value).ok().flatten().as_deref() != back.realm => {}
            TUNNEL_PASSWORD => {
                if filter.passes(Which::Standard(TUNNEL_PASSWORD)) {
                    let opened = open_tunnel_password(from.secret, from.authenticator, value)
                        .map_err(|_| RewriteError::Unopenable("Tunnel-Password"))?;
                    answer.tunnel_password(opened.tag, opened.password.expose())?;
                }
            }
            VENDOR_SPECIFIC => match attribute.vendor_specific() {
                Some(vendor) => answer_vendor(answer, from, back, &vendor, value)?,
                None => copy(answer, VENDOR_SPECIFIC, value, filter)?,
            },
            kind => {
                let clamp = filter.clamps().iter().find(|c| accept && c.kind == kind);
                match (clamp, attribute.integer()) {
                    (Some(clamp), Some(value)) => answer.integer(kind, clamp.apply(value))?,
                    // Not an integer, so nothing that could be bounded.
                    (Some(_), None) => {}
                    (None, _) => copy(answer, kind, value, filter)?,
                }
            }
        }
    }
    for clamp in filter.clamps().iter().filter(|_| accept) {
        let bounded =
            from.packet.attributes().any(|a| a.kind == clamp.kind && a.integer().is_some());
        if let (Some(value), false) = (clamp.absent, bounded) {
            answer.integer(clamp.kind, value)?;
        }
    }
    Ok(())
}

/// Adds an attribute as it came, if it passes. One without a value too: that is how EAP-Start is
/// said (RFC 3579 2.1).
fn copy(to: &mut Builder<'_>, kind: u8, value: &[u8], filter: &Filter) -> Result<(), EncodeError> {
    match (filter.passes(Which::Standard(kind)), value) {
        (false, _) => Ok(()),
        (true, []) => to.encoded(kind, &[kind, 2]),
        (true, value) => to.octets(kind, value),
    }
}

/// Adds those of a vendor's attributes that pass.
fn request_vendor(
    to: &mut Builder<'_>,
    vendor: &VendorSpecific<'_>,
    whole: &[u8],
    filter: &Filter,
) -> Result<(), EncodeError> {
    let Some(attributes) = parts(vendor, filter, |_| false) else {
        return copy_vendor(to, vendor, whole, filter);
    };
    for part in attributes.filter(|a| filter.passes(Which::Vendor(a.vendor, a.kind))) {
        to.vendor(part.vendor, part.kind, part.value)?;
    }
    Ok(())
}

/// Adds those of a vendor's attributes that pass, hidden anew.
fn answer_vendor(
    to: &mut Builder<'_>,
    from: &Opened<'_>,
    back: &Back<'_>,
    vendor: &VendorSpecific<'_>,
    whole: &[u8],
) -> Result<(), RewriteError> {
    let filter = back.filter;
    let hidden = |kind| hiding(vendor.vendor, kind, back.salted);
    let Some(attributes) = parts(vendor, filter, |kind| hidden(kind).is_some()) else {
        return Ok(copy_vendor(to, vendor, whole, filter)?);
    };
    for part in attributes.filter(|a| filter.passes(Which::Vendor(a.vendor, a.kind))) {
        match hidden(part.kind) {
            None => to.vendor(part.vendor, part.kind, part.value)?,
            Some(Hiding::Salted(name)) => {
                let value = open_salted(from.secret, from.authenticator, part.value)
                    .map_err(|_| RewriteError::Unopenable(name))?;
                to.vendor_salted(part.vendor, part.kind, value.expose())?;
            }
            Some(Hiding::Pads(name)) => {
                let value = rehidden(part.value, (from.secret, from.authenticator), back.asker)
                    .ok_or(RewriteError::Unopenable(name))?;
                to.vendor(part.vendor, part.kind, &value)?;
            }
        }
    }
    Ok(())
}

/// The vendor's attributes, if they have to be looked at one by one: not all pass, or one is
/// hidden. `None` if they pass or fall as a whole.
fn parts<'a>(
    vendor: &VendorSpecific<'a>,
    filter: &Filter,
    is_hidden: impl Fn(u8) -> bool,
) -> Option<impl Iterator<Item = homeward_radius::packet::VendorAttribute<'a>>> {
    let attributes = vendor.attributes()?;
    let whole = attributes
        .clone()
        .all(|a| filter.passes(Which::Vendor(a.vendor, a.kind)) && !is_hidden(a.kind));
    (!whole).then_some(attributes)
}

/// Adds a Vendor-Specific as it came. One of unusual form passes only if all of the vendor's do.
fn copy_vendor(
    to: &mut Builder<'_>,
    vendor: &VendorSpecific<'_>,
    whole: &[u8],
    filter: &Filter,
) -> Result<(), EncodeError> {
    if vendor.attributes().is_none() && !filter.passes(Which::AllOf(vendor.vendor)) {
        return Ok(());
    }
    to.octets(VENDOR_SPECIFIC, whole)
}

/// How an attribute of a vendor is hidden.
#[derive(Clone, Copy)]
enum Hiding {
    /// With a salt (RFC 2548 2.4.2).
    Salted(&'static str),
    /// As User-Password is (RFC 2548 2.4.1).
    Pads(&'static str),
}

fn hiding(vendor: u32, kind: u8, salted: &BTreeSet<(u32, u8)>) -> Option<Hiding> {
    match (vendor, kind) {
        (microsoft::VENDOR, microsoft::MPPE_SEND_KEY) => Some(Hiding::Salted("MS-MPPE-Send-Key")),
        (microsoft::VENDOR, microsoft::MPPE_RECV_KEY) => Some(Hiding::Salted("MS-MPPE-Recv-Key")),
        (microsoft::VENDOR, microsoft::CHAP_MPPE_KEYS) => Some(Hiding::Pads("MS-CHAP-MPPE-Keys")),
        _ => salted.contains(&(vendor, kind)).then_some(Hiding::Salted("a salted attribute")),
    }
}

/// A value of whole blocks, hidden as User-Password is, hidden anew.
fn rehidden(
    value: &[u8],
    from: (&SharedSecret, &Authenticator),
    to: (&SharedSecret, &Authenticator),
) -> Option<Zeroizing<Vec<u8>>> {
    let mut value = Zeroizing::new(value.to_vec());
    if from.0.is_transport() {
        // It was not padded.
        let padded = value.len().next_multiple_of(16);
        value.resize(padded, 0);
    }
    let (blocks, []) = value.as_chunks::<16>() else { return None };
    let mut out = Zeroizing::new(Vec::with_capacity(value.len()));
    let (mut from_before, mut to_before) = (*from.1, *to.1);
    for block in blocks {
        let (old, new) = (pad(from.0, &from_before), pad(to.0, &to_before));
        from_before = *block;
        for (at, (octet, (old, new))) in block.iter().zip(old.iter().zip(new.iter())).enumerate() {
            let octet = octet ^ old ^ new;
            out.push(octet);
            if let Some(room) = to_before.get_mut(at) {
                *room = octet;
            }
        }
    }
    Some(out)
}

/// The pad of one block: what opens sixteen NULs is the pad itself.
fn pad(secret: &SharedSecret, before: &[u8; 16]) -> Zeroizing<[u8; 16]> {
    let mut pad = Zeroizing::new([0; 16]);
    if let Ok(opened) = open_password(secret, before, &[0; 16]) {
        for (room, octet) in pad.iter_mut().zip(opened.iter()) {
            *room = *octet;
        }
    }
    pad
}
