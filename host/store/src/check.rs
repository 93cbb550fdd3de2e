//! Which values a datastore takes: the rules that both twins share.

use std::net::IpAddr;

use homeward_model::{AccountId, Mac, Name, Network, NetworkId, Security, ServiceTerms, Ssid};
use ipnet::IpNet;

use crate::error::{Entity, Error, Invalid};
use crate::outbox::{GatewayFacts, KeyKind, LoginFacts};

/// How many devices of a network have which kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct KeyCounts {
    pub(crate) none: u64,
    pub(crate) passphrase: u64,
    pub(crate) psk: u64,
}

impl KeyCounts {
    pub(crate) fn add(&mut self, kind: KeyKind, count: u64) {
        *match kind {
            KeyKind::None => &mut self.none,
            KeyKind::Passphrase => &mut self.passphrase,
            KeyKind::Psk => &mut self.psk,
        } += count;
    }
}

/// A class of service's terms, within what the database can hold.
pub(crate) fn terms(terms: &ServiceTerms) -> Result<(), Invalid> {
    match terms.quota {
        Some(quota) if i64::try_from(quota.octets).is_err() => Err(Invalid::Quota(quota.octets)),
        _ => Ok(()),
    }
}

/// A gateway, whose address comes out in canonical form.
pub(crate) fn gateway(gateway: &mut GatewayFacts, secret_len: usize) -> Result<(), Invalid> {
    individual(gateway.mac)?;
    if gateway.device_of.is_some() {
        let name = gateway.name.clone();
        return match secret_len {
            _ if gateway.address.is_some() => Err(Invalid::DeviceAddress(name)),
            _ if gateway.site.is_some() => Err(Invalid::DeviceSite(name)),
            0 => Ok(()),
            _ => Err(Invalid::DeviceSecret(name)),
        };
    }
    if let Some(given) = &gateway.address {
        gateway.address = Some(address(given)?);
    }
    match secret_len {
        0 if gateway.address.is_some() => Err(Invalid::NoRadiusSecret(gateway.name.clone())),
        0..=255 => Ok(()),
        len => Err(Invalid::RadiusSecretLength(len)),
    }
}

/// The home gateway of a network.
pub(crate) fn home(gateway: &Name, device_of: Option<NetworkId>) -> Result<(), Invalid> {
    match device_of {
        Some(_) => Err(Invalid::HomeIsDevice(gateway.clone())),
        None => Ok(()),
    }
}

/// Whether nothing hangs on a network any more.
pub(crate) fn uninhabited(network: NetworkId, devices: u64, hybrid: u64) -> Result<(), Error> {
    if devices > 0 {
        let (entity, by) = (Entity::Network, Entity::Device);
        return Err(Error::Referenced { entity, id: network.0, count: devices, by });
    }
    if hybrid > 0 {
        return Err(Error::HybridDevices { network, count: hybrid });
    }
    Ok(())
}

/// A device's own values; [`key`] looks at its key.
pub(crate) fn device(mac: Mac, label: &str) -> Result<(), Invalid> {
    individual(mac)?;
    self::label(label)
}

/// A log-in's own values.
pub(crate) fn login(login: &LoginFacts) -> Result<(), Invalid> {
    if login.name.as_str().parse::<Mac>().is_ok() {
        return Err(Invalid::LoginIsMac);
    }
    login.mac.map_or(Ok(()), individual)?;
    label(&login.label)
}

/// Whether nothing hangs on an account any more.
pub(crate) fn unreferenced(
    account: AccountId,
    networks: usize,
    logins: usize,
    subscribers: usize,
) -> Result<(), Error> {
    let counts =
        [(networks, Entity::Network), (logins, Entity::Login), (subscribers, Entity::Subscriber)];
    for (count, by) in counts {
        if count > 0 {
            let (entity, count) = (Entity::Account, count as u64);
            return Err(Error::Referenced { entity, id: account.0, count, by });
        }
    }
    Ok(())
}

