//! Who may open a control channel.

use std::collections::BTreeMap;

use async_trait::async_trait;
use homeward_model::{GatewayId, Status, UnixTime};
use serde_json::{Value, json};

use super::{MemoryStore, State, Writer};
use crate::audit::{Note, hex};
use crate::enrolment::{
    Credential, CredentialEnd, Enrolment, GatewayAccess, NewCredential, REMEMBERED, Redeemed,
    Renewed, StoredAuthority,
};
use crate::error::{Entity, Result};
use crate::outbox::{GatewayFacts, Operation, OutboxRecord};

/// The tables.
#[derive(Default)]
pub(super) struct Tables {
    authority: Option<StoredAuthority>,
    tokens: BTreeMap<GatewayId, Token>,
    credentials: BTreeMap<[u8; 16], Credential>,
}

struct Token {
    hash: [u8; 32],
    expires: UnixTime,
    used: Option<UnixTime>,
}

impl Tables {
    /// What goes with a deleted gateway.
    pub(super) fn forget(&mut self, gateway: GatewayId) {
        self.tokens.remove(&gateway);
        self.credentials.retain(|_, c| c.gateway != gateway);
    }

    fn of(&mut self, gateway: GatewayId) -> impl Iterator<Item = &mut Credential> {
        self.credentials.values_mut().filter(move |c| c.gateway == gateway)
    }

    fn end(&mut self, gateway: GatewayId, at: UnixTime, why: CredentialEnd) -> u64 {
        let mut good = 0;
        for credential in self.of(gateway).filter(|c| c.ended.is_none()) {
            credential.ended = Some((at, why));
            good += 1;
        }
        good
    }

    fn issue(&mut self, gateway: GatewayId, new: &NewCredential) {
        let forgotten = new.issued.0.saturating_sub(REMEMBERED);
        self.credentials.retain(|_, c| c.gateway != gateway || c.not_after.0 >= forgotten);
        let NewCredential { serial, issued, not_after } = *new;
        let made = Credential { serial, gateway, issued, not_after, used: None, ended: None };
        self.credentials.insert(serial, made);
    }
}

#[async_trait]
impl Enrolment for MemoryStore {
    async fn authority(&self) -> Result<Option<StoredAuthority>> {
        Ok(self.read().enrolment.authority.clone())
    }

    async fn found_authority(&self, new: &StoredAuthority) -> Result<StoredAuthority> {
        self.write(|w| {
            if let Some(stands) = &w.state.enrolment.authority {
                return Ok(stands.clone());
            }
            w.state.enrolment.authority = Some(new.clone());
            w.note(Ok(Some(Note::authority(1, new))));
            Ok(new.clone())
        })
    }

    async fn put_token(&self, gateway: GatewayId, hash: [u8; 32], expires: UnixTime) -> Result<()> {
        self.write(|w| {
            w.state.gateways.need(Entity::Gateway, gateway.0)?;
            w.state.enrolment.tokens.insert(gateway, Token { hash, expires, used: None });
            note(w, gateway, Operation::Create, json!({ "token_expires": expires }));
            Ok(())
        })
    }

    async fn redeem_token(&self, hash: [u8; 32], new: &NewCredential) -> Result<Redeemed> {
        self.write(|w| {
            let found = w.state.enrolment.tokens.iter().find(|(_, token)| token.hash == hash);
            let Some((id, token)) = found else { return Ok(Redeemed::Unknown) };
            let id = *id;
            if token.used.is_some() {
                return Ok(Redeemed::Used);
            }
            if new.issued >= token.expires {
                return Ok(Redeemed::Expired);
            }
            let facts = facts(w.state, id)?;
            if facts.status == Status::Suspended {
                return Ok(Redeemed::Suspended);
            }
            if let Some(token) = w.state.enrolment.tokens.get_mut(&id) {
                token.used = Some(new.issued);
            }
            w.state.enrolment.end(id, new.issued, CredentialEnd::Replaced);
            w.state.enrolment.issue(id, new);
            let what = json!({ "credential": hex(&new.serial), "by": "token" });
            note(w, id, Operation::Create, what);
            touched(w, &facts);
            Ok(Redeemed::Done(facts))
        })
    }

