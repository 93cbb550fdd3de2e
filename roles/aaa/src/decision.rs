//! The answer to a look-up: a pure function of what is known, the gateway that asks, and the
//! question.

use homeward_ledger::User;
use homeward_model::{
    Anchor, Device, DeviceId, DeviceKey, Gateway, Grant, Mac, Network, Refusal, RefusalReason,
    Security, ServiceTerms, Ssid, Status, UnixTime,
};

use crate::projection::Projection;
use crate::usage::Usage;

/// What decisions are made on.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The records.
    pub records: &'a Projection,
    /// What everybody has used.
    pub usage: &'a Usage,
    /// The time.
    pub now: UnixTime,
}

/// What is granted, and to which device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The device.
    pub device: DeviceId,
    /// The grant; its Class is yet to be signed.
    pub grant: Grant,
}

/// Decides whether `gateway` may serve the device `mac` under `ssid`.
///
/// # Errors
///
/// The [`Refusal`] carries a Reply-Message that tells an operator what to look at. It goes to
/// authenticated gateways only, so it may be exact.
pub fn decide(
    known: &Known<'_>,
    gateway: &Gateway,
    mac: Mac,
    ssid: &Ssid,
) -> Result<Granted, Refusal> {
    let p = known.records;
    if gateway.status == Status::Suspended {
        return refuse(
            RefusalReason::GatewaySuspended,
            format!(
                "gateway {} is suspended; `homeward admin gateway resume {0}` lifts it",
                gateway.name
            ),
        );
    }
    let devices = p.devices(mac);
    if devices.is_empty() {
        return refuse(
            RefusalReason::UnknownDevice,
            "unknown device: no network has a device with this MAC; `homeward admin device create` adds it".into(),
        );
    }
    // A MAC may be at home in several networks, and several homes may share an SSID: the best
    // answer wins, and of equal ones the network that lives behind the gateway that asks.
    let mut best: Option<Result<Granted, Refusal>> = None;
    for device in devices {
        let Some(network) = p.network(device.network).filter(|n| n.ssid == *ssid) else { continue };
        let answer = one(known, gateway, device, network);
        let better = match (&best, &answer) {
            (None, _) | (Some(Err(_)), Ok(_)) => true,
            (Some(Ok(old)), Ok(new)) => new.grant.at_home && !old.grant.at_home,
            (Some(_), Err(_)) => false,
        };
        if better {
            best = Some(answer);
        }
    }
    best.unwrap_or_else(|| {
        refuse(
            RefusalReason::WrongSsid,
            format!("SSID \"{ssid}\" is not this device's; `homeward admin device list --mac` shows its own"),
        )
    })
}

