//! An Accounting-Request of a packet gateway.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use homeward_accounting::{Kind, Record, RecordError};
use homeward_model::{Apn, Imei, Imsi, Msisdn, Name, UnixTime};
use homeward_radius::Packet;
use homeward_radius::dictionary::{standard, threegpp, vendor_entry};
use homeward_radius::packet::{ipv4, ipv6, text};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::Settings;
use crate::settings::millis;

/// Framed-IPv6-Address (RFC 6911 3.1), which the dictionary does not have.
const FRAMED_IPV6_ADDRESS: u8 = 168;

/// Delegated-IPv6-Prefix (RFC 4818 2), likewise.
const DELEGATED_IPV6_PREFIX: u8 = 123;

/// The most addresses and prefixes of one session.
pub const MAX_ADDRESSES: usize = 8;

/// The shortest prefix that one subscriber is believed to have. A shorter one would be a slip of
/// the gateway's, and would make everybody's traffic one subscriber's.
pub const SHORTEST_PREFIX: u8 = 40;

/// Who reports, and what is believed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The gateway.
    pub gateway: Name,
    /// Its access point names that are of interest; all, if there are none. If there is one, it is
    /// that of a report that names none.
    pub apns: Vec<Apn>,
    /// Whether an IMSI in User-Name counts where there is no 3GPP-IMSI. Only for a gateway that
    /// puts it there itself: by TS 29.061 16.4.3, User-Name is what the device sent in its
    /// protocol configuration options, and a device may send anybody's.
    pub imsi_in_user_name: bool,
}

/// Why an Accounting-Request is no report. None of the texts names a subscriber.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// It is no sound record at all.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A vendor's attribute that is there again, and says something else.
    #[error("{} is there twice and differs: see what the gateway sends", vendor_name(*.0))]
    Repeated(u8),
    /// A vendor's attribute of the wrong form.
    #[error("{} is not {what}: see what the gateway puts there", vendor_name(*.kind))]
    Value {
        /// Its type, among 3GPP's.
        kind: u8,
        /// What it should be.
        what: &'static str,
    },
    /// A prefix that cannot be one subscriber's.
    #[error("{what} is no prefix, or one shorter than /{SHORTEST_PREFIX}")]
    Prefix {
        /// The attribute.
        what: &'static str,
    },
    /// More addresses than a session has.
    #[error("more than {MAX_ADDRESSES} addresses and prefixes for one session")]
    TooMany,
    /// An access point name that is not of interest. It is no fault: the report is to be answered,
    /// and nothing else.
    #[error("an access point name that this gateway is not configured with")]
    OtherApn,
}

fn vendor_name(kind: u8) -> &'static str {
    vendor_entry(threegpp::VENDOR, kind).map_or("an unknown attribute of 3GPP's", |e| e.name)
}

impl ReportError {
    /// The word for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Record(error) => error.label(),
            Self::Repeated(_) => "repeated-attribute",
            Self::Value { .. } | Self::Prefix { .. } => "bad-value",
            Self::TooMany => "too-many-addresses",
            Self::OtherApn => "other-apn",
        }
    }
}

/// One report of a packet gateway: an Accounting-Request in the model's words.
#[derive(Clone, PartialEq, Eq)]
pub struct Report {
    /// Who reports.
    pub gateway: Name,
    /// What it says.
    pub kind: Kind,
    /// Acct-Session-Id, 1 to 253 octets; On and Off may have none.
    pub session: String,
    /// Event-Timestamp, as the gateway's clock has it.
    pub event: Option<UnixTime>,
    /// Acct-Delay-Time: for how many seconds the gateway has tried to send it.
    pub delay: u32,
    /// Acct-Session-Time, in seconds, where there is one.
    pub seconds: Option<u64>,
    /// Whose session it is.
    pub imsi: Option<Imsi>,
    /// With which equipment (3GPP-IMEISV).
    pub imei: Option<Imei>,
    /// Under which telephone number (Calling-Station-Id).
    pub msisdn: Option<Msisdn>,
    /// By which access point name, without the operator's part (Called-Station-Id).
    pub apn: Option<Apn>,
    /// The addresses and prefixes, in the order of the attributes, none within another:
    /// Framed-IP-Address, Framed-IPv6-Prefix, Delegated-IPv6-Prefix, Framed-IPv6-Address.
    pub addresses: Vec<IpNet>,
    /// Which of the contexts that share an address (3GPP-NSAPI): 5 to 15.
    pub nsapi: Option<u8>,
    /// Whether this is the last of these contexts (3GPP-Session-Stop-Indicator, in a Stop).
    pub last_context: bool,
}

