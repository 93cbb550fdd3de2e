//! The device's agent dials by itself, and its address in the tunnel stays while it moves.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc;
use std::time::Duration;

use homeward_daemon::Shutdown;
use homeward_device::config::{Handoff as Settings, State};
use homeward_device::dial::Line;
use homeward_device::handoff::{Handoff, Notice};
use homeward_net::flow::Flow;
use homeward_net::wait::{elapse, now, wait_for};

use crate::lab::{End, Lab, PATIENCE, SERVICE};

/// The part of a device's daemon that does hand-offs, in the device's namespace.
struct Agent {
    go: tokio::sync::mpsc::UnboundedSender<usize>,
    notices: mpsc::Receiver<Notice>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Agent {
    fn start(lab: &Lab) -> Self {
        let settings: Settings = serde_json::from_value(lab.handoff()).unwrap();
        settings.check().unwrap();
        let directory = lab.path("agent");
        let state = State { key_file: directory.join("keys"), directory };
        let (go, mut goes) = tokio::sync::mpsc::unbounded_channel();
        let (notice, notices) = mpsc::channel();
        let namespace = lab.device.clone();
        let thread = std::thread::spawn(move || {
            namespace.switch().unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let (told, mut tells) = tokio::sync::mpsc::unbounded_channel();
                let handoff = Handoff::start(&settings, &state, told, &Shutdown::new()).unwrap();
                loop {
                    tokio::select! {
                        Some(said) = tells.recv() => drop(notice.send(said)),
                        to = goes.recv() => match to {
                            Some(network) => go_to(&handoff, network),
                            None => break,
                        },
                    }
                }
                handoff.stop().await;
            });
        });
        Self { go, notices, thread: Some(thread) }
    }

    fn go(&self, network: usize) {
        self.go.send(network).unwrap();
    }

    /// Waits for the next notice that is `wanted`; there is none before that says something failed.
    fn says(&self, wanted: impl Fn(&Notice) -> bool) -> Notice {
        loop {
            let notice = self.notices.recv_timeout(PATIENCE).expect("nothing is told");
            if wanted(&notice) {
                return notice;
            }
            let failed = matches!(notice, Notice::NotProven { .. } | Notice::NotConnected { .. });
            assert!(!failed, "{notice:?}");
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let (gone, _) = tokio::sync::mpsc::unbounded_channel();
        self.go = gone;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn go_to(handoff: &Handoff, network: usize) {
    let ssid = (network > 0).then(|| format!("n{network}.example").parse().unwrap());
    let addresses = vec![IpAddr::from([10, 1, 0, 2])];
    handoff.go(ssid.as_ref(), Some(Line { interface: "w1".to_owned(), addresses }));
}

fn connected(notice: &Notice) -> bool {
    matches!(notice, Notice::Connected { .. })
}

/// From when the stream is well until it is well again, on the other path.
const SETTLED: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_device_that_hops_dials_with_the_key_and_keeps_its_address_from_path_to_path() {
    let lab = Lab::start("").await;
    let agent = Agent::start(&lab);
    agent.go(0);
    agent.says(|notice| matches!(notice, Notice::HandedOff { hops: 1, .. }));
    assert!(!lab.passes().await);
    agent.go(1);
    let up = agent.says(connected);
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
    agent.go(0);
    agent.says(|notice| matches!(notice, Notice::HandedOff { hops: 3, .. }));
    assert!(lab.passes().await, "the tunnel is not ended");
    let forgotten = async || Ok(lab.known(End::Device).await.is_empty().then_some(()));
    wait_for("the key of the hop to be forgotten", PATIENCE, forgotten).await.unwrap();
    agent.go(1);
    let up = agent.says(connected);
    assert!(matches!(up, Notice::Connected { hops: 4, .. }), "{up:?}");
    let since = now();
    let again = async || Ok(flow.first_from(address, since));
    wait_for("the stream, from the same address", PATIENCE, again).await.unwrap();

    // A charon that forgot the key has lost the tunnel, too, as far as the agent can tell.
    lab.charon(End::Device).unload(&lab.known(End::Epdg).await[0]).await.unwrap();
    let up = agent.says(connected);
    assert!(matches!(up, Notice::Connected { hops: 4, .. }), "{up:?}");
    assert!(lab.passes().await);
}
