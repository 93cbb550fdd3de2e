//! Wi-Fi networks behind ePDGs, and the phone's cables to them.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use homeward_net::{Lab, Namespace};

use crate::call::{HARBOUR, TOWN};
use crate::strongswan::Epdg;
use crate::write;

/// The phone's, the first of them.
const PHONE: &str = "10.60.0.2-10.60.0.2";
/// A Wi-Fi network behind an ePDG, and the phone's cable to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wifi {
    pub(crate) network: &'static str,
    /// The certificate's.
    pub(crate) epdg: &'static str,
    pub(crate) interface: &'static str,
    pub(crate) number: u8,
}

pub(crate) const WIFI: [Wifi; 2] = [
    Wifi { network: TOWN, epdg: "epdg.town.example", interface: "w1", number: 1 },
    Wifi { network: HARBOUR, epdg: "epdg.harbour.example", interface: "w2", number: 2 },
];

impl Wifi {
    pub(crate) fn name(self) -> &'static str {
        self.network.split('.').next().unwrap_or(self.network)
    }

    /// The phone's address at its access point.
    pub(crate) fn phone(self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number, 0, 2)
    }

    /// Its access point's.
    pub(crate) fn access(self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number, 0, 1)
    }

    /// Its ePDG's.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 92, self.number, 1)
    }

    /// The phone's way to its ePDG.
    pub(crate) fn route(self) -> String {
        self.way_to(self)
    }

    /// The phone's way by this to the ePDG of that; by another's, it is the second.
    pub(crate) fn way_to(self, of: Self) -> String {
        let (number, access, interface) = (of.number, self.access(), self.interface);
        let metric = if self.number == number { 10 } else { 20 };
        format!("route add 10.92.{number}.0/24 via {access} dev {interface} metric {metric}")
    }

    /// Its module's, in the namespace of the services.
    pub(crate) fn services(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 92, self.number, 2)
    }
}

pub(crate) fn wifi(network: &str) -> Result<Wifi> {
    let found = WIFI.into_iter().find(|of| of.network == network);
    found.with_context(|| format!("{network} has no Wi-Fi"))
}

/// A Wi-Fi network: its access point is where its ePDG is, too.
pub(crate) fn lay(
    lab: &Lab,
    of: Wifi,
    phone: &Namespace,
    services: &Namespace,
) -> Result<Namespace> {
    let network = lab.namespace(of.name())?;
    phone.join(of.interface, &network, "w")?;
    network.join("core", services, of.name())?;
    network.sysctl("net.ipv4.ip_forward", "1")?;
    let (own, access, gateway, far) = (of.phone(), of.access(), of.gateway(), of.services());
    phone.ip(&format!("addr add {own}/24 dev {}\n{}", of.interface, of.route()))?;
    // charon's routes need an address of its own in what is behind it.
    network.ip(&format!(
        "addr add {access}/24 dev w\naddr add {gateway}/24 dev core\nroute add default via {far}\n\
         addr add 10.91.0.{}/32 dev lo",
        of.number + 100
    ))?;
    services.ip(&format!(
        "addr add {far}/24 dev {}\nroute add 10.{}.0.0/24 via {gateway}",
        of.name(),
        of.number
    ))?;
    Ok(network)
}

pub(crate) fn epdg(of: Wifi, updown: Option<PathBuf>) -> Epdg {
    let core = of.services();
    Epdg { name: of.epdg, address: of.gateway(), core, pool: PHONE, updown }
}

/// What stands for the packet gateway's part: a program that routes what is for the phone to the ePDG that it
/// has a tunnel to, as S2b would.
pub(crate) fn anchor(folder: &Path, of: Wifi, services: &Namespace) -> Result<PathBuf> {
    let file = folder.join(of.name()).join("updown");
    let route = format!("\"$PLUTO_PEER_CLIENT\" via {}", of.gateway());
    let at = services.path();
    write(
        &file,
        &format!(
            "#!/bin/sh\nin_services() {{ nsenter --net={} ip route \"$@\"; }}\n\
             case $PLUTO_VERB in\n  up-client) in_services replace {route} ;;\n  \
             down-client) in_services del {route} || true ;;\nesac\n",
            at.display()
        ),
    )?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o700))?;
    Ok(file)
}