fn one(
    known: &Known<'_>,
    gateway: &Gateway,
    device: &Device,
    network: &Network,
) -> Result<Granted, Refusal> {
    let p = known.records;
    let Some(account) = p.account(network.account) else {
        return refuse(RefusalReason::Other, format!("network {} has no account", network.id));
    };
    let Some(class) = p.class(account.class) else {
        return refuse(
            RefusalReason::Other,
            format!("account {} has no class of service", account.name),
        );
    };
    if account.status == Status::Suspended {
        return refuse(
            RefusalReason::AccountSuspended,
            format!(
                "account {} is suspended; `homeward admin account resume {0}` lifts it",
                account.name
            ),
        );
    }
    if network.status == Status::Suspended {
        return refuse(
            RefusalReason::NetworkSuspended,
            format!(
                "network {} is suspended; `homeward admin network resume {0}` lifts it",
                network.id
            ),
        );
    }
    if device.status == Status::Suspended {
        return refuse(
            RefusalReason::DeviceSuspended,
            format!(
                "device {} is suspended; `homeward admin device resume {0}` lifts it",
                device.id
            ),
        );
    }
    let home = network.gateway.and_then(|id| p.gateway(id));
    let at_home = network.gateway == Some(gateway.id);
    // A subscriber without a home gateway is at home nowhere; only the operator's whole
    // footprint can cover such a one.
    let covered = at_home
        || home.map_or(class.coverage == homeward_model::Coverage::Everywhere, |home| {
            home.operator == gateway.operator && class.coverage.covers(&home.place, &gateway.place)
        });
    if !covered {
        let whence = home.map_or_else(|| "no home gateway".to_owned(), |h| h.place.to_string());
        return refuse(
            RefusalReason::OutsideCoverage,
            format!(
                "class {} covers {} from {whence}; gateway {} of {} stands in {}",
                class.name, class.coverage, gateway.name, gateway.operator, gateway.place
            ),
        );
    }
    // At home it does not hold: there is no stranger to be spared.
    if let Some(quota) = class.terms.quota.filter(|_| !at_home) {
        let standing = known.usage.standing(User::Device(device.id), &quota, known.now);
        if standing.spent {
            let message = format!(
                "device {} has used its {} octets of the {}; the next begin on {}",
                device.id, quota.octets, quota.period, standing.renews
            );
            return refuse(RefusalReason::QuotaSpent, message);
        }
    }
    let key = match (&device.key, network.security) {
        (_, Security::Enterprise) => {
            return refuse(
                RefusalReason::UnsupportedSecurity,
                format!(
                    "network {} uses 802.1X: it is authenticated by EAP, not looked up",
                    network.id
                ),
            );
        }
        (None, _) => {
            return refuse(
                RefusalReason::UnsupportedSecurity,
                format!("device {} has no key", device.id),
            );
        }
        (Some(DeviceKey::Psk(_)), Security::Wpa3Sae) => {
            return refuse(
                RefusalReason::UnsupportedSecurity,
                format!(
                    "device {} has a raw PSK, and SAE needs a passphrase; give it one",
                    device.id
                ),
            );
        }
        (Some(key), _) => key.clone(),
    };
    // Without a home gateway there is nowhere to tunnel to.
    let anchor = if network.gateway.is_none() { Anchor::Local } else { class.terms.anchor };
    let grant = Grant {
        network: network.id,
        ssid: network.ssid,
        security: network.security,
        key,
        terms: ServiceTerms { anchor, ..class.terms },
        at_home,
        class: Vec::new(),
    };
    Ok(Granted { device: device.id, grant })
}