    async fn renew_credential(&self, serial: [u8; 16], new: &NewCredential) -> Result<Renewed> {
        self.write(|w| {
            let found = w.state.enrolment.credentials.get(&serial).copied();
            let Some(old) = found else { return Ok(Renewed::Unknown) };
            if let Some((_, why)) = old.ended {
                return Ok(Renewed::Ended(why));
            }
            let facts = facts(w.state, old.gateway)?;
            if facts.status == Status::Suspended {
                return Ok(Renewed::Suspended);
            }
            w.state.enrolment.credentials.retain(|_, c| {
                c.gateway != old.gateway
                    || c.used.is_some()
                    || c.ended.is_some()
                    || c.serial == serial
            });
            w.state.enrolment.issue(old.gateway, new);
            let what = json!({ "credential": hex(&new.serial), "by": hex(&serial) });
            note(w, old.gateway, Operation::Create, what);
            touched(w, &facts);
            Ok(Renewed::Done(facts))
        })
    }

    async fn credential(&self, serial: [u8; 16]) -> Result<Option<(Credential, GatewayFacts)>> {
        let state = self.read();
        let Some(found) = state.enrolment.credentials.get(&serial).copied() else {
            return Ok(None);
        };
        Ok(state.gateways.get(found.gateway.0).map(|gateway| (found, gateway.into())))
    }

    async fn use_credential(&self, serial: [u8; 16], at: UnixTime) -> Result<()> {
        self.write(|w| {
            let found = w.state.enrolment.credentials.get_mut(&serial);
            let Some(found) = found.filter(|c| c.used.is_none() && c.ended.is_none()) else {
                return Ok(());
            };
            found.used = Some(at);
            let (id, issued) = (found.gateway, found.issued);
            let older = w
                .state
                .enrolment
                .of(id)
                .filter(|c| c.serial != serial && c.issued <= issued && c.ended.is_none());
            older.for_each(|c| c.ended = Some((at, CredentialEnd::Superseded)));
            let facts = facts(w.state, id)?;
            let what = json!({ "credential": hex(&serial), "used": at });
            note(w, id, Operation::Update, what);
            touched(w, &facts);
            Ok(())
        })
    }

    async fn gateway_access(&self, gateway: GatewayId) -> Result<GatewayAccess> {
        let found = self.gateway_accesses(gateway, gateway).await?;
        Ok(found.into_values().next().unwrap_or_default())
    }

    async fn gateway_accesses(
        &self,
        first: GatewayId,
        last: GatewayId,
    ) -> Result<BTreeMap<GatewayId, GatewayAccess>> {
        let state = self.read();
        let mut found: BTreeMap<GatewayId, GatewayAccess> = BTreeMap::new();
        for (gateway, token) in state.enrolment.tokens.range(first..=last) {
            found.entry(*gateway).or_default().token = Some((token.expires, token.used));
        }
        let credentials = state.enrolment.credentials.values();
        for credential in credentials.filter(|c| (first..=last).contains(&c.gateway)) {
            found.entry(credential.gateway).or_default().credentials.push(*credential);
        }
        for access in found.values_mut() {
            access.credentials.sort_by_key(|c| (c.issued, c.serial));
        }
        Ok(found)
    }

    async fn revoke_access(&self, gateway: GatewayId) -> Result<u64> {
        self.write(|w| {
            let facts = facts(w.state, gateway)?;
            let good = w.state.enrolment.end(gateway, w.now, CredentialEnd::Revoked);
            w.state.enrolment.tokens.remove(&gateway);
            note(w, gateway, Operation::Delete, json!({ "credentials": good }));
            touched(w, &facts);
            Ok(good)
        })
    }
}

fn facts(state: &State, id: GatewayId) -> Result<GatewayFacts> {
    state.gateways.need(Entity::Gateway, id.0).map(GatewayFacts::from)
}

fn note(w: &mut Writer<'_>, gateway: GatewayId, operation: Operation, what: Value) {
    w.note(Ok(Some(Note::access(gateway, operation, what))));
}

fn touched(w: &mut Writer<'_>, facts: &GatewayFacts) {
    w.touched(OutboxRecord::Gateway(facts.clone()));
}
