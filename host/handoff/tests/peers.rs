//! Who asks and who answers is what the directory says of their keys.
// So that clippy knows the helpers for tests too.
#![cfg(test)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use homeward_daemon::Shutdown;
use homeward_handoff::server::Caller;
use homeward_handoff::{
    Answers, Book, CallError, Directory, DirectoryError, Identity, IdentityError, KeyFileError,
    Line, Listen, Peer, PeerSettings, Peers, Refused, Said, Server, ServerSettings, Told,
};
use homeward_keychain::key::{Export, HopShare};
use homeward_keychain::module::Previous;
use homeward_keychain::server::Policy;
use homeward_keychain::testing::{Seed, World, flow, network};
use homeward_keychain::{Demand, DeviceKey, Fetch, Fetched, Proof, Record};
use homeward_model::{Nai, Name};
use tokio::sync::Mutex;

/// A module that says what it is asked by whom.
#[derive(Default)]
struct Module {
    asked: Mutex<Vec<String>>,
    busy: AtomicU32,
}

#[async_trait]
impl Answers for Module {
    async fn fetch(&self, from: &Name, fetch: Fetch) -> Result<Fetched, Refused> {
        self.asked.lock().await.push(format!("{from} fetches for hop {}", fetch.ticket.hop));
        let busy = self.busy.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if busy.is_ok() {
            return Err(Refused::Later("there is no room"));
        }
        Ok(Fetched { export: Export::new([7; 32]), records: Vec::new() })
    }

    async fn extend(&self, from: &Name, record: Record, share: HopShare) -> Result<(), Refused> {
        let share = share.expose()[0];
        self.asked.lock().await.push(format!("{from} tells of hop {}, {share}", record.hop));
        Ok(())
    }

    async fn prove(&self, _: &Name, _: Demand) -> Result<Proof, Refused> {
        Err(Refused::NotHere)
    }

    async fn enrol(
        &self,
        from: &Name,
        device: Nai,
        version: u32,
        key: DeviceKey,
    ) -> Result<(), Refused> {
        if version < 7 {
            return Err(Refused::Older("version 7 is enrolled".to_owned()));
        }
        let (device, key) = (device.as_str(), key.expose()[0]);
        let said = format!("{from} enrols {device} with {key}, version {version}");
        self.asked.lock().await.push(said);
        Ok(())
    }

