//! The device's daemon hops and proves by itself.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use homeward_daemon::{Period, Shutdown};
use homeward_device::config::{Handoff as Settings, State};
use homeward_device::dial::Line;
use homeward_device::handoff::{Handoff, Notice, Shared, Status};
use homeward_handoff::key_file;
use homeward_keychain::SessionId;
use serde_json::json;
use tokio::sync::mpsc;

use crate::world::{World, comes_to, flow, network, server, who};

/// The part of a device's daemon that does hand-offs; its lines are the loopback.
struct Agent {
    handoff: Handoff,
    notices: mpsc::UnboundedReceiver<Notice>,
    settings: Settings,
    state: State,
}

/// Cellular is n0; the others are Wi-Fi, each with an SSID of its name.
fn settings(world: &World) -> Settings {
    let root = world.folder.path().join("device.root");
    std::fs::write(&root, key_file::text(world.root.expose()).as_bytes()).unwrap();
    std::fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let networks = (0..world.modules.len()).map(|n| {
        let ssids: Vec<String> = (n > 0).then(|| network(n).to_string()).into_iter().collect();
        let module = world.module_at(n).to_string();
        json!({ "name": network(n), "module": module, "ssids": ssids, "cellular": n == 0 })
    });
    let guard = world.guard.as_ref().unwrap().1.devices_at.to_string();
    serde_json::from_value(json!({
        "name": who().as_str(),
        "root_file": root,
        "retry": "50ms",
        "retry_most": "1s",
        "refused": "1s",
        "flows": 2,
        "networks": networks.collect::<Vec<_>>(),
        "servers": [{ "name": server(), "guard": guard, "flows": [flow(5060).as_str()] }],
    }))
    .unwrap()
}

impl Agent {
    fn of(world: &World) -> Self {
        let directory = world.folder.path().join("device");
        let state = State { key_file: directory.join("keys"), directory };
        Self::start(settings(world), state)
    }

    fn start(settings: Settings, state: State) -> Self {
        settings.check().unwrap();
        let (told, notices) = mpsc::unbounded_channel();
        let handoff = Handoff::start(&settings, &state, told, &Shutdown::new()).unwrap();
        Self { handoff, notices, settings, state }
    }

    async fn restarted(self) -> Self {
        self.handoff.stop().await;
        Self::start(self.settings, self.state)
    }

    /// Traffic goes there.
    fn go(&self, n: usize) {
        let ssid = (n > 0).then(|| network(n).as_str().parse().unwrap());
        let addresses = vec![IpAddr::from([127, 0, 0, 1])];
        let line = Line { interface: "lo".to_owned(), addresses };
        self.handoff.go(ssid.as_ref(), Some(line));
    }

    fn status(&self) -> Status {
        self.handoff.status().remove(0)
    }

    fn session(&self) -> SessionId {
        self.status().session.parse().unwrap()
    }

    async fn key(&self, shared: Shared) -> String {
        let key = self.handoff.key(&server(), shared, "wireguard").unwrap().await.unwrap();
        key.key.to_string()
    }

    /// Waits for the next notice.
    async fn told(&mut self) -> Notice {
        let told = tokio::time::timeout(crate::world::PATIENCE, self.notices.recv()).await;
        told.expect("nothing is told").unwrap()
    }

    /// Waits until it is in network `n`, and its flow is admitted there.
    async fn settles(&mut self, n: usize) {
        loop {
            if let Notice::HandedOff { network: at, .. } = self.told().await
                && at == network(n)
            {
                break;
            }
        }
        while !matches!(self.told().await, Notice::Admitted { .. }) {}
    }
}

