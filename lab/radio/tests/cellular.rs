//! A phone with a SIM beside its radio: the cellular lab's network in the radio lab's machine.
// So that clippy knows the helpers below for tests too.
#![cfg(test)]

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use homeward_cell::network::SERVICES;
use homeward_cell::{CellularNetwork, CellularPlan, Device, Sim};
use homeward_net::{Printer, printer};
use homeward_radio::{Namespace, Scenario};

/// Where the guest's programs leave their logs.
const OUT: &str = "/out";

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_station_has_a_bearer_beside_its_radio() {
    Scenario::new().radios(1).run(|lab| async move {
        let phone = lab.station("phone")?;
        let plan = CellularPlan::simple()?;
        let mut network = CellularNetwork::start(Path::new(OUT), &Namespace::ROOT, plan).await?;
        let imei = "3569380356438001".parse()?;
        let device = Device::in_namespace("phone", imei, phone.namespace().clone());
        let ue = network.attach(&device, &Sim::numbered(1)?).await?;
        ue.namespace().ping(SERVICES, SOON).await?;
        let page = Printer::start("the portal's place", &Namespace::ROOT, SERVICES)?;
        let got = printer::get(ue.namespace(), SERVICES, SOON).await?;
        ensure!(got == page.page(), "{got}");
        ensure!(page.visitors().into_iter().eq([ue.address()]), "{:?}", page.visitors());
        let device = ue.detach().await?;
        ensure!(network.contexts().await?.is_empty(), "the context is still there");
        network.attach(&device, &Sim::numbered(2)?).await?.namespace().ping(SERVICES, SOON).await?;
        Ok(())
    });
}
