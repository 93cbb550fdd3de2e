//! A small world for the tests: one operator, one home in London, gateways here and there.

use std::net::{IpAddr, Ipv4Addr};

use homeward_model::{
    Account, AccountId, ClassId, ClassOfService, Coverage, Device, DeviceId, DeviceKey, Gateway,
    GatewayId, Login, LoginId, LookupForm, Mac, Network, NetworkId, NtHash, Psk, Secret, Security,
    ServiceTerms, Ssid, Status, Verifier,
};

use crate::projection::Projection;

/// The gateway of the home.
pub(crate) const HOME: GatewayId = GatewayId(1);
/// A gateway in another part of London.
pub(crate) const GATEWAY: GatewayId = GatewayId(2);
/// A gateway in Leeds.
pub(crate) const FAR: GatewayId = GatewayId(3);
/// The device.
pub(crate) const MAC: Mac = Mac::new([2, 0, 0x5e, 0, 0, 1]);

pub(crate) fn ssid() -> Ssid {
    "Elm Street 17".parse().unwrap()
}

pub(crate) fn host() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

pub(crate) fn gateway(id: GatewayId, place: &str) -> Gateway {
    Gateway {
        id,
        name: format!("gw-{id}").parse().unwrap(),
        mac: Mac::new([2, 0, 0, 0, 1, id.0 as u8]),
        place: place.parse().unwrap(),
        operator: "example".parse().unwrap(),
        address: Some(format!("127.0.0.{id}")),
        radius_secret: Secret::new("a secret of sixteen"),
        lookup: LookupForm::Homeward,
        status: Status::Active,
        device_of: None,
        site: None,
    }
}

pub(crate) fn account() -> Account {
    Account {
        id: AccountId(1),
        name: "smith".parse().unwrap(),
        class: ClassId(1),
        status: Status::Active,
    }
}

pub(crate) fn suspended_account() -> Account {
    Account { status: Status::Suspended, ..account() }
}

pub(crate) fn network() -> Network {
    Network {
        id: NetworkId(1),
        account: AccountId(1),
        gateway: Some(HOME),
        ssid: ssid(),
        security: Security::Wpa2Psk,
        status: Status::Active,
    }
}

pub(crate) fn device() -> Device {
    Device {
        id: DeviceId(1),
        network: NetworkId(1),
        mac: MAC,
        key: Some(DeviceKey::Psk(Psk::new([0x5c; 32]))),
        label: "phone".into(),
        status: Status::Active,
    }
}

pub(crate) fn login() -> Login {
    Login {
        id: LoginId(1),
        account: AccountId(1),
        name: "phone@example.net".parse().unwrap(),
        verifier: Verifier::NtHash(NtHash::new([1; 16])),
        mac: None,
        expires: None,
        uses: homeward_model::Uses::Any,
        label: String::new(),
        status: Status::Active,
    }
}

pub(crate) fn class(coverage: Coverage) -> ClassOfService {
    ClassOfService {
        id: ClassId(1),
        name: "standard".parse().unwrap(),
        coverage,
        terms: ServiceTerms::default(),
        retention: None,
    }
}

pub(crate) fn projection() -> Projection {
    let mut p = Projection::default();
    p.put_class(class(Coverage::Local));
    p.put_account(account());
    p.put_gateway(gateway(HOME, "gb/london/se1"));
    p.put_gateway(gateway(GATEWAY, "gb/london/n7"));
    p.put_gateway(gateway(FAR, "gb/leeds/ls1"));
    p.put_network(network());
    p.put_device(device());
    p
}