impl World {
    /// The networks that the guard knows a session to have been in.
    async fn trace_of(&self, session: SessionId) -> Vec<String> {
        let held = self.guard().sessions().lock().await.get(session).unwrap();
        let server = held.lock().await;
        server.records().map(|record| record.network.to_string()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_hops_wherever_its_traffic_goes_and_its_flow_stays_admitted() {
    let world = World::new(3).await;
    let mut agent = Agent::of(&world);
    assert!(!world.passes(&flow(5060)).await);
    let none =
        agent.handoff.key(&server(), Shared::WithServer, "wireguard").unwrap().await.unwrap_err();
    assert!(none.to_string().contains("no key yet"), "{none}");
    let mut keys = Vec::new();
    for n in [0, 1, 0, 2] {
        agent.go(n);
        agent.settles(n).await;
        assert!(world.passes(&flow(5060)).await);
        let [key, password] =
            [agent.key(Shared::WithNetwork).await, agent.key(Shared::WithServer).await];
        let held = world.guard().sessions().lock().await.get(agent.session()).unwrap();
        let server = held.lock().await;
        let theirs = server.key().unwrap().traffic("wireguard");
        assert_eq!(*key_file::text(theirs.expose()), key, "the server has the same");
        assert_eq!(*server.application("wireguard").unwrap().password(), password);
        keys.extend([key, password]);
    }
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 8, "every hop has keys of its own");
    let names = [0, 1, 0, 2].map(|n| network(n).to_string());
    assert_eq!(world.trace_of(agent.session()).await, names);
    let status = agent.status();
    assert_eq!((status.hops, status.there, status.failures), (4, true, 0));
    assert_eq!((status.at, status.here), (Some(network(2)), Some(network(2))));
    assert!(status.flows[0].admitted_ms.is_some());
    agent.handoff.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_goes_on_in_its_session_after_a_restart() {
    let world = World::new(2).await;
    let mut agent = Agent::of(&world);
    agent.go(0);
    agent.settles(0).await;
    let (session, key) = (agent.session(), agent.key(Shared::WithServer).await);
    let mut agent = agent.restarted().await;
    assert_eq!((agent.session(), agent.key(Shared::WithServer).await), (session, key));
    // Where it was, there is nothing to hop to: it proves.
    agent.go(0);
    let told = agent.told().await;
    assert!(matches!(told, Notice::Admitted { .. }), "{told:?}");
    agent.go(1);
    agent.settles(1).await;
    assert_eq!(world.trace_of(session).await, ["n0.example", "n1.example"]);
    agent.handoff.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_was_away_is_hopped_to_once_it_is_back() {
    let mut world = World::new(2).await;
    let mut agent = Agent::of(&world);
    agent.go(0);
    agent.settles(0).await;
    let at: SocketAddr = world.module_at(1);
    let mut config = world.stop_module(1).await;
    agent.go(1);
    let told = agent.told().await;
    let Notice::NotProven { error, .. } = told else { panic!("{told:?}") };
    assert!(error.contains(&format!("{at} does not answer")), "{error}");
    assert!(!agent.status().there);
    assert!(world.passes(&flow(5060)).await, "what was admitted is");
    config.handoff.devices = vec![at];
    world.start_module(1, config).await;
    agent.settles(1).await;
    assert_eq!(agent.status().error, None);
    agent.handoff.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_leads_nowhere_any_more_is_replaced_by_another() {
    let mut world = World::new(2).await;
    let mut agent = Agent::of(&world);
    for n in [0, 1] {
        agent.go(n);
        agent.settles(n).await;
    }
    let before = agent.session();
    world.revoke(0);
    world.ended(&flow(5060)).await;
    // Whoever uses the flow notices.
    assert!(agent.handoff.flow(&server(), flow(5060).as_str(), true).unwrap().await.unwrap());
    agent.settles(1).await;
    let session = agent.session();
    assert_ne!(session, before);
    assert_eq!(world.trace_of(session).await, ["n1.example"]);
    assert!(world.passes(&flow(5060)).await);
    // The other is kept in its place.
    assert_eq!(agent.restarted().await.session(), session);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_a_network_does_not_know_is_not_let_in_and_keeps_what_it_has() {
    let mut world = World::with(2, |_| {}, |guard| guard.policy.admitted = PERIOD).await;
    let change = {
        let (module, _) = world.modules[1].as_ref().unwrap();
        module.enrolled().lock().await.forget(&who()).unwrap()
    };
    world.module(1).vault().commit(vec![change]).await.unwrap();
    let mut agent = Agent::of(&world);
    agent.go(0);
    agent.settles(0).await;
    let session = agent.session();
    agent.go(1);
    for _ in 0..2 {
        let told = agent.told().await;
        let Notice::NotProven { error, .. } = told else { panic!("{told:?}") };
        assert!(error.contains("refused"), "{error}");
    }
    assert_eq!(agent.session(), session, "the one it has is good elsewhere");
    agent.go(0);
    comes_to(async || agent.status().there).await;
    assert_eq!(world.trace_of(session).await, ["n0.example"]);
    // It is proven anew before its time is over.
    while !matches!(agent.told().await, Notice::Admitted { .. }) {}
    agent.handoff.stop().await;
    world.stop_guard().await;
}

/// Short enough for a proof anew within a test.
const PERIOD: Period = Period(Duration::from_secs(2));

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_wrongly_is_named() {
    let world = World::new(1).await;
    let agent = Agent::of(&world);
    let other = "other.example".parse().unwrap();
    let error = agent.handoff.key(&other, Shared::WithServer, "sip").err().unwrap().to_string();
    assert!(error.contains("other.example is no server of [[handoff.servers]]"), "{error}");
    let error = agent.handoff.flow(&server(), "", true).err().unwrap().to_string();
    assert!(error.contains("names no flow"), "{error}");
    let open = async |name: &str, open| {
        agent.handoff.flow(&server(), name, open).unwrap().await.map_err(|e| e.to_string())
    };
    assert_eq!(open("second", true).await, Ok(true));
    let error = open("third", true).await.unwrap_err();
    assert!(error.contains("2 flows"), "{error}");
    assert_eq!(open("second", false).await, Ok(true));
    assert_eq!(open("second", false).await, Ok(false));
    assert_eq!(open("third", true).await, Ok(true));
    agent.handoff.stop().await;
}
