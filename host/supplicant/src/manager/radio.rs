//! What wpa_supplicant heard, decoded from its properties on D-Bus.
//!
//! NetworkManager has access points, too, but their strength in hundredths of what it thinks good,
//! by one formula for those that were heard and by another for the one in use, and limited to
//! -40 dBm. wpa_supplicant has dBm.

use homeward_model::{Mac, Rssi, Ssid};
use zbus::{OwnedVariant, Variant};

use super::bus::{Properties, table, take};
use crate::reply::{Bss, Signal};

/// An access point; `None` where something is missing or out of its range.
pub(super) fn bss(mut properties: Properties) -> Option<Bss> {
    let octets: Vec<u8> = take(&mut properties, "SSID")?;
    let signal: i16 = take(&mut properties, "Signal")?;
    let frequency: u16 = take(&mut properties, "Frequency")?;
    Some(Bss {
        bssid: bssid(&mut properties)?,
        ssid: ssid(&octets),
        frequency: frequency.into(),
        signal: rssi(signal.into())?,
        age: take(&mut properties, "Age")?,
        enterprise: properties.remove("RSN").is_some_and(enterprise),
    })
}

/// The address of an access point.
pub(super) fn bssid(properties: &mut Properties) -> Option<Mac> {
    let octets: Vec<u8> = take(properties, "BSSID")?;
    Some(Mac::new(octets.try_into().ok()?))
}

/// A network's name; `None` where it is hidden.
pub(super) fn ssid(octets: &[u8]) -> Option<Ssid> {
    let shown = octets.iter().any(|octet| *octet != 0);
    Ssid::try_from(octets).ok().filter(|_| shown)
}

/// Whether the RSN element asks for 802.1X.
fn enterprise(rsn: OwnedVariant) -> bool {
    let methods = table(rsn.into()).remove("KeyMgmt");
    let methods: Vec<String> = methods.and_then(|list| list.try_into().ok()).unwrap_or_default();
    methods.iter().any(|method| method.starts_with("wpa-eap"))
}

/// The signal of the access point in use, of what `SignalPoll` answers.
pub(super) fn signal(reply: Variant<'static>) -> Option<Signal> {
    let mut all = table(reply);
    let mut of = |name: &str| {
        let value = all.remove(name)?;
        rssi(i32::try_from(value).ok()?)
    };
    let (last, mean) = (of("rssi"), of("avg-rssi"));
    Some(Signal { last: last.or(mean)?, mean })
}

/// A signal in dBm, if it can be one.
fn rssi(dbm: i32) -> Option<Rssi> {
    i8::try_from(dbm).ok().filter(|dbm| (-127..0).contains(dbm)).map(Rssi)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn heard(name: &[u8], methods: &[&str]) -> Properties {
        let methods: Vec<String> = methods.iter().map(|method| (*method).to_owned()).collect();
        let rsn = BTreeMap::from([("KeyMgmt".to_owned(), Variant::from(methods))]);
        let all = [
            ("SSID", Variant::from(name.to_vec())),
            ("BSSID", Variant::from(vec![2u8, 0, 0, 0, 1, 0])),
            ("Signal", Variant::from(-61i16)),
            ("Frequency", Variant::from(2437u16)),
            ("Age", Variant::from(4u32)),
            ("RSN", Variant::from(rsn)),
        ];
        all.into_iter()
            .map(|(name, value)| (name.to_owned(), OwnedVariant::try_from(value).unwrap()))
            .collect()
    }

    #[test]
    fn an_access_point_is_decoded_with_its_signal_in_dbm() {
        let expected = Bss {
            bssid: Mac::new([2, 0, 0, 0, 1, 0]),
            ssid: "Town".parse().ok(),
            frequency: 2437,
            signal: Rssi(-61),
            age: 4,
            enterprise: true,
        };
        assert_eq!(bss(heard(b"Town", &["wpa-psk", "wpa-eap-sha256"])), Some(expected));
        assert!(!bss(heard(b"Town", &["wpa-psk", "sae"])).unwrap().enterprise);
        assert!(!bss(heard(b"Town", &[])).unwrap().enterprise);
        for hidden in [&b""[..], &[0, 0, 0]] {
            assert_eq!(bss(heard(hidden, &["wpa-eap"])).unwrap().ssid, None);
        }
    }

    #[test]
    fn what_cannot_be_is_no_access_point_and_no_signal() {
        for missing in ["SSID", "BSSID", "Signal", "Frequency", "Age"] {
            let mut all = heard(b"Town", &["wpa-eap"]);
            all.remove(missing);
            assert_eq!(bss(all), None, "{missing}");
        }
        let mut all = heard(b"Town", &[]);
        let short = OwnedVariant::try_from(Variant::from(vec![2u8, 0])).unwrap();
        all.insert("BSSID".to_owned(), short);
        assert_eq!(bss(all), None);
        let poll = |last: i32, mean: i32| {
            let all = BTreeMap::from([
                ("rssi".to_owned(), Variant::from(last)),
                ("avg-rssi".to_owned(), Variant::from(mean)),
            ]);
            signal(Variant::from(all)).map(|found| (found.last.0, found.mean.map(|mean| mean.0)))
        };
        assert_eq!(poll(-55, -57), Some((-55, Some(-57))));
        // What a driver does not tell is a number that no signal has.
        assert_eq!(poll(-55, 9999), Some((-55, None)));
        assert_eq!(poll(0, 0), None);
        assert_eq!(signal(Variant::from(7u32)), None);
    }
}
