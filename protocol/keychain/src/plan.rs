//! When a device hops, and when it proves: a machine for its session with one server.
//!
//! It is told where the device's traffic goes, and says what to do next, one step at a time. It knows
//! no keys: what a step comes to is told to it.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_model::backoff::{Backoff, Jitter};
use homeward_model::{Entropy, Instant, Name};

use crate::message::Flow;

/// How patient it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The first wait after something failed that may be different in a moment; it doubles.
    pub retry: Duration,
    /// The longest.
    pub retry_most: Duration,
    /// The wait after a refusal that a session begun anew got, too.
    pub refused: Duration,
    /// The most flows.
    pub flows: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            retry: Duration::from_millis(500),
            retry_most: Duration::from_secs(60),
            refused: Duration::from_secs(300),
            flows: 16,
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a hop to that network.
    Hop {
        /// Which.
        network: Name,
        /// In a session that is begun with it, to take the place of this one: this one leads
        /// nowhere any more. It is kept until the network has let the new one in.
        anew: bool,
    },
    /// Have the server admit a flow.
    Open(Flow),
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is done: the hop is integrated.
    Hopped,
    /// It is done: the flow is admitted for so long.
    Admitted(Duration),
    /// Nobody answered, or it may be different in a moment.
    Away,
    /// No.
    Refused,
}

/// Where a flow stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Until when the server admits it, by what it said last.
    pub until: Option<Instant>,
    /// When it is proven anew; none: as soon as may be.
    due: Option<Instant>,
}

/// There is no room for a flow more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} flows are kept admitted, and no more may be: close one")]
pub struct TooMany(pub usize);

/// Whether another session is to take the place of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoiled {
    No,
    /// The network did not let it in; others may.
    Here,
    /// The server does not admit it.
    Everywhere,
}

/// What is to be done for one server.
#[derive(Debug)]
pub struct Plan {
    pace: Pace,
    jitter: Jitter,
    /// Where traffic goes.
    here: Option<Name>,
    /// Where the session's last hop is.
    at: Option<Name>,
    flows: BTreeMap<Flow, Standing>,
    doing: Option<Step>,
    backoff: Backoff,
    spoiled: Spoiled,
    /// This session is one that took another's place, and nothing of it was admitted yet: another
    /// one more would not be better.
    replaced: bool,
}

impl Plan {
    /// For a session whose last hop is `at`.
    pub fn new(pace: Pace, at: Option<Name>, entropy: &mut impl Entropy) -> Self {
        Self {
            pace,
            jitter: Jitter::new(entropy),
            here: None,
            at,
            flows: BTreeMap::new(),
            doing: None,
            backoff: Backoff::default(),
            spoiled: Spoiled::No,
            replaced: false,
        }
    }

    /// Where traffic goes from now on; `None` is nowhere, or where no module is known. A step that
    /// is being done is given up if that is another place.
    pub fn go(&mut self, here: Option<Name>) {
        if self.here != here {
            self.here = here;
            self.doing = None;
            if self.spoiled == Spoiled::Here {
                self.spoiled = Spoiled::No;
            }
            self.backoff.clear();
        }
    }

    /// Keeps a flow admitted. One that is kept already is proven anew: the server may have ended it.
    ///
    /// # Errors
    /// There is no room.
    pub fn open(&mut self, flow: Flow) -> Result<(), TooMany> {
        if !self.flows.contains_key(&flow) && self.flows.len() >= self.pace.flows {
            return Err(TooMany(self.pace.flows));
        }
        self.flows.entry(flow).or_default().due = None;
        Ok(())
    }

    /// Keeps a flow admitted no longer; whether it was. What the server admitted stays until its
    /// time is over.
    pub fn close(&mut self, flow: &Flow) -> bool {
        if self.doing == Some(Step::Open(flow.clone())) {
            self.doing = None;
        }
        self.flows.remove(flow).is_some()
    }

    /// What to do now, if anything is. It is being done until [`Self::done`].
    pub fn poll(&mut self, now: Instant) -> Option<Step> {
        if self.doing.is_some() || self.backoff.until(now).is_some() {
            return None;
        }
        let step = self.next(now)?;
        self.doing = Some(step.clone());
        Some(step)
    }

