//! For tests and fuzzing: a small world of networks, and the bodies of the fuzz targets.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_model::{Entropy, Name, UnixTime};

use crate::Device;
use crate::error::Refusal;
use crate::key::DeviceKey;
use crate::message::{Challenge, Demand, Fetch, Fetched, Flow, Proof, Response, Welcome};
use crate::module::{Making, Previous, Question, Stage, Visit};
use crate::record::{Directory, Record, Standing};
use crate::server::{Admitted, Policy, Server};
use crate::sign::Signer;

/// Octets from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Seed(pub u64);

impl Entropy for Seed {
    fn fill(&mut self, room: &mut [u8]) {
        for octet in room {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            *octet = (mixed >> 56).to_le_bytes().first().copied().unwrap_or_default();
        }
    }
}

/// Whom the world trusts.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    networks: BTreeMap<Name, ([u8; 32], Standing)>,
    /// Up to which revocation every module has to know.
    pub epoch: u64,
}

impl Trust {
    /// A network's module is trusted from now on.
    pub fn trust(&mut self, signer: &Signer) {
        self.networks.insert(signer.network().clone(), (signer.public(), Standing::Good));
    }

    /// A network's module is trusted no more.
    pub fn revoke(&mut self, network: &Name) {
        if let Some((_, standing)) = self.networks.get_mut(network) {
            *standing = Standing::Revoked;
        }
    }
}

impl Directory for Trust {
    fn standing(&self, network: &Name, key: &[u8; 32]) -> Standing {
        match self.networks.get(network) {
            Some((known, standing)) if known == key => *standing,
            _ => Standing::Unknown,
        }
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }
}

/// The time in the world.
pub const NOW: UnixTime = UnixTime(1_800_000_000_000);

/// Networks, a device that is enrolled in all of them, and a server.
#[derive(Debug)]
pub struct World {
    /// Randomness.
    pub seed: Seed,
    /// Whom everybody trusts.
    pub trust: Trust,
    /// The networks' signers.
    pub signers: BTreeMap<Name, Signer>,
    /// The device.
    pub device: Device,
    /// Hops that networks have integrated, in their order.
    pub visits: Vec<Visit>,
    /// The server.
    pub server: Server,
    /// What time it is.
    pub now: UnixTime,
}

/// The `n`th network's name.
pub fn network(n: usize) -> Name {
    name(&format!("net-{n}.example"))
}

fn name(text: &str) -> Name {
    text.parse().unwrap_or_else(|_| unreachable!("it is a name"))
}

/// The key that the `n`th device shares with a network.
pub fn device_key(device: u8, network: &Name) -> DeviceKey {
    let mut key = [device; 32];
    for (octet, of) in key.iter_mut().skip(1).zip(network.as_str().bytes()) {
        *octet = of;
    }
    DeviceKey::new(key)
}

impl World {
    /// With so many networks.
    pub fn new(seed: u64, networks: usize, policy: Policy) -> Self {
        let mut seed = Seed(seed);
        let mut trust = Trust::default();
        let mut signers = BTreeMap::new();
        for n in 0..networks {
            let signer = Signer::new(network(n), &seed.octets())
                .unwrap_or_else(|_| unreachable!("32 octets are a seed"));
            trust.trust(&signer);
            signers.insert(network(n), signer);
        }
        let server = name("sip.example");
        let device = device(seed.octets(), &server);
        Self {
            seed,
            trust,
            signers,
            server: Server::new(server, device.session(), policy),
            device,
            visits: Vec::new(),
            now: NOW,
        }
    }

    /// A network asks.
    pub fn question(&mut self, to: &Name) -> Question {
        Question::new(to.clone(), false, &mut self.seed)
    }

    /// The device answers.
    pub fn answer(&mut self, challenge: &Challenge, key: &DeviceKey) -> Result<Response, Refusal> {
        let who = "d1@example.net".parse().unwrap_or_else(|_| unreachable!("it is an NAI"));
        self.device.answer(challenge, who, key, &mut self.seed)
    }

    /// How hops are made.
    pub fn making(&self, broken: bool) -> Making {
        let (lifetime, skew) = (Duration::from_secs(3600), Duration::from_secs(5));
        Making { now: self.now, lifetime, skew, broken }
    }

    /// The device answers the network's challenge, and is authorised.
    pub fn authorise(&mut self, to: &Name) -> Result<Visit, Refusal> {
        let question = self.question(to);
        let key = device_key(1, to);
        let response = self.answer(question.challenge(), &key)?;
        Visit::authorise(question, &response, &key)
    }

    /// What the network before gives.
    pub fn fetch(&mut self, visit: &Visit) -> Result<Previous, Refusal> {
        let Some((_, fetch)) = visit.fetch() else { return Ok(Previous::None) };
        let to = fetch.ticket.to.clone();
        match self.visits.last_mut() {
            Some(last) => last.export(&to, &fetch).map(Previous::Fetched),
            None => Ok(Previous::Missing),
        }
    }

