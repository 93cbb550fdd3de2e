//! The model: all steps that there are in a state, and what comes of each.

use std::sync::Mutex;

use stateright::{Model, Property};

use crate::judge::judge;
use crate::keys::Keys;
use crate::machines::{
    self as m, Previous, answer, authorise, check, demand, extend, integrate, prove, question,
    visit_integrate,
};
use crate::state::{FAULTS, Lost, R, ROGUE_S, Record, Second, Setup, State, Ticket, Twist};
use crate::terms::{T, Terms};

pub(crate) const ARRIVES: &str = "the first device is admitted at its last hop";
pub(crate) const SKIPPED: &str = "it is admitted there after a network that fetched nothing";
pub(crate) const GOES_ON: &str = "it is admitted there after all twists, and after the loss";

#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) setup: Setup,
    pub(crate) terms: Mutex<Terms>,
}

/// What somebody does, and whether he should not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) twist: Option<Twist>,
    pub(crate) act: Act,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// A network asks.
    Ask(u8),
    /// The rogue asks so.
    RogueAsks(T),
    Answer {
        device: u8,
        challenge: T,
    },
    Authorise {
        network: u8,
        response: T,
    },
    Integrate {
        network: u8,
        visit: usize,
        previous: Previous,
    },
    /// A network sends its welcome again.
    Resend(T),
    Welcome {
        device: u8,
        welcome: T,
    },
    Tell {
        of: u8,
        from: u8,
        record: T,
        share: T,
    },
    /// The server that is the rogue's is told.
    TellRogue(T),
    /// The rogue gets an export.
    Fetch(T),
    Demand {
        of: u8,
        flow: u8,
    },
    Prove {
        device: u8,
        demand: T,
    },
    /// `asked` is whether the network proves itself.
    Check {
        of: u8,
        proof: T,
        network: T,
        asked: bool,
    },
    Revoke(u8),
    /// A device; 2 and 3 the networks; 4 the server.
    Restart(u8),
    Steal,
}

impl Chain {
    pub(crate) fn new(setup: Setup) -> Self {
        Self { setup, terms: Mutex::default() }
    }

    pub(crate) fn keys<'a>(&'a self, terms: &'a mut Terms) -> Keys<'a> {
        Keys { terms, setup: &self.setup, spare: true }
    }
}

/// Everybody hears it.
fn send(keys: &Keys<'_>, state: &mut State, message: T) {
    if let Err(at) = state.air.binary_search(&message) {
        state.air.insert(at, message);
        keys.terms.learn(&mut state.known, message);
    }
}

/// Whether it is the message that is lost, which is of the second hop.
fn is_lost(state: &mut State, kind: Lost) -> bool {
    let second = state.devices[0].hops.len() == 1
        || state.devices[0].hops.len() == 2
            && matches!(kind, Lost::Told | Lost::Demand | Lost::Proof);
    let lost = second && state.lost == Some(kind);
    if lost {
        state.lost = None;
    }
    lost
}

impl Model for Chain {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let mut terms = self.terms.lock().unwrap();
        let keys = &mut self.keys(&mut terms);
        let mut known = Vec::new();
        let mut secrets = vec![
            keys.device_key(0, R),
            keys.device_key(1, R),
            keys.terms.secret("seed of network", R, 0),
            keys.terms.secret("nonce", R, 0),
            keys.terms.secret("half of network", R, 0),
        ];
        if self.setup.second == Second::Accomplice {
            secrets.extend([0, 1].map(|network| keys.device_key(1, network)));
            secrets.extend([keys.seed(1), keys.terms.secret("half of device", 1, 0)]);
        }
        for secret in secrets {
            keys.terms.learn(&mut known, secret);
        }
        // What is public of everybody.
        for network in 0..3 {
            let seed = keys.terms.secret("seed of network", network, 0);
            let public = keys.terms.public(seed);
            keys.terms.learn(&mut known, public);
        }
        let mut state = State {
            devices: Default::default(),
            networks: Default::default(),
            servers: Default::default(),
            air: Vec::new(),
            known,
            revoked: 0,
            stolen: false,
            twisted: Vec::new(),
            lost: self.setup.lost,
            faults: 0,
        };
        let challenge = question(keys, R, 0);
        send(keys, &mut state, challenge);
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        // What is wrong is found: what comes after is of no interest.
        if state.faults != 0 || state.stolen {
            return;
        }
        let mut terms = self.terms.lock().unwrap();
        let mut keys = self.keys(&mut terms);
        keys.spare = state.twisted.len() < usize::from(self.setup.most);
        crate::steps::steps(&mut keys, state, actions);
        actions.retain(|step| step.twist.is_none_or(|twist| keys.may(twist)));
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut terms = self.terms.lock().unwrap();
        let keys = &mut self.keys(&mut terms);
        let mut next = last.clone();
        if let Some(twist) = step.twist {
            next.twisted.push(twist);
            next.twisted.sort_unstable();
        }
        let admitted = apply(keys, &mut next, &step.act)?;
        judge(keys, last, &mut next, &step.act, admitted);
        (next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! always {
            ($($nth:literal)*) => {
                vec![$(Property::<Self>::always(FAULTS[$nth].1, |_, state| {
                    state.faults & 1 << FAULTS[$nth].0 as u16 == 0
                })),*]
            };
        }
        let mut properties = always!(0 1 2 3 4 5 6 7 8 9 10);
        properties.push(Property::sometimes(ARRIVES, arrived));
        properties.push(Property::sometimes(GOES_ON, |chain, state| {
            arrived(chain, state)
                && state.lost.is_none()
                && state.twisted.len() == usize::from(chain.setup.most)
        }));
        properties.push(Property::sometimes(SKIPPED, |chain, state| {
            arrived(chain, state) && {
                let mut terms = chain.terms.lock().unwrap();
                has_skipped(&mut chain.keys(&mut terms), state)
            }
        }));
        properties
    }