impl std::fmt::Debug for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Report")
            .field("gateway", &self.gateway)
            .field("kind", &self.kind)
            .field("event", &self.event)
            .field("imsi", &self.imsi)
            .field("apn", &self.apn)
            .field("addresses", &self.addresses.len())
            .finish_non_exhaustive()
    }
}

/// When a report was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct When {
    /// The time.
    pub(crate) at: UnixTime,
    /// Whether that is by the gateway's clock. If not, it is by ours.
    pub(crate) dated: bool,
}

impl Report {
    /// Reads a verified Accounting-Request of that gateway.
    ///
    /// # Errors
    /// What is missing, repeated or of the wrong form. What only describes the session (telephone
    /// number, equipment) is left out where it cannot be read.
    pub fn decode(request: &Packet<'_>, source: &Source) -> Result<Self, ReportError> {
        let record = Record::decode(request, &source.gateway)?;
        let boot = record.kind.is_boot();
        let apn = match request.find(standard::CALLED_STATION_ID).and_then(apn) {
            Some(named) if source.apns.is_empty() || source.apns.contains(&named) => Some(named),
            // A gateway that restarts does so for all.
            _ if boot => None,
            Some(_) => return Err(ReportError::OtherApn),
            None => match source.apns.as_slice() {
                [] => None,
                [only] => Some(only.clone()),
                _ => return Err(ReportError::OtherApn),
            },
        };
        Ok(Self {
            imsi: imsi(request, source)?,
            imei: only(request, threegpp::IMEISV)?.and_then(text).and_then(|t| t.parse().ok()),
            msisdn: request.find(standard::CALLING_STATION_ID).and_then(msisdn),
            apn,
            addresses: addresses(request)?,
            nsapi: only(request, threegpp::NSAPI)?.and_then(nsapi),
            last_context: record.kind == Kind::Stop
                && only(request, threegpp::SESSION_STOP_INDICATOR)?.is_some(),
            gateway: record.nas.client,
            kind: record.kind,
            session: record.session_id,
            event: record.event,
            delay: record.delay,
            seconds: record.timed.then_some(record.figures.seconds),
        })
    }

    /// When it was made, given when it came.
    pub(crate) fn when(&self, received: UnixTime, settings: &Settings) -> When {
        let earliest = received.0.saturating_sub(millis(settings.behind));
        let latest = received.0.saturating_add(millis(settings.ahead));
        match self.event {
            Some(at) if (earliest..=latest).contains(&at.0) => When { at, dated: true },
            _ => {
                let sent = received.0.saturating_sub(i64::from(self.delay).saturating_mul(1000));
                When { at: UnixTime(sent.max(earliest)), dated: false }
            }
        }
    }

    /// When its session began, if it was made at `at`.
    pub(crate) fn began(&self, at: UnixTime) -> UnixTime {
        let seconds = self.seconds.filter(|_| self.kind != Kind::Start).unwrap_or(0);
        let span = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000);
        UnixTime(at.0.saturating_sub(span))
    }
}

/// 3GPP's attribute of that type.
fn only<'d>(request: &Packet<'d>, kind: u8) -> Result<Option<&'d [u8]>, ReportError> {
    let mut all = request
        .vendor_attributes()
        .filter(|a| a.vendor == threegpp::VENDOR && a.kind == kind)
        .map(|a| a.value);
    let first = all.next();
    if all.any(|other| Some(other) != first) {
        return Err(ReportError::Repeated(kind));
    }
    Ok(first)
}

fn imsi(request: &Packet<'_>, source: &Source) -> Result<Option<Imsi>, ReportError> {
    if let Some(value) = only(request, threegpp::IMSI)? {
        let wrong = ReportError::Value { kind: threegpp::IMSI, what: "an IMSI: 6 to 15 digits" };
        return text(value).and_then(|t| t.parse().ok()).map(Some).ok_or(wrong);
    }
    let name = request.find(standard::USER_NAME).filter(|_| source.imsi_in_user_name);
    // A realm may follow (3GPP TS 23.003 14.3, less the digit for the method ahead).
    let name = name.and_then(text).map(|t| t.split_once('@').map_or(t, |(user, _)| user));
    Ok(name.and_then(|t| t.parse().ok()))
}

