//! Which flows are let pass. They are kept: a guard that begins anew ends nobody's call.

use std::collections::BTreeMap;

use anyhow::Context;
use homeward_keychain::{Flow, SessionId};
use homeward_model::UnixTime;
use homeward_vault::{Change, Vault};
use serde::{Deserialize, Serialize};

const FLOW: &str = "flow";

/// A flow that is let pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Whose it is.
    pub session: SessionId,
    /// Until when, without another proof.
    pub until: UnixTime,
    /// How many hops the chain had when it was proven.
    pub hops: u16,
    /// Those whose key of the hop before is missing.
    pub broken: Vec<u16>,
}

/// An admission as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    session: String,
    until: i64,
    hops: u16,
    broken: Vec<u16>,
}

impl Admission {
    /// Keeps it as that flow's.
    pub fn keep(&self, flow: &Flow) -> Change {
        let Self { session, until, hops, broken } = self;
        let (session, broken) = (session.to_string(), broken.clone());
        let kept = Kept { session, until: until.0, hops: *hops, broken };
        // Numbers and text: there is nothing that could not be written.
        let plain = serde_json::to_vec(&kept).unwrap_or_default();
        Change::Put { kind: FLOW, name: name(flow), plain: plain.into() }
    }

    fn restore(plain: &[u8]) -> anyhow::Result<Self> {
        let Kept { session, until, hops, broken } = serde_json::from_slice(plain)?;
        let session = session.parse().ok().context("the session")?;
        Ok(Self { session, until: UnixTime(until), hops, broken })
    }
}

/// Keeps nothing of a flow.
pub fn forget(flow: &Flow) -> Change {
    Change::Remove { kind: FLOW, name: name(flow) }
}

fn name(flow: &Flow) -> Vec<u8> {
    flow.as_str().as_bytes().to_vec()
}

/// All of them.
#[derive(Debug)]
pub struct Admissions {
    /// Of one session.
    most: usize,
    flows: BTreeMap<Flow, Admission>,
    of: BTreeMap<SessionId, Vec<Flow>>,
}

impl Admissions {
    /// None yet; a session may have `most`.
    pub fn new(most: usize) -> Self {
        Self { most, flows: BTreeMap::new(), of: BTreeMap::new() }
    }

