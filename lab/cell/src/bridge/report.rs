//! A report, and the attributes it becomes (3GPP TS 29.061 16.4.3 to 16.4.6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use homeward_model::UnixTime;
use homeward_radius::dictionary::{standard, threegpp};
use homeward_radius::{AttributeList, EncodeError};

use crate::register::Entry;
use crate::vty::PdpContext;

/// Service-Type Framed (RFC 2865 5.6).
const FRAMED: u32 = 2;
/// Framed-Protocol: GPRS PDP context (TS 29.061 16.4.7).
const GPRS_PDP_CONTEXT: u32 = 7;
/// NAS-Port-Type Wireless - Other (RFC 2865 5.41).
const WIRELESS_OTHER: u32 = 18;
/// Acct-Authentic Local (RFC 2866 5.6).
const LOCAL: u32 = 2;
/// Acct-Terminate-Cause User-Request (RFC 2866 5.10).
const USER_REQUEST: u32 = 1;
/// 3GPP-RAT-Type UTRAN, which is what the lab's SGSNs say (TS 29.061 16.4.7.2).
const UTRAN: u8 = 1;

/// Whom the reports are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nas {
    /// NAS-IP-Address.
    pub address: Ipv4Addr,
    /// NAS-Identifier.
    pub identifier: String,
    /// Country and network code, five or six digits.
    pub plmn: String,
}

/// Something to report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What.
    pub kind: ReportKind,
    /// When it was.
    pub at: UnixTime,
}

/// What is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportKind {
    /// The gateway is up, and has no context that was before.
    On,
    /// The gateway goes: all its contexts end.
    Off,
    /// A context is there.
    Start(Box<Session>),
    /// A context is still there.
    Interim(Box<Session>),
    /// A context is gone.
    Stop(Box<Session>),
}

/// A context under report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The context.
    pub context: PdpContext,
    /// Whose it is beside that.
    pub entry: Option<Entry>,
    /// 3GPP-Charging-Id: never the same for two contexts of a bridge.
    pub charging_id: u32,
    /// When it was first seen.
    pub since: UnixTime,
}

impl Report {
    /// The session that it is about.
    pub fn session(&self) -> Option<&Session> {
        match &self.kind {
            ReportKind::On | ReportKind::Off => None,
            ReportKind::Start(session)
            | ReportKind::Interim(session)
            | ReportKind::Stop(session) => Some(session),
        }
    }

    /// Acct-Status-Type (RFC 2866 5.1).
    pub const fn status(&self) -> u32 {
        match self.kind {
            ReportKind::Start(_) => 1,
            ReportKind::Stop(_) => 2,
            ReportKind::Interim(_) => 3,
            ReportKind::On => 7,
            ReportKind::Off => 8,
        }
    }

    /// Its attributes, sent at `now`.
    ///
    /// # Errors
    /// If one is longer than an attribute can be.
    pub fn attributes(&self, nas: &Nas, now: UnixTime) -> Result<AttributeList, EncodeError> {
        let mut list = AttributeList::new();
        list.push_integer(standard::ACCT_STATUS_TYPE, self.status())?;
        list.push(standard::NAS_IP_ADDRESS, &nas.address.octets())?;
        list.push(standard::NAS_IDENTIFIER, nas.identifier.as_bytes())?;
        list.push_integer(standard::EVENT_TIMESTAMP, seconds(self.at))?;
        // Of this transmission and all that repeat it (RFC 2866 5.2).
        list.push_integer(
            standard::ACCT_DELAY_TIME,
            seconds(now).saturating_sub(seconds(self.at)),
        )?;
        // TS 29.061 16.4.3: the gateway's address and the Charging-Id, in hexadecimal digits. One
        // about the gateway itself needs a value as well (RFC 2866 5.5).
        let charging_id = self.session().map_or(0, |session| session.charging_id);
        let id = format!("{:08X}{charging_id:08X}", u32::from(nas.address));
        list.push(standard::ACCT_SESSION_ID, id.as_bytes())?;
        if let Some(session) = self.session() {
            session.write(&mut list, nas)?;
            if !matches!(self.kind, ReportKind::Start(_)) {
                let time = seconds(self.at).saturating_sub(seconds(session.since));
                list.push_integer(standard::ACCT_SESSION_TIME, time)?;
            }
            if matches!(self.kind, ReportKind::Stop(_)) {
                list.push_integer(standard::ACCT_TERMINATE_CAUSE, USER_REQUEST)?;
                // The device has no further context on this address.
                list.push_vendor(threegpp::VENDOR, threegpp::SESSION_STOP_INDICATOR, &[0xff])?;
            }
        }
        Ok(list)
    }
}