/// A telephone number in international form, with or without its `+`.
fn msisdn(value: &[u8]) -> Option<Msisdn> {
    let number = text(value)?;
    number.strip_prefix('+').unwrap_or(number).parse().ok()
}

/// An access point name without its operator identifier, `.mnc070.mcc999.gprs` (3GPP TS 23.003
/// 9.1.2).
fn apn(value: &[u8]) -> Option<Apn> {
    let name: Apn = text(value)?.parse().ok()?;
    let digits = |label: &str, prefix: &str| {
        let rest = label.strip_prefix(prefix);
        rest.is_some_and(|d| d.len() == 3 && d.bytes().all(|c| c.is_ascii_digit()))
    };
    let mut labels = name.as_str().rsplitn(4, '.');
    match (labels.next(), labels.next(), labels.next(), labels.next()) {
        (Some("gprs"), Some(mcc), Some(mnc), Some(network))
            if digits(mcc, "mcc") && digits(mnc, "mnc") =>
        {
            network.parse().ok()
        }
        _ => Some(name),
    }
}

/// One hexadecimal digit as text (TS 29.061 16.4.7.2).
fn nsapi(value: &[u8]) -> Option<u8> {
    let [digit] = value else { return None };
    char::from(*digit).to_digit(16).and_then(|n| u8::try_from(n).ok())
}

/// The addresses and prefixes, none within another.
fn addresses(request: &Packet<'_>) -> Result<Vec<IpNet>, ReportError> {
    let mut found: Vec<IpNet> = Vec::new();
    let v4 = request.find_all(standard::FRAMED_IP_ADDRESS).filter_map(ipv4);
    found.extend(v4.filter(is_usable4).map(|a| IpNet::V4(Ipv4Net::from(a))));
    for (kind, what) in [
        (standard::FRAMED_IPV6_PREFIX, "Framed-IPv6-Prefix"),
        (DELEGATED_IPV6_PREFIX, "Delegated-IPv6-Prefix"),
    ] {
        for value in request.find_all(kind) {
            let prefix = prefix(value).filter(|p| p.prefix_len() >= SHORTEST_PREFIX);
            found.push(IpNet::V6(prefix.ok_or(ReportError::Prefix { what })?));
        }
    }
    let v6 = request.find_all(FRAMED_IPV6_ADDRESS).filter_map(ipv6);
    let v6 = v6.filter(|a| !a.is_unspecified() && !a.is_loopback() && !a.is_multicast());
    found.extend(v6.map(|a| IpNet::V6(Ipv6Net::from(a))));
    let mut kept: Vec<IpNet> = Vec::new();
    for (n, net) in found.iter().enumerate() {
        let within =
            |(m, other): (usize, &IpNet)| m != n && other.contains(net) && (other != net || m < n);
        if !found.iter().enumerate().any(within) {
            kept.push(*net);
        }
    }
    if kept.len() > MAX_ADDRESSES {
        return Err(ReportError::TooMany);
    }
    Ok(kept)
}

/// Whether it is an address at all: 255.255.255.255 and .254 say how to come by one (RFC 2865 5.8),
/// and 0.0.0.0 that there is none yet.
fn is_usable4(address: &Ipv4Addr) -> bool {
    !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && *address < Ipv4Addr::new(255, 255, 255, 254)
}

/// Reserved, Prefix-Length, and as many octets as the prefix needs (RFC 3162 2.3).
fn prefix(value: &[u8]) -> Option<Ipv6Net> {
    let [_, length @ 0..=128, prefix @ ..] = value else { return None };
    let mut octets = [0; 16];
    octets.get_mut(..prefix.len())?.copy_from_slice(prefix);
    let needs = usize::from(*length).div_ceil(8);
    (prefix.len() >= needs).then_some(())?;
    Some(Ipv6Net::new(Ipv6Addr::from(octets), *length).ok()?.trunc())
}

/// An address as it is looked up: IPv4 within IPv6 is IPv4.
pub(crate) fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}
