//! The modem of the configuration, whose interface is a cable between two namespaces.

use std::time::Duration;

use homeward_modem::{Fixed, Modem};
use homeward_net::lab;

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_bearer_is_an_interface_that_is_up_and_has_an_address() {
    lab(|lab| async move {
        let (device, network) = (lab.namespace("device")?, lab.namespace("network")?);
        device.join("wwan0", &network, "cell")?;
        let inside = device.clone();
        let work = move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let imsi = "999700123456789".parse()?;
                let modem = Modem::fixed(Fixed { imsi, imei: None, interface: "wwan0".into() })?;
                let mut facts = modem.watch();
                for (change, usable) in [
                    ("address add 192.0.2.7/24 dev wwan0", true),
                    ("link set wwan0 down", false),
                    ("link set wwan0 up", true),
                    ("link delete wwan0", false),
                ] {
                    inside.ip(change)?;
                    let is_so = facts.wait_for(|f| f.manager && f.usable().is_some() == usable);
                    let found = tokio::time::timeout(LIMIT, is_so).await??.clone();
                    assert_eq!(found.modem.and_then(|m| m.imsi), Some(imsi), "{change}");
                }
                Ok(())
            })
        };
        device.run(work).await
    });
}
