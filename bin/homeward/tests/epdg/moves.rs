//! The device's agent dials by itself, and its address in the tunnel stays while it moves.

use std::net::Ipv4Addr;
use std::time::Duration;

use homeward_call::PATIENCE;
use homeward_call::agent::Agent;
use homeward_device::handoff::Notice;
use homeward_net::flow::Flow;
use homeward_net::wait::{elapse, now, wait_for};

use crate::lab::{End, Lab, SERVICE};

/// Traffic goes by the device's first line, in that network.
fn go(agent: &Agent, network: usize) {
    let ssid = (network > 0).then(|| format!("n{network}.example"));
    agent.go(ssid.as_deref(), "w1", [10, 1, 0, 2].into()).unwrap();
}

fn connected(notice: &Notice) -> bool {
    matches!(notice, Notice::Connected { .. })
}

/// From when the stream is well until it is well again, on the other path.
const SETTLED: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_device_that_hops_dials_with_the_key_and_keeps_its_address_from_path_to_path() {
    let lab = Lab::start("").await;
    let agent = Agent::start(&lab.device, &lab.path("agent"), lab.handoff()).unwrap();
    go(&agent, 0);
    agent.says(|notice| matches!(notice, Notice::HandedOff { hops: 1, .. })).unwrap();
    assert!(!lab.passes().await);
    go(&agent, 1);
    let up = agent.says(connected).unwrap();
    assert!(matches!(up, Notice::Connected { hops: 2, .. }), "{up:?}");
    let known = lab.known(End::Epdg).await;
    assert!(known.len() == 1 && known[0].starts_with("hop-2@"), "{known:?}");

    let flow = Flow::start(&lab.device, &lab.epdg, SERVICE, 9000).unwrap();
    let came = async || Ok(flow.now_from());
    let address: Ipv4Addr = wait_for("the stream", PATIENCE, came).await.unwrap();
    assert_eq!(address.octets()[..3], [10, 45, 1], "the address is one of the ePDG's pool");
    let down = Flow::start(&lab.epdg, &lab.device, address, 9001).unwrap();
    let moves = || lab.said(End::Epdg).matches("N(UPD_SA_ADDR)").count();
    for (cut, path) in ["w1", "w2"].into_iter().enumerate() {
        elapse(SETTLED).await;
        assert_eq!(moves(), cut);
        let began = now();
        lab.device.ip(&format!("link set {path} down")).unwrap();
        let later = began + Duration::from_millis(300);
        let back = async || {
            let both = flow.first_from(address, later).zip(down.first_from(SERVICE, later));
            Ok(both)
        };
        wait_for("both streams to go on by the other path", PATIENCE, back).await.unwrap();
        elapse(SETTLED).await;
        for (way, flow) in [("up", &flow), ("down", &down)] {
            let outage = flow.outage(began, now());
            println!(
                "{path} cut, {way}: silent for {:.0} ms, {} of {} lost",
                outage.silence_ms,
                outage.lost,
                outage.lost + outage.arrived
            );
        }
        assert_eq!(flow.now_from(), Some(address), "the address stays");
        assert_eq!(moves(), cut + 1, "the ePDG was told, and knows the device by its key");
        // Both paths are there again before the other is cut.
        let (gateway, metric) = if path == "w1" { ("10.1.0.1", 10) } else { ("10.2.0.1", 20) };
        lab.device
            .ip(&format!("link set {path} up\nroute replace default via {gateway} metric {metric}"))
            .unwrap();
    }

    // Where the tunnel goes on to, MOBIKE knows; the next hop here has another key.
    go(&agent, 0);
    agent.says(|notice| matches!(notice, Notice::HandedOff { hops: 3, .. })).unwrap();
    assert!(lab.passes().await, "the tunnel is not ended");
    let forgotten = async || Ok(lab.known(End::Device).await.is_empty().then_some(()));
    wait_for("the key of the hop to be forgotten", PATIENCE, forgotten).await.unwrap();
    go(&agent, 1);
    let up = agent.says(connected).unwrap();
    assert!(matches!(up, Notice::Connected { hops: 4, .. }), "{up:?}");
    let since = now();
    let again = async || Ok(flow.first_from(address, since));
    wait_for("the stream, from the same address", PATIENCE, again).await.unwrap();

    // A charon that forgot the key has lost the tunnel, too, as far as the agent can tell.
    lab.charon(End::Device).unload(&lab.known(End::Epdg).await[0]).await.unwrap();
    let up = agent.says(connected).unwrap();
    assert!(matches!(up, Notice::Connected { hops: 4, .. }), "{up:?}");
    assert!(lab.passes().await);
}