impl Session {
    fn write(&self, list: &mut AttributeList, nas: &Nas) -> Result<(), EncodeError> {
        let context = &self.context;
        list.push_integer(standard::SERVICE_TYPE, FRAMED)?;
        list.push_integer(standard::FRAMED_PROTOCOL, GPRS_PDP_CONTEXT)?;
        list.push_integer(standard::NAS_PORT_TYPE, WIRELESS_OTHER)?;
        list.push_integer(standard::ACCT_AUTHENTIC, LOCAL)?;
        if let Some(address) = context.ipv4 {
            list.push(standard::FRAMED_IP_ADDRESS, &address.octets())?;
        }
        if let Some(address) = context.ipv6 {
            list.push(standard::FRAMED_IPV6_PREFIX, &prefix(address))?;
        }
        list.push(standard::CALLED_STATION_ID, context.apn.as_str().as_bytes())?;
        // What the GGSN itself shows goes before what the register says.
        let number = context.msisdn.or_else(|| self.entry.and_then(|entry| entry.msisdn));
        if let Some(number) = number {
            list.push(standard::CALLING_STATION_ID, number.as_str().as_bytes())?;
        }
        let pdp_type: u32 = match (context.ipv4, context.ipv6) {
            (Some(_), None) => 0,
            (None, _) => 2,
            (Some(_), Some(_)) => 3,
        };
        let imsi = context.imsi.as_str();
        let mut vendor = |kind, value: &[u8]| list.push_vendor(threegpp::VENDOR, kind, value);
        vendor(threegpp::IMSI, imsi.as_bytes())?;
        vendor(threegpp::CHARGING_ID, &self.charging_id.to_be_bytes())?;
        vendor(threegpp::PDP_TYPE, &pdp_type.to_be_bytes())?;
        for (end, four, six) in [
            (context.sgsn, threegpp::SGSN_ADDRESS, threegpp::SGSN_IPV6_ADDRESS),
            (context.ggsn, threegpp::GGSN_ADDRESS, threegpp::GGSN_IPV6_ADDRESS),
        ] {
            match end.address {
                IpAddr::V4(address) => vendor(four, &address.octets())?,
                IpAddr::V6(address) => vendor(six, &address.octets())?,
            }
        }
        if imsi.starts_with(&nas.plmn) {
            vendor(threegpp::IMSI_MCC_MNC, nas.plmn.as_bytes())?;
        }
        vendor(threegpp::GGSN_MCC_MNC, nas.plmn.as_bytes())?;
        // One digit, hexadecimal.
        vendor(threegpp::NSAPI, format!("{:X}", context.nsapi).as_bytes())?;
        vendor(threegpp::SELECTION_MODE, b"1")?;
        vendor(threegpp::RAT_TYPE, &[UTRAN])?;
        if let Some(imei) = self.entry.and_then(|entry| entry.imei) {
            vendor(threegpp::IMEISV, imei.as_str().as_bytes())?;
        }
        Ok(())
    }
}

/// Framed-IPv6-Prefix of the 64 bits that a device is given (RFC 3162 2.3).
fn prefix(address: Ipv6Addr) -> [u8; 10] {
    let mut value = [0; 10];
    let (head, tail) = value.split_at_mut(2);
    head.copy_from_slice(&[0, 64]);
    for (to, from) in tail.iter_mut().zip(address.octets()) {
        *to = from;
    }
    value
}

/// Seconds since 1970, as RADIUS counts them.
fn seconds(at: UnixTime) -> u32 {
    u32::try_from(at.seconds().max(0)).unwrap_or(u32::MAX)
}
