//! Grants and refusals as Access-Accept and Access-Reject.

use homeward_model::service::Seconds;
use homeward_model::{
    Anchor, Bandwidth, BondingModes, DeviceKey, Encryption, Grant, LookupForm, NetworkId,
    Passphrase, Priority, Psk, Quota, QuotaPeriod, Refusal, RefusalReason, Security, ServiceTerms,
    Ssid,
};

use super::{LookupError, read_dbm};
use crate::dictionary::{homeward, standard, wispr};
use crate::hide::open_tunnel_password;
use crate::packet::{Authenticator, MAX_VALUE_LEN, Packet, integer, integer64, text};
use crate::terms::{write_rates, write_times};
use crate::{Builder, Code, SharedSecret};

/// The tag of the Tunnel-Password that is a passphrase, where there are two.
const PASSPHRASE_TAG: u8 = 1;

/// The tag of the Tunnel-Password that is a PSK, where there are two.
const PSK_TAG: u8 = 2;

/// What a look-up came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Serve the device.
    Granted(Box<Grant>),
    /// Do not.
    Refused(Refusal),
}

/// Writes a grant into an Access-Accept.
///
/// The key is as little as the security needs: WPA2-PSK gets the PSK alone. WPA3-SAE gets the
/// passphrase; in form Homeward also the PSK, which whoever has the passphrase can compute, and
/// which spares the gateway the 4,096 rounds of doing so.
///
/// Form hostapd has the keys, Session-Timeout, Idle-Timeout and Class only: stock hostapd reads
/// nothing else of it.
///
/// # Errors
/// If the network is 802.1X, if SAE is to be served from a bare PSK, or if the packet is full.
pub fn write_grant(
    packet: &mut Builder<'_>,
    form: LookupForm,
    grant: &Grant,
) -> Result<(), LookupError> {
    let security = match grant.security {
        Security::Wpa2Psk => 1,
        Security::Wpa3Sae => 2,
        Security::Wpa2Wpa3 => 3,
        Security::Enterprise => return Err(LookupError::Enterprise),
    };
    write_key(packet, form, grant)?;
    let terms = &grant.terms;
    let again = form == LookupForm::Homeward;
    write_times(packet, terms.session_timeout, terms.idle_timeout, again)?;
    for part in grant.class.chunks(MAX_VALUE_LEN) {
        packet.octets(standard::CLASS, part)?;
    }
    if form == LookupForm::Hostapd {
        return Ok(());
    }
    write_rates(packet, terms.bandwidth)?;
    let mut own = |kind, value: &[u8]| packet.vendor(homeward::VENDOR, kind, value);
    own(homeward::NETWORK_ID, &grant.network.0.to_be_bytes())?;
    own(homeward::SSID, grant.ssid.as_bytes())?;
    own(homeward::SECURITY, &u32::to_be_bytes(security))?;
    own(homeward::PRIORITY, &u32::from(u8::from(terms.priority)).to_be_bytes())?;
    own(homeward::ENCRYPTION, &encryption_number(terms.encryption).to_be_bytes())?;
    own(homeward::ANCHOR, &anchor_number(terms.anchor).to_be_bytes())?;
    own(homeward::BONDING, &bonding_bits(terms.bonding).to_be_bytes())?;
    own(homeward::AT_HOME, &u32::from(grant.at_home).to_be_bytes())?;
    if let Some(quota) = terms.quota {
        own(homeward::QUOTA_OCTETS, &quota.octets.to_be_bytes())?;
        own(homeward::QUOTA_PERIOD, &period_number(quota.period).to_be_bytes())?;
    }
    if let Some(threshold) = terms.handoff_threshold {
        own(homeward::HANDOFF_THRESHOLD, &i32::from(threshold.0).to_be_bytes())?;
    }
    Ok(())
}

/// Writes a refusal into an Access-Reject: the message as Reply-Message, cut at 253 octets, and
/// in form Homeward the reason.
///
/// RFC 2865 5.44 has no Vendor-Specific in an Access-Reject; RFC 2548 2.1.5 set the precedent,
/// and only our own gateways are sent one.
///
/// # Errors
/// If the packet is full.
pub fn write_refusal(
    packet: &mut Builder<'_>,
    form: LookupForm,
    refusal: &Refusal,
) -> Result<(), LookupError> {
    let end = refusal.message.floor_char_boundary(MAX_VALUE_LEN);
    if let Some(message) = refusal.message.get(..end)
        && !message.is_empty()
    {
        packet.text(standard::REPLY_MESSAGE, message)?;
    }
    if form == LookupForm::Homeward {
        let code = refusal.reason.code();
        packet.vendor_integer(homeward::VENDOR, homeward::REFUSAL_REASON, code)?;
    }
    Ok(())
}