    fn format_action(&self, step: &Step) -> String {
        let terms = self.terms.lock().unwrap();
        let show = |term: &T| terms.show(*term);
        let act = match &step.act {
            Act::RogueAsks(challenge) => format!("the rogue asks {}", show(challenge)),
            Act::Answer { device, challenge } => format!("d{device} answers {}", show(challenge)),
            Act::Authorise { network, response } => {
                format!("n{network} authorises {}", show(response))
            }
            Act::Welcome { device, welcome } => {
                format!("d{device} integrates {}", show(&terms.parts(*welcome)[0]))
            }
            Act::Tell { of, from, record, .. } => {
                format!("n{from} tells S of d{of}: {}", show(record))
            }
            Act::Prove { device, demand } => format!("d{device} proves {}", show(demand)),
            Act::Check { of, network, asked, .. } => {
                let who = if *asked { "its network" } else { "the rogue" };
                format!("S admits d{of}, and {who} says so, too: {}", show(network))
            }
            Act::Fetch(export) => format!("the rogue is given {}", show(export)),
            Act::Demand { of, flow } => format!("S demands proof of d{of} for flow {flow}"),
            other => format!("{other:?}"),
        };
        step.twist.map_or_else(|| act.clone(), |twist| format!("{twist:?}: {act}"))
    }
}

fn arrived(chain: &Chain, state: &State) -> bool {
    usize::from(state.servers[0].admitted) == chain.setup.paths[0].len()
}

/// Whether a hop is the rogue's, which has not got the key of the one before.
fn has_skipped(keys: &mut Keys<'_>, state: &State) -> bool {
    state.servers[0].hops.windows(2).any(|hops| {
        let record = Record::read(keys.terms, hops[1].record).0;
        let body = Ticket::of_record(&record).body(keys.terms);
        let export = keys.export(hops[0].key, body);
        keys.terms.value(record.network) == R && !keys.terms.makes(&state.known, export)
    })
}

/// `None`: it is refused, and all is as it was. Otherwise what S admitted, if it did.
fn apply(keys: &mut Keys<'_>, state: &mut State, act: &Act) -> Option<Option<m::Admitted>> {
    match *act {
        Act::Ask(network) => {
            let asked = state.networks[usize::from(network)].asked;
            let challenge = question(keys, network, asked);
            let of = &mut state.networks[usize::from(network)];
            of.asked += 1;
            of.open = Some(challenge);
            if !is_lost(state, Lost::Challenge) {
                send(keys, state, challenge);
            }
        }
        Act::RogueAsks(message) | Act::Resend(message) => send(keys, state, message),
        Act::Answer { device, challenge } => {
            let response = answer(keys, state, device, challenge);
            if !is_lost(state, Lost::Response) {
                send(keys, state, response);
            }
        }
        Act::Authorise { network, response } => authorise(keys, state, network, response)?,
        Act::Integrate { network, visit, previous } => {
            if matches!(previous, Previous::Fetched(_)) && is_lost(state, Lost::Fetched) {
                return Some(None);
            }
            let welcome = visit_integrate(keys, state, (network, visit), previous)?;
            if !is_lost(state, Lost::Welcome) {
                send(keys, state, welcome);
            }
        }
        Act::Welcome { device, welcome } => integrate(keys, state, device, welcome)?,
        Act::Tell { of, from, record, share } => {
            let before = state.lost.map(|_| state.servers.clone());
            extend(keys, state, of, from, (record, share))?;
            if is_lost(state, Lost::Told) {
                state.servers.clone_from(&before.unwrap());
            }
        }
        Act::TellRogue(term) | Act::Fetch(term) => keys.terms.learn(&mut state.known, term),
        Act::Demand { of, flow } => {
            let demand = demand(keys, state, of, flow);
            if !is_lost(state, Lost::Demand) {
                send(keys, state, demand);
            }
        }
        Act::Prove { device, demand } => {
            let proof = prove(keys, state, device, demand)?;
            if !is_lost(state, Lost::Proof) {
                send(keys, state, proof);
            }
        }
        Act::Check { of, proof, network, .. } => {
            return check(keys, state, of, (proof, network)).map(Some);
        }
        Act::Revoke(network) => state.revoked |= 1 << network,
        Act::Restart(who @ (0 | 1)) => {
            let device = &mut state.devices[usize::from(who)];
            device.pending = None;
        }
        Act::Restart(who @ (2 | 3)) => {
            let network = &mut state.networks[usize::from(who) - 2];
            network.open = None;
            network.visits.retain(|visit| visit.done.is_some());
        }
        Act::Restart(_) => state.servers.iter_mut().for_each(|server| server.open = None),
        Act::Steal => {
            state.stolen = true;
            for network in 0..3 {
                let key = keys.device_key(0, network);
                keys.terms.learn(&mut state.known, key);
            }
        }
    }
    Some(None)
}

/// Whether that device is served by the rogue's server.
pub(crate) fn is_elsewhere(setup: &Setup, device: u8) -> bool {
    setup.server(device) == ROGUE_S
}
