//! All that is known of a modem.

use std::net::IpAddr;

use homeward_model::{Apn, Imei, Imsi, Msisdn};
use serde::{Deserialize, Serialize};

/// What is known now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Whether whoever knows of modems is there: ModemManager, or the configuration.
    pub manager: bool,
    /// The modem, if there is one.
    pub modem: Option<ModemFacts>,
}

impl Facts {
    /// The bearer, if it is up and has an address: what can be talked over.
    pub fn usable(&self) -> Option<&Bearer> {
        self.modem.as_ref()?.bearer.as_ref().filter(|bearer| !bearer.addresses.is_empty())
    }
}

/// What is known of a modem.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModemFacts {
    /// How it is with its SIM.
    pub sim: Sim,
    /// Who its SIM is.
    pub imsi: Option<Imsi>,
    /// Which equipment it is.
    pub imei: Option<Imei>,
    /// The SIM's telephone number, if the SIM knows it; many do not.
    pub number: Option<Msisdn>,
    /// How it stands with a network.
    pub registration: Registration,
    /// Over what it is attached.
    pub technology: Technology,
    /// The network's code (MCC and MNC), five or six digits.
    pub operator: Option<String>,
    /// How well it hears that network.
    pub signal: Signal,
    /// Its bearer, if one is connected.
    pub bearer: Option<Bearer>,
    /// Whether messages come and go: the modem can, and a network has taken it in, be it for
    /// messages alone.
    pub messages: bool,
}

/// How it is with a SIM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sim {
    /// It is not known.
    #[default]
    Unknown,
    /// There is none.
    Absent,
    /// It wants a PIN or the like.
    Locked,
    /// It can be used.
    Ready,
}

/// How a modem stands with a network (3GPP TS 27.007 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Registration {
    /// It is not known.
    #[default]
    Unknown,
    /// It is registered nowhere, and does not try.
    Idle,
    /// It looks for a network.
    Searching,
    /// The network refused it.
    Denied,
    /// It is at home.
    Home,
    /// It is a guest in another network.
    Roaming,
}

/// Over what a modem is attached: the best that it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Technology {
    /// It is not known.
    #[default]
    Unknown,
    /// GSM, GPRS, EDGE.
    Gsm,
    /// UMTS, HSPA.
    Umts,
    /// LTE, its variants for machines too.
    Lte,
    /// 5G NR.
    Nr,
}

/// How well a network is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Signal {
    /// Of 100.
    pub percent: Option<u8>,
    /// The received power in dBm, where the modem measures it: RSRP of LTE and NR, RSCP or RSSI of
    /// UMTS, RSSI of GSM.
    pub dbm: Option<i16>,
}

/// A connection to a packet network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// The interface that it is on.
    pub interface: String,
    /// The interface's addresses, those of the link alone left out; none while it is down.
    pub addresses: Vec<IpAddr>,
    /// The access point name.
    pub apn: Option<Apn>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_is_of_use_once_it_has_an_address() {
        let mut facts = Facts { manager: true, modem: None };
        assert_eq!(facts.usable(), None);
        let bearer = Bearer { interface: "wwan0".to_owned(), addresses: Vec::new(), apn: None };
        facts.modem = Some(ModemFacts { bearer: Some(bearer), ..ModemFacts::default() });
        assert_eq!(facts.usable(), None);
        let modem = facts.modem.as_mut().unwrap();
        modem.bearer.as_mut().unwrap().addresses.push([192, 0, 2, 1].into());
        assert_eq!(facts.usable().unwrap().interface, "wwan0");
    }
}