/// Reads a verified answer in form Homeward. `request` is the Request Authenticator of the
/// question. Whether the SSID granted is the one asked for is the caller's to see to.
///
/// # Errors
/// What is missing, unreadable, or of a newer version; a term of service that cannot be read is
/// an error rather than a default, which could be more than was granted.
pub fn read_answer(
    answer: &Packet<'_>,
    secret: &SharedSecret,
    request: &Authenticator,
) -> Result<Decision, LookupError> {
    match answer.code() {
        Code::AccessAccept => Ok(Decision::Granted(Box::new(read_grant(answer, secret, request)?))),
        Code::AccessReject => Ok(Decision::Refused(read_refusal(answer)?)),
        other => Err(LookupError::NotALookup(other)),
    }
}

fn write_key(packet: &mut Builder<'_>, form: LookupForm, grant: &Grant) -> Result<(), LookupError> {
    let security = grant.security;
    let psk = (security.allows_psk() || form == LookupForm::Homeward).then(|| grant.key.psk());
    let passphrase = if security.allows_sae() {
        Some(grant.key.passphrase().ok_or(LookupError::NoPassphrase)?)
    } else {
        None
    };
    let both = psk.is_some() && passphrase.is_some();
    if let Some(passphrase) = passphrase {
        let tag = if both { PASSPHRASE_TAG } else { 0 };
        packet.tunnel_password(tag, passphrase.expose().as_bytes())?;
    }
    if let Some(psk) = psk {
        packet.tunnel_password(if both { PSK_TAG } else { 0 }, psk.to_hex().as_bytes())?;
    }
    Ok(())
}

fn read_grant(
    answer: &Packet<'_>,
    secret: &SharedSecret,
    request: &Authenticator,
) -> Result<Grant, LookupError> {
    let own = Own(answer);
    let network = own.needed(homeward::NETWORK_ID, "Homeward-Network-Id")?;
    let network = integer64(network).ok_or(LookupError::Value("Homeward-Network-Id"))?;
    let ssid = own.needed(homeward::SSID, "Homeward-SSID")?;
    let security = match own.integer(homeward::SECURITY, "Homeward-Security")? {
        None => return Err(LookupError::Missing("Homeward-Security")),
        Some(1) => Security::Wpa2Psk,
        Some(2) => Security::Wpa3Sae,
        Some(3) => Security::Wpa2Wpa3,
        Some(value) => return Err(LookupError::Unknown { name: "Homeward-Security", value }),
    };
    Ok(Grant {
        network: NetworkId(network.cast_signed()),
        ssid: Ssid::try_from(ssid).map_err(|_| LookupError::Value("Homeward-SSID"))?,
        security,
        key: read_key(answer, security, secret, request)?,
        terms: read_terms(answer)?,
        at_home: own.integer(homeward::AT_HOME, "Homeward-At-Home")? == Some(1),
        class: answer.find_all(standard::CLASS).collect::<Vec<_>>().concat(),
    })
}

/// A Tunnel-Password of 64 hex digits is a PSK and a shorter one a passphrase, as hostapd has it;
/// no passphrase has 64 characters.
fn read_key(
    answer: &Packet<'_>,
    security: Security,
    secret: &SharedSecret,
    request: &Authenticator,
) -> Result<DeviceKey, LookupError> {
    const NAME: &str = "Tunnel-Password";
    let (mut passphrase, mut psk) = (None, None);
    for value in answer.find_all(standard::TUNNEL_PASSWORD) {
        let opened = open_tunnel_password(secret, request, value)?;
        let value = text(opened.password.expose()).ok_or(LookupError::Value(NAME))?;
        if value.len() == 64 {
            psk = Some(Psk::from_hex(value).ok_or(LookupError::Value(NAME))?);
        } else {
            let value = value.parse::<Passphrase>().map_err(|_| LookupError::Value(NAME))?;
            passphrase = Some(value);
        }
    }
    match (passphrase, psk) {
        (Some(passphrase), Some(psk)) => Ok(DeviceKey::Passphrase { passphrase, psk }),
        (None, Some(_)) if security.allows_sae() => Err(LookupError::NoPassphrase),
        (None, Some(psk)) => Ok(DeviceKey::Psk(psk)),
        (_, None) => Err(LookupError::Missing(NAME)),
    }
}