    /// The device goes to a network; network, device and server integrate.
    pub fn hop(&mut self, to: &Name) -> Result<(), Refusal> {
        let mut visit = self.authorise(to)?;
        let previous = self.fetch(&visit)?;
        self.settle(&mut visit, previous, false)?;
        self.visits.push(visit);
        Ok(())
    }

    /// Network, device and server integrate.
    pub fn settle(
        &mut self,
        visit: &mut Visit,
        previous: Previous,
        broken: bool,
    ) -> Result<(), Refusal> {
        let welcome = self.integrate(visit, previous, broken)?;
        self.device.integrate(&welcome, broken)?;
        self.tell(visit)
    }

    /// The network integrates.
    pub fn integrate(
        &mut self,
        visit: &mut Visit,
        previous: Previous,
        broken: bool,
    ) -> Result<Welcome, Refusal> {
        let making = self.making(broken);
        let signer = self.signers.get(visit.network());
        let signer = signer.unwrap_or_else(|| unreachable!("the world has its networks"));
        visit.integrate(previous, signer, &self.trust, &making)?;
        Ok(visit.welcome().cloned().unwrap_or_else(|| unreachable!("it was integrated")))
    }

    /// The network tells the server.
    pub fn tell(&mut self, visit: &Visit) -> Result<(), Refusal> {
        let (Some(welcome), Some(share)) = (visit.welcome(), visit.share()) else {
            unreachable!("it was integrated")
        };
        let record = welcome.record.clone();
        self.server.extend(visit.network(), record, share, &self.trust, self.now)
    }

    /// The server asks, device and network prove.
    pub fn check(&mut self) -> Result<Admitted, Refusal> {
        let demand = self.server.demand(flow(), &mut self.seed);
        let device = self.device.prove(&demand, &flow())?;
        let network = self.visits.last().map(|visit| visit.prove(&demand));
        let network = network.unwrap_or_else(|| unreachable!("it is in a network"))?;
        self.server.check(demand, &device, &network, &self.trust, self.now)
    }
}

/// What the device wants admitted.
pub fn flow() -> Flow {
    "udp 10.45.0.2:5060".parse().unwrap_or_else(|_| unreachable!("it is a flow"))
}

/// A device whose session's key is of that seed.
pub fn device(seed: [u8; 32], server: &Name) -> Device {
    let device = Device::new(seed, server.clone(), true);
    device.unwrap_or_else(|_| unreachable!("32 octets are a seed"))
}

/// Signs a record anew, whatever it says: what a network that lies can do.
pub fn resign(record: &mut Record, signer: &Signer) {
    signer.sign(record);
}

/// Proves an answer anew, whatever it says: what a device that lies can do.
pub fn retag(response: &mut Response, challenge: &Challenge, key: &DeviceKey) {
    response.tag = key.authorise(&response.transcript(challenge));
}

/// Makes its ticket one of that answer, whatever it says: what a device that lies can do.
pub fn reanswer(response: &mut Response, challenge: &Challenge) {
    let answer = response.answer(challenge);
    response.ticket.iter_mut().for_each(|ticket| ticket.answer = answer);
}

/// Welcomes a device by a record that was another answer's, after `change`: what a network that lies
/// can do.
pub fn rewelcome(visit: &Visit, like: &Record, change: impl FnOnce(&mut Record)) -> Welcome {
    let mut record = like.clone();
    if let Stage::Authorised(at) = &visit.stage {
        (record.answer, record.transcript) = (at.ticket.answer, at.transcript);
        change(&mut record);
        return Welcome { tag: at.key.welcome(&record.encode()), record };
    }
    unreachable!("it was not integrated yet")
}

/// Target `keychain_message`: as each kind of message. What is read is written as it was.
pub fn fuzz_message(data: &[u8]) {
    let again = [
        Challenge::decode(data).map(|message| message.encode()),
        Response::decode(data).map(|message| message.encode()),
        Fetch::decode(data).map(|message| message.encode()),
        Fetched::decode(data).map(|message| message.encode()),
        Demand::decode(data).map(|message| message.encode()),
        Proof::decode(data).map(|message| message.encode()),
        Record::decode(data).map(|message| message.encode()),
        Welcome::decode(data).map(|message| message.encode()),
    ];
    for again in again.into_iter().flatten() {
        assert_eq!(again, data, "a message has one encoding");
    }
}

/// Target `keychain_state`: as what each side keeps. What is read is kept as it was.
pub fn fuzz_state(data: &[u8]) {
    let again = [
        Device::restore(data).map(|device| device.save()),
        Server::restore(data, Policy::default()).map(|server| server.save()),
    ];
    let visit = Visit::restore(data).ok().and_then(|visit| visit.save());
    for again in again.into_iter().flatten().chain(visit) {
        assert_eq!(again.as_slice(), data, "a state has one encoding");
    }
}
