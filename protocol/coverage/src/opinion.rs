//! What a detector thinks, and how three opinions become one.
//!
//! For the edge to come, not all of them are wrong ("noisy or", Pearl, 1988). For here and now the
//! logarithms of their odds are added. [`crate::predictor`] says why.

use std::time::Duration;

use homeward_model::Mac;

use crate::decision::Reason;
use crate::number::{odds, of_odds};

/// What a detector thinks: probabilities, 0 to 1.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Opinion {
    /// To be out of coverage soon.
    pub(crate) soon: f64,
    /// To be out of coverage now; `None` where it has no say in that.
    pub(crate) now: Option<f64>,
    /// To be in coverage, well enough to go back.
    pub(crate) inside: f64,
    /// How long until the edge.
    pub(crate) lead: Option<Duration>,
    /// The gateway that there is to go back to.
    pub(crate) by: Option<Mac>,
    /// What speaks for being out of coverage, now or soon.
    pub(crate) leaving: Vec<Reason>,
    /// What speaks for being in coverage.
    pub(crate) entering: Vec<Reason>,
    /// What was not believed.
    pub(crate) doubts: Vec<Reason>,
}

/// An opinion with its weight: for preparing, and against the others.
#[derive(Debug, Clone)]
pub(crate) struct Weighed {
    pub(crate) opinion: Opinion,
    pub(crate) prepares: f64,
    pub(crate) weight: f64,
}

/// One opinion of all.
pub(crate) fn fuse(all: Vec<Weighed>) -> Option<Opinion> {
    // Alone each is believed as it is; beside a weightier one it counts as less.
    let sum = |of: fn(&Opinion) -> Option<f64>| {
        let said = || all.iter().filter_map(|one| Some((of(&one.opinion)?, one.weight)));
        let heaviest = said().map(|(_, weight)| weight).fold(0.0, f64::max);
        let weighed = said().map(|(p, weight)| odds(p) * weight / heaviest);
        (heaviest > 0.0).then(|| of_odds(weighed.sum()))
    };
    let inside = sum(|opinion| Some(opinion.inside))?;
    let wrong = all.iter().map(|one| 1.0 - one.prepares.min(1.0) * one.opinion.soon);
    let mut fused = Opinion {
        soon: 1.0 - wrong.product::<f64>(),
        now: sum(|opinion| opinion.now),
        inside,
        ..Opinion::default()
    };
    let counts = |one: &Weighed| one.prepares.min(1.0) * one.opinion.soon;
    let most = all.iter().map(counts).fold(0.0, f64::max);
    for one in all {
        // What decided: the nearest edge that any of them sees coming.
        let decides = counts(&one) >= most / 3.0;
        let opinion = one.opinion;
        if decides {
            fused.lead = [fused.lead, opinion.lead].into_iter().flatten().min();
            fused.leaving.extend(opinion.leaving);
        }
        fused.by = fused.by.or(opinion.by);
        fused.entering.extend(opinion.entering);
        fused.doubts.extend(opinion.doubts);
    }
    Some(fused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(soon: f64, now: f64, prepares: f64, weight: f64) -> Weighed {
        let opinion = Opinion { soon, now: Some(now), inside: 1.0 - now, ..Opinion::default() };
        Weighed { opinion, prepares, weight }
    }

    #[test]
    fn any_detector_prepares_by_itself_and_the_weightiest_leaves() {
        let heard = one(0.05, 0.05, 1.0, 1.0);
        let fused = fuse(vec![heard.clone(), one(0.9, 0.9, 0.8, 0.3)]).unwrap();
        assert!(fused.soon > 0.7 && fused.now.unwrap() < 0.3, "{fused:?}");
        let alone = fuse(vec![one(0.9, 0.9, 0.8, 0.3)]).unwrap();
        assert!((alone.now.unwrap() - 0.9).abs() < 1e-6);
        assert_eq!(fuse(vec![]), None);
        let both = fuse(vec![one(0.9, 0.7, 1.0, 1.0), one(0.9, 0.7, 0.8, 0.5)]).unwrap();
        assert!(both.now.unwrap() > 0.7, "who agrees makes it surer");
        assert!(fuse(vec![heard, one(0.9, 0.9, 0.0, 0.0)]).unwrap().soon < 0.06);
    }
}