fn read_terms(answer: &Packet<'_>) -> Result<ServiceTerms, LookupError> {
    let own = Own(answer);
    let priority = own.integer(homeward::PRIORITY, "Homeward-Priority")?.unwrap_or_default();
    let priority = u8::try_from(priority).ok().and_then(|rank| Priority::try_from(rank).ok());
    let threshold = own.find(homeward::HANDOFF_THRESHOLD);
    let bits = own.integer(homeward::BONDING, "Homeward-Bonding")?.unwrap_or_default();
    let rate = |kind, name| match answer.find_vendor(wispr::VENDOR, kind) {
        Some(value) => integer(value).map(Some).ok_or(LookupError::Value(name)),
        None => Ok(None),
    };
    let seconds = |kind, name| match answer.find(kind) {
        Some(value) => integer(value).map(|s| Some(Seconds(s))).ok_or(LookupError::Value(name)),
        None => Ok(None),
    };
    Ok(ServiceTerms {
        priority: priority.ok_or(LookupError::Value("Homeward-Priority"))?,
        bandwidth: Bandwidth {
            up: rate(wispr::BANDWIDTH_MAX_UP, "WISPr-Bandwidth-Max-Up")?,
            down: rate(wispr::BANDWIDTH_MAX_DOWN, "WISPr-Bandwidth-Max-Down")?,
        },
        quota: read_quota(&own)?,
        encryption: match own.integer(homeward::ENCRYPTION, "Homeward-Encryption")? {
            None | Some(1) => Encryption::Required,
            Some(2) => Encryption::Off,
            Some(value) => {
                return Err(LookupError::Unknown { name: "Homeward-Encryption", value });
            }
        },
        anchor: match own.integer(homeward::ANCHOR, "Homeward-Anchor")? {
            None | Some(1) => Anchor::Home,
            Some(2) => Anchor::Local,
            Some(value) => return Err(LookupError::Unknown { name: "Homeward-Anchor", value }),
        },
        bonding: BondingModes { mirrored: bits & 1 != 0, striped: bits & 2 != 0 },
        handoff_threshold: match threshold {
            Some(value) => Some(read_dbm(value, "Homeward-Handoff-Threshold")?),
            None => None,
        },
        session_timeout: seconds(standard::SESSION_TIMEOUT, "Session-Timeout")?,
        idle_timeout: seconds(standard::IDLE_TIMEOUT, "Idle-Timeout")?,
        vlan: None,
    })
}

fn read_quota(own: &Own<'_>) -> Result<Option<Quota>, LookupError> {
    let Some(octets) = own.find(homeward::QUOTA_OCTETS) else { return Ok(None) };
    let octets = integer64(octets).ok_or(LookupError::Value("Homeward-Quota-Octets"))?;
    let period = match own.integer(homeward::QUOTA_PERIOD, "Homeward-Quota-Period")? {
        Some(1) => QuotaPeriod::Day,
        Some(2) => QuotaPeriod::Week,
        Some(3) => QuotaPeriod::Month,
        Some(value) => return Err(LookupError::Unknown { name: "Homeward-Quota-Period", value }),
        None => return Err(LookupError::Missing("Homeward-Quota-Period")),
    };
    Ok(Some(Quota { octets, period }))
}

fn read_refusal(answer: &Packet<'_>) -> Result<Refusal, LookupError> {
    let reason = Own(answer).integer(homeward::REFUSAL_REASON, "Homeward-Refusal-Reason")?;
    let message = answer.find(standard::REPLY_MESSAGE).unwrap_or_default();
    Ok(Refusal {
        reason: reason.map_or(RefusalReason::Other, RefusalReason::from_code),
        message: String::from_utf8_lossy(message).into_owned(),
    })
}

/// Homeward's own attributes of an answer.
struct Own<'a>(&'a Packet<'a>);

impl<'a> Own<'a> {
    fn find(&self, kind: u8) -> Option<&'a [u8]> {
        self.0.find_vendor(homeward::VENDOR, kind)
    }

    fn needed(&self, kind: u8, name: &'static str) -> Result<&'a [u8], LookupError> {
        self.find(kind).ok_or(LookupError::Missing(name))
    }

    fn integer(&self, kind: u8, name: &'static str) -> Result<Option<u32>, LookupError> {
        match self.find(kind) {
            Some(value) => integer(value).map(Some).ok_or(LookupError::Value(name)),
            None => Ok(None),
        }
    }
}

const fn encryption_number(encryption: Encryption) -> u32 {
    match encryption {
        Encryption::Required => 1,
        Encryption::Off => 2,
    }
}

const fn anchor_number(anchor: Anchor) -> u32 {
    match anchor {
        Anchor::Home => 1,
        Anchor::Local => 2,
    }
}

const fn period_number(period: QuotaPeriod) -> u32 {
    match period {
        QuotaPeriod::Day => 1,
        QuotaPeriod::Week => 2,
        QuotaPeriod::Month => 3,
    }
}

fn bonding_bits(bonding: BondingModes) -> u32 {
    u32::from(bonding.mirrored) | u32::from(bonding.striped) << 1
}