    async fn device(&self, mut caller: Caller) {
        while let Some(said) = caller.heard().await {
            let Said::Open(session, flow) = said else { return };
            self.asked.lock().await.push(format!("{session} wants {flow}"));
            caller.tell(Told::Admitted(3, Duration::from_secs(60))).await;
        }
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn identity(text: &str, seed: u8) -> Identity {
    Identity::new(name(text), &[seed; 32]).unwrap()
}

fn peer(identity: &Identity, address: Option<String>) -> Peer {
    Peer {
        name: identity.name().clone(),
        key: identity.key(),
        address,
        revoked: false,
        enrols: false,
    }
}

fn book(peers: Vec<Peer>) -> Book {
    Book::new(Directory::new(peers, 0).unwrap())
}

/// `n1` answers whoever is in `known`.
async fn n1(known: &Book) -> (Arc<Module>, Listen, Shutdown) {
    let module = Arc::new(Module::default());
    let loopback = vec!["127.0.0.1:0".parse().unwrap()];
    let listen = Listen { peers: loopback.clone(), devices: loopback };
    let own = identity("n1", 1);
    let settings = ServerSettings::default();
    let server = Server::bind(&listen, settings, &own, known.clone(), module.clone()).await;
    let server = server.unwrap();
    let (local, shutdown) = (server.local().clone(), Shutdown::new());
    tokio::spawn(server.serve(shutdown.clone()));
    (module, local, shutdown)
}

fn quickly() -> PeerSettings {
    let (deadline, pause) = (Duration::from_secs(20), Duration::from_millis(1));
    PeerSettings { deadline, pause, ..PeerSettings::default() }
}

/// What is asked by `n2` of whoever it takes for `n1`.
fn asked_by(asks: Identity, believed: &Identity, at: &Listen, settings: PeerSettings) -> Peers {
    let address = Some(at.peers[0].to_string());
    Peers::new(asks, book(vec![peer(believed, address)]), settings)
}

fn fetch() -> Fetch {
    let mut world = World::new(1, 2, Policy::default());
    world.hop(&network(0)).unwrap();
    let visit = world.authorise(&network(1)).unwrap();
    let (_, fetch) = visit.fetch().unwrap();
    assert!(matches!(world.fetch(&visit), Ok(Previous::Fetched(_))));
    fetch
}

#[tokio::test]
async fn peers_are_known_by_their_keys() {
    let (own, asks) = (identity("n1", 1), identity("n2", 2));
    let (module, at, _stop) = n1(&book(vec![peer(&asks, None)])).await;
    let peers = asked_by(asks, &own, &at, quickly());
    let fetched = peers.fetch(&name("n1"), &fetch()).await.unwrap();
    assert_eq!(fetched.export.expose(), &[7; 32]);
    let mut world = World::new(1, 2, Policy::default());
    world.hop(&network(0)).unwrap();
    let record = &world.visits[0].welcome().unwrap().record;
    peers.extend(&name("n1"), record, &HopShare::new([9; 32])).await.unwrap();
    assert_eq!(*module.asked.lock().await, ["n2 fetches for hop 2", "n2 tells of hop 1, 9"]);
    let demand = world.server.demand(flow(), &mut Seed(1));
    let refused = peers.prove(&name("n1"), &demand).await.unwrap_err();
    assert!(matches!(refused, CallError::Refused { later: false, .. }), "{refused}");
}

#[tokio::test]
async fn who_is_not_in_the_directory_is_not_let_in() {
    let (own, stranger) = (identity("n1", 1), identity("n2", 3));
    // It says that it is n2, and n2 has another key.
    let (module, at, _stop) = n1(&book(vec![peer(&identity("n2", 2), None)])).await;
    let settings = PeerSettings { deadline: Duration::from_millis(200), ..quickly() };
    let peers = asked_by(stranger, &own, &at, settings);
    let error = peers.fetch(&name("n1"), &fetch()).await.unwrap_err();
    assert!(error.is_away(), "{error}");
    assert!(module.asked.lock().await.is_empty());
}

#[tokio::test]
async fn who_answers_with_another_key_is_not_asked() {
    let asks = identity("n2", 2);
    let (module, at, _stop) = n1(&book(vec![peer(&asks, None)])).await;
    let settings = PeerSettings { deadline: Duration::from_millis(200), ..quickly() };
    // n1 has another key, and what listens there is somebody who is trusted, too.
    let other = identity("n1", 4);
    let address = Some(at.peers[0].to_string());
    let known = book(vec![
        peer(&other, address),
        Peer { name: name("n3"), ..peer(&identity("n1", 1), None) },
    ]);
    let peers = Peers::new(asks, known, settings);
    let error = peers.fetch(&name("n1"), &fetch()).await.unwrap_err();
    assert!(matches!(error, CallError::Tls { .. }), "{error}");
    assert!(module.asked.lock().await.is_empty());
}

#[tokio::test]
async fn a_peer_that_is_revoked_is_not_heard_any_more_on_a_connection_that_it_has() {
    let (own, asks) = (identity("n1", 1), identity("n2", 2));
    let known = book(vec![peer(&asks, None)]);
    let (module, at, _stop) = n1(&known).await;
    let settings = PeerSettings { deadline: Duration::from_millis(200), ..quickly() };
    let peers = asked_by(asks.clone(), &own, &at, settings);
    peers.fetch(&name("n1"), &fetch()).await.unwrap();
    let revoked = Peer { revoked: true, ..peer(&asks, None) };
    known.replace(Directory::new([revoked], 1).unwrap());
    peers.fetch(&name("n1"), &fetch()).await.unwrap_err();
    assert_eq!(module.asked.lock().await.len(), 1);
}

#[tokio::test]
async fn who_may_enrol_devices_does_and_who_may_not_is_refused_by_name() {
    let (own, asks) = (identity("n1", 1), identity("n2", 2));
    let may = Peer { enrols: true, ..peer(&asks, None) };
    let known = book(vec![may.clone()]);
    let (module, at, _stop) = n1(&known).await;
    let peers = asked_by(asks.clone(), &own, &at, quickly());
    let device: Nai = "d@example.net".parse().unwrap();
    let enrol =
        async |version| peers.enrol(&name("n1"), &device, version, &DeviceKey::new([5; 32])).await;
    enrol(7).await.unwrap();
    assert_eq!(*module.asked.lock().await, ["n2 enrols d@example.net with 5, version 7"]);
    let newer = enrol(6).await.unwrap_err();
    assert!(matches!(newer, CallError::Newer { .. }), "{newer}");
    let refused = enrol(0).await.unwrap_err();
    assert!(matches!(refused, CallError::Refused { later: false, .. }), "{refused}");
    // It is taken from it while it has a connection.
    known.replace(Directory::new([peer(&asks, None)], 0).unwrap());
    let refused = enrol(8).await.unwrap_err();
    assert!(refused.to_string().contains("n2 may not enrol devices here"), "{refused}");
    assert!(!refused.is_away(), "{refused}");
    assert_eq!(module.asked.lock().await.len(), 1);
    let revoked = Directory::new([Peer { revoked: true, ..may }], 1).unwrap();
    assert!(!revoked.may_enrol(&name("n2")) && !revoked.may_enrol(&name("n3")));
}

#[tokio::test]
async fn who_is_revoked_or_unknown_or_has_no_address_is_not_asked() {
    let (n1, n3) = (identity("n1", 1), identity("n3", 3));
    let revoked = Peer { revoked: true, ..peer(&n1, Some("127.0.0.1:1".to_owned())) };
    let peers = Peers::new(identity("n2", 2), book(vec![revoked, peer(&n3, None)]), quickly());
    let asked = |of: &str| {
        let (peers, of) = (peers.clone(), name(of));
        async move { peers.fetch(&of, &fetch()).await.unwrap_err() }
    };
    assert!(matches!(asked("n1").await, CallError::Revoked(_)));
    assert!(matches!(asked("n3").await, CallError::NoAddress(_)));
    assert!(matches!(asked("n4").await, CallError::Unknown(_)));
}

#[tokio::test]
async fn a_call_is_repeated_until_its_deadline_and_no_longer() {
    let (own, asks) = (identity("n1", 1), identity("n2", 2));
    let (module, at, stop) = n1(&book(vec![peer(&asks, None)])).await;
    module.busy.store(3, Ordering::SeqCst);
    let peers = asked_by(asks.clone(), &own, &at, quickly());
    peers.fetch(&name("n1"), &fetch()).await.unwrap();
    assert_eq!(module.asked.lock().await.len(), 4);
    stop.trigger();
    let settings = PeerSettings { deadline: Duration::from_millis(50), ..quickly() };
    let nobody = Listen { peers: vec!["127.0.0.1:1".parse().unwrap()], devices: Vec::new() };
    let peers = asked_by(asks, &own, &nobody, settings);
    let error = peers.fetch(&name("n1"), &fetch()).await.unwrap_err();
    assert!(error.is_away(), "{error}");
}

#[tokio::test]
async fn a_device_speaks_and_is_answered() {
    let (module, at, _stop) = n1(&book(Vec::new())).await;
    let mut line = Line::call(at.devices[0], Duration::from_secs(20)).await.unwrap();
    let world = World::new(1, 2, Policy::default());
    let told = line.say(Said::Open(world.device.session(), flow())).await.unwrap();
    assert!(matches!(told, Told::Admitted(3, span) if span == Duration::from_secs(60)));
    // What is not understood ends it.
    line.say(Said::Hello).await.unwrap_err();
    let asked = module.asked.lock().await;
    assert_eq!(*asked, [format!("{} wants udp 10.45.0.2:5060", world.device.session())]);
}

#[test]
fn a_directory_says_one_thing_of_each() {
    let (n1, n2) = (identity("n1", 1), identity("n2", 2));
    let same = Peer { name: name("n3"), ..peer(&n1, None) };
    let twice = Directory::new([peer(&n1, None), peer(&n1, None)], 0);
    assert_eq!(twice.map(drop), Err(DirectoryError::Twice(name("n1"))));
    let shared = Directory::new([peer(&n1, None), same, peer(&n2, None)], 0);
    assert_eq!(shared.map(drop), Err(DirectoryError::SameKey(name("n1"), name("n3"))));
}

#[test]
fn a_key_is_made_once_and_read_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let at = tempfile::tempdir().unwrap();
    let path = at.path().join("n1.key");
    let mut seed = Seed(1);
    let made = Identity::load(name("n1"), &path, &mut seed).unwrap();
    let read = Identity::load(name("n1"), &path, &mut seed).unwrap();
    assert_eq!(made.key(), read.key());
    assert!(!format!("{made:?}").contains(std::fs::read_to_string(&path).unwrap().trim()));
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let open = Identity::load(name("n1"), &path, &mut seed);
    assert!(matches!(open, Err(IdentityError::File(KeyFileError::Open { mode: 0o640, .. }))));
    std::fs::write(&path, "hunter2").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let none = Identity::load(name("n1"), &path, &mut seed);
    assert!(matches!(none, Err(IdentityError::File(KeyFileError::Malformed(_)))));
}
