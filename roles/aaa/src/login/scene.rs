//! What questions are answered with, and how wrong passwords are counted.

use std::sync::Arc;

use homeward_eap::{Denied, Identity, Reason};
use homeward_model::{Instant, Login, Mac, Nai, Verifier};

use super::Why;
use crate::admission::{Admission, admit};
use crate::class::Signer;
use crate::decision::Known;
use crate::directory::Here;
use crate::projection::{Client, Projection};
use crate::tries::Tries;

/// What all questions are answered with.
pub(crate) struct Scene<'a> {
    pub(crate) known: Known<'a>,
    pub(crate) signer: &'a Signer,
    pub(crate) tries: &'a Tries,
    pub(crate) client: &'a Client,
    pub(crate) now: Instant,
}

/// How a name stands that is tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// Whether it was tried wrongly less often than it may be.
    few: bool,
    /// Whether its password is to be looked at.
    pub(crate) may: bool,
}

impl Scene<'_> {
    /// What EAP conversations ask.
    pub(super) fn here(&self) -> Here<'_> {
        Here { known: self.known, gateway: &self.client.gateway }
    }

    /// How a name stands, and the log-in that has it. A password that was made is not guessed, and
    /// nobody is to be locked out of it by somebody else's guesses; its tries are counted all the
    /// same, for what is left out tells who has a name.
    pub(crate) fn standing(
        &self,
        login: Option<&Arc<Login>>,
        name: &str,
        station: Option<Mac>,
    ) -> Standing {
        let few = self.tries.may(name, station, self.now);
        Standing { few, may: few || !is_guessable(login) }
    }

    /// Counts a try that was wrong; what is said of it: that there were too many, if it was not
    /// looked at.
    pub(super) fn wrong(
        &self,
        name: &str,
        standing: Standing,
        station: Option<Mac>,
        reason: Reason,
    ) -> Why {
        let is_wrong = matches!(
            reason,
            Reason::WrongPassword | Reason::UnknownIdentity | Reason::WrongCredentialKind
        );
        if is_wrong && standing.few {
            self.tries.wrong(name, station, self.now);
        }
        if is_wrong && !standing.may { Why::TooManyTries } else { Why::Reason(reason) }
    }

    /// The same of a name that was claimed inside a tunnel, if one was, and of how it stood when its
    /// password came; now, if that is not known.
    pub(super) fn refused(
        &self,
        (claimed, standing): (Option<&Identity>, Option<Standing>),
        station: Option<Mac>,
        reason: Reason,
    ) -> Why {
        match claimed.map(Identity::as_str) {
            Some(name) => {
                let now = || self.standing(find(self.known.records, name), name, station);
                self.wrong(name, standing.unwrap_or_else(now), station, reason)
            }
            None => Why::Reason(reason),
        }
    }

    /// The record of a log-in as it is now: it may have changed while its password was checked.
    pub(super) fn as_now(&self, login: &Arc<Login>) -> Result<&Arc<Login>, Denied> {
        let now = self.known.records.login(&login.name);
        let now = now.filter(|now| now.id == login.id && now.verifier == login.verifier);
        now.ok_or(Denied::Suspended)
    }

    /// Whether a log-in that was proven is let in.
    pub(super) fn admit(
        &self,
        login: &Arc<Login>,
        station: Option<Mac>,
    ) -> Result<Admission, Denied> {
        admit(&self.known, &self.client.gateway, login, station)
    }
}

/// Whether somebody may guess its password; nobody guesses one that was made.
fn is_guessable(login: Option<&Arc<Login>>) -> bool {
    login.is_none_or(|login| matches!(login.verifier, Verifier::Argon2id(_)))
}

pub(super) fn find<'p>(projection: &'p Projection, name: &str) -> Option<&'p Arc<Login>> {
    projection.login(&name.parse::<Nai>().ok()?)
}