    fn next(&self, now: Instant) -> Option<Step> {
        let here = self.here.as_ref()?;
        let anew = self.spoiled != Spoiled::No;
        if anew || self.at.as_ref() != Some(here) {
            return Some(Step::Hop { network: here.clone(), anew });
        }
        let mut due = self.flows.iter().filter(|(_, flow)| flow.due.is_none_or(|due| due <= now));
        due.next().map(|(flow, _)| Step::Open(flow.clone()))
    }

    /// When to poll again, if nothing happens before.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.doing.is_some() || self.here.is_none() {
            return None;
        }
        let due = self.flows.values().filter_map(|flow| flow.due).min();
        self.backoff.until(now).or(due)
    }

    /// What the step came to that is being done. An outcome of none is nothing.
    pub fn done(&mut self, outcome: Outcome, now: Instant) {
        let Some(step) = self.doing.take() else { return };
        match (step, outcome) {
            (Step::Hop { network, anew }, Outcome::Hopped) => {
                self.at = Some(network);
                if anew {
                    (self.spoiled, self.replaced) = (Spoiled::No, true);
                }
                // Each is proven by the new head.
                self.flows.values_mut().for_each(|flow| flow.due = None);
                self.backoff.clear();
            }
            (Step::Open(flow), Outcome::Admitted(span)) => {
                self.replaced = false;
                let standing = Standing { until: Some(now + span), due: Some(now + span / 4 * 3) };
                if let Some(known) = self.flows.get_mut(&flow) {
                    *known = standing;
                }
                self.backoff.clear();
            }
            (step, Outcome::Refused) => self.refused(&step, now),
            // An outcome that is none of the step's is as good as none.
            _ => self.fail(now),
        }
    }

    /// The step that is being done is given up, for no reason that says anything of it.
    pub fn give_up(&mut self) {
        self.doing = None;
    }

    fn fail(&mut self, now: Instant) {
        let Pace { retry, retry_most, .. } = self.pace;
        self.backoff.fail(retry, retry_most, now, &mut self.jitter);
    }

    /// A session that is refused is no better the next time: another takes its place, once.
    fn refused(&mut self, step: &Step, now: Instant) {
        let new = matches!(step, Step::Hop { anew: true, .. }) || self.at.is_none();
        if new || self.replaced {
            let span = self.pace.refused;
            self.backoff.fail(span, span, now, &mut self.jitter);
        } else {
            let opens = matches!(step, Step::Open(_));
            self.spoiled = if opens { Spoiled::Everywhere } else { Spoiled::Here };
            self.fail(now);
        }
    }

    /// Where traffic goes.
    pub fn here(&self) -> Option<&Name> {
        self.here.as_ref()
    }

    /// Whether the last hop is where traffic goes.
    pub fn is_there(&self) -> bool {
        self.spoiled == Spoiled::No && self.here.is_some() && self.at == self.here
    }

    /// What is being done.
    pub fn doing(&self) -> Option<&Step> {
        self.doing.as_ref()
    }

    /// How many times in a row something failed.
    pub fn failures(&self) -> u32 {
        self.backoff.failures()
    }

    /// The flows that are kept admitted.
    pub fn flows(&self) -> impl Iterator<Item = (&Flow, Standing)> {
        self.flows.iter().map(|(flow, standing)| (flow, *standing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Seed;

    const SPAN: Duration = Duration::from_secs(400);

    fn name(n: u32) -> Name {
        format!("n{n}.example").parse().unwrap()
    }

    fn flow(n: u32) -> Flow {
        format!("call {n}").parse().unwrap()
    }

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    fn plan() -> Plan {
        Plan::new(Pace::default(), None, &mut Seed(1))
    }

    fn hop(n: u32, anew: bool) -> Option<Step> {
        Some(Step::Hop { network: name(n), anew })
    }

    /// In a network, with a flow that is admitted.
    fn settled() -> Plan {
        let mut plan = plan();
        plan.open(flow(1)).unwrap();
        plan.go(Some(name(1)));
        assert_eq!(plan.poll(at(0)), hop(1, false));
        plan.done(Outcome::Hopped, at(0));
        assert_eq!(plan.poll(at(0)), Some(Step::Open(flow(1))));
        plan.done(Outcome::Admitted(SPAN), at(0));
        plan
    }

    /// As many waits as it takes.
    fn later(plan: &mut Plan, now: &mut Instant) -> Option<Step> {
        assert_eq!(plan.poll(*now), None, "it waits first");
        *now = plan.poll_timeout(*now)?;
        plan.poll(*now)
    }

    #[test]
    fn a_device_hops_where_its_traffic_goes_and_proves_each_flow_by_each_head() {
        let mut plan = plan();
        assert_eq!(plan.poll(at(0)), None, "it is nowhere");
        assert!(!plan.is_there());
        plan.open(flow(1)).unwrap();
        plan.open(flow(2)).unwrap();
        assert_eq!(plan.poll(at(0)), None);
        for n in [1, 2, 1] {
            plan.go(Some(name(n)));
            assert!(!plan.is_there());
            assert_eq!(plan.poll(at(0)), hop(n, false));
            assert_eq!(plan.poll(at(0)), None, "one step at a time");
            plan.done(Outcome::Hopped, at(0));
            assert!(plan.is_there());
            for wanted in [1, 2] {
                assert_eq!(plan.poll(at(0)), Some(Step::Open(flow(wanted))));
                plan.done(Outcome::Admitted(SPAN), at(0));
            }
            assert_eq!(plan.poll(at(0)), None);
        }
        assert!(plan.flows().all(|(_, flow)| flow.until == Some(at(400))));
    }

    #[test]
    fn a_flow_is_proven_anew_before_its_time_is_over() {
        let mut plan = settled();
        assert_eq!(plan.poll(at(299)), None);
        assert_eq!(plan.poll_timeout(at(299)), Some(at(300)));
        assert_eq!(plan.poll(at(300)), Some(Step::Open(flow(1))));
        assert_eq!(plan.poll_timeout(at(300)), None, "it is being done");
        plan.done(Outcome::Admitted(SPAN), at(300));
        assert_eq!(plan.poll_timeout(at(300)), Some(at(600)));
        plan.open(flow(1)).unwrap();
        assert_eq!(plan.poll(at(301)), Some(Step::Open(flow(1))), "who uses it knows better");
        plan.done(Outcome::Admitted(SPAN), at(301));
        assert!(plan.close(&flow(1)) && !plan.close(&flow(1)));
        assert_eq!((plan.poll(at(700)), plan.poll_timeout(at(700))), (None, None));
    }

    #[test]
    fn a_step_is_given_up_for_another_place_and_for_no_other_reason() {
        let mut plan = settled();
        plan.go(Some(name(2)));
        assert_eq!(plan.poll(at(1)), hop(2, false));
        plan.go(Some(name(2)));
        assert_eq!(plan.poll(at(1)), None, "nothing has changed");
        plan.go(Some(name(1)));
        plan.done(Outcome::Hopped, at(1));
        assert_eq!(plan.poll(at(1)), None, "it is where it was, and nothing is due");
        assert!(plan.is_there());
        plan.go(Some(name(2)));
        assert_eq!(plan.poll(at(1)), hop(2, false));
        plan.give_up();
        assert_eq!(plan.poll(at(1)), hop(2, false), "by another line, at once");
        plan.go(None);
        assert!(!plan.is_there());
        assert_eq!((plan.poll(at(999)), plan.poll_timeout(at(999))), (None, None));
    }

    #[test]
    fn who_does_not_answer_is_asked_again_ever_more_patiently_and_at_once_from_elsewhere() {
        let mut plan = settled();
        plan.go(Some(name(2)));
        let mut now = at(1);
        assert_eq!(plan.poll(now), hop(2, false));
        let mut waits = Vec::new();
        for n in 1..=12 {
            plan.done(Outcome::Away, now);
            assert_eq!(plan.failures(), n);
            let before = now;
            assert_eq!(later(&mut plan, &mut now), hop(2, false));
            waits.push(now - before);
        }
        assert!(waits[0] <= Pace::default().retry, "{waits:?}");
        assert!(waits[8] > waits[0] * 8, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= Pace::default().retry_most), "{waits:?}");
        plan.done(Outcome::Away, now);
        plan.go(Some(name(3)));
        assert_eq!(plan.poll(now), hop(3, false), "another network is not to blame");
    }

    #[test]
    fn a_session_that_is_refused_is_replaced_once_and_kept_until_it_is() {
        for hops in [true, false] {
            let mut plan = settled();
            let mut now = at(300);
            if hops {
                plan.go(Some(name(2)));
            }
            assert!(plan.poll(now).is_some());
            plan.done(Outcome::Refused, now);
            assert!(!plan.is_there(), "it is good for nothing there");
            let n = if hops { 2 } else { 1 };
            assert_eq!(later(&mut plan, &mut now), hop(n, true));
            plan.done(Outcome::Away, now);
            assert_eq!(later(&mut plan, &mut now), hop(n, true), "it is still to be replaced");
            plan.done(Outcome::Hopped, now);
            assert_eq!(plan.poll(now), Some(Step::Open(flow(1))));
            plan.done(Outcome::Refused, now);
            let before = now;
            assert_eq!(later(&mut plan, &mut now), Some(Step::Open(flow(1))), "not once more");
            assert!(now - before >= Pace::default().refused / 2);
            plan.done(Outcome::Admitted(SPAN), now);
            assert_eq!(plan.failures(), 0);
            now = now + SPAN;
            assert_eq!(plan.poll(now), Some(Step::Open(flow(1))));
            plan.done(Outcome::Refused, now);
            assert_eq!(later(&mut plan, &mut now), hop(n, true), "this one had been admitted");
        }
    }

    #[test]
    fn a_device_that_no_network_knows_is_not_sent_from_session_to_session() {
        let mut plan = plan();
        plan.go(Some(name(1)));
        let mut now = at(0);
        assert_eq!(plan.poll(now), hop(1, false));
        for _ in 0..3 {
            plan.done(Outcome::Refused, now);
            let before = now;
            assert_eq!(later(&mut plan, &mut now), hop(1, false));
            assert!(now - before >= Pace::default().refused / 2);
        }
        // Nor one that was somewhere, and is known there no more.
        let mut plan = Plan::new(Pace::default(), Some(name(2)), &mut Seed(1));
        plan.go(Some(name(1)));
        assert_eq!(plan.poll(now), hop(1, false));
        plan.done(Outcome::Refused, now);
        assert_eq!(later(&mut plan, &mut now), hop(1, true));
        plan.done(Outcome::Refused, now);
        let before = now;
        assert_eq!(later(&mut plan, &mut now), hop(1, true));
        assert!(now - before >= Pace::default().refused / 2);
        // Back where it was, the session is as good as ever.
        plan.go(Some(name(2)));
        assert!(plan.is_there());
        assert_eq!(plan.poll(now), None);
        // One that the server refuses is good nowhere.
        let mut plan = settled();
        assert_eq!(plan.poll(at(300)), Some(Step::Open(flow(1))));
        plan.done(Outcome::Refused, at(300));
        plan.go(Some(name(2)));
        assert_eq!(plan.poll(at(300)), hop(2, true));
    }

    #[test]
    fn there_are_no_more_flows_than_may_be() {
        let mut plan = Plan::new(Pace { flows: 2, ..Pace::default() }, None, &mut Seed(1));
        plan.open(flow(1)).unwrap();
        plan.open(flow(2)).unwrap();
        assert_eq!(plan.open(flow(3)), Err(TooMany(2)));
        plan.open(flow(2)).unwrap();
        plan.close(&flow(1));
        plan.open(flow(3)).unwrap();
        // One that is closed while it is proven is not waited for.
        plan.go(Some(name(1)));
        assert_eq!(plan.poll(at(0)), hop(1, false));
        plan.done(Outcome::Hopped, at(0));
        assert_eq!(plan.poll(at(0)), Some(Step::Open(flow(2))));
        plan.close(&flow(2));
        assert_eq!(plan.poll(at(0)), Some(Step::Open(flow(3))));
    }
}