fn refuse<T>(reason: RefusalReason, message: String) -> Result<T, Refusal> {
    Err(Refusal { reason, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, FAR, GATEWAY, HOME, MAC};
    use homeward_accounting::{Day, Figures};
    use homeward_model::{
        Coverage, DeviceId, GatewayId, LoginId, NetworkId, Psk, Quota, QuotaPeriod,
    };

    const NOW: UnixTime = UnixTime(1_800_000_000_000);

    fn ask(p: &Projection, gateway: GatewayId) -> Result<Grant, RefusalReason> {
        ask_with(p, &Usage::default(), gateway)
    }

    fn ask_with(p: &Projection, usage: &Usage, gateway: GatewayId) -> Result<Grant, RefusalReason> {
        let known = Known { records: p, usage, now: NOW };
        let decided = decide(&known, p.gateway(gateway).unwrap(), MAC, &testing::ssid());
        decided.map(|granted| granted.grant).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn who_has_used_the_quota_is_refused_until_the_next_period_but_not_at_home() {
        let mut p = testing::projection();
        let mut class = testing::class(Coverage::Local);
        class.terms.quota = Some(Quota { octets: 1000, period: QuotaPeriod::Day });
        p.put_class(class);
        let (usage, user) = (Usage::default(), User::Device(testing::device().id));
        let used = |octets| Figures { input: octets, ..Figures::ZERO };
        usage.add(user, &used(5000), Day::of(NOW).plus(-1));
        usage.add(user, &used(999), Day::of(NOW));
        usage.add(User::Login(LoginId(user.parts().1)), &used(5000), Day::of(NOW));
        assert!(ask_with(&p, &usage, GATEWAY).is_ok());
        usage.add(user, &Figures { output: 1, ..Figures::ZERO }, Day::of(NOW));
        assert_eq!(ask_with(&p, &usage, GATEWAY), Err(RefusalReason::QuotaSpent));
        assert!(ask_with(&p, &usage, HOME).is_ok());
    }

    #[test]
    fn a_device_is_served_abroad_with_its_own_key_and_at_home_as_such() {
        let p = testing::projection();
        let abroad = ask(&p, GATEWAY).unwrap();
        assert_eq!((abroad.network, abroad.at_home), (NetworkId(1), false));
        assert_eq!(abroad.key.psk(), &Psk::new([0x5c; 32]));
        assert!(ask(&p, HOME).unwrap().at_home);
    }

    #[test]
    fn an_unknown_mac_and_a_wrong_ssid_are_told_apart() {
        let p = testing::projection();
        let gateway = p.gateway(GATEWAY).unwrap();
        let known = Known { records: &p, usage: &Usage::default(), now: NOW };
        let stranger = Mac::new([2, 0, 0, 0, 9, 9]);
        let reason = |mac, ssid: &str| {
            decide(&known, gateway, mac, &ssid.parse().unwrap()).unwrap_err().reason
        };
        assert_eq!(reason(stranger, "Elm Street 17"), RefusalReason::UnknownDevice);
        assert_eq!(reason(MAC, "Elm Street 18"), RefusalReason::WrongSsid);
    }

    #[test]
    fn whatever_is_suspended_is_the_reason() {
        for (suspend, reason) in [
            (
                (|p: &mut Projection| p.put_account(testing::suspended_account()))
                    as fn(&mut Projection),
                RefusalReason::AccountSuspended,
            ),
            (
                |p| p.put_network(Network { status: Status::Suspended, ..testing::network() }),
                RefusalReason::NetworkSuspended,
            ),
            (
                |p| p.put_device(Device { status: Status::Suspended, ..testing::device() }),
                RefusalReason::DeviceSuspended,
            ),
            (
                |p| {
                    p.put_gateway(Gateway {
                        status: Status::Suspended,
                        ..testing::gateway(GATEWAY, "gb/london/n7")
                    })
                },
                RefusalReason::GatewaySuspended,
            ),
        ] {
            let mut p = testing::projection();
            suspend(&mut p);
            assert_eq!(ask(&p, GATEWAY), Err(reason));
        }
    }

    #[test]
    fn coverage_ends_where_the_class_says_but_never_at_home() {
        let mut p = testing::projection();
        assert_eq!(ask(&p, FAR), Err(RefusalReason::OutsideCoverage));
        p.put_class(testing::class(Coverage::National));
        assert!(ask(&p, FAR).is_ok());
        // Home again, with the home gateway moved to where "local" would not reach.
        assert!(ask(&p, HOME).is_ok());
    }

    #[test]
    fn traffic_leaves_where_the_class_says_and_where_the_roamer_is_if_it_has_no_home_gateway() {
        let mut p = testing::projection();
        assert_eq!(ask(&p, GATEWAY).unwrap().terms.anchor, Anchor::Home);
        let mut class = testing::class(Coverage::Everywhere);
        class.terms.anchor = Anchor::Local;
        p.put_class(class);
        assert_eq!(ask(&p, GATEWAY).unwrap().terms.anchor, Anchor::Local);
        p.put_class(testing::class(Coverage::Everywhere));
        p.put_network(Network { gateway: None, ..testing::network() });
        assert_eq!(ask(&p, GATEWAY).unwrap().terms.anchor, Anchor::Local);
    }

    #[test]
    fn another_operators_gateway_is_outside_coverage() {
        let mut p = testing::projection();
        p.put_class(testing::class(Coverage::Everywhere));
        p.put_gateway(Gateway {
            operator: "other".parse().unwrap(),
            ..testing::gateway(GATEWAY, "gb/london/n7")
        });
        assert_eq!(ask(&p, GATEWAY), Err(RefusalReason::OutsideCoverage));
    }

    #[test]
    fn sae_needs_a_passphrase_and_802_1x_is_not_looked_up() {
        for security in [Security::Wpa3Sae, Security::Enterprise] {
            let mut p = testing::projection();
            p.put_network(Network { security, ..testing::network() });
            assert_eq!(ask(&p, GATEWAY), Err(RefusalReason::UnsupportedSecurity));
        }
    }

    #[test]
    fn of_two_homes_with_one_ssid_the_one_in_force_wins_and_then_the_one_that_asks() {
        let mut p = testing::projection();
        p.put_network(Network { id: NetworkId(2), gateway: Some(GATEWAY), ..testing::network() });
        p.put_device(Device { id: DeviceId(2), network: NetworkId(2), ..testing::device() });
        assert_eq!(ask(&p, GATEWAY).unwrap().network, NetworkId(2));
        assert_eq!(ask(&p, HOME).unwrap().network, NetworkId(1));
        p.put_device(Device {
            id: DeviceId(2),
            network: NetworkId(2),
            status: Status::Suspended,
            ..testing::device()
        });
        assert_eq!(ask(&p, GATEWAY).unwrap().network, NetworkId(1));
    }
}
