//! Whom the channel's server lets in: the store's word.

use std::sync::Arc;

use async_trait::async_trait;
use homeward_channel::{Denial, Gatekeeper, Issue, Presented, Refusal, Serial, Subject, TokenHash};
use homeward_model::{Clock, GatewayId, Status};
use homeward_store::{CredentialEnd, Error, GatewayFacts, NewCredential, Redeemed, Renewed, Store};

/// The store as a gatekeeper.
pub struct Gate {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Gate {
    /// The gate of that store; `clock` dates a credential's first use.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }
}

/// Whether a credential of a gateway is good, as the store has it now.
///
/// # Errors
///
/// Why it is not, or that the store fails.
pub(crate) async fn standing(
    store: &dyn Store,
    gateway: GatewayId,
    serial: Serial,
) -> Result<(GatewayFacts, bool), Denial> {
    let found = store.credential(serial.0).await.map_err(failed)?;
    let Some((credential, facts)) = found.filter(|(c, _)| c.gateway == gateway) else {
        return Err(Denial::Refused(Refusal::Unknown));
    };
    if let Some((_, end)) = credential.ended {
        return Err(Denial::Refused(ended(end)));
    }
    if facts.status == Status::Suspended {
        return Err(Denial::Refused(Refusal::Suspended));
    }
    Ok((facts, credential.used.is_some()))
}

#[async_trait]
impl Gatekeeper for Gate {
    async fn admit(&self, presented: &Presented) -> Result<Subject, Denial> {
        let (facts, used) = standing(&*self.store, presented.gateway, presented.serial).await?;
        if !used {
            let now = self.clock.unix();
            self.store.use_credential(presented.serial.0, now).await.map_err(failed)?;
        }
        Ok(subject(facts))
    }

    async fn redeem(&self, token: TokenHash, issue: &Issue) -> Result<Subject, Denial> {
        match self.store.redeem_token(token.0, &new(issue)).await.map_err(failed)? {
            Redeemed::Done(facts) => Ok(subject(facts)),
            Redeemed::Unknown => Err(Denial::Refused(Refusal::TokenUnknown)),
            Redeemed::Used => Err(Denial::Refused(Refusal::TokenUsed)),
            Redeemed::Expired => Err(Denial::Refused(Refusal::TokenExpired)),
            Redeemed::Suspended => Err(Denial::Refused(Refusal::Suspended)),
        }
    }

    async fn renew(&self, presented: &Presented, issue: &Issue) -> Result<Subject, Denial> {
        let renewed = self.store.renew_credential(presented.serial.0, &new(issue)).await;
        match renewed.map_err(failed)? {
            Renewed::Done(facts) if facts.id == presented.gateway => Ok(subject(facts)),
            // A serial number of ours in a certificate of ours for somebody else: it cannot be.
            Renewed::Done(_) | Renewed::Unknown => Err(Denial::Refused(Refusal::Unknown)),
            Renewed::Ended(end) => Err(Denial::Refused(ended(end))),
            Renewed::Suspended => Err(Denial::Refused(Refusal::Suspended)),
        }
    }
}

fn new(issue: &Issue) -> NewCredential {
    NewCredential { serial: issue.serial.0, issued: issue.issued, not_after: issue.not_after }
}

fn subject(facts: GatewayFacts) -> Subject {
    let device_of = facts.device_of.map(|network| (network, facts.mac));
    Subject { gateway: facts.id, name: facts.name, device_of }
}

const fn ended(end: CredentialEnd) -> Refusal {
    match end {
        CredentialEnd::Revoked | CredentialEnd::Replaced => Refusal::Revoked,
        CredentialEnd::Superseded => Refusal::Superseded,
    }
}

fn failed(error: Error) -> Denial {
    Denial::Failed(error.into())
}