    /// As they were kept.
    ///
    /// # Errors
    /// What was kept does not open.
    pub async fn load(vault: &Vault, most: usize) -> anyhow::Result<Self> {
        let mut this = Self::new(most);
        for (name, kept) in vault.all(FLOW).await? {
            let flow = String::from_utf8_lossy(&name).parse().ok();
            let flow = flow.context("a flow that was kept")?;
            this.admit(flow, Admission::restore(&kept).context("an admission that was kept")?);
        }
        Ok(this)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Whether that session may have that flow: nobody else has it, and it has not too many.
    pub fn may(&self, flow: &Flow, session: SessionId, now: UnixTime) -> bool {
        match self.flows.get(flow) {
            Some(found) if found.session == session => true,
            // Who has proven it first has it, until it ends.
            Some(found) => found.until <= now && self.has_room(session),
            None => self.has_room(session),
        }
    }

    fn has_room(&self, session: SessionId) -> bool {
        self.of.get(&session).is_none_or(|flows| flows.len() < self.most)
    }

    /// Lets a flow pass.
    pub fn admit(&mut self, flow: Flow, admission: Admission) {
        let session = admission.session;
        if let Some(before) = self.flows.insert(flow.clone(), admission)
            && before.session != session
        {
            self.unlist(before.session, &flow);
        }
        let flows = self.of.entry(session).or_default();
        if !flows.contains(&flow) {
            flows.push(flow);
        }
    }

    /// Whether a flow passes.
    pub fn get(&self, flow: &Flow, now: UnixTime) -> Option<&Admission> {
        self.flows.get(flow).filter(|found| found.until > now)
    }

    /// Whether a flow is known, though its time may be over.
    pub fn has(&self, flow: &Flow) -> bool {
        self.flows.contains_key(flow)
    }

    /// Lets a flow of that session pass no more.
    pub fn withdraw(&mut self, flow: &Flow, session: SessionId) {
        if self.flows.get(flow).is_some_and(|found| found.session == session) {
            self.flows.remove(flow);
            self.unlist(session, flow);
        }
    }

    /// All flows that pass.
    pub fn all(&self, now: UnixTime) -> impl Iterator<Item = (&Flow, &Admission)> {
        self.flows.iter().filter(move |(_, found)| found.until > now)
    }

    /// The flows of a session.
    pub fn of(&self, session: SessionId) -> impl Iterator<Item = (&Flow, &Admission)> {
        let flows = self.of.get(&session).into_iter().flatten();
        flows.filter_map(|flow| self.flows.get(flow).map(|admission| (flow, admission)))
    }

    /// Lets nothing of a session pass any more; which flows that were.
    pub fn end(&mut self, session: SessionId) -> Vec<Flow> {
        let flows = self.of.remove(&session).unwrap_or_default();
        for flow in &flows {
            self.flows.remove(flow);
        }
        flows
    }

    /// The sessions that have any.
    pub fn sessions(&self) -> Vec<SessionId> {
        self.of.keys().copied().collect()
    }

    /// Forgets what has had its time; which flows that were.
    pub fn sweep(&mut self, now: UnixTime) -> Vec<Flow> {
        let over: Vec<(Flow, SessionId)> = self
            .flows
            .iter()
            .filter(|(_, found)| found.until <= now)
            .map(|(flow, found)| (flow.clone(), found.session))
            .collect();
        for (flow, session) in &over {
            self.flows.remove(flow);
            self.unlist(*session, flow);
        }
        over.into_iter().map(|(flow, _)| flow).collect()
    }

    fn unlist(&mut self, session: SessionId, flow: &Flow) {
        if let Some(flows) = self.of.get_mut(&session) {
            flows.retain(|other| other != flow);
            if flows.is_empty() {
                self.of.remove(&session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: SessionId = SessionId([1; 16]);
    const OTHER: SessionId = SessionId([2; 16]);

    fn flow(n: u32) -> Flow {
        format!("call {n}").parse().unwrap()
    }

    fn by(session: SessionId, until: i64) -> Admission {
        Admission { session, until: UnixTime(until), hops: 1, broken: Vec::new() }
    }

    #[test]
    fn a_flow_passes_until_its_time_is_over() {
        let mut admitted = Admissions::new(2);
        admitted.admit(flow(1), by(ONE, 10));
        assert!(admitted.get(&flow(1), UnixTime(9)).is_some());
        assert!(admitted.get(&flow(1), UnixTime(10)).is_none());
        assert!(admitted.get(&flow(2), UnixTime(9)).is_none());
        admitted.admit(flow(1), by(ONE, 20));
        assert!(admitted.get(&flow(1), UnixTime(10)).is_some(), "it was proven again");
        admitted.sweep(UnixTime(20));
        assert!(admitted.is_empty() && admitted.sessions().is_empty());
    }

    #[test]
    fn who_has_a_flow_keeps_it_and_nobody_has_too_many() {
        let mut admitted = Admissions::new(2);
        admitted.admit(flow(1), by(ONE, 10));
        assert!(!admitted.may(&flow(1), OTHER, UnixTime(9)));
        assert!(admitted.may(&flow(1), ONE, UnixTime(9)));
        assert!(admitted.may(&flow(1), OTHER, UnixTime(10)), "its time is over");
        admitted.admit(flow(2), by(ONE, 10));
        assert!(!admitted.may(&flow(3), ONE, UnixTime(9)));
        assert!(admitted.may(&flow(3), OTHER, UnixTime(9)));
        // What another has taken over is not ended with the one that had it.
        admitted.admit(flow(1), by(OTHER, 20));
        admitted.withdraw(&flow(1), ONE);
        assert!(admitted.has(&flow(1)), "it is another's now");
        assert_eq!(admitted.end(ONE), [flow(2)]);
        assert!(admitted.get(&flow(1), UnixTime(9)).is_some());
        assert!(admitted.get(&flow(2), UnixTime(9)).is_none());
        admitted.withdraw(&flow(1), OTHER);
        assert!(admitted.is_empty() && admitted.sessions().is_empty());
    }
}