/// A key of that kind in a network of that security.
pub(crate) fn key(network: NetworkId, security: Security, kind: KeyKind) -> Result<(), Invalid> {
    match (security, kind) {
        (Security::Enterprise, _) => Ok(()),
        (_, KeyKind::None) => Err(Invalid::KeyMissing { network, security }),
        (Security::Wpa3Sae, KeyKind::Psk) => Err(Invalid::PassphraseMissing { network }),
        _ => Ok(()),
    }
}

/// A change of a network's SSID or security, given the keys of its devices.
pub(crate) fn network(old_ssid: Ssid, new: &Network, keys: KeyCounts) -> Result<(), Invalid> {
    let (network, security) = (new.id, new.security);
    if new.ssid != old_ssid && keys.passphrase > 0 {
        return Err(Invalid::SsidInUse { network, count: keys.passphrase });
    }
    let refused = |count, what| Invalid::SecurityMismatch { network, security, count, what };
    if security != Security::Enterprise && keys.none > 0 {
        return Err(refused(keys.none, "a key"));
    }
    if security == Security::Wpa3Sae && keys.psk > 0 {
        return Err(refused(keys.psk, "a passphrase"));
    }
    Ok(())
}

pub(crate) fn label(label: &str) -> Result<(), Invalid> {
    if let Some(at) = label.chars().position(char::is_control) {
        return Err(Invalid::LabelControl(at + 1));
    }
    match label.chars().count() {
        0..=128 => Ok(()),
        len => Err(Invalid::LabelLength(len)),
    }
}

pub(crate) fn individual(mac: Mac) -> Result<(), Invalid> {
    if mac.is_group() { Err(Invalid::GroupMac(mac)) } else { Ok(()) }
}

/// One spelling per address, so that a unique constraint can compare texts: no host bits, no
/// prefix length where it is the whole address, IPv4-mapped IPv6 as IPv4.
fn address(given: &str) -> Result<String, Invalid> {
    if let Ok(ip) = given.parse::<IpAddr>() {
        return Ok(ip.to_canonical().to_string());
    }
    let net: IpNet = given.parse().map_err(|_| Invalid::Address(given.to_owned()))?;
    if net.trunc() != net {
        let prefix = net.trunc().to_string();
        return Err(Invalid::HostBits { given: given.to_owned(), prefix });
    }
    if net.prefix_len() == net.max_prefix_len() {
        return Ok(net.addr().to_canonical().to_string());
    }
    Ok(net.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        for (given, kept) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("2001:DB8:0::1", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            assert_eq!(address(given).as_deref(), Ok(kept));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_repair() {
        for (given, error) in [
            (
                "gw.example",
                "\"gw.example\" is no IP address and no prefix: give one such as 192.0.2.7 or 192.0.2.0/24",
            ),
            (
                "192.0.2.7/24",
                "192.0.2.7/24 has bits set beyond its prefix length: give 192.0.2.0/24 or the address alone",
            ),
            (
                "192.0.2.0/33",
                "\"192.0.2.0/33\" is no IP address and no prefix: give one such as 192.0.2.7 or 192.0.2.0/24",
            ),
        ] {
            assert_eq!(address(given).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn a_label_is_short_and_printable() {
        let mac = Mac::new([2, 0, 0, 0, 0, 1]);
        assert_eq!(device(mac, &"\u{e9}".repeat(128)), Ok(()));
        assert_eq!(device(mac, &"x".repeat(129)), Err(Invalid::LabelLength(129)));
        assert_eq!(device(mac, "a\u{1b}[31m"), Err(Invalid::LabelControl(2)));
    }

    #[test]
    fn a_key_suits_the_security_or_is_refused() {
        use Security::{Enterprise, Wpa2Psk, Wpa2Wpa3, Wpa3Sae};
        let id = NetworkId(7);
        for (security, none, passphrase, psk) in [
            (Wpa2Psk, false, true, true),
            (Wpa2Wpa3, false, true, true),
            (Wpa3Sae, false, true, false),
            (Enterprise, true, true, true),
        ] {
            assert_eq!(key(id, security, KeyKind::None).is_ok(), none, "{security}");
            assert_eq!(key(id, security, KeyKind::Passphrase).is_ok(), passphrase, "{security}");
            assert_eq!(key(id, security, KeyKind::Psk).is_ok(), psk, "{security}");
        }
    }
}
